//! One shape: reads and notifications of the same state are equal.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn sample(path: &str) -> Value {
    let path = format!("{}/tests/samples/{path}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn item(path: &str) -> Value {
    sample(path)["data"]["item"].take()
}

/// The item as `GET /contacts/{id}` answers it in 2.11: epoch seconds, and without what is newer.
fn as_read(mut item: Value) -> Value {
    let fields = item.as_object_mut().unwrap();
    for (field, value) in fields.iter_mut() {
        if field.ends_with("_at") && !value.is_null() {
            *value = json!(Timestamp::parse(value).unwrap());
        }
    }
    fields.remove("enabled_push_messaging");
    item
}

#[test]
fn a_read_and_a_notification_of_one_state_are_equal() {
    let item = item("recorded/contact_user_updated.json");
    let body = contact(&item);
    assert_eq!(body, contact(&as_read(item)));
    assert_eq!(body["updated_at"], 1_768_019_995);
    assert_eq!(body["last_seen_at"], Value::Null);
    let companies = json!({"ids": ["6961d37ab00412d26eb84281"], "has_more": false, "total": 1});
    assert_eq!(body["companies"], companies);
    assert_eq!(body["location"]["country"], Value::Null);
    assert_eq!(body["social_profiles"], json!([]));
    assert!(body.get("notes").is_none() && body.get("type").is_none());
}

#[test]
fn a_contact_nested_in_another_topic_is_equal_too() {
    let mut nested = item("recorded/company_contact_attached.json")["contact"].take();
    nested["formatted_phone"] = json!("+66812345678");
    let body = contact(&nested);
    nested.as_object_mut().unwrap().remove("formatted_phone");
    assert_eq!(body, contact(&nested));
    assert_eq!(contact_completeness(&nested), Completeness::Full);
}

#[test]
fn api_versions_are_evened_out() {
    let old = sample("intercom/contact_user_full.json");
    let mut new = old.clone();
    new["owner_id"] = json!("5812345");
    new["enabled_push_messaging"] = json!(true);
    new["email_domain"] = json!("example.com");
    new["merge_history"] = json!([]);
    new["something_unset"] = Value::Null;
    assert_eq!(contact(&old), contact(&new));
    assert_eq!(contact(&old)["owner_id"], "5812345");
    new["something_new"] = json!({"kept": [1]});
    assert_eq!(contact(&new)["something_new"], json!({"kept": [1]}));
}

#[test]
fn custom_attributes_are_left_as_they_are() {
    let item = sample("intercom/contact_user_full.json");
    assert_eq!(contact(&item)["custom_attributes"], item["custom_attributes"]);
    let dates = json!({"joined_at": "2026-01-10T00:00:00Z", "order": {"type": "order.list"}});
    let body = contact(&json!({"id": "c1", "custom_attributes": dates}));
    assert_eq!(body["custom_attributes"], dates);
}

#[test]
fn empty_identifiers_are_unset() {
    let mut item = item("recorded/contact_user_updated.json");
    item["phone"] = json!("");
    item["name"] = json!("");
    item["email"] = json!("");
    let body = contact(&item);
    assert_eq!([&body["phone"], &body["name"], &body["email"]], [&Value::Null; 3]);
}

#[test]
fn every_form_of_time_becomes_seconds() {
    fn case(value: Value, expected: Value) {
        let body = contact(&json!({"id": "c1", "last_seen_at": value}));
        assert_eq!(body["last_seen_at"], expected, "{value}");
    }
    case(json!("2026-01-10T04:39:55.465+00:00"), json!(1_768_019_995));
    case(json!("2026-01-10T04:39:55.000Z"), json!(1_768_019_995));
    case(json!(1_768_019_995.9), json!(1_768_019_995));
    case(json!(2_738_966_400_u64), json!(2_738_966_400_u64));
    case(json!(""), json!(null));
    case(json!(null), json!(null));
    let unknown = contact(&json!({"id": "c1", "laughs_at": "everything"}));
    assert_eq!(unknown["laughs_at"], "everything");
}

#[test]
fn truncated_lists_say_so() {
    let body = contact(&sample("intercom/contact_truncated_sublists.json"));
    let (tags, truncated) = contact_tag_ids(&body);
    assert_eq!((tags.len(), truncated), (10, Truncated::Yes));
    assert_eq!(body["tags"]["total"], 14);
    let (companies, truncated) = contact_company_ids(&body);
    assert_eq!((companies.len(), truncated), (10, Truncated::Yes));
    let whole = contact(&item("recorded/contact_user_updated.json"));
    assert_eq!(contact_tag_ids(&whole), (vec![], Truncated::No));
    // Ten of ten, without the flag.
    let silent = json!({"id": "c1", "tags": {"data": [{"id": "1"}], "total_count": 2}});
    assert_eq!(contact_tag_ids(&contact(&silent)).1, Truncated::Yes);
}

#[test]
fn a_contact_with_few_fields_leaves_the_others_unknown() {
    let item = json!({"type": "contact", "id": "c1", "email": "ann@example.com"});
    assert_eq!(contact_completeness(&item), Completeness::Partial);
    assert_eq!(contact(&item), json!({"id": "c1", "email": "ann@example.com"}));
}

#[test]
fn a_company_read_equals_the_company_notified() {
    let notified = item("recorded/company_updated.json");
    let read = json!({
        "type": "company",
        "id": "6961d1755afe318f13a47939",
        "company_id": "6961d1755afe318f13a4793a-qualification-company",
        "app_id": "qrt582mnw",
        "name": "Borealis Holdings",
        "created_at": 1_768_018_294,
        "updated_at": 1_768_018_294,
        "monthly_spend": 0,
        "session_count": 0,
        "user_count": 1,
        "plan": {},
        "tags": {"type": "tag.list", "tags": []},
        "segments": {"type": "segment.list", "segments": []},
        "custom_attributes": {},
    });
    let full = Completeness::Full;
    assert_eq!(company(&notified, full), company(&read, full));
}

#[test]
fn plans_have_one_form() {
    fn case(plan: Value, expected: Value) {
        let body = company(&json!({"id": "x", "plan": plan}), Completeness::Full);
        assert_eq!(body["plan"], expected);
    }
    case(
        json!({"type": "plan", "id": 269_315, "name": "Pro"}),
        json!({"id": "269315", "name": "Pro"}),
    );
    case(json!("Pro"), json!({"id": null, "name": "Pro"}));
    case(json!({}), json!(null));
    case(json!({"type": "plan", "id": null, "name": null}), json!(null));
    case(json!(null), json!(null));
}

#[test]
fn a_partial_company_lacks_what_is_unknown() {
    let item = item("recorded/company_contact_attached.json")["company"].take();
    let body = company(&item, Completeness::Partial);
    for unknown in ["plan", "plan_id", "size", "website", "industry"] {
        assert!(body.get(unknown).is_none(), "{unknown}");
    }
    for unknown in ["name", "tags", "session_count"] {
        assert!(body.get(unknown).is_none(), "{unknown}");
    }
    assert_eq!(body["updated_at"], 1_768_018_294);
}

#[test]
fn a_company_keeps_the_ids_of_its_tags() {
    let body = company(&sample("intercom/company_full.json"), Completeness::Full);
    assert_eq!(body["tags"], json!({"ids": ["9100001"], "has_more": false, "total": 1}));
    assert_eq!(body["plan"], json!({"id": "269315", "name": "Pro"}));
    let minimal = company(&sample("intercom/company_minimal.json"), Completeness::Full);
    assert_eq!((&minimal["name"], &minimal["plan"]), (&Value::Null, &Value::Null));
}

#[rstest]
#[case(json!({"tags": {"type": "tag.list", "tags": [{"id": "7", "name": "VIP"}, {"id": 12}]}}))]
#[case(json!({"tags": [{"id": 12}, {"id": 7}]}))]
#[case(json!({"tag_ids": ["12", "7"]}))]
#[case(json!({"tag_ids": [7, 12], "tags": null}))]
fn a_company_has_the_same_tags_whichever_way_it_comes(#[case] item: Value) {
    let body = company(&item, Completeness::Full);
    let ids: Vec<String> = company_tag_ids(&body).iter().map(ToString::to_string).collect();
    assert_eq!(ids, ["7", "12"]);
    assert!(body.get("tag_ids").is_none());
}

#[test]
fn a_tag_is_its_id_and_name() {
    let item = json!({"type": "tag", "id": 91, "name": "VIP ⭐", "applied_at": 5});
    assert_eq!(tag(&item), json!({"id": "91", "name": "VIP ⭐"}));
}

/// Any JSON, not only what Intercom sends.
fn any_json() -> impl Strategy<Value = Value> {
    let fields = || {
        prop_oneof![
            proptest::sample::select(CONTACT_FIELDS).prop_map(str::to_owned),
            proptest::sample::select(CONTACT_CORE).prop_map(str::to_owned),
            proptest::sample::select(NOISE).prop_map(str::to_owned),
            "[a-z_]{0,8}(_at)?",
        ]
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(fields(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_has_a_normal_form(item in any_json()) {
        let body = contact(&item);
        let _ = (contact_tag_ids(&body), contact_company_ids(&body), tag(&item), id_of(&item));
        prop_assert!(body.is_object());
        prop_assert!(company(&item, Completeness::Full).is_object());
    }

    #[test]
    fn the_order_in_which_tags_are_listed_does_not_matter(ids in prop::collection::vec(0_u32..2000, 0..12), seed in 0_usize..12) {
        let list = |ids: &[u32]| json!({"data": ids.iter().map(|id| json!({"id": id.to_string(), "type": "tag"})).collect::<Vec<_>>()});
        let mut turned = ids.clone();
        turned.rotate_left(seed % ids.len().max(1));
        let (one, other) = (contact(&json!({"tags": list(&ids)})), contact(&json!({"tags": list(&turned)})));
        prop_assert_eq!(&one, &other);
        let (sorted, _) = contact_tag_ids(&one);
        let numbers: Vec<u32> = sorted.iter().map(|id| id.as_str().parse().unwrap()).collect();
        prop_assert!(numbers.is_sorted());
    }
}
