//! Mutations of the catalogue: how personal a trait is.

use super::catalogue::TraitDefinitionNode;
use super::error::{self, UserError};
use super::guard::Needs;
use super::kinds::DataClass;
use super::loaders::forget;
use super::{principal, services};
use crate::access::Scope;
use crate::ingest::classify::classify;
use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};

/// How personal a trait is.
#[derive(Clone, Debug, InputObject)]
pub struct TraitDefinitionUpdateInput {
    /// The trait, by its name.
    name: String,
    /// How personal it is, from now on: keys without `read:pii` see PUBLIC and INTERNAL traits in the clear.
    class: DataClass,
}

/// The answer to `traitDefinitionUpdate`.
#[derive(Default, SimpleObject)]
pub struct TraitDefinitionUpdatePayload {
    /// The trait; null when the change was refused.
    trait_definition: Option<TraitDefinitionNode>,
    /// The transaction; null when nothing was committed, since it was of this class before.
    transaction: Option<ID>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// Mutations of the catalogue.
#[derive(Default)]
pub struct Classifying;

#[Object]
impl Classifying {
    /// Says how personal a trait is, and so who sees it unmasked and may look for people by it. Needs the scope `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn trait_definition_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The trait, and what it is.")] input: TraitDefinitionUpdateInput,
    ) -> Result<TraitDefinitionUpdatePayload> {
        let services = services(ctx)?;
        let actor = principal(ctx)?.actor();
        match classify(&services.store, services.now(), &actor, &input.name, input.class.into()).await {
            Ok((definition, transaction)) => {
                forget(ctx)?;
                Ok(TraitDefinitionUpdatePayload {
                    trait_definition: Some(TraitDefinitionNode(definition)),
                    transaction: transaction.map(Into::into),
                    user_errors: Vec::new(),
                })
            }
            Err(refused) => Ok(TraitDefinitionUpdatePayload {
                user_errors: vec![error::user_error(refused.kind(), "name", &refused)?],
                ..TraitDefinitionUpdatePayload::default()
            }),
        }
    }
}
