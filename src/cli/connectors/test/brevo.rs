//! What Brevo must let an engine read, and whether the configured lists are there.

use std::sync::Arc;

use super::{BACKOFF, Check, Trouble, in_time};
use crate::brevo::{BrevoClient, BrevoError, BrevoSettings, BucketRates, ContactsQuery, List};
use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::config::Config;
use crate::http::Lane;
use crate::model::SystemClock;

const KEY: &str = "API key accepted";
const CONTACTS: &str = "Contacts readable";
const ATTRIBUTES: &str = "Attributes readable";
const LISTS: &str = "Lists readable";

/// Checks everything in the order of the lines.
pub(super) async fn checks(deployment: &Deployment) -> Result<Vec<Check>, Failure> {
    let config = &deployment.config;
    deployment.require_secrets_of("connectors.brevo.")?;
    let client = client(config)?;
    let lane = Lane::Live;
    let account = in_time(client.account(lane), |error| trouble(&error)).await.map(|account| {
        let plan = account.marketing_plan().unwrap_or("not told");
        Some(format!("account {}, plan {plan}", account.company_name))
    });
    let mut checks = vec![Check::new(KEY, account)];
    if checks.iter().any(|check| !check.ok) {
        checks.extend([CONTACTS, ATTRIBUTES, LISTS].map(Check::not_tried));
        return Ok(checks);
    }
    let query = ContactsQuery { modified_since: None, list: None, ids: &[], offset: 0, limit: 1 };
    let contacts = in_time(client.contacts_page(lane, &query), |error| trouble(&error)).await;
    checks.push(Check::new(
        CONTACTS,
        contacts.map(|page| Some(format!("{} in the account", page.count))),
    ));
    let attributes = in_time(client.attributes(lane), |error| trouble(&error)).await;
    checks.push(Check::new(
        ATTRIBUTES,
        attributes.map(|found| Some(format!("{} in the account", found.len()))),
    ));
    let lists = in_time(client.lists(lane), |error| trouble(&error)).await;
    match lists {
        Ok(lists) => {
            checks.push(Check::new(LISTS, Ok(Some(format!("{} in the account", lists.len())))));
            checks.extend(config.intercom.lists.iter().map(|(name, id)| list(name, *id, &lists)));
        }
        Err(trouble) => checks.push(Check::new(LISTS, Err(trouble))),
    }
    Ok(checks)
}

pub(in crate::cli) fn client(config: &Config) -> Result<BrevoClient, Failure> {
    let settings = BrevoSettings {
        base_url: config.brevo.base_url.clone(),
        api_key: config.brevo.api_key.clone().unwrap_or_default(),
        rates: BucketRates::general(),
        backoff_base: BACKOFF,
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
