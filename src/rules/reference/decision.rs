//! What `brevo` is in each handler.

use super::doc::{
    FieldDoc, FunctionDoc, Group, Kind, Parameter, decides, fails, field, in_handler, parameter,
    signature,
};

const LIST: Parameter = parameter(
    "list",
    Kind::BrevoList,
    "the number of a list, a name under `lists` in the configuration, or the exact name of one list of the account",
);
const ATTRIBUTE: Parameter = parameter("attribute", Kind::Text, "the name of an attribute");
const REASON: Parameter = parameter("reason", Kind::Text, "why, as `status` and `explain` show it");
const EVENT_NAME: Parameter = parameter(
    "name",
    Kind::Text,
    "the name of the event; what Brevo's names cannot hold becomes `_`",
);
const PROPERTIES: Parameter =
    parameter("properties", Kind::Fields, "what the event carries; `#{}` for nothing");
const AT: Parameter = parameter("at", Kind::Time, "when it happened");
const NOT_A_LIST: &str = "the list is `()`, a number below 1, or neither number nor text";
const NOT_AN_ATTRIBUTE: &str = "the name cannot be one of an attribute, or is an identity";

/// What scripts can write as `brevo.email = …`.
pub(crate) const IDENTITIES: [FieldDoc; 5] = [
    field("email", Kind::Text, "the e-mail address; what the contact is found by first"),
    field("ext_id", Kind::Text, "Brevo's EXT_ID; set only where a script does"),
    field("sms", Kind::Text, "the phone number, in E.164: the attribute `SMS` under another name"),
    field("whatsapp", Kind::Text, "the same for `WHATSAPP`"),
    field(
        "UPPER_CASE",
        Kind::Any,
        "an attribute; `brevo[\"ODD NAME\"]` where it is not a name in Rhai. Text, numbers, bools, a list of texts",
    ),
];

/// In the handlers of a contact.
pub(crate) const CONTACT: Group = Group {
    title: "On a contact",
    handle: "brevo",
    receiver: Kind::Decision,
    handlers: &["map_contact", "map_tags", "merge_contact"],
    about: "",
    functions: &[
        FunctionDoc {
            name: "set_all",
            signatures: &[
                signature(
                    &[
                        parameter(
                            "values",
                            Kind::Maybe(&Kind::Fields),
                            "where values are taken from",
                        ),
                        parameter("names", Kind::Fields, "fields, and the attributes they become"),
                    ],
                    Kind::Nothing,
                ),
                signature(
                    &[
                        parameter(
                            "values",
                            Kind::Maybe(&Kind::Fields),
                            "where values are taken from",
                        ),
                        parameter("prefix", Kind::Text, "what is put before each name"),
                    ],
                    Kind::Nothing,
                ),
            ],
            summary: "Writes many attributes at once, faster than a loop does.",
            notes: "With a map, the fields that it names; an absent one is `()`. With a prefix, all fields: the name of \
                    each in upper case, with `_` for what is neither letter nor digit; nested values are left out.",
            failures: &["the first argument is neither a map, a record nor `()`", NOT_AN_ATTRIBUTE],
            examples: &[
                decides(
                    "brevo.set_all(contact.custom_attributes, #{ plan_tier: \"PLAN\", seats: \"SEATS\" });",
                    "d.attributes",
                    r#"{"PLAN": "pro", "SEATS": 12}"#,
                ),
                decides("brevo.set_all(contact.custom_attributes, \"CA_\");", "d.CA_SEATS", "12"),
                fails(
                    "brevo.set_all([1], \"CA_\");",
                    "`set_all` takes a map of values as its first argument",
                ),
            ],
        },
        FunctionDoc {
            name: "clear",
            signatures: &[signature(&[ATTRIBUTE], Kind::Nothing)],
            summary: "Empties an attribute, whoever wrote its value.",
            notes: "Writing `()` takes back only what the engine itself wrote and nobody changed since.",
            failures: &[NOT_AN_ATTRIBUTE],
            examples: &[
                decides("brevo.clear(\"TRIAL_ENDS\");", "d.clears(\"TRIAL_ENDS\")", "true"),
                fails("brevo.clear(\"email\");", "`clear` takes an attribute, not `email`"),
            ],
        },
        FunctionDoc {
            name: "keep",
            signatures: &[signature(&[ATTRIBUTE], Kind::Nothing)],
            summary: "Leaves a value that Brevo has, whatever this decision writes; an empty one is written.",
            notes: "",
            failures: &[NOT_AN_ATTRIBUTE],
            examples: &[decides(
                "brevo.FIRSTNAME = \"Ann\"; brevo.keep(\"FIRSTNAME\");",
                "d.keeps(\"FIRSTNAME\")",
                "true",
            )],
        },
        FunctionDoc {
            name: "add_to_list",
            signatures: &[signature(&[LIST], Kind::Nothing)],
            summary: "Grants a list. When the rules grant it no more, the engine takes it back.",
            notes: "Nobody who opted out is added, whatever the rules say. The last word on a list wins, whichever of its \
                    names it is called by. A name that is no list makes a dead letter, unless `create_lists` is on.",
            failures: &[NOT_A_LIST],
            examples: &[
                decides("brevo.add_to_list(\"leads\");", "d.on_list(\"leads\")", "true"),
                decides("brevo.add_to_list(lists.leads);", "d.on_list(37)", "true"),
                fails(
                    "brevo.add_to_list(());",
                    "`add_to_list` takes the number or name of a list, not ()",
                ),
            ],
        },
        FunctionDoc {
            name: "add_to_lists",
            signatures: &[signature(
                &[
                    parameter("tags", Kind::Maybe(&Kind::List), "names of tags, or any texts"),
                    parameter(
                        "table",
                        Kind::Fields,
                        "what each grants: a list, an array of lists, or a row of a table with the column `list`",
                    ),
                ],
                Kind::Nothing,
            )],
            summary: "Grants the lists that a table gives for tags, faster than a loop does.",
            notes: "A tag that the table does not have grants nothing.",
            failures: &["the tags are neither a list nor `()`", "the table is no map", NOT_A_LIST],
            examples: &[
                decides(
                    "brevo.add_to_lists(contact.tags, #{ vip: [41, \"leads\"], beta: 42 });",
                    "[d.on_list(41), d.on_list(\"leads\"), d.on_list(42)]",
                    "[true, true, false]",
                ),
                decides(
                    "brevo.add_to_lists(contact.tags, table(\"lists.csv\"));",
                    "d.on_list(41)",
                    "true",
                ),
            ],
        },
        FunctionDoc {
            name: "remove_from_list",
            signatures: &[signature(&[LIST], Kind::Nothing)],
            summary: "Takes the contact off a list, also where somebody else put it there.",
            notes: "A list that the engine granted needs no such line: not granting it any more is enough.",
            failures: &[NOT_A_LIST],
            examples: &[decides(
                "brevo.add_to_list(\"leads\"); brevo.remove_from_list(37);",
                "d.off_list(\"leads\")",
                "true",
            )],
        },
        FunctionDoc {
            name: "unsubscribe",
            signatures: &[
                signature(&[], Kind::Nothing),
                signature(
                    &[parameter("channel", Kind::Text, "`\"email\"` or `\"sms\"`")],
                    Kind::Nothing,
                ),
            ],
            summary: "Opts the contact out, of e-mail or of SMS, for good.",
            notes: "Opt-outs made in Intercom need no rule; the engine carries them over. Nothing but the person undoes one.",
            failures: &["there is no such channel"],
            examples: &[
                decides("brevo.unsubscribe();", "d.unsubscribed", "true"),
                decides("brevo.unsubscribe(\"sms\");", "d.sms_unsubscribed", "true"),
                fails("brevo.unsubscribe(\"fax\");", "`fax` is not a channel"),
            ],
        },
        FunctionDoc {
            name: "resubscribe",
            signatures: &[signature(&[], Kind::Nothing)],
            summary: "Lifts an opt-out that Intercom shows to be older than an opt-in.",
            notes: "Only with `guards.allow_resubscribe: true`, and only if Intercom told of the opt-in, or showed the contact as unsubscribed and later as subscribed. An opt-out that may be newer, wherever it was made, one of another contact with the address, a bounce and a complaint stay. What is lifted is kept for audit.",
            failures: &[],
            examples: &[decides("brevo.resubscribe();", "d.resubscribed", "true")],
        },
        FunctionDoc {
            name: "double_opt_in",
            signatures: &[signature(
                &[
                    parameter("template", Kind::Int, "the number of the template in Brevo"),
                    parameter("url", Kind::Text, "where the link in the message leads"),
                    parameter(
                        "lists",
                        Kind::Any,
                        "the list, or an array of lists, that the opt-in grants",
                    ),
                ],
                Kind::Nothing,
            )],
            summary: "Lets Brevo ask the person to confirm an opt-in, by a message with a link.",
            notes: "Once for each address that `brevo.email` names, whatever becomes of the contact and the rules; never to one who opted out, is on all these lists, or left them. Until it is sent, the newest decision counts.",
            failures: &[
                "the template is no number of one",
                "the URL is no web address",
                "there is no list",
                NOT_A_LIST,
            ],
            examples: &[
                decides(
                    "brevo.double_opt_in(5, \"https://example.com/welcome\", [\"leads\"]);",
                    "d.double_opt_in",
                    r#"{"template": 5, "redirection_url": "https://example.com/welcome", "lists": [37]}"#,
                ),
                fails(
                    "brevo.double_opt_in(5, \"example.com\", [\"leads\"]);",
                    "`double_opt_in`: `example.com` is not a web address",
                ),
            ],
        },
        TRACK,
        UPSERT_OBJECT,
        FunctionDoc {
            name: "link_company",
            signatures: &[signature(
                &[parameter("company_id", Kind::Text, "Intercom's id of the company")],
                Kind::Nothing,
            )],
            summary: "Links the contact to the company in Brevo that `map_company` made of an Intercom company.",
            notes: "Given `()` it does nothing.",
            failures: &["the id is neither text, a whole number nor `()`"],
            examples: &[
                decides(
                    "brevo.link_company(contact.company.id);",
                    "d.companies",
                    r#"["6660d4f2a1b2c3d4e5f60718"]"#,
                ),
                fails(
                    "brevo.link_company(true);",
                    "`link_company` takes Intercom's id of a company, such as `contact.company.id`",
                ),
            ],
        },
        SKIP,
        FunctionDoc {
            name: "release",
            signatures: &[signature(&[], Kind::Nothing)],
            summary: "Takes back all that the engine granted and wrote for this contact, and leaves the rest.",
            notes: "",
            failures: &[],
            examples: &[decides("brevo.release();", "d.released", "true")],
        },
        DELETE,
    ],
};

/// Where a company is mapped.
pub(crate) const COMPANY: Group = Group {
    title: "On a company",
    handle: "brevo",
    receiver: Kind::Decision,
    handlers: &["map_company"],
    about: "Attributes are spelt as Brevo spells those of companies, upper or lower case: `brevo.name`, `brevo.industry`.",
    functions: &[
        FunctionDoc {
            examples: &[in_handler(
                "map_company",
                "brevo.skip(\"a test\");",
                "d.reason",
                "\"a test\"",
            )],
            ..SKIP
        },
        FunctionDoc {
            examples: &[in_handler("map_company", "brevo.delete();", "d.deleted", "true")],
            ..DELETE
        },
    ],
};

/// Where a conversation or an event is mapped.
pub(crate) const OCCURRENCE: Group = Group {
    title: "On a conversation or an event",
    handle: "brevo",
    receiver: Kind::Decision,
    handlers: &["map_conversation", "map_event"],
    about: "The record itself has nothing in Brevo: attributes and lists are those of a contact, of `brevo.contact(…)`.",
    functions: &[
        FunctionDoc {
            name: "contact",
            signatures: &[signature(
                &[parameter(
                    "contact",
                    Kind::Any,
                    "a contact, such as `conversation.contact`, or its id",
                )],
                Kind::Decision,
            )],
            summary: "The decision on a contact, with all that can be written there.",
            notes: "Asked twice for the same contact it gives the same decision.",
            failures: &["the value is neither a contact nor an id"],
            examples: &[
                in_handler(
                    "map_event",
                    "let c = brevo.contact(event.contact); c.LAST_EVENT = event.event_name;",
                    "d.contact(\"665f1c0a9e3b7d0012ab34c1\").LAST_EVENT",
                    "\"ordered\"",
                ),
                in_handler(
                    "map_conversation",
                    "for c in conversation.contacts { brevo.contact(c).add_to_list(\"leads\"); }",
                    "d.contacts",
                    r#"["665f1c0a9e3b7d0012ab34c1"]"#,
                ),
                fails(
                    "brevo.contact(());",
                    "`contact` takes a contact, such as `conversation.contact`, or its id",
                ),
            ],
        },
        FunctionDoc {
            examples: &[in_handler(
                "map_event",
                "brevo.track(event.event_name, event.metadata, event.created_at);",
                "d.events[0].name",
                "\"ordered\"",
            )],
            ..TRACK
        },
        FunctionDoc {
            examples: &[in_handler(
                "map_conversation",
                "brevo.upsert_object(\"ticket\", conversation.id, #{ state: conversation.state });",
                "d.objects",
                r#"{"ticket:215469": {"state": "open"}}"#,
            )],
            ..UPSERT_OBJECT
        },
        FunctionDoc {
            examples: &[in_handler(
                "map_conversation",
                "brevo.skip(\"not for marketing\");",
                "d.reason",
                "\"not for marketing\"",
            )],
            ..SKIP
        },
    ],
};

const TRACK: FunctionDoc = FunctionDoc {
    name: "track",
    signatures: &[
        signature(&[EVENT_NAME, PROPERTIES], Kind::Nothing),
        signature(&[EVENT_NAME, PROPERTIES, AT], Kind::Nothing),
    ],
    summary: "Sends an event of the contact to Brevo, once for each record, name and time.",
    notes: "Without `at` once for each record and name; where `at` is `()` it did not happen, and nothing is sent. Properties do not count: other properties are no new event. \
            What happened before the first sync is not sent, unless `backfill_events` is on; new rules on known \
            records send nothing.",
    failures: &[
        "the name is empty or no text",
        "the properties are neither a map nor `()`, take more than 50 KB, or hold a number that is not finite",
        "`at` is neither a time nor `()`",
    ],
    examples: &[
        decides(
            "brevo.track(\"signed_up\", #{ role: contact.role }, contact.signed_up_at);",
            "d.events[0]",
            r#"{"name": "signed_up", "at": 1736467200, "properties": {"role": "user"}}"#,
        ),
        decides("brevo.track(\"Plan changed!\", #{});", "d.events[0].name", "\"Plan_changed_\""),
        decides("brevo.track(\"replied\", #{}, contact.last_replied_at);", "d.events", "[]"),
        fails("brevo.track(\"\", #{});", "`track` takes the name of an event, not empty text"),
    ],
};

const UPSERT_OBJECT: FunctionDoc = FunctionDoc {
    name: "upsert_object",
    signatures: &[signature(
        &[
            parameter("type", Kind::Text, "the type of custom object in Brevo"),
            parameter("id", Kind::Any, "what identifies the object: text or a whole number"),
            parameter("fields", Kind::Fields, "its fields; those that are `()` are left out"),
        ],
        Kind::Nothing,
    )],
    summary: "Makes or changes a custom object in Brevo that belongs to the contact.",
    notes: "Of a field that is written twice the last word counts.",
    failures: &[
        "the type is empty or holds a `:`",
        "the id is neither text nor a whole number",
        "the fields are neither a map nor `()`, or hold a number that is not finite",
    ],
    examples: &[decides(
        "brevo.upsert_object(\"subscription\", \"s1\", #{ plan: contact.custom_attributes.plan_tier });",
        "d.objects",
        r#"{"subscription:s1": {"plan": "pro"}}"#,
    )],
};

const SKIP: FunctionDoc = FunctionDoc {
    name: "skip",
    signatures: &[signature(&[REASON], Kind::Nothing)],
    summary: "Writes nothing for this record; what was applied before stays.",
    notes: "`return brevo.skip(\"…\");` ends the handler, too.",
    failures: &["the reason is no text"],
    examples: &[
        decides(
            "if contact.role == \"user\" { return brevo.skip(\"no leads, no users\"); }",
            "d.reason",
            "\"no leads, no users\"",
        ),
        decides("brevo.skip(\"x\");", "d.skipped", "true"),
    ],
};

const DELETE: FunctionDoc = FunctionDoc {
    name: "delete",
    signatures: &[signature(&[], Kind::Nothing)],
    summary: "Deletes what the engine made of this record in Brevo.",
    notes: "A contact that the engine did not create is released instead. More deletions than `guards.max_change` allows are \
            held for approval.",
    failures: &[],
    examples: &[decides("brevo.delete();", "d.deleted", "true")],
};
