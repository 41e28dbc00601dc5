//! The HTTP server: webhooks come in, operators ask, Prometheus reads.
//!
//! It hands raw bytes to the engine and answers with what the engine says; it decides nothing about
//! records. Every client is bounded: in the time that its head, its body and its taking of the answer
//! may need, in the size of what it sends, and in the number of connections. `listen` is what the
//! outside world reaches; with `admin_listen`, API and metrics are reached only there.

mod accept;
mod admin;
mod auth;
mod body;
mod brevo_webhook;
mod dead_letters;
mod error;
mod framing;
mod health;
mod held;
mod imports;
mod metrics;
mod oauth;
mod plans;
mod router;
mod rules;
mod webhook;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
pub use error::ServerError;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::Engine;

/// How much patience there is with clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerOptions {
    /// For a head, from the end of the previous answer or the beginning of the connection.
    pub head: Duration,
    /// For a body.
    pub body: Duration,
    /// For the next bytes of an answer to be taken.
    pub write_stall: Duration,
    /// Bodies above 64 KiB that are read at once; others wait their turn, within `body`.
    pub large_bodies: usize,
    /// Connections at once, for each address that is listened on; others wait in the backlog.
    pub connections: usize,
    /// At the end, for requests that are under way.
    pub grace: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(15),
            write_stall: Duration::from_secs(15),
            large_bodies: 64,
            connections: 1_000,
            grace: Duration::from_secs(5),
        }
    }
}

/// Where the server can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Webhooks and health.
    pub public: SocketAddr,
    /// API, metrics and health; the same as `public` unless `admin_listen` is set.
    pub api: SocketAddr,
}

/// A server that has its addresses and answers once it is served.
#[derive(Debug)]
#[must_use = "a server answers nothing until it is served"]
pub struct Server {
    addresses: Addresses,
    listeners: Vec<(TcpListener, Router)>,
    options: ServerOptions,
}

/// What all requests share.
#[derive(Debug)]
struct State {
    engine: Engine,
    admin_token: SecretString,
    failures: auth::Failures,
    readiness: health::Readiness,
    webhooks: webhook::Webhooks,
    bodies: body::Bodies,
    attempts: oauth::Attempts,
    /// Where webhooks arrive, once that is known.
    public: OnceLock<SocketAddr>,
}

/// Who sent a request. Headers that claim something else are not believed.
#[derive(Debug, Clone, Copy)]
struct Peer(SocketAddr);

impl Server {
    /// Takes the configured addresses.
    ///
    /// # Errors
    /// An address that is taken or not this machine's, or an empty token.
    pub async fn bind(
        config: &Config,
        engine: Engine,
        admin_token: SecretString,
    ) -> Result<Self, ServerError> {
        Self::bind_with(config, engine, admin_token, ServerOptions::default()).await
    }

    /// Takes the configured addresses, with other limits than the usual ones.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub async fn bind_with(
        config: &Config,
        engine: Engine,
        admin_token: SecretString,
        options: ServerOptions,
    ) -> Result<Self, ServerError> {
        if admin_token.expose_secret().is_empty() {
            return Err(ServerError::NoToken);
        }
        // Counting begins before the first request, not with the first look at the page.
        crate::telemetry::prometheus();
        let state = Arc::new(State {
            engine,
            admin_token,
            failures: auth::Failures::default(),
            readiness: health::Readiness::default(),
            webhooks: webhook::Webhooks::default(),
            bodies: body::Bodies::new(options.body, options.large_bodies),
            attempts: oauth::Attempts::default(),
            public: OnceLock::new(),
        });
        let (listener, public) = listen("server.listen", config.server.listen).await?;
        // Only this call sets it.
        let _ = state.public.set(public);
        let Some(address) = config.server.admin_listen else {
            let addresses = Addresses { public, api: public };
            let listeners = vec![(listener, router::whole(&state))];
            return Ok(Self { addresses, listeners, options });
        };
        let (private, api) = listen("server.admin_listen", address).await?;
        let listeners =
            vec![(listener, router::public(&state)), (private, router::private(&state))];
        Ok(Self { addresses: Addresses { public, api }, listeners, options })
    }

    /// Where it can be reached: with port 0 in the configuration, the port that was given.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Answers requests until `shutdown`, then lets those that are under way end, within
    /// [`ServerOptions::grace`]. The engine still has to run until this returns.
    pub async fn serve(self, shutdown: CancellationToken) {
        let Self { listeners, options, .. } = self;
        let serve = |(listener, router)| accept::serve(listener, router, options, shutdown.clone());
        futures_util::future::join_all(listeners.into_iter().map(serve)).await;
    }
}

async fn listen(
    setting: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), ServerError> {
    let fail = |source| ServerError::Bind { setting, address, source };
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    Ok((listener, bound))
}
