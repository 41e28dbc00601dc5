//! Contacts and events.

use serde_json::{Value, json};

use super::{Brevo, refused};

#[tokio::test]
async fn post_creates_upserts_and_refuses() {
    let brevo = Brevo::start().await;
    let ada = json!({"email": "Ada@Example.com", "attributes": {"firstname": "Ada", "X": 1}});
    assert_eq!(brevo.post("/contacts", ada.clone()).await, (201, json!({"id": 1})));
    let expected = refused("duplicate_parameter", "Contact already exist");
    assert_eq!(brevo.post("/contacts", ada).await, expected);
    let again = json!({
        "email": "ada@example.com", "updateEnabled": true, "listIds": [35], "ext_id": "i1",
        "attributes": {"MRR": 12, "DAY": "yesterday", "SMS": "+66812345678"},
    });
    assert_eq!(brevo.post("/contacts", again).await, (204, Value::Null));
    let (_, ada) = brevo.get("/contacts/i1?identifierType=ext_id").await;
    let attributes = json!({"FIRSTNAME": "Ada", "MRR": 12, "SMS": "66812345678", "EXT_ID": "i1"});
    assert_eq!((&ada["email"], &ada["attributes"]), (&json!("ada@example.com"), &attributes));
    assert_eq!(
        (&ada["listIds"], brevo.sandbox.contact("ADA@example.com").unwrap()),
        (&json!([35]), ada.clone())
    );

    let missing = brevo.post("/contacts", json!({"attributes": {"FIRSTNAME": "Eve"}})).await;
    assert_eq!((missing.0, &missing.1["code"]), (400, &json!("missing_parameter")));
    let post = async |body: Value| brevo.post("/contacts", body).await;
    let expected = refused("invalid_parameter", "Invalid email address");
    assert_eq!(post(json!({"email": "eve@"})).await, expected);
    let expected = refused("invalid_parameter", "Invalid phone number");
    assert_eq!(
        post(json!({"email": "e@example.com", "attributes": {"SMS": "12345"}})).await,
        expected
    );
    let bad_list = post(json!({"email": "e@example.com", "listIds": [99]})).await;
    assert_eq!((bad_list.0, &bad_list.1["code"]), (400, &json!("invalid_parameter")));
    assert_eq!(brevo.sandbox.contact_count(), 1);
    assert_eq!(brevo.sandbox.writes(), 7);
}

#[tokio::test]
async fn identifiers_are_unique() {
    let brevo = Brevo::start().await;
    brevo.seed(json!({"email": "a@example.com", "attributes": {"SMS": "66812345678"}}));
    brevo.seed(json!({"email": "b@example.com"}));
    let taken = |verb: &str, name: &str| {
        let message =
            format!("Unable to {verb} contact, {name} is already associated with another Contact");
        let metadata = json!({"duplicate_identifiers": [name]});
        (400, json!({"code": "duplicate_parameter", "message": message, "metadata": metadata}))
    };
    let sms = json!({"attributes": {"SMS": "+66812345678"}});
    assert_eq!(
        brevo.put("/contacts/2?identifierType=contact_id", sms).await,
        taken("update", "SMS")
    );
    let email = json!({"attributes": {"EMAIL": "A@example.com"}});
    assert_eq!(brevo.put("/contacts/b%40example.com", email).await, taken("update", "email"));
    let new = json!({"email": "c@example.com", "attributes": {"SMS": "0066812345678"}});
    assert_eq!(brevo.post("/contacts", new).await, taken("create", "SMS"));
    let clear = json!({"attributes": {"SMS": ""}});
    assert_eq!(brevo.put("/contacts/1", clear).await.0, 204);
    let sms = json!({"attributes": {"SMS": "+66812345678"}});
    assert_eq!(brevo.put("/contacts/2", sms).await.0, 204);
}

#[tokio::test]
async fn a_plus_in_a_path_must_be_encoded() {
    let brevo = Brevo::start().await;
    brevo.seed(json!({"email": "a+b@example.com"}));
    let expected = json!({"code": "document_not_found", "message": "Contact does not exist"});
    assert_eq!(brevo.get("/contacts/a+b%40example.com").await, (404, expected.clone()));
    assert_eq!(brevo.get("/contacts/a%2Bb%40example.com").await.0, 200);
    assert_eq!(brevo.put("/contacts/nobody@example.com", json!({})).await, (404, expected));
}

#[tokio::test]
async fn pages_ascend_on_demand_and_modified_since_is_inclusive() {
    let brevo = Brevo::start().await;
    for name in ["a", "b", "c"] {
        brevo.seed(json!({"email": format!("{name}@example.com")}));
        brevo.clock.advance(10);
    }
    brevo.sandbox.blacklist("a@example.com");
    let ids = async |query: &str| {
        let (status, page) = brevo.get(&format!("/contacts?{query}")).await;
        assert_eq!(status, 200, "{page}");
        let ids: Vec<i64> = page["contacts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["id"].as_i64().unwrap())
            .collect();
        (ids, page["count"].as_u64().unwrap())
    };
    assert_eq!(ids("limit=2").await, (vec![3, 2], 3));
    assert_eq!(ids("limit=2&sort=asc").await, (vec![1, 2], 3));
    assert_eq!(ids("limit=2&sort=asc&offset=2").await, (vec![3], 3));
    assert_eq!(ids("sort=asc&ids=1,3").await, (vec![1, 3], 2));
    let c = brevo.sandbox.contact("c@example.com").unwrap()["modifiedAt"].clone();
    let since = c.as_str().unwrap().replace('+', "%2B");
    assert_eq!(ids(&format!("sort=asc&modifiedSince={since}")).await, (vec![1, 3], 2));
    let unencoded = format!("/contacts?modifiedSince={}", c.as_str().unwrap());
    assert_eq!(brevo.get(&unencoded).await.0, 400);
    assert_eq!(brevo.get("/contacts?limit=1001").await.1["code"], json!("out_of_range"));
}

#[tokio::test]
async fn events_are_kept_and_carry_attributes() {
    let brevo = Brevo::start().await;
    brevo.seed(json!({"email": "a@example.com"}));
    let good = json!({
        "event_name": "closed", "identifiers": {"email_id": "A@example.com"},
        "contact_properties": {"MRR": 3, "SMS": "+66812345678"},
    });
    let bad = json!({"event_name": "bad name!", "identifiers": {}});
    assert_eq!(brevo.post("/events", good.clone()).await, (204, Value::Null));
    let error = refused("invalid_parameter", "event_name contains invalid characters");
    assert_eq!(brevo.post("/events", bad.clone()).await, error);
    assert_eq!(brevo.sandbox.contact_by_id(1).unwrap()["attributes"], json!({"MRR": 3}));
    let batch = async |events: Value| brevo.post("/events/batch", json!({"events": events})).await;
    assert_eq!(batch(json!([good])).await.0, 202);
    let (status, answer) = batch(json!([good, bad])).await;
    assert_eq!((status, &answer["errors"][0]["eventIndex"]), (207, &json!([1])));
    assert_eq!(batch(json!([bad])).await.0, 400);
    assert_eq!(batch(json!(vec![good; 201])).await.0, 400);
    assert_eq!(brevo.post("/events/batch", json!([])).await.0, 400);
    assert_eq!(brevo.sandbox.events().len(), 3);
}
