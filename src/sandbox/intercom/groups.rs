//! What both searches have in common: filters in groups, of which all or any have to hold.

use serde_json::Value;

use super::refused::Refused;

/// Groups within groups, counting the outer one (facts: Intercom section 3.3).
pub(super) const MAX_NESTING: usize = 2;

/// Filters in one group.
pub(super) const MAX_FILTERS: usize = 15;

/// A checked query: a filter, or groups of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Groups<F> {
    And(Vec<Self>),
    Or(Vec<Self>),
    Filter(F),
}

impl<F> Groups<F> {
    /// Reads the `query` of a search, refusing what Intercom's grammar does not have. `filter` reads
    /// one filter, given with its operator.
    pub(super) fn parse(
        query: &Value,
        filter: &dyn Fn(&Value, &str) -> Result<F, Refused>,
    ) -> Result<Self, Refused> {
        Self::parse_at(query, 1, filter)
    }

    fn parse_at(
        query: &Value,
        level: usize,
        filter: &dyn Fn(&Value, &str) -> Result<F, Refused>,
    ) -> Result<Self, Refused> {
        let operator = query.get("operator").and_then(Value::as_str).unwrap_or_default();
        if query.get("field").is_some() {
            return filter(query, operator).map(Self::Filter);
        }
        let (Some(Value::Array(parts)), "AND" | "OR") = (query.get("value"), operator) else {
            return Err(Refused::invalid("query must be a filter, or AND or OR of an array"));
        };
        if level > MAX_NESTING {
            let message = format!("query is nested more than {MAX_NESTING} levels deep");
            return Err(Refused::invalid(message));
        }
        if parts.len() > MAX_FILTERS {
            let message = format!("a group holds at most {MAX_FILTERS} filters");
            return Err(Refused::invalid(message));
        }
        let parts: Result<Vec<Self>, Refused> =
            parts.iter().map(|part| Self::parse_at(part, level + 1, filter)).collect();
        Ok(if operator == "AND" { Self::And(parts?) } else { Self::Or(parts?) })
    }

    /// Whether the query holds, given whether a filter does.
    pub(super) fn matches(&self, holds: &dyn Fn(&F) -> bool) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.matches(holds)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(holds)),
            Self::Filter(filter) => holds(filter),
        }
    }
}
