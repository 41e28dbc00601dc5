//! The calls under `/companies`.

use serde_json::{Value, json};

use super::refused::Refused;
use super::routes::{Call, List, Reply, numbered_pages, ok, page_number, per_page, query_value};
use super::state::State;

pub(super) fn scroll_companies(state: &mut State, call: &Call<'_>) -> Result<Reply, Refused> {
    let parameter = query_value(call, "scroll_param").filter(|text| !text.is_empty());
    let (page, parameter) = state.companies.scroll(parameter.as_deref(), call.now)?;
    let data: Vec<Value> = page.into_iter().map(|company| company.rest(&state.app_id)).collect();
    ok(json!({
        "type": "list", "data": data, "pages": null, "total_count": null,
        "scroll_param": parameter,
    }))
}

pub(super) fn list_companies(state: &State, call: &Call<'_>) -> Result<Reply, Refused> {
    let per_page = per_page(query_value(call, "per_page").as_deref(), 15)?;
    let page = page_number(query_value(call, "page").as_deref())?;
    let (found, total_count) = state.companies.list(page, per_page)?;
    let data: Vec<Value> = found.into_iter().map(|company| company.rest(&state.app_id)).collect();
    let pages = numbered_pages(page, per_page, total_count, "/companies/list");
    Ok(Reply::json(200, &List { r#type: "list", data, total_count, pages }))
}

pub(super) fn show_company(state: &State, id: &str) -> Result<Reply, Refused> {
    let company = state.companies.get(id).ok_or_else(Refused::no_company)?;
    ok(company.rest(&state.app_id))
}
