//! Holds: what is taken away is judged, counted, and released or kept back.

mod count;
mod judgement;
mod shown;
mod work_off;

pub(super) use count::{
    begin_rules, close_counts, feed, feed_sweep, has_counted, has_decided, has_unfed_rules,
    of_sweep,
};
pub(super) use judgement::judge;
use rusqlite::{Connection, OptionalExtension, Row, named_params};
pub(super) use shown::{counts, hold, list, prune, sample};
pub(super) use work_off::{approve, reject, work_off};

use super::Ids;
use super::writer::Tx;

use crate::model::{RecordId, Takes, Timestamp, Word};
use crate::store::StoreError;

/// How a hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// All that its cause takes away waits until it is counted.
    Counting,
    /// It waits for approval.
    Held,
    /// What waits in it is let go, a page at a time.
    Releasing,
    /// It was let go.
    Released,
    /// What waits in it is rejected, a page at a time.
    Rejecting,
    /// It was rejected.
    Rejected,
    /// Newer rules decide anew: what waits in it is derived again, a page at a time.
    Superseded,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counting => "counting",
            Self::Held => "held",
            Self::Releasing => "releasing",
            Self::Released => "released",
            Self::Rejecting => "rejecting",
            Self::Rejected => "rejected",
            Self::Superseded => "superseded",
        }
    }

    fn from_text(text: &str) -> Self {
        match text {
            "counting" => Self::Counting,
            "releasing" => Self::Releasing,
            "released" => Self::Released,
            "rejecting" => Self::Rejecting,
            "rejected" => Self::Rejected,
            "superseded" => Self::Superseded,
            _ => Self::Held,
        }
    }
}

/// What makes keys dirty, where it is counted as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rules,
    Sweep,
    Work,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Sweep => "sweep",
            Self::Work => "work",
        }
    }
}

/// A hold, as far as a judgement needs it.
#[derive(Debug, Clone, Copy)]
struct Standing {
    id: i64,
    state: State,
}

/// A row of `held_changes`.
#[derive(Debug)]
struct Kept {
    hold: i64,
    word: Option<Word>,
    takes: Takes,
    carried: i64,
    state: String,
}

/// How many contacts the engine manages.
pub(super) fn managed(conn: &Connection, ids: &Ids) -> Result<u64, StoreError> {
    let managed: i64 = conn
        .prepare_cached("SELECT count(*) FROM mirror WHERE workspace = ?1 AND owner IS NOT NULL")?
        .query_row((ids.workspace(),), |row| row.get(0))?;
    Ok(managed.unsigned_abs())
}

/// What was said of a contact before, as it counts under the rules `version`.
fn kept(
    conn: &Connection,
    ids: &Ids,
    contact: &RecordId,
    version: Option<&str>,
) -> Result<Vec<Kept>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT c.hold, c.state, c.takes, c.carried, coalesce(c.rule_set, h.rule_set),
             h.state, h.kind, h.reference
         FROM held_changes AS c LEFT JOIN holds AS h ON h.id = c.hold
         WHERE c.workspace = ?1 AND c.contact = ?2",
    )?;
    let rows = statement.query_map((ids.workspace(), contact.as_str()), |row| {
        let (hold, state): (i64, String) = (row.get(0)?, row.get(1)?);
        let rule_set: Option<String> = row.get(4)?;
        let lasts = rule_set.as_deref() == version;
        let standing: Option<String> = row.get(5)?;
        let is_of_old_rules = row.get::<_, Option<String>>(6)?.as_deref() == Some("rules")
            && row.get::<_, Option<String>>(7)?.as_deref() != version;
        let word = match (state.as_str(), standing.as_deref().map(State::from_text)) {
            ("leave", _) | ("waits", Some(State::Releasing)) => Some(Word::Leave),
            ("rejected", _) | ("waits", Some(State::Rejecting)) => lasts.then_some(Word::Rejected),
            (_, None | Some(State::Superseded)) => None,
            (_, Some(_)) => (!is_of_old_rules).then_some(Word::Waits(hold)),
        };
        let takes: String = row.get(2)?;
        let takes = serde_json::from_str(&takes).map_err(super::damaged)?;
        Ok(Kept { hold, word, takes, carried: row.get(3)?, state })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn put(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    hold: i64,
    state: &str,
    takes: &Takes,
    rule_set: Option<&str>,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO held_changes (workspace, contact, hold, state, takes, removals, clears,
                 unsubscribes, deletions, rule_set)
             VALUES (:workspace, :contact, :hold, :state, :takes, :removals, :clears,
                 :unsubscribes, :deletions, :rule_set)
             ON CONFLICT DO UPDATE SET takes = excluded.takes, removals = excluded.removals,
                 clears = excluded.clears, unsubscribes = excluded.unsubscribes,
                 deletions = excluded.deletions, rule_set = excluded.rule_set",
        )?
        .execute(named_params! {
            ":workspace": ids.workspace(),
            ":contact": contact.as_str(),
            ":hold": hold,
            ":state": state,
            ":takes": serde_json::to_string(takes)?,
            ":removals": takes.lists.len() as i64,
            ":clears": takes.clears.len() as i64,
            ":unsubscribes": takes.unsubscribes() as i64,
            ":deletions": i64::from(takes.deletes),
            ":rule_set": rule_set,
        })?;
    Ok(())
}

fn remove(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    hold: i64,
    state: &str,
) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached(
            "DELETE FROM held_changes
             WHERE workspace = ?1 AND contact = ?2 AND hold = ?3 AND state = ?4",
        )?
        .execute((ids.workspace(), contact.as_str(), hold, state))?;
    Ok(())
}

/// Lets what waits of a contact carry these inputs. What it carried before is superseded.
pub(super) fn carry(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    inputs: i64,
) -> Result<(), StoreError> {
    let waits: Option<(i64, i64)> = tx
        .conn
        .prepare_cached(
            "SELECT hold, carried FROM held_changes
             WHERE workspace = ?1 AND contact = ?2 AND state = 'waits'
             ORDER BY carried DESC, hold DESC LIMIT 1",
        )?
        .query_row((ids.workspace(), contact.as_str()), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((hold, carried)) = waits else {
        // It was decided in this moment.
        tx.count("superseded", inputs);
        return Ok(());
    };
    tx.count("superseded", carried);
    tx.conn
        .prepare_cached(
            "UPDATE held_changes SET carried = ?4
             WHERE workspace = ?1 AND contact = ?2 AND hold = ?3 AND state = 'waits'",
        )?
        .execute((ids.workspace(), contact.as_str(), hold, inputs))?;
    Ok(())
}

/// What the end of a claim says of what waits for its contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Something waits: the inputs of the claim wait with it.
    Waits,
    /// Nothing waits any more.
    Nothing,
}

/// Ends a derivation as decided. Leaves are used up; what no longer waits is superseded.
pub(super) fn settle(
    tx: &Tx<'_>,
    ids: &Ids,
    contact: &RecordId,
    rest: Rest,
    rule_set: Option<&str>,
) -> Result<(), StoreError> {
    let mut statement = tx.conn.prepare_cached(
        "DELETE FROM held_changes WHERE workspace = ?1 AND contact = ?2
         AND (state = 'leave' OR (state = 'waits' AND ?3) OR (state = 'rejected' AND rule_set <> ?4))
         RETURNING carried",
    )?;
    let ended = (ids.workspace(), contact.as_str(), rest == Rest::Nothing, rule_set);
    let rows = statement.query_map(ended, |row| row.get::<_, i64>(0))?;
    for carried in rows {
        tx.count("superseded", carried?);
    }
    Ok(())
}

fn find(
    conn: &Connection,
    ids: &Ids,
    kind: Kind,
    reference: &str,
) -> Result<Option<Standing>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id, state FROM holds
             WHERE workspace = ?1 AND kind = ?2 AND reference = ?3 AND kind <> 'work'",
        )?
        .query_row((ids.workspace(), kind.as_str(), reference), standing)
        .optional()?;
    Ok(found)
}

fn by_id(conn: &Connection, ids: &Ids, id: i64) -> Result<Option<Standing>, StoreError> {
    let found = conn
        .prepare_cached("SELECT id, state FROM holds WHERE workspace = ?1 AND id = ?2")?
        .query_row((ids.workspace(), id), standing)
        .optional()?;
    Ok(found)
}

fn standing(row: &Row<'_>) -> rusqlite::Result<Standing> {
    Ok(Standing { id: row.get(0)?, state: State::from_text(&row.get::<_, String>(1)?) })
}

fn open_work(conn: &Connection, ids: &Ids) -> Result<Option<i64>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id FROM holds WHERE workspace = ?1 AND state = 'held' AND kind = 'work'
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row((ids.workspace(),), |row| row.get(0))
        .optional()?;
    Ok(found)
}

fn begin(
    tx: &Tx<'_>,
    ids: &Ids,
    kind: Kind,
    reference: &str,
    state: State,
    now: Timestamp,
) -> Result<Standing, StoreError> {
    tx.conn
        .prepare_cached(
            "INSERT INTO holds (workspace, kind, reference, state, created)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (workspace, kind, reference) WHERE kind <> 'work'
             DO UPDATE SET state = excluded.state, fed = 0, rule_set = NULL,
                 created = excluded.created",
        )?
        .execute((ids.workspace(), kind.as_str(), reference, state.as_str(), now.seconds()))?;
    match find(tx.conn, ids, kind, reference)? {
        Some(found) => Ok(found),
        None => Ok(Standing { id: tx.conn.last_insert_rowid(), state }),
    }
}

fn set_state(tx: &Tx<'_>, ids: &Ids, id: i64, state: State) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("UPDATE holds SET state = ?3 WHERE workspace = ?1 AND id = ?2")?
        .execute((ids.workspace(), id, state.as_str()))?;
    Ok(())
}

#[cfg(test)]
mod tests;
