//! Read-only views of JSON for scripts.
//!
//! A view is a shared root and the path to a place in it. Nothing is converted before a script
//! reads it, and passing a view on copies two pointers, however large the record.

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;

use rhai::{
    Array, Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, Map, Module, NativeCallContext,
};
use serde_json::Value;

use super::error::refuse;

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// An object or an array inside a JSON document, as scripts see it.
#[derive(Clone)]
pub(crate) struct View {
    root: Arc<Value>,
    path: Option<Arc<Step>>,
}

/// One step of a path, with those before it.
struct Step {
    before: Option<Arc<Step>>,
    key: Key,
}

enum Key {
    Name(ImmutableString),
    Index(usize),
}

impl View {
    /// A script's value for a whole document: a view, or the value itself where it is a scalar.
    pub(crate) fn dynamic(root: Arc<Value>) -> Dynamic {
        match scalar(&root) {
            Some(value) => value,
            None => Dynamic::from(Self { root, path: None }),
        }
    }

    /// The JSON that this view shows.
    pub(crate) fn value(&self) -> &Value {
        resolve(&self.root, self.path.as_deref())
    }

    /// What stands under `name`, `()` where nothing does. `len` of an array is its length.
    pub(crate) fn field(&self, name: &ImmutableString) -> Dynamic {
        match self.value() {
            Value::Object(map) => match map.get(name.as_str()) {
                Some(value) => self.child(value, || Key::Name(name.clone())),
                None => Dynamic::UNIT,
            },
            Value::Array(items) if name == "len" => to_int(items.len()),
            _ => Dynamic::UNIT,
        }
    }

    /// The item at `index`, counted from the end if negative; `()` where there is none.
    pub(crate) fn item(&self, index: i64) -> Dynamic {
        let Value::Array(items) = self.value() else {
            return Dynamic::UNIT;
        };
        let at = if index < 0 { index + items.len() as i64 } else { index };
        let Ok(at) = usize::try_from(at) else {
            return Dynamic::UNIT;
        };
        match items.get(at) {
            Some(value) => self.child(value, || Key::Index(at)),
            None => Dynamic::UNIT,
        }
    }

    fn child(&self, value: &Value, key: impl FnOnce() -> Key) -> Dynamic {
        if let Some(value) = scalar(value) {
            return value;
        }
        let step = Step { before: self.path.clone(), key: key() };
        Dynamic::from(Self { root: self.root.clone(), path: Some(Arc::new(step)) })
    }

    fn len(&self) -> usize {
        match self.value() {
            Value::Array(items) => items.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        }
    }

    /// The items of an array, or the names in an object.
    fn items(&self) -> Vec<Dynamic> {
        match self.value() {
            Value::Object(map) => map.keys().map(|key| key.as_str().into()).collect(),
            Value::Array(items) => (0_usize..)
                .zip(items)
                .map(|(at, value)| self.child(value, || Key::Index(at)))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Names and values of an object.
    fn entries(&self) -> Vec<(ImmutableString, Dynamic)> {
        let Value::Object(map) = self.value() else {
            return Vec::new();
        };
        map.iter()
            .map(|(name, value)| {
                let name = ImmutableString::from(name.as_str());
                let value = self.child(value, || Key::Name(name.clone()));
                (name, value)
            })
            .collect()
    }

    /// True if an array holds the item, or an object has the name with a value.
    fn contains(&self, item: &Dynamic) -> bool {
        match self.value() {
            Value::Array(items) => items.iter().any(|value| equals(value, item)),
            Value::Object(map) => item
                .as_immutable_string_ref()
                .is_ok_and(|name| map.get(name.as_str()).is_some_and(|value| !value.is_null())),
            _ => false,
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content is personal, so only the shape is shown.
        write!(f, "View({} entries)", self.len())
    }
}

impl IntoIterator for View {
    type Item = Dynamic;
    type IntoIter = std::vec::IntoIter<Dynamic>;

    fn into_iter(self) -> Self::IntoIter {
        self.items().into_iter()
    }
}

fn resolve<'a>(root: &'a Value, path: Option<&Step>) -> &'a Value {
    let Some(step) = path else { return root };
    let parent = resolve(root, step.before.as_deref());
    let child = match &step.key {
        Key::Name(name) => parent.get(name.as_str()),
        Key::Index(at) => parent.get(at),
    };
    child.unwrap_or(&Value::Null)
}

/// The script's value of a JSON scalar; `None` for objects and arrays.
fn scalar(value: &Value) -> Option<Dynamic> {
    match value {
        Value::Null => Some(Dynamic::UNIT),
        Value::Bool(flag) => Some((*flag).into()),
        Value::Number(number) => Some(match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or_default().into(),
        }),
        Value::String(text) => Some(text.as_str().into()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn to_int(count: usize) -> Dynamic {
    i64::try_from(count).unwrap_or(i64::MAX).into()
}

/// True where a JSON value and a script's value are the same.
pub(crate) fn equals(json: &Value, value: &Dynamic) -> bool {
    if let Some(view) = value.read_lock::<View>() {
        return view.value() == json;
    }
    match json {
        Value::Null => value.is_unit(),
        Value::Bool(flag) => value.as_bool() == Ok(*flag),
        Value::Number(number) => match value.as_int() {
            Ok(whole) => {
                number.as_i64().map_or(number.as_f64() == Some(whole as f64), |n| n == whole)
            }
            Err(_) => value.as_float().is_ok_and(|float| number.as_f64() == Some(float)),
        },
        Value::String(text) => {
            value.as_immutable_string_ref().is_ok_and(|other| other.as_str() == text)
        }
        Value::Array(items) => value.as_array_ref().is_ok_and(|other| {
            items.len() == other.len() && items.iter().zip(other.iter()).all(|(a, b)| equals(a, b))
        }),
        Value::Object(map) => value.as_map_ref().is_ok_and(|other| {
            map.len() == other.len()
                && map
                    .iter()
                    .all(|(name, a)| other.get(name.as_str()).is_some_and(|b| equals(a, b)))
        }),
    }
}

/// Reads a script's value as JSON, without a copy where it is part of a record.
pub(crate) fn with_json<T>(value: &Dynamic, read: impl FnOnce(&Value) -> T) -> T {
    match value.read_lock::<View>() {
        Some(view) => read(view.value()),
        None => read(&to_json(value)),
    }
}

/// How deeply values may nest where they leave the script; what reads JSON takes 128.
pub(crate) const NESTING: usize = 64;

/// How large a value may be where it leaves the script, by what its parts take there.
const ROOM_BYTES: usize = 1024 * 1024;

/// What a part of a value takes beside its text.
const PART_BYTES: usize = 32;

/// A script's value as JSON; what has no JSON form (a function, a decision) is its type's name, and
/// what is too large or too deep says so.
pub(crate) fn to_json(value: &Dynamic) -> Value {
    json_of(value).unwrap_or_else(|_| "(too large or nested too deeply)".into())
}

/// A script's value as JSON.
///
/// # Errors
/// It is too large, or nested too deeply: references to one text or array can make a value large
/// that takes little memory.
pub(crate) fn json_of(value: &Dynamic) -> Outcome<Value> {
    if let Some(view) = value.read_lock::<View>() {
        // No larger and no deeper than the record that it is part of.
        return Ok(view.value().clone());
    }
    convert(value, 0, &mut { ROOM_BYTES })
}

fn convert(value: &Dynamic, depth: usize, room: &mut usize) -> Outcome<Value> {
    take(room, 0)?;
    if depth > NESTING {
        return Err(refuse(format!("values may nest {NESTING} deep")));
    }
    if let Some(view) = value.read_lock::<View>() {
        weigh(view.value(), room)?;
        return Ok(view.value().clone());
    }
    if let Ok(items) = value.as_array_ref() {
        return items.iter().map(|item| convert(item, depth + 1, room)).collect();
    }
    if let Ok(map) = value.as_map_ref() {
        let mut fields = serde_json::Map::new();
        for (name, value) in map.iter() {
            take(room, name.len())?;
            fields.insert(name.to_string(), convert(value, depth + 1, room)?);
        }
        return Ok(fields.into());
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        take(room, text.len())?;
        return Ok(text.as_str().into());
    }
    Ok(scalar_json(value))
}

fn scalar_json(value: &Dynamic) -> Value {
    if let Ok(whole) = value.as_int() {
        return whole.into();
    }
    if let Ok(float) = value.as_float() {
        return float.into();
    }
    if let Ok(flag) = value.as_bool() {
        return flag.into();
    }
    if let Ok(letter) = value.as_char() {
        return letter.to_string().into();
    }
    if value.is_unit() { Value::Null } else { value.type_name().into() }
}

fn take(room: &mut usize, bytes: usize) -> Outcome<()> {
    match room.checked_sub(bytes.saturating_add(PART_BYTES)) {
        Some(left) => {
            *room = left;
            Ok(())
        }
        None => Err(refuse(format!("a value may take {ROOM_BYTES} bytes"))),
    }
}

/// Takes the room of a part of a record, before it is copied.
fn weigh(json: &Value, room: &mut usize) -> Outcome<()> {
    match json {
        Value::String(text) => take(room, text.len()),
        Value::Array(items) => items.iter().try_for_each(|item| weigh(item, room)),
        Value::Object(map) => map.iter().try_for_each(|(name, value)| {
            take(room, name.len())?;
            weigh(value, room)
        }),
        _ => take(room, 0),
    }
}

/// Makes views readable in scripts, and everything below `()` a `()`.
pub(crate) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<View>("record");
    engine.register_indexer_get(|view: &mut View, name: ImmutableString| view.field(&name));
    engine.register_indexer_get(|view: &mut View, index: i64| view.item(index));
    // `table("plans.csv")[contact.plan]` of a contact without a plan.
    engine.register_indexer_get(|_: &mut View, (): ()| Dynamic::UNIT);
    // Rhai writes back what a method took by reference, changed or not.
    engine.register_indexer_set(|view: &mut View, name: ImmutableString, value: Dynamic| {
        let is_same = equals(view.value().get(name.as_str()).unwrap_or(&Value::Null), &value);
        read_only(is_same, || format!("`{name}`"))
    });
    engine.register_indexer_set(|view: &mut View, index: i64, value: Dynamic| {
        let is_same = equals(&to_json(&view.item(index)), &value);
        read_only(is_same, || "an item of a list".to_owned())
    });
    engine.register_iterator::<View>();
    register_absent(engine);

    engine.register_fn("len", |view: View| view.len() as i64);
    engine.register_fn("is_empty", |view: View| view.len() == 0);
    engine.register_fn("contains", |view: View, item: Dynamic| view.contains(&item));
    engine.register_fn("keys", |view: View| -> Array {
        view.entries().into_iter().map(|(name, _)| name.into()).collect()
    });
    engine.register_fn("values", |view: View| -> Array {
        view.entries().into_iter().map(|(_, value)| value).collect()
    });
    engine.register_fn("first", |view: View| view.item(0));
    engine.register_fn("last", |view: View| view.item(-1));
    engine.register_fn("filter", filter);
    engine.register_fn(
        "map",
        |ctx: NativeCallContext<'_>, view: View, each: FnPtr| -> Outcome<Array> {
            view.items().into_iter().map(|item| each.call_within_context(&ctx, (item,))).collect()
        },
    );
    engine.register_fn("some", |ctx: NativeCallContext<'_>, view: View, test: FnPtr| {
        Ok::<_, Box<EvalAltResult>>(find(&ctx, &view, &test)?.is_some())
    });
    engine.register_fn("find", |ctx: NativeCallContext<'_>, view: View, test: FnPtr| {
        Ok::<_, Box<EvalAltResult>>(find(&ctx, &view, &test)?.unwrap_or(Dynamic::UNIT))
    });
    engine.register_fn(
        "all",
        |ctx: NativeCallContext<'_>, view: View, test: FnPtr| -> Outcome<bool> {
            for item in view.items() {
                if !test.call_within_context::<bool>(&ctx, (item,))? {
                    return Ok(false);
                }
            }
            Ok(true)
        },
    );

    engine.register_fn("==", |a: View, b: View| a.value() == b.value());
    engine.register_fn("!=", |a: View, b: View| a.value() != b.value());
    engine.register_fn("==", |a: View, b: Array| equals(a.value(), &b.into()));
    engine.register_fn("!=", |a: View, b: Array| !equals(a.value(), &b.into()));
    engine.register_fn("==", |a: Array, b: View| equals(b.value(), &a.into()));
    engine.register_fn("!=", |a: Array, b: View| !equals(b.value(), &a.into()));
    engine.register_fn("==", |a: View, b: Map| equals(a.value(), &b.into()));
    engine.register_fn("!=", |a: View, b: Map| !equals(a.value(), &b.into()));
    engine.register_fn("==", |a: Map, b: View| equals(b.value(), &a.into()));
    engine.register_fn("!=", |a: Map, b: View| !equals(b.value(), &a.into()));
    engine.register_fn("to_string", |view: View| view.value().to_string());
    engine.register_fn("to_debug", |view: View| view.value().to_string());
}

/// What is absent has nothing below it, and is an empty list where a list is wanted.
fn register_absent(engine: &mut Engine) {
    engine.register_indexer_get(|(): &mut (), _: ImmutableString| Dynamic::UNIT);
    engine.register_indexer_get(|(): &mut (), _: i64| Dynamic::UNIT);
    engine.register_fn("len", |(): ()| 0_i64);
    engine.register_fn("is_empty", |(): ()| true);
    engine.register_fn("contains", |(): (), _: Dynamic| false);
    for name in ["filter", "map"] {
        engine.register_fn(name, |(): (), _: FnPtr| Array::new());
    }
    for name in ["keys", "values"] {
        engine.register_fn(name, |(): ()| Array::new());
    }
    engine.register_fn("find", |(): (), _: FnPtr| ());
    engine.register_fn("some", |(): (), _: FnPtr| false);
    engine.register_fn("all", |(): (), _: FnPtr| true);
    let mut module = Module::new();
    module.set_iter(TypeId::of::<()>(), |_| Box::new(std::iter::empty()));
    engine.register_global_module(module.into());
}

fn read_only(is_same: bool, what: impl FnOnce() -> String) -> Outcome<()> {
    if is_same {
        return Ok(());
    }
    Err(refuse(format!("a record is read-only: {} cannot be written", what())))
}

/// The items of an array that pass, or the entries of an object that do (the test takes name and
/// value), as an array or a map.
fn filter(ctx: NativeCallContext<'_>, view: View, test: FnPtr) -> Outcome<Dynamic> {
    if view.value().is_object() {
        let mut kept = Map::new();
        for (name, value) in view.entries() {
            if test.call_within_context::<bool>(&ctx, (name.clone(), value.clone()))? {
                kept.insert(name.as_str().into(), value);
            }
        }
        return Ok(kept.into());
    }
    let mut kept = Array::new();
    for item in view.items() {
        if test.call_within_context::<bool>(&ctx, (item.clone(),))? {
            kept.push(item);
        }
    }
    Ok(kept.into())
}

fn find(ctx: &NativeCallContext<'_>, view: &View, test: &FnPtr) -> Outcome<Option<Dynamic>> {
    for item in view.items() {
        if test.call_within_context::<bool>(ctx, (item.clone(),))? {
            return Ok(Some(item));
        }
    }
    Ok(None)
}
