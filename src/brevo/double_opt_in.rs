//! The e-mail that asks somebody to confirm.

use serde::Serialize;

use super::call::CallKind;
use super::client::BrevoClient;
use super::error::BrevoError;
use super::shown::shown_body;
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

const PATH: &str = "/contacts/doubleOptinConfirmation";

impl Confirmation {
    /// The call, with addresses masked.
    pub fn shown(&self) -> String {
        shown_body(&format!("POST {PATH}"), serde_json::to_value(self).unwrap_or_default())
    }
}

impl BrevoClient {
    /// Asks somebody to confirm: one request, whatever becomes of it.
    pub async fn ask_to_confirm(
        &self,
        lane: Lane,
        confirmation: &Confirmation,
    ) -> Result<(), BrevoError> {
        let call = self.call(CallKind::DoubleOptIn, PATH)?.json(confirmation)?;
        self.send(lane, call).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_is_shown_without_the_address() {
        let confirmation = Confirmation {
            email: "ann@example.com".parse().unwrap(),
            include_list_ids: vec![ListId(35), ListId(36)],
            redirection_url: "https://example.com/thanks".to_owned(),
            template_id: 5,
        };
        let expected = r#"POST /contacts/doubleOptinConfirmation {"email":"***","includeListIds":[35,36],"redirectionUrl":"https://example.com/thanks","templateId":5}"#;
        assert_eq!(confirmation.shown(), expected);
    }
}
