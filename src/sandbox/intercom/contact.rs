//! A contact as the workspace keeps it, and its JSON in REST answers and in notifications.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::fields::Fields;
use super::time::iso;

/// At most this many tags, companies, notes are shown in a contact (facts: Intercom section 3.1).
pub(super) const SHOWN_IN_SUBLISTS: usize = 10;

pub(super) type ContactId = Arc<str>;

/// One contact. Compact, since a workspace may have many: only what is set takes room.
#[derive(Debug, Clone)]
pub(super) struct Contact {
    pub(super) id: ContactId,
    pub(super) fields: Fields<&'static str>,
    /// What is set of [`LOCATION`].
    pub(super) location: Fields<&'static str>,
    pub(super) custom_attributes: Fields<Arc<str>>,
    pub(super) tags: Vec<Arc<str>>,
    pub(super) companies: Vec<Arc<str>>,
    pub(super) notes: Vec<Arc<str>>,
    pub(super) opted_out: Vec<Arc<str>>,
    pub(super) opted_in: Vec<Arc<str>>,
    /// Milliseconds since 1970: notifications show them, REST cuts them.
    pub(super) created_ms: i64,
    pub(super) updated_ms: i64,
    pub(super) is_archived: bool,
}

impl Contact {
    pub(super) fn new(id: ContactId, created_ms: i64) -> Self {
        Self {
            id,
            fields: Fields::default(),
            location: Fields::default(),
            custom_attributes: Fields::default(),
            tags: Vec::new(),
            companies: Vec::new(),
            notes: Vec::new(),
            opted_out: Vec::new(),
            opted_in: Vec::new(),
            created_ms,
            updated_ms: created_ms,
            is_archived: false,
        }
    }

    /// A field's text, if it is set to a text that is not empty.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    pub(super) fn email(&self) -> Option<&str> {
        self.text("email")
    }

    pub(super) fn external_id(&self) -> Option<&str> {
        self.text("external_id")
    }

    pub(super) fn is_lead(&self) -> bool {
        self.text("role") == Some("lead")
    }

    pub(super) fn is_unsubscribed(&self) -> bool {
        self.fields.get("unsubscribed_from_emails") == Some(&Value::Bool(true))
    }

    /// Takes no more room than it needs.
    pub(super) fn shrink(&mut self) {
        self.fields.shrink();
        self.location.shrink();
        self.custom_attributes.shrink();
        let Self { tags, companies, notes, opted_out, opted_in, .. } = self;
        for ids in [tags, companies, notes, opted_out, opted_in] {
            ids.shrink_to_fit();
        }
    }

    /// `user` or `lead`, as topics spell it.
    pub(super) fn role(&self) -> &str {
        self.text("role").unwrap_or("user")
    }
}

/// What a key of a contact holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text, `null` if unset.
    Text,
    /// A whole number, `null` if unset.
    Whole,
    /// True or false, false if unset.
    Flag,
    /// Seconds since 1970, `null` if unset.
    Time,
    /// `{type: "avatar", image_url}`; written as the address alone.
    Avatar,
    /// `{type: "location", …}`.
    Location,
    CreatedAt,
    UpdatedAt,
    SocialProfiles,
    CustomAttributes,
    Tags,
    Notes,
    Companies,
    OptedOut,
    OptedIn,
    /// Shown by the API versions that notifications are sent in, not by 2.11.
    PushMessaging,
    /// Only in the contacts of `company.contact.attached` (facts: Intercom section 13).
    FormattedPhone,
}

/// Every key of a contact after `type`, `id` and `workspace_id`, in the order of the recordings.
pub(super) const SHAPE: &[(&str, Kind)] = &[
    ("external_id", Kind::Text),
    ("role", Kind::Text),
    ("email", Kind::Text),
    ("phone", Kind::Text),
    ("formatted_phone", Kind::FormattedPhone),
    ("name", Kind::Text),
    ("avatar", Kind::Avatar),
    ("owner_id", Kind::Whole),
    ("social_profiles", Kind::SocialProfiles),
    ("has_hard_bounced", Kind::Flag),
    ("marked_email_as_spam", Kind::Flag),
    ("unsubscribed_from_emails", Kind::Flag),
    ("created_at", Kind::CreatedAt),
    ("updated_at", Kind::UpdatedAt),
    ("signed_up_at", Kind::Time),
    ("last_seen_at", Kind::Time),
    ("last_replied_at", Kind::Time),
    ("last_contacted_at", Kind::Time),
    ("last_email_opened_at", Kind::Time),
    ("last_email_clicked_at", Kind::Time),
    ("language_override", Kind::Text),
    ("browser", Kind::Text),
    ("browser_version", Kind::Text),
    ("browser_language", Kind::Text),
    ("os", Kind::Text),
    ("location", Kind::Location),
    ("android_app_name", Kind::Text),
    ("android_app_version", Kind::Text),
    ("android_device", Kind::Text),
    ("android_os_version", Kind::Text),
    ("android_sdk_version", Kind::Text),
    ("android_last_seen_at", Kind::Time),
    ("ios_app_name", Kind::Text),
    ("ios_app_version", Kind::Text),
    ("ios_device", Kind::Text),
    ("ios_os_version", Kind::Text),
    ("ios_sdk_version", Kind::Text),
    ("ios_last_seen_at", Kind::Time),
    ("custom_attributes", Kind::CustomAttributes),
    ("tags", Kind::Tags),
    ("notes", Kind::Notes),
    ("companies", Kind::Companies),
    ("opted_out_subscription_types", Kind::OptedOut),
    ("opted_in_subscription_types", Kind::OptedIn),
    ("utm_campaign", Kind::Text),
    ("utm_content", Kind::Text),
    ("utm_medium", Kind::Text),
    ("utm_source", Kind::Text),
    ("utm_term", Kind::Text),
    ("referrer", Kind::Text),
    ("sms_consent", Kind::Flag),
    ("unsubscribed_from_sms", Kind::Flag),
    ("enabled_push_messaging", Kind::PushMessaging),
];

/// The keys of a location.
pub(super) const LOCATION: [&str; 5] =
    ["country", "region", "city", "country_code", "continent_code"];

/// The key and kind of a contact's field called `name`.
pub(super) fn field(name: &str) -> Option<(&'static str, Kind)> {
    SHAPE.iter().find(|(key, _)| *key == name).copied()
}

/// In which of Intercom's forms a contact is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Times as epoch seconds.
    Rest,
    /// Times as ISO 8601 with milliseconds and `+00:00`.
    Notification,
    /// As in `contact.email.updated`: the fraction of `updated_at` cut and a `Z`.
    EmailNotification,
    /// As in `company.contact.attached`, with `formatted_phone`.
    AttachedNotification,
}

/// A contact in one of its forms, ready to be serialised.
#[derive(Debug, Clone, Copy)]
pub(super) struct ContactView<'a> {
    pub(super) contact: &'a Contact,
    pub(super) workspace_id: &'a str,
    pub(super) form: Form,
}

impl ContactView<'_> {
    pub(super) fn to_value(self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn time(&self, milliseconds: i64) -> Value {
        match self.form {
            Form::Rest => Value::from(milliseconds.div_euclid(1000)),
            _ => Value::from(iso(milliseconds)),
        }
    }

    fn updated_at(&self) -> Value {
        if self.form != Form::EmailNotification {
            return self.time(self.contact.updated_ms);
        }
        let second = self.contact.updated_ms.div_euclid(1000) * 1000;
        Value::from(iso(second).replace("+00:00", "Z"))
    }

    /// The value of a key, or `None` if this form does not show it.
    fn value(&self, key: &str, kind: Kind) -> Option<Value> {
        let contact = self.contact;
        let set = contact.fields.get(key);
        Some(match kind {
            Kind::Text | Kind::Whole | Kind::Avatar => set.cloned().unwrap_or_default(),
            Kind::Flag => set.cloned().unwrap_or(Value::Bool(false)),
            Kind::Time => match set.and_then(Value::as_i64) {
                Some(seconds) => self.time(seconds.saturating_mul(1000)),
                None => Value::Null,
            },
            Kind::CreatedAt => self.time(contact.created_ms),
            Kind::UpdatedAt => self.updated_at(),
            Kind::Location => location(&contact.location),
            Kind::SocialProfiles => json!({"type": "list", "data": []}),
            Kind::PushMessaging if self.form == Form::Rest => return None,
            Kind::FormattedPhone if self.form != Form::AttachedNotification => return None,
            Kind::PushMessaging | Kind::FormattedPhone => Value::Null,
            Kind::CustomAttributes
            | Kind::Tags
            | Kind::Notes
            | Kind::Companies
            | Kind::OptedOut
            | Kind::OptedIn => return None,
        })
    }

    fn sublist(&self, kind: Kind) -> Option<Sublist<'_>> {
        let contact = self.contact;
        let (ids, item, items, path) = match kind {
            Kind::Tags => (&contact.tags, "tag", "tags", "tags"),
            Kind::Notes => (&contact.notes, "note", "notes", "notes"),
            Kind::Companies => (&contact.companies, "company", "companies", "companies"),
            Kind::OptedOut => {
                (&contact.opted_out, "subscription", "subscription_types", "subscriptions")
            }
            Kind::OptedIn => {
                (&contact.opted_in, "subscription", "subscription_types", "subscriptions")
            }
            _ => return None,
        };
        Some(Sublist { contact: &contact.id, ids, item, items, path })
    }
}

impl Serialize for ContactView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "contact")?;
        map.serialize_entry("id", &*self.contact.id)?;
        map.serialize_entry("workspace_id", self.workspace_id)?;
        for (key, kind) in SHAPE {
            if *kind == Kind::CustomAttributes {
                map.serialize_entry(key, &self.contact.custom_attributes)?;
            } else if let Some(sublist) = self.sublist(*kind) {
                map.serialize_entry(key, &sublist)?;
            } else if let Some(value) = self.value(key, *kind) {
                map.serialize_entry(key, &value)?;
            }
        }
        map.end()
    }
}

fn location(known: &Fields<&'static str>) -> Value {
    let part = |key: &'static str| (key.to_owned(), known.get(key).cloned().unwrap_or_default());
    let mut location: Map<String, Value> = LOCATION.into_iter().map(part).collect();
    location.insert("type".to_owned(), Value::from("location"));
    Value::Object(location)
}

/// The first ids of a list of a contact, and where the rest is.
struct Sublist<'a> {
    contact: &'a str,
    ids: &'a [Arc<str>],
    item: &'static str,
    /// The plural in an item's path.
    items: &'static str,
    /// The last segment of the list's own path.
    path: &'static str,
}

impl Serialize for Sublist<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown: Vec<Value> = self
            .ids
            .iter()
            .take(SHOWN_IN_SUBLISTS)
            .map(|id| json!({"id": id, "type": self.item, "url": format!("/{}/{id}", self.items)}))
            .collect();
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("type", "list")?;
        map.serialize_entry("data", &shown)?;
        map.serialize_entry("url", &format!("/contacts/{}/{}", self.contact, self.path))?;
        map.serialize_entry("total_count", &self.ids.len())?;
        map.serialize_entry("has_more", &(self.ids.len() > SHOWN_IN_SUBLISTS))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact() -> Contact {
        let mut contact = Contact::new("665f1c0a9e3b7d0012ab34c1".into(), 1_768_019_003_215);
        contact.updated_ms = 1_768_019_995_465;
        contact.fields.set("email", json!("a@example.com"));
        contact.fields.set("last_seen_at", json!(2_738_966_400_i64));
        contact.custom_attributes.set("Favourite colour".into(), json!("green"));
        contact.tags = (0..14).map(|n| Arc::from(format!("91000{n:02}"))).collect();
        contact.notes = (0..10).map(|n| Arc::from(format!("8000{n}"))).collect();
        contact
    }

    fn shown(contact: &Contact, form: Form) -> Value {
        ContactView { contact, workspace_id: "k7x2qp9m", form }.to_value()
    }

    #[test]
    fn ten_of_a_sublist_are_shown_with_ids_only() {
        let shown = shown(&contact(), Form::Rest);
        let tags = &shown["tags"];
        assert_eq!(tags["data"].as_array().map(Vec::len), Some(10));
        assert_eq!((&tags["total_count"], &tags["has_more"]), (&json!(14), &json!(true)));
        assert_eq!(tags["url"], "/contacts/665f1c0a9e3b7d0012ab34c1/tags");
        assert_eq!(
            tags["data"][0],
            json!({"id": "9100000", "type": "tag", "url": "/tags/9100000"})
        );
        assert_eq!(shown["notes"]["has_more"], json!(false));
    }

    #[test]
    fn times_are_epoch_in_rest_and_iso_in_notifications() {
        let contact = contact();
        let time = |form, key: &str| shown(&contact, form)[key].clone();
        assert_eq!(time(Form::Rest, "updated_at"), json!(1_768_019_995));
        let hook = "2026-01-10T04:39:55.465+00:00";
        assert_eq!(time(Form::Notification, "updated_at"), json!(hook));
        let email = "2026-01-10T04:39:55.000Z";
        assert_eq!(time(Form::EmailNotification, "updated_at"), json!(email));
        let created = "2026-01-10T04:23:23.215+00:00";
        assert_eq!(time(Form::EmailNotification, "created_at"), json!(created));
        let seen = "2056-10-17T00:00:00.000+00:00";
        assert_eq!(time(Form::Notification, "last_seen_at"), json!(seen));
    }

    #[test]
    fn shows_the_keys_of_the_samples() {
        let sample = include_str!("../../../tests/samples/intercom/contact_user_full.json");
        let sample: Value = serde_json::from_str(sample).unwrap();
        let keys = |value: &Value| -> Vec<String> {
            let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        assert_eq!(keys(&shown(&contact(), Form::Rest)), keys(&sample));
    }
}
