//! Custom objects on their way to Brevo: by type, up to a thousand in a call, each only when it differs
//! from what Brevo took last. A second call with the same objects changes nothing, so that what is in
//! doubt is sent again.

use std::sync::Arc;
use std::time::Duration;

use super::companies::wait_for_process;
use super::sink::GATHER;
use super::{EngineError, Inner};
use crate::brevo::{BrevoError, ErrorKind, MAX_OBJECTS, ObjectWrite};
use crate::http::{Backoff, Lane, random_fraction};
use crate::model::Timestamp;
use crate::store::{Cause, DueObject, ObjectEnd};

/// How long one object may fail before it is given up, in seconds.
const GIVE_UP_AFTER_SECONDS: i64 = 24 * 3_600;

/// Sends what is due until the engine stops.
pub(crate) async fn deliver(engine: Arc<Inner>) {
    loop {
        let sent = match engine.ready_for(&engine.objects).await {
            Ok(()) => round(&engine).await,
            Err(error) => Err(error),
        };
        let waited = match sent {
            Ok(true) => Ok(()),
            Ok(false) => {
                let due = engine.store.next_object_due().await;
                engine.wait_for(&engine.objects, due).await
            }
            Err(EngineError::Stopping) => return,
            Err(error) => {
                engine.note_of(&engine.objects, &error);
                engine.wait(Duration::from_secs(1)).await
            }
        };
        if waited.is_err() || engine.stop.is_cancelled() {
            return;
        }
    }
}

/// Sends one batch; true if there may be more.
async fn round(engine: &Inner) -> Result<bool, EngineError> {
    let due = gather(engine).await?;
    let Some(kind) = due.first().map(|object| object.kind.clone()) else { return Ok(false) };
    let writes: Vec<ObjectWrite> = due.iter().map(write_of).collect();
    let fitting = ObjectWrite::fitting(&writes);
    let batch: Vec<(DueObject, ObjectWrite)> = due.into_iter().zip(writes).take(fitting).collect();
    // What Brevo refuses as a whole is halved until the culprit is found.
    let mut parts = vec![batch];
    while let Some(part) = parts.pop() {
        let writes: Vec<ObjectWrite> = part.iter().map(|(_, write)| write.clone()).collect();
        let brevo = engine.services.load_full().brevo.clone();
        let sent = match brevo.upsert_objects(Lane::Live, &kind, &writes).await {
            // Taken is not yet done.
            Ok(Some(process)) => match wait_for_process(engine, Lane::Bulk, process).await? {
                true => Ok(()),
                false => Err(BrevoError::Server { status: 500 }),
            },
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        let now = engine.clock.now();
        let ends = match sent {
            Ok(()) => {
                engine.objects.succeed();
                part.into_iter()
                    .map(|(object, write)| (object, ObjectEnd::Sent(write.contact)))
                    .collect()
            }
            Err(error) if error.kind() == ErrorKind::Permanent => {
                let is_about_all = matches!(error, BrevoError::NotFound { .. });
                if part.len() > 1 && !is_about_all {
                    let mut first = part;
                    let second = first.split_off(first.len() / 2);
                    parts.extend([second, first]);
                    continue;
                }
                engine.objects.succeed();
                let dead = |object: &DueObject| ObjectEnd::Dead(refused(object, &error));
                part.into_iter().map(|(object, _)| (object.clone(), dead(&object))).collect()
            }
            // The plan has no custom objects: they are kept until it does.
            Err(error) if is_unavailable(&error) => {
                engine.objects.disable(&error);
                return Ok(true);
            }
            Err(error) => {
                let ends = part
                    .into_iter()
                    .map(|(object, _)| {
                        let end = failed(engine, &object, &error, now);
                        (object, end)
                    })
                    .collect();
                engine.store.end_objects(ends, now).await?;
                return Err(error.into());
            }
        };
        engine.store.end_objects(ends, now).await?;
    }
    Ok(true)
}

/// What is due, and what is about to be.
async fn gather(engine: &Inner) -> Result<Vec<DueObject>, EngineError> {
    let load = || engine.store.due_objects(MAX_OBJECTS, engine.clock.now());
    let enough = |due: &Vec<DueObject>| due.is_empty() || due.len() >= MAX_OBJECTS;
    engine.gather(GATHER, load, enough, || engine.brings_more()).await
}

/// True of what says that this account has no custom objects at all: its plan, or its API.
fn is_unavailable(error: &BrevoError) -> bool {
    match error {
        BrevoError::Forbidden { .. } => true,
        BrevoError::Malformed { reason, .. } => reason.starts_with("404"),
        _ => false,
    }
}

fn write_of(object: &DueObject) -> ObjectWrite {
    ObjectWrite { id: object.id.clone(), fields: object.fields.clone(), contact: object.number }
}

fn failed(engine: &Inner, object: &DueObject, error: &BrevoError, now: Timestamp) -> ObjectEnd {
    let is_own = error.kind() == ErrorKind::Transient
        && !matches!(error, BrevoError::RateLimited { .. })
        && engine.objects.failures() == 0;
    let failing = object.failing_since.map(|since| now.seconds() - since.seconds());
    if is_own && failing.is_some_and(|seconds| seconds > GIVE_UP_AFTER_SECONDS) {
        let message = format!("it failed for a day: {error}");
        return ObjectEnd::Dead(cause(object, "expired", message, error));
    }
    let wait = Backoff::default().delay(object.attempts, None, random_fraction());
    let at = now.plus(wait.as_secs().max(1).cast_signed());
    ObjectEnd::Retry { at, counts: is_own }
}

fn refused(object: &DueObject, error: &BrevoError) -> Cause {
    let message = match error {
        BrevoError::NotFound { .. } => format!(
            "the account has no custom object `{}`: make it in Brevo, then retry ({error})",
            object.kind
        ),
        error => format!("brevo refuses the object: {error}"),
    };
    tracing::warn!(
        contact.id = %object.contact,
        origin = object.origin,
        "brevo refuses an object; it is a dead letter: {error}"
    );
    cause(object, "object", message, error)
}

fn cause(object: &DueObject, kind: &'static str, message: String, error: &BrevoError) -> Cause {
    let DueObject { kind: of_type, id, contact, .. } = object;
    Cause {
        kind,
        message: format!("object `{of_type}` {id} of contact {contact}: {message}"),
        origin: object.origin.clone(),
        response: Some(error.to_string()),
        rule_set: object.rule_set.clone(),
        ..Cause::default()
    }
}
