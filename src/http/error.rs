//! What can go wrong below HTTP.

use std::fmt;

/// How a call ended without a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// No connection: name, route, TLS or the peer's refusal.
    Connect,
    /// No complete response in time.
    Timeout,
    /// The connection broke while the request or the response was under way.
    Reset,
    /// The response was longer than we read.
    BodyTooLarge,
    /// The request or the client cannot be built.
    Invalid,
}

impl fmt::Display for TransportErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "cannot connect",
            Self::Timeout => "no complete answer in time",
            Self::Reset => "the connection broke before the answer was complete",
            Self::BodyTooLarge => "the answer is longer than 10 MiB",
            Self::Invalid => "the request cannot be built",
        })
    }
}

/// A call that got no response. Its text names neither path nor query, which hold identifiers.
#[derive(Debug, thiserror::Error)]
#[error("{kind}: {method} {route} at `{host}`")]
pub struct TransportError {
    /// What happened.
    pub kind: TransportErrorKind,
    /// False proves that the service has not accepted the call; true leaves the outcome unknown.
    pub was_sent: bool,
    /// The method of the request.
    pub method: String,
    /// The path of the request as a pattern.
    pub route: &'static str,
    /// The host that was called.
    pub host: String,
    /// What the HTTP library says, without the address.
    #[source]
    pub source: Option<reqwest::Error>,
}
