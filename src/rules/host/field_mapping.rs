//! `apply_field_mapping(contact, brevo)`: the configuration's `field_mapping`.

use std::sync::Arc;

use jiff::tz::TimeZone;
use rhai::{Engine, ImmutableString, NativeCallContext};
use serde_json::{Map, Value};

use super::phone;
use super::time::day;
use super::{HostData, Outcome};
use crate::model::Timestamp;
use crate::rules::error::refuse;
use crate::rules::handle::ContactHandle;
use crate::rules::reference::{FunctionDoc, Kind, decides, parameter, signature};
use crate::rules::target::Target;
use crate::rules::view::View;
use crate::rules::written::Written;

/// The words for this function.
pub(super) const DOCS: [FunctionDoc; 1] = [FunctionDoc {
    name: "apply_field_mapping",
    signatures: &[signature(
        &[
            parameter("contact", Kind::Record, "the record"),
            parameter("brevo", Kind::Decision, "the decision"),
        ],
        Kind::Nothing,
    )],
    summary: "Writes what `field_mapping` in the configuration names: paths in the record, and the attributes they become.",
    notes: "The longest existing key wins where names hold dots. Fields that end in `_at` and hold a time go through \
            `date`, `phone` and what becomes `SMS` or `WHATSAPP` through `phone`; a record with a `name`, such as \
            `company.plan`, gives its name. What is absent is `()`. Lines below it in a script have the last word.",
    failures: &["a field holds a map without a name"],
    examples: &[
        decides("apply_field_mapping(contact, brevo);", "d.FULLNAME", "\"Ann van der Berg\""),
        decides("apply_field_mapping(contact, brevo);", "d.SIGNED_UP", "\"2025-01-10\""),
        decides(
            "apply_field_mapping(contact, brevo); brevo.FULLNAME = upper(contact.name);",
            "d.FULLNAME",
            "\"ANN VAN DER BERG\"",
        ),
    ],
}];

/// One line of `field_mapping`: a field of the record and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldMapping {
    source: String,
    /// The path before its last dot.
    parent: Option<String>,
    /// The path after its last dot.
    name: String,
    target: Target,
    conversion: Conversion,
}

/// What a value goes through on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conversion {
    /// Nothing.
    Plain,
    /// `date`.
    Time,
    /// `phone`.
    Phone,
}

impl FieldMapping {
    /// Prepares one line.
    ///
    /// # Errors
    /// Says so where the target cannot be the name of an attribute.
    pub(crate) fn new(source: &str, target: &str) -> Result<Self, String> {
        let target = Target::attribute(target)?;
        let parts = source.rsplit_once('.');
        let name = parts.map_or(source, |(_, name)| name);
        let is_phone = matches!(&target, Target::Attribute(name) if name.is_phone());
        let conversion = match name {
            _ if is_phone => Conversion::Phone,
            "phone" => Conversion::Phone,
            name if name.ends_with("_at") => Conversion::Time,
            _ => Conversion::Plain,
        };
        Ok(Self {
            source: source.to_owned(),
            parent: parts.map(|(parent, _)| parent.to_owned()),
            name: name.to_owned(),
            target,
            conversion,
        })
    }

    /// What the field becomes; `phone` reads a phone number.
    fn value(
        &self,
        field: Option<&Value>,
        phone: impl FnOnce(&str) -> Option<ImmutableString>,
    ) -> Result<Written, String> {
        let Some(value) = field else {
            return Ok(Written::Nothing);
        };
        let converted = match self.conversion {
            Conversion::Plain => None,
            Conversion::Time => Timestamp::parse(value).and_then(|time| day(time, TimeZone::UTC)),
            Conversion::Phone => {
                let number = match value {
                    Value::String(text) => phone(text),
                    Value::Number(number) => phone(&number.to_string()),
                    _ => None,
                };
                return Ok(number.map_or(Written::Nothing, |number| Written::text(&number)));
            }
        };
        match (converted, value) {
            (Some(day), _) => Written::from_json(&day.into()),
            // `company.plan` and the like are records with a name.
            (None, Value::Object(map)) => match map.get("name") {
                Some(name @ Value::String(_)) => Written::from_json(name),
                Some(Value::Null) => Ok(Written::Nothing),
                _ => Written::from_json(value),
            },
            (None, value) => Written::from_json(value),
        }
    }
}

/// What stands at a dotted path. Names may hold dots themselves: the longest existing key wins.
fn lookup<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let map = value.as_object()?;
    if let Some(found) = map.get(path) {
        return Some(found);
    }
    let mut head = path;
    while let Some((shorter, _)) = head.rsplit_once('.') {
        if let Some(inner) = map.get(shorter) {
            return lookup(inner, path.get(shorter.len() + 1..)?);
        }
        head = shorter;
    }
    None
}

/// Where fields stand whose paths differ only after the last dot, such as custom attributes.
enum Place<'a> {
    /// In this map, and nowhere else.
    Map(&'a Map<String, Value>),
    /// Each has to be looked for.
    Anywhere(&'a Value),
}

impl<'a> Place<'a> {
    /// The place of the fields of mappings that have one parent.
    fn of(record: &'a Value, siblings: &[FieldMapping]) -> Self {
        Self::map(record, siblings).map_or(Self::Anywhere(record), Self::Map)
    }

    fn map(record: &'a Value, siblings: &[FieldMapping]) -> Option<&'a Map<String, Value>> {
        // To look for one costs less than to make sure that this is its place.
        let [FieldMapping { parent: Some(parent), .. }, _, ..] = siblings else { return None };
        let fields = record.as_object()?;
        // With a field `a.b` in the record itself, that is what `a.b` means.
        let is_before = |name: &String| {
            name.strip_prefix(parent.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        let is_plain = !parent.contains('.') && !fields.keys().any(is_before);
        is_plain.then(|| fields.get(parent)?.as_object()).flatten()
    }

    /// The field of a mapping.
    fn find(&self, mapping: &FieldMapping) -> Option<&'a Value> {
        match self {
            Self::Map(fields) => fields.get(&mapping.name),
            Self::Anywhere(record) => lookup(record, &mapping.source),
        }
    }
}

/// Makes `apply_field_mapping` callable.
pub(super) fn register(engine: &mut Engine, data: &Arc<HostData>) {
    let data = data.clone();
    engine.register_fn(
        "apply_field_mapping",
        move |ctx: NativeCallContext<'_>, record: View, brevo: ContactHandle| -> Outcome<()> {
            let mut values = Vec::with_capacity(data.field_mapping.len());
            for siblings in data.field_mapping.chunk_by(|a, b| a.parent == b.parent) {
                let place = Place::of(record.value(), siblings);
                for mapping in siblings {
                    let phone = |text: &str| phone::read(brevo.evaluation(), text, data.region);
                    let value = mapping.value(place.find(mapping), phone).map_err(|problem| {
                        refuse(format!("field_mapping: `{}` cannot be {problem}", mapping.source))
                    })?;
                    values.push((&mapping.target, value));
                }
            }
            brevo.write_all(values, &brevo.origin(&ctx))
        },
    );
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{AttributeIntent, RecordKey};
    use crate::rules::{ContactInput, RuleEnvironment, RuleSet, SourceFile};

    #[test]
    fn the_longest_existing_key_wins() {
        let record = json!({
            "company": {"name": "Acme", "plan": {"name": "pro"}},
            "custom_attributes": {"address": {"city": "Ulm"}, "address.street": "Main", "a.b": {"c": 1}},
            "name": null,
        });
        fn case(record: &Value, path: &str, expected: Option<Value>) {
            assert_eq!(lookup(record, path), expected.as_ref(), "{path}");
        }
        case(&record, "company.name", Some(json!("Acme")));
        case(&record, "custom_attributes.address.city", Some(json!("Ulm")));
        case(&record, "custom_attributes.address.street", Some(json!("Main")));
        case(&record, "custom_attributes.a.b.c", Some(json!(1)));
        case(&record, "custom_attributes.none", None);
        case(&record, "name.first", None);
    }

    #[test]
    fn fields_with_one_parent_are_found_as_each_of_them_is() {
        let records = [
            json!({"custom_attributes": {"a": 1, "b": null, "c.d": 2, "c": {"d": 3}}}),
            json!({"custom_attributes": {"a": 1}, "custom_attributes.a": 2, "custom_attributes2": 3}),
            json!({"custom_attributes": {"a": 1}, "custom_attributes.c": {"d": 4}}),
            json!({"custom_attributes": ["a"], "a": 1}),
            json!({"a": 1}),
            json!(null),
        ];
        let paths = ["a", "b", "c.d", "custom_attributes.a", "custom_attributes.b"];
        let more = ["custom_attributes.c", "custom_attributes.c.d", "custom_attributes.c.e"];
        let mappings: Vec<_> =
            paths.iter().chain(&more).map(|path| FieldMapping::new(path, "X").unwrap()).collect();
        for record in &records {
            for siblings in mappings.chunk_by(|a, b| a.parent == b.parent) {
                let place = Place::of(record, siblings);
                for mapping in siblings {
                    let expected = lookup(record, &mapping.source);
                    assert_eq!(place.find(mapping), expected, "{} in {record}", mapping.source);
                }
            }
        }
    }

    #[test]
    fn the_last_word_counts_among_fields_and_lines() {
        fn case(body: &str, expected: &Value) {
            let text = format!("fn map_contact(contact, brevo) {{ {body} }}");
            let file = SourceFile { path: "scripts/mapping.rhai".to_owned(), text };
            let mapping = [("a", "X"), ("b", "X"), ("c", "email"), ("d", "Y")];
            let field_mapping = mapping.map(|(path, name)| (path.to_owned(), name.to_owned()));
            let environment = RuleEnvironment {
                field_mapping: field_mapping.into(),
                ..RuleEnvironment::default()
            };
            let rules = RuleSet::from_files(vec![file], &environment).unwrap();
            let decision = rules
                .decide_contact(&ContactInput {
                    key: RecordKey::contact("1".parse().unwrap()),
                    contact: json!({"a": "a", "b": "b", "c": "ann@example.com", "d": null}).into(),
                    existing: None,
                    as_of: Timestamp::from_seconds(1_768_019_995),
                })
                .unwrap();
            let attributes = decision.attributes.iter().map(|(name, traced)| {
                let value = match &traced.value {
                    AttributeIntent::Set(value) => json!(value),
                    _ => Value::Null,
                };
                (name.to_string(), value)
            });
            assert_eq!(attributes.collect::<Value>(), *expected, "{body}");
            assert_eq!(decision.email.unwrap().value, "ann@example.com", "{body}");
        }
        let apply = "apply_field_mapping(contact, brevo);";
        case(apply, &json!({"X": "b", "Y": null}));
        let before = "brevo.X = 1; brevo.Y = 2; brevo.Z = 3;";
        case(&format!("{before} {apply}"), &json!({"X": "b", "Y": null, "Z": 3}));
        case(&format!("{apply} {before}"), &json!({"X": 1, "Y": 2, "Z": 3}));
    }

    #[test]
    fn known_fields_are_converted() {
        let record = json!({
            "signed_up_at": 1_768_019_995, "phone": "081 234 5678", "renews_at": "soon",
            "company": {"plan": {"id": "1", "name": "pro"}},
        });
        fn case(record: &Value, source: &str, target: &str, expected: Option<&str>) {
            let mapping = FieldMapping::new(source, target).unwrap();
            let region = super::super::phone::parse_region("TH");
            let expected =
                expected.map_or(Written::Nothing, |text| Written::from_json(&text.into()).unwrap());
            let phone = |text: &str| phone::to_e164(text, region).map(Into::into);
            let field = lookup(record, source);
            assert_eq!(mapping.value(field, phone).unwrap(), expected, "{source}");
        }
        case(&record, "signed_up_at", "SIGNUP_DATE", Some("2026-01-10"));
        case(&record, "renews_at", "RENEWS", Some("soon"));
        case(&record, "phone", "SMS", Some("+66812345678"));
        case(&record, "company.plan", "PLAN", Some("pro"));
        case(&record, "last_seen_at", "SEEN", None);
        assert_eq!(FieldMapping::new("email", "email").unwrap().target, Target::Email);
        assert!(FieldMapping::new("email", "").is_err());
    }
}
