//! The customer: one view over all records.

use super::classes::{self, Churn, EarlyWarningNode, Rfm};
use super::clv::{self, LifetimeValue};
use super::connection::{Connection, page};
use super::consent::{self, ConsentChangeNode, ConsentNode, ConsentState};
use super::decision::DecisionNode;
use super::duration::Duration;
use super::error;
use super::facts::{self, CustomerFacts};
use super::kinds::{Channel, EventKind, TimeOrder};
use super::lifecycle::{self, Lifecycle, MetricChange, MetricValue};
use super::loaders::{ConsentHistoryOf, HistoryOf, IdentifiersOf, RecordsOf, SeenOf, SummaryOf, TimelineOf, ask, ask_many};
use super::node_id::NodeId;
use super::personal;
use super::purchase::PurchaseSummaryNode;
use super::record::{IdentifierNode, RecordNode};
use super::scalars::{Date, DateTime};
use super::timeline::{PurchaseNode, TimelineEntry};
use super::traits::{self, TraitNode};
use crate::base::CustomerId;
use crate::base::paging::Slice;
use crate::customer::consent::Consent;
use crate::customer::store::EventFilter;
use crate::customer::{Customer, Purchase};
use crate::identity::{Identifier, Record};
use crate::pipeline::timeline::{Asked, Entry};
use crate::store::walk::Window;
use async_graphql::{Context, ID, Object, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One person, as all channels together know them.
#[derive(Clone, Debug)]
pub struct CustomerNode(pub Customer);

/// One person, as all channels together know them: a view over records, recomputed when one of them changes. A key without `read:pii`
/// sees masks where a value comes from a trait of the class PII or SENSITIVE, and so from one that nobody has classified.
#[Object(name = "Customer")]
impl CustomerNode {
    /// Its global id. Ids of customers that were merged into this one resolve to it for ever.
    pub async fn id(&self) -> ID {
        NodeId::Customer(self.0.id).to_id()
    }

    /// How to call them: the name, else its parts in the order of their script (Ada Lovelace, 王小明), else the e-mail address; null when none
    /// is known. Masked for keys that may not see it.
    async fn display_name(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        personal::text(ctx, self.0.golden.called_by(), self.0.golden.display_name()).await
    }

    /// E-mail address; null when none is known. Masked for keys that may not see it: `z***@e***.com`.
    async fn email(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        personal::text(ctx, &["email"], self.0.golden.text("email")).await
    }

    /// Telephone number as it was given; null when none is known. Masked for keys that may not see it: its last two digits.
    async fn phone(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        personal::text(ctx, &["phone"], self.0.golden.text("phone")).await
    }

    /// Given name; null when none is known. "***" for keys that may not see it.
    async fn first_name(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        personal::text(ctx, &["first_name"], self.0.golden.text("first_name")).await
    }

    /// Family name; null when none is known. "***" for keys that may not see it.
    async fn last_name(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        personal::text(ctx, &["last_name"], self.0.golden.text("last_name")).await
    }

    /// Day of birth; null when none is known, when what is known is no day, and for keys that may not see it.
    async fn birth_date(&self, ctx: &Context<'_>) -> Option<Result<Date>> {
        let day = self.0.golden.text("birthday").and_then(|text| Date::of(&text));
        personal::unmaskable(ctx, &["birthday"], day).await
    }

    /// Gender as it was given; null when none is known. "***" for keys that may not see it.
    async fn gender(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        personal::text(ctx, &["gender"], self.0.golden.text("gender")).await
    }

    /// City, from the trait city or the address; null when none is known. "***" for keys that may not see it.
    async fn city(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        let golden = &self.0.golden;
        match golden.text("city") {
            Some(named) => personal::text(ctx, &["city"], Some(named)).await,
            None => personal::text(ctx, &["address"], golden.inner_text("address", "city")).await,
        }
    }

    /// Country, from the trait country or the address; null when none is known. "***" for keys that may not see it.
    async fn country(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        let golden = &self.0.golden;
        match golden.text("country") {
            Some(named) => personal::text(ctx, &["country"], Some(named)).await,
            None => personal::text(ctx, &["address"], golden.inner_text("address", "country")).await,
        }
    }

    /// Language as it was given, from the trait language or locale; null when none is known. "***" for keys that may not see it.
    async fn language(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        match self.0.golden.text("language") {
            Some(named) => personal::text(ctx, &["language"], Some(named)).await,
            None => personal::text(ctx, &["locale"], self.0.golden.text("locale")).await,
        }
    }

    /// Time zone as it was given; null when none is known. "***" for keys that may not see it.
    async fn time_zone(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        personal::text(ctx, &["timezone"], self.0.golden.text("timezone")).await
    }

    /// One golden value with where it comes from and what was overruled; null when no source has said anything of it but fillers such as
    /// "N/A".
    async fn r#trait(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its name, in any accepted spelling; \"address.city\" reaches inside an object.")] name: String,
    ) -> Option<Result<TraitNode>> {
        traits::one(ctx, self.0.id, name).await.transpose()
    }

    /// Golden values with where each comes from and what was overruled, in the order asked for; those of which no source has said
    /// anything are left out.
    async fn traits(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which ones, at most 100; by default all, in the order of their names.")] names: Option<Vec<String>>,
    ) -> Result<Vec<TraitNode>> {
        traits::some(ctx, self.0.id, names).await
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
        // Together with whatever else begins with them, and so for all customers of a page in one statement.
        records(ctx, self.0.id).await?;
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

    /// What they did and bought, what they answered to being spoken to and what was decided about who they are, in one list over all their
    /// records. Pages hold each entry once,
    /// also while entries arrive and customers merge. Decisions of every kind are listed, each once, at the instant they were made:
    /// becoming known is one of them. What repeats what is known decides nothing and is not there. Naming kinds or names asks for events
    /// alone; naming channels leaves decisions out, which come through none.
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
        let window = Window {
            page: page(first, after.as_deref())?,
            oldest_first: order == TimeOrder::OldestFirst,
            from: from.map(|from| from.0),
            to: to.map(|to| to.0),
        };
        let everything = kinds.is_none() && names.is_none();
        let asked = Asked {
            window,
            purchases: everything,
            consents: everything,
            decisions: everything && channels.is_none(),
            events: events_asked(kinds, names)?,
            channels: channels.map(stored_channels),
        };
        let slice = ask(ctx, TimelineOf(self.0.id, asked)).await?.unwrap_or_default();
        Ok(Connection::new(slice, after.as_deref(), Entry::place, TimelineEntry::from))
    }

    /// Their orders as the sources reported them, newest first. An order that several of their records reported is there as often, and
    /// `counted` once.
    async fn purchases(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many orders, 1 to 100.")] first: i32,
        #[graphql(desc = "Orders behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<PurchaseNode>> {
        let asked = Asked {
            window: Window::newest(page(first, after.as_deref())?),
            events: None,
            purchases: true,
            consents: false,
            decisions: false,
            channels: None,
        };
        let slice = ask(ctx, TimelineOf(self.0.id, asked)).await?.unwrap_or_default();
        let rows = slice.rows.into_iter().filter_map(|entry| match entry {
            Entry::Purchase(purchase) => Some(purchase),
            Entry::Event(_) | Entry::Consent(_) | Entry::Decision(_) => None,
        });
        let slice = Slice {
            rows: rows.collect(),
            more: slice.more,
        };
        Ok(Connection::new(slice, after.as_deref(), Purchase::place, PurchaseNode))
    }

    /// What they bought, added up.
    async fn purchase_summary(&self, ctx: &Context<'_>) -> Result<PurchaseSummaryNode> {
        let summary = ask(ctx, SummaryOf(self.0.id)).await?;
        Ok(PurchaseSummaryNode(summary.unwrap_or_default()))
    }

    /// What they are worth over a time to come, by the models in force.
    async fn clv(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How far ahead, from now; at most 50 years.", default_with = "Duration::years(5)")] horizon: Duration,
        #[graphql(desc = "What waiting for a year costs, from 0 to below 1; null: as it is configured.")] discount_rate: Option<
            f64,
        >,
    ) -> Result<LifetimeValue> {
        clv::clv(ctx, self.0.id, horizon, discount_rate).await
    }

    /// Recency, frequency and money, with the class that follows from them. It is null without a purchase, while the amount of none is known,
    /// while no version of the models is published, and until the refresh has looked.
    async fn rfm(&self, ctx: &Context<'_>) -> Option<Result<Rfm>> {
        classes::rfm(ctx, self.0.id).await.transpose()
    }

    /// How likely they are to stay away, and what speaks for it.
    async fn churn(&self, ctx: &Context<'_>) -> Result<Churn> {
        classes::churn(ctx, self.0.id).await
    }

    /// What calls for attention now, the oldest first.
    async fn warnings(&self, ctx: &Context<'_>) -> Result<Vec<EarlyWarningNode>> {
        classes::warnings(ctx, self.0.id).await
    }

    /// What they bought, gave back and did besides, in the reporting currency: what their value is computed from.
    async fn facts(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "As of which instant: what is known today of what had happened until then. By default now; never later."
        )]
        as_of: Option<DateTime>,
    ) -> Result<CustomerFacts> {
        facts::facts(ctx, self.0.id, as_of).await
    }

    /// Where they stand in the life cycle.
    async fn lifecycle(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At which instant; null: now. At one at which they were part of another customer, what held when they became that.")]
        as_of: Option<DateTime>,
    ) -> Result<Lifecycle> {
        lifecycle::lifecycle(ctx, &self.0, as_of.map(|at| at.0)).await
    }

    /// A discrete measure by its name; null when nothing holds: no class without a purchase, no warning while all is well.
    async fn metric(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its name: lifecycle, rfm, churn, warning.gap, warning.usage, warning.recommendation, warning.contract.")]
        key: String,
        #[graphql(desc = "At which instant; null: now.")] as_of: Option<DateTime>,
    ) -> Option<Result<MetricValue>> {
        lifecycle::metric(ctx, &self.0, &key, as_of.map(|at| at.0)).await.transpose()
    }

    /// What held of a discrete measure, interval by interval, the oldest first; of customers who are part of this one now, too. That of the
    /// life cycle begins with POTENTIAL, unless they became known by an order.
    async fn metric_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its name, as `metric` takes it.")] metric: String,
        #[graphql(desc = "How many intervals, 1 to 100.")] first: i32,
        #[graphql(desc = "Intervals behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<MetricChange>> {
        lifecycle::history(ctx, &self.0, &metric, first, after).await
    }

    /// Whether they may be spoken to: one for each purpose and channel that any of their records answered.
    async fn consents(&self, ctx: &Context<'_>) -> Result<Vec<ConsentNode>> {
        consent::consents(ctx, self.0.id).await
    }

    /// Whether they may be spoken to for a purpose through a channel: UNKNOWN while nobody answered. A channel that nothing was said of
    /// goes by what was said of ANY.
    async fn consent(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What for: MARKETING, ANALYTICS …; case makes no difference.")] purpose: String,
        #[graphql(
            desc = "Through which channel: EMAIL, SMS …; null, or ANY: one that nothing else was said of. Name the channel you will use."
        )]
        channel: Option<String>,
    ) -> Result<ConsentState> {
        consent::consent(ctx, self.0.id, &purpose, channel.as_deref()).await
    }

    /// What they answered to being spoken to, newest first. A message that repeats what its record has answered is none.
    async fn consent_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many answers, 1 to 100.")] first: i32,
        #[graphql(desc = "Answers behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<ConsentChangeNode>> {
        let page = page(first, after.as_deref())?;
        let slice = ask(ctx, ConsentHistoryOf(self.0.id, page)).await?.unwrap_or_default();
        Ok(Connection::new(slice, after.as_deref(), Consent::place, ConsentChangeNode))
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

/// As they are stored, each once and in one order, so that equal questions are asked together.
fn stored_channels(channels: Vec<Channel>) -> Vec<entity::Channel> {
    let channels: BTreeSet<entity::Channel> = channels.into_iter().map(Into::into).collect();
    channels.into_iter().collect()
}
