//! What a customer did and bought: the entries of a timeline.

use super::consent::ConsentChangeNode;
use super::decision::DecisionNode;
use super::error;
use super::kinds::{Channel, EventKind};
use super::loaders::{LinesOf, ProductOf, RecordOf, StandingOf, ask, known_source};
use super::node_id::NodeId;
use super::personal;
use super::record::{RecordNode, source_node};
use super::scalars::{DateTime, MoneyValue};
use crate::base::RecordId;
use crate::customer::{Event, Product, Purchase, PurchaseLine};
use crate::pipeline::timeline::Entry;
use async_graphql::{Context, ID, Interface, Json, Object, Result};
use serde_json::Value;

/// An entry of a customer's timeline: what they did and what the system decided, in one list.
#[derive(Clone, Debug, Interface)]
#[graphql(
    field(name = "id", ty = "ID", desc = "Its global id."),
    field(name = "occurred_at", ty = "DateTime", desc = "When it happened.")
)]
pub enum TimelineEntry {
    Event(EventNode),
    Purchase(PurchaseNode),
    IdentityDecision(DecisionNode),
    ConsentChange(ConsentChangeNode),
}

impl From<Entry> for TimelineEntry {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Event(event) => Self::Event(EventNode(event)),
            Entry::Purchase(purchase) => Self::Purchase(PurchaseNode(purchase)),
            Entry::Consent(consent) => Self::ConsentChange(ConsentChangeNode(consent)),
            Entry::Decision(decision) => Self::IdentityDecision(DecisionNode(*decision)),
        }
    }
}

/// A record that is referred to, which is never missing.
pub async fn record_node(ctx: &Context<'_>, id: RecordId) -> Result<RecordNode> {
    let record = ask(ctx, RecordOf(id)).await?;
    record
        .map(RecordNode)
        .ok_or_else(|| error::internal(format!("record {id} is missing")))
}

/// Something a channel told.
#[derive(Clone, Debug)]
pub struct EventNode(pub Event);

/// Something a channel told: the customer did something, or the channel said who they are.
#[Object(name = "Event")]
impl EventNode {
    /// Its global id.
    pub async fn id(&self) -> ID {
        NodeId::Event(self.0.key).to_id()
    }

    /// What kind of call it was.
    async fn kind(&self) -> EventKind {
        self.0.kind.into()
    }

    /// The sender's id of the message, by which repetitions are recognised.
    async fn message_id(&self) -> &str {
        &self.0.message_id
    }

    /// The event's name; for a page or screen without one, "page" or "screen".
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Through which channel it came.
    async fn channel(&self, ctx: &Context<'_>) -> Result<Channel> {
        let source = match known_source(ctx, self.0.key.record) {
            Some(source) => source,
            None => record_node(ctx, self.0.key.record).await?.0.source,
        };
        Ok(source_node(ctx, source).await?.0.channel.into())
    }

    /// When it happened, corrected for the sender's clock.
    pub async fn occurred_at(&self) -> DateTime {
        DateTime(self.0.occurred_at)
    }

    /// When this server received it.
    async fn received_at(&self) -> DateTime {
        DateTime(self.0.received_at)
    }

    /// Properties of a track, page or screen; traits of an identify or group. For keys without `read:pii` their names, with masked
    /// values; of an identify the traits that they may see as they are.
    async fn properties(&self, ctx: &Context<'_>) -> Result<Json<Value>> {
        personal::properties(ctx, self.0.kind, &self.0.properties).await.map(Json)
    }

    /// `context` and every other field of the message. For keys without `read:pii` the names of the fields, with masked values.
    async fn context(&self, ctx: &Context<'_>) -> Result<Json<Value>> {
        personal::json(ctx, &self.0.context).map(Json)
    }

    /// The record it was told about.
    async fn record(&self, ctx: &Context<'_>) -> Result<RecordNode> {
        record_node(ctx, self.0.key.record).await
    }
}

/// One order.
#[derive(Clone, Debug)]
pub struct PurchaseNode(pub Purchase);

/// One order as one source reported it.
#[Object(name = "Purchase")]
impl PurchaseNode {
    /// Its global id.
    pub async fn id(&self) -> ID {
        NodeId::Purchase(self.0.key).to_id()
    }

    /// The source's id of the order.
    async fn order_id(&self) -> &str {
        &self.0.order_id
    }

    /// When the order was completed; while only later reports are known, the earliest of them.
    pub async fn occurred_at(&self) -> DateTime {
        DateTime(self.0.occurred_at)
    }

    /// What was paid for the goods, without shipping and tax where the source told them apart; null when no report named an amount.
    async fn amount(&self) -> Option<MoneyValue> {
        self.0.amount.clone().map(Into::into)
    }

    /// What was given back of it, at most the amount; nothing while the amount is unknown. Of the report that counts it is what was given
    /// back of the order whichever source told: the one trusted most, never their sum. Of another it is what its own source told.
    async fn refunded(&self, ctx: &Context<'_>) -> Result<MoneyValue> {
        let standing = ask(ctx, StandingOf(self.0.key)).await?;
        Ok(standing
            .map_or_else(|| self.0.refunded.clone(), |(_, refunded)| refunded)
            .into())
    }

    /// What was bought, in the order of the report.
    async fn lines(&self, ctx: &Context<'_>) -> Result<Vec<PurchaseLineNode>> {
        let lines = ask(ctx, LinesOf(self.0.key)).await?.unwrap_or_default();
        Ok(lines.into_iter().map(PurchaseLineNode).collect())
    }

    /// The record it was reported on.
    async fn record(&self, ctx: &Context<'_>) -> Result<RecordNode> {
        record_node(ctx, self.0.key.record).await
    }

    /// Whether it counts in sums: of several reports of one order within a customer only one does. One that names an amount goes before
    /// one that names none, then the source trusted more, then the later report. An order whose amount is unknown counts as an order.
    async fn counted(&self, ctx: &Context<'_>) -> Result<bool> {
        let standing = ask(ctx, StandingOf(self.0.key)).await?;
        Ok(standing.is_none_or(|(counted, _)| counted))
    }
}

/// One product of an order.
#[derive(Clone, Debug)]
pub struct PurchaseLineNode(PurchaseLine);

/// One product of an order.
#[Object(name = "PurchaseLine")]
impl PurchaseLineNode {
    /// What was bought.
    async fn product(&self, ctx: &Context<'_>) -> Result<ProductNode> {
        let product = ask(ctx, ProductOf(self.0.product)).await?;
        product
            .map(ProductNode)
            .ok_or_else(|| error::internal(format!("product {} is missing", self.0.product)))
    }

    /// How many pieces; goods by weight are one piece at the price of all of it.
    async fn quantity(&self) -> i64 {
        self.0.quantity
    }

    /// Price of one piece; null when the report named none.
    async fn price(&self) -> Option<MoneyValue> {
        self.0.price.clone().map(Into::into)
    }
}

/// Something that can be bought.
#[derive(Clone, Debug)]
pub struct ProductNode(pub Product);

/// Something that can be bought, as the latest report described it.
#[Object(name = "Product")]
impl ProductNode {
    /// Its global id.
    pub async fn id(&self) -> ID {
        NodeId::Product(self.0.id).to_id()
    }

    /// The source's id of the product.
    async fn sku(&self) -> &str {
        &self.0.sku
    }

    /// Its name; null when no report named it.
    async fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// Its category; null when no report named one.
    async fn category(&self) -> Option<&str> {
        self.0.category.as_deref()
    }
}
