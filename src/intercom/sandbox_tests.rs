//! Every call of the client against the sandbox.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::*;
use crate::http::Lane;
use crate::model::{Clock, ManualClock, RecordId, RecordKind, Timestamp};
use crate::sandbox::intercom::{Failure, IntercomOptions, IntercomSandbox};

const NOW: i64 = 1_790_000_000;
const ADMIN: &str = "991267390";

struct World {
    sandbox: IntercomSandbox,
    client: IntercomClient,
    clock: Arc<ManualClock>,
}

impl World {
    async fn start() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(NOW)));
        let options = IntercomOptions { rate_limit: None, ..Default::default() };
        let shared: Arc<dyn Clock> = clock.clone();
        let sandbox = IntercomSandbox::start(options, shared).await.unwrap();
        let settings = IntercomSettings {
            backoff_base: Duration::from_millis(1),
            requests_per_window: 10_000,
            ..IntercomSettings::new(
                sandbox.base_url().parse().unwrap(),
                SecretString::from(sandbox.access_token().to_owned()),
            )
        };
        let client = IntercomClient::new(settings, clock.clone()).unwrap();
        Self { sandbox, client, clock }
    }

    /// A contact in the workspace.
    fn contact(&self, fields: Value) -> RecordId {
        id(&self.sandbox.create_contact(fields).unwrap().id)
    }

    fn ann(&self) -> RecordId {
        self.contact(json!({"email": "ann@example.com", "external_id": "cust-1", "name": "Ann"}))
    }
}

fn id(text: &str) -> RecordId {
    text.parse().unwrap()
}

fn fields(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[tokio::test]
async fn a_contact_is_made_changed_hidden_and_deleted() {
    let World { sandbox, client, .. } = World::start().await;
    let made = client
        .create_contact(Lane::Live, &fields(json!({"email": "ann@example.com"})))
        .await
        .unwrap();
    let ann = made.key.id.clone();
    let name = fields(json!({"name": "Ann"}));
    let named = client.update_contact(Lane::Live, &ann, &name).await.unwrap();
    assert_eq!(named.body["name"], "Ann");
    client.archive_contact(Lane::Live, &ann).await.unwrap();
    assert!(client.contact(Lane::Live, &ann).await.unwrap_err().is_not_found());
    client.unarchive_contact(Lane::Live, &ann).await.unwrap();
    assert!(client.contact(Lane::Live, &ann).await.is_ok());
    client.delete_contact(Lane::Live, &ann).await.unwrap();
    assert_eq!(sandbox.contacts().len(), 0);
}

#[tokio::test]
async fn a_contact_that_stands_in_the_way_is_named() {
    let world = World::start().await;
    let ann = world.ann();
    let again = fields(json!({"email": "ann@example.com"}));
    let error = world.client.create_contact(Lane::Live, &again).await.unwrap_err();
    assert!(
        matches!(&error, IntercomError::AlreadyExists { id, archived: false } if *id == ann),
        "{error:?}"
    );
    world.sandbox.archive(ann.as_str()).unwrap();
    let error = world.client.create_contact(Lane::Live, &again).await.unwrap_err();
    assert!(
        matches!(&error, IntercomError::AlreadyExists { id, archived: true } if *id == ann),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        format!("intercom has an archived contact with these details already: {ann}")
    );
}

#[tokio::test]
async fn a_creation_of_unknown_outcome_is_not_repeated() {
    let world = World::start().await;
    let lead = fields(json!({"role": "lead", "name": "Nobody"}));
    world.sandbox.fail_next("POST /contacts", Failure::Status(500), 1);
    assert!(world.client.create_contact(Lane::Live, &lead).await.is_err());
    assert_eq!(world.sandbox.log().count(|entry| entry.is("POST", "/contacts")), 1);
    world.sandbox.fail_next("POST /contacts", Failure::RateLimited { retry_after: None }, 1);
    assert!(world.client.create_contact(Lane::Live, &lead).await.is_ok(), "it was not accepted");
    world.sandbox.fail_next("PUT /contacts", Failure::Status(500), 1);
    let ann = world.ann();
    let name = fields(json!({"name": "A"}));
    let named = world.client.update_contact(Lane::Live, &ann, &name).await;
    assert!(named.is_ok(), "to say it twice is to say it once");
}

#[tokio::test]
async fn a_lead_is_merged_into_a_user() {
    let world = World::start().await;
    let (ann, lead) =
        (world.ann(), world.contact(json!({"role": "lead", "phone": "+66812345678"})));
    let user = world.client.merge_contacts(Lane::Live, &lead, &ann).await.unwrap();
    assert_eq!((user.key.id, &user.body["phone"]), (ann, &json!("+66812345678")));
    assert!(world.client.contact(Lane::Live, &lead).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn what_hangs_on_a_contact_is_put_on_and_taken_off() {
    let world = World::start().await;
    let (client, ann) = (&world.client, world.ann());
    let vip = client.create_tag(Lane::Live, "vip").await.unwrap().key.id;
    assert_eq!(client.tag_contact(Lane::Live, &ann, &vip).await.unwrap().key.id, vip);
    assert_eq!(client.contact_tags(Lane::Live, &ann).await.unwrap().len(), 1);
    client.untag_contact(Lane::Live, &ann, &vip).await.unwrap();
    assert_eq!(client.contact_tags(Lane::Live, &ann).await.unwrap().len(), 0);
    let acme = fields(json!({"company_id": "acme", "name": "Acme"}));
    let acme = client.create_or_update_company(Lane::Live, &acme).await.unwrap().key.id;
    client.attach_company(Lane::Live, &ann, &acme).await.unwrap();
    assert_eq!(client.contact_companies(Lane::Live, &ann).await.unwrap()[0].key.id, acme);
    client.detach_company(Lane::Live, &ann, &acme).await.unwrap();
    assert_eq!(client.contact_companies(Lane::Live, &ann).await.unwrap().len(), 0);
    let news = id("1943066");
    client.set_subscription(Lane::Live, &ann, &news, Consent::OptOut).await.unwrap();
    let held = client.contact_subscriptions(Lane::Live, &ann).await.unwrap();
    assert_eq!(held, std::slice::from_ref(&news));
    client.forget_subscription(Lane::Live, &ann, &news).await.unwrap();
    assert_eq!(client.contact_subscriptions(Lane::Live, &ann).await.unwrap(), []);
    client.note_contact(Lane::Live, &ann, &id(ADMIN), "met at a fair").await.unwrap();
    let notes = client.contact_notes(Lane::Live, &ann).await.unwrap();
    assert_eq!(notes, ["<p>met at a fair</p>"]);
    assert_eq!(client.contact_segments(Lane::Live, &ann).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_conversation_is_held_over_the_api() {
    let world = World::start().await;
    let (client, ann, admin) = (&world.client, world.ann(), id(ADMIN));
    let talk = client.create_conversation(Lane::Live, &ann, "Hello").await.unwrap();
    let manage = |what| client.manage_conversation(Lane::Live, &talk, &admin, what);
    let state = |snapshot: crate::model::Snapshot| snapshot.body["state"].clone();
    client.reply(Lane::Live, &talk, Voice::Admin(&admin), "Hi").await.unwrap();
    client.reply(Lane::Live, &talk, Voice::Note(&admin), "psst").await.unwrap();
    let until = Timestamp::from_seconds(NOW + 600);
    assert_eq!(state(manage(Management::Snooze(until)).await.unwrap()), "snoozed");
    assert_eq!(state(manage(Management::Open).await.unwrap()), "open");
    assert_eq!(state(manage(Management::Close(Some("bye"))).await.unwrap()), "closed");
    client.reply(Lane::Live, &talk, Voice::Contact(&ann), "wait").await.unwrap();
    let assigned = manage(Management::AssignAdmin(&admin)).await.unwrap();
    assert_eq!(
        (&assigned.body["admin_assignee_id"], state(assigned.clone())),
        (&json!(991_267_390), json!("open"))
    );
    let team = id("5017691");
    manage(Management::AssignTeam(&team)).await.unwrap();
    let nobody = manage(Management::Unassign).await.unwrap();
    assert_eq!(nobody.body["admin_assignee_id"], Value::Null);
    let set = fields(json!({"issue_type": "Billing"}));
    let set = client.update_conversation(Lane::Live, &talk, Some(true), &set).await.unwrap();
    assert_eq!(set.body["custom_attributes"]["issue_type"], "Billing");
    let tag = client.create_tag(Lane::Live, "Billing").await.unwrap().key.id;
    client.tag_conversation(Lane::Live, &talk, &tag, &admin).await.unwrap();
    let shown = client.conversation(Lane::Live, &talk).await.unwrap();
    assert_eq!(
        (shown.key.kind, &shown.body["tags"][0]["name"]),
        (RecordKind::Conversation, &json!("Billing"))
    );
    client.untag_conversation(Lane::Live, &talk, &tag, &admin).await.unwrap();
    let bob = world.contact(json!({"email": "bob@example.com"}));
    let both = client.add_participant(Lane::Live, &talk, &bob, &admin).await.unwrap();
    assert_eq!(both.body["contacts"].as_array().map(Vec::len), Some(2));
    client.remove_participant(Lane::Live, &talk, &bob, &admin).await.unwrap();
    world.sandbox.delete_conversation(talk.as_str()).unwrap();
    assert!(client.conversation(Lane::Live, &talk).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn conversations_are_read_by_pages_and_since_a_second() {
    let world = World::start().await;
    let ann = world.ann();
    for _ in 0..310 {
        world.clock.advance(1);
        world.sandbox.create_conversation(ann.as_str(), "Hello").unwrap();
    }
    let (mut cursor, mut seen, mut pages) = (None, std::collections::BTreeSet::new(), 0);
    loop {
        let page = world.client.conversations_page(Lane::Bulk, cursor.as_ref()).await.unwrap();
        assert_eq!(page.total, Some(310));
        seen.extend(page.snapshots.into_iter().map(|snapshot| snapshot.key.id));
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((seen.len(), pages), (310, 3));
    let since = Timestamp::from_seconds(NOW + 151);
    let first = world.client.conversations_search_page(Lane::Bulk, since, None).await.unwrap();
    assert_eq!((first.snapshots.len(), first.next.is_some()), (150, true));
    let rest = world.client.conversations_search_page(Lane::Bulk, since, first.next.as_ref());
    let rest = rest.await.unwrap();
    assert_eq!((rest.snapshots.len(), rest.next), (10, None), "{since} itself is among them");
    let of_ann = world.client.conversations_of(Lane::Live, &ann, None).await.unwrap();
    assert_eq!(of_ann.total, Some(310));
}

#[tokio::test]
async fn companies_are_made_changed_listed_and_deleted() {
    let world = World::start().await;
    let (client, ann) = (&world.client, world.ann());
    let acme = fields(json!({"company_id": "acme", "name": "Acme", "plan": "pro"}));
    let made = client.create_or_update_company(Lane::Live, &acme).await.unwrap();
    let again = client.create_or_update_company(Lane::Live, &acme).await.unwrap();
    assert_eq!(made.key, again.key);
    let acme = made.key.id;
    let named = fields(json!({"name": "Acme 2"}));
    let named = client.update_company(Lane::Live, &acme, &named).await.unwrap();
    assert_eq!(named.body["name"], "Acme 2");
    let found = client.company_with_company_id(Lane::Live, "acme").await.unwrap();
    assert_eq!(found.key.id, acme);
    client.attach_company(Lane::Live, &ann, &acme).await.unwrap();
    let members = client.company_contacts_page(Lane::Live, &acme, 1).await.unwrap();
    assert_eq!((members.snapshots[0].key.id.clone(), members.next), (ann, None));
    assert_eq!(client.company_segments(Lane::Live, &acme).await.unwrap(), []);
    client.tag_companies(Lane::Live, "big", std::slice::from_ref(&acme)).await.unwrap();
    assert_eq!(world.sandbox.companies()[0]["tags"]["tags"][0]["name"], "big");
    client.untag_companies(Lane::Live, "big", std::slice::from_ref(&acme)).await.unwrap();
    assert_eq!(world.sandbox.companies()[0]["tags"]["tags"], json!([]));
    client.delete_company(Lane::Live, &acme).await.unwrap();
    assert!(client.company(Lane::Live, &acme).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn events_are_handed_in_and_listed_by_pages() {
    let world = World::start().await;
    let (client, ann) = (&world.client, world.ann());
    for number in 0..160 {
        let at = Timestamp::from_seconds(NOW - number);
        let metadata = fields(json!({"number": number}));
        client.submit_event(Lane::Live, &ann, "ordered", at, &metadata).await.unwrap();
    }
    let first = client.events_page(Lane::Bulk, &ann, None).await.unwrap();
    assert_eq!((first.snapshots.len(), first.unusable), (150, 0));
    let rest = client.events_page(Lane::Bulk, &ann, first.next.as_ref()).await.unwrap();
    assert_eq!((rest.snapshots.len(), rest.next), (10, None));
    let newest = &first.snapshots[0];
    assert_eq!((newest.key.kind, newest.version.at.seconds()), (RecordKind::Event, NOW));
    assert_eq!(newest.body["intercom_user_id"], ann.as_str());
    let visits = EventTotal {
        name: "visited".to_owned(),
        count: 7,
        first: Some(Timestamp::from_seconds(NOW - 90)),
        last: Some(Timestamp::from_seconds(NOW)),
    };
    client.submit_event_total(Lane::Live, &ann, &visits).await.unwrap();
    let totals = client.event_totals(Lane::Live, &ann).await.unwrap().unwrap();
    assert_eq!((totals[0].name.as_str(), totals[0].count), ("ordered", 160));
    assert_eq!(totals[1], visits);
    let nobody = id("665f1c0a9e3b7d0012ab34c1");
    let at = Timestamp::from_seconds(NOW);
    let refused = client.submit_event(Lane::Live, &nobody, "ordered", at, &Map::new()).await;
    assert!(refused.unwrap_err().is_not_found());
}

#[tokio::test]
async fn the_workspace_tells_what_it_has() {
    let world = World::start().await;
    world.ann();
    let client = &world.client;
    let tag = client.create_tag(Lane::Live, "vip").await.unwrap().key.id;
    let renamed = client.rename_tag(Lane::Live, &tag, "very").await.unwrap();
    assert_eq!((renamed.key.id, &renamed.body["name"]), (tag.clone(), &json!("very")));
    assert_eq!(client.tags(Lane::Live).await.unwrap().len(), 1);
    client.delete_tag(Lane::Live, &tag).await.unwrap();
    assert_eq!(client.tags(Lane::Live).await.unwrap().len(), 0);
    let segments = client.segments(Lane::Live).await.unwrap();
    assert_eq!((segments[0].name.as_str(), segments[0].count), ("All users", Some(1)));
    let kinds = client.subscription_types(Lane::Live).await.unwrap();
    assert_eq!((kinds[1].name.as_str(), kinds[1].is_opt_in), ("Weekly digest", true));
    let admins = client.admins(Lane::Live).await.unwrap();
    assert_eq!(admins[0].id, id(ADMIN));
    assert_eq!(client.me(Lane::Live).await.unwrap().admin_id, ADMIN);
    let made = client
        .create_data_attribute(Lane::Live, AttributeModel::Contact, "plan_tier", "string")
        .await
        .unwrap();
    assert_eq!((made.name.as_str(), made.is_custom), ("plan_tier", true));
    let known = client.data_attributes(Lane::Live, AttributeModel::Contact).await.unwrap();
    assert!(known.contains(&made));
}
