//! Mutations by which people are erased, and may be heard of again.

use super::error::{self, UserError};
use super::guard::Needs;
use super::identity::named;
use super::job::JobNode;
use super::loaders::{JobOf, ask, forget};
use super::node_id;
use super::query::IdentifierInput;
use super::{principal, services};
use crate::access::Scope;
use crate::pipeline::erase::{self, Erased};
use crate::pipeline::mend::{Doer, MendError};
use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};

/// A person to be erased.
#[derive(Clone, Debug, InputObject)]
pub struct CustomerEraseInput {
    /// Any id the customer ever had.
    id: ID,
    /// Why, in 1 to 1,000 characters. It stays: give the number of a request, and not the person's name.
    reason: String,
}

/// A value that may be heard of again.
#[derive(Clone, Debug, InputObject)]
pub struct SuppressionLiftInput {
    /// The value; it is normalised as at intake.
    identifier: IdentifierInput,
    /// Why, in 1 to 1,000 characters: how its owner asked for it.
    reason: String,
}

/// The answer to `customerErase`.
#[derive(Default, SimpleObject)]
pub struct CustomerErasePayload {
    /// The job that takes what is left out of every table; its result is the receipt. The same one when the person was erased before;
    /// null when it was refused.
    job: Option<JobNode>,
    /// The transaction, from which on nothing answers the person any more; null when nothing was committed, since they were erased
    /// before or it was refused.
    transaction: Option<ID>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// The answer to `suppressionLift`.
#[derive(Default, SimpleObject)]
pub struct SuppressionLiftPayload {
    /// The transaction; null when it was refused.
    transaction: Option<ID>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// Mutations of erasure.
#[derive(Default)]
pub struct Erasing;

#[Object]
impl Erasing {
    /// Erases a person: at once nothing answers them any more, by whatever id, and later messages whose strongest identifier was theirs
    /// alone are dropped; then a job takes what is left out of every table. Records stay as skeletons of keyed hashes, so that everybody
    /// else stays who they are. It cannot be taken back. Needs the scope `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn customer_erase(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom, and why.")] input: CustomerEraseInput,
    ) -> Result<CustomerErasePayload> {
        let refused = |user_error| CustomerErasePayload {
            user_errors: vec![user_error],
            ..CustomerErasePayload::default()
        };
        let customer = match node_id::customer_id(&input.id) {
            Ok(customer) => customer,
            Err(reason) => return Ok(refused(error::invalid("id", reason))),
        };
        let erased = erase::erase(services(ctx)?, &doer(ctx, input.reason)?, customer).await;
        forget(ctx)?;
        Ok(match erased {
            Ok(Erased { job, transaction }) => CustomerErasePayload {
                job: ask(ctx, JobOf(job)).await?.map(JobNode),
                transaction: transaction.map(Into::into),
                user_errors: Vec::new(),
            },
            Err(cause) => refused(refusal(&cause)?),
        })
    }

    /// Lets a value of somebody who was erased be heard of again, since its owner asked for it: what is sent with it from now on opens a
    /// new customer; what was erased does not come back. A message that grants a consent expressly does the same for the values it shows:
    /// a consent of `recordsIngest`, or the event "Segment Consent Preference Updated", later than the erasure and with no refusal in it.
    /// Needs the scope `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn suppression_lift(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The value, and why.")] input: SuppressionLiftInput,
    ) -> Result<SuppressionLiftPayload> {
        let refused = |user_error| SuppressionLiftPayload {
            transaction: None,
            user_errors: vec![user_error],
        };
        let value = match named(input.identifier) {
            Ok(value) => value,
            Err(user_error) => return Ok(refused(user_error)),
        };
        Ok(match erase::lift(services(ctx)?, &doer(ctx, input.reason)?, value).await {
            Ok(transaction) => SuppressionLiftPayload {
                transaction: Some(transaction.into()),
                user_errors: Vec::new(),
            },
            Err(cause) => refused(refusal(&cause)?),
        })
    }
}

fn doer(ctx: &Context<'_>, reason: String) -> Result<Doer> {
    Ok(Doer {
        actor: principal(ctx)?.actor(),
        reason,
    })
}

fn refusal(cause: &MendError) -> Result<UserError> {
    error::user_error(cause.kind(), cause.field(), cause)
}
