//! Lists, folders, attributes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Brevo, refused};

#[tokio::test]
async fn list_calls_take_150_of_one_kind_and_tell_who_moved() {
    let brevo = Brevo::start().await;
    brevo.seed(json!({"email": "a@example.com", "ext_id": "i1", "listIds": [35]}));
    brevo.seed(json!({"email": "b@example.com"}));
    let add = "/contacts/lists/35/contacts/add";
    let moved = json!({"contacts": {"success": [2], "failure": [1, 9]}});
    assert_eq!(brevo.post(add, json!({"ids": [1, 2, 9]})).await, (201, moved));
    let nobody = refused("invalid_parameter", "Contact already in list and/or does not exist");
    assert_eq!(brevo.post(add, json!({"extIds": ["i1"]})).await, nobody);
    assert_eq!(brevo.post(add, json!({"ids": [1], "emails": []})).await.0, 400);
    assert_eq!(brevo.post(add, json!({"ids": vec![2; 151]})).await.0, 400);
    assert_eq!(brevo.post("/contacts/lists/77/contacts/add", json!({"ids": [1]})).await.0, 404);
    let remove = "/contacts/lists/35/contacts/remove";
    let moved = json!({"contacts": {"success": ["A@example.com"], "failure": []}});
    assert_eq!(brevo.post(remove, json!({"emails": ["A@example.com"]})).await, (201, moved));
    let left = BTreeSet::from(["b@example.com".to_owned()]);
    assert_eq!(brevo.sandbox.list_members(35), left);
    let (_, all) = brevo.post(remove, json!({"all": true})).await;
    assert_eq!(all["contacts"]["total"], json!(1));
    assert_eq!(
        brevo.ended(all["contacts"]["processId"].as_i64().unwrap()).await["status"],
        json!("completed")
    );
}

#[tokio::test]
async fn lists_folders_and_attributes_can_be_made() {
    let brevo = Brevo::start().await;
    let list = |folder: i64| json!({"name": "save them", "folderId": folder});
    assert_eq!(brevo.post("/contacts/lists", list(9)).await.0, 404);
    assert_eq!(brevo.post("/contacts/lists", list(1)).await, (201, json!({"id": 38})));
    let (_, page) = brevo.get("/contacts/lists?limit=1&offset=1").await;
    assert_eq!((&page["count"], &page["lists"][0]["id"]), (&json!(4), &json!(37)));
    assert_eq!(brevo.get("/contacts/lists?limit=51").await.0, 400);
    assert_eq!(brevo.get("/contacts/lists/38").await.1["name"], json!("save them"));
    assert_eq!(
        brevo.post("/contacts/folders", json!({"name": "x"})).await,
        (201, json!({"id": 2}))
    );
    assert_eq!(brevo.get("/contacts/folders").await.1["count"], json!(2));
    let kind = json!({"type": "text"});
    let path = "/contacts/attributes/normal/plan_tier";
    assert_eq!(brevo.post(path, kind.clone()).await, (201, Value::Null));
    let unique = refused("invalid_parameter", "Attribute name must be unique");
    assert_eq!(brevo.post(path, kind).await, unique);
    let (_, all) = brevo.get("/contacts/attributes").await;
    let made = json!({"name": "PLAN_TIER", "category": "normal", "type": "text"});
    assert!(all["attributes"].as_array().unwrap().contains(&made));
}
