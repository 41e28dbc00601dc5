//! What a notification is about: Intercom's names and the short names of the product page.

/// The topic of a notification, by what it means.
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
    /// It opted out of all SMS.
    ContactUnsubscribedFromSms,
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
    /// A visitor became a user; the item is in a shape of old, so only its id counts.
    VisitorSignedUp,
    /// A company came to be or changed.
    CompanyChanged,
    /// A company is gone for good.
    CompanyDeleted,
    /// A contact joined or left a company.
    CompanyContacts,
    /// Something happened in a conversation.
    Conversation(ConversationTopic),
    /// A custom event.
    EventCreated,
    /// Intercom's test of the endpoint.
    Ping,
    /// Any other topic: accepted and ignored.
    Other(String),
}

/// What happened in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversationTopic {
    /// It began.
    Created,
    /// The contact wrote.
    ContactReplied,
    /// A teammate wrote.
    AdminReplied,
    /// A bot wrote.
    OperatorReplied,
    /// It was given to somebody.
    Assigned,
    /// It was given to somebody, and opened by that.
    OpenAssigned,
    /// A teammate left an internal note.
    Noted,
    /// It was closed.
    Closed,
    /// It was opened again.
    Opened,
    /// It was put off.
    Snoozed,
    /// It came back from being put off.
    Unsnoozed,
    /// It was rated.
    RatingAdded,
    /// Something else about it changed: its priority, its company, a tag, who has read it.
    Updated,
    /// It is gone for good.
    Deleted,
    /// A contact joined or left it. The item is in Intercom's own raw shape, so only ids count.
    Participants,
}

impl Topic {
    /// The topic of a name as Intercom or a trusted caller gives it (facts: Intercom section 9).
    pub fn from_name(name: &str) -> Self {
        if let Some(topic) = ConversationTopic::from_name(name) {
            return Self::Conversation(topic);
        }
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
            | "granular.subscribe" => Self::ContactUpdated,
            "contact.unsubscribed_from_sms" => Self::ContactUnsubscribedFromSms,
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
            "visitor.signed_up" => Self::VisitorSignedUp,
            "company.created" | "company.updated" => Self::CompanyChanged,
            "company.deleted" => Self::CompanyDeleted,
            "company.contact.attached" | "company.contact.detached" => Self::CompanyContacts,
            "event.created" => Self::EventCreated,
            "ping" => Self::Ping,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl ConversationTopic {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "conversation.user.created"
            | "conversation.admin.single.created"
            | "conversation.created" => Self::Created,
            "conversation.user.replied" => Self::ContactReplied,
            "conversation.admin.replied" | "conversation.replied" => Self::AdminReplied,
            "conversation.operator.replied" => Self::OperatorReplied,
            "conversation.admin.assigned" | "conversation.assigned" => Self::Assigned,
            "conversation.admin.open.assigned" => Self::OpenAssigned,
            "conversation.admin.noted" | "conversation.noted" => Self::Noted,
            "conversation.admin.closed" | "conversation.closed" => Self::Closed,
            "conversation.admin.opened" | "conversation.opened" => Self::Opened,
            "conversation.admin.snoozed" | "conversation.snoozed" => Self::Snoozed,
            "conversation.admin.unsnoozed" | "conversation.unsnoozed" => Self::Unsnoozed,
            "conversation.rating.added" | "conversation.rated" => Self::RatingAdded,
            "conversation.priority.updated"
            | "conversation.read"
            | "conversation.updated"
            | "conversation.company.updated"
            | "conversation_part.tag.created"
            | "conversation.part.tag.created"
            | "conversation.tag.created"
            | "conversation.tag.deleted"
            | "conversation_part.redacted" => Self::Updated,
            "conversation.deleted" => Self::Deleted,
            "conversation.contact.attached" | "conversation.contact.detached" => Self::Participants,
            _ => return None,
        })
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
        case(&["company.created", "company.updated"], Topic::CompanyChanged);
        case(&["company.deleted"], Topic::CompanyDeleted);
        case(&["company.contact.attached", "company.contact.detached"], Topic::CompanyContacts);
        case(&["contact.unsubscribed_from_sms"], Topic::ContactUnsubscribedFromSms);
        case(&["granular.unsubscribe", "granular.subscribe"], Topic::ContactUpdated);
        case(&["visitor.signed_up"], Topic::VisitorSignedUp);
        case(&["event.created"], Topic::EventCreated);
        case(&["ticket.closed"], Topic::Other("ticket.closed".into()));
        case(&["Contact.Created"], Topic::Other("Contact.Created".into()));
    }

    #[test]
    fn topics_of_conversations_have_real_names_and_short_ones() {
        use ConversationTopic::*;
        fn case(names: &[&str], topic: ConversationTopic) {
            for name in names {
                assert_eq!(Topic::from_name(name), Topic::Conversation(topic), "{name}");
            }
        }
        case(
            &[
                "conversation.user.created",
                "conversation.admin.single.created",
                "conversation.created",
            ],
            Created,
        );
        case(&["conversation.user.replied"], ContactReplied);
        case(&["conversation.admin.replied"], AdminReplied);
        case(&["conversation.operator.replied"], OperatorReplied);
        case(&["conversation.admin.assigned"], Assigned);
        case(&["conversation.admin.open.assigned"], OpenAssigned);
        case(&["conversation.admin.noted"], Noted);
        case(&["conversation.admin.closed", "conversation.closed"], Closed);
        case(&["conversation.admin.opened"], Opened);
        case(&["conversation.admin.snoozed", "conversation.snoozed"], Snoozed);
        case(&["conversation.admin.unsnoozed"], Unsnoozed);
        case(&["conversation.rating.added"], RatingAdded);
        case(
            &[
                "conversation.priority.updated",
                "conversation.read",
                "conversation.company.updated",
                "conversation_part.tag.created",
                "conversation_part.redacted",
            ],
            Updated,
        );
        case(&["conversation.deleted"], Deleted);
        case(&["conversation.contact.attached", "conversation.contact.detached"], Participants);
    }
}
