//! Tags that get another name in Intercom, which tells nobody.

use serde_json::{Value, json};
use tajo::store::SyncKind;

use crate::support::App;

const RULES: &str = r#"
fn map_contact(contact, brevo) {
    brevo.email = contact.email;
    brevo.TOPICS = `${contact.conversations.tags}`;
}

fn map_conversation(conversation, brevo) {
    let them = brevo.contact(conversation.contact);
    if conversation.tags.contains("urgent") { them.URGENT = "yes"; }
}
"#;

const TAGS: &str = r#"
fn map_tags(tags, contact, brevo) { brevo.add_to_lists(tags, #{ VIP: "VIP" }); }
"#;

fn lists(app: &App, email: &str) -> Value {
    app.sandbox.brevo.contact(email).unwrap()["listIds"].clone()
}

fn attribute(app: &App, email: &str, name: &str) -> Value {
    app.sandbox.brevo.contact(email).unwrap()["attributes"][name].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_gets_another_name_is_seen_by_the_rules_of_all_who_bear_it() {
    let app = App::builder()
        .with_script("mapping.rhai", RULES)
        .with_script("tags.rhai", TAGS)
        .start()
        .await;
    let list = app.sandbox.brevo.create_list("VIP");
    let intercom = &app.sandbox.intercom;
    let person = |name: &str| json!({"email": format!("{name}@example.com"), "role": "user"});
    let ann = intercom.create_contact(person("ann")).unwrap().id;
    let bob = intercom.create_contact(person("bob")).unwrap().id;
    let cat = intercom.create_contact(person("cat")).unwrap().id;
    intercom.tag_contact(&ann, "VIP").unwrap();
    intercom.tag_contact(&bob, "other").unwrap();
    // A contact shows ten of its tags; the one that matters is not among them.
    for number in 0..14 {
        intercom.tag_contact(&cat, &format!("tag{number}")).unwrap();
    }
    intercom.tag_contact(&cat, "other").unwrap();
    let begun = intercom.start_conversation(&bob, "hello").unwrap().id;
    intercom.tag_conversation(&begun, "billing").unwrap();
    app.sync().await;
    assert_eq!(lists(&app, "ann@example.com"), json!([list]));
    assert_eq!(lists(&app, "bob@example.com"), json!([]));
    assert_eq!(attribute(&app, "bob@example.com", "TOPICS"), r#"["billing"]"#);

    intercom.rename_tag("VIP", "Regular").unwrap();
    intercom.rename_tag("other", "VIP").unwrap();
    intercom.rename_tag("billing", "urgent").unwrap();
    app.sync_as(SyncKind::Incremental).await;
    assert_eq!(lists(&app, "ann@example.com"), json!([]), "the name stands for another thing");
    assert_eq!(lists(&app, "bob@example.com"), json!([list]));
    assert_eq!(lists(&app, "cat@example.com"), json!([list]));
    assert_eq!(attribute(&app, "bob@example.com", "TOPICS"), r#"["urgent"]"#);
    assert_eq!(attribute(&app, "bob@example.com", "URGENT"), "yes");
    app.assert_conserved().await;
}
