//! What the scripts' own tests can call.

use super::doc::{
    FieldDoc, FunctionDoc, Group, Kind, Parameter, fails, field, gives, in_handler, parameter,
    signature,
};

const RECORD: Parameter =
    parameter("record", Kind::Fields, "a record, such as `sample(\"ann.json\")`, or a map");
const OPTIONS: Parameter = parameter("options", Kind::Map, "see below");
const MESSAGE: Parameter = parameter("message", Kind::Text, "what is said where it does not hold");

/// Functions of tests.
pub(crate) const TESTS: Group = Group {
    title: "Functions of tests",
    handle: "",
    receiver: Kind::Nothing,
    handlers: &[],
    about: "",
    functions: &[
        FunctionDoc {
            name: "assert",
            signatures: &[
                signature(&[parameter("holds", Kind::Bool, "what must hold")], Kind::Nothing),
                signature(
                    &[parameter("holds", Kind::Bool, "what must hold"), MESSAGE],
                    Kind::Nothing,
                ),
            ],
            summary: "Fails the test unless the condition holds.",
            notes: "",
            failures: &["it does not hold"],
            examples: &[
                gives("{ assert(1 < 2); true }", "true"),
                fails("assert(2 < 1)", "the assertion does not hold"),
                fails("assert(2 < 1, \"two is more\")", "two is more"),
            ],
        },
        FunctionDoc {
            name: "assert_eq",
            signatures: &[signature(
                &[
                    parameter("got", Kind::Any, "what came out"),
                    parameter("expected", Kind::Any, "what should have"),
                ],
                Kind::Nothing,
            )],
            summary: "Fails the test unless both are the same; lists and maps are compared by content.",
            notes: "",
            failures: &["they differ"],
            examples: &[gives(
                "{ assert_eq(split_name(\"Ann Lee\").first, \"Ann\"); true }",
                "true",
            )],
        },
        FunctionDoc {
            name: "assert_ne",
            signatures: &[signature(
                &[
                    parameter("got", Kind::Any, "what came out"),
                    parameter("other", Kind::Any, "what should not have"),
                ],
                Kind::Nothing,
            )],
            summary: "Fails the test if both are the same; lists and maps are compared by content.",
            notes: "",
            failures: &["they are equal"],
            examples: &[
                gives("{ assert_ne(lower(\"Ann\"), \"Ann\"); true }", "true"),
                fails("assert_ne(1, 1)", "both are 1"),
            ],
        },
        FunctionDoc {
            name: "run_brevo_contact",
            signatures: &[
                signature(&[RECORD], Kind::TestDecision),
                signature(&[RECORD, OPTIONS], Kind::TestDecision),
            ],
            summary: "What `map_brevo_contact` decides on a contact of Brevo.",
            notes: "",
            failures: &["the rules fail, whose message it has"],
            examples: &[in_handler(
                "map_brevo_contact",
                "intercom.name = contact.FIRSTNAME;",
                "run_brevo_contact(#{ FIRSTNAME: \"Ann\" }).name",
                "\"Ann\"",
            )],
        },
        FunctionDoc {
            name: "run_brevo_event",
            signatures: &[
                signature(&[RECORD], Kind::TestDecision),
                signature(&[RECORD, OPTIONS], Kind::TestDecision),
            ],
            summary: "What `map_brevo_event` decides on an event of Brevo.",
            notes: "",
            failures: &["the rules fail, whose message it has"],
            examples: &[in_handler(
                "map_brevo_event",
                "intercom.note(event.event);",
                "run_brevo_event(#{ event: \"opened\" }).notes",
                r#"["opened"]"#,
            )],
        },
        FunctionDoc {
            name: "run_company",
            signatures: &[
                signature(&[RECORD], Kind::TestDecision),
                signature(&[RECORD, OPTIONS], Kind::TestDecision),
            ],
            summary: "What `map_company` decides.",
            notes: "",
            failures: &["the rules fail, whose message it has"],
            examples: &[in_handler(
                "map_company",
                "brevo.name = company.name;",
                "run_company(sample(\"company.json\")).name",
                "\"Example Co\"",
            )],
        },
        FunctionDoc {
            name: "run_contact",
            signatures: &[
                signature(&[RECORD], Kind::TestDecision),
                signature(&[RECORD, OPTIONS], Kind::TestDecision),
            ],
            summary: "What `map_contact`, `map_tags` and `merge_contact` decide on a contact.",
            notes: "",
            failures: &[
                "the rules fail, whose message it has",
                "`as_of` is no time",
                "`lists` is no map",
            ],
            examples: &[
                gives("run_contact(sample(\"contact.json\")).email", "\"ann@example.com\""),
                gives("run_contact(sample(\"contact.json\"), #{ email: () }).email", "null"),
                fails(
                    "run_contact(5)",
                    "`run_contact` takes a record, such as `sample(\"ann.json\")`",
                ),
            ],
        },
        FunctionDoc {
            name: "run_conversation",
            signatures: &[
                signature(&[RECORD], Kind::TestDecision),
                signature(&[RECORD, OPTIONS], Kind::TestDecision),
            ],
            summary: "What `map_conversation` decides.",
            notes: "",
            failures: &["the rules fail, whose message it has"],
            examples: &[in_handler(
                "map_conversation",
                "brevo.track(conversation.state, #{});",
                "run_conversation(sample(\"conversation.json\")).events[0].name",
                "\"open\"",
            )],
        },
        FunctionDoc {
            name: "run_event",
            signatures: &[
                signature(&[RECORD], Kind::TestDecision),
                signature(&[RECORD, OPTIONS], Kind::TestDecision),
            ],
            summary: "What `map_event` decides.",
            notes: "",
            failures: &["the rules fail, whose message it has"],
            examples: &[in_handler(
                "map_event",
                "brevo.track(event.event_name, event.metadata);",
                "run_event(sample(\"event.json\")).events[0].properties",
                r#"{"total": 5}"#,
            )],
        },
        FunctionDoc {
            name: "sample",
            signatures: &[signature(
                &[parameter("name", Kind::Text, "the name of a file in `scripts/tests/samples/`")],
                Kind::Record,
            )],
            summary: "A record from a JSON file.",
            notes: "",
            failures: &["there is no such file", "it is not JSON"],
            examples: &[
                gives("sample(\"contact.json\").name", "\"Ann van der Berg\""),
                fails("sample(\"none.json\")", "there is no sample `none.json` in tests/samples"),
            ],
        },
    ],
};

/// What can be asked of a decision.
pub(crate) const DECIDED: Group = Group {
    title: "Questions to a decision",
    handle: "d",
    receiver: Kind::TestDecision,
    handlers: &[],
    about: "",
    functions: &[
        FunctionDoc {
            name: "clears",
            signatures: &[signature(
                &[parameter("attribute", Kind::Text, "the name of an attribute")],
                Kind::Bool,
            )],
            summary: "Whether the attribute is cleared.",
            notes: "",
            failures: &[],
            examples: &[],
        },
        FunctionDoc {
            name: "contact",
            signatures: &[signature(
                &[parameter("contact", Kind::Any, "a contact, or its id")],
                Kind::TestDecision,
            )],
            summary: "What `brevo.contact(…)` decided, in a conversation or an event.",
            notes: "",
            failures: &["nothing was decided about the contact"],
            examples: &[],
        },
        FunctionDoc {
            name: "keeps",
            signatures: &[signature(
                &[parameter("attribute", Kind::Text, "the name of an attribute")],
                Kind::Bool,
            )],
            summary: "Whether Brevo's value of the attribute is kept.",
            notes: "",
            failures: &[],
            examples: &[],
        },
        FunctionDoc {
            name: "off_list",
            signatures: &[signature(&[parameter("list", Kind::BrevoList, "a list")], Kind::Bool)],
            summary: "Whether the contact is taken off a list by `remove_from_list`.",
            notes: "",
            failures: &[],
            examples: &[],
        },
        FunctionDoc {
            name: "on_list",
            signatures: &[signature(&[parameter("list", Kind::BrevoList, "a list")], Kind::Bool)],
            summary: "Whether a list is granted.",
            notes: "",
            failures: &[],
            examples: &[],
        },
    ],
};

/// Options of `run_contact` and the like.
pub(crate) const RUN_OPTIONS: [FieldDoc; 6] = [
    field("existing", Kind::Map, "Brevo's contact: then `merge_contact` runs, too"),
    field(
        "as_of",
        Kind::Time,
        "what `older_than` and `within` compare with; else 2026-01-01T00:00:00Z",
    ),
    field("companies", Kind::List, "companies of the contact; the first is `contact.company`"),
    field(
        "conversations",
        Kind::Any,
        "conversations of the contact, as an array of them or as the summary",
    ),
    field("lists", Kind::Map, "numbers of lists by name, beside those of the configuration"),
    field(
        "anything else",
        Kind::Any,
        "a field of the record, in place of the sample's: `#{ role: \"lead\" }`",
    ),
];

/// Fields of a decision.
pub(crate) const DECIDED_FIELDS: [FieldDoc; 18] = [
    field("email, ext_id, UPPER_CASE", Kind::Any, "what was written, `()` where nothing was"),
    field("attributes", Kind::Map, "all attributes that have a value"),
    field("events", Kind::List, "what `track` sends: `name`, `properties`, `at`"),
    field("objects", Kind::Map, "what `upsert_object` writes, by `type:id`"),
    field("companies", Kind::List, "the ids that `link_company` was called with"),
    field("skipped", Kind::Bool, "whether `skip` was called"),
    field("reason", Kind::Maybe(&Kind::Text), "and why"),
    field("released", Kind::Bool, "whether `release` was called"),
    field("deleted", Kind::Bool, "whether `delete` was called"),
    field("unsubscribed", Kind::Bool, "whether `unsubscribe()` was called"),
    field("sms_unsubscribed", Kind::Bool, "whether `unsubscribe(\"sms\")` was called"),
    field("resubscribed", Kind::Bool, "whether `resubscribe` was called"),
    field("double_opt_in", Kind::Maybe(&Kind::Map), "its `template`, `redirection_url`, `lists`"),
    field(
        "flips_at",
        Kind::Maybe(&Kind::Int),
        "when an answer about time changes, in seconds since 1970",
    ),
    field("log", Kind::List, "the lines that `log` kept"),
    field(
        "contacts",
        Kind::List,
        "of a conversation or event: the ids of contacts that were decided on",
    ),
    field(
        "custom_attributes, tags_added, tags_removed, created, archived",
        Kind::Any,
        "of a decision for Intercom, beside its fields by name",
    ),
    field(
        "notes, replies, conversations",
        Kind::List,
        "of an event of Brevo: what is said in Intercom",
    ),
];
