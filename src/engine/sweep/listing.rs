//! Contacts and conversations: read by cursor, newest first.
//!
//! A cursor holds no state at Intercom's side, so what is updated while the list is read moves to its
//! front and is missed where the reading was on its way to it. So a list of several pages is looked
//! at again, from the front to where the first pass began; if something is still missing, as a whole.

use super::bound::{Bound, times};
use super::{EngineError, Sweep};
use crate::http::Lane;
use crate::intercom::{Cursor, IntercomError, Page};
use crate::store::{Resource, SyncKind};

/// How often what moved is looked for, while that finds something.
const LOOKS: u32 = 3;
/// The pass that reads the whole list again.
const AGAIN: u32 = LOOKS + 1;

impl Sweep<'_> {
    /// Reads a list to its end, or to its bound.
    pub(super) async fn listed(&mut self, resource: Resource) -> Result<(), EngineError> {
        loop {
            let pass = self.progress(resource).pass;
            let (seen, pages) = self.figures(resource);
            let began_at_front = self.progress(resource).cursor.is_none();
            self.pass(resource).await?;
            let progress = self.progress(resource);
            if progress.partial {
                return Ok(());
            }
            let was_one_page = pass == 0 && began_at_front && progress.pages == pages + 1;
            let is_complete = progress.is_complete();
            if is_complete && (pass > 0 || was_one_page) || pass >= AGAIN {
                break;
            }
            let found_more = progress.seen > seen;
            progress.pass = if pass == 0 || pass < LOOKS && found_more { pass + 1 } else { AGAIN };
            progress.cursor = None;
            self.engine.store.put_sync(self.sync.clone()).await?;
        }
        self.look_for_missing(resource).await
    }

    fn figures(&mut self, resource: Resource) -> (u64, u64) {
        let progress = self.progress(resource);
        (progress.seen, progress.pages)
    }

    /// Reads the pages of one pass, from where it stands.
    async fn pass(&mut self, resource: Resource) -> Result<(), EngineError> {
        let mut cursor = self.progress(resource).cursor.as_deref().and_then(Cursor::from_text);
        loop {
            self.go_on()?;
            let page = match self.page(resource, cursor.as_ref()).await {
                // A cursor of an earlier process may be one that Intercom no longer takes.
                Err(IntercomError::Invalid { .. }) if cursor.is_some() => {
                    cursor = None;
                    self.page(resource, None).await?
                }
                page => page?,
            };
            let is_first = cursor.is_none();
            cursor = self.take_page(resource, page, is_first).await?;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    async fn page(
        &mut self,
        resource: Resource,
        cursor: Option<&Cursor>,
    ) -> Result<Page, IntercomError> {
        let since = self.progress(resource).since;
        // A list is read from its newest end on, too, and is not what lags behind.
        let searched = since.filter(|_| self.sync.kind == SyncKind::Incremental);
        let (intercom, lane) = (&self.intercom, Lane::Bulk);
        match (resource, searched) {
            (Resource::Conversations, Some(since)) => {
                intercom.conversations_search_page(lane, since, cursor).await
            }
            (Resource::Conversations, None) => intercom.conversations_page(lane, cursor).await,
            (_, Some(since)) => intercom.updated_contacts_page(lane, since, cursor).await,
            (_, None) => intercom.contacts_page(lane, cursor).await,
        }
    }

    /// Stores what a page holds of what is asked for; answers where to go on, if there is more.
    async fn take_page(
        &mut self,
        resource: Resource,
        page: Page,
        is_first: bool,
    ) -> Result<Option<Cursor>, EngineError> {
        let Page { snapshots, next, total, unusable } = page;
        if unusable > 0 {
            let resource = resource.as_str();
            tracing::warn!(resource, unusable, "objects without a usable id were left out");
        }
        let progress = self.progress(resource);
        if is_first && progress.pass == 0 {
            // By Intercom's own clock: what moves while the list is read gets a later time.
            let newest = times(&snapshots).max();
            progress.pass_began = progress.pass_began.min(newest).or(progress.pass_began);
        }
        let bound = match progress.pass {
            0 | AGAIN => Bound::since(progress.since),
            _ => Bound::since(progress.pass_began),
        };
        progress.pages += 1;
        if !progress.partial {
            progress.expected = total.or(progress.expected);
        }
        let next = next.filter(|_| !bound.is_passed_by(times(&snapshots)));
        progress.cursor = next.as_ref().map(|cursor| cursor.as_str().to_owned());
        let wanted: Vec<_> =
            snapshots.into_iter().filter(|snapshot| bound.includes(snapshot.version.at)).collect();
        self.store_page(resource, wanted).await?;
        Ok(next)
    }
}
