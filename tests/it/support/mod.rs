//! What the tests speak in.

mod app;
mod process;
mod wait;

pub(crate) use app::{App, AppBuilder};
pub(crate) use process::{Deployment, Service, client};
pub(crate) use wait::until;
