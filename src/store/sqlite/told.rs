//! Of whom Intercom is to be told that he opted out in Brevo.

use rusqlite::OptionalExtension;

use super::writer::Tx;
use super::{Ids, records, work};
use crate::model::{Email, RecordId, RecordKey, Timestamp};
use crate::store::{Priority, StoreError, Task, WorkKey};

/// How many contacts that share an address are told of.
const SHARING: i64 = 100;

/// Makes it work to tell Intercom of a contact, unless it was told before, or the opt-out did not
/// come from Brevo.
pub(super) fn tell(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let record = records::record(tx.conn, ids, &RecordKey::contact(contact.clone()))?;
    let Some(email) = record.and_then(|record| record.email()) else {
        return Ok(());
    };
    let source: Option<String> = tx
        .conn
        .prepare_cached(
            "SELECT source FROM suppression
             WHERE workspace = ?1 AND address = ?2 AND channel = 'email' AND lift IS NULL",
        )?
        .query_row((ids.workspace(), ids.email_hash(&email)), |row| row.get(0))
        .optional()?;
    if source.as_deref() == Some("brevo") && !was_told(tx, ids, contact)? {
        let key = WorkKey { task: Task::TellIntercom, id: contact.clone() };
        work::dirty(tx, ids, &key, work::Dirt::again(Priority::Urgent, now))?;
    }
    Ok(())
}

/// Makes it work to tell Intercom of everybody who has an address.
pub(super) fn tell_of_address(
    tx: &Tx<'_>,
    ids: &Ids,
    email: &Email,
    now: Timestamp,
) -> Result<(), StoreError> {
    let contacts: Vec<RecordId> = tx
        .conn
        .prepare_cached(
            "SELECT id FROM records
             WHERE workspace = ?1 AND email = ?2 AND kind = 'contact' AND liveness = 'live'
                 AND coalesce(body ->> 'unsubscribed_from_emails', 0) = 0
             ORDER BY id LIMIT ?3",
        )?
        .query_map((ids.workspace(), email.as_str(), SHARING), |row| super::parsed(row, 0))?
        .collect::<Result<_, _>>()?;
    contacts.iter().try_for_each(|contact| tell(tx, ids, contact, now))
}

fn was_told(tx: &Tx<'_>, ids: &Ids, contact: &RecordId) -> Result<bool, StoreError> {
    let found: Option<i64> = tx
        .conn
        .prepare_cached("SELECT 1 FROM told_intercom WHERE workspace = ?1 AND contact = ?2")?
        .query_row((ids.workspace(), contact.as_str()), |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

/// Remembers that Intercom was told.
pub(super) fn note_told(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO told_intercom (workspace, contact, at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO NOTHING",
        )?
        .execute((ids.workspace(), contact.as_str(), now.seconds()))?;
    Ok(())
}
