//! What hangs on a contact: the kinds of messages it wants, and what admins noted about it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::contact::Form;
use super::refused::Refused;
use super::routes::subscription_type;
use super::state::{SUBSCRIPTION_TYPES, State};
use crate::model::Timestamp;

impl State {
    /// A contact decides on a kind of messages: `opt_in` or `opt_out`. What is the default of the
    /// kind is not kept.
    pub(super) fn set_subscription(
        &mut self,
        id: &str,
        subscription: &str,
        consent: &str,
        now: Timestamp,
    ) -> Result<Value, Refused> {
        let kind = SUBSCRIPTION_TYPES.iter().find(|kind| kind.0 == subscription);
        let kind = kind.ok_or_else(Refused::no_resource)?;
        let wants = match consent {
            "opt_in" => true,
            "opt_out" => false,
            _ => return Err(Refused::invalid("consent_type must be opt_in or opt_out")),
        };
        let is_kept = kind.2 == consent;
        let contact = self.live(id)?;
        let list = if kind.2 == "opt_in" { &contact.opted_in } else { &contact.opted_out };
        if list.iter().any(|held| **held == *subscription) == is_kept {
            return Ok(subscription_type(kind));
        }
        let kept: Arc<str> = Arc::from(subscription);
        self.change(id, now, |contact| {
            let opts_in = kind.2 == "opt_in";
            let list = if opts_in { &mut contact.opted_in } else { &mut contact.opted_out };
            list.retain(|held| *held != kept);
            if is_kept {
                list.push(kept);
            }
        })?;
        let what = if wants { "subscribe" } else { "unsubscribe" };
        let Some(contact) = self.contacts.get(id) else {
            return Err(Refused::no_contact());
        };
        let item = json!({
            "type": format!("granular_{what}"),
            "contact": self.view(contact, Form::Notification),
            "subscription_types": {"type": "list", "data": [subscription_type(kind)]},
            "created_at": now.seconds(),
        });
        self.fire(&format!("granular.{what}"), item, now);
        Ok(subscription_type(kind))
    }

    /// Takes a decision back: the default of the kind holds again.
    pub(super) fn forget_subscription(
        &mut self,
        id: &str,
        subscription: &str,
        now: Timestamp,
    ) -> Result<Value, Refused> {
        let kind = SUBSCRIPTION_TYPES.iter().find(|kind| kind.0 == subscription);
        let kind = kind.ok_or_else(Refused::no_resource)?;
        let opposite = if kind.2 == "opt_in" { "opt_out" } else { "opt_in" };
        self.set_subscription(id, subscription, opposite, now)
    }

    /// Writes a note about a contact.
    pub(super) fn note_contact(
        &mut self,
        id: &str,
        body: &str,
        now: Timestamp,
    ) -> Result<Value, Refused> {
        let note = self.next_number(70_000);
        self.change(id, now, |contact| contact.notes.push(Arc::clone(&note)))?;
        self.notes.insert(Arc::clone(&note), format!("<p>{body}</p>"));
        Ok(self.show_note(id, &note, now.seconds()))
    }

    /// A note as REST shows it.
    pub(super) fn show_note(&self, contact: &str, note: &Arc<str>, created_at: i64) -> Value {
        let body = self.notes.get(note).map_or("<p>Note</p>", String::as_str);
        json!({
            "type": "note", "id": note, "body": body, "created_at": created_at,
            "contact": {"type": "contact", "id": contact},
            "author": super::admin::admin(super::routes::ADMIN_ID),
        })
    }
}
