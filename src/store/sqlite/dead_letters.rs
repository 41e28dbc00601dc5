//! Dead letters: buried, retried, dropped, superseded.

use rusqlite::{Connection, OptionalExtension, Row};

use super::work::{self, Because};
use super::writer::Tx;
use super::{Ids, companies, double_opt_ins, events, objects};
use crate::model::{RecordId, Timestamp};
use crate::store::{
    Cause, Claim, DeadLetter, DeadLetterQuery, Priority, StoreError, Task, WorkKey,
};

pub(super) fn bury(
    tx: &Tx<'_>,
    ids: &Ids,
    claim: &Claim,
    cause: &Cause,
    carried: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO dead_letters
                 (workspace, task, key, kind, message, origin, response, rule_set, carried, attempts, at,
                  request)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (workspace, task, key) WHERE task IS NOT NULL DO UPDATE SET
                 kind = excluded.kind, message = excluded.message, origin = excluded.origin,
                 response = excluded.response, rule_set = excluded.rule_set,
                 carried = carried + excluded.carried, attempts = excluded.attempts, at = excluded.at,
                 request = excluded.request",
        )?
        .execute((
            ids.workspace(),
            claim.key.task.as_str(),
            claim.key.id.as_str(),
            cause.kind,
            &cause.message,
            &cause.origin,
            &cause.response,
            &cause.rule_set,
            carried,
            claim.attempts,
            now.seconds(),
            &cause.request,
        ))?;
    Ok(())
}

/// Buries a notification that cannot be used.
pub(super) fn bury_notification(
    tx: &Tx<'_>,
    ids: &Ids,
    journal: Option<i64>,
    cause: &Cause,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO dead_letters (workspace, journal, kind, message, carried, attempts, at)
             VALUES (?1, ?2, ?3, ?4, 1, 1, ?5)",
        )?
        .execute((ids.workspace(), journal, cause.kind, &cause.message, now.seconds()))?;
    Ok(())
}

/// What stands for a task where a dead letter is about an event that a rule tracked. It carries no
/// input: the record that tracked it has its own outcome.
const EVENT: &str = "event";

/// Buries an event, given by the name of its key.
pub(super) fn bury_event(
    tx: &Tx<'_>,
    ids: &Ids,
    event: &str,
    cause: &Cause,
    attempts: u32,
    now: Timestamp,
) -> Result<(), StoreError> {
    bury_other(tx, ids, (EVENT, event), cause, attempts, now)
}

/// Removes a dead letter that carries no input: what it is about was changed since.
pub(super) fn forget(tx: &Tx<'_>, ids: &Ids, task: &str, key: &str) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("DELETE FROM dead_letters WHERE workspace = ?1 AND task = ?2 AND key = ?3")?
        .execute((ids.workspace(), task, key))?;
    Ok(())
}

/// Buries what carries no input: the record that asked for it has its own outcome. `task` and `key`
/// name it.
pub(super) fn bury_other(
    tx: &Tx<'_>,
    ids: &Ids,
    (task, key): (&str, &str),
    cause: &Cause,
    attempts: u32,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO dead_letters
                 (workspace, task, key, kind, message, origin, response, rule_set, carried, attempts, at,
                  request)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?10, ?11)",
        )?
        .execute((
            ids.workspace(),
            task,
            key,
            cause.kind,
            &cause.message,
            &cause.origin,
            &cause.response,
            &cause.rule_set,
            attempts,
            now.seconds(),
            &cause.request,
        ))?;
    Ok(())
}

/// Buries who was evaluated alone when the process died, if that happened before.
pub(super) fn bury_crasher(
    conn: &Connection,
    ids: &Ids,
    (task, id): (&str, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    conn.execute(
        "INSERT INTO dead_letters (workspace, task, key, kind, message, carried, attempts, at)
         SELECT workspace, task, id, 'crash',
                'the process ended twice while this record alone was evaluated; '
                || 'look at the scripts for what it does with this record, then retry',
                carried + in_claim, attempts, ?4
         FROM work WHERE workspace = ?1 AND task = ?2 AND id = ?3 AND claimed = 1 AND suspect = 2
         ON CONFLICT (workspace, task, key) WHERE task IS NOT NULL DO UPDATE SET
             kind = excluded.kind, message = excluded.message, request = NULL, carried = carried + excluded.carried, at = excluded.at",
        (ids.workspace(), task, id, now.seconds()),
    )?;
    conn.execute(
        "DELETE FROM work
         WHERE workspace = ?1 AND task = ?2 AND id = ?3 AND claimed = 1 AND suspect = 2",
        (ids.workspace(), task, id),
    )?;
    Ok(())
}

/// Removes the dead letter of a key that succeeded since: its inputs were superseded.
pub(super) fn supersede(tx: &Tx<'_>, ids: &Ids, key: &WorkKey) -> Result<(), StoreError> {
    let carried: Option<i64> = tx
        .conn
        .prepare_cached(
            "DELETE FROM dead_letters WHERE workspace = ?1 AND task = ?2 AND key = ?3 RETURNING carried",
        )?
        .query_row((ids.workspace(), key.task.as_str(), key.id.as_str()), |row| row.get(0))
        .optional()?;
    tx.count("superseded", carried.unwrap_or(0));
    Ok(())
}

const COLUMNS: &str =
    "id, task, key, kind, message, origin, response, rule_set, attempts, carried, at, request,
     (SELECT topic FROM journal WHERE journal.id = dead_letters.journal)";

fn read(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let task: Option<String> = row.get(1)?;
    let key: Option<String> = row.get(2)?;
    Ok(DeadLetter {
        id: row.get(0)?,
        record: task.zip(key).map(|(task, key)| format!("{task}:{key}")),
        topic: row.get(12)?,
        kind: row.get(3)?,
        message: row.get(4)?,
        origin: row.get(5)?,
        response: row.get(6)?,
        rule_set: row.get(7)?,
        attempts: row.get(8)?,
        inputs: row.get(9)?,
        at: Timestamp::from_seconds(row.get(10)?),
        request: row.get(11)?,
    })
}

/// How many there are of what a task is about.
pub(super) fn count(conn: &Connection, ids: &Ids, task: &str) -> Result<u64, StoreError> {
    let count: i64 = conn
        .prepare_cached("SELECT count(*) FROM dead_letters WHERE workspace = ?1 AND task = ?2")?
        .query_row((ids.workspace(), task), |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

pub(super) fn list(
    conn: &Connection,
    ids: &Ids,
    limit: usize,
) -> Result<Vec<DeadLetter>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM dead_letters WHERE workspace = ?1 ORDER BY id DESC LIMIT ?2"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map((ids.workspace(), limit as i64), read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn find(
    conn: &Connection,
    ids: &Ids,
    id: i64,
) -> Result<Option<DeadLetter>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM dead_letters WHERE workspace = ?1 AND id = ?2");
    Ok(conn.prepare_cached(&sql)?.query_row((ids.workspace(), id), read).optional()?)
}

/// Turns dead letters back into work, with the inputs that they stand for.
pub(super) fn retry(
    tx: &Tx<'_>,
    ids: &Ids,
    query: &DeadLetterQuery,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let rows: Vec<(String, String, i64)> = tx
        .conn
        .prepare_cached(
            "DELETE FROM dead_letters WHERE workspace = ?1 AND task IS NOT NULL AND (?2 IS NULL OR id = ?2)
             RETURNING task, key, carried",
        )?
        .query_map((ids.workspace(), number(query)), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (task, id, carried) in &rows {
        match task.as_str() {
            EVENT => {
                events::revive(tx, ids, id, now)?;
                continue;
            }
            objects::TASK => {
                objects::revive(tx, ids, id, now)?;
                continue;
            }
            companies::LINK => {
                companies::revive_link(tx, ids, id, now)?;
                continue;
            }
            double_opt_ins::TASK => {
                double_opt_ins::revive(tx, ids, id, now)?;
                continue;
            }
            _ => {}
        }
        let Some(task) = Task::from_text(task) else {
            continue;
        };
        let id = id.parse().map_err(|error: crate::model::InvalidId| StoreError::Damaged {
            what: "dead letter",
            reason: error.to_string(),
        })?;
        let dirt =
            work::Dirt::again(Priority::Live, now).carrying(*carried).because(Because::Itself);
        work::dirty(tx, ids, &WorkKey { task, id }, dirt)?;
    }
    Ok(rows.len() as u64)
}

/// True if a contact is a dead letter.
pub(super) fn has_contact(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
) -> Result<bool, StoreError> {
    let found: Option<i64> = conn
        .prepare_cached(
            "SELECT 1 FROM dead_letters WHERE workspace = ?1 AND task = 'contact' AND key = ?2",
        )?
        .query_row((ids.workspace(), contact.as_str()), |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

/// Drops dead letters: their inputs count as skipped.
pub(super) fn discard(tx: &Tx<'_>, ids: &Ids, query: &DeadLetterQuery) -> Result<u64, StoreError> {
    let rows: Vec<(Option<String>, Option<String>, i64)> = tx
        .conn
        .prepare_cached(
            "DELETE FROM dead_letters WHERE workspace = ?1 AND (?2 IS NULL OR id = ?2)
             RETURNING task, key, carried",
        )?
        .query_map((ids.workspace(), number(query)), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    for (task, key, _) in &rows {
        match (task.as_deref(), key) {
            (Some(EVENT), Some(event)) => events::drop_dead(tx, ids, event)?,
            (Some(objects::TASK), Some(object)) => objects::drop_dead(tx, ids, object)?,
            // What waits for the contact is dropped with it.
            (Some(task), Some(contact)) if task == Task::Contact.as_str() => {
                if let Ok(contact) = contact.parse() {
                    events::resume(tx, ids, &contact, Timestamp::EPOCH)?;
                }
            }
            (Some(double_opt_ins::TASK), Some(asked)) => double_opt_ins::drop_dead(tx, asked)?,
            _ => {}
        }
    }
    tx.count("skipped", rows.iter().map(|(.., carried)| carried).sum());
    Ok(rows.len() as u64)
}

fn number(query: &DeadLetterQuery) -> Option<i64> {
    match query {
        DeadLetterQuery::One(id) => Some(*id),
        DeadLetterQuery::All => None,
    }
}
