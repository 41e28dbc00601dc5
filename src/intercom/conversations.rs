//! Conversations: read by pages, and everything that an admin or a contact may do in one.

use serde_json::{Map, Value, json};

use super::client::{Answer, IntercomClient, malformed};
use super::course;
use super::error::IntercomError;
use super::page::{Cursor, Page, next_cursor};
use super::reads::{rows, tag, total, usable};
use crate::http::Lane;
use crate::model::{RecordId, Snapshot, Source, Timestamp};

const PER_PAGE: u32 = 150;

/// Who says something in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice<'a> {
    /// An admin, to the contact.
    Admin(&'a RecordId),
    /// An admin, to other admins only.
    Note(&'a RecordId),
    /// A contact that takes part.
    Contact(&'a RecordId),
}

/// What an admin does with a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Management<'a> {
    /// Closes it, perhaps with a last word.
    Close(Option<&'a str>),
    /// Opens it again.
    Open,
    /// Hides it until then; it stays open.
    Snooze(Timestamp),
    /// Gives it to an admin.
    AssignAdmin(&'a RecordId),
    /// Gives it to a team.
    AssignTeam(&'a RecordId),
    /// Takes it from whoever has it.
    Unassign,
}

/// Reads and writes fail as [`IntercomError`] says. A write whose outcome is unknown is not repeated.
impl IntercomClient {
    /// A page of 150 conversations, newest first; the first one without a cursor.
    ///
    /// # Errors
    ///
    /// See [`IntercomError`]; this holds for all calls below.
    pub async fn conversations_page(
        &self,
        lane: Lane,
        cursor: Option<&Cursor>,
    ) -> Result<Page, IntercomError> {
        const ROUTE: &str = "/conversations";
        let mut query = vec![("per_page", PER_PAGE.to_string())];
        query.extend(cursor.map(|cursor| ("starting_after", cursor.to_string())));
        let answer = self.get(lane, &["conversations"], &query, ROUTE).await?;
        page(&answer, cursor, ROUTE)
    }

    /// A page of 150 conversations that were updated in the second of `since` or later, newest first.
    /// Search lags by minutes, so the caller asks for more than it lacks.
    pub async fn conversations_search_page(
        &self,
        lane: Lane,
        since: Timestamp,
        cursor: Option<&Cursor>,
    ) -> Result<Page, IntercomError> {
        // Of `>` some say that it includes its value, so the second before is asked for, and what is
        // too old is cut off.
        let after = since.plus(-1).max(Timestamp::EPOCH);
        let query = json!({ "field": "updated_at", "operator": ">", "value": after });
        let mut page = self.conversations_found(lane, &query, cursor).await?;
        page.snapshots.retain(|snapshot| snapshot.version.at >= since);
        Ok(page)
    }

    /// A page of 150 conversations that a contact takes part in, newest first.
    pub async fn conversations_of(
        &self,
        lane: Lane,
        contact: &RecordId,
        cursor: Option<&Cursor>,
    ) -> Result<Page, IntercomError> {
        let query = json!({ "field": "contact_ids", "operator": "=", "value": contact });
        self.conversations_found(lane, &query, cursor).await
    }

    /// A page of 150 conversations that a query of Intercom's search finds, newest first.
    pub async fn conversations_found(
        &self,
        lane: Lane,
        query: &Value,
        cursor: Option<&Cursor>,
    ) -> Result<Page, IntercomError> {
        const ROUTE: &str = "/conversations/search";
        let answer =
            self.search(lane, &["conversations", "search"], ROUTE, query, PER_PAGE, cursor).await?;
        page(&answer, cursor, ROUTE)
    }

    /// One conversation as it is now, with its newest 500 parts. One call.
    pub async fn conversation(&self, lane: Lane, id: &RecordId) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/conversations/{id}";
        let answer = self.get(lane, &["conversations", id.as_str()], &[], ROUTE).await?;
        one(&answer, ROUTE)
    }

    /// A contact begins a conversation; answers its id.
    pub async fn create_conversation(
        &self,
        lane: Lane,
        contact: &RecordId,
        body: &str,
    ) -> Result<RecordId, IntercomError> {
        const ROUTE: &str = "/conversations";
        // `contact` covers users and leads.
        let body = json!({ "from": { "type": "contact", "id": contact }, "body": body });
        let answer = self.post(lane, &["conversations"], &body, ROUTE).await?;
        let id = answer.value.get("conversation_id").and_then(Value::as_str);
        let id = id.and_then(|id| id.parse().ok());
        id.ok_or(malformed(ROUTE, "it names no conversation"))
    }

    /// Says something in a conversation, which is as it is then.
    pub async fn reply(
        &self,
        lane: Lane,
        id: &RecordId,
        voice: Voice<'_>,
        body: &str,
    ) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/conversations/{id}/reply";
        let body = match voice {
            Voice::Admin(admin) => json!({
                "message_type": "comment", "type": "admin", "admin_id": admin, "body": body,
            }),
            Voice::Note(admin) => json!({
                "message_type": "note", "type": "admin", "admin_id": admin, "body": body,
            }),
            Voice::Contact(contact) => json!({
                "message_type": "comment", "type": "user", "intercom_user_id": contact,
                "body": body,
            }),
        };
        let path = ["conversations", id.as_str(), "reply"];
        one(&self.post(lane, &path, &body, ROUTE).await?, ROUTE)
    }

    /// Closes, opens, snoozes or assigns a conversation for an admin.
    pub async fn manage_conversation(
        &self,
        lane: Lane,
        id: &RecordId,
        admin: &RecordId,
        what: Management<'_>,
    ) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/conversations/{id}/parts";
        let assigned = |kind: &str, to: &str| {
            json!({
                "message_type": "assignment", "type": kind, "admin_id": admin, "assignee_id": to,
            })
        };
        let body = match what {
            Management::Close(last_word) => {
                let mut body =
                    json!({ "message_type": "close", "type": "admin", "admin_id": admin });
                if let (Some(text), Some(fields)) = (last_word, body.as_object_mut()) {
                    fields.insert("body".to_owned(), Value::from(text));
                }
                body
            }
            Management::Open => json!({ "message_type": "open", "admin_id": admin }),
            Management::Snooze(until) => json!({
                "message_type": "snoozed", "admin_id": admin, "snoozed_until": until,
            }),
            Management::AssignAdmin(to) => assigned("admin", to.as_str()),
            Management::AssignTeam(to) => assigned("team", to.as_str()),
            Management::Unassign => assigned("admin", "0"),
        };
        let path = ["conversations", id.as_str(), "parts"];
        one(&self.post(lane, &path, &body, ROUTE).await?, ROUTE)
    }

    /// Sets whether a conversation is read, and custom attributes of it.
    pub async fn update_conversation(
        &self,
        lane: Lane,
        id: &RecordId,
        read: Option<bool>,
        attributes: &Map<String, Value>,
    ) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/conversations/{id}";
        let mut body = Map::new();
        if let Some(read) = read {
            body.insert("read".to_owned(), Value::Bool(read));
        }
        if !attributes.is_empty() {
            body.insert("custom_attributes".to_owned(), Value::Object(attributes.clone()));
        }
        let path = ["conversations", id.as_str()];
        one(&self.put(lane, &path, &Value::Object(body), ROUTE).await?, ROUTE)
    }

    /// Tags a conversation for an admin; again is no change.
    pub async fn tag_conversation(
        &self,
        lane: Lane,
        id: &RecordId,
        tag_id: &RecordId,
        admin: &RecordId,
    ) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/conversations/{id}/tags";
        let body = json!({ "id": tag_id, "admin_id": admin });
        let path = ["conversations", id.as_str(), "tags"];
        let answer = self.post(lane, &path, &body, ROUTE).await?;
        tag(&answer.value, &answer).ok_or(malformed(ROUTE, "it is no tag with an id"))
    }

    /// Takes a tag from a conversation for an admin.
    pub async fn untag_conversation(
        &self,
        lane: Lane,
        id: &RecordId,
        tag_id: &RecordId,
        admin: &RecordId,
    ) -> Result<(), IntercomError> {
        const ROUTE: &str = "/conversations/{id}/tags/{id}";
        let path = ["conversations", id.as_str(), "tags", tag_id.as_str()];
        self.delete(lane, &path, Some(&json!({ "admin_id": admin })), ROUTE).await
    }

    /// Lets a contact take part in a conversation.
    pub async fn add_participant(
        &self,
        lane: Lane,
        id: &RecordId,
        contact: &RecordId,
        admin: &RecordId,
    ) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/conversations/{id}/customers";
        let body = json!({ "admin_id": admin, "customer": { "intercom_user_id": contact } });
        let path = ["conversations", id.as_str(), "customers"];
        one(&self.post(lane, &path, &body, ROUTE).await?, ROUTE)
    }

    /// Lets a contact take part in a conversation no more.
    pub async fn remove_participant(
        &self,
        lane: Lane,
        id: &RecordId,
        contact: &RecordId,
        admin: &RecordId,
    ) -> Result<(), IntercomError> {
        const ROUTE: &str = "/conversations/{id}/customers/{id}";
        let path = ["conversations", id.as_str(), "customers", contact.as_str()];
        self.delete(lane, &path, Some(&json!({ "admin_id": admin })), ROUTE).await
    }
}

fn page(
    answer: &Answer,
    current: Option<&Cursor>,
    route: &'static str,
) -> Result<Page, IntercomError> {
    let rows = rows(answer, &["conversations", "data"], route)?;
    let (snapshots, unusable) = usable(rows, |row| conversation(row, answer));
    let next = next_cursor(&answer.value);
    if next.is_some() && next.as_ref() == current {
        return Err(malformed(route, "its next page is the same page"));
    }
    Ok(Page { snapshots, next, total: total(&answer.value), unusable })
}

fn one(answer: &Answer, route: &'static str) -> Result<Snapshot, IntercomError> {
    let found = conversation(&answer.value, answer);
    found.ok_or(malformed(route, "it is no conversation with an id"))
}

fn conversation(row: &Value, answer: &Answer) -> Option<Snapshot> {
    let source = Source::Read { began: answer.began };
    course::conversation(row, source, answer.began, answer.received, None)
}
