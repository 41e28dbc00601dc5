//! The calls under `/tags`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::refused::Refused;
use super::routes::{Call, Reply, ok, tag_shown};
use super::state::State;
use crate::model::Timestamp;

/// What a request under `/tags` asks for; `rest` are the segments after it.
pub(super) fn tags(state: &mut State, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
    match (call.method, rest) {
        ("GET", []) => {
            let tags: Vec<Value> = state.tags.keys().map(|id| tag_shown(state, id, None)).collect();
            ok(json!({"type": "list", "data": tags}))
        }
        ("POST", []) => write(state, call),
        ("GET", [id]) => {
            let id = state.known_tag(id)?;
            ok(tag_shown(state, &id, None))
        }
        ("DELETE", [id]) => {
            state.delete_tag(id)?;
            Ok(Reply { status: 200, body: Vec::new() })
        }
        _ => Err(Refused::no_resource()),
    }
}

/// Makes or renames a tag, or puts one on companies or contacts, or takes it from companies.
fn write(state: &mut State, call: &Call<'_>) -> Result<Reply, Refused> {
    let name = call.body.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err(Refused::missing("name is required"));
    }
    let list = |key: &str| call.body.get(key).and_then(Value::as_array).cloned();
    let id = match call.body.get("id") {
        Some(id) => {
            let id = state.known_tag(id.as_str().unwrap_or_default())?;
            state.tags.insert(Arc::clone(&id), name.to_owned());
            id
        }
        None => state.tag_named(name),
    };
    for company in list("companies").unwrap_or_default() {
        let found = state.named_company(&company)?;
        let is_taken = company.get("untag").and_then(Value::as_bool) == Some(true);
        state.tag_company(&found, &id, !is_taken, call.now)?;
    }
    for contact in list("users").unwrap_or_default() {
        let contact = state.named_contact(&contact)?;
        state.tag(&contact, &id, call.now)?;
    }
    ok(tag_shown(state, &id, None))
}

impl State {
    /// The company that a body names as `id` or `company_id`.
    fn named_company(&self, body: &Value) -> Result<Arc<str>, Refused> {
        let member = |key: &str| body.get(key).and_then(Value::as_str);
        let found = match (member("id"), member("company_id")) {
            (Some(id), _) => self.companies.get(id),
            (None, Some(company_id)) => self.companies.by_company_id(company_id),
            (None, None) => return Err(Refused::missing("id or company_id is required")),
        };
        found.map(|company| Arc::clone(&company.id)).ok_or_else(Refused::no_company)
    }

    /// Puts a tag on a company or takes it away.
    pub(super) fn tag_company(
        &mut self,
        id: &str,
        tag: &Arc<str>,
        is_on: bool,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let updated_ms = self.next_ms(now);
        let company = self.companies.get_mut(id).ok_or_else(Refused::no_company)?;
        if company.tags.contains(tag) == is_on {
            return Ok(());
        }
        match is_on {
            true => company.tags.push(Arc::clone(tag)),
            false => company.tags.retain(|held| held != tag),
        }
        company.updated_ms = updated_ms;
        self.fire_company_change("company.updated", id, now);
        Ok(())
    }

    /// Deletes a tag that is on nothing.
    fn delete_tag(&mut self, id: &str) -> Result<(), Refused> {
        let id = self.known_tag(id)?;
        let is_used = self.contacts.newest_first().any(|contact| contact.tags.contains(&id))
            || self.companies.iter().any(|company| company.tags.contains(&id));
        if is_used {
            let message = "Unable to delete tag with dependent objects";
            return Err(Refused::new(400, "tag_has_dependent_objects", message));
        }
        self.tags.remove(&id);
        Ok(())
    }
}
