//! The calls of the API: from a checked request to its answer, without any I/O.

use serde::Serialize;
use serde_json::{Value, json};

use super::attribute_calls::data_attributes;
use super::company_calls::companies;
use super::contact_calls::contacts;
use super::conversation_calls::conversations;
use super::cursor::Cursor;
use super::export::exports;
use super::refused::Refused;
use super::segment::{segment, segments};
use super::state::{SUBSCRIPTION_TYPES, State};
use super::tag_calls::tags;
use super::version::Version;
use super::{admin, event};
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
    /// What `Intercom-Version` asks for.
    pub(super) version: Version,
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
    let path: Vec<&str> = call.path.trim_matches('/').split('/').collect();
    match (call.method, path.as_slice()) {
        ("GET", ["me"]) => ok(me(state, call.now)),
        ("GET", ["admins"]) => ok(admin::admins()),
        ("GET", ["admins", id]) => {
            let missing = || Refused::new(404, "admin_not_found", "Admin not found");
            ok(admin::admin(id).ok_or_else(missing)?)
        }
        ("GET", ["teams"]) => ok(admin::teams()),
        ("GET", ["teams", id]) if *id == admin::TEAM_ID.to_string() => ok(admin::team()),
        (_, ["contacts", rest @ ..]) => contacts(state, call, rest),
        (_, ["conversations", rest @ ..]) => conversations(state, call, rest),
        (_, ["companies", rest @ ..]) => companies(state, call, rest),
        (_, ["tags", rest @ ..]) => tags(state, call, rest),
        (_, ["export", rest @ ..]) => exports(state, call, rest),
        (_, ["data_attributes", rest @ ..]) => data_attributes(state, call, rest),
        ("GET", ["segments"]) => {
            let counts = query_value(call, "include_count").as_deref() == Some("true");
            ok(segments(state, counts))
        }
        ("GET", ["segments", id]) => {
            ok(segment(state, id, false).ok_or_else(Refused::no_resource)?)
        }
        ("GET", ["subscription_types"]) => {
            let all: Vec<Value> = SUBSCRIPTION_TYPES.iter().map(subscription_type).collect();
            ok(json!({"type": "list", "data": all}))
        }
        ("POST", ["events"]) => event::submit(state, call),
        ("GET", ["events"]) => event::list(state, call),
        ("POST", ["events", "summaries"]) => event::hand_in_summary(state, call),
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

/// The query of a list: how many, and after what.
pub(super) fn list_page(
    call: &Call<'_>,
    default: usize,
) -> Result<(usize, Option<Cursor>), Refused> {
    let cursor = query_value(call, "starting_after").map(|text| Cursor::decode(&text));
    Ok((per_page(query_value(call, "per_page").as_deref(), default)?, cursor.transpose()?))
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

pub(super) fn body_id<'a>(call: &'a Call<'_>) -> Result<&'a str, Refused> {
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
