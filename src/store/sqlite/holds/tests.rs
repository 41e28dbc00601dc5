//! Holds against their promises, whatever the order of what happens to the store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use crate::model::{Bound, Decision, ListId, Liveness, RuleSetVersion, Source, Takes};
use crate::store::sqlite::*;
use crate::store::{
    Derivation, Ending, Journalled, Outcome, Progress, Resource, SyncKind, SyncState, Task,
};

const START: i64 = 1_000_000;
/// More contacts than this may not lose something without approval.
const BOUND: u64 = 2;
const CONTACTS: u8 = 6;

fn open(path: &Path) -> SqliteStore {
    let now = Timestamp::from_seconds(START);
    SqliteStore::open(path, AddressKey::derive(b"test"), now).unwrap()
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    /// A notification about a contact.
    Notify(u8),
    /// A page of a sweep shows a contact anew.
    Sweep(u8),
    /// The sweep is over.
    EndSweep,
    /// Other rules go live, and all is derived again.
    Rules,
    /// Everything that is due is derived and written; who is named loses something.
    Derive(BTreeSet<u8>),
    /// What is claimed is not ended: the process dies.
    Die,
    /// The engine looks at counts and decisions.
    Look,
    Approve,
    Reject,
    /// Time passes.
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let contact = 0..CONTACTS;
    let losers = prop::collection::btree_set(0..CONTACTS, 0..usize::from(CONTACTS));
    let step = prop_oneof![
        3 => contact.clone().prop_map(Step::Notify),
        3 => contact.prop_map(Step::Sweep),
        2 => Just(Step::EndSweep),
        2 => Just(Step::Rules),
        6 => losers.prop_map(Step::Derive),
        1 => Just(Step::Die),
        3 => Just(Step::Look),
        1 => Just(Step::Approve),
        1 => Just(Step::Reject),
        1 => (1i64..700).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..40)
}

/// A store, and what the world knows of it.
struct World {
    store: SqliteStore,
    now: Timestamp,
    /// Grows with each input, so that each is newer.
    second: i64,
    sweeps: u32,
    rules: u32,
    /// From whom something was taken away, when, and under which approval or count.
    taken: Vec<(u8, i64)>,
    /// Whom an approval, or a count below the bound, let go of.
    allowed: BTreeSet<u8>,
}

impl World {
    fn measure(&self) -> Measure {
        Measure {
            bound: Bound { contacts: BOUND, percent: 0.0 },
            rule_set: Some(self.version().to_string()),
            reapplies: true,
        }
    }

    fn version(&self) -> RuleSetVersion {
        RuleSetVersion::of(Digest::of_bytes(&self.rules.to_be_bytes()))
    }

    fn arrival(&mut self, contact: u8, source: Source) -> Arrival {
        self.second += 1;
        let key = RecordKey::contact(format!("c{contact}").parse().unwrap());
        let body = json!({"updated_at": self.second, "name": self.second.to_string()});
        let snapshot = Snapshot::new(key, Liveness::Live, body, source, self.now, self.now);
        let is_notification = source == Source::Notification;
        let notification = is_notification.then(|| Journalled {
            dedupe_key: self.second.to_string(),
            topic: "contact.user.updated".to_owned(),
            body: b"{}".to_vec(),
        });
        let priority = if is_notification { Priority::Live } else { Priority::Bulk };
        let (primary, others, opt_outs) = (Box::new(snapshot), Vec::new(), Vec::new());
        let content = Content::Snapshots { primary, others, opt_outs };
        Arrival { notification, received: self.now, priority, content }
    }

    fn sync(&self, state: SyncState) -> Sync {
        Sync {
            id: format!("sync-{}", self.sweeps),
            kind: SyncKind::Incremental,
            state,
            resources: BTreeMap::from([(Resource::Contacts, Progress::default())]),
            since: None,
            requested_at: self.now,
            started_at: None,
            finished_at: None,
            backfills: false,
            error: None,
        }
    }

    async fn end_sweep(&mut self) {
        self.store.put_sync(self.sync(SyncState::Done)).await.unwrap();
        self.sweeps += 1;
    }

    async fn rules(&mut self) {
        self.rules += 1;
        let version = self.version().to_string();
        let cause = self.store.begin_rules(version, self.now).await.unwrap();
        self.store.rederive_all(Some(cause), self.now).await.unwrap();
        self.store.feed(cause).await.unwrap();
    }

    async fn claim(&self) -> Vec<Claim> {
        let due = self.now.plus(100);
        self.store.claim(&[Priority::Live, Priority::Bulk], 100, due).await.unwrap()
    }

    /// What a round of the engine does.
    async fn derive(&mut self, losers: &BTreeSet<u8>) {
        for claim in self.claim().await {
            assert_eq!(claim.key.task, Task::Contact);
            let contact: u8 = claim.key.id.as_str()[1..].parse().unwrap();
            let version = self.version();
            let takes = Takes { lists: BTreeSet::from([ListId(36)]), ..Takes::default() };
            let mut outcome = Outcome::Applied;
            if losers.contains(&contact) {
                let taking = Taking {
                    contact: claim.key.id.clone(),
                    takes: takes.clone(),
                    cause: claim.cause,
                    rule_set: Some(version.to_string()),
                };
                let judged = self.store.judge(vec![taking], self.measure(), self.now).await;
                let judged = judged.unwrap();
                assert!(!judged.is_unfed, "rules are counted by whom nobody began to");
                let judgement = &judged.judgements[0];
                if !judgement.waits.is_empty() {
                    outcome = Outcome::Held;
                } else if !judgement.rejected.is_empty() {
                    outcome = Outcome::Skipped;
                } else if !self.allowed.remove(&contact) {
                    self.taken.push((contact, self.now.seconds()));
                }
            } else {
                self.allowed.remove(&contact);
            }
            let mut settlement =
                Settlement::new(claim.clone(), Ending::Done { outcome, due_again: None });
            let subject = RecordKey::contact(claim.key.id.clone());
            settlement.derivation = Some(Box::new(Derivation {
                subject: subject.clone(),
                contact: claim.key.id,
                rule_set: version.clone(),
                as_of: self.now,
                snapshot: Digest::of_bytes(b"snapshot"),
                happened: self.now,
                backfills: false,
                events: Vec::new(),
            }));
            settlement.decision = Some(Box::new(Decision::new(subject, version, self.now)));
            self.store.settle(vec![settlement], self.now).await.unwrap();
        }
    }

    /// What the guard's task does. A count of more than the bound is never let go of by itself.
    async fn look(&mut self) {
        for hold in self.store.close_counts(self.measure()).await.unwrap() {
            assert!(hold.contacts > BOUND, "{hold:?}");
        }
        self.work_off().await;
    }

    async fn work_off(&mut self) {
        let before = self.leaves().await;
        while self.store.work_off_holds(self.now).await.unwrap() > 0 {}
        let after = self.leaves().await;
        self.allowed.extend(after.difference(&before));
    }

    /// Who has leave to lose something.
    async fn leaves(&self) -> BTreeSet<u8> {
        self.store
            .read(|conn, _| {
                let mut rows =
                    conn.prepare("SELECT contact FROM held_changes WHERE state = 'leave'")?;
                let rows = rows.query_map([], |row| row.get::<_, String>(0))?;
                Ok(rows.map(|row| row.unwrap()[1..].parse().unwrap()).collect())
            })
            .await
            .unwrap()
    }

    async fn assert_conserved(&self) {
        let counts = self.store.counts(self.now).await.unwrap();
        let r = counts.records;
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

    /// Nobody lost anything without leave but as few as may within ten minutes.
    fn assert_bounded(&self) {
        for (_, start) in &self.taken {
            let within = self.taken.iter().filter(|(_, at)| (*start..start + 600).contains(at));
            let contacts: BTreeSet<u8> = within.map(|(contact, _)| *contact).collect();
            assert!(contacts.len() as u64 <= BOUND, "{:?}", self.taken);
        }
    }
}

async fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tajo.db");
    let mut world = World {
        store: open(&path),
        now: Timestamp::from_seconds(START),
        second: START - 100_000,
        sweeps: 0,
        rules: 0,
        taken: Vec::new(),
        allowed: BTreeSet::new(),
    };
    for step in steps {
        match step {
            Step::Notify(contact) => {
                let arrival = world.arrival(contact, Source::Notification);
                world.store.accept(arrival).await.unwrap();
            }
            Step::Sweep(contact) => {
                let sync = world.sync(SyncState::Running);
                world.store.put_sync(sync.clone()).await.unwrap();
                let arrival = world.arrival(contact, Source::Read { began: world.now });
                let page = world.store.accept_page(vec![arrival], sync, Resource::Contacts);
                page.await.unwrap();
            }
            Step::EndSweep => world.end_sweep().await,
            Step::Rules => world.rules().await,
            Step::Derive(losers) => world.derive(&losers).await,
            Step::Die => {
                world.claim().await;
                world.store.close().await;
                world.store = open(&path);
            }
            Step::Look => world.look().await,
            Step::Approve | Step::Reject => {
                let Some(hold) = world.store.holds().await.unwrap().pop() else { continue };
                let decided = match step {
                    Step::Approve => world.store.approve_hold(hold.id).await,
                    _ => world.store.reject_hold(hold.id, Some(world.version().to_string())).await,
                };
                assert!(decided.unwrap());
                world.work_off().await;
            }
            Step::Wait(seconds) => world.now = world.now.plus(seconds),
        }
        world.assert_conserved().await;
        world.assert_bounded();
    }
    // Whatever happened, all comes to rest, and nothing waits but for approval.
    world.end_sweep().await;
    for _ in 0..4 {
        world.derive(&(0..CONTACTS).collect()).await;
        world.look().await;
    }
    let counts = world.store.counts(world.now.plus(200)).await.unwrap();
    assert_eq!((counts.records.pending, counts.work), (0, 0), "{counts:?}");
    let held: u64 = world.store.holds().await.unwrap().iter().map(|hold| hold.contacts).sum();
    assert_eq!(held, counts.held_changes);
    world.assert_conserved().await;
    world.assert_bounded();
    world.store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// INVARIANT: more people than the bound never lose something by one cause without approval.
    #[test]
    fn nobody_loses_anything_beyond_the_bound_and_no_input_is_lost(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
