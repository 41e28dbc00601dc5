//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::OriginalUri;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{any, delete, get, post};

use super::error::HttpError;
use super::{
    State, admin, auth, brevo_webhook, dead_letters, health, held, imports, metrics, oauth, plans,
    rules, webhook,
};

/// What the outside world may reach.
pub(super) fn public(state: &Arc<State>) -> Router {
    finish(health().merge(webhooks()), state)
}

/// What operators reach.
pub(super) fn private(state: &Arc<State>) -> Router {
    finish(health().merge(operation(state)), state)
}

/// All of it, on one address.
pub(super) fn whole(state: &Arc<State>) -> Router {
    finish(health().merge(webhooks()).merge(operation(state)), state)
}

fn finish(router: Router<Arc<State>>, state: &Arc<State>) -> Router {
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(map_response(no_sniffing))
        .with_state(Arc::clone(state))
}

fn health() -> Router<Arc<State>> {
    Router::new().route("/healthz", get(health::alive)).route("/readyz", get(health::ready))
}

fn webhooks() -> Router<Arc<State>> {
    Router::new()
        .route("/webhooks/intercom", post(webhook::intercom).head(webhook::intercom_head))
        .route("/webhooks/brevo", post(brevo_webhook::brevo))
        .route("/webhooks/brevo/import/{name}", any(imports::ended))
        // Whoever comes back from Intercom comes from outside; he is sent there by an operator.
        .route("/oauth/intercom/callback", get(oauth::callback))
}

fn operation(state: &Arc<State>) -> Router<Arc<State>> {
    let api = Router::new()
        .route("/connectors/intercom/connect", post(admin::connect))
        .route("/connectors/intercom/connections", get(oauth::connections))
        .route("/connectors/intercom/oauth", post(oauth::begin_for_command))
        .route("/connectors/intercom/oauth/code", post(oauth::take_code))
        .route("/connectors/intercom/oauth/{state}", get(oauth::attempt))
        .route("/connectors/intercom/sync", post(admin::start_sync))
        .route("/connectors/intercom/syncs/{id}", get(admin::sync))
        .route("/connectors/intercom/status", get(admin::status))
        .route("/connectors/intercom/webhook", post(admin::hand_in))
        .route("/plans", get(plans::list))
        .route("/rules", get(rules::rules))
        .route("/rules/history", get(rules::history))
        .route("/rules/rollback", post(rules::roll_back))
        .route("/dead-letters", get(dead_letters::list).delete(dead_letters::drop_all))
        .route("/dead-letters/retry", post(dead_letters::retry_all))
        .route("/dead-letters/{id}", get(dead_letters::show))
        .route("/dead-letters/{id}", delete(dead_letters::drop_one))
        .route("/dead-letters/{id}/retry", post(dead_letters::retry_one))
        .route("/held", get(held::list))
        .route("/held/{id}", get(held::show))
        .route("/held/{id}/approve", post(held::approve))
        .route("/held/{id}/reject", post(held::reject))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(state), auth::require_token))
        .layer(map_response(no_store));
    Router::new()
        .route("/metrics", get(metrics::page))
        .route("/oauth/intercom/start", get(oauth::start))
        .nest("/api/v1", api)
}

async fn not_found(OriginalUri(uri): OriginalUri) -> HttpError {
    HttpError::NotFound(format!("there is nothing at `{}`", uri.path()))
}

async fn method_not_allowed() -> HttpError {
    HttpError::MethodNotAllowed
}

async fn no_sniffing(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
