//! What the rules say of contacts where they look at other records.

use rusqlite::{Connection, Row};

use super::Ids;
use super::work::{self, Dirt};
use super::writer::Tx;
use crate::model::{Emission, RecordId, RecordKey, Timestamp};
use crate::store::{Overlay, StoreError, Task, WorkKey};

/// Stores what a record says of contacts now, and makes those contacts dirty of whom it says something
/// else than before. True if there are any.
pub(super) fn put(
    tx: &Tx<'_>,
    ids: &Ids,
    emission: &Emission,
    at: Timestamp,
    dirt: Dirt,
) -> Result<bool, StoreError> {
    let before = of_subject(tx.conn, ids, &emission.subject)?;
    let mut changed = Vec::new();
    for gone in before.iter().filter(|one| !emission.contacts.contains_key(&one.contact)) {
        tx.conn
            .prepare_cached(
                "DELETE FROM overlays WHERE workspace = ?1 AND contact = ?2 AND subject = ?3",
            )?
            .execute((ids.workspace(), gone.contact.as_str(), emission.subject.to_string()))?;
        changed.push(&gone.contact);
    }
    for (contact, decision) in &emission.contacts {
        let same = before.iter().any(|one| {
            one.contact == *contact && one.decision.says_the_same_as(decision) && one.at == at
        });
        if same {
            continue;
        }
        tx.conn
            .prepare_cached(
                "INSERT INTO overlays (workspace, contact, subject, at, decision)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET at = excluded.at, decision = excluded.decision",
            )?
            .execute((
                ids.workspace(),
                contact.as_str(),
                emission.subject.to_string(),
                at.seconds(),
                serde_json::to_string(decision)?,
            ))?;
        changed.push(contact);
    }
    for contact in &changed {
        let key = WorkKey { task: Task::Contact, id: (*contact).clone() };
        work::dirty(tx, ids, &key, dirt)?;
    }
    Ok(!changed.is_empty())
}

/// What a record said of contacts at its last derivation.
pub(super) fn of_subject(
    conn: &Connection,
    ids: &Ids,
    subject: &RecordKey,
) -> Result<Vec<Overlay>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT contact, subject, at, decision FROM overlays WHERE workspace = ?1 AND subject = ?2",
    )?;
    let rows = statement.query_map((ids.workspace(), subject.to_string()), read)?;
    Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
}

/// What other records say of a contact, the newest last.
pub(super) fn of_contact(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
) -> Result<Vec<Overlay>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT contact, subject, at, decision FROM overlays
         WHERE workspace = ?1 AND contact = ?2 ORDER BY at, subject",
    )?;
    let rows = statement.query_map((ids.workspace(), contact.as_str()), read)?;
    Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
}

/// None where the subject is of a kind that only another version knows.
fn read(row: &Row<'_>) -> rusqlite::Result<Option<Overlay>> {
    let subject: String = row.get(1)?;
    let Ok(subject) = subject.parse::<RecordKey>() else { return Ok(None) };
    let decision: String = row.get(3)?;
    Ok(Some(Overlay {
        contact: super::parsed(row, 0)?,
        subject,
        at: Timestamp::from_seconds(row.get(2)?),
        decision: serde_json::from_str(&decision).map_err(super::damaged)?,
    }))
}
