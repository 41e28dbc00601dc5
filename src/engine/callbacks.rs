//! Calls from Brevo that say that an import has ended: which ones are expected, under which names that
//! nobody can guess. What a call says is not believed: it only makes the importer look sooner.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use url::Url;

/// Bytes of a name.
const BYTES: usize = 32;
/// How many names stay known once their imports have ended: a call may come late.
const REMEMBERED: usize = 64;

/// The calls that are expected.
#[derive(Debug, Default)]
pub(crate) struct Callbacks {
    names: Mutex<Names>,
    /// The last import ended without a call: Brevo does not reach this engine.
    fails: AtomicBool,
}

#[derive(Debug, Default)]
struct Names {
    by_name: HashMap<String, Arc<Notify>>,
    ended: VecDeque<String>,
}

/// One call that is expected, until this is dropped.
#[derive(Debug)]
pub(crate) struct Callback {
    callbacks: Arc<Callbacks>,
    name: String,
    called: Arc<Notify>,
    /// What Brevo is to call.
    pub(crate) url: Url,
}

impl Callbacks {
    /// Expects a call below `public_url`; none where the system has no randomness.
    pub(crate) fn expect(self: &Arc<Self>, public_url: &Url) -> Option<Callback> {
        let mut bytes = [0_u8; BYTES];
        getrandom::fill(&mut bytes).ok()?;
        let mut name = String::with_capacity(2 * BYTES);
        for byte in bytes {
            // A `String` takes whatever is written to it.
            let _ = write!(name, "{byte:02x}");
        }
        let base = public_url.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}/webhooks/brevo/import/{name}")).ok()?;
        let called = Arc::new(Notify::new());
        self.names().by_name.insert(name.clone(), Arc::clone(&called));
        Some(Callback { callbacks: Arc::clone(self), name, called, url })
    }

    /// Takes a call; false if nobody knows the name.
    pub(crate) fn take(&self, name: &str) -> bool {
        let called = self.names().by_name.get(name).cloned();
        if let Some(called) = &called {
            self.fails.store(false, Ordering::Relaxed);
            called.notify_one();
        }
        called.is_some()
    }

    /// True while it is known that Brevo does not reach this engine.
    pub(crate) fn fail(&self) -> bool {
        self.fails.load(Ordering::Relaxed)
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Callback {
    /// Waits for the call.
    pub(crate) async fn called(&self) {
        self.called.notified().await;
    }

    /// Says that the import had ended though nobody called.
    pub(crate) fn was_missed(&self) {
        if !self.callbacks.fails.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "brevo did not call back at the end of an import: check that it can reach \
                 `server.public_url`; until it does, imports are asked for"
            );
        }
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        let mut names = self.callbacks.names();
        names.ended.push_back(std::mem::take(&mut self.name));
        if names.ended.len() > REMEMBERED
            && let Some(oldest) = names.ended.pop_front()
        {
            names.by_name.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_name_that_was_given_out_is_known() {
        let callbacks = Arc::new(Callbacks::default());
        let base = "https://tajo.example.com/here/".parse().unwrap();
        let first = callbacks.expect(&base).unwrap();
        let second = callbacks.expect(&base).unwrap();
        assert_ne!(first.url, second.url);
        let start = "https://tajo.example.com/here/webhooks/brevo/import/";
        let name = first.url.as_str().strip_prefix(start).unwrap().to_owned();
        assert_eq!(name.len(), 64);
        assert!(!callbacks.take("guess"));
        first.was_missed();
        assert!(callbacks.fail());
        assert!(callbacks.take(&name) && !callbacks.fail());
        first.called().await;
        drop(first);
        assert!(callbacks.take(&name), "a call may come late");
    }
}
