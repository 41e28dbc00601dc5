//! The notifications that changes fire (facts: Intercom section 9).

use std::sync::Arc;

use serde_json::{Value, json};

use super::contact::{Contact, Form};
use super::notification::notification;
use super::state::State;
use crate::model::Timestamp;

impl State {
    pub(super) fn fire_update(&mut self, before: &Contact, now: Timestamp) {
        let Some(after) = self.contacts.get(&before.id).cloned() else {
            return;
        };
        let id = &after.id;
        let (was_unsubscribed, is_unsubscribed) =
            (before.is_unsubscribed(), after.is_unsubscribed());
        if before.is_lead() && !after.is_lead() {
            self.fire_contact("contact.lead.signed_up", id, Form::Notification, now);
        }
        match (before.email(), after.email()) {
            (old, new) if old == new => {}
            (None, Some(_)) if after.is_lead() => {
                self.fire_contact("contact.lead.added_email", id, Form::Notification, now);
            }
            _ => self.fire_contact("contact.email.updated", id, Form::EmailNotification, now),
        }
        if !was_unsubscribed && is_unsubscribed {
            self.opt_ins.remove(id);
            self.fire_subscription("contact.unsubscribed", "contact_unsubscribe", &after, now);
        }
        if was_unsubscribed && !is_unsubscribed {
            self.opt_ins.insert(Arc::clone(id), after.updated_ms.div_euclid(1000));
            self.fire_subscription("contact.subscribed", "contact_subscribe", &after, now);
        }
        let is_off_sms = |contact: &Contact| {
            contact.fields.get("unsubscribed_from_sms") == Some(&Value::Bool(true))
        };
        if !is_off_sms(before) && is_off_sms(&after) {
            self.fire_contact("contact.unsubscribed_from_sms", id, Form::Notification, now);
        }
        let topic = format!("contact.{}.updated", after.role());
        self.fire_contact(&topic, id, Form::Notification, now);
    }

    /// When whoever has an address opted in again, in seconds; none if anybody with it is out.
    pub(super) fn opted_in(&self, email: &str) -> Option<i64> {
        let live = || self.contacts.with_email(email).filter(|contact| !contact.is_archived);
        let is = |contact: &Contact, field: &'static str| {
            contact.fields.get(field) == Some(&Value::Bool(true))
        };
        let is_out = |contact: &Contact| {
            let marks = ["has_hard_bounced", "marked_email_as_spam"];
            contact.is_unsubscribed() || marks.iter().any(|mark| is(contact, mark))
        };
        let newest = live().filter_map(|contact| self.opt_ins.get(&contact.id)).max().copied();
        newest.filter(|_| !live().any(is_out))
    }

    pub(super) fn fire_subscription(
        &mut self,
        topic: &str,
        kind: &str,
        contact: &Contact,
        now: Timestamp,
    ) {
        let item = json!({
            "type": kind,
            "contact": self.view(contact, Form::Notification),
            "subscription_types": {"type": "list", "data": []},
            "created_at": now.seconds(),
        });
        self.fire(topic, item, now);
    }

    pub(super) fn fire_tag(&mut self, what: &str, id: &str, tag: &str, now: Timestamp) {
        let Some(contact) = self.contacts.get(id) else {
            return;
        };
        let item = json!({
            "type": "contact_tag",
            "tag": {"type": "tag", "id": tag, "name": self.tags.get(tag)},
            "contact": self.view(contact, Form::Notification),
        });
        let topic = format!("contact.{}.tag.{what}", contact.role());
        self.fire(&topic, item, now);
    }

    /// `{id, external_id, type, <what>: <is>}`.
    pub(super) fn minimal(&self, id: &str, what: &str, is: bool) -> Value {
        let external_id = self.contacts.get(id).and_then(Contact::external_id);
        let mut item = json!({"id": id, "external_id": external_id, "type": "contact"});
        if let Some(item) = item.as_object_mut() {
            item.insert(what.to_owned(), Value::Bool(is));
        }
        item
    }

    pub(super) fn fire_company(&mut self, what: &str, id: &str, company: &str, now: Timestamp) {
        let (Some(contact), Some(company)) = (self.contacts.get(id), self.companies.get(company))
        else {
            return;
        };
        let item = json!({
            "company": company.attached(&self.app_id),
            "contact": self.view(contact, Form::AttachedNotification),
        });
        let updated = format!("contact.{}.updated", contact.role());
        self.fire(&format!("company.contact.{what}"), item, now);
        self.fire_contact(&updated, id, Form::Notification, now);
    }

    pub(super) fn fire_contact(&mut self, topic: &str, id: &str, form: Form, now: Timestamp) {
        let Some(contact) = self.contacts.get(id) else {
            return;
        };
        let item = self.view(contact, form).to_value();
        self.fire(topic, item, now);
    }

    pub(super) fn fire(&mut self, topic: &str, item: Value, now: Timestamp) {
        self.outbox.push(notification(&self.app_id, topic, item, now));
    }

    pub(super) fn role(&self, id: &str) -> &str {
        self.contacts.get(id).map_or("user", Contact::role)
    }
}
