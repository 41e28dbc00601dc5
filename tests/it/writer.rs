//! How Brevo is written: what an import leaves out, what a failure leaves undone, and what a limit costs.

use std::collections::BTreeSet;

use secrecy::SecretString;
use serde_json::{Value, json};
use tajo::sandbox::brevo::Limits;
use tajo::sandbox::{SandboxOptions, Seed};
use tajo::server::Server;
use tajo::store::DeadLetterQuery;
use tokio_util::sync::CancellationToken;

use crate::support::{App, Deployment, until};

fn asked_for(app: &App, method: &str, start: &str) -> usize {
    app.sandbox.brevo.log().count(|call| call.is(method, start))
}

/// Lets Brevo call back; answers where.
async fn reachable(app: &App) -> (String, tokio_util::sync::DropGuard) {
    let mut config = app.config();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    let engine = app.engine().clone();
    let server = Server::bind(&config, engine, SecretString::from("admin")).await.unwrap();
    let url = format!("http://{}", server.addresses().public);
    let stop = CancellationToken::new();
    tokio::spawn(server.serve(stop.clone()));
    config.server.public_url = Some(url.parse().unwrap());
    app.engine().reconfigure(config).unwrap();
    (url, stop.drop_guard())
}

async fn status_of(url: &str) -> u16 {
    let address = url.strip_prefix("http://").unwrap();
    let (host, path) = address.split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// The `notifyUrl`s of all imports so far.
fn notify_urls(app: &App) -> Vec<String> {
    let imports = app.sandbox.brevo.log().find(|call| call.path == "/v3/contacts/import");
    imports.iter().map(|call| call.body["notifyUrl"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn brevo_calls_back_at_the_end_of_an_import_and_is_asked_once() {
    let app = App::builder().with_seed(Seed::new(1_500).companies(10)).start().await;
    let (url, _server) = reachable(&app).await;
    app.sync().await;
    let urls = notify_urls(&app);
    assert!(!urls.is_empty());
    for called in &urls {
        assert!(called.starts_with(&format!("{url}/webhooks/brevo/import/")), "{called}");
    }
    // Companies have processes of their own.
    for import in app.sandbox.brevo.log().find(|call| call.path == "/v3/contacts/import") {
        let process = format!("/v3/processes/{}", import.response["processId"]);
        assert_eq!(asked_for(&app, "GET", &process), 1, "one look an import");
    }
    // A name that was given out is known, any other is not.
    assert_eq!(status_of(&urls[0]).await, 204);
    let guess = format!("{url}/webhooks/brevo/import/{}", "0".repeat(64));
    assert_eq!(status_of(&guess).await, 404);
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_an_import_lists_as_duplicates_lose_the_phone_and_nothing_else() {
    let app = App::builder().start().await;
    // Somebody in Brevo has the phone of each fiftieth, unseen by the mirror: it is read before.
    for number in 0..300 {
        let contact = json!({
            "email": format!("p{number}@example.com"), "role": "user", "name": "Ann Lee",
            "phone": format!("+6681234{number:04}"),
        });
        app.sandbox.intercom.create_contact(contact).unwrap();
    }
    let late = |number: usize| json!({"email": format!("late{number}@example.com"), "attributes": {"SMS": format!("+6681234{number:04}")}});
    for number in (0..300).step_by(50) {
        app.sandbox.brevo.put_contact(&late(number)).unwrap();
    }
    app.sync().await;
    for number in 0..300 {
        let held = app.sandbox.brevo.contact(&format!("p{number}@example.com")).unwrap();
        assert_eq!(held["attributes"]["FIRSTNAME"], "Ann");
        assert_eq!(held["attributes"].get("SMS").is_some(), number % 50 != 0, "{number}");
    }
    assert_eq!(app.status().await.dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_exchange_addresses_have_what_the_rules_grant_them() {
    const RULES: &str = r#"
fn map_contact(contact, brevo) {
    brevo.email = contact.email;
    brevo.FIRSTNAME = contact.name;
    if contact.name.starts_with("even") { brevo.add_to_list(35); }
}
"#;
    // Once only with each engine: whoever is written to six times in ten minutes waits.
    for round in 1..=4 {
        let app = App::builder().with_script("mapping.rhai", RULES).start().await;
        exchange_addresses(&app, round).await;
    }
}

async fn exchange_addresses(app: &App, round: usize) {
    const PEOPLE: usize = 6;
    let mut ids = Vec::new();
    for person in 0..PEOPLE {
        let name = if person % 2 == 0 { "even" } else { "odd" };
        let address = format!("p{person}@example.com");
        let body = json!({"email": address, "name": format!("{name} {person}"), "role": "user"});
        ids.push(app.create(body).await);
    }
    // The addresses go round, all at once: each is another's while it is taken over.
    let mut told = Vec::new();
    for (person, id) in ids.iter().enumerate() {
        let aside = json!({"email": format!("aside{person}@example.com")});
        app.sandbox.intercom.update_contact(id, aside).unwrap();
    }
    for (person, id) in ids.iter().enumerate() {
        let address = json!({"email": format!("p{}@example.com", (person + round) % PEOPLE)});
        told.push(app.sandbox.intercom.update_contact(id, address).unwrap());
    }
    for changed in told {
        for notification in &changed.notifications {
            app.deliver(notification.to_string().as_bytes()).await;
        }
    }
    app.drained().await;
    for person in 0..PEOPLE {
        let address = format!("p{}@example.com", (person + round) % PEOPLE);
        let contact = app.sandbox.brevo.contact(&address).unwrap();
        let expected = if person % 2 == 0 { vec![35] } else { vec![] };
        assert_eq!(contact["listIds"], json!(expected), "round {round}: {contact:#}");
        let name = contact["attributes"]["FIRSTNAME"].as_str().unwrap();
        assert!(name.ends_with(&person.to_string()), "round {round}: {contact:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_swap_their_numbers() {
    let app = App::builder().start().await;
    let person = |name: &str, phone: &str| {
        let email = format!("{name}@example.com");
        json!({"email": email, "name": name, "phone": phone, "role": "user"})
    };
    let ann = app.create(person("ann", "+66812345678")).await;
    let bo = app.create(person("bo", "+66812345679")).await;
    app.sandbox.intercom.update_contact(&ann, json!({"phone": "+66812345679"})).unwrap();
    app.sandbox.intercom.update_contact(&bo, json!({"phone": "+66812345678"})).unwrap();
    app.sync().await;
    let phone = |name: &str| {
        let held = app.sandbox.brevo.contact(&format!("{name}@example.com")).unwrap();
        held["attributes"]["SMS"].as_str().map(str::to_owned)
    };
    until("both have the other's number", async || {
        (phone("ann")? == "66812345679" && phone("bo")? == "66812345678").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_who_wait_for_one_number_get_it_one_after_the_other() {
    let app = App::builder().start().await;
    let wanted = "+66812345677";
    let mut people = Vec::new();
    for number in 0..4 {
        let (email, phone) = (format!("p{number}@example.com"), format!("+6681234567{number}"));
        let phone = if number == 0 { wanted.to_owned() } else { phone };
        people.push(app.create(json!({"email": email, "phone": phone, "role": "user"})).await);
    }
    let has_it = |number: usize| {
        let held = app.sandbox.brevo.contact(&format!("p{number}@example.com"));
        held.is_some_and(|held| held["attributes"]["SMS"] == wanted.trim_start_matches('+'))
    };
    for id in &people[1..] {
        app.fire(app.sandbox.intercom.update_contact(id, json!({"phone": wanted})).unwrap()).await;
    }
    let mut waiting = BTreeSet::from([1, 2, 3]);
    let mut holder = 0;
    while !waiting.is_empty() {
        assert!(has_it(holder));
        let other = json!({"phone": format!("+6681234568{holder}")});
        app.fire(app.sandbox.intercom.update_contact(&people[holder], other).unwrap()).await;
        holder = until("the next one has it", async || {
            waiting.iter().copied().find(|number| has_it(*number))
        })
        .await;
        waiting.remove(&holder);
    }
}

/// Each change is written, or waits, before the next one is told: no round knows more than one of them.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_go_round_or_on_one_by_one_reach_their_people_in_any_order() {
    let app = App::builder().start().await;
    let number = |group: usize, place: usize| format!("+6681234{group:02}{place:02}");
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let mut wanted = Vec::new();
    for (group, order) in orders.into_iter().enumerate() {
        // Of every other group the last one gets a number that nobody had.
        let gets = |place: usize| match place {
            2 if group % 2 == 1 => number(group, 9),
            _ => number(group, (place + 1) % 3),
        };
        let email = |place: usize| format!("p{group}{place}@example.com");
        let mut people = Vec::new();
        for place in 0..3 {
            let person =
                json!({"email": email(place), "phone": number(group, place), "role": "user"});
            people.push(app.create(person).await);
        }
        for place in order {
            let change = json!({"phone": gets(place)});
            let changed = app.sandbox.intercom.update_contact(&people[place], change).unwrap();
            app.fire(changed).await;
            wanted.push((email(place), gets(place)));
        }
    }
    until("all have the numbers that they are to get", async || {
        let has = |email: &str, number: &str| {
            let held = app.sandbox.brevo.contact(email)?;
            (held["attributes"]["SMS"].as_str()? == number.trim_start_matches('+')).then_some(())
        };
        wanted.iter().map(|(email, number)| has(email, number)).collect::<Option<Vec<()>>>()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_fails_each_time_does_not_keep_the_others_waiting() {
    let app = App::builder().start().await;
    app.sandbox.brevo.put_contact(&json!({"email": "poison@example.com"})).unwrap();
    let id = app.sandbox.brevo.contact("poison@example.com").unwrap()["id"].as_i64().unwrap();
    let poison = format!("PUT /v3/contacts/{id}");
    app.sandbox.brevo.fail_next(poison.as_str(), 500, Value::Null, 1_000);
    let create = |email: &str| {
        let contact = json!({"email": email, "name": "Ann Lee", "role": "user"});
        app.sandbox.intercom.create_contact(contact).unwrap().notifications[0].to_string()
    };
    app.deliver(create("poison@example.com").as_bytes()).await;
    until("it failed", async || (asked_for(&app, "PUT", "/v3/contacts/") >= 4).then_some(())).await;
    for number in 0..5 {
        let email = format!("p{number}@example.com");
        app.deliver(create(&email).as_bytes()).await;
        until("the others are written", async || app.sandbox.brevo.contact(&email)).await;
    }
    assert!(!app.engine().is_writer_paused());
    assert_eq!(app.status().await.dead_letters, 0, "a failure of the service kills nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_brevo_still_works_on_pauses_nobody() {
    let app = App::builder().start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "lead"})).await;
    app.sandbox.brevo.fail_next("PUT /v3/contacts/*", 425, Value::Null, 2);
    let changed = app.sandbox.intercom.update_contact(&id, json!({"name": "Ann Lee"})).unwrap();
    app.fire(changed).await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["attributes"]["FIRSTNAME"], "Ann");
    assert_eq!(app.engine().degraded(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_resumes_writing_at_once() {
    let app = App::builder().start().await;
    let mut wrong = app.config();
    wrong.brevo.api_key = Some(SecretString::from("wrong"));
    app.engine().reconfigure(wrong).unwrap();
    for number in 0..3 {
        let contact = json!({"email": format!("p{number}@example.com"), "role": "user"});
        let changed = app.sandbox.intercom.create_contact(contact).unwrap();
        app.deliver(changed.notifications[0].to_string().as_bytes()).await;
    }
    until("writing is paused", async || app.engine().is_writer_paused().then_some(())).await;
    assert!(app.engine().degraded()[0].contains("connectors.brevo.api_key"));
    let status = app.status().await;
    assert_eq!((status.records.dead, status.records.pending), (0, 3));
    app.engine().reconfigure(app.config()).unwrap();
    app.drained().await;
    assert_eq!(app.sandbox.brevo.contact_count(), 3);
    assert!(!app.engine().is_writer_paused());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_made_since_is_found_as_soon_as_its_dead_letter_is_retried() {
    let rule = "fn map_contact(contact, brevo) {\n    brevo.email = contact.email;\n    \
                brevo.add_to_list(contact.name);\n}\n";
    let app = App::builder().with_script("mapping.rhai", rule).start().await;
    for name in ["first", "second"] {
        let email = format!("{name}@example.com");
        app.create(json!({"email": email, "name": name, "role": "user"})).await;
        assert_eq!(app.status().await.dead_letters, 1);
        let list = app.sandbox.brevo.create_list(name);
        assert_eq!(app.engine().retry_dead_letters(DeadLetterQuery::All).await.unwrap(), 1);
        app.drained().await;
        assert_eq!(app.sandbox.brevo.contact(&email).unwrap()["listIds"], json!([list]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_again_and_again_holds_nobody_up_once_it_is_mended() {
    let app = App::builder().start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    for name in ["A", "B", "C", "D"] {
        let mut wrong = app.config();
        wrong.brevo.api_key = Some(SecretString::from("wrong"));
        app.engine().reconfigure(wrong).unwrap();
        let changed = app.sandbox.intercom.update_contact(&id, json!({"name": name})).unwrap();
        app.deliver(changed.notifications[0].to_string().as_bytes()).await;
        until("writing is paused", async || app.engine().is_writer_paused().then_some(())).await;
        app.engine().reconfigure(app.config()).unwrap();
        until("the change is written", async || {
            let held = app.sandbox.brevo.contact("ann@example.com")?;
            (held["attributes"]["FIRSTNAME"] == name).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_shows_what_was_sent_and_the_line_that_asked_for_it() {
    let rule = "fn map_contact(contact, brevo) {\n    brevo.email = contact.email;\n    \
                brevo.FIRSTNAME = contact.name;\n    brevo.SEATS = 3;\n}\n";
    let app = App::builder().with_script("mapping.rhai", rule).start().await;
    app.sandbox.brevo.create_attribute("SEATS", "float").unwrap();
    let refusal =
        json!({"code": "invalid_parameter", "message": "SEATS is too small for who@example.com"});
    app.sandbox.brevo.fail_next("POST /v3/contacts", 400, refusal, 1);
    app.create(json!({"email": "ann@example.com", "name": "Ann", "role": "user"})).await;
    let letters = app.engine().dead_letters(10).await.unwrap();
    let letter = &letters[0];
    assert_eq!(letter.kind, "refused");
    assert_eq!(letter.origin.as_deref(), Some("scripts/mapping.rhai:4:10"));
    let request = letter.request.as_deref().unwrap();
    assert!(request.starts_with("POST /contacts {"), "{request}");
    assert!(request.contains(r#""SEATS":3"#) && request.contains(r#""email":"***""#), "{request}");
    let response = letter.response.as_deref().unwrap();
    assert!(response.contains("SEATS is too small for ***"), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_succeeded_is_not_made_again_when_the_rest_fails() {
    let rule = "fn map_contact(contact, brevo) {\n    brevo.email = contact.email;\n    \
                for list in contact.custom_attributes.lists.split(\",\") { brevo.add_to_list(parse_int(list)); }\n}\n";
    let app = App::builder().without_guard().with_script("mapping.rhai", rule).start().await;
    for list in [101, 102] {
        app.sandbox.brevo.create_list_with_id(list, &format!("list {list}"));
    }
    let contact = |number: usize, lists: &str| {
        json!({
            "email": format!("p{number}@example.com"), "role": "user",
            "custom_attributes": {"lists": lists},
        })
    };
    let mut ids = Vec::new();
    for number in 0..300 {
        let made = app.sandbox.intercom.create_contact(contact(number, "101")).unwrap();
        ids.push(made.id);
    }
    app.sync().await;
    for (number, id) in ids.iter().enumerate() {
        app.sandbox.intercom.update_contact(id, contact(number, "102")).unwrap();
    }
    // All come off one list and onto another; the second half fails until it is given up for a while.
    app.sandbox.brevo.fail_next("POST /v3/contacts/lists/102/contacts/add", 500, Value::Null, 8);
    app.sync().await;
    assert_eq!(app.sandbox.brevo.list_members(102).len(), 300);
    assert_eq!(app.sandbox.brevo.list_members(101).len(), 0);
    let removals = asked_for(&app, "POST", "/v3/contacts/lists/101/contacts/remove");
    assert_eq!(removals, 2, "300 contacts are two calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_explains_how_brevo_was_written() {
    let mut options = SandboxOptions { seed: Some(Seed::new(900)), ..SandboxOptions::default() };
    options.brevo.limits = Limits::off();
    options.intercom.rate_limit = None;
    let deployment = Deployment::start(options, "").await;
    for (number, name) in [(35, "All users"), (36, "Active conversations"), (37, "Leads")] {
        deployment.sandbox.brevo.create_list_with_id(number, name);
    }
    let run = |arguments: &[&str]| {
        let output = deployment.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&["connectors", "sync", "intercom", "--type", "full", "--explain-plan"]);
    for part in ["plan 1, made at ", "  import    ", "  one call for each: ", "sync complete in "] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    let again =
        run(&["connectors", "sync", "intercom", "--type", "full", "--explain-plan", "--json"]);
    let summary: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(summary["plans"], json!([]), "nothing is left to write");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_is_not_spent_twice_by_a_restart() {
    let limits = Limits { other_per_hour: Some(8), ..Limits::off() };
    let mut app = App::builder().start().await;
    app.sandbox.brevo.set_limits(limits);
    let mut asked = 0;
    for round in 0..4 {
        for number in 0..300 {
            let email = format!("r{round}p{number}@example.com");
            let contact = json!({"email": email, "name": "Ann Lee", "role": "user"});
            app.sandbox.intercom.create_contact(contact).unwrap();
        }
        app.sync().await;
        let now = asked_for(&app, "GET", "/v3/processes/");
        assert!(now >= asked);
        asked = now;
        app.stop_engine().await;
        app.start_engine().await;
        let buckets = app.status().await.rate_limits.brevo;
        let other = buckets.iter().find(|bucket| bucket.name == "brevo.other").unwrap();
        assert!(other.in_use as usize >= asked, "{other:?}, asked {asked} times");
    }
    assert!(asked > 0);
    assert_eq!(app.sandbox.brevo.throttled(), 0);
    assert_eq!(app.sandbox.brevo.contact_count(), 1_200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_that_only_single_writes_can_serve_is_never_refused() {
    // Values of people who opted out are written one by one.
    const PEOPLE: usize = 150;
    let app = App::builder().with_real_limits().start().await;
    for number in 0..PEOPLE {
        let email = format!("p{number}@example.com");
        app.sandbox.brevo.put_contact(&json!({"email": email})).unwrap();
        app.sandbox.brevo.blacklist(&email);
        let contact = json!({"email": email, "name": "Ann Lee", "role": "user"});
        app.sandbox.intercom.create_contact(contact).unwrap();
    }
    app.sync().await;
    assert_eq!(asked_for(&app, "PUT", "/v3/contacts/"), PEOPLE);
    assert_eq!(app.sandbox.brevo.throttled(), 0);
    app.assert_consent_kept();
}
