//! Phone numbers that contacts are to get and others of Brevo's contacts have: no two can have one.
//! Whoever wants one is derived again when it is given up, in whatever round that happens.

use rusqlite::{Connection, OptionalExtension};

use super::work::{self, Dirt};
use super::writer::Tx;
use super::{Ids, parsed};
use crate::model::{RecordId, Timestamp};
use crate::store::{Priority, StoreError, Task, WantedNumber, WorkKey};

/// How many contacts that wait for each other are looked at.
const LONGEST_CIRCLE: usize = 100;

/// Notes which number a contact waits for; none: it waits for none. Where that
/// makes a circle of contacts that wait for each other, they are derived again: one has to give way.
pub(super) fn keep(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    number: Option<&WantedNumber>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(WantedNumber { digits, is_promised }) = number else {
        tx.conn
            .prepare_cached("DELETE FROM wanted_numbers WHERE workspace = ?1 AND contact = ?2")?
            .execute((ids.workspace(), contact.as_str()))?;
        return Ok(());
    };
    let wanted = ids.sms_hash(digits);
    let is_new = tx
        .conn
        .prepare_cached(
            "INSERT INTO wanted_numbers (workspace, contact, sms_hash) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET sms_hash = excluded.sms_hash
                 WHERE sms_hash <> excluded.sms_hash",
        )?
        .execute((ids.workspace(), contact.as_str(), &wanted))?;
    if is_new == 0 {
        return Ok(());
    }
    if !is_promised && holder(tx.conn, ids, &wanted)?.is_none() {
        // It was given up since somebody looked.
        return wake(tx, ids, contact, now);
    }
    for (_, member) in circle(tx.conn, ids, contact, wanted)?.into_iter().flatten() {
        wake(tx, ids, &member, now)?;
    }
    Ok(())
}

/// Wakes who waits for the number of one of Brevo's contacts that has another one from now on, or none.
pub(super) fn give_up(
    tx: &Tx<'_>,
    ids: &Ids,
    id: i64,
    gets: Option<&[u8]>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut statement = tx.conn.prepare_cached(
        "SELECT wanted.contact FROM mirror
         JOIN wanted_numbers AS wanted INDEXED BY wanted_numbers_hash
             ON wanted.workspace = mirror.workspace AND wanted.sms_hash = mirror.sms_hash
         WHERE mirror.workspace = ?1 AND mirror.id = ?2 AND mirror.sms_hash IS NOT ?3",
    )?;
    let waiting: Vec<RecordId> = statement
        .query_and_then((ids.workspace(), id, gets), |row| parsed(row, 0))?
        .collect::<Result<_, _>>()?;
    for contact in waiting {
        wake(tx, ids, &contact, now)?;
    }
    Ok(())
}

/// True if a contact that waits for a number, given by its digits, is the one that gives its own up:
/// all who have what another wants wait for each other, and of their contacts in Brevo its own has the
/// smallest number.
pub(super) fn is_first_of_circle(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
    digits: &str,
) -> Result<bool, StoreError> {
    let circle = circle(conn, ids, contact, ids.sms_hash(digits))?;
    let first = circle.into_iter().flatten().min_by_key(|(id, _)| *id);
    Ok(first.is_some_and(|(_, first)| first == *contact))
}

/// Those who have what the one before wants, from the holder of `wanted` to `contact` itself, with their
/// contacts in Brevo; none: it does not come round to `contact`.
fn circle(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
    mut wanted: Vec<u8>,
) -> Result<Option<Vec<(i64, RecordId)>>, StoreError> {
    let mut members = Vec::new();
    while members.len() < LONGEST_CIRCLE {
        let Some((id, Some(member))) = holder(conn, ids, &wanted)? else {
            return Ok(None);
        };
        let is_round = member == *contact;
        let next: Option<Vec<u8>> = conn
            .prepare_cached(
                "SELECT sms_hash FROM wanted_numbers WHERE workspace = ?1 AND contact = ?2",
            )?
            .query_row((ids.workspace(), member.as_str()), |row| row.get(0))
            .optional()?;
        members.push((id, member));
        match next {
            _ if is_round => return Ok(Some(members)),
            Some(next) => wanted = next,
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// Which of Brevo's contacts has a number, and for whom it stands.
fn holder(
    conn: &Connection,
    ids: &Ids,
    sms_hash: &[u8],
) -> Result<Option<(i64, Option<RecordId>)>, StoreError> {
    let held = conn
        .prepare_cached(
            "SELECT id, owner FROM mirror INDEXED BY mirror_sms
             WHERE workspace = ?1 AND sms_hash = ?2 LIMIT 1",
        )?
        .query_row((ids.workspace(), sms_hash), |row| {
            Ok((row.get(0)?, row.get::<_, Option<String>>(1)?))
        })
        .optional()?;
    Ok(held.map(|(id, owner)| (id, owner.and_then(|owner| owner.parse().ok()))))
}

fn wake(tx: &Tx<'_>, ids: &Ids, contact: &RecordId, now: Timestamp) -> Result<(), StoreError> {
    let key = WorkKey { task: Task::Contact, id: contact.clone() };
    work::dirty(tx, ids, &key, Dirt::again(Priority::Bulk, now))
}
