//! `POST /contacts/doubleOptinConfirmation`: a contact who is asked to confirm (facts: Brevo section 2).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::contact::{ContactBody, Identifier};
use super::reply::{Refusal, Reply};
use super::request::Request;
use super::state::Account;
use super::write::{Actor, Written, valid_email};

/// An e-mail that asked somebody to confirm.
#[derive(Debug, Clone)]
pub(super) struct Confirmation {
    pub(super) email: String,
    pub(super) template: i64,
    pub(super) url: String,
    pub(super) lists: Vec<i64>,
    pub(super) is_confirmed: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    email: Option<String>,
    attributes: Map<String, Value>,
    include_list_ids: Vec<i64>,
    redirection_url: Option<String>,
    template_id: Option<i64>,
}

impl Account {
    /// Makes the contact if there is none, and sends the e-mail. Nobody is on a list before he
    /// confirms.
    pub(super) fn double_opt_in(&mut self, request: &Request) -> Result<Reply, Refusal> {
        let body: Body = request.json()?;
        let missing = |name: &str| Refusal::missing(format!("{name} is missing"));
        let email = valid_email(&body.email.ok_or_else(|| missing("email"))?)?;
        let url = body.redirection_url.ok_or_else(|| missing("redirectionUrl"))?;
        let template = body.template_id.ok_or_else(|| missing("templateId"))?;
        if body.include_list_ids.is_empty() {
            return Err(missing("includeListIds"));
        }
        self.lists.check_exist(&body.include_list_ids)?;
        let label = request.label();
        let known = self.find(Identifier::Email, &email).and_then(|id| self.get(id));
        if let Some(contact) = known.filter(|contact| contact.email_blacklisted) {
            let what = format!("asked the blacklisted contact {} to confirm", contact.id);
            self.violation(Actor::Request(&label), &what);
        }
        let write = json!({"email": email, "attributes": body.attributes});
        let mut write = ContactBody::deserialize(&write)
            .map_err(|error| Refusal::invalid(error.to_string()))?;
        write.update_enabled = true;
        let written = self.create_or_update(&write, Actor::Request(&label))?;
        let lists = body.include_list_ids;
        self.confirmations.push(Confirmation { email, template, url, lists, is_confirmed: false });
        Ok(match written {
            Written::Created(id) => Reply::created(id),
            Written::Updated(_) => Reply::no_content(),
        })
    }

    /// The person follows the link of the last such e-mail; false if he got none.
    pub(super) fn confirm(&mut self, email: &str) -> bool {
        let Some(asked) = self.confirmations.iter_mut().rfind(|one| one.email == email) else {
            return false;
        };
        asked.is_confirmed = true;
        let lists = asked.lists.clone();
        let Some(id) = self.find(Identifier::Email, email) else { return false };
        for list in lists {
            self.join(id, list, Actor::Foreign);
        }
        true
    }
}
