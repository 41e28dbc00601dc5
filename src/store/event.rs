//! Events that rules tracked: which of them are sent, and how the sending of one ends.

use serde::Serialize;
use serde_json::json;

use super::Cause;
use crate::model::{
    Digest, Email, RecordId, RecordKey, RuleSetVersion, Timestamp, Traced, TrackedEvent,
    WorkspaceId,
};

/// The fact that says since when what happens is sent, in seconds since 1970: since the first sync
/// began. None: no sync has begun, and whatever comes in has just happened.
pub const LIVE_SINCE: &str = "live_since";

/// A derivation that ended as decided: the events that it tracked, and all that decides whether they
/// are sent. It becomes durable together with the end of its claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Derivation {
    /// The record whose rules ran.
    pub subject: RecordKey,
    /// The Intercom contact that its events are about.
    pub contact: RecordId,
    /// The rules that ran.
    pub rule_set: RuleSetVersion,
    /// The time that they compared with.
    pub as_of: Timestamp,
    /// The digest of the snapshot that they saw.
    pub snapshot: Digest,
    /// When an event without a time of its own counts as happening if the record was never derived
    /// before: then nothing says since when it has been true.
    pub happened: Timestamp,
    /// What happened before the first sync is sent as well.
    pub backfills: bool,
    /// What they tracked, in order.
    pub events: Vec<Traced<TrackedEvent>>,
}

/// What is remembered of the derivation before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastDerivation {
    /// Its rules.
    pub rule_set: String,
    /// The digest of its snapshot.
    pub snapshot: Digest,
    /// Its time.
    pub as_of: Timestamp,
}

/// Why an event is known without having been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// It happened before the first sync began.
    BeforeLive,
    /// New rules found it in what the rules before had seen already.
    NewRules,
    /// Brevo has no such contact.
    NoContact,
    /// The record is gone.
    Gone,
    /// An operator dropped it.
    Dropped,
}

impl Withheld {
    /// The word for it in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeLive => "before_live",
            Self::NewRules => "new_rules",
            Self::NoContact => "no_contact",
            Self::Gone => "gone",
            Self::Dropped => "dropped",
        }
    }
}

impl Derivation {
    /// Why an event with this time, whose key is new, is not sent; none: it is.
    ///
    /// Something without a time that was not true at the derivation before became true since, be it by
    /// a new snapshot, a relation, or the passing of time. New rules on an old snapshot tell nothing
    /// of that kind, except what bears a time after the derivation before.
    pub fn withholds(
        &self,
        at: Option<Timestamp>,
        last: Option<&LastDerivation>,
        live_since: Option<Timestamp>,
    ) -> Option<Withheld> {
        if let Some(last) = last {
            let sees_the_same = last.snapshot == self.snapshot;
            let has_new_rules = last.rule_set != self.rule_set.as_str();
            let is_later = at.is_some_and(|at| at > last.as_of);
            if sees_the_same && has_new_rules && !is_later {
                return Some(Withheld::NewRules);
            }
        }
        let happened = at.unwrap_or_else(|| last.map_or(self.happened, |_| self.as_of));
        let is_history = live_since.is_some_and(|since| happened < since);
        (is_history && !self.backfills).then_some(Withheld::BeforeLive)
    }
}

/// The name of an event's key: the same record, event and time have the same one for ever. Receivers
/// see it as `event_id`.
pub(crate) fn event_id(
    workspace: &WorkspaceId,
    subject: &RecordKey,
    event: &TrackedEvent,
) -> String {
    let at = event.at.map(Timestamp::seconds);
    let key = json!([workspace.as_str(), subject.to_string(), event.name, at]);
    // Half of the digest: no two keys of one store ever share it.
    Digest::of_json(&key).to_string().chars().take(32).collect()
}

/// Whether Brevo may have an event already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// No attempt can have reached it.
    None,
    /// The process ended during an attempt, or Brevo failed.
    Possible,
    /// The answer to an attempt was lost: to send again without looking could send twice.
    Likely,
}

impl Doubt {
    pub(super) fn rank(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Possible => 1,
            Self::Likely => 2,
        }
    }

    pub(super) fn from_rank(rank: i64) -> Self {
        match rank {
            0 => Self::None,
            1 => Self::Possible,
            _ => Self::Likely,
        }
    }
}

/// An event that is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct DueEvent {
    /// Its number in the store, which orders it.
    pub seq: i64,
    /// The name of its key.
    pub id: String,
    /// The Intercom contact that it is about.
    pub contact: RecordId,
    /// What it says.
    pub event: TrackedEvent,
    /// `scripts/mapping.rhai:14:9`, the line that tracked it.
    pub origin: Option<String>,
    /// The rules that tracked it.
    pub rule_set: Option<String>,
    /// What Brevo was told at the first attempt; none: there was none.
    pub date: Option<Timestamp>,
    /// How often it was tried.
    pub attempts: u32,
    /// Since when it fails.
    pub failing_since: Option<Timestamp>,
    /// Whether Brevo may have it.
    pub doubt: Doubt,
    /// When the last attempt ended, or began if its end is not known; none: there was none.
    pub tried: Option<Timestamp>,
    /// Whom Brevo knows it by.
    pub target: EventTarget,
}

/// Whom an event is about, in Brevo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTarget {
    /// The contact with this number, and the address that it is known to have.
    Contact {
        /// Brevo's number.
        id: i64,
        /// The address.
        email: Option<Email>,
    },
    /// Nobody, for this reason.
    Nobody(Withheld),
    /// Nobody yet: what would make the contact known to Brevo is still to be written.
    Awaited(Awaits),
}

/// What an event waits for whose contact Brevo does not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaits {
    /// The write of the contact, which is made by itself.
    Write,
    /// Somebody who retries or drops the contact's dead letter.
    DeadLetter,
}

/// How an attempt to send an event ended.
#[derive(Debug, Clone, PartialEq)]
pub enum EventEnd {
    /// Brevo has it.
    Sent,
    /// Brevo has nobody whom it is about. If that may still change it waits, else it is never sent:
    /// the store decides it, by what is true when this end is written.
    Orphaned,
    /// It will not be sent by itself.
    Dead(Cause),
    /// It is tried again.
    Retry {
        /// Not before this time.
        at: Timestamp,
        /// Whether Brevo may have it.
        doubt: Doubt,
        /// True if it failed by itself; false if the service or the engine did.
        counts: bool,
    },
    /// Nothing was tried: Brevo was asked whether it has it.
    Looked {
        /// When it is asked again or, where there is no doubt any more, when the event is sent again.
        at: Timestamp,
        /// Whether Brevo may have it.
        doubt: Doubt,
        /// True if Brevo could not be asked.
        fails: bool,
    },
}

/// Figures of the events that rules tracked. They stand apart from those of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct EventCounts {
    /// Brevo has them.
    pub sent: u64,
    /// They wait to be sent.
    pub due: u64,
    /// They are known and were not sent: they happened before the first sync, new rules found them
    /// in old snapshots, or Brevo has no such contact.
    pub known: u64,
    /// They are dead letters.
    pub dead: u64,
    /// Custom events of Intercom's that name a person whom nobody is known to be yet: they are kept until
    /// he is, and are not among the others.
    pub unassigned: u64,
    /// Those of `due` that wait for somebody who deals with the dead letter of their contact.
    #[serde(skip)]
    pub stuck: u64,
    /// How often one became a dead letter.
    #[serde(skip)]
    pub refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: Timestamp = Timestamp::from_seconds(1_000);

    fn derivation(rules: &str, snapshot: &str, as_of: i64) -> Derivation {
        Derivation {
            subject: RecordKey::contact("c1".parse().unwrap()),
            contact: "c1".parse().unwrap(),
            rule_set: RuleSetVersion::of(Digest::of_bytes(rules.as_bytes())),
            as_of: Timestamp::from_seconds(as_of),
            snapshot: Digest::of_bytes(snapshot.as_bytes()),
            happened: Timestamp::from_seconds(500),
            backfills: false,
            events: Vec::new(),
        }
    }

    fn last(rules: &str, snapshot: &str, as_of: i64) -> LastDerivation {
        let Derivation { rule_set, snapshot, as_of, .. } = derivation(rules, snapshot, as_of);
        LastDerivation { rule_set: rule_set.to_string(), snapshot, as_of }
    }

    #[test]
    fn what_happened_before_the_first_sync_is_withheld() {
        fn case(at: Option<i64>, happened: i64, last: Option<&LastDerivation>, sent: bool) {
            let now = derivation("a", "s2", 2_000);
            let now = Derivation { happened: Timestamp::from_seconds(happened), ..now };
            let at = at.map(Timestamp::from_seconds);
            let withheld = now.withholds(at, last, Some(LIVE));
            assert_eq!(withheld, (!sent).then_some(Withheld::BeforeLive), "{at:?} {happened}");
            assert_eq!(now.withholds(at, last, None), None);
            let backfill = Derivation { backfills: true, ..now };
            assert_eq!(backfill.withholds(at, last, Some(LIVE)), None);
        }
        case(Some(999), 2_000, None, false);
        case(Some(1_000), 500, None, true);
        case(None, 500, None, false);
        case(None, 1_000, None, true);
        // It was looked at before: what is new became true since.
        case(None, 500, Some(&last("a", "s1", 1_500)), true);
        case(Some(999), 500, Some(&last("a", "s1", 1_500)), false);
    }

    #[test]
    fn new_rules_find_nothing_new_in_an_old_snapshot() {
        fn case(last: &LastDerivation, at: Option<i64>, sent: bool) {
            let now = derivation("b", "s", 2_000);
            let withheld = now.withholds(at.map(Timestamp::from_seconds), Some(last), Some(LIVE));
            assert_eq!(withheld, (!sent).then_some(Withheld::NewRules), "{last:?} {at:?}");
        }
        case(&last("a", "s", 1_500), None, false);
        case(&last("a", "s", 1_500), Some(1_500), false);
        case(&last("a", "s", 1_500), Some(1_501), true);
        case(&last("a", "older", 1_500), None, true);
        case(&last("b", "s", 1_500), None, true);
    }

    #[test]
    fn a_key_is_record_name_and_time_and_nothing_else() {
        let id = |contact: &str, name: &str, at: Option<i64>, property: i64| {
            let properties = json!({ "n": property }).as_object().cloned().unwrap();
            let at = at.map(Timestamp::from_seconds);
            let event = TrackedEvent { name: name.to_owned(), at, properties };
            let subject = RecordKey::contact(contact.parse().unwrap());
            event_id(&WorkspaceId::default(), &subject, &event)
        };
        let first = id("c1", "a", Some(5), 1);
        assert_eq!(first.len(), 32);
        assert_eq!(first, id("c1", "a", Some(5), 2));
        let others = [id("c2", "a", Some(5), 1), id("c1", "b", Some(5), 1), id("c1", "a", None, 1)];
        assert!(others.iter().all(|other| *other != first));
    }
}
