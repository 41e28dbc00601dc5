//! What happened to a conversation, gathered from whatever tells of it.
//!
//! One happening is told several times: by the part of a notification, by a statistic, by a state that
//! is not as it was. Notifications come in any order, twice, or never, and a sweep shows only where
//! things stand. Each telling is a [`Transition`] with the time within which it must have happened;
//! two that can be one are one. So no order of arrival makes two of one, and none is lost because
//! several changes came before anybody looked.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Timestamp;

/// By how much a statistic may differ from the part that it counts, in seconds.
const STATISTIC_TOLERANCE: i64 = 3;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransitionKind {
    /// It began.
    Created,
    /// Somebody wrote.
    Replied,
    /// A teammate left an internal note.
    Noted,
    /// It was given to a teammate or a team.
    Assigned,
    /// It was closed.
    Closed,
    /// It was opened again.
    Opened,
    /// It was put off.
    Snoozed,
    /// It came back from being put off.
    Unsnoozed,
    /// The contact rated it.
    Rated,
    /// The AI agent settled it.
    AiResolved,
    /// The AI agent handed it on, or the contact gave it up.
    AiEscalated,
    /// The contact rated the AI agent.
    AiRated,
}

impl TransitionKind {
    const ALL: [Self; 12] = [
        Self::Created,
        Self::Replied,
        Self::Noted,
        Self::Assigned,
        Self::Closed,
        Self::Opened,
        Self::Snoozed,
        Self::Unsnoozed,
        Self::Rated,
        Self::AiResolved,
        Self::AiEscalated,
        Self::AiRated,
    ];

    /// The word for it in scripts and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Replied => "replied",
            Self::Noted => "noted",
            Self::Assigned => "assigned",
            Self::Closed => "closed",
            Self::Opened => "opened",
            Self::Snoozed => "snoozed",
            Self::Unsnoozed => "unsnoozed",
            Self::Rated => "rated",
            Self::AiResolved => "ai_resolved",
            Self::AiEscalated => "ai_escalated",
            Self::AiRated => "ai_rated",
        }
    }

    /// Reads [`Self::as_str`] back.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// What an AI agent's outcome means, in the words of any version of the API.
    pub fn of_resolution(state: &str) -> Option<Self> {
        match state {
            "assumed_resolution" | "confirmed_resolution" => Some(Self::AiResolved),
            "routed_to_team" | "abandoned" | "escalated" | "negative_feedback"
            | "procedure_handoff" => Some(Self::AiEscalated),
            _ => None,
        }
    }

    /// The state of a conversation after it, if it makes one.
    fn state(self) -> Option<&'static str> {
        match self {
            Self::Created | Self::Opened | Self::Unsnoozed => Some("open"),
            Self::Closed => Some("closed"),
            Self::Snoozed => Some("snoozed"),
            _ => None,
        }
    }

    /// What must have happened to a conversation that was in one state and is in another.
    fn between(before: &str, after: &str) -> Option<Self> {
        match (before, after) {
            (_, "closed") => Some(Self::Closed),
            (_, "snoozed") => Some(Self::Snoozed),
            ("snoozed", "open") => Some(Self::Unsnoozed),
            (_, "open") => Some(Self::Opened),
            _ => None,
        }
    }
}

/// One thing that happened to a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// What.
    pub kind: TransitionKind,
    /// When, as scripts see it; it never changes once it is stored, since events go by it.
    pub at: Timestamp,
    /// Not before this.
    pub since: Timestamp,
    /// Not after this.
    pub until: Timestamp,
    /// The part that it is; none: it was concluded from something else.
    pub part: Option<String>,
    /// Who did it: `contact`, `admin`, `bot`.
    pub by: Option<String>,
    /// The rating, or the outcome.
    pub value: Option<Value>,
}

impl Transition {
    /// Something of which the time is known to the second.
    pub fn at(kind: TransitionKind, at: Timestamp) -> Self {
        Self { kind, at, since: at, until: at, part: None, by: None, value: None }
    }

    /// Something that a statistic counted.
    pub fn counted(kind: TransitionKind, at: Timestamp) -> Self {
        let (since, until) = (at.plus(-STATISTIC_TOLERANCE), at.plus(STATISTIC_TOLERANCE));
        Self { since, until, ..Self::at(kind, at) }
    }

    /// The same, as this part.
    #[must_use]
    pub fn part(mut self, id: Option<String>) -> Self {
        self.part = id;
        self
    }

    /// The same, done by somebody.
    #[must_use]
    pub fn by(mut self, who: Option<&str>) -> Self {
        self.by = who.map(str::to_owned);
        self
    }

    /// The same, with a rating or an outcome.
    #[must_use]
    pub fn value(mut self, value: Value) -> Self {
        self.value = Some(value);
        self
    }

    /// Says whether this and another telling can be of one happening.
    fn is_same(&self, other: &Self) -> bool {
        if self.kind != other.kind {
            return false;
        }
        match self.kind {
            // These are but once, or once for each value.
            TransitionKind::Created => return true,
            TransitionKind::AiResolved | TransitionKind::AiEscalated => return true,
            TransitionKind::Rated | TransitionKind::AiRated => return self.value == other.value,
            _ => {}
        }
        let same_part = match (&self.part, &other.part) {
            (Some(one), Some(two)) => return one == two,
            _ => self.since <= other.until && other.since <= self.until,
        };
        // Statistics count bots among the teammates.
        let team = |by: &str| if by == "bot" { "admin".to_owned() } else { by.to_owned() };
        let same_person = match (&self.by, &other.by) {
            (Some(one), Some(two)) => team(one) == team(two),
            _ => true,
        };
        same_part && same_person
    }

    /// As scripts see it.
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("kind".to_owned(), json!(self.kind.as_str()));
        fields.insert("at".to_owned(), json!(self.at));
        if let Some(by) = &self.by {
            fields.insert("by".to_owned(), json!(by));
        }
        if let Some(value) = &self.value {
            let name = match self.kind {
                TransitionKind::Rated | TransitionKind::AiRated => "rating",
                _ => "resolution",
            };
            fields.insert(name.to_owned(), value.clone());
        }
        Value::Object(fields)
    }
}

/// What a telling changed of what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gathered {
    /// Nothing.
    Known,
    /// What was concluded turned out to be this part; the index of it.
    Confirmed(usize),
    /// It is new, and stands last.
    Added,
}

/// Takes a telling up into what is known.
pub fn gather(known: &mut Vec<Transition>, told: Transition) -> Gathered {
    let distance = |one: &Transition| one.at.seconds().abs_diff(told.at.seconds());
    let same = known
        .iter()
        .enumerate()
        .filter(|(_, one)| one.is_same(&told))
        .min_by_key(|(_, one)| (one.part != told.part, distance(one)))
        .map(|(index, _)| index);
    let Some(index) = same else {
        known.push(told);
        return Gathered::Added;
    };
    match known.get_mut(index) {
        Some(one) if one.part.is_none() && told.part.is_some() => {
            // From now on only this part is it: another one of the same kind is another happening.
            (one.since, one.until) = (told.since, told.until);
            one.part = told.part;
            one.by = told.by.or(one.by.take());
            Gathered::Confirmed(index)
        }
        _ => Gathered::Known,
    }
}

/// What must have happened, since a conversation is in this state at this time and what is known does
/// not end there.
pub fn concluded(known: &[Transition], state: &str, at: Timestamp) -> Option<Transition> {
    let states = known.iter().filter_map(|one| Some((one.at, one.kind.state()?)));
    let last = states.clone().map(|(at, _)| at).max()?;
    if last > at || states.clone().any(|(at, after)| at == last && after == state) {
        return None;
    }
    let (_, before) = states.clone().find(|(at, _)| *at == last)?;
    let kind = TransitionKind::between(before, state)?;
    Some(Transition { since: last, ..Transition::at(kind, at) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(at: i64) -> Timestamp {
        Timestamp::from_seconds(at)
    }

    fn part(kind: TransitionKind, at: i64) -> Transition {
        Transition::at(kind, seconds(at)).part(Some(format!("{kind:?}{at}")))
    }

    fn all(told: impl IntoIterator<Item = Transition>) -> Vec<Transition> {
        let mut known = Vec::new();
        for one in told {
            gather(&mut known, one);
        }
        known
    }

    #[test]
    fn a_part_and_a_statistic_of_one_happening_are_one_in_either_order() {
        use TransitionKind::{Closed, Replied};
        let closing = part(Closed, 100);
        let counted = Transition::counted(Closed, seconds(101));
        assert_eq!(all([closing.clone(), counted.clone()]).len(), 1);
        let other = all([counted.clone(), closing.clone(), counted.clone()]);
        assert_eq!(other.len(), 1);
        // Events went out by the first time that was known.
        assert_eq!((other[0].at, other[0].part.is_some()), (seconds(101), true));
        // A second closing within the tolerance is another one.
        assert_eq!(all([counted, closing, part(Closed, 102)]).len(), 2);
        let by = |who| Transition::counted(Replied, seconds(100)).by(Some(who));
        assert_eq!(all([by("contact"), by("admin")]).len(), 2);
        assert_eq!(all([by("admin"), part(Replied, 100).by(Some("bot"))]).len(), 1);
    }

    #[test]
    fn a_rating_is_one_for_each_value_and_an_outcome_one_of_its_kind() {
        use TransitionKind::{AiResolved, Created, Rated};
        let rated = |at, value: i64| Transition::at(Rated, seconds(at)).value(json!(value));
        assert_eq!(all([rated(5, 4), rated(9, 4), rated(9, 5)]).len(), 2);
        let resolved = |at| Transition::at(AiResolved, seconds(at));
        assert_eq!(all([resolved(5), resolved(90)]).len(), 1);
        assert_eq!(
            all([Transition::at(Created, seconds(5)), Transition::at(Created, seconds(6))]).len(),
            1
        );
    }

    #[test]
    fn a_state_that_nothing_explains_is_a_happening_of_its_own() {
        use TransitionKind::{Closed, Created, Opened, Snoozed, Unsnoozed};
        let known = vec![Transition::at(Created, seconds(10))];
        assert_eq!(concluded(&known, "open", seconds(50)), None);
        let snoozed = concluded(&known, "snoozed", seconds(50)).unwrap();
        assert_eq!((snoozed.kind, snoozed.at, snoozed.since), (Snoozed, seconds(50), seconds(10)));
        let mut known = all(known.into_iter().chain([snoozed]));
        // The late notification of it is the same happening.
        assert_eq!(gather(&mut known, part(Snoozed, 30)), Gathered::Confirmed(1));
        assert_eq!(gather(&mut known, part(Snoozed, 45)), Gathered::Added);
        assert_eq!(concluded(&known, "open", seconds(60)).unwrap().kind, Unsnoozed);
        let closed = [part(Created, 1), part(Closed, 70)];
        assert_eq!(concluded(&closed, "open", seconds(80)).unwrap().kind, Opened);
        assert_eq!(concluded(&closed, "closed", seconds(80)), None);
        // The state is older than what is known.
        assert_eq!(concluded(&closed, "open", seconds(60)), None);
    }

    #[test]
    fn every_kind_has_a_word_and_both_vocabularies_a_meaning() {
        for kind in TransitionKind::ALL {
            assert_eq!(TransitionKind::from_text(kind.as_str()), Some(kind));
        }
        for state in ["assumed_resolution", "confirmed_resolution"] {
            assert_eq!(TransitionKind::of_resolution(state), Some(TransitionKind::AiResolved));
        }
        for state in
            ["routed_to_team", "abandoned", "escalated", "negative_feedback", "procedure_handoff"]
        {
            assert_eq!(TransitionKind::of_resolution(state), Some(TransitionKind::AiEscalated));
        }
        assert_eq!(TransitionKind::of_resolution("new_word"), None);
    }

    proptest! {
        /// INVARIANT: no order of arrival, no duplicate and no statistic makes two of one happening.
        #[test]
        fn every_order_of_arrival_finds_the_same_happenings(
            gaps in prop::collection::vec(8_i64..500, 1..12),
            jitter in prop::collection::vec(-1_i64..2, 12),
            order in any::<prop::sample::Index>(),
            seed in any::<u64>(),
        ) {
            use TransitionKind::{Assigned, Closed, Replied, Snoozed};
            let kinds = [Replied, Closed, Assigned, Snoozed];
            let mut at = 1_000;
            let mut told = Vec::new();
            for (index, gap) in gaps.iter().enumerate() {
                at += gap;
                let kind = kinds[index % kinds.len()];
                told.push(part(kind, at));
                told.push(part(kind, at));
                told.push(Transition::counted(kind, seconds(at + jitter[index])));
            }
            // A shuffle that needs no generator.
            told.sort_by_key(|one| (one.at.seconds() as u64).wrapping_mul(seed | 1) ^ u64::from(one.part.is_some()));
            let middle = order.index(told.len());
            told.rotate_left(middle);
            let known = all(told);
            prop_assert_eq!(known.len(), gaps.len());
            prop_assert!(known.iter().all(|one| one.part.is_some()));
        }
    }
}
