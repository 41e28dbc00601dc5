//! What a full sweep did not see: looked for one by one, and gone if nobody finds it twice.

use serde_json::json;

use super::{EngineError, Sweep};
use crate::http::Lane;
use crate::intercom::IntercomError;
use crate::model::{Email, Liveness, RecordId, RecordKey, RecordKind, Snapshot, Source, Timestamp};
use crate::store::{Missing, Resource, Store, StoreError, SyncKind};

/// How many of the missing one sweep asks for; the rest waits for the next one.
const MOST: usize = 5_000;
/// How many the store is asked for at a time.
const CHUNK: usize = 500;

/// What a read of something missing came to.
enum Found {
    /// It is there; the sweep missed it.
    There(Box<Snapshot>),
    /// Intercom does not have it.
    Gone { into: Option<RecordId> },
}

impl Sweep<'_> {
    /// Asks for every stored object that this full sweep should have seen and did not. One that is
    /// there counts as seen. One that is not is remembered as missed and, if an earlier complete sweep
    /// missed it as well, ends here. An incomplete sweep proves nothing of what it did not see.
    pub(super) async fn look_for_missing(&mut self, resource: Resource) -> Result<(), EngineError> {
        let (kind, progress) = (resource.proves(), self.progress(resource));
        let Some(began) = progress.started_at.filter(|_| !progress.partial) else {
            return Ok(());
        };
        let Some(kind) = kind.filter(|_| self.sync.kind == SyncKind::Full) else {
            return Ok(());
        };
        let mut missing = self.missing(kind, began).await?;
        // Those that were missed before come first, so that none waits for ever.
        missing.sort_by_key(|missing| !missing.was_missed);
        let mut gone = Vec::new();
        for missing in missing.into_iter().take(MOST) {
            self.go_on()?;
            match self.look_for(RecordKey { kind, id: missing.id.clone() }).await? {
                Found::There(snapshot) => self.store_page(resource, vec![*snapshot]).await?,
                Found::Gone { into } => gone.push((missing, into)),
            }
        }
        if gone.is_empty() || !self.progress(resource).is_complete() {
            return Ok(());
        }
        self.end_records(resource, kind, gone).await
    }

    async fn missing(
        &self,
        kind: RecordKind,
        before: Timestamp,
    ) -> Result<Vec<Missing>, StoreError> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|missing: &Missing| missing.id.clone());
            let store = &self.engine.store;
            let page = store.unseen(self.sync.id.clone(), kind, before, after, CHUNK).await?;
            let is_last = page.len() < CHUNK;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    async fn look_for(&self, key: RecordKey) -> Result<Found, EngineError> {
        let read = match key.kind {
            RecordKind::Company => self.intercom.company(Lane::Bulk, &key.id).await,
            RecordKind::Conversation => self.intercom.conversation(Lane::Bulk, &key.id).await,
            _ => self.intercom.contact(Lane::Bulk, &key.id).await,
        };
        match read {
            Ok(snapshot) => Ok(Found::There(Box::new(snapshot))),
            Err(IntercomError::NotFound { merged_into }) => Ok(Found::Gone { into: merged_into }),
            Err(error) => Err(error.into()),
        }
    }

    /// Remembers what is missing for the first time, and ends what was missing before.
    async fn end_records(
        &mut self,
        resource: Resource,
        kind: RecordKind,
        gone: Vec<(Missing, Option<RecordId>)>,
    ) -> Result<(), EngineError> {
        let missed = gone.iter().map(|(missing, _)| missing.id.clone()).collect();
        let mut ended = Vec::new();
        for (missing, into) in gone.into_iter().filter(|(missing, _)| missing.was_missed) {
            let key = RecordKey { kind, id: missing.id };
            let liveness = match into {
                Some(into) => Liveness::Merged { into: Some(into) },
                None => match self.survivor(&key).await? {
                    Some(into) => Liveness::Merged { into: Some(into) },
                    None => Liveness::Deleted,
                },
            };
            let now = self.engine.clock.now();
            let source = Source::Read { began: now };
            ended.push(Snapshot::new(key, liveness, json!({}), source, now, now));
        }
        if !ended.is_empty() {
            let (kind, ended) = (kind.as_str(), ended.len());
            tracing::info!(
                kind,
                ended,
                "two full sweeps and a read did not find them: they are gone"
            );
        }
        for chunk in ended.chunks(CHUNK) {
            self.store_page(resource, chunk.to_vec()).await?;
        }
        self.engine.store.put_missed(self.sync.id.clone(), kind, missed).await?;
        Ok(())
    }

    /// The live contact that took the place of one that is gone: before API 2.16 nothing says that a
    /// contact was merged, but the survivor has its address or its own id at the customer.
    async fn survivor(&self, key: &RecordKey) -> Result<Option<RecordId>, EngineError> {
        let store = self.engine.store.as_ref();
        if key.kind != RecordKind::Contact {
            return Ok(None);
        }
        let Some(record) = store.record(key.clone()).await? else {
            return Ok(None);
        };
        let by_address = match record.email() {
            Some(email) => live_at(store, email, &key.id).await?,
            None => None,
        };
        if by_address.is_some() {
            return Ok(by_address);
        }
        let own = |name: &str| record.body.get(name).and_then(|value| value.as_str());
        // The id of a lead is one that Intercom made up, which nobody takes over.
        let Some(external_id) = own("external_id").filter(|_| own("role") != Some("lead")) else {
            return Ok(None);
        };
        let found = self.intercom.contacts_with_external_id(Lane::Bulk, external_id).await?;
        Ok(found.into_iter().map(|found| found.key.id).find(|id| *id != key.id))
    }
}

/// A live contact with an address, other than this one.
async fn live_at(
    store: &dyn Store,
    email: Email,
    but: &RecordId,
) -> Result<Option<RecordId>, StoreError> {
    for id in store.contacts_at(email).await? {
        let record = store.record(RecordKey::contact(id.clone())).await?;
        if id != *but && record.is_some_and(|record| record.liveness.is_live()) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}
