//! Nested lookups in bulk. A loader's key is a question; all answers of one level of a query take one statement.
//! One loader lives for one request, so nothing leaks between callers. What is asked about value is in `value`.

mod value;

pub use value::{InForce, KnownOf, MetricHistoryOf, MetricsAt, MetricsOf, WorthOf};

use super::batching::Loaders;
use super::error;
use crate::base::paging::{Page, Slice};
use crate::base::{CustomerId, DecisionId, IdentifierId, Instant, JobId, Money, ProductId, RecordId, SourceId};
use crate::customer::consent::Consent;
use crate::customer::{self, Customer, Event, EventKey, Product, PurchaseKey, PurchaseLine, PurchaseSummary};
use crate::identity::store::sayings::{Saying, sayings_of};
use crate::identity::{self, Identifier, Record};
use crate::ingest::SourceDirectory;
use crate::job::{self, Job};
use crate::pipeline::Services;
use crate::pipeline::timeline::{self, Asked, Entry};
use crate::pipeline::view::View;
use crate::store::walk::{Place, Window};
use crate::store::{Store, StoreError};
use async_graphql::dataloader::Loader;
use async_graphql::{Context, Result};
use entity::{DataClass, identifier, identity_decision, source};
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};
use uuid::Uuid;

/// Answers questions from the database.
pub struct Questions {
    services: Services,
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
            services: services.clone(),
            store: services.store.clone(),
            sources: services.sources.clone(),
            members: Mutex::default(),
        }
    }

    /// Forgets which records customers have.
    pub fn forget(&self) {
        *self.members() = Members::default();
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
    loaders.questions().forget();
    loaders.clear::<CustomerOf>();
    loaders.clear::<RecordsOf>();
    loaders.clear::<RecordOf>();
    loaders.clear::<TraitsOf>();
    loaders.clear::<IdentifiersOf>();
    loaders.clear::<SeenOf>();
    loaders.clear::<SourceOf>();
    loaders.clear::<TimelineOf>();
    loaders.clear::<StandingOf>();
    loaders.clear::<SummaryOf>();
    loaders.clear::<WorthOf>();
    loaders.clear::<InForce>();
    loaders.clear::<MetricsOf>();
    loaders.clear::<MetricsAt>();
    loaders.clear::<MetricHistoryOf>();
    loaders.clear::<KnownOf>();
    loaders.clear::<LinesOf>();
    loaders.clear::<ProductOf>();
    loaders.clear::<DecisionOf>();
    loaders.clear::<HistoryOf>();
    loaders.clear::<ValueOf>();
    loaders.clear::<ConsentsOf>();
    loaders.clear::<ConsentHistoryOf>();
    loaders.clear::<EventOf>();
    loaders.clear::<TraitClasses>();
    Ok(())
}

/// Which customer is this id today?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CustomerOf(pub CustomerId);
/// Which records does this customer have?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordsOf(pub CustomerId);
/// What do the records of this customer say of these attributes, or of all?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TraitsOf(pub CustomerId, pub Option<BTreeSet<String>>);
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceOf(pub SourceId);
/// Which page of this customer's timeline?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimelineOf(pub CustomerId, pub Asked);
/// Does this purchase count within its customer, and what was given back of its order?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StandingOf(pub PurchaseKey);
/// What did this customer buy, added up?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SummaryOf(pub CustomerId);
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
/// What has this record answered to being spoken to?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConsentsOf(pub RecordId);
/// Which page of what this customer answered to being spoken to?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConsentHistoryOf(pub CustomerId, pub Page<Place>);
/// Which event is this?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventOf(pub EventKey);

/// Which traits are of another class than the default, and of which?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraitClasses;

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

impl Loader<TraitsOf> for Questions {
    type Value = Arc<Vec<Saying>>;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[TraitsOf]) -> Answers<TraitsOf, Arc<Vec<Saying>>> {
        let customers: BTreeSet<CustomerId> = keys.iter().map(|key| key.0).collect();
        let customers: Vec<CustomerId> = customers.into_iter().collect();
        // Fields of one query may ask for different names; one round answers them all.
        let names: Option<BTreeSet<String>> = keys.iter().map(|key| key.1.clone()).collect::<Option<Vec<_>>>().map(|all| {
            let all = all.into_iter().flatten();
            all.collect()
        });
        let mut by_customer: HashMap<CustomerId, Vec<Saying>> = HashMap::new();
        for saying in sayings_of(self.store.reader(), &customers, names.as_ref()).await? {
            by_customer.entry(saying.customer).or_default().push(saying);
        }
        let by_customer: HashMap<CustomerId, Arc<Vec<Saying>>> = by_customer
            .into_iter()
            .map(|(customer, said)| (customer, Arc::new(said)))
            .collect();
        let answer = |key: &TraitsOf| Some((key.clone(), by_customer.get(&key.0)?.clone()));
        Ok(keys.iter().filter_map(answer).collect())
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
        // Aliases may ask for several windows; each is one statement for all customers that ask for it.
        let mut by_asked: HashMap<&Asked, Vec<CustomerId>> = HashMap::new();
        for TimelineOf(customer, asked) in keys {
            by_asked.entry(asked).or_default().push(*customer);
        }
        let mut answers = HashMap::with_capacity(keys.len());
        for (asked, customers) in by_asked {
            for (customer, slice) in timeline::timelines(&self.store, &customers, asked).await? {
                answers.insert(TimelineOf(customer, asked.clone()), slice);
            }
        }
        Ok(answers)
    }
}

impl Loader<StandingOf> for Questions {
    type Value = (bool, Money);
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[StandingOf]) -> Answers<StandingOf, (bool, Money)> {
        let asked: Vec<PurchaseKey> = keys.iter().map(|key| key.0).collect();
        let standings = customer::store::standing::standings(self.store.reader(), &asked).await?;
        Ok(standings
            .into_iter()
            .map(|(key, standing)| (StandingOf(key), standing))
            .collect())
    }
}

impl Loader<SummaryOf> for Questions {
    type Value = PurchaseSummary;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[SummaryOf]) -> Answers<SummaryOf, PurchaseSummary> {
        let asked: Vec<CustomerId> = keys.iter().map(|key| key.0).collect();
        let summaries = customer::store::standing::summaries(self.store.reader(), &asked).await?;
        Ok(summaries
            .into_iter()
            .map(|(customer, summary)| (SummaryOf(customer), summary))
            .collect())
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

impl Loader<ConsentsOf> for Questions {
    type Value = Vec<Consent>;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[ConsentsOf]) -> Answers<ConsentsOf, Vec<Consent>> {
        let ids: Vec<RecordId> = keys.iter().map(|key| key.0).collect();
        let mut answers: HashMap<ConsentsOf, Vec<Consent>> = HashMap::new();
        for consent in customer::store::consents_of(self.store.reader(), &ids).await? {
            answers.entry(ConsentsOf(consent.key.record)).or_default().push(consent);
        }
        Ok(answers)
    }
}

impl Loader<ConsentHistoryOf> for Questions {
    type Value = Slice<Consent>;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[ConsentHistoryOf]) -> Answers<ConsentHistoryOf, Slice<Consent>> {
        let asked = |page: &Page<Place>| Asked {
            window: Window::newest(page.clone()),
            events: None,
            purchases: false,
            consents: true,
            decisions: false,
            channels: None,
        };
        let timelines: Vec<TimelineOf> = keys.iter().map(|key| TimelineOf(key.0, asked(&key.1))).collect();
        let mut slices = Loader::<TimelineOf>::load(self, &timelines).await?;
        let answers = keys.iter().zip(&timelines).filter_map(|(key, timeline)| {
            let Slice { rows, more } = slices.remove(timeline)?;
            let rows = rows.into_iter().filter_map(|entry| match entry {
                Entry::Consent(consent) => Some(consent),
                Entry::Event(_) | Entry::Purchase(_) | Entry::Decision(_) => None,
            });
            let rows = rows.collect();
            Some((key.clone(), Slice { rows, more }))
        });
        Ok(answers.collect())
    }
}

impl Loader<EventOf> for Questions {
    type Value = Event;
    type Error = Arc<StoreError>;

    async fn load(&self, keys: &[EventOf]) -> Answers<EventOf, Event> {
        let asked: Vec<EventKey> = keys.iter().map(|key| key.0).collect();
        let events = customer::store::events(self.store.reader(), &asked).await?;
        Ok(events.into_iter().map(|(key, event)| (EventOf(key), event)).collect())
    }
}

impl Loader<TraitClasses> for Questions {
    type Value = Arc<HashMap<String, DataClass>>;
    type Error = Arc<StoreError>;

    async fn load(&self, _: &[TraitClasses]) -> Answers<TraitClasses, Arc<HashMap<String, DataClass>>> {
        let classes = crate::ingest::store::trait_classes(self.store.reader()).await?;
        Ok(HashMap::from([(TraitClasses, Arc::new(classes))]))
    }
}
