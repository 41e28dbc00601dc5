//! Whether `merge_contact` comes to rest: what Brevo would hold after a decision, and what a second
//! decision would change in it.

use serde_json::{Map, Value, json};

use crate::model::{AttributeIntent, Decision, ListIntent, ListRef, Origin};

/// Brevo's contact after a decision, as `merge_contact` sees it.
pub(crate) fn apply(existing: &Value, decision: &Decision) -> Value {
    let mut after = existing.as_object().cloned().unwrap_or_default();
    if let Some(email) = &decision.email {
        after.insert("email".to_owned(), email.value.as_str().into());
    }
    if decision.email_opt_out.is_some() {
        after.insert("blacklisted".to_owned(), true.into());
    }
    apply_attributes(&mut after, decision);
    apply_lists(&mut after, decision);
    Value::Object(after)
}

fn apply_attributes(after: &mut Map<String, Value>, decision: &Decision) {
    for (name, intent) in &decision.attributes {
        let held = after.get(name.as_str()).filter(|value| !is_empty(value));
        if held.is_some() && decision.keep.contains_key(name) {
            continue;
        }
        match &intent.value {
            AttributeIntent::Set(value) => {
                after.insert(name.to_string(), json!(value));
            }
            AttributeIntent::Clear => {
                after.remove(name.as_str());
            }
            // Whether the engine applied the value is not known here; a foreign one stays.
            AttributeIntent::Withdraw => {}
        }
    }
}

fn apply_lists(after: &mut Map<String, Value>, decision: &Decision) {
    let held = after.get("lists").and_then(Value::as_array);
    let mut lists: Vec<i64> = held.into_iter().flatten().filter_map(Value::as_i64).collect();
    for (list, intent) in &decision.lists {
        let ListRef::Id(id) = list else { continue };
        lists.retain(|held| held != id);
        if intent.value == ListIntent::Add {
            lists.push(*id);
        }
    }
    lists.sort_unstable();
    after.insert("lists".to_owned(), lists.into());
}

/// What `second` would move in the contact that `first` left, and the line that moves it.
pub(crate) fn moves(
    applied: &Value,
    first: &Decision,
    second: &Decision,
) -> Option<(String, Option<Origin>)> {
    if first.verdict != second.verdict {
        let origin = second.verdict_origin.clone().or_else(|| first.verdict_origin.clone());
        return Some(("skipping or deleting".to_owned(), origin));
    }
    if let (Some(a), Some(b)) = (&first.email, &second.email)
        && a.value != b.value
    {
        return Some(("`email`".to_owned(), Some(b.origin.clone())));
    }
    // A list that is granted no more is left, so here the decision itself must stand still.
    for (list, granted) in first.lists.iter().chain(&second.lists) {
        let intents = [first, second].map(|d| d.lists.get(list).map(|traced| traced.value));
        let [before, after] = intents;
        // Whoever was taken off stays off without another word.
        if before != after && (before, after) != (Some(ListIntent::Remove), None) {
            let origin = second.lists.get(list).unwrap_or(granted).origin.clone();
            return Some((format!("the list {list}"), Some(origin)));
        }
    }
    let after = apply(applied, second);
    second
        .attributes
        .iter()
        .find(|(name, intent)| {
            let (after, held) = (after.get(name.as_str()), applied.get(name.as_str()));
            // What the first decision set is the engine's own, so that a second one can take it back.
            let takes_back = intent.value == AttributeIntent::Withdraw
                && first.attributes.get(*name).is_some_and(|set| {
                    matches!(&set.value, AttributeIntent::Set(value) if Some(&json!(value)) == held)
                });
            after != held || takes_back
        })
        .map(|(name, intent)| (format!("`{name}`"), Some(intent.origin.clone())))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
