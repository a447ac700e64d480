//! What can be asked.

use super::catalogue::{ApiKeyNode, EventDefinitionNode, RejectedItemNode, TraitDefinitionNode};
use super::connection::{COUNTED_TO, Connection, Count, page};
use super::consent::ConsentChangeNode;
use super::customer::CustomerNode;
use super::customers::{self, CustomerFilter, CustomerOrder};
use super::decision::{DecisionNode, HeldItemNode, PathNode};
use super::feed::{self, ChangeBatch, ChangeFilter, FeedBounds, FeedStart};
use super::guard::{Needs, OfSubject};
use super::job::JobNode;
use super::kinds::{IdentifierKind, JobState, ValueModelKind};
use super::loaders::{CustomerOf, DecisionOf, JobOf, ProductOf, RecordOf, SourceOf, ask};
use super::movement::{self, LifecycleFunnel, RfmMatrix};
use super::node_id::{self, NodeId};
use super::record::{RecordNode, SourceNode};
use super::refresh::RefreshFailureNode;
use super::rules::{self, IdentityRules, IdentityRulesInput, IdentitySimulation};
use super::scalars::DateTime;
use super::timeline::{EventNode, ProductNode, PurchaseNode};
use super::value_model::{self, ValueModelNode};
use super::{error, personal, principal, services, view};
use crate::access::{self, Principal, Scope, Subject};
use crate::base::paging::Slice;
use crate::base::{CustomerId, IdentifierId, RecordId};
use crate::customer::consent::ConsentKey;
use crate::customer::{self, EventKey, PurchaseKey};
use crate::identity::store::{decisions, evidence};
use crate::identity::{self, Verdict};
use crate::ingest::store::RejectedFilter;
use crate::pipeline::Services;
use crate::store::StoreError;
use crate::{due, ingest, job};
use async_graphql::{Context, ID, InputObject, Interface, Object, Result};
use sea_orm::ActiveEnum as _;
use std::sync::Arc;

/// Anything with a global id.
#[derive(Clone, Debug, Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Its global id."))]
pub enum Node {
    Customer(CustomerNode),
    Record(RecordNode),
    Source(SourceNode),
    Event(EventNode),
    Purchase(PurchaseNode),
    Product(ProductNode),
    RejectedItem(RejectedItemNode),
    Job(JobNode),
    IdentityDecision(DecisionNode),
    HeldItem(HeldItemNode),
    ConsentChange(ConsentChangeNode),
}

/// A value by which a customer is recognised, as anybody would type it.
#[derive(Clone, Debug, InputObject)]
pub struct IdentifierInput {
    /// What kind of value it is.
    pub kind: IdentifierKind,
    /// The value; it is normalised as at intake.
    pub value: String,
    /// Within which it is unique; needed for EXTERNAL_ID.
    pub namespace: Option<String>,
}

/// What can be asked.
pub struct Query;

/// What can be asked. Every field but `me` needs a key with the scope `read`; some need more.
#[Object]
impl Query {
    /// The rules by which records become customers.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn identity_rules(&self, ctx: &Context<'_>) -> Result<IdentityRules> {
        rules::standing(ctx).await
    }

    /// How many merges and splits these rules would make among the customers of today, and the riskiest ones. Writes nothing; folds the
    /// whole history in memory, so it takes its time. Needs the scope `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn identity_simulate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The rules to try.")] rules: IdentityRulesInput,
    ) -> Result<IdentitySimulation> {
        rules::simulate(ctx, rules).await
    }

    /// Anything by its global id; null when there is no such thing.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn node(&self, ctx: &Context<'_>, #[graphql(desc = "A global id.")] id: ID) -> Option<Result<Node>> {
        node(ctx, &id).await.transpose()
    }

    /// The customer whom a subject token speaks for: what a browser or an app may read; null when nobody has the token's identifier, or
    /// it is blocked or held.
    #[graphql(guard = "OfSubject")]
    async fn me(&self, ctx: &Context<'_>) -> Option<Result<CustomerNode>> {
        let found = async {
            let Principal::Subject(subject) = principal(ctx)? else {
                return Ok(None);
            };
            match customer_of_subject(services(ctx)?, subject).await? {
                Some(id) => view::customer(ctx, id).await,
                None => Ok(None),
            }
        };
        found.await.transpose()
    }

    /// A customer by any id they ever had; null when nobody ever had it.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn customer(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Any id the customer ever had.")] id: ID,
        #[graphql(desc = "A transaction that must be seen: waited for up to 5 seconds, else NOT_YET.")] at_least: Option<ID>,
    ) -> Option<Result<CustomerNode>> {
        let found = async {
            feed::at_least(ctx, at_least).await?;
            let id = node_id::customer_id(&id).map_err(|reason| error::bad_input("id", reason))?;
            view::customer(ctx, id).await
        };
        found.await.transpose()
    }

    /// The customer whom an identifier belongs to; null when it belongs to nobody, is blocked or is held. To look somebody up by an e-mail
    /// address or a telephone number needs the scope `read:pii`.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn customer_by(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The identifier to look up.")] identifier: IdentifierInput,
        #[graphql(desc = "A transaction that must be seen: waited for up to 5 seconds, else NOT_YET.")] at_least: Option<ID>,
    ) -> Option<Result<CustomerNode>> {
        let found = async {
            feed::at_least(ctx, at_least).await?;
            customer_by(ctx, identifier).await
        };
        found.await.transpose()
    }

    /// Customers, the newest first unless another order is asked for. What is personal in a filter or an order needs the scope `read:pii`.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn customers(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those for whom all of this holds.")] filter: Option<CustomerFilter>,
        #[graphql(desc = "In which order; by default the newest first.")] order_by: Option<CustomerOrder>,
        #[graphql(desc = "How many, 1 to 100.")] first: i32,
        #[graphql(desc = "Those behind this cursor.")] after: Option<String>,
        #[graphql(desc = "A transaction that must be seen: waited for up to 5 seconds, else NOT_YET.")] at_least: Option<ID>,
    ) -> Result<Connection<CustomerNode>> {
        feed::at_least(ctx, at_least).await?;
        let order = order_by.unwrap_or(CustomerOrder::Newest);
        customers::customers(ctx, filter.unwrap_or_default(), order, first, after.as_deref()).await
    }

    /// Some changes of the change log, in its order: what the subscription of this name streams, for who asks from time to time.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Where to begin.")] start: FeedStart,
        #[graphql(desc = "Which changes; by default all but EVENT.")] filter: Option<ChangeFilter>,
        #[graphql(desc = "How many, 1 to 100.", default = 100)] first: i32,
    ) -> Result<ChangeBatch> {
        feed::page(ctx, start, filter, first).await
    }

    /// How far the change log reaches.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn feed_head(&self, ctx: &Context<'_>) -> Result<FeedBounds> {
        feed::bounds(ctx).await
    }

    /// The systems that send data, in the order of their keys.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn sources(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.", default = 50)] first: i32,
        #[graphql(desc = "Those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<SourceNode>> {
        let page = page(first, after.as_deref())?;
        let slice = read(ingest::store::sources(services(ctx)?.store.reader(), &page).await)?;
        Ok(Connection::new(
            slice,
            after.as_deref(),
            |source| source.key.clone(),
            SourceNode,
        ))
    }

    /// Items that were refused while their batch was accepted, newest first.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn rejected_items(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those of this source.")] source: Option<ID>,
        #[graphql(desc = "Only those received at or after this instant.")] from: Option<DateTime>,
        #[graphql(desc = "How many, 1 to 100.")] first: i32,
        #[graphql(desc = "Those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<RejectedItemNode>> {
        let source = source
            .map(|id| node_id::source_id(&id).map_err(|reason| error::bad_input("source", reason)))
            .transpose()?;
        let filter = RejectedFilter {
            source,
            from: from.map(|from| from.0),
        };
        let page = page(first, after.as_deref())?;
        let slice = read(ingest::store::rejected(services(ctx)?.store.reader(), &filter, &page).await)?;
        let count: Count = Arc::new(move |store| {
            let filter = filter.clone();
            Box::pin(async move { ingest::store::count_rejected(store.reader(), &filter, COUNTED_TO + 1).await })
        });
        Ok(Connection::new(slice, after.as_deref(), |item| (item.received_at, item.id), RejectedItemNode).counted(count))
    }

    /// What waits for a person, the oldest first: resolve it with `heldItemResolve`.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn held_items(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.")] first: i32,
        #[graphql(desc = "Those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<HeldItemNode>> {
        let page = page(first, after.as_deref())?;
        let slice = read(decisions::held_items(services(ctx)?.store.reader(), &page).await)?;
        let count: Count = Arc::new(|store| Box::pin(async move { evidence::count_held(store.reader(), COUNTED_TO + 1).await }));
        Ok(Connection::new(slice, after.as_deref(), |item| (item.arrival, item.id), HeldItemNode).counted(count))
    }

    /// Why two records, or what was two customers, are one customer: the shortest chain of evidence; null when they are not one customer,
    /// or one of them does not exist. A customer's id stands for the record that has it as its own.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn identity_explain(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of a record, or any id of a customer.")] a: ID,
        #[graphql(desc = "Another.")] b: ID,
    ) -> Option<Result<PathNode>> {
        let found = async {
            let a = node_id::record_of(&a).map_err(|reason| error::bad_input("a", reason))?;
            let b = node_id::record_of(&b).map_err(|reason| error::bad_input("b", reason))?;
            let services = services(ctx)?;
            let rules = services.rules.standing().rules;
            let explanation = read(evidence::explain(services.store.reader(), &rules, a, b).await)?;
            Ok(explanation.map(PathNode))
        };
        found.await.transpose()
    }

    /// A model of what customers are worth; null when there is no such version, or nothing is published.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn value_model(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What was fitted.", default_with = "ValueModelKind::BgNbd")] kind: ValueModelKind,
        #[graphql(desc = "Of which version; null: of the one in force.")] version: Option<i64>,
    ) -> Option<Result<ValueModelNode>> {
        value_model::model(ctx, kind, version).await.transpose()
    }

    /// How all customers spread over the eight classes of recency, frequency and money, and how they moved since an instant. A sum over
    /// everybody: for reports.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn rfm_matrix(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Since when movement is asked for; null: it is not.")] since: Option<DateTime>,
    ) -> Result<RfmMatrix> {
        movement::rfm_matrix(ctx, since.map(|since| since.0)).await
    }

    /// How all customers spread over the stages of the life cycle at two instants, and how they moved in between. A sum over everybody: for
    /// reports.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn lifecycle_funnel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The earlier instant.")] from: DateTime,
        #[graphql(desc = "The later instant; null: now.")] to: Option<DateTime>,
    ) -> Result<LifecycleFunnel> {
        movement::lifecycle_funnel(ctx, from.0, to.map(|to| to.0)).await
    }

    /// A background job; null when there is none with this id.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn job(&self, ctx: &Context<'_>, #[graphql(desc = "The job's id.")] id: ID) -> Option<Result<JobNode>> {
        let found = async {
            let id = node_id::job_id(&id).map_err(|reason| error::bad_input("id", reason))?;
            Ok(ask(ctx, JobOf(id)).await?.map(JobNode))
        };
        found.await.transpose()
    }

    /// Background jobs, the newest first.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those that stand so.")] state: Option<JobState>,
        #[graphql(desc = "How many, 1 to 100.")] first: i32,
        #[graphql(desc = "Those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<JobNode>> {
        let state = state.map(Into::into);
        let page = page(first, after.as_deref())?;
        let slice = read(job::page_of_jobs(services(ctx)?.store.reader(), state, &page).await)?;
        let count: Count =
            Arc::new(move |store| Box::pin(async move { job::count_jobs(store.reader(), state, COUNTED_TO + 1).await }));
        Ok(Connection::new(slice, after.as_deref(), |job| job.id.0, JobNode).counted(count))
    }

    /// Customers whose refresh was given up, the first given up first: their derived values stay as they were until somebody drives them
    /// again with `customerRefreshRetry`. Needs the scope `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn refresh_failures(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.")] first: i32,
        #[graphql(desc = "Those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<RefreshFailureNode>> {
        let page = page(first, after.as_deref())?;
        let slice = read(due::quarantined(services(ctx)?.store.reader(), &page).await)?;
        let count: Count =
            Arc::new(|store| Box::pin(async move { due::count_quarantined(store.reader(), COUNTED_TO + 1).await }));
        let key = |failure: &due::Quarantined| (failure.since.micros(), failure.customer.0);
        Ok(Connection::new(slice, after.as_deref(), key, RefreshFailureNode).counted(count))
    }

    /// The traits that sources have sent, in the order of their names.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn trait_definitions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.", default = 100)] first: i32,
        #[graphql(desc = "Those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<TraitDefinitionNode>> {
        let page = page(first, after.as_deref())?;
        let slice = read(ingest::store::trait_definitions(services(ctx)?.store.reader(), &page).await)?;
        Ok(Connection::new(
            slice,
            after.as_deref(),
            |definition| definition.name.clone(),
            TraitDefinitionNode,
        ))
    }

    /// The events that sources have sent, in the order of their names.
    #[graphql(guard = "Needs(Scope::Read)")]
    async fn event_definitions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.", default = 100)] first: i32,
        #[graphql(desc = "Those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<EventDefinitionNode>> {
        let page = page(first, after.as_deref())?;
        let slice = read(ingest::store::event_definitions(services(ctx)?.store.reader(), &page).await)?;
        let key = |definition: &entity::event_definition::Model| (definition.name.clone(), definition.kind.to_value());
        Ok(Connection::new(slice, after.as_deref(), key, EventDefinitionNode))
    }

    /// The keys of servers and operators, revoked ones too. Needs the scope `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.", default = 50)] first: i32,
        #[graphql(desc = "Those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<ApiKeyNode>> {
        let page = page(first, after.as_deref())?;
        let slice: Slice<entity::api_key::Model> = read(access::keys(services(ctx)?.store.reader(), &page).await)?;
        Ok(Connection::new(slice, after.as_deref(), |key| key.id.clone(), ApiKeyNode))
    }
}

fn read<T>(answer: Result<T, StoreError>) -> Result<T> {
    answer.map_err(|cause| error::store(&cause))
}

async fn node(ctx: &Context<'_>, id: &ID) -> Result<Option<Node>> {
    let id = NodeId::parse(id).map_err(|reason| error::bad_input("id", reason))?;
    let reader = services(ctx)?.store.reader();
    Ok(match id {
        NodeId::Customer(id) => ask(ctx, CustomerOf(id)).await?.map(CustomerNode).map(Node::Customer),
        NodeId::Record(id) => ask(ctx, RecordOf(id)).await?.map(RecordNode).map(Node::Record),
        NodeId::Source(id) => ask(ctx, SourceOf(id)).await?.map(SourceNode).map(Node::Source),
        NodeId::Product(id) => ask(ctx, ProductOf(id)).await?.map(ProductNode).map(Node::Product),
        // What hangs off a record that was erased is gone with it, though a job may not have come to it yet.
        NodeId::Event(EventKey { record, .. })
        | NodeId::Purchase(PurchaseKey { record, .. })
        | NodeId::Consent(ConsentKey { record, .. })
            if ask(ctx, RecordOf(record)).await?.is_none() =>
        {
            None
        }
        NodeId::Event(key) => read(customer::store::events(reader, &[key]).await)?
            .remove(&key)
            .map(EventNode)
            .map(Node::Event),
        NodeId::Purchase(key) => read(customer::store::purchases(reader, &[key]).await)?
            .remove(&key)
            .map(PurchaseNode)
            .map(Node::Purchase),
        NodeId::RejectedItem(id) => read(ingest::store::rejected_by_id(reader, id).await)?
            .map(RejectedItemNode)
            .map(Node::RejectedItem),
        NodeId::Job(id) => ask(ctx, JobOf(id)).await?.map(JobNode).map(Node::Job),
        NodeId::Decision(id) => ask(ctx, DecisionOf(id)).await?.map(DecisionNode).map(Node::IdentityDecision),
        NodeId::HeldItem(id) => match read(decisions::held_item(reader, id).await)? {
            Some(item) if ask(ctx, RecordOf(RecordId(item.record_id))).await?.is_some() => {
                Some(Node::HeldItem(HeldItemNode(item)))
            }
            _ => None,
        },
        NodeId::Consent(key) => read(customer::store::consents(reader, &[key]).await)?
            .remove(&key)
            .map(ConsentChangeNode)
            .map(Node::ConsentChange),
    })
}

async fn customer_by(ctx: &Context<'_>, identifier: IdentifierInput) -> Result<Option<CustomerNode>> {
    if personal::is_personal(identifier.kind.into(), &identifier.value) {
        personal::demand(ctx, "identifier")?;
    }
    match identifier_id(services(ctx)?, "identifier.namespace", identifier)? {
        Some(id) => owner_of(ctx, id).await,
        None => Ok(None),
    }
}

/// Whom a value recognises.
async fn owner_of(ctx: &Context<'_>, id: IdentifierId) -> Result<Option<CustomerNode>> {
    let services = services(ctx)?;
    let Some(owner) = read(identity::store::owner(services.store.reader(), id).await)? else {
        return Ok(None);
    };
    view::customer(ctx, owner).await
}

/// The customer whom a token speaks for; nobody when nobody has its identifier, or it is blocked or held.
pub async fn customer_of_subject(services: &Services, subject: &Subject) -> Result<Option<CustomerId>> {
    let identifier = IdentifierInput {
        kind: subject.kind.into(),
        value: subject.value.clone(),
        namespace: Some(subject.namespace.clone()),
    };
    match identifier_id(services, "namespace", identifier)? {
        Some(id) => read(identity::store::owner(services.store.reader(), id).await),
        None => Ok(None),
    }
}

/// The id of an identifier as it would be stored; `None` when the value is none of its kind, so that nobody has it.
pub fn identifier_id(services: &Services, namespace_field: &str, identifier: IdentifierInput) -> Result<Option<IdentifierId>> {
    let kind: entity::IdentifierKind = identifier.kind.into();
    let namespace = identifier.namespace.unwrap_or_default();
    if kind == entity::IdentifierKind::ExternalId && namespace.is_empty() {
        return Err(error::bad_input(
            namespace_field,
            "EXTERNAL_ID needs the namespace it is unique in",
        ));
    }
    let rules = services.rules.standing().rules;
    let Verdict::Usable(value) = rules.judge(kind, &namespace, &identifier.value) else {
        return Ok(None);
    };
    Ok(Some(services.store.hash_key().identifier(
        kind.to_value(),
        &namespace,
        &value,
    )))
}
