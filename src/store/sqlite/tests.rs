//! The store against its promises, whatever the order of what happens to it.

use std::cmp::Reverse;
use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::{Liveness, Source};
use crate::store::{Cause, Ending, Journalled, Outcome, Suspicion, Task};

const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, AddressKey::derive(b"test"), NOW).unwrap()
}

fn arrival(contact: u8, second: i64, name: &str) -> Arrival {
    let key = RecordKey::contact(format!("c{contact}").parse().unwrap());
    let body =
        json!({"updated_at": second, "name": name, "email": format!("c{contact}@example.com")});
    let snapshot = Snapshot::new(key, Liveness::Live, body, Source::Notification, NOW, NOW);
    let notification = Journalled {
        dedupe_key: format!("{contact} {second} {name}"),
        topic: "contact.user.updated".to_owned(),
        body: b"{}".to_vec(),
    };
    Arrival {
        notification: Some(notification),
        received: NOW,
        priority: Priority::Live,
        content: Content::Snapshots {
            primary: Box::new(snapshot),
            others: Vec::new(),
            opt_outs: Vec::new(),
        },
    }
}

async fn claim(store: &SqliteStore) -> Vec<Claim> {
    store.claim(&[Priority::Live, Priority::Bulk], 10, NOW.plus(100)).await.unwrap()
}

fn done(outcome: Outcome) -> Ending {
    Ending::Done { outcome, due_again: None }
}

#[tokio::test]
async fn what_took_the_process_down_twice_is_a_dead_letter_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tajo.db");
    let store = open(&path);
    for contact in 0..3 {
        store.accept(arrival(contact, 1, "a")).await.unwrap();
    }
    // All are claimed together when the process dies: nobody knows who was to blame.
    assert_eq!(claim(&store).await.len(), 3);
    store.close().await;

    let store = open(&path);
    let claims = claim(&store).await;
    assert!(claims.iter().all(|claim| claim.suspicion == Suspicion::Claimed));
    // The first survives being evaluated alone, the second takes the process down.
    let (first, second) = (claims[0].key.clone(), claims[1].key.clone());
    store.evaluate_alone(Some(&first)).unwrap();
    store.evaluate_alone(None).unwrap();
    store.evaluate_alone(Some(&second)).unwrap();
    store.close().await;

    // It may be that somebody killed the process from outside.
    let store = open(&path);
    assert_eq!(store.dead_letters(10).await.unwrap().len(), 0);
    for claim in claim(&store).await {
        let is_second = claim.key == second;
        let suspicion = if is_second { Suspicion::Alone } else { Suspicion::Claimed };
        assert_eq!(claim.suspicion, suspicion, "{:?}", claim.key);
    }
    store.evaluate_alone(Some(&second)).unwrap();
    store.close().await;

    let store = open(&path);
    let letters = store.dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].record, Some(format!("contact:{}", second.id)));
    assert_eq!(letters[0].kind, "crash");
    let claims = claim(&store).await;
    assert_eq!(claims.len(), 2);
    let counts = store.counts(NOW).await.unwrap().records;
    assert_eq!((counts.accepted, counts.dead, counts.pending), (3, 1, 2));
}

#[tokio::test]
async fn whoever_kills_the_process_while_suspects_are_alone_buries_none_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tajo.db");
    let store = open(&path);
    for contact in 0..4 {
        store.accept(arrival(contact, 1, "a")).await.unwrap();
    }
    claim(&store).await;
    store.close().await;
    // A kill while each of them is alone, one after the other, as the most suspected goes first.
    for round in 0..4 {
        let store = open(&path);
        assert_eq!(store.dead_letters(10).await.unwrap().len(), 0, "round {round}");
        let mut claims = claim(&store).await;
        assert_eq!(claims.len(), 4);
        claims.sort_by_key(|claim| Reverse(claim.suspicion));
        for claim in claims.into_iter().take(round + 1) {
            store.evaluate_alone(Some(&claim.key)).unwrap();
        }
        store.close().await;
    }
    let store = open(&path);
    assert_eq!(store.dead_letters(10).await.unwrap().len(), 0);
    // Whose rules were run is no suspect if the process ends while it is written.
    let keys: Vec<_> = claim(&store).await.into_iter().map(|claim| claim.key).collect();
    store.evaluated(keys).await.unwrap();
    store.close().await;
    let claims = claim(&open(&path)).await;
    assert!(claims.iter().all(|claim| claim.suspicion == Suspicion::None), "{claims:?}");
}

#[tokio::test]
async fn a_store_of_another_key_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tajo.db");
    open(&path).close().await;
    let refused = SqliteStore::open(&path, AddressKey::derive(b"other"), NOW).unwrap_err();
    assert!(matches!(refused, StoreError::OtherKey));
    open(&path).close().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tajo.db");
    let text = "not a database, but somebody's only copy of something".repeat(100);
    std::fs::write(&path, &text).unwrap();
    let refused = SqliteStore::open(&path, AddressKey::derive(b"test"), NOW).unwrap_err();
    assert!(refused.to_string().contains("tajo.db"), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn an_input_that_fails_takes_no_other_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("tajo.db"));
    // While this holds the writing thread, the inputs gather that share the next commit.
    let (go_on, told) = std::sync::mpsc::channel::<()>();
    let (started, begun) = tokio::sync::oneshot::channel();
    let holding = store.write(move |_, _| {
        let _ = started.send(());
        let _ = told.recv();
        Ok(())
    });
    let inputs = async {
        begun.await.unwrap();
        tokio::join!(
            store.accept(arrival(1, 1, "a")),
            store.take_in(|tx, _| {
                tx.conn.execute("DELETE FROM journal", ())?;
                Err::<(), _>(StoreError::Database("refused".to_owned()))
            }),
            store.take_in(|_, _| -> Result<(), StoreError> { panic!("a bug") }),
            store.accept(arrival(2, 1, "a")),
            async { go_on.send(()).unwrap() },
        )
    };
    let (_, (first, refused, broken, last, ())) = tokio::join!(holding, inputs);
    assert_eq!(first.unwrap(), Acceptance::Accepted);
    assert_eq!(last.unwrap(), Acceptance::Accepted);
    assert!(matches!(refused, Err(StoreError::Database(_))), "{refused:?}");
    assert!(matches!(broken, Err(StoreError::Closed)), "{broken:?}");
    let again = store.accept(arrival(1, 1, "a")).await.unwrap();
    assert_eq!(again, Acceptance::Duplicate, "the journal lost what was accepted");
    assert_eq!(store.counts(NOW).await.unwrap().records.accepted, 2);
    store.close().await;
}

#[tokio::test]
async fn what_is_gone_is_not_counted_and_what_comes_back_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("tajo.db"));
    let of = |contact: u8, second: i64, liveness: Liveness| {
        let mut arrival = arrival(contact, second, "a");
        if let Content::Snapshots { primary, .. } = &mut arrival.content {
            primary.liveness = liveness;
        }
        arrival
    };
    let contacts = async || store.counts(NOW).await.unwrap().contacts;
    for contact in 1..=3 {
        store.accept(of(contact, 1, Liveness::Live)).await.unwrap();
    }
    assert_eq!(contacts().await, 3);
    store.accept(of(1, 2, Liveness::Archived)).await.unwrap();
    store.accept(of(2, 2, Liveness::Deleted)).await.unwrap();
    assert_eq!(contacts().await, 1);
    store.accept(of(1, 3, Liveness::Live)).await.unwrap();
    assert_eq!(contacts().await, 2);
    store.close().await;
}

/// Statements that are about every row, as few and as rare as they are.
const ABOUT_ALL: [&str; 5] = [
    "coalesce(sum(carried + in_claim), 0) FROM work",
    "FROM mirror WHERE workspace = ?1 AND read_at < ?2",
    "FROM journal WHERE workspace = ?1 ORDER BY id LIMIT ?3",
    "SELECT 1 FROM strangers WHERE workspace = ?1 LIMIT 1",
    "SELECT count(*) FROM strangers",
];

/// A look-up that walks its table costs nothing on ten rows and minutes on a hundred thousand.
#[test]
fn no_statement_walks_a_table_that_grows() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder.path().join("tajo.db")));
    let conn = open_reader(&folder.path().join("tajo.db")).unwrap();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sqlite");
    let literal =
        regex::Regex::new(r#""((?:SELECT|UPDATE|DELETE|INSERT)\b(?:[^"\\]|\\.|\\\n)*)""#).unwrap();
    let blank = regex::Regex::new(r"\{\w+\}").unwrap();
    let walk = regex::Regex::new(
        r"^(SCAN|SEARCH) (journal|records|members|work|mirror|suppression|decisions|derivations|intents|participants|transitions|overlays|double_opt_ins|wanted_numbers|strangers|witnesses)\b(.*)$",
    )
    .unwrap();
    let mut seen = 0;
    let files = |folder: &Path| {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let (folders, mut paths): (Vec<_>, Vec<_>) =
        files(&sources).into_iter().partition(|path| path.is_dir());
    paths.extend(folders.iter().flat_map(|folder| files(folder)));
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        if path.ends_with("tests.rs") {
            continue;
        }
        for found in literal.captures_iter(&text) {
            let sql = found[1].replace("\\\n", " ").replace("{COLUMNS}", "id, workspace");
            // What else is filled in only narrows the search.
            let sql = blank.replace_all(&sql, "1 = 1");
            let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
            if ABOUT_ALL.iter().any(|about_all| sql.contains(about_all)) {
                continue;
            }
            let mut explained = match conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")) {
                // A migration speaks of tables that are gone.
                Err(error) if error.to_string().contains("no such table") => continue,
                explained => explained.unwrap(),
            };
            let steps: Vec<String> =
                explained.raw_query().mapped(|row| row.get(3)).map(Result::unwrap).collect();
            seen += 1;
            for step in &steps {
                let Some(parts) = walk.captures(step) else { continue };
                let walks = &parts[1] == "SCAN" || parts[3].ends_with("(workspace=?)");
                assert!(!walks, "{}: {step}: {sql}", path.display());
            }
        }
    }
    assert!(seen > 40, "only {seen} statements were found");
}

#[tokio::test]
async fn the_counts_of_somebody_with_many_conversations_are_exact_and_the_newest_are_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("tajo.db"));
    store.accept(arrival(1, 1, "a")).await.unwrap();
    let conversation = |number: i64, state: &str| {
        let key = RecordKey::conversation(number.to_string().parse().unwrap());
        let body = json!({"id": number.to_string(), "updated_at": number, "created_at": number,
            "state": state, "contacts": [{"id": "c1"}], "source": {"type": "email"}});
        Snapshot::new(key, Liveness::Live, body, Source::Notification, NOW, NOW)
    };
    let many = (1..=150).map(|n| conversation(n, if n % 3 == 0 { "open" } else { "closed" }));
    store.learn(many.collect(), Vec::new(), NOW).await.unwrap();
    let load = async || {
        let query = vec![SubjectQuery::from("c1".parse::<RecordId>().unwrap())];
        store.subjects(query).await.unwrap().remove(0).conversations
    };
    let found = load().await;
    let open = found.outlines.iter().filter(|one| one.state.as_deref() == Some("open")).count();
    assert_eq!((found.outlines.len(), open, found.newest.len()), (150, 50, 100));
    assert_eq!(found.newest[0]["updated_at"], 150);

    // One that changes and one that goes are counted anew.
    let gone = RecordKey::conversation("3".parse().unwrap());
    let gone = Snapshot::new(gone, Liveness::Deleted, json!({}), Source::Notification, NOW, NOW);
    let closed = Snapshot {
        body: json!({"id": "6", "updated_at": 999, "state": "closed",
        "contacts": [{"id": "c1"}]}),
        ..conversation(6, "closed")
    };
    let closed =
        Snapshot::new(closed.key, Liveness::Live, closed.body, Source::Notification, NOW, NOW);
    store.learn(vec![gone, closed], Vec::new(), NOW).await.unwrap();
    let found = load().await;
    let open = found.outlines.iter().filter(|one| one.state.as_deref() == Some("open")).count();
    assert_eq!((found.outlines.len(), open), (149, 48));
    assert_eq!(found.newest[0]["id"], "6");
}

#[tokio::test]
async fn a_conversation_makes_its_contacts_dirty_and_an_event_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("tajo.db"));
    store.accept(arrival(1, 1, "a")).await.unwrap();
    let first = claim(&store).await;
    store
        .settle(vec![Settlement::new(first[0].clone(), done(Outcome::Applied))], NOW)
        .await
        .unwrap();
    let accept = async |key: RecordKey, body: serde_json::Value, name: &str| {
        let snapshot = Snapshot::new(key, Liveness::Live, body, Source::Notification, NOW, NOW);
        let content = Content::Snapshots {
            primary: Box::new(snapshot),
            others: Vec::new(),
            opt_outs: Vec::new(),
        };
        let notification = Journalled {
            dedupe_key: name.to_owned(),
            topic: "any".to_owned(),
            body: b"{}".to_vec(),
        };
        let notification = Some(notification);
        let arrival = Arrival { notification, received: NOW, priority: Priority::Live, content };
        store.accept(arrival).await.unwrap();
        let mut keys: Vec<String> = claim(&store)
            .await
            .into_iter()
            .map(|claim| format!("{} {}", claim.key.task.as_str(), claim.key.id))
            .collect();
        keys.sort();
        keys
    };
    let body =
        json!({"updated_at": 5, "state": "open", "contacts": [{"id": "c1"}, {"id": "unknown"}]});
    let key = RecordKey::conversation("9".parse().unwrap());
    assert_eq!(accept(key, body, "1").await, ["contact c1", "conversation 9"]);
    let key = RecordKey::event("e1".parse().unwrap());
    let event = json!({"event_name": "ordered", "intercom_user_id": "c2"});
    assert_eq!(accept(key.clone(), event.clone(), "2").await, ["custom_event e1"]);
    // Another delivery of the same message says nothing new.
    let again = json!({"event_name": "ordered", "intercom_user_id": "c2", "region": "eu"});
    assert_eq!(accept(key, again, "3").await, [] as [&str; 0]);
}

/// Something that happens to a store.
#[derive(Debug, Clone)]
enum Step {
    Arrive { contact: u8, second: i64, name: u8 },
    Claim,
    Finish(u8),
    Crash,
    RetryDead,
    DropDead,
    Rederive,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let arrive = (0u8..3, 0i64..4, 0u8..2);
    let arrive = arrive.prop_map(|(contact, second, name)| Step::Arrive { contact, second, name });
    let step = prop_oneof![
        6 => arrive,
        3 => Just(Step::Claim),
        5 => (0u8..6).prop_map(Step::Finish),
        1 => Just(Step::Crash),
        1 => Just(Step::RetryDead),
        1 => Just(Step::DropDead),
        1 => Just(Step::Rederive),
    ];
    prop::collection::vec(step, 1..40)
}

async fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tajo.db");
    let mut store = open(&path);
    let mut open_claims: Vec<Claim> = Vec::new();
    for step in steps {
        match step {
            Step::Arrive { contact, second, name } => {
                store.accept(arrival(contact, second, &name.to_string())).await.unwrap();
            }
            Step::Claim => open_claims.extend(claim(&store).await),
            Step::Finish(how) => {
                let Some(claim) = open_claims.pop() else { continue };
                let retry = Ending::Retry { at: NOW, cursor: None, counts: how == 4 };
                let ending = match how {
                    0 => done(Outcome::Applied),
                    1 => done(Outcome::Unchanged),
                    2 => Ending::Done { outcome: Outcome::Skipped, due_again: Some(NOW.plus(9)) },
                    3 => Ending::Dead(Cause { kind: "script", ..Cause::default() }),
                    _ => retry,
                };
                store.settle(vec![Settlement::new(claim, ending)], NOW).await.unwrap();
            }
            Step::Crash => {
                store.close().await;
                open_claims.clear();
                store = open(&path);
            }
            Step::RetryDead => {
                store.retry_dead_letters(DeadLetterQuery::All, NOW).await.unwrap();
            }
            Step::DropDead => {
                store.drop_dead_letters(DeadLetterQuery::All).await.unwrap();
            }
            Step::Rederive => {
                store.rederive_all(None, NOW).await.unwrap();
            }
        }
        let r = store.counts(NOW).await.unwrap().records;
        let sum = r.applied
            + r.unchanged
            + r.superseded
            + r.ignored
            + r.skipped
            + r.held
            + r.dead
            + r.pending;
        assert_eq!(r.accepted, sum, "{r:?}");
    }
    // Whatever happened, everything that waits can be claimed and finished.
    open_claims.extend(claim(&store).await);
    for claim in std::mem::take(&mut open_claims) {
        store.settle(vec![Settlement::new(claim, done(Outcome::Applied))], NOW).await.unwrap();
    }
    for claim in claim(&store).await {
        assert_eq!(claim.key.task, Task::Contact);
        store.settle(vec![Settlement::new(claim, done(Outcome::Applied))], NOW).await.unwrap();
    }
    assert_eq!(store.counts(NOW).await.unwrap().records.pending, 0);
    store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// INVARIANT: every accepted input is in exactly one counted state, at any moment.
    #[test]
    fn every_accepted_input_is_in_exactly_one_state(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}

fn tracked(contact: u8, names: &[&str]) -> Box<crate::store::Derivation> {
    use crate::model::{Digest, Origin, RuleSetVersion, Traced, TrackedEvent};
    let id: RecordId = format!("c{contact}").parse().unwrap();
    let event = |name: &&str| Traced {
        value: TrackedEvent { name: (*name).to_owned(), at: None, properties: Default::default() },
        origin: Origin { file: "scripts/mapping.rhai".into(), line: 3, column: 5 },
    };
    Box::new(crate::store::Derivation {
        subject: RecordKey::contact(id.clone()),
        contact: id,
        rule_set: RuleSetVersion::of(Digest::of_bytes(b"rules")),
        as_of: NOW,
        snapshot: Digest::of_bytes(b"snapshot"),
        happened: NOW,
        backfills: false,
        events: names.iter().map(event).collect(),
    })
}

async fn track(store: &SqliteStore, contact: u8, names: &[&str], ending: Ending) {
    store.accept(arrival(contact, i64::from(contact) + names.len() as i64, "a")).await.unwrap();
    for claim in claim(store).await {
        let derivation = Some(tracked(contact, names));
        let settlement = Settlement { derivation, ..Settlement::new(claim, ending.clone()) };
        store.settle(vec![settlement], NOW).await.unwrap();
    }
}

async fn due_names(store: &SqliteStore, now: Timestamp) -> Vec<String> {
    let due = store.due_events(10, now).await.unwrap();
    due.into_iter().map(|due| format!("{}.{}", due.contact, due.event.name)).collect()
}

#[tokio::test]
async fn events_enter_with_the_end_of_their_claim_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tajo.db");
    let store = open(&path);
    let later = Ending::Retry { at: NOW, cursor: None, counts: true };
    track(&store, 1, &["a", "b"], later).await;
    assert_eq!(due_names(&store, NOW).await, Vec::<String>::new());
    track(&store, 1, &["a", "b", "a"], done(Outcome::Applied)).await;
    track(&store, 2, &["a"], done(Outcome::Unchanged)).await;
    store.close().await;
    let store = open(&path);
    assert_eq!(due_names(&store, NOW).await, ["c1.a", "c1.b", "c2.a"]);
    assert_eq!(store.counts(NOW).await.unwrap().events.due, 3);
    assert_eq!(store.next_event_due().await.unwrap(), Some(NOW));
}

#[tokio::test]
async fn an_event_that_waits_holds_up_its_own_contact_only() {
    use crate::store::{Doubt, EventEnd};
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("tajo.db"));
    track(&store, 1, &["a", "b"], done(Outcome::Applied)).await;
    track(&store, 2, &["a"], done(Outcome::Applied)).await;
    let first = store.due_events(1, NOW).await.unwrap().remove(0);
    let date = NOW.plus(-3);
    store.begin_events(vec![(first.seq, date)], NOW, NOW.plus(10)).await.unwrap();
    // As a process finds it that starts after this one died.
    assert_eq!(due_names(&store, NOW).await, ["c2.a"]);
    let found = store.due_events(1, NOW.plus(10)).await.unwrap().remove(0);
    assert_eq!((found.doubt, found.date, found.attempts), (Doubt::Possible, Some(date), 1));

    let retry = EventEnd::Retry { at: NOW.plus(5), doubt: Doubt::None, counts: true };
    store.end_events(vec![(first.seq, retry)], NOW).await.unwrap();
    assert_eq!(due_names(&store, NOW.plus(4)).await, ["c2.a"]);
    assert_eq!(due_names(&store, NOW.plus(5)).await, ["c1.a", "c1.b", "c2.a"]);
    // Once it is dead it holds up nothing any more.
    let cause = Cause { kind: "event", message: "no".to_owned(), ..Cause::default() };
    store.end_events(vec![(first.seq, EventEnd::Dead(cause))], NOW).await.unwrap();
    assert_eq!(due_names(&store, NOW).await, ["c1.b", "c2.a"]);
    let counts = store.counts(NOW).await.unwrap();
    assert_eq!((counts.events.dead, counts.records.dead, counts.dead_letters), (1, 0, 1));
    assert_eq!(store.retry_dead_letters(DeadLetterQuery::All, NOW).await.unwrap(), 1);
    assert_eq!(due_names(&store, NOW).await, ["c1.a", "c1.b", "c2.a"]);
    let all = store.due_events(10, NOW).await.unwrap();
    let ends = [EventEnd::Sent, EventEnd::Sent, EventEnd::Orphaned];
    let ends = all.iter().map(|due| due.seq).zip(ends).collect();
    store.end_events(ends, NOW).await.unwrap();
    let counts = store.counts(NOW).await.unwrap().events;
    assert_eq!((counts.sent, counts.known, counts.due, counts.dead), (2, 1, 0, 0));
    assert_eq!(store.next_event_due().await.unwrap(), None);
}
