//! Who plays: contacts of the fake Intercom that a step can show its effect on.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::error::DemoError;
use super::stage::Stage;

/// A contact of Intercom's.
#[derive(Debug, Clone)]
pub(super) struct Player {
    /// Its id in Intercom.
    pub(super) id: String,
    /// Its address, in lower case.
    pub(super) email: String,
}

/// Contacts that have not played yet.
#[derive(Debug)]
pub(super) struct Cast(Vec<(Player, Value)>);

impl Cast {
    /// Users with an address of their own who take e-mail: whatever happens to one of them happens to
    /// one contact of Brevo's.
    pub(super) fn of(stage: &Stage) -> Self {
        let contacts = stage.sandbox.intercom.contacts();
        let mut uses: BTreeMap<String, usize> = BTreeMap::new();
        for email in contacts.iter().filter_map(email_of) {
            *uses.entry(email).or_default() += 1;
        }
        let blacklisted: HashSet<String> = stage
            .sandbox
            .brevo
            .contacts()
            .iter()
            .filter(|contact| is_true(contact, "emailBlacklisted"))
            .filter_map(email_of)
            .collect();
        let players = contacts.into_iter().filter_map(|contact| {
            let id = contact.get("id")?.as_str()?.to_owned();
            let email = email_of(&contact)?;
            let is_user = text(&contact, "role") == Some("user");
            let is_single = uses.get(&email) == Some(&1) && !blacklisted.contains(&email);
            (is_user && is_single).then_some((Player { id, email }, contact))
        });
        Self(players.collect())
    }

    /// Takes the first one that suits.
    pub(super) fn take(
        &mut self,
        part: &'static str,
        suits: impl Fn(&Player, &Value) -> bool,
    ) -> Result<Player, DemoError> {
        let place = self.0.iter().position(|(player, contact)| suits(player, contact));
        let place = place.ok_or(DemoError::NoContact(part))?;
        Ok(self.0.swap_remove(place).0)
    }

    /// Takes anybody.
    pub(super) fn take_any(&mut self, part: &'static str) -> Result<Player, DemoError> {
        self.take(part, |_, _| true)
    }
}

/// The address of a contact of either service, in lower case.
pub(super) fn email_of(contact: &Value) -> Option<String> {
    text(contact, "email").filter(|email| !email.is_empty()).map(str::to_lowercase)
}

/// A field's text.
pub(super) fn text<'a>(contact: &'a Value, field: &str) -> Option<&'a str> {
    contact.get(field).and_then(Value::as_str)
}

/// True if a field is `true`.
pub(super) fn is_true(contact: &Value, field: &str) -> bool {
    contact.get(field) == Some(&Value::Bool(true))
}

/// An attribute of a contact of Brevo's.
pub(super) fn attribute<'a>(contact: &'a Value, name: &str) -> Option<&'a Value> {
    contact.get("attributes")?.get(name)
}
