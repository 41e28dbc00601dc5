//! `tajo scripts check`: the program itself, on a folder as `tajo init` writes it.

use serde_json::{Value, json};
use tajo::sandbox::{SandboxOptions, Seed};

use crate::support::Deployment;

async fn deployment() -> Deployment {
    let options = SandboxOptions { seed: Some(Seed::new(20).companies(3)), ..Default::default() };
    Deployment::start(options, "").await
}

/// The exit status and what `--json` says.
fn check(deployment: &Deployment, arguments: &[&str]) -> (Option<i32>, Value) {
    let arguments = [&["scripts", "check", "--json"], arguments].concat();
    let output = deployment.run(&arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let said = serde_json::from_str(&text).unwrap_or_else(|_| {
        panic!("{text}{}", String::from_utf8_lossy(&output.stderr));
    });
    (output.status.code(), said)
}

/// Code, file, line and column of each problem.
fn places(said: &Value) -> Vec<(String, String)> {
    let problems = said["problems"].as_array().unwrap();
    let place = |problem: &Value| {
        let file = problem["file"].as_str().unwrap();
        (
            format!(
                "{} {}",
                problem["severity"].as_str().unwrap(),
                problem["code"].as_str().unwrap()
            ),
            format!("{file}:{}:{}", problem["line"], problem["column"]),
        )
    };
    problems.iter().map(place).collect()
}

fn rewrite(deployment: &Deployment, file: &str, from: &str, to: &str) {
    let path = deployment.path(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_rules_pass_also_against_the_accounts() {
    let deployment = deployment().await;
    for arguments in [&[][..], &["--deny-warnings"], &["--live"], &["--live", "--deny-warnings"]] {
        let (status, said) = check(&deployment, arguments);
        // The engine makes the attributes that an account lacks, which is worth a warning.
        let makes = arguments == ["--live", "--deny-warnings"];
        assert_eq!(status, Some(i32::from(makes)), "{arguments:?} {said:#}");
        assert_eq!(said["ok"], !makes);
        assert!(said["version"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slips_are_told_at_once_with_their_places() {
    let deployment = deployment().await;
    std::fs::write(deployment.path("scripts/more.rhai"), "fn map_company(company, brevo) {\n")
        .unwrap();
    let anchor = "    brevo.email = contact.email;";
    let slips = "    brevo.emial = contact.email;\n    brevo.A = domian(contact.email);\n    brevo.B = contact.emial;";
    rewrite(&deployment, "scripts/mapping.rhai", anchor, slips);
    let (status, said) = check(&deployment, &[]);
    assert_eq!(status, Some(1), "{said:#}");
    assert_eq!((&said["ok"], &said["version"]), (&json!(false), &Value::Null));
    let expected = [
        ("error unknown-field", "scripts/mapping.rhai:9:11"),
        ("error unknown-function", "scripts/mapping.rhai:10:15"),
        ("warning unknown-record-field", "scripts/mapping.rhai:11:23"),
        ("error syntax", "scripts/more.rhai:1:33"),
    ];
    assert_eq!(places(&said), expected.map(|(what, place)| (what.to_owned(), place.to_owned())));
    let problem = &said["problems"][1];
    assert_eq!(problem["message"], "there is no function `domian`");
    assert_eq!(problem["help"], "did you mean `domain`?");
    assert_eq!(problem["span_length"], 6);
    assert_eq!(problem["source_line"], "    brevo.A = domian(contact.email);");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_the_accounts_lack_are_told_with_live() {
    let deployment = deployment().await;
    let anchor = "    brevo.email = contact.email;";
    let slips = "    brevo.email = contact.email;\n    brevo.FIRSTNAEM = contact.custom_attributes.plan_teir;\n    brevo.add_to_list(4711);\n    brevo.add_to_list(\"nowhere\");";
    rewrite(&deployment, "scripts/mapping.rhai", anchor, slips);
    let (status, said) = check(&deployment, &[]);
    assert_eq!((status, places(&said).len()), (Some(0), 1), "{said:#}");

    let (status, said) = check(&deployment, &["--live"]);
    assert_eq!(status, Some(1), "{said:#}");
    let found: Vec<_> = places(&said)
        .into_iter()
        .filter(|(_, place)| place.starts_with("scripts/mapping.rhai:1"))
        .take(4)
        .collect();
    let expected = [
        ("warning unknown-attribute", "scripts/mapping.rhai:10:11"),
        ("error unknown-record-field", "scripts/mapping.rhai:10:49"),
        ("error unknown-list", "scripts/mapping.rhai:11:23"),
        ("error unknown-list", "scripts/mapping.rhai:12:23"),
    ];
    assert_eq!(found, expected.map(|(what, place)| (what.to_owned(), place.to_owned())));
    let help = |code: &str, line: u32| {
        let problems = said["problems"].as_array().unwrap();
        let problem = problems.iter().find(|p| p["code"] == code && p["line"] == line).unwrap();
        problem["help"].as_str().unwrap().to_owned()
    };
    assert!(help("unknown-attribute", 10).starts_with("did you mean `FIRSTNAME`?"), "{said:#}");
    assert_eq!(help("unknown-record-field", 10), "did you mean `plan_tier`?");

    rewrite(
        &deployment,
        "config/tajo.yaml",
        "    rate_tier",
        "    create_attributes: false\n    rate_tier",
    );
    let (_, said) = check(&deployment, &["--live"]);
    assert_eq!(places(&said)[0].0, "error unknown-attribute");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_be_asked_is_told_and_the_rest_is_checked() {
    let deployment = deployment().await;
    let anchor = "    brevo.email = contact.email;";
    rewrite(
        &deployment,
        "scripts/mapping.rhai",
        anchor,
        "    brevo.emial = contact.email;\n    brevo.add_to_list(4711);",
    );
    let token = deployment.sandbox.intercom.access_token().to_owned();
    rewrite(&deployment, "config/tajo.yaml", &token, "wrong");
    let (status, said) = check(&deployment, &["--live"]);
    assert_eq!(status, Some(1));
    let expected = [
        ("error account", "configuration:0:0"),
        ("error unknown-field", "scripts/mapping.rhai:9:11"),
        ("error unknown-list", "scripts/mapping.rhai:10:23"),
    ];
    let found: Vec<_> =
        places(&said).into_iter().filter(|(what, _)| what.starts_with("error")).collect();
    assert_eq!(
        found,
        expected.map(|(what, place)| (what.to_owned(), place.to_owned())),
        "{said:#}"
    );
    let message = said["problems"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("Intercom could not be asked: Intercom refuses the access token"),
        "{message}"
    );

    // Nobody listens on the port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let base = deployment.sandbox.brevo.base_url().to_string();
    rewrite(&deployment, "config/tajo.yaml", &base, &format!("http://{free}/v3"));
    let (status, said) = check(&deployment, &["--live"]);
    assert_eq!(status, Some(1));
    let codes: Vec<_> = places(&said).into_iter().map(|(what, _)| what).collect();
    assert_eq!(codes, ["error account", "error account", "error unknown-field"], "{said:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_alone_are_well_unless_they_are_denied() {
    let deployment = deployment().await;
    std::fs::write(deployment.path("scripts/more.rhai"), "fn forgotten(x) { x }\n").unwrap();
    assert_eq!(check(&deployment, &[]).0, Some(0));
    let (status, said) = check(&deployment, &["--deny-warnings"]);
    assert_eq!((status, &said["ok"]), (Some(1), &json!(false)));
    let output = deployment.run(&["scripts", "check", "--deny-warnings"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(" --> scripts/more.rhai:1:4\n"), "{text}");
    assert!(
        text.trim_end().ends_with("✗ 1 warning, which `--deny-warnings` does not take"),
        "{text}"
    );
    let wrong = deployment.run(&["--config", "nowhere.yaml", "scripts", "check"]);
    assert_eq!(wrong.status.code(), Some(2));
}
