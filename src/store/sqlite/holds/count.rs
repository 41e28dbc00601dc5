//! Counting what a cause takes away as a whole, and whether that is too much.

use rusqlite::Connection;

use super::shown::hold;
use super::{Kind, State, begin, find, managed, set_state};
use crate::model::Timestamp;
use crate::store::sqlite::Ids;
use crate::store::sqlite::writer::Tx;
use crate::store::{Hold, Measure, StoreError};

/// Begins to count what new rules take away. What waits because of older ones is decided anew.
pub(in crate::store::sqlite) fn begin_rules(
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
pub(in crate::store::sqlite) fn of_sweep(
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
pub(in crate::store::sqlite) fn feed(tx: &Tx<'_>, ids: &Ids, id: i64) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE holds SET fed = 1 WHERE workspace = ?1 AND id = ?2")?
        .execute((ids.workspace(), id))?;
    Ok(())
}

/// The same for a sync that is over.
pub(in crate::store::sqlite) fn feed_sweep(
    tx: &Tx<'_>,
    ids: &Ids,
    sync: &str,
) -> Result<(), StoreError> {
    match find(tx.conn, ids, Kind::Sweep, sync)? {
        Some(found) => feed(tx, ids, found.id),
        None => Ok(()),
    }
}

/// True if rules are counted without all records being made dirty.
pub(in crate::store::sqlite) fn has_unfed_rules(
    conn: &Connection,
    ids: &Ids,
) -> Result<bool, StoreError> {
    let has = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM holds
             WHERE workspace = ?1 AND state = 'counting' AND kind = 'rules' AND fed = 0)",
        )?
        .query_row((ids.workspace(),), |row| row.get(0))?;
    Ok(has)
}

/// True if a count may be ended: all that its cause makes dirty is dirty.
pub(in crate::store::sqlite) fn has_counted(
    conn: &Connection,
    ids: &Ids,
) -> Result<bool, StoreError> {
    let has = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM holds
             WHERE workspace = ?1 AND state = 'counting' AND fed = 1)",
        )?
        .query_row((ids.workspace(),), |row| row.get(0))?;
    Ok(has)
}

/// True if there is something to work off.
pub(in crate::store::sqlite) fn has_decided(
    conn: &Connection,
    ids: &Ids,
) -> Result<bool, StoreError> {
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
pub(in crate::store::sqlite) fn close_counts(
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

/// How many keys of a cause are to be derived, up to `limit`: as many as that while one of them still
/// makes others dirty, for nobody knows how many those will be.
fn open_keys(conn: &Connection, ids: &Ids, cause: i64, limit: u64) -> Result<u64, StoreError> {
    let spreads: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM work WHERE workspace = ?1 AND cause = ?2
                 AND task IN ('members', 'bearers') AND failing_since IS NULL)",
        )?
        .query_row((ids.workspace(), cause), |row| row.get(0))?;
    if spreads {
        return Ok(limit);
    }
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
pub(super) fn is_exceeded(
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
