//! The calls of the API: from a checked request to its answer, without any I/O.

use serde::Serialize;
use serde_json::{Value, json};

use super::attribute::company_attributes;
use super::company_calls::{list_companies, scroll_companies, show_company};
use super::contact::Contact;
use super::contact_calls::{
    contact_companies, contact_notes, contact_subscriptions, contact_tags, create_contact,
    list_contacts, merge_contacts, search_contacts, show_contact,
};
use super::cursor::{Cursor, pages};
use super::refused::Refused;
use super::state::{SUBSCRIPTION_TYPES, State};
use super::write::Way;
use crate::model::Timestamp;

/// The most items of a page.
pub(super) const MAX_PER_PAGE: usize = 150;

/// The admin that the token belongs to.
pub(super) const ADMIN_ID: &str = "991267390";

/// A request whose headers were found good.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    /// `null` if there was none.
    pub(super) body: Value,
    pub(super) now: Timestamp,
}

/// A status and the bytes of the JSON that goes with it; no bytes at all for 202.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn json(status: u16, body: &impl Serialize) -> Self {
        Self { status, body: serde_json::to_vec(body).unwrap_or_default() }
    }
}

/// A page of a list, as contacts and companies have it.
#[derive(Debug, Serialize)]
pub(super) struct List<T> {
    pub(super) r#type: &'static str,
    pub(super) data: Vec<T>,
    pub(super) total_count: usize,
    pub(super) pages: Value,
}

/// Does what a request asks for.
pub(super) fn answer(state: &mut State, call: &Call<'_>) -> Result<Reply, Refused> {
    let segments: Vec<&str> = call.path.trim_matches('/').split('/').collect();
    match (call.method, segments.as_slice()) {
        ("GET", ["me"]) => ok(me(state, call.now)),
        ("GET", ["admins"]) => ok(admins()),
        ("GET", ["contacts"]) => list_contacts(state, call),
        ("POST", ["contacts"]) => create_contact(state, call),
        ("POST", ["contacts", "search"]) => search_contacts(state, call),
        ("POST", ["contacts", "merge"]) => merge_contacts(state, call),
        ("GET", ["contacts", id]) => show_contact(state, id),
        ("PUT", ["contacts", id]) => {
            state.update(id, &call.body, Way::Api, call.now)?;
            show_contact(state, id)
        }
        ("DELETE", ["contacts", id]) => ok(state.delete(id, call.now)?),
        ("POST", ["contacts", id, "archive"]) => {
            state.archive(id, call.now)?;
            ok(state.minimal(id, "archived", true))
        }
        ("POST", ["contacts", id, "unarchive"]) => {
            state.unarchive(id, call.now)?;
            ok(state.minimal(id, "archived", false))
        }
        ("GET", ["contacts", id, "tags"]) => contact_tags(state, id),
        ("POST", ["contacts", id, "tags"]) => {
            let tag = body_id(call)?;
            state.tag(id, tag, call.now)?;
            ok(tag_shown(state, tag, Some(call.now)))
        }
        ("DELETE", ["contacts", id, "tags", tag]) => {
            state.untag(id, tag, call.now)?;
            ok(tag_shown(state, tag, None))
        }
        ("GET", ["contacts", id, "companies"]) => contact_companies(state, id, call),
        ("POST", ["contacts", id, "companies"]) => {
            let company = body_id(call)?;
            state.attach_company(id, company, call.now)?;
            show_company(state, company)
        }
        ("DELETE", ["contacts", id, "companies", company]) => {
            state.detach_company(id, company, call.now)?;
            show_company(state, company)
        }
        ("GET", ["contacts", id, "subscriptions"]) => contact_subscriptions(state, id),
        ("GET", ["contacts", id, "notes"]) => contact_notes(state, id),
        ("GET", ["subscription_types"]) => {
            let all: Vec<Value> = SUBSCRIPTION_TYPES.iter().map(subscription_type).collect();
            ok(json!({"type": "list", "data": all}))
        }
        ("GET", ["tags"]) => list_tags(state),
        ("GET", ["data_attributes"]) => data_attributes(state, call),
        ("GET", ["companies", "scroll"]) => scroll_companies(state, call),
        ("POST", ["companies", "list"]) => list_companies(state, call),
        ("GET", ["companies", id]) => show_company(state, id),
        ("GET", ["conversations"]) => list_conversations(call),
        ("POST", ["conversations", "search"]) => search_conversations(call),
        ("POST", ["events"]) => take_event(state, call),
        _ => Err(Refused::no_resource()),
    }
}

pub(super) fn ok(body: Value) -> Result<Reply, Refused> {
    Ok(Reply::json(200, &body))
}

fn me(state: &State, now: Timestamp) -> Value {
    let zone = state.zone.iana_name().unwrap_or("Etc/UTC");
    json!({
        "type": "admin",
        "id": ADMIN_ID,
        "email": "admin@example.com",
        "name": "Sandbox Admin",
        "email_verified": true,
        "app": {
            "type": "app",
            "id_code": state.app_id,
            "name": "Sandbox",
            "created_at": now.seconds() - 86_400 * 1_000,
            "secure": false,
            "identity_verification": false,
            "timezone": zone,
            "region": "US",
        },
        "avatar": {"type": "avatar", "image_url": null},
        "has_inbox_seat": true,
    })
}

fn admins() -> Value {
    let admin = |id: &str, name: &str, email: &str| {
        json!({
            "type": "admin", "id": id, "name": name, "email": email,
            "away_mode_enabled": false, "away_mode_reassign": false, "has_inbox_seat": true,
            "team_ids": [],
        })
    };
    json!({"type": "admin.list", "admins": [
        admin(ADMIN_ID, "Sandbox Admin", "admin@example.com"),
        admin("991267391", "Fin", "operator@example.com"),
    ]})
}

/// `pagination` of a search: how many, and after what.
pub(super) fn search_page(
    call: &Call<'_>,
    default: usize,
) -> Result<(usize, Option<Cursor>), Refused> {
    let pagination = call.body.get("pagination");
    let member = |key: &str| pagination.and_then(|p| p.get(key)).filter(|v| !v.is_null());
    let wanted = member("per_page").map(|value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let cursor =
        member("starting_after").map(|value| Cursor::decode(value.as_str().unwrap_or("-")));
    Ok((per_page(wanted.as_deref(), default)?, cursor.transpose()?))
}

pub(super) fn tag_shown(state: &State, id: &str, applied_at: Option<Timestamp>) -> Value {
    let mut tag = json!({"type": "tag", "id": id, "name": state.tags.get(id)});
    if let (Some(at), Some(tag)) = (applied_at, tag.as_object_mut()) {
        tag.insert("applied_at".to_owned(), json!(at.seconds()));
        tag.insert("applied_by".to_owned(), json!({"type": "admin", "id": ADMIN_ID}));
    }
    tag
}

fn list_tags(state: &State) -> Result<Reply, Refused> {
    let tags: Vec<Value> = state.tags.keys().map(|id| tag_shown(state, id, None)).collect();
    ok(json!({"type": "list", "data": tags}))
}

pub(super) fn numbered_pages(page: usize, per_page: usize, total: usize, path: &str) -> Value {
    let total_pages = total.div_ceil(per_page.max(1));
    let next = (page < total_pages).then(|| {
        let page = page + 1;
        format!("https://api.intercom.io{path}?per_page={per_page}&page={page}")
    });
    json!({
        "type": "pages", "next": next, "page": page, "per_page": per_page,
        "total_pages": total_pages,
    })
}

pub(super) fn subscription_type((id, name, consent_type): &(&str, &str, &str)) -> Value {
    let translation = json!({"name": name, "description": "", "locale": "en"});
    json!({
        "type": "subscription",
        "id": id,
        "state": "live",
        "consent_type": consent_type,
        "default_translation": translation,
        "translations": [translation],
        "content_types": ["email"],
    })
}

fn data_attributes(state: &State, call: &Call<'_>) -> Result<Reply, Refused> {
    match query_value(call, "model").as_deref() {
        Some("contact") => ok(state.attributes.list()),
        Some("company") => ok(company_attributes(state.companies.iter())),
        Some("conversation") | None => ok(json!({"type": "list", "data": []})),
        Some(_) => Err(Refused::invalid("model must be contact, company or conversation")),
    }
}

/// There are no conversations yet.
fn no_conversations(per_page: usize) -> Result<Reply, Refused> {
    ok(json!({
        "type": "conversation.list", "conversations": [], "total_count": 0,
        "pages": pages(1, per_page, 0, None),
    }))
}

fn list_conversations(call: &Call<'_>) -> Result<Reply, Refused> {
    let per_page = per_page(query_value(call, "per_page").as_deref(), 20)?;
    query_value(call, "starting_after").map(|text| Cursor::decode(&text)).transpose()?;
    no_conversations(per_page)
}

fn search_conversations(call: &Call<'_>) -> Result<Reply, Refused> {
    if call.body.get("query").is_none() {
        return Err(Refused::missing("query is required"));
    }
    let (per_page, _) = search_page(call, 20)?;
    no_conversations(per_page)
}

fn take_event(state: &State, call: &Call<'_>) -> Result<Reply, Refused> {
    let member = |key: &str| call.body.get(key).and_then(Value::as_str);
    if member("event_name").is_none_or(str::is_empty) {
        return Err(Refused::missing("event_name is required"));
    }
    if !call.body.get("created_at").is_some_and(Value::is_i64) {
        return Err(Refused::missing("created_at is required"));
    }
    let live = |contact: &&Contact| !contact.is_archived;
    let contact = match (member("id"), member("user_id"), member("email")) {
        (Some(id), _, _) => state.contacts.live(id),
        (None, Some(user_id), _) => state.contacts.with_external_id(user_id).filter(live),
        (None, None, Some(email)) => state.contacts.with_email(email).find(live),
        (None, None, None) => {
            return Err(Refused::missing("one of id, user_id or email is required"));
        }
    };
    match contact {
        Some(_) => Ok(Reply { status: 202, body: Vec::new() }),
        None => Err(Refused::no_contact()),
    }
}

fn body_id<'a>(call: &'a Call<'_>) -> Result<&'a str, Refused> {
    let id = call.body.get("id").and_then(Value::as_str);
    id.ok_or_else(|| Refused::missing("id is required"))
}

pub(super) fn query_value(call: &Call<'_>, key: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(call.query.as_bytes());
    pairs.find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
}

pub(super) fn per_page(text: Option<&str>, default: usize) -> Result<usize, Refused> {
    let Some(text) = text else { return Ok(default) };
    let wanted = text.parse().ok().filter(|wanted| (1..=MAX_PER_PAGE).contains(wanted));
    wanted.ok_or_else(|| Refused::invalid(format!("per_page must be between 1 and {MAX_PER_PAGE}")))
}

pub(super) fn page_number(text: Option<&str>) -> Result<usize, Refused> {
    let Some(text) = text else { return Ok(1) };
    let page = text.parse().ok().filter(|page| *page >= 1);
    page.ok_or_else(|| Refused::invalid("page must be a number from 1"))
}
