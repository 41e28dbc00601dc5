//! Who may use the API: whoever has the admin token.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State as Extracted};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::error::HttpError;
use super::{Peer, State};

/// Wrong tokens from one address within [`WINDOW`] before no more of them are looked at.
const FAILURES: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// How many addresses are remembered.
const ADDRESSES: usize = 10_000;

/// Lets a request pass that carries the token. An address with too many failures has to wait before
/// another wrong one is looked at; the right one always passes, for whoever stands behind the same
/// address must not be locked out by somebody else's mistake.
pub(super) async fn require_token(
    Extracted(state): Extracted<Arc<State>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let peer = peer.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    match check(&state, request.headers(), peer) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

fn check(state: &State, headers: &HeaderMap, peer: IpAddr) -> Result<(), HttpError> {
    if is_token(headers, &state.admin_token) {
        return Ok(());
    }
    let now = Instant::now();
    if let Some(wait) = state.failures.wait(peer, now) {
        return Err(HttpError::TooManyFailures { wait_seconds: wait.as_secs() + 1 });
    }
    state.failures.note(peer, now);
    if state.failures.wait(peer, now).is_some() {
        tracing::warn!(%peer, "wrong API tokens: the address has to wait for a minute");
    }
    Err(HttpError::Unauthorized)
}

/// Compares in constant time. Two headers are none: nobody can tell which counts.
fn is_token(headers: &HeaderMap, expected: &SecretString) -> bool {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Some((scheme, token)) = value.as_bytes().split_at_checked("bearer ".len()) else {
        return false;
    };
    let is_equal = token.trim_ascii().ct_eq(expected.expose_secret().as_bytes());
    scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(is_equal)
}

/// Which addresses sent wrong tokens, and when.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<IpAddr, VecDeque<Instant>>>);

impl Failures {
    /// How long an address has to wait before a wrong token of its is looked at.
    fn wait(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = failures.get(&network(peer))?;
        let oldest = times.front().filter(|_| times.len() >= FAILURES)?;
        let free = *oldest + WINDOW;
        (free > now).then(|| free - now)
    }

    fn note(&self, peer: IpAddr, now: Instant) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES {
            failures.retain(|_, times| times.back().is_some_and(|last| *last + WINDOW > now));
        }
        // Whoever commands that many addresses is not held up by this.
        if failures.len() >= ADDRESSES {
            failures.clear();
        }
        let times = failures.entry(network(peer)).or_default();
        times.push_back(now);
        if times.len() > FAILURES {
            times.pop_front();
        }
    }
}

/// An address of version 6 stands for its /64: one host has all of those.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_whole_token_under_the_right_scheme_passes() {
        fn case(values: &[&'static str], expected: bool) {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(is_token(&headers, &SecretString::from("secret")), expected, "{values:?}");
        }
        case(&["Bearer secret"], true);
        case(&["bearer secret"], true);
        case(&[], false);
        case(&["secret"], false);
        case(&["Basic secret"], false);
        case(&["Bearer secre"], false);
        case(&["Bearer secrets"], false);
        case(&["Bearer "], false);
        case(&["Bearer secret", "Bearer secret"], false);
    }

    #[test]
    fn ten_failures_within_a_minute_make_an_address_wait_and_no_other() {
        let (failures, start) = (Failures::default(), Instant::now());
        let peer: IpAddr = "2001:db8::1".parse().unwrap();
        for second in 0..10 {
            assert_eq!(failures.wait(peer, start), None);
            failures.note(peer, start + Duration::from_secs(second));
        }
        let now = start + Duration::from_secs(10);
        assert_eq!(failures.wait(peer, now), Some(Duration::from_secs(50)));
        assert!(failures.wait("2001:db8::2".parse().unwrap(), now).is_some());
        assert_eq!(failures.wait("2001:db8:0:1::1".parse().unwrap(), now), None);
        assert_eq!(failures.wait(peer, start + Duration::from_secs(60)), None);
    }
}
