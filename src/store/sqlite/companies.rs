//! Companies in Brevo, and their links to contacts.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, Row};

use super::writer::Tx;
use super::{Ids, dead_letters, records, tags, work};
use crate::model::{CompanyState, Decision, RecordId, RecordKey, Timestamp, Verdict};
use crate::store::{
    Cause, CompanyCounts, CompanySubject, CompanyWrite, DueLinks, Ending, FoundCompany,
    KnownCompany, LinkCounts, LinkEnd, MirrorWrite, Outcome, Priority, Settlement, StoreError,
    Task, WorkKey,
};

/// What stands for a task where a dead letter is about a link.
pub(super) const LINK: &str = "link";

/// The key of a dead letter about a link. No id of Intercom's has a slash.
fn link_key(contact: &str, company: &str) -> String {
    format!("{contact}/{company}")
}

/// Loads a company with all that its derivation needs.
pub(super) fn subject(
    conn: &Connection,
    ids: &Ids,
    id: RecordId,
) -> Result<CompanySubject, StoreError> {
    let record = records::record(conn, ids, &RecordKey::company(id.clone()))?;
    let contacts: i64 = conn
        .prepare_cached("SELECT count(*) FROM members WHERE workspace = ?1 AND company = ?2")?
        .query_row((ids.workspace(), id.as_str()), |row| row.get(0))?;
    let tags = record.as_ref().map_or(Ok(BTreeMap::new()), |record| {
        tags::names(conn, ids, tags::of_company(&record.body))
    })?;
    let known = known(conn, ids, &id)?.unwrap_or_default();
    Ok(CompanySubject { id, record, tags, contacts: contacts.unsigned_abs(), known })
}

fn known(conn: &Connection, ids: &Ids, id: &RecordId) -> Result<Option<KnownCompany>, StoreError> {
    let read = |row: &Row<'_>| {
        let state: String = row.get(1)?;
        Ok(KnownCompany {
            brevo: row.get(0)?,
            state: serde_json::from_str(&state).map_err(super::damaged)?,
            intended: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_seconds),
        })
    };
    let found = conn
        .prepare_cached(
            "SELECT brevo, state, intended FROM companies WHERE workspace = ?1 AND id = ?2",
        )?
        .query_row((ids.workspace(), id.as_str()), read)
        .optional()?;
    Ok(found)
}

fn put(tx: &Tx<'_>, ids: &Ids, id: &RecordId, known: &KnownCompany) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO companies (workspace, id, brevo, state, intended) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET brevo = excluded.brevo, state = excluded.state,
                 intended = excluded.intended, withheld = 0",
        )?
        .execute((
            ids.workspace(),
            id.as_str(),
            &known.brevo,
            serde_json::to_string(&known.state)?,
            known.intended.map(Timestamp::seconds),
        ))?;
    Ok(())
}

/// What the end of a claim on a company makes known.
pub(super) fn apply(
    tx: &Tx<'_>,
    ids: &Ids,
    id: &RecordId,
    write: &CompanyWrite,
    now: Timestamp,
) -> Result<(), StoreError> {
    match write {
        CompanyWrite::Put(known) => put(tx, ids, id, known),
        CompanyWrite::Withhold => {
            let known = known_or_new(tx, ids, id)?;
            put(tx, ids, id, &known)?;
            tx.conn
                .prepare_cached(
                    "UPDATE companies SET withheld = 1 WHERE workspace = ?1 AND id = ?2",
                )?
                .execute((ids.workspace(), id.as_str()))?;
            Ok(())
        }
        CompanyWrite::Forget => {
            tx.conn
                .prepare_cached("DELETE FROM companies WHERE workspace = ?1 AND id = ?2")?
                .execute((ids.workspace(), id.as_str()))?;
            // Links go with the company. Those that are wanted are made again with the next one.
            tx.conn
                .prepare_cached(
                    "DELETE FROM company_links WHERE workspace = ?1 AND company = ?2 AND wanted = 0",
                )?
                .execute((ids.workspace(), id.as_str()))?;
            tx.conn
                .prepare_cached(
                    "UPDATE company_links SET linked = NULL, due = ?3
                     WHERE workspace = ?1 AND company = ?2",
                )?
                .execute((ids.workspace(), id.as_str(), now.seconds()))?;
            Ok(())
        }
    }
}

/// Forgets a company that Brevo does not have any more, and makes it dirty.
pub(super) fn lose(
    tx: &Tx<'_>,
    ids: &Ids,
    id: &RecordId,
    now: Timestamp,
) -> Result<(), StoreError> {
    apply(tx, ids, id, &CompanyWrite::Forget, now)?;
    dirty(tx, ids, id, now)
}

fn known_or_new(tx: &Tx<'_>, ids: &Ids, id: &RecordId) -> Result<KnownCompany, StoreError> {
    Ok(known(tx.conn, ids, id)?.unwrap_or_default())
}

/// Remembers that companies are about to be made.
pub(super) fn intend(
    tx: &Tx<'_>,
    ids: &Ids,
    companies: &[RecordId],
    now: Timestamp,
) -> Result<(), StoreError> {
    for id in companies {
        let known = known_or_new(tx, ids, id)?;
        put(tx, ids, id, &KnownCompany { intended: Some(now), ..known })?;
    }
    Ok(())
}

/// Takes over what was found in Brevo. One that was about to be made is one that the engine made. What
/// Brevo holds of a company that was known otherwise makes it dirty; answers how many those are.
pub(super) fn adopt(
    tx: &Tx<'_>,
    ids: &Ids,
    found: &[FoundCompany],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut changed = 0;
    for FoundCompany { id, brevo, held, contacts } in found {
        let before = known(tx.conn, ids, id)?;
        let known = before.clone().unwrap_or_default();
        // Two companies of Brevo's may bear one id. The first that was known stays the one.
        if known.brevo.as_ref().is_some_and(|known| known != brevo) {
            continue;
        }
        let state = CompanyState {
            created: known.state.created || known.intended.is_some(),
            held: held.clone(),
            linked: contacts.difference(&linked_by_us(tx.conn, ids, id)?).copied().collect(),
            ..known.state.clone()
        };
        let after = KnownCompany { brevo: Some(brevo.clone()), state, intended: None };
        if before.as_ref() == Some(&after) {
            continue;
        }
        put(tx, ids, id, &after)?;
        let is_drift = before.is_some_and(|before| {
            before.brevo.is_some() && differs_in_ours(&before.state, &after.state)
        });
        if is_drift {
            changed += 1;
            dirty(tx, ids, id, now)?;
        }
    }
    Ok(changed)
}

fn linked_by_us(
    conn: &Connection,
    ids: &Ids,
    company: &RecordId,
) -> Result<BTreeSet<i64>, StoreError> {
    let linked = conn
        .prepare_cached(
            "SELECT linked FROM company_links
             WHERE workspace = ?1 AND company = ?2 AND linked IS NOT NULL",
        )?
        .query_map((ids.workspace(), company.as_str()), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(linked)
}

/// True if something that the engine applied is not as it was.
fn differs_in_ours(before: &CompanyState, after: &CompanyState) -> bool {
    before.applied.keys().any(|name| before.held.get(name) != after.held.get(name))
}

fn dirty(tx: &Tx<'_>, ids: &Ids, id: &RecordId, now: Timestamp) -> Result<(), StoreError> {
    let key = WorkKey { task: Task::Company, id: id.clone() };
    work::dirty(tx, ids, &key, work::Dirt::again(Priority::Companies, now))
}

/// Makes companies dirty whose ids follow `after`; answers the last of them.
pub(super) fn rederive_page(
    tx: &Tx<'_>,
    ids: &Ids,
    after: &str,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<RecordId>, StoreError> {
    let companies: Vec<RecordId> = tx
        .conn
        .prepare_cached(
            "SELECT id FROM records WHERE workspace = ?1 AND kind = 'company' AND liveness = 'live' AND id > ?2
             ORDER BY id LIMIT ?3",
        )?
        .query_map((ids.workspace(), after, limit), |row| super::parsed(row, 0))?
        .collect::<Result<_, _>>()?;
    for id in &companies {
        dirty(tx, ids, id, now)?;
    }
    Ok(companies)
}

/// Makes those dirty again that were left out because Brevo took no companies.
pub(super) fn release(tx: &Tx<'_>, ids: &Ids, now: Timestamp) -> Result<u64, StoreError> {
    let companies: Vec<RecordId> = tx
        .conn
        .prepare_cached(
            "SELECT id FROM companies INDEXED BY companies_withheld WHERE workspace = ?1 AND withheld = 1",
        )?
        .query_map((ids.workspace(),), |row| super::parsed(row, 0))?
        .collect::<Result<_, _>>()?;
    for id in &companies {
        tx.conn
            .prepare_cached("UPDATE companies SET withheld = 0 WHERE workspace = ?1 AND id = ?2")?
            .execute((ids.workspace(), id.as_str()))?;
        dirty(tx, ids, id, now)?;
    }
    Ok(companies.len() as u64)
}

/// Brings the links that a contact should have to what the end of its claim says.
pub(super) fn relink(
    tx: &Tx<'_>,
    ids: &Ids,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<(), StoreError> {
    let contact = &settlement.claim.key.id;
    let Some(wanted) = wanted(settlement) else { return Ok(()) };
    let links = links_of(tx.conn, ids, contact)?;
    if wanted.is_empty() && links.is_empty() {
        return Ok(());
    }
    let number = brevo_contact(tx.conn, ids, contact)?;
    for company in &wanted {
        let known = links.get(company.as_str());
        let is_linked = known.is_some_and(|link| link.linked.is_some() && link.linked == number);
        if !known.is_some_and(|link| link.wanted && is_linked) {
            put_link(tx, ids, (contact, company.as_str()), true, (!is_linked).then_some(now))?;
        }
    }
    for (company, link) in &links {
        if link.wanted && !wanted.iter().any(|id| id.as_str() == company) {
            let due = link.linked.map(|_| now);
            dead_letters::forget(tx, ids, LINK, &link_key(contact.as_str(), company))?;
            put_link(tx, ids, (contact, company), false, due)?;
        }
    }
    tx.conn
        .prepare_cached(
            "DELETE FROM company_links WHERE workspace = ?1 AND contact = ?2 AND wanted = 0 AND linked IS NULL",
        )?
        .execute((ids.workspace(), contact.as_str()))?;
    Ok(())
}

/// Forgets the links of one of Brevo's contacts that is gone: they went with it. Those that are still
/// wanted are due for whoever stands for the record next.
pub(super) fn forget_contact(
    tx: &Tx<'_>,
    ids: &Ids,
    number: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE company_links SET linked = NULL, due = CASE WHEN wanted = 1 THEN ?3 END
             WHERE workspace = ?1 AND linked = ?2
                 AND contact = (SELECT owner FROM mirror WHERE workspace = ?1 AND id = ?2)",
        )?
        .execute((ids.workspace(), number, now.seconds()))?;
    Ok(())
}

/// Which companies a contact should be linked to; none: the end of its claim does not say.
fn wanted(settlement: &Settlement) -> Option<BTreeSet<RecordId>> {
    let Ending::Done { outcome, .. } = settlement.ending else { return None };
    if settlement.claim.key.task != Task::Contact {
        return None;
    }
    let nothing = Some(BTreeSet::new());
    match settlement.decision.as_deref() {
        Some(Decision { verdict: Verdict::Skip { .. }, .. }) => None,
        Some(decision) if decision.verdict == Verdict::Write && is_identified(decision) => {
            Some(decision.companies.keys().cloned().collect())
        }
        Some(_) => nothing,
        // It is gone, or another one speaks for it.
        None if matches!(outcome, Outcome::Applied | Outcome::Skipped) => nothing,
        None if settlement.mirror.iter().any(|w| matches!(w, MirrorWrite::Disown { .. })) => {
            nothing
        }
        None => None,
    }
}

pub(super) fn is_identified(decision: &Decision) -> bool {
    decision.email.is_some() || decision.ext_id.is_some()
}

struct Link {
    wanted: bool,
    linked: Option<i64>,
}

fn links_of(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
) -> Result<BTreeMap<String, Link>, StoreError> {
    let links = conn
        .prepare_cached(
            "SELECT company, wanted, linked FROM company_links WHERE workspace = ?1 AND contact = ?2",
        )?
        .query_map((ids.workspace(), contact.as_str()), |row| {
            Ok((row.get(0)?, Link { wanted: row.get(1)?, linked: row.get(2)? }))
        })?
        .collect::<Result<_, _>>()?;
    Ok(links)
}

fn put_link(
    tx: &Tx<'_>,
    ids: &Ids,
    (contact, company): (&RecordId, &str),
    wanted: bool,
    due: Option<Timestamp>,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO company_links (workspace, contact, company, wanted, due)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET wanted = excluded.wanted, due = excluded.due",
        )?
        .execute((
            ids.workspace(),
            contact.as_str(),
            company,
            wanted,
            due.map(Timestamp::seconds),
        ))?;
    Ok(())
}

/// Brevo's number of the contact that stands for this one.
pub(super) fn brevo_contact(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
) -> Result<Option<i64>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id FROM mirror INDEXED BY mirror_owner WHERE workspace = ?1 AND owner = ?2 LIMIT 1",
        )?
        .query_row((ids.workspace(), contact.as_str()), |row| row.get(0))
        .optional()?;
    Ok(found)
}

/// Links that are to be made or undone now, by company, of up to `limit` contacts.
pub(super) fn due_links(
    conn: &Connection,
    ids: &Ids,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<DueLinks>, StoreError> {
    let (mut due, mut foreign): (Vec<DueLinks>, BTreeSet<i64>) = Default::default();
    // What is to be unlinked needs no contact that stands for anybody any more; what is to be linked does.
    let mut statement = conn.prepare_cached(
        "SELECT link.company, company.brevo, link.contact, link.wanted, link.linked, mirror.id,
             company.state
         FROM company_links AS link INDEXED BY company_links_due
         CROSS JOIN companies AS company
             ON company.workspace = link.workspace AND company.id = link.company
                 AND company.brevo IS NOT NULL
         LEFT JOIN mirror INDEXED BY mirror_owner
             ON mirror.workspace = link.workspace AND mirror.owner = link.contact
         WHERE link.workspace = ?1 AND link.due IS NOT NULL AND link.due <= ?2
             AND (link.wanted = 0 OR mirror.id IS NOT NULL)
         ORDER BY link.company, link.contact LIMIT ?3",
    )?;
    let mut rows = statement.query((ids.workspace(), now.seconds(), limit as i64))?;
    while let Some(row) = rows.next()? {
        let (company, brevo) = (super::parsed(row, 0)?, row.get(1)?);
        let contact = super::parsed(row, 2)?;
        let (wanted, linked): (bool, Option<i64>) = (row.get(3)?, row.get(4)?);
        let number: Option<i64> = row.get(5)?;
        if due.last().is_none_or(|last| last.company != company) {
            let state: String = row.get(6)?;
            let state: CompanyState = serde_json::from_str(&state)?;
            foreign = state.linked;
            due.push(DueLinks::new(company, brevo));
        }
        let Some(links) = due.last_mut() else { continue };
        match (wanted, number, linked) {
            (true, Some(number), None) if foreign.contains(&number) => links.foreign.push(contact),
            (true, Some(number), _) => links.link.push((contact, number)),
            (false, _, Some(linked)) => links.unlink.push((contact, linked)),
            _ => {}
        }
    }
    Ok(due)
}

/// Figures of companies.
pub(super) fn counts(conn: &Connection, ids: &Ids) -> Result<CompanyCounts, StoreError> {
    let count = |sql: &str| -> Result<u64, StoreError> {
        let count: i64 =
            conn.prepare_cached(sql)?.query_row((ids.workspace(),), |row| row.get(0))?;
        Ok(count.unsigned_abs())
    };
    Ok(CompanyCounts {
        synced: count(
            "SELECT count(*) FROM companies INDEXED BY companies_synced
             WHERE workspace = ?1 AND brevo IS NOT NULL",
        )?,
        due: count("SELECT count(*) FROM work WHERE workspace = ?1 AND task = 'company'")?,
        withheld: count(
            "SELECT count(*) FROM companies INDEXED BY companies_withheld
             WHERE workspace = ?1 AND withheld = 1",
        )?,
        dead: dead_letters::count(conn, ids, Task::Company.as_str())?,
    })
}

/// Figures of links.
pub(super) fn link_counts(
    conn: &Connection,
    ids: &Ids,
    now: Timestamp,
) -> Result<LinkCounts, StoreError> {
    let linked: i64 = conn
        .prepare_cached(
            "SELECT count(*) FROM company_links INDEXED BY company_links_linked
             WHERE workspace = ?1 AND linked IS NOT NULL",
        )?
        .query_row((ids.workspace(),), |row| row.get(0))?;
    Ok(LinkCounts {
        linked: linked.unsigned_abs(),
        due: count_due_links(conn, ids, now)?,
        dead: dead_letters::count(conn, ids, LINK)?,
    })
}

/// How many links are to be made or undone now.
fn count_due_links(conn: &Connection, ids: &Ids, now: Timestamp) -> Result<u64, StoreError> {
    let count: i64 = conn
        .prepare_cached(
            "SELECT count(*) FROM company_links AS link INDEXED BY company_links_due
             CROSS JOIN companies AS company
                 ON company.workspace = link.workspace AND company.id = link.company
                     AND company.brevo IS NOT NULL
             LEFT JOIN mirror INDEXED BY mirror_owner
                 ON mirror.workspace = link.workspace AND mirror.owner = link.contact
             WHERE link.workspace = ?1 AND link.due IS NOT NULL AND link.due <= ?2
                 AND (link.wanted = 0 OR mirror.id IS NOT NULL)",
        )?
        .query_row((ids.workspace(), now.seconds()), |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Ends attempts on links of one company. What is wanted otherwise by now stays due.
pub(super) fn end_links(
    tx: &Tx<'_>,
    ids: &Ids,
    company: &RecordId,
    ends: &[(RecordId, LinkEnd)],
    now: Timestamp,
) -> Result<(), StoreError> {
    for (contact, end) in ends {
        let at = (ids.workspace(), contact.as_str(), company.as_str());
        let key = link_key(at.1, at.2);
        dead_letters::forget(tx, ids, LINK, &key)?;
        if let LinkEnd::Refused(cause) = end {
            let cause =
                Cause { origin: link_origin(tx.conn, ids, contact, company)?, ..cause.clone() };
            dead_letters::bury_other(tx, ids, (LINK, &key), &cause, 1, now)?;
        }
        match end {
            LinkEnd::Linked(number) => tx
                .conn
                .prepare_cached(
                    "UPDATE company_links SET linked = ?4, due = CASE WHEN wanted = 1 THEN NULL ELSE due END
                     WHERE workspace = ?1 AND contact = ?2 AND company = ?3",
                )?
                .execute((at.0, at.1, at.2, number))?,
            LinkEnd::Unlinked => tx
                .conn
                .prepare_cached(
                    "UPDATE company_links SET linked = NULL, due = CASE WHEN wanted = 0 THEN NULL ELSE due END
                     WHERE workspace = ?1 AND contact = ?2 AND company = ?3",
                )?
                .execute(at)?,
            LinkEnd::Refused(_) | LinkEnd::Foreign => tx
                .conn
                .prepare_cached(
                    "UPDATE company_links SET due = NULL
                     WHERE workspace = ?1 AND contact = ?2 AND company = ?3",
                )?
                .execute(at)?,
        };
        tx.conn
            .prepare_cached(
                "DELETE FROM company_links WHERE workspace = ?1 AND contact = ?2 AND company = ?3
                     AND wanted = 0 AND linked IS NULL",
            )?
            .execute(at)?;
    }
    Ok(())
}

/// The line that asks for a link, if any still does.
fn link_origin(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
    company: &RecordId,
) -> Result<Option<String>, StoreError> {
    let decision: Option<String> = conn
        .prepare_cached("SELECT decision FROM decisions WHERE workspace = ?1 AND id = ?2")?
        .query_row((ids.workspace(), contact.as_str()), |row| row.get(0))
        .optional()?;
    let Some(decision) = decision else { return Ok(None) };
    let decision: Decision = serde_json::from_str(&decision)?;
    Ok(decision.companies.get(company).map(ToString::to_string))
}

/// Makes the link of a dead letter due again.
pub(super) fn revive_link(
    tx: &Tx<'_>,
    ids: &Ids,
    key: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some((contact, company)) = key.split_once('/') else { return Ok(()) };
    tx.conn
        .prepare_cached(
            "UPDATE company_links SET due = ?4 WHERE workspace = ?1 AND contact = ?2 AND company = ?3",
        )?
        .execute((ids.workspace(), contact, company, now.seconds()))?;
    Ok(())
}
