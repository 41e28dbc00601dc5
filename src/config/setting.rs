//! How a single value is read from its text.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::model::{AttributeName, AttributeType};

use super::suggestion;

/// A value that a setting can have.
pub(super) trait Setting: Sized {
    /// Reads the value.
    ///
    /// # Errors
    /// What to write instead, as help for the person who wrote `text`; it never repeats `text`.
    fn parse(text: &str) -> Result<Self, String>;

    /// False of a text that could hold a secret, which no message then shows.
    fn may_be_shown(_text: &str) -> bool {
        true
    }
}

/// A setting with a fixed set of words.
pub(super) trait Choice: Copy + 'static {
    /// All words, aliases last.
    const WORDS: &'static [(&'static str, Self)];
}

impl<T: Choice> Setting for T {
    fn parse(text: &str) -> Result<Self, String> {
        let found = T::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
            let allowed = format!("allowed are {}", suggestion::enumerate(words.iter().copied()));
            match suggestion::nearest(text, &words) {
                Some(word) => format!("did you mean `{word}`? {allowed}"),
                None => allowed,
            }
        })
    }
}

impl Setting for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("allowed are `true`, `false`".to_owned()),
        }
    }
}

impl Setting for u64 {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "write a whole number".to_owned())
    }
}

impl Setting for String {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() || text.contains(char::is_control) {
            return Err("write some text, on one line".to_owned());
        }
        Ok(text.to_owned())
    }
}

impl Setting for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() || text.contains('\0') {
            return Err("write the path of a file or folder".to_owned());
        }
        Ok(Self::from(text))
    }
}

impl Setting for SocketAddr {
    fn parse(text: &str) -> Result<Self, String> {
        let help = "write an address and a port, such as `127.0.0.1:8080` or `0.0.0.0:8080`";
        text.parse().map_err(|_| help.to_owned())
    }
}

impl Setting for AttributeName {
    fn parse(text: &str) -> Result<Self, String> {
        let help = "an attribute's name has 1 to 50 characters, none of them control characters";
        Self::from_str(text).map_err(|_| help.to_owned())
    }
}

impl Choice for AttributeType {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("text", Self::Text),
        ("date", Self::Date),
        ("float", Self::Float),
        ("boolean", Self::Boolean),
        ("multiple-choice", Self::MultipleChoice),
    ];
}

/// The number of a list in Brevo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ListNumber(pub(super) i64);

impl Setting for ListNumber {
    fn parse(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| *number > 0);
        let help = "write the number that Brevo shows beside the list, such as `35`";
        number.map(Self).ok_or_else(|| help.to_owned())
    }
}

/// A share from 0 to 100, with or without `%`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Percent(pub(super) f64);

impl Setting for Percent {
    fn parse(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        let share = number.parse().ok().filter(|share| (0.0..=100.0).contains(share));
        share.map(Self).ok_or_else(|| "write a number from 0 to 100".to_owned())
    }
}
