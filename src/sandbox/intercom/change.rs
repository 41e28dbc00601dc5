//! How the workspace changes, whether a request or Intercom itself wants it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::contact::{Contact, ContactId, Form};
use super::refused::Refused;
use super::state::State;
use super::write::{ContactWrite, Way};
use crate::model::Timestamp;

impl State {
    /// `POST /contacts`, or the Messenger.
    pub(super) fn create(
        &mut self,
        body: &Value,
        way: Way,
        now: Timestamp,
    ) -> Result<ContactId, Refused> {
        let write = ContactWrite::parse(body, way, &mut self.attributes)?;
        let updated_at = write.updated_at;
        let updated_ms = self.next_ms(now);
        // Recorded: a new contact's `updated_at` lies 2 ms before its `created_at`.
        let mut contact = Contact::new(self.id_at(now.seconds()), updated_ms + 2);
        write.apply(&mut contact);
        contact.updated_ms = updated_at.map_or(updated_ms, |seconds| seconds * 1000);
        self.complete(&mut contact)?;
        self.check_clash(&contact, way)?;
        let id = Arc::clone(&contact.id);
        self.lag.note(&id, None, now);
        self.contacts.put(contact);
        let topic = format!("contact.{}.created", self.role(&id));
        self.fire_contact(&topic, &id, Form::Notification, now);
        Ok(id)
    }

    /// Gives a new contact its role, and a lead its generated `external_id`.
    fn complete(&self, contact: &mut Contact) -> Result<(), Refused> {
        if contact.text("role").is_none() {
            if contact.email().is_none() && contact.external_id().is_none() {
                let message = "one of email, external_id or role is required";
                return Err(Refused::missing(message));
            }
            contact.fields.set("role", json!("user"));
        }
        if contact.is_lead() && contact.external_id().is_none() {
            contact.fields.set("external_id", json!(uuid::Uuid::new_v4().to_string()));
        }
        Ok(())
    }

    /// Refuses a contact that another one stands in the way of: the same `external_id`, or two users
    /// with one address unless their `external_id`s differ (facts: Intercom section 3.4).
    fn check_clash(&self, contact: &Contact, way: Way) -> Result<(), Refused> {
        let by_external_id = contact
            .external_id()
            .and_then(|external_id| self.contacts.with_external_id(external_id))
            .filter(|other| other.id != contact.id);
        let by_email = || {
            let email = contact.email().filter(|_| way == Way::Api && !contact.is_lead())?;
            self.contacts.with_email(email).find(|other| {
                let has_both = contact.external_id().is_some() && other.external_id().is_some();
                other.id != contact.id && !other.is_lead() && !has_both
            })
        };
        let Some(other) = by_external_id.or_else(by_email) else {
            return Ok(());
        };
        let which = if other.is_archived { "An archived contact" } else { "A contact" };
        let message = format!("{which} matching those details already exists with id={}", other.id);
        Err(Refused::new(409, "conflict", message))
    }

    /// `PUT /contacts/{id}`, or a change from inside.
    pub(super) fn update(
        &mut self,
        id: &str,
        patch: &Value,
        way: Way,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let mut contact = self.live(id)?.clone();
        let before = contact.clone();
        let write = ContactWrite::parse(patch, way, &mut self.attributes)?;
        let updated_at = write.updated_at;
        write.apply(&mut contact);
        self.check_clash(&contact, way)?;
        contact.updated_ms = match updated_at {
            Some(seconds) => seconds * 1000,
            None => self.next_ms(now),
        };
        self.lag.note(&contact.id, Some(&before), now);
        self.contacts.put(contact);
        self.fire_update(&before, now);
        Ok(())
    }

    /// Changes a live contact and moves its `updated_at` on.
    pub(super) fn change(
        &mut self,
        id: &str,
        now: Timestamp,
        change: impl FnOnce(&mut Contact),
    ) -> Result<(), Refused> {
        let mut contact = self.live(id)?.clone();
        self.lag.note(&contact.id, Some(&contact), now);
        change(&mut contact);
        contact.updated_ms = self.next_ms(now);
        self.contacts.put(contact);
        Ok(())
    }

    /// Tags a contact; again is no change.
    pub(super) fn tag(&mut self, id: &str, tag: &str, now: Timestamp) -> Result<(), Refused> {
        let tag = self.known_tag(tag)?;
        if self.live(id)?.tags.contains(&tag) {
            return Ok(());
        }
        self.change(id, now, |contact| contact.tags.push(Arc::clone(&tag)))?;
        self.fire_tag("created", id, &tag, now);
        Ok(())
    }

    /// Takes a tag from a contact.
    pub(super) fn untag(&mut self, id: &str, tag: &str, now: Timestamp) -> Result<(), Refused> {
        let tag = self.known_tag(tag)?;
        if !self.live(id)?.tags.contains(&tag) {
            return Err(Refused::no_tag());
        }
        self.change(id, now, |contact| contact.tags.retain(|held| *held != tag))?;
        self.fire_tag("deleted", id, &tag, now);
        Ok(())
    }

    pub(super) fn known_tag(&self, tag: &str) -> Result<Arc<str>, Refused> {
        let known = self.tags.get_key_value(tag).map(|(id, _)| Arc::clone(id));
        known.ok_or_else(Refused::no_tag)
    }

    /// Hides a contact; it can come back.
    pub(super) fn archive(&mut self, id: &str, now: Timestamp) -> Result<(), Refused> {
        self.change(id, now, |contact| contact.is_archived = true)?;
        self.fire("contact.archived", self.minimal(id, "archived", true), now);
        Ok(())
    }

    /// Brings an archived contact back.
    pub(super) fn unarchive(&mut self, id: &str, now: Timestamp) -> Result<(), Refused> {
        let archived = self.contacts.get(id).filter(|contact| contact.is_archived);
        let mut contact = archived.cloned().ok_or_else(Refused::no_contact)?;
        contact.is_archived = false;
        contact.updated_ms = self.next_ms(now);
        self.contacts.put(contact);
        // Recorded: subscribed to as `contact.unarchive`, delivered as this.
        self.fire_contact("contact.unarchived", id, Form::Notification, now);
        Ok(())
    }

    /// Deletes a contact, archived or not, for good, and returns what the API answers.
    pub(super) fn delete(&mut self, id: &str, now: Timestamp) -> Result<Value, Refused> {
        self.contacts.get(id).ok_or_else(Refused::no_contact)?;
        let item = self.minimal(id, "deleted", true);
        self.drop_contact(id);
        self.fire("contact.deleted", item.clone(), now);
        Ok(item)
    }

    fn drop_contact(&mut self, id: &str) -> Option<Contact> {
        let contact = self.contacts.remove(id)?;
        self.events.forget(id);
        for company in &contact.companies {
            if let Some(company) = self.companies.get_mut(company) {
                company.members.remove(id);
            }
        }
        Some(contact)
    }

    /// Merges a lead into a user; the lead is gone.
    pub(super) fn merge(&mut self, from: &str, into: &str, now: Timestamp) -> Result<(), Refused> {
        if !self.live(from)?.is_lead() || self.live(into)?.is_lead() {
            return Err(Refused::invalid("from must be a lead and into must be a user"));
        }
        let survivor = Arc::clone(&self.live(into)?.id);
        self.events.hand_over(from, &survivor);
        self.conversations.hand_over(from, &survivor);
        self.survivors.insert(from.to_owned(), survivor);
        let Some(lead) = self.drop_contact(from) else {
            return Err(Refused::no_contact());
        };
        for company in &lead.companies {
            if let Some(company) = self.companies.get_mut(company) {
                company.members.insert(Arc::from(into));
            }
        }
        self.change(into, now, |user| absorb(user, lead))?;
        let Some(user) = self.contacts.get(into) else {
            return Err(Refused::no_contact());
        };
        let mut item = self.view(user, Form::Notification).to_value();
        if let (true, Some(item)) = (self.names_merged_contact, item.as_object_mut()) {
            item.insert("merged_from".to_owned(), json!({"type": "contact", "id": from}));
        }
        self.fire("contact.merged", item, now);
        Ok(())
    }
}

/// What a user takes over from a lead that is merged into it.
fn absorb(user: &mut Contact, lead: Contact) {
    for (key, value) in lead.fields.iter() {
        if user.fields.get(key).is_none() && *key != "external_id" {
            user.fields.set(key, value.clone());
        }
    }
    for (key, value) in lead.location.iter() {
        if user.location.get(key).is_none() {
            user.location.set(key, value.clone());
        }
    }
    if lead.is_unsubscribed() {
        user.fields.set("unsubscribed_from_emails", Value::Bool(true));
    }
    for (name, value) in lead.custom_attributes.iter() {
        if user.custom_attributes.get(name).is_none() {
            user.custom_attributes.set(Arc::clone(name), value.clone());
        }
    }
    let add = |into: &mut Vec<Arc<str>>, from: Vec<Arc<str>>| {
        for id in from {
            if !into.contains(&id) {
                into.push(id);
            }
        }
    };
    add(&mut user.tags, lead.tags);
    add(&mut user.companies, lead.companies);
    add(&mut user.notes, lead.notes);
    add(&mut user.opted_out, lead.opted_out);
    add(&mut user.opted_in, lead.opted_in);
}
