//! What goes once it is old, a bounded piece in each transaction.
//!
//! Custom events are messages: once one was delivered, nothing but another telling of it asks for it
//! again. Notifications are told apart by the journal, and Intercom lists the events of the last 90 days
//! only. So what is kept of an event beyond both serves nothing, but its place in the totals of its
//! contact, and what its rules still say of the contact.

use rusqlite::Connection;

use super::Ids;
use super::writer::Tx;
use crate::model::Timestamp;
use crate::store::StoreError;

/// How long an event may still be listed, with a month to spare.
const LISTED_SECONDS: i64 = 120 * 86_400;
/// How many syncs are kept, however old: those that anything looks back upon.
const SYNCS: i64 = 200;

/// Which events go, where all else goes that is older than `before`: those that were too old to be
/// listed even then.
pub(super) fn of_events(before: Timestamp) -> Timestamp {
    before.plus(-LISTED_SECONDS)
}

/// An event as it is told apart from others: contact, name, second, id.
pub(super) type Telling = (String, String, i64, String);

/// Notifications that are older than `before`; answers how many went.
pub(super) fn journal(
    tx: &Tx<'_>,
    ids: &Ids,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    // The oldest have the smallest numbers.
    let sql = "DELETE FROM journal WHERE workspace = ?1 AND received < ?2 AND id <=
        (SELECT max(id) FROM
            (SELECT id FROM journal WHERE workspace = ?1 ORDER BY id LIMIT ?3))";
    let mut statement = tx.conn.prepare_cached(sql)?;
    Ok(statement.execute((ids.workspace(), before.seconds(), limit as i64))?)
}

/// Syncs that ended and were asked for before; answers how many went. The newest stay, whose numbers
/// tell which sweep saw what.
pub(super) fn syncs(
    tx: &Tx<'_>,
    ids: &Ids,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    let sql = "DELETE FROM syncs WHERE seq IN
        (SELECT seq FROM syncs WHERE workspace = ?1 AND state NOT IN ('queued', 'running')
             AND body ->> 'requestedAt' < ?2 AND seq <
                 (SELECT min(seq) FROM
                     (SELECT seq FROM syncs WHERE workspace = ?1 ORDER BY seq DESC LIMIT ?3))
         LIMIT ?4)";
    let mut statement = tx.conn.prepare_cached(sql)?;
    Ok(statement.execute((ids.workspace(), before.seconds(), SYNCS, limit as i64))?)
}

/// Finds events that are counted and older than `before`, from the one that follows `after` on.
pub(super) fn old_tellings(
    conn: &Connection,
    ids: &Ids,
    after: &Telling,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<Telling>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT contact, name, at, id FROM event_tellings
         WHERE workspace = ?1 AND (contact, name, at, id) > (?2, ?3, ?4, ?5) AND at < ?6
         ORDER BY contact, name, at, id LIMIT ?7",
    )?;
    let (contact, name, at, id) = after;
    let asked = (ids.workspace(), contact, name, at, id, before.seconds(), limit as i64);
    let rows = statement
        .query_map(asked, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets that events were told; they stay counted.
pub(super) fn forget_tellings(
    tx: &Tx<'_>,
    ids: &Ids,
    tellings: &[Telling],
) -> Result<(), StoreError> {
    let mut statement = tx.conn.prepare_cached(
        "DELETE FROM event_tellings
         WHERE workspace = ?1 AND contact = ?2 AND name = ?3 AND at = ?4 AND id = ?5",
    )?;
    for (contact, name, at, id) in tellings {
        statement.execute((ids.workspace(), contact, name, at, id))?;
    }
    Ok(())
}

/// Finds custom events that are older than `before`, from the one that follows `after` on.
pub(super) fn old_events(
    conn: &Connection,
    ids: &Ids,
    after: &str,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT id FROM records WHERE workspace = ?1 AND kind = 'event' AND id > ?2 AND at < ?3
         ORDER BY id LIMIT ?4",
    )?;
    let asked = (ids.workspace(), after, before.seconds(), limit as i64);
    let rows = statement.query_map(asked, |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets custom events with all that hangs on them; answers how many went. One stays of which
/// something is still to be done, or which says something of a contact.
pub(super) fn forget_events(tx: &Tx<'_>, ids: &Ids, events: &[String]) -> Result<u64, StoreError> {
    let mut statement = tx.conn.prepare_cached(
        "DELETE FROM records WHERE workspace = ?1 AND kind = 'event' AND id = ?2
             AND NOT EXISTS (SELECT 1 FROM work
                 WHERE work.workspace = ?1 AND work.task = 'custom_event' AND work.id = ?2)
             AND NOT EXISTS (SELECT 1 FROM dead_letters
                 WHERE dead_letters.workspace = ?1 AND dead_letters.task = 'custom_event'
                     AND dead_letters.key = ?2)
             AND NOT EXISTS (SELECT 1 FROM overlays
                 WHERE overlays.workspace = ?1 AND overlays.subject = 'event:' || ?2)
             AND NOT EXISTS (SELECT 1 FROM events
                 WHERE events.workspace = ?1 AND events.subject = 'event:' || ?2
                     AND events.state IN ('due', 'dead'))",
    )?;
    let mut forgotten = 0;
    for id in events {
        forgotten += statement.execute((ids.workspace(), id))?;
    }
    // They were synced all the same.
    tx.count("events_forgotten", forgotten as i64);
    Ok(forgotten as u64)
}
