//! Opt-outs that were made in Brevo reach Intercom: once for each contact, whichever way the rest is
//! synced. What Intercom then says of it is known already and causes nothing.

use serde_json::{Map, Value, json};

use super::EngineError;
use super::pipeline::Round;
use super::suppression::opted_out;
use crate::http::Lane;
use crate::intercom::IntercomError;
use crate::model::{RecordId, RecordKey};
use crate::store::{Cause, Claim, Ending, MirrorWrite, Outcome, Settlement};

impl Round<'_> {
    /// Tells Intercom of a contact who opted out in Brevo.
    pub(super) async fn tell_intercom(&mut self, claim: Claim) -> Result<(), EngineError> {
        let contact = claim.key.id.clone();
        let ending = self.told(&contact).await?;
        let is_told =
            matches!(ending, Ending::Done { outcome: Outcome::Applied | Outcome::Unchanged, .. });
        let mut settlement = Settlement::new(claim, ending);
        if is_told {
            settlement.mirror.push(MirrorWrite::ToldIntercom { contact });
        }
        self.settle(vec![settlement]).await
    }

    async fn told(&self, contact: &RecordId) -> Result<Ending, EngineError> {
        let done = |outcome| Ending::Done { outcome, due_again: None };
        let Some(intercom) = &self.services.intercom else {
            return Ok(done(Outcome::Ignored));
        };
        if !self.engine.config.load().intercom.sync_unsubscribes {
            return Ok(done(Outcome::Ignored));
        }
        let record = self.engine.store.record(RecordKey::contact(contact.clone())).await?;
        let Some(record) = record.filter(|record| record.liveness.is_live()) else {
            return Ok(done(Outcome::Ignored));
        };
        if says_so(&record.body) {
            return Ok(done(Outcome::Unchanged));
        }
        let fields: Map<String, Value> =
            [("unsubscribed_from_emails".to_owned(), json!(true))].into_iter().collect();
        match intercom.update_contact(Lane::Urgent, contact, &fields).await {
            Ok(snapshot) => {
                // Whoever asks again before Intercom's notification is here sees it.
                let (store, now) = (&self.engine.store, self.engine.clock.now());
                store.learn(vec![snapshot], Vec::new(), now).await?;
                tracing::info!(contact.id = %contact, "told intercom of an opt-out that was made in brevo");
                Ok(done(Outcome::Applied))
            }
            Err(error) if error.is_not_found() => Ok(done(Outcome::Ignored)),
            Err(error @ (IntercomError::Invalid { .. } | IntercomError::MissingScope)) => {
                let message = format!("intercom was not told of an opt-out made in brevo: {error}");
                Ok(Ending::Dead(Cause { kind: "refused", message, ..Cause::default() }))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// True if Intercom itself says that the person takes no e-mail; a bounce there is no opt-out.
fn says_so(body: &Value) -> bool {
    opted_out(body).0 && body.get("unsubscribed_from_emails") == Some(&Value::Bool(true))
}
