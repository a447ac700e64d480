//! Sources, records and identifiers: where the knowledge about a customer comes from.

use super::customer::CustomerNode;
use super::error;
use super::kinds::{AliasPolicy, Channel, IdentifierKind, IdentifierState};
use super::loaders::{CustomerOf, IdentifiersOf, SeenOf, SourceOf, ask, ask_many};
use super::node_id::NodeId;
use super::personal;
use super::scalars::DateTime;
use crate::base::SourceId;
use crate::identity::{Identifier, Record};
use async_graphql::{Context, ID, Json, Object, Result};
use entity::source;
use serde_json::Value;

/// A system that sends data.
#[derive(Clone, Debug)]
pub struct SourceNode(pub source::Model);

/// A system that sends data: a web site, an app, a till, a CRM.
#[Object(name = "Source")]
impl SourceNode {
    /// Its global id.
    pub async fn id(&self) -> ID {
        NodeId::Source(SourceId(self.0.id)).to_id()
    }

    /// The name by which configuration speaks of it.
    async fn key(&self) -> &str {
        &self.0.key
    }

    /// The name people read.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Through which channel it speaks with people.
    async fn channel(&self) -> Channel {
        self.0.channel.into()
    }

    /// Where sources disagree and a rule asks for trust, the higher wins.
    async fn trust(&self) -> i32 {
        i32::try_from(self.0.trust).unwrap_or(i32::MAX)
    }

    /// Whether it may send.
    async fn enabled(&self) -> bool {
        self.0.enabled
    }

    /// What its alias messages do.
    async fn alias(&self) -> AliasPolicy {
        match self.0.review_aliases {
            true => AliasPolicy::Review,
            false => AliasPolicy::Apply,
        }
    }

    /// The largest event it may send, in bytes of JSON; null: the server's default.
    async fn max_event_bytes(&self) -> Option<i64> {
        self.0.max_event_bytes
    }

    /// The largest request it may send, in bytes after decompression; null: the server's default.
    async fn max_batch_bytes(&self) -> Option<i64> {
        self.0.max_batch_bytes
    }
}

/// The source of something, which is never missing.
pub async fn source_node(ctx: &Context<'_>, id: SourceId) -> Result<SourceNode> {
    let source = ask(ctx, SourceOf(id)).await?;
    source
        .map(SourceNode)
        .ok_or_else(|| error::internal(format!("source {id} is missing")))
}

/// What one source knows about one person.
#[derive(Clone, Debug)]
pub struct RecordNode(pub Record);

/// What one source knows about one person under its own key. Records never move: a merge changes whom they belong to and nothing else.
#[Object(name = "Record")]
impl RecordNode {
    /// Its global id.
    pub async fn id(&self) -> ID {
        NodeId::Record(self.0.id).to_id()
    }

    /// The source that knows it.
    async fn source(&self, ctx: &Context<'_>) -> Result<SourceNode> {
        source_node(ctx, self.0.source).await
    }

    /// The source's own key for the person. "***" for keys without `read:pii`.
    async fn external_key(&self, ctx: &Context<'_>) -> Result<String> {
        personal::free_text(ctx, &self.0.external_key)
    }

    /// What the source last said, by trait. Each masked for keys that may not see it: what is no e-mail address or telephone number
    /// is "***".
    async fn traits(&self, ctx: &Context<'_>) -> Result<Json<Value>> {
        let traits = personal::traits(ctx, self.0.traits.values()).await?;
        Ok(Json(Value::Object(traits)))
    }

    /// The values it showed by which the person is recognised.
    async fn identifiers(&self, ctx: &Context<'_>) -> Result<Vec<IdentifierNode>> {
        let identifiers = ask(ctx, IdentifiersOf(self.0.id)).await?.unwrap_or_default();
        Ok(identifiers.into_iter().map(IdentifierNode).collect())
    }

    /// When the first of its events happened.
    async fn first_seen_at(&self, ctx: &Context<'_>) -> Result<DateTime> {
        let seen = ask(ctx, SeenOf(self.0.id)).await?;
        Ok(DateTime(
            seen.map_or(crate::base::Instant::from_micros(self.0.arrival), |(first, _)| first),
        ))
    }

    /// When the last of its events happened.
    async fn last_seen_at(&self, ctx: &Context<'_>) -> Result<DateTime> {
        let seen = ask(ctx, SeenOf(self.0.id)).await?;
        Ok(DateTime(
            seen.map_or(crate::base::Instant::from_micros(self.0.arrival), |(_, last)| last),
        ))
    }

    /// The customer it belongs to today.
    async fn customer(&self, ctx: &Context<'_>) -> Result<CustomerNode> {
        let customer = ask(ctx, CustomerOf(self.0.customer)).await?;
        customer
            .map(CustomerNode)
            .ok_or_else(|| error::internal(format!("the customer of record {} is missing", self.0.id)))
    }
}

/// A value by which a customer is recognised.
#[derive(Clone, Debug)]
pub struct IdentifierNode(pub Identifier);

/// A value by which a customer is recognised.
#[Object(name = "Identifier")]
impl IdentifierNode {
    /// What kind of value it is.
    async fn kind(&self) -> IdentifierKind {
        self.0.kind.into()
    }

    /// Within which it is unique; empty for the kinds that everybody shares.
    async fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Normalised: an e-mail address in lower case, a phone number in E.164. For keys without `read:pii` masked: `z***@e***.com`, the
    /// last two digits of a number, "***" for every other kind.
    async fn value(&self, ctx: &Context<'_>) -> Result<String> {
        Ok(match personal::in_clear(ctx)? {
            true => self.0.value.clone(),
            false => personal::mask(self.0.kind, &self.0.value),
        })
    }

    /// When it was first shown.
    async fn first_seen_at(&self) -> DateTime {
        DateTime(self.0.first_seen_at)
    }

    /// When it was last shown in a way that said something new; mere repetitions are not recorded.
    async fn last_seen_at(&self) -> DateTime {
        DateTime(self.0.last_seen_at)
    }

    /// Whether it recognises anybody.
    async fn state(&self) -> IdentifierState {
        self.0.state.into()
    }

    /// The sources that showed it.
    async fn sources(&self, ctx: &Context<'_>) -> Result<Vec<SourceNode>> {
        let sources = ask_many(ctx, self.0.sources.iter().map(|id| SourceOf(*id))).await?;
        Ok(self
            .0
            .sources
            .iter()
            .filter_map(|id| sources.get(&SourceOf(*id)).cloned().map(SourceNode))
            .collect())
    }
}
