//! What rules, configuration and sweeps would take away from many people waits for approval; what they
//! give flows, and an opt-out waits for nothing.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tajo::sandbox::SandboxOptions;
use tajo::sandbox::brevo::Limits;
use tajo::store::{Hold, SyncKind};

use crate::support::{App, Deployment, Service, until};

/// Everybody is on the list 35, whose names begin with A on 36, too.
const GENEROUS: &str = r#"
fn map_contact(contact, brevo) {
    brevo.email = contact.email;
    brevo.RULE = 1;
    brevo.add_to_list(35);
    if contact.name.starts_with("A") { brevo.add_to_list(36); }
}
"#;

/// Nobody is on the list 36 any more; everybody is on 37, and has a value more.
const STRICT: &str = r#"
fn map_contact(contact, brevo) {
    brevo.email = contact.email;
    brevo.RULE = 2;
    brevo.GIVEN = "yes";
    brevo.add_to_list(35);
    brevo.add_to_list(37);
}
"#;

fn address(person: usize) -> String {
    format!("p{person}@example.com")
}

/// `favoured` people whose names begin with A, the rest with B.
fn people(people: usize, favoured: usize) -> Vec<Value> {
    let name = |person| if person < favoured { format!("A{person}") } else { format!("B{person}") };
    let contact = |person| json!({"email": address(person), "name": name(person), "role": "user"});
    (0..people).map(contact).collect()
}

/// An engine that has synced so many people under the generous rules.
async fn app(all: usize, favoured: usize) -> App {
    let app = App::builder().with_script("mapping.rhai", GENEROUS).start().await;
    for contact in people(all, favoured) {
        app.sandbox.intercom.create_contact(contact).unwrap();
    }
    app.sync().await;
    assert_eq!(app.sandbox.brevo.list_members(36).len(), favoured);
    app
}

async fn edit(app: &App, text: &str) {
    let before = app.status().await.rules.version;
    std::fs::write(app.script("mapping.rhai"), text).unwrap();
    until("the edited rules are live", async || {
        (app.status().await.rules.version != before).then_some(())
    })
    .await;
}

/// Waits until all people have this value of an attribute.
async fn given(app: &App, name: &str, value: &Value, people: usize) {
    until("everybody has been given what the rules give", async || {
        let contacts = app.sandbox.brevo.contacts();
        let given = contacts.iter().filter(|contact| contact["attributes"][name] == *value);
        (given.count() == people).then_some(())
    })
    .await;
    app.drained().await;
}

async fn only_hold(app: &App) -> Hold {
    let mut holds =
        until("a hold waits", async || app.engine().holds().await.ok().filter(|h| !h.is_empty()))
            .await;
    assert_eq!(holds.len(), 1, "{holds:?}");
    holds.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_takes_many_people_off_a_list_waits_for_approval_while_the_rest_flows() {
    let app = app(300, 100).await;
    edit(&app, STRICT).await;
    given(&app, "GIVEN", &json!("yes"), 300).await;
    let hold = only_hold(&app).await;
    assert_eq!((hold.contacts, hold.removals, hold.deletions), (100, 100, 0), "{hold:?}");
    let version = app.status().await.rules.version.unwrap();
    assert_eq!(hold.cause, format!("rule set {version}"));
    assert_eq!(app.sandbox.brevo.list_members(36).len(), 100, "nobody was taken off");
    assert_eq!(app.sandbox.brevo.list_members(37).len(), 300, "what the rules give has flowed");
    let status = app.status().await;
    assert_eq!(status.held_changes, 100);
    let reason = "the changes of 100 contacts wait for approval: see `tajo held list`";
    assert!(status.degraded.iter().any(|told| told == reason), "{:?}", status.degraded);

    assert!(!app.engine().approve_hold(hold.id + 1).await.unwrap());
    assert!(app.engine().approve_hold(hold.id).await.unwrap());
    until("all were taken off", async || {
        app.sandbox.brevo.list_members(36).is_empty().then_some(())
    })
    .await;
    app.drained().await;
    assert!(app.engine().holds().await.unwrap().is_empty());
    let status = app.status().await;
    assert_eq!((status.held_changes, status.dead_letters), (0, 0));
    assert!(status.degraded.is_empty(), "{:?}", status.degraded);
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_takes_little_away_is_not_held() {
    let app = app(60, 20).await;
    edit(&app, STRICT).await;
    until("all were taken off", async || {
        app.sandbox.brevo.list_members(36).is_empty().then_some(())
    })
    .await;
    given(&app, "GIVEN", &json!("yes"), 60).await;
    assert!(app.engine().holds().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rejected_stays_undone_until_the_rules_change() {
    let mut app = app(60, 30).await;
    edit(&app, STRICT).await;
    given(&app, "GIVEN", &json!("yes"), 60).await;
    let hold = only_hold(&app).await;
    assert!(app.engine().reject_hold(hold.id).await.unwrap());
    app.drained().await;
    assert!(app.engine().holds().await.unwrap().is_empty());
    assert_eq!(app.sandbox.brevo.list_members(36).len(), 30);

    // A change of the person, a sweep and a restart derive again, and reject again.
    let ids = app.sandbox.intercom.ids_by_email(&address(3));
    let changed = app.sandbox.intercom.update_contact(&ids[0], json!({"phone": "+66812345678"}));
    app.fire(changed.unwrap()).await;
    app.stop_engine().await;
    app.start_engine().await;
    app.sync().await;
    assert_eq!(app.sandbox.brevo.list_members(36).len(), 30);
    assert!(app.engine().holds().await.unwrap().is_empty());

    // Newer rules that want the same are asked about anew.
    edit(&app, &STRICT.replace("RULE = 2", "RULE = 3")).await;
    given(&app, "RULE", &json!(3), 60).await;
    let again = only_hold(&app).await;
    assert_eq!(again.contacts, 30);
    assert_ne!(again.id, hold.id);
    assert_eq!(app.sandbox.brevo.list_members(36).len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_rules_dissolve_what_they_no_longer_want() {
    let app = app(60, 30).await;
    edit(&app, STRICT).await;
    given(&app, "GIVEN", &json!("yes"), 60).await;
    let hold = only_hold(&app).await;
    let favour =
        "brevo.add_to_list(37);\n    if contact.name.starts_with(\"A\") { brevo.add_to_list(36); }";
    let mended = STRICT.replace("brevo.add_to_list(37);", favour).replace("= 2", "= 4");
    edit(&app, &mended).await;
    given(&app, "RULE", &json!(4), 60).await;
    assert!(app.engine().holds().await.unwrap().is_empty());
    assert!(!app.engine().approve_hold(hold.id).await.unwrap());
    assert_eq!(app.sandbox.brevo.list_members(36).len(), 30);
    assert_eq!(app.status().await.held_changes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_does_what_todays_decision_still_wants() {
    let app = app(60, 30).await;
    edit(&app, &GENEROUS.replace("starts_with(\"A\")", "starts_with(\"C\")")).await;
    let hold = only_hold(&app).await;
    // One of them is to be on the list after all.
    let ids = app.sandbox.intercom.ids_by_email(&address(7));
    let changed = app.sandbox.intercom.update_contact(&ids[0], json!({"name": "C7"})).unwrap();
    app.fire(changed).await;
    assert_eq!(only_hold(&app).await.contacts, 29);
    assert!(app.engine().approve_hold(hold.id).await.unwrap());
    until("the others were taken off", async || {
        (app.sandbox.brevo.list_members(36).len() == 1).then_some(())
    })
    .await;
    app.drained().await;
    assert_eq!(app.sandbox.brevo.list_members(36), BTreeSet::from([address(7)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sweep_takes_away_from_many_is_held_and_its_inputs_are_counted() {
    let app = app(60, 30).await;
    for person in 0..30 {
        let ids = app.sandbox.intercom.ids_by_email(&address(person));
        let name = format!("B{person}");
        app.sandbox.intercom.update_contact(&ids[0], json!({ "name": name })).unwrap();
    }
    let sync = app.sync().await;
    let hold = only_hold(&app).await;
    assert_eq!((hold.contacts, hold.removals), (30, 30));
    assert_eq!(hold.cause, format!("sweep {}", sync.id));
    assert_eq!(app.sandbox.brevo.list_members(36).len(), 30);
    assert_eq!(app.status().await.records.held, 30);
    app.assert_conserved().await;

    // One of them changes back by himself; he no longer waits.
    let ids = app.sandbox.intercom.ids_by_email(&address(0));
    let changed = app.sandbox.intercom.update_contact(&ids[0], json!({"name": "A0"})).unwrap();
    app.fire(changed).await;
    assert_eq!(only_hold(&app).await.contacts, 29);

    let before = app.status().await.records;
    assert!(app.engine().reject_hold(hold.id).await.unwrap());
    app.drained().await;
    let after = app.status().await.records;
    assert_eq!((after.held, after.skipped), (0, before.skipped + 29));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_other_work_what_comes_after_the_bound_is_held() {
    let app = app(60, 30).await;
    for person in 0..30 {
        let ids = app.sandbox.intercom.ids_by_email(&address(person));
        let name = format!("B{person}");
        let changed = app.sandbox.intercom.update_contact(&ids[0], json!({ "name": name }));
        app.fire(changed.unwrap()).await;
    }
    assert_eq!(app.sandbox.brevo.list_members(36).len(), 10, "20 may leave within ten minutes");
    let hold = only_hold(&app).await;
    assert_eq!((hold.contacts, hold.cause.as_str()), (10, "changes within ten minutes"));
    assert_eq!(app.status().await.records.held, 10);
    // They have been given what else their change brought.
    assert!(app.engine().approve_hold(hold.id).await.unwrap());
    until("all were taken off", async || {
        app.sandbox.brevo.list_members(36).is_empty().then_some(())
    })
    .await;
    app.drained().await;
    assert_eq!(app.status().await.records.held, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_passes_everything_that_waits() {
    let app = app(60, 30).await;
    edit(&app, STRICT).await;
    let hold = only_hold(&app).await;
    let ids = app.sandbox.intercom.ids_by_email(&address(5));
    let changed =
        app.sandbox.intercom.update_contact(&ids[0], json!({"unsubscribed_from_emails": true}));
    for notification in &changed.unwrap().notifications {
        app.deliver(notification.to_string().as_bytes()).await;
    }
    until("he is blacklisted", async || {
        let held = app.sandbox.brevo.contact(&address(5))?;
        (held["emailBlacklisted"] == true).then_some(())
    })
    .await;
    app.drained().await;
    let (before, now) = (hold.contacts, only_hold(&app).await.contacts);
    assert_eq!((before, now), (30, 30), "he is still on the list");
    assert_eq!(app.sandbox.brevo.list_members(36).len(), 30);
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_unsubscribe_delete_and_clear_many_are_held_and_new_people_are_not() {
    let app = app(40, 40).await;
    let rules = [
        ("brevo.unsubscribe();", "unsubscribe"),
        ("brevo.delete();", "delete"),
        ("brevo.clear(\"RULE\");", "clear"),
        ("brevo.release();", "release"),
    ];
    for (line, what) in rules {
        let text = format!(
            "fn map_contact(contact, brevo) {{\n    brevo.email = contact.email;\n    \
             brevo.MARK = \"{what}\";\n    brevo.add_to_list(35);\n    brevo.add_to_list(36);\n    {line}\n}}\n"
        );
        edit(&app, &text).await;
        let cause = format!("rule set {}", app.status().await.rules.version.unwrap());
        until("what these rules take away is held", async || {
            (only_hold(&app).await.cause == cause).then_some(())
        })
        .await;
        app.drained().await;
        let hold = only_hold(&app).await;
        assert_eq!(hold.contacts, 40, "{what}: {hold:?}");
        let counts = (hold.unsubscribes, hold.deletions, hold.clears, hold.removals);
        let expected = match what {
            "unsubscribe" => (40, 0, 0, 0),
            "delete" => (0, 40, 0, 0),
            "clear" => (0, 0, 40, 0),
            _ => (0, 0, 0, 80),
        };
        assert_eq!(counts, expected, "{what}");
        let contacts = app.sandbox.brevo.contacts();
        assert_eq!(contacts.len(), 40);
        for contact in contacts {
            assert_eq!(contact["emailBlacklisted"], false);
            assert_eq!(contact["attributes"]["RULE"], 1);
        }
        assert_eq!(app.sandbox.brevo.list_members(36).len(), 40);
    }
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_takes_away_from_many_is_held_and_says_so() {
    let rules = "fn map_contact(contact, brevo) {\n    brevo.email = contact.email;\n    \
                 brevo.add_to_list(\"favoured\");\n}\n";
    let lists = "lists: { favoured: 36 }";
    let app = App::builder()
        .with_script("mapping.rhai", rules)
        .with_setting("intercom", lists)
        .start()
        .await;
    for contact in people(40, 0) {
        app.sandbox.intercom.create_contact(contact).unwrap();
    }
    app.sync().await;
    assert_eq!(app.sandbox.brevo.list_members(36).len(), 40);
    let mut config = app.config();
    config.intercom.lists.insert("favoured".to_owned(), 37);
    app.engine().reconfigure(config).unwrap();
    let hold = only_hold(&app).await;
    app.drained().await;
    let version = app.status().await.rules.version.unwrap();
    assert_eq!(hold.cause, format!("configuration (rule set {version})"));
    assert_eq!((hold.contacts, hold.removals), (40, 40));
    assert_eq!(app.sandbox.brevo.list_members(36).len(), 40);
    assert_eq!(app.sandbox.brevo.list_members(37).len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_name_of_a_tag_takes_away_from_many_is_held_for_its_sweep() {
    let mapping = "fn map_contact(contact, brevo) { brevo.email = contact.email; }";
    let tags = "fn map_tags(tags, contact, brevo) { brevo.add_to_lists(tags, #{ VIP: 36 }); }";
    let app = App::builder().with_script("mapping.rhai", mapping).with_script("tags.rhai", tags);
    let app = app.start().await;
    for contact in people(60, 30) {
        let is_favoured = contact["name"].as_str().is_some_and(|name| name.starts_with('A'));
        let id = app.sandbox.intercom.create_contact(contact).unwrap().id;
        if is_favoured {
            app.sandbox.intercom.tag_contact(&id, "VIP").unwrap();
        }
    }
    app.sync().await;
    assert_eq!(app.sandbox.brevo.list_members(36).len(), 30);
    app.sandbox.intercom.rename_tag("VIP", "Regular").unwrap();
    let sync = app.sync_as(SyncKind::Incremental).await;
    let hold = only_hold(&app).await;
    assert_eq!((hold.contacts, hold.removals), (30, 30));
    assert_eq!(hold.cause, format!("sweep {}", sync.id));
    assert_eq!(app.sandbox.brevo.list_members(36).len(), 30, "nobody was taken off");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_by_two_sweeps_from_many_is_held_and_by_notifications_is_not() {
    let app = app(60, 0).await;
    let id = |person| app.sandbox.intercom.ids_by_email(&address(person)).remove(0);
    for person in 0..25 {
        let changed = app.sandbox.intercom.delete(&id(person)).unwrap();
        app.fire(changed).await;
    }
    assert_eq!(app.sandbox.brevo.contact_count(), 35, "who is deleted by name, is deleted");
    for person in 25..50 {
        // Nobody is told.
        app.sandbox.intercom.delete(&id(person)).unwrap();
    }
    app.sync().await;
    app.sync().await;
    let hold = only_hold(&app).await;
    assert_eq!((hold.contacts, hold.deletions), (25, 25));
    assert_eq!(app.sandbox.brevo.contact_count(), 35);
    assert!(app.engine().approve_hold(hold.id).await.unwrap());
    until("they are deleted", async || (app.sandbox.brevo.contact_count() == 10).then_some(()))
        .await;
    app.drained().await;
    assert!(app.engine().holds().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_causes_at_once_are_two_holds_and_each_is_decided_by_itself() {
    let app = app(90, 60).await;
    for person in 0..30 {
        let ids = app.sandbox.intercom.ids_by_email(&address(person));
        let name = format!("B{person}");
        app.sandbox.intercom.update_contact(&ids[0], json!({ "name": name })).unwrap();
    }
    app.sync().await;
    let swept = only_hold(&app).await;
    // These rules take the list 35 away from all, and leave 36 to whom it was.
    let rules = GENEROUS.replace("    brevo.add_to_list(35);\n", "").replace("= 1", "= 5");
    edit(&app, &rules).await;
    given(&app, "RULE", &json!(5), 90).await;
    let holds = until("two holds wait", async || {
        app.engine().holds().await.ok().filter(|holds| holds.len() == 2)
    })
    .await;
    assert_eq!((holds[0].id, holds[0].contacts), (swept.id, 30));
    assert_eq!((holds[1].contacts, holds[1].removals), (90, 90));

    assert!(app.engine().reject_hold(swept.id).await.unwrap());
    assert!(app.engine().approve_hold(holds[1].id).await.unwrap());
    until("all are off the list of which that was approved", async || {
        app.sandbox.brevo.list_members(35).is_empty().then_some(())
    })
    .await;
    app.drained().await;
    assert_eq!(app.sandbox.brevo.list_members(36).len(), 60, "the other was rejected");
    assert!(app.engine().holds().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_written_to_too_often_waits_and_an_opt_out_does_not() {
    let metrics = tajo::telemetry::prometheus();
    let app = app(3, 0).await;
    let ids = app.sandbox.intercom.ids_by_email(&address(1));
    let change = async |round: usize| {
        let name = if round.is_multiple_of(2) { format!("A{round}") } else { format!("B{round}") };
        let changed = app.sandbox.intercom.update_contact(&ids[0], json!({ "name": name }));
        for notification in &changed.unwrap().notifications {
            app.deliver(notification.to_string().as_bytes()).await;
        }
    };
    let is_on_list = || app.sandbox.brevo.list_members(36).contains(&address(1));
    for round in 0..5 {
        change(round).await;
        until("the change is written", async || {
            (is_on_list() == round.is_multiple_of(2)).then_some(())
        })
        .await;
        app.drained().await;
    }
    change(5).await;
    until("the sixth change is held up", async || {
        let pages = metrics.render();
        let counted =
            pages.lines().find_map(|line| line.strip_prefix("tajo_writes_held_up_total "));
        let is_counted = counted.is_some_and(|count| count != "0");
        (is_counted && app.status().await.records.pending == 1).then_some(())
    })
    .await;
    assert!(is_on_list(), "the sixth write in ten minutes waits");
    let changed = app
        .sandbox
        .intercom
        .update_contact(&ids[0], json!({"unsubscribed_from_emails": true}))
        .unwrap();
    for notification in &changed.notifications {
        app.deliver(notification.to_string().as_bytes()).await;
    }
    until("the opt-out is written", async || {
        let held = app.sandbox.brevo.contact(&address(1))?;
        (held["emailBlacklisted"] == true).then_some(())
    })
    .await;
    app.assert_conserved().await;
}

/// A deployment of the program itself, under the generous rules.
async fn deployment(all: usize, favoured: usize) -> Deployment {
    let mut options = SandboxOptions::default();
    options.brevo.limits = Limits::off();
    options.brevo.import_delay = std::time::Duration::from_millis(20);
    options.intercom.rate_limit = None;
    let settings = "store: { url: \"sqlite://data/tajo.db\" }\n";
    let deployment = Deployment::start(options, settings).await;
    std::fs::remove_dir_all(deployment.path("scripts")).unwrap();
    std::fs::create_dir(deployment.path("scripts")).unwrap();
    std::fs::write(deployment.path("scripts/mapping.rhai"), GENEROUS).unwrap();
    for contact in people(all, favoured) {
        deployment.sandbox.intercom.create_contact(contact).unwrap();
    }
    deployment
}

async fn synced(deployment: &Deployment, service: &Service, favoured: usize) {
    until("the first sync is written", async || {
        (deployment.sandbox.brevo.list_members(36).len() == favoured).then_some(())
    })
    .await;
    service.drained().await;
}

fn listed(deployment: &Deployment) -> Vec<Value> {
    let output = deployment.run(&["held", "list", "--json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_while_removals_are_counted_held_or_approved_loses_and_leaks_none() {
    let deployment = deployment(200, 120).await;
    let service = deployment.serve().await;
    synced(&deployment, &service, 120).await;
    let before = deployment.sandbox.brevo.writes();
    std::fs::write(deployment.path("scripts/mapping.rhai"), STRICT).unwrap();
    until("the new rules write", async || {
        (deployment.sandbox.brevo.writes() > before).then_some(())
    })
    .await;
    service.kill();
    assert_eq!(deployment.sandbox.brevo.list_members(36).len(), 120);

    let service = deployment.serve().await;
    let held = until("they wait for approval", async || {
        listed(&deployment).first().filter(|hold| hold["contacts"] == 120).cloned()
    })
    .await;
    service.drained().await;
    assert_eq!(deployment.sandbox.brevo.list_members(36).len(), 120);
    assert_eq!(deployment.sandbox.brevo.list_members(37).len(), 200);
    let page = service.page("readyz").await.unwrap();
    assert!(page.contains("the changes of 120 contacts wait for approval"), "{page}");
    service.kill();

    let service = deployment.serve().await;
    assert_eq!(listed(&deployment)[0]["id"], held["id"]);
    let approved = deployment.run(&["held", "approve", &held["id"].to_string()]);
    assert!(approved.status.success(), "{approved:?}");
    service.kill();
    let service = deployment.serve().await;
    until("all were taken off", async || {
        deployment.sandbox.brevo.list_members(36).is_empty().then_some(())
    })
    .await;
    service.drained().await;
    assert!(listed(&deployment).is_empty());
    let status = service.get("connectors/intercom/status").await.unwrap();
    assert_eq!(status["deadLetters"], 0, "{status:#}");
    assert_eq!(deployment.sandbox.brevo.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_show_what_waits_and_decide_it_with_and_without_a_service() {
    let deployment = deployment(60, 30).await;
    let service = deployment.serve().await;
    synced(&deployment, &service, 30).await;
    std::fs::write(deployment.path("scripts/mapping.rhai"), STRICT).unwrap();
    let held = until("they wait for approval", async || listed(&deployment).first().cloned()).await;
    let fields: BTreeSet<&str> = held.as_object().unwrap().keys().map(String::as_str).collect();
    let expected =
        ["id", "cause", "contacts", "removals", "unsubscribes", "deletions", "createdAt"];
    assert!(expected.iter().all(|field| fields.contains(field)), "{held}");
    assert_eq!(service.get("held").await.unwrap(), json!([held]));
    let text = deployment.run(&["held", "list"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("p***@example.com") && text.contains("- list 36"), "{text}");
    assert!(!text.contains("p1@example.com"), "{text}");
    let unknown = deployment.run(&["held", "approve", "77"]);
    assert_eq!(unknown.status.code(), Some(1));
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(said.contains("nothing waits for approval under the number 77"), "{said}");
    assert_eq!(deployment.run(&["held", "approve"]).status.code(), Some(2));
    service.drained().await;
    assert!(service.terminate().await.success());

    // Without a service: approval does the work itself.
    let id = held["id"].to_string();
    assert_eq!(listed(&deployment), [held]);
    let approved = deployment.run(&["held", "approve", &id, "--json"]);
    assert!(approved.status.success(), "{approved:?}");
    let answer: Value = serde_json::from_slice(&approved.stdout).unwrap();
    assert_eq!(answer["approved"], 30);
    assert!(deployment.sandbox.brevo.list_members(36).is_empty());
    assert!(listed(&deployment).is_empty());
    assert_eq!(deployment.run(&["held", "reject", &id]).status.code(), Some(1));
}
