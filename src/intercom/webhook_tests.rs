//! Signatures, and every sample of a notification with what follows from it.

use rstest::rstest;

use super::*;
use crate::model::{Freshness, Record, TransitionKind};

const SECRET: &str = "test_client_secret";
const BODY: &[u8] = br#"{"type":"notification_event","app_id":"abc123def","topic":"ping"}"#;
const SIGNATURE: &str = "sha1=8bf7d728ab3a2d3f90ca4c4e7a94d13b35bf4941";
const RECEIVED: Timestamp = Timestamp::from_seconds(1_790_000_000);

fn secret() -> SecretString {
    SecretString::from(SECRET)
}

fn unverified(body: &[u8], signatures: &[&str]) -> Unverified {
    let signatures = signatures.iter().map(|s| Bytes::from((*s).to_owned())).collect();
    Unverified { body: Bytes::copy_from_slice(body), signatures }
}

fn sign(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    format!("sha1={}", hex::encode(mac.finalize().into_bytes()))
}

fn sample(path: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/samples/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Signs, verifies and parses.
fn deliver(body: &[u8]) -> Result<Notification, Unusable> {
    let signature = sign(body);
    unverified(body, &[&signature]).verify(&secret()).unwrap().parse(RECEIVED)
}

fn notification(path: &str) -> Notification {
    deliver(&sample(path)).unwrap()
}

fn snapshots(path: &str) -> Vec<Snapshot> {
    match notification(path).content {
        Content::Snapshots(snapshots) => snapshots,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn the_known_signature_is_accepted() {
    assert!(unverified(BODY, &[SIGNATURE]).verify(&secret()).is_ok());
    let upper = format!("sha1={}", SIGNATURE[5..].to_uppercase());
    assert!(unverified(BODY, &[&upper]).verify(&secret()).is_ok());
}

#[test]
fn every_other_signature_is_rejected() {
    use SignatureRejected::{Malformed, Mismatch, Missing, Several};
    fn case(signatures: &[&str], expected: SignatureRejected) {
        let result = unverified(BODY, signatures).verify(&secret());
        assert_eq!(result.unwrap_err(), expected, "{signatures:?}");
    }
    case(&[], Missing);
    case(&[SIGNATURE, SIGNATURE], Several);
    case(&[""], Malformed);
    case(&["sha1="], Malformed);
    case(&[&SIGNATURE[5..]], Malformed);
    case(&[&SIGNATURE[..44]], Malformed);
    case(&[&format!("{SIGNATURE}0")], Malformed);
    case(&[&format!(" {SIGNATURE}")], Malformed);
    case(&[&format!("{SIGNATURE},{SIGNATURE}")], Malformed);
    case(&[&SIGNATURE.replace("sha1", "sha256")], Malformed);
    case(&[&SIGNATURE.replace("sha1", "SHA1")], Malformed);
    case(&[&SIGNATURE.replace('8', "g")], Malformed);
    case(&["sha1=0000000000000000000000000000000000000000"], Mismatch);
}

#[test]
fn one_flipped_bit_of_body_or_signature_is_noticed() {
    for index in 0..BODY.len() * 8 {
        let mut body = BODY.to_vec();
        body[index / 8] ^= 1 << (index % 8);
        let result = unverified(&body, &[SIGNATURE]).verify(&secret());
        assert_eq!(result.unwrap_err(), SignatureRejected::Mismatch, "bit {index}");
    }
    let digest = hex::decode(&SIGNATURE[5..]).unwrap();
    for index in 0..160 {
        let mut digest = digest.clone();
        digest[index / 8] ^= 1 << (index % 8);
        let signature = format!("sha1={}", hex::encode(digest));
        assert!(unverified(BODY, &[&signature]).verify(&secret()).is_err(), "bit {index}");
    }
}

#[test]
fn another_secret_or_none_verifies_nothing() {
    let other = SecretString::from("other");
    assert!(unverified(BODY, &[SIGNATURE]).verify(&other).is_err());
    let signature = {
        let mut mac = Hmac::<Sha1>::new_from_slice(b"").unwrap();
        mac.update(BODY);
        format!("sha1={}", hex::encode(mac.finalize().into_bytes()))
    };
    assert!(unverified(BODY, &[&signature]).verify(&SecretString::from("")).is_err());
}

#[rstest]
#[case("recorded/contact_user_created.json", Topic::ContactCreated, 1)]
#[case("recorded/contact_lead_created.json", Topic::ContactCreated, 1)]
#[case("recorded/contact_user_updated.json", Topic::ContactUpdated, 1)]
#[case("recorded/conatct_email_updated.json", Topic::ContactEmailUpdated, 1)]
#[case("recorded/contact_user_tag_created.json", Topic::ContactTagCreated, 2)]
#[case("recorded/contact_user_tag_deleted.json", Topic::ContactTagDeleted, 2)]
#[case("recorded/contact_unsubscribed.json", Topic::ContactUnsubscribed, 1)]
#[case("recorded/contacts_merged.json", Topic::ContactMerged, 1)]
#[case("intercom/webhook_contact_user_created.json", Topic::ContactCreated, 1)]
#[case("intercom/webhook_contact_user_updated.json", Topic::ContactUpdated, 1)]
#[case("intercom/webhook_contact_lead_tag_created.json", Topic::ContactTagCreated, 2)]
#[case("intercom/webhook_contact_unsubscribed.json", Topic::ContactUnsubscribed, 1)]
#[case("intercom/webhook_contact_merged.json", Topic::ContactMerged, 2)]
fn contact_topics_bring_whole_contacts(
    #[case] path: &str,
    #[case] topic: Topic,
    #[case] count: usize,
) {
    let notification = notification(path);
    assert_eq!(notification.topic, topic);
    assert_eq!(notification.id.as_deref(), Some(notification.dedupe_key.as_str()));
    let snapshots = snapshots(path);
    assert_eq!(snapshots.len(), count);
    let contact = &snapshots[0];
    assert_eq!(contact.liveness, Liveness::Live);
    assert_eq!(contact.version.source, Source::Notification);
    assert_eq!(contact.body["updated_at"], contact.version.at.seconds());
    assert!(!contact.is_partial);
}

#[rstest]
#[case("recorded/contact_archived.json", Liveness::Archived, 1_768_019_637)]
#[case("recorded/contact_deleted.json", Liveness::Deleted, 1_768_019_869)]
fn what_is_gone_leaves_a_tombstone_at_the_time_of_the_envelope(
    #[case] path: &str,
    #[case] liveness: Liveness,
    #[case] at: i64,
) {
    let snapshots = snapshots(path);
    assert_eq!(snapshots.len(), 1);
    assert_eq!((&snapshots[0].liveness, snapshots[0].version.at.seconds()), (&liveness, at));
    assert_eq!(snapshots[0].body, json!({}));
}

#[rstest]
#[case("recorded/company_contact_attached.json", &["contact:6961d16233c3182340e21352", "company:6961d1755afe318f13a47939"])]
#[case("recorded/company_updated.json", &["company:6961d1755afe318f13a47939"])]
#[case("recorded/conversation_admin_closed.json", &["conversation:21387140526"])]
#[case("recorded/conversation_admin_snoozed.json", &["conversation:21394602851"])]
#[case("recorded/conversation_contact_attached.json", &["conversation:215839047716258", "contact:6961cf7818a696d0c3c2ee71"])]
#[case("recorded/conversation_user_created.json", &["conversation:21386951743"])]
#[case("recorded/event_created.json", &["event:29c69129-8f2e-11e3-b703-e5d169961160"])]
#[case("intercom/webhook_conversation_admin_closed.json", &["conversation:215472621202693"])]
#[case("intercom/webhook_conversation_deleted.json", &["conversation:215472621202693"])]
#[case("intercom/webhook_conversation_rating_added.json", &["conversation:215472621202693"])]
fn every_topic_is_about_its_own_objects(#[case] path: &str, #[case] keys: &[&str]) {
    let found: Vec<String> = snapshots(path).iter().map(|one| one.key.to_string()).collect();
    assert_eq!(found, keys);
}

#[test]
fn a_deleted_conversation_leaves_a_tombstone_although_its_id_has_another_name() {
    let snapshots = snapshots("intercom/webhook_conversation_deleted.json");
    assert_eq!((&snapshots[0].liveness, &snapshots[0].body), (&Liveness::Deleted, &json!({})));
}

#[test]
fn who_takes_part_has_to_be_read() {
    let snapshots = snapshots("recorded/conversation_contact_attached.json");
    assert!(snapshots[0].is_hint && snapshots[0].body == json!({}));
    assert!(!snapshots[1].is_hint && !snapshots[1].is_partial);
}

#[test]
fn what_old_apps_send_of_a_conversation_leaves_the_rest_unknown() {
    let snapshots = snapshots("recorded/conversation_admin_closed.json");
    assert!(snapshots[0].is_partial);
    assert_eq!(snapshots[0].version.at.seconds(), 1_553_291_389);
    assert!(snapshots[0].course.iter().any(|one| one.kind == TransitionKind::Closed));
}

#[test]
fn an_opt_out_of_sms_is_true_whatever_the_contact_says() {
    let item = json!({"type": "contact", "id": "c1", "unsubscribed_from_sms": false});
    let said = trusted("contact.unsubscribed_from_sms", &item, RECEIVED).unwrap();
    let Content::Snapshots(snapshots) = said.content else { panic!() };
    assert_eq!(snapshots[0].body["unsubscribed_from_sms"], true);
}

#[test]
fn what_is_not_used_is_ignored_and_never_an_error() {
    for topic in
        ["ticket.closed", "call.ended", "content_stat.news_item", "admin.added_to_workspace"]
    {
        let said = trusted(topic, &json!({"type": "ticket", "id": "1"}), RECEIVED).unwrap();
        assert!(matches!(said.content, Content::Ignored { .. }), "{topic}");
    }
}

#[rstest]
#[case(json!(null))]
#[case(json!(""))]
#[case(json!("soon"))]
#[case(json!({}))]
#[case(json!(true))]
fn an_event_without_a_time_has_that_of_its_notification(#[case] time: Value) {
    let item =
        json!({"type": "event", "event_name": "ordered", "user_id": "u", "created_at": time});
    let told = trusted("event.created", &item, RECEIVED).unwrap();
    let Content::Snapshots(snapshots) = told.content else { panic!("{:?}", told.content) };
    assert_eq!(snapshots[0].body["created_at"], told.created_at.seconds());
}

#[test]
fn other_objects_without_an_id_are_unusable_and_say_so() {
    fn case(topic: &str, item: &Value, reason: &str) {
        let error = trusted(topic, item, RECEIVED).unwrap_err();
        assert_eq!(error.reason, reason, "{topic}");
    }
    case(
        "conversation.admin.closed",
        &json!({"type": "conversation"}),
        "its conversation has no usable id",
    );
    case(
        "conversation.contact.attached",
        &json!({"conversation": {}}),
        "its conversation has no usable id",
    );
    case("conversation.deleted", &json!({}), "its conversation has no usable id");
    case("company.updated", &json!({"type": "company"}), "its company has no usable id");
    case("company.deleted", &json!({"type": "company"}), "its company has no usable id");
    case("company.contact.attached", &json!({}), "it names neither a company nor a contact");
    case("event.created", &json!({"type": "event", "id": "1"}), "its event has no name");
    case("visitor.signed_up", &json!({"type": "user"}), "its visitor has no usable id");
}

#[rstest]
#[case("recorded/ping.json")]
#[case("intercom/webhook_ping.json")]
fn a_ping_has_a_key_without_an_id(#[case] path: &str) {
    let ping = notification(path);
    assert_eq!((&ping.content, &ping.id), (&Content::Ping, &None));
    assert!(ping.dedupe_key.starts_with("ping//1"), "{}", ping.dedupe_key);
}

#[test]
fn a_tag_notification_tells_the_name_of_the_tag() {
    let snapshots = snapshots("recorded/contact_user_tag_created.json");
    assert_eq!(snapshots[1].key.to_string(), "tag:12871563");
    assert_eq!(snapshots[1].body, json!({"id": "12871563", "name": "Feature Request"}));
    assert_eq!(snapshots[0].body["tags"]["ids"], json!(["12871563", "12948207"]));
}

#[test]
fn a_company_that_comes_without_its_tags_keeps_those_that_are_known() {
    let item = json!({"type": "company", "id": "c1", "name": "Acme", "plan": null, "custom_attributes": {}});
    let told = |item: &Value| {
        let body = json!({"type": "notification_event", "topic": "company.updated", "id": "n1",
            "created_at": 7, "data": {"item": item}});
        let Content::Snapshots(snapshots) = deliver(body.to_string().as_bytes()).unwrap().content
        else {
            panic!()
        };
        snapshots
    };
    assert!(told(&item)[0].is_partial && told(&item)[0].body.get("tags").is_none());
    let mut tagged = item;
    tagged["tag_ids"] = json!([]);
    assert!(!told(&tagged)[0].is_partial);
}

#[test]
fn an_opt_out_is_true_whatever_the_contact_says() {
    let text = String::from_utf8(sample("recorded/contact_unsubscribed.json")).unwrap();
    let text =
        text.replace(r#""unsubscribed_from_emails": true"#, r#""unsubscribed_from_emails": false"#);
    let Content::Snapshots(snapshots) = deliver(text.as_bytes()).unwrap().content else { panic!() };
    assert_eq!(snapshots[0].body["unsubscribed_from_emails"], true);
}

#[test]
fn a_merge_names_the_survivor() {
    let snapshots = snapshots("intercom/webhook_contact_merged.json");
    assert_eq!(snapshots[1].key.to_string(), "contact:6660d4f2a1b2c3d4e5f60718");
    assert_eq!(snapshots[1].liveness.to_string(), "merged:666a0000000000000000a001");
    assert!(snapshots[0].body.get("merged_from").is_none());
}

#[test]
fn a_deletion_that_says_archived_is_an_archival() {
    let body = json!({"type": "notification_event", "topic": "contact.deleted", "id": "n1", "created_at": 7,
        "data": {"item": {"type": "contact", "id": "c1", "archived": true}}});
    let Content::Snapshots(snapshots) = deliver(body.to_string().as_bytes()).unwrap().content
    else {
        panic!()
    };
    assert_eq!(snapshots[0].liveness, Liveness::Archived);
}

#[test]
fn an_archived_contact_comes_back_although_it_did_not_change() {
    let deliver = |topic: &str, at: i64, item: Value| {
        let body = json!({"type": "notification_event", "topic": topic, "id": topic,
            "created_at": at, "data": {"item": item}});
        let Content::Snapshots(mut all) = deliver(body.to_string().as_bytes()).unwrap().content
        else {
            panic!()
        };
        all.remove(0)
    };
    let gone = json!({"type": "contact", "id": "c1", "archived": true});
    let back =
        json!({"type": "contact", "id": "c1", "updated_at": "2026-01-10T04:39:55.465+00:00"});
    let stored = Record::from(deliver("contact.archived", 1_768_020_000, gone));
    let back = deliver("contact.unarchived", 1_768_030_000, back);
    assert_eq!(stored.compare(&back), Freshness::Newer);
    assert_eq!(back.body["updated_at"], 1_768_019_995);
}

#[test]
fn every_signature_header_counts() {
    let mut headers = HeaderMap::new();
    headers.append("X-Hub-Signature", SIGNATURE.parse().unwrap());
    let request = |headers: &HeaderMap| Unverified::from_request(headers, Bytes::from_static(BODY));
    assert!(request(&headers).verify(&secret()).is_ok());
    headers.append("x-hub-signature", SIGNATURE.parse().unwrap());
    let rejected = request(&headers).verify(&secret()).unwrap_err();
    assert_eq!(rejected, SignatureRejected::Several);
}

#[test]
fn a_second_delivery_without_an_id_has_the_same_key() {
    let delivery = |attempts: u32, name: &str| {
        let body = json!({"type": "notification_event", "topic": "contact.user.updated", "id": null,
            "created_at": 7, "delivery_attempts": attempts,
            "data": {"item": {"type": "contact", "id": "c1", "name": name}}});
        deliver(body.to_string().as_bytes()).unwrap().dedupe_key
    };
    assert_eq!(delivery(1, "Ann"), delivery(2, "Ann"));
    assert_ne!(delivery(1, "Ann"), delivery(1, "Ben"));
}

#[test]
fn what_cannot_be_used_says_why() {
    fn case(body: &str, reason: &str) {
        let error = deliver(body.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), format!("the notification cannot be used: {reason}"));
    }
    fn item(item: &str) -> String {
        format!(
            r#"{{"type":"notification_event","topic":"contact.user.updated","data":{{"item":{item}}}}}"#
        )
    }
    case("", "it is not JSON: EOF while parsing a value at line 1 column 0");
    case("[]", "its type is not `notification_event`");
    case(r#"{"topic":"ping"}"#, "its type is not `notification_event`");
    case(r#"{"type":"notification_event"}"#, "it has no topic");
    case(&item("null"), "its contact has no usable id");
    case(&item(r#"{"type":"contact"}"#), "its contact has no usable id");
    case(&item(r#"{"type":"contact","id":"a b"}"#), "its contact has no usable id");
    case(&item(r#"{"type":"conversation","id":"1"}"#), "its item is not a contact");
    case(&item(r#"{"type":"contact_tag","tag":{"id":"1"}}"#), "its item is not a contact");
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    let error = deliver(deep.as_bytes()).unwrap_err();
    assert!(error.reason.contains("recursion limit exceeded"), "{error}");
}

#[test]
fn a_notification_may_be_handed_in_as_data_or_item() {
    let mut envelope: Value =
        serde_json::from_slice(&sample("recorded/contact_user_updated.json")).unwrap();
    let data = envelope["data"].take();
    let one = trusted("contact.updated", &data, RECEIVED).unwrap();
    let other = trusted("contact.updated", &data["item"], RECEIVED.plus(60)).unwrap();
    assert_eq!(one.dedupe_key, other.dedupe_key);
    let Content::Snapshots(snapshots) = one.content else { panic!() };
    assert_eq!(snapshots, self::snapshots("recorded/contact_user_updated.json"));
    assert!(trusted("contact.updated", &json!({"type": "contact"}), RECEIVED).is_err());
    let few = json!({"type": "contact", "id": "c1", "email": "ann@example.com"});
    let Content::Snapshots(few) = trusted("user.created", &few, RECEIVED).unwrap().content else {
        panic!()
    };
    assert!(few[0].is_partial);
}

#[test]
fn an_archival_handed_in_later_again_is_another() {
    let item = json!({"type": "contact", "id": "c1", "archived": true});
    let key = |at| trusted("contact.archived", &item, at).unwrap().dedupe_key;
    assert_eq!(key(RECEIVED), key(RECEIVED));
    assert_ne!(key(RECEIVED), key(RECEIVED.plus(60)));
}

#[test]
fn nothing_personal_is_in_the_debug_text() {
    let body = sample("recorded/contact_user_updated.json");
    let text = format!(
        "{:?} {:?}",
        unverified(&body, &[]),
        notification("recorded/contact_user_updated.json")
    );
    assert!(!text.contains("example.com") && !text.contains("Dara"), "{text}");
}
