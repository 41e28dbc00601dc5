//! Lists and folders, and who is on them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::contact::{Identifier, iso};
use super::reply::Refusal;
use super::state::Account;
use super::write::Actor;

/// At most these contacts in one call (facts: Brevo section 5).
const MAX_MEMBERS_PER_CALL: usize = 150;

/// The one folder of a new account.
pub(super) const FIRST_FOLDER: i64 = 1;

/// A list.
#[derive(Debug, Clone)]
pub(super) struct List {
    pub(super) name: String,
    folder: i64,
    created_at: i64,
    pub(super) members: BTreeSet<i64>,
}

/// All lists and folders.
#[derive(Debug)]
pub(super) struct Lists {
    pub(super) lists: BTreeMap<i64, List>,
    folders: BTreeMap<i64, String>,
}

/// The body of `POST /contacts/lists`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListBody {
    #[serde(alias = "listName")]
    pub(super) name: String,
    pub(super) folder_id: i64,
}

/// The body of `…/contacts/add` and `…/contacts/remove`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MembersBody {
    emails: Option<Vec<String>>,
    ids: Option<Vec<i64>>,
    ext_ids: Option<Vec<String>>,
    pub(super) all: bool,
}

/// Whether members come or go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Membership {
    Add,
    Remove,
}

impl Lists {
    /// The lists that a new account of the sandbox has, in its one folder.
    pub(super) fn new(now: i64) -> Self {
        let mut lists = Self {
            lists: BTreeMap::new(),
            folders: BTreeMap::from([(FIRST_FOLDER, "Your first folder".to_owned())]),
        };
        for (id, name) in [(35, "all users"), (36, "active conversations"), (37, "leads")] {
            lists.put(id, name, FIRST_FOLDER, now);
        }
        lists
    }

    /// Makes a list with the next number.
    pub(super) fn create(&mut self, body: &ListBody, now: i64) -> Result<i64, Refusal> {
        if body.name.trim().is_empty() {
            return Err(Refusal::missing("name is missing"));
        }
        if !self.folders.contains_key(&body.folder_id) {
            return Err(Refusal::not_found("Folder ID does not exist"));
        }
        let id = self.next_list();
        self.put(id, &body.name, body.folder_id, now);
        Ok(id)
    }

    /// The number that the next list gets.
    pub(super) fn next_list(&self) -> i64 {
        next_id(&self.lists)
    }

    /// Makes or renames the list of this number.
    pub(super) fn put(&mut self, id: i64, name: &str, folder: i64, now: i64) {
        let list = self.lists.entry(id).or_insert_with(|| List {
            name: String::new(),
            folder,
            created_at: now,
            members: BTreeSet::new(),
        });
        name.clone_into(&mut list.name);
    }

    pub(super) fn create_folder(&mut self, name: &str) -> Result<i64, Refusal> {
        if name.trim().is_empty() {
            return Err(Refusal::missing("name is missing"));
        }
        let id = next_id(&self.folders);
        self.folders.insert(id, name.to_owned());
        Ok(id)
    }

    pub(super) fn get(&self, id: i64) -> Result<&List, Refusal> {
        self.lists.get(&id).ok_or_else(|| Refusal::not_found("List ID does not exist"))
    }

    /// Refuses a write that names a list that does not exist.
    pub(super) fn check_exist(&self, ids: &[i64]) -> Result<(), Refusal> {
        match ids.iter().find(|id| !self.lists.contains_key(id)) {
            Some(_) => Err(Refusal::invalid("One or more list ids do not exist")),
            None => Ok(()),
        }
    }

    pub(super) fn folders(&self) -> impl DoubleEndedIterator<Item = Value> {
        let counts = |id: i64| {
            let inside = self.lists.values().filter(move |list| list.folder == id);
            inside.flat_map(|list| &list.members).collect::<BTreeSet<_>>().len()
        };
        self.folders.iter().map(move |(id, name)| {
            json!({
                "id": id, "name": name, "uniqueSubscribers": counts(*id),
                "totalSubscribers": 0, "totalBlacklisted": 0,
            })
        })
    }

    pub(super) fn folder_count(&self) -> usize {
        self.folders.len()
    }
}

impl List {
    /// As in a page of lists. The two totals are being dropped and are 0 (facts: Brevo section 5).
    pub(super) fn to_json(&self, id: i64) -> Value {
        json!({
            "id": id, "name": self.name, "folderId": self.folder,
            "uniqueSubscribers": self.members.len(), "totalSubscribers": 0, "totalBlacklisted": 0,
        })
    }

    /// As `GET /contacts/lists/{id}` answers it.
    pub(super) fn to_full_json(&self, id: i64) -> Value {
        let mut body = self.to_json(id);
        if let Some(fields) = body.as_object_mut() {
            fields.insert("createdAt".to_owned(), json!(iso(self.created_at)));
            fields.insert("dynamicList".to_owned(), json!(false));
        }
        body
    }
}

impl Account {
    /// `POST /contacts/lists/{id}/contacts/add` and `/remove`: who was not there, or already on or
    /// off the list, is a failure; a call in which nobody moved is refused (facts: Brevo section 1).
    pub(super) fn change_members(
        &mut self,
        list: i64,
        membership: Membership,
        body: &MembersBody,
        actor: Actor<'_>,
    ) -> Result<Value, Refusal> {
        self.lists.get(list)?;
        let (mut success, mut failure) = (Vec::new(), Vec::new());
        for (given, id) in self.named_members(body)? {
            let has_moved = id.is_some_and(|id| match membership {
                Membership::Add => self.join(id, list, actor),
                Membership::Remove => self.leave(id, list),
            });
            if has_moved { success.push(given) } else { failure.push(given) }
        }
        if success.is_empty() {
            let message = match membership {
                Membership::Add => "Contact already in list and/or does not exist",
                Membership::Remove => "Contact already removed from list and/or does not exist",
            };
            return Err(Refusal::invalid(message));
        }
        Ok(json!({"contacts": {"success": success, "failure": failure}}))
    }

    /// `{"all": true}`: everybody leaves. How many they were.
    pub(super) fn clear_list(&mut self, list: i64) -> Result<usize, Refusal> {
        let members = self.lists.get(list)?.members.clone();
        Ok(members.iter().filter(|id| self.leave(**id, list)).count())
    }

    /// What the body names, each with the contact that it means.
    fn named_members(&self, body: &MembersBody) -> Result<Vec<(Value, Option<i64>)>, Refusal> {
        let find = |identifier: Identifier, text: &str| {
            let key =
                if identifier == Identifier::Email { text.to_lowercase() } else { text.into() };
            self.find(identifier, key.trim())
        };
        let named: Vec<(Value, Option<i64>)> = match (&body.emails, &body.ids, &body.ext_ids) {
            (Some(emails), None, None) => {
                emails.iter().map(|text| (json!(text), find(Identifier::Email, text))).collect()
            }
            (None, Some(ids), None) => {
                ids.iter().map(|id| (json!(id), self.get(*id).map(|contact| contact.id))).collect()
            }
            (None, None, Some(ext_ids)) => {
                ext_ids.iter().map(|text| (json!(text), find(Identifier::ExtId, text))).collect()
            }
            _ => return Err(Refusal::invalid("Pass either emails or ids or extIds")),
        };
        if (1..=MAX_MEMBERS_PER_CALL).contains(&named.len()) {
            return Ok(named);
        }
        Err(Refusal::invalid(format!("Pass 1 to {MAX_MEMBERS_PER_CALL} contacts in one request")))
    }
}

fn next_id<T>(map: &BTreeMap<i64, T>) -> i64 {
    map.last_key_value().map_or(1, |(id, _)| id + 1)
}
