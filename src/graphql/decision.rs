//! What was decided about who is who, what waits for a person, and why two records are one customer.

use super::customer::CustomerNode;
use super::error;
use super::kinds::{HoldReason, IdentityDecisionKind};
use super::loaders::{CustomerOf, DecisionOf, IdentifiersOf, ValueOf, ask, ask_many};
use super::node_id::NodeId;
use super::personal;
use super::record::{IdentifierNode, RecordNode};
use super::scalars::DateTime;
use super::timeline::record_node;
use crate::base::{CustomerId, DecisionId, IdentifierId, Instant, RecordId};
use crate::identity::because;
use crate::identity::explain::{Because, Step};
use crate::identity::store::evidence::Explanation;
use async_graphql::{Context, ID, Json, Object, Result};
use entity::{held_item, identity_decision};
use serde_json::Value;
use uuid::Uuid;

/// A decision about who is who.
#[derive(Clone, Debug)]
pub struct DecisionNode(pub identity_decision::Model);

/// A decision about who is who: by a person, by a source or by rule.
#[Object(name = "IdentityDecision")]
impl DecisionNode {
    /// Its global id.
    pub async fn id(&self) -> ID {
        NodeId::Decision(DecisionId(self.0.id)).to_id()
    }

    /// When it was made.
    pub async fn occurred_at(&self) -> DateTime {
        DateTime(Instant::from_micros(self.0.arrival))
    }

    /// What was decided.
    async fn kind(&self) -> IdentityDecisionKind {
        self.0.kind.into()
    }

    /// What was decided and why, in one sentence. For keys without `read:pii` the value it is about is masked and the reason left out.
    async fn because(&self, ctx: &Context<'_>) -> Result<String> {
        let value = match self.0.identifier_id {
            Some(id) => ask(ctx, ValueOf(IdentifierId(id))).await?,
            None => None,
        };
        if personal::in_clear(ctx)? {
            return Ok(because::of_decision(&self.0, value.as_ref()));
        }
        let mut decision = self.0.clone();
        decision.reason = None;
        Ok(because::of_decision(&decision, value.map(masked).as_ref()))
    }

    /// What it rests on, with global ids of the customers, records and decisions it names.
    async fn evidence(&self) -> Json<Value> {
        Json(with_global_ids("", &self.0.evidence))
    }

    /// Who decided: `key:` and the public part of a key, `source:` and the key of a source, or `intake`.
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// What the person who decided said; null for what happened by itself. "***" for keys without `read:pii`.
    async fn reason(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        Some(personal::free_text(ctx, self.0.reason.as_deref()?))
    }

    /// The decision that took this one back; null while it stands.
    async fn revoked_by(&self, ctx: &Context<'_>) -> Option<Result<DecisionNode>> {
        let id = self.0.revoked_by?;
        ask(ctx, DecisionOf(DecisionId(id)))
            .await
            .map(|decision| decision.map(DecisionNode))
            .transpose()
    }
}

/// A value as those see it who may not see it in the clear.
fn masked(mut value: entity::identifier::Model) -> entity::identifier::Model {
    value.value = personal::mask(value.kind, &value.value);
    value
}

/// Evidence is kept with the ids of the database; whoever reads it can look up global ones.
pub(super) fn with_global_ids(key: &str, evidence: &Value) -> Value {
    match evidence {
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| (key.clone(), with_global_ids(key, value));
            members.iter().map(member).collect()
        }
        Value::Array(items) => items.iter().map(|item| with_global_ids(key, item)).collect(),
        Value::String(text) => match Uuid::parse_str(text) {
            Ok(id) => match key {
                "into" | "absorbed" | "customer" => NodeId::Customer(CustomerId(id)).to_id().0.into(),
                "records" | "user" | "previous" => NodeId::Record(RecordId(id)).to_id().0.into(),
                "decision" => NodeId::Decision(DecisionId(id)).to_id().0.into(),
                _ => evidence.clone(),
            },
            Err(_) => evidence.clone(),
        },
        _ => evidence.clone(),
    }
}

/// A decision that is referred to, which is never missing.
pub async fn decision_node(ctx: &Context<'_>, id: DecisionId) -> Result<DecisionNode> {
    let decision = ask(ctx, DecisionOf(id)).await?;
    decision
        .map(DecisionNode)
        .ok_or_else(|| error::internal(format!("decision {id} is missing")))
}

/// A value as records have shown it; none when none of them did.
async fn value_shown_by(ctx: &Context<'_>, value: IdentifierId, records: &[RecordId]) -> Result<Option<IdentifierNode>> {
    let shown = ask_many(ctx, records.iter().map(|record| IdentifiersOf(*record))).await?;
    let mut of_value = records
        .iter()
        .filter_map(|record| shown.get(&IdentifiersOf(*record)))
        .flatten()
        .filter(|identifier| identifier.id == value);
    let Some(mut first) = of_value.next().cloned() else {
        return Ok(None);
    };
    of_value.for_each(|other| first.seen_also(other));
    Ok(Some(IdentifierNode(first)))
}

/// Something that waits for a person.
#[derive(Clone, Debug)]
pub struct HeldItemNode(pub held_item::Model);

/// Something about who is who that waits for a person: resolve it with `heldItemResolve`.
#[Object(name = "HeldItem")]
impl HeldItemNode {
    /// Its global id.
    pub async fn id(&self) -> ID {
        NodeId::HeldItem(self.0.id).to_id()
    }

    /// Why it waits.
    async fn reason(&self) -> HoldReason {
        self.0.reason.into()
    }

    /// Since when.
    async fn held_at(&self) -> DateTime {
        DateTime(Instant::from_micros(self.0.arrival))
    }

    /// The record that caused it.
    async fn record(&self, ctx: &Context<'_>) -> Result<RecordNode> {
        record_node(ctx, RecordId(self.0.record_id)).await
    }

    /// The other record of an alias; null when it is no alias.
    async fn other_record(&self, ctx: &Context<'_>) -> Option<Result<RecordNode>> {
        Some(record_node(ctx, RecordId(self.0.other_record_id?)).await)
    }

    /// The value it is about, as the record showed it; null for an alias.
    async fn identifier(&self, ctx: &Context<'_>) -> Option<Result<IdentifierNode>> {
        let value = IdentifierId(self.0.identifier_id?);
        value_shown_by(ctx, value, &[RecordId(self.0.record_id)]).await.transpose()
    }

    /// The decision that put it on hold.
    async fn decision(&self, ctx: &Context<'_>) -> Result<DecisionNode> {
        decision_node(ctx, DecisionId(self.0.decision_id)).await
    }

    /// When somebody resolved it; null while it waits.
    async fn resolved_at(&self) -> Option<DateTime> {
        self.0.resolved_at.map(|at| DateTime(Instant::from_micros(at)))
    }

    /// Who resolved it; null while it waits.
    async fn resolved_by(&self) -> Option<&str> {
        self.0.resolved_by.as_deref()
    }
}

/// Why two records are one customer.
pub struct PathNode(pub Explanation);

/// Why two records are one customer: the shortest chain of evidence from one to the other.
#[Object(name = "IdentityPath")]
impl PathNode {
    /// The customer whom both belong to.
    async fn customer(&self, ctx: &Context<'_>) -> Result<CustomerNode> {
        let customer = ask(ctx, CustomerOf(self.0.customer)).await?;
        customer
            .map(CustomerNode)
            .ok_or_else(|| error::internal(format!("customer {} is missing", self.0.customer)))
    }

    /// The steps from the first to the second. Empty when the two are one record, and when what joined them recognises nobody any more:
    /// whom a value joined before it was blocked by hand or passed to somebody else stays joined.
    async fn steps(&self) -> Vec<StepNode> {
        self.0.steps.iter().copied().map(StepNode).collect()
    }
}

/// A step of a chain of evidence.
pub struct StepNode(Step);

/// A step of a chain of evidence: why one record and the next are one person.
#[Object(name = "IdentityStep")]
impl StepNode {
    /// The record it comes from.
    async fn from(&self, ctx: &Context<'_>) -> Result<RecordNode> {
        record_node(ctx, self.0.from).await
    }

    /// The record it leads to.
    async fn to(&self, ctx: &Context<'_>) -> Result<RecordNode> {
        record_node(ctx, self.0.to).await
    }

    /// The value that both showed; null when a decision joined them whatever they showed.
    async fn identifier(&self, ctx: &Context<'_>) -> Option<Result<IdentifierNode>> {
        let Because::Shown { value, .. } = self.0.because else {
            return None;
        };
        value_shown_by(ctx, value, &[self.0.from, self.0.to]).await.transpose()
    }

    /// The decision that joined them: a merge, a link by hand or an alias, or the automatic link of two customers; null when one of them
    /// was new and showed a value of the other.
    async fn decision(&self, ctx: &Context<'_>) -> Option<Result<DecisionNode>> {
        Some(decision_node(ctx, self.decided_by()?).await)
    }

    /// Since when it holds: when the later of the two showed the value, or when it was decided.
    async fn at(&self) -> DateTime {
        DateTime(Instant::from_micros(self.0.at))
    }

    /// What joined them, in one sentence. For keys without `read:pii` the value is masked.
    async fn because(&self, ctx: &Context<'_>) -> Result<String> {
        match self.0.because {
            Because::Decided(decision) => decision_node(ctx, decision).await?.because(ctx).await,
            Because::Shown { value, .. } => {
                let shown = ask(ctx, ValueOf(value)).await?;
                let shown = shown.ok_or_else(|| error::internal(format!("identifier {value} is missing")))?;
                Ok(because::of_value(&if personal::in_clear(ctx)? {
                    shown
                } else {
                    masked(shown)
                }))
            }
        }
    }
}

impl StepNode {
    const fn decided_by(&self) -> Option<DecisionId> {
        match self.0.because {
            Because::Decided(decision) => Some(decision),
            Because::Shown { link, .. } => link,
        }
    }
}
