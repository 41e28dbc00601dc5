//! What Fin, the AI agent, did in a conversation.

use serde_json::{Value, json};

use super::version::Version;

/// Fin's part in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fin {
    /// How it ended; `None` while it has not.
    pub resolution: Option<FinResolution>,
    /// 1 to 5, apart from what the contact thought of the teammate.
    pub rating: Option<u8>,
    /// What was said with the rating.
    pub rating_remark: Option<String>,
    /// The titles of the articles that the answer came from.
    pub sources: Vec<String>,
    /// When it last did something, in seconds since 1970; set by the sandbox.
    pub at: i64,
}

/// How Fin's part ended. API 2.15 renamed some (facts: Intercom section 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinResolution {
    /// The contact left without another word.
    Assumed,
    /// The contact said so.
    Confirmed,
    /// `routed_to_team`, since 2.15 `escalated`.
    Escalated,
    /// `abandoned`, since 2.15 `negative_feedback`.
    Abandoned,
    /// Only since 2.15; before, it is routed to a team.
    ProcedureHandoff,
}

impl FinResolution {
    fn shown(self, version: Version) -> &'static str {
        let is_new = version.is_since(15);
        match self {
            Self::Assumed => "assumed_resolution",
            Self::Confirmed => "confirmed_resolution",
            Self::Escalated if is_new => "escalated",
            Self::Abandoned if is_new => "negative_feedback",
            Self::ProcedureHandoff if is_new => "procedure_handoff",
            Self::Escalated | Self::ProcedureHandoff => "routed_to_team",
            Self::Abandoned => "abandoned",
        }
    }
}

impl Fin {
    /// As `ai_agent` shows it.
    pub(super) fn shown(&self, version: Version) -> Value {
        let sources = self.sources.iter().enumerate().map(|(number, title)| {
            json!({
                "content_type": "article",
                "url": format!("/fin-ai-agent/content?content=article&id={}", 3_234_924 + number),
                "title": title,
                "locale": "en",
            })
        });
        let sources: Vec<Value> = sources.collect();
        let mut shown = json!({
            "source_type": "workflow",
            "source_title": "Fin over chat",
            "last_answer_type": (!sources.is_empty()).then_some("ai_answer"),
            "resolution_state": self.resolution.map(|resolution| resolution.shown(version)),
            "rating": self.rating,
            "rating_remark": self.rating_remark,
            "content_sources": {
                "type": "content_source.list", "total_count": sources.len(),
                "content_sources": sources,
            },
        });
        if let (true, Some(object)) = (version.is_since(14), shown.as_object_mut()) {
            let at = self.rating.map(|_| self.at);
            object.insert("created_at".to_owned(), json!(at));
            object.insert("updated_at".to_owned(), json!(at));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_vocabularies_are_spoken() {
        fn case(resolution: FinResolution, old: &str, new: &str) {
            let fin = Fin { resolution: Some(resolution), ..Fin::default() };
            assert_eq!(fin.shown(Version::parse("2.11"))["resolution_state"], old);
            assert_eq!(fin.shown(Version::parse("2.15"))["resolution_state"], new);
        }
        case(FinResolution::Assumed, "assumed_resolution", "assumed_resolution");
        case(FinResolution::Escalated, "routed_to_team", "escalated");
        case(FinResolution::Abandoned, "abandoned", "negative_feedback");
        case(FinResolution::ProcedureHandoff, "routed_to_team", "procedure_handoff");
    }
}
