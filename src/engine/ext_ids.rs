//! `EXT_ID`s that another of Brevo's contacts has: no two can have one, and whether Brevo lets go of one
//! is not documented. So it is left out, as a phone number is, and the rest is written. A contact that
//! stands for nobody and bears the `EXT_ID` of a record that has no contact is that record's own, which
//! only moved to another address.

use std::collections::BTreeMap;

use super::EngineError;
use super::derive::Planned;
use super::pipeline::Round;
use super::writer::{self, Fate};
use crate::model::Identity;
use crate::store::{ExtIdHolder, MirrorWrite};

/// When an `EXT_ID` is looked at again that another contact has: what becomes of that one is not told.
const LOOK_AGAIN_SECONDS: i64 = 3_600;

/// Whose an `EXT_ID` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Nobody's, or the contact's that is written.
    Free,
    /// The one of the contact with this number, which is the record's own.
    Own(i64),
    /// Another contact's, with this number.
    Other(i64),
}

impl Round<'_> {
    /// Leaves each `EXT_ID` out that another contact has, and finds the contacts that stand for records by
    /// it: those are derived again.
    pub(super) async fn untangle_ext_ids(
        &mut self,
        planned: Vec<Planned>,
    ) -> Result<Vec<Planned>, EngineError> {
        let wanted: Vec<String> =
            planned.iter().filter_map(|one| one.change.ext_id.clone()).collect();
        if wanted.is_empty() {
            return Ok(planned);
        }
        let holders = self.engine.store.ext_id_holders(wanted).await?;
        let (mut untangled, mut endings) = (Vec::new(), Vec::new());
        for mut one in planned {
            match self.whose(&one, &holders).await? {
                Whose::Free => {}
                Whose::Own(id) => {
                    let mut ending = self.ending(&one, Fate::Stale);
                    ending.mirror.push(MirrorWrite::Own { id, owner: one.owner.clone() });
                    endings.push(ending);
                    continue;
                }
                Whose::Other(id) => {
                    // It has an `EXT_ID`, so this cannot fail.
                    let named = ["EXT_ID".to_owned()];
                    let _ = writer::leave_out(&mut one.change, &named, &one.owner, Some(id));
                    one.look_again_by(self.engine.clock.now().plus(LOOK_AGAIN_SECONDS));
                }
            }
            untangled.push(one);
        }
        self.settle(endings).await?;
        self.sift(untangled).await
    }

    async fn whose(
        &self,
        one: &Planned,
        holders: &BTreeMap<String, ExtIdHolder>,
    ) -> Result<Whose, EngineError> {
        let Some(holder) = one.change.ext_id.as_ref().and_then(|ext_id| holders.get(ext_id)) else {
            return Ok(Whose::Free);
        };
        match one.change.identity {
            Identity::Known(id) if id == holder.id => return Ok(Whose::Free),
            Identity::Known(_) => return Ok(Whose::Other(holder.id)),
            Identity::New => {}
        }
        if holder.owner.is_none() {
            match self.whose_of_nobody(one, holder.id).await? {
                // Without an address it is the only identity, by which Brevo finds the contact itself.
                Whose::Other(_) if one.change.email.is_none() => return Ok(Whose::Free),
                whose => return Ok(whose),
            }
        }
        Ok(if one.change.email.is_some() { Whose::Other(holder.id) } else { Whose::Free })
    }

    /// Whose an `EXT_ID` is that a contact bears which stands for nobody: the record's own, unless another
    /// person has that contact's address in Intercom. Asks Brevo.
    async fn whose_of_nobody(&self, one: &Planned, id: i64) -> Result<Whose, EngineError> {
        let found = self.services.read_back.by_id(self.lane, id).await?;
        let Some(found) = found.filter(|found| found.ext_id == one.change.ext_id) else {
            return Ok(Whose::Free);
        };
        let Some(email) = found.email else {
            return Ok(Whose::Own(id));
        };
        let there = self.engine.store.contacts_at(email).await?;
        let is_anothers = there.iter().any(|other| *other != one.owner);
        Ok(if is_anothers { Whose::Other(id) } else { Whose::Own(id) })
    }
}
