//! The calls under `/contacts` that take more than a line.

use std::sync::Arc;

use serde_json::{Value, json};

use super::company_calls::show_company;
use super::contact::{Contact, ContactView, Form};
use super::cursor::{Cursor, pages};
use super::refused::Refused;
use super::routes::{
    Call, List, MAX_PER_PAGE, Reply, body_id, list_page, numbered_pages, ok, page_number, per_page,
    query_value, search_page, subscription_type, tag_shown,
};
use super::search::Query;
use super::segment::{segment, segment_of};
use super::sort::Sort;
use super::state::{SUBSCRIPTION_TYPES, State};
use super::write::Way;

/// What a request under `/contacts` asks for; `rest` are the segments after it.
pub(super) fn contacts(
    state: &mut State,
    call: &Call<'_>,
    rest: &[&str],
) -> Result<Reply, Refused> {
    match (call.method, rest) {
        ("GET", []) => list_contacts(state, call),
        ("POST", []) => create_contact(state, call),
        ("POST", ["search"]) => search_contacts(state, call),
        ("POST", ["merge"]) => merge_contacts(state, call),
        ("GET", ["find_by_external_id", id]) => contact_by_external_id(state, call, id),
        ("GET", [id]) => show_contact(state, call, id),
        ("PUT", [id]) => {
            state.update(id, &call.body, Way::Api, call.now)?;
            show_contact(state, call, id)
        }
        ("DELETE", [id]) => ok(state.delete(id, call.now)?),
        ("POST", [id, "archive"]) => {
            state.archive(id, call.now)?;
            ok(state.minimal(id, "archived", true))
        }
        ("POST", [id, "unarchive"]) => {
            state.unarchive(id, call.now)?;
            ok(state.minimal(id, "archived", false))
        }
        (_, [id, what, rest @ ..]) => hanging_on(state, call, id, what, rest),
        _ => Err(Refused::no_resource()),
    }
}

/// The lists that hang on a contact.
fn hanging_on(
    state: &mut State,
    call: &Call<'_>,
    id: &str,
    what: &str,
    rest: &[&str],
) -> Result<Reply, Refused> {
    match (call.method, what, rest) {
        ("GET", "tags", []) => contact_tags(state, id),
        ("POST", "tags", []) => {
            let tag = body_id(call)?;
            state.tag(id, tag, call.now)?;
            ok(tag_shown(state, tag, Some(call.now)))
        }
        ("DELETE", "tags", [tag]) => {
            state.untag(id, tag, call.now)?;
            ok(tag_shown(state, tag, None))
        }
        ("GET", "companies", []) => contact_companies(state, id, call),
        ("POST", "companies", []) => {
            let company = body_id(call)?;
            state.attach_company(id, company, call.now)?;
            show_company(state, company)
        }
        ("DELETE", "companies", [company]) => {
            state.detach_company(id, company, call.now)?;
            show_company(state, company)
        }
        ("GET", "segments", []) => contact_segments(state, id),
        ("GET", "subscriptions", []) => contact_subscriptions(state, id),
        ("POST", "subscriptions", []) => subscribe(state, call, id),
        ("DELETE", "subscriptions", [subscription]) => {
            ok(state.forget_subscription(id, subscription, call.now)?)
        }
        ("GET", "notes", []) => contact_notes(state, id),
        ("POST", "notes", []) => write_note(state, call, id),
        _ => Err(Refused::no_resource()),
    }
}

fn list_contacts(state: &State, call: &Call<'_>) -> Result<Reply, Refused> {
    let (per_page, cursor) = list_page(call, 50)?;
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

fn search_contacts(state: &State, call: &Call<'_>) -> Result<Reply, Refused> {
    let Some(query) = call.body.get("query") else {
        return Err(Refused::missing("query is required"));
    };
    let query = Query::parse(query, &state.attributes, &state.zone)?;
    let sort = Sort::parse(call.body.get("sort"), &state.attributes)?;
    let (per_page, cursor) = search_page(call, 50)?;
    let mut found: Vec<_> = state
        .contacts
        .newest_first()
        .filter_map(|contact| state.lag.seen(&contact.id, contact, call.now))
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

fn create_contact(state: &mut State, call: &Call<'_>) -> Result<Reply, Refused> {
    let id = state.create(&call.body, Way::Api, call.now)?;
    show_contact(state, call, &id)
}

fn merge_contacts(state: &mut State, call: &Call<'_>) -> Result<Reply, Refused> {
    let member = |key: &str| call.body.get(key).and_then(Value::as_str);
    let (Some(from), Some(into)) = (member("from"), member("into")) else {
        return Err(Refused::missing("from and into are required"));
    };
    state.merge(from, into, call.now)?;
    show_contact(state, call, into)
}

fn show_contact(state: &State, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    match (state.contacts.live(id), state.survivors.get(id)) {
        (Some(contact), _) => Ok(Reply::json(200, &state.view(contact, Form::Rest))),
        (None, Some(survivor)) if call.version.is_since(16) => Err(Refused::merged(survivor)),
        (None, _) => Err(Refused::no_contact()),
    }
}

/// Since API 2.13.
fn contact_by_external_id(
    state: &State,
    call: &Call<'_>,
    external_id: &str,
) -> Result<Reply, Refused> {
    if !call.version.is_since(13) {
        return Err(Refused::no_resource());
    }
    let found = state.contacts.with_external_id(external_id);
    show_contact(state, call, found.map_or("", |contact| &contact.id))
}

fn contact_segments(state: &State, id: &str) -> Result<Reply, Refused> {
    let segment = segment(state, segment_of(state.live(id)?), false);
    ok(json!({"type": "list", "data": [segment]}))
}

fn subscribe(state: &mut State, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    let consent = call.body.get("consent_type").and_then(Value::as_str);
    let consent = consent.ok_or_else(|| Refused::missing("consent_type is required"))?;
    let subscription = body_id(call)?;
    ok(state.set_subscription(id, subscription, consent, call.now)?)
}

fn write_note(state: &mut State, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    let body = call.body.get("body").and_then(Value::as_str);
    let body = body.ok_or_else(|| Refused::missing("body is required"))?;
    ok(state.note_contact(id, body, call.now)?)
}

fn contact_tags(state: &State, id: &str) -> Result<Reply, Refused> {
    let tags = &state.live(id)?.tags;
    let tags: Vec<Value> = tags.iter().map(|tag| tag_shown(state, tag, None)).collect();
    ok(json!({"type": "list", "data": tags}))
}

fn contact_companies(state: &State, id: &str, call: &Call<'_>) -> Result<Reply, Refused> {
    let held = &state.live(id)?.companies;
    let per_page = per_page(query_value(call, "per_page").as_deref(), 50)?;
    let page = page_number(query_value(call, "page").as_deref())?;
    let shown = held.iter().skip((page - 1).saturating_mul(per_page)).take(per_page);
    let data: Vec<Value> = shown
        .filter_map(|company| state.companies.get(company))
        .map(|company| state.company_rest(company))
        .collect();
    // Lists by page number give the address of the next page instead of a cursor.
    let path = format!("/contacts/{id}/companies");
    let pages = numbered_pages(page, per_page, held.len(), &path);
    Ok(Reply::json(200, &List { r#type: "list", data, total_count: held.len(), pages }))
}

fn contact_subscriptions(state: &State, id: &str) -> Result<Reply, Refused> {
    let contact = state.live(id)?;
    let held = |id: &str| {
        let lists = [&contact.opted_out, &contact.opted_in];
        lists.into_iter().flatten().any(|held| **held == *id)
    };
    let shown = SUBSCRIPTION_TYPES.iter().filter(|subscription| held(subscription.0));
    let shown: Vec<Value> = shown.map(subscription_type).collect();
    ok(json!({"type": "list", "data": shown}))
}

fn contact_notes(state: &State, id: &str) -> Result<Reply, Refused> {
    let contact = state.live(id)?;
    let created_at = contact.created_ms.div_euclid(1000);
    let note = |note: &Arc<str>| state.show_note(id, note, created_at);
    let data: Vec<Value> = contact.notes.iter().map(note).collect();
    let total_count = data.len();
    let pages = numbered_pages(1, MAX_PER_PAGE, total_count, &format!("/contacts/{id}/notes"));
    Ok(Reply::json(200, &List { r#type: "list", data, total_count, pages }))
}
