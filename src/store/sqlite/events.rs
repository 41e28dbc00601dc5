//! Events that rules tracked: judged, claimed in order, ended.

use rusqlite::{Connection, OptionalExtension, Row};

use super::writer::Tx;
use super::{Ids, books, dead_letters, mirror, work};
use crate::model::{Digest, Email, RecordId, Timestamp, TrackedEvent};
use crate::store::event::event_id;
use crate::store::{
    Awaits, Derivation, Doubt, DueEvent, EventEnd, EventTarget, LIVE_SINCE, LastDerivation,
    StoreError, Withheld,
};

/// When an event is due that waits for somebody who deals with the dead letter of its contact: the end
/// of the year 9999.
const STUCK: Timestamp = Timestamp::from_seconds(253_402_300_799);
/// How long an event waits at most for its contact before it is looked at again; the end of the
/// contact's claim takes it up at once.
const LOOK_AGAIN_SECONDS: i64 = 60;

/// Remembers a derivation and the events whose keys are new, in the transaction of its end; answers how
/// many of them are to be sent.
pub(super) fn track(
    tx: &Tx<'_>,
    ids: &Ids,
    derivation: &Derivation,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut due = 0;
    if !derivation.events.is_empty() {
        let last = last_derivation(tx.conn, ids, derivation)?;
        let live_since = live_since(tx.conn, ids)?;
        for traced in &derivation.events {
            let withheld = derivation.withholds(traced.value.at, last.as_ref(), live_since);
            let is_new = insert(tx, ids, derivation, traced, withheld, now)?;
            due += u64::from(is_new && withheld.is_none());
        }
    }
    tx.conn
        .prepare_cached(
            "INSERT INTO derivations (workspace, subject, rule_set, snapshot, as_of)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET rule_set = excluded.rule_set, snapshot = excluded.snapshot,
                 as_of = excluded.as_of",
        )?
        .execute((
            ids.workspace(),
            derivation.subject.to_string(),
            derivation.rule_set.as_str(),
            derivation.snapshot.as_bytes(),
            derivation.as_of.seconds(),
        ))?;
    Ok(due)
}

fn last_derivation(
    conn: &Connection,
    ids: &Ids,
    derivation: &Derivation,
) -> Result<Option<LastDerivation>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT rule_set, snapshot, as_of FROM derivations WHERE workspace = ?1 AND subject = ?2",
        )?
        .query_row((ids.workspace(), derivation.subject.to_string()), |row| {
            Ok(LastDerivation {
                rule_set: row.get(0)?,
                snapshot: Digest::from_bytes(row.get(1)?),
                as_of: Timestamp::from_seconds(row.get(2)?),
            })
        })
        .optional()?;
    Ok(found)
}

fn live_since(conn: &Connection, ids: &Ids) -> Result<Option<Timestamp>, StoreError> {
    let text = books::fact(conn, ids, LIVE_SINCE)?;
    Ok(text.and_then(|text| text.parse().ok()).map(Timestamp::from_seconds))
}

/// True if the key is new. Of one that exists only the properties of a dead letter change: with them it may be retried.
fn insert(
    tx: &Tx<'_>,
    ids: &Ids,
    derivation: &Derivation,
    traced: &crate::model::Traced<TrackedEvent>,
    withheld: Option<Withheld>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let event = &traced.value;
    let properties = match withheld {
        None => Some(serde_json::to_string(&event.properties)?),
        Some(_) => None,
    };
    let added = tx
        .conn
        .prepare_cached(
            "INSERT INTO events (workspace, id, subject, contact, name, at, state, reason, properties,
                 origin, rule_set, due)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,
                 coalesce((SELECT max(due) FROM events
                     WHERE workspace = ?1 AND contact = ?4 AND state = 'due' AND due = ?13), ?12))
             ON CONFLICT (workspace, id) DO NOTHING",
        )?
        .execute((
            ids.workspace(),
            event_id(&ids.workspace, &derivation.subject, event),
            derivation.subject.to_string(),
            derivation.contact.as_str(),
            &event.name,
            event.at.map(Timestamp::seconds),
            if withheld.is_some() { "known" } else { "due" },
            withheld.map(Withheld::as_str),
            &properties,
            traced.origin.to_string(),
            derivation.rule_set.as_str(),
            now.seconds(),
            // Who comes behind one that waits for somebody waits with it.
            STUCK.seconds(),
        ))?;
    if added > 0 {
        tx.count("events_known", i64::from(withheld.is_some()));
        return Ok(true);
    }
    tx.conn
        .prepare_cached(
            "UPDATE events SET properties = ?3, origin = ?4, rule_set = ?5
             WHERE workspace = ?1 AND id = ?2 AND state = 'dead'",
        )?
        .execute((
            ids.workspace(),
            event_id(&ids.workspace, &derivation.subject, event),
            serde_json::to_string(&event.properties)?,
            traced.origin.to_string(),
            derivation.rule_set.as_str(),
        ))?;
    Ok(false)
}

/// What is due, in the order in which it was tracked. While an event waits for its next attempt, the
/// later ones of its contact wait with it. What another record says of a contact goes behind the
/// contact's own write, which may be what makes it known to Brevo.
pub(super) fn due(
    conn: &Connection,
    ids: &Ids,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<DueEvent>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, id, contact, name, at, properties, origin, rule_set, date, attempts,
             failing_since, doubt, tried
         FROM events AS event INDEXED BY events_due
         WHERE workspace = ?1 AND state = 'due' AND due <= ?2 AND NOT EXISTS (
             SELECT 1 FROM events AS earlier INDEXED BY events_contact
             WHERE earlier.workspace = event.workspace AND earlier.contact = event.contact
                 AND earlier.state = 'due' AND earlier.seq < event.seq AND earlier.due > ?2)
             AND (subject LIKE 'contact:%' OR NOT EXISTS (
                 SELECT 1 FROM work WHERE work.workspace = event.workspace AND work.task = 'contact'
                     AND work.id = event.contact
                     AND (work.claimed = 1 OR work.due <= ?2 OR work.failing_since IS NOT NULL)))
         ORDER BY seq LIMIT ?3",
    )?;
    let rows = statement.query_map((ids.workspace(), now.seconds(), limit as i64), read)?;
    let mut events: Vec<DueEvent> = rows.collect::<Result<_, _>>()?;
    for event in &mut events {
        event.target = target(conn, ids, &event.contact, now)?;
    }
    Ok(events)
}

fn read(row: &Row<'_>) -> rusqlite::Result<DueEvent> {
    let time = |index| row.get::<_, Option<i64>>(index);
    let properties: Option<String> = row.get(5)?;
    Ok(DueEvent {
        seq: row.get(0)?,
        id: row.get(1)?,
        contact: super::parsed(row, 2)?,
        event: TrackedEvent {
            name: row.get(3)?,
            at: time(4)?.map(Timestamp::from_seconds),
            properties: serde_json::from_str(properties.as_deref().unwrap_or("{}"))
                .map_err(super::damaged)?,
        },
        origin: row.get(6)?,
        rule_set: row.get(7)?,
        date: time(8)?.map(Timestamp::from_seconds),
        attempts: row.get(9)?,
        failing_since: time(10)?.map(Timestamp::from_seconds),
        doubt: Doubt::from_rank(row.get(11)?),
        tried: time(12)?.map(Timestamp::from_seconds),
        target: EventTarget::Nobody(Withheld::NoContact),
    })
}

/// Whom Brevo has for the contact of an event: the one that stands for it, else the one that has its
/// address, as where another Intercom contact speaks for both.
fn target(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
    now: Timestamp,
) -> Result<EventTarget, StoreError> {
    let record: Option<(String, Option<String>)> = conn
        .prepare_cached(
            "SELECT liveness, email FROM records WHERE workspace = ?1 AND kind = 'contact' AND id = ?2",
        )?
        .query_row((ids.workspace(), contact.as_str()), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((liveness, address)) = record else {
        return Ok(EventTarget::Nobody(Withheld::Gone));
    };
    if liveness == "deleted" || liveness.starts_with("merged") {
        return Ok(EventTarget::Nobody(Withheld::Gone));
    }
    let owned: Option<(i64, Option<String>)> = conn
        .prepare_cached(
            "SELECT id, state ->> 'email' FROM mirror WHERE workspace = ?1 AND owner = ?2 LIMIT 1",
        )?
        .query_row((ids.workspace(), contact.as_str()), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((id, email)) = owned {
        let email = email.and_then(|email| email.parse().ok());
        return Ok(EventTarget::Contact { id, email });
    }
    let email = address.and_then(|email| email.parse::<Email>().ok());
    if let Some(email) = &email
        && let Some(entry) = mirror::at_address(conn, ids, email)?
    {
        return Ok(EventTarget::Contact { id: entry.id(), email: Some(email.clone()) });
    }
    let awaits = awaits(conn, ids, contact, email.as_ref(), now)?;
    Ok(awaits.map_or(EventTarget::Nobody(Withheld::NoContact), EventTarget::Awaited))
}

/// What may still make a contact known to Brevo: its own write, or that of another with its address.
/// None: the rules gave it no identity there.
fn awaits(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
    email: Option<&Email>,
    now: Timestamp,
) -> Result<Option<Awaits>, StoreError> {
    let mut found = None;
    for one in speakers(conn, ids, contact, email)? {
        if work::is_pending(conn, ids, &one, now)? {
            return Ok(Some(Awaits::Write));
        }
        if dead_letters::has_contact(conn, ids, &one)? {
            found = Some(Awaits::DeadLetter);
        }
    }
    Ok(found)
}

/// A contact and the live ones that share its address, any of which may stand for it in Brevo.
fn speakers(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
    email: Option<&Email>,
) -> Result<Vec<RecordId>, StoreError> {
    let mut speakers = vec![contact.clone()];
    if let Some(email) = email {
        let mut statement = conn.prepare_cached(
            "SELECT id FROM records WHERE workspace = ?1 AND email = ?2 AND kind = 'contact'
                 AND liveness = 'live' AND id <> ?3",
        )?;
        let at = (ids.workspace(), email.as_str(), contact.as_str());
        for other in statement.query_map(at, |row| super::parsed(row, 0))? {
            speakers.push(other?);
        }
    }
    Ok(speakers)
}

/// Takes up the events again that wait for a contact: its claim has ended, or its dead letter was
/// dropped. Those of whoever shares its address may have waited for it as well.
pub(super) fn resume(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let waiting: Option<i64> = tx
        .conn
        .prepare_cached(
            "SELECT 1 FROM events WHERE workspace = ?1 AND state = 'due' AND due > ?2 LIMIT 1",
        )?
        .query_row((ids.workspace(), now.seconds()), |row| row.get(0))
        .optional()?;
    if waiting.is_none() {
        return Ok(());
    }
    let email: Option<String> = tx
        .conn
        .prepare_cached(
            "SELECT email FROM records WHERE workspace = ?1 AND kind = 'contact' AND id = ?2",
        )?
        .query_row((ids.workspace(), contact.as_str()), |row| row.get(0))
        .optional()?
        .flatten();
    let email = email.and_then(|email| email.parse().ok());
    for one in speakers(tx.conn, ids, contact, email.as_ref())? {
        // One that was tried before waits for its own sake.
        tx.conn
            .prepare_cached(
                "UPDATE events SET due = ?3 WHERE workspace = ?1 AND contact = ?2 AND state = 'due'
                     AND due > ?3 AND (date IS NULL OR due = ?4)",
            )?
            .execute((ids.workspace(), one.as_str(), now.seconds(), STUCK.seconds()))?;
    }
    Ok(())
}

/// How many wait for somebody who deals with the dead letter of their contact.
pub(super) fn stuck(conn: &Connection, ids: &Ids) -> Result<u64, StoreError> {
    let count: i64 = conn
        .prepare_cached(
            "SELECT count(*) FROM events WHERE workspace = ?1 AND state = 'due' AND due = ?2",
        )?
        .query_row((ids.workspace(), STUCK.seconds()), |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Notes that events are about to be sent, each with the date that Brevo is told from now on. Until
/// the attempt has ended Brevo may have them, so that a process that dies looks before it sends again.
pub(super) fn begin(
    tx: &Tx<'_>,
    events: &[(i64, Timestamp)],
    now: Timestamp,
    due: Timestamp,
) -> Result<(), StoreError> {
    let mut statement = tx.conn.prepare_cached(
        "UPDATE events SET date = ?2, doubt = max(doubt, 1), due = ?3, attempts = attempts + 1,
             tried = ?4
         WHERE seq = ?1 AND state = 'due'",
    )?;
    for (seq, date) in events {
        statement.execute((seq, date.seconds(), due.seconds(), now.seconds()))?;
    }
    Ok(())
}

/// Ends an attempt.
pub(super) fn end(
    tx: &Tx<'_>,
    ids: &Ids,
    seq: i64,
    end: &EventEnd,
    now: Timestamp,
) -> Result<(), StoreError> {
    match end {
        EventEnd::Sent => {
            let changed = close(tx, seq, "sent", None)?;
            tx.count("events_sent", changed);
        }
        EventEnd::Orphaned => orphan(tx, ids, seq, now)?,
        EventEnd::Dead(cause) => {
            let found: Option<(String, u32)> = tx
                .conn
                .prepare_cached(
                    "UPDATE events SET state = 'dead', due = NULL WHERE seq = ?1 AND state = 'due'
                     RETURNING id, max(attempts, date IS NOT NULL)",
                )?
                .query_row((seq,), |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            if let Some((id, attempts)) = found {
                dead_letters::bury_event(tx, ids, &id, cause, attempts, now)?;
                tx.count("events_refused", 1);
            }
        }
        EventEnd::Retry { at, doubt, counts } => {
            tx.conn
                .prepare_cached(
                    "UPDATE events SET due = ?2, doubt = ?3, tried = ?5,
                         attempts = CASE WHEN ?4 THEN attempts ELSE max(attempts - 1, 0) END,
                         failing_since = CASE WHEN ?4 THEN coalesce(failing_since, ?5) ELSE failing_since END
                     WHERE seq = ?1 AND state = 'due'",
                )?
                .execute((seq, at.seconds(), doubt.rank(), counts, now.seconds()))?;
        }
        EventEnd::Looked { at, doubt, fails } => {
            tx.conn
                .prepare_cached(
                    "UPDATE events SET due = ?2, doubt = ?3,
                         failing_since = CASE WHEN ?4 THEN coalesce(failing_since, ?5) ELSE failing_since END
                     WHERE seq = ?1 AND state = 'due'",
                )?
                .execute((seq, at.seconds(), doubt.rank(), fails, now.seconds()))?;
        }
    }
    Ok(())
}

/// Ends an event that Brevo has nobody for, or lets it wait for its contact.
fn orphan(tx: &Tx<'_>, ids: &Ids, seq: i64, now: Timestamp) -> Result<(), StoreError> {
    let contact: Option<RecordId> = tx
        .conn
        .prepare_cached("SELECT contact FROM events WHERE seq = ?1 AND state = 'due'")?
        .query_row((seq,), |row| super::parsed(row, 0))
        .optional()?;
    let Some(contact) = contact else { return Ok(()) };
    let due = match target(tx.conn, ids, &contact, now)? {
        // It came meanwhile.
        EventTarget::Contact { .. } => return Ok(()),
        EventTarget::Nobody(why) => {
            let changed = close(tx, seq, "known", Some(why))?;
            tx.count("events_known", changed);
            return Ok(());
        }
        EventTarget::Awaited(Awaits::Write) => now.plus(LOOK_AGAIN_SECONDS),
        EventTarget::Awaited(Awaits::DeadLetter) => STUCK,
    };
    // The later ones of its contact come behind it.
    tx.conn
        .prepare_cached(
            "UPDATE events SET due = max(due, ?4)
             WHERE workspace = ?1 AND contact = ?2 AND state = 'due' AND seq >= ?3",
        )?
        .execute((ids.workspace(), contact.as_str(), seq, due.seconds()))?;
    Ok(())
}

/// Keeps the key and forgets what it said.
fn close(tx: &Tx<'_>, seq: i64, state: &str, reason: Option<Withheld>) -> Result<i64, StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE events SET state = ?2, reason = ?3, properties = NULL, due = NULL, doubt = 0
             WHERE seq = ?1 AND state = 'due'",
        )?
        .execute((seq, state, reason.map(Withheld::as_str)))?;
    Ok(changed as i64)
}

/// Makes the event of a dead letter due again. Whoever retries it has decided that it may be sent.
pub(super) fn revive(tx: &Tx<'_>, ids: &Ids, id: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE events SET state = 'due', due = ?3, attempts = 0, failing_since = NULL, doubt = 0
             WHERE workspace = ?1 AND id = ?2 AND state = 'dead'",
        )?
        .execute((ids.workspace(), id, now.seconds()))?;
    Ok(())
}

/// Keeps the key of a dead letter that an operator dropped.
pub(super) fn drop_dead(tx: &Tx<'_>, ids: &Ids, id: &str) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE events SET state = 'known', reason = ?3, properties = NULL, doubt = 0
             WHERE workspace = ?1 AND id = ?2 AND state = 'dead'",
        )?
        .execute((ids.workspace(), id, Withheld::Dropped.as_str()))?;
    tx.count("events_known", changed as i64);
    Ok(())
}

/// When the next event is due.
pub(super) fn next_due(conn: &Connection, ids: &Ids) -> Result<Option<Timestamp>, StoreError> {
    let due: Option<i64> = conn
        .prepare_cached("SELECT min(due) FROM events WHERE workspace = ?1 AND state = 'due'")?
        .query_row((ids.workspace(),), |row| row.get(0))?;
    Ok(due.map(Timestamp::from_seconds))
}

/// Forgets up to `limit` keys of what happened before the first sync, so that deriving their records
/// again sends them; answers how many.
pub(super) fn forget_history(tx: &Tx<'_>, ids: &Ids, limit: usize) -> Result<u64, StoreError> {
    let forgotten = tx
        .conn
        .prepare_cached(
            "DELETE FROM events WHERE seq IN
                 (SELECT seq FROM events WHERE workspace = ?1 AND reason = ?2 LIMIT ?3)",
        )?
        .execute((ids.workspace(), Withheld::BeforeLive.as_str(), limit as i64))?;
    tx.count("events_known", -(forgotten as i64));
    Ok(forgotten as u64)
}
