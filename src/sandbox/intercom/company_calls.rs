//! The calls under `/companies`.

use serde_json::{Value, json};

use super::company::Company;
use super::contact::Form;
use super::refused::Refused;
use super::routes::{Call, List, Reply, numbered_pages, ok, page_number, per_page, query_value};
use super::state::State;

fn scroll_companies(state: &mut State, call: &Call<'_>) -> Result<Reply, Refused> {
    let parameter = query_value(call, "scroll_param").filter(|text| !text.is_empty());
    let (page, parameter) = state.companies.scroll(parameter.as_deref(), call.now)?;
    let page: Vec<Company> = page.into_iter().cloned().collect();
    let data: Vec<Value> = page.iter().map(|company| state.company_rest(company)).collect();
    ok(json!({
        "type": "list", "data": data, "pages": null, "total_count": null,
        "scroll_param": parameter,
    }))
}

fn list_companies(state: &State, call: &Call<'_>) -> Result<Reply, Refused> {
    let per_page = per_page(query_value(call, "per_page").as_deref(), 15)?;
    let page = page_number(query_value(call, "page").as_deref())?;
    let (found, total_count) = state.companies.list(page, per_page)?;
    let data: Vec<Value> = found.into_iter().map(|company| state.company_rest(company)).collect();
    let pages = numbered_pages(page, per_page, total_count, "/companies/list");
    Ok(Reply::json(200, &List { r#type: "list", data, total_count, pages }))
}

pub(super) fn show_company(state: &State, id: &str) -> Result<Reply, Refused> {
    let company = state.companies.get(id).ok_or_else(Refused::no_company)?;
    ok(state.company_rest(company))
}

/// What a request under `/companies` asks for; `rest` are the segments after it.
pub(super) fn companies(
    state: &mut State,
    call: &Call<'_>,
    rest: &[&str],
) -> Result<Reply, Refused> {
    match (call.method, rest) {
        ("GET", ["scroll"]) => scroll_companies(state, call),
        ("POST", ["list"]) => list_companies(state, call),
        ("GET", []) => find_companies(state, call),
        ("POST", []) => {
            let id = state.create_company(&call.body, call.now)?;
            show_company(state, &id)
        }
        ("GET", [id]) => show_company(state, id),
        ("PUT", [id]) => {
            state.update_company(id, &call.body, call.now)?;
            show_company(state, id)
        }
        ("DELETE", [id]) => {
            state.delete_company(id, call.now)?;
            ok(json!({"id": id, "object": "company", "deleted": true}))
        }
        ("GET", [id, "contacts"]) => company_contacts(state, call, id),
        ("GET", [id, "segments"]) => {
            state.companies.get(id).ok_or_else(Refused::no_company)?;
            ok(json!({"type": "list", "data": []}))
        }
        _ => Err(Refused::no_resource()),
    }
}

/// By `company_id` or `name` one company; by `tag_id` a list.
fn find_companies(state: &State, call: &Call<'_>) -> Result<Reply, Refused> {
    let query = |key: &str| query_value(call, key).filter(|text| !text.is_empty());
    let found = match (query("company_id"), query("name"), query("tag_id")) {
        (Some(company_id), ..) => state.companies.by_company_id(&company_id),
        (None, Some(name), _) => state.companies.iter().find(|company| {
            company.fields.get("name").and_then(Value::as_str) == Some(name.as_str())
        }),
        (None, None, Some(tag)) => return tagged_companies(state, call, &tag),
        (None, None, None) => return list_companies(state, call),
    };
    ok(state.company_rest(found.ok_or_else(Refused::no_company)?))
}

fn tagged_companies(state: &State, call: &Call<'_>, tag: &str) -> Result<Reply, Refused> {
    let per_page = per_page(query_value(call, "per_page").as_deref(), 15)?;
    let page = page_number(query_value(call, "page").as_deref())?;
    let tagged = state.companies.iter().filter(|c| c.tags.iter().any(|held| **held == *tag));
    let all: Vec<Value> = tagged.map(|company| state.company_rest(company)).collect();
    numbered(all, page, per_page, "/companies")
}

fn company_contacts(state: &State, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    let company = state.companies.get(id).ok_or_else(Refused::no_company)?;
    let per_page = per_page(query_value(call, "per_page").as_deref(), 50)?;
    let page = page_number(query_value(call, "page").as_deref())?;
    let members = company.members.iter().filter_map(|member| state.contacts.live(member));
    let all: Vec<Value> =
        members.map(|contact| state.view(contact, Form::Rest).to_value()).collect();
    numbered(all, page, per_page, &format!("/companies/{id}/contacts"))
}

fn numbered(all: Vec<Value>, page: usize, per_page: usize, path: &str) -> Result<Reply, Refused> {
    let total_count = all.len();
    let pages = numbered_pages(page, per_page, total_count, path);
    let shown = all.into_iter().skip((page - 1).saturating_mul(per_page)).take(per_page);
    Ok(Reply::json(200, &List { r#type: "list", data: shown.collect(), total_count, pages }))
}
