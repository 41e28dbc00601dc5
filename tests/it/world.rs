//! Whatever Brevo holds, whatever the rules decide and whatever fails on the way: Brevo ends exactly as
//! decided, and no history shows anybody re-subscribed.
//!
//! A world is a few dozen people with a random state in Brevo and in Intercom. It is brought to Brevo
//! while random faults happen, then changed on both sides and brought again. `TAJO_WORLDS` says how many
//! worlds are made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Map, Value, json};

use crate::support::App;

/// The lists of the account; the rules grant them, and take everybody off the last one.
const LISTS: [i64; 6] = [101, 102, 103, 104, 105, 106];
const CLOSED: i64 = 106;

const RULES: &str = r#"
fn map_contact(contact, brevo) {
    let wish = contact.custom_attributes;
    brevo.email = contact.email;
    brevo.FIRSTNAME = contact.name;
    brevo.SEATS = wish.seats;
    brevo.BETA = wish.beta;
    brevo.SMS = contact.phone;
    if wish.lists != () {
        for digit in wish.lists { brevo.add_to_list(100 + parse_int(digit.to_string())); }
    }
    brevo.remove_from_list(106);
    if wish.out == true { brevo.unsubscribe(); }
}
"#;

/// What Intercom says of a person.
#[derive(Debug, Clone, PartialEq)]
struct Wish {
    name: u8,
    seats: Option<u8>,
    beta: Option<bool>,
    lists: BTreeSet<usize>,
    out_by_rule: bool,
    out: bool,
    phone: bool,
}

/// What Brevo holds of a person before anything is synced, and what somebody else does there later.
#[derive(Debug, Clone)]
struct Held {
    seats: Option<u8>,
    lists: BTreeSet<usize>,
    left: BTreeSet<usize>,
    out: bool,
    owns_phone_of_next: bool,
}

#[derive(Debug, Clone)]
struct Person {
    first: Wish,
    second: Wish,
    held: Option<Held>,
    /// In the second round Brevo's side is changed, too: put on this list by somebody, or blacklisted.
    foreign: Option<usize>,
    blacklisted: bool,
}

/// Something that goes wrong.
#[derive(Debug, Clone)]
enum Fault {
    Status(&'static str, u16, usize),
    Lost(&'static str, usize),
    LostAfter(&'static str, usize),
    Hangs(&'static str),
    HangsAfter(&'static str),
    /// In process for this many seconds.
    ImportLate(u64),
    ImportFails,
    RowsDropped(usize),
}

#[derive(Debug, Clone)]
struct World {
    people: Vec<Person>,
    faults: [Vec<Fault>; 2],
    /// By webhooks or by a sweep.
    by_webhook: bool,
}

fn few_lists() -> impl Strategy<Value = BTreeSet<usize>> {
    // Some sets are common, so that imports by sets of lists are worth their while.
    prop_oneof![
        3 => Just([0].into()),
        2 => Just([0, 1].into()),
        1 => Just(BTreeSet::new()),
        2 => prop::collection::btree_set(0_usize..5, 0..4),
    ]
}

prop_compose! {
    fn wish()(
        name in 0_u8..4, seats in prop::option::of(0_u8..5), beta in prop::option::of(any::<bool>()),
        lists in few_lists(), odd in 0_u8..12, phone in prop::bool::weighted(0.2),
    ) -> Wish {
        Wish { name, seats, beta, lists, out_by_rule: odd == 0, out: odd == 1, phone }
    }
}

prop_compose! {
    fn held()(
        seats in prop::option::of(0_u8..5),
        lists in prop::collection::btree_set(0_usize..6, 0..4),
        left in prop::collection::btree_set(0_usize..5, 0..2),
        out in prop::bool::weighted(0.15), owns_phone_of_next in prop::bool::weighted(0.1),
    ) -> Held {
        let lists = lists.difference(&left).copied().collect();
        Held { seats, lists, left, out, owns_phone_of_next }
    }
}

prop_compose! {
    fn person()(
        first in wish(), other in wish(), changes in prop::bool::weighted(0.6),
        held in prop::option::of(held()), foreign in prop::option::weighted(0.1, 0_usize..5),
        blacklisted in prop::bool::weighted(0.05),
    ) -> Person {
        let second = if changes { other } else { first.clone() };
        // An opt-out in Intercom is not taken back here: that it stays in Brevo is another test's.
        let second = Wish { out: second.out || first.out, ..second };
        Person { first, second, held, foreign, blacklisted }
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    let call = prop::sample::select(vec![
        "POST /v3/contacts",
        "PUT /v3/contacts/*",
        "GET /v3/contacts",
        "GET /v3/contacts/*",
        "POST /v3/contacts/lists/*",
        "POST /v3/contacts/import",
        "GET /v3/processes/*",
    ]);
    // An import that is lost on its way is looked for half a minute long.
    let alone = prop::sample::select(vec![
        "POST /v3/contacts",
        "PUT /v3/contacts/*",
        "GET /v3/contacts",
        "GET /v3/contacts/*",
        "POST /v3/contacts/lists/*",
        "GET /v3/processes/*",
    ]);
    let status = prop::sample::select(vec![425_u16, 429, 500, 503]);
    prop_oneof![
        4 => (call.clone(), status, 1_usize..4).prop_map(|(c, s, n)| Fault::Status(c, s, n)),
        2 => (call.clone(), 1_usize..3).prop_map(|(call, n)| Fault::Lost(call, n)),
        3 => (call, 1_usize..3).prop_map(|(call, n)| Fault::LostAfter(call, n)),
        2 => alone.clone().prop_map(Fault::Hangs),
        2 => prop_oneof![alone, Just("POST /v3/contacts/import")].prop_map(Fault::HangsAfter),
        1 => (1_u64..8).prop_map(Fault::ImportLate),
        1 => Just(Fault::ImportFails),
        2 => (2_usize..9).prop_map(Fault::RowsDropped),
    ]
}

fn world() -> impl Strategy<Value = World> {
    let faults = || prop::collection::vec(fault(), 0..5);
    (prop::collection::vec(person(), 1..140), faults(), faults(), prop::bool::weighted(0.25))
        .prop_map(|(people, first, second, by_webhook)| World {
            people,
            faults: [first, second],
            by_webhook,
        })
}

fn address(number: usize) -> String {
    format!("p{number}@example.com")
}

fn phone(number: usize) -> String {
    format!("+6681234{number:04}")
}

fn intercom(number: usize, wish: &Wish) -> Value {
    let lists: String = wish.lists.iter().map(|list| (list + 1).to_string()).collect();
    json!({
        "email": address(number), "role": "user", "name": format!("Name {}", wish.name),
        "phone": wish.phone.then(|| phone(number)),
        "unsubscribed_from_emails": wish.out,
        "custom_attributes": {
            "seats": wish.seats, "beta": wish.beta, "lists": lists, "out": wish.out_by_rule,
        },
    })
}

/// What Brevo should hold of a person.
#[derive(Debug, Clone, Default, PartialEq)]
struct Expected {
    attributes: BTreeMap<&'static str, Value>,
    lists: BTreeSet<i64>,
    out: bool,
    left: BTreeSet<i64>,
    /// Memberships that the engine granted.
    granted: BTreeSet<i64>,
    /// Attributes that the engine wrote, and nobody else since.
    written: BTreeSet<&'static str>,
}

impl Expected {
    fn of(held: Option<&Held>) -> Self {
        let Some(held) = held else {
            return Self::default();
        };
        let seats = held.seats.map(|seats| ("SEATS", json!(seats)));
        Self {
            attributes: seats.into_iter().collect(),
            lists: held.lists.iter().map(|list| LISTS[*list]).collect(),
            left: held.left.iter().map(|list| LISTS[*list]).collect(),
            out: held.out,
            ..Self::default()
        }
    }

    /// Takes in what the rules say of `wish`; a phone that another contact owns is left out.
    fn decide(&mut self, number: usize, wish: &Wish, phone_is_taken: bool) {
        let phone = (wish.phone && !phone_is_taken).then(|| json!(&phone(number)[1..]));
        let attributes = [
            ("FIRSTNAME", Some(json!(format!("Name {}", wish.name)))),
            ("SEATS", wish.seats.map(Value::from)),
            ("BETA", wish.beta.map(Value::from)),
            ("SMS", phone),
        ];
        for (name, value) in attributes {
            match value {
                Some(value) => {
                    if self.attributes.get(name) != Some(&value) {
                        self.written.insert(name);
                    }
                    self.attributes.insert(name, value);
                }
                // What somebody else wrote stays.
                None if self.written.remove(name) => {
                    self.attributes.remove(name);
                }
                None => {}
            }
        }
        self.out |= wish.out || wish.out_by_rule;
        let wanted: BTreeSet<i64> = wish.lists.iter().map(|list| LISTS[*list]).collect();
        let withdrawn: Vec<i64> = self.granted.difference(&wanted).copied().collect();
        for list in withdrawn.into_iter().chain([CLOSED]) {
            self.lists.remove(&list);
            self.granted.remove(&list);
        }
        if !self.out {
            for list in wanted.difference(&self.left) {
                if self.lists.insert(*list) {
                    self.granted.insert(*list);
                }
            }
        }
    }
}

fn inject(app: &App, faults: &[Fault]) {
    let brevo = &app.sandbox.brevo;
    for fault in faults {
        match fault {
            Fault::Status(call, status, times) => {
                brevo.fail_next(*call, *status, Value::Null, *times)
            }
            Fault::Lost(call, times) => brevo.reset_next(*call, *times),
            Fault::LostAfter(call, times) => brevo.reset_after_commit_next(*call, *times),
            Fault::Hangs(call) => brevo.hang_next(*call, 1),
            Fault::HangsAfter(call) => brevo.hang_after_commit_next(*call, 1),
            Fault::ImportLate(seconds) => brevo.late_import_next(Duration::from_secs(*seconds)),
            Fault::ImportFails => brevo.import_fails_next(),
            Fault::RowsDropped(every) => {
                let rows: Vec<String> = (0..140).step_by(*every).map(address).collect();
                brevo.drop_rows_next(&rows.iter().map(String::as_str).collect::<Vec<_>>());
            }
        }
    }
}

/// What Brevo holds of the people of this world, in the words of [`Expected`].
fn actual(app: &App, number: usize) -> Option<(Map<String, Value>, BTreeSet<i64>, bool)> {
    let held = app.sandbox.brevo.contact(&address(number))?;
    let attributes = held["attributes"].as_object().unwrap();
    let shown = attributes.iter().filter(|(_, value)| **value != json!(""));
    let lists = held["listIds"].as_array().unwrap().iter().filter_map(Value::as_i64);
    Some((
        shown.map(|(name, value)| (name.clone(), value.clone())).collect(),
        lists.filter(|list| LISTS.contains(list)).collect(),
        held["emailBlacklisted"] == true,
    ))
}

fn compare(app: &App, expected: &[Expected]) -> Result<(), TestCaseError> {
    for (number, expected) in expected.iter().enumerate() {
        let wanted: Map<String, Value> =
            expected.attributes.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        let wanted = Some((wanted, expected.lists.clone(), expected.out));
        prop_assert_eq!(actual(app, number), wanted, "person {}", number);
    }
    prop_assert_eq!(app.sandbox.brevo.violations(), Vec::<String>::new());
    Ok(())
}

async fn start(world: &World) -> App {
    let app = App::builder()
        .with_real_limits()
        .with_timeout(Duration::from_secs(2))
        .without_guard()
        .with_script("mapping.rhai", RULES)
        .with_script("tags.rhai", "")
        .with_script("merge.rhai", "")
        .start()
        .await;
    let brevo = &app.sandbox.brevo;
    for list in LISTS {
        brevo.create_list_with_id(list, &format!("list {list}"));
    }
    brevo.create_attribute("SEATS", "float").unwrap();
    brevo.create_attribute("BETA", "boolean").unwrap();
    for (number, person) in world.people.iter().enumerate() {
        let Some(held) = &person.held else { continue };
        let numbers = |lists: &BTreeSet<usize>| -> Vec<i64> {
            lists.iter().map(|list| LISTS[*list]).collect()
        };
        let mut body = json!({
            "email": address(number), "listIds": numbers(&held.lists),
            "listUnsubscribed": numbers(&held.left), "attributes": {},
        });
        if let Some(seats) = held.seats {
            body["attributes"]["SEATS"] = json!(seats);
        }
        brevo.put_contact(&body).unwrap();
        if held.out {
            assert!(brevo.blacklist(&address(number)));
        }
        if held.owns_phone_of_next {
            let owner = json!({
                "email": format!("owner{number}@example.com"),
                "attributes": {"SMS": phone(number + 1)},
            });
            brevo.put_contact(&owner).unwrap();
        }
    }
    app
}

async fn run(world: World) -> Result<(), TestCaseError> {
    let app = start(&world).await;
    let intercom_side = &app.sandbox.intercom;
    let is_taken = |number: usize| {
        let before = number.checked_sub(1).and_then(|before| world.people[before].held.as_ref());
        before.is_some_and(|held| held.owns_phone_of_next)
    };
    let mut expected: Vec<Expected> =
        world.people.iter().map(|person| Expected::of(person.held.as_ref())).collect();

    inject(&app, &world.faults[0]);
    let mut ids = Vec::new();
    for (number, person) in world.people.iter().enumerate() {
        let changed = intercom_side.create_contact(intercom(number, &person.first)).unwrap();
        ids.push(changed.id.clone());
        if world.by_webhook {
            app.deliver(changed.notifications[0].to_string().as_bytes()).await;
        }
        expected[number].decide(number, &person.first, is_taken(number));
    }
    if world.by_webhook {
        app.drained().await
    } else {
        drop(app.sync().await)
    }
    compare(&app, &expected)?;

    for (number, person) in world.people.iter().enumerate() {
        let expected = &mut expected[number];
        if let Some(list) = person.foreign.map(|list| LISTS[list])
            && !expected.left.contains(&list)
            && !expected.out
        {
            let on_it = json!({"listIds": [list]});
            app.sandbox.brevo.update_contact(&address(number), &on_it).unwrap();
            expected.lists.insert(list);
        }
        if person.blacklisted {
            assert!(app.sandbox.brevo.blacklist(&address(number)));
            expected.out = true;
        }
        if person.second == person.first {
            continue;
        }
        let patch = intercom(number, &person.second);
        let changed = intercom_side.update_contact(&ids[number], patch).unwrap();
        for notification in changed.notifications.iter().filter(|_| world.by_webhook) {
            app.deliver(notification.to_string().as_bytes()).await;
        }
        expected.decide(number, &person.second, is_taken(number));
    }
    inject(&app, &world.faults[1]);
    if world.by_webhook {
        app.drained().await
    } else {
        drop(app.sync().await)
    }
    compare(&app, &expected)?;
    let status = app.status().await;
    prop_assert_eq!((status.dead_letters, status.records.pending), (0, 0));
    Ok(())
}

/// INVARIANT: whatever the start, the wish and the faults, Brevo ends exactly as decided, and nobody was
/// re-subscribed on the way.
#[test]
fn every_world_ends_as_decided() {
    let cases = std::env::var("TAJO_WORLDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let config =
        Config { cases, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&world(), |world| runtime.block_on(run(world)));
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
