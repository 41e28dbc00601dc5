//! `POST /conversations/search`: dates to the second, and fields that are named otherwise than in the
//! object (facts: Intercom section 4.2).

use serde_json::{Value, json};

use super::conversation::{Author, Conversation};
use super::groups::Groups;
use super::refused::Refused;
use super::search::{Operator, compare_one, is_equal};
use super::version::Version;

/// A checked query.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ConversationQuery(Groups<Filter>);

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
struct Filter {
    field: String,
    operator: Operator,
    operand: Value,
}

/// What values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Text,
    Number,
    Flag,
    /// A list of ids, of which any may match.
    Ids,
}

const FIELDS: &[(&str, Class)] = &[
    ("id", Class::Text),
    ("created_at", Class::Number),
    ("updated_at", Class::Number),
    ("waiting_since", Class::Number),
    ("snoozed_until", Class::Number),
    ("title", Class::Text),
    ("state", Class::Text),
    ("open", Class::Flag),
    ("read", Class::Flag),
    ("priority", Class::Text),
    ("admin_assignee_id", Class::Number),
    ("team_assignee_id", Class::Number),
    ("contact_ids", Class::Ids),
    ("teammate_ids", Class::Ids),
    ("tag_ids", Class::Ids),
    ("source.type", Class::Text),
    ("source.id", Class::Text),
    ("source.delivered_as", Class::Text),
    ("source.body", Class::Text),
    ("source.author.id", Class::Text),
    ("source.author.type", Class::Text),
    ("source.author.name", Class::Text),
    ("source.author.email", Class::Text),
    ("conversation_rating.score", Class::Number),
    ("conversation_rating.remark", Class::Text),
    ("conversation_rating.requested_at", Class::Number),
    ("conversation_rating.replied_at", Class::Number),
    ("conversation_rating.contact_id", Class::Text),
    ("conversation_rating.admin_d", Class::Text),
    ("ai_agent_participated", Class::Flag),
    ("ai_agent.resolution_state", Class::Text),
    ("ai_agent.rating", Class::Number),
    ("ai_agent.rating_remark", Class::Text),
    ("ai_agent.source_type", Class::Text),
];

impl ConversationQuery {
    /// Reads the `query` of a search, refusing what Intercom's grammar does not have.
    pub(super) fn parse(query: &Value) -> Result<Self, Refused> {
        Groups::parse(query, &Filter::parse).map(Self)
    }

    pub(super) fn matches(&self, conversation: &Conversation) -> bool {
        self.0.matches(&|Filter { field, operator, operand }| {
            compare(*operator, &value(conversation, field), operand)
        })
    }
}

impl Filter {
    fn parse(filter: &Value, operator: &str) -> Result<Self, Refused> {
        let field = filter.get("field").and_then(Value::as_str).unwrap_or_default();
        let value = filter.get("value").ok_or_else(|| Refused::missing("value is required"))?;
        let class = class_of(field)
            .ok_or_else(|| Refused::invalid(format!("field {field} cannot be searched")))?;
        let Some(known) = Operator::parse(operator).filter(|known| is_known(*known, class)) else {
            let message = format!("operator {operator} is not valid for {field}");
            return Err(Refused::invalid(message));
        };
        let operand = match known {
            Operator::In | Operator::NotIn => value
                .as_array()
                .and_then(|values| values.iter().map(|value| scalar(value, class)).collect())
                .map(Value::Array),
            Operator::Equal | Operator::NotEqual if value.is_null() => Some(Value::Null),
            _ => scalar(value, class),
        };
        let invalid = || Refused::invalid(format!("value is not valid for {field}"));
        let operand = operand.ok_or_else(invalid)?;
        Ok(Self { field: field.to_owned(), operator: known, operand })
    }
}

/// The order of what a search finds: by a field that holds numbers or text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ConversationSort {
    pub(super) field: String,
    pub(super) is_ascending: bool,
}

impl ConversationSort {
    /// Reads `sort`. Without one the last updated come first.
    pub(super) fn parse(sort: Option<&Value>) -> Result<Self, Refused> {
        let Some(sort) = sort.filter(|sort| !sort.is_null()) else {
            return Ok(Self { field: "updated_at".to_owned(), is_ascending: false });
        };
        let field = sort.get("field").and_then(Value::as_str).unwrap_or_default();
        let is_ascending = match sort.get("order").and_then(Value::as_str) {
            Some("ascending") => true,
            Some("descending") | None => false,
            Some(_) => return Err(Refused::invalid("order must be ascending or descending")),
        };
        match class_of(field) {
            Some(Class::Number | Class::Text) => Ok(Self { field: field.to_owned(), is_ascending }),
            _ => Err(Refused::invalid(format!("field {field} cannot be sorted by"))),
        }
    }
}

/// What a conversation has in a field of search.
pub(super) fn value(conversation: &Conversation, field: &str) -> Value {
    let rating = conversation.rating.as_ref();
    let fin = |key: &str| {
        let shown = conversation.fin.as_ref().map(|fin| fin.shown(Version::DEFAULT));
        shown.and_then(|shown| shown.get(key).cloned()).unwrap_or_default()
    };
    match field {
        "id" => json!(conversation.id),
        "created_at" => json!(conversation.created_at),
        "updated_at" => json!(conversation.updated_at),
        "waiting_since" => json!(conversation.waiting_since),
        "snoozed_until" => json!(conversation.snoozed_until),
        "title" => json!(conversation.title),
        "state" => json!(conversation.status.as_str()),
        "open" => json!(conversation.status != super::conversation::Status::Closed),
        "read" => json!(conversation.is_read),
        "priority" => json!(if conversation.is_priority { "priority" } else { "not_priority" }),
        "admin_assignee_id" => json!(conversation.admin_assignee),
        "team_assignee_id" => json!(conversation.team_assignee),
        "contact_ids" => json!(conversation.contacts),
        "teammate_ids" => json!(conversation.teammates),
        "tag_ids" => conversation.tags.iter().map(|(id, _)| json!(id)).collect(),
        "source.type" => json!(conversation.source.channel),
        "source.id" => json!(conversation.source.id),
        "source.delivered_as" => json!(conversation.source.delivered_as),
        "source.body" => json!(conversation.source.body),
        "conversation_rating.score" => json!(rating.map(|rating| rating.rating)),
        "conversation_rating.remark" => json!(rating.and_then(|rating| rating.remark.as_ref())),
        "conversation_rating.requested_at" => json!(rating.map(|rating| rating.requested_at)),
        "conversation_rating.replied_at" => json!(rating.map(|rating| rating.given_at)),
        "conversation_rating.contact_id" => json!(rating.map(|rating| &rating.contact)),
        "conversation_rating.admin_d" => json!(rating.and_then(|r| r.teammate.as_ref())),
        "ai_agent_participated" => json!(conversation.fin.is_some()),
        _ => match (field.strip_prefix("statistics."), field.strip_prefix("ai_agent.")) {
            (Some(key), _) => json!(conversation.statistic(key)),
            (_, Some(key)) => fin(key),
            _ => author_value(&conversation.source.author, field),
        },
    }
}

fn author_value(author: &Author, field: &str) -> Value {
    match field.strip_prefix("source.author.") {
        Some("id") => json!(author.id),
        Some("type") => json!(author.kind),
        Some("name") => json!(author.name),
        Some("email") => json!(author.email),
        _ => Value::Null,
    }
}

fn class_of(field: &str) -> Option<Class> {
    if field.starts_with("statistics.") {
        return Some(Class::Number);
    }
    FIELDS.iter().find(|(name, _)| *name == field).map(|(_, class)| *class)
}

fn is_known(operator: Operator, class: Class) -> bool {
    use Operator::{Equal, Greater, GreaterOrEqual, In, Less, LessOrEqual, NotEqual, NotIn};
    let is_order = matches!(operator, Greater | Less | GreaterOrEqual | LessOrEqual);
    let is_set = matches!(operator, Equal | NotEqual | In | NotIn);
    match class {
        Class::Text => !is_order,
        Class::Number => is_order || is_set,
        Class::Flag => matches!(operator, Equal | NotEqual),
        Class::Ids => is_set,
    }
}

/// A value in the type of its class; numbers are accepted as text, too.
fn scalar(value: &Value, class: Class) -> Option<Value> {
    match (class, value) {
        (Class::Text | Class::Ids, Value::String(_)) => Some(value.clone()),
        (Class::Flag, Value::Bool(_)) => Some(value.clone()),
        (Class::Flag, Value::String(text)) => text.parse().ok().map(Value::Bool),
        (Class::Number, Value::Number(_)) => Some(value.clone()),
        (Class::Number, Value::String(text)) => text.parse::<i64>().ok().map(Value::from),
        _ => None,
    }
}

fn compare(operator: Operator, value: &Value, operand: &Value) -> bool {
    if let Value::Array(held) = value {
        let has = |wanted: &Value| held.iter().any(|held| is_equal(held, wanted));
        return match (operator, operand) {
            (Operator::In, Value::Array(wanted)) => wanted.iter().any(has),
            (Operator::NotIn, Value::Array(wanted)) => !wanted.iter().any(has),
            (Operator::NotEqual, wanted) => !has(wanted),
            (_, wanted) => has(wanted),
        };
    }
    match (operator, operand) {
        (Operator::In, Value::Array(wanted)) => wanted.iter().any(|one| is_equal(value, one)),
        (Operator::NotIn, Value::Array(wanted)) => !wanted.iter().any(|one| is_equal(value, one)),
        _ => compare_one(operator, value, operand),
    }
}
