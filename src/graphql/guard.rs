//! Rights are asked for before a resolver runs, so a mutation that is refused has not acted.

use super::error::{self, Code};
use crate::access::{Principal, Scope};
use async_graphql::{Context, Guard, Result};

/// The field needs this scope.
pub struct Needs(pub Scope);

impl Guard for Needs {
    async fn check(&self, ctx: &Context<'_>) -> Result<()> {
        let principal = ctx
            .data::<Principal>()
            .map_err(|_| error::internal("a request without a principal"))?;
        if principal.may(self.0) {
            return Ok(());
        }
        Err(error::refuse(
            Code::Forbidden,
            format!("this key lacks the scope {}", self.0.name()),
        ))
    }
}
