//! What a notification is about: Intercom's names and the short names of the product page.

/// The topic of a notification, by what it means for a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// A user or lead came to be.
    ContactCreated,
    /// Something about a contact changed, or a lead became a user.
    ContactUpdated,
    /// Its address changed; the previous one is not said.
    ContactEmailUpdated,
    /// A tag was put on.
    ContactTagCreated,
    /// A tag was taken off.
    ContactTagDeleted,
    /// It opted out of all e-mail.
    ContactUnsubscribed,
    /// It opted in again.
    ContactSubscribed,
    /// It was hidden and may come back.
    ContactArchived,
    /// It came back in full.
    ContactUnarchived,
    /// It is gone for good.
    ContactDeleted,
    /// It absorbed another contact.
    ContactMerged,
    /// Intercom's test of the endpoint.
    Ping,
    /// Any other topic: accepted and ignored.
    Other(String),
}

impl Topic {
    /// The topic of a name as Intercom or a trusted caller gives it (facts: Intercom section 9).
    pub fn from_name(name: &str) -> Self {
        match name {
            "contact.user.created" | "contact.lead.created" | "contact.created"
            | "user.created" | "lead.created" => Self::ContactCreated,
            "contact.user.updated"
            | "contact.lead.updated"
            | "contact.lead.added_email"
            | "contact.lead.signed_up"
            | "contact.updated"
            | "contact.added_email"
            | "contact.signed_up"
            | "user.updated"
            | "lead.updated"
            // Single subscription types: the contact's own flag for e-mail stays as it is.
            | "granular.unsubscribe"
            | "granular.subscribe"
            | "contact.unsubscribed_from_sms" => Self::ContactUpdated,
            "contact.email.updated" | "user.email.updated" => Self::ContactEmailUpdated,
            "contact.user.tag.created" | "contact.lead.tag.created" | "contact.tag.created"
            | "user.tag.created" => Self::ContactTagCreated,
            "contact.user.tag.deleted" | "contact.lead.tag.deleted" | "contact.tag.deleted"
            | "user.tag.deleted" => Self::ContactTagDeleted,
            "contact.unsubscribed" | "user.unsubscribed" => Self::ContactUnsubscribed,
            "contact.subscribed" => Self::ContactSubscribed,
            "contact.archived" => Self::ContactArchived,
            // Subscribed to under the first name, delivered under the second.
            "contact.unarchive" | "contact.unarchived" => Self::ContactUnarchived,
            "contact.deleted" | "user.deleted" => Self::ContactDeleted,
            "contact.merged" => Self::ContactMerged,
            "ping" => Self::Ping,
            other => Self::Other(other.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_names_and_short_names_mean_the_same() {
        fn case(names: &[&str], topic: Topic) {
            for name in names {
                assert_eq!(Topic::from_name(name), topic, "{name}");
            }
        }
        case(
            &["contact.user.created", "contact.lead.created", "contact.created", "user.created"],
            Topic::ContactCreated,
        );
        case(
            &["contact.user.updated", "contact.lead.signed_up", "contact.updated"],
            Topic::ContactUpdated,
        );
        case(&["contact.email.updated", "user.email.updated"], Topic::ContactEmailUpdated);
        case(
            &["contact.lead.tag.created", "contact.tag.created", "user.tag.created"],
            Topic::ContactTagCreated,
        );
        case(&["contact.user.tag.deleted", "contact.tag.deleted"], Topic::ContactTagDeleted);
        case(&["contact.unsubscribed", "user.unsubscribed"], Topic::ContactUnsubscribed);
        case(&["contact.unarchive", "contact.unarchived"], Topic::ContactUnarchived);
        case(&["contact.deleted", "user.deleted"], Topic::ContactDeleted);
        case(&["ping"], Topic::Ping);
        case(&["company.updated"], Topic::Other("company.updated".into()));
        case(&["Contact.Created"], Topic::Other("Contact.Created".into()));
    }
}
