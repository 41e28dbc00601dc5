//! From a notification to a durable input: verified bytes in, journal, records, ledger and work in
//! one step.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde_json::Value;

use super::suppression::opt_outs_of;
use super::{EngineError, Inner};
use crate::intercom::{self, Notification, Topic, Verified};
use crate::model::Timestamp;
use crate::store::{Acceptance, Arrival, Content, Journalled, Priority};

/// Longest text that is taken for the topic of a notification that cannot be used.
const MAX_TOPIC_BYTES: usize = 100;

impl Inner {
    /// Makes a verified notification durable. What is signed but unusable becomes a dead letter: a
    /// retry cannot help, and errors would suspend the webhook.
    pub(crate) async fn accept(&self, verified: Verified) -> Result<Acceptance, EngineError> {
        let received = self.clock.now();
        let body = verified.body().clone();
        let arrival = match verified.parse(received) {
            Ok(notification) if self.is_foreign(notification.app_id.as_deref()) => {
                foreign(notification, received)
            }
            Ok(notification) => arrival(notification, body, received),
            Err(unusable) => Arrival {
                notification: Some(Journalled {
                    dedupe_key: format!("unusable:{}", crate::model::Digest::of_bytes(&body)),
                    topic: topic_of(&body),
                    body: body.to_vec(),
                }),
                received,
                priority: Priority::Live,
                content: Content::Unusable { reason: unusable.reason },
            },
        };
        let acceptance = self.take_in(arrival).await?;
        self.note_notification(received).await;
        Ok(acceptance)
    }

    /// Remembers, to the minute, that a signed notification came: Intercom reaches this engine.
    async fn note_notification(&self, at: Timestamp) {
        let noted = self.last_notification.load(Ordering::Relaxed);
        if at.seconds() - noted < 60 {
            return;
        }
        self.last_notification.store(at.seconds(), Ordering::Relaxed);
        // The notification itself is durable already, so a failure here is none of its sender's.
        if let Err(error) = self.store.put_fact("last_notification", at.seconds().to_string()).await
        {
            self.note(&error.into());
        }
    }

    /// Makes a notification durable that a trusted caller hands in.
    ///
    /// # Errors
    /// [`HandInError::Unusable`] if the topic is about a contact and `data` holds none.
    pub(crate) async fn hand_in(
        &self,
        topic: &str,
        data: &Value,
    ) -> Result<Acceptance, HandInError> {
        let received = self.clock.now();
        let notification = intercom::trusted(topic, data, received)?;
        let body = serde_json::json!({"type": "notification_event", "topic": topic, "data": data})
            .to_string();
        Ok(self.take_in(arrival(notification, Bytes::from(body), received)).await?)
    }

    async fn take_in(&self, arrival: Arrival) -> Result<Acceptance, EngineError> {
        let accepted = self.store.accept(arrival).await;
        self.note_store(accepted.as_ref().err());
        match &accepted {
            Ok(_) => self.watch.note_recovery(),
            Err(_) => self.watch.note_refusal(),
        }
        let acceptance = accepted?;
        if acceptance == Acceptance::Accepted {
            self.live_work.notify_one();
            self.companies.wake();
        }
        Ok(acceptance)
    }
}

/// Why something that was handed in was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandInError {
    /// It says nothing that can be used.
    #[error(transparent)]
    Unusable(#[from] intercom::Unusable),
    /// The engine could not take it.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A notification of another workspace: none of its content is kept.
fn foreign(notification: Notification, received: Timestamp) -> Arrival {
    let Notification { dedupe_key, topic_name, .. } = notification;
    let notification = Some(Journalled { dedupe_key, topic: topic_name, body: Vec::new() });
    Arrival { notification, received, priority: Priority::Live, content: Content::Foreign }
}

/// The topic of a body that cannot be used, as far as it says one.
fn topic_of(body: &[u8]) -> String {
    let envelope: Option<Value> = serde_json::from_slice(body).ok();
    let topic = envelope.as_ref().and_then(|envelope| envelope.get("topic")?.as_str());
    let is_topic = |topic: &&str| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        !topic.is_empty() && topic.len() <= MAX_TOPIC_BYTES && topic.chars().all(is_word)
    };
    topic.filter(is_topic).unwrap_or("unusable").to_owned()
}

fn arrival(notification: Notification, body: Bytes, received: Timestamp) -> Arrival {
    let Notification { dedupe_key, topic, topic_name, content, .. } = notification;
    // Opt-outs have urgent work of their own; deletions go first as a whole.
    let priority = if topic == Topic::ContactDeleted { Priority::Urgent } else { Priority::Live };
    let content = match content {
        intercom::Content::Ping | intercom::Content::Ignored { .. } => Content::Nothing,
        intercom::Content::Snapshots(snapshots) => {
            let opt_outs = snapshots.iter().flat_map(opt_outs_of).collect();
            let mut snapshots = snapshots.into_iter();
            match snapshots.next() {
                Some(primary) => Content::Snapshots {
                    primary: Box::new(primary),
                    others: snapshots.collect(),
                    opt_outs,
                },
                None => Content::Nothing,
            }
        }
    };
    let notification = Some(Journalled { dedupe_key, topic: topic_name, body: body.to_vec() });
    Arrival { notification, received, priority, content }
}
