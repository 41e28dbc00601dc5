//! Writing rules: the commands that test them, try them on a record, and record one.

use std::process::{Command, Output};

use serde_json::{Value, json};
use tajo::sandbox::SandboxOptions;
use tajo::sandbox::brevo::Limits;

use crate::support::{Deployment, until};

async fn deployment() -> Deployment {
    let mut options = SandboxOptions::default();
    options.brevo.limits = Limits::off();
    options.intercom.rate_limit = None;
    Deployment::start(options, "store: { url: \"sqlite://data/tajo.db\" }\n").await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn ended(output: &Output, status: i32) -> String {
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{said}");
    said
}

const FAILING: &str = "\
fn test_a_name() {
    let d = run_contact(sample(\"ann.json\"));
    assert_eq!(d.FIRSTNAME, \"Anna\");
}
fn test_a_list() {
    let d = run_contact(sample(\"ann.json\"));
    assert(d.on_list(\"leads\"));
}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_test_shows_both_values_and_the_lines_that_decided() {
    let deployment = deployment().await;
    let passed = ended(&deployment.run(&["scripts", "test"]), 0);
    assert!(passed.contains(" passed, 0 failed"), "{passed}");

    let failing = FAILING.replace("assert_eq!", "assert_eq");
    std::fs::write(deployment.path("scripts/tests/failing.rhai"), failing).unwrap();
    let failed = ended(&deployment.run(&["scripts", "test", "failing"]), 1);
    for part in [
        "FAILED  scripts/tests/failing.rhai test_a_name",
        "error: got \"Ann\", expected \"Anna\"",
        "--> scripts/tests/failing.rhai:3:5",
        "actual    \"Ann\"",
        "FIRSTNAME \"Ann\", by scripts/mapping.rhai:",
        "no rule put the contact on the list leads",
        "on list",
        "0 passed, 2 failed",
    ] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
    let output = deployment.run(&["scripts", "test", "failing", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["ok"], &report["failed"]), (&json!(false), &json!(2)), "{report:#}");
    assert_eq!(report["tests"][0]["evidence"]["expected"], "Anna");

    let none = ended(&deployment.run(&["scripts", "test", "no_such_test"]), 1);
    assert!(none.contains("error: no test matches `no_such_test`"), "{none}");
    ended(&deployment.run(&["scripts", "test", "--min-coverage", "x"]), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn coverage_names_the_lines_that_no_test_runs() {
    let deployment = deployment().await;
    let mapping = deployment.path("scripts/mapping.rhai");
    let mut rules = std::fs::read_to_string(&mapping).unwrap();
    rules.push_str("\nfn never_called(x) {\n    x + 1\n}\n");
    let line = rules.lines().count() - 1;
    std::fs::write(&mapping, rules).unwrap();
    let shown =
        ended(&deployment.run(&["scripts", "test", "--coverage", "--lcov", "lcov.info"]), 0);
    assert!(shown.contains(&format!("never run: scripts/mapping.rhai:{line}")), "{shown}");
    assert!(shown.contains("never_called") && shown.contains("map_contact"), "{shown}");
    let lcov = std::fs::read_to_string(deployment.path("lcov.info")).unwrap();
    assert!(lcov.contains(&format!("DA:{line},0")), "{lcov}");
    ended(&deployment.run(&["scripts", "test", "--min-coverage", "100"]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_record_runs_through_the_files_as_they_are() {
    let deployment = deployment().await;
    let shown = ended(
        &deployment.run(&["scripts", "run", "--record", "ann.json", "--as-of", "2026-01-01"]),
        0,
    );
    for part in [
        "as of 2026-01-01T00:00:00Z",
        "FIRSTNAME",
        "\"Ann\"",
        "scripts/mapping.rhai:",
        "operations",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let output = deployment.run(&["scripts", "run", "--record", "ann.json", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["decision"]["email"]["value"], "ann@example.com", "{report:#}");
    assert!(report["operations"].as_u64() > Some(10), "{report:#}");

    let missing = ended(&deployment.run(&["scripts", "run", "--record", "nobody.json"]), 1);
    assert!(missing.contains("there is no file `nobody.json`"), "{missing}");
    let usage = ["scripts", "run", "--record", "ann.json", "--handler", "map_contacts"];
    ended(&deployment.run(&usage), 2);

    let broken = "fn map_contact(contact, brevo) {\n    brevo.AGE = contact.age * 2;\n}\n";
    std::fs::write(deployment.path("scripts/mapping.rhai"), broken).unwrap();
    let broke = ended(&deployment.run(&["scripts", "run", "--record", "ann.json"]), 1);
    assert!(broke.contains("--> scripts/mapping.rhai:2:"), "{broke}");
    assert!(broke.contains("brevo.AGE = contact.age * 2;"), "{broke}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_contact_is_tried_and_recorded_without_the_person_while_an_engine_runs() {
    let deployment = deployment().await;
    let contact = json!({
        "email": "cora.stone@shop.example.com", "name": "Cora Stone", "role": "user",
        "phone": "+66812345678", "custom_attributes": {"plan_tier": "pro"},
    });
    deployment.sandbox.intercom.create_contact(contact).unwrap();
    let service = deployment.serve().await;
    until("the contact is in Brevo", async || {
        deployment.sandbox.brevo.contact("cora.stone@shop.example.com")
    })
    .await;
    service.drained().await;

    let shown =
        ended(&deployment.run(&["scripts", "run", "--record", "cora.stone@shop.example.com"]), 0);
    assert!(shown.contains("FIRSTNAME") && shown.contains("\"Cora\""), "{shown}");
    let unknown = ["scripts", "run", "--record", "nobody@example.com"];
    let unknown = ended(&deployment.run(&unknown), 1);
    assert!(unknown.contains("there is no contact with the address"), "{unknown}");

    let arguments = ["scripts", "record", "cora.stone@shop.example.com", "--name", "cora"];
    let written = ended(&deployment.run(&arguments), 0);
    assert!(written.contains("cora.rhai") && written.contains("look through"), "{written}");
    for file in ["samples/cora.json", "samples/cora.brevo.json", "cora.rhai"] {
        let text =
            std::fs::read_to_string(deployment.path(&format!("scripts/tests/{file}"))).unwrap();
        for personal in ["Stone", "shop.example", "812345678"] {
            assert!(!text.contains(personal), "{file}, {personal}: {text}");
        }
    }
    let tested = ended(&deployment.run(&["scripts", "test", "cora"]), 0);
    assert!(tested.contains("1 passed, 0 failed"), "{tested}");
    let again = ended(&deployment.run(&arguments), 1);
    assert!(again.contains("exists already"), "{again}");
    service.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_runs_the_tests_again_until_ctrl_c() {
    let deployment = deployment().await;
    let mut child = deployment.start_to(&["scripts", "test", "--watch"], "watch.log");
    let log = || std::fs::read_to_string(deployment.path("watch.log")).unwrap();
    until("the tests ran", async || log().contains(" passed, 0 failed").then_some(())).await;
    let failing = FAILING.replace("assert_eq!", "assert_eq");
    std::fs::write(deployment.path("scripts/tests/failing.rhai"), failing).unwrap();
    until("they ran again", async || log().contains(" passed, 2 failed").then_some(())).await;
    std::fs::write(deployment.path("scripts/broken.rhai"), "fn x( {").unwrap();
    until("what is broken is shown", async || log().contains("broken.rhai:1:").then_some(())).await;
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let status = until("it ended", async || child.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0));
}
