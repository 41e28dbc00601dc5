//! The segments of the workspace: two that come with it, of which every contact is in one.

use serde_json::{Value, json};

use super::contact::Contact;
use super::state::State;

/// Id, name, and whether it holds leads.
const SEGMENTS: [(&str, &str, bool); 2] = [
    ("5f1c0a9e3b7d0012ab34c001", "All users", false),
    ("5f1c0a9e3b7d0012ab34c002", "All leads", true),
];

/// When both were made.
const MADE_AT: i64 = 1_600_000_000;

/// The segment that a contact is in.
pub(super) fn segment_of(contact: &Contact) -> &'static str {
    let [(users, ..), (leads, ..)] = SEGMENTS;
    if contact.is_lead() { leads } else { users }
}

/// One segment; with how many are in it if asked for.
pub(super) fn segment(state: &State, id: &str, counts: bool) -> Option<Value> {
    let (id, name, is_leads) = SEGMENTS.into_iter().find(|(known, ..)| *known == id)?;
    let mut segment = json!({
        "type": "segment", "id": id, "name": name, "created_at": MADE_AT, "updated_at": MADE_AT,
        "person_type": if is_leads { "contact" } else { "user" },
    });
    if let (true, Some(segment)) = (counts, segment.as_object_mut()) {
        let members = state.contacts.newest_first().filter(|c| c.is_lead() == is_leads);
        segment.insert("count".to_owned(), json!(members.count()));
    }
    Some(segment)
}

/// As `GET /segments` shows them.
pub(super) fn segments(state: &State, counts: bool) -> Value {
    let all = SEGMENTS.into_iter().filter_map(|(id, ..)| segment(state, id, counts));
    json!({"type": "segment.list", "segments": all.collect::<Vec<Value>>()})
}
