//! The account: its contacts, who is on which list, and what was done to anybody's consent.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::attribute::Catalogue;
use super::company::Companies;
use super::contact::{Contact, Identifier};
use super::double_opt_in::Confirmation;
use super::import::Process;
use super::list::Lists;
use super::object::Objects;
use super::webhook::Hooks;
use super::write::Actor;
use crate::model::Clock;
use crate::sandbox::OptIns;

/// What Brevo does is not documented here: each switch begins at the worst of the possibilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quirks {
    /// `emailBlacklisted: true` in the `PUT` that changes the address of a blacklisted contact wins
    /// over the re-subscription that the change brings about.
    pub email_change_keeps_flag: bool,
    /// The row of a blacklisted contact in an import without `emailBlacklist` re-subscribes it.
    pub import_resubscribes: bool,
    /// An unknown attribute in `POST` and `PUT` is a 400 and not ignored.
    pub refuses_unknown_attributes: bool,
    /// What the withdrawn `POST /contacts/batch` answers: 410 or 404.
    pub batch_status: u16,
    /// What a bad event does to the batch that it is in.
    pub bad_event: BadEvent,
}

/// What becomes of a batch of events of which one is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadEvent {
    /// The others are taken, and the answer says which one is bad.
    IsNamed,
    /// None is taken, with a 400 that does not say why.
    SpoilsTheBatch,
    /// None is taken, with a 500.
    BreaksTheCall,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            email_change_keeps_flag: false,
            import_resubscribes: true,
            refuses_unknown_attributes: false,
            batch_status: 410,
            bad_event: BadEvent::IsNamed,
        }
    }
}

/// The whole account.
#[derive(Debug)]
pub(super) struct Account {
    clock: Arc<dyn Clock>,
    last_stamp: i64,
    pub(super) next_contact: i64,
    pub(super) contacts: BTreeMap<i64, Contact>,
    pub(super) owners: HashMap<(Identifier, String), i64>,
    /// Addresses that were blacklisted when their contact was deleted.
    pub(super) buried: BTreeSet<String>,
    pub(super) lists: Lists,
    pub(super) catalogue: Catalogue,
    pub(super) processes: BTreeMap<i64, Process>,
    pub(super) files: BTreeMap<String, String>,
    pub(super) events: Vec<Value>,
    /// How many events are listed, the first ones, while the others are still in the queue; none: all.
    pub(super) listed_events: Option<usize>,
    pub(super) companies: Companies,
    pub(super) objects: Objects,
    pub(super) confirmations: Vec<Confirmation>,
    pub(super) quirks: Quirks,
    pub(super) hooks: Hooks,
    /// How many values of an attribute are still to be dropped without a word.
    pub(super) deaf: BTreeMap<String, Cell<usize>>,
    /// The name of the key that requests are made with.
    pub(super) api_key_name: String,
    /// Who opted in again elsewhere; none: nobody is ever re-subscribed lawfully.
    pub(super) opt_ins: Option<OptIns>,
    /// When people opted out here by themselves, in seconds, by their contact's number.
    pub(super) opted_out: BTreeMap<i64, i64>,
    /// Whose mail came back or was called spam.
    pub(super) unreachable: BTreeSet<i64>,
    violations: Vec<String>,
    /// Re-subscribed by a change of address although the request said otherwise; a violation unless
    /// the flag is set again.
    pub(super) unrepaired: BTreeMap<i64, String>,
}

impl Account {
    pub(super) fn new(clock: Arc<dyn Clock>, quirks: Quirks) -> Self {
        let now = clock.now().seconds().saturating_mul(1000);
        Self {
            clock,
            last_stamp: 0,
            next_contact: 1,
            contacts: BTreeMap::new(),
            owners: HashMap::new(),
            buried: BTreeSet::new(),
            lists: Lists::new(now),
            catalogue: Catalogue::default(),
            processes: BTreeMap::new(),
            files: BTreeMap::new(),
            events: Vec::new(),
            listed_events: None,
            companies: Companies::default(),
            objects: Objects::default(),
            confirmations: Vec::new(),
            quirks,
            hooks: Hooks::default(),
            deaf: BTreeMap::new(),
            api_key_name: String::new(),
            opt_ins: None,
            opted_out: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            violations: Vec::new(),
            unrepaired: BTreeMap::new(),
        }
    }

    pub(super) fn get(&self, id: i64) -> Option<&Contact> {
        self.contacts.get(&id)
    }

    /// A contact as `GET /contacts/{identifier}` answers it.
    pub(super) fn shown(&self, id: i64) -> Option<Value> {
        let opted_out = self.opted_out.get(&id).copied();
        Some(self.get(id)?.to_full_json(opted_out, self.unreachable.contains(&id)))
    }

    /// All contacts in the order of their creation.
    pub(super) fn contacts(&self) -> impl DoubleEndedIterator<Item = &Contact> {
        self.contacts.values()
    }

    /// The contact that has this identifier, given in the form in which it is stored.
    pub(super) fn find(&self, identifier: Identifier, value: &str) -> Option<i64> {
        self.owners.get(&(identifier, value.to_owned())).copied()
    }

    /// How many identifiers are taken.
    #[cfg(test)]
    pub(super) fn owned_identifiers(&self) -> usize {
        self.owners.len()
    }

    /// True if a value of this attribute is to be dropped, one less from now on.
    pub(super) fn is_deaf(&self, name: &str) -> bool {
        let Some(left) = self.deaf.get(name).filter(|left| left.get() > 0) else {
            return false;
        };
        left.set(left.get() - 1);
        true
    }

    /// Seconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.clock.now().seconds()
    }

    /// Milliseconds since 1970: the clock's second, and within it a count, so that two changes
    /// differ where a real clock would tell them apart.
    pub(super) fn stamp(&mut self) -> i64 {
        let second = self.clock.now().seconds().saturating_mul(1000);
        let is_same_second = self.last_stamp.div_euclid(1000) == second.div_euclid(1000);
        let next = if is_same_second { self.last_stamp + 1 } else { second };
        self.last_stamp = next.min(second + 999);
        self.last_stamp
    }

    /// Deletes for good; the history of the blacklist goes with it, so that creating the contact
    /// again re-subscribes the person.
    pub(super) fn delete(&mut self, id: i64) -> bool {
        self.fire_deleted(id);
        let Some(contact) = self.contacts.remove(&id) else {
            return false;
        };
        for identifier in Identifier::ALL {
            if let Some(value) = contact.identifier(identifier) {
                self.owners.remove(&(identifier, value.to_owned()));
            }
        }
        self.companies.forget_contact(id);
        for list in &contact.lists {
            if let Some(list) = self.lists.lists.get_mut(list) {
                list.members.remove(&id);
            }
        }
        if let (true, Some(email)) = (contact.email_blacklisted, contact.email) {
            self.buried.insert(email);
        }
        true
    }

    /// Puts a contact on a list that exists; false if it was there.
    pub(super) fn join(&mut self, id: i64, list: i64, actor: Actor<'_>) -> bool {
        let stamp = self.stamp();
        let Some(contact) = self.contacts.get_mut(&id) else {
            return false;
        };
        let Some(members) = self.lists.lists.get_mut(&list).map(|list| &mut list.members) else {
            return false;
        };
        if !contact.lists.insert(list) {
            return false;
        }
        members.insert(id);
        contact.modified_at = stamp;
        let (is_blacklisted, had_left) =
            (contact.email_blacklisted, contact.left_lists.remove(&list));
        if is_blacklisted {
            self.violation(actor, &format!("put the blacklisted contact {id} on list {list}"));
        }
        if had_left {
            self.violation(actor, &format!("put contact {id} back on list {list}, which it left"));
        }
        self.fire_joined(id, list, actor);
        true
    }

    /// Takes a contact off a list; false if it was not there.
    pub(super) fn leave(&mut self, id: i64, list: i64) -> bool {
        let stamp = self.stamp();
        let Some(contact) = self.contacts.get_mut(&id) else {
            return false;
        };
        if !contact.lists.remove(&list) {
            return false;
        }
        contact.modified_at = stamp;
        if let Some(list) = self.lists.lists.get_mut(&list) {
            list.members.remove(&id);
        }
        true
    }

    /// The person leaves a list, which is remembered.
    pub(super) fn unsubscribe_from(&mut self, id: i64, list: i64) {
        self.leave(id, list);
        if let Some(contact) = self.contacts.get_mut(&id) {
            contact.left_lists.insert(list);
        }
    }

    /// What was done to people's consent, and to whom.
    pub(super) fn violations(&self) -> Vec<String> {
        self.violations.iter().chain(self.unrepaired.values()).cloned().collect()
    }

    /// True of somebody who opted in elsewhere after whatever he had said here.
    pub(super) fn has_opted_in(&self, contact: &Contact) -> bool {
        let email = contact.email.as_deref();
        let opted_in = email.and_then(|email| self.opt_ins.as_ref()?.of(email));
        let opted_out = self.opted_out.get(&contact.id);
        let is_newer = |opted_in| opted_out.is_none_or(|opted_out| opted_in > *opted_out);
        opted_in.is_some_and(is_newer) && !self.unreachable.contains(&contact.id)
    }

    /// Writes down what a request did to somebody's consent.
    pub(super) fn violation(&mut self, actor: Actor<'_>, what: &str) {
        if let Actor::Request(label) = actor {
            self.violations.push(format!("{label}: {what}"));
        }
    }

    /// All contacts without numbers and times, so that two accounts can be compared.
    pub(super) fn snapshot(&self) -> Value {
        let name = |id: &i64| {
            self.lists.lists.get(id).map_or_else(|| id.to_string(), |list| list.name.clone())
        };
        let names = |ids: &BTreeSet<i64>| ids.iter().map(name).collect::<BTreeSet<_>>();
        let mut snapshot = Map::new();
        for contact in self.contacts.values() {
            let other =
                |key| contact.identifier(key).map(|value| format!("{}:{value}", key.name()));
            let key = contact.email.clone();
            let key = key.or_else(|| Identifier::ALL.into_iter().find_map(other));
            let state = json!({
                "attributes": contact.attributes,
                "lists": names(&contact.lists),
                "left_lists": names(&contact.left_lists),
                "emailBlacklisted": contact.email_blacklisted,
                "smsBlacklisted": contact.sms_blacklisted,
            });
            snapshot.insert(key.unwrap_or_else(|| format!("id:{}", contact.id)), state);
        }
        Value::Object(snapshot)
    }
}
