//! A company as the workspace keeps it, its JSON, and the one scroll through all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::contact::ContactId;
use super::refused::Refused;
use super::time::iso;
use crate::model::Timestamp;

/// Companies in one page of a scroll.
const SCROLL_PAGE: usize = 100;

/// A scroll that is not asked for this long is gone, in seconds.
const SCROLL_IDLE_SECONDS: i64 = 60;

/// `POST /companies/list` reaches no further (facts: Intercom section 5).
const LIST_CEILING: usize = 10_000;

pub(super) type CompanyId = Arc<str>;

/// Keys that REST leaves out and notifications send as `null` where they are unset.
const OPTIONAL: [&str; 6] =
    ["name", "remote_created_at", "last_request_at", "size", "website", "industry"];

/// One company.
#[derive(Debug, Clone)]
pub(super) struct Company {
    pub(super) id: CompanyId,
    pub(super) company_id: String,
    /// What is set of [`OPTIONAL`], `monthly_spend` and `session_count`; times as epoch seconds.
    pub(super) fields: Map<String, Value>,
    pub(super) plan: Option<Plan>,
    pub(super) custom_attributes: Map<String, Value>,
    pub(super) created_ms: i64,
    pub(super) updated_ms: i64,
    pub(super) tags: Vec<Arc<str>>,
    /// Its contacts. One without any is in no list.
    pub(super) members: BTreeSet<ContactId>,
}

/// A plan's number and name; written by name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) id: String,
    pub(super) name: String,
}

impl Company {
    /// Reads what `POST /companies` accepts; `created_at` and `updated_at` may be given as well.
    pub(super) fn parse(id: CompanyId, body: &Value, now_ms: i64) -> Result<Self, Refused> {
        let object = body.as_object().ok_or_else(|| Refused::invalid("body is not an object"))?;
        let company_id = match object.get("company_id") {
            Some(Value::String(text)) if !text.is_empty() => text.clone(),
            None => format!("{id}-qualification-company"),
            Some(_) => return Err(Refused::invalid("company_id must be a string")),
        };
        let mut fields = Map::new();
        for key in OPTIONAL.into_iter().chain(["monthly_spend", "session_count"]) {
            if let Some(value) = object.get(key).filter(|value| !value.is_null()) {
                fields.insert(key.to_owned(), value.clone());
            }
        }
        let plan = object.get("plan").and_then(Value::as_str).map(Plan::named);
        let custom = object.get("custom_attributes").and_then(Value::as_object);
        let time = |key: &str| object.get(key).and_then(Value::as_i64).map(|at| at * 1000);
        Ok(Self {
            id,
            company_id,
            fields,
            plan,
            custom_attributes: custom.cloned().unwrap_or_default(),
            created_ms: time("created_at").unwrap_or(now_ms),
            updated_ms: time("updated_at").unwrap_or(now_ms),
            tags: Vec::new(),
            members: BTreeSet::new(),
        })
    }

    /// Sets what a body gives, `null` clearing; `company_id` cannot change.
    pub(super) fn update(&mut self, body: &Value, now_ms: i64) -> Result<(), Refused> {
        let given = Self::parse(Arc::clone(&self.id), body, now_ms)?;
        let object = body.as_object().ok_or_else(|| Refused::invalid("body is not an object"))?;
        for key in object.keys() {
            match given.fields.get(key) {
                Some(value) => drop(self.fields.insert(key.clone(), value.clone())),
                None => drop(self.fields.remove(key)),
            }
        }
        if object.contains_key("plan") {
            self.plan = given.plan;
        }
        for (name, value) in given.custom_attributes {
            match value.is_null() {
                true => drop(self.custom_attributes.remove(&name)),
                false => drop(self.custom_attributes.insert(name, value)),
            }
        }
        if object.contains_key("created_at") {
            self.created_ms = given.created_ms;
        }
        self.updated_ms = given.updated_ms;
        Ok(())
    }

    /// As REST shows it: unset keys are missing, no plan is `{}`.
    pub(super) fn rest(&self, app_id: &str) -> Value {
        let plan = match &self.plan {
            Some(plan) => json!({"type": "plan", "id": plan.id, "name": plan.name}),
            None => json!({}),
        };
        let mut company = json!({
            "type": "company",
            "company_id": self.company_id,
            "id": self.id,
            "app_id": app_id,
            "created_at": self.created_ms.div_euclid(1000),
            "updated_at": self.updated_ms.div_euclid(1000),
            "monthly_spend": 0,
            "session_count": 0,
            "user_count": self.members.len(),
            "tags": {"type": "tag.list", "tags": []},
            "segments": {"type": "segment.list", "segments": []},
            "plan": plan,
            "custom_attributes": self.custom_attributes,
        });
        if let Some(object) = company.as_object_mut() {
            object.extend(self.fields.clone());
        }
        company
    }

    /// As `company.created` shows it: `null` where REST leaves out, ISO times, tags by id.
    pub(super) fn notification(&self, app_id: &str) -> Value {
        let mut company = self.attached(app_id);
        if let Some(object) = company.as_object_mut() {
            object.remove("plan_id");
            let plan = match &self.plan {
                Some(plan) => json!({"type": "plan", "id": plan.id, "name": plan.name}),
                None => Value::Null,
            };
            object.insert("plan".to_owned(), plan);
            for key in ["size", "website", "industry"] {
                let value = self.fields.get(key).cloned().unwrap_or_default();
                object.insert(key.to_owned(), value);
            }
        }
        company
    }

    /// As `company.contact.attached` shows it: less than the whole (facts: Intercom section 13).
    pub(super) fn attached(&self, app_id: &str) -> Value {
        let field = |key: &str| self.fields.get(key).cloned();
        let time = |key: &str| {
            field(key).and_then(|at| at.as_i64()).map(|seconds| iso(seconds.saturating_mul(1000)))
        };
        json!({
            "type": "company",
            "id": self.id,
            "company_id": self.company_id,
            "app_id": app_id,
            "name": field("name"),
            "plan_id": self.plan.as_ref().map(|plan| &plan.id),
            "remote_created_at": time("remote_created_at"),
            "created_at": iso(self.created_ms),
            "updated_at": iso(self.updated_ms),
            "last_request_at": time("last_request_at"),
            "monthly_spend": field("monthly_spend").unwrap_or_else(|| json!(0)),
            "session_count": field("session_count").unwrap_or_else(|| json!(0)),
            "user_count": self.members.len(),
            "tag_ids": self.tags,
            "custom_attributes": self.custom_attributes,
        })
    }

    fn last_request_at(&self) -> i64 {
        self.fields.get("last_request_at").and_then(Value::as_i64).unwrap_or(0)
    }
}

impl Plan {
    /// The plan of that name. Its number follows from the name, so that equal names are one plan.
    fn named(name: &str) -> Self {
        let sum = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte));
        Self { id: (260_000 + sum % 10_000).to_string(), name: name.to_owned() }
    }
}

/// The companies of a workspace.
#[derive(Debug, Default)]
pub(super) struct CompanyTable {
    by_id: BTreeMap<CompanyId, Company>,
    scroll: Option<Scroll>,
    scrolls_begun: u64,
}

/// The one scroll that may be open.
#[derive(Debug)]
struct Scroll {
    parameter: String,
    /// The last company that was shown.
    after: Option<CompanyId>,
    last_used: Timestamp,
}

impl CompanyTable {
    pub(super) fn put(&mut self, company: Company) {
        self.by_id.insert(Arc::clone(&company.id), company);
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Company> {
        self.by_id.remove(id)
    }

    /// The scroll is gone: it waited too long, or lost its place.
    pub(super) fn lose_scroll(&mut self) {
        self.scroll = None;
    }

    pub(super) fn by_company_id(&self, company_id: &str) -> Option<&Company> {
        self.by_id.values().find(|company| company.company_id == company_id)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Company> {
        self.by_id.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Company> {
        self.by_id.get_mut(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Company> {
        self.by_id.values()
    }

    /// Those that lists show: the ones with a contact.
    fn visible(&self) -> impl Iterator<Item = &Company> {
        self.iter().filter(|company| !company.members.is_empty())
    }

    /// One page of `GET /companies/scroll`: the companies and the parameter for the next page. Only
    /// one scroll may be open; an empty page ends it.
    pub(super) fn scroll(
        &mut self,
        parameter: Option<&str>,
        now: Timestamp,
    ) -> Result<(Vec<&Company>, String), Refused> {
        let idle_since = now.plus(-SCROLL_IDLE_SECONDS);
        let open = self.scroll.take().filter(|scroll| scroll.last_used > idle_since);
        let mut scroll = match (open, parameter) {
            (Some(open), Some(wanted)) if open.parameter == wanted => open,
            (open, Some(_)) => {
                self.scroll = open;
                return Err(Refused::new(404, "not_found", "scroll parameter not found"));
            }
            (Some(open), None) => {
                self.scroll = Some(open);
                let message = "scroll already exists for this workspace";
                return Err(Refused::new(400, "scroll_exists", message));
            }
            (None, None) => self.begin_scroll(now),
        };
        let from = match &scroll.after {
            Some(last) => Bound::Excluded(Arc::clone(last)),
            None => Bound::Unbounded,
        };
        let page: Vec<&Company> = self
            .by_id
            .range((from, Bound::Unbounded))
            .map(|(_, company)| company)
            .filter(|company| !company.members.is_empty())
            .take(SCROLL_PAGE)
            .collect();
        let parameter = scroll.parameter.clone();
        if let Some(last) = page.last() {
            scroll.after = Some(Arc::clone(&last.id));
            scroll.last_used = now;
            self.scroll = Some(scroll);
        }
        Ok((page, parameter))
    }

    fn begin_scroll(&mut self, now: Timestamp) -> Scroll {
        self.scrolls_begun += 1;
        let seconds = u128::from(now.seconds().unsigned_abs());
        let number = (seconds << 64) | u128::from(self.scrolls_begun);
        let parameter = uuid::Builder::from_custom_bytes(number.to_be_bytes()).into_uuid();
        Scroll { parameter: parameter.to_string(), after: None, last_used: now }
    }

    /// Page `page` (from 1) of `POST /companies/list`, last request first, and how many there are.
    pub(super) fn list(
        &self,
        page: usize,
        per_page: usize,
    ) -> Result<(Vec<&Company>, usize), Refused> {
        let skipped = page.saturating_sub(1).saturating_mul(per_page);
        if skipped.saturating_add(per_page) > LIST_CEILING {
            let message = "page limit reached, please use scroll API";
            return Err(Refused::new(400, "parameter_invalid", message));
        }
        let mut all: Vec<&Company> = self.visible().collect();
        all.sort_by_key(|company| std::cmp::Reverse(company.last_request_at()));
        let total = all.len();
        Ok((all.into_iter().skip(skipped).take(per_page).collect(), total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(companies: usize) -> CompanyTable {
        let mut table = CompanyTable::default();
        for number in 0..companies {
            let id = Arc::from(format!("{number:024x}"));
            let mut company = Company::parse(id, &json!({"company_id": "c"}), 0).unwrap();
            company.members.insert(Arc::from("someone"));
            table.put(company);
        }
        table
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_scroll_shows_every_company_once_and_then_frees_its_place() {
        let mut table = table(250);
        let mut seen = Vec::new();
        let mut parameter = None;
        loop {
            let (page, next) = table.scroll(parameter.as_deref(), at(100)).unwrap();
            if page.is_empty() {
                break;
            }
            seen.extend(page.iter().map(|company| company.id.to_string()));
            parameter = Some(next);
        }
        assert_eq!(seen.len(), 250);
        seen.dedup();
        assert_eq!(seen.len(), 250);
        assert!(table.scroll(None, at(100)).is_ok());
    }

    #[test]
    fn only_one_scroll_at_a_time_and_an_idle_one_expires() {
        let mut table = table(250);
        let (_, first) = table.scroll(None, at(100)).unwrap();
        assert_eq!(table.scroll(None, at(130)).unwrap_err().code, "scroll_exists");
        assert!(table.scroll(Some(&first), at(130)).is_ok());
        let expired = table.scroll(Some(&first), at(190)).unwrap_err();
        assert_eq!((expired.status, &*expired.message), (404, "scroll parameter not found"));
        assert!(table.scroll(None, at(190)).is_ok());
    }

    #[test]
    fn unset_keys_are_left_out_by_rest_and_null_in_notifications() {
        let company = Company::parse("6961d175205cf6a4438f0c21".into(), &json!({}), 0).unwrap();
        let rest = company.rest("k7x2qp9m");
        assert_eq!((rest.get("name"), &rest["plan"]), (None, &json!({})));
        let hook = company.notification("k7x2qp9m");
        assert_eq!((hook.get("name"), &hook["plan"]), (Some(&Value::Null), &Value::Null));
        assert_eq!(company.attached("k7x2qp9m").get("size"), None);
    }

    #[test]
    fn a_list_ends_at_ten_thousand() {
        let table = table(3);
        assert_eq!(table.list(1, 60).unwrap().1, 3);
        assert!(table.list(201, 50).is_err());
    }
}
