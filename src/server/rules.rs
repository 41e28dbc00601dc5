//! `/api/v1/rules`: what is live, what was refused, the history, and rolling back.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State as Extracted};
use serde::{Deserialize, Serialize};

use super::State;
use super::admin::json_body;
use super::error::HttpError;
use crate::engine::{RollbackError, RolledBack, RulesView, VersionError, VersionView};
use crate::rules::{Diagnostic, Refusal};

/// The rules as they stand.
#[derive(Serialize)]
pub(super) struct RulesAnswer {
    #[serde(flatten)]
    rules: RulesView,
    handlers: Vec<String>,
    files: Vec<String>,
    /// What is odd about the live rules.
    warnings: Vec<Diagnostic>,
    refused: Option<RefusedView>,
}

/// Rules that were refused, with everything that is wrong with them.
#[derive(Serialize)]
struct RefusedView {
    at: String,
    version: Option<String>,
    problems: Vec<Diagnostic>,
}

impl From<Refusal> for RefusedView {
    fn from(refusal: Refusal) -> Self {
        let Refusal { at, version, problems } = refusal;
        Self { at: at.to_string(), version: version.map(|version| version.to_string()), problems }
    }
}

/// The live rules, their files, and what keeps newer ones from being live.
pub(super) async fn rules(Extracted(state): Extracted<Arc<State>>) -> Json<RulesAnswer> {
    let live = state.engine.rule_set();
    let live = live.as_deref();
    let handlers = live.iter().flat_map(|rules| rules.handlers()).map(str::to_owned).collect();
    let files = live.iter().flat_map(|rules| rules.files()).map(|file| file.path.clone()).collect();
    Json(RulesAnswer {
        rules: state.engine.rules(),
        handlers,
        files,
        warnings: live.map(|rules| rules.warnings().to_vec()).unwrap_or_default(),
        refused: state.engine.refused_rules().map(RefusedView::from),
    })
}

/// The versions that are kept, newest first.
pub(super) async fn history(
    Extracted(state): Extracted<Arc<State>>,
) -> Result<Json<Vec<VersionView>>, HttpError> {
    Ok(Json(state.engine.rule_history().await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RollbackBody {
    version: String,
    /// Who asks, for the history.
    #[serde(default)]
    author: Option<String>,
}

/// Rolls back to a version: it goes live, and stays so until the rules in the folder change.
pub(super) async fn roll_back(
    Extracted(state): Extracted<Arc<State>>,
    request: Request,
) -> Result<Json<RolledBack>, HttpError> {
    let RollbackBody { version, author } = json_body(&state, request).await?;
    let author = author.map(|author| author.chars().filter(|c| !c.is_control()).take(64).collect());
    match state.engine.roll_back(&version, author).await {
        Ok(rolled_back) => Ok(Json(rolled_back)),
        Err(RollbackError::Version(error)) => {
            let text = error.to_string();
            Err(match error {
                VersionError::Unusable(_) => HttpError::BadRequest(text),
                VersionError::Unknown(_) => HttpError::NotFound(text),
                VersionError::Ambiguous { .. } => HttpError::Conflict(text),
            })
        }
        Err(RollbackError::Refused { version, problems }) => {
            let detail = RollbackError::Refused { version, problems: problems.clone() }.to_string();
            Err(HttpError::RefusedRules { detail, problems })
        }
        Err(RollbackError::Engine(error)) => Err(error.into()),
    }
}
