//! What the Brevo account has: attributes and lists, kept for a while and made where they are
//! missing and the configuration allows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;
use moka::policy::EvictionPolicy;
use tokio::sync::Mutex;

use crate::brevo::{BrevoClient, BrevoError, Catalogue, ErrorKind, type_for_creation};
use crate::config::{Brevo, Config};
use crate::http::Lane;
use crate::model::{AttributeName, AttributeType, AttributeValue, ListId, ListRef};

/// How long the account's lists and attributes are believed.
const TTL: Duration = Duration::from_secs(600);
/// How long what the account lacks is not looked for again.
const ABSENCE_TTL: Duration = Duration::from_secs(60);
/// How many absent names are remembered.
const ABSENT: u64 = 10_000;
/// How many answers are kept: the newest one counts, and one that is still on its way.
const AGES: u64 = 2;
/// The folder that lists are made in.
const FOLDER: &str = "tajo";

/// The account's lists, by number and by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lists {
    by_id: BTreeMap<ListId, String>,
    by_name: BTreeMap<String, Vec<ListId>>,
}

/// Why a list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListProblem {
    #[error("the account has no list {0}: make it in Brevo, or name another in the rules")]
    NoSuchNumber(ListId),
    #[error(
        "the account has no list {id}, which `lists` in the configuration calls `{name}`: make it in Brevo, \
         or give the number of another"
    )]
    NoSuchConfigured { name: String, id: ListId },
    #[error(
        "there is no list `{0}`, neither under `lists` in the configuration nor in the account: make it in Brevo, \
         or set `connectors.brevo.create_lists: true`"
    )]
    NoSuchName(String),
    #[error(
        "the account has {count} lists named `{name}`: use the number of the one that is meant"
    )]
    Ambiguous { name: String, count: usize },
}

impl Lists {
    fn new(lists: Vec<crate::brevo::List>) -> Self {
        let mut found = Self::default();
        for list in lists {
            found.by_name.entry(list.name.clone()).or_default().push(list.id);
            found.by_id.insert(list.id, list.name);
        }
        found
    }

    fn first_named(&self, name: &str) -> Option<ListId> {
        self.by_name.get(name)?.first().copied()
    }

    /// The name of a list that neither the configuration nor the account has.
    fn unknown_name<'a>(&self, wanted: &'a ListRef, config: &Config) -> Option<&'a str> {
        match self.find(wanted, &config.intercom.lists) {
            Err(ListProblem::NoSuchName(_)) => match wanted {
                ListRef::Name(name) => Some(name),
                ListRef::Id(_) => None,
            },
            _ => None,
        }
    }

    /// The number of a list as a rule names it; `configured` are the names of the configuration.
    pub(crate) fn find(
        &self,
        wanted: &ListRef,
        configured: &BTreeMap<String, i64>,
    ) -> Result<ListId, ListProblem> {
        let id = match wanted {
            ListRef::Id(id) => ListId(*id),
            ListRef::Name(name) => {
                match (configured.get(name), self.by_name.get(name).map(Vec::as_slice)) {
                    (Some(id), _) => ListId(*id),
                    (None, Some([id])) => *id,
                    (None, Some([_, _, ..])) => {
                        let count = self.by_name.get(name).map_or(0, Vec::len);
                        return Err(ListProblem::Ambiguous { name: name.clone(), count });
                    }
                    (None, _) => return Err(ListProblem::NoSuchName(name.clone())),
                }
            }
        };
        if self.has(id) {
            return Ok(id);
        }
        // Scripts name configured lists by number, too.
        let name = configured.iter().find(|(_, number)| **number == id.0).map(|(name, _)| name);
        Err(match name {
            Some(name) => ListProblem::NoSuchConfigured { name: name.clone(), id },
            None => ListProblem::NoSuchNumber(id),
        })
    }

    /// True if the account has a list of this number.
    pub(crate) fn has(&self, id: ListId) -> bool {
        self.by_id.contains_key(&id)
    }
}

/// The account as it is known.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) lists: Arc<Lists>,
}

/// The account of one Brevo client.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    brevo: BrevoClient,
    /// By the age that they were asked for in.
    attributes: Cache<u64, Arc<Catalogue>>,
    lists: Cache<u64, Arc<Lists>>,
    /// Counts up when what is known is no longer true: an answer to a question of an earlier age may
    /// come late, and is not believed.
    age: Arc<AtomicU64>,
    /// What was looked for and was not there a moment ago.
    absent: Cache<String, ()>,
    /// Held while something is made, so that nothing is made twice.
    making: Arc<Mutex<()>>,
}

impl Account {
    pub(crate) fn new(brevo: BrevoClient) -> Self {
        let lru = EvictionPolicy::lru;
        let attributes = Cache::builder().max_capacity(AGES).eviction_policy(lru());
        let lists = Cache::builder().max_capacity(AGES).eviction_policy(lru());
        let absent = Cache::builder().max_capacity(ABSENT).time_to_live(ABSENCE_TTL).build();
        Self {
            brevo,
            attributes: attributes.time_to_live(TTL).build(),
            lists: lists.time_to_live(TTL).build(),
            age: Arc::default(),
            absent,
            making: Arc::default(),
        }
    }

    /// The account's lists and attributes, asked for at most once in ten minutes.
    pub(crate) async fn snapshot(&self, lane: Lane) -> Result<Snapshot, BrevoError> {
        let attributes = async {
            self.brevo.attributes(lane).await.map(|all| Arc::new(Catalogue::from_iter(all)))
        };
        let lists = async { self.brevo.lists(lane).await.map(|all| Arc::new(Lists::new(all))) };
        let age = self.age.load(Ordering::Acquire);
        let catalogue = self.attributes.try_get_with(age, attributes).await.map_err(unshared)?;
        let lists = self.lists.try_get_with(age, lists).await.map_err(unshared)?;
        Ok(Snapshot { catalogue, lists })
    }

    /// The account's attributes, likewise; none where the key may not see them.
    pub(crate) async fn catalogue(&self, lane: Lane) -> Result<Arc<Catalogue>, BrevoError> {
        let attributes = async {
            self.brevo.attributes(lane).await.map(|all| Arc::new(Catalogue::from_iter(all)))
        };
        let age = self.age.load(Ordering::Acquire);
        match self.attributes.try_get_with(age, attributes).await.map_err(unshared) {
            Err(error) if error.kind() == ErrorKind::Permanent => Ok(Arc::default()),
            found => found,
        }
    }

    /// Makes sure that the account has what decisions name, as far as the configuration allows, and
    /// answers the account as it is then.
    pub(crate) async fn ensure(
        &self,
        lane: Lane,
        config: &Config,
        wanted: &Wanted,
    ) -> Result<Snapshot, BrevoError> {
        let known = self.snapshot(lane).await?;
        if wanted.missing(&known, config).all(|name| self.absent.contains_key(&name)) {
            return Ok(known);
        }
        let _making = self.making.lock().await;
        // Somebody may have made it since.
        self.forget();
        let known = self.snapshot(lane).await?;
        if config.brevo.create_attributes {
            let made = self.create_attributes(lane, &config.brevo, &known, wanted).await;
            let made = made.and(self.create_options(lane, &known, wanted).await);
            // After a failure, too: some were made before it.
            self.forget();
            made?;
        }
        if config.brevo.create_lists {
            for name in
                wanted.lists.iter().filter_map(|list| known.lists.unknown_name(list, config))
            {
                match self.create_list(lane, name).await {
                    Ok(_) => {}
                    // It stays absent: who is to be put on it becomes a dead letter that says so.
                    Err(error) if error.kind() == ErrorKind::Permanent => {
                        tracing::warn!(list.name = name, "brevo does not make this list: {error}");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let known = self.snapshot(lane).await?;
        for name in wanted.missing(&known, config) {
            self.absent.insert(name, ()).await;
        }
        Ok(known)
    }

    /// The list that imports need, made if it is absent.
    pub(crate) async fn sync_list(&self, lane: Lane, name: &str) -> Result<ListId, BrevoError> {
        let known = self.snapshot(lane).await?;
        if let Some(id) = known.lists.first_named(name) {
            return Ok(id);
        }
        let _making = self.making.lock().await;
        self.forget();
        let known = self.snapshot(lane).await?;
        match known.lists.first_named(name) {
            Some(id) => Ok(id),
            None => self.create_list(lane, name).await,
        }
    }

    /// Forgets what is known, because Brevo answered otherwise.
    pub(crate) fn forget(&self) {
        self.age.fetch_add(1, Ordering::AcqRel);
    }

    /// Looks for everything anew, also for what was not there a moment ago: somebody may have made it.
    pub(crate) fn look_anew(&self) {
        self.absent.invalidate_all();
        self.forget();
    }

    async fn create_attributes(
        &self,
        lane: Lane,
        config: &Brevo,
        known: &Snapshot,
        wanted: &Wanted,
    ) -> Result<(), BrevoError> {
        let missing =
            wanted.attributes.iter().filter(|(name, _)| known.catalogue.find(name).is_none());
        for (name, values) in missing {
            let configured = config.attributes.get(name).copied();
            let kind = configured.unwrap_or_else(|| type_for_creation(values));
            let options = options(kind, values);
            match self.brevo.create_attribute(lane, name, kind, &options).await {
                Ok(()) => {}
                // It stays absent: its values are left out, and nobody else waits for it.
                Err(error) if error.kind() == ErrorKind::Permanent => {
                    tracing::warn!(attribute.name = %name, "brevo does not make this attribute: {error}");
                    continue;
                }
                Err(error) => return Err(error),
            }
            tracing::info!(attribute.name = %name, attribute.kind = %kind, "made an attribute in brevo");
        }
        Ok(())
    }

    /// Gives attributes the options that values need and they lack.
    async fn create_options(
        &self,
        lane: Lane,
        known: &Snapshot,
        wanted: &Wanted,
    ) -> Result<(), BrevoError> {
        for (name, values) in &wanted.attributes {
            let labels = known.catalogue.missing_options(name, values);
            let Some(attribute) = known.catalogue.find(name).filter(|_| !labels.is_empty()) else {
                continue;
            };
            match self.brevo.add_options(lane, attribute, &labels).await {
                Ok(()) => {}
                // They stay absent: values that need them are left out.
                Err(error) if error.kind() == ErrorKind::Permanent => {
                    tracing::warn!(attribute.name = %name, "brevo does not make options of this attribute: {error}");
                    continue;
                }
                Err(error) => return Err(error),
            }
            tracing::info!(attribute.name = %name, options = labels.len(), "made options of an attribute in brevo");
        }
        Ok(())
    }

    async fn create_list(&self, lane: Lane, name: &str) -> Result<ListId, BrevoError> {
        let folders = self.brevo.folders(lane).await?;
        let folder = match folders.iter().find(|folder| folder.name == FOLDER) {
            Some(folder) => folder.id,
            None => self.brevo.create_folder(lane, FOLDER).await?,
        };
        let id = self.brevo.create_list(lane, name, folder).await?;
        tracing::info!(list.id = %id, list.name = name, "made a list in brevo");
        self.forget();
        Ok(id)
    }
}

/// What decisions name, for [`Account::ensure`].
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// Attributes that get a value, with values that show their type.
    attributes: BTreeMap<AttributeName, Vec<AttributeValue>>,
    /// Lists that are granted or withdrawn.
    lists: BTreeSet<ListRef>,
}

/// How many values of an attribute are looked at before its type is chosen.
const VALUES_FOR_TYPE: usize = 1_000;

impl Wanted {
    /// Adds an attribute that a decision gives a value. One that only loses values need not exist.
    pub(crate) fn attribute(&mut self, name: &AttributeName, value: &AttributeValue) {
        let values = self.attributes.entry(name.clone()).or_default();
        if values.len() < VALUES_FOR_TYPE {
            values.push(value.clone());
        }
    }

    /// Adds a list that a decision names.
    pub(crate) fn list(&mut self, list: &ListRef) {
        self.lists.insert(list.clone());
    }

    /// What of this the account lacks, in words that tell lists and attributes apart.
    fn missing<'a>(
        &'a self,
        known: &'a Snapshot,
        config: &'a Config,
    ) -> impl Iterator<Item = String> + 'a {
        let attributes = self.attributes.keys().filter(|name| known.catalogue.find(name).is_none());
        let configured = &config.intercom.lists;
        let lists = self.lists.iter().filter(|list| known.lists.find(list, configured).is_err());
        let attributes = attributes.map(|name| format!("attribute {name}"));
        let options = self.attributes.iter().flat_map(|(name, values)| {
            let missing = known.catalogue.missing_options(name, values);
            missing.into_iter().map(move |option| format!("option {option} of {name}"))
        });
        let attributes = attributes.chain(options);
        attributes.chain(lists.map(|list| format!("list {list}")))
    }
}

/// The options that a new multiple-choice attribute needs: those of the values at hand.
fn options(kind: AttributeType, values: &[AttributeValue]) -> Vec<String> {
    if kind != AttributeType::MultipleChoice {
        return Vec::new();
    }
    let items = values.iter().filter_map(|value| match value {
        AttributeValue::List(items) => Some(items),
        _ => None,
    });
    let options: BTreeSet<&String> = items.flatten().collect();
    options.into_iter().cloned().collect()
}

/// `moka` shares one error among all who waited for it.
fn unshared(error: Arc<BrevoError>) -> BrevoError {
    (*error).clone()
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
