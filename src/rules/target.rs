//! What a property of a decision stands for.

use super::diagnostic::nearest;
use crate::model::{AttributeName, InvalidAttributeName};

/// Lower-case properties: what identifies a contact.
const IDENTITIES: [&str; 4] = ["email", "ext_id", "sms", "whatsapp"];

/// What a script can write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The e-mail address.
    Email,
    /// The external id.
    ExtId,
    /// An attribute; phone identifiers are attributes, too.
    Attribute(AttributeName),
}

impl Target {
    /// Reads a property's name: lower case is an identity, upper case an attribute.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        match name {
            "email" | "EMAIL" => return Ok(Self::Email),
            "ext_id" | "EXT_ID" => return Ok(Self::ExtId),
            "sms" | "whatsapp" => return Self::attribute(name),
            _ => {}
        }
        if name.chars().any(char::is_lowercase) {
            return Err(unknown_property(name));
        }
        Self::attribute(name)
    }

    /// An attribute of this name in upper case, or the identity that it stands for.
    pub(crate) fn attribute(name: &str) -> Result<Self, String> {
        match name.to_uppercase().as_str() {
            "EMAIL" => Ok(Self::Email),
            "EXT_ID" => Ok(Self::ExtId),
            upper => {
                upper.parse().map(Self::Attribute).map_err(|e: InvalidAttributeName| e.to_string())
            }
        }
    }
}

/// Says what was perhaps meant by a property that does not exist.
pub(crate) fn unknown_property(name: &str) -> String {
    let advice = match nearest(name, IDENTITIES) {
        Some(identity) => format!("did you mean `{identity}`?"),
        None => format!("attributes are written in upper case: `{}`", name.to_uppercase()),
    };
    format!("a decision has no `{name}`; {advice}")
}

/// The name of a field as the name of an attribute: upper case, with `_` for what is no letter.
pub(crate) fn attribute_case(field: &str) -> String {
    field
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect::<String>()
        .to_uppercase()
}
