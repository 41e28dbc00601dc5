//! `/api/v1/dead-letters`: what was given up, to be looked at, retried or dropped.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State as Extracted};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::State;
use super::error::HttpError;
use crate::store::{DeadLetter, DeadLetterQuery};

/// How many are listed where nothing else is asked for, and at most.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

/// Parameters of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<usize>,
}

/// A dead letter as the API shows it: its time is text.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeadLetterView {
    id: i64,
    record: Option<String>,
    topic: Option<String>,
    kind: String,
    message: String,
    origin: Option<String>,
    request: Option<String>,
    response: Option<String>,
    rule_set: Option<String>,
    attempts: u32,
    inputs: u32,
    at: String,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        let DeadLetter { id, record, topic, kind, message, origin, request, response, .. } = letter;
        Self {
            id,
            record,
            topic,
            kind,
            message,
            origin,
            request,
            response,
            rule_set: letter.rule_set,
            attempts: letter.attempts,
            inputs: letter.inputs,
            at: letter.at.to_string(),
        }
    }
}

/// The newest dead letters, newest first.
pub(super) async fn list(
    Extracted(state): Extracted<Arc<State>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Vec<DeadLetterView>>, HttpError> {
    let Ok(Query(query)) = query else {
        let text = format!("`limit` is a number from 1 to {MAX_LIMIT}, and the only parameter");
        return Err(HttpError::BadRequest(text));
    };
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(HttpError::BadRequest(format!("`limit` is a number from 1 to {MAX_LIMIT}")));
    }
    let letters = state.engine.dead_letters(limit).await?;
    Ok(Json(letters.into_iter().map(DeadLetterView::from).collect()))
}

/// One dead letter.
pub(super) async fn show(
    Extracted(state): Extracted<Arc<State>>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<DeadLetterView>, HttpError> {
    Ok(Json(find(&state, id).await?.into()))
}

/// Makes one due again. A notification that cannot be used stays, and counts as none.
pub(super) async fn retry_one(
    Extracted(state): Extracted<Arc<State>>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<Value>, HttpError> {
    let id = find(&state, id).await?.id;
    retry(&state, DeadLetterQuery::One(id)).await
}

/// Makes all due again.
pub(super) async fn retry_all(
    Extracted(state): Extracted<Arc<State>>,
) -> Result<Json<Value>, HttpError> {
    retry(&state, DeadLetterQuery::All).await
}

/// Drops one.
pub(super) async fn drop_one(
    Extracted(state): Extracted<Arc<State>>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<Value>, HttpError> {
    let id = find(&state, id).await?.id;
    discard(&state, DeadLetterQuery::One(id)).await
}

/// Drops all.
pub(super) async fn drop_all(
    Extracted(state): Extracted<Arc<State>>,
) -> Result<Json<Value>, HttpError> {
    discard(&state, DeadLetterQuery::All).await
}

async fn find(
    state: &State,
    id: Result<Path<i64>, PathRejection>,
) -> Result<DeadLetter, HttpError> {
    let Ok(Path(id)) = id else {
        return Err(HttpError::BadRequest("the id of a dead letter is a number".to_owned()));
    };
    let letter = state.engine.dead_letter(id).await?;
    letter.ok_or_else(|| HttpError::NotFound(format!("there is no dead letter {id}")))
}

async fn retry(state: &State, query: DeadLetterQuery) -> Result<Json<Value>, HttpError> {
    let retried = state.engine.retry_dead_letters(query).await?;
    Ok(Json(json!({"retried": retried})))
}

async fn discard(state: &State, query: DeadLetterQuery) -> Result<Json<Value>, HttpError> {
    let dropped = state.engine.drop_dead_letters(query).await?;
    Ok(Json(json!({"dropped": dropped})))
}
