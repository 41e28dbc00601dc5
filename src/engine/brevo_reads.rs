//! Contacts of which Brevo's webhooks told: read one by one, or all that changed in one go, and
//! derived again where they are not as mirrored.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _};

use super::EngineError;
use super::locks::LockKey;
use super::pipeline::Round;
use super::read_back::Found;
use crate::brevo::ErrorKind;
use crate::model::Email;
use crate::store::{Claim, Ending, Outcome, Settlement};

/// Up to this many are read one by one; of more, what changed since the last read-back is read first.
const FEW: usize = 20;
/// How many are read at a time.
const PARALLEL: usize = 4;

impl Round<'_> {
    /// Reads contacts of which a webhook told.
    pub(super) async fn read_changed(&mut self, claims: Vec<Claim>) -> Result<(), EngineError> {
        if claims.is_empty() {
            return Ok(());
        }
        let mut seen = BTreeSet::new();
        if claims.len() > FEW {
            let changes = self.services.read_back.changes(self.lane, None).await?;
            seen.extend(changes.into_iter().filter_map(|contact| contact.email));
        }
        let (mut reads, mut endings) = (Vec::new(), Vec::new());
        for claim in claims {
            match self.engine.store.brevo_address(claim.key.id.clone()).await? {
                None => endings.push(done(claim, Outcome::Ignored)),
                Some(email) if seen.contains(&email) => endings.push(done(claim, Outcome::Applied)),
                Some(email) => reads.push(self.read_one(claim, email)),
            }
        }
        let read: Vec<_> = stream::iter(reads).buffer_unordered(PARALLEL).collect().await;
        endings.extend(read.into_iter().collect::<Result<Vec<_>, _>>()?);
        self.settle(endings).await?;
        // What was found may have made opt-outs and contacts dirty.
        self.engine.live_work.notify_one();
        self.engine.bulk_work.notify_one();
        Ok(())
    }

    async fn read_one(&self, claim: Claim, email: Email) -> Result<Settlement, EngineError> {
        // While somebody writes to the contact, nobody can tell what is older.
        let Some(_held) = self.engine.locks.try_hold(vec![LockKey::Address(email.clone())]) else {
            let at = self.engine.clock.now().plus(1);
            return Ok(Settlement::new(claim, Ending::Retry { at, cursor: None, counts: false }));
        };
        match self.services.read_back.changed(self.lane, &email).await {
            Ok(Found::Changed) => Ok(done(claim, Outcome::Applied)),
            Ok(Found::AsMirrored) => Ok(done(claim, Outcome::Unchanged)),
            Err(EngineError::Brevo(error)) if error.kind() == ErrorKind::Permanent => {
                tracing::warn!("brevo does not answer about a contact that it told of: {error}");
                Ok(done(claim, Outcome::Ignored))
            }
            Err(error) => Err(error),
        }
    }
}

fn done(claim: Claim, outcome: Outcome) -> Settlement {
    Settlement::new(claim, Ending::Done { outcome, due_again: None })
}
