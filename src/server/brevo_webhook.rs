//! `POST /webhooks/brevo`: let in by its token, made durable, and only then answered. Brevo drops a
//! webhook for good after any other 4xx than 429 and after any 5xx (facts: Brevo section 8), so what
//! carried the token is answered with 200 or, while the store is unwell, with 429.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State as Extracted};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::timeout;

use super::State;
use super::error::HttpError;
use super::webhook::STORE_TIME;
use crate::brevo::is_webhook_token;
use crate::store::BrevoAcceptance;
use crate::telemetry;

/// A webhook of Brevo's: one event, or a batch of them.
pub(super) async fn brevo(Extracted(state): Extracted<Arc<State>>, request: Request) -> Response {
    let answer = receive(&state, request).await;
    let result = match &answer {
        Ok(taken) if taken.accepted == 0 && taken.duplicates > 0 => "duplicate",
        Ok(_) => "accepted",
        Err(HttpError::Unauthorized) => "token_wrong",
        Err(HttpError::StoreUnwell) => "store_unwell",
        Err(HttpError::Unavailable(_)) => "not_configured",
        Err(_) => "unread",
    };
    metrics::counter!(telemetry::BREVO_WEBHOOKS.name, "result" => result).increment(1);
    tracing::debug!(webhook.result = result, "a webhook of brevo's came");
    match answer {
        Ok(_) => Json(json!({})).into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn receive(state: &State, request: Request) -> Result<BrevoAcceptance, HttpError> {
    let Some(token) = state.engine.brevo_webhook_token() else {
        let reason =
            "webhooks of brevo cannot be told from others: the connector has no `webhook_token`";
        return Err(HttpError::Unavailable(reason));
    };
    let (head, body) = request.into_parts();
    if !bearer(&head.headers).is_some_and(|given| is_webhook_token(given, &token)) {
        return Err(HttpError::Unauthorized);
    }
    let body = state.bodies.read(&head.headers, body).await?;
    let problem = match timeout(STORE_TIME, state.engine.accept_brevo(&body)).await {
        Ok(Ok(taken)) => {
            state.webhooks.note_store(None);
            return Ok(taken);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the store did not answer in time".to_owned(),
    };
    state.webhooks.note_store(Some(&problem));
    Err(HttpError::StoreUnwell)
}

/// The bearer token of a request. Two headers are none: nobody can tell which counts.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}
