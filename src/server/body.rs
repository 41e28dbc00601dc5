//! Reads bodies, none of them too large, too slow, or encoded, and not too many at once.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::Semaphore;

use super::error::HttpError;

/// The largest body that is read. Intercom's notifications are far smaller.
pub(super) const LIMIT_BYTES: usize = 1 << 20;
/// Up to here a body is small, and read whatever else is.
const SMALL_BYTES: u64 = 64 << 10;

/// Reads bodies. Whoever sends one needs no signature until it is there, so memory is bounded: large
/// bodies, and those that do not say how large they are, wait for each other.
#[derive(Debug)]
pub(super) struct Bodies {
    time: Duration,
    large: Semaphore,
}

impl Bodies {
    /// Gives each body so much time, and reads so many large ones at once.
    pub(super) fn new(time: Duration, large: usize) -> Self {
        Self { time, large: Semaphore::new(large) }
    }

    /// Reads a body whole.
    ///
    /// # Errors
    /// [`HttpError::Encoded`], [`HttpError::TooLarge`] (without reading on), [`HttpError::Timeout`],
    /// or [`HttpError::BadRequest`] for one that ends early.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, HttpError> {
        if is_encoded(headers) {
            return Err(HttpError::Encoded);
        }
        let size = body.size_hint();
        if size.lower() > LIMIT_BYTES as u64 {
            return Err(too_large());
        }
        let is_small = size.upper().is_some_and(|size| size <= SMALL_BYTES);
        let read = async {
            let _turn = if is_small { None } else { self.large.acquire().await.ok() };
            Limited::new(body, LIMIT_BYTES).collect().await
        };
        match tokio::time::timeout(self.time, read).await {
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(HttpError::BadRequest("the body is not complete".to_owned())),
            Err(_) => Err(HttpError::Timeout),
        }
    }
}

fn too_large() -> HttpError {
    HttpError::TooLarge { limit_bytes: LIMIT_BYTES }
}

/// True unless the body is said to be as it is.
fn is_encoded(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    names.any(|name| !name.trim_ascii().eq_ignore_ascii_case(b"identity"))
}
