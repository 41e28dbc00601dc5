//! Custom objects that rules asked for: kept while they may have to be sent, known by their digest
//! afterwards.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::writer::Tx;
use super::{Ids, companies, dead_letters};
use crate::model::{Digest, Fields, ObjectKey, RecordId, Timestamp, Traced, Verdict};
use crate::store::{DueObject, Ending, ObjectEnd, Outcome, Settlement, StoreError};

/// What stands for a task where a dead letter is about an object.
pub(super) const TASK: &str = "object";

/// What Brevo would hold: the fields, and whose object it is.
fn digest(fields: &str, number: Option<i64>) -> Digest {
    Digest::of_json(&json!([fields, number]))
}

/// What asks for an object: the contact that it belongs to, and the rules.
struct Asker<'a> {
    contact: &'a RecordId,
    number: Option<i64>,
    rule_set: &'a str,
}

/// Remembers the objects that a record asks for, in the transaction of its end; answers whether any is
/// to be sent. What Brevo holds already, and what waits as it is, stays as it is.
pub(super) fn keep(
    tx: &Tx<'_>,
    ids: &Ids,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some((contact, rule_set, objects)) = asked(settlement) else { return Ok(false) };
    if objects.is_empty() {
        return Ok(false);
    }
    let number = companies::brevo_contact(tx.conn, ids, contact)?;
    let asker = Asker { contact, number, rule_set };
    let mut gave = false;
    for (key, traced) in objects {
        gave |= keep_one(tx, ids, &asker, (key, traced), now)?;
    }
    Ok(gave)
}

type Objects = BTreeMap<ObjectKey, Traced<Fields>>;

/// The objects of a contact that is written, or of another record, which belong to its contact.
fn asked(settlement: &Settlement) -> Option<(&RecordId, &str, &Objects)> {
    let Ending::Done { outcome, .. } = settlement.ending else { return None };
    if let Some(emitted) = &settlement.emission {
        let emission = &emitted.emission;
        let contact = &settlement.derivation.as_ref()?.contact;
        return Some((contact, emission.rule_set.as_str(), &emission.objects));
    }
    let decision = settlement.decision.as_deref()?;
    let is_written = decision.verdict == Verdict::Write
        && companies::is_identified(decision)
        && matches!(outcome, Outcome::Applied | Outcome::Unchanged);
    is_written.then_some((&decision.subject.id, decision.rule_set.as_str(), &decision.objects))
}

fn keep_one(
    tx: &Tx<'_>,
    ids: &Ids,
    asker: &Asker<'_>,
    (key, traced): (&ObjectKey, &Traced<Fields>),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let fields = serde_json::to_string(&traced.value)?;
    let known: Option<(String, Option<Vec<u8>>, String)> = tx
        .conn
        .prepare_cached(
            "SELECT state, sent, fields FROM objects WHERE workspace = ?1 AND kind = ?2 AND id = ?3",
        )?
        .query_row((ids.workspace(), &key.kind, &key.id), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    if let Some((state, sent, before)) = &known {
        let is_held = sent.as_deref() == Some(digest(&fields, asker.number).as_bytes().as_slice());
        let is_same = *before == fields;
        match state.as_str() {
            "sent" if is_held => return Ok(false),
            // It waits, or was refused, as it is.
            "due" | "dead" if is_same => return Ok(false),
            _ => {}
        }
    }
    tx.conn
        .prepare_cached(
            "INSERT INTO objects (workspace, kind, id, contact, fields, state, origin, rule_set, due)
             VALUES (?1, ?2, ?3, ?4, ?5, 'due', ?6, ?7, ?8)
             ON CONFLICT (workspace, kind, id) DO UPDATE SET contact = excluded.contact,
                 fields = excluded.fields, state = 'due', origin = excluded.origin,
                 rule_set = excluded.rule_set, due = excluded.due, attempts = 0,
                 failing_since = NULL, version = version + 1",
        )?
        .execute((
            ids.workspace(),
            &key.kind,
            &key.id,
            asker.contact.as_str(),
            &fields,
            traced.origin.to_string(),
            asker.rule_set,
            now.seconds(),
        ))?;
    if known.is_some_and(|(state, ..)| state == "dead") {
        dead_letters::forget(tx, ids, TASK, &key.to_string())?;
    }
    Ok(true)
}

/// What is due of the type that comes first. An object goes behind its contact's own write, which may
/// be what makes the contact known to Brevo.
pub(super) fn due(
    conn: &Connection,
    ids: &Ids,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<DueObject>, StoreError> {
    let first: Option<String> = conn
        .prepare_cached(
            "SELECT kind FROM objects INDEXED BY objects_due
             WHERE workspace = ?1 AND state = 'due' AND due <= ?2 AND NOT EXISTS (
                 SELECT 1 FROM work WHERE work.workspace = objects.workspace
                     AND work.task = 'contact' AND work.id = objects.contact
                     AND (work.claimed = 1 OR work.due <= ?2))
             ORDER BY due LIMIT 1",
        )?
        .query_row((ids.workspace(), now.seconds()), |row| row.get(0))
        .optional()?;
    let Some(kind) = first else { return Ok(Vec::new()) };
    let mut statement = conn.prepare_cached(
        "SELECT seq, version, id, fields, contact, origin, rule_set, attempts, failing_since
         FROM objects INDEXED BY objects_kind
         WHERE workspace = ?1 AND kind = ?2 AND state = 'due' AND due <= ?3 AND NOT EXISTS (
             SELECT 1 FROM work WHERE work.workspace = objects.workspace AND work.task = 'contact'
                 AND work.id = objects.contact AND (work.claimed = 1 OR work.due <= ?3))
         ORDER BY seq LIMIT ?4",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        let fields: String = row.get(3)?;
        Ok(DueObject {
            seq: row.get(0)?,
            version: row.get(1)?,
            kind: kind.clone(),
            id: row.get(2)?,
            fields: serde_json::from_str(&fields).map_err(super::damaged)?,
            contact: super::parsed(row, 4)?,
            number: None,
            origin: row.get(5)?,
            rule_set: row.get(6)?,
            attempts: row.get(7)?,
            failing_since: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_seconds),
        })
    };
    let rows = statement.query_map((ids.workspace(), &kind, now.seconds(), limit as i64), read)?;
    let mut objects: Vec<DueObject> = rows.collect::<Result<_, _>>()?;
    for object in &mut objects {
        object.number = companies::brevo_contact(conn, ids, &object.contact)?;
    }
    Ok(objects)
}

/// When the next object is due.
pub(super) fn next_due(conn: &Connection, ids: &Ids) -> Result<Option<Timestamp>, StoreError> {
    let due: Option<i64> = conn
        .prepare_cached(
            "SELECT min(due) FROM objects INDEXED BY objects_due WHERE workspace = ?1 AND state = 'due'",
        )?
        .query_row((ids.workspace(),), |row| row.get(0))?;
    Ok(due.map(Timestamp::from_seconds))
}

/// Ends an attempt, unless the object was changed meanwhile.
pub(super) fn end(
    tx: &Tx<'_>,
    ids: &Ids,
    object: &DueObject,
    end: &ObjectEnd,
    now: Timestamp,
) -> Result<(), StoreError> {
    let at = (object.seq, object.version);
    match end {
        ObjectEnd::Sent(number) => {
            let sent = digest(&serde_json::to_string(&object.fields)?, *number);
            let ended = tx
                .conn
                .prepare_cached(
                    "UPDATE objects SET state = 'sent', sent = ?3, due = NULL, fields = '{}'
                     WHERE seq = ?1 AND version = ?2 AND state = 'due'",
                )?
                .execute((at.0, at.1, sent.as_bytes()))?;
            tx.count("objects_sent", ended as i64);
        }
        ObjectEnd::Dead(cause) => {
            let dead = tx
                .conn
                .prepare_cached(
                    "UPDATE objects SET state = 'dead', due = NULL
                     WHERE seq = ?1 AND version = ?2 AND state = 'due'",
                )?
                .execute(at)?;
            if dead > 0 {
                let key = format!("{}:{}", object.kind, object.id);
                dead_letters::bury_other(tx, ids, (TASK, &key), cause, object.attempts + 1, now)?;
            }
        }
        ObjectEnd::Retry { at: due, counts } => {
            tx.conn
                .prepare_cached(
                    "UPDATE objects SET due = ?3,
                         attempts = CASE WHEN ?4 THEN attempts + 1 ELSE attempts END,
                         failing_since = CASE WHEN ?4 THEN coalesce(failing_since, ?5) ELSE failing_since END
                     WHERE seq = ?1 AND version = ?2 AND state = 'due'",
                )?
                .execute((at.0, at.1, due.seconds(), counts, now.seconds()))?;
        }
    }
    Ok(())
}

/// Makes the object of a dead letter due again.
pub(super) fn revive(tx: &Tx<'_>, ids: &Ids, key: &str, now: Timestamp) -> Result<(), StoreError> {
    let Some((kind, id)) = key.split_once(':') else { return Ok(()) };
    tx.conn
        .prepare_cached(
            "UPDATE objects SET state = 'due', due = ?4, attempts = 0, failing_since = NULL
             WHERE workspace = ?1 AND kind = ?2 AND id = ?3 AND state = 'dead'",
        )?
        .execute((ids.workspace(), kind, id, now.seconds()))?;
    Ok(())
}

/// Forgets an object that an operator dropped. Asked for as it is, it is sent.
pub(super) fn drop_dead(tx: &Tx<'_>, ids: &Ids, key: &str) -> Result<(), StoreError> {
    let Some((kind, id)) = key.split_once(':') else { return Ok(()) };
    tx.conn
        .prepare_cached(
            "DELETE FROM objects WHERE workspace = ?1 AND kind = ?2 AND id = ?3 AND state = 'dead'",
        )?
        .execute((ids.workspace(), kind, id))?;
    Ok(())
}
