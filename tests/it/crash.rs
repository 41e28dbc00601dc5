//! The process is killed at any moment; what was acknowledged is there afterwards, and Brevo ends in
//! the same state.

use std::time::Duration;

use serde_json::{Value, json};
use tajo::model::{Clock as _, SystemClock};
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
