//! What can be done to a contact.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::client::{Answer, IntercomClient, malformed};
use super::error::IntercomError;
use super::normalize;
use super::reads::{contact, rows, tag};
use crate::http::Lane;
use crate::model::{RecordId, Snapshot};

/// Whether somebody wants a kind of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Wants them.
    OptIn,
    /// Does not.
    OptOut,
}

/// Writes fail as [`IntercomError`] says; one whose outcome is unknown is not repeated unless it says
/// how things should be, rather than what should happen.
impl IntercomClient {
    /// Makes a contact of `fields`, of which one is `email`, `external_id` or `role`.
    ///
    /// # Errors
    ///
    /// See [`IntercomError`]; this holds for all calls below. [`IntercomError::AlreadyExists`] names the
    /// contact that has this address or `external_id`.
    pub async fn create_contact(
        &self,
        lane: Lane,
        fields: &Map<String, Value>,
    ) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/contacts";
        let answer = self.post(lane, &["contacts"], &json!(fields), ROUTE).await?;
        one(&answer, ROUTE)
    }

    /// Sets fields of a contact; `null` clears one.
    pub async fn update_contact(
        &self,
        lane: Lane,
        id: &RecordId,
        fields: &Map<String, Value>,
    ) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/contacts/{id}";
        let answer = self.put(lane, &["contacts", id.as_str()], &json!(fields), ROUTE).await?;
        one(&answer, ROUTE)
    }

    /// Hides a contact, which can come back.
    pub async fn archive_contact(&self, lane: Lane, id: &RecordId) -> Result<(), IntercomError> {
        let path = ["contacts", id.as_str(), "archive"];
        self.effect(lane, Method::POST, &path, None, "/contacts/{id}/archive").await
    }

    /// Brings an archived contact back.
    pub async fn unarchive_contact(&self, lane: Lane, id: &RecordId) -> Result<(), IntercomError> {
        let path = ["contacts", id.as_str(), "unarchive"];
        self.effect(lane, Method::POST, &path, None, "/contacts/{id}/unarchive").await
    }

    /// Deletes a contact for good.
    pub async fn delete_contact(&self, lane: Lane, id: &RecordId) -> Result<(), IntercomError> {
        self.delete(lane, &["contacts", id.as_str()], None, "/contacts/{id}").await
    }

    /// Merges the lead `from` into the user `into`, which is as it is then.
    pub async fn merge_contacts(
        &self,
        lane: Lane,
        from: &RecordId,
        into: &RecordId,
    ) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/contacts/merge";
        let body = json!({ "from": from, "into": into });
        one(&self.post(lane, &["contacts", "merge"], &body, ROUTE).await?, ROUTE)
    }

    /// Tags a contact; again is no change.
    pub async fn tag_contact(
        &self,
        lane: Lane,
        id: &RecordId,
        tag_id: &RecordId,
    ) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/contacts/{id}/tags";
        let path = ["contacts", id.as_str(), "tags"];
        let answer = self.post(lane, &path, &json!({ "id": tag_id }), ROUTE).await?;
        tag(&answer.value, &answer).ok_or(malformed(ROUTE, "it is no tag with an id"))
    }

    /// Takes a tag from a contact.
    pub async fn untag_contact(
        &self,
        lane: Lane,
        id: &RecordId,
        tag_id: &RecordId,
    ) -> Result<(), IntercomError> {
        let path = ["contacts", id.as_str(), "tags", tag_id.as_str()];
        self.delete(lane, &path, None, "/contacts/{id}/tags/{id}").await
    }

    /// Adds a company to a contact; again is no change.
    pub async fn attach_company(
        &self,
        lane: Lane,
        id: &RecordId,
        company: &RecordId,
    ) -> Result<(), IntercomError> {
        let path = ["contacts", id.as_str(), "companies"];
        let body = json!({ "id": company });
        self.effect(lane, Method::POST, &path, Some(&body), "/contacts/{id}/companies").await
    }

    /// Takes a company from a contact.
    pub async fn detach_company(
        &self,
        lane: Lane,
        id: &RecordId,
        company: &RecordId,
    ) -> Result<(), IntercomError> {
        let path = ["contacts", id.as_str(), "companies", company.as_str()];
        self.delete(lane, &path, None, "/contacts/{id}/companies/{id}").await
    }

    /// The ids of the kinds of messages that a contact decided on itself. One call.
    pub async fn contact_subscriptions(
        &self,
        lane: Lane,
        id: &RecordId,
    ) -> Result<Vec<RecordId>, IntercomError> {
        self.contact_list(lane, id, "subscriptions", "/contacts/{id}/subscriptions").await
    }

    /// The ids of the segments that a contact is in. One call.
    pub async fn contact_segments(
        &self,
        lane: Lane,
        id: &RecordId,
    ) -> Result<Vec<RecordId>, IntercomError> {
        self.contact_list(lane, id, "segments", "/contacts/{id}/segments").await
    }

    async fn contact_list(
        &self,
        lane: Lane,
        id: &RecordId,
        what: &str,
        route: &'static str,
    ) -> Result<Vec<RecordId>, IntercomError> {
        let answer = self.get(lane, &["contacts", id.as_str(), what], &[], route).await?;
        let rows = rows(&answer, &["data", what], route)?;
        Ok(rows.iter().filter_map(normalize::id_of).collect())
    }

    /// Says whether a contact wants a kind of messages.
    pub async fn set_subscription(
        &self,
        lane: Lane,
        id: &RecordId,
        subscription: &RecordId,
        consent: Consent,
    ) -> Result<(), IntercomError> {
        let consent = match consent {
            Consent::OptIn => "opt_in",
            Consent::OptOut => "opt_out",
        };
        let body = json!({ "id": subscription, "consent_type": consent });
        let path = ["contacts", id.as_str(), "subscriptions"];
        self.effect(lane, Method::POST, &path, Some(&body), "/contacts/{id}/subscriptions").await
    }

    /// Takes back what a contact decided on a kind of messages: its default holds again.
    pub async fn forget_subscription(
        &self,
        lane: Lane,
        id: &RecordId,
        subscription: &RecordId,
    ) -> Result<(), IntercomError> {
        let path = ["contacts", id.as_str(), "subscriptions", subscription.as_str()];
        self.delete(lane, &path, None, "/contacts/{id}/subscriptions/{id}").await
    }

    /// Writes a note about a contact for an admin; answers the note's id.
    pub async fn note_contact(
        &self,
        lane: Lane,
        id: &RecordId,
        admin: &RecordId,
        body: &str,
    ) -> Result<RecordId, IntercomError> {
        const ROUTE: &str = "/contacts/{id}/notes";
        let body = json!({ "body": body, "admin_id": admin });
        let path = ["contacts", id.as_str(), "notes"];
        let answer = self.post(lane, &path, &body, ROUTE).await?;
        normalize::id_of(&answer.value).ok_or(malformed(ROUTE, "it is no note with an id"))
    }

    /// The bodies of the notes about a contact, as HTML, newest first: at most the first page of 150.
    pub async fn contact_notes(
        &self,
        lane: Lane,
        id: &RecordId,
    ) -> Result<Vec<String>, IntercomError> {
        const ROUTE: &str = "/contacts/{id}/notes";
        let query = [("per_page", "150".to_owned())];
        let answer = self.get(lane, &["contacts", id.as_str(), "notes"], &query, ROUTE).await?;
        let rows = rows(&answer, &["data", "notes"], ROUTE)?;
        let body = |row: &Value| Some(row.get("body")?.as_str()?.to_owned());
        Ok(rows.iter().filter_map(body).collect())
    }
}

fn one(answer: &Answer, route: &'static str) -> Result<Snapshot, IntercomError> {
    contact(&answer.value, answer).ok_or(malformed(route, "it is no contact with an id"))
}
