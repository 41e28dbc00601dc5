//! `track` and `upsert_object`: what is sent beside a contact's state.

use std::collections::BTreeMap;

use rhai::{Dynamic, Engine, ImmutableString};
use serde_json::Value;

use super::draft::Draft;
use super::{Ctx, Outcome};
use crate::model::{Decision, Emission, Fields, ObjectKey, Timestamp, Traced, TrackedEvent};
use crate::rules::error::{refuse, type_in_words};
use crate::rules::view::{View, json_of, to_json};

/// Brevo's bound on the name of an event and of its properties (facts: Brevo, section 6).
const NAME_LENGTH: usize = 255;
/// Brevo's bound on the properties of one event.
const PROPERTIES_BYTES: usize = 50 * 1024;
/// How many events or objects one decision may hold; more are a rule gone wrong.
pub(super) const MAX_EMITTED: usize = 1_000;
/// How deep the properties of an event may nest.
const MAX_DEPTH: usize = 16;

/// The event of `track(name, properties)` or `track(name, properties, at)`. `None` where `at` was
/// given and is `()`: what has no time did not happen.
pub(super) fn event(
    name: &ImmutableString,
    properties: &Dynamic,
    at: Option<&Dynamic>,
) -> Outcome<Option<TrackedEvent>> {
    let at = match at {
        None => None,
        Some(at) if at.is_unit() => return Ok(None),
        Some(at) => Some(
            Timestamp::parse(&to_json(at))
                .ok_or_else(|| refuse("`track`: `at` must be a time, in seconds or ISO 8601"))?,
        ),
    };
    if name.trim().is_empty() {
        return Err(refuse("`track` takes the name of an event, not empty text"));
    }
    let fields = fields("track", "properties", properties)?;
    let properties: Fields = fields.into_iter().map(|(key, value)| (fold(&key), value)).collect();
    let size = serde_json::to_vec(&properties).map_or(usize::MAX, |json| json.len());
    if size > PROPERTIES_BYTES {
        return Err(refuse(format!(
            "`track`: the properties take {size} bytes, and Brevo takes {PROPERTIES_BYTES}"
        )));
    }
    Ok(Some(TrackedEvent { name: fold(name), at, properties }))
}

/// The key and fields of `upsert_object(type, id, fields)`.
fn object(kind: &ImmutableString, id: &Dynamic, fields: &Dynamic) -> Outcome<(ObjectKey, Fields)> {
    if kind.trim().is_empty() || kind.contains(':') {
        return Err(refuse(format!("`upsert_object`: `{kind}` is not the type of an object")));
    }
    let id = match (id.as_int(), id.as_immutable_string_ref()) {
        (Ok(number), _) => number.to_string(),
        (_, Ok(text)) if !text.is_empty() => text.to_string(),
        _ => return Err(refuse("`upsert_object` takes an id, as text or a whole number")),
    };
    let key = ObjectKey { kind: kind.to_string(), id };
    Ok((key, self::fields("upsert_object", "fields", fields)?))
}

/// A decision that events and objects are part of.
pub(super) trait Emits: Clone {
    /// What was tracked so far.
    fn events(&mut self) -> &mut Vec<Traced<TrackedEvent>>;
    /// The objects so far.
    fn objects(&mut self) -> &mut BTreeMap<ObjectKey, Traced<Fields>>;
}

impl Emits for Decision {
    fn events(&mut self) -> &mut Vec<Traced<TrackedEvent>> {
        &mut self.events
    }

    fn objects(&mut self) -> &mut BTreeMap<ObjectKey, Traced<Fields>> {
        &mut self.objects
    }
}

impl Emits for Emission {
    fn events(&mut self) -> &mut Vec<Traced<TrackedEvent>> {
        &mut self.events
    }

    fn objects(&mut self) -> &mut BTreeMap<ObjectKey, Traced<Fields>> {
        &mut self.objects
    }
}

impl<D: Emits> Draft<D> {
    /// `track(name, properties)` and `track(name, properties, at)`.
    pub(super) fn track(
        &self,
        ctx: &Ctx<'_>,
        name: &ImmutableString,
        properties: &Dynamic,
        at: Option<&Dynamic>,
    ) -> Outcome<()> {
        let Some(event) = event(name, properties, at)? else { return Ok(()) };
        let traced = self.traced(ctx, event);
        self.with(|decision| push(decision.events(), traced))
    }

    /// `upsert_object(type, id, fields)`; of a field that is written twice the last word wins.
    pub(super) fn upsert_object(
        &self,
        ctx: &Ctx<'_>,
        kind: &ImmutableString,
        id: &Dynamic,
        fields: &Dynamic,
    ) -> Outcome<()> {
        let (key, fields) = object(kind, id, fields)?;
        let fields = self.traced(ctx, fields);
        self.with(|decision| {
            let objects = decision.objects();
            if objects.len() >= MAX_EMITTED && !objects.contains_key(&key) {
                return Err(refuse(format!(
                    "`upsert_object`: more than {MAX_EMITTED} for one record"
                )));
            }
            match objects.get_mut(&key) {
                Some(known) => {
                    known.value.extend(fields.value);
                    known.origin = fields.origin;
                }
                None => {
                    objects.insert(key, fields);
                }
            }
            Ok(())
        })
    }
}

/// Makes `track` and `upsert_object` callable on a kind of handle, whose draft `draft` finds.
pub(super) fn register<H, D>(engine: &mut Engine, draft: fn(&H) -> &Draft<D>)
where
    H: Clone + Send + Sync + 'static,
    D: Emits + 'static,
{
    engine.register_fn(
        "track",
        move |ctx: Ctx<'_>, brevo: &mut H, name: ImmutableString, properties: Dynamic| {
            draft(brevo).track(&ctx, &name, &properties, None)
        },
    );
    engine.register_fn(
        "track",
        move |ctx: Ctx<'_>,
              brevo: &mut H,
              name: ImmutableString,
              properties: Dynamic,
              at: Dynamic| draft(brevo).track(&ctx, &name, &properties, Some(&at)),
    );
    engine.register_fn(
        "upsert_object",
        move |ctx: Ctx<'_>, brevo: &mut H, kind: ImmutableString, id: Dynamic, fields: Dynamic| {
            draft(brevo).upsert_object(&ctx, &kind, &id, &fields)
        },
    );
}

/// Adds an event to a decision.
pub(super) fn push(
    events: &mut Vec<Traced<TrackedEvent>>,
    event: Traced<TrackedEvent>,
) -> Outcome<()> {
    if events.len() >= MAX_EMITTED {
        return Err(refuse(format!("`track`: more than {MAX_EMITTED} events for one record")));
    }
    events.push(event);
    Ok(())
}

/// Fields without those that are `()`; numbers must be finite at any depth.
fn fields(function: &str, what: &str, value: &Dynamic) -> Outcome<Fields> {
    if value.is_unit() {
        return Ok(Fields::new());
    }
    let json = plain(value, MAX_DEPTH)
        .map_err(|problem| refuse(format!("`{function}`: the {what} hold {problem}")))?;
    match json {
        Value::Object(fields) => {
            Ok(fields.into_iter().filter(|(_, value)| !value.is_null()).collect())
        }
        _ => {
            let got = type_in_words(value.type_name());
            Err(refuse(format!("`{function}` takes a map of {what}, not {got}")))
        }
    }
}

/// A script's value as JSON, down to a depth; the error ends the sentence "it holds …".
pub(super) fn plain(value: &Dynamic, depth: usize) -> Result<Value, String> {
    // References can make a value large that takes little memory, so its size comes first.
    let _ =
        json_of(value).map_err(|_| "values that are too large or nested too deeply".to_owned())?;
    convert(value, depth)
}

fn convert(value: &Dynamic, depth: usize) -> Result<Value, String> {
    let deeper =
        || depth.checked_sub(1).ok_or_else(|| "values that are nested too deeply".to_owned());
    if let Some(view) = value.read_lock::<View>() {
        return Ok(view.value().clone());
    }
    if let Ok(items) = value.as_array_ref() {
        let depth = deeper()?;
        return items.iter().map(|item| convert(item, depth)).collect();
    }
    if let Ok(map) = value.as_map_ref() {
        let depth = deeper()?;
        return map
            .iter()
            .map(|(key, value)| Ok((key.to_string(), convert(value, depth)?)))
            .collect();
    }
    match value.as_float() {
        Ok(float) if !float.is_finite() => Err(format!("{float}: numbers must be finite")),
        _ if value.is_fnptr() => Err("a function".to_owned()),
        _ => Ok(to_json(value)),
    }
}

/// What Brevo's names cannot hold becomes `_`.
fn fold(name: &str) -> String {
    name.trim()
        .chars()
        .take(NAME_LENGTH)
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use rhai::Map;
    use serde_json::json;

    use super::*;
    use crate::rules::ScriptError;

    #[test]
    fn names_are_folded_and_absent_properties_left_out() {
        let properties: Map =
            [("plan tier".into(), "pro".into()), ("none".into(), Dynamic::UNIT)].into();
        let found =
            event(&"Plan upgraded!".into(), &properties.into(), Some(&5_i64.into())).unwrap();
        let found = found.unwrap();
        assert_eq!(
            (found.name.as_str(), found.at),
            ("Plan_upgraded_", Some(Timestamp::from_seconds(5)))
        );
        assert_eq!(Value::Object(found.properties), json!({"plan_tier": "pro"}));
    }

    #[test]
    fn an_event_without_its_time_did_not_happen() {
        assert_eq!(event(&"seen".into(), &Dynamic::UNIT, Some(&Dynamic::UNIT)).unwrap(), None);
        assert_eq!(event(&"seen".into(), &Dynamic::UNIT, None).unwrap().unwrap().at, None);
        assert!(event(&"seen".into(), &Dynamic::UNIT, Some(&"soon".into())).is_err());
    }

    #[test]
    fn what_brevo_cannot_take_is_refused() {
        fn case(properties: Dynamic, expected: &str) {
            let error = event(&"x".into(), &properties, None).unwrap_err();
            let error = ScriptError::new(*error, "", &|_, _| None).message;
            assert!(error.contains(expected), "{error}");
        }
        let map = |value: Dynamic| Dynamic::from(Map::from([("a".into(), value)]));
        case(map(f64::INFINITY.into()), "the properties hold inf: numbers must be finite");
        case(map(vec![Dynamic::from(f64::NAN)].into()), "numbers must be finite");
        case(map("x".repeat(60_000).into()), "Brevo takes 51200");
        case(5_i64.into(), "`track` takes a map of properties, not a whole number");
        let deep = (0..30).fold(Dynamic::from(1_i64), |inner, _| vec![inner].into());
        case(map(deep), "nested too deeply");
    }
}
