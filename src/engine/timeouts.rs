//! How long a service may take.

use std::time::Duration;

use crate::brevo::BrevoSettings;
use crate::intercom::IntercomSettings;
use crate::store::Doubt;

/// After how long a call counts as one that is not answered: whether it took effect is then unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Of Intercom.
    pub intercom: Duration,
    /// Of Brevo.
    pub brevo: Duration,
    /// When Brevo is asked what became of an event.
    pub event_looks: EventLooks,
}

impl Default for Timeouts {
    /// Half a minute and a whole one.
    fn default() -> Self {
        Self {
            intercom: IntercomSettings::TIMEOUT,
            brevo: BrevoSettings::TIMEOUT,
            event_looks: EventLooks::default(),
        }
    }
}

/// How long after an attempt whose outcome is unknown Brevo is asked whether it lists the event, in
/// growing order. Brevo lists events late, so that only what is not found at the last look is sent
/// again. A process that starts again after it died looks likewise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventLooks {
    /// Where the answer was lost.
    pub unanswered: [Duration; 3],
    /// Where Brevo said that it failed, or the process died.
    pub failed: [Duration; 2],
}

impl Default for EventLooks {
    /// Up to a minute where the answer was lost. A failure that Brevo itself tells of is seldom a
    /// success, and its events wait for less.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            unanswered: [seconds(10), seconds(30), seconds(60)],
            failed: [seconds(5), seconds(20)],
        }
    }
}

impl EventLooks {
    /// After how many seconds since the attempt the next look is due, if so many have passed; none:
    /// that was the last one.
    pub(crate) fn next(&self, doubt: Doubt, passed: i64) -> Option<i64> {
        let looks = match doubt {
            Doubt::None => &[][..],
            Doubt::Possible => &self.failed[..],
            Doubt::Likely => &self.unanswered[..],
        };
        looks.iter().map(|look| look.as_secs().cast_signed()).find(|look| *look > passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_looked_for_until_the_last_look_and_never_again() {
        fn case(doubt: Doubt, passed: i64, expected: Option<i64>) {
            assert_eq!(EventLooks::default().next(doubt, passed), expected, "{doubt:?} {passed}");
        }
        case(Doubt::Likely, 0, Some(10));
        case(Doubt::Likely, 10, Some(30));
        case(Doubt::Likely, 59, Some(60));
        case(Doubt::Likely, 60, None);
        case(Doubt::Likely, 4_000, None);
        case(Doubt::Possible, 5, Some(20));
        case(Doubt::Possible, 20, None);
        case(Doubt::None, 0, None);
    }
}
