//! Phone numbers as they are compared: by their digits, as Brevo does.

/// Brevo takes no number with fewer digits.
const FEWEST: usize = 6;

/// The digits of a number as people write it; a leading `00` stands for `+`, and `(0)` is said, not
/// dialled. None: it is no number.
pub fn phone_digits(text: &str) -> Option<String> {
    let text = text.replace("(0)", "");
    let text = text.trim_start();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let digits = match digits.strip_prefix("00") {
        Some(rest) if !text.starts_with('+') => rest.to_owned(),
        _ => digits,
    };
    (digits.len() >= FEWEST).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_has_the_same_digits_however_it_is_written() {
        for text in [
            "+66812345678",
            "0066 81 234-5678",
            "66812345678",
            " +66 (0)81.234.5678",
            "+66/812345678",
        ] {
            assert_eq!(phone_digits(text).as_deref(), Some("66812345678"), "{text}");
        }
        for text in ["", "call me", "+12345", "(0)"] {
            assert_eq!(phone_digits(text), None, "{text}");
        }
    }
}
