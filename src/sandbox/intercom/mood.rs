//! Faults on request.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// 429, though the window is not used up; `retry_after` is sent as `Retry-After` if given.
    RateLimited {
        /// Rounded up to seconds.
        retry_after: Option<Duration>,
    },
    /// This status with Intercom's error body: 401, 403, 404, 408, 500, 503 and so on.
    Status(u16),
    /// 500, and the open scroll over companies has lost its place.
    LostScroll,
    /// This status with this `errors[0].code`, such as 401 and `token_unauthorized`.
    Refusal(u16, &'static str),
    /// 502 with a page of HTML, as from the edge.
    BadGateway,
    /// 200 without a body, which happens (facts: Intercom section 1).
    EmptyBody,
    /// No answer until the client gives up or the sandbox stops; nothing is done.
    Hang,
    /// The request takes effect and then is never answered.
    HangAfterEffect,
}

/// Faults that wait for their requests.
#[derive(Debug, Default)]
pub(super) struct Moods(Mutex<Vec<Mood>>);

#[derive(Debug)]
struct Mood {
    matcher: String,
    failure: Failure,
    /// How many requests are still let through before.
    spared: usize,
    left: usize,
}

impl Moods {
    /// Lets the next `times` requests fail that `matcher` fits: the beginning of a path, or a method,
    /// a space, and that; but not the first `spared` of them.
    pub(super) fn add(&self, matcher: &str, spared: usize, failure: Failure, times: usize) {
        self.lock().push(Mood { matcher: matcher.to_owned(), failure, spared, left: times });
    }

    /// The fault for this request, if one waits for it.
    pub(super) fn take(&self, method: &str, path: &str) -> Option<Failure> {
        let mut moods = self.lock();
        let mood = moods.iter_mut().find(|mood| mood.fits(method, path))?;
        if mood.spared > 0 {
            mood.spared -= 1;
            return None;
        }
        mood.left = mood.left.saturating_sub(1);
        let failure = mood.failure;
        moods.retain(|mood| mood.left > 0);
        Some(failure)
    }

    /// How many requests are still to fail.
    pub(super) fn left(&self) -> usize {
        self.lock().iter().map(|mood| mood.left).sum()
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Mood>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mood {
    fn fits(&self, method: &str, path: &str) -> bool {
        match self.matcher.split_once(' ') {
            Some((wanted, prefix)) => wanted == method && path.starts_with(prefix),
            None => path.starts_with(&self.matcher),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_comes_as_often_as_asked_for_and_only_where_it_fits() {
        let moods = Moods::default();
        moods.add("GET /contacts", 1, Failure::BadGateway, 2);
        assert_eq!(moods.take("GET", "/contacts"), None);
        assert_eq!(moods.take("POST", "/contacts"), None);
        assert_eq!(moods.take("GET", "/contacts/1"), Some(Failure::BadGateway));
        assert_eq!(moods.take("GET", "/contacts"), Some(Failure::BadGateway));
        assert_eq!(moods.take("GET", "/contacts"), None);
    }
}
