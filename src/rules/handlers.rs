//! The functions of a rule set that the engine calls.

/// One such function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handler {
    /// Its name in scripts.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) parameters: &'static [&'static str],
}

/// A contact, or anything it derives from, changed.
pub(crate) const MAP_CONTACT: &str = "map_contact";
/// After `map_contact`, unless that skipped or deleted.
pub(crate) const MAP_TAGS: &str = "map_tags";
/// After those, when Brevo already holds the contact.
pub(crate) const MERGE_CONTACT: &str = "merge_contact";
/// Several Intercom contacts share one e-mail address.
pub(crate) const CHOOSE_PRIMARY: &str = "choose_primary";
/// A company changed.
pub(crate) const MAP_COMPANY: &str = "map_company";
/// A conversation changed.
pub(crate) const MAP_CONVERSATION: &str = "map_conversation";
/// A custom event arrived.
pub(crate) const MAP_EVENT: &str = "map_event";
/// A contact of Brevo changed, direction allowing.
pub(crate) const MAP_BREVO_CONTACT: &str = "map_brevo_contact";
/// An event of Brevo arrived, direction allowing.
pub(crate) const MAP_BREVO_EVENT: &str = "map_brevo_event";

/// All handlers. Any may be missing from a set; none may be there twice.
pub(crate) const HANDLERS: [Handler; 9] = [
    Handler { name: MAP_CONTACT, parameters: &["contact", "brevo"] },
    Handler { name: MAP_TAGS, parameters: &["tags", "contact", "brevo"] },
    Handler { name: MERGE_CONTACT, parameters: &["existing", "brevo"] },
    Handler { name: CHOOSE_PRIMARY, parameters: &["contacts"] },
    Handler { name: MAP_COMPANY, parameters: &["company", "brevo"] },
    Handler { name: MAP_CONVERSATION, parameters: &["conversation", "brevo"] },
    Handler { name: MAP_EVENT, parameters: &["event", "brevo"] },
    Handler { name: MAP_BREVO_CONTACT, parameters: &["contact", "intercom"] },
    Handler { name: MAP_BREVO_EVENT, parameters: &["event", "intercom"] },
];

/// The handler of this name.
pub(crate) fn handler(name: &str) -> Option<&'static Handler> {
    HANDLERS.iter().find(|handler| handler.name == name)
}
