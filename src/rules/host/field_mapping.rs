//! `apply_field_mapping(contact, brevo)`: the configuration's `field_mapping`.

use std::sync::Arc;

use jiff::tz::TimeZone;
use rhai::{Engine, ImmutableString, NativeCallContext};
use serde_json::Value;

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
        let last = source.rsplit('.').next().unwrap_or(source);
        let is_phone = matches!(&target, Target::Attribute(name) if name.is_phone());
        let conversion = match last {
            _ if is_phone => Conversion::Phone,
            "phone" => Conversion::Phone,
            name if name.ends_with("_at") => Conversion::Time,
            _ => Conversion::Plain,
        };
        Ok(Self { source: source.to_owned(), target, conversion })
    }

    /// What the field becomes; `phone` reads a phone number.
    fn value(
        &self,
        record: &Value,
        phone: impl FnOnce(&str) -> Option<ImmutableString>,
    ) -> Result<Written, String> {
        let Some(value) = lookup(record, &self.source) else {
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

/// Makes `apply_field_mapping` callable.
pub(super) fn register(engine: &mut Engine, data: &Arc<HostData>) {
    let data = data.clone();
    engine.register_fn(
        "apply_field_mapping",
        move |ctx: NativeCallContext<'_>, record: View, brevo: ContactHandle| -> Outcome<()> {
            let origin = brevo.origin(&ctx);
            for mapping in &data.field_mapping {
                let phone = |text: &str| phone::read(brevo.evaluation(), text, data.region);
                let value = mapping.value(record.value(), phone).map_err(|problem| {
                    refuse(format!("field_mapping: `{}` cannot be {problem}", mapping.source))
                })?;
                brevo.write(&mapping.target, value, origin.clone())?;
            }
            Ok(())
        },
    );
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
            assert_eq!(mapping.value(record, phone).unwrap(), expected, "{source}");
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
