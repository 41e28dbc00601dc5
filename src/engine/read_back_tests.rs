//! Reading contacts by number from a Brevo whose lists leave out contacts that it has.

use axum::Router;
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::brevo::{BrevoSettings, BucketRates};
use crate::model::ManualClock;
use crate::store::{AddressKey, SqliteStore};

const NOW: Timestamp = Timestamp::from_seconds(1_768_000_000);
/// Who was deleted in Brevo.
const GONE: i64 = 7;

fn contact(id: i64) -> Value {
    json!({"id": id, "email": format!("p{id}@example.com"), "emailBlacklisted": false,
        "smsBlacklisted": false, "listIds": [35], "attributes": {}})
}

/// A Brevo that heeds only the first of several `ids`; its address.
async fn forgetful() -> String {
    let listed = async |RawQuery(query): RawQuery| {
        let query = query.unwrap_or_default();
        let first = query.split('&').find_map(|pair| pair.strip_prefix("ids=")?.parse().ok());
        let found: Vec<Value> = first.filter(|id| *id != GONE).map(contact).into_iter().collect();
        axum::Json(json!({"count": found.len(), "contacts": found}))
    };
    let alone = async |Path(id): Path<i64>| match id {
        GONE => {
            let text = json!({"code": "document_not_found", "message": "Contact does not exist"});
            (StatusCode::NOT_FOUND, axum::Json(text))
        }
        id => (StatusCode::OK, axum::Json(contact(id))),
    };
    let attributes = async || axum::Json(json!({"attributes": []}));
    let router = Router::new()
        .route("/contacts", get(listed))
        .route("/contacts/attributes", get(attributes))
        .route("/contacts/{id}", get(alone));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn read_back(base_url: &str, store: Arc<dyn Store>) -> ReadBack {
    let settings = BrevoSettings {
        base_url: base_url.parse().unwrap(),
        api_key: "key".into(),
        rates: BucketRates::unlimited(),
        backoff_base: std::time::Duration::from_millis(1),
        timeout: BrevoSettings::TIMEOUT,
        book: None,
    };
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    let brevo = BrevoClient::new(settings, Arc::clone(&clock)).unwrap();
    ReadBack {
        account: Account::new(brevo.clone()),
        brevo,
        store,
        clock,
        after_loss: AfterLoss::Wait,
        newest: Arc::default(),
    }
}

#[tokio::test]
async fn whom_a_list_of_ids_lacks_is_gone_only_if_he_is_not_found_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tajo.db");
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&path, AddressKey::derive(b"test"), NOW).unwrap());
    let read_back = read_back(&forgetful().await, Arc::clone(&store));
    let ids: Vec<i64> = (1..=30).collect();
    for id in &ids {
        let held = BrevoContact {
            id: *id,
            email: format!("p{id}@example.com").parse().ok(),
            ..BrevoContact::default()
        };
        store.observe(vec![held], NOW.plus(-60)).await.unwrap();
    }
    let known = async |id: i64| {
        let email = format!("p{id}@example.com").parse().unwrap();
        store.mirror_at(email).await.unwrap().is_some()
    };
    assert!(known(GONE).await, "he was there");

    read_back.details(Lane::Bulk, &ids).await.unwrap();
    for id in &ids {
        assert_eq!(known(*id).await, *id != GONE, "{id}");
    }
    let mut again = read_back.again(Lane::Bulk, &[1, 2, GONE]).await.unwrap();
    again.sort_by_key(|contact| contact.id);
    assert_eq!(again.iter().map(|contact| contact.id).collect::<Vec<_>>(), [1, 2]);

    // The walk over all contacts shows none of them either.
    read_back.find_deleted(Lane::Bulk, NOW.plus(1)).await.unwrap();
    for id in &ids {
        assert_eq!(known(*id).await, *id != GONE, "{id}");
    }
}
