//! The public face: a schema of thin resolvers. No decisions here; a resolver unpacks, asks one verb or one loader, and wraps.
//!
//! `gate` looks at a document before the library does; `execute` takes a request through gate, parse cache and schema; `own` is what a
//! token of one visitor reaches, and `personal` what is left of personal data for keys that may not see it.

mod batching;
mod catalogue;
mod classes;
mod classify;
mod clv;
mod connection;
mod consent;
mod customer;
mod customers;
mod decision;
mod duration;
mod erasure;
mod error;
pub mod execute;
mod facts;
mod feed;
mod feed_change;
mod feed_customer;
pub mod gate;
mod guard;
mod identity;
mod ingest;
mod job;
mod kinds;
mod lifecycle;
mod limits;
mod loaders;
mod movement;
mod mutation;
mod node_id;
mod own;
pub mod personal;
mod preview;
mod purchase;
mod query;
mod record;
mod refresh;
mod request;
mod rules;
mod scalars;
mod shared;
mod subscription;
mod timeline;
mod traits;
mod value_model;
mod view;

pub use execute::{Answer, Door, Emission, GraphqlOptions, RequestBody};
pub use node_id::{NodeId, is_node_id};

use crate::access::Principal;
use crate::pipeline::Services;
use crate::pipeline::records::RecordsDoor;
use async_graphql::{Context, Result, Schema as AsyncSchema, SchemaBuilder, ValidationMode};

pub type Schema = AsyncSchema<query::Query, mutation::Mutation, subscription::Subscription>;

/// The schema. `services`: none to print it.
pub fn schema(services: Option<Services>) -> Schema {
    match services {
        Some(services) => builder().data(services).finish(),
        None => builder().finish(),
    }
}

/// The schema of a server that takes records.
fn serving(services: Services, records: RecordsDoor, validation: ValidationMode) -> Schema {
    builder().data(services).data(records).validation_mode(validation).finish()
}

/// The same, for tokens of single visitors.
fn serving_own(services: Services, records: RecordsDoor) -> Schema {
    builder().data(services).data(records).extension(own::OwnAlone).finish()
}

fn builder() -> SchemaBuilder<query::Query, mutation::Mutation, subscription::Subscription> {
    // The gate has bounded the selection's depth; the library's own limit bounds inline fragments inside fragments.
    Schema::build(query::Query, mutation::Mutation::default(), subscription::Subscription)
        .limit_recursive_depth(32)
        .disable_suggestions()
}

/// The schema in its own language, as it is checked in.
pub fn sdl() -> String {
    let options = async_graphql::SDLExportOptions::new()
        .sorted_fields()
        .sorted_arguments()
        .sorted_enum_items();
    let sdl = schema(None).sdl_with_options(options);
    format!("{}\n", sdl.trim())
}

fn services<'c>(ctx: &Context<'c>) -> Result<&'c Services> {
    ctx.data::<Services>()
        .map_err(|_| error::internal("a schema without services"))
}

fn principal<'c>(ctx: &Context<'c>) -> Result<&'c Principal> {
    ctx.data::<Principal>()
        .map_err(|_| error::internal("a request without a principal"))
}
