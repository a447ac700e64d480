//! The catalogue, what was refused, and keys: what operators look at.

use super::kinds::{ApiKeyKind, ApiScope, DataClass, EventKind, ValueType};
use super::node_id::NodeId;
use super::personal;
use super::record::{SourceNode, source_node};
use super::scalars::{DateTime, Int64};
use crate::access::{Scope, key};
use crate::base::{Instant, SourceId};
use crate::ingest::readable_payload;
use async_graphql::{Context, ID, Json, Object, Result};
use entity::{api_key, event_definition, rejected_item, trait_definition};
use serde_json::Value;

/// A trait that was seen.
#[derive(Clone, Debug)]
pub struct TraitDefinitionNode(pub trait_definition::Model);

/// A trait that sources have sent.
#[Object(name = "TraitDefinition")]
impl TraitDefinitionNode {
    /// Its name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The narrowest type that holds every value seen.
    async fn value_type(&self) -> ValueType {
        self.0.value_type.into()
    }

    /// How personal it is.
    async fn class(&self) -> DataClass {
        self.0.class.into()
    }

    /// When it was first received.
    async fn first_seen_at(&self) -> DateTime {
        DateTime(Instant::from_micros(self.0.first_seen_at))
    }

    /// When it was last received; saved every few seconds.
    async fn last_seen_at(&self) -> DateTime {
        DateTime(Instant::from_micros(self.0.last_seen_at))
    }

    /// How often it was received: saved every few seconds, so approximate after a crash.
    async fn count(&self) -> Int64 {
        Int64(self.0.seen_count)
    }
}

/// An event name that was seen.
#[derive(Clone, Debug)]
pub struct EventDefinitionNode(pub event_definition::Model);

/// An event that sources have sent.
#[Object(name = "EventDefinition")]
impl EventDefinitionNode {
    /// Its name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What kind of call it was.
    async fn kind(&self) -> EventKind {
        self.0.kind.into()
    }

    /// When it was first received.
    async fn first_seen_at(&self) -> DateTime {
        DateTime(Instant::from_micros(self.0.first_seen_at))
    }

    /// When it was last received; saved every few seconds.
    async fn last_seen_at(&self) -> DateTime {
        DateTime(Instant::from_micros(self.0.last_seen_at))
    }

    /// How often it was received: saved every few seconds, so approximate after a crash.
    async fn count(&self) -> Int64 {
        Int64(self.0.seen_count)
    }
}

/// An item that was refused.
#[derive(Clone, Debug)]
pub struct RejectedItemNode(pub rejected_item::Model);

/// An item of a batch that was refused while its neighbours were accepted.
#[Object(name = "RejectedItem")]
impl RejectedItemNode {
    /// Its global id.
    pub async fn id(&self) -> ID {
        NodeId::RejectedItem(self.0.id).to_id()
    }

    /// The source that sent it.
    async fn source(&self, ctx: &Context<'_>) -> Result<SourceNode> {
        source_node(ctx, SourceId(self.0.source_id)).await
    }

    /// When it was received.
    async fn received_at(&self) -> DateTime {
        DateTime(Instant::from_micros(self.0.received_at))
    }

    /// Its place in its batch, from 0.
    async fn index(&self) -> i64 {
        self.0.item_index
    }

    /// Why it was refused, for programs.
    async fn code(&self) -> &str {
        &self.0.code
    }

    /// Why it was refused and what to do, for people.
    async fn message(&self) -> &str {
        &self.0.message
    }

    /// Path of the field to blame; null when it is the item as a whole.
    async fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// The item as it came; as a text when it is no readable JSON, and cut at 32 KiB. For keys without `read:pii` the names of its
    /// fields, with masked values; "***" when it is no object.
    async fn payload(&self, ctx: &Context<'_>) -> Result<Json<Value>> {
        let payload = readable_payload(&self.0.payload).unwrap_or_else(|| Value::String(self.0.payload.clone()));
        personal::json(ctx, &payload).map(Json)
    }
}

/// A key, without its secret.
#[derive(Clone, Debug)]
pub struct ApiKeyNode(pub api_key::Model);

/// A key of a server or an operator. Its secret was shown once, when it was made.
#[Object(name = "ApiKey")]
impl ApiKeyNode {
    /// The public part of the key; of a subject key the `kid` of its tokens.
    async fn id(&self) -> ID {
        ID(self.0.id.clone())
    }

    /// Who speaks by it.
    async fn kind(&self) -> ApiKeyKind {
        self.0.kind.into()
    }

    /// The public half of a subject key, Ed25519 as PEM; null for a server's key.
    async fn public_key(&self) -> Option<String> {
        self.0.public_key.as_deref().map(key::public_pem)
    }

    /// Origins whose pages may use it.
    async fn allowed_origins(&self) -> Vec<&str> {
        self.0.origins.split_whitespace().collect()
    }

    /// What it is for.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What it may do.
    async fn scopes(&self) -> Vec<ApiScope> {
        self.0.scopes.split(',').filter_map(Scope::parse).map(Into::into).collect()
    }

    /// The end of its text, to recognise it by; of a subject key the end of its public half in base64.
    async fn last_four(&self) -> &str {
        &self.0.last_four
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime(Instant::from_micros(self.0.created_at))
    }

    /// When it stops working; null: never by itself.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(|at| DateTime(Instant::from_micros(at)))
    }

    /// When it was revoked; null while it works.
    async fn revoked_at(&self) -> Option<DateTime> {
        self.0.revoked_at.map(|at| DateTime(Instant::from_micros(at)))
    }

    /// When it was last used, saved now and then; null: never yet.
    async fn last_used_at(&self) -> Option<DateTime> {
        self.0.last_used_at.map(|at| DateTime(Instant::from_micros(at)))
    }
}
