//! What the fake Intercom refuses, in Intercom's words.

use serde_json::{Value, json};

/// A request that Intercom would refuse, with the status and code it would answer (facts: Intercom
/// section 2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Intercom answers {status} `{code}`: {message}")]
#[non_exhaustive]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// `errors[0].code`.
    pub code: &'static str,
    /// `errors[0].message`.
    pub message: String,
    /// The header `Link`, by which API 2.16 names the survivor of a merge.
    pub link: Option<String>,
}

impl Refused {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), link: None }
    }

    /// 400: a value that is not possible.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "parameter_invalid", message)
    }

    /// 400: something required is missing.
    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self::new(400, "parameter_not_found", message)
    }

    /// 404 for a contact.
    pub(super) fn no_contact() -> Self {
        Self::new(404, "not_found", "User Not Found")
    }

    /// 404 for a company.
    pub(super) fn no_company() -> Self {
        Self::new(404, "company_not_found", "Company Not Found")
    }

    /// 404 for a conversation.
    pub(super) fn no_conversation() -> Self {
        Self::new(404, "not_found", "Conversation not found")
    }

    /// 404 for a tag.
    pub(super) fn no_tag() -> Self {
        Self::new(404, "tag_not_found", "Tag not found")
    }

    /// 410 for a contact that was merged into another, since API 2.16.
    pub(super) fn merged(into: &str) -> Self {
        let mut refused = Self::new(410, "contact_merged", "Contact has been merged");
        refused.link = Some(format!("</contacts/{into}>; rel=\"canonical\""));
        refused
    }

    /// 404 for anything else, unknown paths among them.
    pub(super) fn no_resource() -> Self {
        Self::new(404, "not_found", "Resource Not Found")
    }

    /// The body of the answer.
    pub(super) fn body(&self, request_id: &str) -> Value {
        // Recorded: an unknown parameter is answered without a request id.
        let request_id = (self.code != "bad_request").then_some(request_id);
        json!({
            "type": "error.list",
            "request_id": request_id,
            "errors": [{"code": self.code, "message": self.message}],
        })
    }
}
