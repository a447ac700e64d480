//! One customer with what hangs below, fetched in one statement: looks ahead at what is selected, and hands what it found to the
//! loaders, so that the fields below find their answers there. What it does not foresee, they load as for anybody.

use super::customer::{CustomerNode, events_asked};
use super::loaders::feed;
use super::{error, services};
use crate::base::CustomerId;
use crate::base::paging::Page;
use crate::customer::store::TimelineWindow;
use crate::pipeline::timeline::Asked;
use crate::pipeline::view::{self, Wanted};
use async_graphql::{Context, Lookahead, Result, SelectionField, Value};

/// A customer by any id they ever had, and what is selected of them.
pub async fn customer(ctx: &Context<'_>, id: CustomerId) -> Result<Option<CustomerNode>> {
    let wanted = wanted(ctx)?;
    let found = view::customer(&services(ctx)?.store, id, &wanted).await;
    let Some(found) = found.map_err(|cause| error::store(&cause))? else {
        return Ok(None);
    };
    feed(ctx, id, found).map(CustomerNode).map(Some)
}

/// Whether properties or contexts of events are selected below a timeline.
pub fn shows_bodies(timeline: &Lookahead<'_>) -> bool {
    let shows = |entry: Lookahead<'_>| entry.field("properties").exists() || entry.field("context").exists();
    shows(timeline.field("nodes")) || shows(timeline.field("edges").field("node"))
}

fn wanted(ctx: &Context<'_>) -> Result<Wanted> {
    let mut wanted = Wanted::default();
    for field in ctx.look_ahead().selection_fields() {
        look_at(field, &mut wanted)?;
    }
    // Whoever asks for anything of several pages with other events asks the loaders.
    let events = |asked: &Asked| asked.events.clone();
    if let Some(first) = wanted.timelines.iter().find_map(events) {
        wanted
            .timelines
            .retain(|asked| asked.events.as_ref().is_none_or(|events| *events == first));
    }
    Ok(wanted)
}

fn look_at(customer: SelectionField<'_>, wanted: &mut Wanted) -> Result<()> {
    for field in customer.selection_set() {
        match field.name() {
            "records" => {
                wanted.records = true;
                wanted.identifiers |= Lookahead::from(field).field("identifiers").exists();
            }
            "identifiers" => wanted.identifiers = true,
            "timeline" | "purchases" => {
                wanted.records = true;
                wanted.timelines.extend(latest(field)?);
            }
            "displayName" | "id" | "email" | "phone" | "firstName" | "lastName" | "birthDate" | "gender" | "city" | "country"
            | "language" | "timeZone" | "createdAt" | "__typename" => {}
            // Nearly everything else of a customer begins with the records.
            _ => wanted.records = true,
        }
    }
    Ok(())
}

/// The page that a field asks for, as its resolver will ask for it, when it is the first one and unfiltered.
fn latest(field: SelectionField<'_>) -> Result<Option<Asked>> {
    let arguments = field.arguments()?;
    let [(name, Value::Number(first))] = arguments.as_slice() else {
        return Ok(None);
    };
    let Some(first) = first.as_u64().filter(|first| name == "first" && (1..=100).contains(first)) else {
        return Ok(None);
    };
    let is_timeline = field.name() == "timeline";
    Ok(Some(Asked {
        window: TimelineWindow {
            page: Page { first, after: None },
            oldest_first: false,
            from: None,
            to: None,
        },
        events: if is_timeline { events_asked(None, None)? } else { None },
        purchases: true,
        sources: None,
        bodies: is_timeline && shows_bodies(&Lookahead::from(field)),
    }))
}
