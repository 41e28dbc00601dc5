//! What was decided of a hold is done with what waits in it, a page at a time.

use rusqlite::Connection;

use super::{State, put, remove, set_state};
use crate::model::{RecordId, Takes, Timestamp};
use crate::store::sqlite::writer::Tx;
use crate::store::sqlite::{Ids, work};
use crate::store::{Priority, StoreError, Task, WorkKey};

/// Works off what was decided: lets go, rejects, or has derived again what waits. Answers how many
/// contacts; none left: 0.
pub(in crate::store::sqlite) fn work_off(
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

pub(super) fn waiting(
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
        let takes = serde_json::from_str(&takes).map_err(crate::store::sqlite::damaged)?;
        Ok((crate::store::sqlite::parsed(row, 0)?, takes, row.get(2)?))
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
pub(in crate::store::sqlite) fn approve(
    tx: &Tx<'_>,
    ids: &Ids,
    id: i64,
) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE holds SET state = 'releasing' WHERE workspace = ?1 AND id = ?2 AND state = 'held'",
        )?
        .execute((ids.workspace(), id))?;
    Ok(changed > 0)
}

/// Rejects a hold that waits, for as long as these rules are live; false: there is no such.
pub(in crate::store::sqlite) fn reject(
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
