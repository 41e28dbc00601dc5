//! The calls under `/contacts` that take more than a line.

use std::sync::Arc;

use serde_json::{Value, json};

use super::contact::{Contact, ContactView, Form};
use super::cursor::{Cursor, pages};
use super::refused::Refused;
use super::routes::{
    Call, List, MAX_PER_PAGE, Reply, numbered_pages, ok, page_number, per_page, query_value,
    search_page, subscription_type, tag_shown,
};
use super::search::Query;
use super::sort::Sort;
use super::state::{SUBSCRIPTION_TYPES, State};
use super::write::Way;

pub(super) fn list_contacts(state: &State, call: &Call<'_>) -> Result<Reply, Refused> {
    let per_page = per_page(query_value(call, "per_page").as_deref(), 50)?;
    let cursor = query_value(call, "starting_after").map(|text| Cursor::decode(&text));
    let cursor = cursor.transpose()?;
    let wanted = per_page + 1;
    let mut found: Vec<&Contact> = match &cursor {
        None => state.contacts.newest_first().take(wanted).collect(),
        Some(Cursor { sort_value, id, .. }) => {
            let updated_ms = sort_value.as_i64().unwrap_or(i64::MAX);
            state.contacts.after(updated_ms, id).take(wanted).collect()
        }
    };
    let has_more = found.len() > per_page;
    found.truncate(per_page);
    let page = cursor.map_or(1, |cursor| cursor.page);
    let next = found.last().filter(|_| has_more).map(|last| Cursor {
        sort_value: Value::from(last.updated_ms),
        id: last.id.to_string(),
        page: page + 1,
    });
    let total = state.contacts.live_count();
    contact_list(state, found, total, pages(page, per_page, total, next.as_ref()))
}

pub(super) fn search_contacts(state: &State, call: &Call<'_>) -> Result<Reply, Refused> {
    let Some(query) = call.body.get("query") else {
        return Err(Refused::missing("query is required"));
    };
    let query = Query::parse(query, &state.attributes, &state.zone)?;
    let sort = Sort::parse(call.body.get("sort"), &state.attributes)?;
    let (per_page, cursor) = search_page(call, 50)?;
    let mut found: Vec<_> = state
        .contacts
        .newest_first()
        .filter_map(|contact| state.lag.seen(contact, call.now))
        .filter(|contact| query.matches(contact, &state.zone))
        .map(|contact| (sort.key(contact), contact))
        .collect();
    let total = found.len();
    found.retain(|(key, contact)| {
        cursor.as_ref().is_none_or(|cursor| sort.is_after(cursor, key, &contact.id))
    });
    found.sort_by(|a, b| sort.compare((&a.0, &a.1.id), (&b.0, &b.1.id)));
    let has_more = found.len() > per_page;
    found.truncate(per_page);
    let page = cursor.map_or(1, |cursor| cursor.page);
    let next = found.last().filter(|_| has_more).map(|(key, last)| Cursor {
        sort_value: key.to_value(),
        id: last.id.to_string(),
        page: page + 1,
    });
    let found = found.into_iter().map(|(_, contact)| contact).collect();
    contact_list(state, found, total, pages(page, per_page, total, next.as_ref()))
}

fn contact_list(
    state: &State,
    found: Vec<&Contact>,
    total_count: usize,
    pages: Value,
) -> Result<Reply, Refused> {
    let data: Vec<ContactView<'_>> =
        found.into_iter().map(|contact| state.view(contact, Form::Rest)).collect();
    Ok(Reply::json(200, &List { r#type: "list", data, total_count, pages }))
}

pub(super) fn create_contact(state: &mut State, call: &Call<'_>) -> Result<Reply, Refused> {
    let id = state.create(&call.body, Way::Api, call.now)?;
    show_contact(state, &id)
}

pub(super) fn merge_contacts(state: &mut State, call: &Call<'_>) -> Result<Reply, Refused> {
    let member = |key: &str| call.body.get(key).and_then(Value::as_str);
    let (Some(from), Some(into)) = (member("from"), member("into")) else {
        return Err(Refused::missing("from and into are required"));
    };
    state.merge(from, into, call.now)?;
    show_contact(state, into)
}

pub(super) fn show_contact(state: &State, id: &str) -> Result<Reply, Refused> {
    Ok(Reply::json(200, &state.view(state.live(id)?, Form::Rest)))
}

pub(super) fn contact_tags(state: &State, id: &str) -> Result<Reply, Refused> {
    let tags = &state.live(id)?.tags;
    let tags: Vec<Value> = tags.iter().map(|tag| tag_shown(state, tag, None)).collect();
    ok(json!({"type": "list", "data": tags}))
}

pub(super) fn contact_companies(
    state: &State,
    id: &str,
    call: &Call<'_>,
) -> Result<Reply, Refused> {
    let held = &state.live(id)?.companies;
    let per_page = per_page(query_value(call, "per_page").as_deref(), 50)?;
    let page = page_number(query_value(call, "page").as_deref())?;
    let shown = held.iter().skip((page - 1).saturating_mul(per_page)).take(per_page);
    let data: Vec<Value> = shown
        .filter_map(|company| state.companies.get(company))
        .map(|company| company.rest(&state.app_id))
        .collect();
    // Lists by page number give the address of the next page instead of a cursor.
    let path = format!("/contacts/{id}/companies");
    let pages = numbered_pages(page, per_page, held.len(), &path);
    Ok(Reply::json(200, &List { r#type: "list", data, total_count: held.len(), pages }))
}

pub(super) fn contact_subscriptions(state: &State, id: &str) -> Result<Reply, Refused> {
    let contact = state.live(id)?;
    let held = |id: &str| {
        let lists = [&contact.opted_out, &contact.opted_in];
        lists.into_iter().flatten().any(|held| **held == *id)
    };
    let shown = SUBSCRIPTION_TYPES.iter().filter(|subscription| held(subscription.0));
    let shown: Vec<Value> = shown.map(subscription_type).collect();
    ok(json!({"type": "list", "data": shown}))
}

pub(super) fn contact_notes(state: &State, id: &str) -> Result<Reply, Refused> {
    let contact = state.live(id)?;
    let note = |note: &Arc<str>| {
        json!({
            "type": "note", "id": note, "body": "<p>Note</p>",
            "created_at": contact.created_ms.div_euclid(1000),
            "contact": {"type": "contact", "id": id},
        })
    };
    let data: Vec<Value> = contact.notes.iter().map(note).collect();
    let total_count = data.len();
    let pages = numbered_pages(1, MAX_PER_PAGE, total_count, &format!("/contacts/{id}/notes"));
    Ok(Reply::json(200, &List { r#type: "list", data, total_count, pages }))
}
