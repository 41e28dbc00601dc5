//! What Intercom's answers look like where they are not records: the account, and errors.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::error::IntercomError;
use crate::http::Response;
use crate::model::RecordId;

/// Longest part of Intercom's message that an error keeps, in characters.
const MAX_MESSAGE: usize = 200;

/// Whose token it is: the answer of `GET /me`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// The admin that the token acts as.
    pub admin_id: String,
    /// The workspace, as in `workspace_id` of contacts and `app_id` of notifications.
    pub app_id: String,
    /// The workspace's name.
    pub app_name: Option<String>,
    /// The workspace's time zone, by which contact searches count days.
    pub timezone: Option<String>,
    /// `US`, `EU` or `AU`.
    pub region: Option<String>,
    /// False: the admin has not confirmed the address.
    pub email_verified: Option<bool>,
}

impl Me {
    /// Reads the answer; an admin without a workspace is none.
    pub(super) fn parse(answer: &Value) -> Option<Self> {
        let text = |value: Option<&Value>| match value? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let app = answer.get("app")?;
        Some(Self {
            admin_id: text(answer.get("id"))?,
            app_id: text(app.get("id_code"))?,
            app_name: text(app.get("name")),
            timezone: text(app.get("timezone")),
            region: text(app.get("region")),
            email_verified: answer.get("email_verified").and_then(Value::as_bool),
        })
    }
}

#[derive(Debug, Default, Deserialize)]
struct ErrorList {
    #[serde(default)]
    errors: Vec<ErrorItem>,
}

#[derive(Debug, Default, Deserialize)]
struct ErrorItem {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// The error that a response other than 2xx stands for (facts: Intercom section 2).
pub(super) fn error_of(response: &Response) -> IntercomError {
    let status = response.status;
    let list = serde_json::from_slice::<ErrorList>(&response.body).ok();
    let first = list.and_then(|list| list.errors.into_iter().next());
    let is_intercoms = first.is_some();
    let ErrorItem { code, message } = first.unwrap_or_default();
    let (code, message) = (code.unwrap_or_default(), redacted(&message.unwrap_or_default()));
    if let (StatusCode::CONFLICT, Some(id)) = (status, existing_id(&message)) {
        let archived = message.starts_with("An archived");
        return IntercomError::AlreadyExists { id, archived };
    }
    if code == "scroll_exists" {
        return IntercomError::ScrollBusy;
    }
    if message.contains("scroll parameter not found") || message.contains("restart the scroll") {
        return IntercomError::ScrollExpired;
    }
    match status {
        StatusCode::TOO_MANY_REQUESTS => IntercomError::RateLimited { retry_after: None },
        StatusCode::UNAUTHORIZED if code == "token_unauthorized" => IntercomError::MissingScope,
        StatusCode::UNAUTHORIZED => IntercomError::Unauthorized { code },
        StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => {
            IntercomError::Forbidden { code, message }
        }
        // A bare 404 comes from the edge and proves nothing about the object.
        StatusCode::NOT_FOUND | StatusCode::GONE if is_intercoms => {
            IntercomError::NotFound { merged_into: canonical_contact(response) }
        }
        StatusCode::NOT_FOUND | StatusCode::REQUEST_TIMEOUT => {
            IntercomError::Server { status: status.as_u16() }
        }
        _ if status.is_server_error() => IntercomError::Server { status: status.as_u16() },
        _ => IntercomError::Invalid { status: status.as_u16(), code, message },
    }
}

/// The id in `A contact matching those details already exists with id=…`: no field holds it.
fn existing_id(message: &str) -> Option<RecordId> {
    let (_, rest) = message.split_once("id=")?;
    let id: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    id.parse().ok()
}

/// `Link: </contacts/{id}>; rel="canonical"` of a merged contact, since 2.16.
fn canonical_contact(response: &Response) -> Option<RecordId> {
    let link = response.header("link").filter(|link| link.contains("canonical"))?;
    let (_, rest) = link.split_once("/contacts/")?;
    let (id, _) = rest.split_once('>')?;
    id.parse().ok()
}

/// A message without what could be an address: Intercom repeats values that it refuses.
fn redacted(message: &str) -> String {
    let word = |word: &str| {
        if word.contains('@') { "***".to_owned() } else { word.to_owned() }
    };
    let words: Vec<_> = message.split_whitespace().map(word).collect();
    words.join(" ").chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::HeaderMap;
    use serde_json::json;

    use super::*;

    fn response(status: u16, body: &str) -> Response {
        let status = StatusCode::from_u16(status).unwrap();
        Response { status, headers: HeaderMap::new(), body: Bytes::from(body.to_owned()) }
    }

    fn list(code: &str, message: &str) -> String {
        json!({"type": "error.list", "request_id": null, "errors": [{"code": code, "message": message}]})
            .to_string()
    }

    #[test]
    fn errors_are_told_apart_by_what_they_mean() {
        fn case(status: u16, body: &str, expected: &str) {
            assert_eq!(error_of(&response(status, body)).to_string(), expected);
        }
        case(
            401,
            &list("unauthorized", "Access Token Invalid"),
            "intercom refuses the access token (`unauthorized`): make a new one in the Developer Hub",
        );
        case(
            401,
            &list("token_unauthorized", "Not authorized to access resource"),
            "the access token lacks a permission for this: tick its scope in the Developer Hub",
        );
        case(404, &list("not_found", "User Not Found"), "intercom has no such object");
        case(404, "<html>nginx</html>", "intercom answers 404 without saying why");
        case(502, "<html>nginx</html>", "intercom answers 502 without saying why");
        case(
            400,
            &list("scroll_exists", "scroll already exists for this workspace"),
            "another scroll over companies is running in this workspace: it ends a minute after its last page",
        );
        case(
            404,
            &list("not_found", "scroll parameter not found"),
            "the scroll over companies has expired: start it again",
        );
        case(
            400,
            &list("bad_request", "no ann@example.com here"),
            "intercom refuses the request (400 `bad_request`): no *** here",
        );
        case(
            403,
            &list("api_plan_restricted", "Active subscription needed."),
            "intercom forbids this (`api_plan_restricted`): Active subscription needed.",
        );
        case(
            409,
            &list("conflict", "A contact matching those details already exists with id=665f1c0a"),
            "intercom has a contact with these details already: 665f1c0a",
        );
        case(409, &list("conflict", "no"), "intercom refuses the request (409 `conflict`): no");
        case(418, "", "intercom refuses the request (418 ``): ");
    }

    #[test]
    fn a_merged_contact_names_its_survivor() {
        let mut response = response(410, &list("contact_merged", "Contact merged"));
        let link = r#"</contacts/665f1c0a9e3b7d0012ab34c1>; rel="canonical""#;
        response.headers.insert("link", link.parse().unwrap());
        let error = error_of(&response);
        assert!(
            matches!(&error, IntercomError::NotFound { merged_into: Some(id) } if id.as_str() == "665f1c0a9e3b7d0012ab34c1"),
            "{error:?}"
        );
    }
}
