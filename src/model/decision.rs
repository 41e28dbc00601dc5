//! What the rules say should be true of one contact, each part with the line that said it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    AttributeName, AttributeValue, DoubleOptIn, Fields, ObjectKey, RecordId, RecordKey,
    RuleSetVersion, Timestamp, TrackedEvent,
};

/// Where in the scripts something was said; shown as `scripts/mapping.rhai:14:9`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The file, relative to the folder that holds the scripts' folder.
    pub file: Arc<str>,
    /// The line, from 1; 0 where it is not known.
    pub line: u32,
    /// The column, from 1; 0 where it is not known.
    pub column: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A value and the line that wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Traced<T> {
    /// What was written.
    pub value: T,
    /// By which line.
    pub origin: Origin,
}

/// What the rules want of an attribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeIntent {
    /// It has this value.
    Set(AttributeValue),
    /// `()` or `""`: a value that the engine itself applied, and nobody changed since, goes.
    Withdraw,
    /// `clear(…)`: whatever value it has goes.
    Clear,
}

/// A list as a rule names it. In JSON a number or a name; as a key of a map, where numbers are text,
/// a name of digits only is read as a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum ListRef {
    /// By number.
    Id(i64),
    /// By a name in `lists`, or the exact name of one list of the account.
    Name(String),
}

impl<'de> Deserialize<'de> for ListRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrName;

        impl Visitor<'_> for NumberOrName {
            type Value = ListRef;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number or the name of a list")
            }

            fn visit_i64<E: serde::de::Error>(self, id: i64) -> Result<ListRef, E> {
                Ok(ListRef::Id(id))
            }

            fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<ListRef, E> {
                i64::try_from(id).map(ListRef::Id).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<ListRef, E> {
                Ok(name.parse().map_or_else(|_| ListRef::Name(name.to_owned()), ListRef::Id))
            }
        }

        deserializer.deserialize_any(NumberOrName)
    }
}

impl fmt::Display for ListRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => write!(f, "`{name}`"),
        }
    }
}

/// What the rules want of a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListIntent {
    /// On the list, as granted by the engine.
    Add,
    /// Off the list, whoever granted it.
    Remove,
}

/// What the rules want with the contact as a whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is written as decided.
    #[default]
    Write,
    /// It is left as it is; what was applied stays.
    Skip {
        /// Why, in the script's words.
        reason: String,
    },
    /// What the engine granted is withdrawn.
    Release,
    /// It is deleted in Brevo.
    Delete,
}

/// A line that a script logged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The text, without control characters, at most 1 KiB.
    pub text: String,
    /// Where it was logged.
    pub origin: Origin,
}

/// Something that the rules asked for and that was left out, with the reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What was left out and why.
    pub message: String,
    /// The line that asked for it.
    pub origin: Option<Origin>,
}

/// What should be true of one contact in Brevo.
///
/// The same record, rule set and `as_of` give the same decision, byte for byte: all collections are
/// sorted and nothing here depends on a clock or on chance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The record it was derived from.
    pub subject: RecordKey,
    /// The rules that decided.
    pub rule_set: RuleSetVersion,
    /// The time that `older_than` and `within` compared with.
    pub as_of: Timestamp,
    /// Written, skipped, released or deleted, and by which line (none: the default).
    pub verdict: Verdict,
    /// The line that chose the verdict.
    pub verdict_origin: Option<Origin>,
    /// `brevo.email`, as the script wrote it.
    pub email: Option<Traced<String>>,
    /// `brevo.ext_id`.
    pub ext_id: Option<Traced<String>>,
    /// Attributes; phone identifiers stand here too, as `SMS` and `WHATSAPP`.
    pub attributes: BTreeMap<AttributeName, Traced<AttributeIntent>>,
    /// Attributes of which a value that Brevo holds is left as it is, and the line that says so.
    pub keep: BTreeMap<AttributeName, Origin>,
    /// Memberships; the last word on a list wins.
    pub lists: BTreeMap<ListRef, Traced<ListIntent>>,
    /// `unsubscribe()`: no marketing e-mail.
    pub email_opt_out: Option<Origin>,
    /// `unsubscribe("sms")`.
    pub sms_opt_out: Option<Origin>,
    /// `resubscribe()`: obeyed only where `guards.allow_resubscribe` says so.
    pub resubscribe: Option<Origin>,
    /// `double_opt_in(…)`: Brevo asks the person to confirm.
    pub double_opt_in: Option<Traced<DoubleOptIn>>,
    /// `track(…)`, in the order of the calls.
    pub events: Vec<Traced<TrackedEvent>>,
    /// `upsert_object(…)`: the fields of objects, by type and id.
    pub objects: BTreeMap<ObjectKey, Traced<Fields>>,
    /// `link_company(…)`: Intercom's ids of companies.
    pub companies: BTreeMap<RecordId, Origin>,
    /// What the scripts logged.
    pub log: Vec<Line>,
    /// When the answer of some `older_than` or `within` flips: the earliest such time.
    pub flips_at: Option<Timestamp>,
}

impl Decision {
    /// A decision in which nothing is said yet.
    pub fn new(subject: RecordKey, rule_set: RuleSetVersion, as_of: Timestamp) -> Self {
        Self {
            subject,
            rule_set,
            as_of,
            verdict: Verdict::Write,
            verdict_origin: None,
            email: None,
            ext_id: None,
            attributes: BTreeMap::new(),
            keep: BTreeMap::new(),
            lists: BTreeMap::new(),
            email_opt_out: None,
            sms_opt_out: None,
            resubscribe: None,
            double_opt_in: None,
            events: Vec::new(),
            objects: BTreeMap::new(),
            companies: BTreeMap::new(),
            log: Vec::new(),
            flips_at: None,
        }
    }

    /// Says whether another decision is the same, whichever rules made it at whatever time.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let rule_set = other.rule_set.clone();
        let log = other.log.clone();
        let as_if = Self { rule_set, log, as_of: other.as_of, ..self.clone() };
        as_if == *other
    }

    /// Lays what another record says of this contact over what its own rules said: where both say
    /// something, the other has the last word; what is said of nobody as a whole takes the verdict.
    pub fn overlay(&mut self, other: &Self) {
        if !matches!(self.verdict, Verdict::Write) {
            return;
        }
        if !matches!(other.verdict, Verdict::Write | Verdict::Skip { .. }) {
            self.verdict = other.verdict.clone();
            self.verdict_origin.clone_from(&other.verdict_origin);
        }
        if matches!(other.verdict, Verdict::Skip { .. }) {
            return;
        }
        let other = other.clone();
        for name in other.attributes.keys() {
            self.keep.remove(name);
        }
        self.attributes.extend(other.attributes);
        self.keep.extend(other.keep);
        self.lists.extend(other.lists);
        self.objects.extend(other.objects);
        self.companies.extend(other.companies);
        self.events.extend(other.events);
        self.email = other.email.or(self.email.take());
        self.ext_id = other.ext_id.or(self.ext_id.take());
        self.email_opt_out = other.email_opt_out.or(self.email_opt_out.take());
        self.sms_opt_out = other.sms_opt_out.or(self.sms_opt_out.take());
        self.resubscribe = other.resubscribe.or(self.resubscribe.take());
        self.double_opt_in = other.double_opt_in.or(self.double_opt_in.take());
        self.flips_at = self.flips_at.into_iter().chain(other.flips_at).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_read_back_as_it_was_written() {
        let subject = RecordKey::contact("1".parse().unwrap());
        let version = RuleSetVersion::of(crate::model::Digest::of_bytes(b"rules"));
        let mut decision = Decision::new(subject, version, Timestamp::from_seconds(0));
        let origin = Origin { file: "scripts/a.rhai".into(), line: 1, column: 2 };
        for list in [ListRef::Id(35), ListRef::Name("save them".to_owned())] {
            let granted = Traced { value: ListIntent::Add, origin: origin.clone() };
            decision.lists.insert(list, granted);
        }
        let text = serde_json::to_string(&decision).unwrap();
        assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision);
    }

    #[test]
    fn what_another_record_says_of_a_contact_has_the_last_word() {
        let subject = RecordKey::contact("1".parse().unwrap());
        let version = |rules: &[u8]| RuleSetVersion::of(crate::model::Digest::of_bytes(rules));
        let origin = |line| Origin { file: "scripts/a.rhai".into(), line, column: 1 };
        let mut own = Decision::new(subject.clone(), version(b"a"), Timestamp::from_seconds(0));
        let name: AttributeName = "CSAT".parse().unwrap();
        own.keep.insert(name.clone(), origin(1));
        let on = |intent, line| Traced { value: intent, origin: origin(line) };
        own.lists.insert(ListRef::Id(1), on(ListIntent::Add, 1));
        own.lists.insert(ListRef::Id(2), on(ListIntent::Add, 1));
        let mut other = Decision::new(subject, version(b"b"), Timestamp::from_seconds(9));
        let four = AttributeIntent::Set(AttributeValue::Integer(4));
        other.attributes.insert(name.clone(), Traced { value: four, origin: origin(7) });
        other.lists.insert(ListRef::Id(2), on(ListIntent::Remove, 7));
        other.email_opt_out = Some(origin(8));
        let before = own.clone();
        own.overlay(&other);
        assert_eq!(own.attributes[&name].origin.line, 7);
        assert!(own.keep.is_empty() && own.email_opt_out.is_some());
        assert_eq!(own.lists[&ListRef::Id(1)].value, ListIntent::Add);
        assert_eq!(own.lists[&ListRef::Id(2)].value, ListIntent::Remove);
        assert_eq!((&own.rule_set, own.as_of), (&before.rule_set, before.as_of));
        // Who is left out, released or deleted by his own rules stays so.
        let mut skipped = Decision { verdict: Verdict::Skip { reason: "no".into() }, ..before };
        let as_before = skipped.clone();
        skipped.overlay(&other);
        assert_eq!(skipped, as_before);
    }
}
