//! A notification's way in: raw bytes are verified, and only then parsed.
//!
//! [`Unverified`] becomes [`Verified`] by its signature alone, and [`Verified`] becomes a
//! [`Notification`]. What Intercom may send and this engine does not use is ignored, never an error.

use std::fmt;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha1::Sha1;

use super::course;
use super::normalize::{self, Completeness};
use super::topic::{ConversationTopic, Topic};
use crate::model::{Digest, Liveness, RecordId, RecordKey, Snapshot, Source, Timestamp};

/// Longest notification id that is a dedupe key by itself.
const MAX_ID_BYTES: usize = 256;

/// A request body that anybody may have sent.
#[derive(Clone)]
pub struct Unverified {
    /// The body, byte for byte.
    pub body: Bytes,
    /// The values of all `X-Hub-Signature` headers.
    pub signatures: Vec<Bytes>,
}

/// A request body that the holder of the client secret sent.
#[derive(Clone)]
pub struct Verified {
    body: Bytes,
}

/// Why a body is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureRejected {
    /// There is none.
    #[error("the signature is missing: `X-Hub-Signature: sha1=…` is required")]
    Missing,
    /// There is more than one, and nobody can tell which counts.
    #[error("there are several signatures")]
    Several,
    /// It is not `sha1=` and 40 hexadecimal digits.
    #[error("the signature is not `sha1=` and 40 hexadecimal digits")]
    Malformed,
    /// It belongs to other bytes or another secret.
    #[error("the signature does not match: check `client_secret` against the app's")]
    Mismatch,
}

/// Why a body that is believed is of no use. No retry helps, so it becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the notification cannot be used: {reason}")]
pub struct Unusable {
    /// What is wrong, without anything personal.
    pub reason: String,
}

/// What a notification says.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// Equal for every delivery of one notification: its id, else what it says.
    pub dedupe_key: String,
    /// Intercom's id of the notification; none for pings and some old topics.
    pub id: Option<String>,
    /// What it is about.
    pub topic: Topic,
    /// The topic as it was spelt.
    pub topic_name: String,
    /// The workspace.
    pub app_id: Option<String>,
    /// When it happened; where the envelope does not say, when it was received.
    pub created_at: Timestamp,
    /// What follows from it.
    pub content: Content,
}

/// What follows from a notification. `Debug` shows no bodies.
#[derive(Clone, PartialEq)]
pub enum Content {
    /// These objects are now so; never empty.
    Snapshots(Vec<Snapshot>),
    /// Nothing: Intercom tests the endpoint.
    Ping,
    /// Nothing here.
    Ignored {
        /// Why.
        reason: String,
    },
}

impl Unverified {
    /// Takes the signatures out of the headers of a request.
    pub fn from_request(headers: &HeaderMap, body: Bytes) -> Self {
        let values = headers.get_all("x-hub-signature").iter();
        let signatures = values.map(|value| Bytes::copy_from_slice(value.as_bytes())).collect();
        Self { body, signatures }
    }

    /// Checks the signature: HMAC-SHA1 over the raw bytes, compared in constant time. Nothing is
    /// parsed before. An empty secret verifies nothing.
    ///
    /// # Errors
    ///
    /// See [`SignatureRejected`]; all of them deserve a 401.
    pub fn verify(self, secret: &SecretString) -> Result<Verified, SignatureRejected> {
        let signature = match self.signatures.as_slice() {
            [] => return Err(SignatureRejected::Missing),
            [signature] => signature,
            _ => return Err(SignatureRejected::Several),
        };
        let digits = signature.strip_prefix(b"sha1=").ok_or(SignatureRejected::Malformed)?;
        let mut expected = [0_u8; 20];
        hex::decode_to_slice(digits, &mut expected).map_err(|_| SignatureRejected::Malformed)?;
        let key = secret.expose_secret().as_bytes();
        if key.is_empty() {
            return Err(SignatureRejected::Mismatch);
        }
        let mut mac = Hmac::<Sha1>::new_from_slice(key).map_err(|_| SignatureRejected::Mismatch)?;
        mac.update(&self.body);
        mac.verify_slice(&expected).map_err(|_| SignatureRejected::Mismatch)?;
        Ok(Verified { body: self.body })
    }
}

impl Verified {
    /// A body that was verified before it went into the journal; nothing else may come this way.
    pub fn from_journal(body: Bytes) -> Self {
        Self { body }
    }

    /// The body, byte for byte, for the journal.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Reads the notification.
    ///
    /// # Errors
    ///
    /// [`Unusable`] if it is no JSON, no notification, or lacks the contact its topic is about.
    pub fn parse(&self, received: Timestamp) -> Result<Notification, Unusable> {
        let envelope: Value = serde_json::from_slice(&self.body)
            .map_err(|error| unusable(format!("it is not JSON: {error}")))?;
        read(envelope, received)
    }
}

fn read(mut envelope: Value, received: Timestamp) -> Result<Notification, Unusable> {
    let item = envelope.get_mut("data").and_then(|data| data.get_mut("item")).map(Value::take);
    let kind = envelope.get("type").and_then(Value::as_str);
    if kind != Some("notification_event") {
        return Err(unusable("its type is not `notification_event`"));
    }
    let name = envelope.get("topic").and_then(Value::as_str);
    let name = name.ok_or_else(|| unusable("it has no topic"))?;
    let created_at = envelope.get("created_at").and_then(Timestamp::parse).unwrap_or(received);
    let id = envelope.get("id").and_then(Value::as_str);
    let id = id.filter(|id| !id.is_empty() && id.len() <= MAX_ID_BYTES).map(str::to_owned);
    let mut said = Said { item: item.unwrap_or_default(), at: created_at, received };
    let topic = Topic::from_name(name);
    Ok(Notification {
        dedupe_key: id.clone().unwrap_or_else(|| said.key(name, Some(created_at))),
        id,
        content: said.content(&topic)?,
        topic,
        topic_name: name.to_owned(),
        app_id: envelope.get("app_id").and_then(Value::as_str).map(str::to_owned),
        created_at,
    })
}

/// A notification that a trusted caller hands in: `data` is Intercom's data object (`{item}`) or the
/// item itself. The same item twice has the same key; one without an `updated_at`, such as a
/// deletion, has it only within one second, because it may rightly come again later.
///
/// # Errors
///
/// [`Unusable`] if the topic is about a contact and `data` holds none.
pub fn trusted(
    topic_name: &str,
    data: &Value,
    received: Timestamp,
) -> Result<Notification, Unusable> {
    let item = data.get("item").unwrap_or(data).clone();
    let mut said = Said { item, at: received, received };
    let topic = Topic::from_name(topic_name);
    let is_timed = contact_of(&said.item).get("updated_at").and_then(Timestamp::parse).is_some();
    Ok(Notification {
        dedupe_key: said.key(topic_name, (!is_timed).then_some(received)),
        id: None,
        content: said.content(&topic)?,
        topic,
        topic_name: topic_name.to_owned(),
        app_id: None,
        created_at: received,
    })
}

/// An item, when it was said, and when that was heard.
struct Said {
    item: Value,
    at: Timestamp,
    received: Timestamp,
}

impl Said {
    /// What tells this from all others where there is no id. The envelope is no part of it: a second
    /// delivery has another count of attempts.
    fn key(&self, topic: &str, at: Option<Timestamp>) -> String {
        let id = normalize::id_of(contact_of(&self.item));
        let id = id.as_ref().map_or("", RecordId::as_str);
        let at = at.map_or(String::new(), |at| at.seconds().to_string());
        format!("{topic}/{id}/{at}/{}", Digest::of_json(&self.item))
    }

    /// What follows from it. Takes the contact out of the item.
    fn content(&mut self, topic: &Topic) -> Result<Content, Unusable> {
        let snapshots = match topic {
            Topic::Ping => return Ok(Content::Ping),
            Topic::Other(name) => {
                let reason = format!("topic `{name}` is not used");
                return Ok(Content::Ignored { reason });
            }
            Topic::ContactMerged => self.merged()?,
            Topic::ContactTagCreated | Topic::ContactTagDeleted => self.tagged()?,
            Topic::ContactUnsubscribed => vec![self.contact(Some("unsubscribed_from_emails"))?],
            Topic::ContactUnsubscribedFromSms => vec![self.contact(Some("unsubscribed_from_sms"))?],
            Topic::ContactArchived => vec![self.gone(Liveness::Archived)?],
            Topic::ContactDeleted if self.is_flagged("archived") => {
                vec![self.gone(Liveness::Archived)?]
            }
            Topic::ContactDeleted => vec![self.gone(Liveness::Deleted)?],
            Topic::ContactCreated | Topic::ContactUpdated | Topic::ContactEmailUpdated => {
                vec![self.contact(None)?]
            }
            Topic::ContactSubscribed => vec![self.subscribed()?],
            Topic::ContactUnarchived => vec![self.returned()?],
            Topic::VisitorSignedUp => vec![Snapshot::hint(self.visitor()?, self.received)],
            Topic::CompanyChanged => vec![self.company(&self.item)?],
            Topic::CompanyDeleted => {
                let key = RecordKey::company(self.id("company")?);
                vec![self.snapshot(key, Liveness::Deleted, json!({}))]
            }
            Topic::CompanyContacts => self.company_contacts()?,
            Topic::Conversation(ConversationTopic::Deleted) => {
                let key = RecordKey::conversation(self.id("conversation")?);
                vec![self.snapshot(key, Liveness::Deleted, json!({}))]
            }
            Topic::Conversation(ConversationTopic::Participants) => self.participants()?,
            Topic::Conversation(topic) => vec![self.conversation(*topic)?],
            Topic::EventCreated => vec![self.event()?],
        };
        Ok(Content::Snapshots(snapshots))
    }

    /// The contact as it stands, taken out of the item; `force` names a flag that the topic itself says
    /// is true.
    fn contact(&mut self, force: Option<&str>) -> Result<Snapshot, Unusable> {
        let id = self.contact_id()?;
        if self.is_flagged("deleted") {
            return self.gone(Liveness::Deleted);
        }
        if self.is_flagged("archived") {
            return self.gone(Liveness::Archived);
        }
        let item = take_contact(&mut self.item);
        let completeness = normalize::contact_completeness(&item);
        let mut body = normalize::into_contact(item);
        if let (Some(flag), Value::Object(fields)) = (force, &mut body) {
            fields.insert(flag.to_owned(), Value::Bool(true));
        }
        let snapshot = self.snapshot(RecordKey::contact(id), Liveness::Live, body);
        Ok(match completeness {
            Completeness::Full => snapshot,
            Completeness::Partial => snapshot.partial(),
        })
    }

    /// The contact that opted in again. When it did so has to be said by Intercom; the earliest time that
    /// is said counts.
    fn subscribed(&mut self) -> Result<Snapshot, Unusable> {
        let is_wrapped = self.item.get("contact").is_some_and(Value::is_object);
        let told = self.item.get("created_at").filter(|_| is_wrapped).and_then(Timestamp::parse);
        let mut snapshot = self.contact(None)?;
        let updated = snapshot.body.get("updated_at").and_then(Timestamp::parse);
        let said = updated.map(|_| snapshot.version.at).into_iter().chain(told).min();
        snapshot.opted_in = said.map(|said| said.min(self.at).min(self.received));
        Ok(snapshot)
    }

    /// The contact that came back. Its tombstone has the time of an envelope, which its own
    /// `updated_at` may not reach, so the time of this envelope orders it.
    fn returned(&mut self) -> Result<Snapshot, Unusable> {
        let mut snapshot = self.contact(None)?;
        snapshot.version.at = snapshot.version.at.max(self.at.min(self.received));
        Ok(snapshot)
    }

    /// The contact, and the tag itself, whose name nothing else in it says.
    fn tagged(&mut self) -> Result<Vec<Snapshot>, Unusable> {
        let tag = self.item.get("tag").cloned().unwrap_or_default();
        let mut snapshots = vec![self.contact(None)?];
        let has_name = tag.get("name").is_some_and(Value::is_string);
        if let Some(id) = normalize::id_of(&tag).filter(|_| has_name) {
            snapshots.push(self.snapshot(RecordKey::tag(id), Liveness::Live, normalize::tag(&tag)));
        }
        Ok(snapshots)
    }

    /// The survivor, and the contacts that it absorbed where Intercom names them.
    fn merged(&mut self) -> Result<Vec<Snapshot>, Unusable> {
        let absorbed = contact_of(&self.item).get("merged_from").or(self.item.get("merged_from"));
        let absorbed = match absorbed {
            Some(Value::Array(several)) => several.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        let absorbed: Vec<RecordId> = absorbed.iter().filter_map(normalize::id_of).collect();
        let survivor = self.contact(None)?;
        let into = survivor.key.id.clone();
        let ids = absorbed.into_iter().filter(|id| *id != into);
        let losers = ids.map(|id| {
            let liveness = Liveness::Merged { into: Some(into.clone()) };
            self.snapshot(RecordKey::contact(id), liveness, json!({}))
        });
        let losers: Vec<_> = losers.collect();
        Ok(std::iter::once(survivor).chain(losers).collect())
    }

    /// A tombstone. Its item has no time of its own, so the envelope's orders it.
    fn gone(&self, liveness: Liveness) -> Result<Snapshot, Unusable> {
        Ok(self.snapshot(RecordKey::contact(self.contact_id()?), liveness, json!({})))
    }

    /// The id of an item that is no contact; deletions of conversations have it under another name.
    fn id(&self, what: &str) -> Result<RecordId, Unusable> {
        let other = self.item.get(format!("{what}_id")).map(|id| json!({ "id": id }));
        let id = normalize::id_of(&self.item).or_else(|| normalize::id_of(&other?));
        id.ok_or_else(|| unusable(format!("its {what} has no usable id")))
    }

    fn visitor(&self) -> Result<RecordKey, Unusable> {
        Ok(RecordKey::contact(self.id("visitor")?))
    }

    fn conversation(&self, topic: ConversationTopic) -> Result<Snapshot, Unusable> {
        let id = self.id("conversation")?;
        let snapshot = course::conversation(
            &self.item,
            Source::Notification,
            self.at,
            self.received,
            Some(topic),
        );
        // Without an id of its own it says too little to be more than news of it.
        Ok(snapshot.unwrap_or(Snapshot::hint(RecordKey::conversation(id), self.received)))
    }

    /// Who takes part in a conversation changed. Its own shape here is none that Intercom documents, so
    /// it has to be read; the contact is whole.
    fn participants(&mut self) -> Result<Vec<Snapshot>, Unusable> {
        let raw = self.item.get("conversation").cloned().unwrap_or_default();
        let id = raw.get("model").and_then(normalize::id_of).or_else(|| normalize::id_of(&raw));
        let id = id.map_or_else(|| self.id("conversation"), Ok)?;
        let mut snapshots = vec![Snapshot::hint(RecordKey::conversation(id), self.received)];
        if self.item.get("contact").is_some_and(Value::is_object) {
            snapshots.push(self.contact(None)?);
        }
        Ok(snapshots)
    }

    fn company(&self, item: &Value) -> Result<Snapshot, Unusable> {
        let id = normalize::id_of(item);
        let id = id.ok_or_else(|| unusable("its company has no usable id"))?;
        // What names a company beside another object lacks most of it, and that is then unknown.
        let has = |field: &str| item.get(field).is_some();
        let is_whole = ["plan", "name", "custom_attributes"].into_iter().all(has)
            && (has("tags") || has("tag_ids"));
        let completeness = if is_whole { Completeness::Full } else { Completeness::Partial };
        let body = normalize::company(item, completeness);
        let snapshot = self.snapshot(RecordKey::company(id), Liveness::Live, body);
        Ok(if is_whole { snapshot } else { snapshot.partial() })
    }

    /// A contact joined or left a company: the contact's own list is what counts.
    fn company_contacts(&mut self) -> Result<Vec<Snapshot>, Unusable> {
        let company = self.item.get("company").map(|company| self.company(company)).transpose()?;
        let has_contact = self.item.get("contact").is_some_and(Value::is_object);
        let contact = if has_contact { Some(self.contact(None)?) } else { None };
        let snapshots: Vec<_> = contact.into_iter().chain(company).collect();
        if snapshots.is_empty() {
            return Err(unusable("it names neither a company nor a contact"));
        }
        Ok(snapshots)
    }

    fn event(&self) -> Result<Snapshot, Unusable> {
        let has_name = self.item.get("event_name").and_then(Value::as_str);
        has_name.filter(|n| !n.is_empty()).ok_or_else(|| unusable("its event has no name"))?;
        let mut body = normalize::event(&self.item);
        let told = body.get("created_at").and_then(Timestamp::parse);
        let at = told.unwrap_or(self.at);
        if let (None, Value::Object(item)) = (told, &self.item) {
            // It happened: what has no time of its own has that of the telling.
            let mut item = item.clone();
            item.insert("created_at".to_owned(), json!(at.seconds()));
            body = normalize::event(&Value::Object(item));
        }
        let id = normalize::id_of(&body).ok_or_else(|| unusable("its event has no usable id"))?;
        let (live, source) = (Liveness::Live, Source::Notification);
        Ok(Snapshot::new(RecordKey::event(id), live, body, source, at, self.received))
    }

    fn contact_id(&self) -> Result<RecordId, Unusable> {
        let contact = contact_of(&self.item);
        match contact.get("type") {
            None => {}
            Some(Value::String(kind)) if kind == "contact" => {}
            Some(_) => return Err(unusable("its item is not a contact")),
        }
        normalize::id_of(contact).ok_or_else(|| unusable("its contact has no usable id"))
    }

    fn is_flagged(&self, flag: &str) -> bool {
        contact_of(&self.item).get(flag).and_then(Value::as_bool).unwrap_or(false)
    }

    fn snapshot(&self, key: RecordKey, liveness: Liveness, body: Value) -> Snapshot {
        Snapshot::new(key, liveness, body, Source::Notification, self.at, self.received)
    }
}

/// The contact of an item: the item itself, or what a wrapper holds.
fn contact_of(item: &Value) -> &Value {
    item.get("contact").filter(|contact| contact.is_object()).unwrap_or(item)
}

/// The same, taken out.
fn take_contact(item: &mut Value) -> Value {
    match item.get_mut("contact").filter(|contact| contact.is_object()) {
        Some(contact) => contact.take(),
        None => item.take(),
    }
}

fn unusable(reason: impl Into<String>) -> Unusable {
    Unusable { reason: reason.into() }
}

impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unverified({} bytes)", self.body.len())
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified({} bytes)", self.body.len())
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshots(snapshots) => {
                f.debug_list().entries(snapshots.iter().map(|s| (&s.key, &s.liveness))).finish()
            }
            Self::Ping => f.write_str("Ping"),
            Self::Ignored { reason } => f.debug_struct("Ignored").field("reason", reason).finish(),
        }
    }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
