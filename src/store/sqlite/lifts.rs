//! Opt-outs that are lifted: judged, written down, and only then told to Brevo.

use rusqlite::{Connection, OptionalExtension};

use super::writer::Tx;
use super::{Ids, records, witnesses};
use crate::model::{
    BrevoContact, Email, Entry, History, Lifted, OptIn, RecordId, Stays, Timestamp, judge,
};
use crate::store::{Channel, LeftLift, LiftEnd, LiftWish, OpenLift, StoreError, Task};

/// Decides whether an opt-out may be lifted by what is known now.
pub(super) fn consider(
    conn: &Connection,
    ids: &Ids,
    wish: &LiftWish,
) -> Result<Result<OptIn, Stays>, StoreError> {
    let Some(history) = history(conn, ids, &wish.email)? else {
        return Ok(Err(Stays::OtherIsOut));
    };
    // Of several contacts with the address any may have opted in.
    let own = judge(wish.leave, &history, &wish.contact);
    let others = history.witnesses.iter().filter(|witness| witness.contact != wish.contact);
    let opt_in = own.or_else(|stays| {
        let mut found = others.filter_map(|other| judge(wish.leave, &history, &other.contact).ok());
        found.next().ok_or(stays)
    });
    let opt_in = match opt_in {
        Ok(opt_in) => opt_in,
        Err(stays) => return Ok(Err(stays)),
    };
    for witness in &history.witnesses {
        if is_on_its_way(conn, ids, &witness.contact)? {
            return Ok(Err(Stays::OnItsWay));
        }
        if is_due(conn, ids, Task::TellIntercom, &witness.contact)? {
            return Ok(Err(Stays::IntercomIsUntold));
        }
    }
    Ok(Ok(opt_in))
}

fn history(conn: &Connection, ids: &Ids, email: &Email) -> Result<Option<History>, StoreError> {
    let entry = conn
        .prepare_cached(
            "SELECT elsewhere, is_final FROM suppression
             WHERE workspace = ?1 AND address = ?2 AND channel = ?3 AND lift IS NULL",
        )?
        .query_row((ids.workspace(), ids.email_hash(email), Channel::Email.as_str()), |row| {
            let elsewhere = row.get::<_, Option<i64>>(0)?.map(Timestamp::from_seconds);
            Ok(Entry { elsewhere, is_final: row.get(1)? })
        })
        .optional()?;
    let witnesses = witnesses::of_address(conn, ids, email)?;
    Ok(witnesses.map(|witnesses| History { entry, witnesses }))
}

/// True while Brevo is about to be told that a contact opted out.
pub(super) fn is_on_its_way(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
) -> Result<bool, StoreError> {
    is_due(conn, ids, Task::OptOut, contact)
}

fn is_due(
    conn: &Connection,
    ids: &Ids,
    task: Task,
    contact: &RecordId,
) -> Result<bool, StoreError> {
    let found: Option<i64> = conn
        .prepare_cached("SELECT 1 FROM work WHERE workspace = ?1 AND task = ?2 AND id = ?3")?
        .query_row((ids.workspace(), task.as_str(), contact.as_str()), |row| row.get(0))
        .optional()?;
    Ok(found.is_some())
}

/// Writes down that an opt-out is about to be lifted, if it may be.
pub(super) fn begin(
    tx: &Tx<'_>,
    ids: &Ids,
    wish: &LiftWish,
    held: &BrevoContact,
    now: Timestamp,
) -> Result<Result<Lifted, Stays>, StoreError> {
    let opt_in = match consider(tx.conn, ids, wish)? {
        Ok(opt_in) => opt_in,
        Err(stays) => return Ok(Err(stays)),
    };
    tx.conn
        .prepare_cached(
            "INSERT INTO lifts (workspace, address, contact, opted_in, seen_by, opted_out, source,
                 rule_set, origin, brevo, modified, state, began)
             SELECT workspace, address, ?4, ?5, ?6, ?7, source, ?8, ?9, ?10, ?11, 'begun', ?12
             FROM suppression WHERE workspace = ?1 AND address = ?2 AND channel = ?3",
        )?
        .execute((
            ids.workspace(),
            ids.email_hash(&wish.email),
            Channel::Email.as_str(),
            opt_in.contact().as_str(),
            opt_in.at().seconds(),
            opt_in.seen_by().as_str(),
            opt_in.opted_out().seconds(),
            wish.rule_set.to_string(),
            wish.origin.to_string(),
            held.id,
            held.modified_at.map(Timestamp::seconds),
            now.seconds(),
        ))?;
    Ok(Ok(opt_in.written_down(tx.conn.last_insert_rowid())))
}

/// Ends a lift that Brevo has confirmed. If anything was heard meanwhile that forbids it, the opt-out
/// stays, and Brevo is told so again.
pub(super) fn end(
    tx: &Tx<'_>,
    ids: &Ids,
    open: &OpenLift,
    now: Timestamp,
) -> Result<LiftEnd, StoreError> {
    let OpenLift { lifted, wish, held } = open;
    if consider(tx.conn, ids, wish)?.as_ref() != Ok(lifted.opt_in()) {
        leave(tx, ids, lifted, now)?;
        return Ok(LiftEnd::Overtaken);
    }
    let address = ids.email_hash(&wish.email);
    tx.conn
        .prepare_cached(
            "UPDATE suppression SET lift = ?4
             WHERE workspace = ?1 AND address = ?2 AND channel = ?3",
        )?
        .execute((ids.workspace(), &address, Channel::Email.as_str(), lifted.id()))?;
    close(tx, lifted.id(), "lifted", now)?;
    tx.conn
        .prepare_cached(
            "UPDATE mirror SET email_blacklisted = 0, read_at = max(read_at, ?3),
                 state = json_set(state, '$.email_blacklisted', json('false'))
             WHERE workspace = ?1 AND id = ?2",
        )?
        .execute((ids.workspace(), held.id, now.seconds()))?;
    // Should he opt out in Brevo again, Intercom has to be told again.
    let told = "DELETE FROM told_intercom WHERE workspace = ?1 AND contact = ?2";
    for witness in witnesses::of_address(tx.conn, ids, &wish.email)?.unwrap_or_default() {
        tx.conn.prepare_cached(told)?.execute((ids.workspace(), witness.contact.as_str()))?;
    }
    tx.count("resubscribed", 1);
    Ok(LiftEnd::Lifted)
}

/// Gives up a lift of which Brevo may have been told: it is told that the opt-out holds.
pub(super) fn leave(
    tx: &Tx<'_>,
    ids: &Ids,
    lifted: &Lifted,
    now: Timestamp,
) -> Result<(), StoreError> {
    close(tx, lifted.id(), "left", now)?;
    records::opt_out_in_brevo(tx, ids, lifted.opt_in().contact(), now)
}

fn close(tx: &Tx<'_>, id: i64, state: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.conn.prepare_cached("UPDATE lifts SET state = ?2, ended = ?3 WHERE id = ?1")?.execute((
        id,
        state,
        now.seconds(),
    ))?;
    Ok(())
}

/// Those of Brevo's contacts that may have been taken off the blacklist by a lift that was given up,
/// while the opt-out holds. They are known by their number: whatever became of the Intercom contact and
/// of its address meanwhile, Brevo is told.
pub(super) fn to_undo(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
) -> Result<Vec<LeftLift>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT lifts.brevo, max(lifts.modified) FROM lifts JOIN suppression
                 ON suppression.workspace = lifts.workspace AND suppression.address = lifts.address
                 AND suppression.channel = ?3 AND suppression.lift IS NULL
             WHERE lifts.workspace = ?1 AND lifts.contact = ?2 AND lifts.state = 'left'
             GROUP BY lifts.brevo",
        )?
        .query_map((ids.workspace(), contact.as_str(), Channel::Email.as_str()), |row| {
            let modified: Option<i64> = row.get(1)?;
            Ok(LeftLift { brevo: row.get(0)?, modified: modified.map(Timestamp::from_seconds) })
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Brevo was told that the opt-out of a contact holds, or has it no more.
pub(super) fn undone(tx: &Tx<'_>, ids: &Ids, brevo: i64, now: Timestamp) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "UPDATE lifts INDEXED BY lifts_open SET state = 'undone', ended = ?3
             WHERE workspace = ?1 AND brevo = ?2 AND state = 'left'",
        )?
        .execute((ids.workspace(), brevo, now.seconds()))?;
    Ok(())
}

/// True if the last that Brevo was told of an address may be that it takes e-mail, though the ledger says
/// otherwise: a lift has no known end, or had none.
pub(super) fn is_in_doubt(
    conn: &Connection,
    ids: &Ids,
    address: &[u8],
) -> Result<bool, StoreError> {
    let state: Option<String> = conn
        .prepare_cached(
            "SELECT state FROM lifts INDEXED BY lifts_of_address
             WHERE workspace = ?1 AND address = ?2 ORDER BY id DESC LIMIT 1",
        )?
        .query_row((ids.workspace(), address), |row| row.get(0))
        .optional()?;
    Ok(state.is_some_and(|state| state != "lifted"))
}

/// Gives up what was begun when the process died.
pub(super) fn recover(conn: &Connection, ids: &Ids, now: Timestamp) -> Result<(), StoreError> {
    let begun: Vec<(i64, String)> = conn
        .prepare(
            "SELECT id, contact FROM lifts INDEXED BY lifts_open
             WHERE workspace = ?1 AND state = 'begun'",
        )?
        .query_map((ids.workspace(),), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (id, contact) in begun {
        conn.execute(
            "INSERT INTO work (workspace, task, id, lane, carried, since, due)
             VALUES (?1, ?2, ?3, 0, 0, ?4, ?4)
             ON CONFLICT DO UPDATE SET seq = seq + 1, lane = 0, due = min(due, excluded.due)",
            (ids.workspace(), Task::OptOut.as_str(), contact, now.seconds()),
        )?;
        conn.execute(
            "UPDATE lifts SET state = 'left', ended = ?2 WHERE id = ?1",
            (id, now.seconds()),
        )?;
    }
    Ok(())
}

/// True if what a read of Brevo shows may be what it held before an opt-out was lifted.
pub(super) fn may_precede(
    conn: &Connection,
    ids: &Ids,
    email: &Email,
    contact: &BrevoContact,
    began: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let Some(began) = began else {
        return Ok(false);
    };
    let lift: Option<(Option<i64>, Option<i64>)> = conn
        .prepare_cached(
            "SELECT lifts.modified, lifts.ended FROM suppression JOIN lifts ON lifts.id = suppression.lift
             WHERE suppression.workspace = ?1 AND suppression.address = ?2
                 AND suppression.channel = ?3 AND lifts.brevo = ?4",
        )?
        .query_row(
            (ids.workspace(), ids.email_hash(email), Channel::Email.as_str(), contact.id),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((Some(modified), Some(ended))) = lift else {
        return Ok(false);
    };
    let is_as_old = contact.modified_at.is_some_and(|at| at.seconds() <= modified);
    Ok(is_as_old && began.seconds() <= ended)
}
