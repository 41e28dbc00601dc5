//! Records: the methods of their lists and maps, and the fields beyond Intercom's own.

use super::doc::{
    FieldDoc, FunctionDoc, Group, Kind, Parameter, fails, field, gives, parameter, signature,
};

const TEST: Parameter =
    parameter("test", Kind::Function, "a function of an item that says `true` or `false`");

/// What lists and maps in records can do.
pub(crate) const VIEWS: Group = Group {
    title: "Lists and maps in records",
    handle: "items",
    receiver: Kind::Record,
    handlers: &[],
    about: "`x in list` and `\"name\" in record` ask for an item and for a field that has a value; `list[0]`, `list[-1]` take one \
            from the beginning or the end; `for item in list` and `for name in record` go through them. What is absent is an \
            empty list: all of this works on `()`, too. `filter`, `map`, `keys` and `values` give arrays and maps of the script.",
    functions: &[
        FunctionDoc {
            name: "all",
            signatures: &[signature(&[TEST], Kind::Bool)],
            summary: "Whether all items pass the test.",
            notes: "Of no items, all do.",
            failures: &["the test gives anything but `true` or `false`"],
            examples: &[
                gives("contact.tags.all(|t| t == \"vip\")", "true"),
                gives("contact.none.all(|t| false)", "true"),
            ],
        },
        FunctionDoc {
            name: "contains",
            signatures: &[signature(
                &[parameter("item", Kind::Any, "an item, or the name of a field")],
                Kind::Bool,
            )],
            summary: "The same as `item in items`.",
            notes: "",
            failures: &[],
            examples: &[
                gives("contact.tags.contains(\"vip\")", "true"),
                gives("\"vip\" in contact.tags", "true"),
                gives("\"seats\" in contact.custom_attributes", "true"),
                gives("\"vip\" in contact.none", "false"),
            ],
        },
        FunctionDoc {
            name: "filter",
            signatures: &[signature(&[TEST], Kind::List)],
            summary: "The items that pass the test, as an array; of a map, the entries, as a map.",
            notes: "The test of a map takes name and value.",
            failures: &["the test gives anything but `true` or `false`"],
            examples: &[
                gives("contact.companies.filter(|c| c.plan.name == \"Gold\").len()", "1"),
                gives(
                    "contact.custom_attributes.filter(|name, value| value == 12)",
                    r#"{"seats": 12}"#,
                ),
                gives("contact.none.filter(|x| true)", "[]"),
            ],
        },
        FunctionDoc {
            name: "find",
            signatures: &[signature(&[TEST], Kind::Any)],
            summary: "The first item that passes the test, `()` if none does.",
            notes: "",
            failures: &["the test gives anything but `true` or `false`"],
            examples: &[
                gives("contact.companies.find(|c| c.plan.name == \"Gold\").name", "\"Example Co\""),
                gives("contact.companies.find(|c| c.name == \"none\").name", "null"),
                gives("contact.none.find(|x| true)", "null"),
                fails(
                    "contact.tags.find(|t| 1)",
                    "true or false is needed here, not a whole number",
                ),
            ],
        },
        FunctionDoc {
            name: "first",
            signatures: &[signature(&[], Kind::Any)],
            summary: "The first item, `()` where there is none.",
            notes: "",
            failures: &[],
            examples: &[
                gives("contact.tags.first()", "\"vip\""),
                gives("contact.none.first()", "null"),
            ],
        },
        FunctionDoc {
            name: "is_empty",
            signatures: &[signature(&[], Kind::Bool)],
            summary: "Whether there are no items.",
            notes: "",
            failures: &[],
            examples: &[
                gives("contact.tags.is_empty()", "false"),
                gives("contact.none.is_empty()", "true"),
            ],
        },
        FunctionDoc {
            name: "keys",
            signatures: &[signature(&[], Kind::List)],
            summary: "The names in a map, in alphabetical order.",
            notes: "",
            failures: &[],
            examples: &[
                gives("contact.custom_attributes.keys()", r#"["plan_tier", "renews_at", "seats"]"#),
                gives("contact.none.keys()", "[]"),
            ],
        },
        FunctionDoc {
            name: "last",
            signatures: &[signature(&[], Kind::Any)],
            summary: "The last item, `()` where there is none.",
            notes: "",
            failures: &[],
            examples: &[
                gives("contact.tags.last()", "\"vip\""),
                gives("contact.none.last()", "null"),
            ],
        },
        FunctionDoc {
            name: "len",
            signatures: &[signature(&[], Kind::Int)],
            summary: "How many items there are; `tags.len` is the same.",
            notes: "",
            failures: &[],
            examples: &[
                gives("contact.tags.len()", "1"),
                gives("contact.tags.len", "1"),
                gives("contact.none.len()", "0"),
            ],
        },
        FunctionDoc {
            name: "map",
            signatures: &[signature(
                &[parameter("each", Kind::Function, "a function of an item")],
                Kind::List,
            )],
            summary: "What the function gives for each item, as an array.",
            notes: "",
            failures: &[],
            examples: &[
                gives("contact.companies.map(|c| c.name)", r#"["Example Co"]"#),
                gives("contact.none.map(|x| x)", "[]"),
            ],
        },
        FunctionDoc {
            name: "some",
            signatures: &[signature(&[TEST], Kind::Bool)],
            summary: "Whether any item passes the test.",
            notes: "",
            failures: &["the test gives anything but `true` or `false`"],
            examples: &[
                gives("contact.tags.some(|t| t.starts_with(\"v\"))", "true"),
                gives("contact.none.some(|x| true)", "false"),
            ],
        },
        FunctionDoc {
            name: "values",
            signatures: &[signature(&[], Kind::List)],
            summary: "The values in a map, in the order of their names.",
            notes: "",
            failures: &[],
            examples: &[
                gives("contact.location.values()", r#"["Bangkok", "Thailand"]"#),
                gives("contact.none.values()", "[]"),
            ],
        },
    ],
};

/// What records have no content for in this version, by the beginnings of paths.
pub(crate) const NOT_READ_YET: [&str; 0] = [];

/// Fields that belong to one kind of record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields {
    /// The heading.
    pub(crate) title: &'static str,
    /// The variable that scripts usually call it by.
    pub(crate) record: &'static str,
    /// What it is.
    pub(crate) about: &'static str,
    /// Its fields.
    pub(crate) fields: &'static [FieldDoc],
}

/// The records, in the order of the reference.
pub(crate) const RECORDS: [Fields; 7] = [
    Fields {
        title: "`contact`",
        record: "contact",
        about: "A user or lead of Intercom. Its own fields are there as the API of Intercom has them: `id`, `external_id`, \
                `role`, `email`, `phone`, `name`, `avatar`, `created_at`, `updated_at`, `signed_up_at`, `last_seen_at`, \
                `unsubscribed_from_emails`, `location.country`, `custom_attributes.x` and so on. Beyond them:",
        fields: &[
            field("tags", Kind::List, "the names of its tags"),
            field("company", Kind::Maybe(&Kind::Record), "the first of its companies"),
            field("companies", Kind::List, "all of them"),
            field("language", Kind::Maybe(&Kind::Text), "`language_override`, else the browser's"),
            field("subscriptions", Kind::Map, "subscription types by name: `\"in\"` or `\"out\"`"),
            field("duplicates", Kind::List, "other contacts of Intercom with the same address"),
            field("conversations.open", Kind::Int, "how many have `state == \"open\"`"),
            field("conversations.snoozed", Kind::Int, "how many are snoozed"),
            field("conversations.closed", Kind::Int, "how many are closed"),
            field("conversations.total", Kind::Int, "how many there are"),
            field(
                "conversations.last_closed_at",
                Kind::Maybe(&Kind::Time),
                "when one was last closed",
            ),
            field(
                "conversations.last_rating",
                Kind::Maybe(&Kind::Int),
                "the newest rating, 1 to 5",
            ),
            field("conversations.ratings", Kind::List, "all ratings, the newest last"),
            field("conversations.average_rating", Kind::Maybe(&Kind::Number), "their mean"),
            field(
                "conversations.last_ai_resolution",
                Kind::Maybe(&Kind::Text),
                "how the AI agent's last conversation ended",
            ),
            field("conversations.last_ai_rating", Kind::Maybe(&Kind::Int), "how it was rated"),
            field("conversations.last_channel", Kind::Maybe(&Kind::Text), "where the newest began"),
            field("conversations.tags", Kind::List, "the names of the tags of all of them"),
            field(
                "conversations.all",
                Kind::List,
                "the conversations without their `transitions`, the newest first, at most 100; the counts are of all",
            ),
            field("events.NAME.count", Kind::Int, "how often a custom event came"),
            field("events.NAME.first", Kind::Time, "when first"),
            field("events.NAME.last", Kind::Time, "when last"),
        ],
    },
    Fields {
        title: "`company`",
        record: "company",
        about: "A company of Intercom: `id`, `company_id`, `name`, `plan.name`, `industry`, `size`, `website`, `monthly_spend`, \
                `user_count`, `session_count`, `custom_attributes.x` and so on. Beyond them:",
        fields: &[
            field("tags", Kind::List, "the names of its tags"),
            field("contacts_count", Kind::Int, "how many known contacts belong to it"),
        ],
    },
    Fields {
        title: "`conversation`",
        record: "conversation",
        about: "A conversation of Intercom: `id`, `state`, `open`, `created_at`, `updated_at`, `source`, `statistics`, \
                `conversation_rating`, `ai_agent`, `custom_attributes.x` and so on. Beyond them:",
        fields: &[
            field("contact", Kind::Maybe(&Kind::Record), "the first of its contacts"),
            field("contacts", Kind::List, "all of them"),
            field("tags", Kind::List, "the names of its tags"),
            field(
                "transitions",
                Kind::List,
                "what happened to it, in order: `kind` (created, replied, noted, assigned, closed, opened, snoozed, unsnoozed, \
                 rated, ai_resolved, ai_escalated, ai_rated), `at`, where it is known `by` (contact, admin, bot), and `rating` or \
                 `resolution`. Gathered from notifications and statistics, so that none is lost where several changes are \
                 derived at once",
            ),
        ],
    },
    Fields {
        title: "`event`",
        record: "event",
        about: "A custom event of Intercom: `event_name`, `created_at`, `metadata.x`. Beyond them:",
        fields: &[field("contact", Kind::Maybe(&Kind::Record), "the contact that it belongs to")],
    },
    Fields {
        title: "`existing`, in `merge_contact`",
        record: "existing",
        about: "Brevo's contact: its attributes by name, such as `existing.FIRSTNAME`, and",
        fields: &[
            field("id", Kind::Int, "Brevo's number of it"),
            field("email", Kind::Maybe(&Kind::Text), "its address"),
            field("lists", Kind::List, "the numbers of the lists that it is on"),
            field("blacklisted", Kind::Bool, "whether it opted out of e-mail"),
        ],
    },
    Fields {
        title: "`contact`, in `map_brevo_contact`",
        record: "contact",
        about: "Brevo's contact, as `existing` is.",
        fields: &[],
    },
    Fields {
        title: "`event`, in `map_brevo_event`",
        record: "event",
        about: "What Brevo's webhook tells: `event` (unsubscribed, opened, click, hard_bounce, …), `email`, \
                `date`, `subject`, `link`, as Brevo names them. Beyond them:",
        fields: &[field("contact", Kind::Maybe(&Kind::Record), "Brevo's contact")],
    },
];
