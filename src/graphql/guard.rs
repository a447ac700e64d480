//! Rights are asked for before a resolver runs, so a mutation that is refused has not acted.

use super::error::{self, Code};
use super::principal;
use crate::access::{Principal, Scope};
use async_graphql::{Context, Guard, Result};

/// The field needs this scope.
pub struct Needs(pub Scope);

impl Guard for Needs {
    async fn check(&self, ctx: &Context<'_>) -> Result<()> {
        let principal = principal(ctx)?;
        if principal.may(self.0) {
            return Ok(());
        }
        let message = match principal {
            Principal::Subject(_) => "a subject token reaches `me` and nothing else".to_owned(),
            _ => format!("this key lacks the scope {}", self.0.name()),
        };
        Err(error::refuse(Code::Forbidden, message))
    }
}

/// The field is about whom a token speaks for, so it needs a token.
pub struct OfSubject;

impl Guard for OfSubject {
    async fn check(&self, ctx: &Context<'_>) -> Result<()> {
        match principal(ctx)? {
            Principal::Subject(_) => Ok(()),
            _ => {
                let message = "`me` is the customer of a subject token, and this is a key: use customer or customerBy";
                Err(error::refuse(Code::Forbidden, message))
            }
        }
    }
}
