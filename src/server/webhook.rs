//! `/webhooks/…`: raw bytes are verified, made durable, and only then answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State as Extracted};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::timeout;

use super::error::HttpError;
use super::{Peer, State};
use crate::intercom::{Redacted, SignatureRejected, Unverified, Verified};
use crate::store::Acceptance;

/// How long the store may take. Intercom gives up after 5 s and then tries only once more, but for
/// two hours after a 429 (facts: Intercom section 8). What is stored after all is a duplicate then.
pub(super) const STORE_TIME: Duration = Duration::from_secs(4);

/// What became of a request to the webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WebhookResult {
    /// It is durable.
    Accepted,
    /// It was durable before.
    Duplicate,
    /// There is no signature.
    SignatureMissing,
    /// There are several signatures.
    SignatureSeveral,
    /// The signature is none.
    SignatureMalformed,
    /// The signature belongs to something else.
    SignatureMismatch,
    /// The body is larger than is read.
    TooLarge,
    /// The body is compressed.
    Encoded,
    /// The body took too long.
    Slow,
    /// The body ended early.
    Broken,
    /// The store did not take it.
    StoreUnwell,
    /// There is nothing to verify signatures with.
    NotConfigured,
}

impl WebhookResult {
    pub(super) const ALL: [Self; 12] = [
        Self::Accepted,
        Self::Duplicate,
        Self::SignatureMissing,
        Self::SignatureSeveral,
        Self::SignatureMalformed,
        Self::SignatureMismatch,
        Self::TooLarge,
        Self::Encoded,
        Self::Slow,
        Self::Broken,
        Self::StoreUnwell,
        Self::NotConfigured,
    ];

    /// The word for it in metrics and logs.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::SignatureMissing => "signature_missing",
            Self::SignatureSeveral => "signature_several",
            Self::SignatureMalformed => "signature_malformed",
            Self::SignatureMismatch => "signature_mismatch",
            Self::TooLarge => "too_large",
            Self::Encoded => "encoded",
            Self::Slow => "slow",
            Self::Broken => "broken",
            Self::StoreUnwell => "store_unwell",
            Self::NotConfigured => "not_configured",
        }
    }
}

/// How often each result came about since the start, and whether the store takes webhooks.
#[derive(Debug, Default)]
pub(super) struct Webhooks {
    counts: [AtomicU64; WebhookResult::ALL.len()],
    is_store_unwell: AtomicBool,
}

impl Webhooks {
    /// How often a result came about.
    pub(super) fn of(&self, result: WebhookResult) -> u64 {
        self.counts.get(result as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn count(&self, result: WebhookResult) {
        if let Some(count) = self.counts.get(result as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Logs the first failure of the store, and its end; not the thousands between.
    pub(super) fn note_store(&self, problem: Option<&str>) {
        let was_unwell = self.is_store_unwell.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !was_unwell => {
                tracing::error!("webhooks are answered with 429: {problem}");
            }
            None if was_unwell => tracing::info!("webhooks are stored again"),
            _ => {}
        }
    }
}

/// Intercom asks whether the endpoint is there.
pub(super) async fn intercom_head() -> StatusCode {
    StatusCode::OK
}

/// A notification of Intercom's.
pub(super) async fn intercom(
    Extracted(state): Extracted<Arc<State>>,
    request: Request,
) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let mut shown = Shown::default();
    let answer = receive(&state, request, &mut shown).await;
    let result = match &answer {
        Ok(result) | Err((result, _)) => *result,
    };
    state.webhooks.count(result);
    shown.log(result, peer.map(|peer| peer.ip()));
    match answer {
        Ok(_) => Json(json!({})).into_response(),
        Err((_, refused)) => refused.into_response(),
    }
}

/// A result that is refused, and how.
type Refused = (WebhookResult, HttpError);

/// What the log shows of a webhook. Of a body that nobody signed that is its length alone.
#[derive(Debug, Default)]
struct Shown {
    is_wanted: bool,
    bytes: usize,
    content: Option<Redacted>,
}

impl Shown {
    fn log(&self, result: WebhookResult, peer: Option<IpAddr>) {
        let (result, peer) = (result.as_str(), peer.map(tracing::field::display));
        let bytes = self.bytes;
        match &self.content {
            Some(Redacted { topic, id, app_id, body }) => {
                let (topic, id, app_id) = (topic.as_deref(), id.as_deref(), app_id.as_deref());
                tracing::info!(
                    webhook.result = result,
                    topic,
                    id,
                    app_id,
                    bytes,
                    peer,
                    body,
                    "a webhook came"
                );
            }
            None if self.is_wanted => {
                tracing::info!(webhook.result = result, bytes, peer, "a webhook came");
            }
            None => tracing::debug!(webhook.result = result, bytes, peer, "a webhook came"),
        }
    }
}

async fn receive(
    state: &State,
    request: Request,
    shown: &mut Shown,
) -> Result<WebhookResult, Refused> {
    // Asked for anew each time: a reload may have brought another secret.
    let config = state.engine.config();
    shown.is_wanted = config.intercom.log_webhooks;
    let secret = config.intercom.client_secret.as_ref().filter(|_| config.intercom.enabled);
    let Some(secret) = secret else {
        let reason = "webhooks cannot be verified: the connector has no `client_secret`";
        return Err((WebhookResult::NotConfigured, HttpError::Unavailable(reason)));
    };
    let (head, body) = request.into_parts();
    let body = state.bodies.read(&head.headers, body).await.map_err(unread)?;
    shown.bytes = body.len();
    let verified = Unverified::from_request(&head.headers, body).verify(secret).map_err(untrue)?;
    shown.content = shown.is_wanted.then(|| Redacted::of(verified.body()));
    store(state, verified).await
}

async fn store(state: &State, verified: Verified) -> Result<WebhookResult, Refused> {
    let problem = match timeout(STORE_TIME, state.engine.accept(verified)).await {
        Ok(Ok(acceptance)) => {
            state.webhooks.note_store(None);
            return Ok(match acceptance {
                Acceptance::Accepted => WebhookResult::Accepted,
                Acceptance::Duplicate => WebhookResult::Duplicate,
            });
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the store did not answer in time".to_owned(),
    };
    state.webhooks.note_store(Some(&problem));
    state.engine.note_refusal();
    Err((WebhookResult::StoreUnwell, HttpError::StoreUnwell))
}

fn unread(error: HttpError) -> Refused {
    let result = match error {
        HttpError::Encoded => WebhookResult::Encoded,
        HttpError::TooLarge { .. } => WebhookResult::TooLarge,
        HttpError::Timeout => WebhookResult::Slow,
        _ => WebhookResult::Broken,
    };
    (result, error)
}

fn untrue(reason: SignatureRejected) -> Refused {
    let result = match reason {
        SignatureRejected::Missing => WebhookResult::SignatureMissing,
        SignatureRejected::Several => WebhookResult::SignatureSeveral,
        SignatureRejected::Malformed => WebhookResult::SignatureMalformed,
        SignatureRejected::Mismatch => WebhookResult::SignatureMismatch,
    };
    (result, HttpError::BadSignature)
}
