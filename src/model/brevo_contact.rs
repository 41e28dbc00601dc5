//! What Brevo holds of a contact, and what of it the engine itself applied.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{AttributeName, AttributeValue, Change, Email, Identity, ListId, RecordId, Timestamp};

/// A contact as Brevo answers it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BrevoContact {
    /// Brevo's number of the contact.
    pub id: i64,
    /// The address; contacts that have only a phone number have none.
    pub email: Option<Email>,
    /// `EXT_ID`.
    pub ext_id: Option<String>,
    /// No marketing e-mail at all.
    pub email_blacklisted: bool,
    /// No marketing SMS at all.
    pub sms_blacklisted: bool,
    /// The lists it is on.
    pub lists: BTreeSet<ListId>,
    /// The lists that it left by itself.
    pub list_unsubscribed: BTreeSet<ListId>,
    /// Its attributes with a value; names in upper case.
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
    /// When Brevo last changed it.
    pub modified_at: Option<Timestamp>,
}

impl BrevoContact {
    /// The digits of its SMS number, which no other contact may have.
    pub fn sms_digits(&self) -> Option<String> {
        let sms = self.attributes.iter().find(|(name, _)| name.as_str() == "SMS");
        sms.map(|(_, value)| value.phone_digits()).filter(|digits| !digits.is_empty())
    }

    /// True where Brevo holds the same of both, as it reads values back; times aside.
    pub fn is_as(&self, other: &Self) -> bool {
        let has_all = |a: &Self, b: &Self| {
            let mut values = a.attributes.iter().filter(|(_, value)| !value.is_empty());
            values.all(|(name, value)| {
                b.attributes.get(name).is_some_and(|other| value.is_same(other, name))
            })
        };
        self.email == other.email
            && self.lists == other.lists
            && self.email_blacklisted == other.email_blacklisted
            && self.sms_blacklisted == other.sms_blacklisted
            && has_all(self, other)
            && has_all(other, self)
    }

    /// This contact as it is once `change` was written.
    #[must_use]
    pub fn after(mut self, change: &Change) -> Self {
        if let Some(email) = &change.email {
            self.email = Some(email.clone());
        }
        if let Some(ext_id) = &change.ext_id {
            self.ext_id = Some(ext_id.clone());
        }
        for (name, value) in &change.set {
            self.attributes.insert(name.clone(), value.clone());
        }
        for name in &change.clear {
            self.attributes.remove(name);
        }
        self.lists.extend(&change.add);
        self.lists.retain(|list| !change.remove.contains(list));
        self.email_blacklisted |= change.email_opt_out;
        self.sms_blacklisted |= change.sms_opt_out;
        self
    }
}

/// What the engine itself wrote to a contact and may therefore take back.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Applied {
    /// True of a contact that the engine created.
    pub created: bool,
    /// Values that it wrote.
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
    /// Memberships that it granted.
    pub lists: BTreeSet<ListId>,
}

impl Applied {
    /// What is applied if `intent` was about to be written and nobody knows whether it was: what Brevo
    /// holds of it counts as written.
    #[must_use]
    pub fn credited(mut self, intent: &Change, held: &BrevoContact) -> Self {
        let is_held = |(name, value): &(&AttributeName, &AttributeValue)| {
            held.attributes.get(*name).is_some_and(|held| value.is_same(held, name))
        };
        let values: Vec<_> = intent.set.iter().filter(is_held).collect();
        let is_ours = intent.identity == Identity::New && values.len() == intent.set.len();
        self.created |= is_ours;
        self.attributes
            .extend(values.into_iter().map(|(name, value)| (name.clone(), value.clone())));
        self.lists.extend(intent.add.intersection(&held.lists));
        self
    }

    /// What is applied once `change` was written.
    #[must_use]
    pub fn after(mut self, change: &Change) -> Self {
        for (name, value) in &change.set {
            self.attributes.insert(name.clone(), value.clone());
        }
        for name in &change.clear {
            self.attributes.remove(name);
        }
        self.lists.extend(&change.add);
        self.lists.retain(|list| !change.remove.contains(list));
        self
    }
}

/// A contact of the mirror: what Brevo is known to hold, what was applied, and for whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirrored {
    /// What Brevo holds.
    pub contact: BrevoContact,
    /// What of it the engine wrote.
    pub applied: Applied,
    /// The Intercom contact that it stands for.
    pub owner: Option<RecordId>,
    /// When this was last read from Brevo.
    pub read_at: Timestamp,
}
