//! What Intercom must let an engine read, and whether its webhooks arrive.

use std::sync::Arc;

use super::{BACKOFF, Check, Trouble, in_time};
use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::config::{Config, Region};
use crate::http::{Lane, TransportErrorKind};
use crate::intercom::{IntercomClient, IntercomError, IntercomSettings, Me};
use crate::model::{SystemClock, Timestamp};
use crate::store::{Resource, Store, Sync};

const CONNECTION: &str = "API connection successful";
const CONTACTS: &str = "Contacts readable";
const CONVERSATIONS: &str = "Conversations readable";
const COMPANIES: &str = "Companies readable";
const WEBHOOKS: &str = "Webhooks registered";
/// The scope for contacts and companies, as the Developer Hub names it (facts: Intercom section 2).
pub(in crate::cli) const PEOPLE_SCOPE: &str = "Read and list users and companies";
const CONVERSATIONS_SCOPE: &str = "Read conversations";
/// More syncs than any store remembers usefully.
const ALL_SYNCS: usize = 10_000;

/// Checks everything in the order of the lines.
pub(super) async fn checks(deployment: &Deployment) -> Result<Vec<Check>, Failure> {
    let config = &deployment.config;
    if !config.intercom.enabled {
        let failure = Failure::usage("`connectors.intercom.enabled` is false");
        return Err(failure.with_help("set it to true to use the connector"));
    }
    deployment.require_secrets_of("connectors.intercom.")?;
    let client = client(config)?;
    let lane = Lane::Live;
    let me = in_time(client.me(lane), |error| trouble(&error, config, "Gather App data")).await;
    let connection = me.and_then(|me| connected(&me, config));
    let mut checks = vec![Check::new(CONNECTION, connection.map(Some))];
    if checks.iter().all(|check| check.ok) {
        let people = |error: IntercomError| trouble(&error, config, PEOPLE_SCOPE);
        let contacts = in_time(client.contacts_page(lane, None), people).await;
        let contacts =
            contacts.map(|page| page.total.map(|total| format!("{total} in the workspace")));
        checks.push(Check::new(CONTACTS, contacts));
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

pub(in crate::cli) fn client(config: &Config) -> Result<IntercomClient, Failure> {
    let intercom = &config.intercom;
    let token = intercom.access_token.clone().unwrap_or_default();
    let settings = IntercomSettings {
        api_version: intercom.api_version.clone(),
        requests_per_window: intercom.plan.requests_per_window(),
        timeout: super::CHECK_TIMEOUT,
        backoff_base: BACKOFF,
        ..IntercomSettings::new(intercom.base_url.clone(), token)
    };
    Ok(IntercomClient::new(settings, Arc::new(SystemClock))?)
}

/// A connection, unless it is to another region than the workspace's: Intercom passes such calls on
/// at most for a while (facts: Intercom section 1).
fn connected(me: &Me, config: &Config) -> Result<String, Trouble> {
    let name = me.app_name.as_deref().unwrap_or("without a name");
    let found = format!("workspace {name}, app {}", me.app_id);
    let intercom = &config.intercom;
    let is_regional =
        intercom.base_url.as_str().trim_end_matches('/') == intercom.region.base_url();
    let ours = word(intercom.region);
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

fn word(region: Region) -> &'static str {
    match region {
        Region::Us => "us",
        Region::Eu => "eu",
        Region::Au => "au",
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
            let remedy = match error.kind {
                TransportErrorKind::Connect => format!(
                    "see that this machine reaches {host}: name service, proxy (`HTTPS_PROXY`), \
                     firewall, `region`"
                ),
                _ => "try again in a minute; if it stays so, see whether a proxy or firewall \
                      cuts the call"
                    .to_owned(),
            };
            Trouble::new(error.kind.to_string(), remedy)
        }
        IntercomError::Server { .. } | IntercomError::Empty => {
            Trouble::new(error.to_string(), "try again later; see https://www.intercomstatus.com")
        }
        _ => {
            Trouble::new(error.to_string(), "see `connectors.intercom.base_url` and `api_version`")
        }
    }
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
    match arrived(&store).await.map_err(unread)? {
        Arrived::Nothing => Err(Trouble::new("no signed notification has arrived yet", register())),
        Arrived::Some => Ok(None),
        Arrived::LastAt(at) => Ok(Some(format!("the last notification came at {at}"))),
    }
}

/// What is known of notifications.
enum Arrived {
    Nothing,
    Some,
    LastAt(String),
}

async fn arrived(store: &dyn Store) -> Result<Arrived, Failure> {
    if let Some(at) = store.fact("last_notification").await? {
        let shown = at.parse().map(|seconds| Timestamp::from_seconds(seconds).to_string());
        return Ok(Arrived::LastAt(shown.unwrap_or(at)));
    }
    let counts = store.counts(Timestamp::EPOCH).await?;
    let syncs = store.syncs(ALL_SYNCS).await?;
    let by_syncs: u64 = syncs.iter().map(read_by).sum();
    // What syncs did not read came with notifications.
    let is_more = counts.records.accepted > by_syncs || counts.duplicates > 0;
    Ok(if is_more { Arrived::Some } else { Arrived::Nothing })
}

/// How many accepted inputs a sync made: tags are learnt, not accepted.
fn read_by(sync: &Sync) -> u64 {
    let counted = [Resource::Contacts, Resource::Companies];
    counted
        .iter()
        .filter_map(|resource| sync.resources.get(resource))
        .map(|progress| progress.rows.max(progress.seen))
        .sum()
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
