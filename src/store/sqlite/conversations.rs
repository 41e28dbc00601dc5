//! Conversations: who takes part, what happened, and what a contact's counts need.

use rusqlite::Connection;

use super::Ids;
use super::records::Prepared;
use super::work::{self, Dirt};
use super::writer::Tx;
use crate::model::{
    ConversationOutline, Gathered, RecordId, RecordKey, Timestamp, Transition, TransitionKind,
    concluded, gather,
};
use crate::store::{Conversations, StoreError, Task, WorkKey};

/// How many conversations of a contact are loaded in full, the newest; the counts are of all.
const LOADED: usize = 100;

/// What the newest snapshot of a conversation says of its state.
pub(super) struct Stands {
    pub(super) state: Option<String>,
    pub(super) at: Timestamp,
}

/// Takes up what a delivery tells of the course of a conversation, however stale it is. `before` is the
/// version that was stored, `stands` the newest state. True if something of it is new.
pub(super) fn gather_course(
    tx: &Tx<'_>,
    ids: &Ids,
    conversation: &RecordId,
    told: &[Transition],
    before: Option<Timestamp>,
    stands: &Stands,
) -> Result<bool, StoreError> {
    let mut known = course(tx.conn, ids, conversation)?;
    let mut is_new = false;
    let take = |known: &mut Vec<Transition>, one: Transition| -> Result<bool, StoreError> {
        Ok(match gather(known, one) {
            Gathered::Known => false,
            Gathered::Confirmed(index) => {
                put(tx, ids, conversation, known, index)?;
                false
            }
            Gathered::Added => {
                put(tx, ids, conversation, known, known.len() - 1)?;
                true
            }
        })
    };
    for one in told {
        is_new |= take(&mut known, timed(one.clone(), before))?;
    }
    if let Some(state) = &stands.state
        && let Some(one) = concluded(&known, state, stands.at)
    {
        is_new |= take(&mut known, one)?;
    }
    Ok(is_new)
}

/// A rating or an outcome that was not there at the version before came after it.
fn timed(one: Transition, before: Option<Timestamp>) -> Transition {
    let is_wide = matches!(one.kind, TransitionKind::Rated | TransitionKind::AiRated);
    match before {
        Some(before) if is_wide && one.at <= before && one.until > before => {
            Transition { since: before, at: one.until, ..one }
        }
        _ => one,
    }
}

fn put(
    tx: &Tx<'_>,
    ids: &Ids,
    conversation: &RecordId,
    known: &[Transition],
    index: usize,
) -> Result<(), StoreError> {
    let Some(one) = known.get(index) else { return Ok(()) };
    let value = one.value.as_ref().map(serde_json::to_string).transpose()?;
    tx.conn
        .prepare_cached(
            "INSERT INTO transitions (workspace, conversation, seq, kind, at, since, until, part, by, value)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT DO UPDATE SET since = excluded.since, until = excluded.until,
                 part = excluded.part, by = excluded.by",
        )?
        .execute((
            ids.workspace(),
            conversation.as_str(),
            index as i64,
            one.kind.as_str(),
            one.at.seconds(),
            one.since.seconds(),
            one.until.seconds(),
            &one.part,
            &one.by,
            value,
        ))?;
    Ok(())
}

/// What is known to have happened to a conversation, in the order in which it became known.
pub(super) fn course(
    conn: &Connection,
    ids: &Ids,
    conversation: &RecordId,
) -> Result<Vec<Transition>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT kind, at, since, until, part, by, value FROM transitions
         WHERE workspace = ?1 AND conversation = ?2 ORDER BY seq",
    )?;
    let rows = statement.query_map((ids.workspace(), conversation.as_str()), |row| {
        let kind: String = row.get(0)?;
        let value: Option<String> = row.get(6)?;
        let time = |index| Ok::<_, rusqlite::Error>(Timestamp::from_seconds(row.get(index)?));
        Ok(Transition {
            // A kind that only a newer version knows is the least that it can be.
            kind: TransitionKind::from_text(&kind).unwrap_or(TransitionKind::Noted),
            at: time(1)?,
            since: time(2)?,
            until: time(3)?,
            part: row.get(4)?,
            by: row.get(5)?,
            value: value
                .as_deref()
                .map(serde_json::from_str)
                .transpose()
                .map_err(super::damaged)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Remembers who takes part in a conversation, and what their counts need of it. `contacts` is none if
/// the snapshot does not say who.
pub(super) fn put_participants(
    tx: &Tx<'_>,
    ids: &Ids,
    conversation: &RecordId,
    contacts: Option<&[RecordId]>,
    outline: &str,
) -> Result<(), StoreError> {
    let before = participants(tx.conn, ids, conversation)?;
    let contacts = contacts.unwrap_or(&before);
    for left in before.iter().filter(|contact| !contacts.contains(contact)) {
        tx.conn
            .prepare_cached(
                "DELETE FROM participants WHERE workspace = ?1 AND contact = ?2 AND conversation = ?3",
            )?
            .execute((ids.workspace(), left.as_str(), conversation.as_str()))?;
    }
    for contact in contacts {
        tx.conn
            .prepare_cached(
                "INSERT INTO participants (workspace, contact, conversation, outline)
                 VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET outline = excluded.outline",
            )?
            .execute((ids.workspace(), contact.as_str(), conversation.as_str(), outline))?;
    }
    Ok(())
}

/// The contacts that take part in a conversation.
pub(super) fn participants(
    conn: &Connection,
    ids: &Ids,
    conversation: &RecordId,
) -> Result<Vec<RecordId>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT contact FROM participants WHERE workspace = ?1 AND conversation = ?2 ORDER BY contact",
    )?;
    let rows = statement
        .query_map((ids.workspace(), conversation.as_str()), |row| super::parsed(row, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Stores what a new snapshot of a conversation means for others, and makes them dirty: those who take
/// part and those who took part.
pub(super) fn accept(
    tx: &Tx<'_>,
    ids: &Ids,
    prepared: &Prepared,
    dirt: Dirt,
) -> Result<(), StoreError> {
    let conversation = &prepared.snapshot.key.id;
    let mut concerned = participants(tx.conn, ids, conversation)?;
    if prepared.snapshot.liveness.is_live() {
        let contacts = prepared.conversation.contacts.as_deref();
        let outline = &prepared.conversation.outline;
        put_participants(tx, ids, conversation, contacts, outline)?;
        concerned.extend(contacts.into_iter().flatten().cloned());
    } else {
        put_participants(tx, ids, conversation, Some(&[]), "{}")?;
    }
    concerned.sort();
    concerned.dedup();
    dirty_contacts(tx, ids, concerned, dirt)
}

/// Makes those dirty who take part in a conversation.
pub(super) fn dirty_participants(
    tx: &Tx<'_>,
    ids: &Ids,
    conversation: &RecordId,
    dirt: Dirt,
) -> Result<(), StoreError> {
    let concerned = participants(tx.conn, ids, conversation)?;
    dirty_contacts(tx, ids, concerned, dirt)
}

fn dirty_contacts(
    tx: &Tx<'_>,
    ids: &Ids,
    contacts: Vec<RecordId>,
    dirt: Dirt,
) -> Result<(), StoreError> {
    for contact in contacts {
        // Of a contact that was never seen nothing can be derived; its first snapshot does it.
        if !super::records::exists(tx.conn, ids, &RecordKey::contact(contact.clone()))? {
            continue;
        }
        let key = WorkKey { task: Task::Contact, id: contact };
        work::dirty(tx, ids, &key, dirt.carrying(0))?;
    }
    Ok(())
}

/// The conversations of a contact: what all of them come to, and the newest in full.
pub(super) fn of_contact(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
) -> Result<Conversations, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT conversation, outline FROM participants WHERE workspace = ?1 AND contact = ?2",
    )?;
    let rows = statement.query_map((ids.workspace(), contact.as_str()), |row| {
        let outline: String = row.get(1)?;
        let outline: ConversationOutline =
            serde_json::from_str(&outline).map_err(super::damaged)?;
        Ok((super::parsed(row, 0)?, outline))
    })?;
    let mut found: Vec<(RecordId, ConversationOutline)> = rows.collect::<Result<_, _>>()?;
    found.sort_by(|(id, one), (other_id, other)| (other.updated, other_id).cmp(&(one.updated, id)));
    let mut newest = Vec::new();
    for (id, _) in found.iter().take(LOADED) {
        let key = RecordKey::conversation(id.clone());
        newest.extend(super::records::record(conn, ids, &key)?.map(|record| record.body));
    }
    Ok(Conversations { outlines: found.into_iter().map(|(_, outline)| outline).collect(), newest })
}
