//! The fuzz targets on a small corpus and on generated input; `cargo fuzz` goes on from there.

use proptest::prelude::*;
use serde_json::{Value, json};

#[path = "../../fuzz/targets.rs"]
mod targets;

#[test]
fn scripts_of_the_corpus_load_or_are_refused_with_a_reason() {
    for folder in ["scripts", "scripts/lib", "tests/it/hostile/loads", "tests/it/hostile/records"] {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rhai") {
                targets::load(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
}

/// Pieces of scripts, so that more than one in a thousand generated ones parses.
const PIECES: [&str; 40] = [
    "fn map_contact(contact, brevo) {",
    "}",
    "{",
    "(",
    ")",
    "[",
    "]",
    ";",
    ",",
    ".",
    "=",
    "==",
    "+",
    "-",
    "*",
    "/",
    "%",
    "**",
    "..",
    "?.",
    "if ",
    "else ",
    "for x in ",
    "loop ",
    "switch ",
    "let x = ",
    "const X = ",
    "return ",
    "throw ",
    "try ",
    "catch ",
    "contact",
    "brevo",
    "x",
    "|x| x",
    "#{",
    "1",
    "0.5",
    "\"text\"",
    "`${x}`",
];

fn script() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(&PIECES[..]).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ];
    let statement = prop::sample::select(
        &[
            "let a = [1, 2]; a[0] = a;",
            "brevo.NAME = contact.name;",
            "x.filter(|y| y);",
            "brevo.add_to_list(contact.role);",
            "let m = #{}; m.k = m; m[\"k\"] = [m];",
            "brevo[contact.email] = json(contact);",
            "for t in contact.tags { brevo[t] = t.len(); }",
            "brevo.skip(`${contact}`);",
            "\"a\".pad(9, \"b\").split(\"\")",
            "1 / 0",
            "contact[\"a\"][0].b",
            "brevo.set_all(contact, \"\");",
            "replace_all(\"aa\", \"a\", \"$0\")",
            "[3, 1].sort()",
        ][..],
    );
    prop_oneof![
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.join("")),
        prop::collection::vec(statement, 1..6).prop_map(|statements| {
            format!(
                "fn map_contact(contact, brevo) {{ brevo.email = contact.email; {} }}",
                statements.join(" ")
            )
        }),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "[a-z]{1,8}@example\\.com".prop_map(Value::from),
        Just(json!("+66 2 123 4567")),
        Just(json!("2026-01-09T21:14:03.000+00:00")),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A contact with some of the fields that the default rules read, of any type.
fn contact() -> impl Strategy<Value = Value> {
    const FIELDS: [&str; 14] = [
        "email",
        "name",
        "phone",
        "role",
        "tags",
        "companies",
        "company",
        "custom_attributes",
        "conversations",
        "signed_up_at",
        "last_seen_at",
        "language",
        "subscriptions",
        "unsubscribed_from_emails",
    ];
    prop::collection::btree_map(prop::sample::select(&FIELDS[..]), json_value(), 0..14).prop_map(
        |fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_loads_or_is_refused_with_a_reason(text in script()) {
        targets::load(&text);
    }

    #[test]
    fn any_record_is_decided_twice_alike(contact in contact()) {
        targets::decide(contact.to_string().as_bytes());
    }
}
