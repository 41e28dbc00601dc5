//! `POST /contacts/search`: the grammar and what it matches.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::attribute::{AttributeTable, DataType};
use super::contact::{Contact, Kind, field};
use super::groups::Groups;
use super::refused::Refused;
use super::segment::segment_of;
use super::time::day;

/// Fields that contacts have and search does not know.
const UNSEARCHABLE: [&str; 8] = [
    "utm_campaign",
    "utm_content",
    "utm_medium",
    "utm_source",
    "utm_term",
    "referrer",
    "sms_consent",
    "unsubscribed_from_sms",
];

/// A checked query.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query(Groups<Filter>);

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filter {
    subject: Subject,
    operator: Operator,
    operand: Operand,
}

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Subject {
    Id,
    EmailDomain,
    CreatedAt,
    UpdatedAt,
    Field(&'static str, Class),
    Location(String),
    CustomAttribute(Arc<str>, Class),
    Tag,
    Segment,
}

/// How a subject's values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Text,
    Number,
    Flag,
    /// By calendar day in the workspace's zone.
    Date,
    /// Membership of a list of ids.
    Member,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    In,
    NotIn,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Contains,
    ContainsNot,
    StartsWith,
    EndsWith,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    One(Value),
    Many(Vec<Value>),
    Day(Date),
}

impl Query {
    /// Reads the `query` of a search, refusing what Intercom's grammar does not have.
    pub(super) fn parse(
        query: &Value,
        attributes: &AttributeTable,
        zone: &TimeZone,
    ) -> Result<Self, Refused> {
        let parser = Parser { attributes, zone };
        Groups::parse(query, &|filter, operator| parser.filter(filter, operator)).map(Self)
    }

    pub(super) fn matches(&self, contact: &Contact, zone: &TimeZone) -> bool {
        self.0.matches(&|filter| filter.matches(contact, zone))
    }
}

struct Parser<'a> {
    attributes: &'a AttributeTable,
    zone: &'a TimeZone,
}

impl Parser<'_> {
    fn filter(&self, filter: &Value, operator: &str) -> Result<Filter, Refused> {
        let name = filter.get("field").and_then(Value::as_str).unwrap_or_default();
        let Some(value) = filter.get("value") else {
            return Err(Refused::missing("value is required"));
        };
        let subject = Subject::parse(name, self.attributes)?;
        let class = subject.class();
        let operator =
            Operator::parse(operator).filter(|operator| operator.is_known_to(class)).ok_or_else(
                || Refused::invalid(format!("operator {operator} is not valid for {name}")),
            )?;
        let operand = self
            .operand(value, class, operator)
            .ok_or_else(|| Refused::invalid(format!("value is not valid for {name}")))?;
        Ok(Filter { subject, operator, operand })
    }

    fn operand(&self, value: &Value, class: Class, operator: Operator) -> Option<Operand> {
        match operator {
            Operator::In | Operator::NotIn => {
                let values = value.as_array()?;
                let all = values.iter().map(|value| scalar(value, class));
                all.collect::<Option<Vec<Value>>>().map(Operand::Many)
            }
            Operator::Equal | Operator::NotEqual if value.is_null() => {
                Some(Operand::One(Value::Null))
            }
            _ if class == Class::Date => {
                let seconds = scalar(value, class)?.as_i64()?;
                day(seconds, self.zone).map(Operand::Day)
            }
            _ => scalar(value, class).map(Operand::One),
        }
    }
}

/// A value in the type of its class; numbers are accepted as text, too.
fn scalar(value: &Value, class: Class) -> Option<Value> {
    match (class, value) {
        (Class::Text | Class::Member, Value::String(_)) => Some(value.clone()),
        (Class::Flag, Value::Bool(_)) => Some(value.clone()),
        (Class::Flag, Value::String(text)) => text.parse().ok().map(Value::Bool),
        (Class::Number, Value::Number(_)) => Some(value.clone()),
        (Class::Date, Value::Number(number)) => number.as_i64().map(Value::from),
        (Class::Number | Class::Date, Value::String(text)) => {
            text.parse::<i64>().ok().map(Value::from)
        }
        _ => None,
    }
}

impl From<DataType> for Class {
    fn from(data_type: DataType) -> Self {
        match data_type {
            DataType::Text => Self::Text,
            DataType::Integer | DataType::Float => Self::Number,
            DataType::Boolean => Self::Flag,
            DataType::Date => Self::Date,
        }
    }
}

impl Operator {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "=" => Self::Equal,
            "!=" => Self::NotEqual,
            "IN" => Self::In,
            "NIN" => Self::NotIn,
            ">" => Self::Greater,
            "<" => Self::Less,
            ">=" => Self::GreaterOrEqual,
            "<=" => Self::LessOrEqual,
            "~" => Self::Contains,
            "!~" => Self::ContainsNot,
            "^" => Self::StartsWith,
            "$" => Self::EndsWith,
            _ => return None,
        })
    }

    fn is_known_to(self, class: Class) -> bool {
        let is_equality = matches!(self, Self::Equal | Self::NotEqual);
        let is_set = matches!(self, Self::In | Self::NotIn);
        let is_order = matches!(self, Self::Greater | Self::Less);
        let is_loose_order = matches!(self, Self::GreaterOrEqual | Self::LessOrEqual);
        match class {
            Class::Text => !is_order && !is_loose_order,
            Class::Number => is_equality || is_set || is_order || is_loose_order,
            Class::Flag | Class::Member => is_equality,
            Class::Date => self == Self::Equal || is_order,
        }
    }
}

impl Subject {
    /// The field called `name`, if search knows it.
    pub(super) fn parse(name: &str, attributes: &AttributeTable) -> Result<Self, Refused> {
        if let Some(custom) = name.strip_prefix("custom_attributes.") {
            let Some((custom, data_type)) = attributes.get(custom) else {
                let message = format!("Custom attribute '{custom}' does not exist");
                return Err(Refused::invalid(message));
            };
            return Ok(Self::CustomAttribute(Arc::clone(custom), data_type.into()));
        }
        match name {
            "id" => return Ok(Self::Id),
            "email_domain" => return Ok(Self::EmailDomain),
            "tag_id" => return Ok(Self::Tag),
            "segment_id" => return Ok(Self::Segment),
            "location.country" | "location.region" | "location.city" => {
                let part = name.trim_start_matches("location.");
                return Ok(Self::Location(part.to_owned()));
            }
            _ => {}
        }
        match field(name).filter(|_| !UNSEARCHABLE.contains(&name)) {
            Some((key, Kind::Text)) => Ok(Self::Field(key, Class::Text)),
            Some((key, Kind::Whole)) => Ok(Self::Field(key, Class::Number)),
            Some((key, Kind::Flag)) => Ok(Self::Field(key, Class::Flag)),
            Some((key, Kind::Time)) => Ok(Self::Field(key, Class::Date)),
            Some((_, Kind::CreatedAt)) => Ok(Self::CreatedAt),
            Some((_, Kind::UpdatedAt)) => Ok(Self::UpdatedAt),
            _ => Err(Refused::invalid(format!("field {name} cannot be searched"))),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Id | Self::EmailDomain | Self::Location(_) => Class::Text,
            Self::CreatedAt | Self::UpdatedAt => Class::Date,
            Self::Field(_, class) | Self::CustomAttribute(_, class) => *class,
            Self::Tag | Self::Segment => Class::Member,
        }
    }

    pub(super) fn value(&self, contact: &Contact) -> Value {
        let seconds = |milliseconds: i64| Value::from(milliseconds.div_euclid(1000));
        match self {
            Self::Id => Value::from(&*contact.id),
            Self::EmailDomain => {
                let domain = contact.email().and_then(|email| email.rsplit_once('@'));
                domain.map_or(Value::Null, |(_, domain)| Value::from(domain))
            }
            Self::CreatedAt => seconds(contact.created_ms),
            Self::UpdatedAt => seconds(contact.updated_ms),
            Self::Field(key, class) => match (contact.fields.get(key), class) {
                (Some(value), _) => value.clone(),
                (None, Class::Flag) => Value::Bool(false),
                (None, _) => Value::Null,
            },
            Self::Location(part) => contact.location.get(part).cloned().unwrap_or_default(),
            Self::CustomAttribute(name, _) => {
                contact.custom_attributes.get(name).cloned().unwrap_or_default()
            }
            Self::Tag | Self::Segment => Value::Null,
        }
    }
}

impl Filter {
    fn matches(&self, contact: &Contact, zone: &TimeZone) -> bool {
        match (&self.operand, &self.subject) {
            (Operand::One(id), Subject::Tag) => {
                let has = contact.tags.iter().any(|tag| id.as_str() == Some(tag));
                has == (self.operator == Operator::Equal)
            }
            (Operand::One(id), Subject::Segment) => {
                let is_in = id.as_str() == Some(segment_of(contact));
                is_in == (self.operator == Operator::Equal)
            }
            (Operand::One(wanted), subject) => {
                compare_one(self.operator, &subject.value(contact), wanted)
            }
            (Operand::Many(wanted), subject) => {
                let value = subject.value(contact);
                let is_in = wanted.iter().any(|wanted| is_equal(&value, wanted));
                is_in == (self.operator == Operator::In)
            }
            (Operand::Day(wanted), subject) => {
                let value = subject.value(contact).as_i64();
                let found = value.and_then(|seconds| day(seconds, zone));
                found.is_some_and(|found| compare_days(self.operator, found, *wanted))
            }
        }
    }
}

/// `>` means from the next day on, `<` before the day began.
fn compare_days(operator: Operator, found: Date, wanted: Date) -> bool {
    match operator {
        Operator::Equal => found == wanted,
        Operator::Greater => found > wanted,
        Operator::Less => found < wanted,
        _ => false,
    }
}

pub(super) fn compare_one(operator: Operator, value: &Value, wanted: &Value) -> bool {
    let texts = || {
        let (value, wanted) = (value.as_str().unwrap_or_default(), wanted.as_str()?);
        Some((value.to_lowercase(), wanted.to_lowercase()))
    };
    let order = || value.as_f64().zip(wanted.as_f64()).and_then(|(a, b)| a.partial_cmp(&b));
    match operator {
        Operator::Equal => is_equal(value, wanted),
        Operator::NotEqual => !is_equal(value, wanted),
        Operator::Greater => order() == Some(Ordering::Greater),
        Operator::Less => order() == Some(Ordering::Less),
        Operator::GreaterOrEqual => order().is_some_and(Ordering::is_ge),
        Operator::LessOrEqual => order().is_some_and(Ordering::is_le),
        Operator::Contains => texts().is_some_and(|(value, wanted)| value.contains(&wanted)),
        Operator::ContainsNot => texts().is_some_and(|(value, wanted)| !value.contains(&wanted)),
        Operator::StartsWith => texts().is_some_and(|(value, wanted)| value.starts_with(&wanted)),
        Operator::EndsWith => texts().is_some_and(|(value, wanted)| value.ends_with(&wanted)),
        Operator::In | Operator::NotIn => false,
    }
}

/// Texts are equal whatever their case, as addresses are; numbers by value.
pub(super) fn is_equal(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::String(a), Value::String(b)) => a.to_lowercase() == b.to_lowercase(),
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => value == wanted,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// 2026-01-10 04:39:55 in UTC, the evening before in Los Angeles.
    const UPDATED: i64 = 1_768_019_995;

    fn attributes() -> AttributeTable {
        let mut attributes = AttributeTable::default();
        attributes.learn("plan", &json!("Pro"));
        attributes.learn("seats", &json!(3));
        attributes.learn("trial_ends_at", &json!(UPDATED));
        attributes
    }

    fn parse(query: &Value) -> Result<Query, Refused> {
        Query::parse(query, &attributes(), &TimeZone::UTC)
    }

    fn contact() -> Contact {
        let mut contact = Contact::new("c1".into(), UPDATED * 1000);
        contact.fields.set("email", json!("Ana@Example.com"));
        contact.fields.set("role", json!("lead"));
        contact.custom_attributes.set("plan".into(), json!("Pro"));
        contact.custom_attributes.set("seats".into(), json!(3));
        contact.tags = vec!["9100001".into()];
        contact
    }

    #[rstest]
    #[case("role", "=", json!("lead"), true)]
    #[case("role", "!=", json!("lead"), false)]
    #[case("email", "=", json!("ana@example.com"), true)]
    #[case("email", "~", json!("EXAMPLE"), true)]
    #[case("email", "$", json!(".org"), false)]
    #[case("email_domain", "=", json!("example.com"), true)]
    #[case("phone", "=", json!(null), true)]
    #[case("phone", "!=", json!(null), false)]
    #[case("custom_attributes.plan", "IN", json!(["Pro", "Free"]), true)]
    #[case("custom_attributes.plan", "NIN", json!(["Pro", "Free"]), false)]
    #[case("custom_attributes.seats", ">=", json!(3), true)]
    #[case("has_hard_bounced", "=", json!(false), true)]
    #[case("tag_id", "=", json!("9100001"), true)]
    #[case("tag_id", "!=", json!("9100001"), false)]
    fn filters(#[case] field: &str, #[case] op: &str, #[case] value: Value, #[case] found: bool) {
        let query = parse(&json!({"field": field, "operator": op, "value": value})).unwrap();
        assert_eq!(query.matches(&contact(), &TimeZone::UTC), found);
    }

    #[rstest]
    #[case("updated_at", ">=", json!(UPDATED))]
    #[case("updated_at", "!=", json!(UPDATED))]
    #[case("updated_at", ">", json!("yesterday"))]
    #[case("tag_id", "IN", json!(["9100001"]))]
    #[case("role", ">", json!("lead"))]
    #[case("custom_attributes.unknown", "=", json!("x"))]
    #[case("custom_attributes.trial_ends_at", "<=", json!(UPDATED))]
    #[case("referrer", "=", json!("x"))]
    #[case("no_such_field", "=", json!("x"))]
    #[case("has_hard_bounced", "=", json!(3))]
    fn refused(#[case] field: &str, #[case] operator: &str, #[case] value: Value) {
        let query = json!({"field": field, "operator": operator, "value": value});
        assert_eq!(parse(&query).unwrap_err().status, 400);
    }

    #[test]
    fn dates_compare_by_the_day_of_the_workspace() {
        let found = |operator: &str, at: i64, zone: &TimeZone| {
            let query = json!({"field": "updated_at", "operator": operator, "value": at});
            let query = Query::parse(&query, &attributes(), zone).unwrap();
            query.matches(&contact(), zone)
        };
        let utc = TimeZone::UTC;
        assert!(!found(">", UPDATED - 3_600, &utc), "the same day is not after it");
        assert!(found(">", UPDATED - 5 * 3_600, &utc));
        assert!(found("=", UPDATED + 10 * 3_600, &utc));
        let west = TimeZone::fixed(jiff::tz::offset(-8));
        assert!(!found(">", UPDATED - 5 * 3_600, &west));
        assert!(found("<", UPDATED + 10 * 3_600, &west));
    }

    #[test]
    fn two_levels_and_fifteen_filters_at_most() {
        let filter = json!({"field": "role", "operator": "=", "value": "lead"});
        let group = |parts: Vec<Value>| json!({"operator": "AND", "value": parts});
        assert!(parse(&group(vec![group(vec![filter.clone()])])).is_ok());
        assert!(parse(&group(vec![group(vec![group(vec![filter.clone()])])])).is_err());
        assert!(parse(&group(vec![filter.clone(); 15])).is_ok());
        assert!(parse(&group(vec![filter; 16])).is_err());
        assert!(parse(&json!({})).is_err());
    }
}
