//! `server`: where webhooks arrive and operators ask.

use std::net::SocketAddr;

use secrecy::SecretString;
use url::Url;

use super::reader::Section;

/// Settings of the HTTP server.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where the API and the metrics listen, if not with the webhooks.
    pub admin_listen: Option<SocketAddr>,
    /// The bearer token of the API; always there where the API can be reached from other machines.
    pub admin_token: Option<SecretString>,
    /// Where Brevo can reach this engine.
    pub public_url: Option<Url>,
}

impl Server {
    /// Where the API and the metrics listen.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_listen.unwrap_or(self.listen)
    }
}

pub(super) fn read(mut section: Section<'_>) -> Option<Server> {
    let server = Server {
        listen: section.get("listen")?,
        admin_listen: section.find("admin_listen"),
        admin_token: section.secret("admin_token"),
        public_url: section.find("public_url"),
    };
    section.finish();
    Some(server)
}
