//! Holds as they are shown.

use rusqlite::{Connection, OptionalExtension};

use super::State;
use super::work_off::waiting;
use crate::model::{Email, Timestamp};
use crate::store::sqlite::Ids;
use crate::store::sqlite::writer::Tx;
use crate::store::{FileChanges, HeldChange, Hold, StoreError};

/// What waits for approval, oldest first.
pub(in crate::store::sqlite) fn list(
    conn: &Connection,
    ids: &Ids,
) -> Result<Vec<Hold>, StoreError> {
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
pub(in crate::store::sqlite) fn hold(
    conn: &Connection,
    ids: &Ids,
    id: i64,
) -> Result<Option<Hold>, StoreError> {
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
pub(in crate::store::sqlite) fn sample(
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
pub(in crate::store::sqlite) struct Counts {
    /// Inputs that wait for approval.
    pub(in crate::store::sqlite) held: u64,
    /// Contacts that wait for approval.
    pub(in crate::store::sqlite) contacts: u64,
    /// Inputs that wait to be counted or worked off.
    pub(in crate::store::sqlite) pending: u64,
    /// Counts that go on, and contacts that are to be worked off.
    pub(in crate::store::sqlite) work: u64,
}

pub(in crate::store::sqlite) fn counts(conn: &Connection, ids: &Ids) -> Result<Counts, StoreError> {
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
pub(in crate::store::sqlite) fn prune(
    tx: &Tx<'_>,
    ids: &Ids,
    before: Timestamp,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "DELETE FROM holds WHERE workspace = ?1 AND state = 'rejected' AND kind <> 'rules'
             AND created < ?2 AND NOT EXISTS (SELECT 1 FROM held_changes AS c
                 WHERE c.workspace = holds.workspace AND c.hold = holds.id)",
        )?
        .execute((ids.workspace(), before.seconds()))?;
    Ok(())
}
