//! What `intercom` is in the handlers of the other direction.

use super::doc::{
    FieldDoc, FunctionDoc, Group, Kind, Parameter, field, in_handler, parameter, signature,
};

const TAG: Parameter =
    parameter("name", Kind::Text, "the name of the tag; it is made if there is none");
const TEXT: Parameter = parameter("text", Kind::Text, "what it says, as plain text");

/// What scripts can write as `intercom.name = …`.
pub(crate) const FIELDS: [FieldDoc; 5] = [
    field(
        "email, phone, name, external_id, avatar, owner_id, language_override",
        Kind::Maybe(&Kind::Text),
        "a field of the contact, as Intercom's API spells it",
    ),
    field("role", Kind::Text, "`\"user\"` or `\"lead\"`"),
    field("signed_up_at, last_seen_at", Kind::Maybe(&Kind::Time), "a time"),
    field("unsubscribed_from_emails", Kind::Bool, "`true`; nothing undoes an opt-out"),
    field("custom_attributes.x", Kind::Any, "a custom attribute: text, a number, a bool, or `()`"),
];

/// On a contact of Intercom.
pub(crate) const CONTACT: Group = Group {
    title: "On an Intercom contact",
    handle: "intercom",
    receiver: Kind::Intercom,
    handlers: &["map_brevo_contact", "map_brevo_event"],
    about: "",
    functions: &[
        FunctionDoc {
            name: "add_tag",
            signatures: &[signature(&[TAG], Kind::Nothing)],
            summary: "Puts a tag on the contact.",
            notes: "",
            failures: &["the name is empty or no text"],
            examples: &[in_handler(
                "map_brevo_contact",
                "intercom.add_tag(\"newsletter\");",
                "d.tags_added",
                r#"["newsletter"]"#,
            )],
        },
        FunctionDoc {
            name: "archive",
            signatures: &[signature(&[], Kind::Nothing)],
            summary: "Archives the contact in Intercom.",
            notes: "",
            failures: &[],
            examples: &[in_handler(
                "map_brevo_contact",
                "intercom.archive();",
                "d.skipped",
                "false",
            )],
        },
        FunctionDoc {
            name: "create",
            signatures: &[signature(
                &[parameter("role", Kind::Text, "`\"lead\"` or `\"user\"`")],
                Kind::Nothing,
            )],
            summary: "Makes the contact in Intercom if there is none; without it nothing is created.",
            notes: "Creations count for `guards.max_change`.",
            failures: &["the role is neither `\"lead\"` nor `\"user\"`"],
            examples: &[in_handler(
                "map_brevo_contact",
                "intercom.create(\"lead\");",
                "d.created",
                "\"lead\"",
            )],
        },
        FunctionDoc {
            name: "remove_tag",
            signatures: &[signature(&[TAG], Kind::Nothing)],
            summary: "Takes a tag off the contact.",
            notes: "",
            failures: &["the name is empty or no text"],
            examples: &[in_handler(
                "map_brevo_contact",
                "intercom.remove_tag(\"newsletter\");",
                "d.tags_removed",
                r#"["newsletter"]"#,
            )],
        },
        FunctionDoc {
            name: "skip",
            signatures: &[signature(
                &[parameter("reason", Kind::Text, "why, as `status` and `explain` show it")],
                Kind::Nothing,
            )],
            summary: "Writes nothing to Intercom for this record; what was applied before stays.",
            notes: "",
            failures: &["the reason is no text"],
            examples: &[in_handler(
                "map_brevo_contact",
                "intercom.skip(\"a test\");",
                "d.reason",
                "\"a test\"",
            )],
        },
    ],
};

/// What is done once for an event.
pub(crate) const EVENT: Group = Group {
    title: "In `map_brevo_event` alone",
    handle: "intercom",
    receiver: Kind::Intercom,
    handlers: &["map_brevo_event"],
    about: "Each is done once for each event, however often it is derived.",
    functions: &[
        FunctionDoc {
            name: "note",
            signatures: &[signature(&[TEXT], Kind::Nothing)],
            summary: "Writes a note on the contact, signed by `admin_id`.",
            notes: "",
            failures: &["the text is empty"],
            examples: &[in_handler(
                "map_brevo_event",
                "intercom.note(\"unsubscribed in Brevo\");",
                "d.notes",
                r#"["unsubscribed in Brevo"]"#,
            )],
        },
        FunctionDoc {
            name: "reply",
            signatures: &[signature(
                &[
                    parameter("conversation_id", Kind::Any, "Intercom's id of the conversation"),
                    TEXT,
                ],
                Kind::Nothing,
            )],
            summary: "Replies in a conversation, as `admin_id`.",
            notes: "",
            failures: &["the text is empty", "the id is neither text nor a whole number"],
            examples: &[in_handler(
                "map_brevo_event",
                "intercom.reply(\"215469\", \"Your message bounced.\");",
                "d.replies",
                r#"[{"conversation": "215469", "text": "Your message bounced."}]"#,
            )],
        },
        FunctionDoc {
            name: "start_conversation",
            signatures: &[signature(&[TEXT], Kind::Nothing)],
            summary: "Begins a conversation with the contact, as `admin_id`.",
            notes: "",
            failures: &["the text is empty"],
            examples: &[in_handler(
                "map_brevo_event",
                "intercom.start_conversation(\"Did our message reach you?\");",
                "d.conversations",
                r#"["Did our message reach you?"]"#,
            )],
        },
        FunctionDoc {
            name: "track",
            signatures: &[signature(
                &[
                    parameter("name", Kind::Text, "the name of the event"),
                    parameter("metadata", Kind::Fields, "what it carries; `#{}` for nothing"),
                ],
                Kind::Nothing,
            )],
            summary: "Adds a custom event to the contact in Intercom.",
            notes: "",
            failures: &["the name is empty or no text", "the metadata are no map"],
            examples: &[in_handler(
                "map_brevo_event",
                "intercom.track(\"newsletter_opened\", #{ subject: event.subject });",
                "d.events[0].properties",
                r#"{"subject": "News"}"#,
            )],
        },
    ],
};
