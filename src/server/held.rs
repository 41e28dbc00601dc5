//! `/api/v1/held`: what waits for approval, to be looked at, approved or rejected.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Extracted};
use serde_json::{Value, json};

use super::State;
use super::error::HttpError;
use crate::engine::HoldView;
use crate::store::Hold;

/// What waits, oldest first.
pub(super) async fn list(
    Extracted(state): Extracted<Arc<State>>,
) -> Result<Json<Vec<Hold>>, HttpError> {
    Ok(Json(state.engine.holds().await?))
}

/// One hold, with some of its contacts.
pub(super) async fn show(
    Extracted(state): Extracted<Arc<State>>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<HoldView>, HttpError> {
    Ok(Json(find(&state, id).await?))
}

/// Lets today's decisions do what they still want of it.
pub(super) async fn approve(
    Extracted(state): Extracted<Arc<State>>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<Value>, HttpError> {
    let Hold { id, contacts, .. } = find(&state, id).await?.hold;
    if !state.engine.approve_hold(id).await? {
        return Err(no_such(id));
    }
    Ok(Json(json!({"id": id, "approved": contacts})))
}

/// Leaves it undone for as long as these rules are live.
pub(super) async fn reject(
    Extracted(state): Extracted<Arc<State>>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<Value>, HttpError> {
    let Hold { id, contacts, .. } = find(&state, id).await?.hold;
    if !state.engine.reject_hold(id).await? {
        return Err(no_such(id));
    }
    Ok(Json(json!({"id": id, "rejected": contacts})))
}

async fn find(state: &State, id: Result<Path<i64>, PathRejection>) -> Result<HoldView, HttpError> {
    let Ok(Path(id)) = id else {
        return Err(HttpError::BadRequest("the id of a hold is a number".to_owned()));
    };
    state.engine.hold(id).await?.ok_or_else(|| no_such(id))
}

fn no_such(id: i64) -> HttpError {
    HttpError::NotFound(format!("nothing waits for approval under the number {id}"))
}
