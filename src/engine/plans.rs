//! The newest plans of the bulk lane, for whoever asks how Brevo is written.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::brevo::Explained;
use crate::model::Timestamp;

/// How many are kept.
const KEPT: usize = 200;

/// One plan that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    /// Counts from 1 since the engine started.
    pub id: u64,
    /// When it was made (ISO 8601, UTC).
    pub at: String,
    /// What it does.
    #[serde(flatten)]
    pub plan: Explained,
}

/// The newest plans.
#[derive(Debug, Default)]
pub(crate) struct Plans(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    last_id: u64,
    plans: VecDeque<PlanView>,
}

impl Plans {
    pub(crate) fn note(&self, now: Timestamp, plan: Explained) {
        let mut kept = self.kept();
        kept.last_id += 1;
        let id = kept.last_id;
        if kept.plans.len() == KEPT {
            kept.plans.pop_front();
        }
        kept.plans.push_back(PlanView { id, at: now.to_string(), plan });
    }

    /// All that are kept, oldest first.
    pub(crate) fn all(&self) -> Vec<PlanView> {
        self.kept().plans.iter().cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
