//! One customer with what hangs below, fetched in one statement: looks ahead at what is selected, and hands what it found to the
//! loaders, so that the fields below find their answers there. What it does not foresee, they load as for anybody.

use super::customer::CustomerNode;
use super::loaders::feed;
use super::{error, services};
use crate::base::CustomerId;
use crate::pipeline::view::{self, Wanted};
use async_graphql::{Context, Lookahead, Result, SelectionField};

/// A customer by any id they ever had, and what is selected of them.
pub async fn customer(ctx: &Context<'_>, id: CustomerId) -> Result<Option<CustomerNode>> {
    let wanted = wanted(ctx);
    let found = view::customer(&services(ctx)?.store, id, &wanted).await;
    let Some(found) = found.map_err(|cause| error::store(&cause))? else {
        return Ok(None);
    };
    feed(ctx, id, found).map(CustomerNode).map(Some)
}

fn wanted(ctx: &Context<'_>) -> Wanted {
    let mut wanted = Wanted::default();
    for field in ctx.look_ahead().selection_fields() {
        look_at(field, &mut wanted);
    }
    wanted
}

fn look_at(customer: SelectionField<'_>, wanted: &mut Wanted) {
    for field in customer.selection_set() {
        match field.name() {
            "records" => {
                wanted.records = true;
                wanted.identifiers |= Lookahead::from(field).field("identifiers").exists();
            }
            "identifiers" => wanted.identifiers = true,
            "displayName" | "id" | "email" | "phone" | "firstName" | "lastName" | "birthDate" | "gender" | "city" | "country"
            | "language" | "timeZone" | "createdAt" | "__typename" | "timeline" | "purchases" | "purchaseSummary" | "trait"
            | "traits" => {}
            // Nearly everything else of a customer begins with the records.
            _ => wanted.records = true,
        }
    }
}
