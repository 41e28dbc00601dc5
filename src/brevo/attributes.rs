//! The catalogue of attributes, read and extended.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::CallKind;
use super::client::{BrevoClient, read};
use super::error::BrevoError;
use super::wire::{null_as_default, option_text};
use crate::http::Lane;
use crate::model::{AttributeName, AttributeType};

/// An attribute of the account's catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: AttributeName,
    /// Where Brevo files it; only `normal` and `category` can be written.
    pub category: AttributeCategory,
    /// Its type; none for those that no rule can write.
    pub kind: Option<AttributeType>,
    /// The options of a category or multiple-choice attribute.
    pub options: Vec<AttributeOption>,
}

impl Attribute {
    /// True if Brevo takes more options of it and leaves those that it has as they are. Those of a category
    /// are written all together, each by a whole number: one whose value is a text would get another.
    pub fn takes_options(&self) -> bool {
        self.category != AttributeCategory::Category
            || self.options.iter().all(|option| number(option).is_some())
    }
}

/// The value of an option, where it is a whole number.
fn number(option: &AttributeOption) -> Option<i64> {
    let number: i64 = option.value.parse().ok()?;
    (number.to_string() == option.value).then_some(number)
}

/// Where Brevo files an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeCategory {
    /// An attribute of the contact.
    Normal,
    /// One option of a fixed set.
    Category,
    /// Transactional, calculated, global: read only.
    Other,
}

/// An option of a category or multiple-choice attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeOption {
    /// What Brevo stores: a number, or text since 2026; the label itself for multiple choice.
    pub value: String,
    /// What people see.
    pub label: String,
}

/// An attribute as `GET /contacts/attributes` answers it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttributeAnswer {
    name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    category: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    enumeration: Vec<EnumerationAnswer>,
    #[serde(default, deserialize_with = "null_as_default")]
    multi_category_options: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnumerationAnswer {
    #[serde(default)]
    value: Value,
    #[serde(default)]
    value_str: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    label: String,
}

impl AttributeAnswer {
    /// The attribute, unless its name cannot be one.
    fn into_attribute(self) -> Option<Attribute> {
        let category = match self.category.as_str() {
            "normal" => AttributeCategory::Normal,
            "category" => AttributeCategory::Category,
            _ => AttributeCategory::Other,
        };
        let kind = match (category, self.kind.as_deref()) {
            (AttributeCategory::Category, _) => Some(AttributeType::Category),
            (AttributeCategory::Other, _) => None,
            (AttributeCategory::Normal, Some("text")) => Some(AttributeType::Text),
            (AttributeCategory::Normal, Some("date")) => Some(AttributeType::Date),
            (AttributeCategory::Normal, Some("float")) => Some(AttributeType::Float),
            (AttributeCategory::Normal, Some("boolean")) => Some(AttributeType::Boolean),
            (AttributeCategory::Normal, Some("multiple-choice")) => {
                Some(AttributeType::MultipleChoice)
            }
            (AttributeCategory::Normal, _) => None,
        };
        // `value` is 0 for texts since 2026-05-01; `valueStr` always holds the original.
        let enumerated = self.enumeration.into_iter().map(|option| AttributeOption {
            value: option.value_str.unwrap_or_else(|| option_text(option.value)),
            label: option.label,
        });
        let labelled = self.multi_category_options.into_iter();
        let labelled = labelled.map(|label| AttributeOption { value: label.clone(), label });
        let options = enumerated.chain(labelled).collect();
        Some(Attribute { name: self.name.parse().ok()?, category, kind, options })
    }
}

#[derive(Debug, Deserialize)]
struct AttributesAnswer {
    #[serde(default, deserialize_with = "null_as_default")]
    attributes: Vec<AttributeAnswer>,
}

impl BrevoClient {
    /// All attributes of the account.
    pub async fn attributes(&self, lane: Lane) -> Result<Vec<Attribute>, BrevoError> {
        let call = self.call(CallKind::Attributes, "/contacts/attributes")?;
        let answer: AttributesAnswer = read(CallKind::Attributes, &self.send(lane, call).await?)?;
        Ok(answer.attributes.into_iter().filter_map(AttributeAnswer::into_attribute).collect())
    }

    /// Makes an attribute; one that exists already, of whatever type, counts as made. `options` are
    /// the labels of a category or multiple-choice attribute.
    pub async fn create_attribute(
        &self,
        lane: Lane,
        name: &AttributeName,
        kind: AttributeType,
        options: &[String],
    ) -> Result<(), BrevoError> {
        let category = if kind == AttributeType::Category { "category" } else { "normal" };
        let encoded = utf8_percent_encode(name.as_str(), NON_ALPHANUMERIC);
        let path = format!("/contacts/attributes/{category}/{encoded}");
        let call = self.call(CallKind::CreateAttribute, &path)?.json(&body(kind, options))?;
        match self.send(lane, call).await {
            Ok(_) => Ok(()),
            Err(BrevoError::Invalid { message, .. }) if message.contains("must be unique") => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

impl BrevoClient {
    /// Gives a category or multiple-choice attribute more options: the whole list is sent, since what
    /// a shorter one does is not documented.
    ///
    /// # Errors
    ///
    /// [`BrevoError::Unusable`] if the attribute does not take any, see [`Attribute::takes_options`].
    pub async fn add_options(
        &self,
        lane: Lane,
        attribute: &Attribute,
        labels: &[String],
    ) -> Result<(), BrevoError> {
        let is_category = attribute.category == AttributeCategory::Category;
        let category = if is_category { "category" } else { "normal" };
        let encoded = utf8_percent_encode(attribute.name.as_str(), NON_ALPHANUMERIC);
        let path = format!("/contacts/attributes/{category}/{encoded}");
        let Some(body) = extended(attribute, labels) else {
            let text = format!("options of `{}` have values that are no numbers", attribute.name);
            return Err(BrevoError::Unusable(text));
        };
        let call = self.call(CallKind::UpdateAttribute, &path)?.json(&body)?;
        self.send(lane, call).await.map(|_| ())
    }
}

/// All options of an attribute and some more; none if Brevo could not keep those that there are.
fn extended(attribute: &Attribute, labels: &[String]) -> Option<Value> {
    let old = &attribute.options;
    if attribute.category != AttributeCategory::Category {
        let all = old.iter().map(|option| &option.label).chain(labels);
        return Some(json!({ "multiCategoryOptions": all.collect::<Vec<_>>() }));
    }
    let numbers: Vec<i64> = old.iter().map(number).collect::<Option<_>>()?;
    let next = numbers.iter().max().unwrap_or(&0) + 1;
    let kept = old.iter().zip(&numbers);
    let kept = kept.map(|(option, value)| json!({ "value": value, "label": option.label }));
    let new = labels.iter().zip(next..);
    let new = new.map(|(label, value)| json!({ "value": value, "label": label }));
    Some(json!({ "enumeration": kept.chain(new).collect::<Vec<_>>() }))
}

fn body(kind: AttributeType, options: &[String]) -> Value {
    match kind {
        AttributeType::MultipleChoice => json!({ "type": kind, "multiCategoryOptions": options }),
        AttributeType::Category => {
            let numbered = options.iter().zip(1..);
            let options: Vec<Value> =
                numbered.map(|(label, value)| json!({ "value": value, "label": label })).collect();
            json!({ "type": kind, "enumeration": options })
        }
        _ => json!({ "type": kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_read_with_its_options() {
        let read = |answer: Value| {
            serde_json::from_value::<AttributeAnswer>(answer).unwrap().into_attribute().unwrap()
        };
        let locale = read(json!({"name": "LOCALE", "category": "category", "enumeration":
            [{"value": 0, "valueStr": "en", "label": "English"}, {"value": 2, "label": "Other"}]}));
        assert_eq!(locale.kind, Some(AttributeType::Category));
        let values: Vec<_> = locale.options.iter().map(|option| option.value.as_str()).collect();
        assert_eq!(values, ["en", "2"]);
        // Its values can only be written as numbers, so `en` would become another.
        assert!(!locale.takes_options());
        assert_eq!(extended(&locale, &["Gold".to_owned()]), None);
        let tier = read(json!({"name": "TIER", "category": "category", "enumeration":
            [{"value": 1, "valueStr": "1", "label": "Free"}, {"value": 4, "label": "Pro"}]}));
        assert!(tier.takes_options());
        let all = json!([{"value": 1, "label": "Free"}, {"value": 4, "label": "Pro"}, {"value": 5, "label": "Gold"}]);
        assert_eq!(extended(&tier, &["Gold".to_owned()]), Some(json!({ "enumeration": all })));
        let padded = read(json!({"name": "TIER", "category": "category", "enumeration":
            [{"value": 7, "valueStr": "007", "label": "Bond"}]}));
        assert!(!padded.takes_options());
        let owner = read(json!({"name": "OWNER", "category": "normal", "type": "user"}));
        assert_eq!(owner.kind, None);
    }
}
