//! What was seen of Intercom contacts that were unsubscribed once: when they were, and since when not.

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Value;

use super::writer::Tx;
use super::{Ids, records};
use crate::model::{
    Email, RecordId, RecordKey, RecordKind, Says, Snapshot, Source, Timestamp, Witness,
};
use crate::store::StoreError;

/// How many contacts of one address are looked at; of more nothing is lifted.
const WITNESSES: i64 = 100;

/// What a snapshot of a contact says of e-mail, taken out of it before its body goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Word {
    is_out: Option<bool>,
    opted_in: Option<Timestamp>,
}

impl Word {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        if snapshot.key.kind != RecordKind::Contact || !snapshot.liveness.is_live() {
            return Self::default();
        }
        Self { is_out: is_unsubscribed(&snapshot.body), opted_in: snapshot.opted_in }
    }
}

/// What a contact itself says; none: it does not.
pub(super) fn is_unsubscribed(body: &Value) -> Option<bool> {
    body.get("unsubscribed_from_emails").and_then(Value::as_bool)
}

/// Takes up what a snapshot says, stale or not. Of who was never unsubscribed nothing is kept, but that
/// Intercom told of an opt-in.
pub(super) fn hear(
    tx: &Tx<'_>,
    ids: &Ids,
    email: &Email,
    snapshot: &Snapshot,
    word: Word,
) -> Result<(), StoreError> {
    let Some(is_out) = word.is_out else {
        return Ok(());
    };
    let contact = &snapshot.key.id;
    let opted_in = word.opted_in.filter(|_| !is_out);
    let address = ids.email_hash(email);
    let known = find(tx.conn, ids, &address, contact)?;
    if known.is_none() && !is_out && opted_in.is_none() {
        return Ok(());
    }
    let silent = || Witness {
        contact: contact.clone(),
        says: Says::Nothing,
        out_at: None,
        seen_out: None,
        in_at: None,
        told_in: None,
    };
    let mut witness = known.clone().unwrap_or_else(silent);
    let read_at = match snapshot.version.source {
        Source::Notification => None,
        Source::Read { began } => Some(began),
    };
    witness.hear(snapshot.version.at, read_at, is_out);
    witness.told_in = witness.told_in.max(opted_in);
    // Something older may have come after the newest, whose word then counts again.
    let newest = records::record(tx.conn, ids, &RecordKey::contact(contact.clone()))?;
    if let Some(newest) = newest.filter(|newest| newest.email().as_ref() == Some(email))
        && newest.liveness.is_live()
        && let Some(is_out) = is_unsubscribed(&newest.body)
    {
        witness.hear(newest.version.at, None, is_out);
    }
    if known.as_ref() == Some(&witness) {
        return Ok(());
    }
    let seconds = |at: Option<Timestamp>| at.map(Timestamp::seconds);
    tx.conn
        .prepare_cached(
            "INSERT INTO witnesses (workspace, address, contact, out_at, seen_out, in_at, told_in)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO UPDATE SET out_at = excluded.out_at, seen_out = excluded.seen_out,
                 in_at = excluded.in_at, told_in = excluded.told_in",
        )?
        .execute((
            ids.workspace(),
            address,
            contact.as_str(),
            seconds(witness.out_at),
            seconds(witness.seen_out),
            seconds(witness.in_at),
            seconds(witness.told_in),
        ))?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Witness> {
    let at = |index: usize| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(index)?.map(Timestamp::from_seconds))
    };
    Ok(Witness {
        contact: super::parsed(row, 0)?,
        says: Says::Nothing,
        out_at: at(1)?,
        seen_out: at(2)?,
        in_at: at(3)?,
        told_in: at(4)?,
    })
}

fn find(
    conn: &Connection,
    ids: &Ids,
    address: &[u8],
    contact: &RecordId,
) -> Result<Option<Witness>, StoreError> {
    let sql = "SELECT contact, out_at, seen_out, in_at, told_in FROM witnesses
               WHERE workspace = ?1 AND address = ?2 AND contact = ?3";
    let at = (ids.workspace(), address, contact.as_str());
    Ok(conn.prepare_cached(sql)?.query_row(at, read).optional()?)
}

/// True if a contact that was unsubscribed at this version was seen subscribed at a later one.
pub(super) fn took_back(
    conn: &Connection,
    ids: &Ids,
    address: &[u8],
    contact: &RecordId,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let witness = find(conn, ids, address, contact)?;
    Ok(witness.and_then(|witness| witness.in_at).is_some_and(|in_at| in_at > at))
}

/// Everything that was seen of the contacts of an address, those among them that were never
/// unsubscribed; none: there are too many to tell.
pub(super) fn of_address(
    conn: &Connection,
    ids: &Ids,
    email: &Email,
) -> Result<Option<Vec<Witness>>, StoreError> {
    let sql = "SELECT contact, out_at, seen_out, in_at, told_in FROM witnesses
               WHERE workspace = ?1 AND address = ?2 LIMIT ?3";
    let mut witnesses: Vec<Witness> = conn
        .prepare_cached(sql)?
        .query_map((ids.workspace(), ids.email_hash(email), WITNESSES), read)?
        .collect::<Result<_, _>>()?;
    let live: Vec<(RecordId, String)> = conn
        .prepare_cached(
            "SELECT id, body FROM records
             WHERE workspace = ?1 AND email = ?2 AND kind = 'contact' AND liveness = 'live'
             ORDER BY id LIMIT ?3",
        )?
        .query_map((ids.workspace(), email.as_str(), WITNESSES), |row| {
            Ok((super::parsed(row, 0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let most = usize::try_from(WITNESSES).unwrap_or(usize::MAX);
    if witnesses.len() >= most || live.len() >= most {
        return Ok(None);
    }
    for witness in &mut witnesses {
        witness.says = Says::Gone;
    }
    for (contact, body) in live {
        let says = says(&serde_json::from_str(&body)?);
        match witnesses.iter_mut().find(|witness| witness.contact == contact) {
            Some(witness) => witness.says = says,
            None => witnesses.push(Witness {
                contact,
                says,
                out_at: None,
                seen_out: None,
                in_at: None,
                told_in: None,
            }),
        }
    }
    Ok(Some(witnesses))
}

/// What the newest snapshot of a contact says.
fn says(body: &Value) -> Says {
    let is = |field: &str| body.get(field).and_then(Value::as_bool) == Some(true);
    match is_unsubscribed(body) {
        Some(true) => Says::Out,
        _ if is("marked_email_as_spam") || is("has_hard_bounced") => Says::Out,
        Some(false) => Says::In,
        None => Says::Nothing,
    }
}
