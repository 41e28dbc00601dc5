//! What a call to Brevo can end in, named by what it means for the caller.

use std::time::Duration;

use serde::Deserialize;

/// A call to Brevo that did not do what it was asked to.
///
/// Texts of Brevo's are cut to 300 characters, and e-mail addresses in them are masked, so that an
/// error may be logged and shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrevoError {
    /// The bucket is used up, here or at Brevo; nothing was written.
    #[error("brevo's rate limit is reached: try again in {} s", retry_after.as_secs())]
    RateLimited {
        /// How long until the bucket has room again.
        retry_after: Duration,
    },
    /// The key is not accepted.
    #[error("{}", unauthorized_text(*ip_blocked))]
    Unauthorized {
        /// The key is good, but this machine's address is not authorised for it.
        ip_blocked: bool,
    },
    /// The key, or the account's plan, does not allow this call.
    #[error("brevo does not allow this call ({code}: {message}): check the key and the plan")]
    Forbidden {
        /// Brevo's word for it.
        code: String,
        /// Brevo's explanation.
        message: String,
    },
    /// What the call is about does not exist.
    #[error("brevo has no such object: {message}")]
    NotFound {
        /// Brevo's explanation, which names the kind of object.
        message: String,
    },
    /// Another contact owns an identifier that was to be written.
    #[error("another contact of brevo's owns the same {}", identifiers.join(", "))]
    Duplicate {
        /// Which ones, as Brevo names them, in upper case: `EMAIL`, `SMS`, `EXT_ID`, ...
        identifiers: Vec<String>,
    },
    /// Brevo refuses the request as it stands; sending it again cannot help.
    #[error("brevo refuses the request with {status} ({code}): {message}")]
    Invalid {
        /// The HTTP status.
        status: u16,
        /// Brevo's word for it.
        code: String,
        /// Brevo's explanation.
        message: String,
    },
    /// Brevo still works on this contact; the same call succeeds later.
    #[error("brevo is still working on this contact (425): try again later")]
    TooEarly,
    /// Brevo failed; whether it wrote anything is not known.
    #[error("brevo failed with status {status}: try again later")]
    Server {
        /// The HTTP status.
        status: u16,
    },
    /// No answer came.
    #[error("no answer from brevo: {reason}")]
    Transport {
        /// False if the request certainly did not reach Brevo.
        was_sent: bool,
        /// What went wrong on the way.
        reason: String,
    },
    /// An answer came that cannot be read.
    #[error("brevo's answer to {call} cannot be read: {reason}")]
    Malformed {
        /// What was asked.
        call: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The client cannot be set up, or the caller asks for what cannot be sent.
    #[error("{0}")]
    Unusable(String),
}

/// Whose fault an error is, which is what decides about retries and dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The record's: the same request will be refused again.
    Permanent,
    /// The key's or the account's: nothing can be written until somebody acts.
    Key,
    /// Nobody's: later it may work.
    Transient,
}

impl BrevoError {
    /// Whose fault this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unauthorized { .. } | Self::Forbidden { .. } => ErrorKind::Key,
            Self::RateLimited { .. }
            | Self::TooEarly
            | Self::Server { .. }
            | Self::Transport { .. }
            | Self::Malformed { .. } => ErrorKind::Transient,
            Self::NotFound { .. }
            | Self::Duplicate { .. }
            | Self::Invalid { .. }
            | Self::Unusable(_) => ErrorKind::Permanent,
        }
    }

    /// True where Brevo may have done what was asked all the same.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Server { .. } | Self::Malformed { .. } => true,
            Self::Transport { was_sent, .. } => *was_sent,
            _ => false,
        }
    }

    /// Reads an answer whose status is not 2xx. A 429 is read elsewhere, where its reset is known.
    pub(super) fn from_answer(route: &'static str, status: u16, body: &[u8]) -> Self {
        let ErrorBody { code, message, metadata } = ErrorBody::read(body);
        // The code differs between calls, the metadata does not (facts: Brevo section 4).
        let identifiers: Vec<String> = metadata
            .duplicate_identifiers
            .iter()
            .map(|identifier| mask(identifier).to_uppercase())
            .collect();
        match status {
            400..=499 if !identifiers.is_empty() => Self::Duplicate { identifiers },
            401 => Self::Unauthorized { ip_blocked: message.contains("unrecognised IP") },
            402 | 403 => Self::Forbidden { code, message: mask(&message) },
            // Without a code it is not Brevo's word that something does not exist, but a wrong path.
            404 if code.is_empty() => Self::Malformed {
                call: route,
                reason: "404 from something that is not brevo, check `base_url`".to_owned(),
            },
            404 => Self::NotFound { message: mask(&message) },
            425 => Self::TooEarly,
            408 | 500..=599 => Self::Server { status },
            _ => Self::Invalid { status, code, message: mask(&message) },
        }
    }
}

fn unauthorized_text(ip_blocked: bool) -> &'static str {
    if ip_blocked {
        "brevo does not know this machine's IP address: authorise it at \
         https://app.brevo.com/security/authorised_ips"
    } else {
        "brevo does not accept the API key: check `connectors.brevo.api_key`"
    }
}

/// The body of a refusal: `{code, message, metadata?}`. Every part may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    code: String,
    message: String,
    metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    duplicate_identifiers: Vec<String>,
}

impl ErrorBody {
    /// Reads each part by itself: an odd `metadata` must not hide the message.
    fn read(body: &[u8]) -> Self {
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else {
            let message = String::from_utf8_lossy(body).into_owned();
            return Self { message, ..Self::default() };
        };
        let text = |key: &str| value.get(key).and_then(|v| v.as_str()).unwrap_or_default();
        let metadata = value.get("metadata").cloned().unwrap_or_default();
        Self {
            code: mask(text("code")),
            message: text("message").to_owned(),
            metadata: serde_json::from_value(metadata).unwrap_or_default(),
        }
    }
}

/// Cuts a text of Brevo's to 300 characters, on one line, with e-mail addresses masked.
pub(super) fn mask(text: &str) -> String {
    const LONGEST: usize = 300;
    let in_address = |c: char| c.is_alphanumeric() || "@.!#$%&'*+-/=?^_`{|}~".contains(c);
    let mut masked = String::new();
    for part in text.split_inclusive(|c: char| !in_address(c)) {
        let word = part.trim_end_matches(|c: char| !in_address(c));
        let is_address = word.contains('@') || word.contains("%40");
        masked.push_str(if is_address { "***" } else { word });
        let behind = part.chars().last().filter(|c| !in_address(*c));
        masked.extend(behind.map(|c| if c.is_control() { ' ' } else { c }));
    }
    masked.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_by_its_status_and_its_metadata() {
        fn case(status: u16, body: &str, expected: BrevoError, kind: ErrorKind) {
            let error = BrevoError::from_answer("/x", status, body.as_bytes());
            assert_eq!(error, expected, "{status} {body}");
            assert_eq!(error.kind(), kind, "{status} {body}");
        }
        let invalid = |status: u16, code: &str, message: &str| BrevoError::Invalid {
            status,
            code: code.into(),
            message: message.into(),
        };
        case(
            401,
            r#"{"code":"unauthorized","message":"Key not found"}"#,
            BrevoError::Unauthorized { ip_blocked: false },
            ErrorKind::Key,
        );
        case(
            401,
            r#"{"code":"unauthorized","message":"We have detected you are using an unrecognised IP address 203.0.113.9."}"#,
            BrevoError::Unauthorized { ip_blocked: true },
            ErrorKind::Key,
        );
        case(
            400,
            r#"{"code":"invalid_parameter","message":"Unable to update contact","metadata":{"duplicate_identifiers":["email","SMS"]}}"#,
            BrevoError::Duplicate { identifiers: vec!["EMAIL".into(), "SMS".into()] },
            ErrorKind::Permanent,
        );
        case(
            400,
            r#"{"code":"duplicate_parameter","message":"Contact already exist"}"#,
            invalid(400, "duplicate_parameter", "Contact already exist"),
            ErrorKind::Permanent,
        );
        case(
            404,
            r#"{"code":"document_not_found","message":"Contact does not exist"}"#,
            BrevoError::NotFound { message: "Contact does not exist".into() },
            ErrorKind::Permanent,
        );
        case(
            404,
            "<html>",
            BrevoError::Malformed {
                call: "/x",
                reason: "404 from something that is not brevo, check `base_url`".into(),
            },
            ErrorKind::Transient,
        );
        case(425, "", BrevoError::TooEarly, ErrorKind::Transient);
        case(502, "<html>", BrevoError::Server { status: 502 }, ErrorKind::Transient);
        case(
            400,
            r#"{"code":"x","message":"m","metadata":"odd"}"#,
            invalid(400, "x", "m"),
            ErrorKind::Permanent,
        );
    }

    #[test]
    fn no_address_reaches_an_error_text() {
        let body =
            r#"{"code":"invalid_parameter","message":"Invalid <ann.b+c@example.com>, sorry"}"#;
        let error = BrevoError::from_answer("/x", 400, body.as_bytes());
        assert_eq!(
            error.to_string(),
            "brevo refuses the request with 400 (invalid_parameter): Invalid <***>, sorry"
        );
        let encoded =
            BrevoError::from_answer("/x", 400, b"GET /contacts/ann%40example.com\nfailed");
        assert!(!encoded.to_string().contains("ann"), "{encoded}");
        let long = BrevoError::from_answer("/x", 400, "x".repeat(9_000).as_bytes());
        assert!(long.to_string().len() < 400);
    }

    #[test]
    fn only_what_may_have_reached_brevo_has_an_unknown_outcome() {
        let transport = |was_sent| BrevoError::Transport { was_sent, reason: "reset".into() };
        assert!(transport(true).outcome_unknown());
        assert!(!transport(false).outcome_unknown());
        assert!(BrevoError::Server { status: 500 }.outcome_unknown());
        assert!(!BrevoError::TooEarly.outcome_unknown());
    }
}
