//! E-mails that ask people to confirm, on their way to Brevo: each address once, and nobody who must
//! not, or need not, be asked.
//!
//! The end of a contact's claim puts its wish into the store, after its own write was confirmed. One
//! loop asks. Right before the call Brevo is asked for the contact as it is now, and the call is noted
//! as begun: an e-mail cannot be taken back. So where it is not known whether it went out (no answer, a
//! 5xx, the process died), it is not sent again: it becomes a dead letter, and somebody who has looked
//! may retry it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::account::Wanted;
use super::locks::LockKey;
use super::{EngineError, Inner};
use crate::brevo::{BrevoError, Confirmation, ErrorKind};
use crate::http::{Backoff, Lane, random_fraction};
use crate::model::{BrevoContact, ListId};
use crate::store::{Cause, DoubleOptInEnd, DueDoubleOptIn};

/// How many are asked at a time.
const AT_ONCE: usize = 4;
/// From so many on they leave room for contacts that just changed.
const MANY: usize = 16;
/// How often somebody is looked for whom Brevo does not show, and how long after one another: reads
/// may trail writes.
const LOOKS: u32 = 3;
const LOOK_AGAIN_SECONDS: i64 = 3;
/// How long one may fail before it is given up, in seconds.
const GIVE_UP_AFTER_SECONDS: i64 = 24 * 3_600;

/// Asks whom there is to ask until the engine stops.
pub(crate) async fn deliver(engine: Arc<Inner>) {
    let mut has_recovered = false;
    loop {
        let asked = match engine.ready_for(&engine.double_opt_ins).await {
            Ok(()) => round(&engine, &mut has_recovered).await,
            Err(error) => Err(error),
        };
        let waited = match asked {
            Ok(true) => Ok(()),
            Ok(false) => {
                let due = engine.store.next_double_opt_in_due().await;
                engine.wait_for(&engine.double_opt_ins, due).await
            }
            Err(EngineError::Stopping) => return,
            Err(error) => {
                engine.note_of(&engine.double_opt_ins, &error);
                engine.wait(Duration::from_secs(1)).await
            }
        };
        if waited.is_err() || engine.stop.is_cancelled() {
            return;
        }
    }
}

/// Asks some; true if there may be more.
async fn round(engine: &Inner, has_recovered: &mut bool) -> Result<bool, EngineError> {
    let now = engine.clock.now();
    if !*has_recovered {
        let doubtful = engine.store.recover_double_opt_ins(now).await?;
        if doubtful > 0 {
            tracing::warn!(
                "the process ended while {doubtful} people were being asked to confirm; they are dead \
                 letters"
            );
        }
        *has_recovered = true;
    }
    let due = engine.store.due_double_opt_ins(MANY, now).await?;
    if due.is_empty() {
        return Ok(false);
    }
    let lane = if due.len() < MANY { Lane::Live } else { Lane::Bulk };
    let asked = due.into_iter().take(AT_ONCE).map(|one| Box::pin(ask(engine, lane, one)));
    // Each comes to its end, whatever becomes of the others.
    join_all(asked).await.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok(true)
}

/// What a look at somebody says.
enum Look {
    /// He is asked.
    Ask(Confirmation),
    /// He is not.
    End(DoubleOptInEnd),
}

async fn ask(engine: &Inner, lane: Lane, due: DueDoubleOptIn) -> Result<(), EngineError> {
    let now = engine.clock.now();
    // Brevo's call writes to the contact: nobody else does meanwhile.
    let Some(_held) = engine.locks.try_hold(vec![LockKey::Address(due.email.clone())]) else {
        let end = DoubleOptInEnd::Retry { at: now.plus(1), counts: false };
        return Ok(engine.store.end_double_opt_in(due, end, now).await?);
    };
    let confirmation = match look(engine, lane, &due).await {
        Ok(Look::Ask(confirmation)) => confirmation,
        Ok(Look::End(end)) => {
            return Ok(engine.store.end_double_opt_in(due, end, engine.clock.now()).await?);
        }
        Err(EngineError::Brevo(error)) => return fail(engine, due, error, None).await,
        Err(error) => return Err(error),
    };
    if !engine.store.begin_double_opt_in(due.clone(), engine.clock.now()).await? {
        return Ok(());
    }
    let brevo = engine.services.load_full().brevo.clone();
    match brevo.ask_to_confirm(lane, &confirmation).await {
        Ok(()) => {
            engine.double_opt_ins.succeed();
            let (end, now) = (DoubleOptInEnd::Asked, engine.clock.now());
            Ok(engine.store.end_double_opt_in(due, end, now).await?)
        }
        Err(error) => fail(engine, due, error, Some(&confirmation)).await,
    }
}

/// Finds out whether somebody may and need be asked, as it is now.
async fn look(engine: &Inner, lane: Lane, due: &DueDoubleOptIn) -> Result<Look, EngineError> {
    if due.is_suppressed {
        return Ok(Look::End(DoubleOptInEnd::Withdrawn));
    }
    let services = engine.services.load_full();
    let config = engine.config.load_full();
    let mut wanted = Wanted::default();
    due.wanted.lists.iter().for_each(|list| wanted.list(list));
    let account = services.account.ensure(lane, &config, &wanted).await?;
    let mut lists = BTreeSet::new();
    for list in &due.wanted.lists {
        match account.lists.find(list, &config.intercom.lists) {
            Ok(id) => lists.insert(id),
            Err(problem) => {
                let cause = Cause { kind: "list", ..cause(due, &problem.to_string()) };
                return Ok(Look::End(DoubleOptInEnd::Refused(cause)));
            }
        };
    }
    let Some(held) = services.read_back.by_address(lane, &due.email).await? else {
        return Ok(Look::End(unseen(engine, due)));
    };
    Ok(judge(due, &held, lists))
}

/// Somebody whom Brevo does not show, though he was written: he may have been deleted there, and is
/// not to be made again by being asked.
fn unseen(engine: &Inner, due: &DueDoubleOptIn) -> DoubleOptInEnd {
    if due.attempts + 1 >= LOOKS {
        return DoubleOptInEnd::Withdrawn;
    }
    let at = engine.clock.now().plus(LOOK_AGAIN_SECONDS);
    DoubleOptInEnd::Retry { at, counts: true }
}

/// Who is blacklisted must not be asked; who is on all lists need not. Lists that somebody left by
/// himself are not offered to him again.
fn judge(due: &DueDoubleOptIn, held: &BrevoContact, lists: BTreeSet<ListId>) -> Look {
    if held.email_blacklisted {
        return Look::End(DoubleOptInEnd::Withdrawn);
    }
    let left: BTreeSet<ListId> = due.left_lists.union(&held.list_unsubscribed).copied().collect();
    let offered: Vec<ListId> = lists.difference(&left).copied().collect();
    if offered.iter().all(|list| held.lists.contains(list)) {
        return Look::End(DoubleOptInEnd::Needless(lists));
    }
    Look::Ask(Confirmation {
        email: due.email.clone(),
        include_list_ids: offered,
        redirection_url: due.wanted.redirection_url.clone(),
        template_id: due.wanted.template,
    })
}

/// Ends an attempt that failed: before the call, or with it.
async fn fail(
    engine: &Inner,
    due: DueDoubleOptIn,
    error: BrevoError,
    asked: Option<&Confirmation>,
) -> Result<(), EngineError> {
    let end = end_of(engine, &due, &error, asked);
    let is_its_own = matches!(end, DoubleOptInEnd::Refused(_));
    engine.store.end_double_opt_in(due, end, engine.clock.now()).await?;
    if is_its_own {
        engine.double_opt_ins.succeed();
        return Ok(());
    }
    Err(error.into())
}

fn end_of(
    engine: &Inner,
    due: &DueDoubleOptIn,
    error: &BrevoError,
    asked: Option<&Confirmation>,
) -> DoubleOptInEnd {
    let now = engine.clock.now();
    let caused = |message: &str| Cause {
        request: asked.map(Confirmation::shown),
        response: Some(error.to_string()),
        ..cause(due, message)
    };
    if asked.is_some() && error.outcome_unknown() {
        tracing::warn!(
            contact.id = %due.contact,
            origin = due.origin,
            "a contact may or may not have been asked to confirm; it is a dead letter: {error}"
        );
        return DoubleOptInEnd::Doubtful(caused(&format!(
            "the e-mail that asks to confirm may have been sent ({error}): look in brevo whether it \
             was, then retry or drop this"
        )));
    }
    if error.kind() == ErrorKind::Permanent {
        tracing::warn!(
            contact.id = %due.contact,
            origin = due.origin,
            "brevo does not ask a contact to confirm; it is a dead letter: {error}"
        );
        return DoubleOptInEnd::Refused(caused(&format!("brevo does not ask to confirm: {error}")));
    }
    // It counts for the address only while the service works for others.
    let counts = error.kind() == ErrorKind::Transient
        && !matches!(error, BrevoError::RateLimited { .. })
        && engine.double_opt_ins.failures() == 0;
    let failing = due.failing_since.map(|since| now.seconds() - since.seconds());
    if counts && failing.is_some_and(|seconds| seconds > GIVE_UP_AFTER_SECONDS) {
        let message = format!("asking to confirm failed for a day: {error}");
        return DoubleOptInEnd::Refused(Cause { kind: "expired", ..caused(&message) });
    }
    let wait = Backoff::default().delay(due.attempts, None, random_fraction());
    let at = now.plus(wait.as_secs().max(1).cast_signed());
    DoubleOptInEnd::Retry { at, counts }
}

fn cause(due: &DueDoubleOptIn, message: &str) -> Cause {
    Cause {
        kind: "double_opt_in",
        message: format!("contact {}: {message}", due.contact),
        origin: due.origin.clone(),
        rule_set: due.rule_set.clone(),
        ..Cause::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DoubleOptIn, ListRef};

    fn due() -> DueDoubleOptIn {
        DueDoubleOptIn {
            seq: 1,
            version: 0,
            contact: "c1".parse().unwrap(),
            email: "ann@example.com".parse().unwrap(),
            wanted: DoubleOptIn {
                template: 5,
                redirection_url: "https://example.com".to_owned(),
                lists: vec![ListRef::Id(7), ListRef::Id(8)],
            },
            is_suppressed: false,
            left_lists: BTreeSet::new(),
            origin: None,
            rule_set: None,
            attempts: 0,
            failing_since: None,
        }
    }

    #[test]
    fn who_is_asked_and_for_which_lists_is_judged_by_what_brevo_shows_now() {
        /// The lists asked for; an end in words where nobody is asked.
        fn case(left_before: &[i64], held: BrevoContact, expected: &str) {
            let left_lists = left_before.iter().copied().map(ListId).collect();
            let due = DueDoubleOptIn { left_lists, ..due() };
            let told = match judge(&due, &held, [ListId(7), ListId(8)].into()) {
                Look::Ask(confirmation) => format!("{:?}", confirmation.include_list_ids),
                Look::End(end) => format!("{end:?}"),
            };
            assert_eq!(told, expected, "{held:?}");
        }
        let held = |lists: &[i64], left: &[i64]| BrevoContact {
            lists: lists.iter().copied().map(ListId).collect(),
            list_unsubscribed: left.iter().copied().map(ListId).collect(),
            ..BrevoContact::default()
        };
        let needless = "Needless({ListId(7), ListId(8)})";
        case(&[], held(&[], &[]), "[ListId(7), ListId(8)]");
        case(&[], held(&[7], &[]), "[ListId(7), ListId(8)]");
        case(&[], held(&[7, 8], &[]), needless);
        case(&[], held(&[], &[8]), "[ListId(7)]");
        case(&[8], held(&[], &[]), "[ListId(7)]");
        case(&[8], held(&[7], &[]), needless);
        case(&[7], held(&[], &[8]), needless);
        let out = BrevoContact { email_blacklisted: true, ..held(&[], &[]) };
        case(&[], out, "Withdrawn");
    }
}
