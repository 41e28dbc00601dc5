//! `connectors.intercom`: where contacts come from.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::reader::{FreeMap, Section};
use super::setting::{Choice, ListNumber, Setting};

/// The window to which [`Plan::requests_per_window`] refers (facts: Intercom section 1).
pub const PLAN_WINDOW: Duration = Duration::from_secs(10);

/// Settings of the Intercom connector.
#[derive(Debug, Clone)]
pub struct Intercom {
    /// False: nothing is read from Intercom and its webhooks are refused.
    pub enabled: bool,
    /// The access token; [`super::Config::missing_for_service`] says so where it is needed.
    pub access_token: Option<SecretString>,
    /// True: the file says `access_token: ""`, so a token comes by connecting.
    pub awaits_token: bool,
    /// For OAuth.
    pub client_id: Option<String>,
    /// Verifies `X-Hub-Signature`; for OAuth, too.
    pub client_secret: Option<SecretString>,
    /// Who signs notes and replies; none: the token's own admin.
    pub admin_id: Option<String>,
    /// The `Intercom-Version` header, from `2.11` to `2.16`.
    pub api_version: String,
    /// Where the workspace is hosted.
    pub region: Region,
    /// The API's address: the one that was set, else the region's. Without a slash at its end,
    /// except where it has no path.
    pub base_url: Url,
    /// What may be called until response headers say otherwise.
    pub plan: Plan,
    /// Which kinds of objects a sync reads.
    pub sync: Resources,
    /// Time between incremental sweeps; none: off.
    pub sync_every: Option<Duration>,
    /// Time between full sweeps; none: off.
    pub full_sync_every: Option<Duration>,
    /// True: what happened before the first sync is sent as events, too.
    pub backfill_events: bool,
    /// Which way records flow.
    pub direction: Direction,
    /// Brevo's opt-outs reach Intercom in every direction.
    pub sync_unsubscribes: bool,
    /// What Brevo gets for a contact that was deleted in Intercom.
    pub on_delete: OnGone,
    /// What Brevo gets for a contact that was archived in Intercom.
    pub on_archive: OnGone,
    /// What the loser of a merge gets, where it has a Brevo contact of its own.
    pub on_merge: OnGone,
    /// Names for the numbers of Brevo's lists.
    pub lists: BTreeMap<String, i64>,
    /// Paths in Intercom's contact to attributes in Brevo; that of the top level is part of it.
    pub field_mapping: BTreeMap<String, String>,
    /// The region (ISO 3166, upper case) of phone numbers without a country code.
    pub phone_region: Option<String>,
    /// Says more in the log; see [`Intercom::effective_log_level`].
    pub debug: bool,
    /// From which level on things are logged.
    pub log_level: LogLevel,
    /// True: each notification is logged, without what is personal.
    pub log_webhooks: bool,
}

impl Intercom {
    /// The level to log at: `debug: true` raises a lower one to `debug`.
    pub fn effective_log_level(&self) -> LogLevel {
        if self.debug { self.log_level.max(LogLevel::Debug) } else { self.log_level }
    }
}

/// Which kinds of objects a sync reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Users and leads.
    pub contacts: bool,
    /// Conversations.
    pub conversations: bool,
    /// Companies.
    pub companies: bool,
    /// Custom events.
    pub events: bool,
    /// Tags by name.
    pub tags: bool,
}

/// Where a workspace is hosted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// The United States.
    Us,
    /// Europe.
    Eu,
    /// Australia.
    Au,
}

impl Region {
    /// The API's address (facts: Intercom section 1).
    pub fn base_url(self) -> &'static str {
        match self {
            Self::Us => "https://api.intercom.io",
            Self::Eu => "https://api.eu.intercom.io",
            Self::Au => "https://api.au.intercom.io",
        }
    }
}

impl Region {
    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, region)| *region == self).map_or("", |(word, _)| word)
    }
}

impl Choice for Region {
    const WORDS: &'static [(&'static str, Self)] =
        &[("us", Self::Us), ("eu", Self::Eu), ("au", Self::Au)];
}

/// How much of Intercom's API the workspace may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// The least.
    Starter,
    /// The default.
    Pro,
    /// The most.
    Premium,
}

impl Plan {
    /// Requests in every [`PLAN_WINDOW`] until headers say otherwise.
    pub fn requests_per_window(self) -> u32 {
        match self {
            Self::Starter => 20,
            Self::Pro => 50,
            Self::Premium => 100,
        }
    }
}

impl Choice for Plan {
    const WORDS: &'static [(&'static str, Self)] =
        &[("starter", Self::Starter), ("pro", Self::Pro), ("premium", Self::Premium)];
}

/// Which way records flow. Opt-outs have their own setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Intercom decides what is in Brevo.
    IntercomToBrevo,
    /// Brevo decides what is in Intercom.
    BrevoToIntercom,
    /// Both.
    Bidirectional,
}

impl Choice for Direction {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("intercom_to_brevo", Self::IntercomToBrevo),
        ("brevo_to_intercom", Self::BrevoToIntercom),
        ("bidirectional", Self::Bidirectional),
    ];
}

/// What Brevo gets when a contact is gone from Intercom: deleted, archived or merged into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGone {
    /// The Brevo contact is deleted.
    Delete,
    /// It gets no more marketing e-mail.
    Unsubscribe,
    /// It leaves the lists that the engine granted, nothing else.
    Release,
    /// It stays as it is.
    Keep,
}

impl Choice for OnGone {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("delete", Self::Delete),
        ("unsubscribe", Self::Unsubscribe),
        ("release", Self::Release),
        ("keep", Self::Keep),
    ];
}

/// From which level on things are logged; each shows those before it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// What may need one.
    Warn,
    /// What an operator wants to know; nothing personal.
    Info,
    /// What somebody who looks for a cause wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level's own name, as log filters take it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Choice for LogLevel {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
        ("verbose", Self::Debug),
    ];
}

/// Reads the section; `outer_mapping` is `field_mapping` of the top level.
pub(super) fn read(
    mut section: Section<'_>,
    outer_mapping: FreeMap<String, String>,
) -> Option<Intercom> {
    let region: Region = section.get("region")?;
    let base_url = match section.find("base_url") {
        Some(url) => url,
        None => Url::parse(region.base_url()).ok()?,
    };
    let lists: FreeMap<String, ListNumber> = section.free_map("lists");
    let intercom = Intercom {
        enabled: section.get("enabled")?,
        access_token: section.secret("access_token"),
        awaits_token: section.is_left_empty("access_token"),
        client_id: section.find("client_id"),
        client_secret: section.secret("client_secret"),
        admin_id: section.find("admin_id"),
        api_version: section.get::<ApiVersion>("api_version")?.0,
        region,
        base_url,
        plan: section.get("plan")?,
        sync: resources(section.section("sync"))?,
        sync_every: section.get("sync_every")?,
        full_sync_every: section.get("full_sync_every")?,
        backfill_events: section.get("backfill_events")?,
        direction: section.get("direction")?,
        sync_unsubscribes: section.get("sync_unsubscribes")?,
        on_delete: section.get("on_delete")?,
        on_archive: section.get("on_archive")?,
        on_merge: section.get("on_merge")?,
        lists: lists.into_values().into_iter().map(|(name, id)| (name, id.0)).collect(),
        field_mapping: merged(section.free_map("field_mapping"), outer_mapping, &section),
        phone_region: section.find::<PhoneRegion>("phone_region").map(|region| region.0),
        debug: section.get("debug")?,
        log_level: section.get("log_level")?,
        log_webhooks: section.get("log_webhooks")?,
    };
    section.finish();
    Some(intercom)
}

fn resources(mut section: Section<'_>) -> Option<Resources> {
    let resources = Resources {
        contacts: section.get("contacts")?,
        conversations: section.get("conversations")?,
        companies: section.get("companies")?,
        events: section.get("events")?,
        tags: section.get("tags")?,
    };
    section.finish();
    Some(resources)
}

/// Both mappings in one. The default counts only where the file has neither.
fn merged(
    inner: FreeMap<String, String>,
    outer: FreeMap<String, String>,
    section: &Section<'_>,
) -> BTreeMap<String, String> {
    if outer.is_from_file && !inner.is_from_file {
        return outer.into_values();
    }
    let mut mapping = inner.into_values();
    for (field, (attribute, span)) in outer.entries {
        match mapping.get(&field) {
            Some(other) if *other != attribute => {
                let message = format!("`{field}` is mapped twice, to different attributes");
                let help = "keep one of `field_mapping` and `connectors.intercom.field_mapping`";
                section.note(span, message, help);
            }
            _ => {
                mapping.insert(field, attribute);
            }
        }
    }
    mapping
}

/// Checks a version of the API as the configuration's is.
///
/// # Errors
/// What is understood.
pub fn check_api_version(text: &str) -> Result<(), String> {
    ApiVersion::parse(text).map(drop)
}

/// A version whose shapes are understood.
struct ApiVersion(String);

impl Setting for ApiVersion {
    fn parse(text: &str) -> Result<Self, String> {
        let minor = text.strip_prefix("2.").and_then(|minor| minor.parse::<u32>().ok());
        match minor {
            Some(11..=16) => Ok(Self(text.to_owned())),
            _ => Err("versions from `2.11` to `2.16` are understood".to_owned()),
        }
    }
}

/// A country or region that has phone numbers.
struct PhoneRegion(String);

impl Setting for PhoneRegion {
    fn parse(text: &str) -> Result<Self, String> {
        let region = text.trim().to_ascii_uppercase();
        match region.parse::<phonenumber::country::Id>() {
            Ok(_) => Ok(Self(region)),
            Err(_) => Err("write two letters, such as `TH` or `GB`".to_owned()),
        }
    }
}
