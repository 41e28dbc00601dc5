//! What Brevo drops without a word is found, written again, and parked if that does not help.

use serde_json::{Value, json};

use crate::support::{App, until};

/// A rule that writes one attribute, whose value is a custom attribute of Intercom's.
const RULE: &str = "fn map_contact(contact, brevo) {\n    brevo.email = contact.email;\n    \
                    brevo.SEATS = contact.custom_attributes.seats;\n    \
                    brevo.FIRSTNAME = contact.name;\n    \
                    brevo.add_to_list(\"all_users\");\n}\n";

async fn start() -> App {
    let app = App::builder().with_script("mapping.rhai", RULE).start().await;
    app.sandbox.brevo.create_attribute("SEATS", "float").unwrap();
    app
}

fn ann(seats: i64) -> Value {
    json!({"email": "ann@example.com", "name": "Ann", "role": "user", "custom_attributes": {"seats": seats}})
}

fn seats(app: &App) -> Value {
    app.sandbox.brevo.contact("ann@example.com").unwrap()["attributes"]["SEATS"].clone()
}

/// Waits until so many values were looked for and found dropped.
async fn dropped(app: &App, count: u64) {
    until("the value is looked for", async || {
        (app.status().await.values.counts.dropped >= count).then_some(())
    })
    .await;
    app.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_was_dropped_is_written_once_more_and_then_it_is_there() {
    let app = start().await;
    app.sandbox.brevo.drop_values_next("SEATS", 1);
    app.create(ann(5)).await;
    assert_eq!(seats(&app), Value::Null);
    until("the value is repaired", async || {
        (app.status().await.values.counts.repaired == 1).then_some(())
    })
    .await;
    assert_eq!(seats(&app), 5);
    let values = app.status().await.values;
    assert_eq!((values.counts.dropped, values.counts.parked), (1, 0));
    assert!(app.status().await.degraded.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_never_taken_is_parked_until_another_is_decided() {
    let mut app = start().await;
    app.sandbox.brevo.drop_values_next("SEATS", 1_000);
    let id = app.create(ann(5)).await;
    dropped(&app, 2).await;
    let status = app.status().await;
    assert_eq!(status.values.counts.parked, 1);
    let parked = serde_json::to_value(&status.values.attributes[0]).unwrap();
    assert_eq!(parked["attribute"], "SEATS");
    assert_eq!(parked["type"], "float");
    assert_eq!(parked["contacts"], 1);
    assert!(status.degraded[0].contains("`SEATS`"), "{:?}", status.degraded);

    // Nothing else is held up, and the value is not written again, also after a restart.
    let writes = app.sandbox.brevo.writes();
    app.stop_engine().await;
    app.start_engine().await;
    app.fire(app.sandbox.intercom.update_contact(&id, json!({"name": "Anna"})).unwrap()).await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["attributes"]["FIRSTNAME"], "Anna");
    assert_eq!(app.sandbox.brevo.writes(), writes + 1);
    let log = app.sandbox.brevo.log();
    let last = log.entries().into_iter().rfind(|call| call.method == "PUT").unwrap();
    assert_eq!(last.body["attributes"], json!({"FIRSTNAME": "Anna"}));

    // Brevo takes values again, and the rules decide another.
    app.sandbox.brevo.drop_values_next("SEATS", 0);
    let more = json!({"custom_attributes": {"seats": 6}});
    app.fire(app.sandbox.intercom.update_contact(&id, more).unwrap()).await;
    assert_eq!(seats(&app), 6);
    until("nothing is parked any more", async || {
        (app.status().await.values.counts.parked == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_an_attribute_of_another_type_drops_is_left_out_with_a_reason() {
    let app = start().await;
    let id = app.create(ann(5)).await;
    // The engine knows the attribute as a number; somebody makes it a flag.
    app.sandbox.brevo.retype_attribute("SEATS", "boolean").unwrap();
    let more = json!({"custom_attributes": {"seats": 6}});
    app.fire(app.sandbox.intercom.update_contact(&id, more).unwrap()).await;
    dropped(&app, 1).await;
    let writes = app.sandbox.brevo.writes();
    let other = json!({"custom_attributes": {"seats": 7}});
    app.fire(app.sandbox.intercom.update_contact(&id, other).unwrap()).await;
    assert_eq!(app.sandbox.brevo.writes(), writes, "a value that does not fit was written again");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_in_whichever_form_brevo_answers_them_are_not_written_again() {
    let rule = "fn map_contact(contact, brevo) {\n    brevo.email = contact.email;\n    \
                brevo.PLAN = contact.custom_attributes.plan;\n    \
                brevo.TAGS = [\"ops\", \"api\"];\n    brevo.DAY = \"2026-03-14\";\n    \
                brevo.MRR = 12.0;\n    brevo.PAYS = true;\n    brevo.NOTE = 7;\n    \
                brevo.SMS = \"+66812345678\";\n}\n";
    let app = App::builder().with_script("mapping.rhai", rule).start().await;
    let brevo = &app.sandbox.brevo;
    brevo.create_choice("PLAN", "category", &["Free", "Team"]).unwrap();
    brevo.create_choice("TAGS", "multiple-choice", &["api", "ops"]).unwrap();
    for (name, kind) in [("DAY", "date"), ("MRR", "float"), ("PAYS", "boolean"), ("NOTE", "text")] {
        brevo.create_attribute(name, kind).unwrap();
    }
    let contact =
        |plan: &str| json!({"email": "ann@example.com", "custom_attributes": {"plan": plan}});
    let id = app.create(contact("team")).await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap()["attributes"].clone();
    assert_eq!(
        (&held["PLAN"], &held["NOTE"], &held["SMS"]),
        (&json!("2"), &json!("7"), &json!("66812345678"))
    );
    let writes = brevo.writes();
    for plan in ["Team", "TEAM", "2"] {
        app.fire(app.sandbox.intercom.update_contact(&id, contact(plan)).unwrap()).await;
    }
    app.sync().await;
    assert_eq!(brevo.writes(), writes, "what Brevo holds already was written again");
    until("the values are looked for", async || {
        (app.status().await.values.counts.checked >= 7).then_some(())
    })
    .await;
    assert_eq!(app.status().await.values.counts.dropped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_somebody_deletes_is_named_by_a_dead_letter_and_nothing_is_tried_again() {
    let app = start().await;
    let id = app.create(ann(5)).await;
    // The engine believes that the list is there.
    app.sandbox.brevo.delete_list(35);
    app.create(json!({"email": "bob@example.com", "role": "user"})).await;
    let letters = app.engine().dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 1, "{letters:#?}");
    assert_eq!(
        letters[0].message,
        "the account has no list 35, which `lists` in the configuration calls `all_users`: make it in Brevo, \
         or give the number of another"
    );
    assert!(letters[0].origin.as_deref().unwrap().starts_with("scripts/mapping.rhai:5:"));
    let writes = app.sandbox.brevo.writes();
    app.drained().await;
    assert_eq!(app.sandbox.brevo.writes(), writes);

    // Who is gone from the rules is not held up by the list that is gone.
    app.fire(app.sandbox.intercom.archive(&id).unwrap()).await;
    assert_eq!(app.engine().dead_letters(10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_a_list_is_not_put_back_on_it_even_when_made_anew() {
    let app = App::builder().with_setting("brevo", "on_brevo_delete: recreate").start().await;
    let person = json!({"email": "ann@example.com", "role": "user", "name": "Ann"});
    let left = json!({"email": "ann@example.com", "listUnsubscribed": [35]});
    app.sandbox.brevo.put_contact(&left).unwrap();
    let id = app.create(person).await;
    let lists = || app.sandbox.brevo.contact("ann@example.com").unwrap()["listIds"].clone();
    assert_eq!(lists(), json!([]));
    assert!(app.sandbox.brevo.delete_contact("ann@example.com"));
    app.fire(app.sandbox.intercom.update_contact(&id, json!({"name": "Anna"})).unwrap()).await;
    assert_eq!(lists(), json!([]), "put back on a list that she had left");
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_an_attribute_lacks_are_made_where_that_is_allowed() {
    let rule = "fn map_contact(contact, brevo) {\n    brevo.email = contact.email;\n    \
                brevo.PLAN = contact.custom_attributes.plan;\n    brevo.TAGS = [\"ops\", \"new\"];\n}\n";
    for is_allowed in [true, false] {
        let app = App::builder()
            .with_setting("brevo", &format!("create_attributes: {is_allowed}"))
            .with_script("mapping.rhai", rule)
            .start()
            .await;
        app.sandbox.brevo.create_choice("PLAN", "category", &["Free", "Team"]).unwrap();
        app.sandbox.brevo.create_choice("TAGS", "multiple-choice", &["api", "ops"]).unwrap();
        let person = json!({"email": "ann@example.com", "custom_attributes": {"plan": "Business"}});
        app.create(person).await;
        let held = app.sandbox.brevo.contact("ann@example.com").unwrap()["attributes"].clone();
        let (plan, tags) = if is_allowed {
            (json!("3"), json!(["ops", "new"]))
        } else {
            (Value::Null, Value::Null)
        };
        assert_eq!((&held["PLAN"], &held["TAGS"]), (&plan, &tags), "{is_allowed}");
    }
}
