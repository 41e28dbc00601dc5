//! What the rules decided about one contact, line by line, beside what Brevo holds.

use serde_json::{Map, Value, json};

use super::cast::{Cast, Player, attribute, text};
use super::error::DemoError;
use super::report::Report;
use super::stage::{Stage, VIP};
use crate::engine::rule_environment;
use crate::model::{
    AttributeIntent, AttributeValue, Decision, ListIntent, ListRef, Origin, RecordId, RecordKey,
};
use crate::rules::{ContactInput, RuleSet};
use crate::store::Subject;

/// Shows a contact of which the rules say much.
pub(super) async fn show(stage: &Stage, report: &mut Report) -> Result<(), DemoError> {
    report.step("What was decided about one of them, and by which line");
    let player = protagonist(stage)?;
    let (Some(subject), Some(contact)) =
        (subject(stage, &player).await?, stage.in_brevo(&player.email))
    else {
        report.claim(false, "the contact is known on both sides");
        return Ok(());
    };
    let Some(decision) = decide(stage, subject.clone()).await else {
        report.claim(false, "the rules decide about the contact");
        return Ok(());
    };
    if let Some(record) = &subject.record {
        report.detail(in_intercom(&record.body, &subject));
    }
    let mut is_same = true;
    if let Some(email) = &decision.email {
        is_same &= text(&contact, "email") == Some(&email.value.to_lowercase());
        report.detail(row("email", &email.value, &email.origin));
    }
    for (name, traced) in &decision.attributes {
        let AttributeIntent::Set(value) = &traced.value else { continue };
        let held = attribute(&contact, name.as_str())
            .and_then(|held| serde_json::from_value::<AttributeValue>(held.clone()).ok());
        is_same &= held.is_some_and(|held| value.is_same(&held, name));
        report.detail(row(name.as_str(), &shown(value), &traced.origin));
    }
    for (list, traced) in
        decision.lists.iter().filter(|(_, traced)| traced.value == ListIntent::Add)
    {
        let (number, name) = list_of(stage, list).unwrap_or((0, list.to_string()));
        is_same &= stage.is_on_list(number, &player.email);
        report.detail(row("on the list", &format!("{name} ({number})"), &traced.origin));
    }
    report.claim(is_same, "Brevo holds exactly these values, and has the contact on these lists");
    Ok(())
}

/// Somebody with a phone, a company and the tag `vip`, if there is one.
fn protagonist(stage: &Stage) -> Result<Player, DemoError> {
    let has_much = |player: &Player, contact: &Value| {
        let companies = contact.pointer("/companies/total_count").and_then(Value::as_u64);
        let phone =
            stage.in_brevo(&player.email).is_some_and(|held| attribute(&held, "SMS").is_some());
        let plan = contact.pointer("/custom_attributes/plan_tier").is_some_and(Value::is_string);
        let tags = contact.pointer("/tags/total_count").and_then(Value::as_u64);
        phone
            && plan
            && companies == Some(1)
            && tags <= Some(3)
            && stage.is_on_list(VIP, &player.email)
    };
    let found = Cast::of(stage).take("show in full", has_much);
    found.or_else(|_| Cast::of(stage).take_any("show"))
}

async fn subject(stage: &Stage, player: &Player) -> Result<Option<Subject>, DemoError> {
    let Ok(id) = player.id.parse::<RecordId>() else { return Ok(None) };
    let found = stage.store.subjects(vec![id.into()]).await?;
    Ok(found.into_iter().next())
}

/// Evaluates the rules once more: they are pure, so they say what they said.
async fn decide(stage: &Stage, subject: Subject) -> Option<Decision> {
    let (config, as_of) = (stage.engine.config(), stage.engine.now());
    let evaluate = move || {
        let rules = RuleSet::load(&config.scripts.dir, &rule_environment(&config)).ok()?;
        let contact = seen_by_rules(&subject)?.into();
        let key = RecordKey::contact(subject.id);
        rules.decide_contact(&ContactInput { key, contact, existing: None, as_of }).ok()
    };
    tokio::task::spawn_blocking(evaluate).await.ok().flatten()
}

/// The list that a rule means, by number and name.
fn list_of(stage: &Stage, list: &ListRef) -> Option<(i64, String)> {
    let config = stage.engine.config();
    let number = match list {
        ListRef::Id(number) => Some(*number),
        ListRef::Name(name) => config.intercom.lists.get(name).copied(),
    };
    let is_meant = |(known, title): &(i64, String)| match list {
        ListRef::Name(name) if number.is_none() => title == name,
        _ => Some(*known) == number,
    };
    stage.sandbox.brevo.lists().into_iter().find(is_meant)
}

/// The contact with the relations that the default rules read.
fn seen_by_rules(subject: &Subject) -> Option<Value> {
    let mut body: Map<String, Value> = subject.record.as_ref()?.body.as_object()?.clone();
    let companies: Vec<Value> =
        subject.companies.values().map(|company| company.body.clone()).collect();
    body.insert("tags".to_owned(), json!(subject.tags.values().collect::<Vec<_>>()));
    body.insert("company".to_owned(), companies.first().cloned().unwrap_or_default());
    body.insert("companies".to_owned(), Value::Array(companies));
    body.insert("conversations".to_owned(), json!({"open": 0}));
    Some(Value::Object(body))
}

fn in_intercom(body: &Value, subject: &Subject) -> String {
    let tags: Vec<&str> = subject.tags.values().map(String::as_str).collect();
    let of = |field: &str| text(body, field).unwrap_or("none");
    let tags = tags.join(", ");
    cut(
        &format!(
            "in Intercom: {}, {}, {}, {}, tags {tags}",
            of("role"),
            of("name"),
            of("email"),
            of("phone")
        ),
        94,
    )
}

fn row(what: &str, value: &str, origin: &Origin) -> String {
    format!("{what:<14}{:<44}{origin}", cut(value, 43))
}

/// At most so many characters.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

fn shown(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Text(text) => text.clone(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}
