//! Connections, whose tokens are sealed here and nowhere else.

use rusqlite::Connection as Database;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::Ids;
use super::writer::Tx;
use crate::model::{Digest, Timestamp};
use crate::store::{Connection, StoreError, Way};

/// What is sealed of a connection.
#[derive(Serialize, Deserialize)]
struct Secrets {
    token: String,
    instead_of: Option<Digest>,
}

/// Writes a connection over the one that the workspace had.
pub(super) fn put(tx: &Tx<'_>, ids: &Ids, connection: &Connection) -> Result<(), StoreError> {
    let Connection { app_id, name, region, api_version, way, connected_at, .. } = connection;
    let token = connection.token.expose_secret().to_owned();
    let secrets = Secrets { token, instead_of: connection.instead_of };
    let sealed = ids.seal(app_id, &serde_json::to_vec(&secrets)?)?;
    tx.conn
        .prepare_cached(
            "INSERT INTO connections
                 (workspace, app_id, name, region, api_version, way, connected_at, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (workspace, app_id) DO UPDATE SET
                 name = excluded.name, region = excluded.region, way = excluded.way,
                 api_version = excluded.api_version, connected_at = excluded.connected_at,
                 sealed = excluded.sealed",
        )?
        .execute((
            ids.workspace(),
            app_id,
            name,
            region,
            api_version,
            way.as_str(),
            connected_at.seconds(),
            sealed,
        ))?;
    Ok(())
}

/// Lists all, the newest first.
pub(super) fn all(conn: &Database, ids: &Ids) -> Result<Vec<Connection>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT app_id, name, region, api_version, way, connected_at, sealed FROM connections
         WHERE workspace = ?1 ORDER BY connected_at DESC, app_id",
    )?;
    let mut rows = statement.query((ids.workspace(),))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let app_id: String = row.get(0)?;
        let opened = ids.open(&app_id, &row.get::<_, Vec<u8>>(6)?);
        let secrets = opened.and_then(|opened| serde_json::from_slice::<Secrets>(&opened).ok());
        let Some(Secrets { token, instead_of }) = secrets else {
            return Err(StoreError::Sealed { app_id });
        };
        found.push(Connection {
            name: row.get(1)?,
            region: row.get(2)?,
            api_version: row.get(3)?,
            way: Way::from_text(&row.get::<_, String>(4)?).unwrap_or(Way::Token),
            connected_at: Timestamp::from_seconds(row.get(5)?),
            token: SecretString::from(token),
            instead_of,
            app_id,
        });
    }
    Ok(found)
}
