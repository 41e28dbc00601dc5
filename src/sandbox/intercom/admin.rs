//! The people who work in the workspace, and Fin.

use serde_json::{Value, json};

use super::conversation_change::FIN_ID;
use super::routes::ADMIN_ID;

/// The team that admins are in.
pub(super) const TEAM_ID: i64 = 5_017_691;

/// True for an id of one of them.
pub(super) fn is_admin(id: &str) -> bool {
    id == ADMIN_ID || id == FIN_ID
}

/// As `GET /admins` shows them.
pub(super) fn admins() -> Value {
    let all: Vec<Value> = [ADMIN_ID, FIN_ID].into_iter().filter_map(admin).collect();
    json!({"type": "admin.list", "admins": all})
}

/// As `GET /admins/{id}` shows one.
pub(super) fn admin(id: &str) -> Option<Value> {
    let (name, email) = match id {
        ADMIN_ID => ("Sandbox Admin", "admin@example.com"),
        FIN_ID => ("Fin", "operator@example.com"),
        _ => return None,
    };
    Some(json!({
        "type": "admin", "id": id, "name": name, "email": email,
        "away_mode_enabled": false, "away_mode_reassign": false, "has_inbox_seat": true,
        "team_ids": if id == ADMIN_ID { vec![TEAM_ID] } else { vec![] },
    }))
}

/// As `GET /teams/{id}` shows the one team.
pub(super) fn team() -> Value {
    json!({
        "type": "team", "id": TEAM_ID.to_string(), "name": "Support",
        "admin_ids": [ADMIN_ID.parse::<i64>().unwrap_or_default()],
    })
}

/// As `GET /teams` shows all.
pub(super) fn teams() -> Value {
    json!({"type": "team.list", "teams": [team()]})
}
