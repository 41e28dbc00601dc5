//! Snapshots of Intercom objects, and how two of them order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Digest, Email, InvalidId, RecordId, RecordKey, Timestamp, Transition, digest};

/// How far ahead of our clock a version may lie before it counts as the time of receipt.
const CLOCK_TOLERANCE_SECONDS: i64 = 300;

/// Whether an object still stands in Intercom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// It stands.
    Live,
    /// Hidden, and may come back in full.
    Archived,
    /// Gone for good; its id is never given out again.
    Deleted,
    /// Absorbed by another contact, whose id is known only where Intercom said it.
    Merged {
        /// The survivor.
        into: Option<RecordId>,
    },
}

impl Liveness {
    /// True of what can only come back by a read that finds it.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Deleted | Self::Merged { .. })
    }

    /// True of an object that stands.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live)
    }
}

impl fmt::Display for Liveness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live => f.write_str("live"),
            Self::Archived => f.write_str("archived"),
            Self::Deleted => f.write_str("deleted"),
            Self::Merged { into: None } => f.write_str("merged"),
            Self::Merged { into: Some(id) } => write!(f, "merged:{id}"),
        }
    }
}

impl FromStr for Liveness {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "archived" => Self::Archived,
            "deleted" => Self::Deleted,
            "merged" => Self::Merged { into: None },
            other => match other.strip_prefix("merged:") {
                Some(id) => Self::Merged { into: Some(id.parse()?) },
                None => Self::Live,
            },
        })
    }
}

/// Which way a snapshot came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A notification: the state at some moment within its second, or earlier.
    Notification,
    /// A read that began at this time: the state at that time or later.
    Read {
        /// When the request was sent.
        began: Timestamp,
    },
}

/// What orders two snapshots of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// `updated_at` in whole seconds, never more than five minutes ahead of the receipt.
    pub at: Timestamp,
    /// Of the normalised body.
    pub digest: Digest,
    /// Which way it came.
    pub source: Source,
}

/// How an incoming snapshot stands to the stored one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It replaces the stored one.
    Newer,
    /// The same second and the same content.
    Unchanged,
    /// The stored one stays.
    Older,
    /// The same second, other content, and nothing says which came first: only a read can tell.
    Tie,
}

impl Version {
    /// Orders `incoming` against the stored version. Forward only: what is older never wins.
    ///
    /// Within one second only a read that began after that second is known to show its end, so it
    /// wins over a notification and loses to none.
    pub fn compare(stored: &Version, incoming: &Version) -> Freshness {
        if stored.digest == incoming.digest {
            return Freshness::Unchanged;
        }
        match incoming.at.cmp(&stored.at) {
            std::cmp::Ordering::Greater => Freshness::Newer,
            std::cmp::Ordering::Less => Freshness::Older,
            std::cmp::Ordering::Equal => match (stored.read_after(), incoming.read_after()) {
                (None, Some(_)) => Freshness::Newer,
                (Some(_), None) => Freshness::Older,
                (Some(then), Some(now)) if now > then => Freshness::Newer,
                (Some(then), Some(now)) if now < then => Freshness::Older,
                _ => Freshness::Tie,
            },
        }
    }

    /// When the read that brought this began, if that was after the version's second.
    fn read_after(&self) -> Option<Timestamp> {
        match self.source {
            Source::Read { began } if began > self.at => Some(began),
            _ => None,
        }
    }
}

/// An object as it came in, in the one shape that `intercom::normalize` gives every API version and
/// every way in.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Which object.
    pub key: RecordKey,
    /// What orders it.
    pub version: Version,
    /// Whether it still stands.
    pub liveness: Liveness,
    /// The normalised object; `{}` for what only said that it is gone.
    pub body: Value,
    /// True if keys that are missing from `body` are unknown, rather than absent.
    pub is_partial: bool,
    /// True if it says only that something changed, not what: it makes its object be read.
    pub is_hint: bool,
    /// Of a conversation what happened to it, as far as this delivery tells beyond its body. It counts
    /// however stale the snapshot is.
    pub course: Vec<Transition>,
    /// Of a contact when Intercom told that it opted in to e-mail again; it counts however stale the
    /// snapshot is.
    pub opted_in: Option<Timestamp>,
}

impl Snapshot {
    /// A snapshot of a normalised `body`. `updated_at` orders it; where the body has none,
    /// `fallback` does, which is never later than `received`. A version far ahead of `received` counts
    /// as `received`.
    pub fn new(
        key: RecordKey,
        liveness: Liveness,
        body: Value,
        source: Source,
        fallback: Timestamp,
        received: Timestamp,
    ) -> Self {
        let at =
            body.get("updated_at").and_then(Timestamp::parse).unwrap_or(fallback.min(received));
        let latest = received.plus(CLOCK_TOLERANCE_SECONDS);
        let at = if at > latest { received } else { at };
        let digest = digest_of(&liveness, &body);
        let version = Version { at, digest, source };
        let (is_partial, is_hint) = (false, false);
        let (course, opted_in) = (Vec::new(), None);
        Self { key, version, liveness, body, is_partial, is_hint, course, opted_in }
    }

    /// The news that an object changed, without what it is now.
    pub fn hint(key: RecordKey, received: Timestamp) -> Self {
        let body = Value::Object(serde_json::Map::new());
        let snapshot =
            Self::new(key, Liveness::Live, body, Source::Notification, received, received);
        Self { is_hint: true, ..snapshot }
    }

    /// Says that keys missing from the body are unknown, not absent.
    #[must_use]
    pub fn partial(mut self) -> Self {
        self.is_partial = true;
        self
    }

    /// Lays this snapshot over the one that is stored: what a partial one lacks is taken from it.
    #[must_use]
    pub fn over(mut self, stored: &Record) -> Self {
        if let (true, Value::Object(new), Value::Object(old)) =
            (self.is_partial, &mut self.body, &stored.body)
        {
            for (key, value) in old {
                new.entry(key.clone()).or_insert_with(|| value.clone());
            }
            self.version.digest = digest_of(&self.liveness, &self.body);
        }
        self
    }
}

fn digest_of(liveness: &Liveness, body: &Value) -> Digest {
    let mut text = liveness.to_string();
    text.push('\n');
    text.push_str(&digest::canonical_json(body));
    Digest::of_bytes(text.as_bytes())
}

/// The newest snapshot of an object, as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Which object.
    pub key: RecordKey,
    /// What orders it.
    pub version: Version,
    /// Whether it still stands.
    pub liveness: Liveness,
    /// The normalised object.
    pub body: Value,
}

impl Record {
    /// Says whether a snapshot replaces this record. Beyond [`Version::compare`]:
    ///
    /// - What is gone for good has no later state, whatever the times say. Only a read that found it
    ///   after it was said to be gone brings it back.
    /// - An archival wins over another state of its second: if that is wrong, the next read finds the
    ///   contact, while nothing would find it gone.
    pub fn compare(&self, incoming: &Snapshot) -> Freshness {
        let was_read_after = |source: Source, at: Timestamp| match source {
            Source::Read { began } => began > at,
            Source::Notification => false,
        };
        match (self.liveness.is_live(), incoming.liveness.is_live()) {
            (false, true) if was_read_after(incoming.version.source, self.version.at) => {
                Freshness::Newer
            }
            (false, true) if self.liveness.is_final() => Freshness::Older,
            (true, false) if incoming.liveness.is_final() => {
                let is_denied = was_read_after(self.version.source, incoming.version.at);
                if is_denied { Freshness::Older } else { Freshness::Newer }
            }
            (was_live, _) => match Version::compare(&self.version, &incoming.version) {
                Freshness::Tie if was_live && !incoming.liveness.is_live() => Freshness::Newer,
                order => order,
            },
        }
    }

    /// The contact's address, if it has one that could be one.
    pub fn email(&self) -> Option<Email> {
        email_of(&self.body)
    }
}

impl From<Snapshot> for Record {
    fn from(snapshot: Snapshot) -> Self {
        let Snapshot { key, version, liveness, body, .. } = snapshot;
        Self { key, version, liveness, body }
    }
}

/// The address in a normalised contact.
pub fn email_of(body: &Value) -> Option<Email> {
    body.get("email")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn snapshot(updated_at: i64, name: &str, source: Source) -> Snapshot {
        let key = RecordKey::contact("c1".parse().unwrap());
        let body = json!({"updated_at": updated_at, "name": name});
        let received = Timestamp::from_seconds(2_000_000_000);
        Snapshot::new(key, Liveness::Live, body, source, received, received)
    }

    fn read(began: i64) -> Source {
        Source::Read { began: Timestamp::from_seconds(began) }
    }

    #[test]
    fn within_one_second_a_read_begun_after_it_wins_and_two_notifications_tie() {
        fn case(stored: Snapshot, incoming: Snapshot, expected: Freshness) {
            assert_eq!(Record::from(stored).compare(&incoming), expected);
        }
        let hook = Source::Notification;
        case(snapshot(10, "a", hook), snapshot(11, "b", hook), Freshness::Newer);
        case(snapshot(11, "a", hook), snapshot(10, "b", hook), Freshness::Older);
        case(snapshot(10, "a", hook), snapshot(10, "a", hook), Freshness::Unchanged);
        case(snapshot(10, "a", hook), snapshot(10, "b", hook), Freshness::Tie);
        case(snapshot(10, "a", hook), snapshot(10, "b", read(10)), Freshness::Tie);
        case(snapshot(10, "a", hook), snapshot(10, "b", read(11)), Freshness::Newer);
        case(snapshot(10, "a", read(11)), snapshot(10, "b", hook), Freshness::Older);
        case(snapshot(10, "a", read(11)), snapshot(10, "b", read(12)), Freshness::Newer);
    }

    #[test]
    fn what_is_deleted_comes_back_only_by_a_later_read() {
        let mut gone = Record::from(snapshot(10, "a", Source::Notification));
        gone.liveness = Liveness::Deleted;
        let late = snapshot(99, "b", Source::Notification);
        assert_eq!(gone.compare(&late), Freshness::Older);
        assert_eq!(gone.compare(&snapshot(9, "b", read(11))), Freshness::Newer);
    }

    #[test]
    fn a_deletion_counts_whatever_its_time_unless_a_later_read_denies_it() {
        let gone = |at: i64| Snapshot {
            liveness: Liveness::Deleted,
            ..snapshot(at, "gone", Source::Notification)
        };
        let live = |at: i64, source| Record::from(snapshot(at, "a", source));
        assert_eq!(live(10, Source::Notification).compare(&gone(10)), Freshness::Newer);
        assert_eq!(live(10, Source::Notification).compare(&gone(9)), Freshness::Newer);
        assert_eq!(live(10, read(12)).compare(&gone(12)), Freshness::Newer);
        assert_eq!(live(10, read(13)).compare(&gone(12)), Freshness::Older);
    }

    #[test]
    fn an_archival_wins_its_second_and_loses_to_what_is_newer() {
        let hidden = |at: i64| Snapshot {
            liveness: Liveness::Archived,
            ..snapshot(at, "gone", Source::Notification)
        };
        let live = Record::from(snapshot(10, "a", Source::Notification));
        assert_eq!(live.compare(&hidden(10)), Freshness::Newer);
        assert_eq!(live.compare(&hidden(9)), Freshness::Older);
        let archived = Record::from(hidden(10));
        assert_eq!(archived.compare(&snapshot(10, "a", Source::Notification)), Freshness::Tie);
        assert_eq!(archived.compare(&snapshot(11, "a", Source::Notification)), Freshness::Newer);
        assert_eq!(archived.compare(&snapshot(9, "a", read(11))), Freshness::Newer);
    }

    #[test]
    fn a_version_far_ahead_counts_as_the_time_of_receipt() {
        let ahead = snapshot(2_000_000_301, "a", Source::Notification);
        assert_eq!(ahead.version.at, Timestamp::from_seconds(2_000_000_000));
        assert_eq!(ahead.body["updated_at"], 2_000_000_301_i64);
        let near = snapshot(2_000_000_300, "a", Source::Notification);
        assert_eq!(near.version.at, Timestamp::from_seconds(2_000_000_300));
    }

    #[test]
    fn what_a_partial_snapshot_lacks_is_kept() {
        let mut stored = Record::from(snapshot(10, "a", Source::Notification));
        stored.body = json!({"updated_at": 10, "size": 40, "name": "Acme"});
        let partial = snapshot(11, "b", Source::Notification).partial().over(&stored);
        assert_eq!(partial.body, json!({"updated_at": 11, "size": 40, "name": "b"}));
    }

    proptest! {
        /// INVARIANT: whatever the order of arrival, the newest second stays.
        #[test]
        fn every_order_of_arrival_ends_at_the_newest_second(mut seconds in prop::collection::vec(0i64..20, 1..12)) {
            let newest = *seconds.iter().max().unwrap();
            let first = seconds.remove(0);
            let mut stored = Record::from(snapshot(first, "n", Source::Notification));
            for second in seconds {
                let incoming = snapshot(second, "n", Source::Notification);
                if stored.compare(&incoming) == Freshness::Newer {
                    stored = Record::from(incoming);
                }
            }
            prop_assert_eq!(stored.version.at.seconds(), newest);
        }
    }
}
