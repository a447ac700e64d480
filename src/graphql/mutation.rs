//! What can be changed. Object first, one `input`, and a payload with the object, the transaction and the refusals.

use super::catalogue::ApiKeyNode;
use super::classify::Classifying;
use super::consent::Consenting;
use super::erasure::Erasing;
use super::error::{self, UserError};
use super::guard::Needs;
use super::identity::Mending;
use super::ingest::Ingestion;
use super::job::Cancelling;
use super::kinds::{AliasPolicy, ApiKeyKind, ApiScope, Channel};
use super::node_id;
use super::record::SourceNode;
use super::refresh::Redriving;
use super::rules::Ruling;
use super::scalars::DateTime;
use super::value_model::Modelling;
use super::{principal, services};
use crate::access::{self, AccessError, NewKey, Scope};
use crate::ingest::source::{self, NewSource, SourceChange, SourceError, SourceWithKey};
use async_graphql::{Context, ID, InputObject, MaybeUndefined, MergedObject, Object, Result, SimpleObject};

/// A new source.
#[derive(Clone, Debug, InputObject)]
pub struct SourceCreateInput {
    /// The name by which configuration speaks of it: lower-case letters, digits, '-', '_' and '.'.
    key: String,
    /// The name people read.
    name: String,
    /// Through which channel it speaks with people.
    channel: Channel,
    /// Where sources disagree and a rule asks for trust, the higher wins.
    #[graphql(default)]
    trust: i32,
    /// A write key that senders already use, 16 to 255 visible characters without a colon; null: one is made.
    write_key: Option<String>,
    /// The largest event it may send, in bytes of JSON; null: the server's default.
    max_event_bytes: Option<i32>,
    /// The largest request it may send, in bytes after decompression; null: the server's default.
    max_batch_bytes: Option<i32>,
    /// What its alias messages do.
    #[graphql(default)]
    alias: AliasPolicy,
}

/// Changes to a source; what is null stays as it is.
#[derive(Clone, Debug, InputObject)]
pub struct SourceUpdateInput {
    /// The source to change.
    id: ID,
    /// A new name.
    name: Option<String>,
    /// A new trust.
    trust: Option<i32>,
    /// Whether it may send.
    enabled: Option<bool>,
    /// Make a new write key; the old one works for a day more.
    #[graphql(default)]
    rotate_write_key: bool,
    /// The largest event it may send, in bytes of JSON; an explicit null: the server's default.
    max_event_bytes: MaybeUndefined<i32>,
    /// The largest request it may send, in bytes after decompression; an explicit null: the server's default.
    max_batch_bytes: MaybeUndefined<i32>,
    /// What its alias messages do from now on.
    alias: Option<AliasPolicy>,
}

/// A new API key.
#[derive(Clone, Debug, InputObject)]
pub struct ApiKeyCreateInput {
    /// Who speaks by it.
    #[graphql(default_with = "ApiKeyKind::Server")]
    kind: ApiKeyKind,
    /// What it is for.
    name: String,
    /// What it may do: of a server's key at least one scope, of a subject key none.
    #[graphql(default)]
    scopes: Vec<ApiScope>,
    /// Origins whose pages may use it, as browsers send them: `https://shop.example`. A subject key without one is of no use in
    /// browsers, and still is in apps; a server's key without one is not asked for the origin, and no page of another origin can read
    /// an answer.
    #[graphql(default)]
    allowed_origins: Vec<String>,
    /// When it stops working; null: never by itself.
    expires_at: Option<DateTime>,
}

/// Which API key to revoke.
#[derive(Clone, Debug, InputObject)]
pub struct ApiKeyRevokeInput {
    /// The key to revoke.
    id: ID,
}

/// The answer to `sourceCreate`.
#[derive(Default, SimpleObject)]
pub struct SourceCreatePayload {
    /// The new source; null when it was refused.
    source: Option<SourceNode>,
    /// The text of its write key, shown this once; null when it was refused.
    write_key: Option<String>,
    /// The transaction; null when nothing was committed.
    transaction: Option<ID>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// The answer to `sourceUpdate`.
#[derive(Default, SimpleObject)]
pub struct SourceUpdatePayload {
    /// The changed source; null when the change was refused.
    source: Option<SourceNode>,
    /// The text of its new write key, shown this once; null when it was not rotated.
    write_key: Option<String>,
    /// The transaction; null when nothing was committed.
    transaction: Option<ID>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// The answer to `apiKeyCreate`.
#[derive(Default, SimpleObject)]
pub struct ApiKeyCreatePayload {
    /// The new key; null when it was refused.
    api_key: Option<ApiKeyNode>,
    /// Shown this once, null when it was refused: the text of a server's key; of a subject key the private half, Ed25519 in PKCS#8 as
    /// PEM, with which a back end signs tokens (EdDSA, `kid` is the id of the key).
    secret: Option<String>,
    /// The transaction; null when nothing was committed.
    transaction: Option<ID>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// The answer to `apiKeyRevoke`.
#[derive(Default, SimpleObject)]
pub struct ApiKeyRevokePayload {
    /// The revoked key; null when there is none.
    api_key: Option<ApiKeyNode>,
    /// The transaction; null when nothing was committed, since it was revoked before.
    transaction: Option<ID>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// What can be changed. Expected refusals are in `userErrors`; then nothing was changed.
#[derive(Default, MergedObject)]
pub struct Mutation(
    Administration,
    Ingestion,
    Mending,
    Ruling,
    Classifying,
    Consenting,
    Erasing,
    Cancelling,
    Redriving,
    Modelling,
);

/// Mutations of sources and keys.
#[derive(Default)]
pub struct Administration;

#[Object]
impl Administration {
    /// Makes a source: the answer holds its write key, this once. Needs the scope `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn source_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new source.")] input: SourceCreateInput,
    ) -> Result<SourceCreatePayload> {
        let services = services(ctx)?;
        let new = NewSource {
            key: input.key,
            name: input.name,
            channel: input.channel.into(),
            trust: i64::from(input.trust),
            write_key: input.write_key,
            max_event_bytes: input.max_event_bytes.map(i64::from),
            max_batch_bytes: input.max_batch_bytes.map(i64::from),
            review_aliases: input.alias == AliasPolicy::Review,
        };
        let made = source::create(&services.store, services.now(), &principal(ctx)?.actor(), new).await;
        services.sources.forget();
        Ok(match source_answer(made)? {
            Ok((source, write_key, transaction)) => SourceCreatePayload {
                source,
                write_key,
                transaction,
                user_errors: Vec::new(),
            },
            Err(user_error) => SourceCreatePayload {
                user_errors: vec![user_error],
                ..SourceCreatePayload::default()
            },
        })
    }

    /// Renames a source, changes its trust or limits, enables or disables it, rotates its write key. Needs the scope `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn source_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: SourceUpdateInput,
    ) -> Result<SourceUpdatePayload> {
        let services = services(ctx)?;
        let id = node_id::source_id(&input.id).map_err(|reason| error::bad_input("input.id", reason))?;
        let change = SourceChange {
            name: input.name,
            trust: input.trust.map(i64::from),
            enabled: input.enabled,
            rotate_write_key: input.rotate_write_key,
            max_event_bytes: limit_change(&input.max_event_bytes),
            max_batch_bytes: limit_change(&input.max_batch_bytes),
            review_aliases: input.alias.map(|alias| alias == AliasPolicy::Review),
        };
        let changed = source::update(&services.store, services.now(), &principal(ctx)?.actor(), id, change).await;
        services.sources.forget();
        services.jobs.nudge();
        Ok(match source_answer(changed)? {
            Ok((source, write_key, transaction)) => SourceUpdatePayload {
                source,
                write_key,
                transaction,
                user_errors: Vec::new(),
            },
            Err(user_error) => SourceUpdatePayload {
                user_errors: vec![user_error],
                ..SourceUpdatePayload::default()
            },
        })
    }

    /// Makes an API key: the answer holds its text, or the private half of its pair, this once. Needs the scope `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn api_key_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new key.")] input: ApiKeyCreateInput,
    ) -> Result<ApiKeyCreatePayload> {
        let services = services(ctx)?;
        let new = NewKey {
            kind: input.kind.into(),
            name: input.name,
            scopes: input.scopes.into_iter().map(Into::into).collect(),
            origins: input.allowed_origins,
            expires_at: input.expires_at.map(|at| at.0),
        };
        let made = access::create(&services.store, services.now(), &principal(ctx)?.actor(), new).await;
        services.keyring.forget();
        Ok(match made {
            Ok(made) => ApiKeyCreatePayload {
                api_key: Some(ApiKeyNode(made.key)),
                secret: Some(made.text),
                transaction: Some(made.transaction.into()),
                user_errors: Vec::new(),
            },
            Err(refused) => ApiKeyCreatePayload {
                user_errors: vec![access_refusal(&refused)?],
                ..ApiKeyCreatePayload::default()
            },
        })
    }

    /// Revokes an API key for good. Needs the scope `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn api_key_revoke(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key to revoke.")] input: ApiKeyRevokeInput,
    ) -> Result<ApiKeyRevokePayload> {
        let services = services(ctx)?;
        let revoked = access::revoke(&services.store, services.now(), &principal(ctx)?.actor(), &input.id).await;
        services.keyring.forget();
        Ok(match revoked {
            Ok((key, transaction)) => ApiKeyRevokePayload {
                api_key: Some(ApiKeyNode(key)),
                transaction: transaction.map(Into::into),
                user_errors: Vec::new(),
            },
            Err(refused) => ApiKeyRevokePayload {
                user_errors: vec![access_refusal(&refused)?],
                ..ApiKeyRevokePayload::default()
            },
        })
    }
}

/// Undefined leaves a limit alone, null resets it.
fn limit_change(limit: &MaybeUndefined<i32>) -> Option<Option<i64>> {
    match limit {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(bytes) => Some(Some(i64::from(*bytes))),
    }
}

type SourceAnswer = (Option<SourceNode>, Option<String>, Option<ID>);

fn source_answer(answer: Result<SourceWithKey, SourceError>) -> Result<Result<SourceAnswer, UserError>> {
    match answer {
        Ok(done) => Ok(Ok((
            Some(SourceNode(done.source)),
            done.write_key,
            Some(done.transaction.into()),
        ))),
        Err(refused) => error::user_error(refused.kind(), refused.field(), &refused).map(Err),
    }
}

fn access_refusal(refused: &AccessError) -> Result<UserError> {
    error::user_error(refused.kind(), refused.field(), refused)
}
