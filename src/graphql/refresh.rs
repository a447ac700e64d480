//! Customers whose refresh fails: who they are and why, and how they are driven again.

use super::customer::CustomerNode;
use super::error::{self, UserError};
use super::guard::Needs;
use super::loaders::{CustomerOf, ask, forget};
use super::node_id::{self, NodeId};
use super::scalars::DateTime;
use super::{principal, services};
use crate::access::Scope;
use crate::base::Kind;
use crate::due::Quarantined;
use crate::pipeline::refresh::{self, NotQuarantined};
use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};

/// A customer whose refresh was given up.
#[derive(Clone, Debug)]
pub struct RefreshFailureNode(pub Quarantined);

/// A customer whose derived values could not be computed, so that they stay as they were.
#[Object(name = "RefreshFailure")]
impl RefreshFailureNode {
    /// The id under which it was given up, for `customerRefreshRetry`.
    async fn customer_id(&self) -> ID {
        NodeId::Customer(self.0.customer).to_id()
    }

    /// The customer of today; null when they were erased.
    async fn customer(&self, ctx: &Context<'_>) -> Option<Result<CustomerNode>> {
        let found = ask(ctx, CustomerOf(self.0.customer)).await;
        found.map(|found| found.map(CustomerNode)).transpose()
    }

    /// Why the last attempt failed.
    async fn error(&self) -> &str {
        &self.0.error
    }

    /// How often it was tried.
    async fn attempts(&self) -> i64 {
        self.0.attempts
    }

    /// When it was given up.
    async fn since(&self) -> DateTime {
        DateTime(self.0.since)
    }

    /// When the first change happened that the customer's derived values do not show.
    async fn due_since(&self) -> DateTime {
        DateTime(self.0.due_at)
    }
}

/// Whose refresh is to be tried again.
#[derive(Clone, Debug, InputObject)]
pub struct CustomerRefreshRetryInput {
    /// The id under which it was given up, or another that the customer had.
    id: ID,
}

/// The answer to `customerRefreshRetry`.
#[derive(Default, SimpleObject)]
pub struct CustomerRefreshRetryPayload {
    /// The customer; null when it was refused, or they were erased.
    customer: Option<CustomerNode>,
    /// The transaction; null when nothing was committed.
    transaction: Option<ID>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// Mutations of the refresh.
#[derive(Default)]
pub struct Redriving;

#[Object]
impl Redriving {
    /// Computes the derived values of a customer again whose refresh was given up: at once, and with all its attempts. Needs the scope
    /// `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn customer_refresh_retry(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose.")] input: CustomerRefreshRetryInput,
    ) -> Result<CustomerRefreshRetryPayload> {
        let refused = |user_error| CustomerRefreshRetryPayload {
            user_errors: vec![user_error],
            ..CustomerRefreshRetryPayload::default()
        };
        let customer = match node_id::customer_id(&input.id) {
            Ok(customer) => customer,
            Err(reason) => return Ok(refused(error::invalid("id", reason))),
        };
        let driven = refresh::drive_again(services(ctx)?, &principal(ctx)?.actor(), customer).await;
        forget(ctx)?;
        Ok(match driven {
            Ok(transaction) => CustomerRefreshRetryPayload {
                customer: ask(ctx, CustomerOf(customer)).await?.map(CustomerNode),
                transaction: Some(transaction.into()),
                user_errors: Vec::new(),
            },
            Err(NotQuarantined::Store(cause)) => return Err(error::store(&cause)),
            Err(cause @ NotQuarantined::Nothing) => refused(error::user_error(Kind::NotFound, "id", &cause)?),
        })
    }
}
