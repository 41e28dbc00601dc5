//! Which version of the API an answer or a notification is shaped by.

/// The second number of `2.x`: what an answer looks like follows the request's `Intercom-Version`,
/// what a notification looks like follows the app's setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32);

impl Version {
    /// The version that this fake speaks if nobody asks for another.
    pub(super) const DEFAULT: Self = Self(11);

    /// Reads `2.15`; what is older than 2.11 looks like 2.11 here, and `Preview` like the newest.
    pub(super) fn parse(text: &str) -> Self {
        match text.strip_prefix("2.").and_then(|minor| minor.parse().ok()) {
            Some(minor) => Self(minor).max(Self::DEFAULT),
            None if text == "Preview" => Self(u32::MAX),
            None => Self::DEFAULT,
        }
    }

    /// True from 2.`minor` on.
    pub(super) fn is_since(self, minor: u32) -> bool {
        self.0 >= minor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_second_number() {
        assert!(Version::parse("2.15").is_since(15));
        assert!(!Version::parse("2.9").is_since(12));
        assert!(Version::parse("Preview").is_since(16));
        assert_eq!(Version::parse("1.4"), Version::DEFAULT);
    }
}
