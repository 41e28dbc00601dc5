//! The configuration as its users meet it: what loads, and what it says when it does not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::*;

const FILE: &str = "config/tajo.yaml";

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let env = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Config::parse(text, Path::new(FILE), &env)
}

#[track_caller]
fn good(text: &str, variables: &[(&str, &str)]) -> Config {
    parse(text, variables).unwrap_or_else(|errors| panic!("{errors}"))
}

#[track_caller]
fn bad(text: &str) -> String {
    parse(text, &[]).map(|_| ()).unwrap_err().to_string()
}

/// The variables that the defaults name, as if all were set.
fn all_variables(name: &str) -> Option<String> {
    Some(format!("value-of-{name}"))
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config = good("", &[]);
    assert_eq!(config.root, Path::new("."));
    assert_eq!(config.intercom.base_url.as_str(), "https://api.intercom.io/");
    assert_eq!(config.intercom.sync_every, Some(Duration::from_secs(900)));
    assert_eq!(config.intercom.lists["leads"], 37);
    assert_eq!(config.intercom.field_mapping["company.name"], "COMPANY_NAME");
    assert_eq!(config.intercom.on_archive, OnGone::Release);
    assert_eq!(config.brevo.base_url.as_str(), "https://api.brevo.com/v3");
    assert_eq!(config.scripts.dir, Path::new("scripts"));
    assert_eq!(config.scripts.canary, Canary::Off);
    assert_eq!(config.scripts.limits.memory_bytes, 33_554_432);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert!(matches!(&config.store.url, StoreUrl::Sqlite(p) if p == Path::new("data/tajo.db")));
    assert_eq!(config.store.retention, Duration::from_secs(30 * 86_400));
    assert_eq!(config.guards.max_change, MaxChange { contacts: 20, percent: 1.0 });
    assert!(config.intercom.access_token.is_none() && config.brevo.api_key.is_none());
    assert_eq!(format!("{config:?}"), format!("{:?}", good("# nothing\n", &[])));
    assert_eq!(format!("{config:?}"), format!("{:?}", good("scripts:\nstore: ~\n", &[])));
}

#[test]
fn the_defaults_as_a_file_are_the_same_as_no_file() {
    let from_file = Config::parse(DEFAULTS, Path::new(FILE), &all_variables).unwrap();
    let from_nothing = Config::parse("", Path::new(FILE), &all_variables).unwrap();
    assert_eq!(format!("{from_file:?}"), format!("{from_nothing:?}"));
    let token = from_nothing.intercom.access_token.unwrap();
    assert_eq!(token.expose_secret(), "value-of-INTERCOM_ACCESS_TOKEN");
    assert_eq!(from_file.server.admin_token.unwrap().expose_secret(), "value-of-TAJO_ADMIN_TOKEN");
}

#[test]
fn every_setting_has_a_comment() {
    for line in DEFAULTS.lines().filter(|line| !line.trim().is_empty()) {
        let is_section = line.ends_with(':');
        assert!(line.contains('#') || is_section, "{line}");
    }
}

#[test]
fn the_starter_loads_without_variables_and_says_what_service_needs() {
    let missing = good(STARTER, &[]).missing_for_service();
    let texts: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts.join("\n\n"),
        "\
error: `connectors.intercom.access_token` is not set
 --> config/tajo.yaml
 help: set the variable `INTERCOM_ACCESS_TOKEN`, or `connectors.intercom.access_token` in the configuration

error: `connectors.brevo.api_key` is not set
 --> config/tajo.yaml
 help: set the variable `BREVO_API_KEY`, or `connectors.brevo.api_key` in the configuration"
    );
    let set = [("INTERCOM_ACCESS_TOKEN", "a"), ("BREVO_API_KEY", "b")];
    assert!(good(STARTER, &set).missing_for_service().is_empty());
    let off = good("connectors: {intercom: {enabled: false}}", &[("BREVO_API_KEY", "b")]);
    assert!(off.missing_for_service().is_empty());
}

#[test]
fn the_sample_of_the_product_page_loads_as_it_stands() {
    let config = good(
        r#"
connectors:
  intercom:
    enabled: true
    access_token: "${INTERCOM_ACCESS_TOKEN}"
    client_id: "${INTERCOM_CLIENT_ID}"
    client_secret: "${INTERCOM_CLIENT_SECRET}"
    sync:
      contacts: true
      conversations: true
      companies: true
      events: true
      tags: false
    lists:
      all_users: 35
      active_conversations: 36
      leads: 37
    debug: true
    log_level: verbose
    log_webhooks: true
field_mapping:
  email: email
  name: FULLNAME
"#,
        &[
            ("INTERCOM_ACCESS_TOKEN", "token"),
            ("INTERCOM_CLIENT_ID", "id"),
            ("INTERCOM_CLIENT_SECRET", "secret"),
            ("BREVO_API_KEY", "key"),
        ],
    );
    assert_eq!(config.intercom.access_token.unwrap().expose_secret(), "token");
    assert_eq!(config.intercom.client_id.as_deref(), Some("id"));
    assert!(!config.intercom.sync.tags && config.intercom.sync.contacts);
    assert_eq!(config.intercom.log_level, LogLevel::Debug);
    assert_eq!(config.intercom.field_mapping.len(), 2);
    assert_eq!(config.brevo.api_key.unwrap().expose_secret(), "key");
}

#[test]
fn values_are_read_in_every_accepted_form() {
    let config = good(
        r#"
connectors:
  intercom: &shared
    enabled: "${ENABLED}"
    region: EU
    sync_every: false
    full_sync_every: "off"
    api_version: 2.14
    phone_region: th
    lists: { leads: "${LEADS}", vip: 41 }
    debug: true
    log_level: error
  brevo:
    base_url: http://127.0.0.1:9000/v3
    attributes: { plan_tier: text, Colors: multiple-choice }
    attribute_aliases: { FIRSTNAME: PRENOM }
    read_back_every: 1h30m
scripts:
  dir: ../rules
  canary: 5%
  settings: { seats: 5, rate: 0.5, version: "5", on: true, none: ~, deep: { list: [1, a] }, from: "${LEADS}", bad: 1.2.3 }
  limits: { time_ms: 500 }
server: { listen: "127.0.0.1:${PORT:-9999}", admin_listen: "[::1]:9998" }
store: { url: "sqlite:///var/lib/tajo.db" }
guards: { max_change: { percent: 2.5% } }
"#,
        &[("ENABLED", "false"), ("LEADS", "7")],
    );
    let intercom = &config.intercom;
    assert!(!intercom.enabled);
    assert_eq!(intercom.base_url.as_str(), "https://api.eu.intercom.io/");
    assert_eq!((intercom.sync_every, intercom.full_sync_every), (None, None));
    assert_eq!(intercom.api_version, "2.14");
    assert_eq!(intercom.phone_region.as_deref(), Some("TH"));
    let lists = BTreeMap::from([("leads".to_owned(), 7), ("vip".to_owned(), 41)]);
    assert_eq!(intercom.lists, lists);
    assert_eq!(intercom.effective_log_level(), LogLevel::Debug);
    let names: Vec<&str> = config.brevo.attributes.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["COLORS", "PLAN_TIER"]);
    assert_eq!(config.brevo.read_back_every, Some(Duration::from_secs(5_400)));
    assert_eq!(config.scripts.dir, Path::new("../rules"));
    assert_eq!(config.scripts.canary, Canary::Share(5.0));
    assert_eq!(config.scripts.limits.time, Duration::from_millis(500));
    assert_eq!(config.scripts.limits.operations, 200_000);
    assert_eq!(
        serde_json::Value::Object(config.scripts.settings),
        json!({
            "seats": 5, "rate": 0.5, "version": "5", "on": true, "none": null,
            "deep": {"list": [1, "a"]}, "from": "7", "bad": "1.2.3",
        })
    );
    assert_eq!(config.server.listen.port(), 9_999);
    assert_eq!(config.server.admin_address().port(), 9_998);
    let expected = PathBuf::from("/var/lib/tajo.db");
    assert!(matches!(&config.store.url, StoreUrl::Sqlite(path) if *path == expected));
    assert_eq!(config.guards.max_change, MaxChange { contacts: 20, percent: 2.5 });
}

#[test]
fn both_field_mappings_are_one() {
    let text = "
connectors: { intercom: { field_mapping: { email: email, name: FULLNAME } } }
field_mapping: { name: FULLNAME, phone: SMS }";
    let mapping = good(text, &[]).intercom.field_mapping;
    assert_eq!(mapping.keys().collect::<Vec<_>>(), ["email", "name", "phone"]);
    let text = "
connectors: { intercom: { field_mapping: { name: FULLNAME } } }
field_mapping: { name: NAME }";
    assert_eq!(
        bad(text),
        "\
error: `name` is mapped twice, to different attributes
 --> config/tajo.yaml:3:18
  |
3 | field_mapping: { name: NAME }
  |                  ^^^^
 help: keep one of `field_mapping` and `connectors.intercom.field_mapping`"
    );
}

#[test]
fn secrets_come_from_files_and_empty_ones_from_their_variables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config/tajo.yaml");
    std::fs::create_dir(folder.path().join("config")).unwrap();
    std::fs::write(folder.path().join("config/token"), "from-file\r\n").unwrap();
    let text =
        r#"connectors: { intercom: { access_token: "${file:token}" }, brevo: { api_key: "" } }"#;
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&path, &all_variables).unwrap();
    assert_eq!(config.intercom.access_token.unwrap().expose_secret(), "from-file");
    assert_eq!(config.brevo.api_key.unwrap().expose_secret(), "value-of-BREVO_API_KEY");
    assert_eq!(config.root, folder.path());
    assert_eq!(config.scripts.dir, folder.path().join("scripts"));
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_their_lines() {
    let text = r#"
connectors:
  intercom:
    acess_token: "${TOKEN}"
    region: eru
    sync: [contacts]
    sync_every: 15 minutes
    lists: { leads: many }
    phone_region: "${REGION}"
    client_secret: "${ONE}-${TWO}"
  brevo: hello
retention: 30d
colour: blue
scripts:
  limits: { call_depth: 0 }
  dir: [scripts]
  dir: rules
server:
  listen: 0.0.0.0
"#;
    let found = parse(text, &[("TOKEN", "t"), ("REGION", "XX")]).map(|_| ()).unwrap_err();
    insta::assert_snapshot!(found, @r##"
error: unknown key `acess_token`
 --> config/tajo.yaml:4:5
  |
4 |     acess_token: "${TOKEN}"
  |     ^^^^^^^^^^^
 help: did you mean `access_token`?

error: `connectors.intercom.region` cannot be `eru`
 --> config/tajo.yaml:5:13
  |
5 |     region: eru
  |             ^^^
 help: did you mean `eu`? allowed are `us`, `eu`, `au`

error: `connectors.intercom.sync` must be a section of keys and values, not a list
 --> config/tajo.yaml:6:11
  |
6 |     sync: […]
  |           ^
 help: write one `key: value` a line, each line further in than the section's name

error: `connectors.intercom.sync_every` cannot be `15 minutes`
 --> config/tajo.yaml:7:17
  |
7 |     sync_every: 15 minutes
  |                 ^^^^^^^^^^
 help: write a number with a unit (`s`, `m`, `h`, `d`), such as `90s`, `1h30m` or `30d`; or `off`

error: `connectors.intercom.lists.leads` cannot be `many`
 --> config/tajo.yaml:8:21
  |
8 |     lists: { leads: many }
  |                     ^^^^
 help: write the number that Brevo shows beside the list, such as `35`

error: `connectors.intercom.phone_region` cannot have the value of `${REGION}`
 --> config/tajo.yaml:9:19
  |
9 |     phone_region: "${REGION}"
  |                   ^^^^^^^^^^^
 help: write two letters, such as `TH` or `GB`

error: the variable `ONE` is not set
 --> config/tajo.yaml:10:21
   |
10 |     client_secret: "${ONE}-${TWO}"
   |                     ^^^^^^
 help: set `ONE` in the environment, or write `${ONE:-default}`

error: the variable `TWO` is not set
 --> config/tajo.yaml:10:28
   |
10 |     client_secret: "${ONE}-${TWO}"
   |                            ^^^^^^
 help: set `TWO` in the environment, or write `${TWO:-default}`

error: `connectors.brevo` must be a section of keys and values, not a single value
 --> config/tajo.yaml:11:10
   |
11 |   brevo: …
   |          ^
 help: write one `key: value` a line, each line further in than the section's name

error: unknown key `retention`
 --> config/tajo.yaml:12:1
   |
12 | retention: …
   | ^^^^^^^^^
 help: it belongs to `store`

error: unknown key `colour`
 --> config/tajo.yaml:13:1
   |
13 | colour: …
   | ^^^^^^
 help: the keys here are `connectors`, `field_mapping`, `scripts`, `server`, `store`, `guards`

error: `scripts.limits.call_depth` cannot be `0`
 --> config/tajo.yaml:15:25
   |
15 |   limits: { call_depth: 0 }
   |                         ^
 help: it may be from 1 to 64

error: `scripts.dir` must be a single value, not a list
 --> config/tajo.yaml:16:3
   |
16 |   dir: […]
   |   ^^^
 help: write the path of a file or folder

error: duplicate key `dir`
 --> config/tajo.yaml:17:3
   |
17 |   dir: …
   |   ^^^
 help: it stands on line 16 already: remove one of them

error: `server.listen` cannot be `0.0.0.0`
 --> config/tajo.yaml:19:11
   |
19 |   listen: 0.0.0.0
   |           ^^^^^^^
 help: write an address and a port, such as `127.0.0.1:8080` or `0.0.0.0:8080`
"##);
}

#[test]
fn an_api_that_others_can_reach_needs_a_token() {
    let text = "server: { listen: 0.0.0.0:8080 }";
    assert_eq!(
        bad(text),
        "\
error: `server.listen` lets other machines reach the API, and `server.admin_token` is not set
 --> config/tajo.yaml:1:19
  |
1 | server: { listen: 0.0.0.0:8080 }
  |                   ^^^^^^^^^^^^
 help: set the variable `TAJO_ADMIN_TOKEN`, or keep the API on this machine with `admin_listen: 127.0.0.1:8081`"
    );
    good(text, &[("TAJO_ADMIN_TOKEN", "t")]);
    good("server: { listen: 0.0.0.0:8080, admin_listen: 127.0.0.1:8081 }", &[]);
    assert!(parse("server: { admin_listen: 0.0.0.0:8081 }", &[]).is_err());
    assert!(parse("server: { admin_listen: 127.0.0.1:8080 }", &[]).is_err());
}

#[test]
fn text_that_is_no_yaml_is_shown_without_its_words() {
    let text = "connectors:\n  brevo:\n    api_key: xkeysib-1 \"quoted\n   sync_list: a\n";
    insta::assert_snapshot!(bad(text), @r##"
error: this is not valid YAML: while parsing a block mapping, did not find expected key
 --> config/tajo.yaml:4:4
  |
4 |    sync_list: …
  |    ^
 help: look at the indentation, quotes and brackets here and just above
"##);
    insta::assert_snapshot!(bad("store: [sqlite, {retention: 30d]"), @r##"
error: this is not valid YAML: mismatched bracket '{' closed by ']'
 --> config/tajo.yaml:1:17
  |
1 | store: […, {retention: …]
  |            ^
 help: look at the indentation, quotes and brackets here and just above
"##);
    insta::assert_snapshot!(bad("store:\n  url: !secret db\n"), @r##"
error: a tag that is not understood
 --> config/tajo.yaml:2:16
  |
2 |   url: !… …
  |           ^
 help: write the value without a tag: variables are `${NAME}`
"##);
    insta::assert_snapshot!(bad("a: 1\n---\nb: 2\n"), @r##"
error: a second document begins here
 --> config/tajo.yaml:2:1
  |
2 | …
  | ^
 help: keep one of them: `---` stands between
"##);
    insta::assert_snapshot!(bad("- a\n- b\n"), @r##"
error: the configuration must be a section of keys and values, not a list
 --> config/tajo.yaml:1:1
  |
1 | - …
  | ^
 help: write one `key: value` a line, each line further in than the section's name
"##);
    insta::assert_snapshot!(bad("store: &a { url: *a }\n"), @r##"
error: an alias stands within what it stands for
 --> config/tajo.yaml:1:18
  |
1 | store: &… { url: *… }
  |                  ^^
"##);
}

#[test]
fn deep_nesting_is_refused_or_read_without_harm() {
    let lines = |text: &str, depth: usize| text.repeat(depth);
    assert!(parse(&lines("[", 5_000), &[]).is_err());
    assert!(parse(&lines("- ", 5_000), &[]).is_err());
    let deep = format!("scripts: {{ settings: {{ a: {}{} }} }}", lines("[", 200), lines("]", 200));
    good(&deep, &[]);
    let laughs: Vec<String> =
        (1..20).map(|n| format!("    a{n}: &a{n} [*a{0}, *a{0}]", n - 1)).collect();
    let text = format!("scripts:\n  settings:\n    a0: &a0 lol\n{}", laughs.join("\n"));
    assert!(bad(&text).starts_with("error: too much is repeated by aliases\n"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let found = Config::load(Path::new("no/such.yaml"), &all_variables).map(|_| ()).unwrap_err();
    assert_eq!(
        found.to_string(),
        "\
error: the configuration cannot be read: there is no such file
 --> no/such.yaml
 help: write one with `tajo init`, or name another with `--config FILE`"
    );
    assert_eq!(
        serde_json::to_value(found.problems()).unwrap(),
        json!([{
            "message": "the configuration cannot be read: there is no such file",
            "file": "no/such.yaml", "line": null, "column": null,
            "help": "write one with `tajo init`, or name another with `--config FILE`",
        }])
    );
}

/// INVARIANT: an excerpt shows a value only if a reader took it for something not secret.
#[test]
fn no_text_shows_a_secret() {
    const SECRET: &str = "xkeysib-0123";
    fn case(text: &str) {
        let text = text.replace("SECRET", SECRET);
        let variables = [("TOKEN", SECRET), ("BROKEN", "xkeysib-0123 x")];
        let shown = match parse(&text, &variables) {
            Ok(config) => format!("{config:?}"),
            Err(errors) => {
                format!("{errors}{errors:?}{}", serde_json::to_string(&errors).unwrap())
            }
        };
        assert!(!shown.contains("0123"), "{text}\n{shown}");
    }
    case("connectors: { intercom: { access_token: SECRET, client_secret: SECRET } }");
    case("connectors: { brevo: { api_key: SECRET, webhook_token: '${TOKEN}' } }");
    case("server: { admin_token: SECRET }");
    case("store: { url: 'postgres://tajo:SECRET@db.example.com/tajo' }");
    case("scripts: { settings: { token: '${TOKEN}' } }");
    // From here on, each has a problem.
    case("connectors: { brevo: { api_kee: SECRET } }");
    case("connectors: { brevo: { api_key: SECRET, api_kee: 1 } }");
    case("connectors: { brevo: { api_key: 'SECRET SECRET' } }");
    case("connectors: { brevo: { api_key: '${BROKEN}' } }");
    case("connectors: { brevo: { api_key: [SECRET] } }");
    case("connectors: { brevo: { api_key: { a: SECRET } } }");
    case("connectors: { brevo: SECRET }");
    case("connectors: { brevo: [SECRET] }");
    case("connectors: { brevo: { api_key: '${SECRET}' } }");
    case("connectors: { brevo: { api_key: '${SECRET' } }");
    case("connectors: { brevo: { api_key: '${NONE:-SECRET}', colour: 1 } }");
    case("connectors: { brevo: { api_key: |\n  SECRET\n  SECRET\n } , colour: 1 }");
    case("connectors: { brevo: { base_url: 'https://a:SECRET@example.com' } }");
    case("connectors: { brevo: { base_url: 'https://example.com/?key=SECRET' } }");
    case("connectors: { intercom: { region: '${TOKEN}' } }");
    case("connectors: { intercom: { lists: '${TOKEN}' } }");
    case("store: { url: 'mysql://tajo:SECRET@db.example.com/tajo' }");
    case("store: { colour: 1 } # SECRET");
    case("connectors:\n  brevo:\n    api_key: SECRET\n   colour: SECRET\n");
    case("connectors:\n  brevo:\n    api_key: \"SECRET\n");
    case("api_key: *SECRET\n");
    case("api_key: SECRET: SECRET\n");
    case("api_key: @SECRET\n");
    case("api_key: !SECRET a\n");
    case("SECRET");
}

#[test]
fn a_variable_that_holds_no_secret_is_named() {
    let found = parse("", &[("BREVO_API_KEY", "two words")]).map(|_| ()).unwrap_err();
    assert_eq!(
        found.to_string(),
        "\
error: the value of `${BREVO_API_KEY}` has characters that no secret has
 --> config/tajo.yaml
 help: a secret has no spaces, line breaks or letters beyond ASCII"
    );
}

/// The lines of the defaults with a key that is fixed, each with that key.
fn fixed_keys() -> Vec<(usize, String)> {
    let (mut keys, mut free_below) = (Vec::new(), None);
    for (index, line) in DEFAULTS.lines().enumerate() {
        let content = line.trim_start();
        let Some((key, _)) = content.split_once(':').filter(|_| !content.starts_with('#')) else {
            continue;
        };
        let indent = line.len() - content.len();
        if free_below.is_some_and(|parent| indent > parent) {
            continue;
        }
        free_below = matches!(key, "lists" | "field_mapping").then_some(indent);
        keys.push((index, key.to_owned()));
    }
    keys
}

proptest! {
    #[test]
    fn a_misspelt_key_is_found_with_the_right_one(
        (index, key) in prop::sample::select(fixed_keys()),
        at in any::<prop::sample::Index>(),
        letter in "[a-z]",
        edit in 0..4,
    ) {
        let at = at.index(key.len());
        let mut wrong: Vec<char> = key.chars().collect();
        match edit {
            0 => { wrong.remove(at); }
            1 => wrong[at] = letter.chars().next().unwrap(),
            2 => wrong.insert(at, letter.chars().next().unwrap()),
            _ if at + 1 < wrong.len() => wrong.swap(at, at + 1),
            _ => {}
        }
        let wrong: String = wrong.into_iter().collect();
        prop_assume!(fixed_keys().iter().all(|(_, key)| *key != wrong));
        let text: Vec<String> = DEFAULTS
            .lines()
            .enumerate()
            .map(|(number, line)| {
                if number == index { line.replacen(&key, &wrong, 1) } else { line.to_owned() }
            })
            .collect();
        let found = Config::parse(&text.join("\n"), Path::new(FILE), &all_variables);
        let errors = found.map(|_| ()).unwrap_err();
        let [problem] = errors.problems() else { panic!("{errors}") };
        prop_assert_eq!(&problem.message, &format!("unknown key `{wrong}`"));
        prop_assert_eq!(problem.line, Some(u32::try_from(index).unwrap() + 1));
        prop_assert_eq!(problem.help.clone(), Some(format!("did you mean `{key}`?")));
    }

    #[test]
    fn any_text_is_a_configuration_or_problems(
        text in "([a-z:{}\\[\\]\"'&*!|>#$%@\\-\n ]|\\$\\{|é){0,60}",
    ) {
        if let Err(errors) = parse(&text, &[]) {
            prop_assert!(!errors.problems().is_empty());
            prop_assert!(errors.to_string().starts_with("error: "));
        }
    }

    #[test]
    fn unset_variables_are_reported_all_at_once(
        names in prop::collection::btree_set("[A-Z]{3,8}", 1..6),
    ) {
        let line = |name: &String| format!("    {name}: \"a ${{{name}}}\"");
        let lines: Vec<String> = names.iter().map(line).collect();
        let text = format!("scripts:\n  settings:\n{}", lines.join("\n"));
        let errors = parse(&text, &[]).map(|_| ()).unwrap_err();
        let found: Vec<&str> = errors.problems().iter().map(|p| p.message.as_str()).collect();
        let expected: Vec<String> =
            names.iter().map(|name| format!("the variable `{name}` is not set")).collect();
        prop_assert_eq!(found, expected);
    }
}
