//! Addresses that are asked to confirm: kept with the end of the derivation that asks for it, and
//! never asked twice. Until it is asked, what the newest derivation says counts.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row};

use super::work::Dirt;
use super::writer::Tx;
use super::{Ids, dead_letters, mirror, work};
use crate::model::{Decision, Email, ListId, RecordId, Timestamp, Verdict};
use crate::store::{
    Cause, Channel, DoubleOptInEnd, DueDoubleOptIn, Ending, MirrorEntry, Outcome, Priority,
    Settlement, StoreError, Task, WorkKey,
};

/// What stands for a task where a dead letter is about somebody who was to be asked.
pub(super) const TASK: &str = "double_opt_in";

/// What a dead letter is about: the contact, and the number, since a contact may have had more than
/// one address.
fn letter(contact: &str, seq: i64) -> String {
    format!("{contact}:{seq}")
}

fn number(letter: &str) -> Option<i64> {
    letter.rsplit_once(':')?.1.parse().ok()
}

/// Keeps what the end of a contact's derivation asks for, and withdraws what it asks for no more.
pub(super) fn keep(
    tx: &Tx<'_>,
    ids: &Ids,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<(), StoreError> {
    let key = &settlement.claim.key;
    if key.task != Task::Contact || matches!(settlement.ending, Ending::Retry { .. }) {
        return Ok(());
    }
    let asked = match asked(settlement) {
        Some((email, decision)) if may_ask(tx, ids, &key.id, &email)? => Some((email, decision)),
        _ => None,
    };
    withdraw(tx, ids, &key.id, asked.as_ref().map(|(email, _)| email))?;
    match asked {
        Some((email, decision)) => put(tx, ids, (&key.id, &email), decision, now),
        None => Ok(()),
    }
}

/// Whom a contact that was written is to be asked at. Who is skipped, dead, held, or unsubscribed by
/// the same rules is not asked.
fn asked(settlement: &Settlement) -> Option<(Email, &Decision)> {
    let Ending::Done { outcome, .. } = settlement.ending else { return None };
    let decision = settlement.decision.as_deref()?;
    let is_written = decision.verdict == Verdict::Write
        && matches!(outcome, Outcome::Applied | Outcome::Unchanged);
    if !is_written || decision.double_opt_in.is_none() || decision.email_opt_out.is_some() {
        return None;
    }
    Some((decision.email.as_ref()?.value.parse().ok()?, decision))
}

/// False for who opted out, and for a contact of which something waits for approval or was rejected:
/// an e-mail cannot be taken back.
fn may_ask(tx: &Tx<'_>, ids: &Ids, contact: &RecordId, email: &Email) -> Result<bool, StoreError> {
    let held: Option<i64> = tx
        .conn
        .prepare_cached(
            "SELECT 1 FROM held_changes
             WHERE workspace = ?1 AND contact = ?2 AND state IN ('waits', 'rejected') LIMIT 1",
        )?
        .query_row((ids.workspace(), contact.as_str()), |row| row.get(0))
        .optional()?;
    Ok(held.is_none() && !mirror::is_suppressed(tx.conn, ids, email, Channel::Email)?)
}

/// Forgets what a contact does not ask for any more, if nobody was asked yet. A call that is under way
/// is not made again.
fn withdraw(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    except: Option<&Email>,
) -> Result<(), StoreError> {
    let except = except.map(|email| ids.email_hash(email));
    let open: Vec<i64> = tx
        .conn
        .prepare_cached(
            "SELECT seq FROM double_opt_ins INDEXED BY double_opt_ins_contact
             WHERE workspace = ?1 AND contact = ?2 AND wanted IS NOT NULL
                 AND state IN ('due', 'needless') AND address IS NOT ?3",
        )?
        .query_map((ids.workspace(), contact.as_str(), &except), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    open.into_iter().try_for_each(|seq| forget(tx, seq))?;
    tx.conn
        .prepare_cached(
            "UPDATE double_opt_ins INDEXED BY double_opt_ins_contact SET state = 'ceasing'
             WHERE workspace = ?1 AND contact = ?2 AND wanted IS NOT NULL
                 AND state = 'asking' AND address IS NOT ?3",
        )?
        .execute((ids.workspace(), contact.as_str(), &except))?;
    Ok(())
}

/// Forgets an address that nobody asks any more. One that may have been asked before is not forgotten.
fn forget(tx: &Tx<'_>, seq: i64) -> Result<(), StoreError> {
    let gone = tx
        .conn
        .prepare_cached("DELETE FROM double_opt_ins WHERE seq = ?1 AND in_doubt = 0")?
        .execute((seq,))?;
    if gone == 0 {
        close(tx, seq, "doubtful")?;
    }
    Ok(())
}

/// Ends it for good: all that stays is the hash.
fn close(tx: &Tx<'_>, seq: i64, state: &str) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE double_opt_ins SET state = ?2, email = NULL, wanted = NULL, due = NULL
             WHERE seq = ?1",
        )?
        .execute((seq, state))?;
    Ok(())
}

/// What is known of an address.
struct Known {
    seq: i64,
    contact: String,
    state: String,
    wanted: Option<String>,
    lists: Option<String>,
}

fn known(conn: &Connection, ids: &Ids, email: &Email) -> Result<Option<Known>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT seq, contact, state, wanted, lists FROM double_opt_ins
             WHERE workspace = ?1 AND address = ?2",
        )?
        .query_row((ids.workspace(), ids.email_hash(email)), |row| {
            Ok(Known {
                seq: row.get(0)?,
                contact: row.get(1)?,
                state: row.get(2)?,
                wanted: row.get(3)?,
                lists: row.get(4)?,
            })
        })
        .optional()?;
    Ok(found)
}

fn put(
    tx: &Tx<'_>,
    ids: &Ids,
    (contact, email): (&RecordId, &Email),
    decision: &Decision,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(asked) = &decision.double_opt_in else { return Ok(()) };
    let wanted = serde_json::to_string(&asked.value)?;
    let known = known(tx.conn, ids, email)?;
    if let Some(known) = &known {
        if known.state == "ceasing" {
            // It is asked for again, while it is being asked.
            tx.conn
                .prepare_cached(
                    "UPDATE double_opt_ins SET state = 'asking', contact = ?2 WHERE seq = ?1",
                )?
                .execute((known.seq, contact.as_str()))?;
            return Ok(());
        }
        let is_same = known.wanted.as_ref() == Some(&wanted);
        let stays = match known.state.as_str() {
            "due" => false,
            "needless" => is_same && is_on_or_left(tx.conn, ids, email, known)?,
            "refused" => is_same,
            // It was asked, or may have been: whatever rules say now, that is over.
            _ => true,
        };
        if stays {
            return Ok(());
        }
        if known.state == "refused" {
            dead_letters::forget(tx, ids, TASK, &letter(&known.contact, known.seq))?;
        }
    }
    tx.conn
        .prepare_cached(
            "INSERT INTO double_opt_ins (workspace, address, contact, email, wanted, state, origin,
                 rule_set, due)
             VALUES (?1, ?2, ?3, ?4, ?5, 'due', ?6, ?7, ?8)
             ON CONFLICT (workspace, address) DO UPDATE SET contact = excluded.contact,
                 email = excluded.email, origin = excluded.origin, rule_set = excluded.rule_set,
                 due = CASE WHEN state = 'due' AND wanted = excluded.wanted THEN due ELSE excluded.due END,
                 attempts = CASE WHEN state = 'due' AND wanted = excluded.wanted THEN attempts ELSE 0 END,
                 failing_since = CASE WHEN state = 'due' AND wanted = excluded.wanted THEN failing_since END,
                 wanted = excluded.wanted, state = 'due', lists = NULL, version = version + 1",
        )?
        .execute((
            ids.workspace(),
            ids.email_hash(email),
            contact.as_str(),
            email.as_str(),
            wanted,
            asked.origin.to_string(),
            decision.rule_set.as_str(),
            now.seconds(),
        ))?;
    Ok(())
}

/// True while an address is on the lists for which it needed no asking, or has left them, as far as is
/// known.
fn is_on_or_left(
    conn: &Connection,
    ids: &Ids,
    email: &Email,
    known: &Known,
) -> Result<bool, StoreError> {
    let lists = known.lists.as_deref().unwrap_or("[]");
    let lists: BTreeSet<ListId> = serde_json::from_str(lists)?;
    let mut covered = mirror::left_lists(conn, ids, email)?;
    if let Some(MirrorEntry::Full(mirrored)) = mirror::at_address(conn, ids, email)? {
        covered.extend(mirrored.contact.lists);
    }
    Ok(lists.is_subset(&covered))
}

/// Who is to be asked now. It goes behind the contact's own write, which makes the contact in Brevo,
/// and behind whatever else is known of the contact and waits.
pub(super) fn due(
    conn: &Connection,
    ids: &Ids,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<DueDoubleOptIn>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, version, contact, email, wanted, origin, rule_set, attempts, failing_since
         FROM double_opt_ins INDEXED BY double_opt_ins_open
         WHERE workspace = ?1 AND state = 'due' AND due <= ?2 AND NOT EXISTS (
             SELECT 1 FROM work WHERE work.workspace = double_opt_ins.workspace
                 AND work.task = 'contact' AND work.id = double_opt_ins.contact
                 AND (work.claimed = 1 OR work.due <= ?2))
         ORDER BY due, seq LIMIT ?3",
    )?;
    let rows = statement.query_map((ids.workspace(), now.seconds(), limit as i64), read)?;
    let mut all: Vec<DueDoubleOptIn> = rows.collect::<Result<_, _>>()?;
    for one in &mut all {
        one.is_suppressed = mirror::is_suppressed(conn, ids, &one.email, Channel::Email)?;
        one.left_lists = mirror::left_lists(conn, ids, &one.email)?;
    }
    Ok(all)
}

fn read(row: &Row<'_>) -> rusqlite::Result<DueDoubleOptIn> {
    let (email, wanted): (String, String) = (row.get(3)?, row.get(4)?);
    let email = email.parse().map_err(|error: crate::model::InvalidId| {
        rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok(DueDoubleOptIn {
        seq: row.get(0)?,
        version: row.get(1)?,
        contact: super::parsed(row, 2)?,
        email,
        wanted: serde_json::from_str(&wanted).map_err(super::damaged)?,
        is_suppressed: false,
        left_lists: BTreeSet::new(),
        origin: row.get(5)?,
        rule_set: row.get(6)?,
        attempts: row.get(7)?,
        failing_since: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_seconds),
    })
}

/// When somebody is to be asked next.
pub(super) fn next_due(conn: &Connection, ids: &Ids) -> Result<Option<Timestamp>, StoreError> {
    let due: Option<i64> = conn
        .prepare_cached(
            "SELECT min(due) FROM double_opt_ins INDEXED BY double_opt_ins_open
             WHERE workspace = ?1 AND state = 'due' AND due IS NOT NULL",
        )?
        .query_row((ids.workspace(),), |row| row.get(0))?;
    Ok(due.map(Timestamp::from_seconds))
}

/// How many wait to be asked, or are being asked.
pub(super) fn count(conn: &Connection, ids: &Ids) -> Result<u64, StoreError> {
    let count: i64 = conn
        .prepare_cached(
            "SELECT count(*) FROM double_opt_ins INDEXED BY double_opt_ins_open
             WHERE workspace = ?1 AND state IN ('due', 'asking', 'ceasing') AND due IS NOT NULL",
        )?
        .query_row((ids.workspace(),), |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Notes that somebody is about to be asked. False: not now, since it was changed, the address opted
/// out, or something of the contact waits to be derived. If the process dies before the end is known,
/// nobody is asked again by itself: see [`recover`].
pub(super) fn begin(
    tx: &Tx<'_>,
    ids: &Ids,
    due: &DueDoubleOptIn,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if mirror::is_suppressed(tx.conn, ids, &due.email, Channel::Email)? {
        return Ok(false);
    }
    let begun = tx
        .conn
        .prepare_cached(
            "UPDATE double_opt_ins SET state = 'asking'
             WHERE seq = ?1 AND version = ?2 AND state = 'due' AND NOT EXISTS (
                 SELECT 1 FROM work WHERE work.workspace = double_opt_ins.workspace
                     AND work.task = 'contact' AND work.id = double_opt_ins.contact
                     AND (work.claimed = 1 OR work.due <= ?3))",
        )?
        .execute((due.seq, due.version, now.seconds()))?;
    Ok(begun > 0)
}

/// Ends an attempt, unless it was changed meanwhile.
pub(super) fn end(
    tx: &Tx<'_>,
    ids: &Ids,
    due: &DueDoubleOptIn,
    end: &DoubleOptInEnd,
    now: Timestamp,
) -> Result<(), StoreError> {
    let state: Option<String> = tx
        .conn
        .prepare_cached(
            "SELECT state FROM double_opt_ins
             WHERE seq = ?1 AND version = ?2 AND state IN ('due', 'asking', 'ceasing')",
        )?
        .query_row((due.seq, due.version), |row| row.get(0))
        .optional()?;
    let Some(state) = state else {
        return Ok(());
    };
    let may_be_asked = matches!(end, DoubleOptInEnd::Asked | DoubleOptInEnd::Doubtful(_));
    if state == "ceasing" && !may_be_asked {
        return forget(tx, due.seq);
    }
    match end {
        DoubleOptInEnd::Asked => {
            close(tx, due.seq, "asked")?;
            tx.conn
                .prepare_cached("UPDATE double_opt_ins SET asked = ?2 WHERE seq = ?1")?
                .execute((due.seq, now.seconds()))?;
            tx.count("double_opt_ins", 1);
            Ok(())
        }
        DoubleOptInEnd::Needless(lists) => {
            tx.conn
                .prepare_cached(
                    "UPDATE double_opt_ins SET state = 'needless', lists = ?2, email = NULL, due = NULL
                     WHERE seq = ?1 AND in_doubt = 0",
                )?
                .execute((due.seq, serde_json::to_string(lists)?))?;
            tx.conn
                .prepare_cached(
                    "UPDATE double_opt_ins SET state = 'doubtful', email = NULL, wanted = NULL, due = NULL
                     WHERE seq = ?1 AND in_doubt = 1",
                )?
                .execute((due.seq,))?;
            Ok(())
        }
        DoubleOptInEnd::Withdrawn => forget(tx, due.seq),
        DoubleOptInEnd::Refused(cause) => {
            bury(tx, ids, due.seq, "refused", cause, due.attempts + 1, now)
        }
        DoubleOptInEnd::Doubtful(cause) => {
            bury(tx, ids, due.seq, "doubtful", cause, due.attempts + 1, now)
        }
        DoubleOptInEnd::Retry { at, counts } => {
            tx.conn
                .prepare_cached(
                    "UPDATE double_opt_ins SET state = 'due', due = ?2,
                         attempts = CASE WHEN ?3 THEN attempts + 1 ELSE attempts END,
                         failing_since = CASE WHEN ?3 THEN coalesce(failing_since, ?4) ELSE failing_since END
                     WHERE seq = ?1",
                )?
                .execute((due.seq, at.seconds(), counts, now.seconds()))?;
            Ok(())
        }
    }
}

/// Makes a dead letter of it. What was in doubt once stays so.
fn bury(
    tx: &Tx<'_>,
    ids: &Ids,
    seq: i64,
    state: &str,
    cause: &Cause,
    attempts: u32,
    now: Timestamp,
) -> Result<(), StoreError> {
    let contact: String = tx
        .conn
        .prepare_cached(
            "UPDATE double_opt_ins SET due = NULL, in_doubt = max(in_doubt, ?2 = 'doubtful'),
                 state = CASE WHEN in_doubt = 1 THEN 'doubtful' ELSE ?2 END
             WHERE seq = ?1 RETURNING contact",
        )?
        .query_row((seq, state), |row| row.get(0))?;
    let key = letter(&contact, seq);
    dead_letters::bury_other(tx, ids, (TASK, &key), cause, attempts, now)
}

/// Buries what was being asked when the process died: whether the e-mail went out is not known, and
/// nobody is asked twice without somebody's say.
pub(super) fn recover(tx: &Tx<'_>, ids: &Ids, now: Timestamp) -> Result<u64, StoreError> {
    type Open = (i64, String, Option<String>, Option<String>, u32);
    let open: Vec<Open> = tx
        .conn
        .prepare_cached(
            "SELECT seq, contact, origin, rule_set, attempts
             FROM double_opt_ins INDEXED BY double_opt_ins_open
             WHERE workspace = ?1 AND state IN ('asking', 'ceasing') AND due IS NOT NULL",
        )?
        .query_map((ids.workspace(),), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })?
        .collect::<Result<_, _>>()?;
    for (seq, contact, origin, rule_set, attempts) in &open {
        let cause = Cause {
            kind: TASK,
            message: format!(
                "contact {contact}: the process ended while it was being asked to confirm, so the \
                 e-mail may have been sent: look in brevo whether it was, then retry or drop this"
            ),
            origin: origin.clone(),
            rule_set: rule_set.clone(),
            ..Cause::default()
        };
        bury(tx, ids, *seq, "doubtful", &cause, attempts + 1, now)?;
    }
    Ok(open.len() as u64)
}

/// Makes due again what a dead letter is about: whoever retries it has decided that it may be asked.
/// Its contact is derived first, so that it is asked what today's rules say, if anything.
pub(super) fn revive(
    tx: &Tx<'_>,
    ids: &Ids,
    letter: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(seq) = number(letter) else { return Ok(()) };
    let contact: Option<String> = tx
        .conn
        .prepare_cached(
            "UPDATE double_opt_ins SET state = 'due', due = ?2, attempts = 0, failing_since = NULL,
                 version = version + 1
             WHERE seq = ?1 AND state IN ('refused', 'doubtful') AND wanted IS NOT NULL
             RETURNING contact",
        )?
        .query_row((seq, now.seconds()), |row| row.get(0))
        .optional()?;
    let Some(contact) = contact else { return Ok(()) };
    let id = contact.parse().map_err(|error: crate::model::InvalidId| StoreError::Damaged {
        what: "double opt-in",
        reason: error.to_string(),
    })?;
    let key = WorkKey { task: Task::Contact, id };
    work::dirty(tx, ids, &key, Dirt::again(Priority::Live, now))
}

/// An operator dropped the dead letter: as it was asked for, it is never tried again.
pub(super) fn drop_dead(tx: &Tx<'_>, letter: &str) -> Result<(), StoreError> {
    let Some(seq) = number(letter) else { return Ok(()) };
    tx.conn
        .prepare_cached(
            "UPDATE double_opt_ins SET email = NULL,
                 wanted = CASE WHEN state = 'refused' THEN wanted END
             WHERE seq = ?1 AND state IN ('refused', 'doubtful')",
        )?
        .execute((seq,))?;
    Ok(())
}
