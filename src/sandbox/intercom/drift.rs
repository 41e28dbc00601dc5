//! Changes while somebody pages through a list, which stateless cursors miss.

use std::sync::Arc;

use serde_json::{Map, json};

use super::routes::Call;
use super::state::State;
use super::write::Way;

/// Moves the last object of the list that was just read to its front, if drift was asked for.
pub(super) fn drift(state: &mut State, call: &Call<'_>) {
    if state.drifting_pages == 0 {
        return;
    }
    match (call.method, call.path) {
        ("GET", "/contacts") | ("POST", "/contacts/search") => {
            let last = state.contacts.newest_first().last().map(|last| Arc::clone(&last.id));
            let Some(last) = last else { return };
            state.drifting_pages -= 1;
            let patch = json!({"last_contacted_at": call.now.seconds()});
            // The contact was found a moment ago, so this cannot be refused.
            drop(state.update(&last, &patch, Way::Inside, call.now));
        }
        ("GET", "/conversations") | ("POST", "/conversations/search") => {
            let last = state.conversations.newest_first().last().map(|last| Arc::clone(&last.id));
            let Some(last) = last else { return };
            state.drifting_pages -= 1;
            drop(state.set_conversation(&last, Some(true), None, &Map::new(), call.now));
        }
        _ => {}
    }
}
