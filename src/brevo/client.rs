//! The client: one call at a time through its bucket, repeated where that is safe.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::fmt::rfc2822;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use super::call::{Bucket, Call, CallCounter, CallCounts, CallKind};
use super::error::{BrevoError, ErrorKind};
use super::events;
use super::wire::Account;
use crate::http::{
    Backoff, HttpClient, HttpOptions, Lane, LimitStatus, Limiter, Observation, Permit, Rate,
    Request, Response, TransportErrorKind, random_fraction,
};
use crate::model::{Clock, Timestamp};

/// How often a call is sent before its failure goes up.
const MAX_ATTEMPTS: u32 = 4;
/// How often a call takes a 429 before that goes up.
const MAX_REFUSALS: u32 = 10;
/// The longest wait for a bucket that is used up, and the longest that is believed of one that Brevo
/// counts by the second: `reset` has been seen to be absurd (facts: Brevo section 9).
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// What Brevo allows, until its headers say otherwise. No rate means no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketRates {
    /// `/contacts...`.
    pub contacts: Vec<Rate>,
    /// `/events`.
    pub events: Vec<Rate>,
    /// Everything else.
    pub other: Vec<Rate>,
}

impl BucketRates {
    /// The limits of every plan.
    pub fn general() -> Self {
        Self::of(10, 100)
    }

    /// The limits of Professional and Enterprise.
    pub fn advanced() -> Self {
        Self::of(20, 200)
    }

    /// The limits that Enterprise can book.
    pub fn extended() -> Self {
        Self::of(60, 600)
    }

    /// No limits of our own; what headers say is still kept.
    pub fn unlimited() -> Self {
        Self { contacts: Vec::new(), events: Vec::new(), other: Vec::new() }
    }

    fn of(per_second: u32, other_per_hour: u32) -> Self {
        let by_second = vec![
            Rate { calls: per_second, per: SECOND },
            Rate { calls: per_second.saturating_mul(3600), per: HOUR },
        ];
        Self {
            contacts: by_second.clone(),
            events: by_second,
            other: vec![Rate { calls: other_per_hour, per: HOUR }],
        }
    }
}

/// How the client reaches Brevo.
#[derive(Debug, Clone)]
pub struct BrevoSettings {
    /// Such as `https://api.brevo.com/v3`.
    pub base_url: Url,
    /// The API key.
    pub api_key: SecretString,
    /// What Brevo allows.
    pub rates: BucketRates,
    /// The wait before the first repetition; later ones double.
    pub backoff_base: Duration,
    /// Longest time of one call, response included.
    pub timeout: Duration,
    /// Where calls are noted that count for an hour; none: nowhere.
    pub book: Option<Arc<dyn ChargeBook>>,
}

impl BrevoSettings {
    /// How long a call may take, as a rule.
    pub const TIMEOUT: Duration = Duration::from_secs(60);
}

/// Where calls are noted that count for an hour, so that a restart does not spend the hour twice.
#[async_trait]
pub trait ChargeBook: fmt::Debug + Send + Sync {
    /// Notes one call that is about to be made, durably; false if that cannot be done.
    async fn charge(&self) -> bool;
}

/// A client of Brevo's API; a cheap clone shares connections, limits and counts.
///
/// Each call waits for its bucket, in its lane. A 429 blocks the bucket until Brevo's reset and is
/// repeated; if that is a minute away or more, the call ends as [`BrevoError::RateLimited`]. 425, 5xx,
/// time-outs and broken connections are repeated three times with backoff, except where a call that
/// may have been accepted must not be made twice (imports, new lists and folders).
#[derive(Debug, Clone)]
pub struct BrevoClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: HttpClient,
    base_url: Url,
    /// Marked as sensitive, so that it does not print.
    api_key: HeaderValue,
    contacts: Limiter,
    events: Limiter,
    other: Limiter,
    backoff: Backoff,
    counter: Arc<CallCounter>,
    book: Option<Arc<dyn ChargeBook>>,
    clock: Arc<dyn Clock>,
}

impl BrevoClient {
    /// A client that has not called anything yet.
    ///
    /// # Errors
    ///
    /// [`BrevoError::Unusable`] if the key or the address cannot stand in a request.
    pub fn new(settings: BrevoSettings, clock: Arc<dyn Clock>) -> Result<Self, BrevoError> {
        let rates = &settings.rates;
        let contacts = Limiter::new("brevo.contacts", &rates.contacts);
        let events = Limiter::new("brevo.events", &rates.events);
        let other = Limiter::new("brevo.other", &rates.other);
        Self::with(settings, [contacts, events, other], Arc::default(), clock)
    }

    /// The client that takes this one's place when settings change: what was called so far counts on.
    ///
    /// # Errors
    ///
    /// [`BrevoError::Unusable`] if the key or the address cannot stand in a request.
    pub fn renewed(&self, settings: BrevoSettings) -> Result<Self, BrevoError> {
        let Inner { contacts, events, other, counter, clock, .. } = &*self.0;
        let rates = &settings.rates;
        contacts.set_rates(&rates.contacts);
        events.set_rates(&rates.events);
        other.set_rates(&rates.other);
        let limiters = [contacts, events, other].map(Limiter::clone);
        Self::with(settings, limiters, Arc::clone(counter), Arc::clone(clock))
    }

    fn with(
        settings: BrevoSettings,
        [contacts, events, other]: [Limiter; 3],
        counter: Arc<CallCounter>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BrevoError> {
        let BrevoSettings { base_url, api_key, backoff_base, timeout, book, .. } = settings;
        if base_url.cannot_be_a_base() || !base_url.has_host() {
            return Err(BrevoError::Unusable(
                "brevo's `base_url` must be an http(s) address".into(),
            ));
        }
        let mut key = HeaderValue::from_str(api_key.expose_secret().trim())
            .map_err(|_| BrevoError::Unusable("brevo's API key cannot stand in a header".into()))?;
        key.set_sensitive(true);
        let http = HttpClient::new(&HttpOptions { timeout, ..HttpOptions::default() })
            .map_err(|error| BrevoError::Unusable(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            http,
            base_url,
            api_key: key,
            contacts,
            events,
            other,
            backoff: Backoff::from_base(backoff_base),
            counter,
            book,
            clock,
        })))
    }

    /// Counts calls of an earlier process that count for an hour, given by how long ago they were
    /// made.
    pub fn recall(&self, ages: &[Duration]) {
        self.0.other.recall(ages);
    }

    /// Takes what may be called in a second to be used up: an earlier process may have called until a
    /// moment ago.
    pub fn assume_used(&self) {
        self.0.contacts.assume_used(SECOND);
        self.0.events.assume_used(SECOND);
    }

    /// The account of the key, which is the check of the key. Costs one of 100 calls an hour.
    pub async fn account(&self, lane: Lane) -> Result<Account, BrevoError> {
        let answer = self.send(lane, self.call(CallKind::Account, "/account")?).await?;
        read(CallKind::Account, &answer)
    }

    /// How the buckets stand: contacts, events, everything else.
    pub fn limit_status(&self) -> Vec<LimitStatus> {
        [&self.0.contacts, &self.0.events, &self.0.other].map(Limiter::status).into()
    }

    /// How many calls were made since the client was set up.
    pub fn calls(&self) -> CallCounts {
        self.0.counter.counts()
    }

    pub(super) fn call(&self, kind: CallKind, path: &str) -> Result<Call, BrevoError> {
        Call::new(kind, &self.0.base_url, path)
    }

    pub(super) fn base_url(&self) -> &Url {
        &self.0.base_url
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Sends a call until it is answered with 2xx, refused, or failed too often.
    pub(super) async fn send(&self, lane: Lane, call: Call) -> Result<Response, BrevoError> {
        let (mut failures, mut refusals) = (0, 0);
        loop {
            let error = match self.send_once(lane, &call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if call.kind.is_made_once() {
                return Err(error);
            }
            if let BrevoError::RateLimited { retry_after } = error {
                refusals += 1;
                // A bucket that was waited for in vain has been waited for long enough.
                if refusals >= MAX_REFUSALS || retry_after >= LONGEST_WAIT {
                    return Err(error);
                }
                // The bucket is blocked until then, for every call.
                continue;
            }
            let may_repeat = call.kind.is_idempotent() || !error.outcome_unknown();
            failures += 1;
            if error.kind() != ErrorKind::Transient || !may_repeat || failures >= MAX_ATTEMPTS {
                return Err(error);
            }
            let wait = self.0.backoff.delay(failures - 1, None, random_fraction());
            tracing::debug!(call = call.kind.route(), attempt = failures, %error, "call to brevo failed");
            tokio::time::sleep(wait).await;
        }
    }

    async fn send_once(&self, lane: Lane, call: &Call) -> Result<Response, BrevoError> {
        let bucket = call.kind.bucket();
        let permit = match call.kind {
            // By the time that it has waited, what it says may be wrong.
            CallKind::Resubscribe => self.permit_now(bucket, lane).await?,
            _ => self.permit(bucket, lane).await?,
        };
        if bucket == Bucket::Other
            && let Some(book) = &self.0.book
            && !book.charge().await
        {
            let reason = "the call cannot be noted, and might be one too many".to_owned();
            return Err(BrevoError::Transport { was_sent: false, reason });
        }
        self.0.counter.count(call.kind);
        let result = self.0.http.send(self.request(call)).await;
        drop(permit);
        let answer = result.map_err(|error| match error.kind {
            TransportErrorKind::Invalid => BrevoError::Unusable(error.to_string()),
            kind => BrevoError::Transport { was_sent: error.was_sent, reason: kind.to_string() },
        })?;
        let headers = LimitHeaders::read(&answer);
        self.observe(bucket, headers);
        match answer.status.as_u16() {
            200..=299 => Ok(answer),
            429 => {
                let reset = headers.reset.or(answer.retry_after());
                Err(self.refused(bucket, LimitHeaders { reset, ..headers }))
            }
            // All events of a batch are refused: the answer says why for each, as a 207 does.
            400 if call.kind == CallKind::SendEvents && events::names_events(&answer.body) => {
                Ok(answer)
            }
            status => {
                let route = call.kind.route();
                Err(BrevoError::from_answer(route, status, &answer.body))
            }
        }
    }

    fn request(&self, call: &Call) -> Request {
        let request = Request::new(call.kind.method(), call.url.clone(), call.kind.route());
        if call.kind == CallKind::File {
            // A file lies wherever Brevo says: the key is not for that host.
            return request;
        }
        let request = request
            .header(HeaderName::from_static("api-key"), self.0.api_key.clone())
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        match &call.body {
            Some(body) => request.body(call.content_type, body.clone()),
            None => request,
        }
    }

    /// Waits for the bucket, unless that would take long: what counts by the hour is not waited for.
    async fn permit(&self, bucket: Bucket, lane: Lane) -> Result<Option<Permit>, BrevoError> {
        let Some(limiter) = self.limiter(bucket) else {
            return Ok(None);
        };
        let blocked_for = || limiter.status().blocked_for.unwrap_or_default();
        if blocked_for() > LONGEST_WAIT {
            return Err(BrevoError::RateLimited { retry_after: blocked_for() });
        }
        if bucket == Bucket::Contacts {
            return Ok(Some(limiter.acquire(lane).await));
        }
        let acquired = tokio::time::timeout(LONGEST_WAIT, limiter.acquire(lane)).await;
        let used_up = |_| BrevoError::RateLimited { retry_after: blocked_for().max(LONGEST_WAIT) };
        acquired.map(Some).map_err(used_up)
    }

    /// As [`Self::permit`], for what must not wait.
    async fn permit_now(&self, bucket: Bucket, lane: Lane) -> Result<Option<Permit>, BrevoError> {
        let permit = tokio::time::timeout(SECOND, self.permit(bucket, lane)).await;
        permit.unwrap_or(Err(BrevoError::RateLimited { retry_after: SECOND }))
    }

    /// Corrects the bucket by what Brevo says of it.
    fn observe(&self, bucket: Bucket, headers: LimitHeaders) {
        let LimitHeaders { limit: Some(limit), remaining: Some(remaining), reset } = headers else {
            return;
        };
        let Some(limiter) = self.limiter(bucket) else {
            return;
        };
        let per = window(bucket, limit);
        // A window of a second ends within it, whatever the header says.
        let reset = reset.unwrap_or(per).min(per);
        limiter.observe(Observation { limit, remaining, reset, per });
    }

    /// Blocks the bucket after a 429.
    fn refused(&self, bucket: Bucket, headers: LimitHeaders) -> BrevoError {
        let by_second = matches!(bucket, Bucket::Contacts | Bucket::Events)
            && headers.limit.is_none_or(|limit| window(bucket, limit) == SECOND);
        let (usual, longest) =
            if by_second { (SECOND, LONGEST_WAIT) } else { (LONGEST_WAIT, HOUR) };
        let retry_after = headers.reset.unwrap_or(usual).clamp(SECOND, longest);
        if let Some(limiter) = self.limiter(bucket) {
            limiter.block_until(Instant::now() + retry_after);
        }
        tracing::warn!(?bucket, seconds = retry_after.as_secs(), "brevo refuses calls for a while");
        BrevoError::RateLimited { retry_after }
    }

    fn limiter(&self, bucket: Bucket) -> Option<&Limiter> {
        match bucket {
            Bucket::Contacts => Some(&self.0.contacts),
            Bucket::Events => Some(&self.0.events),
            Bucket::Other => Some(&self.0.other),
            Bucket::None => None,
        }
    }
}

/// What the three headers `x-sib-ratelimit-*` say.
#[derive(Debug, Clone, Copy)]
struct LimitHeaders {
    limit: Option<u32>,
    remaining: Option<u32>,
    reset: Option<Duration>,
}

impl LimitHeaders {
    fn read(answer: &Response) -> Self {
        let number = |name: &str| {
            let value = answer.header(name)?.parse::<f64>().ok()?;
            (value.is_finite() && value >= 0.0).then_some(value)
        };
        let count = |name: &str| number(name).map(|value| value as u32);
        let reset = number("x-sib-ratelimit-reset")
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self {
            limit: count("x-sib-ratelimit-limit").filter(|limit| *limit > 0),
            remaining: count("x-sib-ratelimit-remaining"),
            reset,
        }
    }
}

/// The window that a limit is about. No account may call `/contacts` more than 600 times a second,
/// and 36,000 an hour is the least. Whether batches of events count with events (at most 60 a second)
/// or with everything else (at least 100 an hour) is not documented: the limit tells (facts: Brevo
/// section 9).
fn window(bucket: Bucket, limit: u32) -> Duration {
    match bucket {
        Bucket::Contacts if limit <= 600 => SECOND,
        Bucket::Events if limit < 100 => SECOND,
        _ => HOUR,
    }
}

/// Reads an answer's body. The reason of a failure holds no part of it.
pub(super) fn read<T: DeserializeOwned>(
    kind: CallKind,
    answer: &Response,
) -> Result<T, BrevoError> {
    serde_json::from_slice(&answer.body).map_err(|error| BrevoError::Malformed {
        call: kind.route(),
        reason: format!("line {} column {} is not as expected", error.line(), error.column()),
    })
}

/// The time that the server shows in its header `Date`.
pub(super) fn server_date(answer: &Response) -> Option<Timestamp> {
    static PARSER: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new();
    let instant = PARSER.parse_timestamp(answer.header("date")?).ok()?;
    Some(Timestamp::from_seconds(instant.as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ManualClock;

    fn client() -> BrevoClient {
        let settings = BrevoSettings {
            base_url: "http://127.0.0.1:9/v3".parse().unwrap(),
            api_key: "secret-key".into(),
            rates: BucketRates::general(),
            backoff_base: Duration::from_millis(1),
            timeout: BrevoSettings::TIMEOUT,
            book: None,
        };
        BrevoClient::new(settings, Arc::new(ManualClock::at(Timestamp::EPOCH))).unwrap()
    }

    #[tokio::test]
    async fn a_refusal_blocks_its_bucket_for_no_longer_than_makes_sense() {
        fn case(bucket: Bucket, limit: Option<u32>, reset: Option<u64>, seconds: u64) {
            let client = client();
            let reset = reset.map(Duration::from_secs);
            let error = client.refused(bucket, LimitHeaders { limit, remaining: Some(0), reset });
            assert_eq!(
                error,
                BrevoError::RateLimited { retry_after: Duration::from_secs(seconds) }
            );
            let blocked = client.limiter(bucket).unwrap().status().blocked_for.unwrap();
            assert!(blocked <= Duration::from_secs(seconds), "{blocked:?}");
        }
        case(Bucket::Contacts, Some(10), Some(1), 1);
        case(Bucket::Contacts, Some(10), Some(0), 1);
        case(Bucket::Contacts, Some(10), Some(1_740_000), 60);
        case(Bucket::Contacts, None, None, 1);
        case(Bucket::Contacts, Some(36_000), Some(1_740), 1_740);
        case(Bucket::Contacts, Some(10), Some(850), 60);
        case(Bucket::Other, None, None, 60);
        case(Bucket::Other, Some(100), Some(1_740), 1_740);
        case(Bucket::Events, Some(10), Some(1_740), 60);
        case(Bucket::Events, Some(100), Some(1_740), 1_740);
        case(Bucket::Other, Some(100), Some(1_740_000), 3_600);
    }

    #[tokio::test]
    async fn headers_correct_the_bucket_that_they_are_about() {
        let client = client();
        let headers = |limit, reset| LimitHeaders {
            limit: Some(limit),
            remaining: Some(limit),
            reset: Some(Duration::from_secs(reset)),
        };
        client.observe(Bucket::Contacts, headers(20, 1));
        client.observe(Bucket::Other, headers(600, 3_600));
        let limits: Vec<_> =
            client.limit_status().iter().map(|s| (s.name, s.limit, s.per_seconds)).collect();
        let expected =
            [("brevo.contacts", 20, 1.0), ("brevo.events", 10, 1.0), ("brevo.other", 600, 3600.0)];
        assert_eq!(limits, expected);
    }

    #[test]
    fn the_key_does_not_print() {
        assert!(!format!("{:?}", client()).contains("secret-key"));
    }
}
