//! An opt-out is never undone, whatever way it comes and whatever the rules say.

use serde_json::json;
use tajo::sandbox::Seed;
use tajo::sandbox::intercom::Failure;

use crate::support::App;

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_reaches_brevo_and_nothing_takes_it_back() {
    let app = App::builder().start().await;
    let id = app.create(json!({"email": "ann@example.com", "name": "Ann", "role": "lead"})).await;
    app.fire(app.sandbox.intercom.unsubscribe(&id).unwrap()).await;
    assert_eq!(app.sandbox.brevo.contact("ann@example.com").unwrap()["emailBlacklisted"], true);

    // A later opt-in in Intercom, another list, another address, a sync: none of it re-subscribes.
    for patch in [
        json!({"unsubscribed_from_emails": false}),
        json!({"role": "user"}),
        json!({"email": "ann.moss@example.com"}),
    ] {
        app.fire(app.sandbox.intercom.update_contact(&id, patch).unwrap()).await;
    }
    app.sync().await;
    let held = app.sandbox.brevo.contact("ann.moss@example.com").unwrap();
    assert_eq!(held["emailBlacklisted"], true);
    assert_eq!(held["listIds"], json!([]), "a granted membership goes, none is added");
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_reaches_brevo_while_every_rule_fails() {
    let app = App::builder().start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    std::fs::write(
        app.script("mapping.rhai"),
        "fn map_contact(contact, brevo) { throw \"broken\"; }",
    )
    .unwrap();
    std::fs::remove_dir_all(app.script("tests")).unwrap();
    let version = app.status().await.rules.version;
    crate::support::until("the failing rules are live", async || {
        (app.status().await.rules.version != version).then_some(())
    })
    .await;
    app.fire(app.sandbox.intercom.unsubscribe(&id).unwrap()).await;
    assert_eq!(app.sandbox.brevo.contact("ann@example.com").unwrap()["emailBlacklisted"], true);
    assert!(app.status().await.dead_letters > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_opted_out_is_made_with_the_flag_and_without_lists() {
    let app = App::builder().start().await;
    app.create(
        json!({"email": "ann@example.com", "role": "user", "unsubscribed_from_emails": true}),
    )
    .await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["emailBlacklisted"], true);
    assert_eq!(held["listIds"], json!([]));
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_made_in_brevo_is_found_before_anything_is_written() {
    let app = App::builder().start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "lead"})).await;
    app.sandbox.brevo.blacklist("ann@example.com");
    app.fire(app.sandbox.intercom.update_contact(&id, json!({"role": "user"})).unwrap()).await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["emailBlacklisted"], true);
    assert!(!held["listIds"].as_array().unwrap().contains(&json!(35)));
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_over_people_who_opted_out_on_either_side_re_subscribes_nobody() {
    let app = App::builder().with_seed(Seed::new(400).companies(20)).start().await;
    let emails: Vec<String> = app
        .sandbox
        .intercom
        .contacts()
        .iter()
        .filter_map(|c| Some(c["email"].as_str()?.to_lowercase()))
        .collect();
    for email in emails.iter().step_by(7) {
        let blacklisted = json!({"email": email, "emailBlacklisted": true, "listIds": [36]});
        // Some are there twice: several contacts share an address.
        let _ = app.sandbox.brevo.put_contact(&blacklisted);
    }
    app.sync().await;
    app.assert_consent_kept();
    for email in emails.iter().step_by(7) {
        let held = app.sandbox.brevo.contact(email).unwrap();
        assert_eq!(held["emailBlacklisted"], true, "{email}");
        assert_eq!(
            held["listIds"],
            json!([36]),
            "{email}: the foreign membership stays, none is added"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_does_not_forget_an_opt_out() {
    let app = App::builder().start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    app.fire(app.sandbox.intercom.unsubscribe(&id).unwrap()).await;
    app.fire(app.sandbox.intercom.delete(&id).unwrap()).await;
    assert_eq!(app.sandbox.brevo.contact("ann@example.com"), None);
    app.create(json!({"email": "ann@example.com", "role": "user", "name": "Ann Again"})).await;
    assert_eq!(app.sandbox.brevo.contact("ann@example.com").unwrap()["emailBlacklisted"], true);
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_goes_along_to_an_address_that_brevo_has_already() {
    let app = App::builder().start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    app.sandbox.brevo.blacklist("ann@example.com");
    app.sandbox.brevo.put_contact(&json!({"email": "moss@example.com"})).unwrap();
    let moved =
        app.sandbox.intercom.update_contact(&id, json!({"email": "moss@example.com"})).unwrap();
    app.fire(moved).await;
    let held = app.sandbox.brevo.contact("moss@example.com").unwrap();
    assert_eq!(held["emailBlacklisted"], true);
    assert_eq!(held["listIds"], json!([]));
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_change_of_values_imports_nobody_who_opted_out_in_brevo_meanwhile() {
    let app = App::builder().with_seed(Seed::new(300).companies(5)).start().await;
    app.sync().await;
    let on_list: Vec<String> = app.sandbox.brevo.list_members(35).into_iter().collect();
    for email in on_list.iter().step_by(40) {
        app.sandbox.brevo.blacklist(email);
    }
    for contact in app.sandbox.intercom.contacts() {
        let id = contact["id"].as_str().unwrap();
        app.sandbox.intercom.update_contact(id, json!({"name": "Changed Name"})).unwrap();
    }
    app.sync().await;
    app.assert_consent_kept();
    for email in on_list.iter().step_by(40) {
        assert_eq!(app.sandbox.brevo.contact(email).unwrap()["emailBlacklisted"], true, "{email}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_does_not_forget_an_opt_out_that_was_made_in_brevo() {
    let app = App::builder().start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    app.sandbox.brevo.blacklist("ann@example.com");
    app.fire(app.sandbox.intercom.delete(&id).unwrap()).await;
    app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    assert_eq!(app.sandbox.brevo.contact("ann@example.com").unwrap()["emailBlacklisted"], true);
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_holds_at_whatever_address_the_rules_choose() {
    let rule = "fn map_contact(contact, brevo) {\n    brevo.email = \"work.\" + contact.email;\n    \
                brevo.add_to_list(\"all_users\");\n}\n";
    let app = App::builder().with_script("mapping.rhai", rule).start().await;
    app.create(
        json!({"email": "ann@example.com", "role": "user", "unsubscribed_from_emails": true}),
    )
    .await;
    let held = app.sandbox.brevo.contact("work.ann@example.com").unwrap();
    assert_eq!((&held["emailBlacklisted"], &held["listIds"]), (&json!(true), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsubscription_without_an_address_counts_for_the_one_that_is_known() {
    let app = App::builder().start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    app.hand_in("contact.unsubscribed", &json!({"item": {"type": "contact", "id": id}})).await;
    app.drained().await;
    assert_eq!(app.sandbox.brevo.contact("ann@example.com").unwrap()["emailBlacklisted"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_whose_second_half_fails_leaves_nobody_subscribed() {
    let app = App::builder().start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    app.fire(app.sandbox.intercom.unsubscribe(&id).unwrap()).await;
    app.sandbox.brevo.reset_after_commit_next("PUT /v3/contacts/*", 1);
    app.sandbox.brevo.fail_next("PUT /v3/contacts/*", 500, serde_json::Value::Null, 3);
    let moved =
        app.sandbox.intercom.update_contact(&id, json!({"email": "moss@example.com"})).unwrap();
    app.fire(moved).await;
    assert_eq!(app.sandbox.brevo.contact("moss@example.com").unwrap()["emailBlacklisted"], true);
}

/// What Intercom says of whether a contact takes e-mail.
fn is_unsubscribed(app: &App, id: &str) -> bool {
    let contacts = app.sandbox.intercom.contacts();
    let contact = contacts.iter().find(|contact| contact["id"] == id).unwrap();
    contact["unsubscribed_from_emails"] == true
}

/// How often Intercom was told something of a contact.
fn told(app: &App, id: &str) -> usize {
    app.sandbox.intercom.log().count(|call| call.is("PUT", &format!("/contacts/{id}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_made_in_brevo_reaches_intercom_once() {
    let app = App::builder().start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "lead"})).await;
    app.sandbox.brevo.blacklist("ann@example.com");
    app.fire(app.sandbox.intercom.update_contact(&id, json!({"role": "user"})).unwrap()).await;
    assert!(is_unsubscribed(&app, &id));
    assert_eq!(told(&app, &id), 1);

    // What Intercom then tells of it, and what it says later, causes nothing more.
    app.sync().await;
    for patch in [json!({"unsubscribed_from_emails": false}), json!({"name": "Anna"})] {
        app.fire(app.sandbox.intercom.update_contact(&id, patch).unwrap()).await;
    }
    assert_eq!(told(&app, &id), 1);
    assert_eq!(app.sandbox.brevo.contact("ann@example.com").unwrap()["emailBlacklisted"], true);
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opted_out_in_brevo_before_he_came_to_intercom_is_told_of_there() {
    let app = App::builder().start().await;
    let gone = json!({"email": "ann@example.com", "emailBlacklisted": true});
    app.sandbox.brevo.put_contact(&gone).unwrap();
    let id = app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    assert!(is_unsubscribed(&app, &id));
    assert_eq!(told(&app, &id), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn intercom_is_not_told_what_it_said_itself_nor_what_a_rule_says_nor_where_nobody_wants_it() {
    let app = App::builder().start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    app.fire(app.sandbox.intercom.unsubscribe(&id).unwrap()).await;
    let back = json!({"unsubscribed_from_emails": false});
    app.fire(app.sandbox.intercom.update_contact(&id, back).unwrap()).await;
    app.sync().await;
    assert_eq!(told(&app, &id), 0, "its own word");

    let rule = "fn map_contact(contact, brevo) {\n    brevo.email = contact.email;\n    brevo.unsubscribe();\n}\n";
    let app = App::builder().with_script("mapping.rhai", rule).start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    assert_eq!(app.sandbox.brevo.contact("ann@example.com").unwrap()["emailBlacklisted"], true);
    app.fire(app.sandbox.intercom.update_contact(&id, json!({"name": "Ann"})).unwrap()).await;
    assert_eq!(told(&app, &id), 0, "the word of a rule");

    let app = App::builder().with_setting("intercom", "sync_unsubscribes: false").start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "lead"})).await;
    app.sandbox.brevo.blacklist("ann@example.com");
    app.fire(app.sandbox.intercom.update_contact(&id, json!({"role": "user"})).unwrap()).await;
    assert_eq!(told(&app, &id), 0, "it is switched off");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_waits_for_an_intercom_that_is_away() {
    let mut app = App::builder().start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "lead"})).await;
    app.sandbox.brevo.blacklist("ann@example.com");
    app.sandbox.intercom.fail_next("PUT /contacts/*", Failure::Status(500), 4);
    app.fire(app.sandbox.intercom.update_contact(&id, json!({"role": "user"})).unwrap()).await;
    app.stop_engine().await;
    app.start_engine().await;
    app.drained().await;
    assert!(is_unsubscribed(&app, &id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_of_messages_that_somebody_chose_is_a_list_as_long_as_he_wants_it() {
    let rules = "fn map_contact(contact, brevo) {\n    brevo.email = contact.email;\n    \
                 if contact.subscriptions[\"Weekly digest\"] == \"in\" { brevo.add_to_list(101); }\n    \
                 if contact.subscriptions[\"Product news\"] == \"out\" { brevo.add_to_list(102); }\n}\n";
    let app = App::builder().with_script("mapping.rhai", rules).start().await;
    let (intercom, brevo) = (&app.sandbox.intercom, &app.sandbox.brevo);
    for list in [101, 102] {
        brevo.create_list_with_id(list, &format!("list {list}"));
    }
    let id = app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    let lists = || brevo.contact("ann@example.com").unwrap()["listIds"].clone();
    assert_eq!(lists(), json!([]));
    let (digest, news) = ("1943067", "1943066");
    app.fire(intercom.set_subscription(&id, digest, "opt_in").unwrap()).await;
    assert_eq!(lists(), json!([101]));
    app.fire(intercom.set_subscription(&id, news, "opt_out").unwrap()).await;
    assert_eq!(lists(), json!([101, 102]));
    app.fire(intercom.set_subscription(&id, digest, "opt_out").unwrap()).await;
    assert_eq!(lists(), json!([102]));
    // One kind of messages is not all of them.
    assert_eq!(brevo.contact("ann@example.com").unwrap()["emailBlacklisted"], false);
    app.sync().await;
    assert_eq!(lists(), json!([102]));
    app.assert_consent_kept();
}
