//! Conversations over HTTP and in notifications.

use super::*;
use crate::sandbox::intercom::{Fin, FinResolution};

async fn with_contact() -> (Client, String) {
    let client = Client::start(IntercomOptions::default()).await;
    let ann = json!({"email": "ann@example.com", "external_id": "cust-1", "name": "Ann"});
    let id = client.sandbox.create_contact(ann).unwrap().id;
    (client, id)
}

fn topics(changed: &Changed) -> Vec<&str> {
    changed.notifications.iter().filter_map(|n| n["topic"].as_str()).collect()
}

fn item(changed: &Changed) -> &Value {
    &changed.notifications[0]["data"]["item"]
}

#[tokio::test]
async fn a_conversation_goes_through_its_life_over_http() {
    let (client, ann) = with_contact().await;
    let from = json!({"from": {"type": "user", "id": ann}, "body": "Hello"});
    let message = client.post("/conversations", from).await;
    assert_eq!(message.body["type"], "user_message");
    let id = message.body["conversation_id"].as_str().unwrap().to_owned();
    let path = format!("/conversations/{id}");
    let admin =
        json!({"message_type": "comment", "type": "admin", "admin_id": "991267390", "body": "Hi"});
    client.clock.advance(60);
    let replied = client.post(&format!("{path}/reply"), admin).await;
    assert_eq!(replied.body["statistics"]["time_to_admin_reply"], 60);
    assert_eq!(replied.body["conversation_parts"]["total_count"], 1);
    let manage = |body: Value| client.post_to(format!("{path}/parts"), body);
    let snoozed = manage(
        json!({"message_type": "snoozed", "admin_id": "991267390", "snoozed_until": NOW + 9_000}),
    )
    .await;
    assert_eq!((&snoozed.body["open"], &snoozed.body["state"]), (&json!(true), &json!("snoozed")));
    let closed =
        manage(json!({"message_type": "close", "type": "admin", "admin_id": "991267390"})).await;
    assert_eq!((&closed.body["open"], &closed.body["state"]), (&json!(false), &json!("closed")));
    let user = json!({"message_type": "comment", "type": "user", "email": "ann@example.com", "body": "Still"});
    let again = client.post("/conversations/last/reply", user).await;
    assert_eq!(again.body["state"], "open");
    assert_eq!(again.body["statistics"]["count_reopens"], 1);
    let unsigned = manage(json!({"message_type": "close"})).await;
    assert_eq!(error_of(&unsigned), (400, "parameter_not_found", "admin_id is required"));
    let shown = client.get(&path).await.body;
    assert_eq!(shown["source"]["author"]["email"], "ann@example.com");
    assert_eq!(
        client.get("/conversations").await.body["conversations"][0].get("conversation_parts"),
        None
    );
}

#[tokio::test]
async fn search_finds_conversations_to_the_second() {
    let (client, ann) = with_contact().await;
    for number in 0..45 {
        client.sandbox.create_conversation(&ann, &format!("number {number}")).unwrap();
        client.clock.advance(1);
    }
    let since = |operator: &str, at: i64| {
        json!({"query": {"field": "updated_at", "operator": operator, "value": at},
               "sort": {"field": "updated_at", "order": "descending"},
               "pagination": {"per_page": 20}})
    };
    let found = client.post("/conversations/search", since(">", NOW + 9)).await;
    assert_eq!(found.body["total_count"], 35);
    assert_eq!(
        client.post("/conversations/search", since(">=", NOW + 9)).await.body["total_count"],
        36
    );
    let mut body = since(">", NOW - 1);
    let mut seen = BTreeSet::new();
    loop {
        let page = client.post("/conversations/search", body.clone()).await.body;
        for row in page["conversations"].as_array().unwrap() {
            assert!(seen.insert(row["id"].as_str().unwrap().to_owned()));
        }
        match page["pages"]["next"]["starting_after"].as_str() {
            Some(next) => body["pagination"]["starting_after"] = json!(next),
            None => break,
        }
    }
    assert_eq!(seen.len(), 45);
    let of_ann = json!({"query": {"operator": "AND", "value": [
        {"field": "contact_ids", "operator": "=", "value": ann},
        {"field": "state", "operator": "IN", "value": ["open", "snoozed"]}]}});
    assert_eq!(client.post("/conversations/search", of_ann).await.body["total_count"], 45);
    let wrong = json!({"query": {"field": "updated_at", "operator": "~", "value": 3}});
    assert_eq!(client.post("/conversations/search", wrong).await.status, 400);
}

#[tokio::test]
async fn each_change_of_a_conversation_fires_its_topic() {
    let (client, ann) = with_contact().await;
    let intercom = &client.sandbox;
    let created = intercom.create_conversation(&ann, "Hello").unwrap();
    assert_eq!(topics(&created), ["conversation.user.created"]);
    assert_eq!(item(&created)["conversation_parts"]["total_count"], 0);
    let id = created.id.as_str();
    let case = |changed: Result<Changed, Refused>, expected: &str| {
        let changed = changed.unwrap();
        assert_eq!(topics(&changed), [expected]);
        changed
    };
    case(intercom.reply_as_contact(id, &ann, "me"), "conversation.user.replied");
    let replied = case(intercom.reply_as_admin(id, "you"), "conversation.admin.replied");
    assert_eq!(item(&replied)["conversation_parts"]["total_count"], 1, "only what triggered it");
    let at = item(&replied)["statistics"]["first_admin_reply_at"].as_str().unwrap();
    assert_eq!(at, "2026-01-10T04:39:55.000Z");
    assert!(item(&replied)["created_at"].is_i64());
    case(intercom.note_conversation(id, "psst"), "conversation.admin.noted");
    case(intercom.assign_conversation(id, 991_267_390), "conversation.admin.assigned");
    let until = Timestamp::from_seconds(NOW + 60);
    case(intercom.snooze_conversation(id, until), "conversation.admin.snoozed");
    case(intercom.unsnooze_conversation(id), "conversation.admin.unsnoozed");
    case(intercom.close_conversation(id), "conversation.admin.closed");
    let rated =
        case(intercom.rate_conversation(id, 5, Some("thanks")), "conversation.rating.added");
    assert_eq!(item(&rated)["conversation_rating"]["rating"], 5);
    case(intercom.open_conversation(id), "conversation.admin.opened");
    case(intercom.prioritise_conversation(id, true), "conversation.priority.updated");
    case(intercom.read_conversation(id), "conversation.read");
    let tagged = case(intercom.tag_conversation(id, "Billing"), "conversation_part.tag.created");
    assert_eq!(item(&tagged)["tags_added"]["tags"][0]["name"], "Billing");
    assert_eq!(topics(&intercom.untag_conversation(id, "Billing").unwrap()), [""; 0]);
    let bob = intercom.create_contact(json!({"email": "bob@example.com"})).unwrap().id;
    let attached = case(intercom.add_participant(id, &bob), "conversation.contact.attached");
    assert!(item(&attached)["conversation"]["model"]["id"].is_u64());
    assert_eq!(item(&attached)["contact"]["id"], bob.as_str());
    case(intercom.remove_participant(id, &bob), "conversation.contact.detached");
    let part =
        intercom.conversation(id).unwrap()["conversation_parts"]["conversation_parts"][0]["id"]
            .clone();
    case(intercom.redact_part(id, part.as_str().unwrap()), "conversation_part.redacted");
    let deleted = case(intercom.delete_conversation(id), "conversation.deleted");
    assert_eq!(item(&deleted), &json!({"type": "conversation", "conversation_id": id}));
    case(intercom.start_conversation(&ann, "Welcome"), "conversation.admin.single.created");
}

#[tokio::test]
async fn fin_speaks_the_vocabulary_of_the_version_that_is_asked_for() {
    let (client, ann) = with_contact().await;
    let id = client.sandbox.create_conversation(&ann, "Hello").unwrap().id;
    let fin = Fin { resolution: Some(FinResolution::Escalated), rating: Some(2), ..Fin::default() };
    let changed = client.sandbox.set_fin(&id, fin.clone()).unwrap();
    assert_eq!(item(&changed)["ai_agent"]["resolution_state"], "routed_to_team");
    client.sandbox.set_webhook_version("2.15");
    let changed = client.sandbox.set_fin(&id, fin).unwrap();
    assert_eq!(item(&changed)["ai_agent"]["resolution_state"], "escalated");
    let request = client.request(Method::GET, &format!("/conversations/{id}"));
    let shown = client.send(request.header("Intercom-Version", "2.16")).await.body;
    assert_eq!(
        (&shown["ai_agent"]["resolution_state"], &shown["priority"]),
        (&json!("escalated"), &json!("none"))
    );
    let old = client.get(&format!("/conversations/{id}")).await.body;
    assert_eq!(old["ai_agent"]["resolution_state"], "routed_to_team");
    assert_eq!(old["ai_agent_participated"], true);
}

#[tokio::test]
async fn seeded_contacts_have_conversations_and_events_if_asked_for() {
    let client = Client::start(IntercomOptions::default()).await;
    client.sandbox.seed(&Seed::new(500).with_conversations().with_events()).unwrap();
    let all = client.sandbox.conversations();
    assert!((250..350).contains(&all.len()), "{}", all.len());
    let share =
        |is: &dyn Fn(&Value) -> bool| all.iter().filter(|c| is(c)).count() * 100 / all.len();
    assert!((15..35).contains(&share(&|c| c["state"] == "open")));
    assert!((5..20).contains(&share(&|c| c["state"] == "snoozed")));
    assert!((15..35).contains(&share(&|c| !c["conversation_rating"].is_null())));
    assert!((20..40).contains(&share(&|c| !c["ai_agent"].is_null())));
    let busy = client
        .sandbox
        .contacts()
        .iter()
        .filter(|c| !client.sandbox.events(c["id"].as_str().unwrap()).is_empty())
        .count();
    assert!((100..250).contains(&busy), "{busy}");
    let again = Client::start(IntercomOptions::default()).await;
    again.sandbox.seed(&Seed::new(500).with_conversations().with_events()).unwrap();
    assert_eq!(again.sandbox.conversations(), all);
}

#[tokio::test]
async fn only_the_newest_500_parts_are_shown() {
    let (client, ann) = with_contact().await;
    let id = client.sandbox.create_conversation(&ann, "Hello").unwrap().id;
    for number in 0..510 {
        client.sandbox.reply_as_contact(&id, &ann, &number.to_string()).unwrap();
    }
    let shown = client.get(&format!("/conversations/{id}")).await.body;
    let parts = shown["conversation_parts"]["conversation_parts"].as_array().unwrap();
    assert_eq!((parts.len(), &shown["conversation_parts"]["total_count"]), (500, &json!(510)));
    assert_eq!(parts[0]["body"], "<p>10</p>");
}

#[tokio::test]
async fn a_conversation_has_the_keys_of_the_samples() {
    let (client, ann) = with_contact().await;
    let id = client.sandbox.create_conversation(&ann, "Hello").unwrap().id;
    client.sandbox.close_conversation(&id).unwrap();
    let sample =
        include_str!("../../../../tests/samples/intercom/conversation_closed_rated_fin.json");
    let sample: Value = serde_json::from_str(sample).unwrap();
    let shown = client.sandbox.conversation(&id).unwrap();
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&shown), keys(&sample));
    assert_eq!(keys(&shown["statistics"]), keys(&sample["statistics"]));
    assert_eq!(keys(&shown["source"]), keys(&sample["source"]));
    let part = |value: &Value| keys(&value["conversation_parts"]["conversation_parts"][0]);
    assert_eq!(part(&shown), part(&sample));
}

#[tokio::test]
async fn search_is_behind_for_conversations_and_a_list_drifts_when_told_to() {
    let (client, ann) = with_contact().await;
    client.sandbox.set_index_lag(60);
    let first = client.sandbox.create_conversation(&ann, "Hello").unwrap().id;
    let open = json!({"query": {"field": "state", "operator": "=", "value": "open"}});
    assert_eq!(client.post("/conversations/search", open.clone()).await.body["total_count"], 0);
    client.clock.advance(61);
    assert_eq!(client.post("/conversations/search", open).await.body["total_count"], 1);
    client.sandbox.create_conversation(&ann, "Again").unwrap();
    client.clock.advance(10);
    client.sandbox.drift_while_paging(1);
    let page = client.get("/conversations?per_page=1").await.body;
    let cursor = page["pages"]["next"]["starting_after"].as_str().unwrap();
    let rest = client.get(&format!("/conversations?per_page=1&starting_after={cursor}")).await.body;
    assert_eq!(rest["conversations"], json!([]), "it has moved to the front");
    assert_eq!(client.sandbox.conversations()[0]["id"], first.as_str());
}
