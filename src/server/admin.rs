//! `/api/v1/connectors/intercom/…`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State as Extracted};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::State;
use super::error::HttpError;
use crate::config::check_api_version;
use crate::engine::{
    Connected, EngineError, HandInError, NewToken, ResourceView, Status, SyncRequest,
};
use crate::model::Timestamp;
use crate::store::{Acceptance, Resource, Sync, SyncKind, SyncState, Way};

/// What a sync may be asked to read, and what of it can be read so far.
const RESOURCES: [(&str, Option<Resource>); 5] = [
    ("contacts", Some(Resource::Contacts)),
    ("conversations", Some(Resource::Conversations)),
    ("companies", Some(Resource::Companies)),
    ("events", Some(Resource::Events)),
    ("tags", Some(Resource::Tags)),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SyncBody {
    #[serde(rename = "type")]
    kind: SyncKind,
    #[serde(default)]
    resources: Option<Vec<String>>,
    #[serde(default)]
    since: Value,
    #[serde(default, rename = "backfillEvents")]
    backfill_events: bool,
}

/// Queues a sync. What cannot be read yet is named in the answer.
pub(super) async fn start_sync(
    Extracted(state): Extracted<Arc<State>>,
    request: Request,
) -> Result<Response, HttpError> {
    let asked: SyncBody = json_body(&state, request).await?;
    if !state.engine.config().intercom.enabled {
        let reason = "the connector is not enabled: set `connectors.intercom.enabled`";
        return Err(HttpError::Conflict(reason.to_owned()));
    }
    let since = since(&asked.since, state.engine.now())?;
    let (resources, ignored) = resources(asked.resources.as_deref().unwrap_or_default())?;
    let request = SyncRequest { kind: asked.kind, resources, since };
    if let Some(off) = request.turned_off(&state.engine.config().intercom.sync) {
        let name = off.as_str();
        let reason = format!(
            "`connectors.intercom.sync.{name}` is false: set it to true, or leave out `{name}`"
        );
        return Err(HttpError::Conflict(reason));
    }
    let sync = if asked.backfill_events {
        state.engine.request_backfill(request).await?
    } else {
        state.engine.request_sync(request).await?
    };
    let place = format!("/api/v1/connectors/intercom/syncs/{}", sync.id);
    let answer = Json(json!({"id": sync.id, "ignored": ignored}));
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, place)], answer).into_response())
}

/// A date, a date-time, or seconds since 1970; null and nothing are none.
fn since(value: &Value, now: Timestamp) -> Result<Option<Timestamp>, HttpError> {
    if value.is_null() {
        return Ok(None);
    }
    let since = Timestamp::parse(value).ok_or_else(|| {
        let forms = "a date such as `2023-01-01`, an ISO 8601 time, or seconds since 1970";
        HttpError::BadRequest(format!("`since` is not {forms}"))
    })?;
    if since > now {
        let hint = "a number counts seconds since 1970";
        return Err(HttpError::BadRequest(format!("`since` lies in the future; {hint}")));
    }
    Ok(Some(since))
}

/// Splits what was asked for into what can be read and what cannot be yet. Nothing asked for is all
/// that is configured.
fn resources(names: &[String]) -> Result<(Vec<Resource>, Vec<&'static str>), HttpError> {
    let (mut readable, mut ignored) = (Vec::new(), Vec::new());
    for name in names {
        match RESOURCES.iter().find(|(known, _)| known == name) {
            Some((_, Some(resource))) if !readable.contains(resource) => readable.push(*resource),
            Some((known, None)) if !ignored.contains(known) => ignored.push(*known),
            Some(_) => {}
            None => {
                let known: Vec<_> = RESOURCES.iter().map(|(name, _)| *name).collect();
                let name: String = name.chars().take(64).collect();
                let known = known.join(", ");
                let text = format!("`{name}` is not a resource; there are {known}");
                return Err(HttpError::BadRequest(text));
            }
        }
    }
    if readable.is_empty() && !ignored.is_empty() {
        let ignored = ignored.join(", ");
        return Err(HttpError::BadRequest(format!("nothing to read: {ignored} not available yet")));
    }
    Ok((readable, ignored))
}

/// A sync as the API shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SyncView {
    id: String,
    #[serde(rename = "type")]
    kind: SyncKind,
    state: SyncState,
    resources: BTreeMap<Resource, ResourceView>,
    since: Option<String>,
    requested_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
    error: Option<String>,
}

impl SyncView {
    fn new(sync: Sync, swept: &BTreeMap<Resource, Timestamp>, now: Timestamp) -> Self {
        let Sync { id, kind, state, resources, since, requested_at, .. } = sync;
        let iso = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let resources = resources.into_iter().map(|(resource, progress)| {
            let swept = swept.get(&resource).copied();
            (resource, ResourceView::new(&progress, swept, now))
        });
        let resources = resources.collect();
        Self {
            id,
            kind,
            state,
            resources,
            since: iso(since),
            requested_at: requested_at.to_string(),
            started_at: iso(sync.started_at),
            finished_at: iso(sync.finished_at),
            error: sync.error,
        }
    }
}

/// How a sync stands.
pub(super) async fn sync(
    Extracted(state): Extracted<Arc<State>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, HttpError> {
    let id = id.map(|Path(id)| id).unwrap_or_default();
    let sync = state.engine.sync(&id).await?;
    let sync = sync.ok_or_else(|| HttpError::NotFound("there is no such sync".to_owned()))?;
    let swept = state.engine.swept().await?;
    Ok(Json(SyncView::new(sync, &swept, state.engine.now())))
}

/// The engine's figures.
pub(super) async fn status(
    Extracted(state): Extracted<Arc<State>>,
) -> Result<Json<Status>, HttpError> {
    Ok(Json(state.engine.status().await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HandedIn {
    topic: String,
    data: Value,
}

/// A notification that a trusted caller hands in, without a signature.
pub(super) async fn hand_in(
    Extracted(state): Extracted<Arc<State>>,
    request: Request,
) -> Result<Response, HttpError> {
    let HandedIn { topic, data } = json_body(&state, request).await?;
    match state.engine.hand_in(&topic, &data).await {
        Ok(Acceptance::Accepted) => Ok(Json(json!({"accepted": true})).into_response()),
        Ok(Acceptance::Duplicate) => {
            Ok(Json(json!({"accepted": false, "duplicate": true})).into_response())
        }
        Err(HandInError::Unusable(unusable)) => Err(HttpError::BadRequest(unusable.to_string())),
        Err(HandInError::Engine(error @ EngineError::Store(_))) => {
            tracing::warn!("a notification could not be stored: {error}");
            Err(HttpError::StoreUnwell)
        }
        Err(HandInError::Engine(error)) => Err(error.into()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ConnectBody {
    access_token: String,
    #[serde(default)]
    api_version: Option<String>,
}

/// Connects a workspace by its token: once Intercom knows it, it is kept and in force.
pub(super) async fn connect(
    Extracted(state): Extracted<Arc<State>>,
    request: Request,
) -> Result<Json<Connected>, HttpError> {
    let ConnectBody { access_token, api_version } = json_body(&state, request).await?;
    let token = access_token.trim();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        let text = "`accessToken` is empty, or has characters that no token has";
        return Err(HttpError::BadRequest(text.to_owned()));
    }
    if let Some(version) = &api_version {
        check_api_version(version).map_err(|error| {
            let version: String = version.chars().take(16).collect();
            HttpError::BadRequest(format!("`apiVersion` cannot be `{version}`: {error}"))
        })?;
    }
    let token = SecretString::from(token);
    Ok(Json(state.engine.connect(NewToken { token, api_version, way: Way::Token }).await?))
}

/// Reads a body of JSON, whatever its `Content-Type`.
pub(super) async fn json_body<T: DeserializeOwned>(
    state: &State,
    request: Request,
) -> Result<T, HttpError> {
    let (head, body) = request.into_parts();
    let body = state.bodies.read(&head.headers, body).await?;
    serde_json::from_slice(&body)
        .map_err(|error| HttpError::BadRequest(format!("the body cannot be used: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_that_has_been() {
        fn case(value: Value, expected: Result<Option<i64>, ()>) {
            let found = since(&value, Timestamp::from_seconds(1_800_000_000));
            let found = found.map(|at| at.map(Timestamp::seconds)).map_err(|_| ());
            assert_eq!(found, expected, "{value}");
        }
        case(Value::Null, Ok(None));
        case(json!("2023-01-01"), Ok(Some(1_672_531_200)));
        case(json!("2023-01-01T02:00:00+02:00"), Ok(Some(1_672_531_200)));
        case(json!(1_672_531_200), Ok(Some(1_672_531_200)));
        case(json!(1_672_531_200_000_i64), Err(()));
        case(json!("last week"), Err(()));
        case(json!(true), Err(()));
    }

    #[test]
    fn resources_are_known_by_name_and_read_once() {
        fn case(names: &[&str], expected: Result<(&[Resource], &[&str]), &str>) {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let found = resources(&names).map_err(|error| error.to_string());
            let found = found.as_ref().map(|(a, b)| (a.as_slice(), b.as_slice()));
            assert_eq!(found.map_err(String::as_str), expected, "{names:?}");
        }
        use Resource::{Contacts, Events, Tags};
        case(&[], Ok((&[], &[])));
        case(&["tags", "contacts", "tags"], Ok((&[Tags, Contacts], &[])));
        case(&["contacts", "events"], Ok((&[Contacts, Events], &[])));
        case(
            &["people"],
            Err(
                "`people` is not a resource; there are contacts, conversations, companies, events, tags",
            ),
        );
    }
}
