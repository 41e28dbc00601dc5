//! How long a service may take for one call.

use std::time::Duration;

use crate::brevo::BrevoSettings;
use crate::intercom::IntercomSettings;

/// After how long a call counts as one that is not answered: whether it took effect is then unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Of Intercom.
    pub intercom: Duration,
    /// Of Brevo.
    pub brevo: Duration,
}

impl Default for Timeouts {
    /// Half a minute and a whole one.
    fn default() -> Self {
        Self { intercom: IntercomSettings::TIMEOUT, brevo: BrevoSettings::TIMEOUT }
    }
}
