//! The e-mail that asks somebody to confirm.

use serde::Serialize;

use super::call::CallKind;
use super::client::BrevoClient;
use super::error::BrevoError;
use crate::http::Lane;
use crate::model::{Email, ListId};

/// An e-mail that asks somebody to confirm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Confirmation {
    /// Whom to ask. Brevo makes the contact if it has none.
    pub email: Email,
    /// The lists that confirming puts him on.
    pub include_list_ids: Vec<ListId>,
    /// Where he lands then.
    pub redirection_url: String,
    /// The number of the template.
    pub template_id: i64,
}

impl BrevoClient {
    /// Asks somebody to confirm. Never repeated where Brevo may have sent the e-mail.
    pub async fn ask_to_confirm(
        &self,
        lane: Lane,
        confirmation: &Confirmation,
    ) -> Result<(), BrevoError> {
        let path = "/contacts/doubleOptinConfirmation";
        let call = self.call(CallKind::DoubleOptIn, path)?.json(confirmation)?;
        self.send(lane, call).await?;
        Ok(())
    }
}
