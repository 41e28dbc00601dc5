//! What both clients stand on: one HTTP client, rate limits kept as the server counts them, and the
//! wait before a retry. It knows neither Intercom nor Brevo and retries nothing by itself.

mod client;
mod error;
mod limit;
mod retry;
mod window;

pub use client::{HttpClient, HttpOptions, Request, Response};
pub use error::{TransportError, TransportErrorKind};
pub use limit::{Lane, LimitStatus, Limiter, Observation, Permit, Rate};
pub use retry::{Backoff, Retry, delay, random_fraction};
