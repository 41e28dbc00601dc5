//! The workspace: what is in it. How it changes is in `change.rs`, what that fires in `firing.rs`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::attribute::AttributeTable;
use super::company::{Company, CompanyId, CompanyTable};
use super::contact::{Contact, ContactId, ContactView, Form};
use super::conversation::{Conversation, ConversationTable};
use super::event::EventTable;
use super::export::Export;
use super::lag::Lag;
use super::refused::Refused;
use super::table::ContactTable;
use super::version::Version;
use super::write::{ContactWrite, Way};
use crate::model::Timestamp;
use crate::sandbox::seed::{Seed, SeededContact};

/// An opt-out subscription type and an opt-in one: id, name, consent type.
pub(super) const SUBSCRIPTION_TYPES: [(&str, &str, &str); 2] =
    [("1943066", "Product news", "opt_out"), ("1943067", "Weekly digest", "opt_in")];

/// Everything that the fake Intercom remembers.
#[derive(Debug)]
pub(super) struct State {
    pub(super) app_id: String,
    /// The zone of the days by which search compares dates.
    pub(super) zone: TimeZone,
    pub(super) contacts: ContactTable,
    pub(super) companies: CompanyTable,
    /// Names of tags by id.
    pub(super) tags: BTreeMap<Arc<str>, String>,
    pub(super) attributes: AttributeTable,
    pub(super) lag: Lag<Contact>,
    pub(super) conversations: ConversationTable,
    pub(super) conversation_lag: Lag<Conversation>,
    pub(super) events: EventTable,
    /// The texts of the notes that were written here; the others say nothing.
    pub(super) notes: HashMap<Arc<str>, String>,
    /// Who took over the contacts that were merged away.
    pub(super) survivors: HashMap<String, ContactId>,
    pub(super) export: Option<Export>,
    /// The version that the app's notifications are in.
    pub(super) webhook_version: Version,
    /// How many pages more are followed by a change that moves an unseen object to the front.
    pub(super) drifting_pages: usize,
    /// Says whether `contact.merged` names the contact that is gone, as newer docs have it.
    pub(super) names_merged_contact: bool,
    /// When contacts that had opted out opted in again, in seconds; who opts out anew leaves it.
    pub(super) opt_ins: HashMap<ContactId, i64>,
    pub(super) outbox: Vec<Value>,
    last_ms: i64,
    ids_given: u64,
}

impl State {
    pub(super) fn new(app_id: String, zone: TimeZone) -> Self {
        Self {
            app_id,
            zone,
            contacts: ContactTable::default(),
            companies: CompanyTable::default(),
            tags: BTreeMap::new(),
            attributes: AttributeTable::default(),
            lag: Lag::default(),
            conversations: ConversationTable::default(),
            conversation_lag: Lag::default(),
            events: EventTable::default(),
            notes: HashMap::new(),
            survivors: HashMap::new(),
            opt_ins: HashMap::new(),
            export: None,
            webhook_version: Version::DEFAULT,
            drifting_pages: 0,
            names_merged_contact: false,
            outbox: Vec::new(),
            last_ms: 0,
            ids_given: 0,
        }
    }

    /// Notifications that changes have fired since the last call, in order.
    pub(super) fn take_outbox(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.outbox)
    }

    /// A contact that is neither archived nor gone.
    pub(super) fn live(&self, id: &str) -> Result<&Contact, Refused> {
        self.contacts.live(id).ok_or_else(Refused::no_contact)
    }

    pub(super) fn view<'a>(&'a self, contact: &'a Contact, form: Form) -> ContactView<'a> {
        ContactView { contact, workspace_id: &self.app_id, form }
    }

    /// Adds seeded data; fires nothing.
    pub(super) fn seed(&mut self, seed: &Seed, now: Timestamp) -> Result<(), Refused> {
        let now = seed.time(now);
        let tags: Vec<Arc<str>> = seed.tags().iter().map(|name| self.tag_named(name)).collect();
        let mut companies = Vec::new();
        for number in 0..seed.company_count() {
            let body = seed.company(number, now);
            let id = self.id_at(body.get("created_at").and_then(Value::as_i64).unwrap_or(0));
            self.companies.put(Company::parse(Arc::clone(&id), &body, now.seconds() * 1000)?);
            companies.push(id);
        }
        for number in 0..seed.contact_count() {
            let id = self.put_seeded(seed.contact(number, now), &tags, &companies)?;
            self.seed_activity(seed, number, &id, now);
        }
        Ok(())
    }

    fn put_seeded(
        &mut self,
        seeded: SeededContact,
        tags: &[Arc<str>],
        companies: &[CompanyId],
    ) -> Result<ContactId, Refused> {
        let write = ContactWrite::parse(&seeded.body, Way::Inside, &mut self.attributes)?;
        let created_ms = write.created_at.unwrap_or(0) * 1000;
        let updated_ms = write.updated_at.unwrap_or(0) * 1000 + i64::from(seeded.milliseconds);
        let mut contact = Contact::new(self.id_at(created_ms / 1000), created_ms);
        write.apply(&mut contact);
        contact.updated_ms = updated_ms;
        let pick = |from: &[Arc<str>], chosen: &[usize]| {
            chosen.iter().filter_map(|index| from.get(*index).cloned()).collect()
        };
        contact.tags = pick(tags, &seeded.tags);
        contact.companies = pick(companies, &seeded.companies);
        contact.notes = (0..seeded.notes).map(|_| self.next_number(70_000)).collect();
        if seeded.has_opted_out {
            contact.opted_out = SUBSCRIPTION_TYPES.iter().take(1).map(|t| Arc::from(t.0)).collect();
        }
        for company in &contact.companies {
            if let Some(company) = self.companies.get_mut(company) {
                company.members.insert(Arc::clone(&contact.id));
            }
        }
        let id = Arc::clone(&contact.id);
        self.contacts.put(contact);
        Ok(id)
    }

    /// The id of the tag with a name, made if there is none. Names are compared without case.
    pub(super) fn tag_named(&mut self, name: &str) -> Arc<str> {
        let lower = name.to_lowercase();
        let known = self.tags.iter().find(|(_, known)| known.to_lowercase() == lower);
        if let Some((id, _)) = known {
            return Arc::clone(id);
        }
        let id: Arc<str> = Arc::from((9_100_001 + self.tags.len()).to_string());
        self.tags.insert(Arc::clone(&id), name.to_owned());
        id
    }

    /// A time within the second `now`, later than the last one given as far as the second allows.
    pub(super) fn next_ms(&mut self, now: Timestamp) -> i64 {
        let second = now.seconds() * 1000;
        let next = if self.last_ms >= second { self.last_ms + 1 } else { second + 465 };
        self.last_ms = next.min(second + 990);
        self.last_ms
    }

    /// An id as Intercom gives them: 24 hexadecimal digits, the first eight the second of creation.
    pub(super) fn id_at(&mut self, seconds: i64) -> Arc<str> {
        self.ids_given += 1;
        // Spread over all digits, as a counter alone would show nothing of an id read wrongly.
        let rest = self.ids_given.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Arc::from(format!("{:08x}{rest:016x}", seconds.rem_euclid(1 << 32)))
    }

    /// A number that was never given before, above `from`.
    pub(super) fn next_number(&mut self, from: u64) -> Arc<str> {
        Arc::from((from + self.next_id()).to_string())
    }

    /// A number that was never given before.
    pub(super) fn next_id(&mut self) -> u64 {
        self.ids_given += 1;
        self.ids_given
    }
}
