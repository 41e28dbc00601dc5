//! Intake: journal, records, ledger and dirty keys in one step.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params_from_iter};
use serde_json::{Value, json};

use super::event_totals::Counted;
use super::ledger::{self, Said, Teller};
use super::witnesses::{self, Word};
use super::work::{self, Because, Dirt};
use super::writer::Tx;
use super::{Ids, conversations, event_totals, lifts, mirror, numbers, strangers};
use crate::model::{
    ConversationOutline, Digest, Email, EventPerson, Freshness, Liveness, Record, RecordId,
    RecordKey, RecordKind, Snapshot, Source, Timestamp, Transition, Version, canonical_json,
    email_of,
};
use crate::store::Channel;
use crate::store::{Acceptance, Cause, Journalled, OptOut, Priority, StoreError, Task, WorkKey};

/// A snapshot with everything taken out of it that the store needs, so that the writing thread has
/// no JSON to read or write.
pub(super) struct Prepared {
    /// It has its body only if it is partial, and has to be laid over the one that is stored, or if it
    /// is an event whose contact is to be found.
    pub(super) snapshot: Snapshot,
    body: String,
    email: Option<Email>,
    external_id: Option<String>,
    companies: Vec<String>,
    /// True if the contact has more companies than the snapshot shows.
    has_more_companies: bool,
    event: Option<Counted>,
    /// Whom an event names whose contact is to be found.
    pub(super) person: Option<EventPerson>,
    word: Word,
    pub(super) conversation: PreparedConversation,
}

/// What is taken out of a conversation.
#[derive(Default)]
pub(super) struct PreparedConversation {
    /// Who takes part; none: the snapshot does not say.
    pub(super) contacts: Option<Vec<RecordId>>,
    /// What the counts of those who take part need, as it is stored.
    pub(super) outline: String,
    state: Option<String>,
    course: Vec<Transition>,
}

impl PreparedConversation {
    fn of(snapshot: &Snapshot) -> Self {
        if snapshot.key.kind != RecordKind::Conversation {
            return Self::default();
        }
        let body = &snapshot.body;
        let contacts = body.get("contacts").and_then(Value::as_array);
        let id = |contact: &Value| contact.get("id")?.as_str()?.parse().ok();
        Self {
            contacts: contacts.map(|contacts| contacts.iter().filter_map(id).collect()),
            outline: serde_json::to_string(&ConversationOutline::of(body)).unwrap_or_default(),
            state: body.get("state").and_then(Value::as_str).map(str::to_owned),
            course: snapshot.course.clone(),
        }
    }
}

impl From<Snapshot> for Prepared {
    fn from(snapshot: Snapshot) -> Self {
        let is_contact = snapshot.key.kind == RecordKind::Contact;
        let body = canonical_json(&snapshot.body);
        let email = if is_contact { email_of(&snapshot.body) } else { None };
        let external_id = if is_contact { external_id_of(&snapshot.body) } else { None };
        let companies = if is_contact { shown_companies(&snapshot.body) } else { Vec::new() };
        let has_more = snapshot.body.pointer("/companies/has_more").and_then(Value::as_bool);
        let has_more_companies = is_contact && has_more == Some(true);
        let conversation = PreparedConversation::of(&snapshot);
        let event = Counted::of(&snapshot);
        let is_event = snapshot.key.kind == RecordKind::Event;
        let person = if is_event { EventPerson::of(&snapshot.body) } else { None };
        let word = Word::of(&snapshot);
        let needs_body = snapshot.is_partial || person.is_some();
        let snapshot =
            if needs_body { snapshot } else { Snapshot { body: Value::Null, ..snapshot } };
        Self {
            snapshot,
            body,
            email,
            external_id,
            companies,
            has_more_companies,
            event,
            person,
            word,
            conversation,
        }
    }
}

impl Prepared {
    /// An event whose contact was found, which it bears from now on.
    pub(super) fn of_contact(mut snapshot: Snapshot, contact: RecordId) -> Self {
        let event = Counted::by(&contact, &snapshot.key.id, &snapshot.body);
        if let Some(fields) = snapshot.body.as_object_mut() {
            fields.insert("intercom_user_id".to_owned(), json!(contact));
        }
        Self { event, ..Self::from(snapshot) }
    }
}

fn external_id_of(body: &Value) -> Option<String> {
    let id = body.get("external_id").and_then(Value::as_str);
    id.filter(|id| !id.is_empty()).map(str::to_owned)
}

fn shown_companies(body: &Value) -> Vec<String> {
    let ids = body.pointer("/companies/ids").and_then(Value::as_array);
    ids.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What an input says, ready for the writing thread.
pub(super) enum PreparedContent {
    Snapshots { primary: Box<Prepared>, others: Vec<Prepared>, opt_outs: Vec<OptOut> },
    Nothing,
    Foreign,
    Unusable { reason: String },
}

impl PreparedContent {
    /// What the input is about, and whether it still stands.
    pub(super) fn subject(&self) -> Option<(&RecordKey, &Liveness)> {
        match self {
            Self::Snapshots { primary, .. } => {
                Some((&primary.snapshot.key, &primary.snapshot.liveness))
            }
            Self::Nothing | Self::Foreign | Self::Unusable { .. } => None,
        }
    }
}

/// One input, ready for the writing thread.
pub(super) struct PreparedArrival {
    pub(super) notification: Option<Journalled>,
    pub(super) received: Timestamp,
    pub(super) priority: Priority,
    pub(super) content: PreparedContent,
}

pub(super) fn accept(
    tx: &Tx<'_>,
    ids: &Ids,
    arrival: &PreparedArrival,
    because: Because,
) -> Result<Acceptance, StoreError> {
    let PreparedArrival { notification, content, .. } = arrival;
    let (received, priority) = (arrival.received, arrival.priority);
    let mut journal = None;
    if let Some(notification) = notification {
        match append(tx, ids, notification, received)? {
            Some(row) => journal = Some(row),
            None => {
                tx.count("duplicates", 1);
                return Ok(Acceptance::Duplicate);
            }
        }
    }
    tx.count("accepted", 1);
    match content {
        PreparedContent::Nothing => tx.count("ignored", 1),
        PreparedContent::Foreign => {
            tx.count("ignored", 1);
            tx.count("foreign", 1);
        }
        PreparedContent::Unusable { reason } => {
            let message = reason.clone();
            let cause = Cause { kind: "unusable", message, ..Cause::default() };
            super::dead_letters::bury_notification(tx, ids, journal, &cause, received)?;
        }
        PreparedContent::Snapshots { primary, others, opt_outs } => {
            for other in others {
                let dirt = Dirt::again(priority, received).because(because);
                accept_snapshot(tx, ids, other, dirt)?;
            }
            let dirt = Dirt::again(priority, received).because(because).carrying(1);
            accept_snapshot(tx, ids, primary, dirt)?;
            enter_opt_outs(tx, ids, opt_outs, priority, received)?;
        }
    }
    Ok(Acceptance::Accepted)
}

/// Appends to the journal; none: it has a notification with this key.
pub(super) fn append(
    tx: &Tx<'_>,
    ids: &Ids,
    entry: &Journalled,
    received: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let added = tx
        .conn
        .prepare_cached(
            "INSERT INTO journal (workspace, dedupe_key, topic, received, body)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        )?
        .execute((
            ids.workspace(),
            &entry.dedupe_key,
            &entry.topic,
            received.seconds(),
            &entry.body,
        ))?;
    Ok((added > 0).then(|| tx.conn.last_insert_rowid()))
}

/// Stores a snapshot if it is newer, and makes dirty what derives from it. What an input is about
/// carries 1, what it merely shows 0.
pub(super) fn accept_snapshot(
    tx: &Tx<'_>,
    ids: &Ids,
    incoming: &Prepared,
    dirt: Dirt,
) -> Result<(), StoreError> {
    let named = strangers::named(tx.conn, ids, incoming)?;
    let incoming = named.as_ref().unwrap_or(incoming);
    if let Some(event) = &incoming.event
        && !event_totals::take(tx, ids, event, dirt)?
    {
        // It was told before, perhaps another way, or now without its id.
        tx.count("unchanged", dirt.carried);
        return Ok(());
    }
    let key = &incoming.snapshot.key;
    if incoming.snapshot.is_hint {
        return make_dirty(tx, ids, key, Dirt { needs_read: true, ..dirt });
    }
    let stored = standing(tx, ids, key)?;
    // What a partial snapshot does not say itself is no word of its time.
    let word = incoming.word;
    let whole = completed(tx, ids, incoming)?;
    let incoming = whole.as_ref().unwrap_or(incoming);
    let compared = stored.as_ref().map(|stored| stored.record.compare(&incoming.snapshot));
    let order = compared.unwrap_or(Freshness::Newer);
    // An event is a message: what came first is it, and another delivery of it says nothing new, but
    // whose it is where that was not known.
    let order = if key.kind == RecordKind::Event && stored.is_some() {
        let is_found = incoming.event.is_some() && strangers::supersede(tx, ids, &key.id)?;
        if is_found { Freshness::Newer } else { Freshness::Unchanged }
    } else {
        order
    };
    // Whoever answered last knows what a tag is called: nobody reads it again because of a tie.
    let is_tied_tag = key.kind == RecordKind::Tag && order == Freshness::Tie;
    let order = if is_tied_tag { Freshness::Newer } else { order };
    if order == Freshness::Newer {
        put(tx, ids, incoming, stored.as_ref(), dirt)?;
    }
    if let Some(email) = &incoming.email {
        witnesses::hear(tx, ids, email, &incoming.snapshot, word)?;
    }
    let has_news = has_news(tx, ids, incoming, stored.as_ref(), order)?;
    match order {
        Freshness::Unchanged | Freshness::Older if has_news => make_dirty(tx, ids, key, dirt)?,
        Freshness::Unchanged => tx.count("unchanged", dirt.carried),
        Freshness::Older => tx.count("superseded", dirt.carried),
        Freshness::Newer => {
            if let Some(person) = &incoming.person {
                return strangers::wait(tx, ids, &key.id, person, dirt.carried);
            }
            if key.kind == RecordKind::Contact {
                strangers::meet(tx, ids, &key.id, dirt)?;
            }
            if key.kind == RecordKind::Conversation {
                conversations::accept(tx, ids, incoming, dirt)?;
            }
            if key.kind == RecordKind::Tag && stored.is_some() {
                // It had another name, and nothing else says so to what bears it.
                let bearers = WorkKey { task: Task::Bearers, id: key.id.clone() };
                work::dirty(tx, ids, &bearers, dirt.carrying(0))?;
            }
            make_dirty(tx, ids, key, dirt)?;
        }
        Freshness::Tie => {
            // Only a read that begins after the second can show its end.
            let due = incoming.snapshot.version.at.plus(1).max(dirt.due);
            make_dirty(tx, ids, key, Dirt { due, needs_read: true, ..dirt })?;
        }
    }
    Ok(())
}

/// Takes up what a delivery tells of the course of a conversation, stale or not; true if any of it is
/// new.
fn has_news(
    tx: &Tx<'_>,
    ids: &Ids,
    incoming: &Prepared,
    stored: Option<&Standing>,
    order: Freshness,
) -> Result<bool, StoreError> {
    let Snapshot { key, version, liveness, .. } = &incoming.snapshot;
    if key.kind != RecordKind::Conversation || !liveness.is_live() {
        return Ok(false);
    }
    let stands = match stored {
        Some(stored) if order != Freshness::Newer => conversations::Stands {
            state: state_of(tx.conn, ids, key)?,
            at: stored.record.version.at,
        },
        _ => conversations::Stands { state: incoming.conversation.state.clone(), at: version.at },
    };
    let before = stored.map(|stored| stored.record.version.at);
    let course = &incoming.conversation.course;
    conversations::gather_course(tx, ids, &key.id, course, before, &stands)
}

/// The state of a stored conversation; none if it is gone.
fn state_of(conn: &Connection, ids: &Ids, key: &RecordKey) -> Result<Option<String>, StoreError> {
    let state: Option<Option<String>> = conn
        .prepare_cached(
            "SELECT body ->> 'state' FROM records
             WHERE workspace = ?1 AND kind = ?2 AND id = ?3 AND liveness = 'live'",
        )?
        .query_row((ids.workspace(), key.kind.as_str(), key.id.as_str()), |row| row.get(0))
        .optional()?;
    Ok(state.flatten())
}

/// True if a record was ever seen.
pub(super) fn exists(conn: &Connection, ids: &Ids, key: &RecordKey) -> Result<bool, StoreError> {
    let found: i64 = conn
        .prepare_cached(
            "SELECT count(*) FROM records WHERE workspace = ?1 AND kind = ?2 AND id = ?3",
        )?
        .query_row((ids.workspace(), key.kind.as_str(), key.id.as_str()), |row| row.get(0))?;
    Ok(found > 0)
}

/// A partial snapshot laid over what is stored, if anything is.
fn completed(tx: &Tx<'_>, ids: &Ids, incoming: &Prepared) -> Result<Option<Prepared>, StoreError> {
    if !incoming.snapshot.is_partial {
        return Ok(None);
    }
    let stored = record(tx.conn, ids, &incoming.snapshot.key)?;
    Ok(stored.map(|record| Prepared::from(incoming.snapshot.clone().over(&record))))
}

fn make_dirty(tx: &Tx<'_>, ids: &Ids, key: &RecordKey, dirt: Dirt) -> Result<(), StoreError> {
    let task = match key.kind {
        RecordKind::Contact => Task::Contact,
        RecordKind::Company => {
            // Its contacts derive from it as well; its outcome is its own.
            let members = WorkKey { task: Task::Members, id: key.id.clone() };
            work::dirty(tx, ids, &members, Dirt { carried: 0, needs_read: false, ..dirt })?;
            Task::Company
        }
        RecordKind::Conversation => Task::Conversation,
        RecordKind::Event => Task::Event,
        // Nothing is derived from a tag by itself.
        RecordKind::Tag | RecordKind::BrevoContact | RecordKind::BrevoEvent => {
            tx.count("ignored", dirt.carried);
            return Ok(());
        }
    };
    let key = WorkKey { task, id: key.id.clone() };
    work::dirty(tx, ids, &key, dirt)
}

/// What is stored of an object, without its body.
struct Standing {
    record: Record,
    email: Option<String>,
    external_id: Option<String>,
}

fn standing(tx: &Tx<'_>, ids: &Ids, key: &RecordKey) -> Result<Option<Standing>, StoreError> {
    let found = tx
        .conn
        .prepare_cached(
            "SELECT at, digest, read_began, liveness, 'null', email, external_id FROM records
             WHERE workspace = ?1 AND kind = ?2 AND id = ?3",
        )?
        .query_row((ids.workspace(), key.kind.as_str(), key.id.as_str()), |row| {
            let record = read_record(row, key.clone(), 0)?;
            Ok(Standing { record, email: row.get(5)?, external_id: row.get(6)? })
        })
        .optional()?;
    Ok(found)
}

/// Stores the newest snapshot of an object. What only says that it is gone keeps the body that is
/// known: the rules of deletion need its address.
fn put(
    tx: &Tx<'_>,
    ids: &Ids,
    prepared: &Prepared,
    stored: Option<&Standing>,
    dirt: Dirt,
) -> Result<(), StoreError> {
    let Snapshot { key, version, liveness, .. } = &prepared.snapshot;
    let email = prepared.email.as_ref().map(Email::as_str);
    let same = |stored: &Standing| {
        stored.email.as_deref() == email && stored.external_id == prepared.external_id
    };
    // What is not set costs nothing: the indexes of people are written to only if one changes.
    let (sql, used) = match stored {
        None => (
            "INSERT INTO records (workspace, kind, id, at, digest, read_began, liveness, body, email,
                 external_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            10,
        ),
        Some(_) if !liveness.is_live() => (
            "UPDATE records SET at = ?4, digest = ?5, read_began = ?6, liveness = ?7
             WHERE workspace = ?1 AND kind = ?2 AND id = ?3",
            7,
        ),
        Some(stored) if same(stored) => (
            "UPDATE records SET at = ?4, digest = ?5, read_began = ?6, liveness = ?7, body = ?8
             WHERE workspace = ?1 AND kind = ?2 AND id = ?3",
            8,
        ),
        Some(_) => (
            "UPDATE records SET at = ?4, digest = ?5, read_began = ?6, liveness = ?7, body = ?8, email = ?9,
                 external_id = ?10
             WHERE workspace = ?1 AND kind = ?2 AND id = ?3",
            10,
        ),
    };
    let read_began = match version.source {
        Source::Notification => None,
        Source::Read { began } => Some(began.seconds()),
    };
    let liveness_text = liveness.to_string();
    let (workspace, kind, id) = (ids.workspace(), key.kind.as_str(), key.id.as_str());
    let (at, digest, body) = (version.at.seconds(), version.digest.as_bytes(), &prepared.body);
    let values: [&dyn ToSql; 10] = [
        &workspace,
        &kind,
        &id,
        &at,
        digest,
        &read_began,
        &liveness_text,
        body,
        &email,
        &prepared.external_id,
    ];
    tx.conn.prepare_cached(sql)?.execute(params_from_iter(values.iter().take(used)))?;
    let had_none = stored.is_none() && prepared.companies.is_empty();
    if key.kind == RecordKind::Contact && liveness.is_live() && !had_none {
        let mut companies = prepared.companies.clone();
        if prepared.has_more_companies {
            // Those that it does not show are as they were, until the whole list is read.
            companies.extend(companies_of(tx, ids, &key.id)?);
        }
        put_members(tx, ids, &key.id, &companies, dirt)?;
    } else if key.kind == RecordKind::Contact && liveness.is_final() {
        put_members(tx, ids, &key.id, &[], dirt)?;
    }
    Ok(())
}

/// Remembers which companies a contact derives from. A company that it joins or leaves has another
/// number of contacts, and is derived again.
pub(super) fn put_members(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    companies: &[String],
    dirt: Dirt,
) -> Result<(), StoreError> {
    let before = companies_of(tx, ids, contact)?;
    let left = before.iter().filter(|company| !companies.contains(company));
    let joined = companies.iter().filter(|company| !before.contains(company));
    for company in left.chain(joined) {
        let Ok(id) = company.parse::<RecordId>() else { continue };
        if exists(tx.conn, ids, &RecordKey::company(id.clone()))? {
            let key = WorkKey { task: Task::Company, id };
            work::dirty(tx, ids, &key, Dirt { needs_read: false, ..dirt.carrying(0) })?;
        }
    }
    tx.conn
        .prepare_cached("DELETE FROM members WHERE workspace = ?1 AND contact = ?2")?
        .execute((ids.workspace(), contact.as_str()))?;
    for company in companies {
        tx.conn
            .prepare_cached(
                "INSERT INTO members (workspace, company, contact) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            )?
            .execute((ids.workspace(), company, contact.as_str()))?;
    }
    Ok(())
}

fn companies_of(tx: &Tx<'_>, ids: &Ids, contact: &RecordId) -> Result<Vec<String>, StoreError> {
    let mut statement = tx
        .conn
        .prepare_cached("SELECT company FROM members WHERE workspace = ?1 AND contact = ?2")?;
    let rows = statement.query_map((ids.workspace(), contact.as_str()), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Enters opt-outs into the ledger. A new one becomes urgent work of its own, which waits for no
/// rule. Of those that a sweep shows, only if the mirror has the address: a contact that Brevo lacks
/// is created with the flag, and one that appears there later is found by [`mirror::observe`].
pub(super) fn enter_opt_outs(
    tx: &Tx<'_>,
    ids: &Ids,
    opt_outs: &[OptOut],
    priority: Priority,
    now: Timestamp,
) -> Result<(), StoreError> {
    for opt_out in opt_outs {
        let OptOut { email, channel, reason, at, source, contact, .. } = opt_out;
        let known = match (email, contact) {
            (None, Some(contact)) => address_of(tx.conn, ids, contact)?,
            (email, _) => email.clone(),
        };
        let (mut is_new, mut is_mirrored) = (false, false);
        // Of one that was being lifted Brevo is told again, though the ledger never let it go.
        let mut in_doubt = false;
        if let Some(email) = known {
            let teller = match contact {
                Some(contact) if *source == "intercom" => Teller::Contact(contact),
                // It goes along with somebody who opted out before.
                Some(_) => Teller::Rules,
                None => Teller::Brevo,
            };
            let said = Said { teller, at: *at, reason: *reason, source };
            let address = ids.email_hash(&email);
            is_new = ledger::enter(tx, ids, &address, *channel, said)?;
            in_doubt = *channel == Channel::Email && lifts::is_in_doubt(tx.conn, ids, &address)?;
            is_mirrored = mirror::at_address(tx.conn, ids, &email)?.is_some();
        }
        if *channel == Channel::Sms {
            is_new |= enter_number(tx, ids, opt_out)?;
            is_mirrored |= is_number_mirrored(tx.conn, ids, opt_out)?;
        }
        let concerns_brevo = priority != Priority::Bulk || is_mirrored;
        if (is_new || in_doubt)
            && concerns_brevo
            && let Some(contact) = contact
        {
            opt_out_in_brevo(tx, ids, contact, now)?;
        }
    }
    Ok(())
}

/// Enters an opt-out from SMS by whatever it can be known by besides the address; answers whether any
/// of it was not there.
fn enter_number(tx: &Tx<'_>, ids: &Ids, opt_out: &OptOut) -> Result<bool, StoreError> {
    let OptOut { at, source, contact, .. } = opt_out;
    let mut is_new = false;
    if let Some(digits) = number_of(tx.conn, ids, opt_out)? {
        is_new |= numbers::enter(tx, ids, &digits, *at, source)?;
    }
    if let Some(contact) = contact {
        is_new |= numbers::enter_contact(tx, ids, contact, *at, source)?;
    }
    Ok(is_new)
}

/// True if Brevo has somebody whom an opt-out from SMS concerns, by his number or as the contact.
fn is_number_mirrored(conn: &Connection, ids: &Ids, opt_out: &OptOut) -> Result<bool, StoreError> {
    if let Some(digits) = number_of(conn, ids, opt_out)?
        && numbers::holder(conn, ids, &digits)?.is_some()
    {
        return Ok(true);
    }
    let Some(contact) = &opt_out.contact else { return Ok(false) };
    Ok(mirror::owned_by(conn, ids, contact)?.is_some())
}

fn number_of(conn: &Connection, ids: &Ids, opt_out: &OptOut) -> Result<Option<String>, StoreError> {
    match (&opt_out.phone, &opt_out.contact) {
        (None, Some(contact)) => numbers::of_contact(conn, ids, contact),
        (phone, _) => Ok(phone.clone()),
    }
}

/// The address that is known of a contact.
fn address_of(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
) -> Result<Option<Email>, StoreError> {
    let address: Option<String> = conn
        .prepare_cached(
            "SELECT email FROM records WHERE workspace = ?1 AND kind = 'contact' AND id = ?2",
        )?
        .query_row((ids.workspace(), contact.as_str()), |row| row.get(0))
        .optional()?
        .flatten();
    Ok(address.and_then(|address| address.parse().ok()))
}

/// Makes the opt-out of a contact urgent work.
pub(super) fn opt_out_in_brevo(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let key = WorkKey { task: Task::OptOut, id: contact.clone() };
    let dirt = Dirt::again(Priority::Urgent, now);
    work::dirty(tx, ids, &key, dirt)
}

/// Finds a live contact with an address.
pub(super) fn contact_with(
    conn: &Connection,
    ids: &Ids,
    email: &Email,
) -> Result<Option<RecordId>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id FROM records WHERE workspace = ?1 AND email = ?2 AND kind = 'contact' AND liveness = 'live'
             ORDER BY id LIMIT 1",
        )?
        .query_row((ids.workspace(), email.as_str()), |row| super::parsed(row, 0))
        .optional()?;
    Ok(found)
}

/// Finds a record with its body.
pub(super) fn record(
    conn: &Connection,
    ids: &Ids,
    key: &RecordKey,
) -> Result<Option<Record>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT at, digest, read_began, liveness, body FROM records
             WHERE workspace = ?1 AND kind = ?2 AND id = ?3",
        )?
        .query_row((ids.workspace(), key.kind.as_str(), key.id.as_str()), |row| {
            read_record(row, key.clone(), 0)
        })
        .optional()?;
    Ok(found)
}

/// Reads `at, digest, read_began, liveness, body` from the column `first` on.
pub(super) fn read_record(row: &Row<'_>, key: RecordKey, first: usize) -> rusqlite::Result<Record> {
    let at = Timestamp::from_seconds(row.get(first)?);
    let source = match row.get::<_, Option<i64>>(first + 2)? {
        None => Source::Notification,
        Some(began) => Source::Read { began: Timestamp::from_seconds(began) },
    };
    let body: String = row.get(first + 4)?;
    Ok(Record {
        key,
        version: Version { at, digest: Digest::from_bytes(row.get(first + 1)?), source },
        liveness: row.get::<_, String>(first + 3)?.parse().unwrap_or(Liveness::Live),
        body: serde_json::from_str(&body).map_err(super::damaged)?,
    })
}
