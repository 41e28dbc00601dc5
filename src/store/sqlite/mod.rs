//! The embedded store: SQLite in WAL mode, `synchronous=FULL`, one thread that writes.

mod address;
mod alone;
mod bearers;
mod books;
mod brevo_intake;
mod companies;
mod connections;
mod conversations;
mod dead_letters;
mod double_opt_ins;
mod event_totals;
mod events;
mod holds;
mod ledger;
mod lifts;
mod mirror;
mod numbers;
mod objects;
mod overlays;
mod prune;
mod reader;
mod records;
mod rule_sets;
mod seal;
mod sightings;
mod strangers;
mod subjects;
mod tags;
mod told;
mod verification;
mod wanted_numbers;
mod witnesses;
mod work;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub use address::AddressKey;
use alone::Alone;
use async_trait::async_trait;
use mirror::Keep;
use reader::Readers;
use records::{Prepared, PreparedArrival, PreparedContent};
use rusqlite::{Connection, OpenFlags, Row};
use rusqlite_migration::{M, Migrations};
use work::{Because, Dirt};
use writer::Writer;

use super::{
    Acceptance, Arrival, Channel, Claim, CompanySubject, Connection as Connected, Content,
    DeadLetter, DeadLetterQuery, DoubleOptInEnd, DueDoubleOptIn, DueEvent, DueLinks, DueObject,
    EventCount, EventEnd, EventReading, EventReadings, ExtIdHolder, FoundCompany, HeldChange, Hold,
    Intent, Judged, LeftLift, LiftEnd, LiftWish, LinkEnd, Measure, MirrorEntry, Missing, ObjectEnd,
    OpenImport, OpenLift, OptOut, Priority, RecordSubject, Resource, RuleSetEntry, RuleSetSummary,
    Settlement, Store, StoreCounts, StoreError, Subject, SubjectQuery, Sublists, Sync, Taking,
    Task, WorkKey,
};
use super::{AfterLoss, BrevoAcceptance, BrevoArrival, ParkedAttribute, Unverified, Verified};
use crate::model::{
    BrevoContact, Digest, Email, Lifted, OptIn, Record, RecordId, RecordKey, RecordKind, RulesPin,
    Snapshot, Stays, Timestamp, WorkspaceId,
};

/// The first SQLite without the WAL-reset bug, by which committed pages could be lost.
const OLDEST_SQLITE: i32 = 3_051_003;
/// How many migrations there are.
const SCHEMA: i64 = 23;
/// How many keys one transaction touches, so that intake never waits long.
const PER_TRANSACTION: usize = 500;

/// The workspace and the key of its hashes: what every verb needs besides its arguments.
#[derive(Debug)]
struct Ids {
    workspace: WorkspaceId,
    key: AddressKey,
    tokens: AtomicI64,
}

impl Ids {
    fn new(key: AddressKey) -> Self {
        Self { workspace: WorkspaceId::default(), key, tokens: AtomicI64::new(1) }
    }

    /// A number that no other claim of this process has.
    fn next_token(&self) -> i64 {
        self.tokens.fetch_add(1, Ordering::Relaxed)
    }

    fn workspace(&self) -> &str {
        self.workspace.as_str()
    }

    fn email_hash(&self, email: &Email) -> Vec<u8> {
        self.key.hash("email", email.as_str())
    }

    fn sms_hash(&self, digits: &str) -> Vec<u8> {
        self.key.hash("sms", digits)
    }

    fn contact_hash(&self, contact: &RecordId) -> Vec<u8> {
        self.key.hash("contact", contact.as_str())
    }

    /// Seals a secret of a workspace of Intercom's.
    fn seal(&self, app_id: &str, secret: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.key.seal().seal(&[self.workspace(), app_id], secret)
    }

    /// Opens what was sealed for a workspace; none: it does not open with this key.
    fn open(&self, app_id: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.key.seal().open(&[self.workspace(), app_id], sealed)
    }

    fn ext_id_hash(&self, ext_id: &str) -> Vec<u8> {
        self.key.hash("ext_id", ext_id)
    }
}

/// A store in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    ids: Arc<Ids>,
    /// None: opened for reading only.
    writer: Option<Writer>,
    readers: Readers,
    /// Beside a store that is opened for writing.
    alone: Option<Alone>,
}

impl SqliteStore {
    /// Opens the store, makes it if there is none, brings its schema up to date and frees what was
    /// claimed when the last process died. The caller holds the lock on the file.
    ///
    /// # Errors
    /// A file that is no database, is damaged, or was made with another `key` is left as it is.
    pub fn open(path: &Path, key: AddressKey, now: Timestamp) -> Result<Self, StoreError> {
        require_sqlite()?;
        let fail = |reason: String| StoreError::Open { path: path.to_owned(), reason };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| fail(error.to_string()))?;
        }
        let ids = Arc::new(Ids::new(key));
        owner_only(path).map_err(|error| fail(error.to_string()))?;
        let mut conn = Connection::open(path).map_err(|error| fail(error.to_string()))?;
        prepare(&mut conn).map_err(|error| fail(error.to_string()))?;
        books::check_key(&conn, &ids)?;
        let alone = Alone::open(path).map_err(|error| fail(error.to_string()))?;
        let last = alone.last().map_err(|error| fail(error.to_string()))?;
        work::recover(&conn, &ids, last, now)?;
        lifts::recover(&conn, &ids, now)?;
        alone.note(None).map_err(|error| fail(error.to_string()))?;
        let writer = Writer::start(conn, ids.workspace().to_owned())
            .map_err(|error| fail(error.to_string()))?;
        let readers = Readers::new(path);
        Ok(Self { ids, writer: Some(writer), readers, alone: Some(alone) })
    }

    /// Opens an existing store for reading, beside an engine that may be running on it.
    pub fn open_read_only(path: &Path, key: AddressKey) -> Result<Self, StoreError> {
        require_sqlite()?;
        if !path.exists() {
            let reason = "there is no such file; run `tajo serve` or a sync first".to_owned();
            return Err(StoreError::Open { path: path.to_owned(), reason });
        }
        let schema = open_reader(path)
            .and_then(|conn| conn.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)));
        if schema.is_ok_and(|schema| schema < SCHEMA) {
            let reason = "an older tajo wrote it; `tajo serve` brings it up to date".to_owned();
            return Err(StoreError::Open { path: path.to_owned(), reason });
        }
        let ids = Arc::new(Ids::new(key));
        Ok(Self { ids, writer: None, readers: Readers::new(path), alone: None })
    }

    async fn write<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&writer::Tx<'_>, &Ids) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let ids = Arc::clone(&self.ids);
        let writer = self.writer.as_ref().ok_or(StoreError::Closed)?;
        writer.write(move |tx| verb(tx, &ids)).await
    }

    /// Like [`Self::write`], before all else. `verb` may run twice, and then does the same again.
    async fn take_in<T: Send + 'static>(
        &self,
        mut verb: impl FnMut(&writer::Tx<'_>, &Ids) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let ids = Arc::clone(&self.ids);
        let writer = self.writer.as_ref().ok_or(StoreError::Closed)?;
        writer.take_in(move |tx| verb(tx, &ids)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&Connection, &Ids) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let ids = Arc::clone(&self.ids);
        self.readers.read(move |conn| verb(conn, &ids)).await
    }
}

impl SqliteStore {
    /// Removes custom events that are older than `before`. They are found beside the thread that writes.
    async fn prune_events(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut total = 0;
        let mut last = String::new();
        loop {
            let after = std::mem::take(&mut last);
            let page = self
                .read(move |conn, ids| {
                    prune::old_events(conn, ids, &after, before, PER_TRANSACTION)
                })
                .await?;
            let Some(found) = page.last() else { break };
            last.clone_from(found);
            total += self.write(move |tx, ids| prune::forget_events(tx, ids, &page)).await?;
        }
        let mut last: prune::Telling = (String::new(), String::new(), i64::MIN, String::new());
        loop {
            let after = std::mem::take(&mut last);
            let page = self
                .read(move |conn, ids| {
                    prune::old_tellings(conn, ids, &after, before, PER_TRANSACTION)
                })
                .await?;
            let Some(found) = page.last() else { return Ok(total) };
            last.clone_from(found);
            total += page.len() as u64;
            self.write(move |tx, ids| prune::forget_tellings(tx, ids, &page)).await?;
        }
    }
}

/// Makes the file, if there is none, for its owner alone: it holds personal data. SQLite gives the
/// files beside it the same mode.
fn owner_only(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ())
}

fn require_sqlite() -> Result<(), StoreError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(StoreError::SqliteTooOld { found: rusqlite::version() });
    }
    Ok(())
}

/// Sets a new connection up for writing.
fn prepare(conn: &mut Connection) -> Result<(), rusqlite_migration::Error> {
    conn.set_prepared_statement_cache_capacity(128);
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 0;
         PRAGMA secure_delete = FAST;",
    )?;
    migrations().to_latest(conn)
}

fn migrations() -> Migrations<'static> {
    Migrations::new(vec![
        M::up(include_str!("../migrations/0001_spine.sql")),
        M::up_with_hook(
            include_str!("../migrations/0002_rule_history.sql"),
            |tx: &rusqlite::Transaction<'_>| rule_sets::migrate(tx),
        ),
        M::up(include_str!("../migrations/0003_fewer_indexes.sql")),
        M::up(include_str!("../migrations/0004_events.sql")),
        M::up(include_str!("../migrations/0005_sightings.sql")),
        M::up(include_str!("../migrations/0006_brevo_webhooks.sql")),
        M::up(include_str!("../migrations/0007_dead_letter_requests.sql")),
        M::up(include_str!("../migrations/0008_connections.sql")),
        M::up(include_str!("../migrations/0009_holds.sql")),
        M::up(include_str!("../migrations/0010_parked_values.sql")),
        M::up(include_str!("../migrations/0011_conversations.sql")),
        M::up(include_str!("../migrations/0012_companies.sql")),
        M::up(include_str!("../migrations/0013_event_totals.sql")),
        M::up(include_str!("../migrations/0014_told_intercom.sql")),
        M::up(include_str!("../migrations/0015_objects.sql")),
        M::up(include_str!("../migrations/0016_linked.sql")),
        M::up(include_str!("../migrations/0017_sms_numbers.sql")),
        M::up(include_str!("../migrations/0018_double_opt_ins.sql")),
        M::up(include_str!("../migrations/0019_event_attempts.sql")),
        M::up(include_str!("../migrations/0020_events_apart.sql")),
        M::up(include_str!("../migrations/0021_wanted_numbers.sql")),
        M::up(include_str!("../migrations/0022_event_persons.sql")),
        M::up(include_str!("../migrations/0023_consent.sql")),
    ])
}

fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.execute_batch("PRAGMA busy_timeout = 5000; PRAGMA cache_size = -8192;")?;
    Ok(conn)
}

/// Turns damaged JSON into the error that a row reader may answer.
fn damaged(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

/// Reads an id from the column `index`.
fn parsed(row: &Row<'_>, index: usize) -> rusqlite::Result<RecordId> {
    let text: String = row.get(index)?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            index,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
}

fn prepared(arrival: Arrival) -> PreparedArrival {
    let Arrival { notification, received, priority, content } = arrival;
    let content = match content {
        Content::Nothing => PreparedContent::Nothing,
        Content::Foreign => PreparedContent::Foreign,
        Content::Unusable { reason } => PreparedContent::Unusable { reason },
        Content::Snapshots { primary, others, opt_outs } => PreparedContent::Snapshots {
            primary: Box::new(Prepared::from(*primary)),
            others: others.into_iter().map(Prepared::from).collect(),
            opt_outs,
        },
    };
    PreparedArrival { notification, received, priority, content }
}

#[async_trait]
impl Store for SqliteStore {
    async fn accept(&self, arrival: Arrival) -> Result<Acceptance, StoreError> {
        let arrival = prepared(arrival);
        self.take_in(move |tx, ids| records::accept(tx, ids, &arrival, Because::Itself)).await
    }

    async fn accept_page(
        &self,
        page: Vec<Arrival>,
        sync: Sync,
        resource: Resource,
    ) -> Result<Sync, StoreError> {
        let page: Vec<_> = page.into_iter().map(prepared).collect();
        self.write(move |tx, ids| {
            if !page.is_empty() {
                let now = sync.started_at.unwrap_or(sync.requested_at);
                let because = Because::Of(holds::of_sweep(tx, ids, &sync.id, now)?);
                for arrival in &page {
                    records::accept(tx, ids, arrival, because)?;
                }
            }
            let sync = sightings::count(tx, ids, sync, resource, &page)?;
            books::put(tx, ids, &sync)?;
            Ok(sync)
        })
        .await
    }

    async fn unseen(
        &self,
        sync: String,
        kind: RecordKind,
        before: Timestamp,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Missing>, StoreError> {
        self.read(move |conn, ids| {
            sightings::unseen(conn, ids, &sync, kind, before, after.as_ref(), limit)
        })
        .await
    }

    async fn event_readings(
        &self,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<EventReadings, StoreError> {
        self.read(move |conn, ids| event_totals::readings(conn, ids, after.as_ref(), limit)).await
    }

    async fn are_events_counted(&self, events: Vec<Snapshot>) -> Result<bool, StoreError> {
        self.read(move |conn, ids| event_totals::are_counted(conn, ids, &events)).await
    }

    async fn put_event_reading(
        &self,
        sync: &Sync,
        reading: EventReading,
        totals: Vec<EventCount>,
        as_of: Timestamp,
    ) -> Result<(), StoreError> {
        let (id, now) = (sync.id.clone(), sync.started_at.unwrap_or(sync.requested_at));
        self.write(move |tx, ids| {
            let because = Because::Of(holds::of_sweep(tx, ids, &id, now)?);
            let dirt = Dirt::again(Priority::Bulk, as_of).because(because);
            event_totals::put_reading(tx, ids, &reading, &totals, as_of, dirt)
        })
        .await
    }

    async fn put_missed(
        &self,
        sync: String,
        kind: RecordKind,
        missed: Vec<RecordId>,
    ) -> Result<(), StoreError> {
        self.write(move |tx, ids| sightings::put_missed(tx, ids, &sync, kind, &missed)).await
    }

    async fn learn(
        &self,
        snapshots: Vec<Snapshot>,
        opt_outs: Vec<OptOut>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let snapshots: Vec<_> = snapshots.into_iter().map(Prepared::from).collect();
        self.write(move |tx, ids| {
            for snapshot in snapshots {
                records::accept_snapshot(tx, ids, &snapshot, Dirt::again(Priority::Bulk, now))?;
            }
            records::enter_opt_outs(tx, ids, &opt_outs, Priority::Bulk, now)
        })
        .await
    }

    async fn learn_tags(
        &self,
        tags: Vec<Snapshot>,
        sync: &Sync,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tags: Vec<_> = tags.into_iter().map(Prepared::from).collect();
        let (sync, began) = (sync.id.clone(), sync.started_at.unwrap_or(sync.requested_at));
        self.write(move |tx, ids| {
            let because = Because::Of(holds::of_sweep(tx, ids, &sync, began)?);
            for tag in &tags {
                let dirt = Dirt::again(Priority::Bulk, now).because(because);
                records::accept_snapshot(tx, ids, tag, dirt)?;
            }
            Ok(())
        })
        .await
    }

    async fn spread_tag(
        &self,
        tag: RecordId,
        cursor: Option<String>,
        cause: Option<i64>,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        let wanted = tag.clone();
        let page = self
            .read(move |conn, ids| bearers::page(conn, ids, &wanted, cursor.as_deref()))
            .await?;
        self.write(move |tx, ids| {
            bearers::spread(tx, ids, &tag, &page, Because::of(cause), now)?;
            Ok(page.next)
        })
        .await
    }

    async fn put_sublists(
        &self,
        contact: RecordId,
        sublists: Sublists,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx, ids| {
            tx.conn
                .prepare_cached(
                    "UPDATE records SET sublists = ?3, sublists_of = digest
                     WHERE workspace = ?1 AND kind = 'contact' AND id = ?2",
                )?
                .execute((ids.workspace(), contact.as_str(), serde_json::to_string(&sublists)?))?;
            if let Some(companies) = &sublists.companies {
                let companies: Vec<_> = companies.iter().map(ToString::to_string).collect();
                let dirt = Dirt::again(Priority::Bulk, now);
                records::put_members(tx, ids, &contact, &companies, dirt)?;
            }
            Ok(())
        })
        .await
    }

    async fn claim(
        &self,
        priorities: &[Priority],
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError> {
        let priorities = priorities.to_vec();
        self.write(move |tx, ids| work::claim(tx, ids, &priorities, limit, now)).await
    }

    async fn waiting(&self, priority: Priority, now: Timestamp) -> Result<u64, StoreError> {
        self.read(move |conn, ids| work::waiting(conn, ids, priority, now)).await
    }

    fn evaluate_alone(&self, suspect: Option<&WorkKey>) -> Result<(), StoreError> {
        let alone = self.alone.as_ref().ok_or(StoreError::Closed)?;
        alone.note(suspect).map_err(|error| StoreError::Database(error.to_string()))
    }

    async fn evaluated(&self, keys: Vec<WorkKey>) -> Result<(), StoreError> {
        self.write(move |tx, ids| keys.iter().try_for_each(|key| work::evaluated(tx, ids, key)))
            .await
    }

    async fn settle(&self, settlements: Vec<Settlement>, now: Timestamp) -> Result<(), StoreError> {
        let mut rest = settlements;
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(PER_TRANSACTION));
            let batch = std::mem::replace(&mut rest, later);
            self.write(move |tx, ids| {
                batch.iter().try_for_each(|settlement| work::settle(tx, ids, settlement, now))
            })
            .await?;
        }
        Ok(())
    }

    async fn rederive(
        &self,
        contacts: Vec<RecordId>,
        priority: Priority,
        cause: Option<i64>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx, ids| {
            for id in contacts {
                let key = WorkKey { task: Task::Contact, id };
                let dirt = Dirt::again(priority, now).because(Because::of(cause));
                work::dirty(tx, ids, &key, dirt)?;
            }
            Ok(())
        })
        .await
    }

    async fn judge(
        &self,
        takings: Vec<Taking>,
        measure: Measure,
        now: Timestamp,
    ) -> Result<Judged, StoreError> {
        let mut judged = Judged::default();
        let mut rest = takings;
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(PER_TRANSACTION));
            let (batch, measure) = (std::mem::replace(&mut rest, later), measure.clone());
            let part =
                self.write(move |tx, ids| holds::judge(tx, ids, &batch, &measure, now)).await?;
            judged.judgements.extend(part.judgements);
            judged.is_unfed |= part.is_unfed;
        }
        Ok(judged)
    }

    async fn begin_rules(&self, version: String, now: Timestamp) -> Result<i64, StoreError> {
        self.write(move |tx, ids| holds::begin_rules(tx, ids, &version, now)).await
    }

    async fn feed(&self, cause: i64) -> Result<(), StoreError> {
        self.write(move |tx, ids| holds::feed(tx, ids, cause)).await
    }

    async fn has_unfed_rules(&self) -> Result<bool, StoreError> {
        self.read(holds::has_unfed_rules).await
    }

    async fn close_counts(&self, measure: Measure) -> Result<Vec<Hold>, StoreError> {
        if !self.read(holds::has_counted).await? {
            return Ok(Vec::new());
        }
        self.write(move |tx, ids| holds::close_counts(tx, ids, &measure)).await
    }

    async fn work_off_holds(&self, now: Timestamp) -> Result<u64, StoreError> {
        if !self.read(holds::has_decided).await? {
            return Ok(0);
        }
        self.write(move |tx, ids| holds::work_off(tx, ids, PER_TRANSACTION, now)).await
    }

    async fn holds(&self) -> Result<Vec<Hold>, StoreError> {
        self.read(holds::list).await
    }

    async fn hold(&self, id: i64) -> Result<Option<Hold>, StoreError> {
        self.read(move |conn, ids| holds::hold(conn, ids, id)).await
    }

    async fn hold_sample(&self, id: i64, limit: usize) -> Result<Vec<HeldChange>, StoreError> {
        self.read(move |conn, ids| holds::sample(conn, ids, id, limit)).await
    }

    async fn approve_hold(&self, id: i64) -> Result<bool, StoreError> {
        self.write(move |tx, ids| holds::approve(tx, ids, id)).await
    }

    async fn reject_hold(&self, id: i64, rule_set: Option<String>) -> Result<bool, StoreError> {
        self.write(move |tx, ids| holds::reject(tx, ids, id, rule_set.as_deref())).await
    }

    async fn rederive_all(&self, cause: Option<i64>, now: Timestamp) -> Result<u64, StoreError> {
        // Conversations and events first: what they say of contacts makes those dirty again.
        const KINDS: [(RecordKind, Task); 3] = [
            (RecordKind::Conversation, Task::Conversation),
            (RecordKind::Event, Task::Event),
            (RecordKind::Contact, Task::Contact),
        ];
        let because = Because::of(cause);
        let mut total = 0;
        for kind in KINDS {
            let mut after = String::new();
            loop {
                let from = std::mem::take(&mut after);
                let page = self
                    .write(move |tx, ids| {
                        let limit = PER_TRANSACTION as i64;
                        work::rederive_page(tx, ids, kind, &from, limit, because, now)
                    })
                    .await?;
                total += page.len() as u64;
                match page.last() {
                    Some(last) => after = last.to_string(),
                    None => break,
                }
            }
        }
        let mut after = String::new();
        loop {
            let from = std::mem::take(&mut after);
            let page = self
                .write(move |tx, ids| {
                    companies::rederive_page(tx, ids, &from, PER_TRANSACTION as i64, now)
                })
                .await?;
            match page.last() {
                Some(last) => after = last.to_string(),
                None => return Ok(total),
            }
        }
    }

    async fn next_due(&self, priorities: &[Priority]) -> Result<Option<Timestamp>, StoreError> {
        let priorities = priorities.to_vec();
        self.read(move |conn, ids| work::next_due(conn, ids, &priorities)).await
    }

    async fn subjects(&self, contacts: Vec<SubjectQuery>) -> Result<Vec<Subject>, StoreError> {
        self.read(move |conn, ids| {
            contacts.into_iter().map(|query| subjects::load(conn, ids, query)).collect()
        })
        .await
    }

    async fn record_subjects(
        &self,
        keys: Vec<RecordKey>,
    ) -> Result<Vec<RecordSubject>, StoreError> {
        self.read(move |conn, ids| {
            keys.into_iter().map(|key| subjects::load_record(conn, ids, key)).collect()
        })
        .await
    }

    async fn record(&self, key: RecordKey) -> Result<Option<Record>, StoreError> {
        self.read(move |conn, ids| records::record(conn, ids, &key)).await
    }

    async fn tag_names(&self) -> Result<BTreeMap<RecordId, String>, StoreError> {
        self.read(|conn, ids| {
            let mut statement = conn.prepare_cached(
                "SELECT id, body ->> 'name' FROM records
                 WHERE workspace = ?1 AND kind = 'tag' AND body ->> 'name' IS NOT NULL",
            )?;
            let rows = statement
                .query_map((ids.workspace(),), |row| Ok((parsed(row, 0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn company_contacts(
        &self,
        company: RecordId,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<RecordId>, StoreError> {
        self.read(move |conn, ids| {
            let mut statement = conn.prepare_cached(
                "SELECT contact FROM members WHERE workspace = ?1 AND company = ?2 AND contact > ?3
                 ORDER BY contact LIMIT ?4",
            )?;
            let from = after.unwrap_or_default();
            let rows = statement
                .query_map((ids.workspace(), company.as_str(), from, limit as i64), |row| {
                    parsed(row, 0)
                })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn contacts_at(&self, email: Email) -> Result<Vec<RecordId>, StoreError> {
        self.read(move |conn, ids| {
            let mut statement = conn.prepare_cached(
                "SELECT id FROM records WHERE workspace = ?1 AND email = ?2 AND kind = 'contact'
                 ORDER BY liveness <> 'live', id",
            )?;
            let rows =
                statement.query_map((ids.workspace(), email.as_str()), |row| parsed(row, 0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn mirror_at(&self, email: Email) -> Result<Option<MirrorEntry>, StoreError> {
        self.read(move |conn, ids| mirror::at_address(conn, ids, &email)).await
    }

    async fn sms_owners(&self, phones: Vec<String>) -> Result<BTreeMap<String, i64>, StoreError> {
        self.read(move |conn, ids| mirror::sms_owners(conn, ids, &phones)).await
    }

    async fn gives_number_up(&self, contact: RecordId, wanted: String) -> Result<bool, StoreError> {
        self.read(move |conn, ids| wanted_numbers::is_first_of_circle(conn, ids, &contact, &wanted))
            .await
    }

    async fn ext_id_holders(
        &self,
        ext_ids: Vec<String>,
    ) -> Result<BTreeMap<String, ExtIdHolder>, StoreError> {
        self.read(move |conn, ids| mirror::ext_id_holders(conn, ids, &ext_ids)).await
    }

    async fn mirror_unread_since(&self, since: Timestamp) -> Result<Vec<i64>, StoreError> {
        self.read(move |conn, ids| mirror::unread_since(conn, ids, since)).await
    }

    async fn observe(
        &self,
        contacts: Vec<BrevoContact>,
        read_at: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut moved = 0;
        let mut rest = contacts;
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(PER_TRANSACTION));
            let batch = std::mem::replace(&mut rest, later);
            moved += self
                .write(move |tx, ids| {
                    let mut moved = 0;
                    for contact in &batch {
                        let began = Some(read_at);
                        let has_moved =
                            mirror::observe(tx, ids, contact, read_at, began, Keep::Matches)?;
                        moved += u64::from(has_moved);
                    }
                    Ok(moved)
                })
                .await?;
        }
        Ok(moved)
    }

    async fn observe_one(&self, contact: BrevoContact, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx, ids| {
            mirror::observe(tx, ids, &contact, now, None, Keep::State).map(|_| ())
        })
        .await
    }

    async fn accept_brevo(&self, events: Vec<BrevoArrival>) -> Result<BrevoAcceptance, StoreError> {
        self.take_in(move |tx, ids| {
            let mut taken = BrevoAcceptance::default();
            for event in &events {
                match brevo_intake::accept(tx, ids, event)? {
                    Acceptance::Accepted => taken.accepted += 1,
                    Acceptance::Duplicate => taken.duplicates += 1,
                }
            }
            Ok(taken)
        })
        .await
    }

    async fn brevo_address(&self, id: RecordId) -> Result<Option<Email>, StoreError> {
        self.read(move |conn, ids| brevo_intake::address(conn, ids, &id)).await
    }

    async fn observe_changed(
        &self,
        contact: BrevoContact,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |tx, ids| brevo_intake::observe(tx, ids, &contact, now)).await
    }

    async fn lose(
        &self,
        lost: Vec<i64>,
        then: AfterLoss,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx, ids| brevo_intake::lose(tx, ids, &lost, then, now)).await
    }

    async fn unverified(
        &self,
        since: Timestamp,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Unverified>, StoreError> {
        self.read(move |conn, ids| verification::unverified(conn, ids, since, before, limit)).await
    }

    async fn forget_unverified(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(move |tx, ids| {
            Ok(verification::forget_before(tx, ids, before, PER_TRANSACTION)? as u64)
        })
        .await
    }

    async fn put_verified(&self, verified: Vec<Verified>) -> Result<(), StoreError> {
        self.write(move |tx, ids| {
            verified.iter().try_for_each(|one| verification::judge(tx, ids, one))
        })
        .await
    }

    async fn parked(&self) -> Result<Vec<ParkedAttribute>, StoreError> {
        self.read(verification::parked).await
    }

    async fn consider_lift(&self, wish: LiftWish) -> Result<Result<OptIn, Stays>, StoreError> {
        self.read(move |conn, ids| lifts::consider(conn, ids, &wish)).await
    }

    async fn begin_lift(
        &self,
        wish: LiftWish,
        held: BrevoContact,
        now: Timestamp,
    ) -> Result<Result<Lifted, Stays>, StoreError> {
        self.write(move |tx, ids| lifts::begin(tx, ids, &wish, &held, now)).await
    }

    async fn end_lift(&self, open: OpenLift, now: Timestamp) -> Result<LiftEnd, StoreError> {
        self.write(move |tx, ids| lifts::end(tx, ids, &open, now)).await
    }

    async fn leave_lift(&self, lifted: Lifted, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx, ids| lifts::leave(tx, ids, &lifted, now)).await
    }

    async fn lifts_to_undo(&self, contact: RecordId) -> Result<Vec<LeftLift>, StoreError> {
        self.read(move |conn, ids| lifts::to_undo(conn, ids, &contact)).await
    }

    async fn is_suppressed(&self, email: Email, channel: Channel) -> Result<bool, StoreError> {
        self.read(move |conn, ids| mirror::is_suppressed(conn, ids, &email, channel)).await
    }

    async fn suppressed_numbers(
        &self,
        numbers: Vec<String>,
    ) -> Result<BTreeSet<String>, StoreError> {
        self.read(move |conn, ids| {
            let mut found = BTreeSet::new();
            for digits in numbers {
                if numbers::is_out(conn, ids, &digits)? {
                    found.insert(digits);
                }
            }
            Ok(found)
        })
        .await
    }

    async fn suppressed(
        &self,
        emails: Vec<Email>,
        channel: Channel,
    ) -> Result<BTreeSet<Email>, StoreError> {
        self.read(move |conn, ids| {
            let mut found = BTreeSet::new();
            for email in emails {
                if mirror::is_suppressed(conn, ids, &email, channel)? {
                    found.insert(email);
                }
            }
            Ok(found)
        })
        .await
    }

    async fn intend(&self, intents: Vec<Intent>) -> Result<Vec<bool>, StoreError> {
        self.write(move |tx, ids| {
            let intend = |intent| work::intend(tx, ids, intent);
            intents.into_iter().map(intend).collect()
        })
        .await
    }

    async fn open_import(&self, started: Timestamp, rows: usize) -> Result<i64, StoreError> {
        self.write(move |tx, ids| {
            tx.conn
                .prepare_cached(
                    "INSERT INTO imports (workspace, started, rows) VALUES (?1, ?2, ?3)",
                )?
                .execute((ids.workspace(), started.seconds(), rows as i64))?;
            Ok(tx.conn.last_insert_rowid())
        })
        .await
    }

    async fn import_started(&self, id: i64, process: i64) -> Result<(), StoreError> {
        self.write(move |tx, _| {
            tx.conn.execute("UPDATE imports SET process = ?2 WHERE id = ?1", (id, process))?;
            Ok(())
        })
        .await
    }

    async fn close_import(&self, id: i64) -> Result<(), StoreError> {
        self.write(move |tx, _| {
            tx.conn.execute("DELETE FROM imports WHERE id = ?1", (id,))?;
            Ok(())
        })
        .await
    }

    async fn open_imports(&self) -> Result<Vec<OpenImport>, StoreError> {
        self.read(|conn, ids| {
            let mut statement = conn.prepare_cached(
                "SELECT id, process, started FROM imports WHERE workspace = ?1 ORDER BY id",
            )?;
            let rows = statement.query_map((ids.workspace(),), |row| {
                let started = Timestamp::from_seconds(row.get(2)?);
                Ok(OpenImport { id: row.get(0)?, process: row.get(1)?, started })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn put_sync(&self, sync: Sync) -> Result<(), StoreError> {
        self.write(move |tx, ids| books::put(tx, ids, &sync)).await
    }

    async fn sync(&self, id: String) -> Result<Option<Sync>, StoreError> {
        self.read(move |conn, ids| books::find(conn, ids, &id)).await
    }

    async fn syncs(&self, limit: usize) -> Result<Vec<Sync>, StoreError> {
        self.read(move |conn, ids| books::newest(conn, ids, limit)).await
    }

    async fn due_events(&self, limit: usize, now: Timestamp) -> Result<Vec<DueEvent>, StoreError> {
        self.read(move |conn, ids| events::due(conn, ids, limit, now)).await
    }

    async fn next_event_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(events::next_due).await
    }

    async fn begin_events(
        &self,
        events: Vec<(i64, Timestamp)>,
        now: Timestamp,
        due: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx, _| events::begin(tx, &events, now, due)).await
    }

    async fn end_events(
        &self,
        ends: Vec<(i64, EventEnd)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx, ids| {
            ends.iter().try_for_each(|(seq, end)| events::end(tx, ids, *seq, end, now))
        })
        .await
    }

    async fn forget_event_history(&self) -> Result<u64, StoreError> {
        let mut total = 0;
        loop {
            let forgotten =
                self.write(|tx, ids| events::forget_history(tx, ids, PER_TRANSACTION)).await?;
            total += forgotten;
            if forgotten < PER_TRANSACTION as u64 {
                return Ok(total);
            }
        }
    }

    async fn companies(&self, companies: Vec<RecordId>) -> Result<Vec<CompanySubject>, StoreError> {
        self.read(move |conn, ids| {
            companies.into_iter().map(|id| companies::subject(conn, ids, id)).collect()
        })
        .await
    }

    async fn intend_companies(
        &self,
        companies: Vec<RecordId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx, ids| companies::intend(tx, ids, &companies, now)).await
    }

    async fn adopt_companies(
        &self,
        found: Vec<FoundCompany>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let (mut rest, mut changed) = (found, 0);
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(PER_TRANSACTION));
            let batch = std::mem::replace(&mut rest, later);
            changed += self.write(move |tx, ids| companies::adopt(tx, ids, &batch, now)).await?;
        }
        Ok(changed)
    }

    async fn release_companies(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(move |tx, ids| companies::release(tx, ids, now)).await
    }

    async fn due_objects(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<DueObject>, StoreError> {
        self.read(move |conn, ids| objects::due(conn, ids, limit, now)).await
    }

    async fn next_object_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(objects::next_due).await
    }

    async fn end_objects(
        &self,
        ends: Vec<(DueObject, ObjectEnd)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx, ids| {
            ends.iter().try_for_each(|(object, end)| objects::end(tx, ids, object, end, now))
        })
        .await
    }

    async fn due_double_opt_ins(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<DueDoubleOptIn>, StoreError> {
        self.read(move |conn, ids| double_opt_ins::due(conn, ids, limit, now)).await
    }

    async fn next_double_opt_in_due(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(double_opt_ins::next_due).await
    }

    async fn begin_double_opt_in(
        &self,
        due: DueDoubleOptIn,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |tx, ids| double_opt_ins::begin(tx, ids, &due, now)).await
    }

    async fn end_double_opt_in(
        &self,
        due: DueDoubleOptIn,
        end: DoubleOptInEnd,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx, ids| double_opt_ins::end(tx, ids, &due, &end, now)).await
    }

    async fn recover_double_opt_ins(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(move |tx, ids| double_opt_ins::recover(tx, ids, now)).await
    }

    async fn lose_company(&self, company: RecordId, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx, ids| companies::lose(tx, ids, &company, now)).await
    }

    async fn due_links(&self, limit: usize, now: Timestamp) -> Result<Vec<DueLinks>, StoreError> {
        self.read(move |conn, ids| companies::due_links(conn, ids, limit, now)).await
    }

    async fn end_links(
        &self,
        company: RecordId,
        ends: Vec<(RecordId, LinkEnd)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx, ids| companies::end_links(tx, ids, &company, &ends, now)).await
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.read(move |conn, ids| dead_letters::list(conn, ids, limit)).await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError> {
        self.read(move |conn, ids| dead_letters::find(conn, ids, id)).await
    }

    async fn retry_dead_letters(
        &self,
        query: DeadLetterQuery,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write(move |tx, ids| dead_letters::retry(tx, ids, &query, now)).await
    }

    async fn drop_dead_letters(&self, query: DeadLetterQuery) -> Result<u64, StoreError> {
        self.write(move |tx, ids| dead_letters::discard(tx, ids, &query)).await
    }

    async fn put_rule_set(&self, entry: RuleSetEntry) -> Result<(), StoreError> {
        self.write(move |tx, ids| rule_sets::put(tx, ids, &entry)).await
    }

    async fn last_rule_set(&self) -> Result<Option<RuleSetEntry>, StoreError> {
        self.read(rule_sets::last_live).await
    }

    async fn rule_sets(&self) -> Result<Vec<RuleSetSummary>, StoreError> {
        self.read(rule_sets::list).await
    }

    async fn rule_set(&self, version: String) -> Result<Option<RuleSetEntry>, StoreError> {
        self.read(move |conn, ids| rule_sets::find(conn, ids, &version)).await
    }

    async fn rule_texts(&self) -> Result<BTreeSet<Digest>, StoreError> {
        self.read(rule_sets::texts).await
    }

    async fn rules_pin(&self) -> Result<Option<RulesPin>, StoreError> {
        self.read(rule_sets::pin).await
    }

    async fn pin_rules(&self, pin: RulesPin) -> Result<(), StoreError> {
        self.write(move |tx, ids| rule_sets::put_pin(tx.conn, ids, &pin)).await
    }

    async fn unpin_rules(&self, pin: RulesPin) -> Result<(), StoreError> {
        self.write(move |tx, ids| rule_sets::end_pin(tx.conn, ids, &pin)).await
    }

    async fn fact(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        self.read(move |conn, ids| books::fact(conn, ids, name)).await
    }

    async fn put_fact(&self, name: &'static str, value: String) -> Result<(), StoreError> {
        self.write(move |tx, ids| books::put_fact(tx.conn, ids, name, &value)).await
    }

    async fn put_connection(&self, connection: Connected) -> Result<(), StoreError> {
        self.write(move |tx, ids| connections::put(tx, ids, &connection)).await
    }

    async fn connections(&self) -> Result<Vec<Connected>, StoreError> {
        self.read(connections::all).await
    }

    async fn counts(&self, now: Timestamp) -> Result<StoreCounts, StoreError> {
        self.read(move |conn, ids| books::counts(conn, ids, now)).await
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(move |tx, ids| holds::prune(tx, ids, before)).await?;
        let mut total = 0;
        for rows in [prune::journal, prune::syncs] {
            loop {
                let removed =
                    self.write(move |tx, ids| rows(tx, ids, before, PER_TRANSACTION)).await?;
                total += removed as u64;
                if removed < PER_TRANSACTION {
                    break;
                }
            }
        }
        Ok(total + self.prune_events(prune::of_events(before)).await?)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.take_in(|tx, ids| {
            let sql = "INSERT INTO meta (workspace, name, value) VALUES (?1, 'probe', '1')
                 ON CONFLICT DO UPDATE SET value = 1 - value";
            tx.conn.prepare_cached(sql)?.execute((ids.workspace(),))?;
            Ok(())
        })
        .await
    }

    async fn close(&self) {
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
    }
}

#[cfg(test)]
mod double_opt_ins_tests;
#[cfg(test)]
mod lifts_tests;
#[cfg(test)]
mod prune_tests;
#[cfg(test)]
mod strangers_tests;
#[cfg(test)]
mod tests;
