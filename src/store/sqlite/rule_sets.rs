//! The history of the rules: judgements, the texts that they share, and the pin.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction};
use rusqlite_migration::{HookError, HookResult};

use super::Ids;
use super::books::{fact, put_fact};
use super::writer::Tx;
use crate::model::{Digest, RulesPin, Timestamp};
use crate::store::{FileChanges, RuleSetEntry, RuleSetSummary, StoreError};

/// How many judgements are kept.
const KEPT: i64 = 200;
/// The fact that holds the pin.
const PIN: &str = "rules_pin";
/// What a summary is read from.
const COLUMNS: &str = "id, version, at, author, live, error, origin, base, changes, files";

/// Enters a judgement, and forgets the oldest. Judging the newest one again, as a restart does,
/// renews it: a test may have changed, which makes no version.
pub(super) fn put(tx: &Tx<'_>, ids: &Ids, entry: &RuleSetEntry) -> Result<(), StoreError> {
    let mut files = BTreeMap::new();
    for (path, text) in &entry.files {
        files.insert(path.clone(), keep_text(tx.conn, ids, text)?);
    }
    let before = newest_of(tx.conn, ids, entry)?;
    match before.filter(|(_, before)| before.version == entry.version && before.live == entry.live)
    {
        Some((id, _)) => renew(tx.conn, id, entry, &files)?,
        None => {
            let base = summary(tx.conn, ids, "live = 1")?.map(|(_, base)| base);
            insert(tx.conn, ids, entry, &files, base)?;
        }
    }
    prune(tx.conn, ids)
}

/// The judgement that another look at the same content is about: of what went live the last that
/// did, of what was refused the last of all.
fn newest_of(
    conn: &Connection,
    ids: &Ids,
    entry: &RuleSetEntry,
) -> Result<Option<(i64, RuleSetSummary)>, StoreError> {
    summary(conn, ids, if entry.live { "live = 1" } else { "1" })
}

fn renew(
    conn: &Connection,
    id: i64,
    entry: &RuleSetEntry,
    files: &BTreeMap<String, Digest>,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "UPDATE rule_history SET files = ?2, error = ?3, origin = ?4 WHERE id = ?1",
    )?
    .execute((id, digests_text(files)?, &entry.error, origin_text(entry)?))?;
    Ok(())
}

fn insert(
    conn: &Connection,
    ids: &Ids,
    entry: &RuleSetEntry,
    files: &BTreeMap<String, Digest>,
    base: Option<RuleSetSummary>,
) -> Result<(), StoreError> {
    let base = base.as_ref();
    let none = BTreeMap::new();
    let changes = FileChanges::between(base.map_or(&none, |base| &base.files), files);
    conn.prepare_cached(
        "INSERT INTO rule_history (workspace, version, at, live, author, error, origin, base, changes, files)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute((
        ids.workspace(),
        &entry.version,
        entry.at.seconds(),
        entry.live,
        &entry.author,
        &entry.error,
        origin_text(entry)?,
        base.map(|base| &base.version),
        serde_json::to_string(&changes)?,
        digests_text(files)?,
    ))?;
    Ok(())
}

fn digests_text(files: &BTreeMap<String, Digest>) -> Result<String, StoreError> {
    let texts: BTreeMap<&str, String> =
        files.iter().map(|(path, digest)| (path.as_str(), digest.to_string())).collect();
    Ok(serde_json::to_string(&texts)?)
}

fn origin_text(entry: &RuleSetEntry) -> Result<Option<String>, StoreError> {
    Ok(entry.origin.as_ref().map(serde_json::to_string).transpose()?)
}

fn keep_text(conn: &Connection, ids: &Ids, text: &str) -> Result<Digest, StoreError> {
    let digest = Digest::of_bytes(text.as_bytes());
    conn.prepare_cached(
        "INSERT INTO rule_texts (workspace, digest, text) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?
    .execute((ids.workspace(), digest.to_string(), text))?;
    Ok(digest)
}

/// Forgets the oldest judgements, but never what is live, what is pinned, or what was live last,
/// then the texts that no version has.
fn prune(conn: &Connection, ids: &Ids) -> Result<(), StoreError> {
    let pinned = pin(conn, ids)?.map(|pin| pin.version);
    let removed = conn
        .prepare_cached(
            "DELETE FROM rule_history WHERE workspace = ?1
             AND id NOT IN (SELECT id FROM rule_history WHERE workspace = ?1 ORDER BY id DESC LIMIT ?2)
             AND id NOT IN (SELECT id FROM rule_history WHERE workspace = ?1 AND live = 1 ORDER BY id DESC LIMIT 2)
             AND version IS NOT ?3",
        )?
        .execute((ids.workspace(), KEPT, pinned))?;
    if removed > 0 || count_of_texts(conn, ids)? > TEXTS_LOOKED_AT {
        forget_texts(conn, ids)?;
    }
    Ok(())
}

/// From how many texts on those that no version has are looked for at every judgement.
const TEXTS_LOOKED_AT: i64 = 1_000;

fn count_of_texts(conn: &Connection, ids: &Ids) -> Result<i64, StoreError> {
    let sql = "SELECT count(*) FROM rule_texts WHERE workspace = ?1";
    Ok(conn.prepare_cached(sql)?.query_row((ids.workspace(),), |row| row.get(0))?)
}

fn forget_texts(conn: &Connection, ids: &Ids) -> Result<(), StoreError> {
    conn.prepare_cached(
        "DELETE FROM rule_texts WHERE workspace = ?1 AND digest NOT IN
         (SELECT value FROM rule_history, json_each(rule_history.files) WHERE workspace = ?1)",
    )?
    .execute((ids.workspace(),))?;
    Ok(())
}

/// The newest judgement of which `condition` is true.
fn summary(
    conn: &Connection,
    ids: &Ids,
    condition: &'static str,
) -> Result<Option<(i64, RuleSetSummary)>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM rule_history WHERE workspace = ?1 AND {condition}
         ORDER BY id DESC LIMIT 1"
    );
    Ok(conn.prepare_cached(&sql)?.query_row((ids.workspace(),), read).optional()?)
}

/// The judgements, newest first.
pub(super) fn list(conn: &Connection, ids: &Ids) -> Result<Vec<RuleSetSummary>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM rule_history WHERE workspace = ?1 ORDER BY id DESC");
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map((ids.workspace(),), read)?;
    rows.map(|row| Ok(row?.1)).collect()
}

/// The newest judgement that went live, with its texts.
pub(super) fn last_live(conn: &Connection, ids: &Ids) -> Result<Option<RuleSetEntry>, StoreError> {
    summary(conn, ids, "live = 1")?.map(|(_, found)| whole(conn, ids, found)).transpose()
}

/// The newest judgement of a version, with its texts.
pub(super) fn find(
    conn: &Connection,
    ids: &Ids,
    version: &str,
) -> Result<Option<RuleSetEntry>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM rule_history WHERE workspace = ?1 AND version = ?2
         ORDER BY id DESC LIMIT 1"
    );
    let found = conn
        .prepare_cached(&sql)?
        .query_row((ids.workspace(), version), |row| Ok(read(row)?.1))
        .optional()?;
    found.map(|found| whole(conn, ids, found)).transpose()
}

fn whole(conn: &Connection, ids: &Ids, found: RuleSetSummary) -> Result<RuleSetEntry, StoreError> {
    let mut statement =
        conn.prepare_cached("SELECT text FROM rule_texts WHERE workspace = ?1 AND digest = ?2")?;
    let mut files = BTreeMap::new();
    for (path, digest) in &found.files {
        let text = statement.query_row((ids.workspace(), digest.to_string()), |row| row.get(0))?;
        files.insert(path.clone(), text);
    }
    let RuleSetSummary { version, at, author, live, error, origin, .. } = found;
    Ok(RuleSetEntry { version, at, author, live, files, error, origin })
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, RuleSetSummary)> {
    let summary = RuleSetSummary {
        version: row.get(1)?,
        at: Timestamp::from_seconds(row.get(2)?),
        author: row.get(3)?,
        live: row.get(4)?,
        error: row.get(5)?,
        origin: row.get::<_, Option<String>>(6)?.map(|text| json(6, &text)).transpose()?,
        base: row.get(7)?,
        changes: json(8, &row.get::<_, String>(8)?)?,
        files: json::<BTreeMap<String, String>>(9, &row.get::<_, String>(9)?)?
            .into_iter()
            .map(|(path, digest)| Some((path, parse_digest(&digest)?)))
            .collect::<Option<_>>()
            .ok_or_else(|| damaged(9, "a digest cannot be read"))?,
    };
    Ok((row.get(0)?, summary))
}

fn json<T: serde::de::DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| damaged(column, error))
}

fn damaged(
    column: usize,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

fn parse_digest(text: &str) -> Option<Digest> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(Digest::from_bytes(bytes))
}

/// The pin, if there is one.
pub(super) fn pin(conn: &Connection, ids: &Ids) -> Result<Option<RulesPin>, StoreError> {
    let Some(text) = fact(conn, ids, PIN)? else { return Ok(None) };
    Ok(Some(serde_json::from_str(&text)?))
}

/// Pins a version.
pub(super) fn put_pin(conn: &Connection, ids: &Ids, pin: &RulesPin) -> Result<(), StoreError> {
    put_fact(conn, ids, PIN, &serde_json::to_string(pin)?)
}

/// Ends this pin; one that was set since stays.
pub(super) fn end_pin(conn: &Connection, ids: &Ids, ended: &RulesPin) -> Result<(), StoreError> {
    if pin(conn, ids)?.as_ref() == Some(ended) {
        conn.prepare_cached("DELETE FROM meta WHERE workspace = ?1 AND name = ?2")?
            .execute((ids.workspace(), PIN))?;
    }
    Ok(())
}

/// Moves what the first schema kept of the rules.
pub(super) fn migrate(tx: &Transaction<'_>) -> HookResult {
    let mut old = tx.prepare(
        "SELECT workspace, version, at, live, files, error FROM rule_sets ORDER BY at, rowid",
    )?;
    let mut rows = old.query([])?;
    let mut before: BTreeMap<String, (String, BTreeMap<String, String>)> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (workspace, version, live): (String, String, bool) =
            (row.get(0)?, row.get(1)?, row.get(3)?);
        let texts: BTreeMap<String, String> = serde_json::from_str(&row.get::<_, String>(4)?)
            .map_err(|error| HookError::Hook(error.to_string()))?;
        let mut files = BTreeMap::new();
        for (path, text) in texts {
            let digest = Digest::of_bytes(text.as_bytes()).to_string();
            tx.execute(
                "INSERT INTO rule_texts (workspace, digest, text) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                (&workspace, &digest, &text),
            )?;
            files.insert(path, digest);
        }
        let base = before.get(&workspace);
        let none = BTreeMap::new();
        let changes = FileChanges::between(base.map_or(&none, |(_, files)| files), &files);
        let to_text = |error: serde_json::Error| HookError::Hook(error.to_string());
        tx.execute(
            "INSERT INTO rule_history (workspace, version, at, live, error, base, changes, files)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                &workspace,
                &version,
                row.get::<_, i64>(2)?,
                live,
                row.get::<_, Option<String>>(5)?,
                base.map(|(version, _)| version),
                serde_json::to_string(&changes).map_err(to_text)?,
                serde_json::to_string(&files).map_err(to_text)?,
            ),
        )?;
        if live {
            before.insert(workspace, (version, files));
        }
    }
    drop(rows);
    drop(old);
    Ok(tx.execute_batch("DROP TABLE rule_sets")?)
}

/// Digests of all texts that the history holds.
pub(super) fn texts(conn: &Connection, ids: &Ids) -> Result<BTreeSet<Digest>, StoreError> {
    let mut statement =
        conn.prepare_cached("SELECT digest FROM rule_texts WHERE workspace = ?1")?;
    let rows = statement.query_map((ids.workspace(),), |row| row.get::<_, String>(0))?;
    let mut known = BTreeSet::new();
    for digest in rows {
        known.extend(parse_digest(&digest?));
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite_migration::{M, Migrations};

    use super::*;
    use crate::store::Store;
    use crate::store::sqlite::{AddressKey, SqliteStore};

    fn open(path: &Path) -> SqliteStore {
        SqliteStore::open(path, AddressKey::derive(b"test"), Timestamp::from_seconds(1)).unwrap()
    }

    fn entry(number: i64, files: &[(&str, &str)]) -> RuleSetEntry {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        RuleSetEntry {
            version: format!("{number:016x}"),
            at: Timestamp::from_seconds(number),
            author: Some("ann".to_owned()),
            live: true,
            files: files.collect(),
            error: None,
            origin: None,
        }
    }

    fn refused(number: i64, files: &[(&str, &str)]) -> RuleSetEntry {
        let error = Some("it is broken".to_owned());
        RuleSetEntry { live: false, error, ..entry(number, files) }
    }

    fn versions(found: &[RuleSetSummary]) -> Vec<i64> {
        found.iter().map(|found| i64::from_str_radix(&found.version, 16).unwrap()).collect()
    }

    #[tokio::test]
    async fn each_judgement_is_compared_with_what_was_live_before() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("tajo.db"));
        store.put_rule_set(entry(1, &[("a", "1"), ("b", "1")])).await.unwrap();
        store.put_rule_set(refused(2, &[("a", "2"), ("b", "1")])).await.unwrap();
        store.put_rule_set(entry(3, &[("a", "3"), ("c", "1")])).await.unwrap();
        let found = store.rule_sets().await.unwrap();
        assert_eq!(versions(&found), [3, 2, 1]);
        let [third, second, first] = &found[..] else { panic!("{found:?}") };
        assert_eq!((first.base.as_deref(), first.changes.added.len()), (None, 2));
        assert_eq!(second.base.as_ref(), Some(&first.version));
        assert_eq!(third.base.as_ref(), Some(&first.version), "nobody saw the refused one live");
        let text = |list: &[&str]| list.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        let (added, changed, removed) = (text(&["c"]), text(&["a"]), text(&["b"]));
        assert_eq!(third.changes, FileChanges { added, changed, removed });
        let whole = store.rule_set(second.version.clone()).await.unwrap().unwrap();
        assert_eq!(whole, refused(2, &[("a", "2"), ("b", "1")]));
        assert_eq!(store.last_rule_set().await.unwrap().unwrap().version, third.version);
    }

    #[tokio::test]
    async fn judging_the_same_again_renews_it_and_going_back_is_an_entry() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("tajo.db"));
        store.put_rule_set(entry(1, &[("a", "1")])).await.unwrap();
        store.put_rule_set(refused(2, &[("a", "2")])).await.unwrap();
        // A restart with a broken folder: both are judged again, and a test is new.
        store.put_rule_set(refused(2, &[("a", "2")])).await.unwrap();
        store.put_rule_set(entry(1, &[("a", "1"), ("tests/a", "t")])).await.unwrap();
        let found = store.rule_sets().await.unwrap();
        assert_eq!(versions(&found), [2, 1]);
        assert!(store.last_rule_set().await.unwrap().unwrap().files.contains_key("tests/a"));
        store.put_rule_set(entry(3, &[("a", "3")])).await.unwrap();
        store.put_rule_set(entry(1, &[("a", "1")])).await.unwrap();
        assert_eq!(versions(&store.rule_sets().await.unwrap()), [1, 3, 2, 1]);
    }

    #[tokio::test]
    async fn what_is_live_was_live_or_is_pinned_is_never_forgotten_and_texts_go_with_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("tajo.db"));
        let content = Digest::of_bytes(b"");
        for number in 1..=3 {
            let text = number.to_string();
            store.put_rule_set(entry(number, &[("a", &text), ("table", "shared")])).await.unwrap();
        }
        let pin = RulesPin {
            version: entry(1, &[]).version,
            content,
            at: Timestamp::from_seconds(4),
            author: None,
        };
        store.pin_rules(pin.clone()).await.unwrap();
        for number in 10..10 + KEPT {
            store.put_rule_set(refused(number, &[("a", "x"), ("table", "shared")])).await.unwrap();
        }
        let kept = versions(&store.rule_sets().await.unwrap());
        assert_eq!(kept.len() as i64, KEPT + 3);
        assert_eq!(kept[kept.len() - 3..], [3, 2, 1]);
        store.unpin_rules(RulesPin { version: "another".to_owned(), ..pin.clone() }).await.unwrap();
        assert_eq!(store.rules_pin().await.unwrap(), Some(pin.clone()));
        store.unpin_rules(pin).await.unwrap();
        assert_eq!(store.rules_pin().await.unwrap(), None);
        store.put_rule_set(refused(1_000, &[("a", "y")])).await.unwrap();
        let kept = versions(&store.rule_sets().await.unwrap());
        assert_eq!(kept[kept.len() - 2..], [3, 2]);
        let texts = store.rule_texts().await.unwrap();
        assert!(!texts.contains(&Digest::of_bytes(b"1")));
        assert!(texts.contains(&Digest::of_bytes(b"shared")));
    }

    #[tokio::test]
    async fn what_the_first_schema_kept_is_still_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tajo.db");
        let mut conn = Connection::open(&path).unwrap();
        Migrations::new(vec![M::up(include_str!("../migrations/0001_spine.sql"))])
            .to_latest(&mut conn)
            .unwrap();
        let sql = "INSERT INTO rule_sets (workspace, version, at, live, files) VALUES ('default', ?1, ?2, 1, ?3)";
        conn.execute(sql, ("aaaa", 5, r#"{"scripts/a.rhai":"one"}"#)).unwrap();
        conn.execute(sql, ("bbbb", 6, r#"{"scripts/a.rhai":"two"}"#)).unwrap();
        drop(conn);
        let refused = SqliteStore::open_read_only(&path, AddressKey::derive(b"test")).unwrap_err();
        let help = "an older tajo wrote it; `tajo serve` brings it up to date";
        assert!(refused.to_string().ends_with(help), "{refused}");
        let store = open(&path);
        let found = store.rule_sets().await.unwrap();
        let versions: Vec<_> = found.iter().map(|found| found.version.as_str()).collect();
        assert_eq!(versions, ["bbbb", "aaaa"]);
        assert_eq!(found[0].changes.changed, ["scripts/a.rhai"]);
        let last = store.last_rule_set().await.unwrap().unwrap();
        assert_eq!(last.files["scripts/a.rhai"], "two");
    }
}
