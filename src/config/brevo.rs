//! `connectors.brevo`: what is kept as the rules decide.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::model::{AttributeName, AttributeType};

use super::reader::Section;
use super::setting::Choice;

/// Settings of the Brevo connector.
#[derive(Debug, Clone)]
pub struct Brevo {
    /// The API key; [`super::Config::missing_for_service`] says so where it is needed.
    pub api_key: Option<SecretString>,
    /// The API's address, with its version and without a slash at its end.
    pub base_url: Url,
    /// The bearer token that Brevo's webhooks carry; none: that endpoint answers 503.
    pub webhook_token: Option<SecretString>,
    /// The key's name in Brevo: the engine's own writes echo back under it.
    pub api_key_name: String,
    /// What may be called until response headers say otherwise.
    pub rate_tier: RateTier,
    /// The technical list that imports need; made if absent.
    pub sync_list: String,
    /// Make attributes that the rules name and the account lacks.
    pub create_attributes: bool,
    /// Make lists that the rules name and neither `lists` nor the account has.
    pub create_lists: bool,
    /// Types of attributes that must not be guessed.
    pub attributes: BTreeMap<AttributeName, AttributeType>,
    /// Names that rules use to names that the account uses.
    pub attribute_aliases: BTreeMap<AttributeName, AttributeName>,
    /// Time between read-backs of Brevo's changes; none: off.
    pub read_back_every: Option<Duration>,
    /// What happens to a contact that others deleted in Brevo.
    pub on_brevo_delete: OnBrevoDelete,
}

/// How much of Brevo's API the account may use (facts: Brevo section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateTier {
    /// All plans.
    General,
    /// Professional and Enterprise.
    Advanced,
    /// Enterprise with the extension.
    Extended,
}

impl Choice for RateTier {
    const WORDS: &'static [(&'static str, Self)] =
        &[("general", Self::General), ("advanced", Self::Advanced), ("extended", Self::Extended)];
}

/// What happens to a contact that others deleted in Brevo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBrevoDelete {
    /// It stays deleted until its record changes.
    Forget,
    /// It is made again.
    Recreate,
}

impl Choice for OnBrevoDelete {
    const WORDS: &'static [(&'static str, Self)] =
        &[("forget", Self::Forget), ("recreate", Self::Recreate)];
}

pub(super) fn read(mut section: Section<'_>) -> Option<Brevo> {
    let brevo = Brevo {
        api_key: section.secret("api_key"),
        base_url: section.get("base_url")?,
        webhook_token: section.secret("webhook_token"),
        api_key_name: section.get("api_key_name")?,
        rate_tier: section.get("rate_tier")?,
        sync_list: section.get("sync_list")?,
        create_attributes: section.get("create_attributes")?,
        create_lists: section.get("create_lists")?,
        attributes: section.free_map("attributes").into_values(),
        attribute_aliases: section.free_map("attribute_aliases").into_values(),
        read_back_every: section.get("read_back_every")?,
        on_brevo_delete: section.get("on_brevo_delete")?,
    };
    section.finish();
    Some(brevo)
}
