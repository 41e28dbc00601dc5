//! Which addresses Brevo tells of changes.

use serde::Deserialize;

use super::call::CallKind;
use super::client::{BrevoClient, read};
use super::error::BrevoError;
use super::wire::null_as_default;
use crate::http::Lane;

/// A webhook of the account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Webhook {
    /// Its number.
    pub id: i64,
    /// The address that is called.
    #[serde(default, deserialize_with = "null_as_default")]
    pub url: String,
    /// What it is called for.
    #[serde(default, deserialize_with = "null_as_default")]
    pub events: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct WebhooksAnswer {
    #[serde(default, deserialize_with = "null_as_default")]
    webhooks: Vec<Webhook>,
}

/// What a webhook is about. Each kind is listed by itself (facts: Brevo section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookType {
    /// Contacts and campaigns: what an engine listens to.
    Marketing,
    /// Single messages.
    Transactional,
}

impl WebhookType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Marketing => "marketing",
            Self::Transactional => "transactional",
        }
    }
}

impl BrevoClient {
    /// The webhooks of one type. Costs one of 100 calls an hour.
    pub async fn webhooks(&self, lane: Lane, of: WebhookType) -> Result<Vec<Webhook>, BrevoError> {
        let call = self.call(CallKind::Webhooks, "/webhooks")?.query("type", of.as_str());
        match self.send(lane, call).await {
            Ok(answer) => Ok(read::<WebhooksAnswer>(CallKind::Webhooks, &answer)?.webhooks),
            // Brevo answers so where there is none (facts: Brevo section 1).
            Err(BrevoError::Invalid { code, .. }) if code == "document_not_found" => Ok(Vec::new()),
            Err(BrevoError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
