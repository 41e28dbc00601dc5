//! `/api/v1/plans`: how the newest bulk changes were written to Brevo.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Extracted;

use super::State;
use crate::engine::PlanView;

/// The newest plans, oldest first.
pub(super) async fn list(Extracted(state): Extracted<Arc<State>>) -> Json<Vec<PlanView>> {
    Json(state.engine.plans())
}
