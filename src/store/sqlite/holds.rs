//! Holds: what is taken away is judged, counted, and released or kept back.

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::writer::Tx;
use super::{Ids, work};
use crate::model::{Email, Parts, RecordId, RecordKey, Takes, Timestamp, Word};
use crate::store::{
    FileChanges, HeldChange, Hold, Judged, Judgement, Measure, Priority, StoreError, Taking, Task,
    WorkKey,
};

/// How long other work is looked back upon.
const WINDOW_SECONDS: i64 = 600;

/// How a hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// All that its cause takes away waits until it is counted.
    Counting,
    /// It waits for approval.
    Held,
    /// What waits in it is let go, a page at a time.
    Releasing,
    /// It was let go.
    Released,
    /// What waits in it is rejected, a page at a time.
    Rejecting,
    /// It was rejected.
    Rejected,
    /// Newer rules decide anew: what waits in it is derived again, a page at a time.
    Superseded,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counting => "counting",
            Self::Held => "held",
            Self::Releasing => "releasing",
            Self::Released => "released",
            Self::Rejecting => "rejecting",
            Self::Rejected => "rejected",
            Self::Superseded => "superseded",
        }
    }

    fn from_text(text: &str) -> Self {
        match text {
            "counting" => Self::Counting,
            "releasing" => Self::Releasing,
            "released" => Self::Released,
            "rejecting" => Self::Rejecting,
            "rejected" => Self::Rejected,
            "superseded" => Self::Superseded,
            _ => Self::Held,
        }
    }
}

/// What makes keys dirty, where it is counted as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rules,
    Sweep,
    Work,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Sweep => "sweep",
            Self::Work => "work",
        }
    }
}

/// A hold, as far as a judgement needs it.
#[derive(Debug, Clone, Copy)]
struct Standing {
    id: i64,
    state: State,
}

/// A row of `held_changes`.
#[derive(Debug)]
struct Kept {
    hold: i64,
    word: Option<Word>,
    takes: Takes,
    carried: i64,
    state: String,
}

/// Judges what is about to be taken away, in the order of the question. What must wait is noted.
pub(super) fn judge(
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

/// How many contacts the engine manages.
pub(super) fn managed(conn: &Connection, ids: &Ids) -> Result<u64, StoreError> {
    let managed: i64 = conn
        .prepare_cached("SELECT count(*) FROM mirror WHERE workspace = ?1 AND owner IS NOT NULL")?
        .query_row((ids.workspace(),), |row| row.get(0))?;
    Ok(managed.unsigned_abs())
}

/// What was said of a contact before, as it counts under the rules `version`.
fn kept(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
    version: Option<&str>,
) -> Result<Vec<Kept>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT c.hold, c.state, c.takes, c.carried, coalesce(c.rule_set, h.rule_set),
             h.state, h.kind, h.reference
         FROM held_changes AS c LEFT JOIN holds AS h ON h.id = c.hold
         WHERE c.workspace = ?1 AND c.contact = ?2",
    )?;
    let rows = statement.query_map((ids.workspace(), contact.as_str()), |row| {
        let (hold, state): (i64, String) = (row.get(0)?, row.get(1)?);
        let rule_set: Option<String> = row.get(4)?;
        let lasts = rule_set.as_deref() == version;
        let standing: Option<String> = row.get(5)?;
        let is_of_old_rules = row.get::<_, Option<String>>(6)?.as_deref() == Some("rules")
            && row.get::<_, Option<String>>(7)?.as_deref() != version;
        let word = match (state.as_str(), standing.as_deref().map(State::from_text)) {
            ("leave", _) | ("waits", Some(State::Releasing)) => Some(Word::Leave),
            ("rejected", _) | ("waits", Some(State::Rejecting)) => lasts.then_some(Word::Rejected),
            (_, None | Some(State::Superseded)) => None,
            (_, Some(_)) => (!is_of_old_rules).then_some(Word::Waits(hold)),
        };
        let takes: String = row.get(2)?;
        let takes = serde_json::from_str(&takes).map_err(super::damaged)?;
        Ok(Kept { hold, word, takes, carried: row.get(3)?, state })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn put(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    hold: i64,
    state: &str,
    takes: &Takes,
    rule_set: Option<&str>,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO held_changes (workspace, contact, hold, state, takes, removals, clears,
                 unsubscribes, deletions, rule_set)
             VALUES (:workspace, :contact, :hold, :state, :takes, :removals, :clears,
                 :unsubscribes, :deletions, :rule_set)
             ON CONFLICT DO UPDATE SET takes = excluded.takes, removals = excluded.removals,
                 clears = excluded.clears, unsubscribes = excluded.unsubscribes,
                 deletions = excluded.deletions, rule_set = excluded.rule_set",
        )?
        .execute(named_params! {
            ":workspace": ids.workspace(),
            ":contact": contact.as_str(),
            ":hold": hold,
            ":state": state,
            ":takes": serde_json::to_string(takes)?,
            ":removals": takes.lists.len() as i64,
            ":clears": takes.clears.len() as i64,
            ":unsubscribes": takes.unsubscribes() as i64,
            ":deletions": i64::from(takes.deletes),
            ":rule_set": rule_set,
        })?;
    Ok(())
}

fn remove(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    hold: i64,
    state: &str,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "DELETE FROM held_changes
             WHERE workspace = ?1 AND contact = ?2 AND hold = ?3 AND state = ?4",
        )?
        .execute((ids.workspace(), contact.as_str(), hold, state))?;
    Ok(())
}

/// Lets what waits of a contact carry these inputs. What it carried before is superseded.
pub(super) fn carry(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    inputs: i64,
) -> Result<(), StoreError> {
    let waits: Option<(i64, i64)> = tx
        .conn
        .prepare_cached(
            "SELECT hold, carried FROM held_changes
             WHERE workspace = ?1 AND contact = ?2 AND state = 'waits'
             ORDER BY carried DESC, hold DESC LIMIT 1",
        )?
        .query_row((ids.workspace(), contact.as_str()), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((hold, carried)) = waits else {
        // It was decided in this moment.
        tx.count("superseded", inputs);
        return Ok(());
    };
    tx.count("superseded", carried);
    tx.conn
        .prepare_cached(
            "UPDATE held_changes SET carried = ?4
             WHERE workspace = ?1 AND contact = ?2 AND hold = ?3 AND state = 'waits'",
        )?
        .execute((ids.workspace(), contact.as_str(), hold, inputs))?;
    Ok(())
}

/// What the end of a claim says of what waits for its contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Something waits: the inputs of the claim wait with it.
    Waits,
    /// Nothing waits any more.
    Nothing,
}

/// Ends a derivation as decided. Leaves are used up; what no longer waits is superseded.
pub(super) fn settle(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    rest: Rest,
    rule_set: Option<&str>,
) -> Result<(), StoreError> {
    let mut statement = tx.conn.prepare_cached(
        "DELETE FROM held_changes WHERE workspace = ?1 AND contact = ?2
         AND (state = 'leave' OR (state = 'waits' AND ?3) OR (state = 'rejected' AND rule_set <> ?4))
         RETURNING carried",
    )?;
    let ended = (ids.workspace(), contact.as_str(), rest == Rest::Nothing, rule_set);
    let rows = statement.query_map(ended, |row| row.get::<_, i64>(0))?;
    for carried in rows {
        tx.count("superseded", carried?);
    }
    Ok(())
}

fn find(
    conn: &Connection,
    ids: &Ids,
    kind: Kind,
    reference: &str,
) -> Result<Option<Standing>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id, state FROM holds
             WHERE workspace = ?1 AND kind = ?2 AND reference = ?3 AND kind <> 'work'",
        )?
        .query_row((ids.workspace(), kind.as_str(), reference), standing)
        .optional()?;
    Ok(found)
}

fn by_id(conn: &Connection, ids: &Ids, id: i64) -> Result<Option<Standing>, StoreError> {
    let found = conn
        .prepare_cached("SELECT id, state FROM holds WHERE workspace = ?1 AND id = ?2")?
        .query_row((ids.workspace(), id), standing)
        .optional()?;
    Ok(found)
}

fn standing(row: &Row<'_>) -> rusqlite::Result<Standing> {
    Ok(Standing { id: row.get(0)?, state: State::from_text(&row.get::<_, String>(1)?) })
}

fn open_work(conn: &Connection, ids: &Ids) -> Result<Option<i64>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id FROM holds WHERE workspace = ?1 AND state = 'held' AND kind = 'work'
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row((ids.workspace(),), |row| row.get(0))
        .optional()?;
    Ok(found)
}

fn begin(
    tx: &Tx<'_>,
    ids: &Ids,
    kind: Kind,
    reference: &str,
    state: State,
    now: Timestamp,
) -> Result<Standing, StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO holds (workspace, kind, reference, state, created)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (workspace, kind, reference) WHERE kind <> 'work'
             DO UPDATE SET state = excluded.state, fed = 0, rule_set = NULL,
                 created = excluded.created",
        )?
        .execute((ids.workspace(), kind.as_str(), reference, state.as_str(), now.seconds()))?;
    match find(tx.conn, ids, kind, reference)? {
        Some(found) => Ok(found),
        None => Ok(Standing { id: tx.conn.last_insert_rowid(), state }),
    }
}

fn set_state(tx: &Tx<'_>, ids: &Ids, id: i64, state: State) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE holds SET state = ?3 WHERE workspace = ?1 AND id = ?2")?
        .execute((ids.workspace(), id, state.as_str()))?;
    Ok(())
}

/// Begins to count what new rules take away. What waits because of older ones is decided anew.
pub(super) fn begin_rules(
    tx: &Tx<'_>,
    ids: &Ids,
    version: &str,
    now: Timestamp,
) -> Result<i64, StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE holds SET state = 'superseded' WHERE workspace = ?1 AND kind = 'rules'
             AND reference <> ?2 AND state IN ('counting', 'held')",
        )?
        .execute((ids.workspace(), version))?;
    tx.conn
        .prepare_cached(
            "DELETE FROM holds WHERE workspace = ?1 AND kind = 'rules' AND reference <> ?2
             AND state IN ('released', 'rejected')",
        )?
        .execute((ids.workspace(), version))?;
    Ok(begin(tx, ids, Kind::Rules, version, State::Counting, now)?.id)
}

/// The hold of a sync that goes on.
pub(super) fn of_sweep(
    tx: &Tx<'_>,
    ids: &Ids,
    sync: &str,
    now: Timestamp,
) -> Result<i64, StoreError> {
    match find(tx.conn, ids, Kind::Sweep, sync)? {
        Some(found) => Ok(found.id),
        None => Ok(begin(tx, ids, Kind::Sweep, sync, State::Counting, now)?.id),
    }
}

/// Says that all keys are dirty that a cause makes dirty.
pub(super) fn feed(tx: &Tx<'_>, ids: &Ids, id: i64) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE holds SET fed = 1 WHERE workspace = ?1 AND id = ?2")?
        .execute((ids.workspace(), id))?;
    Ok(())
}

/// The same for a sync that is over.
pub(super) fn feed_sweep(tx: &Tx<'_>, ids: &Ids, sync: &str) -> Result<(), StoreError> {
    match find(tx.conn, ids, Kind::Sweep, sync)? {
        Some(found) => feed(tx, ids, found.id),
        None => Ok(()),
    }
}

/// True if rules are counted without all records being made dirty.
pub(super) fn has_unfed_rules(conn: &Connection, ids: &Ids) -> Result<bool, StoreError> {
    let has = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM holds
             WHERE workspace = ?1 AND state = 'counting' AND kind = 'rules' AND fed = 0)",
        )?
        .query_row((ids.workspace(),), |row| row.get(0))?;
    Ok(has)
}

/// True if a count may be ended: all that its cause makes dirty is dirty.
pub(super) fn has_counted(conn: &Connection, ids: &Ids) -> Result<bool, StoreError> {
    let has = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM holds
             WHERE workspace = ?1 AND state = 'counting' AND fed = 1)",
        )?
        .query_row((ids.workspace(),), |row| row.get(0))?;
    Ok(has)
}

/// True if there is something to work off.
pub(super) fn has_decided(conn: &Connection, ids: &Ids) -> Result<bool, StoreError> {
    let has = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM holds
             WHERE workspace = ?1 AND state IN ('releasing', 'rejecting', 'superseded'))",
        )?
        .query_row((ids.workspace(),), |row| row.get(0))?;
    Ok(has)
}

/// Ends counts whose last key was derived, and those that stay below the bound whatever the last few
/// come to: a key that is stuck must not hold up the others. One that fails by itself is not waited
/// for. Answers what waits for approval from now on.
pub(super) fn close_counts(
    tx: &Tx<'_>,
    ids: &Ids,
    measure: &Measure,
) -> Result<Vec<Hold>, StoreError> {
    let counting: Vec<i64> = tx
        .conn
        .prepare_cached(
            "SELECT id FROM holds WHERE workspace = ?1 AND state = 'counting' AND fed = 1",
        )?
        .query_map((ids.workspace(),), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut held = Vec::new();
    for id in counting {
        let few = measure.bound.contacts + 1;
        let open = open_keys(tx.conn, ids, id, few)?;
        let contacts = contacts_of(tx.conn, ids, id)?;
        if !is_exceeded(tx, ids, measure, contacts + open)? && open < few {
            set_state(tx, ids, id, State::Releasing)?;
        } else if open == 0 {
            set_state(tx, ids, id, State::Held)?;
            held.extend(hold(tx.conn, ids, id)?);
        }
    }
    Ok(held)
}

/// How many keys of a cause are to be derived, up to `limit`.
fn open_keys(conn: &Connection, ids: &Ids, cause: i64, limit: u64) -> Result<u64, StoreError> {
    let open: i64 = conn
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM work
             WHERE workspace = ?1 AND cause = ?2 AND failing_since IS NULL LIMIT ?3)",
        )?
        .query_row((ids.workspace(), cause, limit.cast_signed()), |row| row.get(0))?;
    Ok(open.unsigned_abs())
}

fn contacts_of(conn: &Connection, ids: &Ids, hold: i64) -> Result<u64, StoreError> {
    let contacts: i64 = conn
        .prepare_cached(
            "SELECT count(*) FROM held_changes
             WHERE workspace = ?1 AND hold = ?2 AND state = 'waits'",
        )?
        .query_row((ids.workspace(), hold), |row| row.get(0))?;
    Ok(contacts.unsigned_abs())
}

/// Who is managed is counted only where it matters.
fn is_exceeded(
    tx: &Tx<'_>,
    ids: &Ids,
    measure: &Measure,
    contacts: u64,
) -> Result<bool, StoreError> {
    let Measure { bound, .. } = measure;
    if bound.is_off() || contacts <= bound.contacts {
        return Ok(false);
    }
    Ok(bound.is_exceeded_by(contacts, managed(tx.conn, ids)?))
}

/// Works off what was decided: lets go, rejects, or has derived again what waits. Answers how many
/// contacts; none left: 0.
pub(super) fn work_off(
    tx: &Tx<'_>,
    ids: &Ids,
    limit: usize,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let decided: Vec<(i64, State, Option<String>)> = tx
        .conn
        .prepare_cached(
            "SELECT id, state, rule_set FROM holds WHERE workspace = ?1
             AND state IN ('releasing', 'rejecting', 'superseded') ORDER BY id",
        )?
        .query_map((ids.workspace(),), |row| {
            Ok((row.get(0)?, State::from_text(&row.get::<_, String>(1)?), row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut done = 0;
    for (id, state, rule_set) in decided {
        let room = limit.saturating_sub(done);
        let page = waiting(tx.conn, ids, id, room)?;
        for (contact, takes, carried) in &page {
            remove(tx, ids, contact, id, "waits")?;
            match state {
                State::Releasing => put(tx, ids, contact, id, "leave", takes, None)?,
                State::Rejecting => {
                    put(tx, ids, contact, id, "rejected", takes, rule_set.as_deref())?;
                }
                _ => {}
            }
            if state == State::Rejecting {
                tx.count("skipped", *carried);
            } else {
                let key = WorkKey { task: Task::Contact, id: contact.clone() };
                let dirt = work::Dirt::again(Priority::Bulk, now).carrying(*carried);
                work::dirty(tx, ids, &key, dirt)?;
            }
        }
        done += page.len();
        if page.len() < room {
            end(tx, ids, id, state)?;
        }
    }
    Ok(done as u64)
}

fn waiting(
    conn: &Connection,
    ids: &Ids,
    hold: i64,
    limit: usize,
) -> Result<Vec<(RecordId, Takes, i64)>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT contact, takes, carried FROM held_changes
         WHERE workspace = ?1 AND hold = ?2 AND state = 'waits' ORDER BY contact LIMIT ?3",
    )?;
    let rows = statement.query_map((ids.workspace(), hold, limit as i64), |row| {
        let takes: String = row.get(1)?;
        let takes = serde_json::from_str(&takes).map_err(super::damaged)?;
        Ok((super::parsed(row, 0)?, takes, row.get(2)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Ends a hold in which nothing waits any more. That of rules stays as long as they are live.
fn end(tx: &Tx<'_>, ids: &Ids, id: i64, state: State) -> Result<(), StoreError> {
    match state {
        State::Rejecting => set_state(tx, ids, id, State::Rejected),
        State::Releasing => {
            set_state(tx, ids, id, State::Released)?;
            tx.conn
                .prepare_cached(
                    "DELETE FROM holds WHERE workspace = ?1 AND id = ?2 AND kind <> 'rules'",
                )?
                .execute((ids.workspace(), id))?;
            Ok(())
        }
        _ => {
            tx.conn
                .prepare_cached("DELETE FROM holds WHERE workspace = ?1 AND id = ?2")?
                .execute((ids.workspace(), id))?;
            Ok(())
        }
    }
}

/// Approves a hold that waits; false: there is no such.
pub(super) fn approve(tx: &Tx<'_>, ids: &Ids, id: i64) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE holds SET state = 'releasing' WHERE workspace = ?1 AND id = ?2 AND state = 'held'",
        )?
        .execute((ids.workspace(), id))?;
    Ok(changed > 0)
}

/// Rejects a hold that waits, for as long as these rules are live; false: there is no such.
pub(super) fn reject(
    tx: &Tx<'_>,
    ids: &Ids,
    id: i64,
    rule_set: Option<&str>,
) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE holds SET state = 'rejecting', rule_set = ?3
             WHERE workspace = ?1 AND id = ?2 AND state = 'held'",
        )?
        .execute((ids.workspace(), id, rule_set))?;
    Ok(changed > 0)
}

/// What waits for approval, oldest first.
pub(super) fn list(conn: &Connection, ids: &Ids) -> Result<Vec<Hold>, StoreError> {
    let held: Vec<i64> = conn
        .prepare_cached("SELECT id FROM holds WHERE workspace = ?1 AND state = 'held' ORDER BY id")?
        .query_map((ids.workspace(),), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut holds = Vec::new();
    for id in held {
        holds.extend(hold(conn, ids, id)?);
    }
    Ok(holds)
}

/// Finds a hold in which something waits for approval.
pub(super) fn hold(conn: &Connection, ids: &Ids, id: i64) -> Result<Option<Hold>, StoreError> {
    let found: Option<(String, String, i64)> = conn
        .prepare_cached(
            "SELECT kind, reference, created FROM holds
             WHERE workspace = ?1 AND id = ?2 AND state = 'held'",
        )?
        .query_row((ids.workspace(), id), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((kind, reference, created)) = found else { return Ok(None) };
    let sums: [i64; 5] = conn
        .prepare_cached(
            "SELECT count(*), coalesce(sum(removals), 0), coalesce(sum(clears), 0),
                 coalesce(sum(unsubscribes), 0), coalesce(sum(deletions), 0)
             FROM held_changes WHERE workspace = ?1 AND hold = ?2 AND state = 'waits'",
        )?
        .query_row((ids.workspace(), id), |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?])
        })?;
    let [contacts, removals, clears, unsubscribes, deletions] = sums.map(i64::unsigned_abs);
    if contacts == 0 {
        return Ok(None);
    }
    let cause = match kind.as_str() {
        "rules" if is_configuration(conn, ids, &reference)? => {
            format!("configuration (rule set {reference})")
        }
        "rules" => format!("rule set {reference}"),
        "sweep" => format!("sweep {reference}"),
        _ => "changes within ten minutes".to_owned(),
    };
    let created_at = Timestamp::from_seconds(created);
    Ok(Some(Hold { id, cause, contacts, removals, clears, unsubscribes, deletions, created_at }))
}

/// True if no file differs from the rules that were live before: only the configuration does.
fn is_configuration(conn: &Connection, ids: &Ids, version: &str) -> Result<bool, StoreError> {
    let changes: Option<(String, bool)> = conn
        .prepare_cached(
            "SELECT changes, base IS NOT NULL FROM rule_history
             WHERE workspace = ?1 AND version = ?2 ORDER BY id DESC LIMIT 1",
        )?
        .query_row((ids.workspace(), version), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((changes, true)) = changes else { return Ok(false) };
    Ok(serde_json::from_str::<FileChanges>(&changes)? == FileChanges::default())
}

/// Finds the first contacts of a hold.
pub(super) fn sample(
    conn: &Connection,
    ids: &Ids,
    hold: i64,
    limit: usize,
) -> Result<Vec<HeldChange>, StoreError> {
    let page = waiting(conn, ids, hold, limit)?;
    let mut address = conn.prepare_cached(
        "SELECT email FROM records WHERE workspace = ?1 AND kind = 'contact' AND id = ?2",
    )?;
    let mut sample = Vec::new();
    for (contact, takes, _) in page {
        let email: Option<String> = address
            .query_row((ids.workspace(), contact.as_str()), |row| row.get(0))
            .optional()?
            .flatten();
        let address: Option<Email> = email.and_then(|email| email.parse().ok());
        sample.push(HeldChange { contact, address, takes });
    }
    Ok(sample)
}

/// What waits, by how it waits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Inputs that wait for approval.
    pub(super) held: u64,
    /// Contacts that wait for approval.
    pub(super) contacts: u64,
    /// Inputs that wait to be counted or worked off.
    pub(super) pending: u64,
    /// Counts that go on, and contacts that are to be worked off.
    pub(super) work: u64,
}

pub(super) fn counts(conn: &Connection, ids: &Ids) -> Result<Counts, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT h.state, count(c.contact), coalesce(sum(c.carried), 0) FROM holds AS h
         LEFT JOIN held_changes AS c
             ON c.workspace = h.workspace AND c.hold = h.id AND c.state = 'waits'
         WHERE h.workspace = ?1 AND h.state IN
             ('counting', 'held', 'releasing', 'rejecting', 'superseded', 'released')
         GROUP BY h.id",
    )?;
    let rows = statement.query_map((ids.workspace(),), |row| {
        let state = State::from_text(&row.get::<_, String>(0)?);
        let (contacts, carried): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok((state, contacts.unsigned_abs(), carried.unsigned_abs()))
    })?;
    let mut counts = Counts::default();
    for row in rows {
        let (state, contacts, carried) = row?;
        match state {
            State::Held => {
                counts.held += carried;
                counts.contacts += contacts;
            }
            State::Counting => {
                counts.pending += carried;
                counts.work += 1;
            }
            _ => {
                counts.pending += carried;
                counts.work += contacts;
            }
        }
    }
    Ok(counts)
}

/// Forgets rejections of which nothing is left, and which are old.
pub(super) fn prune(tx: &Tx<'_>, ids: &Ids, before: Timestamp) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "DELETE FROM holds WHERE workspace = ?1 AND state = 'rejected' AND kind <> 'rules'
             AND created < ?2 AND NOT EXISTS (SELECT 1 FROM held_changes AS c
                 WHERE c.workspace = holds.workspace AND c.hold = holds.id)",
        )?
        .execute((ids.workspace(), before.seconds()))?;
    Ok(())
}
