//! Tajo's Intercom connector: brings Brevo to the state that Rhai scripts decide from Intercom's
//! contacts, with as few calls as possible and never faster than Brevo allows.

pub mod brevo;
pub mod config;
pub mod http;
pub mod intercom;
pub mod model;
pub mod rules;
pub mod sandbox;
pub mod store;
