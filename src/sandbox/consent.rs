//! Who opted in again in the fake Intercom, as far as the fake Brevo has to know to tell a lawful
//! re-subscription from a violation.

use std::fmt;
use std::sync::Arc;

type Answer = dyn Fn(&str) -> Option<i64> + Send + Sync;

/// Answers when whoever has an address opted in again, in seconds since 1970; none: he did not, or some
/// contact with the address is out.
#[derive(Clone)]
pub struct OptIns(Arc<Answer>);

impl OptIns {
    pub(super) fn new(answer: impl Fn(&str) -> Option<i64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    pub(super) fn of(&self, email: &str) -> Option<i64> {
        (self.0)(email)
    }
}

impl fmt::Debug for OptIns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OptIns")
    }
}
