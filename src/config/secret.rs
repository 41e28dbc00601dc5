//! Secrets: read once, never shown.

use secrecy::SecretString;

/// A secret from its text; none if there is nothing in it. Space around it is not part of it, for
/// that is how a secret looks that was copied or piped.
///
/// # Errors
/// Help for a text that cannot stand in a header; it does not repeat the text.
pub(super) fn parse(text: &str) -> Result<Option<SecretString>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err("a secret has no spaces, line breaks or letters beyond ASCII".to_owned());
    }
    Ok(Some(SecretString::from(text)))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn secrets_are_trimmed_and_single_words() {
        fn case(text: &str, expected: Result<Option<&str>, ()>) {
            let found = parse(text).map_err(|_| ());
            let found = found.as_ref().map(|s| s.as_ref().map(|s| s.expose_secret()));
            assert_eq!(found, expected.as_ref().map(|s| *s), "{text:?}");
        }
        case("abc", Ok(Some("abc")));
        case(" abc\r\n", Ok(Some("abc")));
        case("", Ok(None));
        case(" \n", Ok(None));
        case("a b", Err(()));
        case("a\nb", Err(()));
        case("ключ", Err(()));
    }
}
