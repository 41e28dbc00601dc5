//! Opaque, stateless positions in a list.

use serde_json::{Value, json};

use super::refused::Refused;

/// The last item of a page: its sort value and id, and the number of the page that follows. It holds
/// no state, so what changes between two pages is seen twice or not at all, as with the real one
/// (facts: Intercom section 3.2).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cursor {
    pub(super) sort_value: Value,
    pub(super) id: String,
    pub(super) page: u64,
}

impl Cursor {
    pub(super) fn encode(&self) -> String {
        hex::encode(json!([self.sort_value, self.id, self.page]).to_string())
    }

    /// Reads `starting_after`. The real one answers an empty one with a 500.
    pub(super) fn decode(text: &str) -> Result<Self, Refused> {
        if text.is_empty() {
            return Err(Refused::new(500, "server_error", "An error occurred"));
        }
        parse(text).ok_or_else(|| Refused::invalid("starting_after is not a valid cursor"))
    }
}

fn parse(text: &str) -> Option<Cursor> {
    let bytes = hex::decode(text).ok()?;
    let (sort_value, id, page) = serde_json::from_slice(&bytes).ok()?;
    Some(Cursor { sort_value, id, page })
}

/// The `pages` object of a page; `next` is absent on the last one.
pub(super) fn pages(page: u64, per_page: usize, total: usize, next: Option<&Cursor>) -> Value {
    let total_pages = total.div_ceil(per_page.max(1));
    let mut pages = json!({
        "type": "pages", "page": page, "per_page": per_page, "total_pages": total_pages,
    });
    if let (Some(next), Some(pages)) = (next, pages.as_object_mut()) {
        let next = json!({"page": next.page, "starting_after": next.encode()});
        pages.insert("next".to_owned(), next);
    }
    pages
}
