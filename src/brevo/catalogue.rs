//! What attributes the account has, and the form that a value must have to be taken.
//!
//! Brevo drops unknown attributes and ill-typed values without a word (facts: Brevo section 3), so
//! the engine keeps this catalogue and refuses them itself. Pure: reading the account is the
//! client's part.

use std::collections::BTreeMap;

use crate::model::{AttributeName, AttributeType, AttributeValue, BrevoContact, Timestamp};

use super::attributes::{Attribute, AttributeOption};

/// A value that Brevo would drop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IllTyped {
    /// The account has no such attribute.
    #[error("the account has no attribute `{0}`")]
    Unknown(AttributeName),
    /// Brevo fills this attribute itself.
    #[error("the attribute `{0}` cannot be written: brevo fills it itself")]
    ReadOnly(AttributeName),
    /// The value is of another type.
    #[error("the attribute `{name}` is a {kind} and cannot hold this {found}")]
    OtherType {
        /// The attribute.
        name: AttributeName,
        /// Its type in the account.
        kind: AttributeType,
        /// The type of the value.
        found: AttributeType,
    },
    /// The attribute has a fixed set of options, and this is none of them.
    #[error("the attribute `{name}` has no option `{option}`")]
    NoSuchOption {
        /// The attribute.
        name: AttributeName,
        /// What was to be written, cut to 64 characters.
        option: String,
    },
    /// The same of an attribute to which no option can be added over the API.
    #[error(
        "the attribute `{name}` has no option `{option}`, and only Brevo's own pages can add one without \
         changing the others, since their values are texts: add it there, or write one that it has"
    )]
    NoSuchText {
        /// The attribute.
        name: AttributeName,
        /// What was to be written, cut to 64 characters.
        option: String,
    },
}

/// The longest option that Brevo takes.
const MOST_OF_AN_OPTION: usize = 200;

/// The attributes of the account.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(BTreeMap<AttributeName, Attribute>);

impl FromIterator<Attribute> for Catalogue {
    fn from_iter<T: IntoIterator<Item = Attribute>>(attributes: T) -> Self {
        Self(attributes.into_iter().map(|found| (found.name.clone(), found)).collect())
    }
}

impl Catalogue {
    /// The attribute of this name.
    pub fn find(&self, name: &AttributeName) -> Option<&Attribute> {
        self.0.get(name)
    }

    /// All attributes, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.0.values()
    }

    /// Which of `names` the account lacks.
    pub fn missing<'a>(
        &self,
        names: impl IntoIterator<Item = &'a AttributeName>,
    ) -> Vec<AttributeName> {
        names.into_iter().filter(|name| !self.0.contains_key(*name)).cloned().collect()
    }

    /// `value` in the form that the attribute takes. Empty text, which clears, fits everywhere.
    pub fn fit(
        &self,
        name: &AttributeName,
        value: &AttributeValue,
    ) -> Result<AttributeValue, IllTyped> {
        let attribute = self.0.get(name).ok_or_else(|| IllTyped::Unknown(name.clone()))?;
        let kind = attribute.kind.ok_or_else(|| IllTyped::ReadOnly(name.clone()))?;
        if value.is_empty() {
            return Ok(value.clone());
        }
        let other_type =
            || IllTyped::OtherType { name: name.clone(), kind, found: value.natural_type() };
        match kind {
            AttributeType::Text => Ok(AttributeValue::Text(value.to_string())),
            AttributeType::Date => day(value).ok_or_else(other_type),
            AttributeType::Float => number(value).ok_or_else(other_type),
            AttributeType::Boolean => match value {
                AttributeValue::Bool(_) => Ok(value.clone()),
                _ => Err(other_type()),
            },
            AttributeType::Category => category(attribute, value),
            AttributeType::MultipleChoice => match value {
                AttributeValue::List(items) => choices(attribute, items),
                AttributeValue::Text(item) => choices(attribute, std::slice::from_ref(item)),
                _ => Err(other_type()),
            },
        }
    }

    /// The options that values need and an attribute lacks, each once.
    pub fn missing_options<'a>(
        &self,
        name: &AttributeName,
        values: impl IntoIterator<Item = &'a AttributeValue>,
    ) -> Vec<String> {
        let Some(attribute) = self.0.get(name) else {
            return Vec::new();
        };
        let items = |value: &AttributeValue| match (attribute.kind, value) {
            (_, value) if value.is_empty() => Vec::new(),
            // Options are written by number: of the others, Brevo would make another value.
            (Some(AttributeType::Category), _) if !attribute.takes_options() => Vec::new(),
            (Some(AttributeType::Category), AttributeValue::Text(text)) => {
                let is_known = category(attribute, value).is_ok();
                if is_known { Vec::new() } else { vec![text.trim().to_owned()] }
            }
            (Some(AttributeType::MultipleChoice), AttributeValue::Text(item)) => vec![item.clone()],
            (Some(AttributeType::MultipleChoice), AttributeValue::List(items)) => items.clone(),
            _ => Vec::new(),
        };
        let fits = |label: &String| !label.is_empty() && label.chars().count() <= MOST_OF_AN_OPTION;
        let wanted = values.into_iter().flat_map(items).filter(fits);
        let mut missing = BTreeMap::new();
        for label in wanted.filter(|label| by_label(attribute, label).is_none()) {
            missing.entry(label.to_lowercase()).or_insert(label);
        }
        missing.into_values().collect()
    }

    /// A contact with its values in the form that the attributes take, whichever form Brevo answered
    /// them in: a category by number or by label, a flag as text. What fits no attribute stays as it
    /// is.
    pub fn normalised(&self, mut contact: BrevoContact) -> BrevoContact {
        for (name, value) in &mut contact.attributes {
            if let Some(read) = self.read(name, value) {
                *value = read;
            }
        }
        contact
    }

    fn read(&self, name: &AttributeName, value: &AttributeValue) -> Option<AttributeValue> {
        match self.0.get(name)?.kind? {
            AttributeType::Boolean => flag(value).map(AttributeValue::Bool),
            _ => self.fit(name, value).ok(),
        }
    }

    /// True where Brevo holds `theirs` after `ours` was written: both are brought into the form of
    /// the attribute first, since a category is read back by number or by label.
    pub fn is_same(
        &self,
        name: &AttributeName,
        ours: &AttributeValue,
        theirs: &AttributeValue,
    ) -> bool {
        match (self.fit(name, ours), self.fit(name, theirs)) {
            (Ok(ours), Ok(theirs)) => ours.is_same(&theirs, name),
            _ => ours.is_same(theirs, name),
        }
    }
}

/// The type for an attribute that is to be made, from values that it will hold; mixed ones, or
/// none: text.
pub fn type_for_creation<'a>(
    values: impl IntoIterator<Item = &'a AttributeValue>,
) -> AttributeType {
    let mut kinds =
        values.into_iter().filter(|value| !value.is_empty()).map(AttributeValue::natural_type);
    match kinds.next() {
        Some(first) if kinds.all(|kind| kind == first) => first,
        _ => AttributeType::Text,
    }
}

/// True or false, in any form in which it may be read back.
fn flag(value: &AttributeValue) -> Option<bool> {
    let text = match value {
        AttributeValue::Bool(flag) => return Some(*flag),
        AttributeValue::Integer(1) => return Some(true),
        AttributeValue::Integer(0) => return Some(false),
        AttributeValue::Text(text) => text.to_lowercase(),
        _ => return None,
    };
    match text.as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// A day, of a day or of a time; a time's day is the one in UTC.
fn day(value: &AttributeValue) -> Option<AttributeValue> {
    let AttributeValue::Text(text) = value else {
        return None;
    };
    if value.natural_type() == AttributeType::Date {
        return Some(value.clone());
    }
    let instant = Timestamp::parse_text(text)?.to_string();
    let (day, _) = instant.split_once('T')?;
    Some(AttributeValue::Text(day.to_owned()))
}

/// A number, of a number or of text that is one from end to end.
fn number(value: &AttributeValue) -> Option<AttributeValue> {
    let text = match value {
        AttributeValue::Integer(_) => return Some(value.clone()),
        AttributeValue::Float(float) => return float.is_finite().then(|| value.clone()),
        AttributeValue::Text(text) => text.trim(),
        AttributeValue::Bool(_) | AttributeValue::List(_) => return None,
    };
    // Rust also reads `inf` and `nan`, which are not finite, and thereby not numbers of Brevo's.
    let float = || text.parse().ok().filter(|float: &f64| float.is_finite());
    match text.parse() {
        Ok(whole) => Some(AttributeValue::Integer(whole)),
        Err(_) => float().map(AttributeValue::Float),
    }
}

/// An option's number, or its text where it has none; found by value, else by label.
fn category(attribute: &Attribute, value: &AttributeValue) -> Result<AttributeValue, IllTyped> {
    let wanted = match number(value) {
        Some(AttributeValue::Float(float)) if float.fract() == 0.0 => format!("{float:.0}"),
        _ => value.to_string(),
    };
    let wanted = wanted.trim();
    let by_value = attribute.options.iter().find(|option| option.value == wanted);
    let found = by_value.or_else(|| by_label(attribute, wanted));
    let option = found.ok_or_else(|| no_such_option(attribute, wanted))?;
    Ok(match option.value.parse() {
        Ok(number) => AttributeValue::Integer(number),
        Err(_) => AttributeValue::Text(option.label.clone()),
    })
}

fn choices(attribute: &Attribute, items: &[String]) -> Result<AttributeValue, IllTyped> {
    let chosen = items.iter().map(|item| {
        let option = by_label(attribute, item).ok_or_else(|| no_such_option(attribute, item))?;
        Ok(option.label.clone())
    });
    Ok(AttributeValue::List(chosen.collect::<Result<_, _>>()?))
}

/// The option with this label: exactly, else without case.
fn by_label<'a>(attribute: &'a Attribute, label: &str) -> Option<&'a AttributeOption> {
    let exact = attribute.options.iter().find(|option| option.label == label);
    let folded = || {
        let label = label.to_lowercase();
        attribute.options.iter().find(|option| option.label.to_lowercase() == label)
    };
    exact.or_else(folded)
}

fn no_such_option(attribute: &Attribute, option: &str) -> IllTyped {
    let (name, option) = (attribute.name.clone(), option.chars().take(64).collect());
    if attribute.takes_options() {
        IllTyped::NoSuchOption { name, option }
    } else {
        IllTyped::NoSuchText { name, option }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::brevo::attributes::AttributeCategory;

    fn attribute(name: &str, kind: Option<AttributeType>, options: &[(&str, &str)]) -> Attribute {
        let option = |(value, label): &(&str, &str)| AttributeOption {
            value: (*value).into(),
            label: (*label).into(),
        };
        let options = options.iter().map(option).collect();
        Attribute {
            name: name.parse().unwrap(),
            category: AttributeCategory::Normal,
            kind,
            options,
        }
    }

    fn catalogue() -> Catalogue {
        let of = |name, kind| attribute(name, Some(kind), &[]);
        [
            of("NAME", AttributeType::Text),
            of("DAY", AttributeType::Date),
            of("MRR", AttributeType::Float),
            of("PAYS", AttributeType::Boolean),
            attribute("PLAN", Some(AttributeType::Category), &[("1", "Free"), ("2", "Team")]),
            attribute("LOCALE", Some(AttributeType::Category), &[("en", "English")]),
            attribute(
                "TAGS",
                Some(AttributeType::MultipleChoice),
                &[("api", "api"), ("Ops", "Ops")],
            ),
            attribute("COUNT", None, &[]),
        ]
        .into_iter()
        .collect()
    }

    fn text(text: &str) -> AttributeValue {
        AttributeValue::Text(text.into())
    }

    fn list(items: &[&str]) -> AttributeValue {
        AttributeValue::List(items.iter().map(|item| (*item).into()).collect())
    }

    #[test]
    fn values_take_the_form_of_their_attribute() {
        fn case(name: &str, value: AttributeValue, expected: Option<AttributeValue>) {
            let fitted = catalogue().fit(&name.parse().unwrap(), &value).ok();
            assert_eq!(fitted, expected, "{name} {value}");
        }
        use AttributeValue::{Bool, Float, Integer};
        case("NAME", Integer(12), Some(text("12")));
        case("NAME", Bool(true), Some(text("true")));
        case("NAME", list(&["a", "b"]), Some(text("a, b")));
        case("DAY", text("2026-01-10"), Some(text("2026-01-10")));
        case("DAY", text("2026-01-10T23:30:00-02:00"), Some(text("2026-01-11")));
        case("DAY", text("soon"), None);
        case("DAY", Integer(1_768_019_995), None);
        case("MRR", text(" 12 "), Some(Integer(12)));
        case("MRR", text("1.5"), Some(Float(1.5)));
        case("MRR", text("1.5 EUR"), None);
        case("MRR", text("inf"), None);
        case("MRR", Bool(true), None);
        case("PAYS", Bool(false), Some(Bool(false)));
        case("PAYS", text("yes"), None);
        case("PLAN", Integer(2), Some(Integer(2)));
        case("PLAN", Float(2.0), Some(Integer(2)));
        case("PLAN", text("team"), Some(Integer(2)));
        case("PLAN", text("Gold"), None);
        case("LOCALE", text("en"), Some(text("English")));
        case("LOCALE", text("English"), Some(text("English")));
        case("TAGS", list(&["api", "ops"]), Some(list(&["api", "Ops"])));
        case("TAGS", text("api"), Some(list(&["api"])));
        case("TAGS", list(&["api", "new"]), None);
        case("COUNT", Integer(1), None);
        case("ABSENT", Integer(1), None);
        case("MRR", text(""), Some(text("")));
    }

    #[test]
    fn a_category_is_the_same_by_number_and_by_label() {
        fn case(ours: AttributeValue, theirs: AttributeValue, same: bool) {
            assert_eq!(catalogue().is_same(&"PLAN".parse().unwrap(), &ours, &theirs), same);
        }
        case(AttributeValue::Integer(2), text("2"), true);
        case(AttributeValue::Integer(2), text("Team"), true);
        case(text("Team"), AttributeValue::Integer(1), false);
    }

    #[test]
    fn mixed_values_make_a_text_attribute() {
        fn case(values: &[AttributeValue], expected: AttributeType) {
            assert_eq!(type_for_creation(values), expected, "{values:?}");
        }
        case(&[], AttributeType::Text);
        case(&[AttributeValue::Integer(1), AttributeValue::Float(1.5)], AttributeType::Float);
        case(&[text("2026-01-10"), text("")], AttributeType::Date);
        case(&[text("2026-01-10"), text("soon")], AttributeType::Text);
        case(&[AttributeValue::Bool(true), AttributeValue::Integer(1)], AttributeType::Text);
    }

    #[test]
    fn a_refusal_says_what_is_wrong() {
        fn case(name: &str, value: AttributeValue, expected: &str) {
            let error = catalogue().fit(&name.parse().unwrap(), &value).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        case("MRR", text("much"), "the attribute `MRR` is a float and cannot hold this text");
        case("TAGS", text("new"), "the attribute `TAGS` has no option `new`");
        case("GONE", text("x"), "the account has no attribute `GONE`");
    }

    #[test]
    fn options_whose_values_are_texts_get_no_others_beside_them() {
        let category = |options: &[(&str, &str)]| {
            let tier = attribute("TIER", Some(AttributeType::Category), options);
            Catalogue::from_iter([Attribute { category: AttributeCategory::Category, ..tier }])
        };
        let name: AttributeName = "TIER".parse().unwrap();
        let numbers = category(&[("1", "Free"), ("2", "Pro")]);
        assert_eq!(numbers.missing_options(&name, [&text("Gold")]), ["Gold"]);
        for options in [[("free", "Free"), ("pro", "Pro")], [("1", "Free"), ("pro", "Pro")]] {
            let texts = category(&options);
            assert_eq!(texts.missing_options(&name, [&text("Gold")]), Vec::<String>::new());
            let error = texts.fit(&name, &text("Gold")).unwrap_err().to_string();
            assert!(
                error.starts_with("the attribute `TIER` has no option `Gold`, and only"),
                "{error}"
            );
            assert!(texts.fit(&name, &text("Pro")).is_ok());
        }
    }

    #[test]
    fn names_that_the_account_lacks_are_found() {
        let names: Vec<AttributeName> = ["NAME", "NEW"].map(|name| name.parse().unwrap()).into();
        assert_eq!(catalogue().missing(&names), ["NEW".parse().unwrap()]);
    }
}
