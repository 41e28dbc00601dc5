//! What a contact shows of its conversations: counts that are exact however many there are.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Timestamp;

/// Of a conversation what the counts of its contacts need.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ConversationOutline {
    /// `open`, `closed` or `snoozed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<Timestamp>,
    /// When it was last closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<Timestamp>,
    /// Its rating, 1 to 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rating: Option<i64>,
    /// When it was rated, or asked to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rated: Option<Timestamp>,
    /// How the AI agent's part in it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ai_resolution: Option<String>,
    /// How that was rated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ai_rating: Option<i64>,
    /// Where it began: `conversation`, `email`, `whatsapp` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The names of its tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl ConversationOutline {
    /// The outline of a normalised conversation, or of one as scripts see it.
    pub fn of(body: &Value) -> Self {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let time = |pointer: &str| body.pointer(pointer).and_then(Timestamp::parse);
        let number = |pointer: &str| body.pointer(pointer).and_then(Value::as_i64);
        let is_closed = text("/state").is_some_and(|state| state == "closed");
        let closed = time("/statistics/last_close_at");
        let tags = body.get("tags").and_then(Value::as_array).into_iter().flatten();
        let name =
            |tag: &Value| tag.as_str().or_else(|| tag.get("name")?.as_str()).map(str::to_owned);
        Self {
            state: text("/state"),
            created: time("/created_at"),
            updated: time("/updated_at"),
            // Where nothing counts, it was closed at its last change at the latest.
            closed: closed.or_else(|| time("/updated_at").filter(|_| is_closed)),
            rating: number("/conversation_rating/rating"),
            rated: time("/conversation_rating/updated_at")
                .or_else(|| time("/conversation_rating/created_at")),
            ai_resolution: text("/ai_agent/resolution_state"),
            ai_rating: number("/ai_agent/rating"),
            channel: text("/source/type"),
            tags: tags.filter_map(name).collect(),
        }
    }
}

/// `contact.conversations`: what all the outlines come to, and the conversations in `all`.
pub fn conversation_summary(outlines: &[ConversationOutline], all: Vec<Value>) -> Value {
    let count = |state: &str| outlines.iter().filter(|o| o.state.as_deref() == Some(state)).count();
    let mut rated: Vec<_> = outlines.iter().filter(|outline| outline.rating.is_some()).collect();
    rated.sort_by_key(|outline| outline.rated.or(outline.updated));
    let ratings: Vec<i64> = rated.iter().filter_map(|outline| outline.rating).collect();
    let average = if ratings.is_empty() {
        Value::Null
    } else {
        // The sum of whole numbers from 1 to 5 is far from where a float loses one.
        let sum: i64 = ratings.iter().fold(0, |sum, rating| sum.saturating_add(*rating));
        json!(sum as f64 / ratings.len() as f64)
    };
    let newest = |of: fn(&ConversationOutline) -> bool| {
        outlines.iter().filter(|outline| of(outline)).max_by_key(|outline| outline.updated)
    };
    let resolved = newest(|outline| outline.ai_resolution.is_some());
    let ai_rated = newest(|outline| outline.ai_rating.is_some());
    let begun = outlines.iter().filter(|o| o.channel.is_some()).max_by_key(|o| o.created);
    let tags: BTreeSet<&String> = outlines.iter().flat_map(|outline| &outline.tags).collect();
    json!({
        "open": count("open"),
        "snoozed": count("snoozed"),
        "closed": count("closed"),
        "total": outlines.len(),
        "last_closed_at": outlines.iter().filter_map(|outline| outline.closed).max(),
        "last_rating": ratings.last(),
        "ratings": ratings,
        "average_rating": average,
        "last_ai_resolution": resolved.and_then(|outline| outline.ai_resolution.as_ref()),
        "last_ai_rating": ai_rated.and_then(|outline| outline.ai_rating),
        "last_channel": begun.and_then(|outline| outline.channel.as_ref()),
        "tags": tags,
        "all": all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(state: &str, at: i64, rating: Option<i64>) -> Value {
        let rating = rating.map(|rating| json!({"rating": rating, "created_at": at}));
        json!({
            "state": state, "created_at": at - 10, "updated_at": at, "conversation_rating": rating,
            "source": {"type": format!("channel{at}")}, "tags": [{"id": "1", "name": "billing"}],
        })
    }

    #[test]
    fn everything_that_scripts_count_with_is_there() {
        let mut all = [
            conversation("closed", 300, Some(5)),
            conversation("open", 400, None),
            conversation("snoozed", 200, Some(2)),
            conversation("open", 100, None),
        ];
        all[0]["statistics"] = json!({"last_close_at": 290});
        all[0]["ai_agent"] = json!({"resolution_state": "escalated", "rating": 1});
        all[3]["ai_agent"] = json!({"resolution_state": "assumed_resolution", "rating": 4});
        all[3]["tags"] = json!(["vip"]);
        let outlines: Vec<_> = all.iter().map(ConversationOutline::of).collect();
        let mut summary = conversation_summary(&outlines, Vec::new());
        assert_eq!(
            summary.as_object_mut().map(std::mem::take).map(Value::Object).unwrap(),
            json!({
                "open": 2, "snoozed": 1, "closed": 1, "total": 4, "last_closed_at": 290,
                "last_rating": 5, "ratings": [2, 5], "average_rating": 3.5,
                "last_ai_resolution": "escalated", "last_ai_rating": 1, "last_channel": "channel400",
                "tags": ["billing", "vip"], "all": [],
            })
        );
        let nothing = conversation_summary(&[], Vec::new());
        assert_eq!((&nothing["total"], &nothing["average_rating"]), (&json!(0), &Value::Null));
        assert_eq!(nothing["ratings"], json!([]));
    }

    #[test]
    fn an_outline_survives_the_store() {
        let outline = ConversationOutline::of(&conversation("open", 7, Some(3)));
        let text = serde_json::to_string(&outline).unwrap();
        assert_eq!(serde_json::from_str::<ConversationOutline>(&text).unwrap(), outline);
    }
}
