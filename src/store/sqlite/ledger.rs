//! The ledger of opt-outs. What enters it never leaves; what was lifted holds no longer, until somebody
//! opts out again.

use rusqlite::OptionalExtension;

use super::writer::Tx;
use super::{Ids, witnesses};
use crate::model::{RecordId, Timestamp};
use crate::store::{Channel, OptOutReason, StoreError};

/// Who says that somebody opted out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Teller<'a> {
    /// A snapshot of an Intercom contact, of whatever age.
    Contact(&'a RecordId),
    /// A person, or somebody in Brevo's pages, at a time of its own.
    Brevo,
    /// Brevo's flag. That it is set says nothing new where it was set before.
    Flag(Flag),
    /// A rule or the configuration, or an opt-out that goes along to another address.
    Rules,
}

/// How a flag of Brevo's stands to what was known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    /// It was set before, perhaps by this engine.
    Known,
    /// It was not.
    New,
}

/// What is said of an address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) teller: Teller<'a>,
    pub(super) at: Timestamp,
    pub(super) reason: OptOutReason,
    pub(super) source: &'a str,
}

impl Said<'_> {
    fn is_final(&self) -> bool {
        self.reason != OptOutReason::Asked
    }

    /// When it was said by somebody who is no contact of Intercom's, if that is news of its own.
    fn elsewhere(&self) -> Option<i64> {
        match self.teller {
            Teller::Brevo | Teller::Flag(Flag::New) => Some(self.at.seconds()),
            Teller::Contact(_) | Teller::Flag(Flag::Known) | Teller::Rules => None,
        }
    }
}

struct Row {
    elsewhere: Option<i64>,
    is_final: bool,
    lift: Option<i64>,
}

/// Enters an opt-out; answers whether the address takes messages no longer because of it.
pub(super) fn enter(
    tx: &Tx<'_>,
    ids: &Ids,
    address: &[u8],
    channel: Channel,
    said: Said<'_>,
) -> Result<bool, StoreError> {
    let row = tx
        .conn
        .prepare_cached(
            "SELECT elsewhere, is_final, lift FROM suppression
             WHERE workspace = ?1 AND address = ?2 AND channel = ?3",
        )?
        .query_row((ids.workspace(), address, channel.as_str()), |row| {
            Ok(Row { elsewhere: row.get(0)?, is_final: row.get(1)?, lift: row.get(2)? })
        })
        .optional()?;
    let Some(row) = row else {
        insert(tx, ids, address, channel, said)?;
        return Ok(true);
    };
    let elsewhere = row.elsewhere.max(said.elsewhere());
    let is_final = row.is_final || said.is_final();
    let holds_again = match row.lift {
        Some(lift) => !is_covered(tx, ids, address, lift, said)?,
        None => false,
    };
    if holds_again {
        // Whoever opts out again does so anew.
        let elsewhere = elsewhere.max(match said.teller {
            Teller::Contact(_) => None,
            _ => Some(said.at.seconds()),
        });
        tx.conn
            .prepare_cached(
                "UPDATE suppression SET at = ?4, source = ?5, elsewhere = ?6, is_final = ?7, lift = NULL
                 WHERE workspace = ?1 AND address = ?2 AND channel = ?3",
            )?
            .execute((
                ids.workspace(),
                address,
                channel.as_str(),
                said.at.seconds(),
                said.source,
                elsewhere,
                is_final,
            ))?;
    } else if (elsewhere, is_final) != (row.elsewhere, row.is_final) {
        tx.conn
            .prepare_cached(
                "UPDATE suppression SET elsewhere = ?4, is_final = ?5
                 WHERE workspace = ?1 AND address = ?2 AND channel = ?3",
            )?
            .execute((ids.workspace(), address, channel.as_str(), elsewhere, is_final))?;
    }
    Ok(holds_again)
}

/// Enters somebody who takes no SMS, by whatever he is known by; answers whether it was not there.
pub(super) fn enter_sms(
    tx: &Tx<'_>,
    ids: &Ids,
    hash: &[u8],
    at: Timestamp,
    source: &str,
) -> Result<bool, StoreError> {
    let said = Said { teller: Teller::Rules, at, reason: OptOutReason::Asked, source };
    enter(tx, ids, hash, Channel::Sms, said)
}

fn insert(
    tx: &Tx<'_>,
    ids: &Ids,
    address: &[u8],
    channel: Channel,
    said: Said<'_>,
) -> Result<(), StoreError> {
    let at = said.at.seconds();
    let elsewhere = match said.teller {
        Teller::Contact(_) => None,
        Teller::Brevo | Teller::Flag(_) | Teller::Rules => Some(at),
    };
    tx.conn
        .prepare_cached(
            "INSERT INTO suppression (workspace, address, channel, at, source, elsewhere, is_final)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute((
            ids.workspace(),
            address,
            channel.as_str(),
            at,
            said.source,
            elsewhere,
            said.is_final(),
        ))?;
    Ok(())
}

/// True of what was known, or would have made no difference, when the opt-out was lifted: a message
/// that comes again or late. In doubt somebody opted out again.
fn is_covered(
    tx: &Tx<'_>,
    ids: &Ids,
    address: &[u8],
    lift: i64,
    said: Said<'_>,
) -> Result<bool, StoreError> {
    if said.is_final() {
        return Ok(false);
    }
    match said.teller {
        Teller::Contact(contact) => witnesses::took_back(tx.conn, ids, address, contact, said.at),
        Teller::Flag(Flag::Known) => Ok(true),
        Teller::Flag(Flag::New) | Teller::Rules => Ok(false),
        Teller::Brevo => {
            let opted_out: Option<i64> = tx
                .conn
                .prepare_cached("SELECT opted_out FROM lifts WHERE id = ?1")?
                .query_row((lift,), |row| row.get(0))
                .optional()?;
            Ok(opted_out.is_some_and(|opted_out| said.at.seconds() <= opted_out))
        }
    }
}
