//! Tajo's Intercom connector: brings Brevo to the state that Rhai scripts decide from Intercom's
//! contacts, with as few calls as possible and never faster than Brevo allows.
//!
//! In the order in which to read it:
//!
//! - [`model`]: snapshots, decisions, changes; plain data, pure.
//! - [`config`]: the YAML file, all its problems at once.
//! - [`http`]: one HTTP client, rate limits, the wait before a retry.
//! - [`intercom`]: reading Intercom, and its notifications in one shape.
//! - [`rules`]: scripts in, decisions out.
//! - [`brevo`]: Brevo's API, and the cheapest way to write what is missing.
//! - [`store`]: what must survive a crash.
//! - [`engine`]: puts all of these together.
//! - [`server`]: webhooks, API, metrics.
//! - [`sandbox`]: a fake Intercom and a fake Brevo on loopback.
//! - [`cli`]: the commands.

pub mod brevo;
pub mod cli;
pub mod config;
pub mod engine;
pub mod http;
pub mod intercom;
pub mod model;
pub mod rules;
pub mod sandbox;
pub mod server;
pub mod store;
pub mod telemetry;

/// As fast as any on mapping and parsing, and it counts by thread, which bounds what a script holds
/// (`rules::budget`). It stands here, not in the program, so that this acts in tests and benchmarks,
/// too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
