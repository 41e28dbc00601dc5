//! `/webhooks/brevo/import/{name}`: Brevo says that an import has ended. What it sends is not
//! documented, so any method is taken and the body is not read; the name cannot be guessed, and all that
//! a call causes is a look at the process.

use std::sync::Arc;

use axum::extract::{Path, State as Extracted};
use axum::http::StatusCode;

use super::State;
use super::error::HttpError;

/// Takes a call; 404 for a name that was not given out.
pub(super) async fn ended(
    Extracted(state): Extracted<Arc<State>>,
    Path(name): Path<String>,
) -> Result<StatusCode, HttpError> {
    if state.engine.import_ended(&name) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(HttpError::NotFound("there is nothing at this address".to_owned()))
    }
}
