//! What can go wrong with the store.

use std::path::PathBuf;

/// A failure of the store. While one lasts, intake answers 429, so that nothing is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// More waits to be written than the store takes; try again in a moment.
    #[error("the store is busy: {waiting} writes are waiting")]
    Busy {
        /// How many writes wait.
        waiting: usize,
    },
    /// The store was closed, because the engine is stopping.
    #[error("the store is closed")]
    Closed,
    /// The disk is full or fails, or the file is damaged or locked.
    #[error("the store failed: {0}")]
    Database(String),
    /// What is stored cannot be read back.
    #[error("stored {what} is damaged: {reason}")]
    Damaged {
        /// Which kind of row.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be opened as a store.
    #[error("cannot open the store {path}: {reason}")]
    Open {
        /// The database file.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A SQLite that can lose committed pages (fixed in 3.51.3).
    #[error(
        "SQLite {found} can lose committed data (fixed in 3.51.3); build with the bundled SQLite"
    )]
    SqliteTooOld {
        /// The version that is linked.
        found: &'static str,
    },
    /// The keyed hashes in the store were made with another key.
    #[error(
        "the store was made with another secret key; restore TAJO_SECRET_KEY or the key file that it was made with"
    )]
    OtherKey,
    /// A token was sealed with another key.
    #[error(
        "the token of the workspace `{app_id}` was sealed with another secret key; restore TAJO_SECRET_KEY or the key file that it was sealed with, or connect the workspace again"
    )]
    Sealed {
        /// The workspace in Intercom.
        app_id: String,
    },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged { what: "JSON", reason: error.to_string() }
    }
}
