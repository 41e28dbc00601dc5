//! Lists, the folders they lie in, and who is on them.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::call::CallKind;
use super::client::{BrevoClient, read};
use super::error::BrevoError;
use super::wire::{Folder, FoldersAnswer, IdAnswer, List, ListCallAnswer, ListsAnswer};
use crate::http::Lane;
use crate::model::{Email, ListId};

/// The most contacts that one call can add to a list or remove from it.
pub const MAX_LIST_MEMBERS: usize = 150;

/// The most lists or folders that a page holds.
const PAGE: usize = 50;

/// A contact, as a list call names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Member {
    /// By number.
    Id(i64),
    /// By address.
    Email(Email),
}

/// What a list call did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListOutcome {
    /// Who was added or removed.
    pub success: BTreeSet<Member>,
    /// Who was on the list (or off it) already, or does not exist: Brevo does not say which.
    pub failure: BTreeSet<Member>,
}

impl BrevoClient {
    /// All lists of the account.
    pub async fn lists(&self, lane: Lane) -> Result<Vec<List>, BrevoError> {
        let mut lists = Vec::new();
        loop {
            let call = self.call(CallKind::Lists, "/contacts/lists")?;
            let call = call.query("limit", PAGE).query("offset", lists.len()).query("sort", "asc");
            let page: ListsAnswer = read(CallKind::Lists, &self.send(lane, call).await?)?;
            let is_last = page.lists.len() < PAGE;
            lists.extend(page.lists);
            if is_last {
                return Ok(lists);
            }
        }
    }

    /// Makes a list. Not repeated where it may exist already: look for it by its name first.
    pub async fn create_list(
        &self,
        lane: Lane,
        name: &str,
        folder: i64,
    ) -> Result<ListId, BrevoError> {
        let body = json!({ "name": name, "folderId": folder });
        let call = self.call(CallKind::CreateList, "/contacts/lists")?.json(&body)?;
        let IdAnswer { id } = read(CallKind::CreateList, &self.send(lane, call).await?)?;
        Ok(ListId(id))
    }

    /// All folders of the account.
    pub async fn folders(&self, lane: Lane) -> Result<Vec<Folder>, BrevoError> {
        let mut folders = Vec::new();
        loop {
            let call = self.call(CallKind::Folders, "/contacts/folders")?;
            let call =
                call.query("limit", PAGE).query("offset", folders.len()).query("sort", "asc");
            let page: FoldersAnswer = read(CallKind::Folders, &self.send(lane, call).await?)?;
            let is_last = page.folders.len() < PAGE;
            folders.extend(page.folders);
            if is_last {
                return Ok(folders);
            }
        }
    }

    /// Makes a folder and gives its number.
    pub async fn create_folder(&self, lane: Lane, name: &str) -> Result<i64, BrevoError> {
        let body = json!({ "name": name });
        let call = self.call(CallKind::CreateFolder, "/contacts/folders")?.json(&body)?;
        let IdAnswer { id } = read(CallKind::CreateFolder, &self.send(lane, call).await?)?;
        Ok(id)
    }

    /// Puts contacts that exist on a list: at most 150, all by number or all by address.
    ///
    /// # Errors
    ///
    /// [`BrevoError::NotFound`] if there is no such list.
    pub async fn add_to_list(
        &self,
        lane: Lane,
        list: ListId,
        members: &[Member],
    ) -> Result<ListOutcome, BrevoError> {
        self.list_call(lane, CallKind::AddToList, list, members).await
    }

    /// Takes contacts off a list: at most 150, all by number or all by address.
    ///
    /// # Errors
    ///
    /// [`BrevoError::NotFound`] if there is no such list.
    pub async fn remove_from_list(
        &self,
        lane: Lane,
        list: ListId,
        members: &[Member],
    ) -> Result<ListOutcome, BrevoError> {
        self.list_call(lane, CallKind::RemoveFromList, list, members).await
    }

    async fn list_call(
        &self,
        lane: Lane,
        kind: CallKind,
        list: ListId,
        members: &[Member],
    ) -> Result<ListOutcome, BrevoError> {
        if members.is_empty() {
            return Ok(ListOutcome::default());
        }
        let path = kind.route().replace("{id}", &list.to_string());
        let call = self.call(kind, &path)?.json(&list_body(members)?)?;
        let asked: BTreeSet<Member> = members.iter().cloned().collect();
        let success: BTreeSet<Member> = match self.send(lane, call).await {
            Ok(answer) => match read(kind, &answer)? {
                ListCallAnswer::Wrapped { contacts: result } | ListCallAnswer::Bare(result) => {
                    result.success.iter().filter_map(member).collect()
                }
            },
            Err(error) if is_nobody(&error) => BTreeSet::new(),
            Err(error) => return Err(error),
        };
        let (success, failure) = asked.into_iter().partition(|member| success.contains(member));
        Ok(ListOutcome { success, failure })
    }
}

/// `{"ids": [...]}` or `{"emails": [...]}`.
fn list_body(members: &[Member]) -> Result<Value, BrevoError> {
    let all_ids = members.iter().all(|member| matches!(member, Member::Id(_)));
    let all_emails = members.iter().all(|member| matches!(member, Member::Email(_)));
    if members.len() > MAX_LIST_MEMBERS || !(all_ids || all_emails) {
        let text = "a list call takes at most 150 contacts, all by number or all by address";
        return Err(BrevoError::Unusable(text.into()));
    }
    Ok(if all_ids { json!({ "ids": members }) } else { json!({ "emails": members }) })
}

fn member(value: &Value) -> Option<Member> {
    match value {
        Value::String(text) => text.parse().ok().map(Member::Email),
        other => other.as_i64().map(Member::Id),
    }
}

/// True of the 400 by which Brevo says that not one of the contacts had to be moved: "Contact
/// already in list and/or does not exist" (facts: Brevo section 1).
fn is_nobody(error: &BrevoError) -> bool {
    let BrevoError::Invalid { status: 400, code, message } = error else {
        return false;
    };
    code == "invalid_parameter" && message.contains("and/or does not exist")
}
