//! Events of people whom nobody is known to be yet: each is told once, however many wait.

use serde_json::json;

use super::*;
use crate::model::{Liveness, Source};
use crate::store::{Ending, Outcome};

const NOW: Timestamp = Timestamp::from_seconds(1_000_000_000);
const DAY: i64 = 86_400;
/// The last schema in which contacts are not found by what senders call them.
const BEFORE: usize = 21;

fn open(folder: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(&folder.path().join("tajo.db"), AddressKey::derive(b"test"), NOW).unwrap()
}

async fn accept(store: &SqliteStore, key: RecordKey, body: serde_json::Value, at: Timestamp) {
    let snapshot = Snapshot::new(key, Liveness::Live, body, Source::Notification, at, NOW);
    let content = Content::Snapshots {
        primary: Box::new(snapshot),
        others: Vec::new(),
        opt_outs: Vec::new(),
    };
    let arrival = Arrival { notification: None, received: NOW, priority: Priority::Live, content };
    store.accept(arrival).await.unwrap();
}

/// An event of whom its sender calls `38`.
async fn tell(store: &SqliteStore, id: &str, at: Timestamp) {
    let key = RecordKey::event(id.parse().unwrap());
    let body = json!({"event_name": "ordered", "intercom_user_id": null, "user_id": "38",
        "email": null, "created_at": at.seconds()});
    accept(store, key, body, at).await;
}

async fn meet(store: &SqliteStore) {
    let body = json!({"updated_at": NOW.seconds(), "external_id": "38", "role": "user"});
    accept(store, RecordKey::contact("c1".parse().unwrap()), body, NOW).await;
}

/// Does all work; answers the most keys that there were at a time.
async fn work_off(store: &SqliteStore) -> usize {
    let mut most = 0;
    loop {
        let claims =
            store.claim(&[Priority::Live, Priority::Bulk], 10_000, NOW.plus(1)).await.unwrap();
        if claims.is_empty() {
            return most;
        }
        most = most.max(claims.len());
        let ending = Ending::Done { outcome: Outcome::Applied, due_again: None };
        let ends = claims.into_iter().map(|claim| Settlement::new(claim, ending.clone()));
        store.settle(ends.collect(), NOW).await.unwrap();
    }
}

/// How many events wait, and how many count for `c1`.
async fn figures(store: &SqliteStore) -> (u64, u64) {
    let counted = store
        .read(|conn, ids| event_totals::of_contact(conn, ids, &"c1".parse().unwrap()))
        .await
        .unwrap();
    let waiting = store.counts(NOW).await.unwrap().events.unassigned;
    (waiting, counted.first().map_or(0, |counted| counted.count))
}

#[tokio::test]
async fn however_many_wait_for_somebody_all_are_told_a_bounded_number_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    for number in 0..450 {
        tell(&store, &format!("e{number}"), NOW.plus(-number)).await;
    }
    assert_eq!(store.claim(&[Priority::Live], 10, NOW).await.unwrap(), []);
    let counts = store.counts(NOW).await.unwrap();
    assert_eq!((counts.records.ignored, counts.events.known), (450, 0));
    assert_eq!(figures(&store).await, (450, 0));
    store.close().await;

    let store = open(&folder);
    meet(&store).await;
    assert_eq!(work_off(&store).await, 201, "the contact and the first of its events");
    assert_eq!(figures(&store).await, (0, 450));
    let records = store.counts(NOW).await.unwrap().records;
    assert_eq!((records.accepted, records.applied, records.ignored), (451, 451, 0));
    // Each bears its contact now, also for rules to come.
    let subjects = store.record_subjects(vec![RecordKey::event("e7".parse().unwrap())]).await;
    let subjects = subjects.unwrap();
    assert_eq!(subjects[0].contacts, ["c1".parse().unwrap()]);
    assert_eq!(subjects[0].record.as_ref().unwrap().body["intercom_user_id"], "c1");
    store.close().await;
}

#[tokio::test]
async fn what_nobody_turns_out_to_have_done_goes_with_its_age() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    tell(&store, "old", NOW.plus(-151 * DAY)).await;
    tell(&store, "new", NOW.plus(-149 * DAY)).await;
    assert_eq!(store.prune(NOW.plus(-30 * DAY)).await.unwrap(), 1);
    assert_eq!(figures(&store).await, (1, 0));
    meet(&store).await;
    work_off(&store).await;
    assert_eq!(figures(&store).await, (0, 1));
    store.close().await;
}

#[tokio::test]
async fn contacts_of_an_older_store_are_found_by_what_senders_call_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tajo.db");
    let mut conn = Connection::open(&path).unwrap();
    migrations().to_version(&mut conn, BEFORE).unwrap();
    let workspace = WorkspaceId::default();
    for (id, body) in [("c1", r#"{"external_id": "38"}"#), ("c2", r#"{"external_id": null}"#)] {
        conn.execute(
            "INSERT INTO records (workspace, kind, id, at, digest, liveness, body)
             VALUES (?1, 'contact', ?2, 1, ?3, 'live', ?4)",
            (workspace.as_str(), id, [0_u8; 32], body),
        )
        .unwrap();
    }
    drop(conn);
    let store = open(&folder);
    tell(&store, "e1", NOW).await;
    assert_eq!(figures(&store).await, (0, 1));
    store.close().await;
}
