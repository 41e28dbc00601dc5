//! What bears a tag, for the day on which the tag gets another name.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::work::{self, Because, Dirt};
use super::writer::Tx;
use super::{Ids, conversations, records};
use crate::model::{
    ConversationOutline, RecordId, RecordKey, RecordKind, Timestamp, canonical_json,
};
use crate::store::{Priority, StoreError, Task, WorkKey};

/// How many records are looked at in one read.
const LOOKED_AT: usize = 1_000;

/// Some of what bears a tag.
pub(super) struct Page {
    kind: RecordKind,
    bearers: Vec<RecordId>,
    /// From where the next page goes on; none: this was the last.
    pub(super) next: Option<String>,
}

/// What bears tags, in the order in which it is looked through: a company's contacts, which derive
/// from it, come last.
const BEARERS: [RecordKind; 3] =
    [RecordKind::Conversation, RecordKind::Contact, RecordKind::Company];

/// Looks through a page of one kind, from the cursor on. No index says who bears what: names of tags
/// change too seldom for one.
pub(super) fn page(
    conn: &Connection,
    ids: &Ids,
    tag: &RecordId,
    cursor: Option<&str>,
) -> Result<Page, StoreError> {
    let (kind, after) = cursor.and_then(|cursor| cursor.split_once('/')).unwrap_or_default();
    let [first, ..] = BEARERS;
    let kind = kind.parse().unwrap_or(first);
    let sql = match kind {
        RecordKind::Contact => {
            "SELECT id, EXISTS (SELECT 1 FROM json_each(body, '$.tags.ids') WHERE value = ?2)
                 OR EXISTS (SELECT 1 FROM json_each(coalesce(sublists, '{}'), '$.tags') WHERE value = ?2)
             FROM records WHERE workspace = ?1 AND kind = 'contact' AND id > ?3 ORDER BY id LIMIT ?4"
        }
        RecordKind::Company => {
            "SELECT id, EXISTS (SELECT 1 FROM json_each(body, '$.tags.ids') WHERE value = ?2)
             FROM records WHERE workspace = ?1 AND kind = 'company' AND id > ?3 ORDER BY id LIMIT ?4"
        }
        _ => {
            "SELECT id, EXISTS (SELECT 1 FROM json_each(body, '$.tags')
                 WHERE CASE WHEN type = 'object' THEN value ->> 'id' = ?2 ELSE 0 END)
             FROM records WHERE workspace = ?1 AND kind = 'conversation' AND id > ?3 ORDER BY id LIMIT ?4"
        }
    };
    let mut statement = conn.prepare_cached(sql)?;
    let found: Vec<(RecordId, bool)> = statement
        .query_map((ids.workspace(), tag.as_str(), after, LOOKED_AT as i64), |row| {
            Ok((super::parsed(row, 0)?, row.get::<_, bool>(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let next = match found.last() {
        Some((last, _)) if found.len() >= LOOKED_AT => Some(format!("{}/{last}", kind.as_str())),
        _ => {
            let following = BEARERS.iter().skip_while(|one| **one != kind).nth(1);
            following.map(|kind| format!("{}/", kind.as_str()))
        }
    };
    let bearers = found.into_iter().filter(|(_, bears)| *bears).map(|(id, _)| id).collect();
    Ok(Page { kind, bearers, next })
}

/// Makes dirty what bears a tag whose name is another now.
pub(super) fn spread(
    tx: &Tx<'_>,
    ids: &Ids,
    tag: &RecordId,
    page: &Page,
    because: Because,
    now: Timestamp,
) -> Result<(), StoreError> {
    let dirt = Dirt::again(Priority::Bulk, now).because(because);
    let deriving: &[Task] = match page.kind {
        RecordKind::Contact => &[Task::Contact],
        RecordKind::Company => &[Task::Company, Task::Members],
        _ => return rename_in_conversations(tx, ids, tag, page, dirt),
    };
    for id in &page.bearers {
        for task in deriving {
            work::dirty(tx, ids, &WorkKey { task: *task, id: id.clone() }, dirt)?;
        }
    }
    Ok(())
}

/// The same of conversations, which are stored with the names of their tags.
fn rename_in_conversations(
    tx: &Tx<'_>,
    ids: &Ids,
    tag: &RecordId,
    page: &Page,
    dirt: Dirt,
) -> Result<(), StoreError> {
    let known = records::record(tx.conn, ids, &RecordKey::tag(tag.clone()))?;
    let Some(name) = known.as_ref().and_then(|tag| tag.body.get("name")?.as_str()) else {
        return Ok(());
    };
    for id in &page.bearers {
        if rename(tx, ids, id, tag, name)? {
            let key = WorkKey { task: Task::Conversation, id: id.clone() };
            work::dirty(tx, ids, &key, dirt)?;
            conversations::dirty_participants(tx, ids, id, dirt)?;
        }
    }
    Ok(())
}

/// Gives a tag its name in a conversation, which shows names as of its last change; false if it has it.
/// The version stays that of Intercom's snapshot, so that the next one replaces it as ever.
fn rename(
    tx: &Tx<'_>,
    ids: &Ids,
    conversation: &RecordId,
    tag: &RecordId,
    name: &str,
) -> Result<bool, StoreError> {
    let key = RecordKey::conversation(conversation.clone());
    let Some(mut record) = records::record(tx.conn, ids, &key)? else { return Ok(false) };
    let mut is_renamed = false;
    let tags = record.body.get_mut("tags").and_then(Value::as_array_mut);
    for one in tags.into_iter().flatten().filter_map(Value::as_object_mut) {
        let is_meant = one.get("id").and_then(Value::as_str) == Some(tag.as_str());
        if is_meant && one.get("name").and_then(Value::as_str) != Some(name) {
            one.insert("name".to_owned(), json!(name));
            is_renamed = true;
        }
    }
    if !is_renamed || !record.liveness.is_live() {
        return Ok(false);
    }
    tx.conn
        .prepare_cached(
            "UPDATE records SET body = ?3
             WHERE workspace = ?1 AND kind = 'conversation' AND id = ?2",
        )?
        .execute((ids.workspace(), conversation.as_str(), canonical_json(&record.body)))?;
    let outline = serde_json::to_string(&ConversationOutline::of(&record.body))?;
    conversations::put_participants(tx, ids, conversation, None, &outline)?;
    Ok(true)
}
