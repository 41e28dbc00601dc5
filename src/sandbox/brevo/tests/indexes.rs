//! Identifiers and members agree with the contacts, whatever is written.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::model::{ManualClock, Timestamp};
use crate::sandbox::brevo::Quirks;
use crate::sandbox::brevo::contact::{ContactBody, Identifier};
use crate::sandbox::brevo::list::Membership;
use crate::sandbox::brevo::state::Account;
use crate::sandbox::brevo::write::Actor;

#[derive(Debug, Clone)]
enum Step {
    Write(usize, Value),
    Update(i64, Value),
    Members(i64, Membership, i64),
    Delete(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let email = (0..6_usize).prop_map(|n| format!("p{n}@example.com"));
    let phone =
        (0..4_u32).prop_map(|n| if n == 0 { String::new() } else { format!("6680000000{n}") });
    let body = (email, phone, prop::collection::vec(35..38_i64, 0..3)).prop_map(
        |(email, phone, lists)| {
            json!({
                "attributes": {"EMAIL": email, "SMS": phone, "EXT_ID": phone},
                "listIds": lists, "unlinkListIds": [36],
            })
        },
    );
    let step = prop_oneof![
        (0..6_usize, body.clone()).prop_map(|(n, body)| Step::Write(n, body)),
        (1..8_i64, body).prop_map(|(id, body)| Step::Update(id, body)),
        (35..38_i64, any::<bool>(), 1..8_i64).prop_map(|(list, is_add, id)| {
            let membership = if is_add { Membership::Add } else { Membership::Remove };
            Step::Members(list, membership, id)
        }),
        (1..8_i64).prop_map(Step::Delete),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn identifiers_and_members_agree_with_the_contacts(steps in steps()) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_790_000_000)));
        let mut account = Account::new(clock, Quirks::default());
        let read = |body: Value| serde_json::from_value::<ContactBody>(body).unwrap();
        for step in steps {
            match step {
                Step::Write(n, mut body) => {
                    body["email"] = json!(format!("p{n}@example.com"));
                    body["updateEnabled"] = json!(true);
                    let _ = account.create_or_update(&read(body), Actor::Foreign);
                }
                Step::Update(id, body) if account.get(id).is_some() => {
                    let _ = account.update(id, &read(body), Actor::Foreign);
                }
                Step::Update(..) => {}
                Step::Members(list, membership, id) => {
                    let body = serde_json::from_value(json!({"ids": [id]})).unwrap();
                    let _ = account.change_members(list, membership, &body, Actor::Foreign);
                }
                Step::Delete(id) => {
                    account.delete(id);
                }
            }
            for contact in account.contacts() {
                for identifier in Identifier::ALL {
                    if let Some(value) = contact.identifier(identifier) {
                        prop_assert_eq!(account.find(identifier, value), Some(contact.id));
                    }
                }
            }
            let named: usize = account
                .contacts()
                .map(|contact| Identifier::ALL.iter().filter_map(|key| contact.identifier(*key)).count())
                .sum();
            prop_assert_eq!(named, account.owned_identifiers());
            for (id, list) in &account.lists.lists {
                let on_list = account.contacts().filter(|contact| contact.lists.contains(id));
                let members: BTreeSet<i64> = on_list.map(|contact| contact.id).collect();
                prop_assert_eq!(&members, &list.members);
            }
        }
    }
}
