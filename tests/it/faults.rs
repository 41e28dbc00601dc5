//! Faults of both services, of records and of scripts: they cost their own record at most.

use serde_json::{Value, json};
use tajo::model::{Clock as _, SystemClock};
use tajo::sandbox::Seed;
use tajo::sandbox::intercom::Failure;

use crate::support::{App, until};

#[tokio::test(flavor = "multi_thread")]
async fn refusals_for_going_too_fast_lose_nothing() {
    let app = App::builder().with_seed(Seed::new(300).companies(30)).start().await;
    app.sandbox.intercom.fail_next(
        "/contacts",
        Failure::RateLimited { retry_after: Some(std::time::Duration::from_secs(1)) },
        2,
    );
    app.sandbox.intercom.fail_next("/companies", Failure::RateLimited { retry_after: None }, 1);
    app.sandbox.brevo.fail_next("POST /v3/contacts/import", 429, Value::Null, 1);
    app.sandbox.brevo.fail_next("GET /v3/contacts", 429, Value::Null, 2);
    app.sandbox.brevo.fail_next("POST /v3/contacts", 429, Value::Null, 3);
    app.sync().await;
    assert!(
        app.sandbox.brevo.log().count(|call| call.status == 429) >= 3,
        "the faults were not met"
    );
    assert_all_there(&app);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_brevo_end_in_the_same_state_as_none() {
    let seed = Seed::new(300).companies(30).as_of(SystemClock.now());
    let calm = App::builder().with_seed(seed.clone()).start().await;
    calm.sync().await;

    let app = App::builder().with_seed(seed).start().await;
    let brevo = &app.sandbox.brevo;
    brevo.fail_next("PUT /v3/contacts/*", 500, Value::Null, 3);
    brevo.fail_next("POST /v3/contacts", 503, Value::Null, 3);
    brevo.reset_after_commit_next("POST /v3/contacts", 2);
    brevo.reset_after_commit_next("POST /v3/contacts/import", 1);
    brevo.reset_next("GET /v3/contacts", 2);
    brevo.import_fails_next();
    app.sync().await;
    assert_same(&decided_state(&app), &decided_state(&calm));
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_an_import_drops_are_written_singly() {
    let app = App::builder().with_seed(Seed::new(200).companies(10)).start().await;
    let emails: Vec<String> = app
        .sandbox
        .intercom
        .contacts()
        .iter()
        .filter_map(|c| Some(c["email"].as_str()?.to_lowercase()))
        .collect();
    let dropped: Vec<&str> = emails.iter().step_by(9).map(String::as_str).collect();
    app.sandbox.brevo.drop_rows_next(&dropped);
    app.sync().await;
    assert_all_there(&app);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_pauses_writing_and_nothing_dies() {
    let app = App::builder().start().await;
    app.sandbox.brevo.unauthorized(true);
    let changed = app
        .sandbox
        .intercom
        .create_contact(json!({"email": "ann@example.com", "role": "user"}))
        .unwrap();
    app.deliver(changed.notifications[0].to_string().as_bytes()).await;
    until("writing is paused", async || (!app.engine().degraded().is_empty()).then_some(())).await;
    assert!(app.engine().degraded()[0].contains("api_key"), "{:?}", app.engine().degraded());
    app.sandbox.brevo.unauthorized(false);
    app.drained().await;
    assert!(app.sandbox.brevo.contact("ann@example.com").is_some());
    assert_eq!(app.status().await.records.dead, 0);
    assert_eq!(app.engine().degraded(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_throws_costs_its_own_record_only() {
    let rule = "fn map_contact(contact, brevo) {\n    brevo.email = contact.email;\n    if contact.name == \"Poison\" { throw \"no such plan\"; }\n}\n";
    let app = App::builder().with_script("mapping.rhai", rule).start().await;
    app.create(json!({"email": "poison@example.com", "name": "Poison", "role": "user"})).await;
    app.create(json!({"email": "ann@example.com", "name": "Ann", "role": "user"})).await;
    assert!(app.sandbox.brevo.contact("ann@example.com").is_some());
    let letters = app.engine().dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].origin.as_deref(), Some("scripts/mapping.rhai:3:35"));
    assert!(letters[0].message.contains("no such plan"), "{}", letters[0].message);

    // Mended rules derive it again, and the dead letter is gone.
    let mended = rule.replace("throw \"no such plan\";", "");
    std::fs::write(app.script("mapping.rhai"), mended).unwrap();
    until("the dead letter is retried", async || {
        app.engine().dead_letters(10).await.unwrap().is_empty().then_some(())
    })
    .await;
    app.drained().await;
    assert!(app.sandbox.brevo.contact("poison@example.com").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_brevo_refuses_is_a_dead_letter_that_can_be_retried_or_dropped() {
    let app = App::builder().start().await;
    let refusal = json!({"code": "invalid_parameter", "message": "this one not: who@example.com"});
    app.sandbox.brevo.fail_next("POST /v3/contacts", 400, refusal, 1);
    app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    let letters = app.engine().dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].message.contains("this one not"), "{letters:?}");
    assert!(!letters[0].message.contains("who@example.com"), "addresses are masked: {letters:?}");
    let retried = app
        .engine()
        .retry_dead_letters(tajo::store::DeadLetterQuery::One(letters[0].id))
        .await
        .unwrap();
    assert_eq!(retried, 1);
    app.drained().await;
    assert!(app.sandbox.brevo.contact("ann@example.com").is_some());
    assert_eq!(app.status().await.records.dead, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_does_not_exist_is_a_dead_letter_that_names_the_line() {
    let rule = "fn map_contact(contact, brevo) {\n    brevo.email = contact.email;\n    brevo.add_to_list(\"Nobody made this\");\n}\n";
    let app = App::builder().with_script("mapping.rhai", rule).start().await;
    app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    let letters = app.engine().dead_letters(10).await.unwrap();
    assert_eq!(letters[0].kind, "list");
    assert!(letters[0].message.contains("`Nobody made this`"), "{letters:?}");
    assert!(
        letters[0].origin.as_deref().unwrap().starts_with("scripts/mapping.rhai:3:"),
        "{letters:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_but_unusable_is_kept_as_a_dead_letter() {
    let app = App::builder().start().await;
    for body in
        [&b"not json"[..], b"{}", b"[]", br#"{"topic":"contact.user.created","data":{"item":{}}}"#]
    {
        app.deliver(body).await;
    }
    app.drained().await;
    let status = app.status().await;
    assert_eq!((status.records.accepted, status.records.dead), (4, 4));
    assert_eq!(app.engine().drop_dead_letters(tajo::store::DeadLetterQuery::All).await.unwrap(), 4);
    assert_eq!(app.status().await.records.skipped, 4);
    app.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_another_contact_owns_is_left_out_and_the_rest_is_written() {
    let app = App::builder().start().await;
    app.sandbox
        .brevo
        .put_contact(&json!({"email": "first@example.com", "attributes": {"SMS": "+66812345678"}}))
        .unwrap();
    app.create(json!({"email": "ann@example.com", "name": "Ann Lee", "phone": "+66 81 234 5678", "role": "user"})).await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["attributes"]["FIRSTNAME"], "Ann");
    assert_eq!(held["attributes"].get("SMS"), None);
    assert_eq!(app.status().await.dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_is_gone_from_intercom_does_not_keep_the_others_waiting() {
    let app = App::builder().start().await;
    let created = app
        .sandbox
        .intercom
        .create_contact(json!({"email": "gone@example.com", "role": "user"}))
        .unwrap();
    let mut last = created.clone();
    for tag in 0..12 {
        last = app.sandbox.intercom.tag_contact(&created.id, &format!("tag{tag}")).unwrap();
    }
    app.sandbox.intercom.delete(&created.id).unwrap();
    app.deliver(last.notifications[0].to_string().as_bytes()).await;
    for person in 0..10 {
        let contact = json!({"email": format!("p{person}@example.com"), "role": "user"});
        let changed = app.sandbox.intercom.create_contact(contact).unwrap();
        app.deliver(changed.notifications[0].to_string().as_bytes()).await;
    }
    app.drained().await;
    for person in 0..10 {
        assert!(
            app.sandbox.brevo.contact(&format!("p{person}@example.com")).is_some(),
            "p{person}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_that_brevo_does_not_make_is_left_out_and_the_rest_is_written() {
    let app = App::builder().start().await;
    let refusal = json!({"code": "invalid_parameter", "message": "too many attributes"});
    app.sandbox.brevo.fail_next("POST /v3/contacts/attributes/*", 400, refusal, 1_000);
    app.create(json!({"email": "ann@example.com", "name": "Ann Lee", "role": "user"})).await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["attributes"]["FIRSTNAME"], "Ann");
    assert_eq!(held["attributes"].get("FULLNAME"), None);
    assert_eq!(app.status().await.dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_import_without_an_answer_granted_is_still_the_engines_to_take_back() {
    let app = App::builder().with_seed(Seed::new(200).companies(5)).start().await;
    app.sandbox.brevo.reset_after_commit_next("POST /v3/contacts/import", 2);
    app.sync().await;
    let email = app.sandbox.brevo.list_members(35).into_iter().next().unwrap();
    let ids = app.sandbox.intercom.ids_by_email(&email);
    assert_eq!(ids.len(), 1, "{email} is one person's");
    app.fire(app.sandbox.intercom.archive(&ids[0]).unwrap()).await;
    assert!(!app.sandbox.brevo.list_members(35).contains(&email));
    app.fire(app.sandbox.intercom.unarchive(&ids[0]).unwrap()).await;
    app.fire(app.sandbox.intercom.delete(&ids[0]).unwrap()).await;
    assert_eq!(app.sandbox.brevo.contact(&email), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_the_rules_choice_may_be_somebody_elses_contact() {
    let rule = "fn map_contact(contact, brevo) {\n    brevo.email = \"work.\" + contact.email;\n    \
                brevo.FIRSTNAME = contact.name;\n}\n";
    let app = App::builder().with_script("mapping.rhai", rule).start().await;
    let id = app.create(json!({"email": "ann@example.com", "name": "Ann", "role": "user"})).await;
    app.sandbox.brevo.put_contact(&json!({"email": "work.moss@example.com"})).unwrap();
    let moved =
        app.sandbox.intercom.update_contact(&id, json!({"email": "moss@example.com"})).unwrap();
    app.fire(moved).await;
    let held = app.sandbox.brevo.contact("work.moss@example.com").unwrap();
    assert_eq!(held["attributes"]["FIRSTNAME"], "Ann");
}

#[track_caller]
pub(crate) fn assert_same(state: &Value, expected: &Value) {
    let (state, expected) = (state.as_object().unwrap(), expected.as_object().unwrap());
    for (email, contact) in expected {
        assert_eq!(state.get(email), Some(contact), "{email}");
    }
    assert_eq!(state.len(), expected.len());
}

/// What Brevo holds, but for two things that depend on which calls were made: who is on the technical
/// list, and which of two people with one phone number got it first.
pub(crate) fn decided_state(app: &App) -> Value {
    let phones: Vec<String> =
        app.sandbox.intercom.contacts().iter().filter_map(|c| digits(&c["phone"])).collect();
    let is_shared = |phone: &Value| {
        digits(phone).is_some_and(|phone| {
            phones.iter().filter(|other| phone.ends_with(&other[1..])).count() > 1
        })
    };
    let mut state = app.sandbox.brevo.snapshot();
    for contact in state.as_object_mut().unwrap().values_mut() {
        let attributes = contact["attributes"].as_object_mut().unwrap();
        attributes.retain(|name, value| name != "SMS" || !is_shared(value));
        contact["lists"].as_array_mut().unwrap().retain(|list| list != "tajo: all synced");
    }
    state
}

fn digits(phone: &Value) -> Option<String> {
    let digits: String = phone.as_str()?.chars().filter(char::is_ascii_digit).collect();
    (digits.len() > 6).then_some(digits)
}

/// Everybody in Intercom who has an address is in Brevo.
#[track_caller]
fn assert_all_there(app: &App) {
    for contact in app.sandbox.intercom.contacts() {
        if let Some(email) = contact["email"].as_str() {
            assert!(app.sandbox.brevo.contact(email).is_some(), "{email} is not in brevo");
        }
    }
    app.assert_consent_kept();
}
