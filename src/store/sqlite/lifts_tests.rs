//! A lift that was given up is taken back, whatever became of the contact meanwhile.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::model::{Liveness, MayResubscribe, Origin, RuleSetVersion, Source};
use crate::store::{
    BrevoEffect, Ending, Journalled, MirrorWrite, OptOutReason, Outcome, Settlement,
};

const NOW: Timestamp = Timestamp::from_seconds(1_000_000);
const BREVO: i64 = 7;

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, AddressKey::derive(b"test"), NOW).unwrap()
}

fn ann() -> RecordId {
    "ann".parse().unwrap()
}

fn email() -> Email {
    "ann@example.com".parse().unwrap()
}

/// What Intercom tells of the contact at a version.
fn told(second: i64, liveness: Liveness, is_out: bool) -> Arrival {
    let at = Timestamp::from_seconds(second);
    let body = json!({"updated_at": second, "email": email().as_str(), "unsubscribed_from_emails": is_out});
    let body = if liveness.is_live() { body } else { json!({}) };
    let key = RecordKey::contact(ann());
    let snapshot = Snapshot::new(key, liveness, body, Source::Notification, at, at);
    let opt_out = OptOut {
        email: Some(email()),
        phone: None,
        channel: Channel::Email,
        reason: OptOutReason::Asked,
        at,
        source: "intercom",
        contact: Some(ann()),
    };
    let notification = Journalled {
        dedupe_key: format!("{second} {is_out}"),
        topic: "contact.user.updated".to_owned(),
        body: b"{}".to_vec(),
    };
    let opt_outs = is_out.then_some(opt_out).into_iter().collect();
    Arrival {
        notification: Some(notification),
        received: at,
        priority: Priority::Live,
        content: Content::Snapshots { primary: Box::new(snapshot), others: Vec::new(), opt_outs },
    }
}

/// What Brevo tells: the person unsubscribed there.
fn unsubscribed_in_brevo(second: i64) -> BrevoArrival {
    let at = Timestamp::from_seconds(second);
    let opt_out = OptOut {
        email: Some(email()),
        phone: None,
        channel: Channel::Email,
        reason: OptOutReason::Asked,
        at,
        source: "brevo",
        contact: None,
    };
    let effect = BrevoEffect::Read { email: email(), opt_out: Some(opt_out) };
    let (topic, body) = ("unsubscribe".to_owned(), b"{}".to_vec());
    BrevoArrival { dedupe_key: format!("brevo {second}"), topic, body, received: at, effect }
}

fn wish() -> LiftWish {
    LiftWish {
        leave: MayResubscribe::of(true).unwrap(),
        contact: ann(),
        email: email(),
        rule_set: RuleSetVersion::of(Digest::of_bytes(b"rules")),
        origin: Origin { file: "scripts/a.rhai".into(), line: 1, column: 1 },
    }
}

fn held() -> BrevoContact {
    let email = Some(email());
    BrevoContact { id: BREVO, email, email_blacklisted: true, ..BrevoContact::default() }
}

/// Which tasks are due; the opt-outs among them are done as the engine does them.
async fn undoing(store: &SqliteStore, contact: RecordId) -> Vec<i64> {
    let left = store.lifts_to_undo(contact).await.unwrap();
    left.into_iter().map(|lift| lift.brevo).collect()
}

async fn work_off(store: &SqliteStore) -> Vec<(Task, Vec<i64>)> {
    let lanes = [Priority::Urgent, Priority::Live, Priority::Bulk];
    let mut done = Vec::new();
    for claim in store.claim(&lanes, 10, NOW).await.unwrap() {
        let (task, contact) = (claim.key.task, claim.key.id.clone());
        let to_undo = match task {
            Task::OptOut => undoing(store, contact).await,
            _ => Vec::new(),
        };
        let told = |id: &i64| MirrorWrite::Blacklist { id: *id, email: true, sms: false };
        let mirror = to_undo.iter().map(told).collect();
        let ending = Ending::Done { outcome: Outcome::Applied, due_again: None };
        let settlement = Settlement { mirror, ..Settlement::new(claim, ending) };
        store.settle(vec![settlement], NOW).await.unwrap();
        done.push((task, to_undo));
    }
    done
}

/// Somebody who opted out, and in again later.
async fn returned(store: &SqliteStore) {
    store.accept(told(100, Liveness::Live, true)).await.unwrap();
    work_off(store).await;
    store.accept(told(200, Liveness::Live, false)).await.unwrap();
    work_off(store).await;
}

#[tokio::test]
async fn a_lift_that_a_crash_interrupted_is_taken_back_by_number_even_of_a_contact_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tajo.db");
    let store = open(&path);
    returned(&store).await;
    store.begin_lift(wish(), held(), NOW).await.unwrap().unwrap();
    store.accept(told(300, Liveness::Deleted, false)).await.unwrap();
    store.close().await;

    let store = open(&path);
    let done = work_off(&store).await;
    assert!(done.contains(&(Task::OptOut, vec![BREVO])), "{done:?}");
    assert_eq!(undoing(&store, ann()).await, Vec::<i64>::new(), "once is enough");
    assert!(store.is_suppressed(email(), Channel::Email).await.unwrap());
    store.close().await;
    assert_eq!(work_off(&open(&path)).await, Vec::new());
}

#[tokio::test]
async fn who_opts_out_while_the_end_of_a_lift_is_not_known_is_told_of_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("tajo.db"));
    returned(&store).await;
    // By now Brevo may have been told that he takes mail, and nobody ever ends this.
    let lifted = store.begin_lift(wish(), held(), NOW).await.unwrap().unwrap();
    store.accept(told(300, Liveness::Live, true)).await.unwrap();
    let tasks = |done: Vec<(Task, Vec<i64>)>| done.into_iter().map(|(task, _)| task).collect();
    let done: Vec<Task> = tasks(work_off(&store).await);
    assert!(done.contains(&Task::OptOut), "{done:?}");
    // Nor does it end well once he opted out, and what was told is taken back again.
    let open = OpenLift { lifted, wish: wish(), held: held() };
    assert_eq!(store.end_lift(open, NOW).await.unwrap(), LiftEnd::Overtaken);
    assert_eq!(work_off(&store).await, [(Task::OptOut, vec![BREVO])]);
    // A lost answer may have been the last word all the same: a later opt-out is told of once more.
    store.accept(told(400, Liveness::Live, true)).await.unwrap();
    let done: Vec<Task> = tasks(work_off(&store).await);
    assert!(done.contains(&Task::OptOut), "{done:?}");
}

#[tokio::test]
async fn nothing_is_lifted_before_intercom_was_told_of_an_opt_out_in_brevo() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("tajo.db"));
    store.accept(told(50, Liveness::Live, false)).await.unwrap();
    store.accept_brevo(vec![unsubscribed_in_brevo(90)]).await.unwrap();
    store.accept(told(100, Liveness::Live, true)).await.unwrap();
    store.accept(told(200, Liveness::Live, false)).await.unwrap();
    let lanes = [Priority::Urgent, Priority::Live, Priority::Bulk];
    let claims = store.claim(&lanes, 10, NOW).await.unwrap();
    let (telling, rest): (Vec<_>, Vec<_>) =
        claims.into_iter().partition(|claim| claim.key.task == Task::TellIntercom);
    let ending = || Ending::Done { outcome: Outcome::Applied, due_again: None };
    let settle = async |claims: Vec<Claim>| {
        let end = |claim| Settlement::new(claim, ending());
        store.settle(claims.into_iter().map(end).collect(), NOW).await.unwrap();
    };
    settle(rest).await;
    assert_eq!(telling.len(), 1);
    let stays = store.consider_lift(wish()).await.unwrap().unwrap_err();
    assert_eq!(stays, Stays::IntercomIsUntold);
    settle(telling).await;
    assert!(store.consider_lift(wish()).await.unwrap().is_ok());
}
