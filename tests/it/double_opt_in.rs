//! Whoever is asked to confirm is asked once; who opted out, or need not be asked, is not; and what may
//! have been sent is not sent again.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tajo::sandbox::brevo::Limits;
use tajo::sandbox::{SandboxOptions, Seed};
use tajo::store::DeadLetterQuery;

use crate::support::{App, AppBuilder, Deployment, until};

const CALL: &str = "POST /v3/contacts/doubleOptinConfirmation";

/// Everybody is asked whether he wants to be on the lists 35 and `csat`.
const RULES: &str = r#"
fn map_contact(contact, brevo) {
    brevo.email = contact.email;
    brevo.FIRSTNAME = contact.name;
    if contact.role == "user" { brevo.double_opt_in(5, "https://example.com/thanks", [35, "leads"]); }
}
"#;

fn builder() -> AppBuilder {
    App::builder().with_script("mapping.rhai", RULES)
}

fn ann() -> Value {
    json!({"email": "ann@example.com", "name": "Ann", "role": "user"})
}

/// The addresses that were asked, in order.
fn asked(app: &App) -> Vec<String> {
    let text = |one: &Value| one["email"].as_str().unwrap().to_owned();
    app.sandbox.brevo.confirmations().iter().map(text).collect()
}

fn calls(app: &App) -> usize {
    app.sandbox.brevo.log().count(|call| call.path == "/v3/contacts/doubleOptinConfirmation")
}

async fn edit(app: &App, text: &str) {
    let before = app.status().await.rules.version;
    std::fs::write(app.script("mapping.rhai"), text).unwrap();
    until("the edited rules are live", async || {
        (app.status().await.rules.version != before).then_some(())
    })
    .await;
    app.drained().await;
}

/// Changes a contact's name, which derives it again.
async fn rename(app: &App, id: &str, name: &str) {
    let changed = app.sandbox.intercom.update_contact(id, json!({"name": name})).unwrap();
    app.fire(changed).await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["attributes"]["FIRSTNAME"], name);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_asked_once_whatever_becomes_of_the_contact_and_the_rules() {
    let mut app = builder().start().await;
    let id = app.create(ann()).await;
    let expected = json!([{
        "email": "ann@example.com", "template": 5, "url": "https://example.com/thanks",
        "lists": [35, 37], "confirmed": false,
    }]);
    assert_eq!(json!(app.sandbox.brevo.confirmations()), expected);
    // Nobody is on a list before he confirms, and the contact was there before he was asked.
    assert_eq!(app.sandbox.brevo.contact("ann@example.com").unwrap()["listIds"], json!([]));
    let log = app.sandbox.brevo.log();
    let writes = log.entries().into_iter().filter(|call| call.method == "POST");
    let paths: Vec<String> = writes.map(|call| call.path).collect();
    assert_eq!(paths, ["/v3/contacts", "/v3/contacts/doubleOptinConfirmation"]);

    rename(&app, &id, "Anna").await;
    edit(&app, &RULES.replace("(5,", "(6,")).await;
    app.stop_engine().await;
    app.start_engine().await;
    rename(&app, &id, "Annie").await;
    app.sync().await;
    app.fire(app.sandbox.intercom.delete(&id).unwrap()).await;
    assert!(app.sandbox.brevo.contact("ann@example.com").is_none());
    app.create(ann()).await;
    assert!(app.sandbox.brevo.contact("ann@example.com").is_some());
    assert_eq!(json!(app.sandbox.brevo.confirmations()), expected);
    assert_eq!(app.status().await.dead_letters, 0);
    // Another address is another person to Brevo.
    let id = app.sandbox.intercom.ids_by_email("ann@example.com").remove(0);
    let moved = json!({"email": "ann.moss@example.com"});
    app.fire(app.sandbox.intercom.update_contact(&id, moved).unwrap()).await;
    assert_eq!(asked(&app), ["ann@example.com", "ann.moss@example.com"]);
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_that_share_an_address_get_one_e_mail() {
    let app = builder().start().await;
    let lead = json!({"email": "ann@example.com", "name": "Ann", "role": "lead"});
    for contact in [lead, ann()] {
        app.sandbox.intercom.create_contact(contact).unwrap();
    }
    let ids = app.sandbox.intercom.ids_by_email("ann@example.com");
    assert_eq!(ids.len(), 2);
    app.sync().await;
    assert_eq!(asked(&app), ["ann@example.com"]);
    for id in ids {
        let renamed = app.sandbox.intercom.update_contact(&id, json!({"name": "Anna"})).unwrap();
        app.fire(renamed).await;
    }
    assert_eq!(asked(&app), ["ann@example.com"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_first_sync_are_asked_once_and_counted() {
    let app = builder().with_seed(Seed::new(60)).start().await;
    app.sync().await;
    let all = asked(&app);
    let once: BTreeSet<&String> = all.iter().collect();
    assert!(all.len() > 20, "only {} were asked", all.len());
    assert_eq!(once.len(), all.len(), "somebody was asked twice: {all:?}");
    let out = |email: &&String| {
        app.sandbox.brevo.contact(email).is_none_or(|held| held["emailBlacklisted"] == true)
    };
    assert_eq!(all.iter().filter(out).count(), 0);
    app.sync().await;
    assert_eq!(asked(&app), all);
    let counts = app.status().await.double_opt_ins.counts;
    assert_eq!((counts.sent, counts.due, counts.dead), (all.len() as u64, 0, 0));
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opts_out_before_he_is_asked_is_not_asked() {
    for is_in_brevo in [true, false] {
        let app = builder().start().await;
        let brevo = &app.sandbox.brevo;
        brevo.fail_next(CALL, 429, Value::Null, 1_000);
        app.create_without_waiting(ann()).await;
        until("the first try was refused", async || (calls(&app) > 0).then_some(())).await;
        if is_in_brevo {
            // Nothing but a look at the contact tells of it.
            assert!(brevo.blacklist("ann@example.com"));
        } else {
            let id = app.sandbox.intercom.ids_by_email("ann@example.com").remove(0);
            app.fire(app.sandbox.intercom.unsubscribe(&id).unwrap()).await;
        }
        app.drained().await;
        let before = calls(&app);
        let id = app.sandbox.intercom.ids_by_email("ann@example.com").remove(0);
        rename(&app, &id, "Anna").await;
        app.sync().await;
        assert_eq!((calls(&app), asked(&app).len()), (before, 0));
        assert_eq!(app.status().await.dead_letters, 0);
        app.assert_consent_kept();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opted_out_long_ago_is_never_asked_though_brevo_forgot_him() {
    let app = builder().start().await;
    let brevo = &app.sandbox.brevo;
    brevo.put_contact(&json!({"email": "ann@example.com", "emailBlacklisted": true})).unwrap();
    app.sync().await;
    assert!(brevo.delete_contact("ann@example.com"));
    app.create(ann()).await;
    assert_eq!(brevo.contact("ann@example.com").unwrap()["emailBlacklisted"], true);
    assert_eq!(calls(&app), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_from_brevo_or_is_left_out_before_he_is_asked_is_not_asked() {
    let app = builder().start().await;
    let brevo = &app.sandbox.brevo;
    brevo.fail_next(CALL, 429, Value::Null, 1_000);
    let bob = json!({"email": "bob@example.com", "name": "Bob", "role": "user"});
    for contact in [ann(), bob] {
        app.create_without_waiting(contact).await;
    }
    until("both were tried", async || {
        let made = |email| brevo.contact(email).is_some();
        (calls(&app) > 1 && made("ann@example.com") && made("bob@example.com")).then_some(())
    })
    .await;
    assert!(brevo.delete_contact("ann@example.com"));
    let id = app.sandbox.intercom.ids_by_email("bob@example.com").remove(0);
    app.fire(app.sandbox.intercom.update_contact(&id, json!({"role": "lead"})).unwrap()).await;
    app.drained().await;
    let before = calls(&app);
    app.sync().await;
    assert_eq!((calls(&app), asked(&app).len()), (before, 0));
    assert!(brevo.contact("ann@example.com").is_none(), "being asked would make the contact again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_on_all_lists_is_asked_only_after_somebody_took_him_off() {
    let app = builder().start().await;
    let brevo = &app.sandbox.brevo;
    brevo.put_contact(&json!({"email": "ann@example.com", "listIds": [35, 37]})).unwrap();
    let id = app.create(ann()).await;
    rename(&app, &id, "Anna").await;
    assert_eq!(calls(&app), 0);
    brevo.update_contact("ann@example.com", &json!({"unlinkListIds": [37]})).unwrap();
    let told = json!({"event": "contact_updated", "email": "ann@example.com", "ts": 5});
    app.engine().accept_brevo(told.to_string().as_bytes()).await.unwrap();
    until("he is asked", async || (asked(&app).len() == 1).then_some(())).await;
    app.drained().await;
    rename(&app, &id, "Annie").await;
    assert_eq!(asked(&app), ["ann@example.com"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_somebody_left_by_himself_are_not_offered_to_him() {
    let app = builder().start().await;
    let brevo = &app.sandbox.brevo;
    let left = json!({"email": "ann@example.com", "listUnsubscribed": [37]});
    brevo.put_contact(&left).unwrap();
    app.create(ann()).await;
    let lists: Vec<Value> =
        brevo.confirmations().iter().map(|asked| asked["lists"].clone()).collect();
    assert_eq!(lists, [json!([35])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_confirmed_is_on_the_lists_and_the_engine_leaves_him_there() {
    let app = builder().start().await;
    let id = app.create(ann()).await;
    assert!(app.sandbox.brevo.confirm("ann@example.com"));
    let is_on_both =
        || app.sandbox.brevo.contact("ann@example.com").unwrap()["listIds"] == json!([35, 37]);
    assert!(is_on_both());
    rename(&app, &id, "Anna").await;
    app.sync().await;
    assert!(is_on_both());
    // Nor does he go when the rules no longer ask.
    let silent =
        r#"fn map_contact(contact, brevo) { brevo.email = contact.email; brevo.FIRSTNAME = "A"; }"#;
    edit(&app, silent).await;
    until("the new rules are applied", async || {
        let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
        (held["attributes"]["FIRSTNAME"] == "A").then_some(())
    })
    .await;
    app.drained().await;
    assert!(is_on_both());
    assert_eq!(asked(&app).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_e_mail_of_which_the_answer_was_lost_is_sent_again_only_by_somebody() {
    let mut app = builder().start().await;
    app.sandbox.brevo.reset_after_commit_next(CALL, 1);
    let id = app.create(ann()).await;
    assert_eq!(asked(&app).len(), 1);
    let dead = app.engine().dead_letters(10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].kind, "double_opt_in");
    assert_eq!(dead[0].origin.as_deref(), Some("scripts/mapping.rhai:5:39"));
    let said = "may have been sent (no answer from brevo: ";
    assert!(dead[0].message.contains(said), "{}", dead[0].message);
    assert!(dead[0].message.ends_with("look in brevo whether it was, then retry or drop this"));
    let request = r#"POST /contacts/doubleOptinConfirmation {"email":"***","includeListIds":[35,37],"redirectionUrl":"https://example.com/thanks","templateId":5}"#;
    assert_eq!(dead[0].request.as_deref(), Some(request));
    // Neither time nor rules nor a restart send it again.
    rename(&app, &id, "Anna").await;
    edit(&app, &RULES.replace("(5,", "(6,")).await;
    app.stop_engine().await;
    app.start_engine().await;
    rename(&app, &id, "Annie").await;
    assert_eq!((calls(&app), app.status().await.dead_letters), (1, 1));
    let counts = app.status().await.double_opt_ins.counts;
    assert_eq!((counts.sent, counts.due, counts.dead), (0, 0, 1));
    // Somebody looked, and asks: with what today's rules say.
    app.engine().retry_dead_letters(DeadLetterQuery::All).await.unwrap();
    app.drained().await;
    let templates: Vec<Value> = app.sandbox.brevo.confirmations();
    let templates: Vec<&Value> = templates.iter().map(|asked| &asked["template"]).collect();
    assert_eq!(templates, [5, 6]);
    rename(&app, &id, "Ann").await;
    assert_eq!((calls(&app), app.status().await.dead_letters), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_doubt_is_never_sent_again() {
    let app = builder().start().await;
    app.sandbox.brevo.fail_next(CALL, 502, Value::Null, 1);
    let id = app.create(ann()).await;
    assert_eq!(app.status().await.dead_letters, 1);
    app.engine().drop_dead_letters(DeadLetterQuery::All).await.unwrap();
    rename(&app, &id, "Anna").await;
    edit(&app, &RULES.replace("(5,", "(6,")).await;
    rename(&app, &id, "Ann").await;
    assert_eq!((calls(&app), app.status().await.dead_letters), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_brevo_refuses_is_a_dead_letter_and_other_rules_or_somebody_try_again() {
    let app = builder().start().await;
    let brevo = &app.sandbox.brevo;
    let refusal = json!({"code": "invalid_parameter", "message": "Template is not active"});
    brevo.fail_next(CALL, 400, refusal, 2);
    let id = app.create(ann()).await;
    assert!(brevo.contact("ann@example.com").is_some(), "the contact itself is written");
    let dead = app.engine().dead_letters(10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(
        dead[0].message,
        format!(
            "contact {id}: brevo does not ask to confirm: brevo refuses the request with 400 \
             (invalid_parameter): Template is not active"
        )
    );
    assert_eq!(dead[0].origin.as_deref(), Some("scripts/mapping.rhai:5:39"));
    assert!(dead[0].request.as_ref().is_some_and(|request| !request.contains("ann@")));
    assert!(dead[0].response.as_ref().is_some_and(|said| said.contains("Template is not active")));
    // As it is, it is not tried again by itself.
    rename(&app, &id, "Anna").await;
    assert_eq!((calls(&app), app.status().await.dead_letters), (1, 1));
    app.engine().retry_dead_letters(DeadLetterQuery::All).await.unwrap();
    app.drained().await;
    assert_eq!((calls(&app), app.status().await.dead_letters), (2, 1));
    edit(&app, &RULES.replace("(5,", "(6,")).await;
    until("he is asked by the new rules", async || (asked(&app).len() == 1).then_some(())).await;
    app.drained().await;
    assert_eq!((calls(&app), app.status().await.dead_letters), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_the_account_lacks_is_a_dead_letter_and_the_contact_is_written() {
    let rules = RULES.replace("\"leads\"", "\"weekly news\"");
    let app = App::builder().with_script("mapping.rhai", &rules).start().await;
    app.create(ann()).await;
    assert!(app.sandbox.brevo.contact("ann@example.com").is_some());
    let dead = app.engine().dead_letters(10).await.unwrap();
    let told: Vec<&str> = dead.iter().map(|letter| letter.kind.as_str()).collect();
    assert_eq!(told, ["list"]);
    assert!(dead[0].message.contains("there is no list `weekly news`"), "{}", dead[0].message);
    assert_eq!(calls(&app), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_without_confirmations_stops_nothing_else_and_kills_nothing() {
    let app = builder().start().await;
    let brevo = &app.sandbox.brevo;
    let refusal = json!({"code": "permission_denied", "message": "not in the plan"});
    brevo.fail_next(CALL, 403, refusal, 1);
    let bob = json!({"email": "bob@example.com", "name": "Bob", "role": "user"});
    for contact in [ann(), bob] {
        app.create(contact).await;
    }
    assert!(brevo.contact("bob@example.com").is_some());
    let status = app.status().await;
    assert_eq!((status.dead_letters, status.records.pending), (0, 0));
    let said = status.degraded.iter().filter(|reason| reason.contains("takes no double opt-ins"));
    assert_eq!(said.count(), 1, "{:?}", status.degraded);
    assert_eq!(calls(&app), 1, "it is not asked again for each contact");
    app.engine().reconfigure(app.config()).unwrap();
    until("both are asked", async || (asked(&app).len() == 2).then_some(())).await;
    app.drained().await;
    assert_eq!(app.status().await.degraded, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_of_whom_something_waits_for_approval() {
    let generous = r#"
fn map_contact(contact, brevo) {
    brevo.email = contact.email;
    if contact.name.starts_with("A") { brevo.add_to_list(36); }
}
"#;
    let app = App::builder().with_script("mapping.rhai", generous).start().await;
    let name = |person| if person < 40 { format!("A{person}") } else { format!("B{person}") };
    for person in 0..60 {
        let email = format!("p{person}@example.com");
        let contact = json!({"email": email, "name": name(person), "role": "user"});
        app.sandbox.intercom.create_contact(contact).unwrap();
    }
    app.sync().await;
    edit(&app, RULES).await;
    until("whom the hold does not concern is asked", async || {
        (asked(&app).len() >= 20).then_some(())
    })
    .await;
    let holds = until("a hold waits", async || {
        app.engine().holds().await.ok().filter(|holds| !holds.is_empty())
    })
    .await;
    app.drained().await;
    assert_eq!((holds.len(), holds[0].contacts), (1, 40));
    assert_eq!(asked(&app).len(), 20);
    assert!(app.engine().approve_hold(holds[0].id).await.unwrap());
    until("the others are asked, too", async || (asked(&app).len() == 60).then_some(())).await;
    app.drained().await;
    assert_eq!(asked(&app).into_iter().collect::<BTreeSet<_>>().len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_being_asked_at_sigkill_is_not_asked_again_by_itself() {
    let mut options = SandboxOptions::default();
    options.brevo.limits = Limits::off();
    options.intercom.rate_limit = None;
    let deployment = Deployment::start(options, "").await;
    std::fs::write(deployment.path("scripts/mapping.rhai"), RULES).unwrap();
    std::fs::remove_dir_all(deployment.path("scripts/tests")).unwrap();
    let brevo = &deployment.sandbox.brevo;
    brevo.hang_after_commit_next(CALL, 1);
    let secret = deployment.sandbox.intercom.client_secret().to_owned();
    let service = deployment.serve().await;
    let created = deployment.sandbox.intercom.create_contact(ann()).unwrap();
    for notification in &created.notifications {
        assert!(service.deliver(&secret, &notification.to_string()).await);
    }
    until("he is being asked", async || (brevo.confirmations().len() == 1).then_some(())).await;
    service.kill();

    let service = deployment.serve().await;
    let letters = until("it is a dead letter", async || {
        service.get("dead-letters").await.filter(|found| found.to_string().contains("ended while"))
    })
    .await;
    assert!(letters.to_string().contains("then retry or drop this"), "{letters:#}");
    let renamed = deployment.sandbox.intercom.update_contact(&created.id, json!({"name": "Anna"}));
    for notification in renamed.unwrap().notifications {
        assert!(service.deliver(&secret, &notification.to_string()).await);
    }
    service.drained().await;
    until("the change is in brevo", async || {
        let held = brevo.contact("ann@example.com").unwrap();
        (held["attributes"]["FIRSTNAME"] == "Anna").then_some(())
    })
    .await;
    assert_eq!(brevo.confirmations().len(), 1);
}
