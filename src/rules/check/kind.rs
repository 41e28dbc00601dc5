//! What the parameters of handlers are: records and decisions, and what these have.

/// What a variable of a script is known to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Something that is read only.
    Record(Record),
    /// Something that is written.
    Decision(Decision),
    /// Anything.
    Other,
}

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Record {
    /// A contact of Intercom.
    Contact,
    /// A company of Intercom.
    Company,
    /// A conversation of Intercom.
    Conversation,
    /// A custom event of Intercom.
    Event,
    /// A contact of Brevo.
    Existing,
    /// An event of Brevo.
    BrevoEvent,
}

/// A kind of decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Decision {
    /// On a contact of Brevo.
    Contact,
    /// On a company of Brevo.
    Company,
    /// In `map_conversation` and `map_event`.
    Emission,
    /// On a contact of Intercom, in `map_brevo_contact`.
    Intercom,
    /// The same in `map_brevo_event`, which may say something, too.
    IntercomEvent,
}

/// What a handler's parameters are, in their order.
pub(super) fn parameters_of(handler: &str) -> &'static [Kind] {
    use Kind::{Decision as D, Other, Record as R};
    match handler {
        "map_contact" => &[R(Record::Contact), D(Decision::Contact)],
        "map_tags" => &[Other, R(Record::Contact), D(Decision::Contact)],
        "merge_contact" => &[R(Record::Existing), D(Decision::Contact)],
        "map_company" => &[R(Record::Company), D(Decision::Company)],
        "map_conversation" => &[R(Record::Conversation), D(Decision::Emission)],
        "map_event" => &[R(Record::Event), D(Decision::Emission)],
        "map_brevo_contact" => &[R(Record::Existing), D(Decision::Intercom)],
        "map_brevo_event" => &[R(Record::BrevoEvent), D(Decision::IntercomEvent)],
        _ => &[],
    }
}

/// A decision's methods, and with how many arguments they are called.
pub(super) const METHODS: [(&str, &[usize], &[Decision]); 23] = {
    use Decision::{Company, Contact, Emission, Intercom, IntercomEvent};
    const REVERSE: &[Decision] = &[Intercom, IntercomEvent];
    const SPEAKS: &[Decision] = &[IntercomEvent];
    [
        ("set_all", &[2], &[Contact]),
        ("clear", &[1], &[Contact]),
        ("keep", &[1], &[Contact]),
        ("add_to_list", &[1], &[Contact]),
        ("add_to_lists", &[2], &[Contact]),
        ("remove_from_list", &[1], &[Contact]),
        ("unsubscribe", &[0, 1], &[Contact]),
        ("resubscribe", &[0], &[Contact]),
        ("double_opt_in", &[3], &[Contact]),
        ("link_company", &[1], &[Contact]),
        ("release", &[0], &[Contact]),
        ("delete", &[0], &[Contact, Company]),
        ("track", &[2, 3], &[Contact, Emission, IntercomEvent]),
        ("upsert_object", &[3], &[Contact, Emission]),
        ("contact", &[1], &[Emission]),
        ("skip", &[1], &[Contact, Company, Emission, Intercom, IntercomEvent]),
        ("add_tag", &[1], REVERSE),
        ("remove_tag", &[1], REVERSE),
        ("create", &[1], REVERSE),
        ("archive", &[0], REVERSE),
        ("note", &[1], SPEAKS),
        ("reply", &[2], SPEAKS),
        ("start_conversation", &[1], SPEAKS),
    ]
};

impl Decision {
    /// True if it has a method of this name.
    pub(super) fn has_method(self, name: &str) -> bool {
        self.methods().any(|known| known == name)
    }

    /// The names of its methods.
    pub(super) fn methods(self) -> impl Iterator<Item = &'static str> {
        METHODS.iter().filter(move |(_, _, of)| of.contains(&self)).map(|(name, ..)| *name)
    }

    /// What a script's writer calls it, and where it is.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Contact => "a decision",
            Self::Company => "a decision on a company",
            Self::Emission => "a decision on a conversation or an event",
            Self::Intercom => "`intercom` in `map_brevo_contact`",
            Self::IntercomEvent => "`intercom` in `map_brevo_event`",
        }
    }
}

/// True if some decision has a method of this name.
pub(super) fn is_method(name: &str) -> bool {
    METHODS.iter().any(|(known, ..)| *known == name)
}

/// Lower-case properties of a decision on a contact.
pub(super) const IDENTITIES: [&str; 4] = ["email", "ext_id", "sms", "whatsapp"];

impl Record {
    /// The names of its fields, as far as they are known; none where it may have any.
    pub(super) fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Contact => &CONTACT,
            Self::Company => &COMPANY,
            Self::Conversation => &CONVERSATION,
            Self::Event => &EVENT,
            Self::Existing | Self::BrevoEvent => &[],
        }
    }

    /// What a script's writer calls it.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Contact => "a contact",
            Self::Company => "a company",
            Self::Conversation => "a conversation",
            Self::Event => "an event",
            Self::Existing => "a contact of Brevo",
            Self::BrevoEvent => "an event of Brevo",
        }
    }
}

/// What a contact has in API 2.11 to 2.16, and what the engine adds.
const CONTACT: [&str; 69] = [
    "android_app_name",
    "android_app_version",
    "android_device",
    "android_last_seen_at",
    "android_os_version",
    "android_sdk_version",
    "avatar",
    "browser",
    "browser_language",
    "browser_version",
    "companies",
    "company",
    "conversations",
    "created_at",
    "custom_attributes",
    "duplicates",
    "email",
    "email_domain",
    "enabled_push_messaging",
    "events",
    "external_id",
    "formatted_phone",
    "has_hard_bounced",
    "id",
    "ios_app_name",
    "ios_app_version",
    "ios_device",
    "ios_last_seen_at",
    "ios_os_version",
    "ios_sdk_version",
    "language",
    "language_override",
    "last_contacted_at",
    "last_email_clicked_at",
    "last_email_opened_at",
    "last_replied_at",
    "last_seen_at",
    "location",
    "marked_email_as_spam",
    "name",
    "notes",
    "opted_in_subscription_types",
    "opted_out_subscription_types",
    "os",
    "owner_id",
    "phone",
    "pseudonym",
    "referrer",
    "role",
    "segments",
    "session_count",
    "signed_up_at",
    "sms_consent",
    "social_profiles",
    "subscriptions",
    "tags",
    "type",
    "unsubscribed_from_emails",
    "unsubscribed_from_sms",
    "updated_at",
    "user_id",
    "utm_campaign",
    "utm_content",
    "utm_medium",
    "utm_source",
    "utm_term",
    "workspace_id",
    "last_request_at",
    "archived",
];

const COMPANY: [&str; 22] = [
    "app_id",
    "company_id",
    "contacts_count",
    "created_at",
    "custom_attributes",
    "id",
    "industry",
    "last_request_at",
    "monthly_spend",
    "name",
    "notes",
    "plan",
    "remote_created_at",
    "segments",
    "session_count",
    "size",
    "tags",
    "type",
    "updated_at",
    "user_count",
    "website",
    "contacts",
];

const CONVERSATION: [&str; 32] = [
    "admin_assignee_id",
    "ai_agent",
    "ai_agent_participated",
    "ai_topics",
    "channel",
    "company",
    "contact",
    "contacts",
    "conversation_parts",
    "conversation_rating",
    "created_at",
    "custom_attributes",
    "first_contact_reply",
    "id",
    "linked_objects",
    "open",
    "priority",
    "rating",
    "read",
    "sla_applied",
    "snoozed_until",
    "source",
    "state",
    "statistics",
    "tags",
    "team_assignee_id",
    "teammates",
    "title",
    "topics",
    "transitions",
    "type",
    "updated_at",
];

const EVENT: [&str; 10] = [
    "contact",
    "created_at",
    "email",
    "event_name",
    "id",
    "intercom_user_id",
    "metadata",
    "name",
    "type",
    "user_id",
];

/// What `contact.conversations` has.
pub(super) const CONVERSATIONS: [&str; 14] = [
    "all",
    "average_rating",
    "closed",
    "last_ai_rating",
    "last_ai_resolution",
    "last_channel",
    "last_closed_at",
    "last_rating",
    "len",
    "open",
    "ratings",
    "snoozed",
    "tags",
    "total",
];

/// What `contact.location` has.
pub(super) const LOCATION: [&str; 6] =
    ["city", "continent_code", "country", "country_code", "region", "type"];
