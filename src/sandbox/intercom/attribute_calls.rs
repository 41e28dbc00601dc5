//! The calls under `/data_attributes`.

use serde_json::{Value, json};

use super::attribute::company_attributes;
use super::refused::Refused;
use super::routes::{Call, Reply, ok, query_value};
use super::state::State;

/// The number of the first custom attribute of contacts.
const FIRST_ID: usize = 11_000_001;

/// What a request under `/data_attributes` asks for; `rest` are the segments after it.
pub(super) fn data_attributes(
    state: &mut State,
    call: &Call<'_>,
    rest: &[&str],
) -> Result<Reply, Refused> {
    match (call.method, rest) {
        ("GET", []) => list(state, call),
        ("POST", []) => create(state, call),
        ("PUT", [id]) => update(state, call, id),
        _ => Err(Refused::no_resource()),
    }
}

fn list(state: &State, call: &Call<'_>) -> Result<Reply, Refused> {
    match query_value(call, "model").as_deref() {
        Some("contact") => ok(state.attributes.list()),
        Some("company") => ok(company_attributes(state.companies.iter())),
        Some("conversation") | None => ok(json!({"type": "list", "data": []})),
        Some(_) => Err(Refused::invalid("model must be contact, company or conversation")),
    }
}

/// Makes an attribute of contacts. One of companies is there as soon as a company has it.
fn create(state: &mut State, call: &Call<'_>) -> Result<Reply, Refused> {
    let text = |key: &str| {
        let text = call.body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.ok_or_else(|| Refused::missing(format!("{key} is required")))
    };
    let (name, data_type) = (text("name")?, text("data_type")?);
    match text("model")? {
        "contact" => state.attributes.define(name, data_type)?,
        "company" => {
            return ok(json!({
                "type": "data_attribute", "model": "company", "name": name,
                "full_name": format!("custom_attributes.{name}"), "label": name,
                "data_type": data_type, "api_writable": true, "custom": true, "archived": false,
            }));
        }
        _ => return Err(Refused::invalid("model must be contact or company")),
    }
    let listed = state.attributes.list();
    let all = listed.get("data").and_then(Value::as_array);
    let made = all.and_then(|all| {
        all.iter().find(|attribute| attribute.get("name").and_then(Value::as_str) == Some(name))
    });
    ok(made.cloned().unwrap_or_default())
}

/// Answers the attribute: archiving and describing one changes nothing that the fake shows.
fn update(state: &State, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    if call.body.get("data_type").is_some() {
        return Err(Refused::invalid("data_type cannot be changed"));
    }
    let number = id.parse::<usize>().ok().filter(|id| *id >= FIRST_ID);
    let listed = state.attributes.list();
    let all = listed.get("data").and_then(Value::as_array);
    let found = all.zip(number).and_then(|(all, number)| {
        let is_it = |a: &&Value| a.get("id").and_then(Value::as_u64) == Some(number as u64);
        all.iter().find(is_it)
    });
    let missing = || Refused::new(404, "field_not_found", "We couldn't find that data attribute");
    ok(found.cloned().ok_or_else(missing)?)
}
