//! The store: what must survive a `kill -9` and a power cut.
//!
//! It speaks the domain's verbs, never SQL or transactions: a notification, its record and its dirty
//! key are one step; the end of a claim, the mirror and the counters are one step. Every verb that
//! writes returns once its effect is synced to disk.

mod arrival;
mod brevo_arrival;
mod company;
mod connection;
mod consent;
mod dead_letter;
mod double_opt_in;
mod error;
mod event;
mod event_count;
mod hold;
mod mirror;
mod object;
mod overlay;
mod record_subject;
mod rule_set;
mod sinks;
mod sqlite;
mod status;
mod subject;
mod sync;
mod verification;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use arrival::{
    Acceptance, Arrival, Channel, Content, Journalled, OptOut, OptOutReason, Priority,
};
use async_trait::async_trait;
pub use brevo_arrival::{AfterLoss, BrevoAcceptance, BrevoArrival, BrevoEffect};
pub use company::{
    CompanySubject, CompanyWrite, DueLinks, FoundCompany, KnownCompany, LinkEnd, SinkCounts,
};
pub use connection::{Connection, Way};
pub use consent::{LeftLift, LiftEnd, LiftWish, OpenLift};
pub use dead_letter::{DeadLetter, DeadLetterQuery};
pub use double_opt_in::{DoubleOptInEnd, DueDoubleOptIn};
pub use error::StoreError;
pub use event::{
    Awaits, Derivation, Doubt, DueEvent, EventCounts, EventEnd, EventTarget, LIVE_SINCE,
    LastDerivation, Withheld,
};
pub use event_count::{EventCount, EventReading, EventReadings};
pub use hold::{HeldChange, Hold, Judged, Judgement, Measure, Taking};
pub use mirror::{ExtIdHolder, MirrorEntry, MirrorWrite};
pub use object::{DueObject, ObjectEnd};
pub use overlay::Overlay;
pub use record_subject::RecordSubject;
pub use rule_set::{FileChanges, RuleSetEntry, RuleSetSummary};
pub use sinks::{CompanyCounts, DoubleOptInCounts, LinkCounts, ObjectCounts};
pub use sqlite::{AddressKey, SqliteStore};
pub use status::{RecordCounts, StoreCounts};
pub use subject::{Conversations, Subject, SubjectQuery, Sublists};
pub use sync::{Missing, Progress, Resource, Sync, SyncKind, SyncState};
pub use verification::{ParkedAttribute, Unverified, VerificationCounts, Verified};
pub use work::{
    Cause, Claim, Emitted, Ending, Intent, Outcome, Settlement, Suspicion, Task, WantedNumber,
    WorkKey,
};

use crate::model::{
    BrevoContact, Digest, Email, Lifted, OptIn, Record, RecordId, RecordKey, RecordKind, RulesPin,
    Snapshot, Stays, Timestamp,
};

/// An import that was begun and whose end is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenImport {
    /// Its number in the store.
    pub id: i64,
    /// Brevo's process, if Brevo answered.
    pub process: Option<i64>,
    /// When it was begun.
    pub started: Timestamp,
}

/// The fact that holds the names of subscription types, by id.
pub const SUBSCRIPTION_TYPES: &str = "subscription_types";

/// Where journal, records, work and mirror are kept.
#[async_trait]
pub trait Store: Send + std::marker::Sync + fmt::Debug {
    /// Makes one input durable: journal, records, ledger and work in one step.
    async fn accept(&self, arrival: Arrival) -> Result<Acceptance, StoreError>;

    /// Makes a page of a sync durable, together with how far the sync has come. What `resource` shows
    /// for the first time in this sync is added to what it has seen, unless its figures are partial;
    /// answers the sync as it is then.
    async fn accept_page(
        &self,
        page: Vec<Arrival>,
        sync: Sync,
        resource: Resource,
    ) -> Result<Sync, StoreError>;

    /// Finds up to `limit` live records of a kind that a sync did not see, whose ids follow `after`.
    /// What was updated at `before` or later may have come too late for it and is left out.
    async fn unseen(
        &self,
        sync: String,
        kind: RecordKind,
        before: Timestamp,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Missing>, StoreError>;

    /// Looks at up to `limit` contacts whose ids follow `after` for those that were seen since their
    /// events were listed.
    async fn event_readings(
        &self,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<EventReadings, StoreError>;

    /// Says whether all these custom events were told before.
    async fn are_events_counted(&self, events: Vec<Snapshot>) -> Result<bool, StoreError>;

    /// Remembers that a sync listed a contact's events, with what Intercom said at `as_of` that they come
    /// to in all. A contact whose events come to something else by that is derived again.
    async fn put_event_reading(
        &self,
        sync: &Sync,
        reading: EventReading,
        totals: Vec<EventCount>,
        as_of: Timestamp,
    ) -> Result<(), StoreError>;

    /// Remembers that a complete sync did not see these records. Being seen ends it.
    async fn put_missed(
        &self,
        sync: String,
        kind: RecordKind,
        missed: Vec<RecordId>,
    ) -> Result<(), StoreError>;

    /// Stores what a read found, without counting it as an input: answers to questions of ours. The
    /// contact itself is not made dirty by it unless it is newer.
    async fn learn(
        &self,
        snapshots: Vec<Snapshot>,
        opt_outs: Vec<OptOut>,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Stores the tags that a sweep read. What bears one that has another name now becomes dirty,
    /// counted with the sweep.
    async fn learn_tags(
        &self,
        tags: Vec<Snapshot>,
        sync: &Sync,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Makes dirty some of what bears a tag, counted with `cause`; answers from where it goes on, none
    /// if that was all.
    async fn spread_tag(
        &self,
        tag: RecordId,
        cursor: Option<String>,
        cause: Option<i64>,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError>;

    /// Remembers the whole of a contact's sub-lists, as of its stored snapshot.
    async fn put_sublists(
        &self,
        contact: RecordId,
        sublists: Sublists,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Claims up to `limit` keys that are due, those of `priorities` only, most urgent first.
    async fn claim(
        &self,
        priorities: &[Priority],
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError>;

    /// How many keys of a priority are due and not claimed.
    async fn waiting(&self, priority: Priority, now: Timestamp) -> Result<u64, StoreError>;

    /// Says who is evaluated alone from now on, until it says another or nobody. It is known after the
    /// process died, at once and to the microsecond; whoever took it down twice while alone becomes a
    /// dead letter at the next start. For script threads: it does not wait for the disk.
    fn evaluate_alone(&self, suspect: Option<&WorkKey>) -> Result<(), StoreError>;

    /// Says that the rules were run on these keys and survived: if the process ends while what they
    /// decided is written, they are no suspects.
    async fn evaluated(&self, keys: Vec<WorkKey>) -> Result<(), StoreError>;

    /// Ends claims. A key that became dirty again meanwhile stays.
    async fn settle(&self, settlements: Vec<Settlement>, now: Timestamp) -> Result<(), StoreError>;

    /// Makes contacts dirty without an input.
    async fn rederive(
        &self,
        contacts: Vec<RecordId>,
        priority: Priority,
        cause: Option<i64>,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Makes every known live contact, conversation and event dirty without an input; answers how many.
    /// What that takes away is counted as `cause`'s.
    async fn rederive_all(&self, cause: Option<i64>, now: Timestamp) -> Result<u64, StoreError>;

    /// Judges what is about to be taken away from contacts. What must wait is noted, before anything
    /// is written.
    async fn judge(
        &self,
        takings: Vec<Taking>,
        measure: Measure,
        now: Timestamp,
    ) -> Result<Judged, StoreError>;

    /// Begins to count what new rules take away, and has decided anew what waits because of older
    /// ones; answers the cause.
    async fn begin_rules(&self, version: String, now: Timestamp) -> Result<i64, StoreError>;

    /// Says that all keys are dirty that a cause makes dirty.
    async fn feed(&self, cause: i64) -> Result<(), StoreError>;

    /// True if rules are counted without all records being made dirty.
    async fn has_unfed_rules(&self) -> Result<bool, StoreError>;

    /// Ends counts whose last key was derived; answers what waits for approval from now on.
    async fn close_counts(&self, measure: Measure) -> Result<Vec<Hold>, StoreError>;

    /// Works off what was decided of holds; answers of how many contacts, at most a page; 0: all is
    /// done.
    async fn work_off_holds(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Lists what waits for approval, oldest first.
    async fn holds(&self) -> Result<Vec<Hold>, StoreError>;

    /// Finds a hold in which something waits for approval.
    async fn hold(&self, id: i64) -> Result<Option<Hold>, StoreError>;

    /// Finds the first contacts of a hold.
    async fn hold_sample(&self, id: i64, limit: usize) -> Result<Vec<HeldChange>, StoreError>;

    /// Approves a hold that waits; false: there is no such.
    async fn approve_hold(&self, id: i64) -> Result<bool, StoreError>;

    /// Rejects a hold that waits, for as long as the rules `rule_set` are live; false: there is no
    /// such.
    async fn reject_hold(&self, id: i64, rule_set: Option<String>) -> Result<bool, StoreError>;

    /// When the next key is due, if any is not yet.
    async fn next_due(&self, priorities: &[Priority]) -> Result<Option<Timestamp>, StoreError>;

    /// Loads what derivations of these contacts need.
    async fn subjects(&self, contacts: Vec<SubjectQuery>) -> Result<Vec<Subject>, StoreError>;

    /// Loads what derivations of these records need, which are no contacts.
    async fn record_subjects(
        &self,
        records: Vec<RecordKey>,
    ) -> Result<Vec<RecordSubject>, StoreError>;

    /// Finds a record.
    async fn record(&self, key: RecordKey) -> Result<Option<Record>, StoreError>;

    /// Finds tags by name, all of them.
    async fn tag_names(&self) -> Result<BTreeMap<RecordId, String>, StoreError>;

    /// Finds up to `limit` contacts of a company whose ids follow `after`.
    async fn company_contacts(
        &self,
        company: RecordId,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<RecordId>, StoreError>;

    /// Finds the contacts that have an address, live ones first, then by id.
    async fn contacts_at(&self, email: Email) -> Result<Vec<RecordId>, StoreError>;

    /// Finds what the mirror knows of an address.
    async fn mirror_at(&self, email: Email) -> Result<Option<MirrorEntry>, StoreError>;

    /// Finds which of Brevo's contacts have these SMS numbers, given by their digits.
    async fn sms_owners(&self, phones: Vec<String>) -> Result<BTreeMap<String, i64>, StoreError>;

    /// Says whether a contact that waits for a number, given by its digits, is the one that gives its own
    /// up first, because those who have what the one before wants come round to it.
    async fn gives_number_up(&self, contact: RecordId, wanted: String) -> Result<bool, StoreError>;

    /// Finds which of Brevo's contacts have these `EXT_ID`s.
    async fn ext_id_holders(
        &self,
        ext_ids: Vec<String>,
    ) -> Result<BTreeMap<String, ExtIdHolder>, StoreError>;

    /// Writes what a read of one contact found, whatever the mirror has of it and of whomever it is.
    async fn observe_one(&self, contact: BrevoContact, now: Timestamp) -> Result<(), StoreError>;

    /// Finds the ids of mirrored contacts that were not read since `since`, lists aside.
    async fn mirror_unread_since(&self, since: Timestamp) -> Result<Vec<i64>, StoreError>;

    /// Writes what a read-back of Brevo found. Blacklisted contacts enter the ledger; a contact whose
    /// state is not as mirrored is derived again. Answers how many changed.
    async fn observe(
        &self,
        contacts: Vec<BrevoContact>,
        read_at: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Makes the events of a webhook of Brevo's durable: journal, ledger and work in one step.
    async fn accept_brevo(&self, events: Vec<BrevoArrival>) -> Result<BrevoAcceptance, StoreError>;

    /// Finds the address that a piece of work of the kind [`Task::BrevoContact`] is about.
    async fn brevo_address(&self, id: RecordId) -> Result<Option<Email>, StoreError>;

    /// Writes what the read of one contact found that a webhook told of, and that nobody wrote to
    /// meanwhile. Answers whether it was not as mirrored.
    async fn observe_changed(
        &self,
        contact: BrevoContact,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Forgets contacts that somebody deleted in Brevo; `then` says what becomes of those for whom
    /// they stood.
    async fn lose(&self, ids: Vec<i64>, then: AfterLoss, now: Timestamp) -> Result<(), StoreError>;

    /// Finds up to `limit` contacts that were written to from `since` until `before` and were not read
    /// since, newest first.
    async fn unverified(
        &self,
        since: Timestamp,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Unverified>, StoreError>;

    /// Forgets what was written before `before` and was not read since.
    async fn forget_unverified(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Enters what reads told of values that were written.
    async fn put_verified(&self, verified: Vec<Verified>) -> Result<(), StoreError>;

    /// Finds which attributes have values that are not written any more.
    async fn parked(&self) -> Result<Vec<ParkedAttribute>, StoreError>;

    /// True if somebody said that this address takes no messages by this channel.
    async fn is_suppressed(&self, email: Email, channel: Channel) -> Result<bool, StoreError>;

    /// Finds which of these phone numbers, given by their digits, take no SMS.
    async fn suppressed_numbers(
        &self,
        numbers: Vec<String>,
    ) -> Result<BTreeSet<String>, StoreError>;

    /// Finds which of these addresses take no messages by this channel.
    async fn suppressed(
        &self,
        emails: Vec<Email>,
        channel: Channel,
    ) -> Result<BTreeSet<Email>, StoreError>;

    /// Decides whether an opt-out may be lifted by what is known now; if not, why it stays.
    async fn consider_lift(&self, wish: LiftWish) -> Result<Result<OptIn, Stays>, StoreError>;

    /// Writes down that an opt-out is about to be lifted, if it still may be, before Brevo is told.
    /// `held` is what Brevo holds right before. If the process dies before [`Store::end_lift`], Brevo is
    /// told that the opt-out holds.
    async fn begin_lift(
        &self,
        wish: LiftWish,
        held: BrevoContact,
        now: Timestamp,
    ) -> Result<Result<Lifted, Stays>, StoreError>;

    /// Ends a lift that Brevo has confirmed, unless somebody opted out meanwhile.
    async fn end_lift(&self, open: OpenLift, now: Timestamp) -> Result<LiftEnd, StoreError>;

    /// Gives up a lift of which Brevo may have been told.
    async fn leave_lift(&self, lifted: Lifted, now: Timestamp) -> Result<(), StoreError>;

    /// Those of Brevo's contacts that are to be told again that the opt-out of this Intercom contact
    /// holds, because a lift was given up.
    async fn lifts_to_undo(&self, contact: RecordId) -> Result<Vec<LeftLift>, StoreError>;

    /// Remembers what is about to be written for contacts, before the calls. The end of their claims
    /// forgets it. The rules are no suspects any more, should the process end. Answers which of them
    /// still stand: of another, a contact of Brevo's got or lost its record meanwhile, and nothing is
    /// remembered.
    async fn intend(&self, intents: Vec<Intent>) -> Result<Vec<bool>, StoreError>;

    /// Remembers an import before its call.
    async fn open_import(&self, started: Timestamp, rows: usize) -> Result<i64, StoreError>;

    /// Remembers the process of an import.
    async fn import_started(&self, id: i64, process: i64) -> Result<(), StoreError>;

    /// Forgets an import whose end is known.
    async fn close_import(&self, id: i64) -> Result<(), StoreError>;

    /// Finds imports whose end is not known.
    async fn open_imports(&self) -> Result<Vec<OpenImport>, StoreError>;

    /// Writes how a sync stands.
    async fn put_sync(&self, sync: Sync) -> Result<(), StoreError>;

    /// Finds a sync.
    async fn sync(&self, id: String) -> Result<Option<Sync>, StoreError>;

    /// Finds the newest syncs, newest first.
    async fn syncs(&self, limit: usize) -> Result<Vec<Sync>, StoreError>;

    /// Finds up to `limit` events that are due, in the order in which they were tracked. While one
    /// waits for its next attempt, the later ones of its contact wait, too.
    async fn due_events(&self, limit: usize, now: Timestamp) -> Result<Vec<DueEvent>, StoreError>;

    /// When the next event is due, if any is to be sent.
    async fn next_event_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Notes that events are about to be sent, each by its number and with the date that Brevo is
    /// told. If the process dies before [`Store::end_events`], they are due at `due`, with a doubt.
    async fn begin_events(
        &self,
        events: Vec<(i64, Timestamp)>,
        now: Timestamp,
        due: Timestamp,
    ) -> Result<(), StoreError>;

    /// Ends attempts to send events, given by their numbers.
    async fn end_events(
        &self,
        ends: Vec<(i64, EventEnd)>,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Forgets which events are known only because they happened before the first sync.
    async fn forget_event_history(&self) -> Result<u64, StoreError>;

    /// Loads companies with all that their derivations need, in the order asked for.
    async fn companies(&self, ids: Vec<RecordId>) -> Result<Vec<CompanySubject>, StoreError>;

    /// Remembers that companies are about to be made in Brevo, before the call.
    async fn intend_companies(&self, ids: Vec<RecordId>, now: Timestamp) -> Result<(), StoreError>;

    /// Takes over companies that were found in Brevo. What somebody else changed is derived again;
    /// answers how many those are.
    async fn adopt_companies(
        &self,
        found: Vec<FoundCompany>,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Makes those companies dirty that were left out because Brevo took none; answers how many.
    async fn release_companies(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Finds up to `limit` custom objects that are due, all of one type.
    async fn due_objects(&self, limit: usize, now: Timestamp)
    -> Result<Vec<DueObject>, StoreError>;

    /// When the next custom object is due.
    async fn next_object_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Ends attempts to send custom objects. What was changed meanwhile stays due.
    async fn end_objects(
        &self,
        ends: Vec<(DueObject, ObjectEnd)>,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Finds up to `limit` addresses that are to be asked to confirm now.
    async fn due_double_opt_ins(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<DueDoubleOptIn>, StoreError>;

    /// When the next address is to be asked to confirm.
    async fn next_double_opt_in_due(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Notes that an address is about to be asked, before the call; false: it is not to be asked now.
    async fn begin_double_opt_in(
        &self,
        due: DueDoubleOptIn,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Ends an attempt. What was changed meanwhile stays due.
    async fn end_double_opt_in(
        &self,
        due: DueDoubleOptIn,
        end: DoubleOptInEnd,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Makes dead letters of those who were being asked when the last process ended; answers how many.
    async fn recover_double_opt_ins(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Forgets a company that Brevo does not have any more, and makes it dirty.
    async fn lose_company(&self, id: RecordId, now: Timestamp) -> Result<(), StoreError>;

    /// Finds links that are to be made or undone, of up to `limit` contacts, by company. A company or
    /// a contact that Brevo does not have yet is left for later.
    async fn due_links(&self, limit: usize, now: Timestamp) -> Result<Vec<DueLinks>, StoreError>;

    /// Ends attempts on links of one company.
    async fn end_links(
        &self,
        company: RecordId,
        ends: Vec<(RecordId, LinkEnd)>,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Lists dead letters, newest first.
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError>;

    /// Finds one dead letter.
    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError>;

    /// Makes dead letters due again; answers how many. A notification that cannot be used stays.
    async fn retry_dead_letters(
        &self,
        query: DeadLetterQuery,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// Drops dead letters, which counts them as skipped; answers how many.
    async fn drop_dead_letters(&self, query: DeadLetterQuery) -> Result<u64, StoreError>;

    /// Enters a judgement on the rules in the history, which keeps the newest 200, what is live, what
    /// was before, and what is pinned. Judging the same again renews the entry.
    async fn put_rule_set(&self, entry: RuleSetEntry) -> Result<(), StoreError>;

    /// Finds the newest rule set that went live.
    async fn last_rule_set(&self) -> Result<Option<RuleSetEntry>, StoreError>;

    /// Lists all judgements that are kept, newest first.
    async fn rule_sets(&self) -> Result<Vec<RuleSetSummary>, StoreError>;

    /// Finds the newest judgement of a version.
    async fn rule_set(&self, version: String) -> Result<Option<RuleSetEntry>, StoreError>;

    /// Finds digests of the content of every file of every version that is kept.
    async fn rule_texts(&self) -> Result<BTreeSet<Digest>, StoreError>;

    /// Finds which version is pinned.
    async fn rules_pin(&self) -> Result<Option<RulesPin>, StoreError>;

    /// Pins a version; the one before is pinned no longer.
    async fn pin_rules(&self, pin: RulesPin) -> Result<(), StoreError>;

    /// Ends this pin. One that was set since stays.
    async fn unpin_rules(&self, pin: RulesPin) -> Result<(), StoreError>;

    /// Reads a fact about this store.
    async fn fact(&self, name: &'static str) -> Result<Option<String>, StoreError>;

    /// Writes a fact about this store.
    async fn put_fact(&self, name: &'static str, value: String) -> Result<(), StoreError>;

    /// Writes the connection of a workspace over the one that it had. Its token is kept sealed.
    async fn put_connection(&self, connection: Connection) -> Result<(), StoreError>;

    /// Lists all workspaces that were connected, the newest first.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] if a token was sealed with another key.
    async fn connections(&self) -> Result<Vec<Connection>, StoreError>;

    /// Counts what is stored, and what is due at `now`.
    async fn counts(&self, now: Timestamp) -> Result<StoreCounts, StoreError>;

    /// Removes what is older than `before` and no longer needed; answers how many rows.
    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Proves that a write can be made durable now.
    async fn probe(&self) -> Result<(), StoreError>;

    /// Writes what waits, then closes.
    async fn close(&self);
}
