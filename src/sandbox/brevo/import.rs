//! `POST /contacts/import`: read at once, applied later, told of in files (facts: Brevo section 2).

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::contact::Identifier;
use super::list::ListBody;
use super::mood::ImportMishap;
use super::reply::Refusal;
use super::state::Account;
use super::value::Origin;
use super::write::{Actor, Prepared, valid_email};

const NO_IDENTIFIER: &str = "We could not find any valid email or SMS or Contact ID in the file \
    you uploaded. Please add at least one valid email address (ex: john.smith@example.com) or SMS \
    (e.g: +33xxxxxxxxx or 0033xxxxxxxxx where +33 is the country code) or Contact ID (e.g: 1) in \
    your file and then try to upload.";

/// The body of `POST /contacts/import`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ImportBody {
    file_url: Option<String>,
    file_body: Option<String>,
    json_body: Option<Vec<JsonRow>>,
    list_ids: Vec<i64>,
    new_list: Option<ListBody>,
    update_existing_contacts: Option<bool>,
    empty_contacts_attributes: bool,
    email_blacklist: bool,
    sms_blacklist: bool,
    notify_url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct JsonRow {
    email: Option<String>,
    attributes: Map<String, Value>,
}

/// An import that was accepted.
#[derive(Debug)]
pub(super) struct Job {
    /// The number of its process.
    pub(super) process: i64,
    pub(super) notify_url: Option<String>,
    pub(super) mishap: ImportMishap,
    rows: Vec<Row>,
    origin: Origin,
    lists: Vec<i64>,
    options: RowOptions,
}

#[derive(Debug, Clone, Copy)]
struct RowOptions {
    updates_existing: bool,
    empty_clears: bool,
    email_blacklist: bool,
    sms_blacklist: bool,
}

#[derive(Debug)]
struct Row {
    email: Option<String>,
    contact_id: Option<i64>,
    /// By name in upper case.
    attributes: BTreeMap<String, Value>,
}

/// What is known of an import from outside.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) status: ProcessStatus,
    /// The addresses of the files of rows that were not taken, by kind.
    files: BTreeMap<&'static str, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessStatus {
    Queued,
    InProcess,
    Completed,
    Failed,
}

/// The kinds of files.
const PROBLEMS: [&str; 7] = [
    "invalid_emails",
    "duplicate_contact_id",
    "duplicate_ext_id",
    "duplicate_email_id",
    "duplicate_phone_id",
    "duplicate_whatsapp_id",
    "duplicate_landline_number_id",
];

impl Process {
    /// `GET /processes/{id}`.
    pub(super) fn to_json(&self, id: i64) -> Value {
        let status = match self.status {
            ProcessStatus::Queued => "queued",
            ProcessStatus::InProcess => "in_process",
            ProcessStatus::Completed => "completed",
            ProcessStatus::Failed => "failed",
        };
        let mut body = json!({"id": id, "name": "IMPORTUSER", "status": status});
        if let (ProcessStatus::Completed, Some(fields)) = (self.status, body.as_object_mut()) {
            let files: Map<String, Value> = PROBLEMS
                .iter()
                .map(|kind| ((*kind).to_owned(), json!(self.files.get(kind))))
                .collect();
            fields.insert("info".to_owned(), json!({"import": files}));
        }
        body
    }
}

impl Account {
    /// Reads an import and opens its process; nothing is applied yet.
    pub(super) fn accept_import(&mut self, body: ImportBody) -> Result<Job, Refusal> {
        let ImportBody { file_url, file_body, json_body, list_ids, new_list, .. } = body;
        let (rows, origin) = match (file_url, file_body, json_body) {
            (None, Some(text), None) => (csv_rows(&text)?, Origin::CsvImport),
            (None, None, Some(rows)) => {
                (rows.into_iter().map(Row::from).collect(), Origin::JsonImport)
            }
            (Some(_), None, None) => return Err(Refusal::invalid("File could not be downloaded")),
            (None, None, None) => {
                return Err(Refusal::missing("Pass one of fileUrl, fileBody and jsonBody"));
            }
            _ => {
                return Err(Refusal::invalid("Pass only one of fileUrl, fileBody and jsonBody"));
            }
        };
        if !rows.iter().any(Row::has_identifier) {
            return Err(Refusal::invalid(NO_IDENTIFIER));
        }
        self.lists.check_exist(&list_ids)?;
        let lists = match new_list {
            Some(list) => {
                let now = self.stamp();
                vec![self.lists.create(&list, now)?]
            }
            None if list_ids.is_empty() => {
                return Err(Refusal::missing("Pass either listIds or newList"));
            }
            None => list_ids,
        };
        let process = self.open_process(ProcessStatus::Queued);
        let options = RowOptions {
            updates_existing: body.update_existing_contacts.unwrap_or(true),
            empty_clears: body.empty_contacts_attributes,
            email_blacklist: body.email_blacklist,
            sms_blacklist: body.sms_blacklist,
        };
        let (notify_url, mishap) = (body.notify_url, ImportMishap::None);
        Ok(Job { process, notify_url, mishap, rows, origin, lists, options })
    }

    /// Opens a process; its number.
    pub(super) fn open_process(&mut self, status: ProcessStatus) -> i64 {
        let id = self.processes.last_key_value().map_or(1, |(id, _)| id + 1);
        self.processes.insert(id, Process { status, files: BTreeMap::new() });
        id
    }

    pub(super) fn set_process(&mut self, id: i64, status: ProcessStatus) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.status = status;
        }
    }

    /// Applies the rows and writes the files of those that were not taken. `origin` is what the
    /// addresses of the files begin with.
    pub(super) fn finish_import(&mut self, job: &Job, origin: &str) {
        let mut problems: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        let mut seen = HashSet::new();
        for row in &job.rows {
            if let Err(problem) = self.import_row(row, job, &mut seen) {
                problems.entry(problem).or_default().push(row.shown());
            }
        }
        let id = job.process;
        for (problem, rows) in problems {
            let name = format!("process-{id}-{}.csv", problem.replace('_', "-"));
            let url = format!("{origin}/files/{name}");
            self.files.insert(name, format!("EMAIL\n{}\n", rows.join("\n")));
            if let Some(process) = self.processes.get_mut(&id) {
                process.files.insert(problem, url);
            }
        }
        self.set_process(id, ProcessStatus::Completed);
    }

    /// Applies one row, or names the kind of file that it goes into.
    fn import_row(
        &mut self,
        row: &Row,
        job: &Job,
        seen: &mut HashSet<String>,
    ) -> Result<(), &'static str> {
        let mut prepared = Prepared { joins: job.lists.clone(), ..Prepared::default() };
        if let Some(email) = &row.email {
            let email = valid_email(email).map_err(|_| "invalid_emails")?;
            if matches!(&job.mishap, ImportMishap::DropsRows(emails) if emails.contains(&email)) {
                return Ok(());
            }
            if !seen.insert(email.clone()) {
                return Err(problem_of(Identifier::Email));
            }
            prepared.identifiers.insert(Identifier::Email, Some(email));
        }
        for (name, value) in &row.attributes {
            if job.options.empty_clears || value.as_str() != Some("") {
                // A phone number that is none is dropped like any value of the wrong type.
                self.take(name, value, job.origin, &mut prepared);
            }
        }
        let existing = self.owner_of(row, &prepared);
        if let Some(conflict) = self.conflicts(&prepared, existing).first() {
            return Err(problem_of(*conflict));
        }
        self.write_row(existing, prepared, job);
        Ok(())
    }

    /// The contact that a row means: by number, else address, else `EXT_ID`, else phone.
    fn owner_of(&self, row: &Row, prepared: &Prepared) -> Option<i64> {
        if let Some(id) = row.contact_id.filter(|id| self.get(*id).is_some()) {
            return Some(id);
        }
        let keys = [Identifier::Email, Identifier::ExtId, Identifier::Sms];
        let value = |key| prepared.identifiers.get(&key).and_then(Option::as_deref);
        let (key, value) = keys.into_iter().find_map(|key| Some((key, value(key)?)))?;
        self.find(key, value)
    }

    fn write_row(&mut self, existing: Option<i64>, mut prepared: Prepared, job: &Job) {
        let label = format!("POST /v3/contacts/import (process {})", job.process);
        let (actor, options) = (Actor::Request(&label), job.options);
        prepared.email_blacklisted = options.email_blacklist.then_some(true);
        prepared.sms_blacklisted = options.sms_blacklist.then_some(true);
        let Some(id) = existing else {
            let has_identity = prepared.identifiers.values().any(Option::is_some);
            if has_identity {
                self.insert(prepared, actor);
            }
            return;
        };
        // An import cannot change an address.
        prepared.identifiers.remove(&Identifier::Email);
        if !options.updates_existing {
            prepared.identifiers.clear();
            prepared.attributes.clear();
        }
        if self.get(id).is_some_and(|contact| contact.email_blacklisted) {
            self.violation(actor, &format!("imported the blacklisted contact {id}"));
            if self.quirks.import_resubscribes {
                prepared.email_blacklisted.get_or_insert(false);
            }
        }
        self.commit(id, prepared, actor);
    }
}

impl Row {
    fn has_identifier(&self) -> bool {
        let has_email = self.email.as_deref().is_some_and(|email| valid_email(email).is_ok());
        let has = |name| self.attributes.get(name).is_some_and(|value| value.as_str() != Some(""));
        has_email || self.contact_id.is_some() || has("SMS") || has("EXT_ID")
    }

    /// The row in a file of problems: its address, else the first thing that names it.
    fn shown(&self) -> String {
        let text = |name| self.attributes.get(name).and_then(Value::as_str).map(str::to_owned);
        let shown = self.email.clone().or_else(|| text("EXT_ID")).or_else(|| text("SMS"));
        let shown = shown.or_else(|| self.contact_id.map(|id| id.to_string())).unwrap_or_default();
        if shown.contains([';', '"', '\n', '\r']) {
            format!("\"{}\"", shown.replace('"', "\"\""))
        } else {
            shown
        }
    }
}

impl From<JsonRow> for Row {
    fn from(row: JsonRow) -> Self {
        let named = row.attributes.into_iter().map(|(name, value)| (name.to_uppercase(), value));
        Self {
            email: row.email.filter(|email| !email.trim().is_empty()),
            contact_id: None,
            attributes: named.filter(|(name, _)| name != "EMAIL").collect(),
        }
    }
}

fn csv_rows(text: &str) -> Result<Vec<Row>, Refusal> {
    let unreadable = |_| Refusal::invalid("The file could not be read as CSV");
    let text = text.trim_start_matches('\u{feff}');
    let mut reader =
        csv::ReaderBuilder::new().delimiter(b';').flexible(true).from_reader(text.as_bytes());
    let headers = reader.headers().map_err(unreadable)?.clone();
    let names: Vec<String> = headers.iter().map(|name| name.trim().to_uppercase()).collect();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let mut row = Row { email: None, contact_id: None, attributes: BTreeMap::new() };
        for (name, cell) in names.iter().zip(&record) {
            match name.as_str() {
                "EMAIL" => row.email = Some(cell.to_owned()).filter(|cell| !cell.trim().is_empty()),
                "ID" | "CONTACT ID" => row.contact_id = cell.trim().parse().ok(),
                _ => {
                    row.attributes.insert(name.clone(), json!(cell));
                }
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

fn problem_of(identifier: Identifier) -> &'static str {
    match identifier {
        Identifier::Email => "duplicate_email_id",
        Identifier::ExtId => "duplicate_ext_id",
        Identifier::Sms => "duplicate_phone_id",
        Identifier::Whatsapp => "duplicate_whatsapp_id",
        Identifier::Landline => "duplicate_landline_number_id",
    }
}
