//! What tags are called.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::Value;

use super::{Ids, records};
use crate::model::{RecordId, RecordKey};
use crate::store::StoreError;

/// The ids of the tags of a company's body.
pub(super) fn of_company(body: &Value) -> Vec<RecordId> {
    let ids = body.pointer("/tags/ids").and_then(Value::as_array).into_iter().flatten();
    ids.filter_map(|id| id.as_str()?.parse().ok()).collect()
}

/// The names of tags, of those that are known.
pub(super) fn names(
    conn: &Connection,
    ids: &Ids,
    tags: Vec<RecordId>,
) -> Result<BTreeMap<RecordId, String>, StoreError> {
    let mut names = BTreeMap::new();
    for tag in tags {
        if let Some(known) = records::record(conn, ids, &RecordKey::tag(tag.clone()))?
            && let Some(name) = known.body.get("name").and_then(Value::as_str)
        {
            names.insert(tag, name.to_owned());
        }
    }
    Ok(names)
}
