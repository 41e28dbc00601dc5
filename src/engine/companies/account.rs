//! The attributes that companies of the account have: looked up, and made where that is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::MARKER;
use super::derive::Values;
use crate::brevo::{BrevoClient, BrevoError, CompanyAttribute, CompanyAttributeType, ErrorKind};
use crate::http::Lane;
use crate::model::{AttributeIntent, AttributeType, AttributeValue, Timestamp};

/// For how long the account is believed to be as it was read, as long as nothing is missing.
const TTL: Duration = Duration::from_secs(6 * 3_600);
/// For how long it is believed where something is missing.
const FRESH: Duration = Duration::from_secs(600);
/// The longest name that Brevo gives an attribute.
const LONGEST_LABEL: usize = 50;
/// The most attributes that are made in one round, each of which is a call.
const MADE_AT_ONCE: usize = 20;

/// What companies of one account may have.
#[derive(Debug, Clone)]
pub(crate) struct CompanyAccount {
    brevo: BrevoClient,
    known: Arc<Mutex<Option<Known>>>,
}

#[derive(Debug, Clone)]
struct Known {
    read_at: Instant,
    catalogue: Arc<CompanyCatalogue>,
    /// What was to be made and could not be.
    absent: BTreeSet<String>,
}

/// All attributes.
#[derive(Debug, Default)]
pub(super) struct CompanyCatalogue(Vec<CompanyAttribute>);

impl CompanyCatalogue {
    /// The attribute that a rule means: by its internal name, then by that name in any case, then by
    /// its label.
    pub(super) fn find(&self, name: &str) -> Option<&CompanyAttribute> {
        let is_name = |known: &&CompanyAttribute| known.name == name;
        let is_like = |known: &&CompanyAttribute| known.name.to_lowercase() == name.to_lowercase();
        let is_label =
            |known: &&CompanyAttribute| known.label.to_lowercase() == name.to_lowercase();
        let find = |is: &dyn Fn(&&CompanyAttribute) -> bool| self.0.iter().find(|known| is(known));
        find(&is_name).or_else(|| find(&is_like)).or_else(|| find(&is_label))
    }

    /// The internal name of the attribute that holds Intercom's id.
    pub(super) fn marker(&self) -> &str {
        self.find(MARKER).map_or(MARKER, |known| known.name.as_str())
    }
}

impl CompanyAccount {
    pub(crate) fn new(brevo: BrevoClient) -> Self {
        Self { brevo, known: Arc::default() }
    }

    /// Makes sure that the account has what decisions name, as far as it may be made, and answers what
    /// it has then. What marks companies as ours is made in any case.
    pub(super) async fn ensure(
        &self,
        lane: Lane,
        may_create: bool,
        wanted: &[&Values],
    ) -> Result<Arc<CompanyCatalogue>, BrevoError> {
        let mut known = self.known(lane).await?;
        let mut missing: BTreeMap<String, Vec<&AttributeValue>> = BTreeMap::new();
        if known.catalogue.find(MARKER).is_none() {
            missing.insert(MARKER.to_owned(), Vec::new());
        }
        for values in wanted.iter().filter(|_| may_create) {
            for (name, intent) in &values.attributes {
                if let AttributeIntent::Set(value) = &intent.value
                    && known.catalogue.find(name).is_none()
                    && !known.absent.contains(name)
                    && name.chars().count() <= LONGEST_LABEL
                {
                    missing.entry(name.clone()).or_default().push(value);
                }
            }
        }
        if missing.is_empty() {
            return Ok(known.catalogue);
        }
        if known.read_at.elapsed() > FRESH {
            // Somebody may have made them since.
            *self.state() = None;
            known = self.known(lane).await?;
            missing.retain(|name, _| known.catalogue.find(name).is_none());
        }
        for (name, values) in missing.iter().take(MADE_AT_ONCE) {
            let (kind, options) = type_of(values);
            match self.brevo.create_company_attribute(lane, name, kind, &options).await {
                Ok(()) => tracing::info!(
                    attribute.name = name,
                    kind = kind.as_str(),
                    "made an attribute of companies"
                ),
                Err(error) if error.kind() == ErrorKind::Permanent => {
                    tracing::warn!(
                        attribute.name = name,
                        "an attribute of companies cannot be made: {error}"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        known.catalogue = Arc::new(CompanyCatalogue(self.brevo.company_attributes(lane).await?));
        let absent = missing.into_keys().filter(|name| known.catalogue.find(name).is_none());
        known.absent.extend(absent);
        known.read_at = Instant::now();
        *self.state() = Some(known.clone());
        Ok(known.catalogue)
    }

    /// What is known, read again from time to time.
    async fn known(&self, lane: Lane) -> Result<Known, BrevoError> {
        let known = self.state().clone();
        if let Some(known) = known.filter(|known| known.read_at.elapsed() < TTL) {
            return Ok(known);
        }
        let catalogue = Arc::new(CompanyCatalogue(self.brevo.company_attributes(lane).await?));
        let known = Known { read_at: Instant::now(), catalogue, absent: BTreeSet::new() };
        *self.state() = Some(known.clone());
        Ok(known)
    }

    /// Reads the account again at the next occasion, unless it was read a moment ago.
    pub(super) fn refresh_soon(&self) {
        let mut known = self.state();
        if known.as_ref().is_some_and(|known| known.read_at.elapsed() > FRESH) {
            *known = None;
        }
    }

    /// The internal name of the attribute that holds Intercom's id, as far as it is known.
    pub(super) fn marker(&self) -> String {
        let known = self.state();
        known.as_ref().map_or(MARKER, |known| known.catalogue.marker()).to_owned()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The type that holds all these values, and the options if it needs some.
fn type_of(values: &[&AttributeValue]) -> (CompanyAttributeType, Vec<String>) {
    let kinds: Vec<AttributeType> = values.iter().map(|value| value.natural_type()).collect();
    let is_all = |kind: AttributeType| !kinds.is_empty() && kinds.iter().all(|one| *one == kind);
    if is_all(AttributeType::MultipleChoice) {
        let options: BTreeSet<String> = values
            .iter()
            .filter_map(|value| match value {
                AttributeValue::List(items) => Some(items.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        return (CompanyAttributeType::MultiChoice, options.into_iter().collect());
    }
    let kind = if is_all(AttributeType::Float) {
        CompanyAttributeType::Number
    } else if is_all(AttributeType::Boolean) {
        CompanyAttributeType::Boolean
    } else if is_all(AttributeType::Date) {
        CompanyAttributeType::Date
    } else {
        CompanyAttributeType::Text
    };
    (kind, Vec::new())
}

/// The value as the attribute can hold it, or why it cannot.
pub(super) fn fit(
    attribute: &CompanyAttribute,
    value: &AttributeValue,
) -> Result<AttributeValue, String> {
    use CompanyAttributeType as Kind;
    if attribute.is_read_only {
        return Err("brevo works this attribute out by itself".to_owned());
    }
    let option = |text: &str| {
        let known = attribute.options.iter().find(|(key, label)| key == text || label == text);
        known.map(|(key, _)| key.clone()).ok_or_else(|| format!("`{text}` is none of its options"))
    };
    let fitting = match (attribute.kind, value) {
        (Kind::Text, AttributeValue::List(items)) => Some(AttributeValue::Text(items.join(", "))),
        (Kind::Text, value) => Some(AttributeValue::Text(value.to_string())),
        (Kind::Number, AttributeValue::Integer(_) | AttributeValue::Float(_))
        | (Kind::Boolean, AttributeValue::Bool(_)) => Some(value.clone()),
        (Kind::Number, AttributeValue::Text(text)) => number(text),
        (Kind::Date, AttributeValue::Text(text)) => Timestamp::parse_text(text)
            .map(|_| value.clone())
            .or_else(|| (value.natural_type() == AttributeType::Date).then(|| value.clone())),
        (Kind::SingleSelect, AttributeValue::Text(text)) => {
            return option(text).map(AttributeValue::Text);
        }
        (Kind::MultiChoice, AttributeValue::List(items)) => {
            let keys: Result<Vec<String>, String> = items.iter().map(|item| option(item)).collect();
            return keys.map(AttributeValue::List);
        }
        (Kind::MultiChoice, AttributeValue::Text(text)) => {
            return option(text).map(|key| AttributeValue::List(vec![key]));
        }
        _ => None,
    };
    fitting.ok_or_else(|| {
        format!("an attribute of the type {} cannot hold it", attribute.kind.as_str())
    })
}

fn number(text: &str) -> Option<AttributeValue> {
    let whole = text.trim().parse().map(AttributeValue::Integer).ok();
    let float = || text.trim().parse().ok().filter(|float: &f64| float.is_finite());
    whole.or_else(|| float().map(AttributeValue::Float))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: CompanyAttributeType) -> CompanyAttribute {
        CompanyAttribute {
            name: "plan_tier".to_owned(),
            label: "Plan tier".to_owned(),
            kind,
            options: vec![("p".to_owned(), "Pro".to_owned())],
            is_read_only: false,
        }
    }

    #[test]
    fn a_value_takes_the_form_that_its_attribute_can_hold() {
        use CompanyAttributeType as Kind;
        fn case(kind: Kind, value: AttributeValue, expected: Option<AttributeValue>) {
            assert_eq!(fit(&attribute(kind), &value).ok(), expected, "{kind:?} {value}");
        }
        let text = |text: &str| AttributeValue::Text(text.to_owned());
        case(Kind::Text, AttributeValue::Integer(3), Some(text("3")));
        case(Kind::Number, text("3"), Some(AttributeValue::Integer(3)));
        case(Kind::Number, text("three"), None);
        case(Kind::Number, AttributeValue::Bool(true), None);
        case(Kind::Date, text("2026-01-10"), Some(text("2026-01-10")));
        case(Kind::Date, text("soon"), None);
        case(Kind::SingleSelect, text("Pro"), Some(text("p")));
        case(Kind::SingleSelect, text("Free"), None);
        case(Kind::MultiChoice, text("p"), Some(AttributeValue::List(vec!["p".to_owned()])));
        case(Kind::Other, text("x"), None);
    }

    #[test]
    fn an_attribute_is_found_by_its_name_or_its_label() {
        let catalogue = CompanyCatalogue(vec![attribute(CompanyAttributeType::Text)]);
        for name in ["plan_tier", "PLAN_TIER", "plan tier"] {
            assert!(catalogue.find(name).is_some(), "{name}");
        }
        assert!(catalogue.find("plan").is_none());
        assert_eq!(catalogue.marker(), MARKER);
    }
}
