//! The handlers, one by one.

use super::doc::HandlerDoc;

/// What can be written and tested and is not called by the engine of this version; the page says so.
pub(crate) const NOT_CALLED_YET: [&str; 2] = ["map_brevo_contact", "map_brevo_event"];

/// The handlers in the order in which they are called.
pub(crate) const HANDLERS: [HandlerDoc; 9] = [
    HandlerDoc {
        name: "map_contact",
        called: "a contact, or anything it derives from, changed",
        file: "mapping.rhai",
        notes: "The one that matters most: without it no contact is written. It is called for tags, companies, conversations \
                and the passing of time, too, and decides all of the contact each time.",
        example: "fn map_contact(contact, brevo) {
    if !is_email(contact.email) { return brevo.skip(\"no e-mail address\"); }
    brevo.email = contact.email;
    let name = split_name(contact.name);
    brevo.FIRSTNAME = name.first;
    brevo.LASTNAME = name.last;
    if older_than(contact.last_seen_at, \"30d\") { brevo.add_to_list(\"sleeping\"); }
}",
    },
    HandlerDoc {
        name: "map_tags",
        called: "after `map_contact`, unless that skipped or deleted",
        file: "tags.rhai",
        notes: "`tags` are the names of the contact's tags, an empty list where it has none.",
        example: "const TAG_LISTS = #{ vip: 41, \"churn risk\": \"Save them\", partner: [\"Partners\", 42] };

fn map_tags(tags, contact, brevo) {
    brevo.add_to_lists(tags, TAG_LISTS);
}",
    },
    HandlerDoc {
        name: "merge_contact",
        called: "after those, when Brevo already holds the contact",
        file: "merge.rhai",
        notes: "`existing` is Brevo's contact. The engine runs it again as if its result had been written: a decision that \
                moves again, such as a counter, is an error at the line that moves it.",
        example: "fn merge_contact(existing, brevo) {
    for name in [\"FIRSTNAME\", \"LASTNAME\"] {
        if brevo[name] == () { brevo.keep(name); }
    }
    if existing.LIFETIME_VALUE > 1000 { brevo.add_to_list(\"vip\"); }
}",
    },
    HandlerDoc {
        name: "choose_primary",
        called: "several Intercom contacts share one e-mail address",
        file: "merge.rhai",
        notes: "Returns one of `contacts`, or `()` to leave the choice to the engine: a user before a lead, then the latest \
                `last_seen_at`, the latest `updated_at`, the smallest id. `older_than` and `within` cannot be used.",
        example: "fn choose_primary(contacts) {
    contacts.find(|contact| contact.custom_attributes.account == \"paying\")
}",
    },
    HandlerDoc {
        name: "map_company",
        called: "a company changed",
        file: "mapping.rhai",
        notes: "Attributes are spelt as Brevo spells those of companies.",
        example: "fn map_company(company, brevo) {
    if company.name == () { return brevo.skip(\"no name\"); }
    brevo.name = company.name;
    brevo.industry = company.industry;
}",
    },
    HandlerDoc {
        name: "map_conversation",
        called: "a conversation changed",
        file: "mapping.rhai",
        notes: "For events and objects. What a contact derives from its conversations belongs into `map_contact`, which is called, \
                too.",
        example: "fn map_conversation(conversation, brevo) {
    for step in conversation.transitions {
        if step.kind == \"rated\" {
            brevo.track(\"conversation_rated\", #{ rating: conversation.conversation_rating.rating }, step.at);
        }
    }
}",
    },
    HandlerDoc {
        name: "map_event",
        called: "a custom event arrived",
        file: "mapping.rhai",
        notes: "Each event is derived, unlike changes of a contact, of which the newest counts.",
        example: "fn map_event(event, brevo) {
    if event.event_name == \"ordered\" {
        brevo.track(\"ordered\", event.metadata, event.created_at);
    }
}",
    },
    HandlerDoc {
        name: "map_brevo_contact",
        called: "a Brevo contact changed, if `direction` lets it through",
        file: "reverse.rhai",
        notes: "What the engine itself wrote comes back as an echo, which is not derived.",
        example: "fn map_brevo_contact(contact, intercom) {
    intercom.custom_attributes.newsletter = 12 in contact.lists;
}",
    },
    HandlerDoc {
        name: "map_brevo_event",
        called: "something happened in Brevo (unsubscribed, opened, clicked, bounced …), if `direction` lets it through",
        file: "reverse.rhai",
        notes: "Opt-outs reach Intercom without a rule (`sync_unsubscribes`).",
        example: "fn map_brevo_event(event, intercom) {
    if event.event == \"hard_bounce\" { intercom.note(`Brevo could not deliver to ${event.email}`); }
}",
    },
];
