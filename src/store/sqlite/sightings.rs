//! Which sweep saw which record last: what proves that a sweep was complete, and what a deletion may
//! rest on.

use rusqlite::{Connection, OptionalExtension};

use super::Ids;
use super::records::PreparedArrival;
use super::writer::Tx;
use crate::model::{RecordId, RecordKind, Timestamp};
use crate::store::{Missing, Resource, StoreError, Sync};

/// Counts what a page shows for the first time in a sync. Where the sync asked for some of a resource
/// only, every row counts: nothing is proved by it.
pub(super) fn count(
    tx: &Tx<'_>,
    ids: &Ids,
    mut sync: Sync,
    resource: Resource,
    page: &[PreparedArrival],
) -> Result<Sync, StoreError> {
    let Some(progress) = sync.resources.get_mut(&resource) else {
        return Ok(sync);
    };
    progress.rows += page.len() as u64;
    let subjects = page.iter().filter_map(|arrival| arrival.content.subject());
    match resource.proves().filter(|_| !progress.partial) {
        Some(kind) => {
            let sweep = number(tx.conn, ids, &sync.id)?;
            for (key, liveness) in subjects.filter(|(key, _)| key.kind == kind) {
                if liveness.is_live() {
                    progress.seen += u64::from(saw(tx, ids, kind, &key.id, sweep)?);
                }
            }
        }
        None => progress.seen += subjects.count() as u64,
    }
    Ok(sync)
}

/// Notes that a sweep saw a record; true: for the first time.
fn saw(
    tx: &Tx<'_>,
    ids: &Ids,
    kind: RecordKind,
    id: &RecordId,
    sweep: i64,
) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "INSERT INTO sightings (workspace, kind, id, sweep) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET sweep = excluded.sweep, missed = NULL
             WHERE sweep <> excluded.sweep",
        )?
        .execute((ids.workspace(), kind.as_str(), id.as_str(), sweep))?;
    Ok(changed > 0)
}

/// The number of a sync, which grows from one to the next.
fn number(conn: &Connection, ids: &Ids, sync: &str) -> Result<i64, StoreError> {
    let number = conn
        .prepare_cached("SELECT seq FROM syncs WHERE workspace = ?1 AND id = ?2")?
        .query_row((ids.workspace(), sync), |row| row.get(0))
        .optional()?;
    number.ok_or_else(|| StoreError::Database(format!("the sync {sync} is not in the books")))
}

pub(super) fn unseen(
    conn: &Connection,
    ids: &Ids,
    sync: &str,
    kind: RecordKind,
    before: Timestamp,
    after: Option<&RecordId>,
    limit: usize,
) -> Result<Vec<Missing>, StoreError> {
    let sweep = number(conn, ids, sync)?;
    let mut statement = conn.prepare_cached(
        "SELECT records.id, coalesce(sightings.missed < ?5, 0) FROM records
         LEFT JOIN sightings ON sightings.workspace = records.workspace
             AND sightings.kind = records.kind AND sightings.id = records.id
         WHERE records.workspace = ?1 AND records.kind = ?2 AND records.id > ?3
             AND records.liveness = 'live' AND records.at < ?4
             AND (sightings.sweep IS NULL OR sightings.sweep <> ?5)
         ORDER BY records.id LIMIT ?6",
    )?;
    let after = after.map_or("", RecordId::as_str);
    let rows = statement.query_map(
        (ids.workspace(), kind.as_str(), after, before.seconds(), sweep, limit as i64),
        |row| Ok(Missing { id: super::parsed(row, 0)?, was_missed: row.get(1)? }),
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn put_missed(
    tx: &Tx<'_>,
    ids: &Ids,
    sync: &str,
    kind: RecordKind,
    missed: &[RecordId],
) -> Result<(), StoreError> {
    let sweep = number(tx.conn, ids, sync)?;
    for id in missed {
        tx.conn
            .prepare_cached(
                "INSERT INTO sightings (workspace, kind, id, sweep, missed) VALUES (?1, ?2, ?3, 0, ?4)
                 ON CONFLICT DO UPDATE SET missed = coalesce(missed, excluded.missed)",
            )?
            .execute((ids.workspace(), kind.as_str(), id.as_str(), sweep))?;
    }
    Ok(())
}
