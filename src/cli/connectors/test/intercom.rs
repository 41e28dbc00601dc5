//! What Intercom must let an engine read, and whether its webhooks arrive.

use std::sync::Arc;

use super::{BACKOFF, Check, Trouble, in_time};
use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::config::Config;
use crate::engine::Access;
use crate::http::TransportError;
use crate::http::{Lane, TransportErrorKind};
use crate::intercom::{IntercomClient, IntercomError, IntercomSettings, Me, Page};
use crate::model::{Snapshot, SystemClock, Timestamp, email_of};
use crate::store::Store;

const CONNECTION: &str = "API connection successful";
const CONTACTS: &str = "Contacts readable";
const CONVERSATIONS: &str = "Conversations readable";
const COMPANIES: &str = "Companies readable";
const WEBHOOKS: &str = "Webhooks registered";
/// The scope for contacts and companies, as the Developer Hub names it (facts: Intercom section 2).
pub(in crate::cli) const PEOPLE_SCOPE: &str = "Read and list users and companies";
const CONVERSATIONS_SCOPE: &str = "Read conversations";

/// Checks everything in the order of the lines.
pub(super) async fn checks(deployment: &Deployment) -> Result<Vec<Check>, Failure> {
    let config = &deployment.config;
    if !config.intercom.enabled {
        let failure = Failure::usage("`connectors.intercom.enabled` is false");
        return Err(failure.with_help("set it to true to use the connector"));
    }
    let access = match deployment.intercom_access().await? {
        Some(access) => access,
        None => {
            deployment.require_secrets_of("connectors.intercom.")?;
            let mut checks = vec![Check::new(CONNECTION, Err(unconnected()))];
            checks.extend([CONTACTS, CONVERSATIONS, COMPANIES].map(Check::not_tried));
            checks.push(Check::new(WEBHOOKS, webhooks(deployment).await));
            return Ok(checks);
        }
    };
    let client = client(config, &access)?;
    let lane = Lane::Live;
    let me = in_time(client.me(lane), |error| trouble(&error, config, "Gather App data")).await;
    let connection = me.and_then(|me| connected(&me, config));
    let mut checks = vec![Check::new(CONNECTION, connection.map(Some))];
    if checks.iter().all(|check| check.ok) {
        let people = |error: IntercomError| trouble(&error, config, PEOPLE_SCOPE);
        let contacts = in_time(client.contacts_page(lane, None), people).await;
        checks.push(Check::new(CONTACTS, contacts.map(|page| Some(shown(&page)))));
        let conversations = |error: IntercomError| trouble(&error, config, CONVERSATIONS_SCOPE);
        let conversations = in_time(client.conversations_readable(lane), conversations).await;
        checks.push(Check::new(CONVERSATIONS, conversations.map(|()| None)));
        let companies = in_time(client.companies_list_page(lane, 1), people).await;
        let companies =
            companies.map(|page| page.total.map(|total| format!("{total} in the workspace")));
        checks.push(Check::new(COMPANIES, companies));
    } else {
        checks.extend([CONTACTS, CONVERSATIONS, COMPANIES].map(Check::not_tried));
    }
    checks.push(Check::new(WEBHOOKS, webhooks(deployment).await));
    Ok(checks)
}

pub(in crate::cli) fn client(config: &Config, access: &Access) -> Result<IntercomClient, Failure> {
    let intercom = &config.intercom;
    let token = access.token.clone();
    let settings = IntercomSettings {
        api_version: access.api_version.clone(),
        requests_per_window: intercom.plan.requests_per_window(),
        timeout: super::CHECK_TIMEOUT,
        backoff_base: BACKOFF,
        ..IntercomSettings::new(intercom.base_url.clone(), token)
    };
    Ok(IntercomClient::new(settings, Arc::new(SystemClock))?)
}

/// There is no token at all.
pub(in crate::cli) fn unconnected() -> Trouble {
    Trouble::new(
        "there is no access token",
        "run `tajo connectors connect intercom`, or set `INTERCOM_ACCESS_TOKEN` to the token of the \
         Developer Hub, your app, Authentication",
    )
}

/// A connection, unless it is to another region than the workspace's: Intercom passes such calls on
/// at most for a while (facts: Intercom section 1).
fn connected(me: &Me, config: &Config) -> Result<String, Trouble> {
    let name = me.app_name.as_deref().unwrap_or("without a name");
    let found = format!("workspace {name}, app {}", me.app_id);
    let intercom = &config.intercom;
    let is_regional =
        intercom.base_url.as_str().trim_end_matches('/') == intercom.region.base_url();
    let ours = intercom.region.as_str();
    match me.region.as_deref() {
        Some(theirs) if is_regional && !theirs.eq_ignore_ascii_case(ours) => Err(Trouble::new(
            format!(
                "the workspace is hosted in {theirs}, and `connectors.intercom.region` is {ours}"
            ),
            format!("set `region: {}`", theirs.to_lowercase()),
        )),
        _ => Ok(found),
    }
}

/// Why a read failed and what to do. `scope` is what the Developer Hub calls the permission.
pub(in crate::cli) fn trouble(error: &IntercomError, config: &Config, scope: &str) -> Trouble {
    let tick = format!("tick `{scope}` in the Developer Hub, your app, Authentication");
    match error {
        IntercomError::Unauthorized { code } => Trouble::new(
            format!("Intercom refuses the access token (`{code}`)"),
            "copy the token of the Developer Hub, your app, Authentication, and set \
             `INTERCOM_ACCESS_TOKEN`",
        ),
        IntercomError::MissingScope => Trouble::new("the access token lacks the permission", tick),
        IntercomError::Forbidden { code, .. } if code == "api_plan_restricted" => Trouble::new(
            "the workspace has no subscription that includes this (`api_plan_restricted`)",
            "see Settings, Billing in Intercom: the trial may have ended, or the plan lacks it",
        ),
        IntercomError::Forbidden { .. } => Trouble::new(error.to_string(), tick),
        IntercomError::Invalid { code, .. } if code == "intercom_version_invalid" => Trouble::new(
            format!(
                "Intercom does not offer this app version {} of its API",
                config.intercom.api_version
            ),
            "set `connectors.intercom.api_version: \"2.11\"`, or raise the version in the \
             Developer Hub",
        ),
        IntercomError::RateLimited { .. } => Trouble::new(
            "Intercom's rate limit is used up, perhaps by another app of the workspace",
            "try again in a minute",
        ),
        IntercomError::Transport(error) => {
            let host = config.intercom.base_url.host_str().unwrap_or("the host");
            let (reason, remedy) = transport(error, host);
            Trouble::new(reason, remedy)
        }
        IntercomError::Server { status: 404 } | IntercomError::Malformed { .. } => Trouble::new(
            format!("what answers at {} is not Intercom's API", config.intercom.base_url),
            "leave `connectors.intercom.base_url` empty and set `region`, or correct it",
        ),
        IntercomError::Server { .. } | IntercomError::Empty => {
            Trouble::new(error.to_string(), "try again later; see https://www.intercomstatus.com")
        }
        _ => {
            Trouble::new(error.to_string(), "see `connectors.intercom.base_url` and `api_version`")
        }
    }
}

/// Why no answer came, as far as that can be told apart, and what to look at.
fn transport(error: &TransportError, host: &str) -> (String, String) {
    if error.kind != TransportErrorKind::Connect {
        let remedy = "try again in a minute; if it stays so, see whether a proxy or firewall cuts \
                      the call";
        return (error.kind.to_string(), remedy.to_owned());
    }
    let causes = causes(error).to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| causes.contains(word));
    if says(&["dns", "resolve", "lookup"]) {
        let remedy =
            "see `connectors.intercom.base_url` and `region`, and this machine's name service";
        (format!("the name {host} is not known"), remedy.to_owned())
    } else if says(&["certificate", "tls", "handshake"]) {
        let remedy = "see whether a proxy reads the traffic along, and this machine's clock";
        (format!("{host} cannot be trusted: its certificate is refused"), remedy.to_owned())
    } else if says(&["refused"]) {
        let remedy = "see `connectors.intercom.base_url`: nothing listens there";
        (format!("{host} refuses connections"), remedy.to_owned())
    } else {
        let remedy = format!(
            "see that this machine reaches {host}: name service, proxy (`HTTPS_PROXY`), firewall, \
             `region`"
        );
        (error.kind.to_string(), remedy)
    }
}

/// What the library says, from the outermost cause to the innermost.
fn causes(error: &TransportError) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!("{inner}; "));
        cause = inner.source();
    }
    text
}

/// Intercom tells nobody which webhooks are registered, so what arrived decides.
async fn webhooks(deployment: &Deployment) -> Result<Option<String>, Trouble> {
    let config = &deployment.config;
    if config.intercom.client_secret.is_none() {
        return Err(Trouble::new(
            "there is no client secret, so no signature can be verified",
            "copy it from the Developer Hub, your app, Basic information, and set \
             `INTERCOM_CLIENT_SECRET`",
        ));
    }
    let register = || {
        let host =
            config.server.public_url.as_ref().map_or("https://YOUR-HOST", |url| url.as_str());
        format!(
            "in the Developer Hub (https://app.intercom.com/a/apps/_/developer-hub), your app, \
             Webhooks: set the endpoint URL to {}/webhooks/intercom, tick the contact topics, and \
             send a test request while `tajo serve` runs",
            host.trim_end_matches('/')
        )
    };
    let unread = |error: Failure| Trouble::new(error.message(), register());
    if !deployment.store().exists() {
        return Err(Trouble::new("no notification has arrived yet: there is no store", register()));
    }
    let store = deployment.open_to_read().map_err(unread)?;
    match last_arrival(&store).await.map_err(unread)? {
        Some(at) => Ok(Some(format!("the last signed notification came at {at}"))),
        None => Err(Trouble::new("no signed notification has arrived yet", register())),
    }
}

/// When the last signed notification came, pings among them.
async fn last_arrival(store: &dyn Store) -> Result<Option<String>, Failure> {
    let at = store.fact("last_notification").await?;
    Ok(at.map(|at| match at.parse() {
        Ok(seconds) => Timestamp::from_seconds(seconds).to_string(),
        Err(_) => at,
    }))
}

/// How many contacts there are, and how many of a page Brevo could not know by an address.
fn shown(page: &Page) -> String {
    let total = page.total.map_or_else(|| "some".to_owned(), |total| total.to_string());
    let seen = page.snapshots.len();
    let has_no_address = |snapshot: &&Snapshot| email_of(&snapshot.body).is_none();
    let without = page.snapshots.iter().filter(has_no_address).count();
    let leads = page.snapshots.iter().filter(has_no_address).filter(|snapshot| {
        snapshot.body.get("role").and_then(serde_json::Value::as_str) == Some("lead")
    });
    match without {
        0 => format!("{total} in the workspace"),
        _ => format!(
            "{total} in the workspace; of the newest {seen}, {without} have no e-mail address, {} of \
             them leads: rules reach Brevo with these only by another identifier",
            leads.count()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(yaml: &str) -> Config {
        Config::parse(yaml, std::path::Path::new("config/tajo.yaml"), &|_| None).unwrap()
    }

    fn me(region: &str) -> Me {
        Me {
            admin_id: "1".to_owned(),
            app_id: "abc123".to_owned(),
            app_name: Some("Acme".to_owned()),
            timezone: None,
            region: Some(region.to_owned()),
            email_verified: None,
        }
    }

    #[test]
    fn a_workspace_of_another_region_is_told_apart() {
        let trouble = connected(&me("EU"), &config("{}\n")).unwrap_err();
        assert_eq!(trouble.remedy, "set `region: eu`");
        assert_eq!(connected(&me("US"), &config("{}\n")).unwrap(), "workspace Acme, app abc123");
        let elsewhere =
            config("connectors: { intercom: { base_url: \"http://127.0.0.1:4000\" } }\n");
        assert!(connected(&me("EU"), &elsewhere).is_ok(), "the address says where");
    }

    #[test]
    fn each_refusal_has_its_remedy() {
        fn case(error: &IntercomError, remedy: &str) {
            let found = trouble(error, &config("{}\n"), PEOPLE_SCOPE);
            assert!(found.remedy.contains(remedy), "{found:?}");
        }
        case(
            &IntercomError::Unauthorized { code: "token_revoked".to_owned() },
            "INTERCOM_ACCESS_TOKEN",
        );
        case(&IntercomError::MissingScope, "tick `Read and list users and companies`");
        let code = "intercom_version_invalid".to_owned();
        case(
            &IntercomError::Invalid { status: 400, code, message: String::new() },
            "api_version: \"2.11\"",
        );
        case(&IntercomError::RateLimited { retry_after: None }, "in a minute");
        case(&IntercomError::Server { status: 503 }, "intercomstatus");
    }
}
