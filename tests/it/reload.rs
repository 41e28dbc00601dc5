//! Rules are replaced on a running engine: whole sets, no lost record, and never by a broken one.

use serde_json::json;

use crate::support::{App, until};

fn rule(version: u32) -> String {
    format!(
        "fn map_contact(contact, brevo) {{\n    brevo.email = contact.email;\n    brevo.RULE_A = {version};\n    \
         brevo.FIRSTNAME = contact.name;\n    brevo.RULE_B = {version};\n}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_change_under_load_leave_no_record_behind_and_none_half_decided() {
    let app = App::builder().with_script("mapping.rhai", &rule(0)).start().await;
    let people = 60;
    for round in 1..=6_u32 {
        std::fs::write(app.script("mapping.rhai"), rule(round)).unwrap();
        for person in (0..people).filter(|person| person % 6 == round % 6) {
            let contact = json!({"email": format!("p{person}@example.com"), "name": format!("P{person}"), "role": "user"});
            let changed = app.sandbox.intercom.create_contact(contact).unwrap();
            for notification in &changed.notifications {
                app.deliver(notification.to_string().as_bytes()).await;
            }
        }
    }
    let version = app.status().await.rules.version;
    std::fs::write(app.script("mapping.rhai"), rule(7)).unwrap();
    until("the last rules are live", async || {
        (app.status().await.rules.version != version).then_some(())
    })
    .await;
    until("everybody is as the last rules decide", async || {
        let done =
            app.sandbox.brevo.contacts().iter().filter(|c| c["attributes"]["RULE_B"] == 7).count();
        (done == people as usize).then_some(())
    })
    .await;
    app.drained().await;

    for person in 0..people {
        let held = app.sandbox.brevo.contact(&format!("p{person}@example.com")).unwrap();
        assert_eq!(held["attributes"]["RULE_A"], 7, "{held}");
    }
    // Each write was decided by one rule set: both parts are of the same version in every request.
    for call in app.sandbox.brevo.log().find(|call| call.body["attributes"]["RULE_A"].is_number()) {
        assert_eq!(
            call.body["attributes"]["RULE_A"], call.body["attributes"]["RULE_B"],
            "{:?}",
            call.body
        );
    }
    assert_eq!(app.status().await.dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_rules_change_nothing_and_say_where() {
    let app = App::builder().with_script("mapping.rhai", &rule(1)).start().await;
    app.create(json!({"email": "ann@example.com", "name": "Ann", "role": "user"})).await;
    let live = app.status().await.rules.version;

    std::fs::write(
        app.script("mapping.rhai"),
        "fn map_contact(contact, brevo) {\n    brevo.email = ;\n}\n",
    )
    .unwrap();
    let error = until("the rules are refused", async || app.status().await.rules.error).await;
    assert_eq!((error.file.as_str(), error.line), ("scripts/mapping.rhai", 2));
    assert!(error.column > 0);
    let status = app.status().await;
    assert_eq!(status.rules.version, live);
    assert!(
        status.degraded.iter().any(|reason| reason.contains("scripts/mapping.rhai:2:")),
        "{status:?}"
    );

    app.create(json!({"email": "bob@example.com", "name": "Bob", "role": "user"})).await;
    assert_eq!(app.sandbox.brevo.contact("bob@example.com").unwrap()["attributes"]["RULE_A"], 1);

    std::fs::write(app.script("mapping.rhai"), rule(2)).unwrap();
    until("good rules are live", async || app.status().await.rules.error.is_none().then_some(()))
        .await;
    until("they are applied to all", async || {
        let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
        (held["attributes"]["RULE_A"] == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_whose_tests_fail_do_not_go_live() {
    let app = App::builder().with_script("mapping.rhai", &rule(1)).start().await;
    let live = app.status().await.rules.version;
    std::fs::create_dir_all(app.script("tests")).unwrap();
    let test = "fn test_rule() {\n    let d = run_contact(#{ email: \"a@example.com\" });\n    assert_eq!(d.RULE_A, 1);\n}\n"
        .replace("assert_eq!", "assert_eq");
    std::fs::write(app.script("tests/contacts.rhai"), test).unwrap();
    std::fs::write(app.script("mapping.rhai"), rule(2)).unwrap();
    let error = until("the rules are refused", async || app.status().await.rules.error).await;
    assert_eq!(error.file, "scripts/tests/contacts.rhai");
    assert_eq!(app.status().await.rules.version, live);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_time_is_derived_again_when_its_answer_flips() {
    let rule = "fn map_contact(contact, brevo) {\n    brevo.email = contact.email;\n    \
                brevo.SLEEPING = older_than(contact.last_seen_at, \"30d\");\n}\n";
    let app = App::builder().with_script("mapping.rhai", rule).start().await;
    let flips_in = 3;
    let seen = app.engine().now().seconds() - 30 * 86_400 + flips_in;
    app.create(json!({"email": "ann@example.com", "role": "user", "last_seen_at": seen})).await;
    assert_eq!(
        app.sandbox.brevo.contact("ann@example.com").unwrap()["attributes"]["SLEEPING"],
        false
    );
    until("the answer has flipped", async || {
        (app.sandbox.brevo.contact("ann@example.com").unwrap()["attributes"]["SLEEPING"] == true)
            .then_some(())
    })
    .await;
}

/// What Kubernetes does with a ConfigMap and what git does with a branch, under load.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_switched_under_load_is_taken_up_whole() {
    use std::os::unix::fs::symlink;
    // Two files that must be of one version: each of them alone loads, too.
    let mapping = |version: u32| {
        format!(
            "fn map_contact(contact, brevo) {{\n    brevo.email = contact.email;\n    \
             brevo.RULE_A = {version};\n    brevo.RULE_B = part::version();\n}}\n"
        )
    };
    let part = |version: u32| format!("fn version() {{ {version} }}\n");
    let app = App::builder()
        .with_script("mapping.rhai", "fn map_contact(c, b) { b.email = c.email; }")
        .start()
        .await;
    let scripts = app.script("");
    let above = scripts.parent().unwrap().to_owned();
    let fill = |version: u32| {
        let dir = above.join(format!("version{version}"));
        std::fs::create_dir_all(dir.join("lib")).unwrap();
        std::fs::write(dir.join("mapping.rhai"), mapping(version)).unwrap();
        std::fs::write(dir.join("lib/part.rhai"), part(version)).unwrap();
        dir
    };
    std::fs::remove_dir_all(above.join("scripts")).unwrap();
    for version in 1..=4 {
        symlink(fill(version), above.join("next")).unwrap();
        std::fs::rename(above.join("next"), above.join("scripts")).unwrap();
        let email = format!("p{version}@example.com");
        app.create(json!({"email": email, "role": "user"})).await;
        until("the switched rules are live and applied", async || {
            let held = app.sandbox.brevo.contact("p1@example.com")?;
            (held["attributes"]["RULE_A"] == version).then_some(())
        })
        .await;
    }
    app.drained().await;
    for call in app.sandbox.brevo.log().find(|call| call.body["attributes"]["RULE_A"].is_number()) {
        let attributes = &call.body["attributes"];
        assert_eq!(attributes["RULE_A"], attributes["RULE_B"], "{:?}", call.body);
    }
    assert_eq!(app.status().await.dead_letters, 0);
    let history = app.engine().rule_history().await.unwrap();
    let refused: Vec<_> = history.iter().filter(|version| !version.went_live).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
