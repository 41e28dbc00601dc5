//! The custom attributes that a workspace knows. Writing any other is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::company::Company;
use super::refused::Refused;

/// The type of a custom attribute, which the API never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataType {
    Text,
    Integer,
    Float,
    Boolean,
    /// Seconds since 1970.
    Date,
}

impl DataType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Date => "date",
        }
    }

    /// The type that an attribute gets whose first value is this one.
    fn of(name: &str, value: &Value) -> Self {
        match value {
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if !number.is_i64() => Self::Float,
            Value::Number(_) if name.ends_with("_at") => Self::Date,
            Value::Number(_) => Self::Integer,
            _ => Self::Text,
        }
    }

    fn accepts(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Integer | Self::Date => value.is_i64(),
            Self::Float => value.is_number(),
            Self::Boolean => value.is_boolean(),
        }
    }
}

/// As `GET /data_attributes?model=company` shows what companies have.
pub(super) fn company_attributes<'a>(companies: impl Iterator<Item = &'a Company>) -> Value {
    let names: BTreeSet<&String> = companies.flat_map(|c| c.custom_attributes.keys()).collect();
    let custom = names.into_iter().map(|name| {
        json!({
            "type": "data_attribute", "model": "company", "name": name,
            "full_name": format!("custom_attributes.{name}"), "custom": true, "archived": false,
        })
    });
    let standard = ["name", "company_id", "plan"].into_iter().map(|name| {
        json!({
            "type": "data_attribute", "model": "company", "name": name,
            "full_name": format!("company.{name}"), "custom": false, "archived": false,
        })
    });
    json!({"type": "list", "data": standard.chain(custom).collect::<Vec<_>>()})
}

/// Custom attributes of contacts by name.
#[derive(Debug, Default)]
pub(super) struct AttributeTable(BTreeMap<Arc<str>, DataType>);

impl AttributeTable {
    /// The shared name and the type of an attribute.
    pub(super) fn get(&self, name: &str) -> Option<(&Arc<str>, DataType)> {
        self.0.get_key_value(name).map(|(name, data_type)| (name, *data_type))
    }

    /// The shared name, making the attribute if it is new.
    pub(super) fn learn(&mut self, name: &str, value: &Value) -> Arc<str> {
        if let Some((known, _)) = self.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = Arc::from(name);
        self.0.insert(Arc::clone(&name), DataType::of(&name, value));
        name
    }

    /// The shared name, if the API would accept this value for it; `null` clears.
    pub(super) fn check(&self, name: &str, value: &Value) -> Result<Arc<str>, Refused> {
        let Some((known, data_type)) = self.get(name) else {
            return Err(Refused::invalid(format!("Custom attribute '{name}' does not exist")));
        };
        if value.is_null() || data_type.accepts(value) {
            return Ok(Arc::clone(known));
        }
        let wanted = data_type.as_str();
        Err(Refused::invalid(format!("Custom attribute '{name}' must be of type {wanted}")))
    }

    /// Makes an attribute of a type that is spelt as the API spells it.
    pub(super) fn define(&mut self, name: &str, data_type: &str) -> Result<(), Refused> {
        let data_type = match data_type {
            "string" => DataType::Text,
            "integer" => DataType::Integer,
            "float" => DataType::Float,
            "boolean" => DataType::Boolean,
            "date" | "datetime" => DataType::Date,
            _ => return Err(Refused::invalid("data_type is not valid")),
        };
        if self.0.contains_key(name) {
            let message = "You already have an attribute with this name";
            return Err(Refused::invalid(message));
        }
        self.0.insert(Arc::from(name), data_type);
        Ok(())
    }

    /// As `GET /data_attributes?model=contact` shows them.
    pub(super) fn list(&self) -> Value {
        let custom = self.0.iter().enumerate().map(|(index, (name, data_type))| {
            json!({
                "type": "data_attribute",
                "id": 11_000_001 + index,
                "model": "contact",
                "name": name,
                "full_name": format!("custom_attributes.{name}"),
                "label": name,
                "description": "",
                "data_type": data_type.as_str(),
                "api_writable": true,
                "messenger_writable": false,
                "ui_writable": true,
                "custom": true,
                "archived": false,
            })
        });
        let standard = ["email", "name", "phone", "role"].into_iter().map(|name| {
            json!({
                "type": "data_attribute",
                "model": "contact",
                "name": name,
                "full_name": name,
                "label": name,
                "description": "",
                "data_type": "string",
                "api_writable": true,
                "messenger_writable": true,
                "ui_writable": true,
                "custom": false,
                "archived": false,
            })
        });
        let all: Vec<Value> = standard.chain(custom).collect();
        json!({"type": "list", "data": all})
    }
}
