//! People who are asked to confirm, against what is promised of them, whatever the order of what
//! happens to the store.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::{
    Decision, DoubleOptIn, ListId, ListRef, Liveness, Origin, RuleSetVersion, Source, Traced,
    Verdict,
};
use crate::store::{
    Cause, DoubleOptInEnd, DueDoubleOptIn, Ending, MirrorWrite, Outcome, Settlement,
};

const ADDRESS: &str = "ann@example.com";

/// What the rules say of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// It is asked, by this template.
    Ask(i64),
    /// The same, but what is taken away from it waits for approval.
    AskHeld(i64),
    /// The same, and that it opted out.
    AskAndUnsubscribe,
    /// Nothing of confirming.
    Nothing,
    /// It is left out.
    Skip,
    /// The script breaks.
    Break,
    /// Brevo cannot be written to now.
    Later,
}

/// How Brevo takes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Sent,
    Refused,
    /// The call may have been carried out.
    Lost,
    /// It certainly was not, and may be made later.
    NotNow,
    /// The process dies before the answer.
    Death,
}

#[derive(Debug, Clone)]
enum Step {
    /// One of two contacts with the address is derived.
    Derive(u8, Says),
    /// The engine asks whoever is due.
    Attempt(Answer),
    /// The same, and while the call is under way one of the contacts is derived.
    Overtaken(Answer, u8, Says),
    /// It looks, and the person is on all lists, or must not be asked.
    LookAway(bool),
    OptOut,
    Restart,
    Retry,
    Drop,
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let says = || {
        prop_oneof![
            4 => (5i64..7).prop_map(Says::Ask),
            1 => (5i64..7).prop_map(Says::AskHeld),
            1 => Just(Says::AskAndUnsubscribe),
            1 => Just(Says::Nothing),
            1 => Just(Says::Skip),
            1 => Just(Says::Break),
            1 => Just(Says::Later),
        ]
    };
    let answer = || {
        prop_oneof![
            Just(Answer::Sent),
            Just(Answer::Refused),
            Just(Answer::Lost),
            Just(Answer::NotNow),
            Just(Answer::Death),
        ]
    };
    let step = prop_oneof![
        8 => (0u8..2, says()).prop_map(|(contact, says)| Step::Derive(contact, says)),
        8 => answer().prop_map(Step::Attempt),
        4 => (answer(), 0u8..2, says())
            .prop_map(|(answer, contact, says)| Step::Overtaken(answer, contact, says)),
        2 => any::<bool>().prop_map(Step::LookAway),
        1 => Just(Step::OptOut),
        2 => Just(Step::Restart),
        2 => Just(Step::Retry),
        1 => Just(Step::Drop),
        2 => (1i64..100).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..40)
}

fn contact(number: u8) -> RecordId {
    format!("c{number}").parse().unwrap()
}

/// A decision of some rules on a contact.
fn decision(number: u8, says: Says) -> Box<Decision> {
    let version = RuleSetVersion::of(Digest::of_bytes(format!("{says:?}").as_bytes()));
    let subject = RecordKey::contact(contact(number));
    let mut decision = Decision::new(subject, version, Timestamp::EPOCH);
    let origin = Origin { file: "scripts/mapping.rhai".into(), line: 3, column: 5 };
    decision.email = Some(Traced { value: ADDRESS.to_owned(), origin: origin.clone() });
    let template = match says {
        Says::Ask(template) | Says::AskHeld(template) => template,
        Says::AskAndUnsubscribe | Says::Skip | Says::Break | Says::Later => 5,
        Says::Nothing => return Box::new(decision),
    };
    if says == Says::Skip {
        decision.verdict = Verdict::Skip { reason: "no".to_owned() };
    }
    if says == Says::AskAndUnsubscribe {
        decision.email_opt_out = Some(origin.clone());
    }
    let redirection_url = "https://example.com/thanks".to_owned();
    let value = DoubleOptIn { template, redirection_url, lists: vec![ListRef::Id(35)] };
    decision.double_opt_in = Some(Traced { value, origin });
    Box::new(decision)
}

/// A store, and what the world knows of it.
struct World {
    path: PathBuf,
    store: SqliteStore,
    now: Timestamp,
    second: i64,
    /// How often an e-mail may have gone out.
    sent: u32,
    /// How often somebody said that it may go out again.
    allowed: u32,
    is_out: bool,
}

impl World {
    fn open(path: &Path) -> Self {
        let now = Timestamp::from_seconds(1_000_000);
        let store = SqliteStore::open(path, AddressKey::derive(b"test"), now).unwrap();
        let path = path.to_owned();
        Self { path, store, now, second: 1, sent: 0, allowed: 0, is_out: false }
    }

    async fn restart(&mut self) {
        self.store.close().await;
        self.store = SqliteStore::open(&self.path, AddressKey::derive(b"test"), self.now).unwrap();
        self.store.recover_double_opt_ins(self.now).await.unwrap();
    }

    /// Accepts a change of a contact, or takes what waits, and ends it as the rules say.
    async fn derive(&mut self, number: u8, says: Says) {
        self.second += 1;
        let body = json!({"updated_at": self.second, "email": ADDRESS});
        let key = RecordKey::contact(contact(number));
        let at = self.now;
        let snapshot = Snapshot::new(key, Liveness::Live, body, Source::Notification, at, at);
        self.store.learn(vec![snapshot], Vec::new(), at).await.unwrap();
        let lanes = [Priority::Live, Priority::Bulk];
        for claim in self.store.claim(&lanes, 10, self.now).await.unwrap() {
            let says = if claim.key.id == contact(number) { says } else { Says::Nothing };
            self.settle(claim, number, says).await;
        }
    }

    async fn settle(&mut self, claim: Claim, number: u8, says: Says) {
        let done = |outcome| Ending::Done { outcome, due_again: None };
        let broken = || Cause { kind: "script", message: "no".to_owned(), ..Cause::default() };
        let ending = match says {
            Says::Ask(_) | Says::Nothing | Says::AskAndUnsubscribe => done(Outcome::Unchanged),
            Says::AskHeld(_) => done(Outcome::Held),
            Says::Skip => done(Outcome::Skipped),
            Says::Break => Ending::Dead(broken()),
            Says::Later => Ending::Retry { at: self.now, cursor: None, counts: false },
        };
        let decision = Some(decision(number, says)).filter(|_| claim.key.task == Task::Contact);
        let settlement = Settlement { decision, ..Settlement::new(claim, ending) };
        self.store.settle(vec![settlement], self.now).await.unwrap();
    }

    async fn due(&self) -> Option<DueDoubleOptIn> {
        let due = self.store.due_double_opt_ins(10, self.now).await.unwrap();
        assert!(due.len() <= 1, "one address is asked twice: {due:?}");
        due.into_iter().next()
    }

    async fn end(&self, due: DueDoubleOptIn, end: DoubleOptInEnd) {
        self.store.end_double_opt_in(due, end, self.now).await.unwrap();
    }

    async fn attempt(&mut self, answer: Answer) {
        self.attempt_while(answer, None).await;
    }

    async fn attempt_while(&mut self, answer: Answer, meanwhile: Option<(u8, Says)>) {
        let Some(due) = self.due().await else { return };
        if due.is_suppressed {
            assert!(self.is_out);
            return self.end(due, DoubleOptInEnd::Withdrawn).await;
        }
        if !self.store.begin_double_opt_in(due.clone(), self.now).await.unwrap() {
            return;
        }
        assert!(!self.is_out, "somebody is asked who opted out");
        assert!(!self.store.begin_double_opt_in(due.clone(), self.now).await.unwrap());
        if let Some((number, says)) = meanwhile {
            self.derive(number, says).await;
        }
        let cause = Cause { kind: "double_opt_in", message: "no".to_owned(), ..Cause::default() };
        let end = match answer {
            Answer::Sent => DoubleOptInEnd::Asked,
            Answer::Refused => DoubleOptInEnd::Refused(cause),
            Answer::Lost => DoubleOptInEnd::Doubtful(cause),
            Answer::NotNow => DoubleOptInEnd::Retry { at: self.now.plus(5), counts: true },
            Answer::Death => {
                self.sent += 1;
                return self.restart().await;
            }
        };
        self.sent += u32::from(matches!(answer, Answer::Sent | Answer::Lost));
        self.end(due, end).await;
    }

    async fn look_away(&mut self, is_needless: bool) {
        let Some(due) = self.due().await else { return };
        let end = match is_needless {
            true => DoubleOptInEnd::Needless([ListId(35)].into()),
            false => DoubleOptInEnd::Withdrawn,
        };
        self.end(due, end).await;
    }

    async fn opt_out(&mut self) {
        let held = BrevoContact {
            id: 7,
            email: Some(ADDRESS.parse().unwrap()),
            email_blacklisted: true,
            ..BrevoContact::default()
        };
        self.store.observe_one(held, self.now).await.unwrap();
        self.is_out = true;
    }

    async fn retry(&mut self) {
        let letters = self.store.dead_letters(10).await.unwrap();
        let is_asked = |letter: &&DeadLetter| letter.kind == "double_opt_in";
        self.allowed += letters.iter().filter(is_asked).count() as u32;
        self.store.retry_dead_letters(DeadLetterQuery::All, self.now).await.unwrap();
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Derive(number, says) => self.derive(number, says).await,
            Step::Attempt(answer) => self.attempt(answer).await,
            Step::Overtaken(answer, number, says) => {
                self.attempt_while(answer, Some((number, says))).await;
            }
            Step::LookAway(is_needless) => self.look_away(is_needless).await,
            Step::OptOut => self.opt_out().await,
            Step::Restart => self.restart().await,
            Step::Retry => self.retry().await,
            Step::Drop => {
                self.store.drop_dead_letters(DeadLetterQuery::All).await.unwrap();
            }
            Step::Wait(seconds) => self.now = self.now.plus(seconds),
        }
        assert!(self.sent <= 1 + self.allowed, "an address was asked too often");
    }
}

/// However the steps go, an address that was never asked, may be asked, and is wanted to be, is asked.
async fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(&folder.path().join("tajo.db"));
    for step in steps {
        world.step(step).await;
    }
    // What waits is derived, and nothing is kept back any more: new rules ask by another template.
    world.now = world.now.plus(1_000);
    world.derive(0, Says::Ask(9)).await;
    world.attempt(Answer::Sent).await;
    assert!(world.sent > 0 || world.is_out, "nobody asked somebody who was to be asked");
    let counts = world.store.counts(world.now).await.unwrap().sinks.double_opt_ins;
    assert_eq!(counts.due, 0);
    assert!(counts.sent <= u64::from(world.sent));
    world.store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn an_address_is_asked_once_and_never_who_opted_out(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}

#[tokio::test]
async fn what_is_left_of_who_was_asked_is_a_hash() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(&folder.path().join("tajo.db"));
    world.derive(0, Says::Ask(5)).await;
    world.attempt(Answer::Sent).await;
    world.store.close().await;
    let conn = open_reader(&folder.path().join("tajo.db")).unwrap();
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    type Left = (String, Option<String>, Option<String>, Option<i64>);
    let left: Left = conn
        .query_row("SELECT state, email, wanted, asked FROM double_opt_ins WHERE seq = 1", [], row)
        .unwrap();
    assert_eq!(left, ("asked".to_owned(), None, None, Some(world.now.seconds())));
}

#[tokio::test]
async fn who_is_left_out_while_he_is_being_asked_is_not_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(&folder.path().join("tajo.db"));
    for answer in [Answer::NotNow, Answer::Refused] {
        world.derive(0, Says::Ask(5)).await;
        world.attempt_while(answer, Some((0, Says::Nothing))).await;
        world.now = world.now.plus(1_000);
        assert_eq!(world.due().await, None);
        let counts = world.store.counts(world.now).await.unwrap().sinks.double_opt_ins;
        assert_eq!((counts.sent, counts.due, counts.dead), (0, 0, 0));
    }
    // Who is asked for again before the call has ended still waits.
    world.derive(0, Says::Ask(5)).await;
    let due = world.due().await.unwrap();
    assert!(world.store.begin_double_opt_in(due.clone(), world.now).await.unwrap());
    world.derive(0, Says::Nothing).await;
    world.derive(0, Says::Ask(5)).await;
    world.end(due, DoubleOptInEnd::Retry { at: world.now.plus(5), counts: false }).await;
    world.now = world.now.plus(5);
    world.attempt_while(Answer::Sent, Some((0, Says::Nothing))).await;
    let counts = world.store.counts(world.now).await.unwrap().sinks.double_opt_ins;
    assert_eq!((counts.sent, counts.due, counts.dead), (1, 0, 0));
}

#[tokio::test]
async fn it_waits_for_its_contact_and_for_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(&folder.path().join("tajo.db"));
    world.derive(0, Says::Ask(5)).await;
    world.attempt(Answer::NotNow).await;
    assert_eq!(world.due().await, None);
    let next = world.store.next_double_opt_in_due().await.unwrap();
    assert_eq!(next, Some(world.now.plus(5)));
    world.now = world.now.plus(5);
    let due = world.due().await.unwrap();
    assert_eq!((due.attempts, due.failing_since), (1, Some(world.now.plus(-5))));
    // Something new is known of the contact, and its own write comes first.
    world.derive(0, Says::Later).await;
    assert_eq!(world.due().await, None);
    assert!(!world.store.begin_double_opt_in(due, world.now).await.unwrap());
    let counts = world.store.counts(world.now).await.unwrap().sinks.double_opt_ins;
    assert_eq!((counts.sent, counts.due, counts.dead), (0, 1, 0));
}

#[tokio::test]
async fn who_needed_none_is_due_again_once_he_is_off_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::open(&folder.path().join("tajo.db"));
    let held = |lists: &[i64]| {
        let contact = BrevoContact {
            id: 7,
            email: Some(ADDRESS.parse().unwrap()),
            lists: lists.iter().copied().map(ListId).collect(),
            ..BrevoContact::default()
        };
        Box::new(crate::model::Mirrored {
            contact,
            applied: crate::model::Applied::default(),
            owner: Some(contact_zero()),
            read_at: Timestamp::EPOCH,
        })
    };
    for (lists, is_due) in [(&[35][..], false), (&[35, 36], false), (&[36], true)] {
        world.derive(0, Says::Ask(5)).await;
        world.look_away(true).await;
        world.second += 1;
        let body = json!({"updated_at": world.second, "email": ADDRESS});
        let key = RecordKey::contact(contact_zero());
        let at = world.now;
        let snapshot = Snapshot::new(key, Liveness::Live, body, Source::Notification, at, at);
        world.store.learn(vec![snapshot], Vec::new(), at).await.unwrap();
        let lanes = [Priority::Live, Priority::Bulk];
        for claim in world.store.claim(&lanes, 10, world.now).await.unwrap() {
            let ending = Ending::Done { outcome: Outcome::Applied, due_again: None };
            let mirror = vec![MirrorWrite::Put(held(lists))];
            let decision = Some(decision(0, Says::Ask(5)));
            let settlement = Settlement { mirror, decision, ..Settlement::new(claim, ending) };
            world.store.settle(vec![settlement], world.now).await.unwrap();
        }
        assert_eq!(world.due().await.is_some(), is_due, "{lists:?}");
    }
}

fn contact_zero() -> RecordId {
    contact(0)
}
