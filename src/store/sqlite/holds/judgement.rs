//! What is about to be taken away: whether it may be written, or waits.

use rusqlite::{Connection, OptionalExtension};

use super::count::is_exceeded;
use super::{
    Kind, Standing, State, begin, by_id, carry, find, kept, open_work, put, remove, set_state,
};
use crate::model::{Parts, RecordId, RecordKey, Takes, Timestamp, Word};
use crate::store::sqlite::Ids;
use crate::store::sqlite::writer::Tx;
use crate::store::{Judged, Judgement, Measure, StoreError, Taking};

/// How long other work is looked back upon.
const WINDOW_SECONDS: i64 = 600;

/// Judges what is about to be taken away, in the order of the question. What must wait is noted.
pub(in crate::store::sqlite) fn judge(
    tx: &Tx<'_>,
    ids: &Ids,
    takings: &[Taking],
    measure: &Measure,
    now: Timestamp,
) -> Result<Judged, StoreError> {
    let mut judged = Judged::default();
    forget_window(tx, ids, now)?;
    for taking in takings {
        let judgement = if measure.bound.is_off() {
            Judgement::default()
        } else {
            judge_one(tx, ids, taking, measure, now, &mut judged.is_unfed)?
        };
        judged.judgements.push(judgement);
    }
    Ok(judged)
}

fn judge_one(
    tx: &Tx<'_>,
    ids: &Ids,
    taking: &Taking,
    measure: &Measure,
    now: Timestamp,
    is_unfed: &mut bool,
) -> Result<Judgement, StoreError> {
    let version = taking.rule_set.as_ref().or(measure.rule_set.as_ref()).map(String::as_str);
    let known = kept(tx.conn, ids, &taking.contact, version)?;
    let said: Vec<(Word, Takes)> =
        known.iter().filter_map(|row| Some((row.word?, row.takes.clone()))).collect();
    let mut parts = Parts::of(&taking.takes, &said);
    let mut freed = 0;
    for row in &known {
        let waits = parts.waits.iter().find(|(hold, _)| *hold == row.hold).map(|(_, takes)| takes);
        match (row.word, waits) {
            (Some(Word::Waits(_)), Some(takes)) => {
                put(tx, ids, &taking.contact, row.hold, "waits", takes, None)?;
            }
            // It is no longer wanted, or what was said of it no longer counts.
            (Some(Word::Waits(_)) | None, _) => {
                remove(tx, ids, &taking.contact, row.hold, &row.state)?;
                freed += row.carried;
            }
            (Some(Word::Leave | Word::Rejected), _) => {}
        }
    }
    let fresh = std::mem::take(&mut parts.fresh);
    if !fresh.is_empty() {
        match verdict(tx, ids, taking, measure, now, is_unfed)? {
            Verdict::Pass => {}
            Verdict::Wait(hold) => match parts.waits.iter_mut().find(|(id, _)| *id == hold) {
                Some((_, waits)) => *waits = waits.or(&fresh),
                None => parts.waits.push((hold, fresh)),
            },
            Verdict::Reject(hold) => {
                let mut said = known.iter().filter(|row| row.hold == hold);
                let before = said.find(|row| row.word == Some(Word::Rejected));
                let all = before.map_or_else(|| fresh.clone(), |row| row.takes.or(&fresh));
                put(tx, ids, &taking.contact, hold, "rejected", &all, version)?;
                parts.rejected = parts.rejected.or(&fresh);
            }
        }
    }
    let mut waits = Takes::default();
    for (hold, takes) in &parts.waits {
        put(tx, ids, &taking.contact, *hold, "waits", takes, None)?;
        waits = waits.or(takes);
    }
    if freed > 0 {
        carry(tx, ids, &taking.contact, freed)?;
    }
    Ok(Judgement { waits, rejected: parts.rejected })
}

/// What is done with something of which nothing was said before.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    Pass,
    Wait(i64),
    Reject(i64),
}

fn verdict(
    tx: &Tx<'_>,
    ids: &Ids,
    taking: &Taking,
    measure: &Measure,
    now: Timestamp,
    is_unfed: &mut bool,
) -> Result<Verdict, StoreError> {
    let cause = match new_rules(tx.conn, ids, taking)? {
        Some(version) => match find(tx.conn, ids, Kind::Rules, version)? {
            None if measure.reapplies => {
                *is_unfed = true;
                Some(begin(tx, ids, Kind::Rules, version, State::Counting, now)?)
            }
            found => found,
        },
        None => taking.cause.map(|id| by_id(tx.conn, ids, id)).transpose()?.flatten(),
    };
    match cause {
        Some(Standing { id, state: State::Counting | State::Held }) => {
            return Ok(Verdict::Wait(id));
        }
        Some(Standing { id, state: State::Rejecting | State::Rejected }) => {
            return Ok(Verdict::Reject(id));
        }
        _ => {}
    }
    if is_within_window(tx, ids, &taking.contact, measure, now)? {
        return Ok(Verdict::Pass);
    }
    let open = match cause {
        // Its count was below the bound; what comes after it is not.
        Some(cause) if cause.state == State::Released => {
            set_state(tx, ids, cause.id, State::Held)?;
            cause.id
        }
        _ => match open_work(tx.conn, ids)? {
            Some(id) => id,
            None => begin(tx, ids, Kind::Work, "", State::Held, now)?.id,
        },
    };
    Ok(Verdict::Wait(open))
}

/// The version that decided, if another one did the last time.
fn new_rules<'a>(
    conn: &Connection,
    ids: &Ids,
    taking: &'a Taking,
) -> Result<Option<&'a str>, StoreError> {
    let Some(version) = taking.rule_set.as_deref() else { return Ok(None) };
    let subject = RecordKey::contact(taking.contact.clone()).to_string();
    let last: Option<String> = conn
        .prepare_cached("SELECT rule_set FROM derivations WHERE workspace = ?1 AND subject = ?2")?
        .query_row((ids.workspace(), subject), |row| row.get(0))
        .optional()?;
    Ok(Some(version).filter(|version| last.is_some_and(|last| last != **version)))
}

/// True if other work may take something away from this contact, too.
fn is_within_window(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    measure: &Measure,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let others: i64 = tx
        .conn
        .prepare_cached(
            "SELECT count(*) FROM recent_removals WHERE workspace = ?1 AND contact <> ?2",
        )?
        .query_row((ids.workspace(), contact.as_str()), |row| row.get(0))?;
    let contacts = others.unsigned_abs() + 1;
    if is_exceeded(tx, ids, measure, contacts)? {
        return Ok(false);
    }
    tx.conn
        .prepare_cached(
            "INSERT INTO recent_removals (workspace, contact, at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET at = excluded.at",
        )?
        .execute((ids.workspace(), contact.as_str(), now.seconds()))?;
    Ok(true)
}

fn forget_window(tx: &Tx<'_>, ids: &Ids, now: Timestamp) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("DELETE FROM recent_removals WHERE workspace = ?1 AND at <= ?2")?
        .execute((ids.workspace(), now.plus(-WINDOW_SECONDS).seconds()))?;
    Ok(())
}
