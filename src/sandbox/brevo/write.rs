//! Writing a contact: what is refused, what is unique, and what becomes of consent.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::contact::{Contact, ContactBody, Identifier};
use super::reply::Refusal;
use super::state::Account;
use super::value::{Origin, Taken};

/// On whose behalf something is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Actor<'a> {
    /// A request, by its method and path: what it does to consent is written down.
    Request(&'a str),
    /// Somebody else, such as a person in Brevo's own pages: nothing is written down.
    Foreign,
}

/// What a write left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Created(i64),
    Updated(i64),
}

impl Written {
    pub(super) fn id(self) -> i64 {
        match self {
            Self::Created(id) | Self::Updated(id) => id,
        }
    }
}

/// A write after its values were read: nothing in it can be refused but for a conflict.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) identifiers: BTreeMap<Identifier, Option<String>>,
    pub(super) attributes: BTreeMap<String, Option<Value>>,
    pub(super) joins: Vec<i64>,
    pub(super) leaves: Vec<i64>,
    pub(super) email_blacklisted: Option<bool>,
    pub(super) sms_blacklisted: Option<bool>,
}

impl Account {
    /// `POST /contacts`.
    pub(super) fn create_or_update(
        &mut self,
        body: &ContactBody,
        actor: Actor<'_>,
    ) -> Result<Written, Refusal> {
        let mut prepared = self.prepare(body)?;
        if let Some(email) = &body.email {
            prepared.identifiers.insert(Identifier::Email, Some(valid_email(email)?));
        }
        let value = |key| prepared.identifiers.get(&key).and_then(Option::as_deref);
        let keys = [Identifier::Email, Identifier::ExtId, Identifier::Sms];
        let Some((key, value)) = keys.into_iter().find_map(|key| Some((key, value(key)?))) else {
            return Err(Refusal::missing(
                "Please provide Email or SMS attribute value to create user",
            ));
        };
        let existing = self.find(key, value);
        match existing {
            Some(_) if !body.update_enabled => {
                Err(Refusal::new(400, "duplicate_parameter", "Contact already exist"))
            }
            Some(id) => {
                self.check_conflicts(&prepared, Some(id))?;
                self.commit(id, prepared, actor);
                Ok(Written::Updated(id))
            }
            None => {
                self.check_conflicts(&prepared, None)?;
                Ok(Written::Created(self.insert(prepared, actor)))
            }
        }
    }

    /// `PUT /contacts/{identifier}`.
    pub(super) fn update(
        &mut self,
        id: i64,
        body: &ContactBody,
        actor: Actor<'_>,
    ) -> Result<(), Refusal> {
        let mut prepared = self.prepare(body)?;
        prepared.leaves.clone_from(&body.unlink_list_ids);
        self.check_conflicts(&prepared, Some(id))?;
        self.commit(id, prepared, actor);
        Ok(())
    }

    /// Makes a contact of a write whose conflicts were checked.
    pub(super) fn insert(&mut self, prepared: Prepared, actor: Actor<'_>) -> i64 {
        let (id, stamp) = (self.next_contact, self.stamp());
        self.next_contact += 1;
        self.contacts.insert(id, Contact::new(id, stamp));
        let email = prepared.identifiers.get(&Identifier::Email).cloned().flatten();
        let keeps_flag = prepared.email_blacklisted == Some(true);
        if email.is_some_and(|email| self.buried.remove(&email)) && !keeps_flag {
            let what = format!("created contact {id} again, which was deleted while blacklisted");
            self.violation(actor, &what);
        }
        self.commit(id, prepared, actor);
        id
    }

    /// Applies a write whose conflicts were checked.
    pub(super) fn commit(&mut self, id: i64, prepared: Prepared, actor: Actor<'_>) {
        let stamp = self.stamp();
        let Some(before) = self.contacts.get(&id).cloned() else {
            return;
        };
        let mut after = before.clone();
        let opts_out = prepared.email_blacklisted == Some(true);
        for (name, value) in prepared.attributes {
            match value {
                Some(value) => after.attributes.insert(name, value),
                None => after.attributes.remove(&name),
            };
        }
        for (identifier, value) in prepared.identifiers {
            self.set_identifier(&mut after, identifier, value);
        }
        after.email_blacklisted = prepared.email_blacklisted.unwrap_or(before.email_blacklisted);
        after.sms_blacklisted = prepared.sms_blacklisted.unwrap_or(before.sms_blacklisted);
        let has_moved = before.email.is_some() && after.email != before.email;
        if has_moved && before.email_blacklisted {
            self.resubscribe_moved(&mut after, prepared.email_blacklisted, actor);
        } else if before.email_blacklisted
            && !after.email_blacklisted
            && !self.has_opted_in(&before)
        {
            self.violation(actor, &format!("re-subscribed contact {id}"));
        }
        if before.sms_blacklisted && !after.sms_blacklisted {
            self.violation(actor, &format!("re-subscribed contact {id} to SMS"));
        }
        if after.email_blacklisted {
            self.unrepaired.remove(&id);
        }
        if opts_out && matches!(actor, Actor::Foreign) {
            let now = self.now();
            self.opted_out.insert(id, now);
        }
        if after != before {
            after.modified_at = stamp;
            let changed = changed_values(&before, &after);
            self.contacts.insert(id, after);
            // Brevo tells of no creation, and a contact is created empty here.
            if before.email.is_some() {
                self.fire_updated(id, &changed, actor);
            }
        }
        for list in prepared.leaves {
            self.leave(id, list);
        }
        for list in prepared.joins {
            self.join(id, list, actor);
        }
    }

    /// Which identifiers of a write belong to another contact than `own`.
    pub(super) fn conflicts(&self, prepared: &Prepared, own: Option<i64>) -> Vec<Identifier> {
        let taken = |(identifier, value): (&Identifier, &Option<String>)| {
            let owner = self.find(*identifier, value.as_deref()?)?;
            (Some(owner) != own).then_some(*identifier)
        };
        prepared.identifiers.iter().filter_map(taken).collect()
    }

    /// Sorts a value into the identifiers or the other attributes. `false` for a bad phone number.
    pub(super) fn take(
        &self,
        name: &str,
        value: &Value,
        origin: Origin,
        into: &mut Prepared,
    ) -> bool {
        if self.is_deaf(name) {
            return true;
        }
        let new = match self.catalogue.take(name, value, origin) {
            Taken::Set(value) => Some(value),
            Taken::Clear => None,
            Taken::Ignored => return true,
            Taken::InvalidPhone => return false,
        };
        match Identifier::ALL.into_iter().find(|identifier| identifier.attribute() == name) {
            Some(identifier) => {
                let text = new.and_then(|value| value.as_str().map(str::to_owned));
                into.identifiers.insert(identifier, text);
            }
            None => {
                into.attributes.insert(name.to_owned(), new);
            }
        }
        true
    }

    /// Reads the values of a body, and refuses what cannot be written at all.
    fn prepare(&self, body: &ContactBody) -> Result<Prepared, Refusal> {
        let mut prepared = Prepared {
            joins: body.list_ids.clone(),
            email_blacklisted: body.email_blacklisted,
            sms_blacklisted: body.sms_blacklisted,
            ..Prepared::default()
        };
        for (name, value) in body.named_attributes() {
            if name == Identifier::Email.attribute() {
                let email = valid_email(value.as_str().unwrap_or_default())?;
                prepared.identifiers.insert(Identifier::Email, Some(email));
                continue;
            }
            if self.quirks.refuses_unknown_attributes && !self.catalogue.contains(&name) {
                return Err(Refusal::invalid(format!("Attribute {name} does not exist")));
            }
            if !self.take(&name, &value, Origin::Api, &mut prepared) {
                return Err(Refusal::invalid("Invalid phone number"));
            }
        }
        self.lists.check_exist(&body.list_ids)?;
        Ok(prepared)
    }

    fn check_conflicts(&self, prepared: &Prepared, own: Option<i64>) -> Result<(), Refusal> {
        let conflicts = self.conflicts(prepared, own);
        let Some(first) = conflicts.first() else {
            return Ok(());
        };
        let verb = if own.is_some() { "update" } else { "create" };
        let name = first.name();
        let message =
            format!("Unable to {verb} contact, {name} is already associated with another Contact");
        let duplicate_identifiers = conflicts.iter().map(|identifier| identifier.name()).collect();
        let refusal = Refusal::new(400, "duplicate_parameter", message);
        Err(Refusal { duplicate_identifiers, ..refusal })
    }

    fn set_identifier(
        &mut self,
        contact: &mut Contact,
        identifier: Identifier,
        value: Option<String>,
    ) {
        if let Some(old) = contact.identifier(identifier) {
            self.owners.remove(&(identifier, old.to_owned()));
        }
        if let Some(new) = &value {
            self.owners.insert((identifier, new.clone()), contact.id);
        }
        if identifier == Identifier::Email {
            contact.email = value;
            return;
        }
        let name = identifier.attribute().to_owned();
        match value {
            Some(value) => contact.attributes.insert(name, json!(value)),
            None => contact.attributes.remove(&name),
        };
    }

    /// A change of address takes a contact off the blacklist (facts: Brevo section 4).
    fn resubscribe_moved(&mut self, contact: &mut Contact, flag: Option<bool>, actor: Actor<'_>) {
        let id = contact.id;
        let has_asked = flag == Some(true);
        if has_asked && self.quirks.email_change_keeps_flag {
            return;
        }
        contact.email_blacklisted = false;
        let what = format!("re-subscribed contact {id} by changing its address");
        match actor {
            Actor::Request(label) if has_asked => {
                self.unrepaired.insert(id, format!("{label}: {what}, and did not look"));
            }
            actor => self.violation(actor, &what),
        }
    }
}

/// The address in the form in which it is stored, or the 400 for one that is none.
pub(super) fn valid_email(text: &str) -> Result<String, Refusal> {
    let options = email_address::Options::default().with_required_tld().without_display_text();
    let email = text.trim().to_lowercase();
    match email_address::EmailAddress::parse_with_options(&email, options) {
        Ok(_) => Ok(email),
        Err(_) => Err(Refusal::invalid("Invalid email address")),
    }
}

/// The attributes that differ, with their new values.
fn changed_values(before: &Contact, after: &Contact) -> Vec<(String, Value)> {
    let is_new = |(name, value): &(&String, &Value)| before.attributes.get(*name) != Some(*value);
    let new = after.attributes.iter().filter(is_new);
    let gone = before.attributes.keys().filter(|name| !after.attributes.contains_key(*name));
    new.map(|(name, value)| (name.clone(), value.clone()))
        .chain(gone.map(|name| (name.clone(), json!(""))))
        .collect()
}
