//! Events that rules tracked, on their way to Brevo: in order, by the batch, each once.
//!
//! The end of a contact's claim puts its events into the store, after its own write was confirmed and
//! in the same transaction, so that no event overtakes its contact and none is lost or doubled by a
//! crash in between. One loop sends them. An event waits only for earlier ones of its own contact.
//!
//! Brevo knows no identity of events, so a call is made twice only where the first certainly failed.
//! Where that is not known (no answer, a 5xx, the process died), the engine looks whether Brevo lists
//! the event, by the `event_id` that goes along. Brevo takes events into a queue and lists them late, so
//! the engine looks more than once before it sends an event again, and what comes after it waits. Where
//! `GET /events` is not to be had, an event whose answer was lost becomes a dead letter rather than being
//! sent again blindly.
//!
//! Blacklisted contacts have their events sent like anybody's: an event is data about a person, no
//! message to him, and Brevo's own automations respect the blacklist.

use std::sync::Arc;
use std::time::Duration;

use super::gate::Closed;
use super::{EngineError, Inner};
use crate::brevo::{BrevoError, ErrorKind, EventWrite, EventsAnswer, MAX_EVENTS};
use crate::http::{Backoff, Lane, random_fraction};
use crate::model::Timestamp;
use crate::store::{Cause, Doubt, DueEvent, EventEnd, EventTarget};

/// How long Brevo is left alone that could not be asked.
const ASK_AGAIN_SECONDS: i64 = 10;
/// Fewer events than these, after a pause, are sent at once.
const FEW: usize = 16;
/// How often, and how long at a time, the loop waits for a fuller batch while more keep coming.
const GATHER_LOOKS: u32 = 10;
const GATHER_LOOK: Duration = Duration::from_millis(300);
/// How long one event may fail before it is given up, in seconds.
const GIVE_UP_AFTER_SECONDS: i64 = 24 * 3_600;

/// Sends what is due until the engine stops.
pub(crate) async fn deliver(engine: Arc<Inner>) {
    loop {
        let sent = match engine.ready_for(&engine.events).await {
            Ok(()) => round(&engine).await,
            Err(error) => Err(error),
        };
        let waited = match sent {
            Ok(true) => Ok(()),
            Ok(false) => {
                let due = engine.store.next_event_due().await;
                engine.wait_for(&engine.events, due).await
            }
            Err(EngineError::Stopping) => return,
            Err(error) => {
                engine.note(&error);
                engine.wait(Duration::from_secs(1)).await
            }
        };
        if waited.is_err() || engine.stop.is_cancelled() {
            return;
        }
    }
}

impl Inner {
    /// Finds what is due. An engine that has little to do sends at once; while more keep coming, a
    /// fuller batch is worth a moment's wait.
    async fn gather_events(&self, most: usize) -> Result<Vec<DueEvent>, EngineError> {
        let mut due = self.store.due_events(most, self.clock.now()).await?;
        if due.is_empty() || (due.len() < FEW && self.events.is_idle()) {
            return Ok(due);
        }
        for _ in 0..GATHER_LOOKS {
            if due.len() >= most {
                break;
            }
            self.wait(GATHER_LOOK).await?;
            let before = due.len();
            due = self.store.due_events(most, self.clock.now()).await?;
            if due.len() <= before && !self.brings_more() {
                break;
            }
        }
        Ok(due)
    }
}

/// Takes one batch a station further: what cannot be sent is ended, what is in doubt is looked up, the
/// rest is sent. True if there may be more.
async fn round(engine: &Inner) -> Result<bool, EngineError> {
    let due = engine.gather_events(MAX_EVENTS).await?;
    if due.is_empty() {
        return Ok(false);
    }
    let mut courier = Courier { engine, now: engine.clock.now() };
    let (known, orphans): (Vec<DueEvent>, Vec<DueEvent>) =
        due.into_iter().partition(|event| matches!(event.target, EventTarget::Contact { .. }));
    if !orphans.is_empty() {
        courier.withhold(orphans).await?;
    }
    let (doubtful, certain): (Vec<DueEvent>, Vec<DueEvent>) =
        known.into_iter().partition(|event| event.doubt > Doubt::None);
    if !doubtful.is_empty() {
        // Later events of these contacts wait until it is known: the next round finds them.
        courier.look_up(doubtful).await?;
    } else if !certain.is_empty() {
        let most = batch_size(&certain, engine.events.failures());
        courier.send(certain.into_iter().take(most).collect()).await?;
    }
    Ok(true)
}

/// How many events go into a call: fewer and fewer while calls fail, so that one event that Brevo
/// cannot digest is found and the others go on.
fn batch_size(events: &[DueEvent], failures: u32) -> usize {
    let attempts = events.iter().map(|event| event.attempts).max().unwrap_or_default();
    // The first failure may be nobody's; from the second on, a quarter of what it was.
    let quarterings = attempts.max(failures).saturating_sub(1);
    events.len().checked_shr(quarterings.saturating_mul(2)).unwrap_or_default().max(1)
}

/// Carries events of one round.
struct Courier<'a> {
    engine: &'a Inner,
    now: Timestamp,
}

impl Courier<'_> {
    /// Ends what Brevo has nobody for, or lets it wait for its contact.
    async fn withhold(&self, orphans: Vec<DueEvent>) -> Result<(), EngineError> {
        let ends = orphans.into_iter().map(|event| (event.seq, EventEnd::Orphaned));
        Ok(self.engine.store.end_events(ends.collect(), self.now).await?)
    }

    /// Asks Brevo whether it has what it may have.
    async fn look_up(&self, doubtful: Vec<DueEvent>) -> Result<(), EngineError> {
        let writes: Vec<EventWrite> =
            doubtful.iter().filter_map(|event| write_of(event, self.now)).collect();
        let brevo = self.engine.services.load_full().brevo.clone();
        let found = brevo.find_events(Lane::Live, &writes).await;
        let ends = match found {
            Ok(found) => doubtful
                .iter()
                .map(|event| match found.contains(&event.id) {
                    true => (event.seq, EventEnd::Sent),
                    false => (event.seq, self.look_again(event).unwrap_or(self.undoubted())),
                })
                .collect(),
            Err(error) => self.cannot_look(&doubtful, &error),
        };
        Ok(self.engine.store.end_events(ends, self.engine.clock.now()).await?)
    }

    /// What Brevo does not list yet is looked for again; none: that was the last look.
    fn look_again(&self, event: &DueEvent) -> Option<EventEnd> {
        let passed = self.now.seconds().saturating_sub(event.tried?.seconds()).max(0);
        let next = self.engine.timeouts.event_looks.next(event.doubt, passed)?;
        let at = self.now.plus(next.saturating_sub(passed));
        Some(EventEnd::Looked { at, doubt: event.doubt, fails: false })
    }

    /// It is sent again at once.
    fn undoubted(&self) -> EventEnd {
        EventEnd::Looked { at: self.now, doubt: Doubt::None, fails: false }
    }

    /// When an event is looked for first that was tried just now.
    fn first_look(&self, doubt: Doubt) -> Timestamp {
        self.now.plus(self.engine.timeouts.event_looks.next(doubt, 0).unwrap_or(1))
    }

    /// What becomes of events that cannot be looked up.
    fn cannot_look(&self, doubtful: &[DueEvent], error: &BrevoError) -> Vec<(i64, EventEnd)> {
        let is_closed_to_us = matches!(error, BrevoError::Malformed { .. })
            || error.kind() == ErrorKind::Permanent
            || matches!(error, BrevoError::Forbidden { .. });
        if !is_closed_to_us {
            return self.look_later(doubtful, error);
        }
        tracing::warn!("brevo does not tell which events it has: {error}");
        let give_up = |event: &DueEvent| match event.doubt {
            Doubt::None | Doubt::Possible => self.undoubted(),
            Doubt::Likely => {
                let message = "brevo's answer to this event was lost, and brevo does not tell whether it has \
                               it: look for it there, then `tajo dead-letters retry` sends it again if it is \
                               missing, and `tajo dead-letters drop` forgets it if it is there";
                EventEnd::Dead(cause(event, message.to_owned(), error.to_string()))
            }
        };
        let decide = |event| self.look_again(event).unwrap_or_else(|| give_up(event));
        doubtful.iter().map(|event| (event.seq, decide(event))).collect()
    }

    /// Keeps events in doubt until they can be looked up. Those of other contacts go on: looking up has
    /// a bucket of its own, which may be used up for an hour.
    fn look_later(&self, doubtful: &[DueEvent], error: &BrevoError) -> Vec<(i64, EventEnd)> {
        tracing::debug!("brevo cannot be asked now which events it has: {error}");
        if matches!(error, BrevoError::Unauthorized { .. }) {
            self.engine.gate.note(error);
        }
        let wait = match error {
            BrevoError::RateLimited { retry_after } => retry_after.as_secs().cast_signed(),
            _ => 0,
        };
        let at = self.now.plus(wait.max(ASK_AGAIN_SECONDS));
        let later = |event: &DueEvent| {
            let retry = EventEnd::Looked { at, doubt: event.doubt, fails: true };
            (event.seq, self.expired(event, error).unwrap_or(retry))
        };
        doubtful.iter().map(later).collect()
    }

    /// The end of an event that has failed for a day.
    fn expired(&self, event: &DueEvent, error: &BrevoError) -> Option<EventEnd> {
        let failing = self.now.seconds() - event.failing_since?.seconds();
        let message = format!("it failed for a day: {error}");
        (failing > GIVE_UP_AFTER_SECONDS).then(|| {
            EventEnd::Dead(Cause { kind: "expired", ..cause(event, message, error.to_string()) })
        })
    }

    /// Sends events, in order. Each answer is durable before the next call.
    async fn send(&mut self, events: Vec<DueEvent>) -> Result<(), EngineError> {
        let writes: Vec<EventWrite> =
            events.iter().filter_map(|event| write_of(event, self.now)).collect();
        let fitting = EventWrite::fitting(&writes);
        let batch: Vec<(DueEvent, EventWrite)> =
            events.into_iter().zip(writes).take(fitting).collect();
        let begun = batch.iter().map(|(event, write)| (event.seq, write.date)).collect();
        let due = self.first_look(Doubt::Likely);
        self.engine.store.begin_events(begun, self.now, due).await?;
        // A batch that Brevo refuses as a whole without saying why is halved until the culprit is
        // found. The first half comes first, so that no event overtakes another of its contact.
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            let writes: Vec<EventWrite> = part.iter().map(|(_, write)| write.clone()).collect();
            let brevo = self.engine.services.load_full().brevo.clone();
            let answer = brevo.send_events(Lane::Live, &writes).await;
            self.now = self.engine.clock.now();
            let ends = match answer {
                Err(error) if error.kind() == ErrorKind::Permanent && part.len() > 1 => {
                    let mut first = part;
                    let second = first.split_off(first.len() / 2);
                    parts.extend([second, first]);
                    continue;
                }
                Ok(answer) => {
                    self.succeeded();
                    let look = self.first_look(Doubt::Likely);
                    part.iter()
                        .enumerate()
                        .map(|(index, (event, _))| {
                            (event.seq, answered(&answer, (index, part.len()), event, look))
                        })
                        .collect()
                }
                Err(error) if error.kind() == ErrorKind::Permanent => {
                    self.succeeded();
                    let dead = |event| EventEnd::Dead(refused(event, &error.to_string()));
                    part.iter().map(|(event, _)| (event.seq, dead(event))).collect()
                }
                Err(error) => {
                    let mut ends: Vec<(i64, EventEnd)> = part
                        .iter()
                        .map(|(event, _)| (event.seq, self.failed(event, &error)))
                        .collect();
                    // The rest of the batch was not tried, and waits for what comes before it.
                    let rest = std::mem::take(&mut parts);
                    ends.extend(
                        rest.iter().flatten().map(|(event, _)| (event.seq, untried(self.now))),
                    );
                    self.note(&error);
                    ends
                }
            };
            self.engine.store.end_events(ends, self.now).await?;
        }
        Ok(())
    }

    /// How an attempt ends that failed for no event's reason, as far as is known.
    fn failed(&self, event: &DueEvent, error: &BrevoError) -> EventEnd {
        let failures = self.engine.events.failures();
        let doubt = match error {
            BrevoError::Transport { was_sent: true, .. } => Doubt::Likely,
            error if error.outcome_unknown() => Doubt::Possible,
            _ => Doubt::None,
        };
        // It counts for the event only while the service works for others.
        let counts = failures == 0
            && error.kind() == ErrorKind::Transient
            && !matches!(error, BrevoError::RateLimited { .. });
        if counts && let Some(expired) = self.expired(event, error) {
            return expired;
        }
        // Longer than the loop waits, so that the next attempt is made with others: should this event
        // be the culprit, they arrive.
        let attempts = event.attempts.max(failures);
        let backoff = Backoff::default().delay(attempts, None, random_fraction()).saturating_mul(2);
        let at = self.now.plus(backoff.as_secs().cast_signed()).max(self.first_look(doubt));
        EventEnd::Retry { at, doubt, counts }
    }

    /// Brevo answered. That says nothing of its contacts, but that the key is good.
    fn succeeded(&self) {
        self.engine.events.succeed();
        if matches!(self.engine.gate.reason(), Some(Closed::KeyRefused(_))) {
            self.engine.gate.open();
        }
    }

    /// Remembers why nothing can be sent: of the key for everything, else for events alone.
    fn note(&self, error: &BrevoError) {
        match error {
            BrevoError::Unauthorized { .. } => self.engine.gate.note(error),
            BrevoError::Forbidden { .. } => self.engine.events.disable(error),
            error => self.engine.events.fail(error),
        }
    }
}

/// How an event ended that Brevo answered, the one at `index` of `total`; `look` is when it is looked
/// for if the answer does not say.
fn answered(
    answer: &EventsAnswer,
    (index, total): (usize, usize),
    event: &DueEvent,
    look: Timestamp,
) -> EventEnd {
    match answer {
        EventsAnswer::Accepted => EventEnd::Sent,
        EventsAnswer::Refused(refusals) => match refusals.get(&index) {
            None => EventEnd::Sent,
            Some(message) => EventEnd::Dead(refused(event, message)),
        },
        EventsAnswer::Unclear if total == 1 => {
            EventEnd::Dead(refused(event, "it does not say why"))
        }
        EventsAnswer::Unclear => EventEnd::Retry { at: look, doubt: Doubt::Likely, counts: true },
    }
}

/// Was to be tried, and was not: at once again.
fn untried(now: Timestamp) -> EventEnd {
    EventEnd::Retry { at: now, doubt: Doubt::None, counts: false }
}

fn refused(event: &DueEvent, message: &str) -> Cause {
    tracing::warn!(
        contact.id = %event.contact,
        origin = event.origin,
        "brevo refuses an event; it is a dead letter: {message}"
    );
    cause(event, format!("brevo refuses the event: {message}"), message.to_owned())
}

fn cause(event: &DueEvent, message: String, response: String) -> Cause {
    Cause {
        kind: "event",
        message: format!("event `{}` of contact {}: {message}", event.event.name, event.contact),
        origin: event.origin.clone(),
        request: None,
        response: Some(response),
        rule_set: event.rule_set.clone(),
    }
}

/// An event as Brevo is told it. One without a time of its own happens when it is first sent; what was
/// said once is said again.
fn write_of(event: &DueEvent, now: Timestamp) -> Option<EventWrite> {
    let EventTarget::Contact { id, email } = &event.target else {
        return None;
    };
    Some(EventWrite {
        id: event.id.clone(),
        name: event.event.name.clone(),
        date: event.event.at.and_then(Timestamp::in_calendar).or(event.date).unwrap_or(now),
        contact: *id,
        email: email.clone(),
        properties: event.event.properties.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TrackedEvent;

    fn due(attempts: u32) -> DueEvent {
        DueEvent {
            seq: 1,
            id: "0f".to_owned(),
            contact: "c1".parse().unwrap(),
            event: TrackedEvent {
                name: "seen".to_owned(),
                at: None,
                properties: Default::default(),
            },
            origin: None,
            rule_set: None,
            date: None,
            attempts,
            failing_since: None,
            doubt: Doubt::None,
            tried: None,
            target: EventTarget::Contact { id: 7, email: None },
        }
    }

    #[test]
    fn batches_shrink_while_they_fail_and_never_to_nothing() {
        fn case(events: usize, attempts: u32, failures: u32, expected: usize) {
            let mut batch = vec![due(0); events];
            batch[events - 1].attempts = attempts;
            assert_eq!(batch_size(&batch, failures), expected, "{events} {attempts} {failures}");
        }
        case(200, 0, 0, 200);
        case(200, 1, 1, 200);
        case(200, 2, 0, 50);
        case(200, 0, 3, 12);
        case(200, 5, 0, 1);
        case(3, 400, 0, 1);
        case(1, 0, 0, 1);
    }

    #[test]
    fn what_brevo_was_told_once_it_is_told_again() {
        let now = Timestamp::from_seconds(500);
        let date = |event: &DueEvent| write_of(event, now).unwrap().date.seconds();
        assert_eq!(date(&due(0)), 500);
        let told = DueEvent { date: Some(Timestamp::from_seconds(400)), ..due(1) };
        assert_eq!(date(&told), 400);
        let mut timed = told;
        timed.event.at = Some(Timestamp::from_seconds(300));
        assert_eq!(date(&timed), 300);
        // What is no date is told as the time of the first attempt, and milliseconds as what they are.
        timed.event.at = Some(Timestamp::from_seconds(i64::MAX));
        assert_eq!(date(&timed), 400);
        timed.event.at = Some(Timestamp::from_seconds(1_795_401_333_000));
        assert_eq!(date(&timed), 1_795_401_333);
    }

    #[test]
    fn an_answer_ends_each_event_by_its_place() {
        let now = Timestamp::from_seconds(500);
        let refused = EventsAnswer::Refused([(1, "no".to_owned())].into());
        let end = |answer: &EventsAnswer, place| answered(answer, place, &due(1), now);
        assert_eq!(end(&refused, (0, 2)), EventEnd::Sent);
        let EventEnd::Dead(cause) = end(&refused, (1, 2)) else { panic!("it is refused") };
        assert_eq!(cause.message, "event `seen` of contact c1: brevo refuses the event: no");
        assert_eq!(cause.response.as_deref(), Some("no"));
        assert!(matches!(
            end(&EventsAnswer::Unclear, (0, 2)),
            EventEnd::Retry { doubt: Doubt::Likely, .. }
        ));
        assert!(matches!(end(&EventsAnswer::Unclear, (0, 1)), EventEnd::Dead(_)));
    }
}
