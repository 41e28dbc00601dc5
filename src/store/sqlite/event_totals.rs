//! Which events of contacts are counted, what they come to, and whose were listed.

use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use super::work::{self, Dirt};
use super::writer::Tx;
use super::{Ids, parsed};
use crate::model::{RecordId, RecordKind, Snapshot, Timestamp, made_event_id};
use crate::store::{EventCount, EventReading, EventReadings, StoreError, Task, WorkKey};

/// What an event is counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) contact: RecordId,
    pub(super) name: String,
    pub(super) at: Timestamp,
    /// The id that Intercom gave it; empty: it came without one.
    pub(super) id: String,
}

impl Counted {
    /// What a snapshot counts as; none: it is no event, or does not say whose.
    pub(super) fn of(snapshot: &Snapshot) -> Option<Self> {
        if snapshot.key.kind != RecordKind::Event {
            return None;
        }
        let contact = snapshot.body.get("intercom_user_id")?.as_str()?.parse().ok()?;
        Self::by(&contact, &snapshot.key.id, &snapshot.body)
    }

    /// What an event counts as that turned out to be about this contact; its body is as it came.
    pub(super) fn by(contact: &RecordId, id: &RecordId, body: &Value) -> Option<Self> {
        let is_made = body.as_object().is_some_and(|body| made_event_id(body) == id.as_str());
        Some(Self {
            contact: contact.clone(),
            name: body.get("event_name")?.as_str()?.to_owned(),
            at: body.get("created_at").and_then(Timestamp::parse)?,
            id: if is_made { String::new() } else { id.to_string() },
        })
    }
}

/// Counts an event and makes its contact dirty, if that is known; false: it was counted before.
pub(super) fn take(
    tx: &Tx<'_>,
    ids: &Ids,
    event: &Counted,
    dirt: Dirt,
) -> Result<bool, StoreError> {
    if !count(tx, ids, event)? {
        return Ok(false);
    }
    make_dirty(tx, ids, &event.contact, dirt)?;
    Ok(true)
}

/// Makes a contact dirty whose events come to something else, if it is known.
fn make_dirty(tx: &Tx<'_>, ids: &Ids, contact: &RecordId, dirt: Dirt) -> Result<(), StoreError> {
    if is_known(tx.conn, ids, contact)? {
        let key = WorkKey { task: Task::Contact, id: contact.clone() };
        work::dirty(tx, ids, &key, Dirt { needs_read: false, ..dirt.carrying(0) })?;
    }
    Ok(())
}

fn is_known(conn: &Connection, ids: &Ids, contact: &RecordId) -> Result<bool, StoreError> {
    let found: Option<i64> = conn
        .prepare_cached(
            "SELECT 1 FROM records
             WHERE workspace = ?1 AND kind = 'contact' AND id = ?2 AND liveness = 'live'",
        )?
        .query_row((ids.workspace(), contact.as_str()), |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

/// Counts an event; false: it was counted before, whichever way it came then.
fn count(tx: &Tx<'_>, ids: &Ids, event: &Counted) -> Result<bool, StoreError> {
    let Counted { contact, name, at, id } = event;
    if let Some(told) = told(tx.conn, ids, event)? {
        if told.is_empty() && !id.is_empty() {
            // From now on another id is another event.
            tx.conn
                .prepare_cached(
                    "UPDATE event_tellings SET id = ?5
                     WHERE workspace = ?1 AND contact = ?2 AND name = ?3 AND at = ?4 AND id = ''",
                )?
                .execute((ids.workspace(), contact.as_str(), name, at.seconds(), id))?;
        }
        return Ok(false);
    }
    tx.conn
        .prepare_cached(
            "INSERT INTO event_tellings (workspace, contact, name, at, id)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((ids.workspace(), contact.as_str(), name, at.seconds(), id))?;
    tx.conn
        .prepare_cached(
            "INSERT INTO event_totals (workspace, contact, name, count, first, last)
             VALUES (?1, ?2, ?3, 1, ?4, ?4)
             ON CONFLICT DO UPDATE SET count = count + 1, first = min(first, excluded.first),
                 last = max(last, excluded.last)",
        )?
        .execute((ids.workspace(), contact.as_str(), name, at.seconds()))?;
    Ok(true)
}

/// True if all of these events are counted.
pub(super) fn are_counted(
    conn: &Connection,
    ids: &Ids,
    events: &[Snapshot],
) -> Result<bool, StoreError> {
    for event in events.iter().filter_map(Counted::of) {
        if told(conn, ids, &event)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Under which id an event was told, which may be none; where either telling bears none, person, name
/// and second say that it is the same. None: it was not told.
fn told(conn: &Connection, ids: &Ids, event: &Counted) -> Result<Option<String>, StoreError> {
    let Counted { contact, name, at, id } = event;
    let found = conn
        .prepare_cached(
            "SELECT id FROM event_tellings
             WHERE workspace = ?1 AND contact = ?2 AND name = ?3 AND at = ?4
                 AND (?5 = '' OR id IN (?5, ''))
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row((ids.workspace(), contact.as_str(), name, at.seconds(), id), |row| row.get(0))
        .optional()?;
    Ok(found)
}

/// What a contact did, by name.
pub(super) fn of_contact(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
) -> Result<Vec<EventCount>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT name, count, first, last FROM event_totals WHERE workspace = ?1 AND contact = ?2",
    )?;
    let rows = statement.query_map((ids.workspace(), contact.as_str()), |row| {
        Ok(EventCount {
            name: row.get(0)?,
            count: row.get::<_, i64>(1)?.unsigned_abs(),
            first: Timestamp::from_seconds(row.get(2)?),
            last: Timestamp::from_seconds(row.get(3)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Looks at up to `limit` live contacts whose ids follow `after`: those that were seen since their
/// events were listed, or whose were never.
pub(super) fn readings(
    conn: &Connection,
    ids: &Ids,
    after: Option<&RecordId>,
    limit: usize,
) -> Result<EventReadings, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT records.id, records.body ->> 'last_seen_at', event_readings.seen_at FROM records
         LEFT JOIN event_readings ON event_readings.workspace = records.workspace
             AND event_readings.contact = records.id
         WHERE records.workspace = ?1 AND records.kind = 'contact' AND records.id > ?2
             AND records.liveness = 'live'
         ORDER BY records.id LIMIT ?3",
    )?;
    let after = after.map_or("", RecordId::as_str);
    let mut rows = statement.query((ids.workspace(), after, limit as i64))?;
    let mut readings = EventReadings::default();
    while let Some(row) = rows.next()? {
        let contact: RecordId = parsed(row, 0)?;
        let (seen_at, listed): (Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?);
        if let Some(seen_at) = seen_at.filter(|seen_at| listed.is_none_or(|at| *seen_at > at)) {
            readings.wanted.push(EventReading {
                contact: contact.clone(),
                seen_at: Timestamp::from_seconds(seen_at),
                was_read: listed.is_some(),
            });
        }
        readings.last = Some(contact);
    }
    Ok(readings)
}

/// Remembers that a contact's events were listed, and what Intercom says they come to in all, as of
/// `as_of`: those that are too old to be listed are in it as well. Where that is more than was counted,
/// the contact is derived again.
pub(super) fn put_reading(
    tx: &Tx<'_>,
    ids: &Ids,
    reading: &EventReading,
    totals: &[EventCount],
    as_of: Timestamp,
    dirt: Dirt,
) -> Result<(), StoreError> {
    let mut is_new = false;
    for total in totals {
        let (counted, all) = counted(tx.conn, ids, &reading.contact, &total.name, as_of)?;
        // What Intercom counts beyond what was told by then was told to nobody.
        let untold = i64::try_from(total.count).unwrap_or(i64::MAX).saturating_sub(counted).max(0);
        let changed = tx
            .conn
            .prepare_cached(
                "INSERT INTO event_totals (workspace, contact, name, count, first, last)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET count = max(count, excluded.count),
                     first = min(first, excluded.first), last = max(last, excluded.last)
                 WHERE excluded.count > count OR excluded.first < first OR excluded.last > last",
            )?
            .execute((
                ids.workspace(),
                reading.contact.as_str(),
                &total.name,
                untold.saturating_add(all),
                total.first.seconds(),
                total.last.seconds(),
            ))?;
        is_new |= changed > 0;
    }
    if is_new {
        make_dirty(tx, ids, &reading.contact, dirt)?;
    }
    tx.conn
        .prepare_cached(
            "INSERT INTO event_readings (workspace, contact, seen_at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET seen_at = max(seen_at, excluded.seen_at)",
        )?
        .execute((ids.workspace(), reading.contact.as_str(), reading.seen_at.seconds()))?;
    Ok(())
}

/// How many events of a name are counted: those until a time, and all. One of that very second counts
/// as known to Intercom then: if it was not, the next look finds one more; else it would count twice for
/// ever.
fn counted(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
    name: &str,
    before: Timestamp,
) -> Result<(i64, i64), StoreError> {
    let counted = conn
        .prepare_cached(
            "SELECT coalesce(sum(at <= ?4), 0), count(*) FROM event_tellings
             WHERE workspace = ?1 AND contact = ?2 AND name = ?3",
        )?
        .query_row((ids.workspace(), contact.as_str(), name, before.seconds()), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    Ok(counted)
}
