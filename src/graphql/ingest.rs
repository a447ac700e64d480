//! `recordsIngest`: what servers, CRM syncs and tests know of people, with a receipt for each item.

use super::consent::ConsentInput;
use super::customer::CustomerNode;
use super::error::{self, ErrorCode, UserError};
use super::guard::Needs;
use super::kinds::IdentifierKind;
use super::loaders::{CustomerOf, RecordOf, ask, forget};
use super::node_id;
use super::preview::{IdentityPreview, TraitChange};
use super::query::IdentifierInput;
use super::record::RecordNode;
use super::scalars::DateTime;
use super::services;
use crate::access::Scope;
use crate::base::RecordId;
use crate::ingest::item::{EventItem, Item, LineItem, PurchaseItem};
use crate::ingest::message::{Assertion, OrderReportKind, Refusal};
use crate::pipeline::intake::Outcome;
use crate::pipeline::preview::Preview;
use crate::pipeline::queue;
use crate::pipeline::records::{self, Ingested, RecordsDoor, Rehearsed};
use async_graphql::{Context, Enum, ID, InputObject, Json, Object, Result, SimpleObject};
use serde_json::Value;

/// Records of one source.
#[derive(Clone, Debug, InputObject)]
pub struct RecordsIngestInput {
    /// The source that knows them.
    source: ID,
    /// Only say what would become of the items, and write nothing.
    #[graphql(default)]
    dry_run: bool,
    /// The records, 1 to 500; with their events and purchases no more than `ingest.max_batch_events` together, by default 2,500.
    items: Vec<RecordInput>,
}

/// What a source knows of one person. Everything but the key may be left out; then there is a record of which nothing is known yet.
#[derive(Clone, Debug, InputObject)]
pub struct RecordInput {
    /// The source's own key for the person, 1 to 255 characters, kept as it is. By itself it recognises nobody.
    key: String,
    /// Recognises a redelivery, which changes nothing; null: an item with the same content is one. So send a `messageId` or `at` with
    /// what may become true again, such as a trait that changes and changes back.
    message_id: Option<String>,
    /// When it became true, for everything in the item that has no instant of its own; null: when it was received. More than a day
    /// ahead, the time of receipt stands in.
    at: Option<DateTime>,
    /// Values by which the person is recognised. The traits `email` and `phone` recognise them too, and need not be repeated here.
    identifiers: Option<Vec<IdentifierInput>>,
    /// What is said of the person: an object; a null inside clears a trait, a trait that is left out stays.
    traits: Option<Json<Value>>,
    /// What the person did.
    events: Option<Vec<EventInput>>,
    /// What the person bought or gave back.
    purchases: Option<Vec<PurchaseInput>>,
    /// What the person answered to being spoken to, at most 200 answers.
    consents: Option<Vec<ConsentInput>>,
}

/// Something a person did.
#[derive(Clone, Debug, InputObject)]
pub struct EventInput {
    /// What it is called. A TRACK event needs a name; a PAGE or SCREEN without one is called `page` or `screen`. `Order Completed` and
    /// its like become purchases, as in the tracking API.
    name: Option<String>,
    /// When it happened; null: at the instant of the item.
    at: Option<DateTime>,
    /// Recognises a redelivery under the same key; null: made of the item's id and the event's place in the item.
    message_id: Option<String>,
    /// What else is known of it: an object.
    properties: Option<Json<Value>>,
    /// What kind of event it is.
    #[graphql(default_with = "EventInputKind::Track")]
    kind: EventInputKind,
}

/// What is said of one order.
#[derive(Clone, Debug, InputObject)]
pub struct PurchaseInput {
    /// The order, by the number its shop gave it. However often it is reported, it counts once.
    order_id: String,
    /// When it was ordered, changed, refunded or cancelled; null: at the instant of the item.
    at: Option<DateTime>,
    /// What was paid for the goods, without shipping and tax, or given back: decimal text such as "19.99". Null: what the lines add up
    /// to, and for a refund without lines all that is left. A cancellation gives back all that is left, whatever it says.
    amount: Option<String>,
    /// ISO 4217 code; null: USD, and for a refund that of its order.
    currency: Option<String>,
    /// The products; null or empty: not known.
    lines: Option<Vec<PurchaseLineInput>>,
    /// What became of the order.
    #[graphql(default_with = "PurchaseInputKind::Completed")]
    kind: PurchaseInputKind,
    /// Recognises a redelivery under the same key; null: made of the item's id and the purchase's place in the item. Each REFUNDED with
    /// an id of its own gives money back, so send one with refunds where the item around them may change.
    message_id: Option<String>,
}

/// A product of an order.
#[derive(Clone, Debug, InputObject)]
pub struct PurchaseLineInput {
    /// The product, by the number its shop gave it.
    sku: String,
    /// What it is called.
    name: Option<String>,
    /// To which category it belongs.
    category: Option<String>,
    /// How many pieces.
    #[graphql(default = 1)]
    quantity: i32,
    /// The price of one piece: decimal text such as "19.99"; null: not known.
    price: Option<String>,
}

/// What kind of event is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum EventInputKind {
    /// The customer did something.
    Track,
    /// The customer saw a page.
    Page,
    /// The customer saw a screen of an app.
    Screen,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum PurchaseInputKind {
    /// It was placed.
    Completed,
    /// It was changed: replaces what was reported before.
    Updated,
    /// The amount was given back, or all that was left where none is named.
    Refunded,
    /// All that was left was given back.
    Cancelled,
}

/// The answer to `recordsIngest`.
#[derive(Default, SimpleObject)]
pub struct RecordsIngestPayload {
    /// What became of each item, in their order; empty when the whole call was refused.
    receipts: Vec<Receipt>,
    /// The transaction; null when nothing was committed, since everything was refused or known before.
    transaction: Option<ID>,
    /// Why the whole call was refused; empty when it was not. What is wrong with one item is in its receipt.
    user_errors: Vec<UserError>,
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ReceiptStatus {
    /// It is stored, and something of it was new.
    Accepted,
    /// All of it was stored before; nothing changed.
    Duplicate,
    /// It was refused: `error` says why, and `rejectedItems` lists it.
    Rejected,
    /// Stored and acknowledged, but placed alone because an identifier is quarantined, capped or under review.
    Held,
}

/// What became of one item.
pub struct Receipt {
    index: usize,
    record: RecordId,
    outcome: queue::Receipt,
    /// What would become of its record; none when it was stored in earnest.
    preview: Option<Preview>,
}

/// What became of one item: told after it was committed.
#[Object]
impl Receipt {
    /// Its place in the call, from 0.
    async fn index(&self) -> usize {
        self.index
    }

    /// What became of it.
    async fn status(&self) -> ReceiptStatus {
        match self.outcome {
            Ok(Outcome::Accepted) => ReceiptStatus::Accepted,
            Ok(Outcome::Held) => ReceiptStatus::Held,
            Ok(Outcome::Duplicate) => ReceiptStatus::Duplicate,
            Ok(Outcome::Suppressed) | Err(_) => ReceiptStatus::Rejected,
        }
    }

    /// The record as it is now; null when the item was rejected, and with `dryRun` when there is none yet.
    async fn record(&self, ctx: &Context<'_>) -> Option<Result<RecordNode>> {
        self.outcome.as_ref().ok()?;
        ask(ctx, RecordOf(self.record))
            .await
            .map(|record| record.map(RecordNode))
            .transpose()
    }

    /// The customer the record belongs to now; null when the item was rejected, and with `dryRun` when there is no record yet.
    async fn customer(&self, ctx: &Context<'_>) -> Option<Result<CustomerNode>> {
        self.outcome.as_ref().ok()?;
        let customer = async {
            let Some(record) = ask(ctx, RecordOf(self.record)).await? else {
                return Ok(None);
            };
            Ok(ask(ctx, CustomerOf(record.customer)).await?.map(CustomerNode))
        };
        customer.await.transpose()
    }

    /// Who it would be taken for, by all items of the call together; null when it was rejected, and without `dryRun`.
    async fn decision(&self) -> Option<IdentityPreview> {
        self.preview.as_ref().map(IdentityPreview::of)
    }

    /// The values of its customer that would differ, by all items of the call together; null when it was rejected, and without `dryRun`.
    async fn changes(&self) -> Option<Vec<TraitChange>> {
        let changes = self.preview.as_ref()?.changes.iter();
        Some(changes.map(TraitChange::of).collect())
    }

    /// Why it was rejected; null when it was not. Its field begins at `items`.
    async fn error(&self) -> Option<UserError> {
        self.outcome.as_ref().err().map(|refusal| item_error(self.index, refusal))
    }
}

/// Mutations that bring data in.
#[derive(Default)]
pub struct Ingestion;

#[Object]
impl Ingestion {
    /// Stores what a source knows of people: one record for each item, with its traits, identifiers, events and purchases. An item that
    /// cannot be accepted is rejected by itself, and its neighbours are stored. Answers after the commit; where an error leaves open
    /// whether it was stored, sending the same again is safe. Needs the scope `write`.
    #[graphql(guard = "Needs(Scope::Write)")]
    async fn records_ingest(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The records.")] input: RecordsIngestInput,
    ) -> Result<RecordsIngestPayload> {
        let services = services(ctx)?;
        let door = ctx
            .data::<RecordsDoor>()
            .map_err(|_| error::internal("a schema without a door for records"))?;
        let source = match node_id::source_id(&input.source) {
            Ok(source) => source,
            Err(reason) => return Ok(refused(error::invalid("source", reason))),
        };
        let items = input.items.into_iter().map(Item::from).collect();
        if input.dry_run {
            return rehearsed(records::rehearse(services, door, source, items).await);
        }
        match records::ingest(services, door, source, items).await {
            Ok(Ingested { receipts, transaction }) => {
                forget(ctx)?;
                let receipt = |(index, (record, outcome))| Receipt {
                    index,
                    record,
                    outcome,
                    preview: None,
                };
                Ok(RecordsIngestPayload {
                    receipts: receipts.into_iter().enumerate().map(receipt).collect(),
                    transaction: transaction.map(Into::into),
                    user_errors: Vec::new(),
                })
            }
            Err(cause) => not_taken(cause),
        }
    }
}

fn not_taken(cause: records::RecordsError) -> Result<RecordsIngestPayload> {
    match cause {
        records::RecordsError::Intake(cause) => Err(error::intake(&cause)),
        records::RecordsError::Store(cause) => Err(error::store(&cause)),
        cause => error::user_error(cause.kind(), cause.field(), &cause).map(refused),
    }
}

fn rehearsed(answer: Result<Rehearsed, records::RecordsError>) -> Result<RecordsIngestPayload> {
    let Rehearsed { receipts, previews } = match answer {
        Ok(rehearsed) => rehearsed,
        Err(cause) => return not_taken(cause),
    };
    let receipt = |(index, (record, outcome)): (usize, (RecordId, queue::Receipt))| Receipt {
        index,
        record,
        preview: outcome.as_ref().ok().and_then(|_| previews.get(&record).cloned()),
        outcome,
    };
    Ok(RecordsIngestPayload {
        receipts: receipts.into_iter().enumerate().map(receipt).collect(),
        transaction: None,
        user_errors: Vec::new(),
    })
}

fn refused(user_error: UserError) -> RecordsIngestPayload {
    RecordsIngestPayload {
        user_errors: vec![user_error],
        ..RecordsIngestPayload::default()
    }
}

fn item_error(index: usize, refusal: &Refusal) -> UserError {
    let path = refusal.field.iter().flat_map(|field| field.split('.')).map(str::to_owned);
    UserError {
        code: ErrorCode::of_refusal(refusal.code),
        field: ["items".to_owned(), index.to_string()].into_iter().chain(path).collect(),
        message: refusal.message.clone(),
    }
}

impl From<RecordInput> for Item {
    fn from(input: RecordInput) -> Self {
        Self {
            key: input.key,
            message_id: input.message_id,
            at: input.at.map(|at| at.0),
            identifiers: input.identifiers.into_iter().flatten().map(assertion).collect(),
            traits: input.traits.map(|traits| traits.0),
            events: input.events.into_iter().flatten().map(Into::into).collect(),
            purchases: input.purchases.into_iter().flatten().map(Into::into).collect(),
            consents: input.consents.into_iter().flatten().map(Into::into).collect(),
        }
    }
}

fn assertion(input: IdentifierInput) -> Assertion {
    let IdentifierInput { kind, value, namespace } = input;
    Assertion {
        kind: IdentifierKind::into(kind),
        namespace: namespace.unwrap_or_default(),
        value,
    }
}

impl From<EventInput> for EventItem {
    fn from(input: EventInput) -> Self {
        Self {
            kind: match input.kind {
                EventInputKind::Track => entity::EventKind::Track,
                EventInputKind::Page => entity::EventKind::Page,
                EventInputKind::Screen => entity::EventKind::Screen,
            },
            name: input.name,
            at: input.at.map(|at| at.0),
            message_id: input.message_id,
            properties: input.properties.map(|properties| properties.0),
        }
    }
}

impl From<PurchaseInput> for PurchaseItem {
    fn from(input: PurchaseInput) -> Self {
        Self {
            kind: match input.kind {
                PurchaseInputKind::Completed => OrderReportKind::Completed,
                PurchaseInputKind::Updated => OrderReportKind::Updated,
                PurchaseInputKind::Refunded => OrderReportKind::Refunded,
                PurchaseInputKind::Cancelled => OrderReportKind::Cancelled,
            },
            order_id: input.order_id,
            at: input.at.map(|at| at.0),
            message_id: input.message_id,
            amount: input.amount,
            currency: input.currency,
            lines: input.lines.into_iter().flatten().map(Into::into).collect(),
        }
    }
}

impl From<PurchaseLineInput> for LineItem {
    fn from(input: PurchaseLineInput) -> Self {
        Self {
            sku: input.sku,
            name: input.name,
            category: input.category,
            quantity: i64::from(input.quantity),
            price: input.price,
        }
    }
}
