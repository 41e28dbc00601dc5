//! Reads, lists and notifications of one conversation are equal, in every version.

use proptest::prelude::*;

use super::*;
use crate::model::Timestamp;

const FULL: Completeness = Completeness::Full;

fn sample(path: &str) -> Value {
    let path = format!("{}/tests/samples/{path}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn item(path: &str) -> Value {
    sample(path)["data"]["item"].take()
}

fn full() -> Value {
    sample("intercom/conversation_closed_rated_fin.json")
}

/// The item as a notification has it: ISO times in the statistics, and the last part alone.
fn as_notified(mut item: Value) -> Value {
    let statistics = item["statistics"].as_object_mut().unwrap();
    for (field, value) in statistics {
        if field.ends_with("_at") {
            let at = Timestamp::parse(value).unwrap();
            *value = json!(at.to_string().replace('Z', ".000Z"));
        }
    }
    let parts = item["conversation_parts"]["conversation_parts"].as_array_mut().unwrap();
    *parts = parts.split_off(parts.len() - 1);
    item["conversation_parts"]["total_count"] = json!(1);
    item
}

#[test]
fn a_read_a_list_item_and_a_notification_of_one_state_are_equal() {
    let read = conversation(&full(), FULL);
    let mut listed = full();
    listed.as_object_mut().unwrap().remove("conversation_parts");
    assert_eq!(read, conversation(&listed, FULL));
    assert_eq!(read, conversation(&as_notified(full()), FULL));
    assert_eq!(read["statistics"]["last_close_at"], 1_718_188_800);
    assert_eq!(read["tags"], json!([{"id": "9100007", "name": "Billing"}]));
    assert_eq!(read["contacts"], json!([{"id": "665f1c0a9e3b7d0012ab34c1"}]));
    assert_eq!(read["teammates"], json!(["5812345"]));
    assert_eq!(read["topics"], json!([{"id": "839", "name": "Pricing"}]));
    assert_eq!(read["ai_agent"]["resolution_state"], "routed_to_team");
    assert_eq!(read["ai_agent"]["content_sources"][0]["title"], "Changing your plan");
    assert_eq!(read["source"]["type"], "conversation");
    assert_eq!(read["custom_attributes"], full()["custom_attributes"]);
    let ids: Vec<_> = conversation_contact_ids(&read).iter().map(ToString::to_string).collect();
    assert_eq!(ids, ["665f1c0a9e3b7d0012ab34c1"]);
}

#[test]
fn the_recorded_notifications_equal_the_read() {
    let notified = conversation(&item("intercom/webhook_conversation_rating_added.json"), FULL);
    assert_eq!(notified, conversation(&full(), FULL));
}

/// Each line changes the full conversation in a way in which deliveries differ, and nothing more.
#[test]
fn ways_in_which_deliveries_differ_do_not_show() {
    fn case(change: impl Fn(&mut Value)) {
        let mut item = full();
        change(&mut item);
        assert_eq!(conversation(&item, FULL), conversation(&full(), FULL));
    }
    case(|c| c["id"] = json!(215_472_621_202_693_i64));
    case(|c| c["admin_assignee_id"] = json!("5812345"));
    case(|c| c["created_at"] = json!("2024-06-12T08:13:20.000Z"));
    case(|c| c["links"] = json!({"conversation_web": "https://example.com"}));
    case(|c| {
        c["teammates"] =
            json!({"type": "admin.list", "teammates": [{"type": "admin", "id": "5812345"}]})
    });
    case(|c| c["contacts"]["contacts"][0]["external_id"] = Value::Null);
    case(|c| c["statistics"]["handling_time"] = Value::Null);
    case(|c| c["statistics"]["last_closed_by_id"] = json!(5_812_345));
    case(|c| c["conversation_rating"]["updated_at"] = Value::Null);
    case(|c| c["ai_agent"]["created_at"] = Value::Null);
    case(|c| c["company"] = Value::Null);
    case(|c| c["sales_agent"] = Value::Null);
    case(|c| c["topics"]["topics"][0]["id"] = json!("839"));
    case(|c| c["conversation_parts"] = json!({"conversation_parts": [], "total_count": 0}));
}

#[test]
fn what_is_unset_has_one_form() {
    fn case(field: &str, value: Value, expected: Value) {
        let body = conversation(&json!({"id": "1", field: value}), FULL);
        assert_eq!(body[field], expected, "{field}");
    }
    for empty in [json!(null), json!({}), json!({"type": "admin.list", "admins": []})] {
        case("teammates", empty, json!([]));
    }
    for empty in [json!(null), json!({}), json!({"type": "topic.list", "topics": []})] {
        case("topics", empty, json!([]));
    }
    let all_null = json!({"rating": null, "remark": null, "created_at": null,
        "contact": {"id": null}, "teammate": null});
    for empty in [json!(null), json!({}), all_null] {
        case("conversation_rating", empty, json!(null));
    }
    for empty in
        [json!(null), json!({}), json!({"type": "conversation_statistics", "last_close_at": null})]
    {
        case("statistics", empty, json!(null));
    }
    case("title", json!(""), json!(null));
    case("admin_assignee_id", json!(0), json!(null));
    case("source", json!(null), json!(null));
    case("ai_agent", json!(null), json!(null));
    case("waiting_since", json!(null), json!(null));
    case("ai_agent_participated", json!(null), json!(false));
    let sparse = conversation(&sample("intercom/conversation_open_sparse.json"), FULL);
    assert_eq!((&sparse["source"], &sparse["tags"]), (&json!(null), &json!([])));
}

/// Newer versions say more; what they say stays, in their own words.
#[test]
fn what_newer_versions_add_is_kept() {
    let mut item = full();
    item["ai_agent"]["resolution_state"] = json!("procedure_handoff");
    item["ai_agent"]["updated_at"] = json!("2024-06-12T10:40:00.000Z");
    item["conversation_rating"]["updated_at"] = json!(1_718_188_950);
    item["conversation_rating"]["teammate"] = json!({"type": "workflow", "id": 7});
    item["statistics"]["assigned_team_first_response_time"] = json!([{"team_id": 1}]);
    item["company"] = json!({"id": "6700"});
    item["channel"] = json!({"initial": "email", "current": "chat"});
    item["priority"] = json!("urgent");
    item["something_new"] = json!([1]);
    let body = conversation(&item, FULL);
    assert_eq!(body["ai_agent"]["resolution_state"], "procedure_handoff");
    assert_eq!(body["ai_agent"]["updated_at"], 1_718_188_800);
    assert_eq!(body["conversation_rating"]["updated_at"], 1_718_188_950);
    assert_eq!(body["conversation_rating"]["teammate"], json!({"type": "workflow", "id": "7"}));
    assert_eq!(body["statistics"]["assigned_team_first_response_time"], json!([{"team_id": 1}]));
    assert_eq!(body["company"]["id"], "6700");
    assert_eq!(body["channel"]["current"], "chat");
    assert_eq!(body["priority"], "urgent");
    assert_eq!(body["something_new"], json!([1]));
    item["priority"] = json!("none");
    assert_eq!(conversation(&item, FULL)["priority"], "not_priority");
}

#[test]
fn the_shape_of_2019_becomes_todays() {
    for (path, state) in [
        ("recorded/conversation_user_created.json", "open"),
        ("recorded/conversation_admin_closed.json", "closed"),
        ("recorded/conversation_admin_snoozed.json", "snoozed"),
    ] {
        let item = item(path);
        assert_eq!(conversation_completeness(&item), Completeness::Partial);
        let body = conversation(&item, Completeness::Partial);
        assert_eq!(body["state"], state);
        assert_eq!(body["contacts"], json!([{"id": "5c9553cb871bc34fe83253a5"}]));
        assert_eq!(body["source"]["author"]["id"], "5c9553cb871bc34fe83253a5");
        assert!(body["source"].get("type").is_none());
        assert_eq!(body["tags"], json!([]));
        for gone in ["user", "assignee", "conversation_message", "links", "tags_added", "type"] {
            assert!(body.get(gone).is_none(), "{gone}");
        }
        for unknown in ["statistics", "conversation_rating", "ai_agent"] {
            assert!(body.get(unknown).is_none(), "{unknown}");
        }
    }
    let closed =
        conversation(&item("recorded/conversation_admin_closed.json"), Completeness::Partial);
    assert_eq!(closed["admin_assignee_id"], 1_826_093);
    let created =
        conversation(&item("recorded/conversation_user_created.json"), Completeness::Partial);
    assert_eq!(created["admin_assignee_id"], Value::Null);
}

#[test]
fn the_normal_form_has_itself_as_its_normal_form() {
    for path in ["conversation_closed_rated_fin", "conversation_open_sparse"] {
        let body = conversation(&sample(&format!("intercom/{path}.json")), FULL);
        assert_eq!(conversation(&body, FULL), body);
        assert_eq!(conversation_completeness(&body), FULL);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let fields = prop_oneof![
        proptest::sample::select(FIELDS).prop_map(str::to_owned),
        proptest::sample::select(CORE).prop_map(str::to_owned),
        proptest::sample::select(NOISE).prop_map(str::to_owned),
        "[a-z_]{0,8}(_at)?",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(fields.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_has_a_normal_form_and_keeps_it(item in any_json()) {
        for completeness in [FULL, Completeness::Partial] {
            let body = conversation(&item, completeness);
            prop_assert_eq!(&conversation(&body, completeness), &body);
            let _ = conversation_contact_ids(&body);
        }
    }
}
