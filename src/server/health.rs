//! Is it alive, and can it take a webhook?

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Extracted;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::State;
use crate::engine::Engine;

/// How long the answer of a probe is good: the endpoint is open, and a probe costs a synced write.
const KEPT: Duration = Duration::from_secs(1);
/// A probe that takes longer has failed.
const PROBE: Duration = Duration::from_secs(4);

/// The process answers.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// A webhook can be stored durably. What else does not work is named, and changes nothing: a load
/// balancer that took this engine out would lose webhooks.
pub(super) async fn ready(Extracted(state): Extracted<Arc<State>>) -> Response {
    let degraded = state.engine.degraded();
    if state.readiness.check(&state.engine).await {
        return Json(json!({"ready": true, "degraded": degraded})).into_response();
    }
    let reason = "a webhook cannot be stored at the moment";
    let body = json!({"ready": false, "reason": reason, "degraded": degraded});
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

/// The last probe of the store.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, bool)>>);

impl Readiness {
    /// Probes the store, unless that was done a moment ago. Those who ask at once share one probe.
    async fn check(&self, engine: &Engine) -> bool {
        let mut last = self.0.lock().await;
        let was_ready = match *last {
            Some((at, is_ready)) if at.elapsed() < KEPT => return is_ready,
            Some((_, is_ready)) => is_ready,
            None => true,
        };
        let problem = match timeout(PROBE, engine.probe()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the store did not answer in time".to_owned()),
        };
        match &problem {
            Some(problem) if was_ready => tracing::error!("not ready for webhooks: {problem}"),
            None if !was_ready => tracing::info!("ready for webhooks again"),
            _ => {}
        }
        *last = Some((Instant::now(), problem.is_none()));
        problem.is_none()
    }
}
