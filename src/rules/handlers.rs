//! The functions of a rule set that the engine calls.

/// One such function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handler {
    /// Its name in scripts.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) parameters: &'static [&'static str],
    /// Whether this version calls it.
    pub(crate) is_served: bool,
}

/// A contact, or anything it derives from, changed.
pub(crate) const MAP_CONTACT: &str = "map_contact";
/// After `map_contact`, unless that skipped or deleted.
pub(crate) const MAP_TAGS: &str = "map_tags";
/// After those, when Brevo already holds the contact.
pub(crate) const MERGE_CONTACT: &str = "merge_contact";
/// Several Intercom contacts share one e-mail address.
pub(crate) const CHOOSE_PRIMARY: &str = "choose_primary";

/// All handlers. Any may be missing from a set; none may be there twice.
pub(crate) const HANDLERS: [Handler; 9] = [
    Handler { name: MAP_CONTACT, parameters: &["contact", "brevo"], is_served: true },
    Handler { name: MAP_TAGS, parameters: &["tags", "contact", "brevo"], is_served: true },
    Handler { name: MERGE_CONTACT, parameters: &["existing", "brevo"], is_served: true },
    Handler { name: CHOOSE_PRIMARY, parameters: &["contacts"], is_served: true },
    Handler { name: "map_company", parameters: &["company", "brevo"], is_served: false },
    Handler { name: "map_conversation", parameters: &["conversation", "brevo"], is_served: false },
    Handler { name: "map_event", parameters: &["event", "brevo"], is_served: false },
    Handler { name: "map_brevo_contact", parameters: &["contact", "intercom"], is_served: false },
    Handler { name: "map_brevo_event", parameters: &["event", "intercom"], is_served: false },
];

/// The handler of this name.
pub(crate) fn handler(name: &str) -> Option<&'static Handler> {
    HANDLERS.iter().find(|handler| handler.name == name)
}
