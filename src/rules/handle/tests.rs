//! What each kind of handler can decide, and what it cannot.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::model::{
    CompanyDecision, ContactRole, Decision, Emission, Message, RecordId, RecordKey, RecordKind,
    ReverseDecision, TagIntent, Timestamp, Verdict,
};
use crate::rules::{ContactInput, RecordInput, RuleEnvironment, RuleSet, ScriptError, SourceFile};

const NOW: i64 = 1_768_019_995;

fn rules(handler: &str, body: &str) -> RuleSet {
    let text = format!("fn {handler} {{\n{body}\n}}");
    let file = SourceFile { path: "scripts/mapping.rhai".into(), text };
    let lists = [("csat".to_owned(), 41)].into();
    let environment = RuleEnvironment { lists, ..RuleEnvironment::default() };
    RuleSet::from_files(vec![file], &environment).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn input(kind: RecordKind, record: Value) -> RecordInput {
    let key = RecordKey { kind, id: "7".parse().unwrap() };
    RecordInput { key, record: Arc::new(record), as_of: Timestamp::from_seconds(NOW) }
}

fn contact(body: &str) -> Result<Decision, ScriptError> {
    let key = RecordKey::contact("7".parse().unwrap());
    let contact = json!({"id": "7", "company": {"id": "c1"}, "last_seen_at": NOW});
    let as_of = Timestamp::from_seconds(NOW);
    let input = ContactInput { key, contact: Arc::new(contact), existing: None, as_of };
    rules("map_contact(contact, brevo)", body).decide_contact(&input)
}

fn company(body: &str) -> Result<CompanyDecision, ScriptError> {
    let record = json!({"id": "c1", "name": "Acme", "plan": {"name": "pro"}, "size": 12});
    rules("map_company(company, brevo)", body).decide_company(&input(RecordKind::Company, record))
}

fn conversation(body: &str) -> Result<Emission, ScriptError> {
    let record = json!({
        "id": "215", "state": "closed", "contact": {"id": "7"}, "contacts": [{"id": "7"}, {"id": "8"}],
        "transitions": [{"kind": "created", "at": NOW - 60}, {"kind": "closed", "at": NOW}],
    });
    rules("map_conversation(conversation, brevo)", body)
        .decide_conversation(&input(RecordKind::Conversation, record))
}

fn event(body: &str) -> Result<ReverseDecision, ScriptError> {
    let record = json!({"event": "unsubscribed", "email": "ann@example.com", "date": NOW});
    rules("map_brevo_event(event, intercom)", body)
        .decide_brevo_event(&input(RecordKind::BrevoEvent, record))
}

fn brevo_contact(body: &str) -> Result<ReverseDecision, ScriptError> {
    let record = json!({"id": 4711, "email": "ann@example.com", "FIRSTNAME": "Ann", "lists": [41]});
    rules("map_brevo_contact(contact, intercom)", body)
        .decide_brevo_contact(&input(RecordKind::BrevoContact, record))
}

#[test]
fn a_contact_sends_events_objects_links_and_confirmations() {
    let decision = contact(
        r#"brevo.track("seen", #{ "page name": "home", none: () }, contact.last_seen_at);
        brevo.track("never", #{}, contact.last_replied_at);
        brevo.upsert_object("subscription", 5, #{ seats: 3 });
        brevo.upsert_object("subscription", "5", #{ plan: "pro" });
        brevo.link_company(contact.company.id);
        brevo.link_company(contact.second.id);
        brevo.double_opt_in(12, "https://example.com/thanks", ["csat", 9]);
        brevo.resubscribe();
        brevo.keep("FIRSTNAME");"#,
    )
    .unwrap();
    let events: Vec<_> = decision.events.iter().map(|event| &event.value).collect();
    assert_eq!(events.len(), 1, "what has no time did not happen");
    assert_eq!(
        (events[0].name.as_str(), events[0].at),
        ("seen", Some(Timestamp::from_seconds(NOW)))
    );
    assert_eq!(Value::Object(events[0].properties.clone()), json!({"page_name": "home"}));
    assert_eq!(decision.events[0].origin.to_string(), "scripts/mapping.rhai:2:7");
    let (key, fields) = decision.objects.first_key_value().unwrap();
    assert_eq!(key.to_string(), "subscription:5");
    assert_eq!(Value::Object(fields.value.clone()), json!({"seats": 3, "plan": "pro"}));
    let companies: Vec<&RecordId> = decision.companies.keys().collect();
    assert_eq!(companies, [&"c1".parse::<RecordId>().unwrap()]);
    let asked = json!(decision.double_opt_in.unwrap().value);
    let expected =
        json!({"template": 12, "redirection_url": "https://example.com/thanks", "lists": [41, 9]});
    assert_eq!(asked, expected);
    assert_eq!(decision.resubscribe.unwrap().line, 9);
    assert_eq!(decision.keep.values().next().unwrap().line, 10);
}

#[test]
fn fields_that_brevo_cannot_hold_are_left_out_and_the_rest_is_set() {
    let long = "x".repeat(60);
    let body = format!(
        "let fields = #{{ {long}: 1, email: \"eve@example.com\", seats: 3 }}; brevo.set_all(fields, \"\");"
    );
    let decision = contact(&body).unwrap();
    let names: Vec<_> = decision.attributes.keys().map(|name| name.as_str()).collect();
    assert_eq!((names, decision.email), (vec!["SEATS"], None));
    let logged: Vec<_> = decision.log.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(logged.len(), 2, "{logged:?}");
    assert_eq!(logged[0], "`set_all`: `email` is left out: `EMAIL` is an identity");
}

#[test]
fn a_company_has_attributes_as_brevo_spells_them() {
    let decision = company(
        "brevo.name = company.name; brevo[\"number of employees\"] = company.size;\n\
         brevo.domain = company.website; brevo.label = brevo.name + \"!\"; brevo.name.len();",
    )
    .unwrap();
    let text = json!(decision.attributes);
    assert_eq!(text["name"]["value"], json!({"set": "Acme"}));
    assert_eq!(text["number of employees"]["value"], json!({"set": 12}));
    assert_eq!(text["domain"]["value"], json!("withdraw"));
    assert_eq!(text["label"]["value"], json!({"set": "Acme!"}));
    assert_eq!(text["name"]["origin"]["line"], 2);
    assert_eq!(company("brevo.delete();").unwrap().verdict, Verdict::Delete);
    let skipped = company("if company.size < 100 { return brevo.skip(\"small\"); }").unwrap();
    assert_eq!(skipped.verdict, Verdict::Skip { reason: "small".into() });
    let error = company("let b = [brevo][0]; b.add_to_list(1);").unwrap_err().to_string();
    assert_eq!(
        error,
        "`add_to_list` is not possible here: a company has attributes only; decide on its contacts \
         in `map_contact`: scripts/mapping.rhai:2:23"
    );
}

#[test]
fn a_conversation_gives_off_events_and_decides_on_its_contacts() {
    let emission = conversation(
        r#"for step in conversation.transitions {
            brevo.track("conversation_" + step.kind, #{ id: conversation.id }, step.at);
        }
        let c = brevo.contact(conversation.contact);
        c.LAST_STATE = conversation.state;
        for other in conversation.contacts { brevo.contact(other.id).add_to_list("csat"); }
        brevo.upsert_object("conversation", conversation.id, #{ state: conversation.state });"#,
    )
    .unwrap();
    let names: Vec<_> = emission.events.iter().map(|event| event.value.name.as_str()).collect();
    assert_eq!(names, ["conversation_created", "conversation_closed"]);
    let ids: Vec<_> = emission.contacts.keys().map(RecordId::as_str).collect();
    assert_eq!(ids, ["7", "8"]);
    let first = &emission.contacts[&"7".parse().unwrap()];
    assert_eq!((first.attributes.len(), first.lists.len()), (1, 1));
    assert_eq!(first.subject.to_string(), "contact:7");
    assert_eq!(emission.objects.len(), 1);

    let error = conversation("let b = [brevo][0]; b.FIRSTNAME = 1;").unwrap_err().to_string();
    assert!(error.contains("write `brevo.contact(conversation.contact)` first"), "{error}");
    let error = conversation("let b = [brevo][0]; b.add_to_list(1);").unwrap_err().to_string();
    assert!(error.contains("write `brevo.contact(conversation.contact)` first"), "{error}");
    let error = conversation("brevo.contact(());").unwrap_err().to_string();
    assert!(error.contains("`contact` takes a contact"), "{error}");
}

#[test]
fn the_other_direction_writes_fields_tags_and_custom_attributes() {
    let decision = brevo_contact(
        r#"intercom.name = contact.FIRSTNAME;
        intercom.custom_attributes.plan_tier = "pro";
        intercom.custom_attributes["ODD name"] = ();
        intercom.signed_up_at = "2026-01-10T04:39:55Z";
        if 41 in contact.lists { intercom.add_tag("brevo: csat"); } else { intercom.remove_tag("x"); }
        intercom.remove_tag("old");
        intercom.create("lead");"#,
    )
    .unwrap();
    assert_eq!(decision.fields["name"].value, json!("Ann"));
    assert_eq!(decision.fields["signed_up_at"].value, json!(NOW));
    assert_eq!(decision.custom_attributes["plan_tier"].value, json!("pro"));
    assert_eq!(decision.custom_attributes["plan_tier"].origin.line, 3);
    assert_eq!(decision.custom_attributes["ODD name"].value, Value::Null);
    assert_eq!(decision.tags["brevo: csat"].value, TagIntent::Add);
    assert_eq!(decision.tags["old"].value, TagIntent::Remove);
    assert_eq!(decision.create.unwrap().value, ContactRole::Lead);
}

#[test]
fn the_other_direction_refuses_what_intercom_would() {
    fn case(body: &str, expected: &str) {
        // Through an array, so that what `check` finds at load is found while it runs.
        let body = format!("let intercom = [intercom][0]; let contact = [contact][0]; {body}");
        let error = brevo_contact(&body).unwrap_err().to_string();
        assert!(error.contains(expected), "{body}: {error}");
    }
    case("intercom.emial = 1;", "did you mean `email`?");
    case("intercom.plan = 1;", "write `intercom.custom_attributes.plan`");
    case("intercom.unsubscribed_from_emails = false;", "nothing undoes an opt-out");
    case("intercom.custom_attributes.x = [1];", "must be text, a number, true or false");
    case("intercom.custom_attributes = #{};", "write one custom attribute");
    case("intercom.note(\"x\");", "`note` belongs into `map_brevo_event`");
    case(
        "let role = \"v\" + \"ip\"; intercom.create(role);",
        "\"lead\" or a \"user\", not \"vip\"",
    );
    case("contact.email = 1;", "read-only");
}

#[test]
fn an_event_of_brevo_can_say_something_once() {
    let decision = event(
        r#"intercom.note("unsubscribed in Brevo");
        intercom.reply(215, "sorry to see you go");
        intercom.start_conversation("hello");
        intercom.track("brevo_unsubscribed", #{ at: event.date });
        intercom.unsubscribed_from_emails = true;"#,
    )
    .unwrap();
    let messages: Vec<_> = decision.messages.iter().map(|message| &message.value).collect();
    assert_eq!(messages[0], &Message::Note { text: "unsubscribed in Brevo".into() });
    assert!(matches!(messages[1], Message::Reply { conversation, .. } if conversation == "215"));
    assert_eq!(decision.events[0].value.name, "brevo_unsubscribed");
    assert_eq!(decision.fields["unsubscribed_from_emails"].value, json!(true));
    assert!(event("intercom.note(\" \");").is_err());
}

#[test]
fn decisions_of_every_kind_survive_the_store() {
    fn case<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(
        decision: &T,
    ) {
        let text = serde_json::to_string(decision).unwrap();
        assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), decision);
    }
    case(
        &contact("brevo.upsert_object(\"a\", 1, #{ b: 2 }); brevo.track(\"x\", #{}, 5);").unwrap(),
    );
    case(&company("brevo.name = 1;").unwrap());
    case(&conversation("let c = brevo.contact(\"7\"); c.A = 1;").unwrap());
    case(&event("intercom.note(\"x\"); intercom.add_tag(\"y\");").unwrap());
}
