//! The ledger of opt-outs from SMS beyond the address: by phone number, and by Intercom contact. Who
//! has no address, or another one by now, opted out all the same.

use rusqlite::{Connection, OptionalExtension};

use super::writer::Tx;
use super::{Ids, ledger, mirror};
use crate::model::{BrevoContact, RecordId, Timestamp, phone_digits};
use crate::store::{Channel, MirrorEntry, StoreError};

/// Enters a number, given by its digits; answers whether it was not there.
pub(super) fn enter(
    tx: &Tx<'_>,
    ids: &Ids,
    digits: &str,
    at: Timestamp,
    source: &str,
) -> Result<bool, StoreError> {
    ledger::enter_sms(tx, ids, &ids.sms_hash(digits), at, source)
}

/// Enters an Intercom contact; answers whether it was not there.
pub(super) fn enter_contact(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    at: Timestamp,
    source: &str,
) -> Result<bool, StoreError> {
    ledger::enter_sms(tx, ids, &ids.contact_hash(contact), at, source)
}

/// Enters the number of a contact of Brevo's that takes no SMS, if it has one.
pub(super) fn enter_mirrored(
    tx: &Tx<'_>,
    ids: &Ids,
    id: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let hash: Option<Vec<u8>> = tx
        .conn
        .prepare_cached("SELECT sms_hash FROM mirror WHERE workspace = ?1 AND id = ?2")?
        .query_row((ids.workspace(), id), |row| row.get(0))
        .optional()?
        .flatten();
    if let Some(hash) = hash {
        ledger::enter_sms(tx, ids, &hash, now, "brevo")?;
    }
    Ok(())
}

/// True if whoever has this number, given by its digits, takes no SMS.
pub(super) fn is_out(conn: &Connection, ids: &Ids, digits: &str) -> Result<bool, StoreError> {
    mirror::is_hash_suppressed(conn, ids, &ids.sms_hash(digits), Channel::Sms)
}

/// True if an Intercom contact said itself that it takes no SMS, wherever it could be reached then.
pub(super) fn is_contact_out(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
) -> Result<bool, StoreError> {
    mirror::is_hash_suppressed(conn, ids, &ids.contact_hash(contact), Channel::Sms)
}

/// True if the number that Brevo holds of a contact takes no SMS.
pub(super) fn is_mirrored_out(
    conn: &Connection,
    ids: &Ids,
    entry: Option<&MirrorEntry>,
) -> Result<bool, StoreError> {
    let digits = match entry {
        Some(MirrorEntry::Full(mirrored)) => mirrored.contact.sms_digits(),
        // It is read in full before it is written to.
        Some(MirrorEntry::Outline { .. }) | None => None,
    };
    digits.map_or(Ok(false), |digits| is_out(conn, ids, &digits))
}

/// True if the number of a contact of Brevo's takes no SMS, though the contact would.
pub(super) fn is_missing(
    conn: &Connection,
    ids: &Ids,
    contact: &BrevoContact,
) -> Result<bool, StoreError> {
    if contact.sms_blacklisted {
        return Ok(false);
    }
    contact.sms_digits().map_or(Ok(false), |digits| is_out(conn, ids, &digits))
}

/// The digits of the number that Intercom knows of a contact.
pub(super) fn of_contact(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
) -> Result<Option<String>, StoreError> {
    let phone: Option<String> = conn
        .prepare_cached(
            "SELECT body ->> 'phone' FROM records WHERE workspace = ?1 AND kind = 'contact' AND id = ?2",
        )?
        .query_row((ids.workspace(), contact.as_str()), |row| row.get(0))
        .optional()?
        .flatten();
    Ok(phone.as_deref().and_then(phone_digits))
}

/// Brevo's number of the contact that has this phone number, given by its digits.
pub(super) fn holder(
    conn: &Connection,
    ids: &Ids,
    digits: &str,
) -> Result<Option<i64>, StoreError> {
    let owners = mirror::sms_owners(conn, ids, &[digits.to_owned()])?;
    Ok(owners.into_values().next())
}
