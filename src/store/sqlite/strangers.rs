//! Custom events that name their person by the id that their sender gave him or by an address alone.
//!
//! Whose such an event is, is decided once: when it comes in, or when the first contact becomes known
//! that it can be about. From then on it is that contact's, as if Intercom had said so. Until then it is
//! kept, counts as ignored, and is derived by no rule.

use rusqlite::{Connection, OptionalExtension, ToSql};
use serde_json::json;

use super::Ids;
use super::event_totals::{self, Counted};
use super::records::{self, Prepared};
use super::work::{self, Dirt};
use super::writer::Tx;
use crate::model::{EventPerson, RecordId, RecordKey, canonical_json};
use crate::store::{StoreError, Task, WorkKey};

/// How many events are taken up at a time, so that intake never waits long. Each makes its contact dirty,
/// and the end of that work takes up the next ones.
const AT_A_TIME: i64 = 200;

/// Finds whom an event names: by the sender's id, else by the address. Of several the user comes before
/// the lead, then who was seen last.
pub(super) fn find(
    conn: &Connection,
    ids: &Ids,
    person: &EventPerson,
) -> Result<Option<RecordId>, StoreError> {
    let by_id = "SELECT id FROM records
        WHERE workspace = ?1 AND external_id = ?2 AND kind = 'contact' AND liveness = 'live'
        ORDER BY coalesce(body ->> 'role' = 'user', 0) DESC, body ->> 'last_seen_at' DESC, at DESC, id LIMIT 1";
    let by_address = "SELECT id FROM records
        WHERE workspace = ?1 AND email = ?2 AND kind = 'contact' AND liveness = 'live'
        ORDER BY coalesce(body ->> 'role' = 'user', 0) DESC, body ->> 'last_seen_at' DESC, at DESC, id LIMIT 1";
    let email = person.email.as_ref().map(|email| email.as_str());
    for (sql, value) in [(by_id, person.external_id.as_deref()), (by_address, email)] {
        let Some(value) = value else { continue };
        let found = conn
            .prepare_cached(sql)?
            .query_row((ids.workspace(), value), |row| super::parsed(row, 0))
            .optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// An event as it is once its contact is found; none: it needs none, or it is not known.
pub(super) fn named(
    conn: &Connection,
    ids: &Ids,
    incoming: &Prepared,
) -> Result<Option<Prepared>, StoreError> {
    let Some(person) = &incoming.person else { return Ok(None) };
    let found = find(conn, ids, person)?;
    Ok(found.map(|contact| Prepared::of_contact(incoming.snapshot.clone(), contact)))
}

/// Lets an event wait for its person.
pub(super) fn wait(
    tx: &Tx<'_>,
    ids: &Ids,
    event: &RecordId,
    person: &EventPerson,
    carried: i64,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO strangers (workspace, event, external_id, email, carried)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        )?
        .execute((
            ids.workspace(),
            event.as_str(),
            &person.external_id,
            person.email.as_ref().map(|email| email.as_str()),
            carried,
        ))?;
    tx.count("ignored", carried);
    Ok(())
}

/// An event is told anew, with its contact; true if it waited for that.
pub(super) fn supersede(tx: &Tx<'_>, ids: &Ids, event: &RecordId) -> Result<bool, StoreError> {
    let carried = end_wait(tx, ids, event)?;
    tx.count("superseded", carried.unwrap_or_default());
    Ok(carried.is_some())
}

/// An event waits no longer; answers the inputs that no longer count as ignored, or none if it did not
/// wait.
fn end_wait(tx: &Tx<'_>, ids: &Ids, event: &RecordId) -> Result<Option<i64>, StoreError> {
    let carried: Option<i64> = tx
        .conn
        .prepare_cached(
            "DELETE FROM strangers WHERE workspace = ?1 AND event = ?2 RETURNING carried",
        )?
        .query_row((ids.workspace(), event.as_str()), |row| row.get(0))
        .optional()?;
    tx.count("ignored", -carried.unwrap_or_default());
    Ok(carried)
}

/// Takes up events that may have waited for a contact, which is known now.
pub(super) fn meet(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    dirt: Dirt,
) -> Result<(), StoreError> {
    // Hardly ever does one wait.
    let any: Option<i64> = tx
        .conn
        .prepare_cached("SELECT 1 FROM strangers WHERE workspace = ?1 LIMIT 1")?
        .query_row((ids.workspace(),), |row| row.get(0))
        .optional()?;
    if any.is_none() {
        return Ok(());
    }
    for event in waiting_for(tx.conn, ids, contact)? {
        take_up(tx, ids, event, dirt)?;
    }
    Ok(())
}

/// The events that wait for a contact, as far as it is live.
fn waiting_for(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
) -> Result<Vec<RecordId>, StoreError> {
    let known: Option<(Option<String>, Option<String>)> = conn
        .prepare_cached(
            "SELECT external_id, email FROM records
             WHERE workspace = ?1 AND kind = 'contact' AND id = ?2 AND liveness = 'live'",
        )?
        .query_row((ids.workspace(), contact.as_str()), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (external_id, email) = known.unwrap_or_default();
    let by_id = "SELECT event FROM strangers WHERE workspace = ?1 AND external_id = ?2 LIMIT ?3";
    let by_address = "SELECT event FROM strangers WHERE workspace = ?1 AND email = ?2 LIMIT ?3";
    let mut events: Vec<RecordId> = Vec::new();
    for (sql, value) in [(by_id, external_id), (by_address, email)] {
        let Some(value) = value else { continue };
        let asked: [&dyn ToSql; 3] = [&ids.workspace(), &value, &AT_A_TIME];
        let mut statement = conn.prepare_cached(sql)?;
        for event in statement.query_map(asked, |row| super::parsed(row, 0))? {
            let event = event?;
            if !events.contains(&event) {
                events.push(event);
            }
        }
    }
    Ok(events)
}

/// Gives an event to the contact that it turns out to be about. One that was told of him already, under
/// another id or none, goes.
fn take_up(tx: &Tx<'_>, ids: &Ids, event: RecordId, dirt: Dirt) -> Result<(), StoreError> {
    let carried = end_wait(tx, ids, &event)?.unwrap_or_default();
    let key = RecordKey::event(event.clone());
    let Some(mut record) = records::record(tx.conn, ids, &key)? else { return Ok(()) };
    let person = EventPerson::of(&record.body);
    let found = person.map_or(Ok(None), |person| find(tx.conn, ids, &person))?;
    let Some(contact) = found else { return Ok(()) };
    let counted = Counted::by(&contact, &event, &record.body);
    if let Some(counted) = counted
        && !event_totals::take(tx, ids, &counted, dirt)?
    {
        tx.count("unchanged", carried);
        tx.conn
            .prepare_cached(
                "DELETE FROM records WHERE workspace = ?1 AND kind = 'event' AND id = ?2",
            )?
            .execute((ids.workspace(), event.as_str()))?;
        return Ok(());
    }
    if let Some(fields) = record.body.as_object_mut() {
        fields.insert("intercom_user_id".to_owned(), json!(contact));
    }
    // The version stays that of what came.
    tx.conn
        .prepare_cached(
            "UPDATE records SET body = ?3 WHERE workspace = ?1 AND kind = 'event' AND id = ?2",
        )?
        .execute((ids.workspace(), event.as_str(), canonical_json(&record.body)))?;
    let key = WorkKey { task: Task::Event, id: event };
    work::dirty(tx, ids, &key, Dirt { needs_read: false, ..dirt.carrying(carried) })
}

/// How many events wait for their person.
pub(super) fn count(conn: &Connection, ids: &Ids) -> Result<u64, StoreError> {
    let count: i64 = conn
        .prepare_cached("SELECT count(*) FROM strangers WHERE workspace = ?1")?
        .query_row((ids.workspace(),), |row| row.get(0))?;
    Ok(count.unsigned_abs())
}
