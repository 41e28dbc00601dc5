//! What can be read of Intercom, as snapshots that say when their read began.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Answer, IntercomClient, Repeat, malformed};
use super::error::IntercomError;
use super::normalize::{self, Completeness};
use super::page::{CompanyPage, Cursor, Page, ScrollPage, next_cursor, next_number};
use super::wire::Me;
use crate::http::Lane;
use crate::model::{Email, Liveness, RecordId, RecordKey, Snapshot, Source, Timestamp};

/// Most contacts in a page.
const CONTACTS_PER_PAGE: u32 = 150;
/// Companies in a page of a list, as clients in the field ask for.
const COMPANIES_PER_PAGE: u32 = 60;
/// A contact has at most 1,000 companies, so more pages than this are a loop.
const MAX_COMPANY_PAGES: u32 = 100;

/// All reads wait for their turn and fail as [`IntercomError`] says.
impl IntercomClient {
    /// Whose token it is. One call.
    ///
    /// # Errors
    ///
    /// See [`IntercomError`]; this holds for all reads below.
    pub async fn me(&self, lane: Lane) -> Result<Me, IntercomError> {
        let answer = self.get(lane, &["me"], &[], "/me").await?;
        Me::parse(&answer.value).ok_or(malformed("/me", "it names no admin and workspace"))
    }

    /// A page of 150 contacts, newest first; the first one without a cursor.
    pub async fn contacts_page(
        &self,
        lane: Lane,
        cursor: Option<&Cursor>,
    ) -> Result<Page, IntercomError> {
        const ROUTE: &str = "/contacts";
        let mut query = vec![("per_page", CONTACTS_PER_PAGE.to_string())];
        query.extend(cursor.map(|cursor| ("starting_after", cursor.to_string())));
        let answer = self.get(lane, &["contacts"], &query, ROUTE).await?;
        contact_page(&answer, cursor, ROUTE)
    }

    /// A page of 150 contacts that were updated on the day of `since` or later, newest first: Intercom
    /// matches days of the workspace's zone only (facts: Intercom section 3.3), and lags by minutes,
    /// so the caller filters. Archived and merged contacts are not among them.
    pub async fn updated_contacts_page(
        &self,
        lane: Lane,
        since: Timestamp,
        cursor: Option<&Cursor>,
    ) -> Result<Page, IntercomError> {
        // `=` is the whole day that holds its value, in whatever zone, and `>` all days after it.
        let day = |operator: &str| json!({ "field": "updated_at", "operator": operator, "value": since.max(Timestamp::EPOCH) });
        let query = json!({ "operator": "OR", "value": [day("="), day(">")] });
        self.contacts_search_page(lane, &query, cursor).await
    }

    /// Contacts that have this id at the customer: one, as a rule, and none if it is archived or gone.
    pub async fn contacts_with_external_id(
        &self,
        lane: Lane,
        external_id: &str,
    ) -> Result<Vec<Snapshot>, IntercomError> {
        let query = json!({ "field": "external_id", "operator": "=", "value": external_id });
        Ok(self.contacts_search_page(lane, &query, None).await?.snapshots)
    }

    /// Contacts that have this address, archived ones aside.
    pub async fn contacts_with_email(
        &self,
        lane: Lane,
        email: &Email,
    ) -> Result<Vec<Snapshot>, IntercomError> {
        let query = json!({ "field": "email", "operator": "=", "value": email.as_str() });
        Ok(self.contacts_search_page(lane, &query, None).await?.snapshots)
    }

    /// The answer to a search, newest first.
    pub(super) async fn search(
        &self,
        lane: Lane,
        path: &[&str],
        route: &'static str,
        query: &Value,
        per_page: u32,
        cursor: Option<&Cursor>,
    ) -> Result<Answer, IntercomError> {
        let mut pagination = json!({ "per_page": per_page });
        if let (Some(cursor), Value::Object(fields)) = (cursor, &mut pagination) {
            fields.insert("starting_after".to_owned(), Value::from(cursor.as_str()));
        }
        let body = json!({
            "query": query,
            "pagination": pagination,
            "sort": { "field": "updated_at", "order": "descending" },
        });
        let request = self.request(Method::POST, path, &[], route)?;
        let request = request.body("application/json", body.to_string());
        self.call(lane, request, Repeat::Always).await
    }

    /// A page of 150 contacts that a query of Intercom's search finds, newest first.
    async fn contacts_search_page(
        &self,
        lane: Lane,
        query: &Value,
        cursor: Option<&Cursor>,
    ) -> Result<Page, IntercomError> {
        const ROUTE: &str = "/contacts/search";
        let answer = self
            .search(lane, &["contacts", "search"], ROUTE, query, CONTACTS_PER_PAGE, cursor)
            .await?;
        contact_page(&answer, cursor, ROUTE)
    }

    /// One contact as it is now: what decides where notifications cannot.
    ///
    /// [`IntercomError::NotFound`] means that it is deleted or merged, and names the survivor if known.
    pub async fn contact(&self, lane: Lane, id: &RecordId) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/contacts/{id}";
        let answer = self.get(lane, &["contacts", id.as_str()], &[], ROUTE).await?;
        contact(&answer.value, &answer).ok_or(malformed(ROUTE, "it is no contact with an id"))
    }

    /// All tags of the workspace, with their names. One call.
    pub async fn tags(&self, lane: Lane) -> Result<Vec<Snapshot>, IntercomError> {
        let answer = self.get(lane, &["tags"], &[], "/tags").await?;
        let rows = rows(&answer, &["data", "tags"], "/tags")?;
        Ok(rows.iter().filter_map(|row| tag(row, &answer)).collect())
    }

    /// All tags of a contact, for one whose snapshot shows only ten. One call.
    pub async fn contact_tags(
        &self,
        lane: Lane,
        id: &RecordId,
    ) -> Result<Vec<Snapshot>, IntercomError> {
        const ROUTE: &str = "/contacts/{id}/tags";
        let answer = self.get(lane, &["contacts", id.as_str(), "tags"], &[], ROUTE).await?;
        let rows = rows(&answer, &["data", "tags"], ROUTE)?;
        Ok(rows.iter().filter_map(|row| tag(row, &answer)).collect())
    }

    /// All companies of a contact, in full, for one whose snapshot shows only ten.
    pub async fn contact_companies(
        &self,
        lane: Lane,
        id: &RecordId,
    ) -> Result<Vec<Snapshot>, IntercomError> {
        const ROUTE: &str = "/contacts/{id}/companies";
        let mut snapshots = Vec::new();
        let mut page = Some(1);
        while let Some(number) = page.filter(|number| *number <= MAX_COMPANY_PAGES) {
            let query =
                [("page", number.to_string()), ("per_page", COMPANIES_PER_PAGE.to_string())];
            let path = ["contacts", id.as_str(), "companies"];
            let answer = self.get(lane, &path, &query, ROUTE).await?;
            let rows = rows(&answer, &["data", "companies"], ROUTE)?;
            snapshots.extend(rows.iter().filter_map(|row| company(row, &answer)));
            page = next_number(&answer.value, number).filter(|_| !rows.is_empty());
        }
        Ok(snapshots)
    }

    /// One company as it is now.
    pub async fn company(&self, lane: Lane, id: &RecordId) -> Result<Snapshot, IntercomError> {
        const ROUTE: &str = "/companies/{id}";
        let answer = self.get(lane, &["companies", id.as_str()], &[], ROUTE).await?;
        company(&answer.value, &answer).ok_or(malformed(ROUTE, "it is no company with an id"))
    }

    /// A page of up to 100 companies of a scroll; without `scroll` a new one starts. A workspace has
    /// one scroll at a time and it expires a minute after its last page.
    ///
    /// # Errors
    ///
    /// [`IntercomError::ScrollBusy`], [`IntercomError::ScrollTooSoon`]: wait a minute, or use
    /// [`Self::companies_list_page`].
    /// [`IntercomError::ScrollExpired`], or any error that [`IntercomError::is_service_down`] tells:
    /// the place is lost, because asking again would skip a page; start again.
    pub async fn companies_scroll(
        &self,
        lane: Lane,
        scroll: Option<&str>,
    ) -> Result<ScrollPage, IntercomError> {
        const ROUTE: &str = "/companies/scroll";
        if scroll.is_none() {
            self.begin_scroll(lane).await?;
        }
        let query: Vec<_> =
            scroll.map(|scroll| ("scroll_param", scroll.to_owned())).into_iter().collect();
        let request = self.request(Method::GET, &["companies", "scroll"], &query, ROUTE)?;
        let answer = match self.call(lane, request, Repeat::IfNotAccepted).await {
            // Whatever the words: what a scroll goes on with is no longer there.
            Err(error) if scroll.is_some() && error.is_not_found() => {
                return Err(IntercomError::ScrollExpired);
            }
            answered => answered?,
        };
        let rows = rows(&answer, &["data", "companies"], ROUTE)?;
        let (snapshots, unusable) = usable(rows, |row| company(row, &answer));
        let next = answer.value.get("scroll_param").and_then(Value::as_str).or(scroll);
        let next = next.filter(|next| !rows.is_empty() && !next.is_empty()).map(str::to_owned);
        Ok(ScrollPage { snapshots, next, unusable })
    }

    /// A page of 60 companies by number, from 1; Intercom refuses pages beyond 10,000 companies.
    pub async fn companies_list_page(
        &self,
        lane: Lane,
        page: u32,
    ) -> Result<CompanyPage, IntercomError> {
        const ROUTE: &str = "/companies/list";
        let query = [("page", page.to_string()), ("per_page", COMPANIES_PER_PAGE.to_string())];
        let request = self.request(Method::POST, &["companies", "list"], &query, ROUTE)?;
        let answer = self.call(lane, request, Repeat::Always).await?;
        let rows = rows(&answer, &["data", "companies"], ROUTE)?;
        let (snapshots, unusable) = usable(rows, |row| company(row, &answer));
        let next = next_number(&answer.value, page).filter(|_| !rows.is_empty());
        Ok(CompanyPage { snapshots, next, total: total(&answer.value), unusable })
    }

    /// Succeeds if the token may list conversations. One call.
    pub async fn conversations_readable(&self, lane: Lane) -> Result<(), IntercomError> {
        const ROUTE: &str = "/conversations";
        let query = [("per_page", "1".to_owned())];
        let answer = self.get(lane, &["conversations"], &query, ROUTE).await?;
        rows(&answer, &["conversations", "data"], ROUTE).map(|_| ())
    }
}

fn contact_page(
    answer: &Answer,
    current: Option<&Cursor>,
    route: &'static str,
) -> Result<Page, IntercomError> {
    let rows = rows(answer, &["data", "contacts"], route)?;
    let (snapshots, unusable) = usable(rows, |row| contact(row, answer));
    let next = next_cursor(&answer.value);
    if next.is_some() && next.as_ref() == current {
        return Err(malformed(route, "its next page is the same page"));
    }
    Ok(Page { snapshots, next, total: total(&answer.value), unusable })
}

/// The rows of a list; an answer without one is not an empty list.
pub(super) fn rows<'a>(
    answer: &'a Answer,
    keys: &[&str],
    route: &'static str,
) -> Result<&'a [Value], IntercomError> {
    let list = keys.iter().find_map(|key| answer.value.get(key)?.as_array());
    list.map(Vec::as_slice).ok_or(malformed(route, "it holds no list"))
}

pub(super) fn usable(
    rows: &[Value],
    snapshot: impl Fn(&Value) -> Option<Snapshot>,
) -> (Vec<Snapshot>, usize) {
    let snapshots: Vec<_> = rows.iter().filter_map(snapshot).collect();
    let unusable = rows.len() - snapshots.len();
    (snapshots, unusable)
}

pub(super) fn total(answer: &Value) -> Option<u64> {
    answer.get("total_count").and_then(Value::as_u64)
}

pub(super) fn contact(row: &Value, answer: &Answer) -> Option<Snapshot> {
    let key = RecordKey::contact(normalize::id_of(row)?);
    Some(read(key, liveness(row), normalize::contact(row), answer))
}

pub(super) fn company(row: &Value, answer: &Answer) -> Option<Snapshot> {
    let key = RecordKey::company(normalize::id_of(row)?);
    let body = normalize::company(row, Completeness::Full);
    Some(read(key, Liveness::Live, body, answer))
}

pub(super) fn tag(row: &Value, answer: &Answer) -> Option<Snapshot> {
    let key = RecordKey::tag(normalize::id_of(row)?);
    Some(read(key, Liveness::Live, normalize::tag(row), answer))
}

/// Whether a contact that was answered says itself that it is gone.
fn liveness(row: &Value) -> Liveness {
    let is_flagged = |flag: &str| row.get(flag).and_then(Value::as_bool) == Some(true);
    if is_flagged("deleted") {
        Liveness::Deleted
    } else if is_flagged("archived") {
        Liveness::Archived
    } else {
        Liveness::Live
    }
}

pub(super) fn read(key: RecordKey, liveness: Liveness, body: Value, answer: &Answer) -> Snapshot {
    let source = Source::Read { began: answer.began };
    Snapshot::new(key, liveness, body, source, answer.began, answer.received)
}
