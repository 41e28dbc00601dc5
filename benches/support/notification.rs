//! Notifications of distinct contacts.

use serde_json::{Value, json};

const RECORDED: &str = include_str!("../../tests/samples/recorded/contact_user_updated.json");

/// A recorded notification with fifteen custom attributes, about 3 KB, of contact `number`.
pub(crate) fn body(number: usize) -> String {
    let mut body: Value = serde_json::from_str(RECORDED).unwrap();
    body["id"] = json!(format!("notif_{number:08}-3dfd-47a9-a715-be6cf19a2732"));
    let item = &mut body["data"]["item"];
    item["id"] = json!(format!("6961d43b{number:016x}"));
    item["external_id"] = json!(format!("{number}"));
    item["email"] = json!(format!("customer.{number}@example.com"));
    item["phone"] = json!(format!("+668{:08}", number % 100_000_000));
    item["custom_attributes"] = custom_attributes(number);
    body.to_string()
}

fn custom_attributes(number: usize) -> Value {
    json!({
        "plan_tier": "enterprise", "seats": number % 500, "is_trial": number.is_multiple_of(2),
        "health_score": 71.5, "region": "south-east", "account_manager": "Rosa Kestrel",
        "renewal_at": 1_798_761_600, "utm_first": "newsletter-2026-01", "industry": "Manufacturing",
        "onboarding_step": 4, "nps": 9, "contract_value": 12_400.5, "timezone": "Asia/Bangkok",
        "referrer_code": "PARTNER-0042", "beta_features": false,
    })
}
