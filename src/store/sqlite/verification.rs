//! Values that were written and not read back, and those that Brevo did not take.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};

use super::writer::Tx;
use super::{Ids, damaged, parsed};
use crate::model::{AttributeName, MissedValue, RecordId, SentValue, Timestamp};
use crate::store::{ParkedAttribute, StoreError, Unverified, Verified};

/// Remembers what was written to a contact, together with what was before and is not read back yet.
pub(super) fn note_sent(
    tx: &Tx<'_>,
    ids: &Ids,
    id: i64,
    owner: &RecordId,
    sent: &BTreeMap<AttributeName, SentValue>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut all = sent_to(tx.conn, ids, id)?.unwrap_or_default();
    all.extend(sent.iter().map(|(name, sent)| (name.clone(), sent.clone())));
    tx.conn
        .prepare_cached(
            "INSERT INTO unverified (workspace, id, owner, sent, at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET owner = excluded.owner, sent = excluded.sent, at = excluded.at",
        )?
        .execute((
            ids.workspace(),
            id,
            owner.as_str(),
            serde_json::to_string(&all)?,
            now.seconds(),
        ))?;
    Ok(())
}

fn sent_to(
    conn: &Connection,
    ids: &Ids,
    id: i64,
) -> Result<Option<BTreeMap<AttributeName, SentValue>>, StoreError> {
    let text: Option<String> = conn
        .prepare_cached("SELECT sent FROM unverified WHERE workspace = ?1 AND id = ?2")?
        .query_row((ids.workspace(), id), |row| row.get(0))
        .optional()?;
    Ok(text.as_deref().map(serde_json::from_str).transpose()?)
}

/// What was written from `since` on and before `before`, newest first.
pub(super) fn unverified(
    conn: &Connection,
    ids: &Ids,
    since: Timestamp,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<Unverified>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT id, owner, sent, at FROM unverified INDEXED BY unverified_at
         WHERE workspace = ?1 AND at >= ?2 AND at <= ?3 ORDER BY at DESC LIMIT ?4",
    )?;
    let rows = statement.query_map(
        (ids.workspace(), since.seconds(), before.seconds(), limit as i64),
        |row| {
            let sent: String = row.get(2)?;
            Ok(Unverified {
                id: row.get(0)?,
                owner: parsed(row, 1)?,
                sent: serde_json::from_str(&sent).map_err(damaged)?,
                at: Timestamp::from_seconds(row.get(3)?),
            })
        },
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets what was written before a time: nobody can tell any more who changed it since.
pub(super) fn forget_before(
    tx: &Tx<'_>,
    ids: &Ids,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    Ok(tx
        .conn
        .prepare_cached(
            "DELETE FROM unverified WHERE workspace = ?1 AND id IN
                 (SELECT id FROM unverified INDEXED BY unverified_at
                  WHERE workspace = ?1 AND at < ?2 LIMIT ?3)",
        )?
        .execute((ids.workspace(), before.seconds(), limit as i64))?)
}

/// Enters what a read told. A value that was dropped before and is there now was repaired.
pub(super) fn judge(tx: &Tx<'_>, ids: &Ids, verified: &Verified) -> Result<(), StoreError> {
    let Verified { id, at, taken, dropped } = verified;
    let ended = tx
        .conn
        .prepare_cached("DELETE FROM unverified WHERE workspace = ?1 AND id = ?2 AND at = ?3")?
        .execute((ids.workspace(), id, at.seconds()))?;
    // It was written to since: the next read tells.
    if ended == 0 {
        return Ok(());
    }
    tx.count("values_checked", (taken.len() + dropped.len()) as i64);
    tx.count("values_dropped", dropped.len() as i64);
    for name in taken {
        tx.count("values_repaired", unpark(tx, ids, *id, name)?);
    }
    for (name, sent) in dropped {
        tx.conn
            .prepare_cached(
                "INSERT INTO parked (workspace, id, attribute, sent, misses) VALUES (?1, ?2, ?3, ?4, 1)
                 ON CONFLICT DO UPDATE SET sent = excluded.sent,
                     misses = CASE WHEN sent = excluded.sent THEN misses + 1 ELSE 1 END",
            )?
            .execute((ids.workspace(), id, name.as_str(), serde_json::to_string(sent)?))?;
    }
    Ok(())
}

/// Lets a value be written again; answers how many were kept from it.
pub(super) fn unpark(
    tx: &Tx<'_>,
    ids: &Ids,
    id: i64,
    name: &AttributeName,
) -> Result<i64, StoreError> {
    let ended = tx
        .conn
        .prepare_cached("DELETE FROM parked WHERE workspace = ?1 AND id = ?2 AND attribute = ?3")?
        .execute((ids.workspace(), id, name.as_str()))?;
    Ok(ended as i64)
}

/// The values of a contact that Brevo did not take.
pub(super) fn missed(
    conn: &Connection,
    ids: &Ids,
    id: i64,
) -> Result<BTreeMap<AttributeName, MissedValue>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT attribute, sent, misses FROM parked WHERE workspace = ?1 AND id = ?2",
    )?;
    let rows = statement.query_map((ids.workspace(), id), |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?))
    })?;
    let mut missed = BTreeMap::new();
    for row in rows {
        let (name, sent, misses) = row?;
        if let Ok(name) = name.parse() {
            missed.insert(name, MissedValue { sent: serde_json::from_str(&sent)?, misses });
        }
    }
    Ok(missed)
}

/// Which attributes have parked values, and of how many contacts.
pub(super) fn parked(conn: &Connection, ids: &Ids) -> Result<Vec<ParkedAttribute>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT attribute, max(sent), count(*) FROM parked WHERE workspace = ?1 AND misses >= 2
         GROUP BY attribute ORDER BY attribute",
    )?;
    let rows = statement.query_map((ids.workspace(),), |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
    })?;
    let mut parked = Vec::new();
    for row in rows {
        let (name, sent, contacts) = row?;
        let sent: SentValue = serde_json::from_str(&sent)?;
        if let Ok(name) = name.parse() {
            let contacts = contacts.unsigned_abs();
            parked.push(ParkedAttribute { name, kind: sent.kind, contacts });
        }
    }
    Ok(parked)
}
