//! The client against the fake Brevo, over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::*;
use crate::http::Lane::Live;
use crate::model::{AttributeType, AttributeValue, Email, ListId, ManualClock, Timestamp};
use crate::sandbox::brevo::{BrevoOptions, BrevoSandbox, Limits};

async fn start(limits: Limits) -> (BrevoSandbox, BrevoClient) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_768_000_000)));
    let options =
        BrevoOptions { limits, import_delay: Duration::from_millis(1), ..BrevoOptions::default() };
    let sandbox = BrevoSandbox::start(options, clock).await.unwrap();
    let client = client_of(&sandbox);
    (sandbox, client)
}

/// A client whose clock stands still, and which knows of no limits until the sandbox tells.
fn client_of(sandbox: &BrevoSandbox) -> BrevoClient {
    let settings = BrevoSettings {
        base_url: sandbox.base_url().parse().unwrap(),
        api_key: sandbox.api_key().into(),
        rates: BucketRates::unlimited(),
        backoff_base: Duration::from_millis(1),
        timeout: BrevoSettings::TIMEOUT,
        book: None,
    };
    let clock = ManualClock::at(Timestamp::from_seconds(1_768_000_000));
    BrevoClient::new(settings, Arc::new(clock)).unwrap()
}

fn email(text: &str) -> Email {
    text.parse().unwrap()
}

fn ann() -> ContactWrite {
    ContactWrite {
        email: Some(email("ann+1@example.com")),
        ext_id: Some("a/1 ü".into()),
        attributes: [("FIRSTNAME".parse().unwrap(), AttributeValue::Text("Ann".into()))].into(),
        list_ids: [ListId(35)].into(),
        update_enabled: true,
        ..ContactWrite::default()
    }
}

#[tokio::test]
async fn a_contact_is_created_read_updated_and_deleted_by_any_identifier() {
    let (sandbox, client) = start(Limits::off()).await;
    let Upserted::Created(id) = client.upsert(Live, &ann()).await.unwrap() else { panic!() };
    assert_eq!(client.upsert(Live, &ann()).await.unwrap(), Upserted::Updated);

    let by_email = Identifier::Email(email("ann+1@example.com"));
    let by_ext_id = Identifier::ExtId("a/1 ü".into());
    for identifier in [Identifier::Id(id), by_email.clone(), by_ext_id] {
        let contact = client.contact(Live, &identifier).await.unwrap().unwrap();
        assert_eq!((contact.id, contact.ext_id.as_deref()), (id, Some("a/1 ü")));
        assert_eq!(contact.lists, [ListId(35)].into());
    }
    let write = ContactWrite {
        email: Some(email("ann2@example.com")),
        unlink_list_ids: [ListId(35)].into(),
        sms_blacklisted: Some(OptOut),
        ..ContactWrite::default()
    };
    client.update(Live, &Identifier::Id(id), &write).await.unwrap();
    let contact = client.contact(Live, &Identifier::Id(id)).await.unwrap().unwrap();
    assert_eq!(contact.email, Some(email("ann2@example.com")));
    assert!(contact.sms_blacklisted && contact.lists.is_empty());

    assert_eq!(client.contact(Live, &by_email).await.unwrap(), None);
    let error = client.update(Live, &by_email, &write).await.unwrap_err();
    assert!(matches!(error, BrevoError::NotFound { .. }), "{error}");
    assert!(client.delete(Live, &Identifier::Id(id)).await.unwrap());
    assert!(!client.delete(Live, &Identifier::Id(id)).await.unwrap());
    assert_eq!(sandbox.violations(), Vec::<String>::new());
    let calls = client.calls();
    assert_eq!((calls.writes(), calls.reads(), calls.of(CallKind::Upsert)), (6, 5, 2));
}

#[tokio::test]
async fn pages_hold_what_was_asked_for() {
    let (sandbox, client) = start(Limits::off()).await;
    let ids: Vec<i64> = (0..5)
        .map(|number| {
            let lists = if number < 2 { json!([37]) } else { json!([]) };
            let body = json!({"email": format!("p{number}@example.com"), "listIds": lists});
            sandbox.put_contact(&body).unwrap()
        })
        .collect();
    let found = async |query: ContactsQuery<'_>| {
        let page = client.contacts_page(Live, &query).await.unwrap();
        assert_eq!(page.began, Timestamp::from_seconds(1_768_000_000));
        assert!(page.server_date.is_some());
        (page.contacts.iter().map(|contact| contact.id).collect::<Vec<_>>(), page.count)
    };
    let all = ContactsQuery::default();
    assert_eq!(found(all.clone()).await, (ids.clone(), 5));
    assert_eq!(
        found(ContactsQuery { offset: 3, limit: 1, ..all.clone() }).await,
        (vec![ids[3]], 5)
    );
    assert_eq!(found(ContactsQuery { ids: &ids[1..3], ..all.clone() }).await.0, ids[1..3]);
    assert_eq!(found(ContactsQuery { list: Some(ListId(37)), ..all.clone() }).await.0, ids[..2]);
    let since = Some(Timestamp::from_seconds(1_768_000_000));
    assert_eq!(found(ContactsQuery { modified_since: since, ..all.clone() }).await.0, ids);
    let later = Some(Timestamp::from_seconds(1_768_000_001));
    assert!(found(ContactsQuery { modified_since: later, ..all }).await.0.is_empty());
}

#[tokio::test]
async fn what_passes_is_repeated_and_what_does_not_is_not() {
    let (sandbox, client) = start(Limits::off()).await;
    for (status, times) in [(425, 2), (500, 3), (503, 1)] {
        sandbox.fail_next("POST /v3/contacts", status, Value::Null, times);
        client.upsert(Live, &ann()).await.unwrap();
    }
    sandbox.reset_after_commit_next("POST /v3/contacts", 1);
    assert_eq!(client.upsert(Live, &ann()).await.unwrap(), Upserted::Updated);

    sandbox.fail_next("POST /v3/contacts", 502, Value::Null, 4);
    let error = client.upsert(Live, &ann()).await.unwrap_err();
    assert_eq!(error, BrevoError::Server { status: 502 });
    assert!(error.outcome_unknown());

    let before = client.calls().of(CallKind::Upsert);
    let mut taken = ann();
    taken.email = Some(email("bob@example.com"));
    taken.ext_id = None;
    taken.attributes.insert("SMS".parse().unwrap(), AttributeValue::Text("+66812345678".into()));
    client.upsert(Live, &taken).await.unwrap();
    taken.email = Some(email("eve@example.com"));
    let error = client.upsert(Live, &taken).await.unwrap_err();
    assert_eq!(error, BrevoError::Duplicate { identifiers: vec!["SMS".into()] });
    assert_eq!(client.calls().of(CallKind::Upsert), before + 2);

    sandbox.unauthorized(true);
    let error = client.account(Live).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Key);
}

#[tokio::test]
async fn an_import_of_unknown_fate_is_not_repeated() {
    let (sandbox, client) = start(Limits::off()).await;
    let (address, nothing) = (email("ann@example.com"), BTreeMap::new());
    let row = ImportRow::new(&address, &nothing).unwrap();
    let [file] = &ImportFile::build(&[row]).unwrap()[..] else { panic!() };

    sandbox.reset_after_commit_next("POST /v3/contacts/import", 1);
    let error = client.start_import(Live, file, &[ListId(35)], None).await.unwrap_err();
    assert!(error.outcome_unknown(), "{error}");
    assert_eq!(client.calls().of(CallKind::Import), 1);
    sandbox.fail_next("POST /v3/contacts/import", 429, Value::Null, 1);
    client.start_import(Live, file, &[ListId(35)], None).await.unwrap();
    assert_eq!(client.calls().of(CallKind::Import), 3);
}

#[tokio::test]
async fn the_bucket_that_brevo_announces_is_kept() {
    let limits = Limits { contacts_per_second: Some(40), ..Limits::default() };
    let (sandbox, client) = start(limits).await;
    client.upsert(Live, &ann()).await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..60 {
        let client = client.clone();
        tasks.spawn(async move { client.upsert(Live, &ann()).await });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap().unwrap();
    }
    assert_eq!(sandbox.throttled(), 0);
    assert_eq!(client.limit_status()[0].limit, 40);
}

#[tokio::test]
async fn a_429_is_waited_for_inside_the_call_unless_it_lasts() {
    let (sandbox, client) = start(Limits { other_per_hour: Some(1), ..Limits::off() }).await;
    sandbox.fail_next("POST /v3/contacts", 429, Value::Null, 1);
    client.upsert(Live, &ann()).await.unwrap();
    assert_eq!(client.calls().of(CallKind::Upsert), 2);

    let other = client_of(&sandbox);
    other.account(Live).await.unwrap();
    let error = client.account(Live).await.unwrap_err();
    assert!(matches!(error, BrevoError::RateLimited { .. }), "{error}");
    client.account(Live).await.unwrap_err();
    assert_eq!(client.calls().of(CallKind::Account), 1);
}

#[tokio::test]
async fn an_import_ends_and_tells_which_rows_it_did_not_take() {
    let (sandbox, client) = start(Limits::off()).await;
    sandbox
        .put_contact(&json!({"email": "own@example.com", "attributes": {"SMS": "66812345678"}}))
        .unwrap();
    client
        .create_attribute(Live, &"PAYS".parse().unwrap(), AttributeType::Boolean, &[])
        .await
        .unwrap();
    let emails = ["ann@example.com", "bob@example.com"].map(email);
    let values = |sms: &str, pays: bool| -> BTreeMap<_, _> {
        let sms = AttributeValue::Text(sms.into());
        [("SMS".parse().unwrap(), sms), ("PAYS".parse().unwrap(), AttributeValue::Bool(pays))]
            .into()
    };
    let values = [values("+66899999999", true), values("+66812345678", false)];
    let rows: Vec<ImportRow<'_>> =
        emails.iter().zip(&values).map(|(e, v)| ImportRow::new(e, v).unwrap()).collect();
    let files = ImportFile::build(&rows).unwrap();
    let id = client.start_import(Live, &files[0], &[ListId(35)], None).await.unwrap();
    let state = loop {
        let state = client.process(Live, id).await.unwrap();
        if state.status != ProcessStatus::Running {
            break state;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(state.status, ProcessStatus::Completed);
    let [file] = &state.problem_files[..] else { panic!("{state:?}") };
    assert_eq!(file.kind, ProblemKind::Duplicate("SMS"));
    assert_eq!(client.problem_rows(Live, &file.url).await.unwrap(), ["bob@example.com"]);
    let ann = client.contact(Live, &Identifier::Email(emails[0].clone())).await.unwrap().unwrap();
    assert_eq!(ann.attributes[&"PAYS".parse().unwrap()], AttributeValue::Bool(true));
    assert_eq!(ann.lists, [ListId(35)].into());

    let elsewhere = "http://192.0.2.1/rows.csv".parse().unwrap();
    assert!(matches!(client.problem_rows(Live, &elsewhere).await, Err(BrevoError::Unusable(_))));
    assert!(matches!(client.process(Live, ProcessId(999)).await, Err(BrevoError::NotFound { .. })));
}

#[tokio::test]
async fn list_calls_tell_who_was_moved() {
    let (sandbox, client) = start(Limits::off()).await;
    let id = sandbox.put_contact(&json!({"email": "ann@example.com"})).unwrap();
    let (list, ann) = (ListId(35), Member::Email(email("ann@example.com")));
    let nobody = Member::Email(email("nobody@example.com"));
    let both = [ann.clone(), nobody.clone()];
    let outcome = client.add_to_list(Live, list, &both).await.unwrap();
    assert_eq!((outcome.success, outcome.failure), ([ann].into(), [nobody].into()));
    let again = client.add_to_list(Live, list, &[Member::Id(id)]).await.unwrap();
    assert_eq!((again.success.len(), again.failure.len()), (0, 1));
    let removed = client.remove_from_list(Live, list, &[Member::Id(id)]).await.unwrap();
    assert_eq!(removed.success, [Member::Id(id)].into());
    let absent = client.add_to_list(Live, ListId(777), &[Member::Id(id)]).await.unwrap_err();
    assert!(matches!(absent, BrevoError::NotFound { .. }), "{absent}");
    let mixed = [Member::Id(id), Member::Email(email("ann@example.com"))];
    assert!(matches!(client.add_to_list(Live, list, &mixed).await, Err(BrevoError::Unusable(_))));
    assert_eq!(client.add_to_list(Live, list, &[]).await.unwrap(), ListOutcome::default());
}

#[tokio::test]
async fn lists_folders_and_attributes_are_read_in_full_and_made() {
    let (sandbox, client) = start(Limits::off()).await;
    for number in 0..120 {
        sandbox.create_list(&format!("list {number}"));
    }
    let folder = client.create_folder(Live, "tajo").await.unwrap();
    assert!(client.folders(Live).await.unwrap().iter().any(|f| f.id == folder && f.name == "tajo"));
    let made = client.create_list(Live, "new", folder).await.unwrap();
    let lists = client.lists(Live).await.unwrap();
    assert_eq!(lists.len(), sandbox.lists().len());
    assert!(lists.contains(&List { id: made, name: "new".into(), folder_id: Some(folder) }));

    let options = ["api".to_owned(), "ops".to_owned()];
    for (name, kind) in [
        ("PLAN_TIER", AttributeType::Text),
        ("SEATS", AttributeType::Float),
        ("TOPICS", AttributeType::MultipleChoice),
        ("PLAN", AttributeType::Category),
    ] {
        let name = name.parse().unwrap();
        client.create_attribute(Live, &name, kind, &options).await.unwrap();
        client.create_attribute(Live, &name, kind, &options).await.unwrap();
    }
    let catalogue: Catalogue = client.attributes(Live).await.unwrap().into_iter().collect();
    let plan =
        catalogue.fit(&"PLAN".parse().unwrap(), &AttributeValue::Text("ops".into())).unwrap();
    assert_eq!(plan, AttributeValue::Integer(2));
    assert_eq!(catalogue.find(&"TOPICS".parse().unwrap()).unwrap().options.len(), 2);
}

#[tokio::test]
async fn what_cannot_name_a_contact_is_not_sent() {
    let (_sandbox, client) = start(Limits::off()).await;
    for text in ["", ".", ".."] {
        let error = client.delete(Live, &Identifier::ExtId(text.into())).await.unwrap_err();
        assert!(matches!(error, BrevoError::Unusable(_)), "{error}");
    }
    assert_eq!(client.calls(), CallCounts::default());
}
