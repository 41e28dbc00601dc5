//! Loads what derivations need, many contacts in one read.

use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use super::{
    Ids, books, brevo_intake, conversations, event_totals, mirror, numbers, overlays, records,
    strangers, tags, verification, work,
};
use crate::model::{EventPerson, Record, RecordId, RecordKey, RecordKind, phone_digits};
use crate::store::{
    Channel, RecordSubject, SUBSCRIPTION_TYPES, StoreError, Subject, SubjectQuery, Sublists,
};

/// How many contacts with one address are looked at.
const DUPLICATES: i64 = 100;

pub(super) fn load(
    conn: &Connection,
    ids: &Ids,
    query: SubjectQuery,
) -> Result<Subject, StoreError> {
    let SubjectQuery { id, address } = query;
    let record = records::record(conn, ids, &RecordKey::contact(id.clone()))?;
    let mut subject = Subject {
        id,
        record,
        sublists: None,
        tags: Default::default(),
        companies: Default::default(),
        subscription_types: Default::default(),
        conversations: Default::default(),
        overlays: Vec::new(),
        events: Vec::new(),
        duplicates: Vec::new(),
        owned: None,
        address: None,
        at_address: None,
        at_number: None,
        intent: None,
        lost_with: None,
        missed: Default::default(),
        left_lists: Default::default(),
        email_suppressed: false,
        sms_suppressed: false,
    };
    subject.owned = mirror::owned_by(conn, ids, &subject.id)?;
    subject.intent = work::intent(conn, ids, &subject.id)?;
    if subject.owned.is_none() {
        subject.lost_with = brevo_intake::lost_with(conn, ids, &subject.id)?;
    }
    let Some(record) = &subject.record else {
        return Ok(subject);
    };
    subject.sublists = sublists(conn, ids, record)?;
    let full = subject.sublists.as_ref();
    let mut borne = listed(record, "/tags/ids", full.and_then(|full| full.tags.as_ref()));
    for company in listed(record, "/companies/ids", full.and_then(|full| full.companies.as_ref())) {
        if let Some(found) = records::record(conn, ids, &RecordKey::company(company.clone()))? {
            borne.extend(tags::of_company(&found.body));
            subject.companies.insert(company, found);
        }
    }
    borne.sort();
    borne.dedup();
    subject.tags = tags::names(conn, ids, borne)?;
    subject.conversations = conversations::of_contact(conn, ids, &subject.id)?;
    subject.overlays = overlays::of_contact(conn, ids, &subject.id)?;
    let has_subscriptions = |field: &str| {
        let types = record.body.get(field).and_then(Value::as_array);
        types.is_some_and(|types| !types.is_empty())
    };
    if has_subscriptions("opted_in_subscription_types")
        || has_subscriptions("opted_out_subscription_types")
    {
        let known = books::fact(conn, ids, SUBSCRIPTION_TYPES)?;
        subject.subscription_types =
            known.as_deref().map(serde_json::from_str).transpose()?.unwrap_or_default();
    }
    subject.events = event_totals::of_contact(conn, ids, &subject.id)?;
    if let Some(email) = record.email() {
        subject.duplicates = duplicates(conn, ids, email.as_str(), &subject.id)?;
    }
    subject.address = address.or_else(|| record.email());
    if let Some(email) = subject.address.clone() {
        let owned = subject.owned.as_ref().map(crate::store::MirrorEntry::id);
        subject.at_address =
            mirror::at_address(conn, ids, &email)?.filter(|entry| Some(entry.id()) != owned);
    }
    match subject.owned.as_ref().or(subject.at_address.as_ref()) {
        Some(entry) => subject.missed = verification::missed(conn, ids, entry.id())?,
        None => {
            if let Some(email) = &subject.address {
                subject.left_lists = mirror::left_lists(conn, ids, email)?;
            }
        }
    }
    // The rules may have chosen another address: what the person said of his own counts as well.
    for email in subject.address.iter().chain(&record.email()) {
        subject.email_suppressed |= mirror::is_suppressed(conn, ids, email, Channel::Email)?;
        subject.sms_suppressed |= mirror::is_suppressed(conn, ids, email, Channel::Sms)?;
    }
    let phone = record.body.get("phone").and_then(Value::as_str).and_then(phone_digits);
    if let Some(digits) = phone {
        subject.sms_suppressed |= numbers::is_out(conn, ids, &digits)?;
        subject.at_number = numbers::holder(conn, ids, &digits)?;
    }
    subject.sms_suppressed |= numbers::is_contact_out(conn, ids, &subject.id)?;
    for entry in [&subject.owned, &subject.at_address] {
        subject.sms_suppressed |= numbers::is_mirrored_out(conn, ids, entry.as_ref())?;
    }
    Ok(subject)
}

fn listed(record: &Record, pointer: &str, full: Option<&Vec<RecordId>>) -> Vec<RecordId> {
    if let Some(full) = full {
        return full.clone();
    }
    let shown = record.body.pointer(pointer).and_then(Value::as_array);
    shown.into_iter().flatten().filter_map(|id| id.as_str()?.parse().ok()).collect()
}

/// Sub-lists that were read in full for this very snapshot.
fn sublists(conn: &Connection, ids: &Ids, record: &Record) -> Result<Option<Sublists>, StoreError> {
    let text: Option<String> = conn
        .prepare_cached(
            "SELECT sublists FROM records
             WHERE workspace = ?1 AND kind = 'contact' AND id = ?2 AND sublists_of = ?3",
        )?
        .query_row(
            (ids.workspace(), record.key.id.as_str(), record.version.digest.as_bytes()),
            |row| row.get(0),
        )
        .optional()?
        .flatten();
    Ok(text.as_deref().map(serde_json::from_str).transpose()?)
}

fn duplicates(
    conn: &Connection,
    ids: &Ids,
    email: &str,
    but: &RecordId,
) -> Result<Vec<Record>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT id, at, digest, read_began, liveness, body FROM records
         WHERE workspace = ?1 AND email = ?2 AND kind = 'contact' AND liveness = 'live' AND id <> ?3
         ORDER BY id LIMIT ?4",
    )?;
    let rows = statement.query_map((ids.workspace(), email, but.as_str(), DUPLICATES), |row| {
        let id = super::parsed(row, 0)?;
        records::read_record(row, RecordKey::contact(id), 1)
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Loads what the derivation of a record needs that is no contact.
pub(super) fn load_record(
    conn: &Connection,
    ids: &Ids,
    key: RecordKey,
) -> Result<RecordSubject, StoreError> {
    let record = records::record(conn, ids, &key)?;
    let body = record.as_ref().map(|record| &record.body);
    let mut subject = RecordSubject {
        overlays: overlays::of_subject(conn, ids, &key)?,
        course: Vec::new(),
        contacts: Vec::new(),
        tags: Default::default(),
        contacts_count: 0,
        key,
        record: None,
    };
    match subject.key.kind {
        RecordKind::Conversation => {
            subject.course = conversations::course(conn, ids, &subject.key.id)?;
            subject.contacts = body.map(participants_of).unwrap_or_default();
        }
        RecordKind::Event => {
            subject.contacts =
                body.map_or(Ok(None), |body| person_of(conn, ids, body))?.into_iter().collect();
        }
        RecordKind::Company => {
            subject.tags = tags::names(conn, ids, body.map_or_else(Vec::new, tags::of_company))?;
            let count: i64 = conn
                .prepare_cached(
                    "SELECT count(*) FROM members WHERE workspace = ?1 AND company = ?2",
                )?
                .query_row((ids.workspace(), subject.key.id.as_str()), |row| row.get(0))?;
            subject.contacts_count = count.unsigned_abs();
        }
        _ => {}
    }
    subject.record = record;
    Ok(subject)
}

fn participants_of(body: &Value) -> Vec<RecordId> {
    let contacts = body.get("contacts").and_then(Value::as_array).into_iter().flatten();
    contacts.filter_map(|contact| contact.get("id")?.as_str()?.parse().ok()).collect()
}

/// The contact that an event belongs to. Those that came before their contacts were looked for bear no
/// id of Intercom's.
fn person_of(conn: &Connection, ids: &Ids, body: &Value) -> Result<Option<RecordId>, StoreError> {
    if let Some(person) = EventPerson::of(body) {
        return strangers::find(conn, ids, &person);
    }
    let id = body.get("intercom_user_id").and_then(Value::as_str);
    Ok(id.and_then(|id| id.parse().ok()))
}
