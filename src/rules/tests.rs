//! The rules as a whole: scripts in, decisions and errors out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::model::{
    AttributeIntent, AttributeName, AttributeValue, Decision, ListIntent, ListRef, RecordKey,
    Timestamp, Verdict,
};

const NOW: i64 = 1_768_019_995;

fn environment() -> RuleEnvironment {
    RuleEnvironment {
        lists: BTreeMap::from([("all_users".into(), 35), ("leads".into(), 37)]),
        settings: json!({"vip_score": 5}).as_object().unwrap().clone(),
        field_mapping: BTreeMap::from([
            ("email".into(), "email".into()),
            ("name".into(), "FULLNAME".into()),
            ("phone".into(), "SMS".into()),
            ("company.name".into(), "COMPANY_NAME".into()),
            ("signed_up_at".into(), "SIGNED_UP".into()),
        ]),
        phone_region: Some("TH".into()),
        limits: Limits::default(),
    }
}

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.to_owned(), text: text.to_owned() }
}

fn load(files: &[(&str, &str)]) -> Result<RuleSet, Vec<Diagnostic>> {
    let files = files.iter().map(|(path, text)| file(path, text)).collect();
    RuleSet::from_files(files, &environment())
}

fn contact() -> Value {
    json!({
        "id": "665f1c0a9e3b7d0012ab34c1", "email": "ann@example.com", "name": "Ann van Lee",
        "role": "user", "phone": "081 234 5678", "signed_up_at": NOW, "last_seen_at": NOW - 86_400,
        "tags": ["vip", "beta"], "custom_attributes": {"plan_tier": "pro", "seats": 3, "none": null},
        "company": {"name": "Acme", "plan": {"name": "Gold"}},
        "companies": [{"name": "Acme"}, {"name": "Beta"}],
        "conversations": {"open": 1},
    })
}

fn input(contact: Value, existing: Option<Value>) -> ContactInput {
    let key = RecordKey::contact("665f1c0a9e3b7d0012ab34c1".parse().unwrap());
    ContactInput {
        key,
        contact: contact.into(),
        existing: existing.map(Into::into),
        as_of: Timestamp::from_seconds(NOW),
    }
}

/// The decision of a body of `map_contact`.
fn decide(body: &str) -> Result<Decision, ScriptError> {
    let text = format!("fn map_contact(contact, brevo) {{\n{body}\n}}");
    let rules = match load(&[("scripts/mapping.rhai", &text)]) {
        Ok(rules) => rules,
        Err(problems) => {
            panic!("{}", problems.iter().map(|p| p.render()).collect::<Vec<_>>().join("\n"))
        }
    };
    rules.decide_contact(&input(contact(), None))
}

fn attribute(decision: &Decision, name: &str) -> Option<String> {
    let name: AttributeName = name.parse().unwrap();
    decision.attributes.get(&name).map(|traced| match &traced.value {
        AttributeIntent::Set(value) => value.to_string(),
        other => format!("{other:?}"),
    })
}

#[test]
fn the_rules_of_the_contract_decide() {
    let mapping = r#"
const TAG_LISTS = #{ vip: 41, "churn-risk": "save them", beta: "leads" };

fn map_contact(contact, brevo) {
    if contact.email == () { return brevo.skip("no e-mail address"); }
    let name = split_name(contact.name);
    brevo.email     = contact.email;
    brevo.FIRSTNAME = name.first;
    brevo.LASTNAME  = name.last;
    brevo.SMS       = phone(contact.phone, "TH");
    brevo.SIGNUP_DATE = date(contact.signed_up_at);
    brevo.add_to_list(if contact.role == "lead" { "leads" } else { "all_users" });
    if contact.conversations.open > 0 { brevo.add_to_list("active_conversations"); }
    if older_than(contact.last_seen_at, "30d") { brevo.add_to_list("sleeping"); }
    brevo.add_to_lists(contact.tags, TAG_LISTS);
    brevo.set_all(contact.custom_attributes, #{ plan_tier: "PLAN_TIER" });
    brevo.set_all(contact.custom_attributes, "CA_");
    apply_field_mapping(contact, brevo);
}"#;
    let rules = load(&[("scripts/mapping.rhai", mapping)]).unwrap();
    let decision = rules.decide_contact(&input(contact(), None)).unwrap();
    assert_eq!(decision.verdict, Verdict::Write);
    assert_eq!(decision.email.as_ref().unwrap().value, "ann@example.com");
    for (name, expected) in [
        ("FIRSTNAME", "Ann"),
        ("LASTNAME", "van Lee"),
        ("SMS", "+66812345678"),
        ("SIGNUP_DATE", "2026-01-10"),
        ("PLAN_TIER", "pro"),
        ("CA_SEATS", "3"),
        ("CA_NONE", "Withdraw"),
        ("FULLNAME", "Ann van Lee"),
        ("COMPANY_NAME", "Acme"),
        ("SIGNED_UP", "2026-01-10"),
    ] {
        assert_eq!(attribute(&decision, name).as_deref(), Some(expected), "{name}");
    }
    let lists: Vec<_> = decision.lists.keys().cloned().collect();
    let expected = [
        ListRef::Id(35),
        ListRef::Id(37),
        ListRef::Id(41),
        ListRef::Name("active_conversations".into()),
    ];
    assert_eq!(lists, expected);
    assert_eq!(decision.flips_at, Some(Timestamp::from_seconds(NOW + 29 * 86_400)));
    let origin = &decision.attributes[&"FIRSTNAME".parse().unwrap()].origin;
    assert_eq!(origin.to_string(), "scripts/mapping.rhai:8:10");

    let mut nobody = contact();
    nobody["email"] = Value::Null;
    let decision = rules.decide_contact(&input(nobody, None)).unwrap();
    assert_eq!(decision.verdict, Verdict::Skip { reason: "no e-mail address".into() });
    assert_eq!(decision.verdict_origin.unwrap().to_string(), "scripts/mapping.rhai:5:43");
}

#[test]
fn the_same_input_gives_the_same_decision_byte_for_byte() {
    let body = "brevo.B = 1; brevo.A = 2; log(\"x\"); apply_field_mapping(contact, brevo);";
    let text = || serde_json::to_string(&decide(body).unwrap().attributes).unwrap();
    assert_eq!(text(), text());
}

#[test]
fn a_record_is_read_as_a_script_expects() {
    fn case(expression: &str, expected: &str) {
        let decision = decide(&format!("brevo.X = json([{expression}]);"));
        let decision = decision.unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert_eq!(attribute(&decision, "X"), Some(format!("[{expected}]")), "{expression}");
    }
    case("contact.custom_attributes.seats * 2", "6");
    case("contact.none.below.that", "null");
    case("contact.custom_attributes[contact.none]", "null");
    case("contact.email.len()", "15");
    case("contact.email.to_upper()", "\"ANN@EXAMPLE.COM\"");
    case("contact.tags.len", "2");
    case("contact.tags[0] + contact.tags[-1]", "\"vipbeta\"");
    case("contact.tags[7]", "null");
    case("\"vip\" in contact.tags", "true");
    case("\"gone\" !in contact.tags", "true");
    case("\"seats\" in contact.custom_attributes", "true");
    case("\"none\" in contact.custom_attributes", "false");
    case("contact.tags.filter(|t| t.starts_with(\"v\"))", "[\"vip\"]");
    case("contact.companies.map(|c| c.name)", "[\"Acme\",\"Beta\"]");
    case("contact.companies.find(|c| c.name == \"Beta\")", "{\"name\":\"Beta\"}");
    case("contact.companies.some(|c| c.name == \"Beta\")", "true");
    case("contact.custom_attributes.keys()", "[\"none\",\"plan_tier\",\"seats\"]");
    case("contact.tags == [\"vip\", \"beta\"]", "true");
    case("contact.company == contact.companies[0]", "false");
    case("{ let n = 0; for c in contact.companies { n += c.name.len(); } n }", "8");
    case("has_any(contact.tags, [\"beta\", \"x\"])", "true");
    case("with_prefix(contact.tags, \"be\")", "[\"beta\"]");
    case("or(contact.nickname, \"friend\")", "\"friend\"");
    case("lower(contact.nickname)", "null");
    case("contact.name.trim().len()", "11");
    case("lists.leads", "37");
    case("settings.vip_score", "5");
    case("older_than(contact.nothing, \"30d\")", "false");
    case("within(contact.last_seen_at, \"30d\")", "true");
    case("days_between(contact.last_seen_at, contact.signed_up_at)", "1");
    case("date(contact.signed_up_at, \"Asia/Bangkok\")", "\"2026-01-10\"");
    case("brevo.Y", "null");
    case("contact.custom_attributes.seats.to_string()", "\"3\"");
    case("contact.nothing.len() + contact.nothing.filter(|x| true).len()", "0");
    case("{ let n = 0; for x in contact.nothing { n += 1; } n }", "0");
    case("\"vip\" in contact.nothing", "false");
    case("contact.nothing > 0", "false");
    case("contact.nothing.find(|x| true)", "null");
    case("contact.nothing.some(|x| true) || !contact.nothing.all(|x| false)", "false");
    case("contact.nothing.keys() + contact.nothing.values()", "[]");
    case("{ brevo.Y = \"a\"; brevo.Y += \"b\"; brevo.Y }", "\"ab\"");
    case("{ let t = \"a-b\"; t.replace(\"-\", \"+\"); t }", "\"a+b\"");
}

#[test]
fn what_cannot_be_done_is_an_error_at_its_line() {
    fn case(body: &str, expected: &str) {
        let error = decide(body).expect_err(body);
        assert_eq!(error.to_string(), format!("{expected}"), "{body}");
    }
    case(
        "brevo.X = 1e308 * 10.0;",
        "`X` cannot be inf: numbers must be finite: scripts/mapping.rhai:2:6",
    );
    case(
        "let f = \"emial\"; brevo[f] = 1;",
        "a decision has no `emial`; did you mean `email`?: scripts/mapping.rhai:2:23",
    );
    case(
        "let f = \"first\"; brevo[f] = 1;",
        "a decision has no `first`; attributes are written in upper case: `FIRST`: scripts/mapping.rhai:2:23",
    );
    case(
        "let c = [contact][0]; c.email = \"x\";",
        "a record is read-only: `email` cannot be written: scripts/mapping.rhai:2:24",
    );
    case(
        "let c = [contact][0]; c.custom_attributes.x = 1;",
        "a record is read-only: `x` cannot be written: scripts/mapping.rhai:2:42",
    );
    case(
        "brevo.track(\"\", #{});",
        "`track` takes the name of an event, not empty text: scripts/mapping.rhai:2:7",
    );
    case(
        "brevo.add_to_list(lists[\"nope\"]);",
        "`add_to_list` takes the number or name of a list, not (): scripts/mapping.rhai:2:7",
    );
    case("throw \"no\";", "no: scripts/mapping.rhai:2:1");
    case(
        "let f = Fn(\"sleep\"); f.call(1);",
        "`sleep` is not available: a rule does not wait: scripts/mapping.rhai:2:24",
    );
    case("lower(5);", "`lower` takes text, not a whole number: scripts/mapping.rhai:2:1");
    case(
        "brevo.X = contact.company;",
        "`X` cannot be a map: write one of its fields: scripts/mapping.rhai:2:6",
    );
    case(
        "brevo.X = contact.custom_attributes.none * 2;",
        "`contact.custom_attributes.none` is (), and `*` does not work on it: scripts/mapping.rhai:2:42",
    );
    case(
        "brevo.X = 2 + contact.nothing;",
        "`contact.nothing` is (), and `+` does not work on it: scripts/mapping.rhai:2:13",
    );
    case(
        "if contact.nothing { brevo.X = 1; }",
        "true or false is needed here, not (): scripts/mapping.rhai:2:11",
    );
    case(
        "let c = \"fax\"; brevo.unsubscribe(c);",
        "`unsubscribe` knows the channels \"email\" and \"sms\", not \"fax\": scripts/mapping.rhai:2:22",
    );
}

#[test]
fn reading_an_attribute_writes_nothing() {
    let decision =
        decide("let x = brevo.A.to_string(); brevo.B = 5; x = brevo.B.to_string();").unwrap();
    assert_eq!(attribute(&decision, "A"), None);
    let origin = &decision.attributes[&"B".parse().unwrap()].origin;
    assert_eq!((origin.line, origin.column), (2, 35));
}

#[test]
fn a_limit_is_an_error_with_a_place() {
    let error = decide("let f = Fn(\"map_contact\"); f.call(contact, brevo);").unwrap_err();
    assert_eq!(error.kind, ScriptErrorKind::LimitExceeded(Limit::CallDepth));
    assert!(error.origin.is_some_and(|origin| origin.line > 0));
}

#[test]
fn limits_end_a_script() {
    fn case(body: &str, limit: Limit) {
        let error = decide(body).expect_err(body);
        assert_eq!(error.kind, ScriptErrorKind::LimitExceeded(limit), "{body}: {error}");
    }
    case("loop { }", Limit::Operations);
    case("try { loop { } } catch { }", Limit::Operations);
    case("let t = \"aaaaaaaa\"; loop { t += t; }", Limit::Size);
    case("let a = []; loop { a.push(1); }", Limit::Size);

    let mut environment = environment();
    environment.limits.operations = u64::MAX;
    environment.limits.time = Duration::from_millis(20);
    let text = "fn map_contact(contact, brevo) { loop { } }";
    let rules = RuleSet::from_files(vec![file("scripts/a.rhai", text)], &environment).unwrap();
    let error = rules.decide_contact(&input(contact(), None)).unwrap_err();
    assert!(error.is_time_limit(), "{error}");

    let deep = "fn f(n) { f(n + 1) }\nfn map_contact(contact, brevo) { f(0) }";
    let rules = load(&[("scripts/a.rhai", deep)]).unwrap();
    let error = rules.decide_contact(&input(contact(), None)).unwrap_err();
    assert_eq!(error.kind, ScriptErrorKind::LimitExceeded(Limit::CallDepth));
}

#[test]
fn an_error_names_file_and_line_across_files_and_modules() {
    let rules = load(&[
        ("scripts/a.rhai", "fn helper(x) {\n    names::initials(x)\n}"),
        (
            "scripts/lib/names.rhai",
            "const MIN = 2;\nfn initials(x) {\n    throw `no ${x} ${MIN} ${lists.leads}`;\n}",
        ),
        ("scripts/mapping.rhai", "fn map_contact(contact, brevo) {\n\n  helper(LIMIT); }"),
        ("scripts/z.rhai", "const LIMIT = 3 + names_of();\nfn names_of() { 4 }"),
    ])
    .unwrap();
    let error = rules.decide_contact(&input(contact(), None)).unwrap_err();
    assert_eq!(error.to_string(), "no 7 2 37: scripts/lib/names.rhai:3:5");
    assert_eq!(error.kind, ScriptErrorKind::Threw);
    let trace: Vec<_> = error.trace.iter().map(ToString::to_string).collect();
    assert_eq!(trace, ["scripts/a.rhai:2:12", "scripts/mapping.rhai:3:3"]);
}

#[test]
fn tags_come_after_the_contact_and_the_last_word_wins() {
    let files = |verdict: &str| {
        let mapping =
            format!("fn map_contact(contact, brevo) {{ brevo.add_to_list(37); {verdict} }}");
        let tags = "fn map_tags(tags, contact, brevo) { if \"vip\" in tags { brevo.remove_from_list(\"leads\"); } brevo.N = tags.len(); }";
        load(&[("scripts/mapping.rhai", &mapping), ("scripts/tags.rhai", tags)]).unwrap()
    };
    let decision = files("").decide_contact(&input(contact(), None)).unwrap();
    assert_eq!(decision.lists[&ListRef::Id(37)].value, ListIntent::Remove);
    assert_eq!(decision.lists[&ListRef::Id(37)].origin.file.as_ref(), "scripts/tags.rhai");
    for verdict in ["brevo.skip(\"x\");", "brevo.delete();"] {
        let decision = files(verdict).decide_contact(&input(contact(), None)).unwrap();
        assert_eq!(attribute(&decision, "N"), None, "{verdict}");
    }
    let mut untagged = contact();
    untagged["tags"] = Value::Null;
    let decision = files("").decide_contact(&input(untagged, None)).unwrap();
    assert_eq!(attribute(&decision, "N").as_deref(), Some("0"));
}

#[test]
fn a_merge_must_come_to_rest() {
    fn case(merge: &str, existing: Value, expected: Result<Option<&str>, &str>) {
        let merge = format!("fn merge_contact(existing, brevo) {{\n{merge}\n}}");
        let mapping =
            "fn map_contact(contact, brevo) { brevo.NAME = contact.name; brevo.GONE = (); }";
        let rules =
            load(&[("scripts/mapping.rhai", mapping), ("scripts/merge.rhai", &merge)]).unwrap();
        let result = rules.decide_contact(&input(contact(), Some(existing)));
        let got = result.map(|decision| attribute(&decision, "SCORE")).map_err(|e| e.to_string());
        assert_eq!(
            got.as_ref().map(|o| o.as_deref()).map_err(String::as_str),
            expected.as_ref().map(|o| *o).map_err(|e| *e),
            "{merge}"
        );
    }
    case(
        "if brevo.SCORE == () { brevo.SCORE = or(existing.SCORE, 1); }",
        json!({"SCORE": 4}),
        Ok(Some("4")),
    );
    case("if existing.SCORE == () { brevo.SCORE = 1; }", json!({}), Ok(Some("1")));
    case("if existing.GONE != () { brevo.keep(\"GONE\"); }", json!({"GONE": "x"}), Ok(None));
    case(
        "brevo.SCORE = existing.SCORE + 1;",
        json!({"SCORE": 4}),
        Err(
            "`merge_contact` decides otherwise on its own result: `SCORE` would move each time: scripts/merge.rhai:2:6",
        ),
    );
    case(
        "if 35 !in existing.lists { brevo.add_to_list(35); }",
        json!({"lists": [1]}),
        Err(
            "`merge_contact` decides otherwise on its own result: the list 35 would move each time: scripts/merge.rhai:2:34",
        ),
    );
}

#[test]
fn choose_primary_returns_one_of_its_contacts() {
    let rules = |body: &str| {
        load(&[("scripts/merge.rhai", &format!("fn choose_primary(contacts) {{ {body} }}"))])
            .unwrap()
    };
    let contacts = [json!({"id": "1", "role": "lead"}), json!({"id": "2", "role": "user"})];
    let chosen = rules("contacts.find(|c| c.role == \"user\")").choose_primary(&contacts);
    assert_eq!(chosen, Ok(Some(1)));
    assert!(rules("5").choose_primary(&contacts).is_err());
    let none = load(&[("scripts/a.rhai", "fn map_contact(a, b) {}")]).unwrap();
    assert_eq!(none.choose_primary(&contacts), Ok(None));
}

#[test]
fn what_is_wrong_is_found_at_load_with_its_place() {
    fn case(files: &[(&str, &str)], expected: &str) {
        let problems = load(files).expect_err(expected);
        let shown: Vec<_> = problems.iter().map(Diagnostic::render).collect();
        let first = shown.iter().map(|text| {
            text.lines()
                .filter(|l| !l.contains(" | ") && !l.ends_with(" |"))
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" / ")
        });
        assert_eq!(first.collect::<Vec<_>>().join("\n"), expected, "{}", shown.join("\n"));
    }
    let one = |text: &'static str| [("scripts/a.rhai", text)];
    case(
        &one("fn map_contact(contact, brevo) {"),
        "error: the script ends too early / --> scripts/a.rhai:1:33 / help: is a `}` or a `)` missing?",
    );
    case(
        &one("fn map_contacts(contact, brevo) { }"),
        "error: `map_contacts` is no handler and is never called / --> scripts/a.rhai:1:4 / help: did you mean `map_contact`?",
    );
    case(
        &one("fn map_contact(contact) { }"),
        "error: `map_contact` takes (contact, brevo) / --> scripts/a.rhai:1:4 / help: write `fn map_contact(contact, brevo)`",
    );
    case(
        &one("fn map_contact(a, b) { split_nam(a.name); }"),
        "error: there is no function `split_nam` / --> scripts/a.rhai:1:24 / help: did you mean `split_name`?",
    );
    case(
        &one("fn map_contact(a, b) { b.add_to_lst(1); }"),
        "error: there is no function `add_to_lst` / --> scripts/a.rhai:1:26 / help: did you mean `add_to_list`?",
    );
    case(
        &one("fn map_contact(a, b) { older_than(a.x); }"),
        "error: `older_than` takes 2 arguments, not 1 / --> scripts/a.rhai:1:24 / help: write `older_than(_, _)`",
    );
    case(
        &one("fn map_contact(a, b) { b.add_to_list(); }"),
        "error: `add_to_list` takes 1 argument, not 0 / --> scripts/a.rhai:1:26 / help: write `.add_to_list(_)`",
    );
    case(
        &one("fn lower(x) { x }"),
        "error: `lower` would hide a built-in function / --> scripts/a.rhai:1:4 / help: give it another name",
    );
    case(
        &one("let x = 1;"),
        "error: the top level may only define: a variable would not be seen by functions / --> scripts/a.rhai:1:1 / help: write `const` instead of `let`, or put it into a function",
    );
    case(
        &one("log(\"x\");"),
        "error: the top level may only define: nothing is called here for each record / --> scripts/a.rhai:1:1 / help: put it into a function: `fn map_contact(contact, brevo) { … }`",
    );
    case(
        &one("fn f() { import \"x\" as y; }"),
        "warning: `f` is never called / --> scripts/a.rhai:1:4 / help: call it, remove it, or begin its name with `_`\n\
         error: `import` is not available / --> scripts/a.rhai:1:10 / help: a file `lib/x.rhai` is the module `x` in every script: write `x::…` without an import",
    );
    case(
        &one("fn f() { eval(\"1\") }"),
        "error: `eval` is not available / --> scripts/a.rhai:1:10 / help: choose with `switch name { \"a\" => f(x), _ => g(x) }`, or keep functions in a map: `#{ a: Fn(\"f\") }`",
    );
    case(
        &one("fn _f() { names::x() }"),
        "error: there is no module `names` / --> scripts/a.rhai:1:11 / help: modules are the files of `lib`: `lib/names.rhai`",
    );
    case(
        &one("const _LIMIT = 1; fn _f() { _LIMTI }"),
        "error: there is no variable `_LIMTI` / --> scripts/a.rhai:1:29 / help: did you mean `_LIMIT`?",
    );
    case(
        &one("fn _f() { lists.leds }"),
        "error: `lists` has no `leds` / --> scripts/a.rhai:1:17 / help: did you mean `leads`?",
    );
    case(
        &one("fn map_contact(a, b) { b.emial = 1; a.b.emial }"),
        "error: a decision has no `emial` / --> scripts/a.rhai:1:26 / help: did you mean `email`?",
    );
    case(
        &one("fn _f() { table(\"x.csv\") }"),
        "error: there is no table `x.csv` / --> scripts/a.rhai:1:17 / help: tables are the files of the folder `tables`",
    );
    case(
        &one("const _A = 1 + ();"),
        "error: `+` does not work on a whole number and () / --> scripts/a.rhai:1:14",
    );
    case(
        &[
            ("scripts/a.rhai", "const _A = 1; fn _f() { }"),
            ("scripts/b.rhai", "const _A = 2; fn _f() { }"),
        ],
        "error: the constant `_A` is defined twice / --> scripts/b.rhai:1:7 / help: it is defined in scripts/a.rhai:1:7, too\n\
         error: the function `_f` is defined twice / --> scripts/b.rhai:1:18 / help: it is defined in scripts/a.rhai:1:18, too: keep one",
    );
}

#[test]
fn the_version_follows_scripts_and_configuration_and_not_tests() {
    let version = |files: &[(&str, &str)], environment: &RuleEnvironment| {
        let files = files.iter().map(|(path, text)| file(path, text)).collect();
        RuleSet::from_files(files, environment).unwrap().version().clone()
    };
    let base = [("scripts/a.rhai", "fn map_contact(a, b) {}")];
    let same = version(&base, &environment());
    assert_eq!(
        version(&[base[0], ("scripts/tests/a.rhai", "fn test_x() {}")], &environment()),
        same
    );
    assert_ne!(version(&[base[0], ("scripts/tables/a.csv", "a,b\n1,2\n")], &environment()), same);
    assert_ne!(version(&[("scripts/a.rhai", "fn map_contact(a, b) { }")], &environment()), same);
    let mut other = environment();
    other.lists.insert("more".into(), 1);
    assert_ne!(version(&base, &other), same);
}

#[test]
fn no_rules_skip_every_contact() {
    let rules = load(&[]).unwrap();
    assert!(!rules.has_handlers());
    assert_eq!(rules.warnings().len(), 1);
    let decision = rules.decide_contact(&input(contact(), None)).unwrap();
    assert_eq!(decision.verdict, Verdict::Skip { reason: "no rule `map_contact`".into() });
}

#[test]
fn logged_lines_are_capped_and_escaped() {
    let decision = decide("print(\"a\\nb\"); for i in 0..300 { log(i); }").unwrap();
    assert_eq!(decision.log.len(), 100);
    assert_eq!(decision.log[0].text, "a\\nb");
    assert_eq!(decision.log[0].origin.to_string(), "scripts/mapping.rhai:2:1");
}

#[test]
fn numbers_and_options_keep_their_kind() {
    let decision = decide("brevo.I = 3; brevo.F = 1.5; brevo.B = true; brevo.L = contact.tags; brevo[\"ODD NAME\"] = \"x\"; brevo.E = \"\"; brevo.clear(\"C\"); brevo.sms = \"+66812345678\";").unwrap();
    let value =
        |name: &str| decision.attributes[&name.parse::<AttributeName>().unwrap()].value.clone();
    assert_eq!(value("I"), AttributeIntent::Set(AttributeValue::Integer(3)));
    assert_eq!(value("F"), AttributeIntent::Set(AttributeValue::Float(1.5)));
    assert_eq!(value("B"), AttributeIntent::Set(AttributeValue::Bool(true)));
    assert_eq!(
        value("L"),
        AttributeIntent::Set(AttributeValue::List(vec!["vip".into(), "beta".into()]))
    );
    assert_eq!(value("ODD NAME"), AttributeIntent::Set(AttributeValue::Text("x".into())));
    assert_eq!(value("E"), AttributeIntent::Withdraw);
    assert_eq!(value("C"), AttributeIntent::Clear);
    assert_eq!(value("SMS"), AttributeIntent::Set(AttributeValue::Text("+66812345678".into())));
}

#[test]
fn the_default_rules_pass_their_own_tests() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let lists = [("all_users", 35), ("active_conversations", 36), ("leads", 37)];
    let lists = lists.map(|(name, id)| (name.to_owned(), id)).into();
    for environment in [environment(), RuleEnvironment { lists, ..environment() }] {
        let rules = RuleSet::load(&dir, &environment);
        let rules = rules.unwrap_or_else(|found| panic!("{}", found[0]));
        assert_eq!(rules.warnings(), []);
        let handlers: Vec<_> = rules.handlers().collect();
        let expected = [
            "map_brevo_contact",
            "map_brevo_event",
            "map_company",
            "map_contact",
            "map_conversation",
            "map_event",
            "map_tags",
            "merge_contact",
        ];
        assert_eq!(handlers, expected);
        if environment.lists.len() == 3 {
            let report = run_tests(&rules, &dir);
            assert!(report.is_ok() && report.tests.len() == 17, "{report}");
        }
    }
}

#[test]
fn the_worked_examples_pass_their_own_tests() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/examples");
    for name in ["support", "accounts", "ai-agent"] {
        let dir = examples.join(name);
        let rules = RuleSet::load(&dir, &RuleEnvironment::default());
        let rules = rules.unwrap_or_else(|found| panic!("{name}: {}", found[0]));
        assert_eq!(rules.warnings(), [], "{name}");
        let report = run_tests(&rules, &dir);
        assert!(report.is_ok() && report.tests.len() >= 4, "{name}: {report}");
    }
}

#[test]
fn a_test_fails_where_it_is_wrong_and_where_it_asserts_nothing() {
    let tests = "fn test_a() { assert_eq!(1, 2); }\nfn test_b() { run_contact(#{ email: \"a@example.com\" }); }\nfn test_c() { assert(run_contact(#{}).skipped); }\nfn test_d() { run_contact(#{ x: 1 }); assert(true); }";
    let mapping =
        "fn map_contact(contact, brevo) { if contact.x == 1 { throw \"no\"; } brevo.skip(\"x\"); }";
    let tests = tests.replace("assert_eq!", "assert_eq");
    let rules = load(&[("scripts/a.rhai", mapping), ("scripts/tests/a.rhai", &tests)]).unwrap();
    let report = run_tests(&rules, std::path::Path::new("none"));
    let shown: Vec<_> = report
        .tests
        .iter()
        .map(|test| {
            test.failure
                .as_ref()
                .map_or("ok".into(), |f| format!("{} {}:{}", f.message, f.line, f.column))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "got 1, expected 2 1:15",
            "`test_b` asserts nothing 2:4",
            "ok",
            "no: scripts/a.rhai:1:54 4:15"
        ]
    );
    assert!(!report.is_ok());

    let rules =
        load(&[("scripts/a.rhai", mapping), ("scripts/tests/a.rhai", "fn test_a() { asert(1); }")])
            .unwrap();
    let report = run_tests(&rules, std::path::Path::new("none"));
    assert_eq!(report.first_failure().unwrap().message, "there is no function `asert`");
}

#[test]
fn a_panic_of_a_function_costs_its_record_only_and_quotes_nobody() {
    let mut rules = load(&[(
        "scripts/a.rhai",
        "fn map_contact(contact, brevo) { let name = \"expl\" + \"ode\"; Fn(name).call(contact.email); }",
    )])
    .unwrap();
    let inner = Arc::get_mut(&mut rules.0).unwrap();
    inner.compiled.engine.register_fn("explode", |email: &str| -> i64 { panic!("no {email}") });
    let error = rules.decide_contact(&input(contact(), None)).unwrap_err();
    assert_eq!(error.kind, ScriptErrorKind::Panicked);
    assert_eq!(
        error.to_string(),
        "a function panicked in `map_contact`; the log says where: scripts/a.rhai:1:4"
    );
}

#[test]
fn what_a_script_holds_is_bounded_over_all_handlers_of_a_record() {
    let hoard = "for i in 0..300 { brevo[`${KIND}${i}`] = big + i; }";
    let text = |kind: &str, head: &str| {
        let hoard = hoard.replace("${KIND}", kind);
        format!("fn {head} {{ let big = \"\"; big.pad(60000, \"x\"); {hoard} }}")
    };
    let contact_only = text("A", "map_contact(contact, brevo)");
    let both = format!("{contact_only}\n{}", text("B", "map_tags(tags, contact, brevo)"));
    let mut environment = environment();
    environment.limits.time = Duration::from_secs(60);
    let decide = |text: &str| {
        let files = vec![file("scripts/a.rhai", text)];
        let rules = RuleSet::from_files(files, &environment).unwrap();
        rules.decide_contact(&input(contact(), None)).unwrap_err()
    };
    // Half of what may be held is still more text than a decision may have.
    assert_eq!(decide(&contact_only).message, "the decision holds more than 1 MiB of text");
    let error = decide(&both);
    assert_eq!(error.kind, ScriptErrorKind::LimitExceeded(Limit::Memory));
    assert_eq!(error.message, "the script holds more than 32 MiB");
}

#[test]
fn operations_are_counted_over_all_handlers_of_a_record() {
    let work = "let n = 0; while n < 20000 { n += 1; }";
    let text = format!(
        "fn map_contact(contact, brevo) {{ {work} }}\nfn map_tags(tags, contact, brevo) {{ {work} }}"
    );
    let mut environment = environment();
    environment.limits.time = Duration::from_secs(60);
    let decide = |environment: &RuleEnvironment| {
        let files = vec![file("scripts/a.rhai", &text)];
        let rules = RuleSet::from_files(files, environment).unwrap();
        rules.decide_contact(&input(contact(), None))
    };
    environment.limits.operations = 300_000;
    assert!(decide(&environment).is_ok());
    environment.limits.operations = 120_000;
    let error = decide(&environment).unwrap_err();
    assert_eq!(error.kind, ScriptErrorKind::LimitExceeded(Limit::Operations));
}

#[test]
fn scripts_do_not_depend_on_the_stack_of_the_thread_that_runs_them() {
    let nested = format!("{}f(n - 1){}", "max(1, ".repeat(20), ")".repeat(20));
    let text = format!(
        "fn f(n) {{ if n == 0 {{ 0 }} else {{ {nested} }} }}\nfn map_contact(contact, brevo) {{ f(20); }}"
    );
    let decide = move || {
        let rules = load(&[("scripts/a.rhai", &text)]).unwrap();
        rules.decide_contact(&input(contact(), None)).map(|_| ())
    };
    let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(decide).unwrap();
    assert_eq!(thread.join().unwrap(), Ok(()));
}
