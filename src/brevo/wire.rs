//! Bodies of Brevo's requests and answers, as they stand on the wire.
//!
//! Answers are read leniently: unknown fields are ignored, and what may be missing is optional.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::model::{AttributeName, AttributeValue, BrevoContact, Change, Email, ListId, Timestamp};

/// "This person takes no marketing": serialises as `true`, and as nothing else.
///
/// INVARIANT: `emailBlacklisted: false` cannot be said here. Brevo would put the person back on marketing
/// (facts: Brevo section 10). `BrevoClient::lift` alone can, with proof that an opt-in is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptOut;

impl Serialize for OptOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(true)
    }
}

/// What is written to one contact. What is left out stays as it is in Brevo.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ContactWrite {
    /// `upsert`: whom it is about. `update`: the new address.
    pub email: Option<Email>,
    /// The new `EXT_ID`.
    pub ext_id: Option<String>,
    /// Values; empty text empties the attribute.
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
    /// Lists to put the contact on.
    pub list_ids: BTreeSet<ListId>,
    /// Lists to take it off. Only `update` can say this.
    pub unlink_list_ids: BTreeSet<ListId>,
    /// Blacklists the contact for e-mail.
    pub email_blacklisted: Option<OptOut>,
    /// Blacklists the contact for SMS.
    pub sms_blacklisted: Option<OptOut>,
    /// `upsert`: a contact that exists already is updated instead of refused.
    pub update_enabled: bool,
}

impl From<&Change> for ContactWrite {
    /// Everything that the change says, for one call.
    fn from(change: &Change) -> Self {
        let empty = || AttributeValue::Text(String::new());
        let cleared = change.clear.iter().map(|name| (name.clone(), empty()));
        let set = change.set.clone().into_iter();
        Self {
            email: change.email.clone(),
            ext_id: change.ext_id.clone(),
            attributes: set.chain(cleared).collect(),
            list_ids: change.add.clone(),
            unlink_list_ids: change.remove.clone(),
            // Said again of whom it is true already: a new address would lift it, and a contact that
            // has to be created anew would not have it (facts: Brevo section 4).
            email_blacklisted: (change.email_opt_out || change.is_blacklisted).then_some(OptOut),
            sms_blacklisted: change.sms_opt_out.then_some(OptOut),
            update_enabled: true,
        }
    }
}

impl ContactWrite {
    /// The body of `POST /contacts`, which can only add lists.
    pub(super) fn creating(&self) -> WriteBody<'_> {
        WriteBody {
            email: self.email.as_ref(),
            update_enabled: self.update_enabled,
            ..self.common()
        }
    }

    /// The body of `PUT /contacts/{identifier}`, where a new address is the attribute `EMAIL`.
    pub(super) fn updating(&self) -> WriteBody<'_> {
        let mut body = self.common();
        if let Some(email) = &self.email {
            body.attributes.insert("EMAIL", WrittenValue::Address(email));
        }
        body.unlink_list_ids = Some(&self.unlink_list_ids).filter(|lists| !lists.is_empty());
        body
    }

    fn common(&self) -> WriteBody<'_> {
        let attributes = self.attributes.iter();
        WriteBody {
            email: None,
            ext_id: self.ext_id.as_deref(),
            attributes: attributes
                .map(|(name, value)| (name.as_str(), WrittenValue::Attribute(value)))
                .collect(),
            list_ids: Some(&self.list_ids).filter(|lists| !lists.is_empty()),
            unlink_list_ids: None,
            email_blacklisted: self.email_blacklisted,
            sms_blacklisted: self.sms_blacklisted,
            update_enabled: false,
        }
    }
}

/// The body of a write to one contact.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WriteBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a Email>,
    #[serde(rename = "ext_id", skip_serializing_if = "Option::is_none")]
    ext_id: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'a str, WrittenValue<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    list_ids: Option<&'a BTreeSet<ListId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unlink_list_ids: Option<&'a BTreeSet<ListId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_blacklisted: Option<OptOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sms_blacklisted: Option<OptOut>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    update_enabled: bool,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum WrittenValue<'a> {
    Attribute(&'a AttributeValue),
    Address(&'a Email),
}

/// Reads a contact as `GET /contacts` and `GET /contacts/{identifier}` answer it; none without an id.
///
/// By hand, so that one odd field cannot make a page unreadable, of which a sweep would not recover.
pub(super) fn contact(answer: &Value) -> Option<BrevoContact> {
    let field = |name: &str| answer.get(name).filter(|value| !value.is_null());
    let text = |name: &str| field(name).and_then(Value::as_str);
    // In doubt, somebody has opted out.
    let flag = |name: &str| field(name).is_some_and(|value| *value != Value::Bool(false));
    let lists = |name: &str| {
        let ids = field(name).and_then(Value::as_array).into_iter().flatten();
        ids.filter_map(Value::as_i64).map(ListId).collect::<BTreeSet<_>>()
    };
    let held = field("attributes").and_then(Value::as_object).into_iter().flatten();
    let attributes: BTreeMap<AttributeName, AttributeValue> = held
        .filter_map(|(name, value)| Some((name.parse().ok()?, attribute_value(value.clone())?)))
        .collect();
    // `ext_id` has no field of its own: it is read back as this attribute.
    let ext_id = "EXT_ID".parse().ok().and_then(|name| attributes.get(&name));
    Some(BrevoContact {
        id: answer.get("id")?.as_i64()?,
        email: text("email").and_then(|email| email.parse().ok()),
        ext_id: ext_id.map(ToString::to_string),
        email_blacklisted: flag("emailBlacklisted"),
        sms_blacklisted: flag("smsBlacklisted"),
        lists: lists("listIds"),
        list_unsubscribed: lists("listUnsubscribed"),
        attributes,
        modified_at: text("modifiedAt").and_then(Timestamp::parse_text),
    })
}

/// A value that Brevo holds, if it is one: `null`, `""` and `[]` mean that there is none.
pub(super) fn attribute_value(value: Value) -> Option<AttributeValue> {
    match value {
        Value::Null => None,
        Value::Bool(flag) => Some(AttributeValue::Bool(flag)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Some(AttributeValue::Integer(whole)),
            None => number.as_f64().map(AttributeValue::Float),
        },
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(AttributeValue::Text(text)),
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => {
            Some(AttributeValue::List(items.into_iter().map(option_text).collect()))
        }
        object @ Value::Object(_) => Some(AttributeValue::Text(object.to_string())),
    }
}

pub(super) fn option_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// A page of `GET /contacts`, each contact to be read by [`contact`].
#[derive(Debug, Deserialize)]
pub(super) struct ContactsAnswer {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) contacts: Vec<Value>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) count: u64,
}

/// The answer to `GET /account`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// The company's name.
    #[serde(default, deserialize_with = "null_as_default")]
    pub company_name: String,
    /// An Enterprise account.
    #[serde(default, deserialize_with = "null_as_default")]
    pub enterprise: bool,
    /// What the account has booked; the marketing entry tells the plan.
    #[serde(default, deserialize_with = "null_as_default")]
    pub plan_verticals: Vec<PlanVertical>,
}

impl Account {
    /// The name of the marketing plan, if Brevo tells it.
    pub fn marketing_plan(&self) -> Option<&str> {
        let is_marketing = |plan: &&PlanVertical| plan.plan_category == "Marketing";
        self.plan_verticals.iter().find(is_marketing).map(|plan| plan.name.as_str())
    }
}

/// One thing that an account has booked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanVertical {
    /// `Marketing`, `Chat` or `CRM`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub plan_category: String,
    /// Such as `Standard`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
}

/// A list of the account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// Its number.
    pub id: ListId,
    /// Its name; two lists may have the same.
    pub name: String,
    /// The folder it lies in.
    #[serde(default)]
    pub folder_id: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ListsAnswer {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) lists: Vec<List>,
}

/// A folder, in which lists lie.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Folder {
    /// Its number.
    pub id: i64,
    /// Its name.
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct FoldersAnswer {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) folders: Vec<Folder>,
}

/// `{"id": 4711}`, the answer to a creation.
#[derive(Debug, Deserialize)]
pub(super) struct IdAnswer {
    pub(super) id: i64,
}

/// The answer to a list call, with or without its wrapper (facts: Brevo section 5).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum ListCallAnswer {
    Wrapped { contacts: ListCallResult },
    Bare(ListCallResult),
}

#[derive(Debug, Deserialize)]
pub(super) struct ListCallResult {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) success: Vec<Value>,
}

/// `{"processId": 78}`, the answer to an import.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProcessIdAnswer {
    pub(super) process_id: i64,
}

/// The answer to `GET /processes/{id}`.
#[derive(Debug, Deserialize)]
pub(super) struct ProcessAnswer {
    pub(super) status: String,
    #[serde(default)]
    pub(super) info: Option<ProcessInfo>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ProcessInfo {
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) import: BTreeMap<String, Value>,
}

/// Reads `null` as if the field were missing.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Identity;

    fn write() -> ContactWrite {
        ContactWrite {
            email: Some("ann@example.com".parse().unwrap()),
            attributes: [("SEATS".parse().unwrap(), AttributeValue::Integer(3))].into(),
            list_ids: [ListId(35)].into(),
            unlink_list_ids: [ListId(36)].into(),
            email_blacklisted: Some(OptOut),
            update_enabled: true,
            ..ContactWrite::default()
        }
    }

    #[test]
    fn a_post_adds_and_a_put_adds_and_removes() {
        assert_eq!(
            json!(write().creating()),
            json!({"email": "ann@example.com", "attributes": {"SEATS": 3}, "listIds": [35],
                   "emailBlacklisted": true, "updateEnabled": true}),
        );
        assert_eq!(
            json!(write().updating()),
            json!({"attributes": {"EMAIL": "ann@example.com", "SEATS": 3}, "listIds": [35],
                   "unlinkListIds": [36], "emailBlacklisted": true}),
        );
    }

    /// INVARIANT: `emailBlacklisted: false` cannot be said.
    #[test]
    fn an_opt_out_is_true_or_absent() {
        assert_eq!(json!(OptOut), json!(true));
        assert_eq!(json!(ContactWrite::default().creating()), json!({}));
        assert_eq!(json!(ContactWrite::default().updating()), json!({}));
    }

    #[test]
    fn a_change_of_somebody_blacklisted_says_so_again() {
        let change = |is_blacklisted| Change {
            identity: Identity::Known(7),
            email: Some("new@example.com".parse().unwrap()),
            ext_id: None,
            set: BTreeMap::new(),
            clear: ["OLD".parse().unwrap()].into(),
            add: BTreeSet::new(),
            remove: [ListId(35)].into(),
            email_opt_out: false,
            sms_opt_out: false,
            is_blacklisted,
        };
        assert_eq!(
            json!(ContactWrite::from(&change(true)).updating()),
            json!({"attributes": {"EMAIL": "new@example.com", "OLD": ""}, "unlinkListIds": [35],
                   "emailBlacklisted": true}),
        );
        assert_eq!(ContactWrite::from(&change(false)).email_blacklisted, None);
    }

    #[test]
    fn a_contact_is_read_whatever_it_lacks() {
        let answer = json!({"id": 7, "email": null, "listUnsubscribed": null, "statistics": {},
            "modifiedAt": "2026-11-20T17:03:11.204+01:00", "emailBlacklisted": true,
            "attributes": {"SEATS": 3, "mrr": 1.5, "EXT_ID": "a", "GONE": "", "TAGS": ["x", "y"]}});
        let contact = contact(&answer).unwrap();
        let value = |name: &str| contact.attributes.get(&name.parse().unwrap()).cloned();
        assert_eq!(contact.email, None);
        assert_eq!(contact.ext_id.as_deref(), Some("a"));
        assert!(contact.email_blacklisted && !contact.sms_blacklisted);
        assert_eq!(value("SEATS"), Some(AttributeValue::Integer(3)));
        assert_eq!(value("MRR"), Some(AttributeValue::Float(1.5)));
        assert_eq!(value("GONE"), None);
        assert_eq!(value("TAGS"), Some(AttributeValue::List(vec!["x".into(), "y".into()])));
        assert_eq!(contact.modified_at.unwrap().to_string(), "2026-11-20T16:03:11Z");
        let smallest = super::contact(&json!({"id": 8})).unwrap();
        assert_eq!(smallest, BrevoContact { id: 8, ..BrevoContact::default() });
        assert!(super::contact(&json!({"email": "ann@example.com"})).is_none());
        let odd = json!({"id": 9, "smsBlacklisted": 1, "listIds": "none", "attributes": []});
        assert!(super::contact(&odd).unwrap().sms_blacklisted);
    }
}
