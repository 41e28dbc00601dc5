//! Imports.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::Brevo;
use crate::sandbox::brevo::{BrevoOptions, BrevoSandbox, Limits};

#[tokio::test]
async fn an_import_takes_what_it_can_and_files_the_rest() {
    let brevo = Brevo::start().await;
    brevo.seed(json!({"email": "a@example.com", "attributes": {"SMS": "66812345678", "MRR": 1}}));
    let csv = "EMAIL;FIRSTNAME;SMS;MRR;PAID;NOPE\n\
        A@example.com;Ada;;;Yes;x\n\
        b@example.com;\"B; \"\"Bee\"\"\";66812345678;;;\n\
        c@example.com;Cee;abc;12.5;no;\n\
        not an address;Dee;;;;\n\
        c@example.com;Again;;;;\n";
    let process = brevo.import(json!({"fileBody": csv, "listIds": [35, 37]})).await;
    let files = &process["info"]["import"];
    let read = async |kind: &str| {
        let url = files[kind].as_str().unwrap();
        brevo.client.get(url).send().await.unwrap().text().await.unwrap()
    };
    assert_eq!(read("duplicate_phone_id").await, "EMAIL\nb@example.com\n");
    assert_eq!(read("duplicate_email_id").await, "EMAIL\nc@example.com\n");
    assert_eq!(read("invalid_emails").await, "EMAIL\nnot an address\n");
    assert_eq!(files["duplicate_ext_id"], Value::Null);
    let state = brevo.sandbox.snapshot();
    let attributes = |email: &str| state[email]["attributes"].clone();
    let ada = json!({"FIRSTNAME": "Ada", "SMS": "66812345678", "MRR": 1, "PAID": true});
    assert_eq!(attributes("a@example.com"), ada);
    let cee = json!({"FIRSTNAME": "Cee", "MRR": 12.5, "PAID": false});
    assert_eq!(attributes("c@example.com"), cee);
    assert_eq!(state["c@example.com"]["lists"], json!(["all users", "leads"]));
    assert_eq!(state.as_object().unwrap().len(), 2);
}

#[tokio::test]
async fn json_rows_lose_their_booleans_and_empty_cells_erase_only_on_demand() {
    let brevo = Brevo::start().await;
    brevo.seed(json!({"email": "a@example.com", "attributes": {"FIRSTNAME": "Ada"}}));
    let rows = json!([{"email": "a@example.com", "attributes": {"PAID": true, "FIRSTNAME": ""}}]);
    brevo.import(json!({"jsonBody": rows, "listIds": [35]})).await;
    let attributes = || brevo.sandbox.contact("a@example.com").unwrap()["attributes"].clone();
    assert_eq!(attributes(), json!({"FIRSTNAME": "Ada"}));
    brevo.import(json!({"jsonBody": rows, "listIds": [35], "emptyContactsAttributes": true})).await;
    assert_eq!(attributes(), json!({}));
}

#[tokio::test]
async fn imports_that_cannot_be_are_refused() {
    let brevo = Brevo::start().await;
    let rows = json!([{"email": "a@example.com"}]);
    let case = async |body: Value, code: &str| {
        let (status, answer) = brevo.post("/contacts/import", body).await;
        assert_eq!((status, &answer["code"]), (400, &json!(code)), "{answer}");
    };
    case(json!({"jsonBody": rows}), "missing_parameter").await;
    case(json!({"listIds": [35]}), "missing_parameter").await;
    case(json!({"jsonBody": rows, "listIds": [99]}), "invalid_parameter").await;
    case(json!({"fileUrl": "https://example.com/x.csv", "listIds": [35]}), "invalid_parameter")
        .await;
    case(json!({"fileBody": "EMAIL;NAME\n;x\n", "listIds": [35]}), "invalid_parameter").await;
    let large = json!({"fileBody": "x".repeat(10_000_000), "listIds": [35]});
    assert_eq!(brevo.post("/contacts/import", large).await.0, 413);
    let expected = json!({"code": "invalid_parameter", "message": "processId is invalid"});
    assert_eq!(brevo.get("/processes/9").await, (404, expected));
    assert_eq!(brevo.post("/contacts/batch", json!({"contacts": []})).await.0, 410);
    assert_eq!(brevo.put("/contacts", json!({})).await.0, 405);
    assert_eq!(brevo.get("/senders").await.0, 404);
}

#[tokio::test]
async fn imports_run_one_after_the_other_in_any_mood_and_call_back() {
    let brevo = Brevo::start().await;
    let hooks = BrevoSandbox::start(
        BrevoOptions { limits: Limits::off(), ..BrevoOptions::default() },
        brevo.clock.clone(),
    )
    .await
    .unwrap();
    let row = |name: &str| json!({"email": format!("{name}@example.com")});
    let import = |names: &[&str]| {
        let rows: Vec<Value> = names.iter().map(|name| row(name)).collect();
        let notify = format!("{}/done", hooks.base_url());
        json!({"jsonBody": rows, "listIds": [35], "notifyUrl": notify})
    };
    brevo.sandbox.stuck_import_next();
    brevo.sandbox.import_fails_next();
    brevo.sandbox.drop_rows_next(&["C@example.com"]);
    let (_, stuck) = brevo.post("/contacts/import", import(&["a"])).await;
    assert_eq!(brevo.import(import(&["b"])).await["status"], json!("failed"));
    assert_eq!(brevo.import(import(&["c", "d"])).await["status"], json!("completed"));
    let stuck = format!("/processes/{}", stuck["processId"]);
    let expected = json!({"id": 1, "name": "IMPORTUSER", "status": "in_process"});
    assert_eq!(brevo.get(&stuck).await, (200, expected));
    let only_d = BTreeSet::from(["d@example.com".to_owned()]);
    assert_eq!(brevo.sandbox.list_members(35), only_d);
    let called = async {
        while hooks.log().count(|entry| entry.is("POST", "/v3/done")) < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), called).await.unwrap();
}

#[tokio::test]
async fn thirty_thousand_contacts_are_imported_and_paged() {
    let brevo = Brevo::start().await;
    for half in 0..2 {
        let mut csv = "EMAIL;FIRSTNAME;EXT_ID\n".to_owned();
        for row in 0..15_000 {
            csv.push_str(&format!("p{half}-{row}@example.com;P;i{half}-{row}\n"));
        }
        brevo.import(json!({"fileBody": csv, "listIds": [35]})).await;
    }
    let mut seen = BTreeSet::new();
    for page in 0..30 {
        let path = format!("/contacts?limit=1000&sort=asc&offset={}", page * 1000);
        let (_, page) = brevo.get(&path).await;
        seen.extend(page["contacts"].as_array().unwrap().iter().map(|c| c["id"].as_i64().unwrap()));
    }
    assert_eq!((seen.len(), brevo.sandbox.list_members(35).len()), (30_000, 30_000));
}
