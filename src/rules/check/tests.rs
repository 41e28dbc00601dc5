//! What the check tells, in full.

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::rules::{Code, RuleSet};

/// Compares with the file in `snapshots`; `INSTA_UPDATE=always` writes it.
macro_rules! assert_snapshot {
    ($told:expr) => {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!($told)
        })
    };
}

fn environment() -> RuleEnvironment {
    RuleEnvironment {
        lists: [("vip".to_owned(), 41), ("leads".to_owned(), 37)].into(),
        settings: json!({"vip_score": 5}).as_object().unwrap().clone(),
        ..RuleEnvironment::default()
    }
}

fn files(files: &[(&str, &str)]) -> Vec<SourceFile> {
    let file = |(path, text): &(&str, &str)| SourceFile {
        path: format!("scripts/{path}"),
        text: (*text).to_owned(),
    };
    files.iter().map(file).collect()
}

fn checked(scripts: &[(&str, &str)]) -> Vec<Diagnostic> {
    check_files(files(scripts), &environment(), None, Path::new("scripts")).problems
}

/// All findings as they are shown, each with its code.
fn shown(problems: &[Diagnostic]) -> String {
    let shown: Vec<_> = problems.iter().map(|p| format!("[{}]\n{}", p.code, p.render())).collect();
    if shown.is_empty() { "nothing".to_owned() } else { shown.join("\n\n") }
}

fn told(scripts: &[(&str, &str)]) -> String {
    shown(&checked(scripts))
}

/// Each script alone, as a body of `map_contact`.
fn told_of_bodies(bodies: &[&str]) -> String {
    let told = bodies.iter().map(|body| {
        let text = format!("fn map_contact(contact, brevo) {{\n    {body}\n}}\n");
        told(&[("mapping.rhai", &text)])
    });
    told.collect::<Vec<_>>().join("\n\n")
}

#[test]
fn words_and_signs_of_other_languages_come_with_what_to_write() {
    assert_snapshot!(told_of_bodies(&[
        "if contact.name == null { }",
        "let name = contact.name == undefined;",
        "brevo.A = 'abc';",
        "if contact.role === \"lead\" { }",
        "if contact.role !== \"lead\" { }",
        "let a = true; a &&= false;",
        "if contact.name { } elif contact.email { }",
        "if contact.name { } elseif (contact.email) { }",
        "let f = x => x + 1;",
        "let f = (x) => { x + 1 };",
        "brevo.A = contact.name ? 1 : 2;",
        "var name = contact.name;",
        "let n = 1; n++;",
        "if contact.name and contact.email { }",
        "if not contact.name { }",
        "for tag of contact.tags { }",
        "for (tag in contact.tags) { }",
        "if (contact.name) return;",
        "if contact.role = \"lead\" { }",
        "let map = { a: 1 };",
        "let (first, last) = split_name(contact.name);",
        "brevo.A = “text”;",
        "brevo.A = `Hi ${contact.name`;",
        "console.log(contact.name);",
        "contact.name.toLowerCase();",
        "contact.tags.includes(\"vip\");",
        "switch contact.role { case \"lead\": 1; default: 2 }",
        "match contact.role { \"lead\" => 1 }",
        "try { } except { }",
    ]));
}

#[test]
fn what_does_not_parse_is_told_in_words() {
    assert_snapshot!(told_of_bodies(&[
        "brevo.A = \"x\" brevo.B = 1;",
        "brevo.A = 1\n    brevo.B = 2;",
        "brevo.A = \"x;",
        "brevo.A = matches(contact.name, \"\\d+\");",
        "brevo.A = lower(contact.name;",
        "let list = [1, 2;",
        "let map = #{ a: 1, a: 2 };",
        "let map = #{ \"a\" 1 };",
        "let value = contact[\"a\";",
        "switch contact.role { _ => 1, \"lead\" => 2 }",
        "switch contact.role { contact.name => 1 }",
        "fn inner() { }",
        "break;",
        "contact. = 1;",
        "let new = 1;",
        "const A = 1; A = 2;",
        "lower(contact.name) = 2;",
        "/// what follows\n    brevo.A = 1;",
        "if \"lead\" { }",
    ]));
    let whole = [
        "fn map_contact(contact, brevo) {\n    brevo.A = 1;\n",
        "fn map_contact(contact, brevo) { }\n}",
        "fn map_contact(contact: Contact, brevo) { }",
        "fn map_contact(contact, brevo) -> int { }",
        "fn map_contact(contact, contact) { }",
        "fn map_contact contact, brevo { }",
        "fn (contact, brevo) { }",
        "function map_contact(contact, brevo) { }",
        "# a comment",
        "fn f(a) { }\nfn f(b) { }",
        "fn map_tags(tags, contact, brevo) { }\nfn map_tags(tags, contact, brevo) { }",
    ];
    let told: Vec<_> = whole.iter().map(|text| told(&[("mapping.rhai", text)])).collect();
    assert_snapshot!(told.join("\n\n"));
}

#[test]
fn functions_that_do_not_exist_are_told_in_scripts_libraries_and_tests() {
    assert_snapshot!(told(&[
        ("lib/names.rhai", "fn tidy(name) { tidyy(name) }\nprivate fn secret() { }\n"),
        (
            "mapping.rhai",
            "fn helper(x) { x }\n\
             fn map_contact(contact, brevo) {\n\
             \x20   brevo.FIRSTNAME = split_nam(contact.name);\n\
             \x20   brevo.LASTNAME = helper(contact.name, 1) + contact.name.lowr();\n\
             \x20   brevo.add_to_lst(41);\n\
             \x20   brevo.add_to_list();\n\
             \x20   brevo.A = contact.tags.filtr(|tag| tag == \"vip\");\n\
             \x20   brevo.B = contact.tags.map(Fn(\"hepler\"));\n\
             \x20   brevo.C = contact.tags.map(hepler);\n\
             \x20   brevo.D = contact.tags.map(later);\n\
             \x20   brevo.E = names::tidi(contact.name);\n\
             \x20   brevo.F = names::tidy();\n\
             \x20   brevo.G = names::secret();\n\
             \x20   brevo.H = nmes::tidy(contact.name);\n\
             \x20   brevo.I = names::LIMIT;\n\
             }\n\
             fn later(x) { x }\n",
        ),
        (
            "tests/mapping.rhai",
            "fn test_a() {\n    asert(run_contact(#{ }).skiped);\n    assert(helper(1, 2));\n}\n"
        ),
    ]));
}

#[test]
fn handlers_are_complete_single_and_named_right() {
    assert_snapshot!(told(&[
        (
            "a.rhai",
            "const LIMIT = 1;\n\
             fn map_contact(contact, brevo) { brevo.A = LIMIT + score(contact); }\n\
             fn score(contact) { 1 }\n\
             fn map_contcat(contact, brevo) { }\n\
             fn map_tags(tags) { }\n\
             fn lower(text) { text }\n\
             fn forgotten(x) { forgotten(x) }\n",
        ),
        (
            "b.rhai",
            "const LIMIT = 2;\n\
             const SPARE = 3;\n\
             fn map_contact(c, b) { }\n\
             fn score(contact) { 2 }\n",
        ),
        ("lib/names.rhai", "fn map_contact(contact, brevo) { }\n"),
    ]));
}

#[test]
fn what_a_decision_has_not_is_told_whatever_the_parameter_is_called() {
    assert_snapshot!(told(&[(
        "mapping.rhai",
        "fn map_contact(c, b) {\n\
         \x20   b.emial = c.email;\n\
         \x20   let d = b;\n\
         \x20   d.plan = 1;\n\
         \x20   b[\"first name\"] = 1;\n\
         \x20   b.clear(\"plan\");\n\
         \x20   b.skip;\n\
         \x20   fill(c, b, 1);\n\
         \x20   c.name = \"x\";\n\
         \x20   c.custom_attributes.plan = \"x\";\n\
         }\n\
         fn fill(contact, out, x) { out.frstname = x; out.note(\"x\"); }\n\
         fn map_company(company, brevo) {\n\
         \x20   brevo.name = company.name;\n\
         \x20   brevo.add_to_list(41);\n\
         }\n\
         fn map_event(event, brevo) {\n\
         \x20   brevo.FIRSTNAME = 1;\n\
         \x20   brevo.add_to_list(41);\n\
         \x20   let d = brevo.contact(event.contact);\n\
         \x20   d.emial = event.contact.emial;\n\
         }\n\
         fn map_brevo_contact(contact, intercom) {\n\
         \x20   intercom.emial = contact.EMAIL;\n\
         \x20   intercom.plan = contact.PLAN;\n\
         \x20   intercom.reply(1, \"x\");\n\
         }\n",
    )]));
}

#[test]
fn fields_near_known_ones_are_told() {
    assert_snapshot!(told_of_bodies(&[
        "brevo.A = contact.emial;",
        "brevo.A = contact.conversations.opn;",
        "brevo.A = contact.location.contry;",
        "brevo.A = contact.company.nmae; brevo.B = contact.companies[0].nmae;",
    ]));
}

#[test]
fn literals_that_would_be_refused_are_told_before_any_record_comes() {
    assert_snapshot!(told(&[
        ("tables/plans.csv", "plan,list\npro,41\n"),
        (
            "mapping.rhai",
            "fn map_contact(contact, brevo) {\n\
             \x20   if older_than(contact.last_seen_at, \"30 dayz\") { }\n\
             \x20   if contact.last_seen_at.within(\"soon\") { }\n\
             \x20   brevo.SMS = phone(contact.phone, \"THX\");\n\
             \x20   brevo.A = date(contact.created_at, \"Mars/X\");\n\
             \x20   brevo.B = matches(contact.name, \"a(b\");\n\
             \x20   brevo.C = replace_all(contact.name, \"[a\", \"\");\n\
             \x20   brevo.D = table(\"plns.csv\").pro;\n\
             \x20   brevo.unsubscribe(\"emial\");\n\
             \x20   brevo.E = settings.vip_scor;\n\
             \x20   brevo.F = settings.threshold;\n\
             \x20   brevo.G = or(settings.optional, 1);\n\
             }\n",
        ),
    ]));
}

#[test]
fn lists_are_told_where_they_may_be_slips() {
    assert_snapshot!(told(&[
        (
            "mapping.rhai",
            "fn map_contact(contact, brevo) {\n\
             \x20   brevo.add_to_list(if contact.role == \"lead\" { \"leads\" } else { \"vipp\" });\n\
             \x20   brevo.add_to_lists(contact.tags, TAG_LISTS);\n\
             \x20   if \"sleeping\" in lists { brevo.add_to_list(\"sleeping\"); }\n\
             \x20   brevo.remove_from_list(lists.vipp);\n\
             }\n",
        ),
        ("tags.rhai", "const TAG_LISTS = #{ a: \"vip\", b: [\"leeds\", 41], c: \"Save them\" };\n"),
    ]));
}

#[test]
fn what_is_never_reached_or_has_no_effect_is_told() {
    assert_snapshot!(told_of_bodies(&[
        "return brevo.skip(\"x\"); brevo.A = 1;",
        "throw \"x\"; brevo.A = 1;",
        "for tag in contact.tags { continue; brevo.A = 1; }",
        "if contact.name == () { return; } else { throw \"x\"; } brevo.A = 1;",
        "if true { brevo.A = 1; }",
        "while false { brevo.A = 1; }",
        "switch contact.role { \"user\" => brevo.A = 1, \"lead\" => brevo.A = 2, \"user\" => brevo.A = 3, _ => () }",
        "brevo.skip(\"no e-mail address\"); brevo.A = 1; brevo.B = 2;",
        "brevo.add_to_list(\"vip\");\n    brevo.remove_from_list(\"vip\");",
    ]));
}

#[test]
fn a_top_level_only_defines() {
    assert_snapshot!(told(&[(
        "mapping.rhai",
        "let x = 1;\nx = 2;\nlog(\"x\");\nfor i in 0..3 { }\nif x == 2 { }\nimport \"lib/names\" as names;\n\
         export const A = 1;\nfn map_contact(contact, brevo) { brevo.A = A; names::tidy(1); }\n",
    )]));
}

#[test]
fn what_rules_do_not_have_is_told_with_what_to_write() {
    assert_snapshot!(told_of_bodies(&[
        "eval(\"1\");",
        "sleep(1);",
        "brevo.A = timestamp();",
        "contact.tags.filter(|tag| brevo.add_to_list(tag));",
        "import \"names\" as n; brevo.A = n::tidy(contact.name);",
        "brevo.A = global::LIMIT;",
    ]));
}

#[test]
fn variables_that_do_not_exist_are_told_all_at_once() {
    assert_snapshot!(told(&[
        (
            "a.rhai",
            "const LIMIT = 1;\nfn map_contact(contact, brevo) {\n    let score = LIMTI;\n    brevo.A = scroe + None;\n    brevo.B = lower;\n    brevo.C = whatever;\n}\n"
        ),
        ("tests/a.rhai", "fn test_a() { assert_eq(LIMTI, 1); }\n"),
    ]));
}

#[test]
fn a_file_that_does_not_parse_hides_nothing_and_blames_nobody() {
    assert_snapshot!(told(&[
        ("lib/names.rhai", "fn tidy(name) { name"),
        ("helpers.rhai", "const LIMIT = 1;\nfn score(contact) { if }\n"),
        (
            "mapping.rhai",
            "fn map_contact(contact, brevo) {\n\
             \x20   brevo.A = score(contact) + LIMIT;\n\
             \x20   brevo.B = names::tidy(contact.name);\n\
             \x20   brevo.C = scoer(contact);\n\
             }\n",
        ),
        ("tests/mapping.rhai", "fn test_a() { assert(true }\n"),
    ]));
}

#[test]
fn nothing_is_told_of_rules_that_are_well() {
    let mapping = r##"
const TAG_LISTS = #{ vip: 41, "churn-risk": "leads" };
const GREETING = `Hi ${1 + 1}`;

private fn first_of(list) { if list.is_empty() { return (); } list[0] }
fn is_big(company) { company.user_count > 100 }

private fn map_tags(tags, contact, brevo) { brevo.add_to_lists(tags, TAG_LISTS); }

fn map_contact(contact, brevo) {
    if contact.email == () { return brevo.skip("no e-mail address"); }
    let name = split_name(contact.name);
    brevo.email = contact.email;
    brevo.FIRSTNAME = name.first;
    brevo["ODD NAME"] = name?.last ?? "none";
    brevo.PLAN = contact.custom_attributes.plan_tier;
    let ca = contact.custom_attributes;
    brevo.SEATS = ca["seats"];
    for company in contact.companies {
        if is_big(company) { brevo.BIG = true; break; }
    }
    let big = contact.companies.filter(is_big);
    let first = first_of(contact.companies.map(|c| c.name));
    brevo.COMPANIES = `${first} and ${big.len()} more: ${GREETING}`;
    let score = 0;
    while score < settings.vip_score { score += 1; }
    switch contact.role {
        "user" if contact.conversations.open > 0 => brevo.add_to_list("vip"),
        "user" => brevo.remove_from_list(41),
        _ => brevo.add_to_list(lists.leads),
    }
    try { brevo.A = contact.tags.len(); } catch (error) { log(error); }
    brevo.set_all(contact.custom_attributes, "CA_");
    if older_than(contact.last_seen_at, "30d") && "sleeping" in lists { brevo.add_to_list("sleeping"); }
    apply_field_mapping(contact, brevo);
}

fn merge_contact(existing, brevo) {
    for name in ["FIRSTNAME", "LASTNAME"] {
        if brevo[name] == () { brevo.keep(name); }
    }
    if existing.SCORE == () { brevo.SCORE = 1; }
}

fn choose_primary(contacts) { contacts.find(|c| c.role == "user") }
"##;
    assert_eq!(told(&[("mapping.rhai", mapping)]), "nothing");
    RuleSet::from_files(files(&[("mapping.rhai", mapping)]), &environment()).unwrap();
}

#[test]
fn nothing_is_told_of_the_default_rules() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let lists = [("all_users", 35), ("active_conversations", 36), ("leads", 37)];
    let lists = lists.map(|(name, id)| (name.to_owned(), id)).into();
    for environment in [environment(), RuleEnvironment { lists, ..RuleEnvironment::default() }] {
        let checked = check_folder(&dir, &environment, None);
        assert_eq!(shown(&checked.problems), "nothing");
        assert!(checked.rules.is_some());
    }
}

#[test]
fn a_private_handler_is_called_like_any_other() {
    use crate::model::{RecordKey, Timestamp};
    let text = "private fn map_contact(contact, brevo) { brevo.email = contact.email; }";
    let rules = RuleSet::from_files(files(&[("a.rhai", text)]), &environment()).unwrap();
    let input = crate::rules::ContactInput {
        key: RecordKey::contact("1".parse().unwrap()),
        contact: json!({"email": "ann@example.com"}).into(),
        existing: None,
        as_of: Timestamp::from_seconds(0),
    };
    assert!(rules.decide_contact(&input).unwrap().email.is_some());
}

fn live_names(creates: bool) -> LiveNames {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    LiveNames {
        intercom: Some(IntercomNames {
            contact: RecordNames {
                fields: names(&["email", "name"]),
                custom_attributes: names(&["plan_tier", "seats"]),
            },
            company: RecordNames { fields: names(&["name"]), custom_attributes: names(&["arr"]) },
        }),
        brevo: Some(BrevoNames {
            attributes: ["FIRSTNAME", "PLAN_TIER", "PRENOM"]
                .map(|name| (name.to_owned(), "text".to_owned()))
                .into(),
            aliases: [("GIVEN_NAME".to_owned(), "PRENOM".to_owned())].into(),
            creates_attributes: creates,
            lists: [(37, "Leads".to_owned()), (41, "VIP".to_owned()), (42, "VIP".to_owned())]
                .into(),
            creates_lists: creates,
        }),
    }
}

const LIVE: &str = "const TAG_LISTS = #{ a: 41, b: 99, c: \"Laeds\", d: \"VIP\", e: \"Leads\" };\n\
    fn map_contact(contact, brevo) {\n\
    \x20   brevo.email = contact.email;\n\
    \x20   brevo.PLAN_TEIR = contact.custom_attributes.plan_teir;\n\
    \x20   brevo.SOMETHING = contact.custom_attributes.something;\n\
    \x20   brevo.GIVEN_NAME = contact.company.custom_attributes.ar;\n\
    \x20   brevo.SMS = contact.plan_tier;\n\
    \x20   brevo.set_all(contact.custom_attributes, #{ seats: \"FIRSTNAEM\", saets: \"PLAN_TIER\" });\n\
    \x20   brevo.add_to_lists(contact.tags, TAG_LISTS);\n\
    \x20   brevo.add_to_list(\"leads\");\n\
    \x20   brevo.add_to_list(\"nowhere\");\n\
    }\n";

#[test]
fn names_that_the_accounts_lack_are_told() {
    let environment = RuleEnvironment {
        lists: [("vip".to_owned(), 41), ("leads".to_owned(), 37), ("old".to_owned(), 7)].into(),
        field_mapping: [
            ("name".to_owned(), "FULLNAME".to_owned()),
            ("custom_attributes.plan.tier".to_owned(), "PLAN_TIER".to_owned()),
            ("company.custom_attributes.arr".to_owned(), "FIRSTNAME".to_owned()),
        ]
        .into(),
        ..RuleEnvironment::default()
    };
    for creates in [false, true] {
        let files = files(&[("mapping.rhai", LIVE)]);
        let names = live_names(creates);
        let checked = check_files(files, &environment, Some(&names), Path::new("scripts"));
        assert_snapshot!(shown(&checked.problems));
    }
}

#[test]
fn an_account_that_could_not_be_asked_is_not_guessed_about() {
    let files = files(&[("mapping.rhai", LIVE)]);
    let names = LiveNames::default();
    let problems = check_files(files, &environment(), Some(&names), Path::new("scripts")).problems;
    assert!(problems.iter().all(|problem| !problem.is_error()), "{}", shown(&problems));
}

#[test]
fn codes_are_kebab_case_and_single() {
    let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    for code in Code::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// A slip anywhere is told, not a reason to fall over, and every place lies in its file.
    #[test]
    fn any_slip_is_told_with_a_place_in_its_file(at in 0_usize..1_900, slip in "[\\PC]{0,3}|\n|\"|`|\\{|\\}|'|/\\*") {
        let text = include_str!("../../../scripts/mapping.rhai");
        let cut = (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let text = format!("{}{slip}{}", &text[..cut], &text[cut..]);
        let lines = text.lines().count() + 1;
        for problem in checked(&[("mapping.rhai", &text)]) {
            prop_assert!((problem.line as usize) <= lines, "{}", problem);
            prop_assert!(!problem.message.is_empty());
        }
    }
}

#[test]
fn a_list_that_a_script_asks_for_may_be_missing() {
    for guarded in [
        "if \"optional\" in lists { brevo.add_to_list(lists.optional); }",
        "if lists.optional != () { brevo.add_to_list(lists.optional); }",
        "brevo.add_to_list(lists.optional ?? 35);",
    ] {
        let text = format!("fn map_contact(contact, brevo) {{ {guarded} }}");
        let loaded = RuleSet::from_files(files(&[("a.rhai", &text)]), &environment());
        assert!(loaded.is_ok(), "{guarded}: {:#?}", loaded.err());
    }
}
