//! Custom objects reach Brevo by the batch, each only when it differs from what Brevo took last.

use serde_json::json;
use tajo::sandbox::Seed;
use tajo::store::DeadLetterQuery;

use crate::conversations;
use crate::support::{App, until};

const RULES: &str = r#"
fn map_contact(contact, brevo) {
    if contact.email == () { return brevo.skip("no e-mail address"); }
    brevo.email = contact.email;
    brevo.upsert_object("profile", contact.id, #{ name: contact.name });
}

fn map_conversation(conversation, brevo) {
    if conversation.contact == () { return brevo.skip("nobody takes part"); }
    brevo.upsert_object("ticket", conversation.id, #{ state: conversation.state });
}
"#;

fn calls(app: &App) -> usize {
    app.sandbox.brevo.log().count(|call| call.path.starts_with("/v3/objects"))
}

/// Gives the account types of objects, and asks for them at once.
fn give_types(app: &App, kinds: &[&str]) {
    for kind in kinds {
        app.sandbox.brevo.create_object_type(kind);
    }
    app.engine().reconfigure(app.config()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_objects_are_few_calls_and_what_is_unchanged_is_none() {
    let app =
        App::builder().with_script("mapping.rhai", RULES).with_seed(Seed::new(1_500)).start().await;
    give_types(&app, &["profile", "ticket"]);
    app.sync().await;
    let brevo = &app.sandbox.brevo;
    let profiles = brevo.objects("profile");
    assert!(profiles.len() > 1_000, "{} objects", profiles.len());
    let belongs = |object: &&serde_json::Value| object["contacts"].as_array().unwrap().len() == 1;
    assert_eq!(profiles.iter().filter(belongs).count(), profiles.len());
    let first = calls(&app);
    assert!(first <= 20, "{first} calls");
    app.sync().await;
    assert_eq!(calls(&app), first);
    // One that is new is one call.
    let id = app.create(json!({"email": "zoe@example.com", "name": "Zoe", "role": "user"})).await;
    app.drained().await;
    assert_eq!(calls(&app), first + 1);
    let profiles = brevo.objects("profile");
    let zoe = profiles.iter().find(|object| object["identifiers"]["ext_id"] == id).unwrap();
    assert_eq!(zoe["attributes"], json!({"name": "Zoe"}));
    assert_eq!(zoe["contacts"], json!([brevo.contact("zoe@example.com").unwrap()["id"]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_conversation_asks_for_belongs_to_its_contact_and_follows_it() {
    let (app, id) = conversations::app(RULES).await;
    give_types(&app, &["profile", "ticket"]);
    let state = || {
        let tickets = app.sandbox.brevo.objects("ticket");
        assert!(tickets.len() <= 1);
        tickets.first().map(|ticket| ticket["attributes"]["state"].clone())
    };
    let life = conversations::life(&id);
    app.deliver(&life[0]).await;
    app.drained().await;
    assert_eq!(state(), Some(json!("open")));
    let contacts = app.sandbox.brevo.objects("ticket")[0]["contacts"].clone();
    assert_eq!(contacts.as_array().map(Vec::len), Some(1));
    let before = calls(&app);
    // A reply leaves it as it was.
    app.deliver(&life[1]).await;
    app.drained().await;
    assert_eq!(calls(&app), before);
    app.deliver(&life[4]).await;
    app.drained().await;
    assert_eq!((state(), calls(&app)), (Some(json!("closed")), before + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_without_objects_stops_nothing_else_and_kills_nothing() {
    let app = App::builder().with_script("mapping.rhai", RULES).start().await;
    let brevo = &app.sandbox.brevo;
    for name in ["ann", "bob"] {
        let email = format!("{name}@example.com");
        app.create(json!({"email": email, "name": name, "role": "user"})).await;
        app.drained().await;
        assert!(brevo.contact(&email).is_some());
    }
    let status = app.status().await;
    assert_eq!((status.dead_letters, status.records.pending), (0, 0));
    assert_eq!((status.objects.counts.sent, status.objects.counts.due), (0, 2));
    assert!(status.objects.disabled.is_some());
    let said = status.degraded.iter().filter(|reason| reason.contains("takes no custom objects"));
    assert_eq!(said.count(), 1, "{:?}", status.degraded);
    assert_eq!(calls(&app), 1, "it is not asked again for each object");
    // Once the plan has them, what was kept follows.
    give_types(&app, &["profile"]);
    until("both are in brevo", async || (brevo.objects("profile").len() == 2).then_some(())).await;
    app.drained().await;
    assert_eq!(app.status().await.degraded, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_the_account_lacks_is_a_dead_letter_with_its_line() {
    let app = App::builder().with_script("mapping.rhai", RULES).start().await;
    give_types(&app, &["ticket"]);
    app.create(json!({"email": "ann@example.com", "name": "Ann", "role": "user"})).await;
    app.drained().await;
    let dead = app.engine().dead_letters(10).await.unwrap();
    assert_eq!((dead.len(), app.status().await.objects.counts.dead), (1, 1));
    assert_eq!(dead[0].origin.as_deref(), Some("scripts/mapping.rhai:5:11"));
    assert!(dead[0].message.contains("make it in Brevo, then retry"), "{}", dead[0].message);
    assert!(app.sandbox.brevo.contact("ann@example.com").is_some());
    app.sandbox.brevo.create_object_type("profile");
    app.engine().retry_dead_letters(DeadLetterQuery::All).await.unwrap();
    app.drained().await;
    assert_eq!(app.sandbox.brevo.objects("profile").len(), 1);
    let status = app.status().await;
    assert_eq!((status.dead_letters, status.objects.counts.sent), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_whose_answer_was_lost_are_sent_again_and_are_the_same() {
    let app = App::builder().with_script("mapping.rhai", RULES).start().await;
    give_types(&app, &["profile"]);
    app.sandbox.brevo.reset_after_commit_next("POST /v3/objects/profile/batch/upsert", 1);
    app.create(json!({"email": "ann@example.com", "name": "Ann", "role": "user"})).await;
    app.drained().await;
    assert_eq!(app.sandbox.brevo.objects("profile").len(), 1);
    assert_eq!(app.status().await.dead_letters, 0);
}
