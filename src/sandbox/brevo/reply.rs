//! What the fake Brevo answers: the three kinds of body and the shape of its errors.

use bytes::Bytes;
use serde_json::{Value, json};

/// A refusal, in the words of Brevo (facts: Brevo section 1, "Errors").
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The machine-readable code, such as `invalid_parameter`.
    pub code: &'static str,
    /// The text that goes with it.
    pub message: String,
    /// What stands in `metadata.duplicate_identifiers`; without any there is no `metadata`.
    pub duplicate_identifiers: Vec<&'static str>,
}

impl Refusal {
    /// A refusal without metadata.
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), duplicate_identifiers: Vec::new() }
    }

    /// A 400 for something in the request that is not right.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_parameter", message)
    }

    /// A 400 for something that the request lacks.
    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self::new(400, "missing_parameter", message)
    }

    /// A 400 for a number above or below what is allowed.
    pub(super) fn out_of_range(message: impl Into<String>) -> Self {
        Self::new(400, "out_of_range", message)
    }

    /// A 404.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "document_not_found", message)
    }

    /// A 405.
    pub(super) fn method(method: &str) -> Self {
        let message = format!("{method} Method is not allowed on this path");
        Self::new(405, "method_not_allowed", message)
    }

    /// The 401 for a key that is absent or wrong.
    pub(super) fn unauthorized() -> Self {
        Self::new(401, "unauthorized", "Key not found")
    }

    /// The 429.
    pub(super) fn too_many_requests() -> Self {
        Self::new(429, "too_many_requests", "Too many requests, please retry later")
    }

    fn to_json(&self) -> Value {
        let mut body = json!({"code": self.code, "message": self.message});
        if let (false, Some(fields)) = (self.duplicate_identifiers.is_empty(), body.as_object_mut())
        {
            let metadata = json!({"duplicate_identifiers": self.duplicate_identifiers});
            fields.insert("metadata".to_owned(), metadata);
        }
        body
    }
}

/// An answer before it has headers.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: Option<&'static str>,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let body = Bytes::from(body.to_string());
        Self { status, content_type: Some("application/json"), body }
    }

    pub(super) fn ok(body: &Value) -> Self {
        Self::json(200, body)
    }

    pub(super) fn created(id: i64) -> Self {
        Self::json(201, &json!({"id": id}))
    }

    pub(super) fn csv(text: String) -> Self {
        Self { status: 200, content_type: Some("text/csv"), body: Bytes::from(text) }
    }

    /// An answer without a body.
    pub(super) fn empty(status: u16) -> Self {
        Self { status, content_type: None, body: Bytes::new() }
    }

    pub(super) fn no_content() -> Self {
        Self::empty(204)
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::json(refusal.status, &refusal.to_json())
    }
}
