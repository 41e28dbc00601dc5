//! Connecting a workspace: by OAuth, with its token, and what becomes of the token.

use std::io::Write;
use std::process::{Child, Output, Stdio};

use reqwest::header::LOCATION;
use serde_json::{Value, json};
use tajo::model::{Clock, SystemClock};
use tajo::sandbox::intercom::notification;
use tajo::sandbox::{SandboxOptions, Seed};

use crate::support::{Deployment, Service, client, until};

/// No sweeps but those that a test asks for.
const QUIET: &str = "    sync_every: off\n    full_sync_every: off\n";
const TOKEN: &str = "sandbox-intercom-token";
const SECRET: &str = "sandbox-client-secret";

/// A deployment whose configuration has this `access_token`, and these lines for the connector.
async fn deployment(token: &str, lines: &str) -> Deployment {
    let seed = Some(Seed::new(3).without_long_lists());
    let deployment =
        Deployment::start(SandboxOptions { seed, ..SandboxOptions::default() }, "").await;
    change(
        &deployment,
        &format!("access_token: \"{TOKEN}\"\n"),
        &format!("access_token: \"{token}\"\n{lines}"),
    );
    deployment
}

fn change(deployment: &Deployment, from: &str, to: &str) {
    let path = deployment.path("config/tajo.yaml");
    let yaml = std::fs::read_to_string(&path).unwrap();
    assert!(yaml.contains(from), "{yaml}");
    std::fs::write(path, yaml.replace(from, to)).unwrap();
}

/// Opens an address as a browser does, without following it; the status, where it leads, its text.
async fn open(url: &str) -> (u16, String, String) {
    let answer = client().get(url).header("accept", "text/html").send().await.unwrap();
    let status = answer.status().as_u16();
    let location = answer.headers().get(LOCATION).map(|to| to.to_str().unwrap().to_owned());
    (status, location.unwrap_or_default(), answer.text().await.unwrap())
}

async fn status(service: &Service) -> Value {
    service.get("connectors/intercom/status").await.unwrap()
}

/// Reads everything; the state in which the sync ended.
async fn sync(service: &Service) -> Value {
    let (code, queued) = service.ask("connectors/intercom/sync", &json!({"type": "full"})).await;
    assert_eq!(code, 202, "{queued}");
    let path = format!("connectors/intercom/syncs/{}", queued["id"].as_str().unwrap());
    let ended = until("the sync has ended", async || {
        let sync = service.get(&path).await?;
        let is_over = !["queued", "running"].contains(&sync["state"].as_str()?);
        is_over.then_some(sync)
    });
    ended.await["state"].clone()
}

/// Everything that the deployment keeps in files, its log among them.
fn kept(deployment: &Deployment) -> Vec<u8> {
    let files = ["data/tajo.db", "data/tajo.db-wal", "serve.log"];
    files.iter().flat_map(|file| std::fs::read(deployment.path(file)).unwrap_or_default()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_connects_an_engine_that_waits_for_its_token() {
    let deployment = deployment("", QUIET).await;
    let service = deployment.serve().await;
    let before = status(&service).await;
    assert_eq!(before["connected"], false);
    let degraded = before["degraded"].to_string();
    assert!(degraded.contains("tajo connectors connect intercom"), "{degraded}");
    assert_eq!(sync(&service).await, "failed");

    let (code, to_intercom, _) = open(&format!("{}/oauth/intercom/start", service.base)).await;
    assert_eq!(code, 302);
    assert!(to_intercom.starts_with(&deployment.sandbox.intercom.base_url()), "{to_intercom}");
    assert!(to_intercom.contains("client_id=sandbox-client-id&state="), "{to_intercom}");
    let (code, back, _) = open(&to_intercom).await;
    assert_eq!(code, 302);
    assert!(back.starts_with(&format!("{}/oauth/intercom/callback?code=", service.base)), "{back}");
    let (code, _, page) = open(&back).await;
    assert_eq!(code, 200, "{page}");
    assert!(page.contains("is connected") && !page.contains(TOKEN), "{page}");
    let (code, _, page) = open(&back).await;
    assert_eq!(code, 400, "a state is good once: {page}");

    let after = status(&service).await;
    assert_eq!(after["connected"], true);
    assert_eq!(after["connections"][0]["appId"], "sandbox01");
    assert_eq!(after["connections"][0]["origin"], "oauth");
    assert_eq!(after["connections"][0]["inForce"], true);
    assert_eq!(sync(&service).await, "done");
    service.drained().await;
    assert!(!holds(&kept(&deployment), TOKEN), "the token is kept in clear");
    assert!(!holds(&kept(&deployment), SECRET));
    let code = back.split("code=").nth(1).unwrap().split('&').next().unwrap();
    assert!(!holds(&kept(&deployment), code), "the code is kept");

    service.kill();
    let service = deployment.serve().await;
    assert_eq!(sync(&service).await, "done", "the token survives a crash");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_without_leave_or_without_a_state_of_ours_is_told_so() {
    let deployment = deployment("", QUIET).await;
    let service = deployment.serve().await;
    let callback = format!("{}/oauth/intercom/callback", service.base);
    for query in ["", "?code=abc", "?code=abc&state=", "?code=abc&state=0123456789abcdef"] {
        let (code, _, page) = open(&format!("{callback}{query}")).await;
        assert_eq!(code, 400, "{query}: {page}");
        assert!(page.contains("the state is missing, unknown, used"), "{page}");
    }
    let begin = async || {
        let (_, to, _) = open(&format!("{}/oauth/intercom/start", service.base)).await;
        to
    };
    let state_of =
        |url: &str| url.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    deployment.sandbox.intercom.deny_consent(true);
    let (_, back, _) = open(&begin().await).await;
    let (code, _, page) = open(&back).await;
    assert_eq!(code, 403, "{page}");
    assert!(page.contains("access was denied in Intercom"), "{page}");
    let (code, ..) = open(&back).await;
    assert_eq!(code, 400, "that state is used up, too");

    let state = state_of(&begin().await);
    let (code, _, page) = open(&format!("{callback}?state={state}")).await;
    assert!(code == 400 && page.contains("the code is missing"), "{code} {page}");
    let state = state_of(&begin().await);
    let (code, _, page) = open(&format!("{callback}?state={state}&code=%3Cb%3E")).await;
    assert!(code == 400 && page.contains("does not accept the code"), "{code} {page}");
    assert!(!page.contains("<b>"), "{page}");
    assert_eq!(status(&service).await["connected"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_handed_in_is_checked_then_in_force_and_survives() {
    // What stands in the configuration was revoked.
    let deployment = deployment("revoked-token", QUIET).await;
    let service = deployment.serve().await;
    assert_ne!(sync(&service).await, "done");

    let path = "connectors/intercom/connect";
    let refused = [
        (json!({"accessToken": "another-wrong-one"}), "refuses the access token"),
        (json!({"accessToken": " "}), "`accessToken` is empty"),
        (json!({"accessToken": TOKEN, "apiVersion": "1.4"}), "`apiVersion` cannot be `1.4`"),
        (json!({"accessToken": TOKEN, "region": "eu"}), "unknown field `region`"),
        (json!({}), "missing field `accessToken`"),
    ];
    for (body, expected) in refused {
        let (code, problem) = service.ask(path, &body).await;
        assert_eq!(code, 400, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(expected) && !detail.contains("another-wrong-one"), "{detail}");
    }
    assert_eq!(status(&service).await["connections"][0]["origin"], "configuration");

    let (code, answer) =
        service.ask(path, &json!({"accessToken": TOKEN, "apiVersion": "2.10"})).await;
    assert_eq!(code, 400, "{answer}");
    let (code, answer) =
        service.ask(path, &json!({"accessToken": TOKEN, "apiVersion": "2.11"})).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(answer["connected"], true);
    assert_eq!(answer["appId"], "sandbox01");
    assert_eq!(answer["apiVersion"], "2.11");
    assert_eq!(answer["inForce"], true);
    assert!(!answer.to_string().contains(TOKEN));
    assert_eq!(sync(&service).await, "done", "without a restart");
    service.drained().await;

    assert!(service.terminate().await.success());
    let service = deployment.serve().await;
    assert_eq!(sync(&service).await, "done", "after a restart");
    assert!(!holds(&kept(&deployment), TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_of_another_workspace_are_ignored_and_counted() {
    let deployment = deployment(TOKEN, QUIET).await;
    let service = deployment.serve().await;
    until("the workspace is known", async || {
        (status(&service).await["connected"] == true).then_some(())
    })
    .await;
    let person = |id: &str| {
        json!({"type": "contact", "id": id, "role": "user", "email": format!("{id}@example.com"),
            "updated_at": 1_768_018_948})
    };
    let of = |app: &str, id: &str| {
        notification(app, "contact.user.created", person(id), SystemClock.now()).to_string()
    };
    let theirs = of("other01", "theirs");
    assert!(service.deliver(SECRET, &theirs).await);
    assert!(service.deliver(SECRET, &theirs).await);
    assert!(service.deliver(SECRET, &of("sandbox01", "ours")).await);
    service.drained().await;
    let status = status(&service).await;
    assert_eq!((&status["foreign"], &status["duplicates"]), (&json!(1), &json!(1)), "{status}");
    assert_eq!(status["records"]["ignored"], 1);
    let metrics = service.page("metrics").await.unwrap();
    assert!(metrics.contains("tajo_notifications_foreign_total 1"), "{metrics}");
    assert!(deployment.sandbox.brevo.contact("ours@example.com").is_some());
    assert!(deployment.sandbox.brevo.contact("theirs@example.com").is_none());
    assert!(!holds(&kept(&deployment), "theirs@example.com"), "it is nobody's business here");
}

/// Starts `tajo connectors connect intercom` with its input open; its output goes to `out`.
fn connecting(deployment: &Deployment) -> Child {
    let out = std::fs::File::create(deployment.path("out")).unwrap();
    let mut command = deployment.command(&["connectors", "connect", "intercom"]);
    command.stdin(Stdio::piped()).stdout(out).spawn().unwrap()
}

/// The address that it shows.
async fn shown(deployment: &Deployment) -> String {
    until("the address is shown", async || {
        let text = std::fs::read_to_string(deployment.path("out")).unwrap();
        text.ends_with('\n').then(|| text.trim().to_owned())
    })
    .await
}

async fn ended(mut child: Child) -> Output {
    until("the command has ended", async || child.try_wait().unwrap()).await;
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_is_connected_by_whoever_comes_back_to_the_running_engine() {
    let deployment = deployment("", QUIET).await;
    let service = deployment.serve().await;
    let child = connecting(&deployment);
    let (_, back, _) = open(&shown(&deployment).await).await;
    assert_eq!(open(&back).await.0, 200);
    let output = ended(child).await;
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(deployment.path("out")).unwrap();
    assert!(text.contains("✓ connected: workspace ") && text.contains("app sandbox01"), "{text}");
    assert_eq!(sync(&service).await, "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_the_address_is_pasted_and_the_next_engine_is_connected() {
    let deployment = deployment("", QUIET).await;
    let registered = "https://tajo.example.com/oauth/intercom/callback";
    deployment.sandbox.intercom.set_redirect_url(Some(registered.to_owned()));
    let mut child = connecting(&deployment);
    let (_, back, _) = open(&shown(&deployment).await).await;
    assert!(back.starts_with(registered), "{back}");
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "\n{back}").unwrap();
    let output = ended(child).await;
    assert!(output.status.success(), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains(TOKEN));

    let checks = deployment.run(&["connectors", "test", "intercom"]);
    let text = String::from_utf8(checks.stdout).unwrap();
    assert!(text.starts_with("✓ API connection successful"), "{text}");
    let service = deployment.serve().await;
    assert_eq!(sync(&service).await, "done");
    service.drained().await;
    assert!(service.terminate().await.success());

    // With another key nothing opens, and that is said.
    std::fs::write(deployment.path("config/tajo.key"), "ff".repeat(32)).unwrap();
    for command in [&["connectors", "test", "intercom"][..], &["serve"]] {
        let output = deployment.run(command);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("another secret key; restore TAJO_SECRET_KEY"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_taken_once_and_what_is_no_code_is_refused() {
    let deployment = deployment("", QUIET).await;
    let connect = |more: &[&str]| {
        let arguments = [&["connectors", "connect", "intercom"], more].concat();
        deployment.run(&arguments)
    };
    let code = deployment.sandbox.intercom.oauth_code();
    let output = connect(&["--json", "--code", &code]);
    assert!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["appId"], &answer["inForce"]), (&json!("sandbox01"), &json!(true)));
    let again = connect(&["--code", &code]);
    assert_eq!(again.status.code(), Some(1));
    let text = String::from_utf8(again.stderr).unwrap();
    assert!(text.contains("intercom does not accept the code"), "{text}");
    let silent = connect(&[]);
    assert_eq!(silent.status.code(), Some(1));
    let text = String::from_utf8(silent.stderr).unwrap();
    assert!(text.contains("error: no code was given"), "{text}");
    assert!(String::from_utf8(silent.stdout).unwrap().contains("/oauth?client_id="));

    change(&deployment, "client_id: \"sandbox-client-id\"", "client_id: \"\"");
    let output = connect(&["--code", "abc"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("INTERCOM_CLIENT_ID"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debug_log_shows_what_happened_and_nothing_of_anybody() {
    let lines = format!("    debug: true\n    log_level: verbose\n    log_webhooks: true\n{QUIET}");
    let deployment = deployment(TOKEN, &lines).await;
    let service = deployment.serve().await;
    assert_eq!(sync(&service).await, "done");
    service.drained().await;
    let intercom = &deployment.sandbox.intercom;
    let contacts = intercom.contacts();
    let id = contacts[0]["id"].as_str().unwrap().to_owned();
    let patch = json!({"name": "Somebody Else", "phone": "+66812345678",
        "custom_attributes": {"plan_tier": "platinum-secret"}});
    let changed = intercom.update_contact(&id, patch).unwrap();
    for notification in &changed.notifications {
        assert!(service.deliver(SECRET, &notification.to_string()).await);
    }
    service.drained().await;
    let log = deployment.log();
    for shown in [
        "a webhook came",
        "contact.user.updated",
        "app_id=\"sandbox01\"",
        "call answered",
        "http.route=\"/contacts\"",
        "http.status=200",
        "rate.remaining=",
        &id,
    ] {
        assert!(log.contains(shown), "{shown}: {log}");
    }
    let brevo_key = deployment.sandbox.brevo.api_key().to_owned();
    let mut hidden = vec![TOKEN.to_owned(), SECRET.to_owned(), brevo_key];
    hidden.extend(["Somebody Else", "66812345678", "platinum-secret"].map(str::to_owned));
    for contact in contacts.iter().chain(&intercom.contacts()) {
        for field in ["email", "name", "phone", "external_id"] {
            hidden.extend(contact[field].as_str().map(str::to_owned));
        }
        let values = contact["custom_attributes"].as_object().unwrap().values();
        hidden.extend(values.filter_map(Value::as_str).map(str::to_owned));
        hidden.extend(contact["location"]["city"].as_str().map(str::to_owned));
    }
    for value in hidden.iter().filter(|value| value.len() > 3) {
        assert!(!log.contains(value.as_str()), "{value} is in the log: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_configuration_shows_in_the_status_until_a_good_one_comes() {
    let deployment = deployment(TOKEN, QUIET).await;
    let service = deployment.serve().await;
    change(&deployment, "sync_every: off", "sync_evry: off");
    let refused = until("the refusal is shown", async || {
        let degraded = status(&service).await["degraded"].to_string();
        degraded.contains("the configuration was refused").then_some(degraded)
    })
    .await;
    assert!(refused.contains("sync_evry"), "{refused}");
    change(&deployment, "sync_evry: off", "sync_every: off");
    until("nothing is refused", async || {
        (!status(&service).await["degraded"].to_string().contains("refused")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_intercoms_is_said_at_the_start() {
    let deployment = deployment(TOKEN, QUIET).await;
    let elsewhere = server_of_nothing().await;
    change(&deployment, &deployment.sandbox.intercom.base_url(), &elsewhere);
    let service = deployment.serve().await;
    let told = until("the status says it", async || {
        let degraded = status(&service).await["degraded"].to_string();
        degraded.contains("base_url").then_some(degraded)
    })
    .await;
    assert!(
        told.contains("answers 404") && told.contains("is `connectors.intercom.base_url`"),
        "{told}"
    );
    let output = deployment.run(&["connectors", "test", "intercom"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("✗ API connection successful: what answers at http://127"), "{text}");
}

/// An Intercom that only says whose a token is: `token-of-app1` is of the workspace `app1`.
async fn many_workspaces() -> String {
    use axum::http::HeaderMap;
    use axum::routing::get;

    let me = |headers: HeaderMap| async move {
        let token = headers["authorization"].to_str().unwrap().to_owned();
        let app = token.trim_start_matches("Bearer token-of-");
        axum::Json(json!({"type": "admin", "id": "1", "app": {"id_code": app, "name": "Acme",
            "region": "US"}}))
    };
    serve(axum::Router::new().route("/me", get(me))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_second_workspace_is_kept_and_not_used() {
    let deployment = deployment("", QUIET).await;
    let intercom = many_workspaces().await;
    change(&deployment, &deployment.sandbox.intercom.base_url(), &intercom);
    let service = deployment.serve().await;
    let connect = async |token: &str| {
        service.ask("connectors/intercom/connect", &json!({"accessToken": token})).await.1
    };
    let first = connect("token-of-app1").await;
    assert_eq!((&first["appId"], &first["inForce"]), (&json!("app1"), &json!(true)));
    let second = connect("token-of-app2").await;
    assert_eq!((&second["appId"], &second["inForce"]), (&json!("app2"), &json!(false)));
    assert!(second["notes"][0].as_str().unwrap().contains("serves the workspace `app1`"));
    let known = service.get("connectors/intercom/connections").await.unwrap();
    let shown: Vec<_> =
        known.as_array().unwrap().iter().map(|c| (&c["appId"], &c["inForce"])).collect();
    assert_eq!(shown, [(&json!("app1"), &json!(true)), (&json!("app2"), &json!(false))]);
    assert!(!known.to_string().contains("token-of"), "{known}");

    // A token of another workspace in the configuration does not mix the two up either.
    change(&deployment, "access_token: \"\"", "access_token: \"token-of-app3\"");
    let degraded = until("the status says it", async || {
        let degraded = status(&service).await["degraded"].to_string();
        degraded.contains("app3").then_some(degraded)
    })
    .await;
    assert!(degraded.contains("the store holds the records of `app1`"), "{degraded}");
    assert_eq!(sync(&service).await, "failed");
}

/// A server that knows nothing, as a wrong host does.
async fn server_of_nothing() -> String {
    serve(axum::Router::new()).await
}

async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    base
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_check_says_why_and_what_to_do() {
    use tajo::sandbox::intercom::Failure;

    let deployment = deployment(TOKEN, QUIET).await;
    let intercom = &deployment.sandbox.intercom;
    let lines = || {
        let output = deployment.run(&["connectors", "test", "intercom"]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    intercom.fail_next("GET /contacts", Failure::Refusal(401, "token_unauthorized"), 1);
    intercom.fail_next("POST /companies/list", Failure::Refusal(403, "api_plan_restricted"), 1);
    let (code, text) = lines();
    assert_eq!(code, Some(1));
    let starts: Vec<&str> =
        text.lines().map(|line| line.split(&[':', '('][..]).next().unwrap().trim()).collect();
    assert_eq!(
        starts.iter().filter(|line| line.starts_with(['✓', '✗'])).collect::<Vec<_>>(),
        [
            &"✓ API connection successful",
            &"✗ Contacts readable",
            &"✓ Conversations readable",
            &"✗ Companies readable",
            &"✗ Webhooks registered",
        ],
        "{text}"
    );
    assert!(text.contains("→ tick `Read and list users and companies`"), "{text}");
    assert!(text.contains("no subscription that includes this"), "{text}");
    assert!(text.contains("/webhooks/intercom"), "{text}");

    let service = deployment.serve().await;
    let ping = tajo::sandbox::intercom::ping("sandbox01", SystemClock.now()).to_string();
    assert!(service.deliver(SECRET, &ping).await);
    let (code, text) = lines();
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("✓ Webhooks registered (the last signed notification came at 2"),
        "{text}"
    );
}
