//! The mirror of Brevo, and the ledger that its blacklist flags enter.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, Row};

use super::ledger::{self, Flag, Said, Teller};
use super::writer::Tx;
use super::{Ids, companies, lifts, numbers, records, told, verification, wanted_numbers, work};
use crate::model::{Applied, BrevoContact, Email, ListId, Mirrored, RecordId, Timestamp};
use crate::store::{
    Channel, ExtIdHolder, MirrorEntry, MirrorWrite, OptOutReason, Priority, StoreError, Task,
    WorkKey,
};

pub(super) fn apply(
    tx: &Tx<'_>,
    ids: &Ids,
    write: &MirrorWrite,
    now: Timestamp,
) -> Result<(), StoreError> {
    match write {
        MirrorWrite::Put(mirrored) => put(tx, ids, mirrored, now),
        MirrorWrite::Blacklist { id, email, sms } => {
            if *sms {
                numbers::enter_mirrored(tx, ids, *id, now)?;
            }
            if *email {
                lifts::undone(tx, ids, *id, now)?;
            }
            blacklist(tx, ids, *id, *email, *sms)
        }
        MirrorWrite::Own { id, owner } => {
            tx.conn
                .prepare_cached(
                    "UPDATE mirror SET owner = ?3 WHERE workspace = ?1 AND id = ?2 AND owner IS NULL",
                )?
                .execute((ids.workspace(), id, owner.as_str()))?;
            Ok(())
        }
        MirrorWrite::Disown { id, owner } => {
            tx.conn
                .prepare_cached(
                    "UPDATE mirror SET owner = NULL WHERE workspace = ?1 AND id = ?2 AND owner = ?3",
                )?
                .execute((ids.workspace(), id, owner.as_str()))?;
            Ok(())
        }
        MirrorWrite::Forget { id } => forget(tx, ids, *id, now),
        MirrorWrite::Sent { id, owner, values } => {
            verification::note_sent(tx, ids, *id, owner, values, now)
        }
        MirrorWrite::TellIntercom { contact } => told::tell(tx, ids, contact, now),
        MirrorWrite::ToldIntercom { contact } => told::note_told(tx, ids, contact, now),
        MirrorWrite::Unpark { id, attribute } => {
            verification::unpark(tx, ids, *id, attribute).map(|_| ())
        }
        MirrorWrite::Lose { id, then } => {
            lifts::undone(tx, ids, *id, now)?;
            super::brevo_intake::lose(tx, ids, &[*id], *then, now)
        }
    }
}

pub(super) fn forget(tx: &Tx<'_>, ids: &Ids, id: i64, now: Timestamp) -> Result<(), StoreError> {
    wanted_numbers::give_up(tx, ids, id, None, now)?;
    companies::forget_contact(tx, ids, id, now)?;
    tx.conn
        .prepare_cached("DELETE FROM mirror WHERE workspace = ?1 AND id = ?2")?
        .execute((ids.workspace(), id))?;
    Ok(())
}

fn put(tx: &Tx<'_>, ids: &Ids, mirrored: &Mirrored, now: Timestamp) -> Result<(), StoreError> {
    let contact = &mirrored.contact;
    // An address is somebody else's once this contact has it.
    if let Some(email) = &contact.email {
        tx.conn
            .prepare_cached("UPDATE mirror INDEXED BY mirror_email SET email_hash = NULL WHERE workspace = ?1 AND email_hash = ?2 AND id <> ?3")?
            .execute((ids.workspace(), ids.email_hash(email), contact.id))?;
    }
    let state = Some(serde_json::to_string(contact)?);
    let applied = serde_json::to_string(&mirrored.applied)?;
    let owner = mirrored.owner.as_ref().map(RecordId::as_str);
    let row = Kept { owner, state, applied: Some(applied), read_at: mirrored.read_at };
    write_row(tx, ids, contact, row, now)?;
    // What is new in it was not seen in Brevo: a rule or the configuration says so.
    enter_ledger(tx, ids, contact, Teller::Rules, now)?;
    // Somebody may have opted out by his number while the contact was written.
    if let Some(owner) = &mirrored.owner
        && numbers::is_missing(tx.conn, ids, contact)?
    {
        records::opt_out_in_brevo(tx, ids, owner, now)?;
    }
    Ok(())
}

/// What the mirror keeps beside what a contact is found by.
struct Kept<'a> {
    owner: Option<&'a str>,
    state: Option<String>,
    applied: Option<String>,
    read_at: Timestamp,
}

fn write_row(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &BrevoContact,
    kept: Kept<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Kept { owner, state, applied, read_at } = kept;
    let number = contact.sms_digits().map(|digits| ids.sms_hash(&digits));
    wanted_numbers::give_up(tx, ids, contact.id, number.as_deref(), now)?;
    tx.conn
        .prepare_cached(
            "INSERT INTO mirror (workspace, id, email_hash, ext_id_hash, sms_hash, owner,
                 email_blacklisted, sms_blacklisted, state, applied, read_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT DO UPDATE SET email_hash = excluded.email_hash,
                 ext_id_hash = excluded.ext_id_hash, sms_hash = excluded.sms_hash,
                 owner = excluded.owner, email_blacklisted = excluded.email_blacklisted,
                 sms_blacklisted = excluded.sms_blacklisted, state = excluded.state,
                 applied = excluded.applied, read_at = excluded.read_at",
        )?
        .execute((
            ids.workspace(),
            contact.id,
            contact.email.as_ref().map(|email| ids.email_hash(email)),
            contact.ext_id.as_ref().map(|ext_id| ids.ext_id_hash(ext_id)),
            number,
            owner,
            contact.email_blacklisted,
            contact.sms_blacklisted,
            state,
            applied,
            read_at.seconds(),
        ))?;
    Ok(())
}

/// Brevo's own blacklist is an opt-out like any other.
fn enter_ledger(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &BrevoContact,
    teller: Teller<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let seen = contact.modified_at.unwrap_or(now);
    let (at, source) = match teller {
        Teller::Rules => (now, "rules"),
        _ => (seen, "brevo"),
    };
    if contact.sms_blacklisted
        && let Some(digits) = contact.sms_digits()
    {
        numbers::enter(tx, ids, &digits, at, source)?;
    }
    let Some(email) = &contact.email else {
        return Ok(());
    };
    enter_left_lists(tx, ids, &ids.email_hash(email), contact, seen)?;
    let said = Said { teller, at, reason: OptOutReason::Asked, source };
    for (is_out, channel) in
        [(contact.email_blacklisted, Channel::Email), (contact.sms_blacklisted, Channel::Sms)]
    {
        if is_out {
            let is_new = ledger::enter(tx, ids, &ids.email_hash(email), channel, said)?;
            if is_new && channel == Channel::Email && source == "brevo" {
                told::tell_of_address(tx, ids, email, now)?;
            }
        }
    }
    Ok(())
}

/// Which lists somebody left by himself: if Brevo's contact goes, only this remembers it.
fn enter_left_lists(
    tx: &Tx<'_>,
    ids: &Ids,
    address: &[u8],
    contact: &BrevoContact,
    at: Timestamp,
) -> Result<(), StoreError> {
    for list in &contact.list_unsubscribed {
        tx.conn
            .prepare_cached(
                "INSERT INTO suppression (workspace, address, channel, at, source)
                 VALUES (?1, ?2, ?3, ?4, 'brevo') ON CONFLICT DO NOTHING",
            )?
            .execute((ids.workspace(), address, format!("list:{list}"), at.seconds()))?;
    }
    Ok(())
}

/// The lists that whoever has this address left by himself.
pub(super) fn left_lists(
    conn: &Connection,
    ids: &Ids,
    email: &Email,
) -> Result<BTreeSet<ListId>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT channel FROM suppression
         WHERE workspace = ?1 AND address = ?2 AND channel > 'list:' AND channel < 'list;'",
    )?;
    let rows = statement
        .query_map((ids.workspace(), ids.email_hash(email)), |row| row.get::<_, String>(0))?;
    let mut left = BTreeSet::new();
    for row in rows {
        left.extend(row?.strip_prefix("list:").and_then(|id| id.parse().ok()).map(ListId));
    }
    Ok(left)
}

/// A contact that Brevo would write to though its address or its number opted out: one that was made there since, or
/// that an import put back (facts: Brevo section 2).
fn reassert(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &BrevoContact,
    owner: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    if let Some(owner) = owner
        && numbers::is_missing(tx.conn, ids, contact)?
    {
        records::opt_out_in_brevo(tx, ids, &owner_id(owner)?, now)?;
    }
    let Some(email) = &contact.email else {
        return Ok(());
    };
    let email_missing =
        !contact.email_blacklisted && is_suppressed(tx.conn, ids, email, Channel::Email)?;
    let sms_missing = !contact.sms_blacklisted && is_suppressed(tx.conn, ids, email, Channel::Sms)?;
    if (email_missing || sms_missing)
        && let Some(contact) = records::contact_with(tx.conn, ids, email)?
    {
        records::opt_out_in_brevo(tx, ids, &contact, now)?;
    }
    Ok(())
}

struct Known {
    owner: Option<String>,
    state: Option<String>,
    applied: Option<String>,
    read_at: i64,
    is_out: bool,
}

/// Of which contacts everything is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Of those that have a match in Intercom; of the others hashes and flags.
    Matches,
    /// Of this one: somebody asked for it.
    State,
}

/// Writes what a read of Brevo found. `began`: when the read began; a row that was written since then
/// is newer than what the read shows. Answers whether the contact is not as mirrored.
///
/// What is not as mirrored is derived again. While it is worked on, the read may show an echo of our
/// own write: that is noted, and the end of the work says whether it was one.
pub(super) fn observe(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &BrevoContact,
    now: Timestamp,
    began: Option<Timestamp>,
    keep: Keep,
) -> Result<bool, StoreError> {
    let known = tx
        .conn
        .prepare_cached(
            "SELECT owner, state, applied, read_at, email_blacklisted FROM mirror
             WHERE workspace = ?1 AND id = ?2",
        )?
        .query_row((ids.workspace(), contact.id), |row| {
            Ok(Known {
                owner: row.get(0)?,
                state: row.get(1)?,
                applied: row.get(2)?,
                read_at: row.get(3)?,
                is_out: row.get(4)?,
            })
        })
        .optional()?;
    // An opt-out counts, however old the read is that shows it, unless it shows one that was lifted.
    let lifted = without_lifted_flag(tx, ids, contact, began)?;
    let contact = lifted.as_ref().unwrap_or(contact);
    let flag = flag(tx, ids, contact, known.as_ref())?;
    enter_ledger(tx, ids, contact, Teller::Flag(flag), now)?;
    let read_at = began.unwrap_or(now);
    if let (Some(known), Some(began)) = (&known, began)
        && known.state.is_some()
        && known.read_at >= began.seconds()
    {
        blacklist(tx, ids, contact.id, contact.email_blacklisted, contact.sms_blacklisted)?;
        return Ok(false);
    }
    let owner = known.as_ref().and_then(|known| known.owner.as_deref());
    reassert(tx, ids, contact, owner, now)?;
    let before: Option<BrevoContact> = known
        .as_ref()
        .and_then(|known| known.state.as_deref())
        .map(serde_json::from_str)
        .transpose()?;
    if before.as_ref() == Some(contact) {
        // Nothing moved, so nothing but the time of the read is written.
        tx.conn
            .prepare_cached("UPDATE mirror SET read_at = ?3 WHERE workspace = ?1 AND id = ?2")?
            .execute((ids.workspace(), contact.id, read_at.seconds()))?;
        return Ok(false);
    }
    let keeps = keep == Keep::State || before.is_some() || keeps_state(tx, ids, contact)?;
    let Some(known) = known else {
        let state = keeps.then(|| serde_json::to_string(contact)).transpose()?;
        write_row(tx, ids, contact, Kept { owner: None, state, applied: None, read_at }, now)?;
        return Ok(false);
    };
    let keeps = keeps || known.owner.is_some();
    let state = keeps.then(|| serde_json::to_string(contact)).transpose()?;
    let has_moved = before.is_some_and(|before| !before.is_as(contact));
    let owner = known.owner.as_deref();
    write_row(tx, ids, contact, Kept { owner, state, applied: known.applied, read_at }, now)?;
    if has_moved
        && let Some(owner) = known.owner
        && !work::stir(tx, ids, &owner)?
    {
        derive_owner(tx, ids, &owner, now)?;
    }
    Ok(has_moved)
}

/// The contact without its flag, if the read may have begun before that was lifted.
fn without_lifted_flag(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &BrevoContact,
    began: Option<Timestamp>,
) -> Result<Option<BrevoContact>, StoreError> {
    let Some(email) = contact.email.as_ref().filter(|_| contact.email_blacklisted) else {
        return Ok(None);
    };
    let is_lifted = lifts::may_precede(tx.conn, ids, email, contact, began)?;
    Ok(is_lifted.then(|| BrevoContact { email_blacklisted: false, ..contact.clone() }))
}

/// Says whether the flag of a contact is news: it was not mirrored, and nobody here is setting it.
fn flag(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &BrevoContact,
    known: Option<&Known>,
) -> Result<Flag, StoreError> {
    if !contact.email_blacklisted || known.is_some_and(|known| known.is_out) {
        return Ok(Flag::Known);
    }
    let owner = known.and_then(|known| known.owner.as_ref()).and_then(|owner| owner.parse().ok());
    let at_address = match &contact.email {
        Some(email) => records::contact_with(tx.conn, ids, email)?,
        None => None,
    };
    for id in owner.into_iter().chain(at_address) {
        let intends = work::intent(tx.conn, ids, &id)?;
        let is_ours = intends.is_some_and(|change| change.is_blacklisted)
            || lifts::is_on_its_way(tx.conn, ids, &id)?;
        if is_ours {
            return Ok(Flag::Known);
        }
    }
    Ok(Flag::New)
}

/// Makes an Intercom contact dirty because its Brevo contact is not as mirrored.
pub(super) fn derive_owner(
    tx: &Tx<'_>,
    ids: &Ids,
    owner: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let id = owner_id(owner)?;
    let dirt = work::Dirt::again(Priority::Bulk, now);
    work::dirty(tx, ids, &WorkKey { task: Task::Contact, id }, dirt)
}

fn owner_id(owner: &str) -> Result<RecordId, StoreError> {
    owner.parse().map_err(|_| StoreError::Damaged { what: "mirror", reason: "owner".to_owned() })
}

/// Sets flags of a contact, and nothing else: what else is mirrored may be newer than the caller knows.
fn blacklist(tx: &Tx<'_>, ids: &Ids, id: i64, email: bool, sms: bool) -> Result<(), StoreError> {
    if !email && !sms {
        return Ok(());
    }
    tx.conn
        .prepare_cached(
            "UPDATE mirror SET email_blacklisted = max(email_blacklisted, ?3),
                 sms_blacklisted = max(sms_blacklisted, ?4),
                 state = CASE WHEN ?3 THEN json_set(state, '$.email_blacklisted', json('true')) ELSE state END
             WHERE workspace = ?1 AND id = ?2",
        )?
        .execute((ids.workspace(), id, email, sms))?;
    if sms {
        tx.conn
            .prepare_cached(
                "UPDATE mirror SET state = json_set(state, '$.sms_blacklisted', json('true'))
                 WHERE workspace = ?1 AND id = ?2",
            )?
            .execute((ids.workspace(), id))?;
    }
    Ok(())
}

/// Everything is kept only of contacts that have a match in Intercom.
fn keeps_state(tx: &Tx<'_>, ids: &Ids, contact: &BrevoContact) -> Result<bool, StoreError> {
    let Some(email) = &contact.email else {
        return Ok(false);
    };
    let found: Option<i64> = tx
        .conn
        .prepare_cached("SELECT 1 FROM records WHERE workspace = ?1 AND email = ?2 LIMIT 1")?
        .query_row((ids.workspace(), email.as_str()), |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

// The indexes are named: without statistics SQLite would rather walk the whole workspace by its key.
const COLUMNS: &str = "id, owner, email_blacklisted, sms_blacklisted, state, applied, read_at";

fn read(row: &Row<'_>) -> rusqlite::Result<MirrorEntry> {
    let state: Option<String> = row.get(4)?;
    let Some(state) = state else {
        return Ok(MirrorEntry::Outline {
            id: row.get(0)?,
            email_blacklisted: row.get(2)?,
            sms_blacklisted: row.get(3)?,
        });
    };
    let applied: Option<String> = row.get(5)?;
    let applied = applied.map_or(Ok(Applied::default()), |text| serde_json::from_str(&text));
    let owner: Option<String> = row.get(1)?;
    Ok(MirrorEntry::Full(Box::new(Mirrored {
        contact: serde_json::from_str(&state).map_err(super::damaged)?,
        applied: applied.map_err(super::damaged)?,
        owner: owner.and_then(|owner| owner.parse().ok()),
        read_at: Timestamp::from_seconds(row.get(6)?),
    })))
}
/// The record that a contact of Brevo's stands for.
pub(super) fn owner(
    conn: &Connection,
    ids: &Ids,
    contact: i64,
) -> Result<Option<RecordId>, StoreError> {
    let owner: Option<Option<RecordId>> = conn
        .prepare_cached("SELECT owner FROM mirror WHERE workspace = ?1 AND id = ?2")?
        .query_row((ids.workspace(), contact), |row| {
            let owner: Option<String> = row.get(0)?;
            owner.map(|_| super::parsed(row, 0)).transpose()
        })
        .optional()?;
    Ok(owner.flatten())
}

pub(super) fn owned_by(
    conn: &Connection,
    ids: &Ids,
    owner: &RecordId,
) -> Result<Option<MirrorEntry>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM mirror INDEXED BY mirror_owner WHERE workspace = ?1 AND owner = ?2 LIMIT 1"
    );
    Ok(conn.prepare_cached(&sql)?.query_row((ids.workspace(), owner.as_str()), read).optional()?)
}

pub(super) fn at_address(
    conn: &Connection,
    ids: &Ids,
    email: &Email,
) -> Result<Option<MirrorEntry>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM mirror INDEXED BY mirror_email WHERE workspace = ?1 AND email_hash = ?2 LIMIT 1"
    );
    Ok(conn
        .prepare_cached(&sql)?
        .query_row((ids.workspace(), ids.email_hash(email)), read)
        .optional()?)
}

/// Finds which contacts have these phone numbers, given by their digits.
pub(super) fn sms_owners(
    conn: &Connection,
    ids: &Ids,
    phones: &[String],
) -> Result<BTreeMap<String, i64>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT id FROM mirror INDEXED BY mirror_sms WHERE workspace = ?1 AND sms_hash = ?2 LIMIT 1",
    )?;
    let mut owners = BTreeMap::new();
    for phone in phones {
        let owner = statement
            .query_row((ids.workspace(), ids.sms_hash(phone)), |row| row.get(0))
            .optional()?;
        owners.extend(owner.map(|id| (phone.clone(), id)));
    }
    Ok(owners)
}

/// Finds which contacts have these `EXT_ID`s, and whom they stand for.
pub(super) fn ext_id_holders(
    conn: &Connection,
    ids: &Ids,
    ext_ids: &[String],
) -> Result<BTreeMap<String, ExtIdHolder>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT id, owner FROM mirror INDEXED BY mirror_ext_id WHERE workspace = ?1 AND ext_id_hash = ?2 LIMIT 1",
    )?;
    let mut holders = BTreeMap::new();
    for ext_id in ext_ids {
        let found: Option<(i64, Option<String>)> = statement
            .query_row((ids.workspace(), ids.ext_id_hash(ext_id)), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        if let Some((id, owner)) = found {
            let owner = owner.and_then(|owner| owner.parse().ok());
            holders.insert(ext_id.clone(), ExtIdHolder { id, owner });
        }
    }
    Ok(holders)
}

pub(super) fn is_suppressed(
    conn: &Connection,
    ids: &Ids,
    email: &Email,
    channel: Channel,
) -> Result<bool, StoreError> {
    is_hash_suppressed(conn, ids, &ids.email_hash(email), channel)
}

/// The same for whatever the ledger knows by a hash.
pub(super) fn is_hash_suppressed(
    conn: &Connection,
    ids: &Ids,
    hash: &[u8],
    channel: Channel,
) -> Result<bool, StoreError> {
    let found: Option<i64> = conn
        .prepare_cached(
            "SELECT 1 FROM suppression
             WHERE workspace = ?1 AND address = ?2 AND channel = ?3 AND lift IS NULL",
        )?
        .query_row((ids.workspace(), hash, channel.as_str()), |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

pub(super) fn unread_since(
    conn: &Connection,
    ids: &Ids,
    since: Timestamp,
) -> Result<Vec<i64>, StoreError> {
    let mut statement =
        conn.prepare_cached("SELECT id FROM mirror WHERE workspace = ?1 AND read_at < ?2")?;
    let rows = statement.query_map((ids.workspace(), since.seconds()), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
