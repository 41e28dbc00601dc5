//! Custom events are listed for each contact: once when it is first known, then whenever it was seen
//! again. Notifications hurry ahead of that, and are lost now and then.
//!
//! There is no list of all events. Intercom shows those of a contact's last 90 days, and says how often
//! a contact ever did what; both are asked for the first time, later only what is new.

use futures_util::{StreamExt, stream};

use super::{EngineError, Sweep};
use crate::http::Lane;
use crate::intercom::{EventTotal, IntercomClient, IntercomError};
use crate::model::{RecordId, Snapshot, Timestamp};
use crate::store::{EventCount, EventReading, Resource, Store};

/// Contacts that are looked at before the sweep's position moves.
const CONTACTS: usize = 200;
/// Contacts whose events are read at a time.
const AT_A_TIME: usize = 8;
/// Intercom lists no older events.
const LISTED_SECONDS: i64 = 90 * 86_400;

/// What Intercom says of a contact's events.
struct Listed {
    reading: EventReading,
    /// By pages.
    pages: Vec<Vec<Snapshot>>,
    totals: Vec<EventCount>,
    /// When `totals` were asked for.
    as_of: Timestamp,
}

impl Sweep<'_> {
    /// Lists the events of the contacts that were seen since theirs were listed. The position, a
    /// contact's id, moves once what precedes it is durable; a contact that is listed twice costs a
    /// call and nothing else.
    pub(super) async fn events(&mut self) -> Result<(), EngineError> {
        let since = self.sync.since;
        let mut after: Option<RecordId> =
            self.progress(Resource::Events).cursor.as_deref().and_then(|text| text.parse().ok());
        loop {
            self.go_on()?;
            let batch = self.engine.store.event_readings(after, CONTACTS).await?;
            let Some(last) = batch.last else {
                return Ok(());
            };
            let wanted: Vec<EventReading> = batch
                .wanted
                .into_iter()
                .filter(|reading| since.is_none_or(|since| reading.seen_at >= since))
                .collect();
            self.list(wanted).await?;
            self.progress(Resource::Events).cursor = Some(last.to_string());
            self.store_page(Resource::Events, Vec::new()).await?;
            after = Some(last);
        }
    }

    async fn list(&mut self, wanted: Vec<EventReading>) -> Result<(), EngineError> {
        let (store, clock) = (&self.engine.store, &self.engine.clock);
        let intercom = self.intercom.clone();
        let mut listed = stream::iter(wanted.into_iter().map(|reading| {
            let (intercom, as_of) = (intercom.clone(), clock.now());
            async move { read(store.as_ref(), &intercom, reading, as_of).await }
        }))
        .buffer_unordered(AT_A_TIME);
        while let Some(found) = listed.next().await {
            self.go_on()?;
            let Some(Listed { reading, pages, totals, as_of }) = found? else {
                continue;
            };
            for page in pages {
                self.progress(Resource::Events).pages += 1;
                self.store_page(Resource::Events, page).await?;
            }
            store.put_event_reading(&self.sync, reading, totals, as_of).await?;
            self.engine.bulk_work.notify_one();
        }
        Ok(())
    }
}

/// Reads what Intercom says of a contact's events; none: the contact is gone.
async fn read(
    store: &dyn Store,
    intercom: &IntercomClient,
    reading: EventReading,
    as_of: Timestamp,
) -> Result<Option<Listed>, EngineError> {
    match list(store, intercom, reading, as_of).await {
        Err(EngineError::Intercom(IntercomError::NotFound { .. })) => Ok(None),
        listed => listed.map(Some),
    }
}

async fn list(
    store: &dyn Store,
    intercom: &IntercomClient,
    reading: EventReading,
    as_of: Timestamp,
) -> Result<Listed, EngineError> {
    let contact = &reading.contact;
    let mut totals = Vec::new();
    if !reading.was_read {
        // Most contacts never did anything: one call tells.
        let told = intercom.event_totals(Lane::Bulk, contact).await?;
        let says = told.is_some();
        totals = told.into_iter().flatten().filter_map(total).collect();
        let oldest = as_of.plus(-LISTED_SECONDS);
        if says && totals.iter().all(|total| total.last < oldest) {
            return Ok(Listed { reading, pages: Vec::new(), totals, as_of });
        }
    }
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let page = intercom.events_page(Lane::Bulk, contact, cursor.as_ref()).await?;
        if page.unusable > 0 {
            tracing::warn!(unusable = page.unusable, "events without a name were left out");
        }
        // If all of a page was told before, so was what is older.
        let is_known = reading.was_read && store.are_events_counted(page.snapshots.clone()).await?;
        pages.push(page.snapshots);
        cursor = page.next.filter(|_| !is_known);
        if cursor.is_none() {
            return Ok(Listed { reading, pages, totals, as_of });
        }
    }
}

fn total(total: EventTotal) -> Option<EventCount> {
    let EventTotal { name, count, first, last } = total;
    let (first, last) = (first.or(last)?, last.or(first)?);
    Some(EventCount { name, count, first, last })
}
