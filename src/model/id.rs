//! Identifiers, each a type of its own, so that none is taken for another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An identifier that cannot be one: empty, too long, or with characters that no service gives out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a valid {what}")]
pub struct InvalidId {
    what: &'static str,
    value: String,
}

/// Everything that is stored belongs to a workspace; `default` until there are more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkspaceId(Arc<str>);

impl WorkspaceId {
    /// The name of the workspace, as the store keeps it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for WorkspaceId {
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

/// What kind of object a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// A user or a lead.
    Contact,
    /// A company.
    Company,
    /// A tag: its id and name, since contacts carry ids only.
    Tag,
    /// A conversation.
    Conversation,
    /// A custom event: a message, not a state.
    Event,
    /// A contact of Brevo, in the other direction.
    BrevoContact,
    /// An event of Brevo, in the other direction.
    BrevoEvent,
}

impl RecordKind {
    /// The word for it in the store, in logs and in `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Company => "company",
            Self::Tag => "tag",
            Self::Conversation => "conversation",
            Self::Event => "event",
            Self::BrevoContact => "brevo_contact",
            Self::BrevoEvent => "brevo_event",
        }
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RecordKind {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "contact" => Ok(Self::Contact),
            "company" => Ok(Self::Company),
            "tag" => Ok(Self::Tag),
            "conversation" => Ok(Self::Conversation),
            "event" => Ok(Self::Event),
            "brevo_contact" => Ok(Self::BrevoContact),
            "brevo_event" => Ok(Self::BrevoEvent),
            other => Err(InvalidId { what: "record kind", value: other.to_owned() }),
        }
    }
}

/// Intercom's id of an object: 24 hexadecimal digits for contacts and companies, digits for tags.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordId(Arc<str>);

impl RecordId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RecordId {
    type Err = InvalidId;

    /// Accepts up to 128 printable characters without spaces; Intercom promises no format.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = !text.is_empty() && text.len() <= 128;
        if fits && text.chars().all(|c| c.is_ascii_graphic()) {
            Ok(Self(Arc::from(text)))
        } else {
            let value = text.chars().take(64).collect();
            Err(InvalidId { what: "Intercom id", value })
        }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names a record inside its workspace; shown as `contact:665f1c0a9e3b7d0012ab34c1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordKey {
    /// What it is.
    pub kind: RecordKind,
    /// Which one.
    pub id: RecordId,
}

impl RecordKey {
    /// The key of a contact.
    pub fn contact(id: RecordId) -> Self {
        Self { kind: RecordKind::Contact, id }
    }

    /// The key of a company.
    pub fn company(id: RecordId) -> Self {
        Self { kind: RecordKind::Company, id }
    }

    /// The key of a conversation.
    pub fn conversation(id: RecordId) -> Self {
        Self { kind: RecordKind::Conversation, id }
    }

    /// The key of a custom event.
    pub fn event(id: RecordId) -> Self {
        Self { kind: RecordKind::Event, id }
    }

    /// The key of a tag.
    pub fn tag(id: RecordId) -> Self {
        Self { kind: RecordKind::Tag, id }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

impl FromStr for RecordKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, id) = text
            .split_once(':')
            .ok_or_else(|| InvalidId { what: "record key", value: text.to_owned() })?;
        Ok(Self { kind: kind.parse()?, id: id.parse()? })
    }
}

/// An e-mail address as a key: trimmed and in lower case, as Brevo stores them.
///
/// Addresses are compared without case on both sides (facts: Brevo section 4). `Debug` shows only the
/// domain, so that an address does not reach a log by accident.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(Arc<str>);

impl Email {
    /// The address, for a request to Brevo or for the store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.trim().to_lowercase();
        if lower.len() <= 254 && email_address::EmailAddress::is_valid(&lower) {
            Ok(Self(Arc::from(lower)))
        } else {
            Err(InvalidId { what: "e-mail address", value: text.chars().take(64).collect() })
        }
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = self.0.rsplit_once('@').map_or("", |(_, domain)| domain);
        write!(f, "Email(***@{domain})")
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a Brevo list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ListId(pub i64);

impl fmt::Display for ListId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The version of a rule set: 16 hexadecimal digits of a digest of its files and of the
/// configuration it sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleSetVersion(Arc<str>);

impl RuleSetVersion {
    /// Takes the first 16 hexadecimal digits of `digest`.
    pub fn of(digest: super::Digest) -> Self {
        let text = digest.to_string();
        Self(Arc::from(text.get(..16).unwrap_or(&text)))
    }

    /// Takes a version as the store or a person wrote it.
    pub fn from_text(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleSetVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_compared_without_case_and_does_not_reach_a_log() {
        let email: Email = " FATIMA.AlSayed+VIP@Example.COM ".parse().unwrap();
        assert_eq!(email.as_str(), "fatima.alsayed+vip@example.com");
        assert_eq!(format!("{email:?}"), "Email(***@example.com)");
        assert!("not an address".parse::<Email>().is_err());
    }

    #[test]
    fn a_record_key_survives_its_text() {
        let key: RecordKey = "contact:665f1c0a9e3b7d0012ab34c1".parse().unwrap();
        assert_eq!(key.to_string().parse::<RecordKey>().unwrap(), key);
        assert!("contact".parse::<RecordKey>().is_err());
        assert!("ship:1".parse::<RecordKey>().is_err());
    }
}
