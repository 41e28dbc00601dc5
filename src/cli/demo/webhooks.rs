//! Changes in Intercom, delivered as signed webhooks over HTTP, and their effect in Brevo.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::calls::Ledger;
use super::cast::{Cast, Player, attribute, is_true};
use super::error::DemoError;
use super::report::{Report, count, duration};
use super::stage::{ACTIVE, ALL_USERS, Stage, VIP};
use crate::sandbox::intercom::DeliveryStatus;

/// Changes of one contact within a moment.
const BURST: usize = 20;
/// Whom the first step makes.
pub(super) const NEWCOMER: &str = "nina.newcomer@example.com";

/// How long each took from the change in Intercom to its effect in Brevo.
struct Round<'a> {
    stage: &'a Stage,
    report: &'a mut Report,
    latencies: Vec<Duration>,
}

/// Plays one change of each kind, then a burst.
pub(super) async fn play(
    stage: &Stage,
    report: &mut Report,
    ledger: &mut Ledger,
) -> Result<(), DemoError> {
    report.step("Webhooks: signed, over HTTP, one change after the other");
    let mut cast = Cast::of(stage);
    let mut round = Round { stage, report, latencies: Vec::new() };
    round.create().await?;
    round.rename(cast.take_any("rename")?).await?;
    round.tag(cast.take("tag", |player, _| !stage.is_on_list(VIP, &player.email))?).await?;
    round.unsubscribe(cast.take_any("unsubscribe")?).await?;
    let customer = cast.take_any("talk to")?;
    let conversation = round.begin_conversation(&customer).await?;
    round.move_address(cast.take_any("give another address")?).await?;
    round
        .archive(cast.take("archive", |player, _| stage.is_on_list(ALL_USERS, &player.email))?)
        .await?;
    round.delete(cast.take_any("delete")?).await?;
    round.end_conversation(&customer, &conversation).await?;
    stage.drained().await?;
    round.say_latency();
    // One call for each, one for each of five memberships (all users, vip, all users, active
    // conversations twice), and one for the first event of the conversation.
    let singles = round.latencies.len() + 6;
    let writes = ledger.end_step(stage, "nine webhooks, one by one", singles);
    report.detail(format!("{} wrote all of this", count(writes, "call")));

    burst(stage, report, cast.take_any("change in a burst")?).await?;
    let writes = ledger.end_step(stage, "a burst of changes of one contact", BURST);
    report.detail(format!(
        "{} wrote the burst: work is a set of keys, not a queue of messages",
        count(writes, "call")
    ));
    let is_lost =
        stage.sandbox.intercom.deliveries().iter().any(|d| d.status != DeliveryStatus::Delivered);
    let deliveries = stage.sandbox.intercom.deliveries().len();
    report.claim(
        !is_lost,
        format!("{} were accepted, each at its first delivery", count(deliveries, "webhook")),
    );
    Ok(())
}

impl Round<'_> {
    async fn create(&mut self) -> Result<(), DemoError> {
        let contact = json!({
            "role": "user", "email": NEWCOMER, "name": "Nina van der Nieuw", "phone": "+66 (0)89-123 4567",
            "custom_attributes": {"plan_tier": "pro"},
        });
        let began = Instant::now();
        self.stage.intercom("create a contact", |intercom| intercom.create_contact(contact))?;
        let is_written = |stage: &Stage| {
            stage.in_brevo(NEWCOMER).is_some_and(|contact| {
                has(&contact, "FIRSTNAME", "Nina")
                    && has(&contact, "LASTNAME", "van der Nieuw")
                    && has(&contact, "PLAN_TIER", "pro")
                    && attribute(&contact, "SMS").is_some()
                    && stage.is_on_list(ALL_USERS, NEWCOMER)
            })
        };
        self.show(
            began,
            "contact created → created in Brevo, name split, phone as E.164, on `All users`",
            is_written,
        )
        .await
    }

    async fn rename(&mut self, Player { id, email }: Player) -> Result<(), DemoError> {
        let began = Instant::now();
        self.stage.intercom("rename a contact", |intercom| {
            intercom.update_contact(&id, json!({"name": "Renate Neumann"}))
        })?;
        let is_written = |stage: &Stage| {
            stage.in_brevo(&email).is_some_and(|contact| {
                has(&contact, "FIRSTNAME", "Renate") && has(&contact, "LASTNAME", "Neumann")
            })
        };
        self.show(began, "name changed → FIRSTNAME and LASTNAME", is_written).await
    }

    async fn tag(&mut self, Player { id, email }: Player) -> Result<(), DemoError> {
        let began = Instant::now();
        self.stage.intercom("tag a contact", |intercom| intercom.tag_contact(&id, "vip"))?;
        self.show(began, "tag `vip` added → on the list that `tags.rhai` names for it", |stage| {
            stage.is_on_list(VIP, &email)
        })
        .await
    }

    async fn unsubscribe(&mut self, Player { id, email }: Player) -> Result<(), DemoError> {
        let began = Instant::now();
        self.stage.intercom("unsubscribe a contact", |intercom| intercom.unsubscribe(&id))?;
        let is_written = |stage: &Stage| {
            stage.in_brevo(&email).is_some_and(|contact| is_true(&contact, "emailBlacklisted"))
        };
        self.show(
            began,
            "unsubscribed → blacklisted; no rule is asked, nothing undoes it",
            is_written,
        )
        .await
    }

    async fn move_address(&mut self, Player { id, email }: Player) -> Result<(), DemoError> {
        let number = |contact: &Value| contact.get("id").and_then(Value::as_i64);
        let before = self.stage.in_brevo(&email).as_ref().and_then(number);
        let moved = format!("moved.{email}");
        let began = Instant::now();
        self.stage.intercom("change an address", |intercom| {
            intercom.update_contact(&id, json!({"email": moved}))
        })?;
        let is_written = |stage: &Stage| {
            let now = stage.in_brevo(&moved).as_ref().and_then(number);
            now.is_some() && now == before && stage.in_brevo(&email).is_none()
        };
        self.show(began, "address changed → the same Brevo contact has the new one", is_written)
            .await
    }

    async fn archive(&mut self, Player { id, email }: Player) -> Result<(), DemoError> {
        let began = Instant::now();
        self.stage.intercom("archive a contact", |intercom| intercom.archive(&id))?;
        let is_written = |stage: &Stage| {
            stage.in_brevo(&email).is_some() && !stage.is_on_list(ALL_USERS, &email)
        };
        self.show(
            began,
            "archived → off the lists that the rules granted; the contact stays",
            is_written,
        )
        .await
    }

    /// A conversation dirties its contact.
    async fn begin_conversation(&mut self, customer: &Player) -> Result<String, DemoError> {
        let began = Instant::now();
        let text = "<p>Where is my order?</p>";
        let begin = "begin a conversation";
        let conversation = self
            .stage
            .intercom(begin, |intercom| intercom.create_conversation(&customer.id, text))?;
        let what = "conversation begun → on `Active conversations`";
        self.show(began, what, |stage| stage.is_on_list(ACTIVE, &customer.email)).await?;
        Ok(conversation)
    }

    /// Its own rules send an event at its end.
    async fn end_conversation(
        &mut self,
        customer: &Player,
        conversation: &str,
    ) -> Result<(), DemoError> {
        let began = Instant::now();
        let close = "close a conversation";
        self.stage.intercom(close, |intercom| intercom.close_conversation(conversation))?;
        let is_closed = |event: &Value| {
            event.get("event_name").and_then(Value::as_str) == Some("conversation_closed")
        };
        let what = "conversation closed → event `conversation_closed`, off that list";
        self.show(began, what, |stage| {
            let is_told = stage.sandbox.brevo.events().iter().any(is_closed);
            is_told && !stage.is_on_list(ACTIVE, &customer.email)
        })
        .await
    }

    async fn delete(&mut self, Player { id, email }: Player) -> Result<(), DemoError> {
        let began = Instant::now();
        self.stage.intercom("delete a contact", |intercom| intercom.delete(&id))?;
        self.show(began, "deleted → deleted in Brevo, after asking Intercom once more", |stage| {
            stage.in_brevo(&email).is_none()
        })
        .await
    }

    /// Waits for an effect and prints how long it took.
    async fn show(
        &mut self,
        began: Instant,
        what: &str,
        holds: impl FnMut(&Stage) -> bool,
    ) -> Result<(), DemoError> {
        self.stage.until(what, holds).await?;
        let took = began.elapsed();
        self.latencies.push(took);
        self.report.timed_claim(true, what, took);
        Ok(())
    }

    fn say_latency(&mut self) {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        if let (Some(median), Some(slowest)) = (sorted.get(sorted.len() / 2), sorted.last()) {
            let (median, slowest) = (duration(*median), duration(*slowest));
            self.report.detail(format!(
                "from the change in Intercom to Brevo: median {median}, slowest {slowest}"
            ));
        }
    }
}

/// Changes one contact many times in a row; only where it ends counts.
async fn burst(
    stage: &Stage,
    report: &mut Report,
    Player { id, email }: Player,
) -> Result<(), DemoError> {
    let began = Instant::now();
    for number in 1..=BURST {
        let patch = json!({"name": format!("Berta Burst-{number}")});
        stage.intercom("change a contact", |intercom| intercom.update_contact(&id, patch))?;
    }
    let last = format!("Burst-{BURST}");
    let what = format!("{BURST} changes of one contact at once → Brevo has the last one");
    stage
        .until(&what, |stage| {
            stage.in_brevo(&email).is_some_and(|contact| has(&contact, "LASTNAME", &last))
        })
        .await?;
    let took = began.elapsed();
    stage.sandbox.intercom.wait_delivered().await;
    stage.drained().await?;
    // Nothing that was under way may have brought an older one back.
    let is_last = stage.in_brevo(&email).is_some_and(|contact| has(&contact, "LASTNAME", &last));
    report.timed_claim(is_last, &what, took);
    Ok(())
}

fn has(contact: &Value, name: &str, text: &str) -> bool {
    attribute(contact, name).and_then(Value::as_str) == Some(text)
}
