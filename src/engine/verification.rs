//! Whether what was written arrived. Brevo answers 204 and drops what it does not take, so contacts
//! are read again a moment after a write: all of them while there is little to do, a sample while
//! there is much. A value that is missing is written once more, by itself; one that is missing again
//! is parked.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::{EngineError, Inner};
use crate::http::Lane;
use crate::model::{AttributeName, AttributeType, BrevoContact, SentValue};
use crate::store::{ParkedAttribute, Priority, Unverified, VerificationCounts, Verified};
use crate::telemetry;

/// How long after a write it is looked for: reads may trail writes.
const AFTER_SECONDS: i64 = 5;
/// How long after a write its absence still says something about the write.
const WITHIN_SECONDS: i64 = 600;
/// How many contacts a call reads.
const PAGE: usize = 20;
/// How often it is looked whether something was written.
const LOOK: Duration = Duration::from_secs(2);
/// The wait between two calls while other work waits for the same budget.
const BUSY: Duration = Duration::from_secs(5);
/// From how many waiting keys on that is so.
const BUSY_KEYS: u64 = 50;

/// What became of values that were written, as `status` shows it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationView {
    /// How many values were looked for, and what was found.
    #[serde(flatten)]
    pub counts: VerificationCounts,
    /// Which attributes have values that Brevo does not take.
    pub attributes: Vec<ParkedView>,
}

/// Values of one attribute that Brevo does not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParkedView {
    /// The attribute.
    pub attribute: AttributeName,
    /// Its type in Brevo when they were written last; null: the account did not have it.
    #[serde(rename = "type")]
    pub kind: Option<AttributeType>,
    /// Of how many contacts.
    pub contacts: u64,
    /// What to do.
    pub remedy: String,
}

impl From<ParkedAttribute> for ParkedView {
    fn from(parked: ParkedAttribute) -> Self {
        let ParkedAttribute { name, kind, contacts } = parked;
        let remedy = remedy(&name, kind);
        Self { attribute: name, kind, contacts, remedy }
    }
}

fn remedy(name: &AttributeName, kind: Option<AttributeType>) -> String {
    let check = match kind {
        None => format!("make the attribute `{name}` in Brevo"),
        Some(AttributeType::Category | AttributeType::MultipleChoice) => {
            format!("look in Brevo whether `{name}` has all the options that the rules write")
        }
        Some(kind) => {
            format!("look in Brevo whether `{name}` is a {kind} attribute that can be written")
        }
    };
    format!(
        "{check}; a value is written again once another is decided or the attribute's type changes"
    )
}

/// The sentence that `degraded` has for parked values.
fn problem(parked: &[ParkedView]) -> Option<String> {
    let contacts: u64 = parked.iter().map(|one| one.contacts).max()?;
    let names: Vec<String> = parked.iter().map(|one| format!("`{}`", one.attribute)).collect();
    let who = if contacts == 1 { "1 contact".to_owned() } else { format!("{contacts} contacts") };
    Some(format!(
        "brevo does not take values of {} of {who}: `tajo connectors status intercom --json` names types and remedies",
        names.join(", ")
    ))
}

/// Looks for what was written, until the engine stops.
pub(super) async fn verify(engine: Arc<Inner>) {
    if let Err(error) = engine.remember_parked().await {
        engine.note(&error);
    }
    loop {
        let wait = match engine.verify_some().await {
            Ok(0) => LOOK,
            Ok(_) => engine.pace().await,
            Err(error) => {
                engine.note(&error);
                BUSY
            }
        };
        if engine.wait(wait).await.is_err() || engine.wait_for_gate().await.is_err() {
            return;
        }
    }
}

impl Inner {
    /// Reads some contacts that were written to a moment ago; answers how many.
    async fn verify_some(&self) -> Result<usize, EngineError> {
        let now = self.clock.now();
        let (since, before) = (now.plus(-WITHIN_SECONDS), now.plus(-AFTER_SECONDS));
        let written = self.store.unverified(since, before, PAGE).await?;
        if written.is_empty() {
            self.store.forget_unverified(since).await?;
            return Ok(0);
        }
        let services = self.services.load_full();
        let ids: Vec<i64> = written.iter().map(|one| one.id).collect();
        let found = services.read_back.again(Lane::Bulk, &ids).await?;
        let by_id: BTreeMap<i64, &BrevoContact> =
            found.iter().map(|contact| (contact.id, contact)).collect();
        let mut verdicts = Vec::new();
        for one in &written {
            // Who is gone holds nothing, and nothing is to be said of it.
            if let Some(contact) = by_id.get(&one.id) {
                let verified = judge(one, contact);
                report(one, &verified);
                verdicts.push(verified);
            }
        }
        let is_dropped = verdicts.iter().any(|one| !one.dropped.is_empty());
        self.store.put_verified(verdicts).await?;
        if is_dropped {
            // The attribute may be another one by now.
            services.account.forget();
            self.bulk_work.notify_one();
        }
        self.remember_parked().await?;
        Ok(written.len())
    }

    async fn pace(&self) -> Duration {
        let now = self.clock.now();
        let waiting = |priority| self.store.waiting(priority, now);
        let live = waiting(Priority::Live).await.unwrap_or(BUSY_KEYS);
        let bulk = waiting(Priority::Bulk).await.unwrap_or(BUSY_KEYS);
        if live + bulk >= BUSY_KEYS { BUSY } else { Duration::from_millis(250) }
    }

    async fn remember_parked(&self) -> Result<(), EngineError> {
        let parked = self.store.parked().await?.into_iter().map(ParkedView::from).collect();
        *self.parked.lock().unwrap_or_else(PoisonError::into_inner) = parked;
        Ok(())
    }

    /// Which attributes have values that Brevo does not take.
    pub(super) fn parked(&self) -> Vec<ParkedView> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is wrong with values, for `degraded`.
    pub(super) fn parked_problem(&self) -> Option<String> {
        problem(&self.parked())
    }
}

/// Which of the values that were written a contact holds.
fn judge(written: &Unverified, contact: &BrevoContact) -> Verified {
    let (taken, dropped): (Vec<_>, Vec<_>) =
        written.sent.iter().partition(|(name, sent)| sent.is_in(name, contact));
    Verified {
        id: written.id,
        at: written.at,
        taken: taken.into_iter().map(|(name, _)| name.clone()).collect(),
        dropped: dropped
            .into_iter()
            .map(|(name, sent)| (name.clone(), sent.clone()))
            .collect::<BTreeMap<AttributeName, SentValue>>(),
    }
}

fn report(written: &Unverified, verified: &Verified) {
    for (name, sent) in &verified.dropped {
        metrics::counter!(telemetry::VALUES_DROPPED.name, "attribute" => name.to_string())
            .increment(1);
        let kind = sent.kind.map_or_else(|| "unknown".to_owned(), |kind| kind.to_string());
        tracing::warn!(
            contact.id = %written.owner,
            attribute.name = %name,
            attribute.kind = kind,
            "brevo did not take a value that it was sent: {}",
            remedy(name, sent.kind)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_value_names_attribute_type_and_remedy() {
        fn case(kind: Option<AttributeType>, expected: &str) {
            let remedy = remedy(&"PLAN".parse().unwrap(), kind);
            let (check, rest) = remedy.split_once("; ").unwrap();
            assert_eq!(check, expected);
            assert_eq!(
                rest,
                "a value is written again once another is decided or the attribute's type changes"
            );
        }
        case(None, "make the attribute `PLAN` in Brevo");
        case(
            Some(AttributeType::Category),
            "look in Brevo whether `PLAN` has all the options that the rules write",
        );
        case(
            Some(AttributeType::Float),
            "look in Brevo whether `PLAN` is a float attribute that can be written",
        );
    }

    #[test]
    fn degraded_names_the_attributes_and_how_many_people_they_concern() {
        let parked = |name: &str, contacts| {
            ParkedView::from(ParkedAttribute { name: name.parse().unwrap(), kind: None, contacts })
        };
        assert_eq!(problem(&[]), None);
        assert_eq!(
            problem(&[parked("MRR", 1), parked("PLAN", 3)]).unwrap(),
            "brevo does not take values of `MRR`, `PLAN` of 3 contacts: \
             `tajo connectors status intercom --json` names types and remedies"
        );
    }
}
