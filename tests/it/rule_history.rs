//! Versions of the rules are kept, shown, and rolled back to, by the program itself.

use std::process::Output;

use serde_json::{Value, json};
use tajo::sandbox::SandboxOptions;
use tajo::sandbox::brevo::Limits;

use crate::support::{Deployment, Service, until};

const BROKEN: &str = "fn map_contact(contact, brevo) {\n    brevo.email = contact.email;\n    brevo.RULE = nothing(1);\n    brevo.B = nada();\n}\n";

fn rule(number: u32) -> String {
    format!(
        "fn map_contact(contact, brevo) {{\n    brevo.email = contact.email;\n    brevo.RULE = {number};\n}}\n"
    )
}

/// A deployment with one script, and what it decides of Ann.
struct Shop {
    deployment: Deployment,
}

impl Shop {
    async fn start(settings: &str) -> Self {
        let mut options = SandboxOptions::default();
        options.brevo.limits = Limits::off();
        options.brevo.import_delay = std::time::Duration::from_millis(20);
        options.intercom.rate_limit = None;
        let settings = format!("store: {{ url: \"sqlite://data/tajo.db\" }}\n{settings}");
        let deployment = Deployment::start(options, &settings).await;
        std::fs::remove_dir_all(deployment.path("scripts")).unwrap();
        std::fs::create_dir(deployment.path("scripts")).unwrap();
        let shop = Self { deployment };
        shop.write("mapping.rhai", &rule(1));
        shop
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.deployment.path("scripts").join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.deployment.path("scripts").join(name)).ok()
    }

    async fn create(&self, service: &Service, email: &str) {
        let contact = json!({"email": email, "name": "Ann", "role": "user"});
        let changed = self.deployment.sandbox.intercom.create_contact(contact).unwrap();
        let secret = self.deployment.sandbox.intercom.client_secret();
        for notification in &changed.notifications {
            assert!(service.deliver(secret, &notification.to_string()).await);
        }
        service.drained().await;
    }

    fn decided(&self, email: &str) -> Value {
        let contact = self.deployment.sandbox.brevo.contact(email).unwrap_or_default();
        contact["attributes"]["RULE"].clone()
    }

    /// Waits until everybody is as rule `number` decides.
    async fn applied(&self, number: u32) {
        until(&format!("rule {number} is applied"), async || {
            (self.decided("ann@example.com") == number).then_some(())
        })
        .await;
    }

    fn history(&self) -> Vec<Value> {
        let output = self.deployment.run(&["scripts", "history", "--json"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until the history has as many entries.
    async fn judged(&self, number: usize) -> Vec<Value> {
        until(&format!("{number} judgements are kept"), async || {
            let history = self.history();
            (history.len() == number).then_some(history)
        })
        .await
    }

    fn rollback(&self, arguments: &[&str]) -> Output {
        self.deployment.run(&[&["scripts", "rollback"], arguments].concat())
    }
}

fn version(entry: &Value) -> &str {
    entry["version"].as_str().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_tells_when_by_whom_what_changed_and_what_became_of_it() {
    let shop = Shop::start("").await;
    let service = shop.deployment.serve().await;
    shop.judged(1).await;
    shop.write("mapping.rhai", &rule(2));
    shop.write("more.rhai", "fn helper() { 1 }\n");
    shop.judged(2).await;
    shop.write("mapping.rhai", BROKEN);
    std::fs::remove_file(shop.deployment.path("scripts/more.rhai")).unwrap();
    let history = shop.judged(3).await;

    let [refused, live, first] = &history[..] else { panic!("{history:?}") };
    assert_eq!((&refused["wentLive"], &refused["live"]), (&json!(false), &json!(false)));
    assert_eq!((&live["wentLive"], &live["live"]), (&json!(true), &json!(true)));
    assert_eq!((&first["wentLive"], &first["live"]), (&json!(true), &json!(false)));
    let files =
        json!({"added": ["scripts/more.rhai"], "changed": ["scripts/mapping.rhai"], "removed": []});
    assert_eq!(live["files"], files);
    let files =
        json!({"added": [], "changed": ["scripts/mapping.rhai"], "removed": ["scripts/more.rhai"]});
    assert_eq!(refused["files"], files);
    assert_eq!(refused["error"]["file"], "scripts/mapping.rhai");
    assert_eq!(refused["error"]["line"], 3);
    assert_eq!((&live["base"], &refused["base"]), (&first["version"], &live["version"]));
    let user = tajo::rules::process_user().unwrap();
    assert!(history.iter().all(|entry| entry["author"] == user), "{history:#?}");

    let short = &version(refused)[..4];
    let shown = shop.deployment.run(&["scripts", "history", short]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("-    brevo.RULE = 2;\n+    brevo.RULE = nothing(1);"), "{text}");
    assert!(text.contains("--- a/scripts/more.rhai\n+++ /dev/null"), "{text}");

    let rules = service.get("rules").await.unwrap();
    assert_eq!(rules["version"], live["version"]);
    assert_eq!(rules["handlers"], json!(["map_contact"]));
    assert_eq!(rules["refused"]["version"], refused["version"]);
    assert_eq!(rules["refused"]["problems"].as_array().unwrap().len(), 2, "{rules:#}");
    assert_eq!(service.get("rules/history").await.unwrap(), json!(history));
    let ready = service.page("readyz").await.expect("refused rules keep nobody from sending");
    assert!(ready.contains("new rules were refused: scripts/mapping.rhai:3:"), "{ready}");
    let metrics = service.page("metrics").await.unwrap();
    assert!(metrics.contains("\ntajo_rules_refused 1\n"), "{metrics}");
    let log = shop.deployment.log();
    let reason = "there is no function `nothing`";
    assert_eq!(log.matches(reason).count(), 1, "said once: {log}");
    assert_eq!(log.matches("rules are live").count(), 2, "{log}");

    // A restart judges the same again, and learns nothing new.
    service.kill();
    let service = shop.deployment.serve().await;
    until("the folder was judged", async || {
        let rules = service.get("rules").await?;
        (rules["refused"]["version"] == refused["version"]).then_some(())
    })
    .await;
    assert_eq!(shop.history(), history);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_live_at_once_survives_restarts_and_ends_with_the_next_good_change() {
    let shop = Shop::start("").await;
    let service = shop.deployment.serve().await;
    shop.create(&service, "ann@example.com").await;
    shop.write("mapping.rhai", &rule(2));
    shop.applied(2).await;
    let history = shop.judged(2).await;
    let first = version(&history[1]).to_owned();

    let output = shop.rollback(&[&first[..6]]);
    assert!(output.status.success(), "{output:?}");
    let rules = service.get("rules").await.unwrap();
    assert_eq!((&rules["version"], &rules["pinned"]), (&json!(first), &json!(first)));
    assert_eq!(rules["error"], Value::Null);
    // All known records are derived again, as with any other set.
    shop.applied(1).await;
    assert_eq!(shop.read("mapping.rhai"), Some(rule(2)), "the files stay as they are");
    let status = service.get("connectors/intercom/status").await.unwrap();
    assert_eq!(status["rules"]["pinned"], json!(first));
    let history = shop.judged(3).await;
    assert_eq!((&history[0]["pinned"], &history[0]["live"]), (&json!(true), &json!(true)));
    assert_eq!(history[0]["version"], json!(first));
    service.kill();

    let service = shop.deployment.serve().await;
    assert_eq!(service.get("rules").await.unwrap()["version"], json!(first));
    // What is refused ends nothing.
    shop.write("mapping.rhai", BROKEN);
    until("it is refused", async || {
        service.get("rules").await?["refused"].is_object().then_some(())
    })
    .await;
    let rules = service.get("rules").await.unwrap();
    assert_eq!((&rules["version"], &rules["pinned"]), (&json!(first), &json!(first)));

    shop.write("mapping.rhai", &rule(3));
    shop.applied(3).await;
    assert_eq!(service.get("rules").await.unwrap()["pinned"], Value::Null);
    service.kill();
    let service = shop.deployment.serve().await;
    let rules = service.get("rules").await.unwrap();
    assert_eq!(
        (&rules["pinned"], &rules["version"]),
        (&Value::Null, &shop.history()[0]["version"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_without_an_engine_is_what_the_next_one_starts_with() {
    let shop = Shop::start("").await;
    let nothing = shop.rollback(&["0a1b2c3d"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(said(&nothing).contains("there is no store yet"), "{nothing:?}");
    let service = shop.deployment.serve().await;
    shop.create(&service, "ann@example.com").await;
    shop.write("mapping.rhai", &rule(2));
    shop.applied(2).await;
    let history = shop.judged(2).await;
    let (second, first) = (version(&history[0]).to_owned(), version(&history[1]).to_owned());
    assert!(service.terminate().await.success());

    assert!(shop.rollback(&[&first]).status.success());
    let service = shop.deployment.serve().await;
    assert_eq!(service.get("rules").await.unwrap()["version"], json!(first));
    shop.applied(1).await;
    // What the folder holds needs no pin.
    assert!(shop.rollback(&[&second]).status.success());
    until("the folder decides again", async || {
        let rules = service.get("rules").await?;
        (rules["version"] == json!(second) && rules["pinned"].is_null()).then_some(())
    })
    .await;
    shop.applied(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rolled_back_to_changes_nothing_and_says_why() {
    let shop = Shop::start("").await;
    let service = shop.deployment.serve().await;
    shop.judged(1).await;
    shop.write("mapping.rhai", BROKEN);
    let history = shop.judged(2).await;
    fn case(shop: &Shop, arguments: &[&str], code: i32, expected: &str) {
        let output = shop.rollback(arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(said(&output).contains(expected), "{output:?}");
    }
    let broken = version(&history[0]);
    case(&shop, &[], 2, "which version?\n help: `tajo scripts history` lists them");
    case(&shop, &["abc"], 2, "`abc` is no version");
    case(&shop, &["0000000000000000"], 1, "no version begins with `0000000000000000`");
    case(&shop, &[broken], 1, "scripts/mapping.rhai:3:");
    case(&shop, &[broken, "--write"], 1, "does not work with today's configuration");
    case(&shop, &[broken, "--force"], 2, "--write");
    let live = service.get("rules").await.unwrap();
    assert_eq!((&live["version"], &live["pinned"]), (&history[1]["version"], &Value::Null));
    service.kill();
    case(&shop, &[broken], 1, "there is no function `nothing`");
    assert_eq!(shop.history(), history);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_versions_files_are_written_back_unless_something_would_be_lost() {
    let shop = Shop::start("").await;
    std::fs::create_dir(shop.deployment.path("scripts/tests")).unwrap();
    let test = "fn test_a() { assert_eq(run_contact(#{ email: \"a@example.com\" }).RULE, 1); }\n";
    shop.write("tests/a.rhai", test);
    let service = shop.deployment.serve().await;
    shop.create(&service, "ann@example.com").await;
    shop.write("tests/a.rhai", &test.replace(", 1)", ", 2)"));
    shop.write("mapping.rhai", &rule(2));
    shop.write("more.rhai", "fn helper() { 1 }\n");
    shop.applied(2).await;
    let history = shop.judged(2).await;
    let first = version(&history[1]).to_owned();

    // An edit that was never saved into the history would be lost.
    assert!(service.terminate().await.success());
    shop.write("mapping.rhai", &rule(99));
    let output = shop.rollback(&[&first, "--write"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("in no version of the history: mapping.rhai"), "{output:?}");
    assert_eq!(shop.read("mapping.rhai"), Some(rule(99)));

    shop.write("mapping.rhai", &rule(2));
    let service = shop.deployment.serve().await;
    let output = shop.rollback(&[&first, "--write", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["written"], json!(["mapping.rhai", "tests/a.rhai"]));
    assert_eq!(report["removed"], json!(["more.rhai"]));
    assert_eq!(shop.read("mapping.rhai"), Some(rule(1)));
    assert_eq!(shop.read("tests/a.rhai").as_deref(), Some(test));
    assert_eq!(shop.read("more.rhai"), None);
    shop.applied(1).await;
    let rules = service.get("rules").await.unwrap();
    assert_eq!((&rules["version"], &rules["pinned"]), (&json!(first), &Value::Null));

    shop.write("more.rhai", "fn mine() { 2 } // nowhere else\n");
    service.kill();
    assert_eq!(shop.rollback(&[&first, "--write"]).status.code(), Some(1));
    assert!(shop.rollback(&[&first, "--write", "--force"]).status.success());
    assert_eq!(shop.read("more.rhai"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_new_records_nobody_is_derived_again() {
    let shop = Shop::start("scripts: { on_change: new_records }\n").await;
    let service = shop.deployment.serve().await;
    shop.create(&service, "ann@example.com").await;
    shop.write("mapping.rhai", &rule(2));
    shop.judged(2).await;
    shop.create(&service, "bob@example.com").await;
    assert_eq!(shop.decided("bob@example.com"), 2);
    assert_eq!(shop.decided("ann@example.com"), 1);
}
