//! Replacements for what identifies people: the same for the same, and each of its kind.

use std::net::IpAddr;

use phonenumber::{Mode, PhoneNumber, country, metadata::DATABASE};

use super::anonymise::{Kind, Replacements};
use crate::rules::is_free_email;

/// Words of no person, in the scripts that names are written in.
const LATIN: [&str; 16] = [
    "Alex", "Blake", "Casey", "Devon", "Ellis", "Finley", "Gray", "Harper", "Indigo", "Jules",
    "Kerry", "Logan", "Morgan", "Noel", "Perry", "Quinn",
];
const OTHERS: [(std::ops::RangeInclusive<char>, [&str; 4]); 7] = [
    ('\u{0370}'..='\u{03ff}', ["Αλέξης", "Βίκυ", "Γιάννης", "Δάφνη"]),
    ('\u{0400}'..='\u{04ff}', ["Саша", "Женя", "Валя", "Никита"]),
    ('\u{0590}'..='\u{05ff}', ["נועם", "שחר", "טל", "עדן"]),
    ('\u{0600}'..='\u{06ff}', ["نور", "صباح", "جهاد", "إحسان"]),
    ('\u{0e00}'..='\u{0e7f}', ["กานต์", "ธารา", "นที", "ภูผา"]),
    ('\u{3040}'..='\u{9fff}', ["山田", "光", "薫", "泉"]),
    ('\u{ac00}'..='\u{d7af}', ["하늘", "바다", "가람", "나래"]),
];
/// Parts of names that name nobody.
const PARTICLES: [&str; 26] = [
    "van", "der", "den", "de", "del", "della", "di", "da", "dos", "das", "la", "le", "von", "zu",
    "zum", "bin", "ibn", "al", "el", "na", "mr", "mrs", "ms", "dr", "jr", "sr",
];

/// What stands for what.
#[derive(Debug, Default)]
pub(super) struct Disguise {
    replacements: Replacements,
    domains: Vec<String>,
    /// Words of names and their replacements, longest first when they are looked for.
    words: Vec<(String, String)>,
    phones: Vec<(String, PhoneNumber)>,
}

impl Disguise {
    /// The replacement of a text.
    pub(super) fn replace(&mut self, kind: Kind, text: &str, region: Option<&str>) -> String {
        match kind {
            Kind::Email => self.email(text),
            Kind::Name => self.name(text),
            Kind::Phone => self.phone(text, region),
            Kind::Url => self.url(text),
            Kind::Birthday => "1980-01-01".to_owned(),
            Kind::Id => self.numbered(kind, text, |number, text| id(text, number)),
            Kind::Ip => self.numbered(kind, text, |number, text| match text.parse() {
                Ok(IpAddr::V6(_)) => format!("2001:db8::{number:x}"),
                _ => format!("192.0.2.{}", number % 255),
            }),
            Kind::Text => self.numbered(kind, text, |number, _| format!("text {number}")),
            Kind::Place => self.numbered(kind, text, |number, _| format!("Place {number}")),
        }
    }

    /// Known names, addresses and long ids inside of a text that was kept.
    pub(super) fn sweep(&self, text: &str) -> String {
        let mut swept = text.to_owned();
        for (known, replacement) in &self.words {
            if known.chars().count() >= 3 {
                swept = replace_word(&swept, known, replacement);
            }
        }
        let is_telling = |(kind, known): &(Kind, String)| match kind {
            Kind::Email => true,
            Kind::Id => known.len() >= 8,
            _ => false,
        };
        let mut known: Vec<_> =
            self.replacements.iter().filter(|(key, _)| is_telling(key)).collect();
        known.sort_by(|a, b| (b.0.1.len(), &a.0.1).cmp(&(a.0.1.len(), &b.0.1)));
        for ((_, known), replacement) in known {
            swept = swept.replace(known.as_str(), replacement);
        }
        swept
    }

    /// One replacement for each text, numbered within its kind.
    fn numbered(
        &mut self,
        kind: Kind,
        text: &str,
        make: impl FnOnce(usize, &str) -> String,
    ) -> String {
        let key = (kind, text.to_owned());
        if let Some(known) = self.replacements.get(&key) {
            return known.clone();
        }
        let number = self.replacements.keys().filter(|(known, _)| *known == kind).count() + 1;
        let made = make(number, text);
        self.replacements.insert(key, made.clone());
        made
    }

    fn email(&mut self, text: &str) -> String {
        let lower = text.to_lowercase();
        let domain = lower.rsplit_once('@').map_or("", |(_, domain)| domain).to_owned();
        let domain = self.domain(&domain);
        self.numbered(Kind::Email, &lower, |number, _| format!("person{number}@{domain}"))
    }

    /// A free-mail provider stays, since rules ask for it; the first other domain is `example.com`,
    /// further ones are below it.
    fn domain(&mut self, domain: &str) -> String {
        let domain = domain.trim_start_matches("www.");
        if is_free_email(&format!("person@{domain}")) || domain == "example.com" {
            return domain.to_owned();
        }
        let at = self.domains.iter().position(|known| known == domain).unwrap_or_else(|| {
            self.domains.push(domain.to_owned());
            self.domains.len() - 1
        });
        match at {
            0 => "example.com".to_owned(),
            1..26 => format!("{}.example.com", char::from(b'a' + u8::try_from(at).unwrap_or(0))),
            more => format!("d{more}.example.com"),
        }
    }

    fn url(&mut self, text: &str) -> String {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), text),
        };
        let host = rest.split(['/', '?', '#', ':']).next().unwrap_or_default().to_lowercase();
        let has_path = rest.len() > host.len();
        let domain = self.domain(&host);
        self.numbered(Kind::Url, text, |number, _| {
            if has_path {
                format!("{scheme}{domain}/{number}")
            } else {
                format!("{scheme}{domain}")
            }
        })
    }

    /// Word by word, so that a first name stays the first name wherever it stands.
    fn name(&mut self, text: &str) -> String {
        let mut name = String::new();
        for piece in text.split_inclusive(|c: char| c.is_whitespace() || c == '-') {
            let word = piece.trim_end_matches(|c: char| c.is_whitespace() || c == '-');
            let gap = piece.get(word.len()..).unwrap_or_default();
            name.push_str(&self.word(word));
            name.push_str(gap);
        }
        name
    }

    fn word(&mut self, word: &str) -> String {
        let lower = word.to_lowercase();
        let is_particle = PARTICLES.contains(&lower.trim_matches('.'));
        if is_particle || !word.chars().any(char::is_alphabetic) {
            return word.to_owned();
        }
        let known = self.words.iter().find(|(known, _)| *known == lower);
        let replacement = match known {
            Some((_, replacement)) => replacement.clone(),
            None => {
                let made = self.new_word(&lower);
                self.words.push((lower, made.clone()));
                made
            }
        };
        in_case_of(word, &replacement)
    }

    fn new_word(&self, word: &str) -> String {
        let first = word.chars().find(|c| c.is_alphabetic()).unwrap_or('a');
        let words: &[&str] = OTHERS
            .iter()
            .find(|(script, _)| script.contains(&first))
            .map_or(&LATIN[..], |(_, words)| words);
        let used =
            self.words.iter().filter(|(_, made)| words.iter().any(|known| made.starts_with(known)));
        let used = used.count();
        let name = words.get(used % words.len()).copied().unwrap_or("Alex");
        match used / words.len() {
            0 => name.to_owned(),
            round => format!("{name}{}", "a".repeat(round)),
        }
    }

    /// A number of the same country, written as the other was; what is no number keeps its shape.
    fn phone(&mut self, text: &str, region: Option<&str>) -> String {
        let region: Option<country::Id> = region.and_then(|region| region.parse().ok());
        let parsed = std::panic::catch_unwind(|| phonenumber::parse(region, text)).ok();
        let number = parsed.and_then(Result::ok).filter(PhoneNumber::is_valid);
        let Some(number) = number else {
            return self.numbered(Kind::Phone, text, |_, text| {
                text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
            });
        };
        let key = number.format().mode(Mode::E164).to_string();
        let known = self.phones.iter().find(|(known, _)| *known == key);
        let replacement = match known {
            Some((_, replacement)) => replacement.clone(),
            None => {
                let made = self.new_number(&number).unwrap_or_else(|| number.clone());
                self.phones.push((key, made.clone()));
                made
            }
        };
        let digits = text.trim_start().starts_with('+') || text.trim_start().starts_with("00");
        match (digits, text.contains(' ')) {
            (true, true) => replacement.format().mode(Mode::International).to_string(),
            (true, false) => replacement.format().mode(Mode::E164).to_string(),
            // As typed without a `+`: with the country's code, or as at home.
            (false, _) if text.trim().starts_with(&number.code().value().to_string()) => {
                replacement.format().mode(Mode::E164).to_string().trim_start_matches('+').to_owned()
            }
            (false, _) => replacement.format().mode(Mode::National).to_string(),
        }
    }

    /// The library's example of a mobile number, counted on until it is valid and new.
    fn new_number(&self, like: &PhoneNumber) -> Option<PhoneNumber> {
        let id = like.country().id()?;
        let metadata = DATABASE.by_id(id.as_ref())?;
        let example = metadata.descriptors().mobile().and_then(|mobile| mobile.example());
        let example: u64 =
            example.or_else(|| metadata.descriptors().general().example())?.parse().ok()?;
        let is_new = |number: &PhoneNumber| {
            number.is_valid()
                && number.national().value() != like.national().value()
                && self.phones.iter().all(|(_, known)| known != number)
        };
        (0..500_u64)
            .filter_map(|step| {
                let digits = format!("+{}{}", metadata.country_code(), example + step);
                phonenumber::parse(None, digits).ok()
            })
            .find(is_new)
    }
}

/// As long as it was: zeros, and a number at the end.
fn id(text: &str, number: usize) -> String {
    let digits = number.to_string();
    let slots = text.chars().filter(char::is_ascii_alphanumeric).count();
    // Too short for zeros: a number alone.
    if slots < digits.len() {
        return digits;
    }
    let mut at = 0;
    let mut changed = String::new();
    for letter in text.chars() {
        if !letter.is_ascii_alphanumeric() {
            changed.push(if letter.is_ascii() { letter } else { '_' });
            continue;
        }
        let from_end = slots - at;
        let digit = digits.len().checked_sub(from_end).and_then(|at| digits.as_bytes().get(at));
        changed.push(digit.map_or('0', |digit| char::from(*digit)));
        at += 1;
    }
    changed
}

/// A word in upper, lower or mixed case, as another is.
fn in_case_of(like: &str, word: &str) -> String {
    let letters = || like.chars().filter(|c| c.is_alphabetic());
    let several = letters().count() > 1;
    if several && letters().all(|c| !c.is_lowercase()) && letters().any(char::is_uppercase) {
        word.to_uppercase()
    } else if letters().all(|c| !c.is_uppercase()) {
        word.to_lowercase()
    } else {
        word.to_owned()
    }
}

/// Replaces a word wherever it stands alone, in any case.
fn replace_word(text: &str, word: &str, replacement: &str) -> String {
    let Ok(pattern) = regex::RegexBuilder::new(&format!(r"\b{}\b", regex::escape(word)))
        .case_insensitive(true)
        .build()
    else {
        return text.to_owned();
    };
    let replace = |found: &regex::Captures<'_>| {
        in_case_of(found.get(0).map_or("", |found| found.as_str()), replacement)
    };
    pattern.replace_all(text, replace).into_owned()
}
