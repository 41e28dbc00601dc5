//! When an opt-out is over: the one exception to "an opt-out is never undone", and the only way to it.
//!
//! An opt-out is lifted where a person opted in again after it, and where nothing leaves room for doubt:
//! [`judge`] decides it from what was ever seen of an address. It is pure, and the only maker of an
//! [`OptIn`]; one that was written down is [`Lifted`], without which Brevo is told nothing.

use super::{RecordId, Timestamp};

/// Leave to lift opt-outs, which only the configuration gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MayResubscribe(());

impl MayResubscribe {
    /// By the setting `guards.allow_resubscribe`.
    pub fn of(allow_resubscribe: bool) -> Option<Self> {
        allow_resubscribe.then_some(Self(()))
    }
}

/// What the newest snapshot of a contact says of e-mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// It takes e-mail, and nothing says that none reaches it.
    In,
    /// It is unsubscribed, bounced, or marked an e-mail as spam.
    Out,
    /// It does not say.
    Nothing,
    /// The contact is gone, or has another address by now.
    Gone,
}

/// What was ever seen of one Intercom contact while it had the address. None of it depends on the order
/// in which it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The contact.
    pub contact: RecordId,
    /// What it says now.
    pub says: Says,
    /// The newest version in which it was unsubscribed.
    pub out_at: Option<Timestamp>,
    /// As of when it was seen so last: a read shows the state at its own time, whatever the version.
    pub seen_out: Option<Timestamp>,
    /// The first version after `out_at` in which it was subscribed: it opted in between the two.
    pub in_at: Option<Timestamp>,
    /// When Intercom told that it opted in.
    pub told_in: Option<Timestamp>,
}

impl Witness {
    /// Takes up what a snapshot of this version says, stale or not; `read_at`: when the read began that
    /// showed it.
    pub fn hear(&mut self, version: Timestamp, read_at: Option<Timestamp>, is_out: bool) {
        if is_out {
            self.out_at = self.out_at.max(Some(version));
            self.seen_out = self.seen_out.max(Some(version)).max(read_at);
            // An opt-in that was seen at an older version was before this one.
            self.in_at = self.in_at.filter(|at| Some(*at) > self.out_at);
            return;
        }
        let is_first = self.in_at.is_none_or(|at| version < at);
        if self.out_at.is_some_and(|out| version > out) && is_first {
            self.in_at = Some(version);
        }
    }
}

/// What the ledger has of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The newest opt-out that no contact of Intercom's showed: Brevo's, or a rule's.
    pub elsewhere: Option<Timestamp>,
    /// Mail bounces or was complained of, or nobody knows any more why the address is here.
    pub is_final: bool,
}

/// All that is known of the consent of whoever has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// None: nobody opted out, or that was lifted.
    pub entry: Option<Entry>,
    /// Contacts of Intercom's that have or had the address.
    pub witnesses: Vec<Witness>,
}

/// How somebody was seen to opt in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenBy {
    /// A contact that was unsubscribed is so no longer.
    Change,
    /// Intercom told of it.
    Notification,
}

impl SeenBy {
    /// The word for it in the audit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Notification => "notification",
        }
    }
}

/// An opt-in that is newer than every opt-out of its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptIn {
    contact: RecordId,
    at: Timestamp,
    seen_by: SeenBy,
    opted_out: Timestamp,
}

impl OptIn {
    /// The contact that opted in.
    pub fn contact(&self) -> &RecordId {
        &self.contact
    }

    /// When it opted in, at the latest.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// How that was seen.
    pub fn seen_by(&self) -> SeenBy {
        self.seen_by
    }

    /// The newest opt-out of the address.
    pub fn opted_out(&self) -> Timestamp {
        self.opted_out
    }

    /// This opt-in, once it was written down as the audit's entry `id`.
    pub(crate) fn written_down(self, id: i64) -> Lifted {
        Lifted { id, opt_in: self }
    }
}

/// Proof that an opt-out may be lifted, and that this is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifted {
    id: i64,
    opt_in: OptIn,
}

impl Lifted {
    /// Its number in the audit.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The opt-in that lifts it.
    pub fn opt_in(&self) -> &OptIn {
        &self.opt_in
    }
}

/// Why an opt-out stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stays {
    /// There is none.
    NotOut,
    /// Mail bounces or was complained of.
    Final,
    /// The contact does not say that it takes e-mail.
    DoesNotSaySo,
    /// Another contact with the address takes none, or does not say.
    OtherIsOut,
    /// The contact was never seen to opt in.
    NeverOptedIn,
    /// An opt-out is as new as the opt-in, or may be newer.
    OptOutIsNewer,
    /// The opt-out is on its way to Brevo.
    OnItsWay,
    /// Intercom is about to be told of an opt-out that was made in Brevo.
    IntercomIsUntold,
    /// Intercom does not show what the contact says now.
    IntercomIsSilent,
}

impl Stays {
    /// In words.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotOut => "nobody opted out",
            Self::Final => "mail bounces or was complained of",
            Self::DoesNotSaySo => "intercom does not say that the contact takes e-mail",
            Self::OtherIsOut => "another contact with the address takes no e-mail",
            Self::NeverOptedIn => "the contact was not seen to opt in",
            Self::OptOutIsNewer => "the opt-out is newer than the opt-in, or may be",
            Self::OnItsWay => "the opt-out is on its way to brevo",
            Self::IntercomIsUntold => "intercom was not told of an opt-out yet",
            Self::IntercomIsSilent => "intercom does not show what the contact says now",
        }
    }
}

/// Decides whether what is known of an address lets `contact` be written to again. In doubt it does not.
///
/// - The contact takes e-mail by its newest snapshot, and no other contact with the address says less.
/// - It opted in: Intercom told so, or it was seen unsubscribed and, in a later version, subscribed. A
///   contact that was never unsubscribed in Intercom opts in by no other change of it.
/// - That is newer than every opt-out. Of a change only the two versions round it are known: an opt-out
///   elsewhere that may lie between them is taken for the newer one.
///
/// # Errors
/// Says why it stays.
pub fn judge(
    _leave: MayResubscribe,
    history: &History,
    contact: &RecordId,
) -> Result<OptIn, Stays> {
    let entry = history.entry.ok_or(Stays::NotOut)?;
    if entry.is_final {
        return Err(Stays::Final);
    }
    let witness = history.witnesses.iter().find(|witness| witness.contact == *contact);
    let witness = witness.ok_or(Stays::NeverOptedIn)?;
    if witness.says != Says::In {
        return Err(Stays::DoesNotSaySo);
    }
    let others = || history.witnesses.iter().filter(|other| other.contact != *contact);
    if others().any(|other| matches!(other.says, Says::Out | Says::Nothing)) {
        return Err(Stays::OtherIsOut);
    }
    let all_out = history.witnesses.iter().filter_map(|witness| witness.out_at);
    let opted_out = all_out.chain(entry.elsewhere).max();
    let opt_in = |at: Timestamp, seen_by| {
        let opted_out = opted_out.unwrap_or(Timestamp::EPOCH);
        let contact = contact.clone();
        (at > opted_out).then_some(OptIn { contact, at, seen_by, opted_out })
    };
    // What its own contact took back since speaks no longer.
    let standing = others().filter(|other| other.in_at.is_none()).filter_map(|other| other.out_at);
    let standing = standing.chain(entry.elsewhere).max();
    let is_clear = standing.is_none_or(|out| witness.seen_out.is_some_and(|seen| out <= seen));
    let by_change = witness.in_at.filter(|_| is_clear);
    let told = witness.told_in.and_then(|at| opt_in(at, SeenBy::Notification));
    let found = told.or_else(|| opt_in(by_change?, SeenBy::Change));
    let was_seen = witness.told_in.is_some() || witness.in_at.is_some();
    found.ok_or(if was_seen { Stays::OptOutIsNewer } else { Stays::NeverOptedIn })
}

#[cfg(test)]
#[path = "consent_tests.rs"]
mod tests;
