//! Companies: scrolled, or listed by page while they cannot be.
//!
//! Nothing lists the companies that changed, so every sweep reads all of them; what is stored
//! already costs nothing more.

use std::time::Duration;

use super::bound::Bound;
use super::{EngineError, Sweep};
use crate::http::Lane;
use crate::intercom::IntercomError;
use crate::model::Snapshot;
use crate::store::Resource;

/// How often companies are read from the start before the sweep is incomplete: Intercom loses a
/// scroll's place, and they change meanwhile.
const ATTEMPTS: u32 = 3;
/// Up to how many companies Intercom lists by page (facts: Intercom section 5).
const LISTED: u64 = 10_000;
/// How long, and how often, a scroll that cannot start is waited for where there is no other way.
const WAIT: Duration = Duration::from_secs(20);
const WAITS: u32 = 15;

impl Sweep<'_> {
    /// Reads all companies. Only one scroll runs in a workspace, and one starts in a minute; meanwhile
    /// they are listed by page, which Intercom allows up to 10,000.
    pub(super) async fn companies(&mut self) -> Result<(), EngineError> {
        let mut waits = 0;
        let mut attempt = 1;
        loop {
            let first = self.intercom.companies_list_page(Lane::Bulk, 1).await?;
            let total = first.total.unwrap_or(0);
            let progress = self.progress(Resource::Companies);
            if !progress.partial {
                progress.expected = first.total;
            }
            let read = match self.scroll().await {
                Err(EngineError::Intercom(error)) if may_be_listed(&error) && total <= LISTED => {
                    self.list_companies().await
                }
                Err(EngineError::Intercom(error)) if error.is_scroll_busy() && waits < WAITS => {
                    waits += 1;
                    self.engine.wait(WAIT).await?;
                    continue;
                }
                read => read,
            };
            let is_complete = self.progress(Resource::Companies).is_complete();
            match read {
                Err(EngineError::Intercom(error)) if is_lost(&error) && attempt < ATTEMPTS => {}
                Ok(()) if !is_complete && attempt < ATTEMPTS => {}
                Ok(()) => break,
                Err(error) => return Err(error),
            }
            attempt += 1;
        }
        self.look_for_missing(Resource::Companies).await
    }

    async fn scroll(&mut self) -> Result<(), EngineError> {
        let mut scroll = None;
        loop {
            self.go_on()?;
            let page = self.intercom.companies_scroll(Lane::Bulk, scroll.as_deref()).await?;
            self.take_companies(page.snapshots).await?;
            match page.next {
                Some(next) => scroll = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn list_companies(&mut self) -> Result<(), EngineError> {
        let mut number = 1;
        loop {
            self.go_on()?;
            let page = self.intercom.companies_list_page(Lane::Bulk, number).await?;
            let progress = self.progress(Resource::Companies);
            if !progress.partial {
                progress.expected = page.total.or(progress.expected);
            }
            self.take_companies(page.snapshots).await?;
            match page.next {
                Some(next) => number = next,
                None => return Ok(()),
            }
        }
    }

    async fn take_companies(&mut self, snapshots: Vec<Snapshot>) -> Result<(), EngineError> {
        let progress = self.progress(Resource::Companies);
        progress.pages += 1;
        let asked = progress.since.filter(|_| progress.partial);
        let bound = Bound::since(asked);
        let wanted =
            snapshots.into_iter().filter(|snapshot| bound.includes(snapshot.version.at)).collect();
        self.store_page(Resource::Companies, wanted).await
    }
}

/// True if a list by page may help: the scroll cannot start, or has lost its place.
fn may_be_listed(error: &IntercomError) -> bool {
    error.is_scroll_busy() || is_lost(error)
}

/// True if the scroll has lost its place and has to begin again.
fn is_lost(error: &IntercomError) -> bool {
    matches!(error, IntercomError::ScrollExpired) || error.is_service_down()
}
