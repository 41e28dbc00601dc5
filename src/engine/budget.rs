//! What of Brevo's rate limits was used by the process before this one: an hour must not be spent
//! twice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::EngineError;
use crate::brevo::{BrevoClient, ChargeBook};
use crate::model::{Clock, Timestamp};
use crate::store::Store;

/// The fact that says when calls were made that count for an hour.
const CHARGES: &str = "brevo_charges";
/// The fact that says since when no call is made, or that some may be.
const IDLE_SINCE: &str = "brevo_idle_since";
const NOT_IDLE: &str = "now";
/// How long a call counts.
const HOUR_SECONDS: i64 = 3_600;
/// A call may have been counted later than it was noted.
const UNEVEN_SECONDS: i64 = 5;
/// How long ago the last call must be for windows of a second to be free.
const IDLE_SECONDS: i64 = 2;

/// Notes in the store the calls that count for an hour.
#[derive(Debug)]
pub(crate) struct Budget {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    charges: Mutex<VecDeque<i64>>,
}

impl Budget {
    /// Reads what was noted.
    pub(crate) async fn load(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EngineError> {
        let text = store.fact(CHARGES).await?;
        // What cannot be read is no reason not to start: Brevo's headers tell as well.
        let charges = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Ok(Self { store, clock, charges: Mutex::new(charges) })
    }

    /// Tells a client what the last process used up, and notes that this one begins to call.
    pub(crate) async fn hand_over(&self, brevo: &BrevoClient) -> Result<(), EngineError> {
        let now = self.clock.now().seconds();
        let ages: Vec<Duration> = self
            .charges
            .lock()
            .await
            .iter()
            .map(|at| (now - at - UNEVEN_SECONDS).max(0).unsigned_abs())
            .map(Duration::from_secs)
            .collect();
        brevo.recall(&ages);
        let idle_since = self.store.fact(IDLE_SINCE).await?;
        if let Some(since) = idle_since {
            let is_idle = since.parse().is_ok_and(|since: i64| now - since >= IDLE_SECONDS);
            if !is_idle {
                brevo.assume_used();
            }
        }
        Ok(self.store.put_fact(IDLE_SINCE, NOT_IDLE.to_owned()).await?)
    }

    /// Notes that no more calls are made.
    pub(crate) async fn end(store: &Arc<dyn Store>, now: Timestamp) {
        if let Err(error) = store.put_fact(IDLE_SINCE, now.seconds().to_string()).await {
            tracing::debug!(
                "the end of all calls is not noted, the next start waits a second: {error}"
            );
        }
    }
}

#[async_trait]
impl ChargeBook for Budget {
    async fn charge(&self) -> bool {
        let now = self.clock.now().seconds();
        let mut charges = self.charges.lock().await;
        charges.retain(|at| now - at < HOUR_SECONDS + UNEVEN_SECONDS);
        charges.push_back(now);
        let Ok(text) = serde_json::to_string(&*charges) else {
            return false;
        };
        match self.store.put_fact(CHARGES, text).await {
            Ok(()) => true,
            Err(error) => {
                charges.pop_back();
                tracing::warn!("a call to brevo that counts for an hour is not made: {error}");
                false
            }
        }
    }
}
