//! Intake of Brevo's webhooks, and contacts that were deleted there.

use rusqlite::{Connection, OptionalExtension};

use super::ledger::{self, Said, Teller};
use super::writer::Tx;
use super::{Ids, mirror, records, told, work};
use crate::model::{BrevoContact, Digest, Email, RecordId, Timestamp};
use crate::store::{
    Acceptance, AfterLoss, BrevoArrival, BrevoEffect, Cause, Journalled, Priority, StoreError,
    Task, WorkKey,
};

/// Makes one event durable: journal, ledger and work.
pub(super) fn accept(
    tx: &Tx<'_>,
    ids: &Ids,
    arrival: &BrevoArrival,
) -> Result<Acceptance, StoreError> {
    let BrevoArrival { dedupe_key, topic, body, received, effect } = arrival;
    let is_known = match effect {
        BrevoEffect::Read { email, .. } => is_in_intercom(tx.conn, ids, email)?,
        BrevoEffect::Nothing => false,
        BrevoEffect::Unusable { .. } => true,
    };
    let entry = Journalled {
        dedupe_key: dedupe_key.clone(),
        topic: format!("brevo.{topic}"),
        // Of somebody without a match in Intercom nothing is kept that names him.
        body: if is_known { body.clone() } else { Vec::new() },
    };
    let Some(journal) = records::append(tx, ids, &entry, *received)? else {
        tx.count("duplicates", 1);
        return Ok(Acceptance::Duplicate);
    };
    tx.count("accepted", 1);
    match effect {
        BrevoEffect::Nothing => tx.count("ignored", 1),
        BrevoEffect::Unusable { reason } => {
            let cause = Cause { kind: "unusable", message: reason.clone(), ..Cause::default() };
            super::dead_letters::bury_notification(tx, ids, Some(journal), &cause, *received)?;
        }
        BrevoEffect::Read { email, opt_out } => {
            if let Some(out) = opt_out {
                let (teller, at) = (Teller::Brevo, out.at);
                let said = Said { teller, at, reason: out.reason, source: out.source };
                if ledger::enter(tx, ids, &ids.email_hash(email), out.channel, said)? {
                    told::tell_of_address(tx, ids, email, *received)?;
                }
            }
            let priority = if opt_out.is_some() { Priority::Urgent } else { Priority::Live };
            dirty(tx, ids, email, priority, *received)?;
        }
    }
    Ok(Acceptance::Accepted)
}

/// Makes the read of a contact work.
fn dirty(
    tx: &Tx<'_>,
    ids: &Ids,
    email: &Email,
    priority: Priority,
    now: Timestamp,
) -> Result<(), StoreError> {
    let name = hex::encode(ids.email_hash(email));
    tx.conn
        .prepare_cached(
            "INSERT INTO brevo_reads (workspace, id, email) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute((ids.workspace(), &name, email.as_str()))?;
    let id = name
        .parse()
        .map_err(|_| StoreError::Damaged { what: "brevo_reads", reason: "id".to_owned() })?;
    let key = WorkKey { task: Task::BrevoContact, id };
    work::dirty(tx, ids, &key, work::Dirt::again(priority, now).carrying(1))
}

/// The address that a piece of work is about.
pub(super) fn address(
    conn: &Connection,
    ids: &Ids,
    id: &RecordId,
) -> Result<Option<Email>, StoreError> {
    let email: Option<String> = conn
        .prepare_cached("SELECT email FROM brevo_reads WHERE workspace = ?1 AND id = ?2")?
        .query_row((ids.workspace(), id.as_str()), |row| row.get(0))
        .optional()?;
    Ok(email.and_then(|email| email.parse().ok()))
}

fn is_in_intercom(conn: &Connection, ids: &Ids, email: &Email) -> Result<bool, StoreError> {
    let found: Option<i64> = conn
        .prepare_cached("SELECT 1 FROM records WHERE workspace = ?1 AND email = ?2 LIMIT 1")?
        .query_row((ids.workspace(), email.as_str()), |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

/// Writes what a read found that a webhook caused. Nobody wrote to the contact meanwhile, so that it
/// is newer than what is mirrored.
pub(super) fn observe(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &BrevoContact,
    now: Timestamp,
) -> Result<bool, StoreError> {
    mirror::observe(tx, ids, contact, now, None, mirror::Keep::Matches)
}

/// Forgets contacts that somebody deleted in Brevo. That they opted out stays in the ledger.
pub(super) fn lose(
    tx: &Tx<'_>,
    ids: &Ids,
    lost: &[i64],
    then: AfterLoss,
    now: Timestamp,
) -> Result<(), StoreError> {
    for id in lost {
        let owner: Option<String> = tx
            .conn
            .prepare_cached("SELECT owner FROM mirror WHERE workspace = ?1 AND id = ?2")?
            .query_row((ids.workspace(), id), |row| row.get(0))
            .optional()?
            .flatten();
        mirror::forget(tx, ids, *id, now)?;
        let Some(owner) = owner else { continue };
        match then {
            AfterLoss::Wait => note_loss(tx, ids, &owner)?,
            AfterLoss::MakeAgain => mirror::derive_owner(tx, ids, &owner, now)?,
        }
    }
    Ok(())
}

fn note_loss(tx: &Tx<'_>, ids: &Ids, owner: &str) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO lost (workspace, owner, snapshot)
             SELECT workspace, ?2, snapshot FROM derivations
             WHERE workspace = ?1 AND subject = 'contact:' || ?2
             ON CONFLICT DO UPDATE SET snapshot = excluded.snapshot",
        )?
        .execute((ids.workspace(), owner))?;
    Ok(())
}

/// The snapshot that was derived last when somebody deleted the Brevo contact of this one.
pub(super) fn lost_with(
    conn: &Connection,
    ids: &Ids,
    owner: &RecordId,
) -> Result<Option<Digest>, StoreError> {
    let digest = conn
        .prepare_cached("SELECT snapshot FROM lost WHERE workspace = ?1 AND owner = ?2")?
        .query_row((ids.workspace(), owner.as_str()), |row| row.get(0))
        .optional()?;
    Ok(digest.map(Digest::from_bytes))
}
