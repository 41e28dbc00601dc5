//! A record without the people in it.
//!
//! What identifies somebody is replaced, the same value by the same replacement everywhere, so that
//! what belonged together still does. What rules decide by stays: roles, tags, times, plans, numbers,
//! countries, languages, the case and the script of names, free-mail domains, countries of phones.
//!
//! | | becomes |
//! | --- | --- |
//! | address | `person1@example.com`; at a free-mail provider `person1@` that provider |
//! | domain, URL | below `example.com` |
//! | name | other words, as many, in the same case and script; particles such as `van` stay |
//! | phone | a valid number of the same country, else digits |
//! | id | zeros and a number, as long as it was |
//! | IP address | one of the ranges for documentation |
//! | free text | `text 1` |
//! | custom attribute | one word, a number, true or false is kept, unless its name looks personal |

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::disguise::Disguise;

/// What kind of thing a value is, by the name of its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Email,
    Name,
    Phone,
    Id,
    Url,
    Ip,
    Text,
    Place,
    Birthday,
}

/// Fields that identify whatever they belong to.
static ID_FIELD: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(id|ids|.*_id|.*_ids|uuid|.*_uuid|ext_id|app_id)$").ok());
static NAME_FIELD: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(name|first_?name|last_?name|full_?name|sur_?name|given_?name|family_?name|nick_?name|maiden_?name|middle_?name|prenom|nom|vorname|nachname|pseudonym|user_?name|login|(company|account|contact|manager|owner|person|customer|billing|shipping)_?name|company|manager|owner|contact_person)$",
    )
    .ok()
});
static PHONE_FIELD: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(sms|whatsapp|fax|.*(phone|mobile|telephone).*|tel)$").ok());
static TEXT_FIELD: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(body|subject|title|text|.*note.*|.*comment.*|.*remark.*|.*description.*|message|summary|bio|about|line_id|iban|vat.*|tax.*|ssn|passport.*|.*account_number|card.*|linkedin|facebook|twitter|instagram|skype|telegram)$",
    )
    .ok()
});
static PLACE_FIELD: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^(city|region|.*street.*|.*address.*|.*zip.*|.*post(al)?_?code.*)$").ok()
});
static BIRTH_FIELD: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(.*birth.*|dob|.*_dob)$").ok());
static EMAIL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[\p{L}\p{N}._%+'-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+").ok());
static URL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^(https?://|www\.)\S+$").ok());
static INTERNATIONAL: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^\+[\d\s().-]{7,20}$").ok());

/// Fields whose texts are words that rules decide by, wherever they stand.
const WORDS: [&str; 14] = [
    "type",
    "role",
    "tags",
    "state",
    "country",
    "country_code",
    "continent_code",
    "language",
    "browser",
    "os",
    "industry",
    "plan",
    "delivered_as",
    "channel",
];

fn is_match(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    LazyLock::force(pattern).as_ref().is_some_and(|pattern| pattern.is_match(text))
}

/// Takes people out of values that belong together.
#[derive(Debug, Default)]
pub(super) struct Anonymiser {
    disguise: Disguise,
    /// The country of the person, for phones without a code.
    region: Option<String>,
}

impl Anonymiser {
    /// One that reads phone numbers without a country code as those of a region, such as `TH`.
    pub(super) fn new(region: Option<&str>) -> Self {
        Self { disguise: Disguise::default(), region: region.map(str::to_owned) }
    }

    /// The same values without the people in them.
    pub(super) fn anonymise(&mut self, values: &[&Value]) -> Vec<Value> {
        // The record itself comes first, so that it is the first person, at `example.com`.
        for value in values {
            for field in ["id", "email", "name", "phone"] {
                let own = value.get(field).unwrap_or(&Value::Null);
                let _ = self.value(own, &mut vec![field.to_owned()]);
            }
        }
        // A name or an address may stand inside of what is kept, so all are learnt before.
        for value in values {
            let _ = self.value(value, &mut Vec::new());
        }
        values.iter().map(|value| self.value(value, &mut Vec::new())).collect()
    }

    fn value(&mut self, value: &Value, path: &mut Vec<String>) -> Value {
        match value {
            Value::Object(fields) => {
                let mut changed = Map::new();
                for (name, value) in fields {
                    path.push(name.clone());
                    changed.insert(name.clone(), self.value(value, path));
                    path.pop();
                }
                Value::Object(changed)
            }
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.value(item, path)).collect())
            }
            Value::String(text) if !text.trim().is_empty() => Value::String(self.text(text, path)),
            Value::Number(number) => self.number(number, path),
            other => other.clone(),
        }
    }

    fn text(&mut self, text: &str, path: &[String]) -> String {
        let field = path.last().map(|name| name.to_lowercase()).unwrap_or_default();
        let parent = path.len().checked_sub(2).and_then(|at| path.get(at)).map(String::as_str);
        let is_custom = path.iter().any(|name| name == "custom_attributes") || is_attribute(path);
        match kind_of_text(text, &field, parent, is_custom) {
            Some(kind) => self.disguise.replace(kind, text, self.region.as_deref()),
            None if WORDS.contains(&field.as_str()) => text.to_owned(),
            None => self.disguise.sweep(text),
        }
    }

    /// Numbers identify only where their field says so; rules calculate with the others.
    fn number(&mut self, number: &serde_json::Number, path: &[String]) -> Value {
        let field = path.last().map(|name| name.to_lowercase()).unwrap_or_default();
        let digits = number.to_string();
        let kind = match field.as_str() {
            _ if !number.is_u64() => None,
            "lists" | "tags" => None,
            _ if is_match(&PHONE_FIELD, &field) => Some(Kind::Phone),
            _ if is_match(&ID_FIELD, &field) => Some(Kind::Id),
            _ if is_match(&TEXT_FIELD, &field) => Some(Kind::Id),
            _ => None,
        };
        let Some(kind) = kind else { return Value::Number(number.clone()) };
        let replaced = self.disguise.replace(kind, &digits, self.region.as_deref());
        let replaced: String = replaced.chars().filter(char::is_ascii_digit).collect();
        replaced.parse::<u64>().map_or(Value::Null, Value::from)
    }
}

/// True of an attribute of Brevo's contact, which stands beside `id` and `lists` in upper case.
fn is_attribute(path: &[String]) -> bool {
    matches!(path, [name] if name.chars().any(char::is_uppercase))
}

/// What a text is; `None` of what is kept.
fn kind_of_text(text: &str, field: &str, parent: Option<&str>, is_custom: bool) -> Option<Kind> {
    // What it looks like comes before what its field is called: an id may be an address.
    if is_match(&EMAIL, text) {
        return Some(if text.contains(char::is_whitespace) { Kind::Text } else { Kind::Email });
    }
    if is_match(&URL, text) {
        return Some(Kind::Url);
    }
    if text.parse::<IpAddr>().is_ok() {
        return Some(Kind::Ip);
    }
    if is_match(&PHONE_FIELD, field) || is_match(&INTERNATIONAL, text) {
        return Some(Kind::Phone);
    }
    if is_match(&ID_FIELD, field) {
        return Some(Kind::Id);
    }
    // What a plan, a tag, an event or an attribute is called is no person's name.
    let is_called = matches!(parent, Some("plan" | "tag" | "events" | "event" | "segment"))
        || WORDS.contains(&field);
    if is_called {
        return None;
    }
    if is_match(&BIRTH_FIELD, field) {
        return Some(Kind::Birthday);
    }
    if is_match(&NAME_FIELD, field) && parent != Some("social_profiles") {
        return Some(Kind::Name);
    }
    if field == "website" || field.ends_with("domain") {
        return Some(Kind::Url);
    }
    if is_match(&TEXT_FIELD, field) {
        return Some(Kind::Text);
    }
    if is_match(&PLACE_FIELD, field) {
        return Some(Kind::Place);
    }
    kind_of_own(text, field).filter(|_| is_custom)
}

/// What stands in a field of one's own, of which nobody knows what it is for: only a word that looks
/// chosen from a few is kept.
fn kind_of_own(text: &str, field: &str) -> Option<Kind> {
    let is_day = text.get(..10).is_some_and(|day| day.parse::<jiff::civil::Date>().is_ok());
    if is_day {
        // Rules calculate with days of business; any other may be somebody's.
        let is_business = ["_at", "_on", "date"].iter().any(|end| field.ends_with(end));
        return (!is_business).then_some(Kind::Birthday);
    }
    let is_word = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '-');
    let is_chosen = text.chars().count() <= 24 && text.chars().all(is_word);
    (!is_chosen).then_some(Kind::Text)
}

/// Replacements by what they replace.
pub(super) type Replacements = HashMap<(Kind, String), String>;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn anonymised(value: Value) -> Value {
        Anonymiser::new(Some("TH")).anonymise(&[&value]).remove(0)
    }

    #[test]
    fn a_contact_has_no_person_in_it_any_more_and_decides_as_before() {
        let contact = json!({
            "type": "contact",
            "id": "665f1c0a9e3b7d0012ab34c1",
            "external_id": "ann.lee@shop.test",
            "role": "user",
            "email": "ann.lee@shop.test",
            "phone": "+66 81 234 5678",
            "name": "ANN van der LEE",
            "avatar": { "image_url": "https://cdn.test/ann.png" },
            "language": "en",
            "created_at": 1736467200,
            "unsubscribed_from_emails": false,
            "location": { "country": "Thailand", "city": "Bangkok", "region": null },
            "last_ip": "203.0.114.7",
            "custom_attributes": {
                "plan_tier": "pro",
                "seats": 12,
                "is_vip": true,
                "backup_email": "ann@gmail.com",
                "delivery_address": "5 Main Street",
                "date_of_birth": "1988-03-04",
                "wishes": "She would like to be called by Ann in the evening",
                "level": "Ann's level"
            },
            "tags": ["vip", "churn risk"],
            "company": { "id": "6660d4f2a1b2c3d4e5f60718", "name": "Lee Trading", "website": "http://shop.test/about", "plan": { "name": "Gold" } },
            "companies": [{ "id": "6660d4f2a1b2c3d4e5f60718", "name": "Lee Trading", "plan": { "name": "Gold" } }]
        });
        let expected = json!({
            "type": "contact",
            "id": "000000000000000000000001",
            "external_id": "person1@example.com",
            "role": "user",
            "email": "person1@example.com",
            "phone": "+66 81 234 5670",
            "name": "ALEX van der BLAKE",
            "avatar": { "image_url": "https://b.example.com/1" },
            "language": "en",
            "created_at": 1736467200,
            "unsubscribed_from_emails": false,
            "location": { "country": "Thailand", "city": "Place 2", "region": null },
            "last_ip": "192.0.2.1",
            "custom_attributes": {
                "plan_tier": "pro",
                "seats": 12,
                "is_vip": true,
                "backup_email": "person2@gmail.com",
                "delivery_address": "Place 1",
                "date_of_birth": "1980-01-01",
                "wishes": "text 2",
                "level": "text 1"
            },
            "tags": ["vip", "churn risk"],
            "company": { "id": "000000000000000000000002", "name": "Blake Casey", "website": "http://example.com/2", "plan": { "name": "Gold" } },
            "companies": [{ "id": "000000000000000000000002", "name": "Blake Casey", "plan": { "name": "Gold" } }]
        });
        let mut got = anonymised(contact);
        // The number itself is the library's business: valid, of the same country, and another.
        let phone = got["phone"].as_str().unwrap().to_owned();
        assert!(phone.starts_with("+66") && phone != "+66 81 234 5678", "{phone}");
        assert!(phonenumber::parse(None, &phone).unwrap().is_valid(), "{phone}");
        got["phone"] = expected["phone"].clone();
        assert_eq!(got, expected);
    }

    #[test]
    fn only_what_looks_chosen_from_a_few_stays_in_fields_of_ones_own() {
        let fields = json!({
            "plan_tier": "pro", "segment": "mid-market", "seats": 12, "renewal_date": "2026-05-01",
            "boss": "Carla Fontane", "home": "12 Rue Verte, Lyon", "born": "1980-02-03",
            "geo": "45.7640,4.8357", "nickname_th": "สมชาย",
        });
        let disguised = anonymised(json!({"id": "1", "custom_attributes": fields.clone()}));
        let disguised = &disguised["custom_attributes"];
        for kept in ["plan_tier", "segment", "seats", "renewal_date"] {
            assert_eq!(disguised[kept], fields[kept], "{kept}");
        }
        for gone in ["boss", "home", "born", "geo", "nickname_th"] {
            assert_ne!(disguised[gone], fields[gone], "{gone}");
        }
    }

    #[test]
    fn what_belongs_together_still_does() {
        let contact = json!({"name": "Ann Lee", "email": "ann@shop.test", "phone": "081 234 5678"});
        let existing = json!({"id": 7, "email": "ANN@shop.test", "FIRSTNAME": "Ann", "LASTNAME": "LEE", "SMS": "+66812345678", "lists": [35], "VISITS": 3});
        let mut anonymiser = Anonymiser::new(Some("TH"));
        let both = anonymiser.anonymise(&[&contact, &existing]);
        let (contact, existing) = (&both[0], &both[1]);
        assert_eq!(contact["name"], "Alex Blake");
        assert_eq!(
            (&existing["FIRSTNAME"], &existing["LASTNAME"]),
            (&json!("Alex"), &json!("BLAKE"))
        );
        assert_eq!(contact["email"], "person1@example.com");
        assert_eq!(existing["email"], "person1@example.com");
        assert_eq!((&existing["lists"], &existing["VISITS"]), (&json!([35]), &json!(3)));
        let number =
            phonenumber::parse(Some(phonenumber::country::TH), contact["phone"].as_str().unwrap());
        let sms = phonenumber::parse(None, existing["SMS"].as_str().unwrap());
        let (number, sms) = (number.unwrap(), sms.unwrap());
        assert!(number.is_valid() && sms.is_valid());
        assert_eq!(number.national().value(), sms.national().value());
    }

    #[test]
    fn names_keep_their_script_and_what_is_no_name_stays() {
        let got =
            anonymised(json!({"name": "สมศรี ใจงาม", "plan": {"name": "Gold"}, "state": "open"}));
        assert_ne!(got["name"], "สมศรี ใจงาม");
        assert!(
            got["name"]
                .as_str()
                .unwrap()
                .starts_with(|c: char| ('\u{e00}'..='\u{e7f}').contains(&c))
        );
        assert_eq!((&got["plan"]["name"], &got["state"]), (&json!("Gold"), &json!("open")));
    }

    #[test]
    fn words_of_conversations_go_and_their_state_stays() {
        let got = anonymised(json!({
            "conversations": {"open": 1, "all": [{
                "id": "2154", "state": "open", "title": "Where is it?",
                "source": {"body": "<p>Hello, I am Ann</p>", "author": {"type": "user", "name": "Ann Lee", "email": "ann@shop.test"}},
            }]}
        }));
        let conversation = &got["conversations"]["all"][0];
        assert_eq!((&conversation["state"], &conversation["id"]), (&json!("open"), &json!("0001")));
        assert_eq!(conversation["source"]["author"]["name"], "Alex Blake");
        let text = got.to_string();
        assert!(!text.contains("Hello") && !text.contains("Where is"), "{text}");
    }

    #[test]
    fn the_same_record_is_always_disguised_alike() {
        let value = json!({"name": "Ann Lee", "id": "665f1c0a", "phone": "+66812345678"});
        assert_eq!(anonymised(value.clone()), anonymised(value));
    }
}
