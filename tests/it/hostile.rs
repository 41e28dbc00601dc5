//! Scripts that loop, hoard, nest, recurse and throw cost their own record only; the process never
//! ends, and other records keep flowing.
//!
//! `hostile/records` holds attacks that a record sets off, `hostile/loads` files that must not go
//! live. The first line of each says what it comes to: `dead: TEXT|TEXT` (a dead letter that says one
//! of these), `either: TEXT|TEXT` (or a decision), `harmless`, `refused: TEXT|TEXT`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tajo::model::{RecordKey, Timestamp};
use tajo::rules::{ContactInput, RuleEnvironment, RuleSet, ScriptError, SourceFile};
use tajo::sandbox::SandboxOptions;
use tajo::sandbox::brevo::Limits;

use crate::support::{Deployment, Service, until};

/// What may end any attack: which limit comes first depends on the machine and what else it does.
const TIME: &str = "the script takes too long";

/// Calls the attack that the record names; for others it is a rule like any.
const MAPPING: &str = r#"
fn map_contact(contact, brevo) {
    brevo.email = contact.email;
    brevo.FIRSTNAME = split_name(contact.name).first;
    let attack = contact.custom_attributes.attack;
    if attack != () { Fn(attack).call(contact, brevo); }
    brevo.DONE = true;
}
"#;

/// One attack.
struct Attack {
    name: String,
    text: String,
    /// Texts of which a dead letter or a refusal has one.
    endings: Vec<String>,
    may_be_harmless: bool,
}

impl Attack {
    fn all(folder: &str) -> Vec<Self> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/hostile").join(folder);
        let mut files: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
            .iter()
            .map(|path| {
                let text = std::fs::read_to_string(path).unwrap();
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                let head = text.lines().next().unwrap().trim_start_matches("// ");
                let (kind, endings) =
                    head.split_once(": ").unwrap_or((head.trim_end_matches(':'), ""));
                let endings = endings.split('|').map(|text| text.trim().to_owned()).collect();
                let may_be_harmless = matches!(kind, "harmless" | "either");
                assert!(
                    matches!(kind, "harmless" | "either" | "dead" | "refused"),
                    "{name}: {head}"
                );
                let endings = if kind == "harmless" { Vec::new() } else { endings };
                Self { name, text, endings, may_be_harmless }
            })
            .collect()
    }

    fn file(&self) -> String {
        format!("scripts/{}.rhai", self.name)
    }

    /// What is wrong with how the attack ended, if anything.
    fn judge(&self, ending: Option<&str>) -> Option<String> {
        let is_expected = match ending {
            None => self.may_be_harmless,
            Some(text) => {
                text.starts_with(TIME) || self.endings.iter().any(|ending| text.contains(ending))
            }
        };
        (!is_expected).then(|| format!("{}: {ending:?}, not {:?}", self.name, self.endings))
    }
}

fn rules(attacks: &[Attack]) -> RuleSet {
    let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
    let mut files = vec![file("scripts/mapping.rhai", MAPPING)];
    files.extend(attacks.iter().map(|attack| file(&attack.file(), &attack.text)));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let lists = BTreeMap::from([("all_users".to_owned(), 35)]);
    let environment = RuleEnvironment { lists, ..RuleEnvironment::default() };
    RuleSet::from_files(files, &environment).unwrap_or_else(|problems| {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", problems.join("\n"))
    })
}

fn contact(attack: Option<&str>) -> Value {
    json!({
        "id": "6650a1",
        "email": "ann@example.com",
        "name": "Ann Lee",
        "role": "user",
        "custom_attributes": {"attack": attack, "plan_tier": "pro"},
        "tags": ["vip"],
    })
}

fn input(attack: Option<&str>) -> ContactInput {
    ContactInput {
        key: RecordKey::contact("6650a1".parse().unwrap()),
        contact: Arc::new(contact(attack)),
        existing: None,
        as_of: Timestamp::from_seconds(1_767_225_600),
    }
}

#[test]
fn each_attack_ends_as_its_file_says_with_its_place() {
    let attacks = Attack::all("records");
    assert!(attacks.len() >= 40);
    let rules = rules(&attacks);
    let mut wrong = Vec::new();
    for attack in &attacks {
        let ended: Option<ScriptError> = rules.decide_contact(&input(Some(&attack.name))).err();
        let text = ended.as_ref().map(ToString::to_string);
        wrong.extend(attack.judge(text.as_deref()));
        if let Some(error) = ended {
            let place = error.origin.as_ref().map(|origin| (origin.file.to_string(), origin.line));
            if !place.as_ref().is_some_and(|(file, line)| file.starts_with("scripts/") && *line > 0)
            {
                wrong.push(format!("{}: no place: {error}", attack.name));
            }
            if error.message.len() > 1024 + 8 || error.message.contains(char::is_control) {
                wrong.push(format!("{}: {error:?}", attack.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How much more than before the attacks the process may ever hold: a script thread for each core,
/// on each a script at its limit, which one operation may double; and what the allocator keeps.
fn room() -> u64 {
    let threads = std::thread::available_parallelism().map_or(2, |threads| threads.get() as u64);
    threads * 2 * (32 << 20) + (64 << 20)
}

/// Deployed with the attacks as its rules.
async fn deploy(attacks: &[Attack]) -> Deployment {
    let mut options = SandboxOptions::default();
    options.brevo.limits = Limits::off();
    options.intercom.rate_limit = None;
    let deployment =
        Deployment::start(options, "store: { url: \"sqlite://data/tajo.db\" }\n").await;
    std::fs::remove_dir_all(deployment.path("scripts")).unwrap();
    std::fs::create_dir(deployment.path("scripts")).unwrap();
    std::fs::write(deployment.path("scripts/mapping.rhai"), MAPPING).unwrap();
    for attack in attacks {
        std::fs::write(deployment.path(&attack.file()), &attack.text).unwrap();
    }
    deployment
}

/// Makes a contact and has Intercom tell of it; answers its id.
async fn create(
    deployment: &Deployment,
    service: &Service,
    name: &str,
    attack: Option<&str>,
) -> String {
    let contact = json!({
        "email": format!("{name}@example.com"),
        "name": "Ann Lee",
        "role": "user",
        "custom_attributes": {"attack": attack},
    });
    let intercom = &deployment.sandbox.intercom;
    let changed = intercom.create_contact(contact).unwrap();
    for notification in &changed.notifications {
        assert!(service.deliver(intercom.client_secret(), &notification.to_string()).await);
    }
    changed.id
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attack_costs_its_own_record_only() {
    let attacks = Attack::all("records");
    let deployment = deploy(&attacks).await;
    let mut service = deployment.serve().await;
    for n in 0..20 {
        create(&deployment, &service, &format!("before{n}"), None).await;
    }
    service.drained().await;
    let before = service.peak_bytes();

    let mut ids = BTreeMap::new();
    for (n, attack) in attacks.iter().enumerate() {
        ids.insert(
            create(&deployment, &service, &format!("attack{n}"), Some(&attack.name)).await,
            attack,
        );
        create(&deployment, &service, &format!("person{n}"), None).await;
    }
    service.drained().await;
    assert!(service.is_running(), "{}", deployment.log());

    for n in 0..attacks.len() {
        let person = deployment.sandbox.brevo.contact(&format!("person{n}@example.com"));
        let person = person.unwrap_or_else(|| panic!("person{n} did not reach Brevo"));
        assert_eq!(person["attributes"]["DONE"], true, "{person}");
    }
    assert_ended_as_expected(&service, &ids).await;
    let status = service.get("connectors/intercom/status").await.unwrap();
    let records = status["records"].as_object().unwrap();
    let count = |name: &str| records[name].as_u64().unwrap();
    let others: u64 =
        records.keys().filter(|name| *name != "accepted").map(|name| count(name)).sum();
    assert_eq!(count("accepted"), others, "{status:#}");

    let peak = service.peak_bytes();
    println!("peak before the attacks {} MiB, after {} MiB", before >> 20, peak >> 20);
    assert!(peak < before + room(), "{} MiB, {} MiB before", peak >> 20, before >> 20);
    assert!(service.terminate().await.success());
}

async fn assert_ended_as_expected(service: &Service, ids: &BTreeMap<String, &Attack>) {
    let letters = service.get("dead-letters?limit=1000").await.unwrap();
    let mut endings: BTreeMap<&str, &Value> = BTreeMap::new();
    for letter in letters.as_array().unwrap() {
        let record = letter["record"].as_str().unwrap();
        endings.insert(record.rsplit([':', '/']).next().unwrap(), letter);
    }
    let mut wrong = Vec::new();
    for (id, attack) in ids {
        let letter = endings.remove(id.as_str());
        // What Brevo or the engine itself refuses is not the script's failure.
        let is_scripts = |letter: &&Value| letter["kind"].as_str().unwrap().contains("script");
        let Some(letter) = letter.filter(is_scripts) else {
            wrong.extend(attack.judge(None));
            continue;
        };
        wrong.extend(attack.judge(letter["message"].as_str()));
        let place = letter["origin"].as_str().unwrap_or_default();
        if !(place.starts_with("scripts/") && place.contains(".rhai:")) {
            wrong.push(format!("{}: no place: {letter}", attack.name));
        }
    }
    wrong.extend(endings.values().map(|letter| format!("an ordinary record died: {letter}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_that_is_loaded_ends_or_stalls_the_process() {
    let deployment = deploy(&[]).await;
    let mut service = deployment.serve().await;
    let live = service.get("rules").await.unwrap()["version"].clone();
    let before = service.peak_bytes();
    for attack in Attack::all("loads") {
        std::fs::write(deployment.path(&attack.file()), &attack.text).unwrap();
        let error = until(&format!("{} is refused", attack.name), async || {
            let error = service.get("rules").await?["error"].clone();
            (error["file"].as_str() == Some(&attack.file())).then_some(error)
        })
        .await;
        assert_eq!(attack.judge(error["message"].as_str()), None);
        assert!(error["line"].as_u64().unwrap() > 0, "{}: {error}", attack.name);
        std::fs::remove_file(deployment.path(&attack.file())).unwrap();
    }
    create(&deployment, &service, "person", None).await;
    service.drained().await;
    assert!(service.is_running());
    assert!(deployment.sandbox.brevo.contact("person@example.com").is_some());
    assert_eq!(service.get("rules").await.unwrap()["version"], live);
    assert!(service.peak_bytes() < before + room());
}
