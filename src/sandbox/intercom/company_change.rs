//! How companies change, and who belongs to them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::company::{Company, CompanyId};
use super::refused::Refused;
use super::state::State;
use crate::model::Timestamp;

/// A contact may have this many companies.
const MAX_COMPANIES: usize = 1000;

impl State {
    /// Makes a company or, where one has this `company_id`, updates that.
    pub(super) fn create_company(
        &mut self,
        body: &Value,
        now: Timestamp,
    ) -> Result<CompanyId, Refused> {
        let known = body.get("company_id").and_then(Value::as_str);
        let known = known.and_then(|company_id| self.companies.by_company_id(company_id));
        if let Some(id) = known.map(|company| Arc::clone(&company.id)) {
            self.update_company(&id, body, now)?;
            return Ok(id);
        }
        let id = self.id_at(now.seconds());
        let company = Company::parse(Arc::clone(&id), body, self.next_ms(now))?;
        self.companies.put(company);
        self.fire_company_change("company.created", &id, now);
        Ok(id)
    }

    /// Sets what a body gives and leaves the rest.
    pub(super) fn update_company(
        &mut self,
        id: &str,
        body: &Value,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let updated_ms = self.next_ms(now);
        let company = self.companies.get_mut(id).ok_or_else(Refused::no_company)?;
        company.update(body, updated_ms)?;
        self.fire_company_change("company.updated", id, now);
        Ok(())
    }

    /// Deletes a company and takes it from its contacts.
    pub(super) fn delete_company(&mut self, id: &str, now: Timestamp) -> Result<(), Refused> {
        let company = self.companies.remove(id).ok_or_else(Refused::no_company)?;
        for member in &company.members {
            let leave = self.change(member, now, |contact| {
                contact.companies.retain(|held| **held != *id);
            });
            // An archived contact keeps the number of a company that is gone.
            drop(leave);
        }
        self.fire("company.deleted", json!({"id": id, "type": "company", "deleted": true}), now);
        Ok(())
    }

    /// A company as REST shows it.
    pub(super) fn company_rest(&self, company: &Company) -> Value {
        let mut shown = company.rest(&self.app_id);
        let tag = |id: &Arc<str>| json!({"type": "tag", "id": id, "name": self.tags.get(id)});
        let tags: Vec<Value> = company.tags.iter().map(tag).collect();
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("tags".to_owned(), json!({"type": "tag.list", "tags": tags}));
        }
        shown
    }

    pub(super) fn fire_company_change(&mut self, topic: &str, id: &str, now: Timestamp) {
        let item = self.companies.get(id).map(|company| company.notification(&self.app_id));
        if let Some(item) = item {
            self.fire(topic, item, now);
        }
    }

    /// Adds a company to a contact; again is no change.
    pub(super) fn attach_company(
        &mut self,
        id: &str,
        company: &str,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let held = &self.live(id)?.companies;
        let company = self.known_company(company)?;
        if held.contains(&company) {
            return Ok(());
        }
        if held.len() >= MAX_COMPANIES {
            let message = format!("a contact has at most {MAX_COMPANIES} companies");
            return Err(Refused::new(400, "contact_company_limit_exceeded", message));
        }
        self.change(id, now, |contact| contact.companies.push(Arc::clone(&company)))?;
        if let Some(company) = self.companies.get_mut(&company) {
            company.members.insert(Arc::from(id));
        }
        self.fire_company("attached", id, &company, now);
        Ok(())
    }

    /// Takes a company from a contact.
    pub(super) fn detach_company(
        &mut self,
        id: &str,
        company: &str,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let company = self.known_company(company)?;
        if !self.live(id)?.companies.contains(&company) {
            return Err(Refused::no_company());
        }
        self.change(id, now, |contact| contact.companies.retain(|held| *held != company))?;
        if let Some(company) = self.companies.get_mut(&company) {
            company.members.remove(id);
        }
        self.fire_company("detached", id, &company, now);
        Ok(())
    }

    fn known_company(&self, company: &str) -> Result<CompanyId, Refused> {
        let known = self.companies.get(company).map(|company| Arc::clone(&company.id));
        known.ok_or_else(Refused::no_company)
    }
}
