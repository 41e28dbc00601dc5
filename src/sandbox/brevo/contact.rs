//! One contact as the account keeps and shows it, and the body that writes one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What names exactly one contact, besides its number (facts: Brevo section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Identifier {
    Email,
    ExtId,
    Sms,
    Whatsapp,
    Landline,
}

impl Identifier {
    pub(super) const ALL: [Self; 5] =
        [Self::Email, Self::ExtId, Self::Sms, Self::Whatsapp, Self::Landline];

    /// The attribute that holds it.
    pub(super) fn attribute(self) -> &'static str {
        match self {
            Self::Email => "EMAIL",
            Self::ExtId => "EXT_ID",
            Self::Sms => "SMS",
            Self::Whatsapp => "WHATSAPP",
            Self::Landline => "LANDLINE_NUMBER",
        }
    }

    /// Its name in `metadata.duplicate_identifiers` and in the message beside it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            other => other.attribute(),
        }
    }
}

/// One contact.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Contact {
    pub(super) id: i64,
    /// In lower case.
    pub(super) email: Option<String>,
    /// By name in upper case, the identifiers but for the address among them.
    pub(super) attributes: BTreeMap<String, Value>,
    pub(super) lists: BTreeSet<i64>,
    /// Lists that the person left.
    pub(super) left_lists: BTreeSet<i64>,
    pub(super) email_blacklisted: bool,
    pub(super) sms_blacklisted: bool,
    /// Milliseconds since 1970.
    pub(super) created_at: i64,
    /// Milliseconds since 1970.
    pub(super) modified_at: i64,
}

impl Contact {
    pub(super) fn new(id: i64, now: i64) -> Self {
        Self {
            id,
            email: None,
            attributes: BTreeMap::new(),
            lists: BTreeSet::new(),
            left_lists: BTreeSet::new(),
            email_blacklisted: false,
            sms_blacklisted: false,
            created_at: now,
            modified_at: now,
        }
    }

    pub(super) fn identifier(&self, identifier: Identifier) -> Option<&str> {
        match identifier {
            Identifier::Email => self.email.as_deref(),
            other => self.attributes.get(other.attribute()).and_then(Value::as_str),
        }
    }

    /// As it stands in a page of contacts.
    pub(super) fn to_json(&self) -> Value {
        let mut body = json!({
            "id": self.id,
            "emailBlacklisted": self.email_blacklisted,
            "smsBlacklisted": self.sms_blacklisted,
            "whatsappBlacklisted": false,
            "createdAt": iso(self.created_at),
            "modifiedAt": iso(self.modified_at),
            "listIds": self.lists,
            "listUnsubscribed": if self.left_lists.is_empty() { None } else { Some(&self.left_lists) },
            "attributes": self.attributes,
        });
        if let (Some(email), Some(fields)) = (&self.email, body.as_object_mut()) {
            fields.insert("email".to_owned(), json!(email));
        }
        body
    }

    /// As `GET /contacts/{identifier}` answers it. `opted_out`: when the person unsubscribed last, in
    /// seconds; `unreachable`: mail came back.
    pub(super) fn to_full_json(&self, opted_out: Option<i64>, unreachable: bool) -> Value {
        let mut statistics = Map::new();
        if let Some(seconds) = opted_out {
            let one = json!({"campaignId": 1, "eventTime": iso(seconds.saturating_mul(1000))});
            let kinds = json!({"userUnsubscription": [one], "adminUnsubscription": []});
            statistics.insert("unsubscriptions".to_owned(), kinds);
        }
        if unreachable {
            statistics.insert("hardBounces".to_owned(), json!([{"campaignId": 1}]));
        }
        let mut body = self.to_json();
        if let Some(fields) = body.as_object_mut() {
            fields.insert("statistics".to_owned(), Value::Object(statistics));
        }
        body
    }
}

/// A time as Brevo writes it: milliseconds and the account's offset, here that of Paris in winter,
/// so that nobody takes two of them for comparable as text.
pub(super) fn iso(milliseconds: i64) -> String {
    let instant = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or_default();
    let zoned = instant.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(1)));
    zoned.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

/// The body of `POST /contacts` and `PUT /contacts/{identifier}`. Fields that Brevo has and this
/// server lacks (`forceMerge`, `getId`, `smtpBlacklistSender`) are ignored.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContactBody {
    pub(super) email: Option<String>,
    #[serde(rename = "ext_id")]
    pub(super) ext_id: Option<String>,
    pub(super) attributes: Map<String, Value>,
    pub(super) list_ids: Vec<i64>,
    /// Of `PUT` only.
    pub(super) unlink_list_ids: Vec<i64>,
    pub(super) email_blacklisted: Option<bool>,
    pub(super) sms_blacklisted: Option<bool>,
    /// Of `POST` only.
    pub(super) update_enabled: bool,
}

impl ContactBody {
    /// The attributes by name in upper case, with `ext_id` as the attribute that it is stored in.
    pub(super) fn named_attributes(&self) -> BTreeMap<String, Value> {
        let mut named: BTreeMap<String, Value> = BTreeMap::new();
        for (name, value) in &self.attributes {
            named.insert(name.to_uppercase(), value.clone());
        }
        if let Some(ext_id) = &self.ext_id {
            named.insert(Identifier::ExtId.attribute().to_owned(), json!(ext_id));
        }
        named
    }
}
