//! The smaller books of the store: syncs, facts, counters.

use rusqlite::{Connection, OptionalExtension};

use super::writer::Tx;
use super::{
    Ids, companies, dead_letters, double_opt_ins, events, holds, objects, strangers, work,
};
use crate::model::Timestamp;
use crate::store::{
    DoubleOptInCounts, EventCounts, ObjectCounts, RecordCounts, SinkCounts, StoreCounts,
    StoreError, Sync, VerificationCounts,
};

pub(super) fn put(tx: &Tx<'_>, ids: &Ids, sync: &Sync) -> Result<(), StoreError> {
    let state = serde_json::to_string(&sync.state)?;
    tx.conn
        .prepare_cached(
            "INSERT INTO syncs (workspace, id, state, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (workspace, id) DO UPDATE SET state = excluded.state, body = excluded.body",
        )?
        .execute((ids.workspace(), &sync.id, state.trim_matches('"'), serde_json::to_string(sync)?))?;
    if sync.state.is_over() {
        // All that it makes dirty is dirty by now.
        holds::feed_sweep(tx, ids, &sync.id)?;
    }
    Ok(())
}

pub(super) fn find(conn: &Connection, ids: &Ids, id: &str) -> Result<Option<Sync>, StoreError> {
    let body: Option<String> = conn
        .prepare_cached("SELECT body FROM syncs WHERE workspace = ?1 AND id = ?2")?
        .query_row((ids.workspace(), id), |row| row.get(0))
        .optional()?;
    Ok(body.as_deref().map(serde_json::from_str).transpose()?)
}

pub(super) fn newest(conn: &Connection, ids: &Ids, limit: usize) -> Result<Vec<Sync>, StoreError> {
    let mut statement = conn
        .prepare_cached("SELECT body FROM syncs WHERE workspace = ?1 ORDER BY seq DESC LIMIT ?2")?;
    let rows =
        statement.query_map((ids.workspace(), limit as i64), |row| row.get::<_, String>(0))?;
    rows.map(|body| Ok(serde_json::from_str(&body?)?)).collect()
}

pub(super) fn fact(conn: &Connection, ids: &Ids, name: &str) -> Result<Option<String>, StoreError> {
    let value = conn
        .prepare_cached("SELECT value FROM meta WHERE workspace = ?1 AND name = ?2")?
        .query_row((ids.workspace(), name), |row| row.get(0))
        .optional()?;
    Ok(value)
}

pub(super) fn put_fact(
    conn: &Connection,
    ids: &Ids,
    name: &str,
    value: &str,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO meta (workspace, name, value) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET value = excluded.value",
    )?
    .execute((ids.workspace(), name, value))?;
    Ok(())
}

/// Refuses a store whose hashes were made with another key: with the wrong one, every opt-out that
/// outlived its person would be forgotten.
pub(super) fn check_key(conn: &Connection, ids: &Ids) -> Result<(), StoreError> {
    let ours = ids.key.check_value();
    match fact(conn, ids, "address_key")? {
        None => put_fact(conn, ids, "address_key", &ours),
        Some(theirs) if theirs == ours => Ok(()),
        Some(_) => Err(StoreError::OtherKey),
    }
}

pub(super) fn counts(
    conn: &Connection,
    ids: &Ids,
    now: Timestamp,
) -> Result<StoreCounts, StoreError> {
    let counter = |name: &str| -> Result<u64, StoreError> {
        let value = conn
            .prepare_cached("SELECT value FROM counters WHERE workspace = ?1 AND name = ?2")?
            .query_row((ids.workspace(), name), |row| row.get::<_, i64>(0))
            .optional()?;
        Ok(value.unwrap_or(0).unsigned_abs())
    };
    let sum = |sql: &str| -> Result<u64, StoreError> {
        let value: i64 =
            conn.prepare_cached(sql)?.query_row((ids.workspace(),), |row| row.get(0))?;
        Ok(value.unsigned_abs())
    };
    // All of a kind but those that are gone: few are, and only they have an index.
    let live = |kind: &str| -> Result<u64, StoreError> {
        let value: i64 = conn
            .prepare_cached(
                "SELECT (SELECT count(*) FROM records WHERE workspace = ?1 AND kind = ?2)
                      - (SELECT count(*) FROM records INDEXED BY records_gone
                         WHERE workspace = ?1 AND kind = ?2 AND liveness <> 'live')",
            )?
            .query_row((ids.workspace(), kind), |row| row.get(0))?;
        Ok(value.unsigned_abs())
    };
    let (work, inputs) = work::counts(conn, ids, now)?;
    let holds = holds::counts(conn, ids)?;
    Ok(StoreCounts {
        records: RecordCounts {
            accepted: counter("accepted")?,
            applied: counter("applied")?,
            unchanged: counter("unchanged")?,
            superseded: counter("superseded")?,
            ignored: counter("ignored")?,
            skipped: counter("skipped")?,
            held: holds.held,
            dead: sum("SELECT coalesce(sum(carried), 0) FROM dead_letters WHERE workspace = ?1")?,
            pending: holds.pending + inputs,
        },
        values: VerificationCounts {
            checked: counter("values_checked")?,
            dropped: counter("values_dropped")?,
            repaired: counter("values_repaired")?,
            parked: sum("SELECT count(*) FROM parked WHERE workspace = ?1 AND misses >= 2")?,
        },
        duplicates: counter("duplicates")?,
        foreign: counter("foreign")?,
        rederived: counter("rederived")?,
        resubscribed: counter("resubscribed")?,
        work: work + holds.work,
        held_changes: holds.contacts,
        contacts: live("contact")?,
        companies: live("company")?,
        conversations: live("conversation")?,
        custom_events: live("event")? + counter("events_forgotten")?,
        managed: holds::managed(conn, ids)?,
        dead_letters: sum("SELECT count(*) FROM dead_letters WHERE workspace = ?1")?,
        sinks: SinkCounts {
            companies: companies::counts(conn, ids)?,
            links: companies::link_counts(conn, ids, now)?,
            objects: ObjectCounts {
                sent: counter("objects_sent")?,
                due: sum(
                    "SELECT count(*) FROM objects INDEXED BY objects_due WHERE workspace = ?1 AND state = 'due'",
                )?,
                dead: dead_letters::count(conn, ids, objects::TASK)?,
            },
            double_opt_ins: DoubleOptInCounts {
                sent: counter("double_opt_ins")?,
                due: double_opt_ins::count(conn, ids)?,
                dead: dead_letters::count(conn, ids, double_opt_ins::TASK)?,
            },
            ..SinkCounts::default()
        },
        events: EventCounts {
            sent: counter("events_sent")?,
            due: sum("SELECT count(*) FROM events WHERE workspace = ?1 AND state = 'due'")?,
            stuck: events::stuck(conn, ids)?,
            known: counter("events_known")?,
            refused: counter("events_refused")?,
            dead: dead_letters::count(conn, ids, "event")?,
            unassigned: strangers::count(conn, ids)?,
        },
    })
}
