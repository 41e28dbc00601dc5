//! What fields and custom attributes a workspace has.

use serde_json::{Value, json};

use super::client::{IntercomClient, malformed};
use super::error::IntercomError;
use crate::http::Lane;

/// Records that have attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeModel {
    /// Users and leads.
    Contact,
    /// Companies.
    Company,
}

impl AttributeModel {
    fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Company => "company",
        }
    }
}

/// A field or custom attribute of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataAttribute {
    /// Its name: of a custom attribute without what it stands below.
    pub name: String,
    /// Whether it stands below `custom_attributes`.
    pub is_custom: bool,
    /// Its type in Intercom's words, such as `string` or `date`.
    pub data_type: String,
}

impl DataAttribute {
    /// Reads one of a list; `None` for one without a name.
    fn parse(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let is_custom = value.get("custom").and_then(Value::as_bool).unwrap_or(false);
        let name = match is_custom {
            true => text("name")?,
            // `location.city` is below the field `location`.
            false => text("full_name").or(text("name"))?.trim_start_matches("company."),
        };
        let name = if is_custom { name } else { name.split('.').next().unwrap_or(name) };
        let data_type = text("data_type").unwrap_or_default().to_owned();
        Some(Self { name: name.to_owned(), is_custom, data_type })
    }
}

impl IntercomClient {
    /// The fields and custom attributes that records of a kind have. One call.
    ///
    /// # Errors
    ///
    /// See [`IntercomError`].
    pub async fn data_attributes(
        &self,
        lane: Lane,
        model: AttributeModel,
    ) -> Result<Vec<DataAttribute>, IntercomError> {
        const ROUTE: &str = "/data_attributes";
        let query = [("model", model.as_str().to_owned())];
        let answer = self.get(lane, &["data_attributes"], &query, ROUTE).await?;
        let list = answer.value.get("data").and_then(Value::as_array);
        let list = list.ok_or(malformed(ROUTE, "it has no list `data`"))?;
        Ok(list.iter().filter_map(DataAttribute::parse).collect())
    }

    /// Makes a custom attribute; writing one that is not there is refused. `data_type` is Intercom's
    /// word: `string`, `integer`, `float`, `boolean` or `date`.
    ///
    /// # Errors
    ///
    /// See [`IntercomError`].
    pub async fn create_data_attribute(
        &self,
        lane: Lane,
        model: AttributeModel,
        name: &str,
        data_type: &str,
    ) -> Result<DataAttribute, IntercomError> {
        const ROUTE: &str = "/data_attributes";
        let body = json!({ "name": name, "model": model.as_str(), "data_type": data_type });
        let answer = self.post(lane, &["data_attributes"], &body, ROUTE).await?;
        DataAttribute::parse(&answer.value).ok_or(malformed(ROUTE, "it is no attribute"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_those_that_records_use() {
        fn case(value: Value, expected: Option<(&str, bool)>) {
            let found = DataAttribute::parse(&value);
            assert_eq!(found.as_ref().map(|a| (a.name.as_str(), a.is_custom)), expected, "{value}");
        }
        case(
            json!({"name": "plan.tier", "full_name": "custom_attributes.plan.tier", "custom": true}),
            Some(("plan.tier", true)),
        );
        case(
            json!({"name": "city", "full_name": "location.city", "custom": false}),
            Some(("location", false)),
        );
        case(json!({"name": "name", "full_name": "company.name"}), Some(("name", false)));
        case(json!({"full_name": "email"}), Some(("email", false)));
        case(json!({"custom": true}), None);
    }
}
