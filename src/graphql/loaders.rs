//! Nested lookups in bulk. A loader's key is a question; all answers of one level of a query take one statement.
//! One loader lives for one request, so nothing leaks between callers.

use super::batching::Loaders;
use super::error;
use crate::base::paging::{Page, Slice};
use crate::base::{CustomerId, DecisionId, IdentifierId, Instant, JobId, ProductId, RecordId, SourceId};
use crate::customer::{self, Customer, Product, PurchaseKey, PurchaseLine};
use crate::identity::{self, Identifier, Record};
use crate::ingest::SourceDirectory;
use crate::job::{self, Job};
use crate::pipeline::Services;
use crate::pipeline::timeline::{self, Asked, Entry};
use crate::pipeline::view::View;
use crate::store::{Store, StoreError};
use async_graphql::dataloader::Loader;
use async_graphql::{Context, Result};
use entity::{identifier, identity_decision, source};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};
use uuid::Uuid;

/// Answers questions from the database.
pub struct Questions {
    store: Store,
    sources: SourceDirectory,
    /// Records of customers that some question has loaded: nearly every other one begins with them.
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    of: HashMap<CustomerId, Arc<Vec<Record>>>,
    source_of: HashMap<RecordId, SourceId>,
}

impl Members {
    fn insert(&mut self, customer: CustomerId, records: Arc<Vec<Record>>) {
        self.source_of.extend(records.iter().map(|record| (record.id, record.source)));
        self.of.insert(customer, records);
    }
}

impl Questions {
    pub fn new(services: &Services) -> Self {
        Self {
            store: services.store.clone(),
            sources: services.sources.clone(),
            members: Mutex::default(),
        }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().expect("no panic happens while it is held")
    }

    /// The records of customers, loaded once in a request.
    async fn records_of(
        &self,
        customers: impl IntoIterator<Item = CustomerId>,
    ) -> Result<HashMap<CustomerId, Arc<Vec<Record>>>, StoreError> {
        let mut found = HashMap::new();
        let mut unknown = Vec::new();
        for customer in customers {
            match self.members().of.get(&customer) {
                Some(records) => {
                    found.insert(customer, records.clone());
                }
                None => unknown.push(customer),
            }
        }
        if !unknown.is_empty() {
            let mut by_customer: HashMap<CustomerId, Vec<Record>> = HashMap::new();
            for record in identity::store::records_of(self.store.reader(), &unknown).await? {
                by_customer.entry(record.customer).or_default().push(record);
            }
            let loaded = by_customer
                .into_iter()
                .map(|(customer, records)| (customer, Arc::new(records)));
            for (customer, records) in loaded {
                self.members().insert(customer, records.clone());
                found.insert(customer, records);
            }
        }
        Ok(found)
    }
}

/// Takes what one statement found of a customer as the answers to the questions that will be asked of it.
pub fn feed(ctx: &Context<'_>, asked: CustomerId, view: View) -> Result<Customer> {
    let loaders = loaders(ctx)?;
    let id = view.customer.id;
    if let Some(records) = view.records {
        let records = Arc::new(records);
        loaders.questions().members().insert(id, records.clone());
        loaders.feed([(RecordsOf(id), records)]);
    }
    if let Some(identifiers) = view.identifiers {
        loaders.feed(identifiers.into_iter().map(|(record, shown)| (IdentifiersOf(record), shown)));
    }
    loaders.feed(
        view.timelines
            .into_iter()
            .map(|(asked, slice)| (TimelineOf(id, asked), slice)),
    );
    loaders.feed([
        (CustomerOf(asked), view.customer.clone()),
        (CustomerOf(id), view.customer.clone()),
    ]);
    Ok(view.customer)
}

/// The source of a record whose customer's records are loaded.
pub fn known_source(ctx: &Context<'_>, record: RecordId) -> Option<SourceId> {
    loaders(ctx).ok()?.questions().members().source_of.get(&record).copied()
}

fn loaders<'c>(ctx: &Context<'c>) -> Result<&'c Loaders> {
    ctx.data::<Loaders>()
        .map_err(|_| error::internal("a request without loaders"))
}

/// Asks one question; `None` when there is nothing to answer.
pub async fn ask<K>(ctx: &Context<'_>, key: K) -> Result<Option<<Questions as Loader<K>>::Value>>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    Questions: Loader<K, Error = Arc<StoreError>>,
{
    loaders(ctx)?.load_one(key).await.map_err(|cause| error::store(&cause))
}

/// Asks many questions of one kind at once; what has no answer is left out.
pub async fn ask_many<K>(
    ctx: &Context<'_>,
    keys: impl IntoIterator<Item = K>,
) -> Result<HashMap<K, <Questions as Loader<K>>::Value>>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    Questions: Loader<K, Error = Arc<StoreError>>,
{
    loaders(ctx)?.load_many(keys).await.map_err(|cause| error::store(&cause))
}

/// Forgets every answer, after a mutation: the fields of its payload and of the mutations behind it see what is stored now.
pub fn forget(ctx: &Context<'_>) -> Result<()> {
    let loaders = loaders(ctx)?;
    *loaders.questions().members() = Members::default();
    loaders.clear::<CustomerOf>();
    loaders.clear::<RecordsOf>();
    loaders.clear::<RecordOf>();
    loaders.clear::<IdentifiersOf>();
    loaders.clear::<SeenOf>();
    loaders.clear::<SourceOf>();
    loaders.clear::<TimelineOf>();
    loaders.clear::<LinesOf>();
    loaders.clear::<ProductOf>();
    loaders.clear::<DecisionOf>();
    loaders.clear::<HistoryOf>();
    loaders.clear::<ValueOf>();
    Ok(())
}

/// Which customer is this id today?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CustomerOf(pub CustomerId);
/// Which records does this customer have?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordsOf(pub CustomerId);
/// Which record is this?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordOf(pub RecordId);
/// Which identifiers has this record shown?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdentifiersOf(pub RecordId);
/// When was this record first and last heard of?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeenOf(pub RecordId);
/// Which source is this?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceOf(pub SourceId);
/// Which page of this customer's timeline?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimelineOf(pub CustomerId, pub Asked);
/// What was bought in this purchase?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinesOf(pub PurchaseKey);
/// Which product is this?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProductOf(pub ProductId);
/// Which background job is this?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobOf(pub JobId);
/// Which decision is this?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecisionOf(pub DecisionId);
/// Which page of what was decided about this customer?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HistoryOf(pub CustomerId, pub Page<(i64, Uuid)>);
/// Which identifier is this, whoever showed it?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueOf(pub IdentifierId);

type Answers<K, V> = Result<HashMap<K, V>, Arc<StoreError>>;

impl Loader<CustomerOf> for Questions {
    type Value = Customer;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[CustomerOf]) -> Answers<CustomerOf, Customer> {
        let asked: Vec<CustomerId> = keys.iter().map(|key| key.0).collect();
        let resolved = identity::store::resolve(self.store.reader(), &asked).await?;
        let current: Vec<CustomerId> = resolved.values().copied().collect();
        let customers = customer::store::customers(self.store.reader(), &current).await?;
        Ok(keys
            .iter()
            .filter_map(|key| Some((*key, customers.get(resolved.get(&key.0)?)?.clone())))
            .collect())
    }
}

impl Loader<RecordsOf> for Questions {
    type Value = Arc<Vec<Record>>;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[RecordsOf]) -> Answers<RecordsOf, Arc<Vec<Record>>> {
        let records = self.records_of(keys.iter().map(|key| key.0)).await?;
        Ok(records
            .into_iter()
            .map(|(customer, records)| (RecordsOf(customer), records))
            .collect())
    }
}

impl Loader<RecordOf> for Questions {
    type Value = Record;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[RecordOf]) -> Answers<RecordOf, Record> {
        let ids: Vec<RecordId> = keys.iter().map(|key| key.0).collect();
        let records = identity::store::records(self.store.reader(), &ids).await?;
        Ok(records.into_iter().map(|record| (RecordOf(record.id), record)).collect())
    }
}

impl Loader<IdentifiersOf> for Questions {
    type Value = Vec<Identifier>;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[IdentifiersOf]) -> Answers<IdentifiersOf, Vec<Identifier>> {
        let ids: Vec<RecordId> = keys.iter().map(|key| key.0).collect();
        let identifiers = identity::store::identifiers_of(self.store.reader(), &ids).await?;
        Ok(identifiers
            .into_iter()
            .map(|(record, identifiers)| (IdentifiersOf(record), identifiers))
            .collect())
    }
}

impl Loader<SeenOf> for Questions {
    type Value = (Instant, Instant);
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[SeenOf]) -> Answers<SeenOf, (Instant, Instant)> {
        let ids: Vec<RecordId> = keys.iter().map(|key| key.0).collect();
        let seen = customer::store::seen(self.store.reader(), &ids).await?;
        Ok(seen.into_iter().map(|(record, seen)| (SeenOf(record), seen)).collect())
    }
}

impl Loader<SourceOf> for Questions {
    type Value = source::Model;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[SourceOf]) -> Answers<SourceOf, source::Model> {
        let sources = self.sources.all(keys.iter().map(|key| key.0)).await?;
        let found = keys.iter().filter_map(|key| Some((*key, sources.get(&key.0)?.clone())));
        Ok(found.collect())
    }
}

impl Loader<TimelineOf> for Questions {
    type Value = Slice<Entry>;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[TimelineOf]) -> Answers<TimelineOf, Slice<Entry>> {
        let records = self.records_of(keys.iter().map(|key| key.0)).await?;
        // Aliases may ask for several windows; each is one round for all customers that ask for it.
        let mut by_asked: HashMap<&Asked, HashMap<CustomerId, Arc<Vec<Record>>>> = HashMap::new();
        for TimelineOf(customer, asked) in keys {
            if let Some(records) = records.get(customer) {
                by_asked.entry(asked).or_default().insert(*customer, records.clone());
            }
        }
        let mut answers = HashMap::with_capacity(keys.len());
        for (asked, records) in by_asked {
            for (customer, slice) in timeline::timelines(&self.store, &records, asked).await? {
                answers.insert(TimelineOf(customer, asked.clone()), slice);
            }
        }
        Ok(answers)
    }
}

impl Loader<LinesOf> for Questions {
    type Value = Vec<PurchaseLine>;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[LinesOf]) -> Answers<LinesOf, Vec<PurchaseLine>> {
        let asked: Vec<PurchaseKey> = keys.iter().map(|key| key.0).collect();
        let lines = customer::store::lines(self.store.reader(), &asked).await?;
        Ok(lines.into_iter().map(|(key, lines)| (LinesOf(key), lines)).collect())
    }
}

impl Loader<ProductOf> for Questions {
    type Value = Product;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[ProductOf]) -> Answers<ProductOf, Product> {
        let ids: Vec<ProductId> = keys.iter().map(|key| key.0).collect();
        let products = customer::store::products(self.store.reader(), &ids).await?;
        Ok(products.into_iter().map(|(id, product)| (ProductOf(id), product)).collect())
    }
}

impl Loader<JobOf> for Questions {
    type Value = Job;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[JobOf]) -> Answers<JobOf, Job> {
        let ids: Vec<JobId> = keys.iter().map(|key| key.0).collect();
        let jobs = job::jobs(self.store.reader(), &ids).await?;
        Ok(jobs.into_iter().map(|(id, job)| (JobOf(id), job)).collect())
    }
}

impl Loader<DecisionOf> for Questions {
    type Value = identity_decision::Model;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[DecisionOf]) -> Answers<DecisionOf, identity_decision::Model> {
        let ids: Vec<DecisionId> = keys.iter().map(|key| key.0).collect();
        let decisions = identity::store::decisions::decisions(self.store.reader(), &ids).await?;
        let keyed = |decision: identity_decision::Model| (DecisionOf(DecisionId(decision.id)), decision);
        Ok(decisions.into_iter().map(keyed).collect())
    }
}

impl Loader<HistoryOf> for Questions {
    type Value = Slice<identity_decision::Model>;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[HistoryOf]) -> Answers<HistoryOf, Slice<identity_decision::Model>> {
        let by_customer = self.records_of(keys.iter().map(|key| key.0)).await?;
        // Aliases may ask for several pages; each is one round for all customers that ask for it.
        let mut by_page: HashMap<&Page<_>, Vec<(RecordId, CustomerId)>> = HashMap::new();
        for HistoryOf(customer, page) in keys {
            let records = by_customer
                .get(customer)
                .map(|records| records.as_slice())
                .unwrap_or_default();
            let records = records.iter().map(|record| (record.id, *customer));
            by_page.entry(page).or_default().extend(records);
        }
        let mut answers = HashMap::with_capacity(keys.len());
        for (page, records) in by_page {
            let histories = identity::store::evidence::histories_of(self.store.reader(), &records, page).await?;
            for (customer, slice) in histories {
                answers.insert(HistoryOf(customer, page.clone()), slice);
            }
        }
        Ok(answers)
    }
}

impl Loader<ValueOf> for Questions {
    type Value = identifier::Model;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[ValueOf]) -> Answers<ValueOf, identifier::Model> {
        let ids: Vec<IdentifierId> = keys.iter().map(|key| key.0).collect();
        let values = identity::store::evidence::values(self.store.reader(), &ids).await?;
        Ok(values.into_iter().map(|(id, value)| (ValueOf(id), value)).collect())
    }
}
