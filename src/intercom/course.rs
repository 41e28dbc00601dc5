//! What a delivered conversation tells of its course: its parts, its topic, its statistics.

use serde_json::Value;

use super::normalize::{self, Completeness};
use super::topic::ConversationTopic;
use crate::model::{Liveness, RecordKey, Snapshot, Source, Timestamp, Transition, TransitionKind};

/// A conversation as a read or a notification delivers it; none if it has no usable id. `fallback` orders
/// it where it has no `updated_at`.
pub(super) fn conversation(
    item: &Value,
    source: Source,
    fallback: Timestamp,
    received: Timestamp,
    topic: Option<ConversationTopic>,
) -> Option<Snapshot> {
    let key = RecordKey::conversation(normalize::id_of(item)?);
    let completeness = normalize::conversation_completeness(item);
    let body = normalize::conversation(item, completeness);
    let snapshot = Snapshot::new(key, Liveness::Live, body, source, fallback, received);
    let course = course(item, &snapshot, topic);
    let snapshot = Snapshot { course, ..snapshot };
    Some(match completeness {
        Completeness::Full => snapshot,
        Completeness::Partial => snapshot.partial(),
    })
}

/// Everything that the item tells, what is known best first.
fn course(item: &Value, snapshot: &Snapshot, topic: Option<ConversationTopic>) -> Vec<Transition> {
    let mut course: Vec<Transition> = parts(item).flat_map(of_part).collect();
    let counted = of_statistics(&snapshot.body);
    let is_told = |kind: TransitionKind| {
        let nearly = snapshot.version.at.plus(-5);
        course.iter().any(|one| one.kind == kind)
            || counted.iter().any(|one| one.kind == kind && one.at >= nearly)
    };
    let topical = topic.map(of_topic).unwrap_or_default();
    let topical: Vec<_> = topical
        .iter()
        .filter(|(kind, _)| !is_told(*kind))
        .map(|(kind, by)| Transition::counted(*kind, snapshot.version.at).by(*by))
        .collect();
    let rated = of_rating(item, snapshot, topic);
    course.extend(topical);
    course.extend(counted);
    course.extend(rated);
    course.extend(of_ai_agent(snapshot));
    course
}

fn parts(item: &Value) -> impl Iterator<Item = &Value> {
    let list = item.get("conversation_parts");
    let list = list.and_then(|list| list.get("conversation_parts").or(Some(list)));
    list.and_then(Value::as_array).into_iter().flatten()
}

/// What a part is, by its type; types are many, and new ones appear.
fn of_part(part: &Value) -> Vec<Transition> {
    use TransitionKind::{Assigned, Closed, Noted, Opened, Replied, Snoozed, Unsnoozed};
    let Some(at) = part.get("created_at").and_then(Timestamp::parse) else {
        return Vec::new();
    };
    let kind = part.get("part_type").and_then(Value::as_str).unwrap_or_default();
    let is_message = part.get("body").and_then(Value::as_str).is_some_and(|body| !body.is_empty());
    let mut kinds = match kind {
        "comment" | "quick_reply" => vec![Replied],
        "note" => vec![Noted],
        "close" => vec![Closed],
        "open" => vec![Opened],
        "assign_and_reopen" => vec![Assigned, Opened],
        "assign_and_unsnooze" => vec![Assigned, Unsnoozed],
        _ if kind.contains("unsnooze") => vec![Unsnoozed],
        _ if kind.contains("snooze") => vec![Snoozed],
        _ if kind.contains("assignment") => vec![Assigned],
        _ => Vec::new(),
    };
    // A message may close or open a conversation by itself.
    if is_message && matches!(kind, "close" | "open" | "assignment" | "assign_and_reopen") {
        kinds.push(Replied);
    }
    let by = part.pointer("/author/type").and_then(Value::as_str).and_then(author);
    let id = normalize::id_of(part).map(|id| id.to_string());
    let transition = |kind| Transition::at(kind, at).part(id.clone()).by(by);
    kinds.into_iter().map(transition).collect()
}

fn author(kind: &str) -> Option<&'static str> {
    match kind {
        "user" | "lead" | "contact" | "visitor" => Some("contact"),
        "admin" | "team" => Some("admin"),
        "bot" | "operator" | "workflow" => Some("bot"),
        _ => None,
    }
}

/// What a topic says by itself, where neither parts nor statistics show it.
fn of_topic(topic: ConversationTopic) -> &'static [(TransitionKind, Option<&'static str>)] {
    use TransitionKind::{Assigned, Closed, Noted, Opened, Replied, Snoozed, Unsnoozed};
    match topic {
        ConversationTopic::ContactReplied => &[(Replied, Some("contact"))],
        ConversationTopic::AdminReplied => &[(Replied, Some("admin"))],
        ConversationTopic::OperatorReplied => &[(Replied, Some("bot"))],
        ConversationTopic::Assigned => &[(Assigned, None)],
        ConversationTopic::OpenAssigned => &[(Assigned, None), (Opened, None)],
        ConversationTopic::Noted => &[(Noted, Some("admin"))],
        ConversationTopic::Closed => &[(Closed, None)],
        ConversationTopic::Opened => &[(Opened, None)],
        ConversationTopic::Snoozed => &[(Snoozed, None)],
        ConversationTopic::Unsnoozed => &[(Unsnoozed, None)],
        ConversationTopic::Created
        | ConversationTopic::RatingAdded
        | ConversationTopic::Updated
        | ConversationTopic::Deleted
        | ConversationTopic::Participants => &[],
    }
}

/// When it began, and what Intercom counted of its course.
fn of_statistics(body: &Value) -> Vec<Transition> {
    use TransitionKind::{Assigned, Closed, Created, Replied};
    const COUNTED: [(&str, TransitionKind, Option<&str>); 8] = [
        ("first_contact_reply_at", Replied, Some("contact")),
        ("last_contact_reply_at", Replied, Some("contact")),
        ("first_admin_reply_at", Replied, Some("admin")),
        ("last_admin_reply_at", Replied, Some("admin")),
        ("first_assignment_at", Assigned, None),
        ("last_assignment_at", Assigned, None),
        ("first_close_at", Closed, None),
        ("last_close_at", Closed, None),
    ];
    let created = body.get("created_at").and_then(Timestamp::parse);
    // The message that began it is no reply, though the statistics count it as one.
    let is_opening = |kind, at: Timestamp| {
        kind == Replied && created.is_some_and(|began| at.seconds().abs_diff(began.seconds()) <= 1)
    };
    let counted = COUNTED.iter().filter_map(|(field, kind, by)| {
        let at = body.get("statistics")?.get(field).and_then(Timestamp::parse)?;
        (!is_opening(*kind, at)).then(|| Transition::counted(*kind, at).by(*by))
    });
    created.map(|at| Transition::at(Created, at)).into_iter().chain(counted).collect()
}

/// The rating. When it was given is said since 2.14, and by the part that brings it; else it lies
/// between the request and the last change.
fn of_rating(
    item: &Value,
    snapshot: &Snapshot,
    topic: Option<ConversationTopic>,
) -> Option<Transition> {
    let rating = snapshot.body.get("conversation_rating")?;
    let value = rating.get("rating").filter(|value| !value.is_null())?.clone();
    let latest = snapshot.version.at;
    let told = parts(item)
        .filter(|part| {
            let kind = part.get("part_type").and_then(Value::as_str);
            kind.is_some_and(|kind| kind.contains("rating"))
        })
        .filter_map(|part| part.get("created_at").and_then(Timestamp::parse))
        .max();
    let said = rating.get("updated_at").and_then(Timestamp::parse).or(told);
    let said = said.or_else(|| (topic == Some(ConversationTopic::RatingAdded)).then_some(latest));
    let requested = rating.get("created_at").and_then(Timestamp::parse);
    let rated = match said {
        Some(at) => Transition::at(TransitionKind::Rated, at),
        None => {
            let since = requested.unwrap_or(latest).min(latest);
            Transition { until: latest, ..Transition::at(TransitionKind::Rated, since) }
        }
    };
    Some(rated.value(value).by(Some("contact")))
}

/// What became of the AI agent's part. No time goes with it, so it is that of the change which shows it.
fn of_ai_agent(snapshot: &Snapshot) -> Vec<Transition> {
    let Some(agent) = snapshot.body.get("ai_agent") else {
        return Vec::new();
    };
    let latest = snapshot.version.at;
    let state = agent.get("resolution_state").and_then(Value::as_str);
    let outcome = state.and_then(|state| {
        let kind = TransitionKind::of_resolution(state)?;
        Some(Transition::at(kind, latest).value(Value::from(state)).by(Some("bot")))
    });
    let rating = agent.get("rating").filter(|rating| !rating.is_null()).map(|rating| {
        let at = agent.get("updated_at").and_then(Timestamp::parse).unwrap_or(latest);
        Transition::at(TransitionKind::AiRated, at).value(rating.clone()).by(Some("contact"))
    });
    outcome.into_iter().chain(rating).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::gather;

    const RECEIVED: Timestamp = Timestamp::from_seconds(1_790_000_000);

    fn sample(path: &str) -> Value {
        let path = format!("{}/tests/samples/{path}", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn told(item: &Value, topic: Option<ConversationTopic>) -> Vec<(String, i64)> {
        let source = Source::Notification;
        let snapshot = conversation(item, source, RECEIVED, RECEIVED, topic).unwrap();
        let mut known = Vec::new();
        for one in snapshot.course {
            gather(&mut known, one);
        }
        known.sort_by_key(|one| one.at);
        known.iter().map(|one| (one.kind.as_str().to_owned(), one.at.seconds())).collect()
    }

    fn expect(found: &[(String, i64)], expected: &[(&str, i64)]) {
        let found: Vec<_> = found.iter().map(|(kind, at)| (kind.as_str(), *at)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_read_tells_its_whole_course() {
        expect(
            &told(&sample("intercom/conversation_closed_rated_fin.json"), None),
            &[
                ("created", 1_718_180_000),
                ("replied", 1_718_180_005),
                ("assigned", 1_718_180_120),
                ("replied", 1_718_180_610),
                ("noted", 1_718_180_700),
                ("replied", 1_718_188_000),
                ("replied", 1_718_188_300),
                ("closed", 1_718_188_400),
                ("closed", 1_718_188_800),
                ("rated", 1_718_188_900),
                ("ai_escalated", 1_718_189_000),
                ("ai_rated", 1_718_189_000),
            ],
        );
    }

    #[test]
    fn a_notification_tells_what_caused_it() {
        let item = sample("intercom/webhook_conversation_rating_added.json")["data"]["item"].take();
        let found = told(&item, Some(ConversationTopic::RatingAdded));
        assert!(found.contains(&("rated".to_owned(), 1_718_188_900)), "{found:?}");
        for (path, kind, at) in [
            ("recorded/conversation_admin_closed.json", "closed", 1_553_291_389),
            ("recorded/conversation_admin_snoozed.json", "snoozed", 1_553_378_413),
        ] {
            let item = sample(path)["data"]["item"].take();
            assert!(told(&item, None).contains(&(kind.to_owned(), at)), "{path}");
        }
    }

    #[test]
    fn a_topic_counts_where_nothing_else_tells() {
        let bare = json!({"id": "1", "created_at": 100, "updated_at": 200, "state": "closed"});
        expect(&told(&bare, Some(ConversationTopic::Closed)), &[("created", 100), ("closed", 200)]);
        let mut counted = bare.clone();
        counted["statistics"] = json!({"last_close_at": 199});
        expect(
            &told(&counted, Some(ConversationTopic::Closed)),
            &[("created", 100), ("closed", 199)],
        );
        let mut earlier = bare.clone();
        earlier["statistics"] = json!({"last_close_at": 120});
        assert_eq!(told(&earlier, Some(ConversationTopic::Closed)).len(), 3);
        expect(
            &told(&bare, Some(ConversationTopic::OpenAssigned)),
            &[("created", 100), ("assigned", 200), ("opened", 200)],
        );
        expect(&told(&bare, Some(ConversationTopic::Updated)), &[("created", 100)]);
    }

    #[test]
    fn parts_are_told_apart_by_type_and_author() {
        fn case(kind: &str, body: &str, expected: &[&str]) {
            let part = json!({"id": "7", "part_type": kind, "created_at": 5, "body": body,
                "author": {"type": "lead"}});
            let found: Vec<_> = of_part(&part).iter().map(|one| one.kind.as_str()).collect();
            assert_eq!(found, expected, "{kind}");
        }
        case("comment", "hi", &["replied"]);
        case("close", "", &["closed"]);
        case("close", "bye", &["closed", "replied"]);
        case("snoozed", "", &["snoozed"]);
        case("timer_unsnooze", "", &["unsnoozed"]);
        case("assign_and_reopen", "", &["assigned", "opened"]);
        case("default_assignment", "", &["assigned"]);
        case("conversation_attribute_updated_by_admin", "", &[]);
        case("language_detection_details", "", &[]);
        let part =
            json!({"id": 7, "part_type": "comment", "created_at": 5, "author": {"type": "lead"}});
        assert_eq!(of_part(&part)[0].by.as_deref(), Some("contact"));
        assert_eq!(of_part(&part)[0].part.as_deref(), Some("7"));
    }

    #[test]
    fn no_shape_is_too_odd() {
        for odd in [
            json!({"id": "1"}),
            json!({"id": 1, "conversation_parts": []}),
            json!({"id": "1", "conversation_parts": {"conversation_parts": [1, null, {}]}, "statistics": []}),
            json!({"id": "1", "conversation_rating": 4, "ai_agent": "x"}),
        ] {
            let _ = told(&odd, Some(ConversationTopic::RatingAdded));
        }
    }
}
