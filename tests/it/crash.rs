//! The process is killed at any moment; what was acknowledged is there afterwards, and Brevo ends in
//! the same state.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tajo::model::{Clock as _, SystemClock, Timestamp};
use tajo::sandbox::brevo::Limits;
use tajo::sandbox::{SandboxOptions, Seed};

use crate::support::{Deployment, until};

const NO_SWEEPS: &str = "store: { url: \"sqlite://data/tajo.db\" }\n";

fn options(seed: Option<Seed>) -> SandboxOptions {
    let mut options = SandboxOptions { seed, ..SandboxOptions::default() };
    options.brevo.limits = Limits::off();
    options.brevo.import_delay = Duration::from_millis(200);
    options.intercom.rate_limit = None;
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn every_webhook_that_was_acknowledged_survives_sigkill() {
    let deployment = Deployment::start(options(None), NO_SWEEPS).await;
    let secret = deployment.sandbox.intercom.client_secret().to_owned();
    let mut acknowledged: Vec<String> = Vec::new();
    let mut unfinished = 0;
    for round in 0..4 {
        let service = deployment.serve().await;
        for person in 0..25 {
            let email = format!("p{round}.{person}@example.com");
            let contact = json!({"email": email, "name": format!("P{person}"), "role": "user"});
            let changed = deployment.sandbox.intercom.create_contact(contact).unwrap();
            for notification in &changed.notifications {
                if service.deliver(&secret, &notification.to_string()).await {
                    acknowledged.push(email.clone());
                }
            }
        }
        // Killed while it writes: some are in Brevo, some are claimed, some wait.
        service.kill();
        let written =
            acknowledged.iter().filter(|email| deployment.sandbox.brevo.contact(email).is_some());
        unfinished += acknowledged.len() - written.count();
    }
    assert!(unfinished > 0, "no kill came while there was work left");
    let service = deployment.serve().await;
    service.drained().await;
    assert_eq!(acknowledged.len(), 100, "the webhooks were not accepted");
    for email in &acknowledged {
        assert!(
            deployment.sandbox.brevo.contact(email).is_some(),
            "{email} was acknowledged and lost"
        );
    }
    let status = service.get("connectors/intercom/status").await.unwrap();
    assert_conserved(&status);
    assert_eq!(status["deadLetters"], 0, "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_is_killed_again_and_again_ends_in_the_same_state() {
    let as_of = SystemClock.now();
    let seed = || Some(Seed::new(700).companies(60).as_of(as_of));
    let calm = Deployment::start(options(seed()), NO_SWEEPS).await;
    let service = calm.serve().await;
    synced(&service).await;
    service.kill();

    let deployment = Deployment::start(options(seed()), NO_SWEEPS).await;
    for writes in [1, 15, 40, 41] {
        let service = deployment.serve().await;
        let before = deployment.sandbox.brevo.writes();
        until("it has written", async || {
            let wrote = deployment.sandbox.brevo.writes() - before;
            let is_done = service.get("connectors/intercom/status").await?["lastSync"].is_string();
            (wrote >= writes || is_done).then_some(())
        })
        .await;
        service.kill();
    }
    let service = deployment.serve().await;
    synced(&service).await;
    assert_eq!(people(&deployment), people(&calm));
    assert_eq!(deployment.sandbox.brevo.violations(), Vec::<String>::new());
    let status = service.get("connectors/intercom/status").await.unwrap();
    assert_conserved(&status);
    let letters = service.get("dead-letters").await.unwrap();
    assert_eq!(status["deadLetters"], 0, "{letters:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_granted_right_before_sigkill_is_still_the_engines_to_take_back() {
    let deployment = Deployment::start(options(Some(Seed::new(200).companies(5))), NO_SWEEPS).await;
    let service = deployment.serve().await;
    until("the first import is in brevo", async || {
        (!deployment.sandbox.brevo.list_members(35).is_empty()).then_some(())
    })
    .await;
    service.kill();
    let granted: Vec<String> = deployment.sandbox.brevo.list_members(35).into_iter().collect();

    let service = deployment.serve().await;
    synced(&service).await;
    let secret = deployment.sandbox.intercom.client_secret().to_owned();
    let mut archived = Vec::new();
    for email in granted.iter().take(20) {
        let ids = deployment.sandbox.intercom.ids_by_email(email);
        let [id] = &ids[..] else { continue };
        for notification in deployment.sandbox.intercom.archive(id).unwrap().notifications {
            assert!(service.deliver(&secret, &notification.to_string()).await);
        }
        archived.push(email);
    }
    service.drained().await;
    let members = deployment.sandbox.brevo.list_members(35);
    for email in archived {
        assert!(!members.contains(email), "{email} was granted before the kill and not taken off");
    }
}

/// Companies with their people, and an object of each contact.
const RULES: &str = r#"
fn map_contact(contact, brevo) {
    if contact.email == () { return brevo.skip("no e-mail address"); }
    brevo.email = contact.email;
    for company in contact.companies { brevo.link_company(company.id); }
    brevo.upsert_object("profile", contact.id, #{ name: contact.name });
}

fn map_company(company, brevo) {
    brevo.name = company.name;
    brevo.industry = company.industry;
}
"#;

async fn with_companies(as_of: Timestamp) -> Deployment {
    let seed = Seed::new(120).companies(60).as_of(as_of);
    let deployment = Deployment::start(options(Some(seed)), NO_SWEEPS).await;
    deployment.sandbox.brevo.create_object_type("profile");
    std::fs::write(deployment.path("scripts/mapping.rhai"), RULES).unwrap();
    std::fs::remove_dir_all(deployment.path("scripts/tests")).unwrap();
    deployment
}

/// The companies in Brevo by their ids in Intercom, with their people, and the objects with theirs.
fn beside_contacts(deployment: &Deployment) -> (BTreeMap<String, Value>, Vec<Value>) {
    let brevo = &deployment.sandbox.brevo;
    let emails = |ids: &Value| {
        let contacts = ids.as_array().unwrap().iter().filter_map(Value::as_i64);
        let mut emails: Vec<String> = contacts
            .map(|id| brevo.contact_by_id(id).unwrap()["email"].as_str().unwrap().to_owned())
            .collect();
        emails.sort();
        emails
    };
    let companies = brevo.companies();
    let count = companies.len();
    let by_id: BTreeMap<String, Value> = companies
        .iter()
        .map(|company| {
            let attributes = &company["attributes"];
            let id = attributes["intercom_company_id"].as_str().unwrap().to_owned();
            let people = emails(&company["linkedContactsIds"]);
            (id, json!([attributes["name"], attributes["industry"], people]))
        })
        .collect();
    assert_eq!(by_id.len(), count, "a company has a twin");
    (by_id, brevo.objects("profile"))
}

#[tokio::test(flavor = "multi_thread")]
async fn companies_links_and_objects_that_are_written_at_sigkill_end_as_in_a_calm_run() {
    let as_of = SystemClock.now();
    let calm = with_companies(as_of).await;
    let service = calm.serve().await;
    synced(&service).await;
    service.kill();

    let deployment = with_companies(as_of).await;
    let calls = || {
        deployment.sandbox.brevo.log().count(|call| {
            let is_beside = ["/v3/companies", "/v3/crm", "/v3/objects"];
            call.method != "GET" && is_beside.iter().any(|start| call.path.starts_with(start))
        })
    };
    let mut interrupted = 0;
    let brevo = &deployment.sandbox.brevo;
    for _ in 0..5 {
        // What is carried out without an answer keeps its lane until the process is killed, however long
        // that takes.
        brevo.hang_after_commit_next("POST /v3/companies*", 1);
        brevo.hang_after_commit_next("POST /v3/objects*", 1);
        let service = deployment.serve().await;
        let before = calls();
        let is_done =
            until("it has written beside contacts, or has nothing to write", async || {
                if calls() > before {
                    return Some(false);
                }
                let status = service.get("connectors/intercom/status").await?;
                let is_idle = status["work"] == 0 && status["records"]["pending"] == 0;
                (status["lastSync"].is_string() && is_idle).then_some(true)
            })
            .await;
        service.kill();
        brevo.forget_failures();
        interrupted += usize::from(!is_done);
    }
    assert!(interrupted >= 3, "only {interrupted} kills came while something was written");
    let service = deployment.serve().await;
    synced(&service).await;
    let (companies, objects) = beside_contacts(&deployment);
    let (expected, expected_objects) = beside_contacts(&calm);
    assert_eq!(companies, expected);
    assert!(companies.len() > 50 && !objects.is_empty());
    assert_eq!(ids_of(&objects), ids_of(&expected_objects));
    let status = service.get("connectors/intercom/status").await.unwrap();
    assert_conserved(&status);
    let letters = service.get("dead-letters").await.unwrap();
    assert_eq!(status["deadLetters"], 0, "{letters:#}");
}

/// Objects without the numbers of Brevo's contacts, which are each run's own.
fn ids_of(objects: &[Value]) -> Vec<Value> {
    let shown = objects.iter().map(|object| json!([object["identifiers"], object["attributes"]]));
    shown.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_service_cleanly_and_a_second_one_on_the_store_is_refused() {
    let deployment = Deployment::start(options(Some(Seed::new(50).companies(5))), NO_SWEEPS).await;
    let service = deployment.serve().await;
    let second = deployment.run(&["serve"]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("pid"), "{said}");
    synced(&service).await;
    let status = service.terminate().await;
    assert!(status.success(), "{status}: {}", deployment.log());
}

/// Waits until the first sync of the service is complete and everything that it caused is done.
async fn synced(service: &crate::support::Service) {
    until("the sync is complete", async || {
        service.get("connectors/intercom/status").await?["lastSync"].is_string().then_some(())
    })
    .await;
    service.drained().await;
}

/// Who is in Brevo, with what the rules decide of everybody alike: which of two people with one phone
/// number has it depends on who came first.
fn people(deployment: &Deployment) -> Value {
    let mut people = deployment.sandbox.brevo.snapshot();
    for contact in people.as_object_mut().unwrap().values_mut() {
        contact["attributes"].as_object_mut().unwrap().remove("SMS");
        contact["lists"].as_array_mut().unwrap().retain(|list| list != "tajo: all synced");
    }
    people
}

#[track_caller]
fn assert_conserved(status: &Value) {
    let records = status["records"].as_object().unwrap();
    let count = |name: &str| records[name].as_u64().unwrap();
    let sum: u64 = records.keys().filter(|name| *name != "accepted").map(|name| count(name)).sum();
    assert_eq!(count("accepted"), sum, "{status:#}");
}
