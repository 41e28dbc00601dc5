//! Values in one form: what was written and is read back, in whichever form, makes no difference.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::http::Lane::Live;
use crate::model::{
    Applied, AttributeName, AttributeType, AttributeValue, BrevoContact, Email, ManualClock,
    Resolved, ResolvedAttribute, Timestamp, difference,
};
use crate::sandbox::brevo::{BrevoOptions, BrevoSandbox, Limits};

const OPTIONS: [&str; 4] = ["Free", "Team", "Business", "Été & Co"];

fn name(kind: AttributeType) -> AttributeName {
    format!("A_{kind}").parse().unwrap()
}

const KINDS: [AttributeType; 6] = [
    AttributeType::Text,
    AttributeType::Date,
    AttributeType::Float,
    AttributeType::Boolean,
    AttributeType::Category,
    AttributeType::MultipleChoice,
];

fn catalogue() -> Catalogue {
    let attribute = |kind: AttributeType| {
        let option = |(label, value): (&&str, i32)| AttributeOption {
            value: if kind == AttributeType::Category {
                value.to_string()
            } else {
                (*label).to_owned()
            },
            label: (*label).to_owned(),
        };
        let has_options = matches!(kind, AttributeType::Category | AttributeType::MultipleChoice);
        let options =
            if has_options { OPTIONS.iter().zip(1..).map(option).collect() } else { Vec::new() };
        Attribute {
            name: name(kind),
            category: AttributeCategory::Normal,
            kind: Some(kind),
            options,
        }
    };
    KINDS.into_iter().map(attribute).collect()
}

/// Anything that a rule may say.
fn value() -> impl Strategy<Value = AttributeValue> {
    let label = prop::sample::select(OPTIONS.to_vec());
    let day =
        (1990i16..2040, 1i8..13, 1i8..29).prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}"));
    let text = prop_oneof![
        "[a-zA-Z0-9 é;\"-]{1,12}",
        day.clone(),
        day.prop_map(|day| format!("{day}T23:30:00Z")),
        label.clone().prop_map(str::to_owned),
        label.clone().prop_map(str::to_uppercase),
        (-50i64..50).prop_map(|n| n.to_string()),
        Just("1.50".to_owned()),
    ];
    prop_oneof![
        any::<bool>().prop_map(AttributeValue::Bool),
        (-1_000_000i64..1_000_000).prop_map(AttributeValue::Integer),
        (1i64..5).prop_map(AttributeValue::Integer),
        (-1e6f64..1e6).prop_map(AttributeValue::Float),
        (-50i32..50).prop_map(|n| AttributeValue::Float(f64::from(n))),
        text.prop_map(AttributeValue::Text),
        prop::collection::vec(label.prop_map(str::to_owned), 1..5).prop_map(AttributeValue::List),
    ]
}

fn kind() -> impl Strategy<Value = AttributeType> {
    prop::sample::select(KINDS.to_vec())
}

/// The other forms in which Brevo may answer a value that it holds.
fn read_back(kind: AttributeType, value: &AttributeValue) -> Vec<AttributeValue> {
    let text = |text: String| AttributeValue::Text(text);
    let mut forms = vec![value.clone()];
    match (kind, value) {
        (AttributeType::Date, AttributeValue::Text(day)) => {
            forms.push(text(format!("{day}T00:00:00.000Z")));
        }
        (AttributeType::Float, AttributeValue::Integer(whole)) => {
            forms.push(AttributeValue::Float(*whole as f64));
        }
        (AttributeType::Boolean, AttributeValue::Bool(flag)) => {
            forms.push(text(if *flag { "Yes" } else { "No" }.to_owned()));
            forms.push(text(flag.to_string()));
            forms.push(AttributeValue::Integer(i64::from(*flag)));
        }
        (AttributeType::Category, AttributeValue::Integer(number)) => {
            forms.push(text(number.to_string()));
            forms.push(text(OPTIONS[usize::try_from(*number).unwrap() - 1].to_owned()));
        }
        (AttributeType::MultipleChoice, AttributeValue::List(items)) => {
            forms.push(AttributeValue::List(items.iter().rev().cloned().collect()));
            let once: std::collections::BTreeSet<_> = items.iter().cloned().collect();
            forms.push(AttributeValue::List(once.into_iter().collect()));
        }
        _ => {}
    }
    forms
}

fn wanted(kind: AttributeType, value: &AttributeValue) -> Resolved {
    let attributes = [(name(kind), ResolvedAttribute::Set(value.clone()))].into();
    Resolved { attributes, ..Resolved::default() }
}

proptest! {
    /// INVARIANT: what Brevo holds already, in whichever form it answers it, is not written again.
    #[test]
    fn what_was_written_makes_no_difference_in_any_form_in_which_it_is_read(kind in kind(), value in value()) {
        let catalogue = catalogue();
        let Ok(fitted) = catalogue.fit(&name(kind), &value) else { return Ok(()) };
        for form in read_back(kind, &fitted) {
            let contact = BrevoContact { attributes: [(name(kind), form.clone())].into(), ..BrevoContact::default() };
            let held = catalogue.normalised(contact);
            let change = difference(&wanted(kind, &fitted), Some(&held), &Applied::default());
            prop_assert!(change.is_empty(), "{kind} {fitted:?} read as {form:?}: {change:?}");
        }
    }

    #[test]
    fn a_value_in_its_form_stays_as_it_is(kind in kind(), value in value()) {
        let catalogue = catalogue();
        if let Ok(fitted) = catalogue.fit(&name(kind), &value) {
            prop_assert_eq!(catalogue.fit(&name(kind), &fitted), Ok(fitted.clone()));
            let contact = BrevoContact { attributes: [(name(kind), fitted)].into(), ..BrevoContact::default() };
            let once = catalogue.normalised(contact);
            prop_assert_eq!(catalogue.normalised(once.clone()), once);
        }
    }
}

#[tokio::test]
async fn what_is_written_over_http_makes_no_difference_when_it_is_read() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_768_000_000)));
    let options = BrevoOptions { limits: Limits::off(), ..BrevoOptions::default() };
    let sandbox = BrevoSandbox::start(options, clock.clone()).await.unwrap();
    let settings = BrevoSettings {
        base_url: sandbox.base_url().parse().unwrap(),
        api_key: sandbox.api_key().into(),
        rates: BucketRates::unlimited(),
        backoff_base: std::time::Duration::from_millis(1),
        timeout: BrevoSettings::TIMEOUT,
        book: None,
    };
    let client = BrevoClient::new(settings, clock).unwrap();
    for kind in KINDS {
        let options = if kind == AttributeType::Category || kind == AttributeType::MultipleChoice {
            OPTIONS.map(str::to_owned).to_vec()
        } else {
            Vec::new()
        };
        client.create_attribute(Live, &name(kind), kind, &options).await.unwrap();
    }
    let catalogue: Catalogue = client.attributes(Live).await.unwrap().into_iter().collect();
    let email: Email = "ann@example.com".parse().unwrap();
    let mut runner = TestRunner::deterministic();
    let mut written = 0;
    for _ in 0..200 {
        let (kind, value) = (kind(), value()).new_tree(&mut runner).unwrap().current();
        let Ok(fitted) = catalogue.fit(&name(kind), &value) else { continue };
        let write = ContactWrite {
            email: Some(email.clone()),
            attributes: [(name(kind), fitted.clone())].into(),
            update_enabled: true,
            ..ContactWrite::default()
        };
        client.upsert(Live, &write).await.unwrap();
        let contact = client.contact(Live, &Identifier::Email(email.clone())).await.unwrap();
        let held = catalogue.normalised(contact.unwrap());
        let change = difference(&wanted(kind, &fitted), Some(&held), &Applied::default());
        assert!(change.is_empty(), "{kind} {fitted:?}: {change:?}");
        written += 1;
    }
    assert!(written > 50, "{written}");
}
