//! The HTTP server: checks headers, counts requests, misbehaves when asked to, and keeps the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State as Extracted};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::drift::drift;
use super::mood::{Failure, Moods};
use super::oauth::{self, OAuth};
use super::refused::Refused;
use super::routes::{Call, Reply, answer};
use super::state::State;
use super::version::Version;
use super::webhook::Courier;
use crate::model::Clock;
use crate::sandbox::log::{Exchange, RequestLog};
use crate::sandbox::window::{EpochStanding, EpochWindow};

/// Nothing that a client of ours sends is nearly as large.
const MAX_BODY_BYTES: usize = 5 << 20;

/// What is said of the version: a sha, as the real one says (facts: Intercom section 1).
const SERVER_VERSION: &str = "3f1ec2f0a6f1f2a70bb6e0d7a0f4a8e2c0b5d6e7";

/// Values of `Intercom-Version` that the app reaches.
const VERSIONS: [&str; 23] = [
    "1.0", "1.1", "1.2", "1.3", "1.4", "2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7",
    "2.8", "2.9", "2.10", "2.11", "2.12", "2.13", "2.14", "2.15", "2.16", "Preview",
];

/// Behaviour that can change while the server runs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Manner {
    pub(super) latency: Option<Duration>,
    /// True: a 429 carries `Retry-After`, which the real one does not document.
    pub(super) says_retry_after: bool,
}

/// What the server and the handle share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) access_token: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) state: Mutex<State>,
    pub(super) window: Mutex<EpochWindow>,
    pub(super) manner: Mutex<Manner>,
    pub(super) moods: Moods,
    pub(super) oauth: Mutex<OAuth>,
    pub(super) log: RequestLog,
    pub(super) courier: Courier,
    pub(super) stop: CancellationToken,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A lock that a panic elsewhere does not poison: a fake may go on.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer on its way out.
#[derive(Debug)]
struct Outgoing {
    reply: Reply,
    content_type: &'static str,
    standing: Option<EpochStanding>,
    retry_after: Option<u64>,
    link: Option<String>,
}

/// What the handler does with the answer.
enum Outcome {
    Answer(Outgoing),
    /// Back to the app whose page the browser came from.
    Redirect(String),
    Silence,
}

/// Answers every request.
pub(super) async fn handle(
    Extracted(shared): Extracted<Arc<Shared>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        let mut refused = Response::new(Body::empty());
        *refused.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return refused;
    };
    let latency = lock(&shared.manner).latency;
    if let Some(latency) = latency {
        tokio::time::sleep(latency).await;
    }
    let request_id = request_id(&parts.headers);
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let outcome = match OAuth::is_at(path) {
        true => connect(&shared, &parts.method, path, query, &parts.headers, &body, &request_id),
        false => decide(&shared, &parts.method, path, query, &parts.headers, &body, &request_id),
    };
    let outgoing = match outcome {
        Outcome::Answer(outgoing) => outgoing,
        Outcome::Redirect(address) => return oauth::redirect(&address),
        Outcome::Silence => {
            shared.stop.cancelled().await;
            return Response::new(Body::empty());
        }
    };
    shared.log.record(Exchange {
        method: parts.method.as_str(),
        path,
        query,
        status: outgoing.reply.status,
        body: &body,
        response: &outgoing.reply.body,
    });
    respond(outgoing, &request_id)
}

/// Answers at the addresses of OAuth, which take no token and count towards no limit.
fn connect(
    shared: &Shared,
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: &Bytes,
    request_id: &str,
) -> Outcome {
    let standing = EpochStanding {
        limit: None,
        remaining: u32::MAX,
        ends: shared.clock.now(),
        is_allowed: true,
    };
    if let Some(failure) = shared.moods.take(method.as_str(), path) {
        return fail(failure, standing, request_id);
    }
    let answered = lock(&shared.oauth).answer(method, path, query, headers, body);
    let reply = match answered {
        Ok(oauth::Answer::Redirect(address)) => return Outcome::Redirect(address),
        Ok(oauth::Answer::Reply(reply)) => reply,
        Err(refused) => Reply::json(refused.status, &refused.body(request_id)),
    };
    let content_type = "application/json; charset=utf-8";
    Outcome::Answer(Outgoing { reply, content_type, standing: None, retry_after: None, link: None })
}

fn decide(
    shared: &Shared,
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: &Bytes,
    request_id: &str,
) -> Outcome {
    let refuse = |refused: &Refused, standing| {
        let reply = Reply::json(refused.status, &refused.body(request_id));
        Outgoing {
            reply,
            content_type: "application/json; charset=utf-8",
            standing,
            retry_after: None,
            link: refused.link.clone(),
        }
    };
    if let Err(refused) = check_token(headers, &shared.access_token) {
        // Rate headers come with valid credentials only.
        return Outcome::Answer(refuse(&refused, None));
    }
    let now = shared.clock.now();
    let standing = lock(&shared.window).take(now);
    if !standing.is_allowed {
        let mut outgoing = refuse(&rate_limited(standing.limit), Some(standing));
        if lock(&shared.manner).says_retry_after {
            let wait = standing.ends.seconds() - now.seconds();
            outgoing.retry_after = Some(wait.max(1).unsigned_abs());
        }
        return Outcome::Answer(outgoing);
    }
    let failure = shared.moods.take(method.as_str(), path);
    if let Some(failure) = failure.filter(|failure| *failure != Failure::HangAfterEffect) {
        if failure == Failure::LostScroll {
            shared.state().companies.lose_scroll();
        }
        return fail(failure, standing, request_id);
    }
    let result =
        check_headers(headers).and_then(|()| parse_body(method, headers, body)).and_then(|body| {
            let version = version(headers);
            let call = Call { method: method.as_str(), path, query, body, now, version };
            let mut state = shared.state();
            let result = answer(&mut state, &call);
            if result.is_ok() {
                drift(&mut state, &call);
            }
            for notification in state.take_outbox() {
                shared.courier.queue(notification);
            }
            result
        });
    if failure == Some(Failure::HangAfterEffect) {
        return Outcome::Silence;
    }
    Outcome::Answer(match result {
        Ok(reply) => Outgoing {
            reply,
            content_type: "application/json; charset=utf-8",
            standing: Some(standing),
            retry_after: None,
            link: None,
        },
        Err(refused) => refuse(&refused, Some(standing)),
    })
}

fn fail(failure: Failure, standing: EpochStanding, request_id: &str) -> Outcome {
    let mut outgoing = Outgoing {
        reply: Reply { status: 200, body: Vec::new() },
        content_type: "application/json; charset=utf-8",
        standing: Some(standing),
        retry_after: None,
        link: None,
    };
    match failure {
        Failure::Hang | Failure::HangAfterEffect => return Outcome::Silence,
        Failure::EmptyBody => {}
        Failure::BadGateway => {
            outgoing.content_type = "text/html";
            let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
                        <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n\
                        </body>\r\n</html>\r\n";
            outgoing.reply = Reply { status: 502, body: page.as_bytes().to_vec() };
            outgoing.standing = None;
        }
        Failure::RateLimited { retry_after } => {
            let refused = rate_limited(standing.limit);
            outgoing.reply = Reply::json(429, &refused.body(request_id));
            outgoing.standing = Some(EpochStanding { remaining: 0, ..standing });
            outgoing.retry_after = retry_after.map(|wait| wait.as_millis().div_ceil(1000) as u64);
        }
        Failure::Status(status) => {
            let (code, message) = match status {
                401 => ("token_unauthorized", "Not authorized to access resource"),
                402 | 403 => ("api_plan_restricted", "Active subscription needed."),
                404 => ("not_found", "Resource Not Found"),
                408 => ("client_error", "Request Timeout"),
                503 => ("service_unavailable", "Sorry, the API service is temporarily unavailable"),
                400..500 => ("parameter_invalid", "Invalid"),
                _ => ("server_error", "An error occurred"),
            };
            let refused = Refused::new(status, code, message);
            outgoing.reply = Reply::json(status, &refused.body(request_id));
        }
        Failure::LostScroll => {
            let message = "Please restart the scroll operation";
            let refused = Refused::new(500, "server_error", message);
            outgoing.reply = Reply::json(500, &refused.body(request_id));
        }
        Failure::Refusal(status, code) => {
            let refused = Refused::new(status, code, "Refused");
            outgoing.reply = Reply::json(status, &refused.body(request_id));
        }
    }
    Outcome::Answer(outgoing)
}

fn rate_limited(limit: Option<u32>) -> Refused {
    let limit = limit.unwrap_or(0);
    let message = format!("Exceeded rate limit of {limit} in 10_seconds");
    Refused::new(429, "rate_limit_exceeded", message)
}

fn check_token(headers: &HeaderMap, access_token: &str) -> Result<(), Refused> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match given.and_then(|given| given.strip_prefix("Bearer ")) {
        Some(token) if token == access_token => Ok(()),
        _ => Err(Refused::new(401, "unauthorized", "Access Token Invalid")),
    }
}

/// What the request wants answers to look like.
fn version(headers: &HeaderMap) -> Version {
    let asked = headers.get("intercom-version").and_then(|value| value.to_str().ok());
    asked.map_or(Version::DEFAULT, Version::parse)
}

fn check_headers(headers: &HeaderMap) -> Result<(), Refused> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(version) = text(HeaderName::from_static("intercom-version"))
        && !VERSIONS.contains(&version)
    {
        let message = "Requested resource is not available in current API version.";
        return Err(Refused::new(400, "intercom_version_invalid", message));
    }
    let accepts = |accept: &str| {
        accept.split(',').any(|part| {
            let media = part.split(';').next().unwrap_or_default().trim();
            matches!(media, "application/json" | "application/*" | "*/*")
        })
    };
    if text(header::ACCEPT).is_some_and(|accept| !accepts(accept)) {
        let message = "The Accept header should send a media type of application/json";
        return Err(Refused::new(406, "media_type_not_acceptable", message));
    }
    Ok(())
}

fn parse_body(method: &Method, headers: &HeaderMap, body: &Bytes) -> Result<Value, Refused> {
    if body.is_empty() || method == Method::GET {
        return Ok(Value::Null);
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(|given| given.starts_with("application/json")) {
        let message = "The Content-Type header should send a media type of application/json";
        return Err(Refused::new(415, "media_type_not_acceptable", message));
    }
    serde_json::from_slice(body)
        .map_err(|_| Refused::new(400, "client_error", "There was a problem parsing your JSON"))
}

fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    given.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

fn respond(outgoing: Outgoing, request_id: &str) -> Response {
    let Outgoing { reply, content_type, standing, retry_after, link } = outgoing;
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("x-intercom-version", HeaderValue::from_static(SERVER_VERSION));
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", request_id);
    }
    // With its window off the sandbox still says something, as the real one always does.
    if let Some(EpochStanding { limit, remaining, ends, .. }) = standing {
        headers.insert("x-ratelimit-limit", limit.unwrap_or(100_000).into());
        headers.insert("x-ratelimit-remaining", remaining.min(100_000).into());
        headers.insert("x-ratelimit-reset", ends.seconds().into());
    }
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        headers.insert(header::LINK, link);
    }
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
