//! What can be done to a company, and who belongs to it.

use serde_json::{Map, Value, json};

use super::client::{Answer, IntercomClient, malformed};
use super::error::IntercomError;
use super::normalize;
use super::page::{CompanyPage, next_number};
use super::reads::{company, contact, rows, total, usable};
use crate::http::Lane;
use crate::model::{RecordId, Snapshot};

const CONTACTS_PER_PAGE: u32 = 150;

/// Calls fail as [`IntercomError`] says. A write whose outcome is unknown is not repeated unless it says
/// how things should be.
impl IntercomClient {
    /// Makes a company of `fields` or, where one has their `company_id`, updates that.
    ///
    /// # Errors
    ///
    /// See [`IntercomError`]; this holds for all calls below.
    pub async fn create_or_update_company(
        &self,
        lane: Lane,
        fields: &Map<String, Value>,
    ) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/companies";
        let answer = self.post(lane, &["companies"], &json!(fields), ROUTE).await?;
        one(&answer, ROUTE)
    }

    /// Sets fields of a company.
    pub async fn update_company(
        &self,
        lane: Lane,
        id: &RecordId,
        fields: &Map<String, Value>,
    ) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/companies/{id}";
        let answer = self.put(lane, &["companies", id.as_str()], &json!(fields), ROUTE).await?;
        one(&answer, ROUTE)
    }

    /// The company that the customer knows by this id. One call.
    pub async fn company_with_company_id(
        &self,
        lane: Lane,
        company_id: &str,
    ) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/companies";
        let query = [("company_id", company_id.to_owned())];
        let answer = self.get(lane, &["companies"], &query, ROUTE).await?;
        one(&answer, ROUTE)
    }

    /// Deletes a company, which Intercom takes its time for, and takes it from its contacts.
    pub async fn delete_company(&self, lane: Lane, id: &RecordId) -> Result<(), IntercomError> {
        self.delete(lane, &["companies", id.as_str()], None, "/companies/{id}").await
    }

    /// A page of 150 contacts of a company by number, from 1.
    pub async fn company_contacts_page(
        &self,
        lane: Lane,
        id: &RecordId,
        page: u32,
    ) -> Result<CompanyPage, IntercomError> {
        const ROUTE: &str = "/companies/{id}/contacts";
        let query = [("page", page.to_string()), ("per_page", CONTACTS_PER_PAGE.to_string())];
        let path = ["companies", id.as_str(), "contacts"];
        let answer = self.get(lane, &path, &query, ROUTE).await?;
        let rows = rows(&answer, &["data", "contacts"], ROUTE)?;
        let (snapshots, unusable) = usable(rows, |row| contact(row, &answer));
        let next = next_number(&answer.value, page).filter(|_| !rows.is_empty());
        Ok(CompanyPage { snapshots, next, total: total(&answer.value), unusable })
    }

    /// The ids of the segments that a company is in. One call.
    pub async fn company_segments(
        &self,
        lane: Lane,
        id: &RecordId,
    ) -> Result<Vec<RecordId>, IntercomError> {
        const ROUTE: &str = "/companies/{id}/segments";
        let path = ["companies", id.as_str(), "segments"];
        let answer = self.get(lane, &path, &[], ROUTE).await?;
        let rows = rows(&answer, &["data", "segments"], ROUTE)?;
        Ok(rows.iter().filter_map(normalize::id_of).collect())
    }
}

fn one(answer: &Answer, route: &'static str) -> Result<Snapshot, IntercomError> {
    company(&answer.value, answer).ok_or(malformed(route, "it is no company with an id"))
}
