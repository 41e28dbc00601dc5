//! Sends calls to Intercom, within its rate limit, until they succeed or cannot. What can be read and
//! written is in `reads.rs` and in one file for each noun.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::error::IntercomError;
use super::wire;
use crate::http::{
    Backoff, HttpClient, HttpOptions, Lane, LimitStatus, Limiter, Observation, Permit, Rate,
    Request, Response, Retry, random_fraction,
};
use crate::model::{Clock, Timestamp};

/// How often one call is sent before its error goes up.
const MAX_ATTEMPTS: u32 = 6;
/// Intercom counts calls in windows of this length (facts: Intercom section 2).
const WINDOW: Duration = Duration::from_secs(10);

/// Searches have a budget of their own beside that: one a second on average.
const SEARCHES: Rate = Rate { calls: 10, per: Duration::from_secs(10) };
/// One scroll over companies starts in a minute; its pages are calls like others.
const SCROLLS: Rate = Rate { calls: 1, per: Duration::from_secs(60) };

/// How Intercom is reached.
#[derive(Debug, Clone)]
pub struct IntercomSettings {
    /// The regional host, such as `https://api.eu.intercom.io`.
    pub base_url: Url,
    /// The token of a private app, or the one that OAuth gave.
    pub access_token: SecretString,
    /// What `Intercom-Version` says, such as `2.11`.
    pub api_version: String,
    /// Calls in 10 seconds, until Intercom's headers say otherwise.
    pub requests_per_window: u32,
    /// Longest time of one call, response included.
    pub timeout: Duration,
    /// The wait after the first failure; it doubles up to sixty times this.
    pub backoff_base: Duration,
}

impl IntercomSettings {
    /// How long a call may take, as a rule.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// API 2.11, 50 calls in 10 seconds, 30 seconds a call, backoff from one second.
    pub fn new(base_url: Url, access_token: SecretString) -> Self {
        Self {
            base_url,
            access_token,
            api_version: "2.11".to_owned(),
            requests_per_window: 50,
            timeout: Self::TIMEOUT,
            backoff_base: Duration::from_secs(1),
        }
    }
}

/// Reads Intercom. A cheap clone shares connections and rate limit.
///
/// Every call waits for its turn in its lane; refusals for rate, failures of the service and broken
/// connections are repeated with backoff, six attempts in all, before an error goes up.
#[derive(Clone)]
pub struct IntercomClient(Arc<Inner>);

struct Inner {
    http: HttpClient,
    base_url: Url,
    authorization: HeaderValue,
    version: HeaderValue,
    limiter: Limiter,
    searches: Limiter,
    scrolls: Limiter,
    backoff: Backoff,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for IntercomClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntercomClient")
            .field("host", &self.0.base_url.host_str())
            .finish_non_exhaustive()
    }
}

/// A successful answer and the time before its request was sent.
pub(super) struct Answer {
    pub(super) value: Value,
    pub(super) began: Timestamp,
    pub(super) received: Timestamp,
}

/// Whether a call whose outcome is unknown may be made again.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Repeat {
    Always,
    /// Only if Intercom certainly did not see it: a second call would skip a page, or make something
    /// twice.
    IfNotAccepted,
}

impl IntercomClient {
    /// A client for one workspace.
    ///
    /// # Errors
    ///
    /// [`IntercomError::Settings`] if the URL, token or version cannot be sent.
    pub fn new(settings: IntercomSettings, clock: Arc<dyn Clock>) -> Result<Self, IntercomError> {
        if settings.base_url.cannot_be_a_base() {
            return Err(IntercomError::Settings { reason: "`base_url` is not an HTTP address" });
        }
        let bearer = format!("Bearer {}", settings.access_token.expose_secret().trim());
        let mut authorization = HeaderValue::from_str(&bearer).map_err(|_| {
            IntercomError::Settings { reason: "`access_token` holds characters that no token has" }
        })?;
        authorization.set_sensitive(true);
        let version = HeaderValue::from_str(&settings.api_version)
            .map_err(|_| IntercomError::Settings { reason: "`api_version` is not a version" })?;
        let options = HttpOptions { timeout: settings.timeout, ..HttpOptions::default() };
        let rate = Rate { calls: settings.requests_per_window, per: WINDOW };
        Ok(Self(Arc::new(Inner {
            http: HttpClient::new(&options)?,
            base_url: settings.base_url,
            authorization,
            version,
            limiter: Limiter::new("intercom", &[rate]),
            searches: Limiter::new("intercom searches", &[SEARCHES]),
            scrolls: Limiter::new("intercom scrolls", &[SCROLLS]),
            backoff: Backoff::from_base(settings.backoff_base),
            clock,
        })))
    }

    /// How much of the rate limit is used.
    pub fn limit_status(&self) -> LimitStatus {
        self.0.limiter.status()
    }

    /// Takes the right to start a scroll over companies, if one may start now.
    pub(super) async fn begin_scroll(&self, lane: Lane) -> Result<(), IntercomError> {
        let permit = tokio::time::timeout(Duration::ZERO, self.0.scrolls.acquire(lane)).await;
        permit.map(Permit::finish).map_err(|_| IntercomError::ScrollTooSoon)
    }

    pub(super) async fn get(
        &self,
        lane: Lane,
        path: &[&str],
        query: &[(&str, String)],
        route: &'static str,
    ) -> Result<Answer, IntercomError> {
        let request = self.request(Method::GET, path, query, route)?;
        self.call(lane, request, Repeat::Always).await
    }

    /// A write that says what should happen, and whose answer is read: not repeated if its outcome is
    /// unknown.
    pub(super) async fn post(
        &self,
        lane: Lane,
        path: &[&str],
        body: &Value,
        route: &'static str,
    ) -> Result<Answer, IntercomError> {
        let request = self.saying(Method::POST, path, body, route)?;
        self.call(lane, request, Repeat::IfNotAccepted).await
    }

    /// A write that says how things should be: saying it twice is saying it once.
    pub(super) async fn put(
        &self,
        lane: Lane,
        path: &[&str],
        body: &Value,
        route: &'static str,
    ) -> Result<Answer, IntercomError> {
        let request = self.saying(Method::PUT, path, body, route)?;
        self.call(lane, request, Repeat::Always).await
    }

    /// Removes something. One that was removed by an attempt whose answer was lost counts as removed.
    pub(super) async fn delete(
        &self,
        lane: Lane,
        path: &[&str],
        body: Option<&Value>,
        route: &'static str,
    ) -> Result<(), IntercomError> {
        match self.effect(lane, Method::DELETE, path, body, route).await {
            Err(error) if error.outcome_unknown() => {
                match self.effect(lane, Method::DELETE, path, body, route).await {
                    Err(error) if error.is_not_found() => Ok(()),
                    second => second,
                }
            }
            first => first,
        }
    }

    /// A write whose answer says nothing: it may be empty. Not repeated if its outcome is unknown.
    pub(super) async fn effect(
        &self,
        lane: Lane,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
        route: &'static str,
    ) -> Result<(), IntercomError> {
        let request = match body {
            Some(body) => self.saying(method, path, body, route)?,
            None => self.request(method, path, &[], route)?,
        };
        match self.call(lane, request, Repeat::IfNotAccepted).await {
            // Events are answered 202 and nothing more.
            Ok(_) | Err(IntercomError::Empty) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A request with a body.
    fn saying(
        &self,
        method: Method,
        path: &[&str],
        body: &Value,
        route: &'static str,
    ) -> Result<Request, IntercomError> {
        let request = self.request(method, path, &[], route)?;
        Ok(request.body("application/json", body.to_string()))
    }

    pub(super) fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        route: &'static str,
    ) -> Result<Request, IntercomError> {
        // As segments of a URL these would name another object.
        if path.iter().any(|segment| matches!(*segment, "." | "..")) {
            return Err(IntercomError::NotFound { merged_into: None });
        }
        let mut url = self.0.base_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let json = || HeaderValue::from_static("application/json");
        Ok(Request::new(method, url, route)
            .header(AUTHORIZATION, self.0.authorization.clone())
            .header(ACCEPT, json())
            .header(CONTENT_TYPE, json())
            .header(HeaderName::from_static("intercom-version"), self.0.version.clone()))
    }

    /// Sends a request until it succeeds, cannot succeed, or has been sent six times.
    pub(super) async fn call(
        &self,
        lane: Lane,
        request: Request,
        repeat: Repeat,
    ) -> Result<Answer, IntercomError> {
        let mut attempt = 0;
        loop {
            let error = match self.attempt(lane, &request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let floor = match error.retry() {
                Retry::Never => return Err(error),
                Retry::After(wait) => Some(wait),
                Retry::Now => None,
            };
            let wait = self.0.backoff.delay(attempt, floor, random_fraction());
            let is_refused = matches!(error, IntercomError::RateLimited { .. });
            if is_refused {
                self.0.limiter.block_until(Instant::now() + wait);
            }
            attempt += 1;
            let may_repeat = repeat == Repeat::Always || error.was_not_accepted();
            if attempt >= MAX_ATTEMPTS || !may_repeat {
                return Err(error);
            }
            tracing::debug!(attempt, http.route = request.route(), reason = %error, "call is repeated");
            if !is_refused {
                tokio::time::sleep(wait).await;
            }
        }
    }

    async fn attempt(&self, lane: Lane, request: &Request) -> Result<Answer, IntercomError> {
        let _search = match request.route().ends_with("/search") {
            true => Some(self.0.searches.acquire(lane).await),
            false => None,
        };
        let permit = self.0.limiter.acquire(lane).await;
        let began = self.0.clock.now();
        let response = self.0.http.send(request.clone()).await;
        permit.finish();
        let response = response?;
        let received = self.0.clock.now();
        if let Some(seen) = observation(&response, received) {
            self.0.limiter.observe(seen);
        }
        let value = interpret(&response, request.route(), received)?;
        Ok(Answer { value, began, received })
    }
}

/// The JSON of a success, or what the response says instead.
fn interpret(
    response: &Response,
    route: &'static str,
    now: Timestamp,
) -> Result<Value, IntercomError> {
    if response.status.is_success() {
        if response.body.trim_ascii().is_empty() {
            return Err(IntercomError::Empty);
        }
        let value = serde_json::from_slice(&response.body);
        return value.map_err(|_| malformed(route, "it is not JSON"));
    }
    match wire::error_of(response) {
        IntercomError::RateLimited { .. } => {
            let retry_after = response.retry_after().or_else(|| reset(response, now));
            Err(IntercomError::RateLimited { retry_after })
        }
        error => Err(error),
    }
}

/// What the rate headers say, if all of them are there (facts: Intercom section 2).
fn observation(response: &Response, now: Timestamp) -> Option<Observation> {
    let limit = response.header("x-ratelimit-limit")?.parse().ok()?;
    let remaining = response.header("x-ratelimit-remaining")?.parse().ok()?;
    let reset = reset(response, now)?;
    Some(Observation { limit, remaining, reset, per: WINDOW })
}

/// The time until the window ends, which the header gives in epoch seconds. At most a minute: a
/// clock that is wrong must not stop the client.
fn reset(response: &Response, now: Timestamp) -> Option<Duration> {
    let at: i64 = response.header("x-ratelimit-reset")?.parse().ok()?;
    let seconds = at.saturating_sub(now.seconds()).clamp(0, 60);
    Some(Duration::from_secs(seconds.unsigned_abs()))
}

pub(super) fn malformed(route: &'static str, reason: &'static str) -> IntercomError {
    IntercomError::Malformed { route, reason }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
