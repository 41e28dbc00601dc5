//! What a test may make the fake Brevo do next: fail, hang, hang up, answer slowly.

use std::time::Duration;

use serde_json::Value;

/// Which requests are meant: `POST /v3/contacts` is that method and exactly that path,
/// `/v3/contacts/*` every method and every path that begins so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    method: Option<String>,
    path: String,
    is_prefix: bool,
}

impl From<&str> for Matcher {
    fn from(text: &str) -> Self {
        let (method, path) = match text.split_once(' ') {
            Some((method, path)) => (Some(method.to_uppercase()), path),
            None => (None, text),
        };
        let (path, is_prefix) = match path.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (path, false),
        };
        Self { method, path: path.to_owned(), is_prefix }
    }
}

impl Matcher {
    fn matches(&self, method: &str, path: &str) -> bool {
        let is_path = if self.is_prefix { path.starts_with(&self.path) } else { path == self.path };
        is_path && self.method.as_deref().is_none_or(|wanted| wanted == method)
    }
}

/// What happens to one request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Mishap {
    /// Answered with this status and body (`null`: one that fits the status); nothing is done.
    Fail(u16, Value),
    /// The connection goes before anything is done.
    Reset,
    /// All is done, then the connection goes without an answer.
    ResetAfterCommit,
    /// No answer, ever; nothing is done.
    Hang,
    /// All is done, and no answer, ever.
    HangAfterCommit,
}

/// What happens to one import, in the order in which they are accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum ImportMishap {
    #[default]
    None,
    /// It ends as `failed`; no row is applied.
    Fails,
    /// It stays `in_process` for ever; no row is applied.
    Sticks,
    /// It stays `in_process` this long before its rows are applied; later ones wait.
    Late(Duration),
    /// The rows of these addresses, in lower case, vanish without a trace.
    DropsRows(Vec<String>),
}

/// The present mood.
#[derive(Debug, Default)]
pub(super) struct Moods {
    mishaps: Vec<(Matcher, Mishap, usize)>,
    imports: Vec<ImportMishap>,
    /// Before every answer.
    pub(super) latency: Option<Duration>,
    /// 401 for all.
    pub(super) is_unauthorized: bool,
}

impl Moods {
    /// Good, but for a wait before every answer.
    pub(super) fn with_latency(latency: Option<Duration>) -> Self {
        Self { latency, ..Self::default() }
    }

    /// The next `times` requests that match meet this mishap.
    pub(super) fn add(&mut self, matcher: Matcher, mishap: Mishap, times: usize) {
        self.mishaps.push((matcher, mishap, times));
    }

    /// Nothing more happens to any request.
    pub(super) fn forget(&mut self) {
        self.mishaps.clear();
    }

    pub(super) fn add_import(&mut self, mishap: ImportMishap) {
        self.imports.push(mishap);
    }

    /// What happens to this request: the mishap that was asked for first.
    pub(super) fn take(&mut self, method: &str, path: &str) -> Option<Mishap> {
        let index = self
            .mishaps
            .iter()
            .position(|(matcher, _, times)| *times > 0 && matcher.matches(method, path))?;
        let (_, mishap, times) = self.mishaps.get_mut(index)?;
        *times -= 1;
        let mishap = mishap.clone();
        self.mishaps.retain(|(_, _, times)| *times > 0);
        Some(mishap)
    }

    /// How many requests and imports are still to meet a mishap.
    pub(super) fn left(&self) -> usize {
        self.mishaps.iter().map(|(_, _, times)| times).sum::<usize>() + self.imports.len()
    }

    pub(super) fn take_import(&mut self) -> ImportMishap {
        if self.imports.is_empty() { ImportMishap::None } else { self.imports.remove(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mishap_meets_as_many_requests_as_were_asked_for() {
        let mut moods = Moods::default();
        moods.add("PUT /v3/contacts/*".into(), Mishap::Hang, 2);
        moods.add("/v3/account".into(), Mishap::Reset, 1);
        assert_eq!(moods.take("POST", "/v3/contacts/1"), None);
        assert_eq!(moods.take("PUT", "/v3/contacts/1"), Some(Mishap::Hang));
        assert_eq!(moods.take("PUT", "/v3/contacts/2"), Some(Mishap::Hang));
        assert_eq!(moods.take("PUT", "/v3/contacts/3"), None);
        assert_eq!(moods.take("GET", "/v3/accounts"), None);
        assert_eq!(moods.take("GET", "/v3/account"), Some(Mishap::Reset));
    }
}
