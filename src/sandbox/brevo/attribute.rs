//! The account's attributes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::Refusal;
use super::value::{EnumerationItem, Kind, Origin, Taken, phone, text};

/// Those of an account's identifiers that are phone numbers: unique, and stored as digits.
const PHONES: [&str; 3] = ["SMS", "WHATSAPP", "LANDLINE_NUMBER"];

#[derive(Debug, Clone)]
struct Definition {
    category: String,
    kind: Kind,
}

/// The body of `POST /contacts/attributes/{category}/{name}`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AttributeBody {
    #[serde(rename = "type")]
    kind: Option<String>,
    enumeration: Vec<ItemBody>,
    multi_category_options: Vec<String>,
    value: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ItemBody {
    value: Value,
    label: String,
}

/// All attributes by name, in upper case.
#[derive(Debug)]
pub(super) struct Catalogue(BTreeMap<String, Definition>);

impl Default for Catalogue {
    /// Those that a new account has (facts: Brevo section 3).
    fn default() -> Self {
        let mut catalogue = Self(BTreeMap::new());
        for name in ["FIRSTNAME", "LASTNAME", "EXT_ID"].into_iter().chain(PHONES) {
            catalogue.insert(name, "normal", Kind::Text);
        }
        catalogue.insert("OPT_IN", "normal", Kind::Boolean);
        let item = |value: &str, label: &str| EnumerationItem {
            value: value.to_owned(),
            label: label.to_owned(),
        };
        let options = vec![item("1", "Yes"), item("2", "No")];
        catalogue.insert("DOUBLE_OPT-IN", "category", Kind::Category(options));
        catalogue
    }
}

impl Catalogue {
    /// Adds an attribute as the API does.
    pub(super) fn create(
        &mut self,
        category: &str,
        name: &str,
        body: AttributeBody,
    ) -> Result<(), Refusal> {
        let name = name.trim().to_uppercase();
        if name.is_empty() || name.chars().count() > 50 {
            return Err(Refusal::invalid("Attribute name should be 1 to 50 characters"));
        }
        let kind = body.into_kind(category)?;
        if name == "EMAIL" || self.0.contains_key(&name) {
            return Err(Refusal::invalid("Attribute name must be unique"));
        }
        self.insert(&name, category, kind);
        Ok(())
    }

    /// `GET /contacts/attributes`.
    pub(super) fn to_json(&self) -> Value {
        let all: Vec<Value> =
            self.0.iter().map(|(name, definition)| definition.to_json(name)).collect();
        json!({"attributes": all})
    }

    /// Removes an attribute, whose name is in upper case.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Gives an attribute other options, as the API does: what is sent takes the place of all.
    pub(super) fn update(
        &mut self,
        category: &str,
        name: &str,
        body: AttributeBody,
    ) -> Result<(), Refusal> {
        let name = name.trim().to_uppercase();
        let missing = || Refusal::not_found("Attribute does not exist");
        let definition = self.0.get_mut(&name).ok_or_else(missing)?;
        if definition.category != category {
            return Err(missing());
        }
        match (&mut definition.kind, body) {
            (Kind::Category(items), body) => {
                if let Kind::Category(new) = body.category()? {
                    *items = new;
                }
            }
            (Kind::MultipleChoice(options), body) => {
                if let Kind::MultipleChoice(new) = body.multiple_choice()? {
                    *options = new;
                }
            }
            _ => return Err(Refusal::invalid("Attribute can not be updated")),
        }
        Ok(())
    }

    /// True if there is an attribute of this name, which is in upper case.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What becomes of `value` in the attribute `name`, which is in upper case. The empty string
    /// clears; `null`, whose effect is not documented, does nothing.
    pub(super) fn take(&self, name: &str, value: &Value, origin: Origin) -> Taken {
        let Some(definition) = self.0.get(name) else {
            return Taken::Ignored;
        };
        if value.as_str() == Some("") {
            return Taken::Clear;
        }
        if value.is_null() || (value.is_boolean() && origin == Origin::JsonImport) {
            return Taken::Ignored;
        }
        if PHONES.contains(&name) {
            return phone(value).map_or(Taken::InvalidPhone, |digits| Taken::Set(json!(digits)));
        }
        definition.kind.take(value, origin)
    }

    fn insert(&mut self, name: &str, category: &str, kind: Kind) {
        let definition = Definition { category: category.to_owned(), kind };
        self.0.insert(name.to_owned(), definition);
    }
}

impl Definition {
    fn to_json(&self, name: &str) -> Value {
        let Self { category, kind } = self;
        match kind {
            Kind::Category(items) => {
                let items: Vec<Value> = items.iter().map(EnumerationItem::to_json).collect();
                json!({"name": name, "category": category, "enumeration": items})
            }
            Kind::MultipleChoice(options) => json!({
                "name": name, "category": category, "type": "multiple-choice",
                "multiCategoryOptions": options,
            }),
            Kind::Other(None) => json!({"name": name, "category": category}),
            _ => json!({"name": name, "category": category, "type": kind.name()}),
        }
    }
}

impl AttributeBody {
    /// A body that asks for a plain type.
    pub(super) fn of_type(kind: &str) -> Self {
        Self { kind: Some(kind.to_owned()), ..Self::default() }
    }

    /// A body that asks for a category or a multiple choice with these options.
    pub(super) fn with_options(kind: &str, options: &[&str]) -> Self {
        let item = |(label, value): (&&str, i64)| ItemBody {
            value: json!(value),
            label: (*label).to_owned(),
        };
        let labels = options.iter().map(|option| (*option).to_owned()).collect();
        match kind {
            "category" => Self {
                kind: Some(kind.to_owned()),
                enumeration: options.iter().zip(1..).map(item).collect(),
                ..Self::default()
            },
            _ => Self { multi_category_options: labels, ..Self::of_type(kind) },
        }
    }

    /// Which types a category takes: facts, Brevo section 3.
    fn into_kind(self, category: &str) -> Result<Kind, Refusal> {
        let other = |name: &str| Kind::Other(Some(name.to_owned()));
        match (category, self.kind.as_deref()) {
            ("normal" | "transactional", Some("text")) => Ok(Kind::Text),
            ("normal" | "transactional", Some("date")) => Ok(Kind::Date),
            ("normal" | "transactional", Some("float")) => Ok(Kind::Float),
            ("normal" | "transactional", Some("boolean")) => Ok(Kind::Boolean),
            ("normal", Some("multiple-choice")) => self.multiple_choice(),
            ("normal", Some("user")) => Ok(other("user")),
            ("transactional", Some("id")) => Ok(other("id")),
            ("category", Some("category") | None) => self.category(),
            ("calculated" | "global", _) if self.value.is_some() => Ok(Kind::Other(None)),
            ("calculated" | "global", _) => Err(Refusal::missing("value is missing")),
            ("normal" | "transactional", None) => Err(Refusal::missing("type is missing")),
            ("normal" | "transactional" | "category", Some(kind)) => {
                Err(Refusal::invalid(format!("type {kind} is not allowed for {category}")))
            }
            _ => Err(Refusal::invalid("Invalid attribute category")),
        }
    }

    fn multiple_choice(self) -> Result<Kind, Refusal> {
        if self.multi_category_options.iter().any(|option| option.chars().count() > 200) {
            return Err(Refusal::invalid("An option should be at most 200 characters"));
        }
        Ok(Kind::MultipleChoice(self.multi_category_options))
    }

    fn category(self) -> Result<Kind, Refusal> {
        if self.enumeration.is_empty() {
            return Err(Refusal::missing("enumeration is missing"));
        }
        let item = |body: ItemBody| {
            let value = text(&body.value)?;
            (body.label.chars().count() <= 200)
                .then_some(EnumerationItem { value, label: body.label })
        };
        let items: Option<Vec<_>> = self.enumeration.into_iter().map(item).collect();
        items.map(Kind::Category).ok_or_else(|| Refusal::invalid("Invalid enumeration"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let mut catalogue = Catalogue::default();
        for kind in ["text", "date", "float", "boolean"] {
            catalogue.create("normal", kind, AttributeBody::of_type(kind)).unwrap();
        }
        let body = |value: Value| serde_json::from_value::<AttributeBody>(value).unwrap();
        let options = body(json!({"type": "multiple-choice", "multiCategoryOptions": ["a", "b"]}));
        catalogue.create("normal", "many", options).unwrap();
        let items = json!([{"value": 1, "label": "Free"}, {"value": "en", "label": "English"}]);
        let items = body(json!({"type": "category", "enumeration": items}));
        catalogue.create("category", "one", items).unwrap();
        catalogue
    }

    #[test]
    fn a_value_of_the_wrong_type_is_dropped_without_a_word() {
        let catalogue = catalogue();
        let case = |name: &str, value: Value, origin: Origin, expected: Taken| {
            assert_eq!(catalogue.take(name, &value, origin), expected, "{name} {value} {origin:?}");
        };
        let set = |value: Value| Taken::Set(value);
        use Origin::{Api, CsvImport, JsonImport};
        case("TEXT", json!("x"), Api, set(json!("x")));
        case("TEXT", json!(12), Api, set(json!("12")));
        case("TEXT", json!(["x"]), Api, Taken::Ignored);
        case("TEXT", json!(""), Api, Taken::Clear);
        case("TEXT", json!(null), Api, Taken::Ignored);
        case("DATE", json!("2026-03-14"), Api, set(json!("2026-03-14")));
        case("DATE", json!("2026-03-14T09:26:53Z"), Api, set(json!("2026-03-14")));
        case("DATE", json!("14/03/2026"), Api, Taken::Ignored);
        case("DATE", json!(1_768_019_995), Api, Taken::Ignored);
        case("FLOAT", json!(1.5), Api, set(json!(1.5)));
        case("FLOAT", json!("1.5"), Api, Taken::Ignored);
        case("FLOAT", json!("1.5"), CsvImport, set(json!(1.5)));
        case("FLOAT", json!("12"), CsvImport, set(json!(12)));
        case("BOOLEAN", json!(true), Api, set(json!(true)));
        case("BOOLEAN", json!(true), JsonImport, Taken::Ignored);
        case("BOOLEAN", json!("Yes"), CsvImport, set(json!(true)));
        case("BOOLEAN", json!("Yes"), Api, Taken::Ignored);
        case("MANY", json!(["a", "z"]), Api, set(json!(["a"])));
        case("MANY", json!("a, b"), CsvImport, set(json!(["a", "b"])));
        case("MANY", json!([]), Api, Taken::Clear);
        case("ONE", json!(1), Api, set(json!("1")));
        case("ONE", json!("English"), Api, set(json!("en")));
        case("ONE", json!("Gold"), Api, Taken::Ignored);
        case("SMS", json!("+66812345678"), Api, set(json!("66812345678")));
        case("SMS", json!("0066812345678"), Api, set(json!("66812345678")));
        case("SMS", json!("12345"), Api, Taken::InvalidPhone);
        case("SMS", json!("call me"), Api, Taken::InvalidPhone);
        case("NONE", json!("x"), Api, Taken::Ignored);
    }

    #[test]
    fn names_are_unique_in_any_case() {
        let again = catalogue().create("normal", "Text", AttributeBody::of_type("float"));
        assert_eq!(again, Err(Refusal::invalid("Attribute name must be unique")));
        let odd = catalogue().create("category", "X", AttributeBody::of_type("float"));
        assert_eq!(odd.map_err(|refusal| refusal.code), Err("invalid_parameter"));
    }
}
