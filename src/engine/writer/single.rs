//! One change by calls of its own: one `PUT` for a known contact, one `POST` for a new one.

use futures_util::stream::{self, StreamExt as _};
use serde_json::json;

use super::{Fate, Fates, Refusal, Rest, Writer, leave_out, must_not_be_out, tell};
use crate::brevo::{self, BrevoError, ContactWrite, ErrorKind, Identifier, Upserted};
use crate::engine::EngineError;
use crate::engine::derive::{Action, Planned};
use crate::engine::read_back::ReadBack;
use crate::engine::suppression::opt_outs_of;
use crate::http::Lane;
use crate::intercom::IntercomError;
use crate::model::{BrevoContact, Change, Identity, Liveness, RecordKey, Snapshot, Source};
use crate::store::{Channel, OptOut, OptOutReason};

/// How many single calls are under way at a time; the limiter keeps them apart.
const PARALLEL: usize = 16;
/// How many times identifiers that others own are left out of one change.
const LEFT_OUT: usize = 4;

/// Why a change is not written.
enum Failed {
    /// Brevo, or the store, says so.
    Error(EngineError),
    /// This is already known.
    Fate(Fate),
}

impl<E: Into<EngineError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl Writer<'_> {
    pub(super) async fn write_singles(
        &self,
        planned: &[Planned],
        indexes: &[usize],
        fates: &Fates,
    ) {
        let rests =
            indexes.iter().filter_map(|index| Some((*index, Rest::of(planned.get(*index)?))));
        self.write_rests(planned, rests.collect(), fates).await;
    }

    /// Writes what is left of changes, suppressions and deletions before the others.
    pub(super) async fn write_rests(
        &self,
        planned: &[Planned],
        rests: Vec<(usize, Rest)>,
        fates: &Fates,
    ) {
        let mut calls: Vec<(usize, &Planned, Rest)> = rests
            .into_iter()
            .filter_map(|(index, rest)| Some((index, planned.get(index)?, rest)))
            .collect();
        calls.sort_by_key(|(_, one, rest)| !is_urgent(one, &rest.change));
        let calls: Vec<_> =
            calls.into_iter().map(|(index, one, rest)| self.write_at(index, one, rest)).collect();
        let mut written = stream::iter(calls).buffer_unordered(PARALLEL);
        while let Some((index, fate)) = written.next().await {
            tell(fates, index, fate);
        }
    }

    async fn write_at(&self, index: usize, planned: &Planned, rest: Rest) -> (usize, Fate) {
        (index, self.write_one(planned, rest).await)
    }

    async fn write_one(&self, planned: &Planned, mut rest: Rest) -> Fate {
        if self.gate.wait().is_some() {
            let paused = EngineError::Worker("writing to brevo is paused".to_owned());
            return self.later(planned, rest, paused);
        }
        match self.opted_out_since(planned).await {
            Ok(false) => {}
            Ok(true) if rest.has_begun(planned) => {
                return Fate::Partly(Box::new(rest.held), rest.applied, None);
            }
            Ok(true) => return Fate::Stale,
            Err(error) => return self.later(planned, rest, error),
        }
        let lane = if is_urgent(planned, &rest.change) { Lane::Urgent } else { self.lane };
        let result = match planned.action {
            Action::Delete => self.delete(planned, lane).await.map_err(Failed::Error),
            Action::Write | Action::Release => self.write_change(planned, &mut rest, lane).await,
        };
        match result {
            Ok(fate) => self.release_former(planned, fate).await,
            Err(Failed::Fate(fate)) => fate,
            Err(Failed::Error(error)) => self.fate_of(planned, rest, error),
        }
    }

    /// Takes from the contact that stood for the record until now what the engine granted it. If that
    /// fails, what is written of the new one stays written.
    async fn release_former(&self, planned: &Planned, fate: Fate) -> Fate {
        let Some((former, change)) = planned.release.as_ref().filter(|(_, c)| !c.is_empty()) else {
            return fate;
        };
        let Fate::Written(contact, applied) = fate else {
            return fate;
        };
        match self.put(self.lane, former.contact.id, change).await {
            Ok(()) | Err(BrevoError::NotFound { .. }) => Fate::Written(contact, applied),
            Err(error) => {
                self.note(planned, &error);
                if error.kind() == ErrorKind::Permanent {
                    return Fate::Refused(Box::new(Refusal::of(error, change)));
                }
                Fate::Partly(contact, applied, Some(error.into()))
            }
        }
    }

    /// True if an opt-out came after the change was worked out.
    async fn opted_out_since(&self, planned: &Planned) -> Result<bool, EngineError> {
        let Some(email) = must_not_be_out(planned) else {
            return Ok(false);
        };
        let store = &self.importer.read_back.store;
        Ok(store.is_suppressed(email.clone(), Channel::Email).await?)
    }

    fn fate_of(&self, planned: &Planned, rest: Rest, error: EngineError) -> Fate {
        self.note(planned, &error);
        match error {
            EngineError::Brevo(error) if error.kind() == ErrorKind::Permanent => {
                Fate::Refused(Box::new(Refusal::of(error, &rest.change)))
            }
            other => self.later(planned, rest, other),
        }
    }

    /// What is written of a change stays so, the rest comes again.
    fn later(&self, planned: &Planned, rest: Rest, error: EngineError) -> Fate {
        if rest.has_begun(planned) && matches!(rest.change.identity, Identity::Known(_)) {
            Fate::Partly(Box::new(rest.held), rest.applied, Some(error))
        } else {
            Fate::Later(error)
        }
    }

    async fn write_change(
        &self,
        planned: &Planned,
        rest: &mut Rest,
        lane: Lane,
    ) -> Result<Fate, Failed> {
        if rest.change.moves_address() && rest.change.is_blacklisted {
            self.note_opt_out_of(&rest.change, planned).await?;
        }
        for _ in 0..LEFT_OUT {
            if rest.change.is_empty() {
                return Ok(Fate::Written(Box::new(rest.held.clone()), rest.applied.clone()));
            }
            match self.send(&rest.change, lane).await {
                Ok(id) => return self.confirm(rest, id, lane).await,
                Err(BrevoError::Duplicate { identifiers }) => {
                    if identifiers.iter().any(|name| name == "EMAIL") {
                        return self.address_is_taken(&rest.change).await;
                    }
                    let holder = self.find_ext_id_holder(&rest.change, &identifiers).await?;
                    if holder.is_some() && !rest.has_begun(planned) {
                        // Now the mirror knows of it, and what is derived again goes round it.
                        return Err(Failed::Fate(Fate::Stale));
                    }
                    self.find_owner(&rest.change, &identifiers).await?;
                    leave_out(&mut rest.change, &identifiers, &planned.owner, holder)?;
                }
                Err(BrevoError::NotFound { message }) => {
                    return self.is_gone(&rest.change, message).await;
                }
                Err(error @ BrevoError::Invalid { .. }) => {
                    let is_about_lists = error.to_string().to_lowercase().contains("list");
                    if is_about_lists && self.lacks_lists_of(&rest.change).await? {
                        return Err(Failed::Fate(Fate::Stale));
                    }
                    return Err(error.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let text = "brevo finds another owner for one identifier after the other".to_owned();
        Err(Failed::Error(EngineError::Worker(text)))
    }

    /// Enters the new address of somebody who opted out into the ledger before the move, which takes
    /// him off Brevo's blacklist: whatever happens then, the flag is put back.
    async fn note_opt_out_of(&self, change: &Change, planned: &Planned) -> Result<(), EngineError> {
        let ReadBack { store, clock, .. } = &self.importer.read_back;
        let now = clock.now();
        let opt_out = OptOut {
            email: change.email.clone(),
            phone: None,
            channel: Channel::Email,
            reason: OptOutReason::Asked,
            at: now,
            source: "brevo",
            contact: Some(planned.owner.clone()),
        };
        Ok(store.learn(Vec::new(), vec![opt_out], now).await?)
    }

    /// Reads who owns a phone number that was refused, so that it is not tried again in vain.
    pub(super) async fn find_owner(
        &self,
        change: &Change,
        identifiers: &[String],
    ) -> Result<(), EngineError> {
        let sms = change.set.iter().find(|(name, _)| name.as_str() == "SMS");
        if let Some((_, phone)) = sms.filter(|_| identifiers.iter().any(|name| name == "SMS")) {
            self.importer.read_back.by_phone(self.lane, phone.phone_digits()).await?;
        }
        Ok(())
    }

    /// Reads who owns an `EXT_ID` that was refused; answers its number, if it is another contact.
    async fn find_ext_id_holder(
        &self,
        change: &Change,
        identifiers: &[String],
    ) -> Result<Option<i64>, EngineError> {
        let is_named = identifiers.iter().any(|name| name == "EXT_ID");
        let Some(ext_id) = change.ext_id.as_ref().filter(|_| is_named) else {
            return Ok(None);
        };
        let found = self.importer.read_back.by_ext_id(self.lane, ext_id.clone()).await?;
        let found = found.filter(|found| found.ext_id.as_ref() == Some(ext_id));
        Ok(found.map(|found| found.id).filter(|id| change.identity != Identity::Known(*id)))
    }

    /// Sends a change by itself; answers the contact's number, where Brevo says it.
    async fn send(&self, change: &Change, lane: Lane) -> Result<Option<i64>, BrevoError> {
        match change.identity {
            Identity::Known(id) => self.put(lane, id, change).await.map(|()| Some(id)),
            Identity::New => match self.brevo.upsert(lane, &ContactWrite::from(change)).await? {
                Upserted::Created(id) => Ok(Some(id)),
                Upserted::Updated => Ok(None),
            },
        }
    }

    async fn put(&self, lane: Lane, id: i64, change: &Change) -> Result<(), BrevoError> {
        self.brevo.update(lane, &Identifier::Id(id), &ContactWrite::from(change)).await
    }

    /// What Brevo holds after a change was sent.
    async fn confirm(&self, rest: &Rest, id: Option<i64>, lane: Lane) -> Result<Fate, Failed> {
        self.gate.open();
        let Some(id) = id else {
            return Ok(self.adopt(&rest.change).await?);
        };
        if rest.change.moves_address() && rest.change.is_blacklisted {
            self.reassert(id, lane).await?;
        }
        let (contact, applied) = rest.clone().written(id);
        Ok(Fate::Written(Box::new(contact), applied))
    }

    /// The contact was not new after all: what it holds is asked for.
    async fn adopt(&self, change: &Change) -> Result<Fate, EngineError> {
        let Some(email) = &change.email else {
            if let Some(ext_id) = &change.ext_id {
                self.importer.read_back.by_ext_id(self.lane, ext_id.clone()).await?;
            }
            return Ok(Fate::Stale);
        };
        let found = self.importer.read_back.by_address(self.lane, email).await?;
        Ok(found.map_or(Fate::Stale, |contact| {
            Fate::Written(Box::new(contact), crate::model::Applied::default().after(change))
        }))
    }

    /// A new address takes a contact off Brevo's blacklist, even where the same call says otherwise
    /// (facts: Brevo section 0): it is put back, and looked at.
    async fn reassert(&self, id: i64, lane: Lane) -> Result<(), EngineError> {
        let flag =
            ContactWrite { email_blacklisted: Some(brevo::OptOut), ..ContactWrite::default() };
        self.brevo.update(lane, &Identifier::Id(id), &flag).await?;
        let held = self.importer.read_back.by_id(lane, id).await?;
        match held {
            Some(contact) if !contact.email_blacklisted => Err(EngineError::Worker(
                "brevo did not keep an opt-out after a change of address".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Another contact of Brevo's has the address: it is read into the mirror, and the record derived
    /// again.
    async fn address_is_taken(&self, change: &Change) -> Result<Fate, Failed> {
        if let Some(email) = &change.email {
            self.importer.read_back.by_address(self.lane, email).await?;
        }
        Err(Failed::Fate(Fate::Stale))
    }

    /// A known contact is gone, or one of its lists is: only a read tells which.
    async fn is_gone(&self, change: &Change, message: String) -> Result<Fate, Failed> {
        let refused = |message| Failed::Error(BrevoError::NotFound { message }.into());
        if let Identity::Known(id) = change.identity
            && self.importer.read_back.by_id(self.lane, id).await?.is_none()
        {
            return Err(Failed::Fate(Fate::Stale));
        }
        if self.lacks_lists_of(change).await? {
            return Err(Failed::Fate(Fate::Stale));
        }
        Err(refused(message))
    }

    /// True if one of the lists that a change names is gone: derived again, the record says which, and
    /// which line asked for it. Asks Brevo.
    async fn lacks_lists_of(&self, change: &Change) -> Result<bool, EngineError> {
        if change.add.is_empty() && change.remove.is_empty() {
            return Ok(false);
        }
        self.account.forget();
        let known = self.account.snapshot(self.lane).await?;
        Ok(change.add.union(&change.remove).any(|list| !known.lists.has(*list)))
    }

    /// Deletes a contact that Intercom no longer has. That nobody there stands for it is asked for right
    /// before.
    async fn delete(&self, planned: &Planned, lane: Lane) -> Result<Fate, EngineError> {
        let Some(mirrored) = &planned.current else {
            return Ok(Fate::Deleted);
        };
        if planned.decision.is_none() {
            let found = self.standing_in_intercom(planned, &mirrored.contact, lane).await?;
            if !found.is_empty() {
                let ReadBack { store, clock, .. } = &self.importer.read_back;
                let opt_outs = found.iter().flat_map(opt_outs_of).collect();
                store.learn(found, opt_outs, clock.now()).await?;
                return Ok(Fate::Stale);
            }
        }
        self.brevo.delete(lane, &Identifier::Id(mirrored.contact.id)).await?;
        self.gate.open();
        Ok(Fate::Deleted)
    }

    /// What Intercom has in place of a contact that is said to be deleted: the contact itself, the one
    /// that it was merged into, or others with its address, of which one is derived from now on.
    async fn standing_in_intercom(
        &self,
        planned: &Planned,
        held: &BrevoContact,
        lane: Lane,
    ) -> Result<Vec<Snapshot>, EngineError> {
        let (Some(intercom), owner) = (self.intercom, &planned.owner) else {
            return Ok(Vec::new());
        };
        match intercom.contact(lane, owner).await {
            Ok(snapshot) => return Ok(vec![snapshot]),
            Err(IntercomError::NotFound { merged_into: Some(into) }) => {
                let now = self.importer.read_back.clock.now();
                let liveness = Liveness::Merged { into: Some(into) };
                let (key, source) =
                    (RecordKey::contact(owner.clone()), Source::Read { began: now });
                return Ok(vec![Snapshot::new(key, liveness, json!({}), source, now, now)]);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        let Some(email) = &held.email else {
            return Ok(Vec::new());
        };
        let others = intercom.contacts_with_email(lane, email).await?;
        Ok(others.into_iter().filter(|other| other.key.id != *owner).collect())
    }
}

/// True of what goes before everything else: what takes people off.
fn is_urgent(planned: &Planned, change: &Change) -> bool {
    planned.action == Action::Delete || change.email_opt_out || change.sms_opt_out
}

/// The whole of what an opt-out writes.
pub(crate) fn opt_out_write(channel_email: bool, channel_sms: bool) -> ContactWrite {
    ContactWrite {
        email_blacklisted: channel_email.then_some(brevo::OptOut),
        sms_blacklisted: channel_sms.then_some(brevo::OptOut),
        ..ContactWrite::default()
    }
}
