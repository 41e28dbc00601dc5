//! What Brevo must let an engine do: the key, the plan, what rules and configuration name, webhooks.

use std::sync::Arc;

use super::{BACKOFF, Check, Trouble, in_time};
use crate::brevo::{
    Account, Attribute, BrevoClient, BrevoError, BrevoSettings, BucketRates, ContactsQuery, List,
    Webhook, WebhookType,
};
use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::scripts::{brevo_names, check_on_thread};
use crate::config::{Config, RateTier};
use crate::http::Lane;
use crate::model::SystemClock;
use crate::rules::{Checked, Code, Diagnostic, LiveNames};

const KEY: &str = "API key accepted";
const PLAN: &str = "Plan and rate tier";
const CONTACTS: &str = "Contacts readable";
const ATTRIBUTES: &str = "Attributes readable";
const NAMED: &str = "Attributes of the rules";
const LISTS: &str = "Lists readable";
const WEBHOOK: &str = "Webhook configured";
/// What an engine wants to hear of, in the words in which webhooks are made.
const EVENTS: [&str; 6] =
    ["unsubscribed", "contactUpdated", "contactDeleted", "listAddition", "hardBounce", "spam"];

/// Checks everything in the order of the lines.
pub(super) async fn checks(deployment: &Deployment) -> Result<Vec<Check>, Failure> {
    let config = &deployment.config;
    deployment.require_secrets_of("connectors.brevo.")?;
    let client = client(config)?;
    let lane = Lane::Live;
    let account = match in_time(client.account(lane), |error| trouble(&error)).await {
        Ok(account) => account,
        Err(trouble) => {
            let mut checks = vec![Check::new(KEY, Err(trouble))];
            let others = [PLAN, CONTACTS, ATTRIBUTES, LISTS, NAMED, WEBHOOK];
            checks.extend(others.map(Check::not_tried));
            return Ok(checks);
        }
    };
    let accepted = Ok(Some(format!("account {}", account.company_name)));
    let mut checks = vec![Check::new(KEY, accepted)];
    let query = ContactsQuery { modified_since: None, list: None, ids: &[], offset: 0, limit: 1 };
    let contacts = in_time(client.contacts_page(lane, &query), |error| trouble(&error)).await;
    // Only after a call to contacts it is known what their headers say.
    checks.push(Check::new(PLAN, plan(&account, config, &client)));
    checks.push(Check::new(
        CONTACTS,
        contacts.map(|page| Some(format!("{} in the account", page.count))),
    ));
    let attributes = in_time(client.attributes(lane), |error| trouble(&error)).await;
    let counted = |found: &Vec<Attribute>| Some(format!("{} in the account", found.len()));
    checks.push(Check::new(ATTRIBUTES, attributes.as_ref().map(counted).map_err(Clone::clone)));
    let lists = in_time(client.lists(lane), |error| trouble(&error)).await;
    let counted = |found: &Vec<List>| Some(format!("{} in the account", found.len()));
    checks.push(Check::new(LISTS, lists.as_ref().map(counted).map_err(Clone::clone)));
    if let Ok(lists) = &lists {
        checks.extend(config.intercom.lists.iter().map(|(name, id)| list(name, *id, lists)));
    }
    checks.push(match (attributes, lists) {
        (Ok(attributes), Ok(lists)) => Check::new(NAMED, named(config, attributes, lists)),
        _ => Check::not_tried(NAMED),
    });
    checks.push(Check::new(WEBHOOK, webhook(config, &client).await));
    Ok(checks)
}

/// What the account has booked, and how fast it may be written to.
fn plan(
    account: &Account,
    config: &Config,
    client: &BrevoClient,
) -> Result<Option<String>, Trouble> {
    let name = account.marketing_plan().unwrap_or("not told");
    let plan = if account.enterprise { format!("{name} (Enterprise)") } else { name.to_owned() };
    let tier = match config.brevo.rate_tier {
        RateTier::General => "general",
        RateTier::Advanced => "advanced",
        RateTier::Extended => "extended",
    };
    let told = client.limit_status().into_iter().find(|limit| limit.name == "brevo.contacts");
    let rate = told.map_or(String::new(), |limit| {
        format!(", {} calls to contacts in {} s", limit.limit, limit.per_seconds)
    });
    Ok(Some(format!("plan {plan}, tier {tier}{rate}")))
}

/// Whether the attributes that rules and configuration write are there, or will be made.
fn named(
    config: &Config,
    attributes: Vec<Attribute>,
    lists: Vec<List>,
) -> Result<Option<String>, Trouble> {
    let names = LiveNames { intercom: None, brevo: Some(brevo_names(config, attributes, lists)) };
    let see = "run `tajo scripts check --live`";
    let checked = check_on_thread(config, names);
    let checked = checked.map_err(|error| Trouble::new(error.message(), see))?;
    let Checked { problems, rules } = checked;
    if rules.is_none() {
        return Err(Trouble::new("the rules do not load, so nobody knows what they write", see));
    }
    judged(&problems)
}

fn judged(problems: &[Diagnostic]) -> Result<Option<String>, Trouble> {
    let unknown: Vec<&Diagnostic> =
        problems.iter().filter(|problem| problem.code == Code::UnknownAttribute).collect();
    let place = |problem: &Diagnostic| match problem.line {
        0 => String::new(),
        line => format!(" ({}:{line})", problem.file),
    };
    if let Some(first) = unknown.iter().find(|problem| problem.is_error()) {
        let help = first.help.clone().unwrap_or_default();
        return Err(Trouble::new(format!("{}{}", first.message, place(first)), help));
    }
    let mut messages: Vec<&str> = unknown.iter().map(|problem| problem.message.as_str()).collect();
    messages.sort_unstable();
    messages.dedup();
    Ok(Some(match messages.len() {
        0 => "all are there".to_owned(),
        lacking => format!("{} will be made", output::count(lacking as u64, "attribute")),
    }))
}

/// Whether Brevo tells this engine of what others change.
async fn webhook(config: &Config, client: &BrevoClient) -> Result<Option<String>, Trouble> {
    if config.brevo.webhook_token.is_none() {
        let every = match config.brevo.read_back_every {
            Some(every) => format!("come by read-back, every {} min", every.as_secs() / 60),
            None => "are not read: `read_back_every` is off".to_owned(),
        };
        return Ok(Some(format!(
            "not used: `webhook_token` is not set, so Brevo's changes {every}"
        )));
    }
    let mut found = Vec::new();
    for of in [WebhookType::Marketing, WebhookType::Transactional] {
        let webhooks = in_time(client.webhooks(Lane::Live, of), |error| trouble(&error)).await?;
        found.push((of, webhooks));
    }
    configured(config, &found)
}

fn configured(
    config: &Config,
    found: &[(WebhookType, Vec<Webhook>)],
) -> Result<Option<String>, Trouble> {
    let host = config.server.public_url.as_ref().map(|url| url.as_str().trim_end_matches('/'));
    let address = format!("{}/webhooks/brevo", host.unwrap_or("https://YOUR-HOST"));
    let is_ours = |webhook: &&Webhook| match host {
        Some(_) => webhook.url.trim_end_matches('/') == address,
        None => webhook.url.trim_end_matches('/').ends_with("/webhooks/brevo"),
    };
    let make = format!(
        "make one by `POST /webhooks`: type marketing, url {address}, events {}, auth bearer with \
         `webhook_token`",
        EVENTS.join(", ")
    );
    let ours = |of: WebhookType| {
        let (_, webhooks) = found.iter().find(|(kind, _)| *kind == of)?;
        webhooks.iter().find(is_ours)
    };
    let Some(webhook) = ours(WebhookType::Marketing) else {
        let reason = match ours(WebhookType::Transactional) {
            Some(other) => format!("the webhook {} is a transactional one", other.id),
            None => format!("none of the account's webhooks leads to {address}"),
        };
        return Err(Trouble::new(reason, make));
    };
    let folded = |event: &str| event.replace('_', "").to_lowercase();
    let has = |event: &str| webhook.events.iter().any(|known| folded(known) == folded(event));
    let lacking: Vec<&str> = EVENTS.into_iter().filter(|event| !has(event)).collect();
    if lacking.is_empty() {
        return Ok(Some(format!("{}, {}", webhook.id, webhook.url)));
    }
    Err(Trouble::new(
        format!("the webhook {} is not called for {}", webhook.id, lacking.join(", ")),
        format!("add them by `PUT /webhooks/{}`", webhook.id),
    ))
}

pub(in crate::cli) fn client(config: &Config) -> Result<BrevoClient, Failure> {
    let settings = BrevoSettings {
        base_url: config.brevo.base_url.clone(),
        api_key: config.brevo.api_key.clone().unwrap_or_default(),
        rates: BucketRates::general(),
        backoff_base: BACKOFF,
        timeout: BrevoSettings::TIMEOUT,
        book: None,
    };
    Ok(BrevoClient::new(settings, Arc::new(SystemClock))?)
}

/// Whether a list that the configuration names is there.
fn list(name: &str, id: i64, lists: &[List]) -> Check {
    let line = format!("List `{name}` exists");
    let outcome = match lists.iter().find(|list| list.id.0 == id) {
        Some(list) => Ok(Some(format!("{id}, {}", list.name))),
        None => Err(Trouble::new(
            format!("the account has no list {id}"),
            format!(
                "make it in Brevo, or set `connectors.intercom.lists.{name}` to a number that \
                 Contacts, Lists shows"
            ),
        )),
    };
    Check::new(&line, outcome)
}

pub(in crate::cli) fn trouble(error: &BrevoError) -> Trouble {
    match error {
        BrevoError::Unauthorized { ip_blocked: true } => Trouble::new(
            "Brevo does not know this machine's IP address",
            "authorise it at https://app.brevo.com/security/authorised_ips",
        ),
        BrevoError::Unauthorized { ip_blocked: false } => Trouble::new(
            "Brevo does not accept the API key",
            "make one under SMTP & API, API keys (it begins with `xkeysib-`), and set \
             `BREVO_API_KEY`",
        ),
        BrevoError::Forbidden { .. } => {
            Trouble::new(error.to_string(), "see what the key and the account's plan allow")
        }
        BrevoError::RateLimited { retry_after } => Trouble::new(
            "Brevo's rate limit is used up",
            format!("try again in {} s", retry_after.as_secs()),
        ),
        BrevoError::Transport { reason, .. } => Trouble::new(
            reason.clone(),
            "see that this machine reaches api.brevo.com: name service, proxy (`HTTPS_PROXY`), \
             firewall",
        ),
        BrevoError::Server { .. } => {
            Trouble::new(error.to_string(), "try again later; see https://status.brevo.com")
        }
        _ => Trouble::new(error.to_string(), "see `connectors.brevo.base_url`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Severity;

    fn config(yaml: &str) -> Config {
        Config::parse(yaml, std::path::Path::new("config/tajo.yaml"), &|_| None).unwrap()
    }

    #[test]
    fn a_webhook_is_ours_by_its_address_and_must_hear_all_that_counts() {
        let public = config("server: { public_url: \"https://tajo.example.com\" }\n");
        let webhook = |url: &str, events: &[&str]| Webhook {
            id: 7,
            url: url.to_owned(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
        };
        let case = |config: &Config, of: WebhookType, webhook: Webhook| {
            configured(config, &[(of, vec![webhook])]).map_err(|trouble| trouble.reason)
        };
        let ours = "https://tajo.example.com/webhooks/brevo";
        let (marketing, other) = (WebhookType::Marketing, WebhookType::Transactional);
        assert!(case(&public, marketing, webhook(ours, &EVENTS)).is_ok());
        let anywhere = webhook("https://x.example.com/webhooks/brevo", &EVENTS);
        assert!(case(&config("{}\n"), marketing, anywhere.clone()).is_ok());
        assert_eq!(
            case(&public, marketing, anywhere).unwrap_err(),
            format!("none of the account's webhooks leads to {ours}")
        );
        assert_eq!(
            case(&public, other, webhook(ours, &EVENTS)).unwrap_err(),
            "the webhook 7 is a transactional one"
        );
        assert_eq!(
            case(&public, marketing, webhook(ours, &EVENTS[..5])).unwrap_err(),
            "the webhook 7 is not called for spam"
        );
        assert!(configured(&public, &[]).is_err());
    }

    #[test]
    fn attributes_that_are_lacking_are_made_or_named() {
        let unknown = |name: &str, severity| {
            let message = format!("unknown Brevo attribute `{name}`");
            let problem = Diagnostic::error(message, "configuration");
            problem.graded(severity).coded(Code::UnknownAttribute).with_help("make it")
        };
        let warning = || unknown("A", Severity::Warning);
        assert_eq!(judged(&[]).unwrap().unwrap(), "all are there");
        let made = judged(&[warning(), warning(), unknown("B", Severity::Warning)]);
        assert_eq!(made.unwrap().unwrap(), "2 attributes will be made");
        let trouble = judged(&[warning(), unknown("C", Severity::Error)]).unwrap_err();
        assert_eq!(trouble, Trouble::new("unknown Brevo attribute `C`", "make it"));
    }

    #[test]
    fn a_list_that_is_not_there_is_named() {
        let lists: Vec<List> = serde_json::from_value(
            serde_json::json!([{ "id": 35, "name": "All users", "folderId": 1 }]),
        )
        .unwrap();
        let found = list("all_users", 35, &lists);
        assert_eq!((found.ok, found.detail.as_deref()), (true, Some("35, All users")));
        let missing = list("leads", 37, &lists);
        assert_eq!(missing.trouble.unwrap().reason, "the account has no list 37");
    }
}
