//! Black-box tests: a whole engine against the sandbox's servers, over real HTTP on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails panics"
)]

mod authoring;
mod brevo_webhooks;
mod check;
mod companies;
mod completeness;
mod connect;
mod consent;
mod consent_sms;
mod conversations;
mod cost;
mod crash;
mod custom_events;
mod double_opt_in;
mod events;
mod events_wait;
mod ext_ids;
mod faults;
mod faults_together;
mod fuzz;
mod gone;
mod guard;
mod hostile;
mod journey;
mod objects;
mod recorded;
mod reload;
mod resubscribe;
mod rule_history;
mod support;
mod sweep;
mod tags;
mod verification;
mod world;
mod writer;
