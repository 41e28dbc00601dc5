//! What was asked of a sandbox and what it answered, for the demo's report and for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;

/// The oldest entries go when there are more than these.
const MAX_ENTRIES: usize = 100_000;

/// Request bodies above this are not kept: 1 MiB holds an import of a few thousand rows.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Answers above this are not kept: two hundred pages of contacts would take hundreds of megabytes.
const MAX_RESPONSE_BYTES: usize = 64 << 10;

/// One request and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// Counts from 1 in the order in which the answers were ready; never reused, not even after
    /// [`RequestLog::clear`].
    pub sequence: u64,
    /// When the answer was ready.
    pub at: Instant,
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path as it was sent, still percent-encoded.
    pub path: String,
    /// What follows the `?`, or an empty string.
    pub query: String,
    /// The status of the answer.
    pub status: u16,
    /// The request's JSON; text that is not JSON as a string; `null` if empty, too large or not kept.
    pub body: Value,
    /// The answer's JSON, as above; only a small one is kept.
    pub response: Value,
}

impl Logged {
    /// True if the method is `method` and the path begins with `prefix`.
    pub fn is(&self, method: &str, prefix: &str) -> bool {
        self.method == method && self.path.starts_with(prefix)
    }
}

/// A request and its answer on the way into the log: raw bodies, which the log parses if it keeps
/// them.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// `GET`, `POST` and so on.
    pub method: &'a str,
    /// The path as it was sent.
    pub path: &'a str,
    /// What follows the `?`, or an empty string.
    pub query: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// The request's bytes.
    pub body: &'a [u8],
    /// The answer's bytes.
    pub response: &'a [u8],
}

/// The log of one sandbox. A clone is another handle on the same log.
#[derive(Debug, Clone)]
pub struct RequestLog {
    entries: Arc<Mutex<Entries>>,
    keeps_bodies: bool,
}

#[derive(Debug, Default)]
struct Entries {
    kept: VecDeque<Logged>,
    last_sequence: u64,
}

impl Default for RequestLog {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestLog {
    /// An empty log that keeps requests of up to 1 MiB and answers of up to 64 KiB.
    pub fn new() -> Self {
        Self { entries: Arc::default(), keeps_bodies: true }
    }

    /// An empty log that keeps no bodies, for benchmarks.
    pub fn without_bodies() -> Self {
        Self { keeps_bodies: false, ..Self::new() }
    }

    /// Adds a request and its answer.
    pub fn record(&self, exchange: Exchange<'_>) {
        let Exchange { method, path, query, status, body, response } = exchange;
        // Parsed before the lock is taken: a large body takes milliseconds.
        let body = self.kept(body, MAX_BODY_BYTES);
        let response = self.kept(response, MAX_RESPONSE_BYTES);
        let mut entries = self.lock();
        entries.last_sequence += 1;
        let sequence = entries.last_sequence;
        if entries.kept.len() == MAX_ENTRIES {
            entries.kept.pop_front();
        }
        entries.kept.push_back(Logged {
            sequence,
            at: Instant::now(),
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            status,
            body,
            response,
        });
    }

    /// All that is kept, oldest first.
    pub fn entries(&self) -> Vec<Logged> {
        self.lock().kept.iter().cloned().collect()
    }

    /// Those for which `is_wanted` holds, oldest first.
    pub fn find(&self, is_wanted: impl Fn(&Logged) -> bool) -> Vec<Logged> {
        self.lock().kept.iter().filter(|entry| is_wanted(entry)).cloned().collect()
    }

    /// How many there are for which `is_wanted` holds.
    pub fn count(&self, is_wanted: impl Fn(&Logged) -> bool) -> usize {
        self.lock().kept.iter().filter(|entry| is_wanted(entry)).count()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.lock().kept.len()
    }

    /// True if none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all entries; the sequence goes on.
    pub fn clear(&self) {
        self.lock().kept.clear();
    }

    fn kept(&self, bytes: &[u8], most: usize) -> Value {
        if !self.keeps_bodies || bytes.is_empty() || bytes.len() > most {
            return Value::Null;
        }
        serde_json::from_slice(bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn exchange(body: &[u8]) -> Exchange<'_> {
        let (path, query, response) = ("/contacts", "per_page=2", &b"{}"[..]);
        Exchange { method: "POST", path, query, status: 200, body, response }
    }

    #[test]
    fn keeps_json_text_and_nothing_too_large() {
        let log = RequestLog::new();
        log.record(exchange(br#"{"a":1}"#));
        log.record(exchange(b"EMAIL;NAME"));
        log.record(exchange(b""));
        log.record(exchange(&vec![b' '; MAX_BODY_BYTES + 1]));
        let bodies: Vec<Value> = log.entries().into_iter().map(|entry| entry.body).collect();
        assert_eq!(bodies, [json!({"a": 1}), json!("EMAIL;NAME"), Value::Null, Value::Null]);
        assert_eq!(log.count(|entry| entry.is("POST", "/contacts")), 4);
    }

    #[test]
    fn the_sequence_goes_on_after_clear() {
        let log = RequestLog::without_bodies();
        log.record(exchange(br#"{"a":1}"#));
        assert_eq!(log.entries()[0].body, Value::Null);
        log.clear();
        assert!(log.is_empty());
        log.record(exchange(b""));
        assert_eq!(log.entries()[0].sequence, 2);
    }
}
