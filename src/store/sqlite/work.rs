//! Dirty keys: made, claimed, ended.

use rusqlite::{Connection, OptionalExtension};

use super::writer::Tx;
use super::{
    Ids, companies, dead_letters, double_opt_ins, events, holds, mirror, objects, overlays,
    strangers, wanted_numbers,
};
use crate::model::{Change, RecordId, RecordKind, Timestamp};
use crate::store::{
    Claim, Emitted, Ending, Intent, MirrorWrite, Outcome, Priority, Settlement, StoreError,
    Suspicion, Task, WorkKey,
};

/// How a key becomes dirty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dirt {
    pub(super) priority: Priority,
    pub(super) due: Timestamp,
    pub(super) carried: i64,
    pub(super) needs_read: bool,
    pub(super) because: Because,
}

/// What makes a key dirty, as far as what it takes away is counted as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    /// The hold with this number counts.
    Of(i64),
    /// Something new happened to the object, which is counted by itself.
    Itself,
    /// Nothing new: what made it dirty before still counts.
    Same,
}

impl Because {
    /// What a claim makes dirty counts with it.
    pub(super) fn of(cause: Option<i64>) -> Self {
        cause.map_or(Self::Same, Self::Of)
    }
}

impl Dirt {
    /// A key is to be derived again, without an input.
    pub(super) fn again(priority: Priority, due: Timestamp) -> Self {
        Self { priority, due, carried: 0, needs_read: false, because: Because::Same }
    }

    pub(super) fn because(self, because: Because) -> Self {
        Self { because, ..self }
    }

    pub(super) fn carrying(self, carried: i64) -> Self {
        Self { carried, ..self }
    }
}

/// Makes a key dirty. An input that waited there is superseded by a new one.
pub(super) fn dirty(tx: &Tx<'_>, ids: &Ids, key: &WorkKey, dirt: Dirt) -> Result<(), StoreError> {
    let at = (ids.workspace(), key.task.as_str(), key.id.as_str());
    // Companies have a lane of their own, where they may wait for long; nobody is taken anything by them.
    let is_company = key.task == Task::Company;
    let priority = if is_company { Priority::Companies } else { dirt.priority };
    let because = if is_company { Because::Itself } else { dirt.because };
    let cause = match because {
        Because::Of(cause) => Some(cause),
        Because::Itself | Because::Same => None,
    };
    let keeps_cause = because == Because::Same;
    let (rank, due) = (priority.rank(), dirt.due.seconds());
    let added = tx
        .conn
        .prepare_cached(
            "INSERT INTO work (workspace, task, id, lane, carried, since, due, needs_read, cause)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        )?
        .execute((at.0, at.1, at.2, rank, dirt.carried, due, dirt.needs_read, cause))?;
    if added > 0 {
        return Ok(());
    }
    if dirt.carried > 0 {
        let waited: i64 = tx
            .conn
            .prepare_cached(
                "SELECT carried FROM work WHERE workspace = ?1 AND task = ?2 AND id = ?3",
            )?
            .query_row(at, |row| row.get(0))?;
        tx.count("superseded", waited);
    }
    // A row that waits for the future (a retry, a rule whose answer flips) is due now.
    tx.conn
        .prepare_cached(
            "UPDATE work SET seq = seq + 1, carried = CASE WHEN ?4 > 0 THEN ?4 ELSE carried END,
                 lane = min(lane, ?5), due = CASE WHEN ?7 THEN ?6 ELSE min(due, ?6) END,
                 since = CASE WHEN claimed = 0 AND due > ?6 THEN ?6 ELSE since END,
                 attempts = CASE WHEN claimed = 1 THEN attempts ELSE 0 END,
                 failing_since = NULL, cursor = NULL, needs_read = max(needs_read, ?7),
                 cause = CASE WHEN ?8 THEN cause ELSE ?9 END
             WHERE workspace = ?1 AND task = ?2 AND id = ?3",
        )?
        .execute((
            at.0,
            at.1,
            at.2,
            dirt.carried,
            rank,
            due,
            dirt.needs_read,
            keeps_cause,
            cause,
        ))?;
    Ok(())
}

/// Claims what is due, the most urgent first.
pub(super) fn claim(
    tx: &Tx<'_>,
    ids: &Ids,
    priorities: &[Priority],
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Claim>, StoreError> {
    let mut claims = Vec::new();
    for priority in priorities {
        let room = limit.saturating_sub(claims.len());
        if room == 0 {
            break;
        }
        let mut due = tx.conn.prepare_cached(
            "SELECT task, id, seq, carried, attempts, failing_since, needs_read, suspect, cursor, cause
             FROM work
             WHERE workspace = ?1 AND claimed = 0 AND lane = ?2 AND due <= ?3
             ORDER BY due LIMIT ?4",
        )?;
        let rows =
            due.query_map((ids.workspace(), priority.rank(), now.seconds(), room as i64), |row| {
                Ok(Claim {
                    key: WorkKey {
                        task: Task::from_text(&row.get::<_, String>(0)?).unwrap_or(Task::Contact),
                        id: super::parsed(row, 1)?,
                    },
                    seq: row.get(2)?,
                    carried: row.get(3)?,
                    attempts: row.get::<_, u32>(4)? + 1,
                    failing_since: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_seconds),
                    needs_read: row.get(6)?,
                    suspicion: suspicion(row.get(7)?),
                    priority: *priority,
                    cursor: row.get(8)?,
                    cause: row.get(9)?,
                    token: ids.next_token(),
                })
            })?;
        for claim in rows {
            claims.push(claim?);
        }
    }
    for claim in &claims {
        tx.conn
            .prepare_cached(
                "UPDATE work SET claimed = 1, token = ?4, stirred = 0, attempts = attempts + 1,
                     in_claim = carried, carried = 0,
                     suspect = max(suspect, 0)
                 WHERE workspace = ?1 AND task = ?2 AND id = ?3",
            )?
            .execute((
                ids.workspace(),
                claim.key.task.as_str(),
                claim.key.id.as_str(),
                claim.token,
            ))?;
    }
    Ok(claims)
}

/// Frees what was claimed when the process died, `alone` being who was evaluated alone. Who took it
/// down that way twice is dead; the rest is evaluated one at a time.
pub(super) fn recover(
    conn: &Connection,
    ids: &Ids,
    alone: Option<(String, String)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (task, id) = alone.unwrap_or_default();
    dead_letters::bury_crasher(conn, ids, (&task, &id), now)?;
    conn.execute(
        "UPDATE work SET claimed = 0, carried = carried + in_claim, in_claim = 0,
             suspect = CASE WHEN task = ?2 AND id = ?3 OR suspect = 2 THEN 2 WHEN suspect = -1 THEN 0 ELSE 1 END
         WHERE workspace = ?1 AND claimed = 1",
        (ids.workspace(), task, id),
    )?;
    Ok(())
}

/// What the column `suspect` says. 0: no suspicion; 1: it was claimed when the process died; 2: it was
/// evaluated alone then; -1: its rules were run in this claim, and survived, so that a crash from now
/// on is none of theirs.
fn suspicion(suspect: i64) -> Suspicion {
    match suspect {
        ..=0 => Suspicion::None,
        1 => Suspicion::Claimed,
        2.. => Suspicion::Alone,
    }
}

/// True if a contact is still to be derived and written, and does not merely wait for the time at which
/// the answer of a rule flips (such a row has waited for no longer than it is due).
pub(super) fn is_pending(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let found: Option<i64> = conn
        .prepare_cached(
            "SELECT 1 FROM work WHERE workspace = ?1 AND task = 'contact' AND id = ?2
                 AND (claimed = 1 OR due <= ?3 OR since < due OR needs_read = 1)",
        )?
        .query_row((ids.workspace(), contact.as_str(), now.seconds()), |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

/// How many keys are still to be worked on, and how many inputs they carry. What merely waits for the time
/// at which the answer of a rule flips is done; what waits for its next try is not, also if no input waits
/// with it. Companies may wait for an hour's budget: they count once they are due.
pub(super) fn counts(
    conn: &Connection,
    ids: &Ids,
    now: Timestamp,
) -> Result<(u64, u64), StoreError> {
    let counted: (i64, i64) = conn
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE claimed = 1 OR due <= ?2 OR since < due AND lane <> ?3),
                 coalesce(sum(carried + in_claim), 0)
             FROM work WHERE workspace = ?1",
        )?
        .query_row((ids.workspace(), now.seconds(), Priority::Companies.rank()), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    Ok((counted.0.unsigned_abs(), counted.1.unsigned_abs()))
}

/// Notes that the rules were run on what is claimed.
pub(super) fn evaluated(tx: &Tx<'_>, ids: &Ids, key: &WorkKey) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE work SET suspect = -1
             WHERE workspace = ?1 AND task = ?2 AND id = ?3 AND claimed = 1",
        )?
        .execute((ids.workspace(), key.task.as_str(), key.id.as_str()))?;
    Ok(())
}

struct Standing {
    carried: i64,
    in_claim: i64,
}

/// Ends one claim.
pub(super) fn settle(
    tx: &Tx<'_>,
    ids: &Ids,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Settlement {
        claim,
        ending,
        mirror: writes,
        decision,
        dirties,
        emission,
        derivation,
        company,
        waits_for_number,
    } = settlement;
    let key = &claim.key;
    let at = (ids.workspace(), key.task.as_str(), key.id.as_str());
    let standing = tx
        .conn
        .prepare_cached(
            "SELECT carried, in_claim FROM work
             WHERE workspace = ?1 AND task = ?2 AND id = ?3 AND claimed = 1 AND token = ?4",
        )?
        .query_row((at.0, at.1, at.2, claim.token), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    // Whoever's claim is not the last one has nothing to say any more.
    let Some((carried, in_claim)) = standing else {
        return Ok(());
    };
    for write in writes {
        mirror::apply(tx, ids, write, now)?;
    }
    if let Some(decision) = decision {
        put_decision(tx, ids, decision)?;
    }
    let mut gave = false;
    if let (Some(derivation), Ending::Done { .. }) = (derivation, ending) {
        gave |= events::track(tx, ids, derivation, now)? > 0;
    }
    if let (Some(emitted), Ending::Done { .. }) = (emission, ending) {
        let Emitted { emission, at } = &**emitted;
        let dirt = Dirt::again(claim.priority, now).because(Because::of(claim.cause));
        gave |= overlays::put(tx, ids, emission, *at, dirt)?;
    }
    gave |= objects::keep(tx, ids, settlement, now)?;
    if let Some(write) = company {
        companies::apply(tx, ids, &key.id, write, now)?;
    }
    companies::relink(tx, ids, settlement, now)?;
    for contact in dirties {
        let key = WorkKey { task: Task::Contact, id: contact.clone() };
        let dirt = Dirt::again(claim.priority, now).because(Because::of(claim.cause));
        dirty(tx, ids, &key, dirt)?;
    }
    if !matches!(ending, Ending::Retry { .. }) {
        forget_intent(tx, ids, &key.id)?;
    }
    match ending {
        _ if key.task != Task::Contact => {}
        Ending::Done { .. } => {
            wanted_numbers::keep(tx, ids, &key.id, waits_for_number.as_ref(), now)?;
        }
        Ending::Dead(_) => wanted_numbers::keep(tx, ids, &key.id, None, now)?,
        Ending::Retry { .. } => {}
    }
    let (seq, stirred): (i64, bool) = tx
        .conn
        .prepare_cached(
            "SELECT seq, stirred FROM work WHERE workspace = ?1 AND task = ?2 AND id = ?3",
        )?
        .query_row(at, |row| Ok((row.get(0)?, row.get(1)?)))?;
    // What was written came back as an echo; whatever else stirred Brevo's side is looked at again.
    let wrote = matches!(ending, Ending::Done { outcome: Outcome::Applied, .. });
    let standing = Standing { carried, in_claim };
    // Intercom is told once for good: who asked again meanwhile asked for the same.
    let is_told = writes.iter().any(|write| matches!(write, MirrorWrite::ToldIntercom { .. }));
    let is_last = is_told || seq == claim.seq && (wrote || !stirred);
    match ending {
        Ending::Done { outcome, due_again } => {
            let outcome = match outcome {
                // Only here it shows whether anything that a record gave off is new.
                Outcome::Applied if emission.is_some() && !gave => Outcome::Unchanged,
                outcome => *outcome,
            };
            count_outcome(tx, ids, key, outcome, standing.in_claim)?;
            if is_last && key.task == Task::Contact {
                let waits = outcome == Outcome::Held;
                let rest = if waits { holds::Rest::Waits } else { holds::Rest::Nothing };
                let version = decision.as_ref().map(|decision| decision.rule_set.as_str());
                holds::settle(tx, ids, &key.id, rest, version)?;
            }
            dead_letters::supersede(tx, ids, key)?;
            match (is_last, due_again) {
                (true, None) => remove(tx, at)?,
                (true, Some(due)) => wait(tx, at, *due)?,
                (false, _) => release(tx, at, now, None, 0)?,
            }
        }
        Ending::Retry { at: due, cursor, counts } => {
            let carried = if standing.carried > 0 {
                tx.count("superseded", standing.in_claim);
                standing.carried
            } else {
                standing.in_claim
            };
            tx.conn
                .prepare_cached(
                    "UPDATE work SET claimed = 0, in_claim = 0, carried = ?4, due = ?5, cursor = ?6,
                         attempts = CASE WHEN ?7 THEN attempts ELSE max(attempts - 1, 0) END,
                         failing_since = CASE WHEN ?7 THEN coalesce(failing_since, ?8) ELSE failing_since END
                     WHERE workspace = ?1 AND task = ?2 AND id = ?3",
                )?
                .execute((
                    at.0,
                    at.1,
                    at.2,
                    carried,
                    if is_last { due.seconds() } else { now.seconds() },
                    // What became dirty meanwhile is expanded from the start.
                    cursor.as_deref().filter(|_| is_last),
                    counts,
                    now.seconds(),
                ))?;
        }
        Ending::Dead(cause) => {
            dead_letters::bury(tx, ids, claim, cause, standing.in_claim, now)?;
            if is_last { remove(tx, at)? } else { release(tx, at, now, None, 0)? }
        }
    }
    if key.task == Task::Contact && !matches!(ending, Ending::Retry { .. }) {
        events::resume(tx, ids, &key.id, now)?;
        strangers::meet(tx, ids, &key.id, Dirt::again(claim.priority, now))?;
    }
    // Behind what becomes of holds: who waits for approval is not asked.
    double_opt_ins::keep(tx, ids, settlement, now)
}

type At<'a> = (&'a str, &'a str, &'a str);

fn count_outcome(
    tx: &Tx<'_>,
    ids: &Ids,
    key: &WorkKey,
    outcome: Outcome,
    inputs: i64,
) -> Result<(), StoreError> {
    if inputs == 0 {
        let derives = matches!(key.task, Task::Contact | Task::Conversation | Task::Event);
        tx.count("rederived", i64::from(derives));
        return Ok(());
    }
    let name = match outcome {
        Outcome::Applied => "applied",
        Outcome::Unchanged => "unchanged",
        Outcome::Skipped => "skipped",
        Outcome::Ignored => "ignored",
        Outcome::Held => return holds::carry(tx, ids, &key.id, inputs),
    };
    tx.count(name, inputs);
    Ok(())
}

fn remove(tx: &Tx<'_>, at: At<'_>) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("DELETE FROM work WHERE workspace = ?1 AND task = ?2 AND id = ?3")?
        .execute(at)?;
    Ok(())
}

/// Lets a key wait for the time at which the answer of a rule flips.
fn wait(tx: &Tx<'_>, at: At<'_>, due: Timestamp) -> Result<(), StoreError> {
    let is_company = at.1 == Task::Company.as_str();
    let lane = if is_company { Priority::Companies } else { Priority::Bulk };
    tx.conn
        .prepare_cached(
            "UPDATE work SET claimed = 0, in_claim = 0, carried = 0, attempts = 0, failing_since = NULL,
                 needs_read = 0, suspect = 0, cursor = NULL, cause = NULL, lane = ?4, due = ?5, since = ?5
             WHERE workspace = ?1 AND task = ?2 AND id = ?3",
        )?
        .execute((at.0, at.1, at.2, lane.rank(), due.seconds()))?;
    Ok(())
}

/// Lets a key that became dirty again be claimed at once.
fn release(
    tx: &Tx<'_>,
    at: At<'_>,
    now: Timestamp,
    cursor: Option<&str>,
    attempts: i64,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE work SET claimed = 0, in_claim = 0, attempts = ?6, failing_since = NULL, suspect = 0,
                 cursor = ?5, due = max(due, ?4)
             WHERE workspace = ?1 AND task = ?2 AND id = ?3",
        )?
        .execute((at.0, at.1, at.2, now.seconds(), cursor, attempts))?;
    Ok(())
}

fn put_decision(
    tx: &Tx<'_>,
    ids: &Ids,
    decision: &crate::model::Decision,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO decisions (workspace, id, rule_set, as_of, decision) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET rule_set = excluded.rule_set, as_of = excluded.as_of,
                 decision = excluded.decision",
        )?
        .execute((
            ids.workspace(),
            decision.subject.id.as_str(),
            decision.rule_set.as_str(),
            decision.as_of.seconds(),
            serde_json::to_string(decision)?,
        ))?;
    Ok(())
}

/// Notes that Brevo's side of a contact was seen to change while it is worked on; false if it is not.
pub(super) fn stir(tx: &Tx<'_>, ids: &Ids, contact: &str) -> Result<bool, StoreError> {
    let stirred = tx
        .conn
        .prepare_cached(
            "UPDATE work SET stirred = 1 WHERE workspace = ?1 AND task = ?2 AND id = ?3 AND claimed = 1",
        )?
        .execute((ids.workspace(), Task::Contact.as_str(), contact))?;
    Ok(stirred > 0)
}

/// Remembers what is about to be written for a contact; false: it no longer stands.
pub(super) fn intend(tx: &Tx<'_>, ids: &Ids, intent: Intent) -> Result<bool, StoreError> {
    let Intent { owner, change, basis } = intent;
    for (contact, stood_for) in basis {
        if mirror::owner(tx.conn, ids, contact)? != stood_for {
            return Ok(false);
        }
    }
    let intent = match self::intent(tx.conn, ids, &owner)? {
        Some(earlier) => earlier.and_then(change),
        None => change,
    };
    tx.conn
        .prepare_cached(
            "INSERT INTO intents (workspace, owner, change) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET change = excluded.change",
        )?
        .execute((ids.workspace(), owner.as_str(), serde_json::to_string(&intent)?))?;
    // The rules were run and survived: a crash during the calls is none of theirs.
    evaluated(tx, ids, &WorkKey { task: Task::Contact, id: owner })?;
    Ok(true)
}

/// Finds what was about to be written for a contact when the last process died, if its end is unknown.
pub(super) fn intent(
    conn: &Connection,
    ids: &Ids,
    owner: &RecordId,
) -> Result<Option<Change>, StoreError> {
    let text: Option<String> = conn
        .prepare_cached("SELECT change FROM intents WHERE workspace = ?1 AND owner = ?2")?
        .query_row((ids.workspace(), owner.as_str()), |row| row.get(0))
        .optional()?;
    Ok(text.as_deref().map(serde_json::from_str).transpose()?)
}

fn forget_intent(tx: &Tx<'_>, ids: &Ids, owner: &RecordId) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("DELETE FROM intents WHERE workspace = ?1 AND owner = ?2")?
        .execute((ids.workspace(), owner.as_str()))?;
    Ok(())
}

/// How many keys are due and not claimed.
pub(super) fn waiting(
    conn: &Connection,
    ids: &Ids,
    priority: Priority,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let waiting: i64 = conn
        .prepare_cached("SELECT count(*) FROM work WHERE workspace = ?1 AND claimed = 0 AND lane = ?2 AND due <= ?3")?
        .query_row((ids.workspace(), priority.rank(), now.seconds()), |row| row.get(0))?;
    Ok(waiting.unsigned_abs())
}

/// When the next key is due.
pub(super) fn next_due(
    conn: &Connection,
    ids: &Ids,
    priorities: &[Priority],
) -> Result<Option<Timestamp>, StoreError> {
    let mut earliest = None;
    for priority in priorities {
        let due: Option<i64> = conn
            .prepare_cached(
                "SELECT min(due) FROM work WHERE workspace = ?1 AND claimed = 0 AND lane = ?2",
            )?
            .query_row((ids.workspace(), priority.rank()), |row| row.get(0))?;
        earliest = match (earliest, due.map(Timestamp::from_seconds)) {
            (Some(a), Some(b)) => Some(std::cmp::min(a, b)),
            (a, b) => a.or(b),
        };
    }
    Ok(earliest)
}

/// Makes the live records of a kind dirty whose ids follow `after`, at most `limit`; answers the last of
/// them.
pub(super) fn rederive_page(
    tx: &Tx<'_>,
    ids: &Ids,
    (kind, task): (RecordKind, Task),
    after: &str,
    limit: i64,
    because: Because,
    now: Timestamp,
) -> Result<Vec<RecordId>, StoreError> {
    let records: Vec<RecordId> = tx
        .conn
        .prepare_cached(
            "SELECT id FROM records WHERE workspace = ?1 AND kind = ?4 AND liveness = 'live' AND id > ?2
             ORDER BY id LIMIT ?3",
        )?
        .query_map((ids.workspace(), after, limit, kind.as_str()), |row| super::parsed(row, 0))?
        .collect::<Result<_, _>>()?;
    for id in &records {
        let key = WorkKey { task, id: id.clone() };
        dirty(tx, ids, &key, Dirt::again(Priority::Bulk, now).because(because))?;
    }
    Ok(records)
}
