//! Companies: their attributes, the calls on one, and the import of many (facts: Brevo section 7).
//!
//! Brevo knows no key of ours for a company, and the same `POST` twice makes two. Whoever creates has
//! to look first, by an attribute of his own.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::call::{Call, CallKind};
use super::client::{BrevoClient, read};
use super::contacts::with_milliseconds;
use super::error::BrevoError;
use super::imports::ProcessId;
use super::wire::{ProcessIdAnswer, attribute_value, null_as_default};
use crate::http::Lane;
use crate::model::{AttributeValue, Timestamp};

/// How many companies a page is asked to hold. How many Brevo gives at most is not documented.
const PAGE: usize = 1_000;
/// A page with fewer than these is the last one, whatever Brevo gives at most.
const FEWEST: usize = 10;
/// The most pages of one reading.
const PAGES: usize = 10_000;
/// How many processes are looked at.
const NEWEST: usize = 50;
/// What separates the parts of a form. It stands in no value: see [`form`].
const BOUNDARY: &str = "----tajo-form-7d1f4b9ce0a84c53";
/// The type of a body with this boundary.
const FORM: &str = "multipart/form-data; boundary=----tajo-form-7d1f4b9ce0a84c53";
/// The most bytes of a file: the same as for contacts.
pub const MAX_COMPANY_FILE_BYTES: usize = 7_900_000;

/// A company as Brevo holds it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BrevoCompany {
    /// Brevo's id: 24 hex digits.
    pub id: String,
    /// Its attributes, by internal name.
    pub attributes: BTreeMap<String, AttributeValue>,
    /// Numbers of the contacts that are linked to it.
    pub contacts: BTreeSet<i64>,
}

impl BrevoCompany {
    /// By hand, so that one odd field cannot make a page unreadable.
    fn read(answer: &Value) -> Option<Self> {
        let held = answer.get("attributes").and_then(Value::as_object).into_iter().flatten();
        let attributes = held
            .filter_map(|(name, value)| Some((name.clone(), attribute_value(value.clone())?)))
            .collect();
        let linked = answer.get("linkedContactsIds").and_then(Value::as_array);
        Some(Self {
            id: answer.get("id")?.as_str()?.to_owned(),
            attributes,
            contacts: linked.into_iter().flatten().filter_map(Value::as_i64).collect(),
        })
    }
}

/// The type of a company's attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompanyAttributeType {
    /// Any text.
    Text,
    /// A number.
    Number,
    /// A time.
    Date,
    /// True or false.
    Boolean,
    /// One option.
    SingleSelect,
    /// Several options.
    MultiChoice,
    /// A user of the account, and whatever else no rule can write.
    Other,
}

impl CompanyAttributeType {
    fn from_name(name: &str) -> Self {
        match name {
            "text" => Self::Text,
            "number" => Self::Number,
            "date" => Self::Date,
            "boolean" => Self::Boolean,
            "single-select" => Self::SingleSelect,
            "multi-choice" => Self::MultiChoice,
            _ => Self::Other,
        }
    }

    /// Brevo's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Date => "date",
            Self::Boolean => "boolean",
            Self::SingleSelect => "single-select",
            Self::MultiChoice => "multi-choice",
            Self::Other => "user",
        }
    }
}

/// An attribute that companies of the account have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompanyAttribute {
    /// The name in calls.
    pub name: String,
    /// The name that people see.
    pub label: String,
    /// Its type.
    pub kind: CompanyAttributeType,
    /// Keys and labels of its options.
    pub options: Vec<(String, String)>,
    /// Brevo works it out by itself.
    pub is_read_only: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttributeAnswer {
    #[serde(default, deserialize_with = "null_as_default")]
    internal_name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    label: String,
    #[serde(default, deserialize_with = "null_as_default")]
    attribute_type_name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    attribute_options: Vec<Value>,
    #[serde(default, deserialize_with = "null_as_default")]
    is_value_readonly: bool,
}

impl From<AttributeAnswer> for CompanyAttribute {
    fn from(answer: AttributeAnswer) -> Self {
        let text = |option: &Value, name: &str| option.get(name)?.as_str().map(str::to_owned);
        let option = |option: &Value| {
            let key = text(option, "key")?;
            Some((key.clone(), text(option, "value").unwrap_or(key)))
        };
        Self {
            kind: CompanyAttributeType::from_name(&answer.attribute_type_name),
            options: answer.attribute_options.iter().filter_map(option).collect(),
            name: answer.internal_name,
            label: answer.label,
            is_read_only: answer.is_value_readonly,
        }
    }
}

/// Which companies to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompaniesQuery {
    /// Changed at this time or later.
    pub modified_since: Option<Timestamp>,
    /// With this value of this attribute.
    pub attribute: Option<(String, String)>,
}

/// What a file does with the companies that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompanyImport {
    /// It makes companies, updates those of which it says the id, and links contacts that it names.
    Write,
    /// It unlinks the contacts that it names.
    Unlink,
}

impl BrevoClient {
    /// The attributes that companies of the account have.
    pub async fn company_attributes(
        &self,
        lane: Lane,
    ) -> Result<Vec<CompanyAttribute>, BrevoError> {
        let call = self.call(CallKind::CompanyAttributes, "/crm/attributes/companies")?;
        let answer: Vec<AttributeAnswer> =
            read(CallKind::CompanyAttributes, &self.send(lane, call).await?)?;
        Ok(answer.into_iter().map(CompanyAttribute::from).collect())
    }

    /// Makes an attribute; one that exists counts as made.
    pub async fn create_company_attribute(
        &self,
        lane: Lane,
        label: &str,
        kind: CompanyAttributeType,
        options: &[String],
    ) -> Result<(), BrevoError> {
        let mut body = json!({
            "label": label, "attributeType": kind.as_str(), "objectType": "companies",
        });
        if let (false, Some(fields)) = (options.is_empty(), body.as_object_mut()) {
            fields.insert("optionsLabels".to_owned(), json!(options));
        }
        let call = self.call(CallKind::CreateCompanyAttribute, "/crm/attributes")?.json(&body)?;
        match self.send(lane, call).await {
            Ok(_) => Ok(()),
            Err(BrevoError::Invalid { message, .. }) if message.contains("must be unique") => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Companies, the oldest first, page by page until nothing new comes.
    ///
    /// Whether `page` counts pages or companies is documented both ways: if the second page repeats
    /// most of the first, it counts companies.
    pub async fn companies(
        &self,
        lane: Lane,
        query: &CompaniesQuery,
    ) -> Result<Vec<BrevoCompany>, BrevoError> {
        let mut found: BTreeMap<String, BrevoCompany> = BTreeMap::new();
        let (mut page, mut counts_companies) = (1, false);
        for _ in 0..PAGES {
            let listed = self.companies_page(lane, query, page).await?;
            let total = listed.len();
            let before = found.len();
            found.extend(listed.into_iter().map(|company| (company.id.clone(), company)));
            let new = found.len() - before;
            if total < FEWEST || new == 0 {
                break;
            }
            counts_companies |= before > 0 && new * 2 < total;
            page = if counts_companies { found.len() } else { page + 1 };
        }
        Ok(found.into_values().collect())
    }

    async fn companies_page(
        &self,
        lane: Lane,
        query: &CompaniesQuery,
        page: usize,
    ) -> Result<Vec<BrevoCompany>, BrevoError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default, deserialize_with = "null_as_default")]
            items: Vec<Value>,
        }
        let mut call = self
            .call(CallKind::Companies, "/companies")?
            .query("limit", PAGE)
            .query("page", page)
            .query("sort", "asc");
        if let Some(since) = query.modified_since {
            call = call.query("modifiedSince", with_milliseconds(since));
        }
        if let Some((name, value)) = &query.attribute {
            let filter: Map<String, Value> =
                [(format!("attributes.{name}"), json!(value))].into_iter().collect();
            call = call.query("filters", Value::Object(filter));
        }
        let Answer { items } = read(CallKind::Companies, &self.send(lane, call).await?)?;
        Ok(items.iter().filter_map(BrevoCompany::read).collect())
    }

    /// Makes a company; its id. Never repeated where Brevo may have made it.
    pub async fn create_company(
        &self,
        lane: Lane,
        name: &str,
        attributes: &BTreeMap<String, AttributeValue>,
    ) -> Result<String, BrevoError> {
        #[derive(Deserialize)]
        struct Answer {
            id: String,
        }
        let body = json!({"name": name, "attributes": attributes});
        let call = self.call(CallKind::CreateCompany, "/companies")?.json(&body)?;
        let Answer { id } = read(CallKind::CreateCompany, &self.send(lane, call).await?)?;
        Ok(id)
    }

    /// Changes attributes of a company; empty text empties one. Answers what Brevo holds then, if it
    /// says so.
    ///
    /// # Errors
    /// [`BrevoError::NotFound`] if Brevo has no such company.
    pub async fn update_company(
        &self,
        lane: Lane,
        id: &str,
        attributes: &BTreeMap<String, AttributeValue>,
    ) -> Result<Option<BrevoCompany>, BrevoError> {
        let mut body = json!({"attributes": attributes});
        if let (Some(name), Some(fields)) = (attributes.get("name"), body.as_object_mut()) {
            fields.insert("name".to_owned(), json!(name));
        }
        let call = self.on_company(CallKind::UpdateCompany, "/companies", id)?.json(&body)?;
        let answer = self.send(lane, call).await?;
        let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
        Ok(body
            .as_ref()
            .filter(|body| body.get("attributes").is_some())
            .and_then(BrevoCompany::read))
    }

    /// Deletes a company; false if Brevo had none.
    pub async fn delete_company(&self, lane: Lane, id: &str) -> Result<bool, BrevoError> {
        let call = self.on_company(CallKind::DeleteCompany, "/companies", id)?;
        match self.send(lane, call).await {
            Ok(_) => Ok(true),
            Err(BrevoError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Links contacts to a company and unlinks others. Contacts that are linked already, or not at
    /// all, are no error.
    pub async fn link_contacts(
        &self,
        lane: Lane,
        company: &str,
        link: &[i64],
        unlink: &[i64],
    ) -> Result<(), BrevoError> {
        let mut body = Map::new();
        for (name, contacts) in [("linkContactIds", link), ("unlinkContactIds", unlink)] {
            if !contacts.is_empty() {
                body.insert(name.to_owned(), json!(contacts));
            }
        }
        let call = self.on_company(CallKind::LinkCompany, "/companies/link-unlink", company)?;
        self.send(lane, call.json(&body)?).await?;
        Ok(())
    }

    /// Starts an import of companies. Never repeated where Brevo may have accepted it.
    pub async fn import_companies(
        &self,
        lane: Lane,
        file: &str,
        import: CompanyImport,
    ) -> Result<ProcessId, BrevoError> {
        let mapping = json!({
            "link_entities": import == CompanyImport::Write,
            "unlink_entities": import == CompanyImport::Unlink,
            "update_existing_records": true,
            "unset_empty_attributes": false,
        });
        let call = self.call(CallKind::ImportCompanies, "/companies/import")?;
        let call = call.form(FORM, form(file, &mapping.to_string())?);
        let answer: ProcessIdAnswer =
            read(CallKind::ImportCompanies, &self.send(lane, call).await?)?;
        Ok(ProcessId(answer.process_id))
    }

    /// True while one of the newest processes of the account has not ended.
    pub async fn is_processing(&self, lane: Lane) -> Result<bool, BrevoError> {
        let call = self.call(CallKind::Processes, "/processes")?.query("limit", NEWEST);
        let answer: Value = read(CallKind::Processes, &self.send(lane, call).await?)?;
        let processes = answer.get("processes").and_then(Value::as_array);
        let has_ended = |process: &Value| {
            let status = process.get("status").and_then(Value::as_str);
            matches!(status, Some("completed" | "failed" | "cancelled"))
        };
        Ok(processes.into_iter().flatten().any(|process| !has_ended(process)))
    }

    fn on_company(&self, kind: CallKind, base: &str, id: &str) -> Result<Call, BrevoError> {
        self.call(kind, &format!("{base}/{}", utf8_percent_encode(id, NON_ALPHANUMERIC)))
    }
}

/// A form of a file and its mapping.
fn form(file: &str, mapping: &str) -> Result<Bytes, BrevoError> {
    if file.contains(BOUNDARY) {
        return Err(BrevoError::Unusable("a company cannot be imported as it is".to_owned()));
    }
    Ok(Bytes::from(format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"companies.csv\"\r\n\
         Content-Type: text/csv\r\n\r\n{file}\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; \
         name=\"mapping\"\r\n\r\n{mapping}\r\n--{BOUNDARY}--\r\n"
    )))
}
