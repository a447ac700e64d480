//! Mutations by which people correct who is who.

use super::customer::CustomerNode;
use super::decision::{DecisionNode, HeldItemNode, decision_node};
use super::error::{self, UserError};
use super::guard::Needs;
use super::kinds::HeldAction;
use super::loaders::{CustomerOf, ask_many, forget};
use super::node_id::{self, NodeId};
use super::query::IdentifierInput;
use super::{principal, services};
use crate::access::Scope;
use crate::base::RecordId;
use crate::pipeline::mend::{self, Decided, Decision, Doer, MendError};
use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};

/// Two customers who are one person.
#[derive(Clone, Debug, InputObject)]
pub struct CustomerMergeInput {
    /// The customer whose id stays.
    into: ID,
    /// The customer who is the same person; their id resolves to the other from now on.
    from: ID,
    /// Why, in 1 to 1,000 characters.
    reason: String,
}

/// A customer who is several people.
#[derive(Clone, Debug, InputObject)]
pub struct CustomerSplitInput {
    /// The customer.
    customer: ID,
    /// Those of their records that are another person than the rest.
    records: Vec<ID>,
    /// Why, in 1 to 1,000 characters.
    reason: String,
}

/// Two records that are one person.
#[derive(Clone, Debug, InputObject)]
pub struct RecordsLinkInput {
    /// A record.
    a: ID,
    /// Another record.
    b: ID,
    /// Why, in 1 to 1,000 characters.
    reason: String,
}

/// Two records that are different people.
#[derive(Clone, Debug, InputObject)]
pub struct RecordsSeparateInput {
    /// A record.
    a: ID,
    /// Another record.
    b: ID,
    /// Why, in 1 to 1,000 characters.
    reason: String,
}

/// Which decision to take back.
#[derive(Clone, Debug, InputObject)]
pub struct IdentityDecisionRevokeInput {
    /// A merge or a split.
    id: ID,
    /// Why, in 1 to 1,000 characters.
    reason: String,
}

/// A value that recognises nobody.
#[derive(Clone, Debug, InputObject)]
pub struct IdentifierBlockInput {
    /// The value; nobody need have shown it yet.
    identifier: IdentifierInput,
    /// Why, in 1 to 1,000 characters.
    reason: String,
}

/// A blocked or held value that recognises people after all.
#[derive(Clone, Debug, InputObject)]
pub struct IdentifierReleaseInput {
    /// The value.
    identifier: IdentifierInput,
    /// Why, in 1 to 1,000 characters.
    reason: String,
}

/// What to make of an item on hold.
#[derive(Clone, Debug, InputObject)]
pub struct HeldItemResolveInput {
    /// The item.
    id: ID,
    /// What to make of it.
    action: HeldAction,
    /// Why, in 1 to 1,000 characters.
    reason: String,
}

/// The answer to `customerMerge`.
#[derive(Default, SimpleObject)]
pub struct CustomerMergePayload {
    /// The customer that both are now; null when it was refused.
    customer: Option<CustomerNode>,
    /// The decision, which can be taken back with `identityDecisionRevoke`; null when it was refused.
    decision: Option<DecisionNode>,
    /// The transaction; null when nothing was committed.
    transaction: Option<ID>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

macro_rules! payloads {
    ($($(#[$doc:meta])* $name:ident: $(#[$customers:meta])*;)+) => {$(
        $(#[$doc])*
        #[derive(Default, SimpleObject)]
        pub struct $name {
            $(#[$customers])*
            customers: Vec<CustomerNode>,
            /// The decision; null when it was refused.
            decision: Option<DecisionNode>,
            /// The transaction; null when nothing was committed.
            transaction: Option<ID>,
            /// Why it was refused; empty when it was not.
            user_errors: Vec<UserError>,
        }

        impl From<Answer> for $name {
            fn from(answer: Answer) -> Self {
                let Answer { customers, decision, transaction, user_errors } = answer;
                Self { customers, decision, transaction, user_errors }
            }
        }
    )+};
}

payloads! {
    /// The answer to `customerSplit`.
    CustomerSplitPayload: /// Every customer that came of it: a side may be several, when nothing else joins its records. Empty when it was refused.
    ;
    /// The answer to `recordsLink`.
    RecordsLinkPayload: /// The customer that both records belong to now. Empty when it was refused.
    ;
    /// The answer to `recordsSeparate`.
    RecordsSeparatePayload: /// The customers of the two records, and every other that came of parting them. Empty when it was refused.
    ;
    /// The answer to `identityDecisionRevoke`.
    IdentityDecisionRevokePayload: /// The customers of the records that the decision was about. Empty when it was refused.
    ;
    /// The answer to `identifierBlock`.
    IdentifierBlockPayload: /// The customers of those whom the value belonged to. Empty when it belonged to nobody, and when it was refused.
    ;
    /// The answer to `identifierRelease`.
    IdentifierReleasePayload: /// The customers whom the value belongs to: none, until it is shown again.
    ;
}

/// The answer to `heldItemResolve`.
#[derive(Default, SimpleObject)]
pub struct HeldItemResolvePayload {
    /// The resolved item; null when it was refused.
    held_item: Option<HeldItemNode>,
    /// The customer of the two records of an accepted alias. Empty for a value, when it was dismissed, and when it was refused.
    customers: Vec<CustomerNode>,
    /// The decision that follows from accepting it; null when it was dismissed or refused.
    decision: Option<DecisionNode>,
    /// The transaction; null when nothing was committed.
    transaction: Option<ID>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// What the payloads have in common.
#[derive(Default)]
struct Answer {
    customers: Vec<CustomerNode>,
    decision: Option<DecisionNode>,
    transaction: Option<ID>,
    user_errors: Vec<UserError>,
}

/// Mutations of who is who.
#[derive(Default)]
pub struct Mending;

#[Object]
impl Mending {
    /// Makes two customers one. The id of `into` stays, unless an older record of theirs was named by an earlier merge; the other
    /// resolves to it for ever. Refused while a standing split keeps records of the two apart. Needs the scope `write`.
    #[graphql(guard = "Needs(Scope::Write)")]
    async fn customer_merge(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The two customers.")] input: CustomerMergeInput,
    ) -> Result<CustomerMergePayload> {
        let decision = both(
            "into",
            node_id::customer_id(&input.into),
            "from",
            node_id::customer_id(&input.from),
        )
        .map(|(into, from)| Decision::Merge { into, from });
        let answer = carry_out(ctx, input.reason, decision).await?;
        Ok(CustomerMergePayload {
            customer: answer.customers.into_iter().next(),
            decision: answer.decision,
            transaction: answer.transaction,
            user_errors: answer.user_errors,
        })
    }

    /// Says that some records of a customer are another person than the rest. All of them are placed again, in the order in which they
    /// arrived; until the decision is taken back no record of one side shares a customer with one of the other, whatever they show.
    /// Needs the scope `write`.
    #[graphql(guard = "Needs(Scope::Write)")]
    async fn customer_split(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The customer and their records.")] input: CustomerSplitInput,
    ) -> Result<CustomerSplitPayload> {
        let records: Result<Vec<RecordId>, String> = input.records.iter().map(node_id::record_id).collect();
        let decision = both("customer", node_id::customer_id(&input.customer), "records", records)
            .map(|(customer, records)| Decision::Split { customer, records });
        carry_out(ctx, input.reason, decision).await.map(Into::into)
    }

    /// Says that two records are the same person, whatever the limits of the rules. It replaces an earlier `recordsSeparate` of the two.
    /// Needs the scope `write`.
    #[graphql(guard = "Needs(Scope::Write)")]
    async fn records_link(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The two records.")] input: RecordsLinkInput,
    ) -> Result<RecordsLinkPayload> {
        let decision =
            both("a", node_id::record_id(&input.a), "b", node_id::record_id(&input.b)).map(|(a, b)| Decision::Link { a, b });
        carry_out(ctx, input.reason, decision).await.map(Into::into)
    }

    /// Says that two records are different people. When they share a customer, its records are placed again. It replaces an earlier
    /// `recordsLink` of the two. Needs the scope `write`.
    #[graphql(guard = "Needs(Scope::Write)")]
    async fn records_separate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The two records.")] input: RecordsSeparateInput,
    ) -> Result<RecordsSeparatePayload> {
        let decision =
            both("a", node_id::record_id(&input.a), "b", node_id::record_id(&input.b)).map(|(a, b)| Decision::Separate { a, b });
        carry_out(ctx, input.reason, decision).await.map(Into::into)
    }

    /// Takes a merge or a split back: the records of the customers concerned are placed again under the decisions that still stand, and
    /// who was a customer before gets the old id back. Needs the scope `write`.
    #[graphql(guard = "Needs(Scope::Write)")]
    async fn identity_decision_revoke(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The decision.")] input: IdentityDecisionRevokeInput,
    ) -> Result<IdentityDecisionRevokePayload> {
        let decision = node_id::decision_id(&input.id).map_err(|reason| error::invalid("id", reason));
        let decision = decision.map(|decision| Decision::Revoke { decision });
        carry_out(ctx, input.reason, decision).await.map(Into::into)
    }

    /// Says that a value recognises nobody. The customer it belonged to is placed again without it; lookups by it find nobody. Needs the
    /// scope `write`.
    #[graphql(guard = "Needs(Scope::Write)")]
    async fn identifier_block(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The value.")] input: IdentifierBlockInput,
    ) -> Result<IdentifierBlockPayload> {
        let decision = named(input.identifier).map(|(kind, namespace, value)| Decision::Block { kind, namespace, value });
        carry_out(ctx, input.reason, decision).await.map(Into::into)
    }

    /// Says that a blocked or held value recognises people after all, however many show it. It belongs to whoever shows it next; who
    /// showed it before stays where they are. Needs the scope `write`.
    #[graphql(guard = "Needs(Scope::Write)")]
    async fn identifier_release(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The value.")] input: IdentifierReleaseInput,
    ) -> Result<IdentifierReleasePayload> {
        let decision = named(input.identifier).map(|(kind, namespace, value)| Decision::Release { kind, namespace, value });
        carry_out(ctx, input.reason, decision).await.map(Into::into)
    }

    /// Resolves an item on hold. To accept an alias links its two records (as `recordsLink`), to accept a value releases it (as
    /// `identifierRelease`); a record that a full customer turned away can only be dismissed, or merged by hand. Needs the scope `write`.
    #[graphql(guard = "Needs(Scope::Write)")]
    async fn held_item_resolve(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The item, and what to make of it.")] input: HeldItemResolveInput,
    ) -> Result<HeldItemResolvePayload> {
        let refused = |user_error| HeldItemResolvePayload {
            user_errors: vec![user_error],
            ..HeldItemResolvePayload::default()
        };
        let id = match node_id::held_item_id(&input.id) {
            Ok(id) => id,
            Err(reason) => return Ok(refused(error::invalid("id", reason))),
        };
        let (services, doer) = (services(ctx)?, doer(ctx, input.reason)?);
        let resolved = match mend::resolve_held(services, &doer, id, input.action.into()).await {
            Ok(resolved) => resolved,
            Err(cause) => {
                let mut user_error = refusal(&cause)?;
                // What accepting it would decide speaks of other inputs than this mutation has.
                if !matches!(cause.field(), "id" | "reason" | "action") {
                    user_error.field = vec!["input".to_owned(), "id".to_owned()];
                }
                return Ok(refused(user_error));
            }
        };
        forget(ctx)?;
        let answer = match resolved.decided {
            Some(decided) => answer(ctx, decided).await?,
            None => Answer::default(),
        };
        Ok(HeldItemResolvePayload {
            held_item: Some(HeldItemNode(resolved.item)),
            customers: answer.customers,
            decision: answer.decision,
            transaction: Some(resolved.transaction.into()),
            user_errors: Vec::new(),
        })
    }
}

async fn carry_out(ctx: &Context<'_>, reason: String, decision: Result<Decision, UserError>) -> Result<Answer> {
    let refused = |user_error| Answer {
        user_errors: vec![user_error],
        ..Answer::default()
    };
    let decision = match decision {
        Ok(decision) => decision,
        Err(user_error) => return Ok(refused(user_error)),
    };
    match mend::decide(services(ctx)?, &doer(ctx, reason)?, &decision).await {
        Ok(decided) => {
            forget(ctx)?;
            answer(ctx, decided).await
        }
        Err(cause) => refusal(&cause).map(refused),
    }
}

async fn answer(ctx: &Context<'_>, decided: Decided) -> Result<Answer> {
    let found = ask_many(ctx, decided.customers.iter().map(|id| CustomerOf(*id))).await?;
    let customers = decided.customers.iter().filter_map(|id| found.get(&CustomerOf(*id)).cloned());
    Ok(Answer {
        customers: customers.map(CustomerNode).collect(),
        decision: Some(decision_node(ctx, decided.decision).await?),
        transaction: Some(decided.transaction.into()),
        user_errors: Vec::new(),
    })
}

fn doer(ctx: &Context<'_>, reason: String) -> Result<Doer> {
    let actor = principal(ctx)?.actor();
    Ok(Doer { actor, reason })
}

/// A refusal as callers read it: what it names, it names by its global id.
fn refusal(cause: &MendError) -> Result<UserError> {
    let named = match cause {
        MendError::KeptApart { decision, .. } | MendError::TakenBack { by: decision } => {
            Some((decision.to_string(), NodeId::Decision(*decision)))
        }
        MendError::OfAnother { record } => Some((record.to_string(), NodeId::Record(*record))),
        _ => None,
    };
    let message = match named {
        Some((id, global)) => cause.to_string().replace(&id, &global.to_id()),
        None => cause.to_string(),
    };
    let mut user_error = error::user_error(cause.kind(), cause.field(), message)?;
    if cause.field() == "value" {
        user_error.field = ["input", "identifier", "value"].map(str::to_owned).into();
    }
    Ok(user_error)
}

/// Two inputs, or the refusal of the first that is none.
fn both<A, B>(one: &str, a: Result<A, String>, other: &str, b: Result<B, String>) -> Result<(A, B), UserError> {
    let a = a.map_err(|reason| error::invalid(one, reason))?;
    let b = b.map_err(|reason| error::invalid(other, reason))?;
    Ok((a, b))
}

pub(super) fn named(input: IdentifierInput) -> Result<(entity::IdentifierKind, String, String), UserError> {
    let IdentifierInput { kind, value, namespace } = input;
    let (kind, namespace): (entity::IdentifierKind, _) = (kind.into(), namespace.unwrap_or_default());
    if kind == entity::IdentifierKind::ExternalId && namespace.is_empty() {
        let mut refused = error::invalid("identifier", "EXTERNAL_ID needs the namespace it is unique in");
        refused.field.push("namespace".to_owned());
        return Err(refused);
    }
    Ok((kind, namespace, value))
}
