//! No two of Brevo's contacts have one `EXT_ID`: who bears one that a record is to have.

use serde_json::{Value, json};

use crate::support::{App, until};

/// Everybody is written with an `EXT_ID`, but for whoever is called so.
const RULE: &str = r#"
fn map_contact(contact, brevo) {
    if contact.name == "Skipped" { return brevo.skip("not this one"); }
    brevo.email = contact.email;
    brevo.ext_id = "ic:" + contact.external_id;
    brevo.FIRSTNAME = contact.name;
    brevo.add_to_list(35);
}
"#;

async fn app() -> App {
    App::builder().with_script("mapping.rhai", RULE).start().await
}

fn person(name: &str, id: &str) -> Value {
    let email = format!("{}@example.com", name.to_lowercase());
    json!({"email": email, "name": name, "role": "user", "external_id": id})
}

async fn change(app: &App, id: &str, patch: Value) {
    app.fire(app.sandbox.intercom.update_contact(id, patch).unwrap()).await;
}

fn held(app: &App, email: &str) -> Value {
    app.sandbox.brevo.contact(email).unwrap_or_else(|| panic!("nobody has {email}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_to_an_address_that_brevo_holds_leaves_the_ext_id_behind_until_it_is_free() {
    let app = app().await;
    let id = app.create(person("Ann", "1")).await;
    let brevo = &app.sandbox.brevo;
    let news = brevo.create_list("News");
    brevo.put_contact(&json!({"email": "news@example.com", "listIds": [news]})).unwrap();
    change(&app, &id, json!({"email": "news@example.com"})).await;
    let moved = held(&app, "news@example.com");
    assert_eq!(moved["attributes"]["FIRSTNAME"], "Ann");
    assert_eq!(moved["listIds"], json!([35, news]));
    let former = held(&app, "ann@example.com");
    assert_eq!(former["listIds"], json!([]), "what it was granted goes");
    assert_eq!(app.status().await.dead_letters, 0);

    let writes = brevo.writes();
    change(&app, &id, json!({"custom_attributes": {"seats": 2}})).await;
    assert_eq!(brevo.writes(), writes, "an `EXT_ID` that another has was tried again");
    brevo.update_contact("ann@example.com", &json!({"ext_id": "free"})).unwrap();
    let mut seats = 3..;
    until("it gets the `EXT_ID` that is free", async || {
        // What Brevo holds is read anew, but for what was written in this very second.
        app.sync().await;
        change(&app, &id, json!({"custom_attributes": {"seats": seats.next()}})).await;
        (held(&app, "news@example.com")["attributes"]["EXT_ID"] == "ic:1").then_some(())
    })
    .await;
    app.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_swap_their_addresses() {
    let app = app().await;
    let ann = app.create(person("Ann", "1")).await;
    let bo = app.create(person("Bo", "2")).await;
    app.sandbox.intercom.update_contact(&ann, json!({"email": "bo@example.com"})).unwrap();
    change(&app, &bo, json!({"email": "ann@example.com"})).await;
    app.sync().await;
    for (email, name) in [("ann@example.com", "Bo"), ("bo@example.com", "Ann")] {
        let contact = held(&app, email);
        assert_eq!(contact["attributes"]["FIRSTNAME"], name);
        assert_eq!(contact["listIds"], json!([35]), "{email}");
    }
    assert_eq!(app.status().await.dead_letters, 0);
    assert_eq!(app.sandbox.brevo.contact_count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_bears_the_ext_id_of_a_record_moves_to_its_address() {
    for is_mirrored in [true, false] {
        let app = app().await;
        let brevo = &app.sandbox.brevo;
        let old = json!({"email": "old@example.com", "ext_id": "ic:9", "emailBlacklisted": true});
        if !is_mirrored {
            app.sync().await;
        }
        let id = brevo.put_contact(&old).unwrap();
        if is_mirrored {
            app.sync().await;
        }
        app.create(person("Ann", "9")).await;
        let contact = brevo.contact_by_id(id).unwrap();
        assert_eq!(contact["email"], "ann@example.com", "mirrored: {is_mirrored}");
        assert_eq!(contact["attributes"]["FIRSTNAME"], "Ann");
        assert_eq!(contact["emailBlacklisted"], true, "who opted out stays out");
        assert_eq!(contact["listIds"], json!([]));
        assert_eq!(brevo.contact_count(), 1);
        assert_eq!(app.status().await.dead_letters, 0);
        app.assert_consent_kept();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_bears_the_ext_id_of_a_record_but_is_another_person_stays_as_it_is() {
    let app = app().await;
    let brevo = &app.sandbox.brevo;
    app.create(json!({"email": "old@example.com", "name": "Skipped", "role": "user"})).await;
    let id = brevo.put_contact(&json!({"email": "old@example.com", "ext_id": "ic:9"})).unwrap();
    app.create(person("Ann", "9")).await;
    assert_eq!(brevo.contact_by_id(id).unwrap()["email"], "old@example.com");
    let ann = held(&app, "ann@example.com");
    assert_eq!(ann["attributes"]["FIRSTNAME"], "Ann");
    assert_eq!(ann["attributes"].get("EXT_ID"), None);
    assert_eq!(app.status().await.dead_letters, 0);
}
