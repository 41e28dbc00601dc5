//! Invented people and companies for the sandbox: realistic in what makes them hard, the same for the
//! same numbers, and nobody real. All addresses are at `example.com`, `example.org`, `example.net`.

use serde_json::{Map, Value, json};

use super::random::Random;
use crate::model::Timestamp;

const DAY_SECONDS: i64 = 86_400;

/// Names in ASCII, of which addresses are made.
const FIRST: [&str; 24] = [
    "Amara", "Bruno", "Chloe", "Dmitri", "Elif", "Farah", "Goran", "Hana", "Ines", "Jonas",
    "Kaori", "Luca", "Mira", "Noor", "Olga", "Pedro", "Quinn", "Rosa", "Sven", "Tomas", "Uma",
    "Viktor", "Wanda", "Yusuf",
];
const LAST: [&str; 24] = [
    "Abara",
    "Bergdal",
    "Castellan",
    "Dubrek",
    "Eriksholm",
    "Farrow",
    "Grantley",
    "Holtmann",
    "Ivarsen",
    "Jurado",
    "Kestrel",
    "Lindqvale",
    "Moravec",
    "Nakadai",
    "Orsini",
    "Pellworm",
    "Quintal",
    "Rasmund",
    "Sorrento",
    "Tamsin",
    "Ueda",
    "Varga",
    "Winslow",
    "Zielony",
];
const THAI_FIRST: [&str; 6] = ["สมชาย", "มาลี", "อนันต์", "ศิริพร", "ธนากร", "กมลา"];
const THAI_LAST: [&str; 6] = ["วงศ์สวัสดิ์", "ใจดี", "แสงทอง", "รุ่งเรือง", "บุญมี", "ศรีสุข"];
const ARABIC: [&str; 6] = [
    "فاطمة السيد",
    "يوسف الحداد",
    "ليلى بنت محمد النجار",
    "عمر حسن",
    "نور عبد الرحمن الخطيب",
    "سلمى منصور",
];
const PARTICLES: [&str; 5] = ["van der", "de la", "von", "dos", "al"];

/// Names of tags. The first ones are the most frequent.
const TAGS: [&str; 15] = [
    "newsletter",
    "vip",
    "beta",
    "churn-risk",
    "trial",
    "enterprise",
    "webinar",
    "partner",
    "onboarding",
    "invoice-open",
    "Feature Request",
    "referral",
    "pilot",
    "do-not-call",
    "événement",
];

const PLANS: [&str; 4] = ["free", "starter", "pro", "enterprise"];
const DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];
const COLOURS: [&str; 4] = ["green", "blue", "ส้ม", "أحمر"];

/// How much to invent. Every contact depends on the random seed and its own number only.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Seed {
    contacts: usize,
    companies: usize,
    random_seed: u64,
    has_long_lists: bool,
    has_conversations: bool,
    has_events: bool,
    as_of: Option<Timestamp>,
}

/// An invented contact.
#[derive(Debug, Clone, PartialEq)]
pub struct SeededContact {
    /// The keys of an Intercom contact that are set, with `created_at`, `updated_at` and
    /// `custom_attributes`; times in seconds since 1970.
    pub body: Value,
    /// The milliseconds of `updated_at`.
    pub milliseconds: u16,
    /// Its tags, as places in [`Seed::tags`].
    pub tags: Vec<usize>,
    /// Its companies, by number.
    pub companies: Vec<usize>,
    /// How many notes it has.
    pub notes: usize,
    /// True if it opted out of the opt-out subscription type.
    pub has_opted_out: bool,
}

impl Seed {
    /// This many contacts, and a company for every seven of them.
    pub fn new(contacts: usize) -> Self {
        Self {
            contacts,
            companies: contacts / 7,
            random_seed: 1,
            has_long_lists: true,
            has_conversations: false,
            has_events: false,
            as_of: None,
        }
    }

    /// This many companies. Those beyond the number of contacts have no contact, so no list shows
    /// them.
    pub fn companies(mut self, companies: usize) -> Self {
        self.companies = companies;
        self
    }

    /// Times count from here, instead of from when they are invented: two sandboxes with the same seed
    /// are then the same to the second.
    pub fn as_of(mut self, as_of: Timestamp) -> Self {
        self.as_of = Some(as_of);
        self
    }

    /// Other people.
    pub fn random_seed(mut self, random_seed: u64) -> Self {
        self.random_seed = random_seed;
        self
    }

    /// Nobody has more than ten tags or companies. Otherwise about 2 % have, each of which costs a
    /// sync a call.
    pub fn without_long_lists(mut self) -> Self {
        self.has_long_lists = false;
        self
    }

    /// Contacts have conversations, 0.6 each on average: some open, some snoozed, some rated, some with
    /// Fin.
    pub fn with_conversations(mut self) -> Self {
        self.has_conversations = true;
        self
    }

    /// Four users in ten have custom events of the last weeks.
    pub fn with_events(mut self) -> Self {
        self.has_events = true;
        self
    }

    pub(super) fn has_conversations(&self) -> bool {
        self.has_conversations
    }

    pub(super) fn has_events(&self) -> bool {
        self.has_events
    }

    pub(super) fn seed(&self) -> u64 {
        self.random_seed
    }

    /// The time from which the others count.
    pub(super) fn time(&self, now: Timestamp) -> Timestamp {
        self.as_of.unwrap_or(now)
    }

    /// How many contacts.
    pub fn contact_count(&self) -> usize {
        self.contacts
    }

    /// How many companies.
    pub fn company_count(&self) -> usize {
        self.companies
    }

    /// The names of the tags.
    pub fn tags(&self) -> &'static [&'static str] {
        &TAGS
    }

    /// Company `number`, as `POST /companies` takes it.
    pub fn company(&self, number: usize, now: Timestamp) -> Value {
        let now = self.time(now);
        let mut random = Random::new(self.random_seed ^ 0xc0_4a_11, number);
        let created_at = now.seconds() - DAY_SECONDS * (30 + random.below(900) as i64);
        let updated_at = created_at + random.below((now.seconds() - created_at) as u64) as i64;
        let suffix = random.pick(&["Ltd", "GmbH", "& Sons", "Co", "บริษัท จำกัด"]);
        let mut company = json!({
            "company_id": format!("acme-{number:05}"),
            "name": format!("{} {suffix} {number}", random.pick(&LAST)),
            "created_at": created_at,
            "updated_at": updated_at,
            "last_request_at": updated_at,
            "monthly_spend": random.below(50_000),
            "session_count": random.below(2_000),
            "custom_attributes": {"region": random.pick(&["north", "south", "east", "west"])},
        });
        if let Some(object) = company.as_object_mut() {
            if random.chance(70) {
                object.insert("plan".to_owned(), json!(random.pick(&PLANS)));
            }
            if random.chance(60) {
                object.insert("size".to_owned(), json!(1 + random.below(5_000)));
                object.insert("industry".to_owned(), json!("Manufacturing"));
                object.insert("website".to_owned(), json!(format!("www{number}.example.com")));
            }
        }
        company
    }

    /// Contact `number`.
    pub fn contact(&self, number: usize, now: Timestamp) -> SeededContact {
        let person = self.person(number);
        let now = self.time(now);
        let mut random = Random::new(self.random_seed ^ 0xda_7e, number);
        let updated_at = now.seconds() - 60 - random.below(365 * DAY_SECONDS as u64) as i64;
        let created_at = updated_at - random.below(700 * DAY_SECONDS as u64) as i64;
        let mut body = Map::new();
        let mut set = |key: &str, value: Value| body.insert(key.to_owned(), value);
        set("role", json!(if person.is_lead { "lead" } else { "user" }));
        set("external_id", json!(person.external_id(number)));
        set("email", json!(self.address(number)));
        set("name", json!(person.name));
        set("phone", json!(self.phone(number)));
        set("created_at", json!(created_at));
        set("updated_at", json!(updated_at));
        if !person.is_lead {
            set("signed_up_at", json!(created_at));
            set("last_seen_at", json!(updated_at - random.below(3_600) as i64));
            set("browser", json!("chrome"));
            set("browser_language", json!(random.pick(&["en", "th-th", "ar", "de", "nl"])));
            let (country, code) = random.pick(&[("Thailand", "THA"), ("Egypt", "EGY")]);
            set("location", json!({"country": country, "country_code": code}));
        }
        if random.chance(10) {
            set("language_override", json!(random.pick(&["th", "ar", "en"])));
        }
        set("unsubscribed_from_emails", json!(random.chance(4)));
        set("has_hard_bounced", json!(random.chance(1)));
        set("custom_attributes", custom_attributes(&mut random, now));
        let has_opted_out = random.chance(3);
        SeededContact {
            body: Value::Object(body),
            milliseconds: random.below(1000) as u16,
            tags: self.tags_of(&mut random),
            companies: self.companies_of(number, person.is_lead, &mut random),
            notes: if random.chance(8) { 1 + random.below(3) as usize } else { 0 },
            has_opted_out,
        }
    }

    /// Who a contact is, apart from what it shares with its neighbours.
    fn person(&self, number: usize) -> Person {
        let mut random = Random::new(self.random_seed, number);
        let is_lead = random.chance(20);
        let (first, last) = (random.pick(&FIRST), random.pick(&LAST));
        let name = match random.below(100) {
            _ if is_lead && random.chance(40) => None,
            0..10 => Some(format!("{} {}", random.pick(&THAI_FIRST), random.pick(&THAI_LAST))),
            10..20 => Some(random.pick(&ARABIC).to_owned()),
            20..28 => Some(first.to_owned()),
            28..34 => {
                Some(format!("{first} {} {last} {}", random.pick(&FIRST), random.pick(&LAST)))
            }
            34..40 => Some(format!("{first} {} {last}", random.pick(&PARTICLES))),
            _ => Some(format!("{first} {last}")),
        };
        let local = format!("{}.{}.{number}", first.to_lowercase(), last.to_lowercase());
        let domain = random.pick(&DOMAINS);
        let has_email = !is_lead || random.chance(70);
        let email = has_email.then(|| match random.below(100) {
            0..3 => format!("{first}.{last}.{number}@Example.COM"),
            3..5 => format!("{local}+news@{domain}"),
            _ => format!("{local}@{domain}"),
        });
        let uuid = uuid::Builder::from_random_bytes(random.bytes()).into_uuid();
        Person { is_lead, name, email, uuid }
    }

    /// Every 97th contact is somebody's second one, with the same address in lower case. It has an
    /// `external_id` of its own, so Intercom accepts it.
    fn address(&self, number: usize) -> Option<String> {
        match number.checked_sub(1) {
            Some(neighbour) if number % 97 == 5 => {
                self.person(neighbour).email.map(|email| email.to_lowercase())
            }
            _ => self.person(number).email,
        }
    }

    /// Every 211th contact has its neighbour's phone, which Brevo takes only once.
    fn phone(&self, number: usize) -> Option<String> {
        let owner = if number % 211 == 7 { number - 1 } else { number };
        let mut random = Random::new(self.random_seed ^ 0x0f_0e, owner);
        let is_shared = number % 211 == 6 || number % 211 == 7;
        if !is_shared && random.chance(45) {
            return None;
        }
        let digits = owner % 10_000_000;
        let (high, low) = (digits / 10_000, digits % 10_000);
        Some(match random.below(100) {
            _ if is_shared => format!("+6681{digits:07}"),
            0..6 => format!("+66 (0)81-{high:03} {low:04}"),
            6..12 => format!("081 {high:03} {low:04}"),
            12..16 => String::new(),
            16..19 => format!("0020 100 {high:03} {low:04} ext. 12"),
            19..45 => format!("+20100{digits:07}"),
            _ => format!("+6681{digits:07}"),
        })
    }

    fn tags_of(&self, random: &mut Random) -> Vec<usize> {
        let wanted = match random.below(1000) {
            0..12 if self.has_long_lists => 11 + random.below(4) as usize,
            0..500 => 0,
            500..800 => 1,
            _ => 2 + random.below(2) as usize,
        };
        random.distinct(wanted, TAGS.len())
    }

    /// Company `n` is the first one of contact `n`, so that as many as possible have a contact.
    fn companies_of(&self, number: usize, is_lead: bool, random: &mut Random) -> Vec<usize> {
        if self.companies == 0 {
            return Vec::new();
        }
        let wanted = match random.below(1000) {
            0..8 if self.has_long_lists => 11 + random.below(4) as usize,
            0..350 => 0,
            350..960 => usize::from(!is_lead),
            _ => 2 + random.below(2) as usize,
        };
        let mut companies = random.distinct(wanted, self.companies);
        if number < self.companies && !companies.contains(&number) {
            companies.insert(0, number);
            companies.truncate(wanted.max(1));
        }
        companies
    }
}

struct Person {
    is_lead: bool,
    name: Option<String>,
    email: Option<String>,
    uuid: uuid::Uuid,
}

impl Person {
    fn external_id(&self, number: usize) -> String {
        if self.is_lead { self.uuid.to_string() } else { format!("cust-{number:06}") }
    }
}

fn custom_attributes(random: &mut Random, now: Timestamp) -> Value {
    let mut attributes = Map::new();
    let mut set = |key: &str, value: Value| attributes.insert(key.to_owned(), value);
    if random.chance(80) {
        set("plan_tier", json!(random.pick(&PLANS)));
        set("mrr", json!(random.below(50_000) as f64 / 100.0));
        set("seats", json!(1 + random.below(200)));
        set("paid", json!(random.chance(50)));
    }
    if random.chance(30) {
        let days = random.below(120) as i64 - 60;
        set("trial_ends_at", json!(now.seconds() + days * DAY_SECONDS));
    }
    if random.chance(15) {
        set("Favourite colour", json!(random.pick(&COLOURS)));
    }
    Value::Object(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contacts(seed: &Seed) -> Vec<SeededContact> {
        let now = Timestamp::from_seconds(1_768_019_995);
        (0..seed.contact_count()).map(|number| seed.contact(number, now)).collect()
    }

    fn share(contacts: &[SeededContact], is: impl Fn(&SeededContact) -> bool) -> f64 {
        contacts.iter().filter(|contact| is(contact)).count() as f64 / contacts.len() as f64
    }

    #[test]
    fn is_the_same_every_time_and_other_for_another_seed() {
        let seed = Seed::new(50);
        assert_eq!(contacts(&seed), contacts(&seed));
        assert_ne!(contacts(&seed), contacts(&seed.clone().random_seed(2)));
    }

    #[test]
    fn has_what_makes_real_data_hard() {
        let seed = Seed::new(5_000).companies(450);
        let all = contacts(&seed);
        let between = |low: f64, high: f64, is: &dyn Fn(&SeededContact) -> bool| {
            let share = share(&all, is);
            assert!((low..high).contains(&share), "{share} is not in {low}..{high}");
        };
        between(0.17, 0.23, &|c| c.body["role"] == "lead");
        between(0.03, 0.09, &|c| c.body["email"].is_null());
        between(0.03, 0.05, &|c| c.body["unsubscribed_from_emails"] == true);
        between(0.005, 0.02, &|c| c.body["has_hard_bounced"] == true);
        between(0.01, 0.03, &|c| c.tags.len() > 10 || c.companies.len() > 10);
        let named = |range: std::ops::RangeInclusive<char>| {
            move |c: &SeededContact| {
                c.body["name"].as_str().is_some_and(|n| n.contains(|x| range.contains(&x)))
            }
        };
        between(0.05, 0.15, &named('\u{0e00}'..='\u{0e7f}'));
        between(0.05, 0.15, &named('\u{0600}'..='\u{06ff}'));
        between(0.01, 0.2, &|c| c.body["phone"] == "");
    }

    #[test]
    fn nobody_has_a_long_list_if_told_so() {
        let all = contacts(&Seed::new(3_000).companies(450).without_long_lists());
        assert!(all.iter().all(|c| c.tags.len() <= 10 && c.companies.len() <= 10));
        let mut used: Vec<usize> = all.iter().flat_map(|c| c.companies.clone()).collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), 450);
    }

    #[test]
    fn only_shared_phones_and_addresses_repeat() {
        let all = contacts(&Seed::new(2_000));
        let repeats = |key: &str| {
            let mut values: Vec<String> = all
                .iter()
                .filter_map(|c| c.body[key].as_str())
                .filter(|text| !text.is_empty())
                .map(str::to_lowercase)
                .collect();
            let count = values.len();
            values.sort();
            values.dedup();
            count - values.len()
        };
        assert!((10..=21).contains(&repeats("email")), "{}", repeats("email"));
        assert_eq!(repeats("phone"), 10);
        assert_eq!(repeats("external_id"), 0);
        assert!(all.iter().filter_map(|c| c.body["email"].as_str()).all(|email| {
            let domain = email.split('@').nth(1).unwrap().to_lowercase();
            DOMAINS.contains(&&*domain)
        }));
    }
}
