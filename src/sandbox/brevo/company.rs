//! `/companies` and `/crm/attributes`: companies, their links to contacts, their import (facts: Brevo
//! section 7).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::import::ProcessStatus;
use super::multipart;
use super::reply::{Refusal, Reply};
use super::request::Request;
use super::state::Account;

/// Brevo does not say how many companies a page may have.
const MAX_PAGE: usize = 100;
/// The longest label of an attribute.
const MAX_LABEL: usize = 50;
/// What every account has: internal name, label, type, and whether it can be written.
const ATTRIBUTES: [(&str, &str, &str, bool); 9] = [
    ("name", "Company Name", "text", true),
    ("domain", "Domain", "text", true),
    ("industry", "Industry", "text", true),
    ("phone_number", "Phone number", "text", true),
    ("number_of_employees", "Number of employees", "number", true),
    ("revenue", "Revenue", "number", true),
    ("number_of_contacts", "Number of contacts", "number", false),
    ("created_at", "Created At", "date", false),
    ("last_updated_at", "Last updated at", "date", false),
];

/// All companies, and what they may have.
#[derive(Debug)]
pub(super) struct Companies {
    items: BTreeMap<String, Company>,
    attributes: Vec<CrmAttribute>,
    next: u64,
    jobs: Vec<ImportJob>,
    /// How long an import takes.
    pub(super) import_delay: Duration,
    /// The plan has no companies.
    pub(super) is_forbidden: bool,
}

#[derive(Debug, Clone, Default)]
struct Company {
    attributes: Map<String, Value>,
    contacts: BTreeSet<i64>,
    created_at: i64,
    modified_at: i64,
}

#[derive(Debug)]
struct CrmAttribute {
    name: String,
    label: String,
    kind: String,
    options: Vec<String>,
    is_writable: bool,
}

/// An import that was accepted.
#[derive(Debug)]
struct ImportJob {
    process: i64,
    due: Instant,
    rows: Vec<BTreeMap<String, String>>,
    links: bool,
    unlinks: bool,
    updates: bool,
    empty_unsets: bool,
}

impl Default for Companies {
    fn default() -> Self {
        let attribute = |(name, label, kind, is_writable): (&str, &str, &str, bool)| CrmAttribute {
            name: name.to_owned(),
            label: label.to_owned(),
            kind: kind.to_owned(),
            options: Vec::new(),
            is_writable,
        };
        Self {
            items: BTreeMap::new(),
            attributes: ATTRIBUTES.into_iter().map(attribute).collect(),
            next: 1,
            jobs: Vec::new(),
            import_delay: Duration::ZERO,
            is_forbidden: false,
        }
    }
}

impl Companies {
    fn get(&mut self, id: &str) -> Result<&mut Company, Refusal> {
        self.items.get_mut(id).ok_or_else(|| Refusal::not_found("Company does not exist"))
    }

    fn insert(&mut self, company: Company) -> String {
        let id = format!("{:024x}", 0x6570_0000_0000_0000_u64 + self.next);
        self.next += 1;
        self.items.insert(id.clone(), company);
        id
    }

    /// What of `given` the catalogue lets in: unknown names and values of the wrong type vanish
    /// without a word, as those of contacts do, unless `refuses` says otherwise.
    fn fitting(
        &self,
        given: &Map<String, Value>,
        refuses: bool,
    ) -> Result<Map<String, Value>, Refusal> {
        let mut fitting = Map::new();
        for (name, value) in given {
            match self.attributes.iter().find(|known| known.name == *name && known.is_writable) {
                Some(known) if known.takes(value) => {
                    fitting.insert(name.clone(), value.clone());
                }
                None if refuses => {
                    return Err(Refusal::invalid(format!("Attribute {name} does not exist")));
                }
                _ => {}
            }
        }
        Ok(fitting)
    }

    /// All companies as `GET /companies` answers them, in the order of their creation.
    pub(super) fn to_json(&self) -> Vec<Value> {
        self.items.iter().map(|(id, company)| company.to_json(id)).collect()
    }

    /// Links a contact as somebody else would.
    pub(super) fn link(&mut self, company: &str, contact: i64) {
        if let Some(company) = self.items.get_mut(company) {
            company.contacts.insert(contact);
        }
    }

    /// A contact is gone.
    pub(super) fn forget_contact(&mut self, contact: i64) {
        for company in self.items.values_mut() {
            company.contacts.remove(&contact);
        }
    }
}

impl CrmAttribute {
    fn takes(&self, value: &Value) -> bool {
        match self.kind.as_str() {
            _ if value.is_null() || value.as_str() == Some("") => true,
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "date" => crate::model::Timestamp::parse(value).is_some(),
            "multi-choice" => value.as_array().is_some_and(|chosen| {
                chosen.iter().filter_map(Value::as_str).all(|text| self.has_option(text))
            }),
            "single-select" => value.as_str().is_some_and(|text| self.has_option(text)),
            _ => value.is_string(),
        }
    }

    fn has_option(&self, text: &str) -> bool {
        self.options.iter().any(|option| option == text)
    }

    /// A cell of a file, as a value of this attribute.
    fn read_cell(&self, cell: &str) -> Value {
        match self.kind.as_str() {
            "number" => cell.parse::<serde_json::Number>().map_or(json!(cell), Value::Number),
            "boolean" => match cell.to_lowercase().as_str() {
                "yes" | "true" | "1" => json!(true),
                "no" | "false" | "0" => json!(false),
                _ => json!(cell),
            },
            "multi-choice" => cell.split(',').map(|part| json!(part.trim())).collect(),
            _ => json!(cell),
        }
    }

    fn to_json(&self) -> Value {
        let options: Vec<Value> =
            self.options.iter().map(|option| json!({"key": option, "value": option})).collect();
        json!({
            "internalName": self.name, "label": self.label, "attributeTypeName": self.kind,
            "attributeOptions": options, "isRequired": self.name == "name",
            "isValueReadonly": !self.is_writable,
        })
    }
}

impl Company {
    fn to_json(&self, id: &str) -> Value {
        let mut attributes = self.attributes.clone();
        attributes.insert("number_of_contacts".to_owned(), json!(self.contacts.len()));
        attributes.insert("created_at".to_owned(), iso(self.created_at));
        attributes.insert("last_updated_at".to_owned(), iso(self.modified_at));
        json!({
            "id": id, "attributes": attributes, "linkedContactsIds": self.contacts,
            "linkedDealsIds": [],
        })
    }

    /// Values that are set; `null` and `""` empty the attribute.
    fn take(&mut self, values: Map<String, Value>) {
        for (name, value) in values {
            if value.is_null() || value.as_str() == Some("") {
                self.attributes.remove(&name);
            } else {
                self.attributes.insert(name, value);
            }
        }
    }
}

fn iso(milliseconds: i64) -> Value {
    let instant = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    json!(instant.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

impl Account {
    /// Answers what is below `/companies` and `/crm`.
    pub(super) fn crm(&mut self, request: &Request, segments: &[&str]) -> Result<Reply, Refusal> {
        if self.companies.is_forbidden {
            let message = "Your plan does not include companies";
            return Err(Refusal::new(403, "permission_denied", message));
        }
        match (request.method.as_str(), segments) {
            ("GET", ["companies"]) => self.list_companies(request),
            ("POST", ["companies"]) => self.create_company(&request.json()?),
            ("POST", ["companies", "import"]) => self.import_companies(request),
            ("PATCH", ["companies", "link-unlink", id]) => self.link_company(id, &request.json()?),
            ("GET", ["companies", id]) => Ok(Reply::ok(&self.companies.get(id)?.to_json(id))),
            ("PATCH", ["companies", id]) => self.patch_company(id, &request.json()?),
            ("DELETE", ["companies", id]) => {
                self.companies.get(id)?;
                self.companies.items.remove(*id);
                Ok(Reply::no_content())
            }
            ("GET", ["crm", "attributes", "companies"]) => Ok(Reply::ok(
                &self.companies.attributes.iter().map(CrmAttribute::to_json).collect(),
            )),
            ("POST", ["crm", "attributes"]) => self.create_crm_attribute(&request.json()?),
            (method, ["companies"] | ["companies", _] | ["crm", "attributes", ..]) => {
                Err(Refusal::method(method))
            }
            _ => Err(Refusal::not_found("Path not found")),
        }
    }

    /// `GET /companies`: by creation, the newest first unless asked otherwise.
    fn list_companies(&self, request: &Request) -> Result<Reply, Refusal> {
        let number = |name: &str, default: usize| {
            request.parameter(name).map_or(Ok(default), |text| {
                text.parse().map_err(|_| Refusal::invalid(format!("{name} should be an integer")))
            })
        };
        let (page, limit) = (number("page", 1)?.max(1), number("limit", 50)?.min(MAX_PAGE));
        let modified_since = request.instant("modifiedSince")?.unwrap_or(i64::MIN);
        let created_since = request.instant("createdSince")?.unwrap_or(i64::MIN);
        let linked = request.numbers("linkedContactsIds")?;
        let filters = filters(request)?;
        let is_wanted = |company: &Company| {
            company.modified_at >= modified_since
                && company.created_at >= created_since
                && (linked.is_empty() || linked.iter().any(|id| company.contacts.contains(id)))
                && filters.iter().all(|(name, value)| {
                    let held = company.attributes.get(name);
                    held.is_some_and(|held| {
                        held.as_str().map_or(held.to_string(), str::to_owned) == *value
                    })
                })
        };
        let mut wanted: Vec<(&String, &Company)> =
            self.companies.items.iter().filter(|(_, company)| is_wanted(company)).collect();
        if request.parameter("sort").as_deref() != Some("asc") {
            wanted.reverse();
        }
        let skipped = (page - 1).saturating_mul(limit);
        let items: Vec<Value> = wanted
            .into_iter()
            .skip(skipped)
            .take(limit)
            .map(|(id, company)| company.to_json(id))
            .collect();
        Ok(Reply::ok(&json!({"items": items})))
    }

    /// `POST /companies`, which answers 200 and knows no key: the same twice makes two.
    pub(super) fn create_company(&mut self, body: &Value) -> Result<Reply, Refusal> {
        let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
        if name.trim().is_empty() {
            return Err(Refusal::missing("name is missing"));
        }
        let now = self.stamp();
        let mut company = Company { created_at: now, ..Company::default() };
        self.apply_company(&mut company, body, now)?;
        company.attributes.insert("name".to_owned(), json!(name));
        let id = self.companies.insert(company);
        Ok(Reply::ok(&json!({"id": id})))
    }

    fn patch_company(&mut self, id: &str, body: &Value) -> Result<Reply, Refusal> {
        let mut company = self.companies.get(id)?.clone();
        let now = self.stamp();
        self.apply_company(&mut company, body, now)?;
        if let Some(name) = body.get("name").and_then(Value::as_str) {
            company.attributes.insert("name".to_owned(), json!(name));
        }
        let answer = company.to_json(id);
        self.companies.items.insert(id.to_owned(), company);
        Ok(Reply::ok(&answer))
    }

    fn apply_company(&self, company: &mut Company, body: &Value, now: i64) -> Result<(), Refusal> {
        let nothing = Map::new();
        let given = body.get("attributes").and_then(Value::as_object).unwrap_or(&nothing);
        let fitting = self.companies.fitting(given, self.quirks.refuses_unknown_attributes)?;
        company.take(fitting);
        // What is given replaces what was linked.
        if let Some(linked) = body.get("linkedContactsIds") {
            company.contacts = self.existing(linked)?;
        }
        company.modified_at = now;
        Ok(())
    }

    /// `PATCH /companies/link-unlink/{id}`.
    fn link_company(&mut self, id: &str, body: &Value) -> Result<Reply, Refusal> {
        let ids = |name: &str| self.existing(body.get(name).unwrap_or(&Value::Null));
        let (link, unlink) = (ids("linkContactIds")?, ids("unlinkContactIds")?);
        let now = self.stamp();
        let company = self.companies.get(id)?;
        company.contacts.extend(&link);
        company.contacts.retain(|contact| !unlink.contains(contact));
        company.modified_at = now;
        Ok(Reply::no_content())
    }

    /// Numbers of contacts, all of which exist.
    fn existing(&self, ids: &Value) -> Result<BTreeSet<i64>, Refusal> {
        let ids: BTreeSet<i64> =
            ids.as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
        match ids.iter().find(|id| self.get(**id).is_none()) {
            Some(id) => Err(Refusal::invalid(format!("Contact {id} does not exist"))),
            None => Ok(ids),
        }
    }

    fn create_crm_attribute(&mut self, body: &Value) -> Result<Reply, Refusal> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let (label, kind) = (text("label"), text("attributeType"));
        if label.is_empty() || label.chars().count() > MAX_LABEL {
            return Err(Refusal::invalid("label should have 1 to 50 characters"));
        }
        if !["companies", "deals"].contains(&text("objectType")) {
            return Err(Refusal::invalid("objectType should be companies or deals"));
        }
        const KINDS: [&str; 7] =
            ["text", "user", "number", "single-select", "date", "boolean", "multi-choice"];
        if !KINDS.contains(&kind) {
            return Err(Refusal::invalid("attributeType is invalid"));
        }
        let named = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        let name: String = label.chars().map(named).collect();
        if self.companies.attributes.iter().any(|known| known.name == name) {
            return Err(Refusal::invalid("Attribute name must be unique"));
        }
        let labels = body.get("optionsLabels").and_then(Value::as_array);
        let options =
            labels.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let (label, kind) = (label.to_owned(), kind.to_owned());
        let id = format!("{:024x}", 0x61a5_0000_0000_u64 + self.companies.attributes.len() as u64);
        let made = CrmAttribute { name, label, kind, options, is_writable: true };
        self.companies.attributes.push(made);
        Ok(Reply::ok(&json!({"id": id})))
    }

    /// `POST /companies/import`: read at once, applied when its time has come.
    fn import_companies(&mut self, request: &Request) -> Result<Reply, Refusal> {
        let parts = multipart::parts(&request.body)
            .ok_or_else(|| Refusal::new(400, "bad_request", "Bad request : not a form"))?;
        let text = |name: &str| parts.iter().find(|(known, _)| known == name).map(|(_, text)| text);
        let file = text("file").ok_or_else(|| Refusal::missing("file is missing"))?;
        let mapping: Value = text("mapping")
            .map_or(Ok(json!({})), |text| serde_json::from_str(text))
            .map_err(|_| Refusal::invalid("mapping should be a JSON object"))?;
        let says = |name: &str| mapping.get(name).and_then(Value::as_bool) == Some(true);
        let rows = rows(file)?;
        let process = self.open_process(ProcessStatus::InProcess);
        let due = Instant::now() + self.companies.import_delay;
        self.companies.jobs.push(ImportJob {
            process,
            due,
            rows,
            links: says("link_entities"),
            unlinks: says("unlink_entities"),
            updates: says("update_existing_records"),
            empty_unsets: says("unset_empty_attributes"),
        });
        Ok(Reply::ok(&json!({"processId": process})))
    }

    /// Applies the imports of companies whose time has come.
    pub(super) fn finish_company_imports(&mut self, now: Instant) {
        let jobs = std::mem::take(&mut self.companies.jobs);
        let (due, later): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.due <= now);
        self.companies.jobs = later;
        for job in due {
            for row in &job.rows {
                self.import_company(&job, row);
            }
            self.set_process(job.process, ProcessStatus::Completed);
        }
    }

    /// A row updates the company that it names, if the import updates at all; any other row makes one.
    fn import_company(&mut self, job: &ImportJob, row: &BTreeMap<String, String>) {
        let now = self.stamp();
        let cell =
            |name: &str| row.get(name).map(|cell| cell.trim()).filter(|cell| !cell.is_empty());
        let named = cell("company_id").filter(|_| job.updates);
        let known = named.and_then(|id| self.companies.items.get(id).cloned());
        if named.is_some() && known.is_none() {
            return;
        }
        if known.is_none() && cell("name").is_none() {
            return;
        }
        let mut company =
            known.clone().unwrap_or_else(|| Company { created_at: now, ..Company::default() });
        let mut values = Map::new();
        for attribute in self.companies.attributes.iter().filter(|known| known.is_writable) {
            let Some(cell) = row.get(&attribute.name) else { continue };
            if cell.is_empty() && !job.empty_unsets {
                continue;
            }
            let value = attribute.read_cell(cell);
            if attribute.takes(&value) {
                values.insert(attribute.name.clone(), value);
            }
        }
        company.take(values);
        let contacts = cell("associated_contact").unwrap_or_default().split(',');
        let contacts: Vec<i64> = contacts
            .filter_map(|text| text.trim().parse().ok())
            .filter(|id| self.get(*id).is_some())
            .collect();
        if job.links {
            company.contacts.extend(contacts);
        } else if job.unlinks {
            company.contacts.retain(|id| !contacts.contains(id));
        }
        company.modified_at = now;
        match named {
            Some(id) => {
                self.companies.items.insert(id.to_owned(), company);
            }
            None => {
                self.companies.insert(company);
            }
        }
    }
}

/// `filters[attributes.x]=v`, and `filters={"attributes.x":"v"}`.
fn filters(request: &Request) -> Result<Vec<(String, String)>, Refusal> {
    let mut filters = Vec::new();
    for (name, value) in request.pairs() {
        if name == "filters" {
            let object: Map<String, Value> = serde_json::from_str(&value)
                .map_err(|_| Refusal::invalid("filters should be a JSON object"))?;
            for (name, value) in object {
                let text = value.as_str().map_or(value.to_string(), str::to_owned);
                filters.push((name, text));
            }
        } else if let Some(inner) =
            name.strip_prefix("filters[").and_then(|rest| rest.strip_suffix(']'))
        {
            filters.push((inner.to_owned(), value));
        }
    }
    let bare = |(name, value): (String, String)| {
        (name.strip_prefix("attributes.").map_or(name.clone(), str::to_owned), value)
    };
    Ok(filters.into_iter().map(bare).collect())
}

/// The rows of a file, by the name of the column. Separated by `;` if the first line has one.
fn rows(text: &str) -> Result<Vec<BTreeMap<String, String>>, Refusal> {
    let unreadable = |_| Refusal::invalid("Bad request : the file could not be read as CSV");
    let first = text.lines().next().unwrap_or_default();
    let delimiter = if first.contains(';') { b';' } else { b',' };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let names = reader.headers().map_err(unreadable)?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let named = names.iter().zip(&record);
        rows.push(named.map(|(name, cell)| (name.trim().to_owned(), cell.to_owned())).collect());
    }
    Ok(rows)
}
