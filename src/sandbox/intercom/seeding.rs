//! Invented conversations and events of invented contacts.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::contact::ContactId;
use super::conversation::{Author, Conversation, Part, Rating, Source, Status};
use super::conversation_change::{FIN_ID, new_conversation};
use super::fin::{Fin, FinResolution};
use super::routes::ADMIN_ID;
use super::state::State;
use crate::model::Timestamp;
use crate::sandbox::random::Random;
use crate::sandbox::seed::Seed;

const DAY_SECONDS: i64 = 86_400;
const TAGS: [&str; 3] = ["Billing", "Bug", "Onboarding"];
const CHANNELS: [&str; 4] = ["conversation", "conversation", "email", "whatsapp"];
const EVENTS: [&str; 4] = ["ordered", "invited-friend", "exported", "upgraded plan"];

impl State {
    /// Adds what a seeded contact wrote and did, if the seed has that. Fires nothing.
    pub(super) fn seed_activity(
        &mut self,
        seed: &Seed,
        number: usize,
        contact: &ContactId,
        now: Timestamp,
    ) {
        if seed.has_conversations() {
            let mut random = Random::new(seed.seed() ^ 0x7a_1c, number);
            // 0.6 conversations a contact.
            let wanted = match random.below(10) {
                0..5 => 0,
                5..9 => 1,
                _ => 2,
            };
            for _ in 0..wanted {
                self.seed_conversation(contact, &mut random, now);
            }
        }
        if seed.has_events() {
            self.seed_events(seed, number, contact, now);
        }
    }

    fn seed_conversation(&mut self, contact: &ContactId, random: &mut Random, now: Timestamp) {
        let Some(person) = self.contacts.get(contact) else {
            return;
        };
        let author = Author {
            kind: if person.is_lead() { "lead" } else { "user" },
            id: contact.to_string(),
            name: person.text("name").map(str::to_owned),
            email: person.email().unwrap_or_default().to_owned(),
        };
        let began = now.seconds() - DAY_SECONDS - random.below(200 * DAY_SECONDS as u64) as i64;
        let source = Source {
            channel: random.pick(&CHANNELS).to_owned(),
            id: self.next_number(403_900_000).to_string(),
            delivered_as: "customer_initiated",
            body: "<p>I have a question</p>".to_owned(),
            author,
        };
        let id = self.next_number(215_470_000_000_000);
        let mut conversation = new_conversation(id, began, source, Arc::clone(contact));
        conversation.set_statistic("first_contact_reply_at", began);
        conversation.set_statistic("last_contact_reply_at", began);
        if random.chance(20) {
            let tag = self.tag_named(random.pick(&TAGS));
            conversation.tags.push((tag, began + 60));
        }
        if random.chance(30) {
            conversation.fin = Some(fin(random, began + 5));
        }
        self.seed_course(&mut conversation, random, began, now);
        conversation.set_statistic("count_conversation_parts", conversation.parts.len() as i64);
        self.conversations.put(conversation);
    }

    /// What happened after the first message: an answer, and how it stands now.
    fn seed_course(
        &mut self,
        conversation: &mut Conversation,
        random: &mut Random,
        began: i64,
        now: Timestamp,
    ) {
        let answered = began + 30 + random.below(3_600) as i64;
        if random.chance(85) {
            self.seed_part(conversation, "comment", answered, Some("<p>Here you are</p>"));
            conversation.set_statistic("first_admin_reply_at", answered);
            conversation.set_statistic("last_admin_reply_at", answered);
            conversation.set_statistic("time_to_admin_reply", answered - began);
        } else {
            conversation.waiting_since = Some(began);
        }
        let ended = answered + 60 + random.below(7_200) as i64;
        match random.below(100) {
            0..25 => {}
            25..35 => {
                self.seed_part(conversation, "snoozed", ended, None);
                conversation.status = Status::Snoozed;
                conversation.snoozed_until = Some(now.seconds() + 3 * DAY_SECONDS);
            }
            _ => {
                self.seed_part(conversation, "close", ended, None);
                conversation.status = Status::Closed;
                conversation.waiting_since = None;
                for key in ["first_close_at", "last_close_at"] {
                    conversation.set_statistic(key, ended);
                }
                conversation.set_statistic("time_to_first_close", ended - began);
                conversation.set_statistic("time_to_last_close", ended - began);
                conversation.set_statistic("last_closed_by_id", ADMIN_ID.parse().unwrap_or(0));
                if random.chance(35) {
                    rate(conversation, random, ended);
                }
            }
        }
    }

    fn seed_part(
        &mut self,
        conversation: &mut Conversation,
        kind: &'static str,
        at: i64,
        body: Option<&str>,
    ) {
        let author = Author {
            kind: "admin",
            id: ADMIN_ID.to_owned(),
            name: Some("Sandbox Admin".to_owned()),
            email: "admin@example.com".to_owned(),
        };
        conversation.parts.push(Part {
            id: self.next_number(37_358_000_000),
            kind,
            body: body.map(str::to_owned),
            at,
            author,
            assigned_to: None,
            is_redacted: false,
        });
        conversation.updated_at = at;
        if !conversation.teammates.iter().any(|held| held == ADMIN_ID) {
            conversation.teammates.push(ADMIN_ID.to_owned());
        }
    }

    fn seed_events(&mut self, seed: &Seed, number: usize, contact: &ContactId, now: Timestamp) {
        let seen = self.contacts.get(contact).and_then(|held| held.fields.get("last_seen_at"));
        let Some(seen) = seen.and_then(Value::as_i64) else {
            return;
        };
        let mut random = Random::new(seed.seed() ^ 0xe_7e, number);
        if !random.chance(40) {
            return;
        }
        for _ in 0..=random.below(4) {
            let at = (seen - random.below(60 * DAY_SECONDS as u64) as i64).min(now.seconds());
            let mut metadata = Map::new();
            metadata.insert("number".to_owned(), json!(random.below(1_000)));
            self.put_event(contact, random.pick(&EVENTS), at, &metadata);
        }
    }
}

fn fin(random: &mut Random, at: i64) -> Fin {
    let resolution = match random.below(4) {
        0 => FinResolution::Assumed,
        1 => FinResolution::Confirmed,
        2 => FinResolution::Escalated,
        _ => FinResolution::Abandoned,
    };
    Fin {
        resolution: Some(resolution),
        rating: random.chance(30).then(|| 1 + random.below(5) as u8),
        rating_remark: None,
        sources: vec!["Changing your plan".to_owned()],
        at,
    }
}

fn rate(conversation: &mut Conversation, random: &mut Random, ended: i64) {
    let Some(contact) = conversation.contacts.first().cloned() else {
        return;
    };
    let given_at = ended + 1 + random.below(600) as i64;
    conversation.rating = Some(Rating {
        rating: 1 + random.below(5) as u8,
        remark: None,
        requested_at: ended,
        given_at,
        contact,
        teammate: Some(if random.chance(90) { ADMIN_ID } else { FIN_ID }.to_owned()),
    });
    conversation.updated_at = given_at;
}
