//! One change of the log, with what its reader may see of it.

use super::customer::CustomerNode;
use super::decision::with_global_ids;
use super::kinds::{EventKind, Topic};
use super::loaders::{CustomerOf, EventOf, RecordOf, ask};
use super::node_id::NodeId;
use super::personal;
use super::scalars::{Cursor, DateTime, Int64};
use crate::base::{CustomerId, DecisionId, EventId, PurchaseId, RecordId};
use crate::customer::{Event, EventKey, PurchaseKey};
use crate::feed::{EVENT_FIELDS, Entry, Feed};
use async_graphql::resolver_utils::EnumType as _;
use async_graphql::{Context, ID, Json, Object, Result};
use entity::ChangeOp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// One thing that changed.
#[derive(Clone, Debug)]
pub struct ChangeNode {
    cursor: Cursor,
    entry: Entry,
}

impl ChangeNode {
    pub fn new(feed: &Feed, entry: Entry) -> Self {
        Self {
            cursor: Cursor(feed.text(entry.place())),
            entry,
        }
    }

    /// What it is about, as its type has ids.
    fn entity(&self) -> (&'static str, ID) {
        let body = self.entry.body();
        let record = body.record.unwrap_or_else(|| RecordId(Uuid::nil()));
        let of = |node: NodeId| node.to_id();
        if let Some(id) = self.entry.event {
            return ("Event", of(NodeId::Event(EventKey { record, id })));
        }
        match body.topic {
            entity::Topic::Identity => ("IdentityDecision", of(NodeId::Decision(DecisionId(body.entity)))),
            entity::Topic::Purchase => {
                let id = PurchaseId(body.entity);
                ("Purchase", of(NodeId::Purchase(PurchaseKey { record, id })))
            }
            // Of what is measured of everybody, the models.
            entity::Topic::Metric if body.customer.is_none() => ("ValueModel", body.entity.into()),
            // A question that a customer answered belongs to the customer.
            entity::Topic::Customer | entity::Topic::Consent | entity::Topic::Metric => {
                ("Customer", of(NodeId::Customer(CustomerId(body.entity))))
            }
            entity::Topic::Event => {
                let id = EventId(body.entity);
                ("Event", of(NodeId::Event(EventKey { record, id })))
            }
            entity::Topic::SegmentMembership | entity::Topic::SegmentDefinition => ("Segment", body.entity.into()),
            entity::Topic::JourneyDefinition | entity::Topic::JourneyEnrolment => ("Journey", body.entity.into()),
            entity::Topic::Delivery => ("Delivery", body.entity.into()),
            entity::Topic::Account => ("Account", body.entity.into()),
            entity::Topic::Service => ("Case", body.entity.into()),
        }
    }
}

/// The event that it is, unless its record was erased.
async fn event_of(ctx: &Context<'_>, entry: &Entry) -> Result<Option<Event>> {
    let (Some(id), Some(record)) = (entry.event, entry.body().record) else {
        return Ok(None);
    };
    let asked = (ask(ctx, RecordOf(record)), ask(ctx, EventOf(EventKey { record, id })));
    let (record, event) = futures_util::future::try_join(asked.0, asked.1).await?;
    Ok(event.filter(|_| record.is_some()))
}

/// One side of what changed: the values before, or those after; none where there are none.
async fn side_of(ctx: &Context<'_>, entry: &Entry, side: usize) -> Result<Option<Value>> {
    let mut values = Map::new();
    for (name, pair) in &entry.body().changed {
        let value = pair.get(side).unwrap_or(&Value::Null);
        let value = match entry.body().topic {
            // What a visitor sees of a customer, everybody may who sees the trait it comes from.
            entity::Topic::Customer => match name.as_str() {
                "mergedInto" => global(value, |id| NodeId::Customer(CustomerId(id))),
                "erased" => value.clone(),
                _ => personal::of_trait(ctx, name, value.clone()).await?,
            },
            entity::Topic::Identity => match name.as_str() {
                "revokes" => global(value, |id| NodeId::Decision(DecisionId(id))),
                _ => with_global_ids("", value),
            },
            entity::Topic::Consent | entity::Topic::Purchase | entity::Topic::Metric => value.clone(),
            // Of the others nobody knows yet how personal they are.
            _ => personal::json(ctx, value)?,
        };
        values.insert(name.clone(), value);
    }
    let is_empty = values.values().all(Value::is_null);
    Ok((!is_empty).then_some(Value::Object(values)))
}

/// As the schema has it.
fn name_of(kind: entity::EventKind) -> &'static str {
    let kind = EventKind::from(kind);
    let named = EventKind::items().iter().find(|item| item.value == kind);
    named.map_or("", |item| item.name)
}

fn global(value: &Value, node: impl Fn(Uuid) -> NodeId) -> Value {
    let id = value.as_str().and_then(|text| Uuid::parse_str(text).ok());
    id.map_or_else(|| value.clone(), |id| node(id).to_id().0.into())
}

/// One thing that changed. `entityId` with `rev` tells two deliveries of one change from two changes.
#[Object(name = "Change")]
impl ChangeNode {
    /// Behind this change: a place in the whole log.
    async fn cursor(&self) -> Cursor {
        self.cursor.clone()
    }

    /// What it is about.
    async fn topic(&self) -> Topic {
        match self.entry.event {
            Some(_) => Topic::Event,
            None => self.entry.body().topic.into(),
        }
    }

    /// What happened to it: CREATED, UPDATED or DELETED.
    async fn op(&self) -> &'static str {
        match self.entry.body().op {
            _ if self.entry.event.is_some() => "CREATED",
            ChangeOp::Created => "CREATED",
            ChangeOp::Updated => "UPDATED",
            ChangeOp::Deleted => "DELETED",
        }
    }

    /// The type of what changed, such as Customer.
    async fn entity_type(&self) -> &'static str {
        self.entity().0
    }

    /// The id of what changed.
    async fn entity_id(&self) -> ID {
        self.entity().1
    }

    /// Grows with every change of one entity.
    async fn rev(&self) -> Int64 {
        Int64(self.entry.body().rev)
    }

    /// Whom it concerns, as they are today; null when it concerns nobody, or they were erased.
    async fn customer(&self, ctx: &Context<'_>) -> Option<Result<CustomerNode>> {
        let customer = self.entry.body().customer?;
        let found = ask(ctx, CustomerOf(customer)).await.transpose()?;
        Some(found.map(CustomerNode))
    }

    /// Who did it: a key, a source, the command line.
    async fn actor(&self) -> &str {
        &self.entry.row.actor
    }

    /// Why, where more is known than who did it; null where nothing is, or what was known is redacted.
    async fn cause(&self) -> Option<&str> {
        self.entry.body().cause.as_deref()
    }

    /// The transaction that wrote it, as mutations answer it.
    async fn transaction(&self) -> ID {
        self.entry.row.transaction.into()
    }

    /// When it happened in life.
    async fn occurred_at(&self, ctx: &Context<'_>) -> Result<DateTime> {
        let event = event_of(ctx, &self.entry).await?;
        Ok(DateTime(
            event.map_or(self.entry.body().occurred_at, |event| event.occurred_at),
        ))
    }

    /// When it was recorded here.
    async fn recorded_at(&self) -> DateTime {
        DateTime(self.entry.row.recorded_at)
    }

    /// The fields that changed, by name; none when they are redacted.
    async fn changed(&self) -> Vec<&str> {
        match self.entry.event {
            Some(_) => EVENT_FIELDS.to_vec(),
            None => self.entry.body().changed.keys().map(String::as_str).collect(),
        }
    }

    /// What these fields were before, masked where the key may not see it; null when there was nothing before, or it is redacted.
    async fn before(&self, ctx: &Context<'_>) -> Option<Result<Json<Value>>> {
        if self.entry.event.is_some() || self.entry.body().op == ChangeOp::Created {
            return None;
        }
        side_of(ctx, &self.entry, 0).await.map(|value| value.map(Json)).transpose()
    }

    /// What these fields are since, masked where the key may not see it; null when there is nothing left, or it is redacted.
    async fn after(&self, ctx: &Context<'_>) -> Option<Result<Json<Value>>> {
        let found = async {
            if self.entry.event.is_none() {
                return side_of(ctx, &self.entry, 1).await;
            }
            let Some(event) = event_of(ctx, &self.entry).await? else {
                return Ok(None);
            };
            Ok(Some(json!({
                "kind": name_of(event.kind),
                "name": event.name,
                "occurredAt": event.occurred_at.to_string(),
                "properties": personal::properties(ctx, event.kind, &event.properties).await?,
                "record": NodeId::Record(event.key.record).to_id().0,
            })))
        };
        found.await.map(|value| value.map(Json)).transpose()
    }

    /// Whether it was about somebody who was erased, so that what it said is gone.
    async fn redacted(&self, ctx: &Context<'_>) -> Result<bool> {
        match self.entry.event {
            Some(_) => Ok(event_of(ctx, &self.entry).await?.is_none()),
            None => Ok(self.entry.body().redacted),
        }
    }
}
