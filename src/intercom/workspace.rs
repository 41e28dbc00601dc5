//! What a workspace has of its own: tags, segments, kinds of messages, admins.

use serde_json::{Value, json};

use super::client::{IntercomClient, malformed};
use super::error::IntercomError;
use super::normalize;
use super::reads::{rows, tag};
use crate::http::Lane;
use crate::model::{RecordId, Snapshot};

/// A saved selection of people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its id.
    pub id: RecordId,
    /// Its name.
    pub name: String,
    /// How many are in it, if that was asked for.
    pub count: Option<u64>,
}

/// A kind of messages that people opt into or out of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionType {
    /// Its id.
    pub id: RecordId,
    /// Its name in the workspace's language.
    pub name: String,
    /// True if nobody gets it who did not ask for it.
    pub is_opt_in: bool,
}

/// Somebody who works in the workspace, or Fin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Its id.
    pub id: RecordId,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its address, if it has one.
    pub email: Option<String>,
}

/// Calls fail as [`IntercomError`] says. A write whose outcome is unknown is not repeated.
impl IntercomClient {
    /// The tag with a name, made if there is none; case does not matter.
    ///
    /// # Errors
    ///
    /// See [`IntercomError`]; this holds for all calls below.
    pub async fn create_tag(&self, lane: Lane, name: &str) -> Result<Snapshot, IntercomError> {
        self.write_tag(lane, &json!({ "name": name })).await
    }

    /// Gives a tag another name.
    pub async fn rename_tag(
        &self,
        lane: Lane,
        id: &RecordId,
        name: &str,
    ) -> Result<Snapshot, IntercomError> {
        self.write_tag(lane, &json!({ "id": id, "name": name })).await
    }

    /// Puts the tag with a name on companies, making it if there is none.
    pub async fn tag_companies(
        &self,
        lane: Lane,
        name: &str,
        companies: &[RecordId],
    ) -> Result<Snapshot, IntercomError> {
        let companies: Vec<Value> = companies.iter().map(|id| json!({ "id": id })).collect();
        self.write_tag(lane, &json!({ "name": name, "companies": companies })).await
    }

    /// Takes the tag with a name from companies.
    pub async fn untag_companies(
        &self,
        lane: Lane,
        name: &str,
        companies: &[RecordId],
    ) -> Result<Snapshot, IntercomError> {
        let companies: Vec<Value> =
            companies.iter().map(|id| json!({ "id": id, "untag": true })).collect();
        self.write_tag(lane, &json!({ "name": name, "companies": companies })).await
    }

    async fn write_tag(&self, lane: Lane, body: &Value) -> Result<Snapshot, IntercomError> {
        let answer = self.post(lane, &["tags"], body, "/tags").await?;
        tag(&answer.value, &answer).ok_or(malformed("/tags", "it is no tag with an id"))
    }

    /// Deletes a tag that nothing depends on.
    pub async fn delete_tag(&self, lane: Lane, id: &RecordId) -> Result<(), IntercomError> {
        self.delete(lane, &["tags", id.as_str()], None, "/tags/{id}").await
    }

    /// All segments with how many are in each. One call.
    pub async fn segments(&self, lane: Lane) -> Result<Vec<Segment>, IntercomError> {
        let query = [("include_count", "true".to_owned())];
        let answer = self.get(lane, &["segments"], &query, "/segments").await?;
        let rows = rows(&answer, &["segments", "data"], "/segments")?;
        let segment = |row: &Value| {
            Some(Segment {
                id: normalize::id_of(row)?,
                name: text(row, "name")?,
                count: row.get("count").and_then(Value::as_u64),
            })
        };
        Ok(rows.iter().filter_map(segment).collect())
    }

    /// All kinds of messages. One call.
    pub async fn subscription_types(
        &self,
        lane: Lane,
    ) -> Result<Vec<SubscriptionType>, IntercomError> {
        const ROUTE: &str = "/subscription_types";
        let answer = self.get(lane, &["subscription_types"], &[], ROUTE).await?;
        let rows = rows(&answer, &["data", "subscription_types"], ROUTE)?;
        let kind = |row: &Value| {
            let translation = row.get("default_translation");
            Some(SubscriptionType {
                id: normalize::id_of(row)?,
                name: translation.and_then(|translation| text(translation, "name"))?,
                is_opt_in: text(row, "consent_type").as_deref() == Some("opt_in"),
            })
        };
        Ok(rows.iter().filter_map(kind).collect())
    }

    /// Everybody who works in the workspace, and Fin. One call.
    pub async fn admins(&self, lane: Lane) -> Result<Vec<Admin>, IntercomError> {
        let answer = self.get(lane, &["admins"], &[], "/admins").await?;
        let rows = rows(&answer, &["admins", "data"], "/admins")?;
        let admin = |row: &Value| {
            let id = normalize::id_of(row)?;
            Some(Admin { id, name: text(row, "name"), email: text(row, "email") })
        };
        Ok(rows.iter().filter_map(admin).collect())
    }
}

fn text(row: &Value, key: &str) -> Option<String> {
    row.get(key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}
