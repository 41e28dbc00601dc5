//! What can go wrong with the server, and with one request to it.

use std::io;
use std::net::SocketAddr;

use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::engine::EngineError;
use crate::rules::Diagnostic;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address is taken, or is none of this machine's.
    #[error("cannot listen on {address}, which `{setting}` names: {source}")]
    Bind {
        /// The setting that names the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Without a token anybody could use the API.
    #[error("the API needs a token: set `server.admin_token` or TAJO_ADMIN_TOKEN")]
    NoToken,
}

/// How a request is refused, as problem details (RFC 9457). What a caller sees names no file, no
/// statement and no type of ours; causes are logged where they are met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HttpError {
    /// What was sent cannot be used.
    #[error("{0}")]
    BadRequest(String),
    /// `Content-Length` beside `Transfer-Encoding`: two readers may see two requests.
    #[error("`Content-Length` and `Transfer-Encoding` exclude each other")]
    AmbiguousLength,
    /// The bearer token is missing or wrong.
    #[error("`Authorization: Bearer` with the admin token is required")]
    Unauthorized,
    /// The signature is missing or wrong; the text is the same for every reason.
    #[error("the signature is missing or wrong")]
    BadSignature,
    /// Nothing is there.
    #[error("{0}")]
    NotFound(String),
    /// Somebody else did not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// A service that had to be asked did not answer as it should.
    #[error("{0}")]
    BadGateway(String),
    /// Something is there, but not for this method.
    #[error("this method is not allowed here")]
    MethodNotAllowed,
    /// The body took too long.
    #[error("the body did not arrive in time")]
    Timeout,
    /// What is asked for contradicts how things stand.
    #[error("{0}")]
    Conflict(String),
    /// The rules that are asked for do not work.
    #[error("{detail}")]
    RefusedRules {
        /// The first reason.
        detail: String,
        /// Everything that is wrong with them, beside it.
        problems: Vec<Diagnostic>,
    },
    /// The body is too large.
    #[error("the body is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The largest that is taken.
        limit_bytes: usize,
    },
    /// The body is compressed.
    #[error("an encoded body is not taken: leave `Content-Encoding` out")]
    Encoded,
    /// Too many wrong tokens from there.
    #[error("too many wrong tokens from this address")]
    TooManyFailures {
        /// Until the next one is looked at.
        wait_seconds: u64,
    },
    /// The store does not take it now; the sender is to try again.
    #[error("nothing can be stored at the moment")]
    StoreUnwell,
    /// It cannot be answered now, or not as things are set up.
    #[error("{0}")]
    Unavailable(&'static str),
    /// It is our fault.
    #[error("the request failed; the log says why")]
    Internal,
}

/// What a sender is told to wait while the store is unwell. Intercom then retries for two hours.
const STORE_RETRY_SECONDS: u64 = 30;

impl HttpError {
    /// The status that says it.
    pub(super) fn status_code(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::AmbiguousLength => StatusCode::BAD_REQUEST,
            Self::Unauthorized | Self::BadSignature => StatusCode::UNAUTHORIZED,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) | Self::RefusedRules { .. } => StatusCode::CONFLICT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyFailures { .. } | Self::StoreUnwell => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The header that belongs to the status, if any does.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Unauthorized => {
                Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tajo\"")))
            }
            Self::TooManyFailures { wait_seconds } => Some((RETRY_AFTER, (*wait_seconds).into())),
            Self::StoreUnwell => Some((RETRY_AFTER, STORE_RETRY_SECONDS.into())),
            // What is left of the body is not read.
            Self::Timeout | Self::TooLarge { .. } | Self::Encoded | Self::AmbiguousLength => {
                Some((CONNECTION, HeaderValue::from_static("close")))
            }
            _ => None,
        }
    }
}

impl From<EngineError> for HttpError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(_) | EngineError::Stopping => {
                tracing::warn!("a request could not be answered: {error}");
                Self::Unavailable("the store cannot be used at the moment")
            }
            _ => {
                tracing::error!("a request failed: {error}");
                Self::Internal
            }
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let status = self.status_code();
        let mut problem = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        if let (Self::RefusedRules { problems, .. }, Some(fields)) =
            (&self, problem.as_object_mut())
        {
            fields.insert("problems".to_owned(), json!(problems));
        }
        let mut response = (status, problem.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = self.header() {
            headers.insert(name, value);
        }
        response
    }
}
