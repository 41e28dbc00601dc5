//! What is old goes, and nothing that is still needed.

use serde_json::json;

use super::*;
use crate::model::{Liveness, Source, made_event_id};
use crate::store::{Cause, Ending, Outcome, SyncKind, SyncState};

const DAY: i64 = 86_400;
const NOW: Timestamp = Timestamp::from_seconds(1_000 * DAY);

fn days_ago(days: i64) -> Timestamp {
    NOW.plus(-days * DAY)
}

fn open(folder: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(&folder.path().join("tajo.db"), AddressKey::derive(b"test"), NOW).unwrap()
}

/// An event of the contact `c1`, told by a listing; one without an id has one that is made.
async fn tell(store: &SqliteStore, id: &str, at: Timestamp) {
    let body =
        json!({"event_name": "ordered", "intercom_user_id": "c1", "created_at": at.seconds()});
    let id = if id.is_empty() { made_event_id(body.as_object().unwrap()) } else { id.to_owned() };
    let key = RecordKey::event(id.parse().unwrap());
    let read = Source::Read { began: NOW };
    let snapshot = Snapshot::new(key, Liveness::Live, body, read, at, NOW);
    let content = Content::Snapshots {
        primary: Box::new(snapshot),
        others: Vec::new(),
        opt_outs: Vec::new(),
    };
    let arrival = Arrival { notification: None, received: NOW, priority: Priority::Bulk, content };
    store.accept(arrival).await.unwrap();
}

async fn settle(store: &SqliteStore, ending: Ending) -> usize {
    let claims = store.claim(&[Priority::Live, Priority::Bulk], 10, NOW.plus(100)).await.unwrap();
    let ends: Vec<_> =
        claims.into_iter().map(|claim| Settlement::new(claim, ending.clone())).collect();
    let settled = ends.len();
    store.settle(ends, NOW).await.unwrap();
    settled
}

async fn events(store: &SqliteStore) -> Vec<String> {
    let read = |conn: &Connection, ids: &Ids| {
        let mut statement = conn.prepare(
            "SELECT id FROM records WHERE workspace = ?1 AND kind = 'event' ORDER BY id",
        )?;
        let rows = statement.query_map((ids.workspace(),), |row| row.get(0))?;
        Ok(rows.collect::<Result<Vec<String>, _>>()?)
    };
    store.read(read).await.unwrap()
}

#[tokio::test]
async fn an_event_that_nothing_can_tell_again_goes_and_stays_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let applied = Ending::Done { outcome: Outcome::Applied, due_again: None };
    for (id, days) in [("e1", 300), ("e2", 151), ("e3", 149), ("e4", 1)] {
        tell(&store, id, days_ago(days)).await;
    }
    assert_eq!(settle(&store, applied.clone()).await, 4);
    // Of this one something is to be done, and that one waits for somebody.
    tell(&store, "e5", days_ago(301)).await;
    let broken = Ending::Dead(Cause { kind: "script", ..Cause::default() });
    settle(&store, broken).await;
    tell(&store, "e6", days_ago(302)).await;

    let removed = store.prune(days_ago(30)).await.unwrap();
    assert_eq!(removed, 2 + 4, "two events, and how four were told");
    assert_eq!(events(&store).await, ["e3", "e4", "e5", "e6"]);
    let counts = store.counts(NOW).await.unwrap();
    assert_eq!(counts.custom_events, 6);
    let counted = store
        .read(|conn, ids| event_totals::of_contact(conn, ids, &"c1".parse().unwrap()))
        .await
        .unwrap();
    assert_eq!((counted[0].count, counted[0].first), (6, days_ago(302)));

    // What Intercom still lists is told again, with its id or without, and is nothing new.
    settle(&store, applied).await;
    for (id, days) in [("e3", 149), ("", 149), ("e4", 1)] {
        tell(&store, id, days_ago(days)).await;
    }
    assert_eq!(store.claim(&[Priority::Bulk], 10, NOW.plus(100)).await.unwrap(), []);
    assert_eq!(store.counts(NOW).await.unwrap().custom_events, 6);
    store.close().await;
}

#[tokio::test]
async fn a_longer_retention_keeps_events_longer() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    tell(&store, "e1", days_ago(300)).await;
    settle(&store, Ending::Done { outcome: Outcome::Applied, due_again: None }).await;
    assert_eq!(store.prune(days_ago(365)).await.unwrap(), 0);
    assert_eq!(store.prune(days_ago(179)).await.unwrap(), 2);
    store.close().await;
}

#[tokio::test]
async fn syncs_go_but_for_the_newest_those_under_way_and_those_of_the_retention() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let put = async |number: i64, state: SyncState, days: i64| {
        let sync = Sync {
            id: format!("s{number:03}"),
            kind: SyncKind::Incremental,
            state,
            resources: BTreeMap::new(),
            since: None,
            requested_at: days_ago(days),
            started_at: None,
            finished_at: None,
            backfills: false,
            error: None,
        };
        store.put_sync(sync).await.unwrap();
    };
    put(0, SyncState::Done, 400).await;
    put(1, SyncState::Running, 399).await;
    put(2, SyncState::Failed, 398).await;
    put(3, SyncState::Done, 20).await;
    for number in 4..204 {
        put(number, SyncState::Done, 300).await;
    }
    assert_eq!(store.prune(days_ago(30)).await.unwrap(), 2);
    let mut left: Vec<String> =
        store.syncs(1_000).await.unwrap().into_iter().map(|sync| sync.id).collect();
    left.reverse();
    assert_eq!((left.len(), &left[..3]), (202, &["s001", "s003", "s004"].map(str::to_owned)[..]));
    store.close().await;
}
