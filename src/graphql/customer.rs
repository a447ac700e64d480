//! The customer: one view over all records.

use super::connection::{Connection, page};
use super::decision::DecisionNode;
use super::error;
use super::kinds::{Channel, EventKind, TimeOrder};
use super::loaders::{HistoryOf, IdentifiersOf, RecordsOf, SeenOf, SourceOf, TimelineOf, ask, ask_many};
use super::node_id::NodeId;
use super::record::{IdentifierNode, RecordNode};
use super::scalars::{Date, DateTime};
use super::timeline::{PurchaseNode, TimelineEntry};
use super::view;
use crate::base::paging::Page;
use crate::base::{CustomerId, SourceId};
use crate::customer::Customer;
use crate::customer::store::{EventFilter, TimelineKey, TimelineWindow};
use crate::identity::{Identifier, Record};
use crate::pipeline::timeline::{Asked, Entry};
use async_graphql::{Context, ID, Object, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One person, as all channels together know them.
#[derive(Clone, Debug)]
pub struct CustomerNode(pub Customer);

/// One person, as all channels together know them: a view over records, recomputed when one of them changes.
#[Object(name = "Customer")]
impl CustomerNode {
    /// Its global id. Ids of customers that were merged into this one resolve to it for ever.
    pub async fn id(&self) -> ID {
        NodeId::Customer(self.0.id).to_id()
    }

    /// How to call them: the name, else its parts, else the e-mail address; null when none is known.
    async fn display_name(&self) -> Option<String> {
        self.0.golden.display_name()
    }

    /// E-mail address; null when none is known.
    async fn email(&self) -> Option<String> {
        self.0.golden.text("email")
    }

    /// Telephone number as it was given; null when none is known.
    async fn phone(&self) -> Option<String> {
        self.0.golden.text("phone")
    }

    /// Given name; null when none is known.
    async fn first_name(&self) -> Option<String> {
        self.0.golden.text("first_name")
    }

    /// Family name; null when none is known.
    async fn last_name(&self) -> Option<String> {
        self.0.golden.text("last_name")
    }

    /// Day of birth; null when none is known or what is known is no day.
    async fn birth_date(&self) -> Option<Date> {
        self.0.golden.text("birthday").and_then(|text| Date::of(&text))
    }

    /// Gender as it was given; null when none is known.
    async fn gender(&self) -> Option<String> {
        self.0.golden.text("gender")
    }

    /// City, from the trait city or the address; null when none is known.
    async fn city(&self) -> Option<String> {
        self.0
            .golden
            .text("city")
            .or_else(|| self.0.golden.inner_text("address", "city"))
    }

    /// Country, from the trait country or the address; null when none is known.
    async fn country(&self) -> Option<String> {
        self.0
            .golden
            .text("country")
            .or_else(|| self.0.golden.inner_text("address", "country"))
    }

    /// Language as it was given; null when none is known.
    async fn language(&self) -> Option<String> {
        self.0.golden.text("language").or_else(|| self.0.golden.text("locale"))
    }

    /// Time zone as it was given; null when none is known.
    async fn time_zone(&self) -> Option<String> {
        self.0.golden.text("timezone")
    }

    /// When its oldest record arrived.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When the last event of any of its records happened; null when there is no event.
    async fn last_seen_at(&self, ctx: &Context<'_>) -> Option<Result<DateTime>> {
        let seen = async {
            let records = records(ctx, self.0.id).await?;
            let seen = ask_many(ctx, records.iter().map(|record| SeenOf(record.id))).await?;
            Ok(seen.into_values().map(|(_, last)| DateTime(last)).max_by_key(|last| last.0))
        };
        seen.await.transpose()
    }

    /// The values by which they are recognised, each once.
    async fn identifiers(&self, ctx: &Context<'_>) -> Result<Vec<IdentifierNode>> {
        let records = records(ctx, self.0.id).await?;
        let shown = ask_many(ctx, records.iter().map(|record| IdentifiersOf(record.id))).await?;
        let mut merged: Vec<Identifier> = Vec::new();
        for identifier in records
            .iter()
            .filter_map(|record| shown.get(&IdentifiersOf(record.id)))
            .flatten()
        {
            match merged.iter_mut().find(|known| known.id == identifier.id) {
                None => merged.push(identifier.clone()),
                Some(known) => known.seen_also(identifier),
            }
        }
        Ok(merged.into_iter().map(IdentifierNode).collect())
    }

    /// What each source knows about them, in the order in which they arrived.
    async fn records(&self, ctx: &Context<'_>) -> Result<Vec<RecordNode>> {
        Ok(records(ctx, self.0.id).await?.iter().cloned().map(RecordNode).collect())
    }

    /// What was decided about who they are, the newest first: by people, by sources and by rule.
    async fn identity_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many decisions, 1 to 100.")] first: i32,
        #[graphql(desc = "Decisions behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<DecisionNode>> {
        let page = page(first, after.as_deref())?;
        let slice = ask(ctx, HistoryOf(self.0.id, page)).await?.unwrap_or_default();
        let key = |decision: &entity::identity_decision::Model| (decision.arrival, decision.id);
        Ok(Connection::new(slice, after.as_deref(), key, DecisionNode))
    }

    /// Other ids they once had: those of customers that are this one now, and resolve to it.
    async fn previous_ids(&self, ctx: &Context<'_>) -> Result<Vec<ID>> {
        let records = records(ctx, self.0.id).await?;
        let own_ids = records
            .iter()
            .filter(|record| record.was_customer)
            .map(|record| CustomerId(record.id.0));
        let previous = own_ids.filter(|id| *id != self.0.id);
        Ok(previous.map(|id| NodeId::Customer(id).to_id()).collect())
    }

    /// What they did and what they bought, in one list. Naming kinds or names asks for events alone.
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the public field")]
    async fn timeline(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many entries, 1 to 100.")] first: i32,
        #[graphql(desc = "Entries behind this cursor.")] after: Option<String>,
        #[graphql(desc = "In which direction of time.", default_with = "TimeOrder::NewestFirst")] order: TimeOrder,
        #[graphql(desc = "Only events of these kinds; by default track, page and screen.")] kinds: Option<Vec<EventKind>>,
        #[graphql(desc = "Only events of these names.")] names: Option<Vec<String>>,
        #[graphql(desc = "Only what came through these channels.")] channels: Option<Vec<Channel>>,
        #[graphql(desc = "Not before this instant.")] from: Option<DateTime>,
        #[graphql(desc = "Before this instant.")] to: Option<DateTime>,
    ) -> Result<Connection<TimelineEntry>> {
        let window = TimelineWindow {
            page: page::<TimelineKey>(first, after.as_deref())?,
            oldest_first: order == TimeOrder::OldestFirst,
            from: from.map(|from| from.0),
            to: to.map(|to| to.0),
        };
        // Together with whatever else begins with them, and so for all customers of a page in one statement.
        records(ctx, self.0.id).await?;
        let asked = Asked {
            window,
            bodies: view::shows_bodies(&ctx.look_ahead()),
            purchases: kinds.is_none() && names.is_none(),
            events: events_asked(kinds, names)?,
            sources: match channels {
                None => None,
                Some(channels) => Some(sources_of(ctx, &records(ctx, self.0.id).await?, &channels).await?),
            },
        };
        let slice = ask(ctx, TimelineOf(self.0.id, asked)).await?.unwrap_or_default();
        Ok(Connection::new(slice, after.as_deref(), Entry::key, TimelineEntry::from))
    }

    /// Their orders, newest first.
    async fn purchases(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many orders, 1 to 100.")] first: i32,
        #[graphql(desc = "Orders behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<PurchaseNode>> {
        let page: Page<TimelineKey> = page(first, after.as_deref())?;
        let window = TimelineWindow {
            page,
            oldest_first: false,
            from: None,
            to: None,
        };
        records(ctx, self.0.id).await?;
        let asked = Asked {
            window,
            events: None,
            purchases: true,
            sources: None,
            bodies: false,
        };
        let slice = ask(ctx, TimelineOf(self.0.id, asked)).await?.unwrap_or_default();
        let rows = slice.rows.into_iter().filter_map(|entry| match entry {
            Entry::Purchase(purchase) => Some(purchase),
            Entry::Event(_) => None,
        });
        let slice = crate::base::paging::Slice {
            rows: rows.collect(),
            more: slice.more,
        };
        let key = |purchase: &crate::customer::Purchase| Entry::Purchase(purchase.clone()).key();
        Ok(Connection::new(slice, after.as_deref(), key, PurchaseNode))
    }
}

async fn records(ctx: &Context<'_>, id: crate::base::CustomerId) -> Result<Arc<Vec<Record>>> {
    Ok(ask(ctx, RecordsOf(id)).await?.unwrap_or_default())
}

/// Names asked for in one timeline; more are no filter but a list.
const MAX_NAMES: usize = 100;

/// Which events a timeline lists; none when the filter can match nothing.
pub fn events_asked(kinds: Option<Vec<EventKind>>, names: Option<Vec<String>>) -> Result<Option<EventFilter>> {
    if names.as_ref().is_some_and(|names| names.len() > MAX_NAMES) {
        return Err(error::bad_input("names", format!("may hold {MAX_NAMES} names")));
    }
    let listed = [entity::EventKind::Track, entity::EventKind::Page, entity::EventKind::Screen];
    let kinds: BTreeSet<entity::EventKind> = match kinds {
        None => listed.into(),
        Some(kinds) => kinds.into_iter().map(Into::into).collect(),
    };
    let filter = EventFilter {
        kinds: kinds.into_iter().collect(),
        names,
    };
    let matches_nothing = filter.kinds.is_empty() || filter.names.as_ref().is_some_and(Vec::is_empty);
    Ok((!matches_nothing).then_some(filter))
}

/// Those sources of the records that speak through one of the channels.
async fn sources_of(ctx: &Context<'_>, records: &[Record], channels: &[Channel]) -> Result<Vec<SourceId>> {
    let sources = ask_many(ctx, records.iter().map(|record| SourceOf(record.source))).await?;
    let wanted = sources
        .into_values()
        .filter(|source| channels.contains(&source.channel.into()));
    let mut ids: Vec<SourceId> = wanted.map(|source| SourceId(source.id)).collect();
    ids.sort_unstable();
    Ok(ids)
}
