//! Connecting a public app: `/oauth/intercom/…` for browsers, and what `tajo connectors connect` asks.
//!
//! Each attempt has a state of its own: random, good for ten minutes and for one answer. It proves
//! that whoever comes back from Intercom was sent there from here.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State as Extracted};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::time::Instant;
use url::Url;

use super::State;
use super::admin::json_body;
use super::error::HttpError;
use crate::engine::{ConnectError, Connected};
use crate::intercom::{Granted, OAuthApp};

/// How long somebody may take in Intercom.
const LIFE: Duration = Duration::from_secs(600);
/// How many attempts are remembered; the oldest is forgotten for a new one.
const ATTEMPTS: usize = 256;
/// Below the public address.
const CALLBACK: &str = "/oauth/intercom/callback";

/// The attempts of the last ten minutes.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<Vec<Attempt>>);

/// One attempt to connect.
struct Attempt {
    state: String,
    began: Instant,
    stage: Stage,
}

/// How far an attempt has come.
#[derive(Debug, Clone)]
enum Stage {
    /// Somebody is in Intercom, or never came back.
    Waiting,
    /// He came back; Intercom is asked.
    Returned,
    /// A workspace was connected.
    Connected(Box<Connected>),
    /// None was.
    Failed(String),
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Attempts {
    /// Begins an attempt; its state.
    fn begin(&self, now: Instant) -> Result<String, HttpError> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(|error| {
            tracing::error!("no random bytes: {error}");
            HttpError::Internal
        })?;
        let state = hex::encode(bytes);
        let mut attempts = self.all();
        attempts.retain(|attempt| now.duration_since(attempt.began) < LIFE);
        if attempts.len() >= ATTEMPTS {
            attempts.remove(0);
        }
        attempts.push(Attempt { state: state.clone(), began: now, stage: Stage::Waiting });
        Ok(state)
    }

    /// Uses a state up; false: there is none such, it is too old, or it was used.
    fn take(&self, state: &str, now: Instant) -> bool {
        let mut attempts = self.all();
        match find(&mut attempts, state, now) {
            Some(attempt) if matches!(attempt.stage, Stage::Waiting) => {
                attempt.stage = Stage::Returned;
                true
            }
            _ => false,
        }
    }

    fn end(&self, state: &str, stage: Stage) {
        if let Some(attempt) = find(&mut self.all(), state, Instant::now()) {
            attempt.stage = stage;
        }
    }

    fn stage(&self, state: &str, now: Instant) -> Option<Stage> {
        find(&mut self.all(), state, now).map(|attempt| attempt.stage.clone())
    }

    fn all(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds an attempt by comparing with each in constant time.
fn find<'a>(attempts: &'a mut [Attempt], state: &str, now: Instant) -> Option<&'a mut Attempt> {
    let mut found = None;
    for attempt in attempts {
        if bool::from(attempt.state.as_bytes().ct_eq(state.as_bytes())) {
            found = Some(attempt);
        }
    }
    found.filter(|attempt| now.duration_since(attempt.began) < LIFE)
}

/// Sends a browser to Intercom.
pub(super) async fn start(Extracted(state): Extracted<Arc<State>>, headers: HeaderMap) -> Response {
    match begin(&state) {
        Ok((_, url)) => sent_to(&url),
        Err(error) => refusal(&headers, error),
    }
}

/// Takes somebody in who comes back from Intercom.
pub(super) async fn callback(
    Extracted(state): Extracted<Arc<State>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let granted = Granted::from_query(query.as_deref().unwrap_or_default());
    match finish(&state, granted, Proof::Required).await {
        Ok(connected) => done(&headers, &connected),
        Err(error) => refusal(&headers, error),
    }
}

/// Begins an attempt for a command: the address to open, and the state to ask about.
pub(super) async fn begin_for_command(
    Extracted(state): Extracted<Arc<State>>,
) -> Result<Response, HttpError> {
    let (attempt, url) = begin(&state)?;
    let answer = json!({
        "authorizeUrl": url.as_str(), "state": attempt, "expiresIn": LIFE.as_secs(),
    });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// How an attempt stands.
pub(super) async fn attempt(
    Extracted(state): Extracted<Arc<State>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, HttpError> {
    let id = id.map(|Path(id)| id).unwrap_or_default();
    let stage = state.attempts.stage(&id, Instant::now());
    let stage = stage.ok_or_else(|| HttpError::NotFound("there is no such attempt".to_owned()))?;
    Ok(Json(match stage {
        Stage::Waiting | Stage::Returned => json!({"status": "waiting"}),
        Stage::Connected(connected) => json!({"status": "connected", "connection": connected}),
        Stage::Failed(reason) => json!({"status": "failed", "detail": reason}),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pasted {
    code: String,
    #[serde(default)]
    state: Option<String>,
}

/// Takes the code from a command whose user pasted it. He has the token of the API, so a state is
/// compared only if there is one.
pub(super) async fn take_code(
    Extracted(state): Extracted<Arc<State>>,
    request: Request,
) -> Result<Json<Connected>, HttpError> {
    let Pasted { code, state: attempt } = json_body(&state, request).await?;
    let granted = Granted { code: Some(code), state: attempt, error: None };
    finish(&state, granted, Proof::IfAny).await.map(Json)
}

/// The workspaces that are connected.
pub(super) async fn connections(Extracted(state): Extracted<Arc<State>>) -> Json<Value> {
    Json(json!(state.engine.connections()))
}

fn begin(state: &State) -> Result<(String, Url), HttpError> {
    let app = state.engine.oauth_app()?;
    let attempt = state.attempts.begin(Instant::now())?;
    let url = app.authorize_url(&attempt, back_to(state, &app).as_ref());
    Ok((attempt, url))
}

/// Where Intercom shall send people back to. Without a public address that is what the app has
/// registered, for no other is allowed; a fake on this machine allows any.
fn back_to(state: &State, app: &OAuthApp) -> Option<Url> {
    let public = state.engine.config().server.public_url.clone();
    let own = || {
        let address = state.public.get().filter(|_| app.is_local())?;
        Url::parse(&format!("http://{address}")).ok()
    };
    let mut url = public.or_else(own)?;
    let path = format!("{}{CALLBACK}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Some(url)
}

/// Whether a state must come along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Required,
    IfAny,
}

async fn finish(state: &State, granted: Granted, proof: Proof) -> Result<Connected, HttpError> {
    let Granted { code, state: attempt, error } = granted;
    let is_known = attempt.as_deref().map(|attempt| state.attempts.take(attempt, Instant::now()));
    if is_known == Some(false) || (is_known.is_none() && proof == Proof::Required) {
        return Err(HttpError::BadRequest(
            "the state is missing, unknown, used or older than ten minutes: begin again".to_owned(),
        ));
    }
    let result = exchange(state, code, error).await;
    if let Some(attempt) = attempt {
        state.attempts.end(
            &attempt,
            match &result {
                Ok(connected) => Stage::Connected(Box::new(connected.clone())),
                Err(error) => Stage::Failed(error.to_string()),
            },
        );
    }
    result
}

async fn exchange(
    state: &State,
    code: Option<String>,
    error: Option<String>,
) -> Result<Connected, HttpError> {
    match error.as_deref() {
        Some("access_denied") => {
            let text = "access was denied in Intercom, so nothing was connected";
            return Err(HttpError::Forbidden(text.to_owned()));
        }
        Some(error) => {
            let word: String = error.chars().filter(|c| is_word(*c)).take(64).collect();
            let text = format!("intercom did not grant access (`{word}`): begin again");
            return Err(HttpError::BadRequest(text));
        }
        None => {}
    }
    let code = code.ok_or_else(|| HttpError::BadRequest("the code is missing".to_owned()))?;
    Ok(state.engine.connect_by_code(&code).await?)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

impl From<ConnectError> for HttpError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Engine(error) => error.into(),
            ConnectError::Disabled | ConnectError::NoApp => Self::Conflict(error.to_string()),
            ConnectError::Unreachable(_) => Self::BadGateway(error.to_string()),
            ConnectError::OAuth(crate::intercom::OAuthError::Intercom(ref inner))
                if !inner.is_refused_access() =>
            {
                Self::BadGateway(error.to_string())
            }
            _ => Self::BadRequest(error.to_string()),
        }
    }
}

fn sent_to(url: &Url) -> Response {
    let mut response = StatusCode::FOUND.into_response();
    match HeaderValue::from_str(url.as_str()) {
        Ok(url) => response.headers_mut().insert(header::LOCATION, url),
        Err(_) => return HttpError::Internal.into_response(),
    };
    guarded(response)
}

fn done(headers: &HeaderMap, connected: &Connected) -> Response {
    if !is_browser(headers) {
        return guarded(Json(connected).into_response());
    }
    let name = connected.workspace.as_deref().unwrap_or(&connected.app_id);
    let mut text = format!("The workspace {} is connected.", escaped(name));
    for note in &connected.notes {
        text.push_str(&format!("</p><p>Note: {}.", escaped(note)));
    }
    page(StatusCode::OK, "Connected", &text)
}

/// A refusal as whoever asked reads it: a page, or problem details.
fn refusal(headers: &HeaderMap, error: HttpError) -> Response {
    if !is_browser(headers) {
        return guarded(error.into_response());
    }
    let text = format!("Not connected: {}.", escaped(&error.to_string()));
    page(error.status_code(), "Not connected", &text)
}

fn is_browser(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn page(status: StatusCode, title: &str, text: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\
         <body><p>{text}</p><p>You can close this page.</p></body></html>\n"
    );
    let mut response = (status, html).into_response();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    guarded(response)
}

/// The address of these answers holds a code or a state: nobody shall keep it or pass it on.
fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_good_once_and_for_ten_minutes() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let first = attempts.begin(start).unwrap();
        let second = attempts.begin(start).unwrap();
        assert_ne!(first, second);
        assert!(!attempts.take("", start));
        assert!(!attempts.take(&first[..63], start));
        assert!(attempts.take(&first, start));
        assert!(!attempts.take(&first, start), "used");
        assert!(!attempts.take(&second, start + LIFE), "too old");
        assert!(attempts.take(&second, start + LIFE - Duration::from_secs(1)));
    }

    #[test]
    fn attempts_that_nobody_ends_do_not_pile_up() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let first = attempts.begin(start).unwrap();
        for _ in 0..ATTEMPTS {
            attempts.begin(start).unwrap();
        }
        assert_eq!(attempts.all().len(), ATTEMPTS);
        assert!(!attempts.take(&first, start));
        attempts.begin(start + LIFE).unwrap();
        assert_eq!(attempts.all().len(), 1);
    }

    #[test]
    fn nothing_in_a_page_is_markup() {
        assert_eq!(escaped("<b a='1'>&\""), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;");
    }
}
