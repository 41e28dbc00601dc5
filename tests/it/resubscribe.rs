//! An opt-out is lifted only where the rules ask for it, the configuration allows it, and the person
//! opted in again in Intercom after every opt-out of his address.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};
use tajo::model::{Clock, SystemClock, Timestamp};
use tajo::sandbox::SandboxOptions;
use tajo::sandbox::brevo::Limits;
use tajo::sandbox::intercom::{Changed, Failure};

use crate::brevo_webhooks::{Endpoint, TOKEN};
use crate::support::{App, AppBuilder, Deployment, Service, until};

const RULES: &str = "fn map_contact(contact, brevo) {\n    \
    brevo.email = contact.email;\n    \
    brevo.FIRSTNAME = contact.name;\n    \
    brevo.add_to_list(\"all_users\");\n    \
    brevo.resubscribe();\n}\n";
const EMAIL: &str = "ann@example.com";
const LIST: i64 = 35;

/// A clock on which a second lasts a fiftieth of one.
#[derive(Debug)]
struct Fast {
    from: Timestamp,
    began: Instant,
}

impl Fast {
    fn new() -> Arc<Self> {
        Arc::new(Self { from: SystemClock.now(), began: Instant::now() })
    }

    /// Returns in a second that nothing has happened in, so that what comes is newer.
    async fn tick(&self) {
        let next = self.now().plus(2);
        until("a second is over", async || (self.now() >= next).then_some(())).await;
    }
}

impl Clock for Fast {
    fn now(&self) -> Timestamp {
        let seconds = self.began.elapsed().as_millis() / 20;
        self.from.plus(i64::try_from(seconds).unwrap())
    }
}

/// An engine whose rules ask to re-subscribe everybody, and one person in it.
struct World {
    app: App,
    clock: Arc<Fast>,
    ann: String,
}

impl World {
    async fn of(builder: AppBuilder) -> Self {
        let clock = Fast::new();
        let builder = builder.with_script("mapping.rhai", RULES).with_clock(clock.clone());
        let app = builder.start().await;
        let ann = app.create(json!({"email": EMAIL, "name": "Ann", "role": "user"})).await;
        Self { app, clock, ann }
    }

    async fn allowing() -> Self {
        Self::of(allowing()).await
    }

    /// Changes a contact in Intercom, a while after all else.
    async fn patch(&self, id: &str, patch: Value) -> Changed {
        self.clock.tick().await;
        self.app.sandbox.intercom.update_contact(id, patch).unwrap()
    }

    /// The same, and Intercom tells of it.
    async fn change(&self, id: &str, patch: Value) {
        let changed = self.patch(id, patch).await;
        self.app.fire(changed).await;
    }

    async fn opt_out(&self) {
        self.change(&self.ann, out()).await;
    }

    async fn opt_in(&self) {
        self.change(&self.ann, back()).await;
    }

    /// The person unsubscribes in Brevo, and nobody tells.
    async fn opt_out_in_brevo(&self) {
        self.clock.tick().await;
        self.app.sandbox.brevo.blacklist(EMAIL);
    }

    /// Brevo tells of what takes somebody off marketing.
    async fn hear_from_brevo(&self, endpoint: &Endpoint, event: &str) {
        let at = self.clock.now().seconds();
        endpoint.tell(&json!({"event": event, "email": EMAIL, "ts_event": at})).await;
        self.app.drained().await;
    }

    fn held(&self) -> Value {
        self.app.sandbox.brevo.contact(EMAIL).unwrap()
    }

    #[track_caller]
    fn assert_out(&self) {
        assert_eq!(self.held()["emailBlacklisted"], true);
        self.app.assert_consent_kept();
    }

    #[track_caller]
    fn assert_in(&self) {
        let held = self.held();
        assert_eq!(held["emailBlacklisted"], false, "{held}");
        assert_eq!(held["listIds"], json!([LIST]), "{held}");
        self.app.assert_consent_kept();
    }

    /// How often Brevo was told that somebody takes e-mail again: singly, and with nothing else.
    fn lifts(&self) -> usize {
        let log = self.app.sandbox.brevo.log();
        let said = |body: &Value| body.to_string().contains("\"emailBlacklisted\":false");
        let all = log.find(|call| said(&call.body));
        for call in &all {
            assert!(call.is("PUT", "/v3/contacts/"), "{call:?}");
            assert_eq!(call.body, json!({"emailBlacklisted": false}));
        }
        all.len()
    }

    async fn resubscribed(&self) -> u64 {
        self.app.status().await.resubscribed
    }
}

/// Where re-subscription is allowed, and Brevo's webhooks are heard.
fn allowing() -> AppBuilder {
    let token = format!("webhook_token: {TOKEN}");
    App::builder().with_resubscription().with_setting("brevo", &token)
}

fn unlimited() -> SandboxOptions {
    let mut options = SandboxOptions::default();
    options.brevo.limits = Limits::off();
    options.intercom.rate_limit = None;
    options
}

fn out() -> Value {
    json!({"unsubscribed_from_emails": true})
}

fn back() -> Value {
    json!({"unsubscribed_from_emails": false})
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_nothing_is_lifted_whatever_the_rules_ask() {
    let world = World::of(App::builder()).await;
    world.opt_out().await;
    world.opt_in().await;
    world.change(&world.ann, json!({"name": "Anna"})).await;
    world.app.sync().await;
    world.assert_out();
    assert_eq!((world.lifts(), world.resubscribed().await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_in_that_is_newer_lifts_an_opt_out_once_and_the_lists_come_back() {
    let mut world = World::allowing().await;
    world.opt_out().await;
    assert_eq!(world.held()["emailBlacklisted"], true);
    world.app.stop_engine().await;
    world.app.start_engine().await;
    world.opt_in().await;
    world.assert_in();
    assert_eq!((world.lifts(), world.resubscribed().await), (1, 1));

    world.app.stop_engine().await;
    world.app.start_engine().await;
    world.change(&world.ann, json!({"name": "Anna"})).await;
    world.app.sync().await;
    world.assert_in();
    assert_eq!((world.lifts(), world.resubscribed().await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_shows_somebody_subscribed_again_lifts_his_opt_out() {
    let world = World::allowing().await;
    world.opt_out().await;
    world.patch(&world.ann, back()).await;
    world.app.sync().await;
    world.assert_in();
    assert_eq!(world.lifts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_opted_out_from_the_start_may_opt_in() {
    let world = World::allowing().await;
    let bea = json!({"email": "bea@example.com", "role": "user", "unsubscribed_from_emails": true});
    let bea = world.app.create(bea).await;
    world.app.sync().await;
    world.change(&bea, back()).await;
    let held = world.app.sandbox.brevo.contact("bea@example.com").unwrap();
    assert_eq!((&held["emailBlacklisted"], &held["listIds"]), (&json!(false), &json!([LIST])));
    world.app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_in_intercom_is_no_opt_in_of_somebody_who_opted_out_in_brevo() {
    let builder = allowing().with_setting("intercom", "sync_unsubscribes: false");
    let world = World::of(builder).await;
    let endpoint = Endpoint::start(&world.app).await;
    world.opt_out_in_brevo().await;
    world.hear_from_brevo(&endpoint, "unsubscribe").await;
    for name in ["Anna", "Annie"] {
        world.change(&world.ann, json!({"name": name})).await;
    }
    world.app.sync().await;
    assert_eq!(world.held()["emailBlacklisted"], true);
    assert_eq!(world.lifts(), 0);
    world.app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_of_brevos_that_intercom_was_told_of_may_be_withdrawn_there() {
    let world = World::allowing().await;
    let endpoint = Endpoint::start(&world.app).await;
    for round in 1..3 {
        world.opt_out_in_brevo().await;
        world.hear_from_brevo(&endpoint, "unsubscribe").await;
        let told = world.app.sandbox.intercom.contact(&world.ann).unwrap();
        assert_eq!(told["unsubscribed_from_emails"], true, "told in round {round}");
        assert_eq!(world.held()["emailBlacklisted"], true);
        world.opt_in().await;
        world.assert_in();
        assert_eq!(world.lifts(), round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_opt_in_that_comes_late_lifts_nothing() {
    let world = World::allowing().await;
    world.opt_out().await;
    let late = world.patch(&world.ann, back()).await;
    world.opt_out().await;
    world.app.fire(late).await;
    world.app.sync().await;
    assert_eq!(world.held()["emailBlacklisted"], true);
    assert_eq!(world.lifts(), 0);
    world.app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_that_nobody_told_of_is_found_before_anybody_is_re_subscribed() {
    let world = World::allowing().await;
    let other = world.app.create(json!({"email": EMAIL, "role": "lead"})).await;
    for who in [&world.ann, &other] {
        world.opt_out().await;
        let late = world.patch(&world.ann, back()).await;
        world.patch(who, out()).await;
        world.app.fire(late).await;
        world.assert_out();
        assert_eq!(world.lifts(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_intercom_does_not_show_a_contact_it_is_not_re_subscribed() {
    let world = World::allowing().await;
    world.opt_out().await;
    let path = format!("GET /contacts/{}", world.ann);
    world.app.sandbox.intercom.fail_next(&path, Failure::Status(403), 1);
    world.opt_in().await;
    world.assert_out();
    assert_eq!(world.lifts(), 0);
    // Trouble that passes is waited for.
    world.app.sandbox.intercom.fail_next(&path, Failure::Status(503), 2);
    world.change(&world.ann, json!({"name": "Anna"})).await;
    world.assert_in();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_in_brevo_that_may_be_newer_than_the_opt_in_stays() {
    let world = World::allowing().await;
    let endpoint = Endpoint::start(&world.app).await;
    world.opt_out().await;
    // Nobody hears of the opt-in, and then he unsubscribes in Brevo by an old e-mail.
    world.patch(&world.ann, back()).await;
    world.opt_out_in_brevo().await;
    world.hear_from_brevo(&endpoint, "unsubscribe").await;
    world.change(&world.ann, json!({"name": "Anna"})).await;
    world.app.sync().await;
    assert_eq!(world.held()["emailBlacklisted"], true);
    assert_eq!(world.lifts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_re_subscribed_while_another_contact_with_his_address_is_out() {
    let world = World::allowing().await;
    let other = json!({"email": EMAIL, "role": "lead", "unsubscribed_from_emails": true});
    let other = world.app.create(other).await;
    world.opt_out().await;
    world.opt_in().await;
    assert_eq!(world.held()["emailBlacklisted"], true);
    assert_eq!(world.lifts(), 0);
    // Once that one takes it back, too, nothing stands in the way.
    world.change(&other, back()).await;
    world.assert_in();
    assert_eq!(world.lifts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_and_a_complaint_are_never_lifted() {
    for event in ["hard_bounce", "spam"] {
        let world = World::allowing().await;
        let endpoint = Endpoint::start(&world.app).await;
        world.hear_from_brevo(&endpoint, event).await;
        world.opt_out().await;
        world.opt_in().await;
        assert_eq!(world.held()["emailBlacklisted"], true, "{event}");
        assert_eq!(world.lifts(), 0, "{event}");
    }
    for mark in ["has_hard_bounced", "marked_email_as_spam"] {
        let world = World::allowing().await;
        world.change(&world.ann, json!({mark: true, "unsubscribed_from_emails": true})).await;
        world.change(&world.ann, json!({mark: false, "unsubscribed_from_emails": false})).await;
        assert_eq!(world.held()["emailBlacklisted"], true, "{mark}");
        assert_eq!(world.lifts(), 0, "{mark}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_after_the_lift_wins_and_a_newer_opt_in_lifts_it_again() {
    let world = World::allowing().await;
    for round in 1..3 {
        world.opt_out().await;
        assert_eq!(world.held()["emailBlacklisted"], true);
        world.opt_in().await;
        world.assert_in();
        assert_eq!(world.lifts(), round);
    }
    world.opt_out().await;
    world.change(&world.ann, json!({"name": "Anna"})).await;
    assert_eq!(world.held()["emailBlacklisted"], true);
    assert_eq!(world.lifts(), 2);
    world.app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_do_not_ask_or_unsubscribe_lift_nothing() {
    for line in ["", "brevo.resubscribe(); if contact.name == \"Anna\" { brevo.unsubscribe(); }"] {
        let rule = RULES.replace("brevo.resubscribe();", line);
        let clock = Fast::new();
        let builder = App::builder().with_resubscription().with_clock(clock.clone());
        let app = builder.with_script("mapping.rhai", &rule).start().await;
        let ann = app.create(json!({"email": EMAIL, "name": "Anna", "role": "user"})).await;
        let world = World { app, clock, ann };
        world.opt_out().await;
        world.opt_in().await;
        assert_eq!(world.held()["emailBlacklisted"], true, "{line}");
        assert_eq!(world.lifts(), 0, "{line}");
    }
}

/// Brevo puts a lift off: by the time that it may be told, somebody opted out again.
#[tokio::test(flavor = "multi_thread")]
async fn a_lift_that_brevo_puts_off_is_judged_anew() {
    let world = World::allowing().await;
    world.opt_out().await;
    world.app.sandbox.brevo.fail_next("PUT /v3/contacts/*", 429, Value::Null, 1);
    let lifts = || {
        let puts = world.app.sandbox.brevo.log().find(|call| call.is("PUT", "/v3/contacts/"));
        puts.iter().filter(|call| call.body["emailBlacklisted"] == false).count()
    };
    let opted_in = world.patch(&world.ann, back()).await;
    deliver(&world.app, opted_in).await;
    until("brevo put it off", async || (lifts() == 1).then_some(())).await;
    world.opt_out().await;
    world.app.drained().await;
    assert_eq!(lifts(), 1);
    assert_eq!(world.held()["emailBlacklisted"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lift_whose_end_is_not_known_is_taken_back_before_it_is_tried_again() {
    let mut world = World::allowing().await;
    world.opt_out().await;
    world.app.sandbox.brevo.reset_after_commit_next("PUT /v3/contacts/*", 1);
    world.opt_in().await;
    world.assert_in();
    assert_eq!(world.resubscribed().await, 1);
    let puts = world.app.sandbox.brevo.log().find(|call| call.is("PUT", "/v3/contacts/"));
    let said: Vec<_> = puts.iter().map(|call| call.body["emailBlacklisted"].clone()).collect();
    let flags: Vec<_> = said.into_iter().filter(|flag| !flag.is_null()).collect();
    assert_eq!(flags, [json!(true), json!(false), json!(true), json!(false)]);

    world.opt_out().await;
    world.app.sandbox.brevo.fail_next("PUT /v3/contacts/*", 500, Value::Null, 3);
    let changed = world.patch(&world.ann, back()).await;
    for notification in &changed.notifications {
        world.app.deliver(notification.to_string().as_bytes()).await;
    }
    world.app.stop_engine().await;
    world.app.start_engine().await;
    world.app.drained().await;
    world.assert_in();
}

/// Delivers what a change fires, and does not wait.
async fn deliver(app: &App, changed: Changed) {
    for notification in &changed.notifications {
        app.deliver(notification.to_string().as_bytes()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_that_comes_while_brevo_is_told_of_the_lift_wins() {
    let world = World::of(allowing().with_timeout(Duration::from_secs(10))).await;
    world.opt_out().await;
    // Brevo obeys, and its answer does not come before he changes his mind.
    world.app.sandbox.brevo.hang_after_commit_next("PUT /v3/contacts/*", 1);
    let back = world.patch(&world.ann, back()).await;
    deliver(&world.app, back).await;
    until("brevo was told", async || (world.lifts() > 0).then_some(())).await;
    let out = world.patch(&world.ann, out()).await;
    deliver(&world.app, out).await;
    world.app.drained().await;
    world.assert_out();
    world.app.sync().await;
    world.assert_out();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opts_out_after_a_kill_in_the_middle_of_a_lift_is_out_and_who_does_not_is_in() {
    for (opts_out, in_brevo) in [(true, false), (true, true), (false, false)] {
        let settings = "store: { url: \"sqlite://data/tajo.db\" }\n\
                        guards: { allow_resubscribe: true }\n";
        let deployment = Deployment::start(unlimited(), settings).await;
        deployment.sandbox.accept_resubscriptions();
        let _ = std::fs::remove_dir_all(deployment.path("scripts"));
        std::fs::create_dir_all(deployment.path("scripts")).unwrap();
        std::fs::write(deployment.path("scripts/mapping.rhai"), RULES).unwrap();
        let (intercom, brevo) = (&deployment.sandbox.intercom, &deployment.sandbox.brevo);
        let secret = intercom.client_secret().to_owned();
        let flag = || brevo.contact(EMAIL).map(|held| held["emailBlacklisted"].clone());
        let tell = async |service: &Service, changed: Changed| {
            for notification in &changed.notifications {
                assert!(service.deliver(&secret, &notification.to_string()).await);
            }
            // What comes next is of a later second.
            let next = SystemClock.now().plus(2);
            until("a second is over", async || (SystemClock.now() >= next).then_some(())).await;
        };
        let service = deployment.serve().await;
        let made = intercom
            .create_contact(json!({"email": EMAIL, "name": "Ann", "role": "user"}))
            .unwrap();
        tell(&service, made).await;
        let ann = intercom.ids_by_email(EMAIL).pop().unwrap();
        service.drained().await;
        tell(&service, intercom.update_contact(&ann, out()).unwrap()).await;
        service.drained().await;
        assert_eq!(flag(), Some(json!(true)));
        brevo.hang_after_commit_next("PUT /v3/contacts/*", 1);
        tell(&service, intercom.update_contact(&ann, back()).unwrap()).await;
        until("brevo was told", async || (flag()? == json!(false)).then_some(())).await;
        service.kill();

        if in_brevo {
            // No webhook tells of it; Brevo changed the contact later than it had before.
            let next = SystemClock.now().plus(2);
            until("a second is over", async || (SystemClock.now() >= next).then_some(())).await;
            brevo.blacklist(EMAIL);
        }
        let told = opts_out && !in_brevo;
        let missed = told.then(|| intercom.update_contact(&ann, out()).unwrap());
        let service = deployment.serve().await;
        if let Some(missed) = missed {
            tell(&service, missed).await;
        }
        service.drained().await;
        assert_eq!(flag(), Some(json!(opts_out)), "{}", deployment.log());
        let violations = brevo.violations();
        assert!(violations.is_empty(), "{violations:?}");
        service.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn once_the_configuration_forbids_it_nothing_more_is_lifted() {
    let mut world = World::allowing().await;
    world.opt_out().await;
    world.app.resubscribes = false;
    world.app.stop_engine().await;
    world.app.start_engine().await;
    world.opt_in().await;
    assert_eq!((world.held()["emailBlacklisted"].clone(), world.lifts()), (json!(true), 0));
    // What was seen meanwhile counts once it is allowed.
    world.app.resubscribes = true;
    world.app.stop_engine().await;
    world.app.start_engine().await;
    world.change(&world.ann, json!({"name": "Anna"})).await;
    world.assert_in();
}

/// What happens to two contacts with one address.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Out(usize),
    Back(usize),
    Edit(usize),
    OutInBrevo,
    Restart,
    Sync,
    /// What was not told of is told of now.
    Late,
}

fn happens() -> impl Strategy<Value = (Happens, bool)> {
    let what = prop_oneof![
        3 => (0_usize..2).prop_map(Happens::Out),
        4 => (0_usize..2).prop_map(Happens::Back),
        2 => (0_usize..2).prop_map(Happens::Edit),
        2 => Just(Happens::OutInBrevo),
        1 => Just(Happens::Restart),
        1 => Just(Happens::Sync),
        1 => Just(Happens::Late),
    ];
    (what, prop::bool::weighted(0.75))
}

/// INVARIANT: whatever happens in whatever order, nobody is re-subscribed who did not opt in.
#[tokio::test(flavor = "multi_thread")]
async fn no_history_re_subscribes_somebody_who_did_not_opt_in() {
    let course = prop::collection::vec(happens(), 4..12);
    tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new(Config::with_cases(12));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runner.run(&course, |course| runtime.block_on(live_through(course))).unwrap();
    })
    .await
    .unwrap();
}

async fn live_through(course: Vec<(Happens, bool)>) -> Result<(), TestCaseError> {
    let mut world = World::allowing().await;
    let other = world.app.create(json!({"email": EMAIL, "role": "lead"})).await;
    let people = [world.ann.clone(), other];
    let mut late = Vec::new();
    for (what, is_told) in course {
        let (who, patch) = match what {
            Happens::Out(who) => (who, out()),
            Happens::Back(who) => (who, back()),
            Happens::Edit(who) => (who, json!({"name": world.clock.now().to_string()})),
            Happens::OutInBrevo => {
                world.opt_out_in_brevo().await;
                continue;
            }
            Happens::Restart => {
                world.app.stop_engine().await;
                world.app.start_engine().await;
                continue;
            }
            Happens::Sync => {
                world.app.sync().await;
                continue;
            }
            Happens::Late => {
                for changed in late.drain(..) {
                    world.app.fire(changed).await;
                }
                continue;
            }
        };
        let changed = world.patch(&people[who], patch).await;
        if is_told {
            world.app.fire(changed).await;
        } else {
            late.push(changed);
        }
        prop_assert_eq!(world.app.sandbox.brevo.violations(), Vec::<String>::new());
    }
    world.app.sync().await;
    world.app.sync().await;
    prop_assert_eq!(world.app.sandbox.brevo.violations(), Vec::<String>::new());
    let contacts = people.map(|id| world.app.sandbox.intercom.contact(&id).unwrap());
    let is_out = contacts.iter().any(|contact| contact["unsubscribed_from_emails"] == true);
    prop_assert!(!is_out || world.held()["emailBlacklisted"] == true);
    Ok(())
}
