//! What the tests speak in.

mod app;
mod wait;

pub(crate) use app::App;
pub(crate) use wait::until;
