//! The export of message data, one at a time for a workspace (facts: Intercom section 7).

use serde_json::{Value, json};

use super::refused::Refused;
use super::routes::{Call, Reply, ok};
use super::state::State;
use crate::model::Timestamp;

/// How long an export takes, in seconds.
const TAKES_SECONDS: i64 = 5;

/// The export that was started last.
#[derive(Debug)]
pub(super) struct Export {
    id: String,
    began: Timestamp,
    is_cancelled: bool,
}

impl Export {
    fn status(&self, now: Timestamp) -> &'static str {
        let age = now.seconds() - self.began.seconds();
        match age {
            _ if self.is_cancelled => "canceled",
            ..1 => "pending",
            1..TAKES_SECONDS => "in_progress",
            _ => "completed",
        }
    }

    fn shown(&self, now: Timestamp) -> Value {
        let status = self.status(now);
        let is_done = status == "completed";
        json!({
            "job_identifier": self.id,
            "status": status,
            "download_url": is_done
                .then(|| format!("https://api.intercom.io/download/content/data/{}", self.id)),
            "download_expires_at": is_done.then(|| self.began.plus(2 * 86_400).seconds().to_string()),
        })
    }
}

/// What a request under `/export` asks for; `rest` are the segments after it.
pub(super) fn exports(state: &mut State, call: &Call<'_>, rest: &[&str]) -> Result<Reply, Refused> {
    match (call.method, rest) {
        ("POST", ["content", "data"]) => begin(state, call),
        ("GET", ["content", "data", id]) => {
            let export = state.export.as_ref().filter(|export| export.id == *id);
            ok(export.ok_or_else(Refused::no_resource)?.shown(call.now))
        }
        ("POST", ["cancel", id]) => {
            let export = state.export.as_mut().filter(|export| export.id == *id);
            let export = export.ok_or_else(Refused::no_resource)?;
            export.is_cancelled = true;
            ok(export.shown(call.now))
        }
        _ => Err(Refused::no_resource()),
    }
}

fn begin(state: &mut State, call: &Call<'_>) -> Result<Reply, Refused> {
    for key in ["created_at_after", "created_at_before"] {
        if !call.body.get(key).is_some_and(Value::is_i64) {
            return Err(Refused::missing(format!("{key} is required")));
        }
    }
    let is_busy = |export: &Export| matches!(export.status(call.now), "pending" | "in_progress");
    if state.export.as_ref().is_some_and(is_busy) {
        let message = "Exceeded rate limit of 1 pending message data export jobs";
        return Err(Refused::new(429, "rate_limit_exceeded", message));
    }
    let id = format!("job{:013x}", state.next_id());
    let export = Export { id, began: call.now, is_cancelled: false };
    let shown = export.shown(call.now);
    state.export = Some(export);
    ok(shown)
}
