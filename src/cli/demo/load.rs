//! Brings the company into a database, through the same intake as any channel's messages, once.
//!
//! Two deeds in `audit` mark it: `demo.begin` with the plan, before anything else, and `demo.end`. A load that was interrupted goes on with
//! the plan that was begun: its messages are the same, byte by byte, so what was stored is recognised.

use super::books::BOOKS;
use super::company::{Company, Plan};
use super::life::Detail;
use super::tell::{SYSTEMS, Told, system_of};
use crate::access::{self, Actor};
use crate::base::Instant;
use crate::base::paging::Page;
use crate::customer;
use crate::customer::listing::Filter;
use crate::ingest::source::{self, NewSource, SourceError};
use crate::ingest::{self, Arrival, Body, Limits};
use crate::pipeline::Services;
use crate::pipeline::intake::{Delivery, Outcome};
use crate::pipeline::queue::{Delivered, Intake};
use crate::value::inputs::{self, Input};
use anyhow::{Context as _, bail};
use entity::Channel;
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

const BEGUN: &str = "demo.begin";
const ENDED: &str = "demo.end";
/// Messages of one step: a good part of a commit, and little enough memory.
const STEP: usize = 1_500;
/// No message of ours is larger, and no step longer.
const LIMITS: Limits = Limits {
    event_bytes: 32 * 1024,
    events: 1_000_000,
};

/// What a load did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub messages: u64,
    pub stored: u64,
    /// Sent twice by a nervous client, or stored by an earlier load that was interrupted.
    pub repeated: u64,
    /// Of `stored`: placed alone, since a value they show is everybody's.
    pub held: u64,
}

/// The company in a database, and what bringing it there did; `None` when it was there before.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    pub company: Company,
    pub counts: Option<Counts>,
}

/// Which company is to be loaded, and whether beside other data.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub plan: Plan,
    /// A database that has other data is refused without it.
    pub beside_other_data: bool,
    /// Any company that is there already is as good.
    pub any: bool,
}

/// Loads the company unless it is there. `parallel`: steps under way at once; `progress` is told of each.
///
/// # Errors
/// When the database holds other data, or another company; when it does not answer.
pub async fn load(
    services: &Services,
    intake: &Intake,
    wish: Wish,
    parallel: usize,
    mut progress: impl FnMut(Counts),
) -> anyhow::Result<Loaded> {
    let database = services.store.reader();
    let begun = access::deeds(database, BEGUN).await?;
    let company = match begun.last().and_then(|deed| read_plan(&deed.detail)) {
        Some(there) => {
            if !wish.any && !is_same(there, wish.plan) {
                bail!(
                    "the database holds a demo company already ({} people, seed {}): its people have the same numbers, so choose another \
                     database for another company",
                    there.people,
                    there.seed
                );
            }
            Company::new(there)
        }
        None => {
            check_empty(services, wish.beside_other_data).await?;
            Company::new(wish.plan)
        }
    };
    if begun.is_empty() {
        mark(services, BEGUN, write_plan(company.plan())).await?;
    } else if !access::deeds(database, ENDED).await?.is_empty() {
        return Ok(Loaded { company, counts: None });
    }
    make_sources(services).await?;
    let mut counts = Counts::default();
    // In order, so that on a database with one writer arrival follows the story.
    let mut stored = stream::iter(steps(company))
        .map(|step| store_step(services, intake, step))
        .buffered(parallel.max(1));
    while let Some(of_step) = stored.next().await {
        counts.add(of_step?);
        progress(counts);
    }
    keep_books(services, company).await?;
    mark(services, ENDED, json!({"messages": counts.messages})).await?;
    Ok(Loaded {
        company,
        counts: Some(counts),
    })
}

impl Counts {
    fn add(&mut self, more: Self) {
        self.messages += more.messages;
        self.stored += more.stored;
        self.repeated += more.repeated;
        self.held += more.held;
    }
}

/// How many customers there are; at most `limit`.
pub async fn customers(services: &Services, limit: u64) -> anyhow::Result<u64> {
    Ok(customer::store::listing::count(services.store.reader(), &Filter::default(), limit).await?)
}

async fn check_empty(services: &Services, beside_other_data: bool) -> anyhow::Result<()> {
    let page = Page { first: 1, after: None };
    let sources = ingest::store::sources(services.store.reader(), &page).await?;
    match sources.rows.first() {
        Some(source) if !beside_other_data => bail!(
            "the database has other data (a source \"{}\"): invented people would mix with real ones. Choose another database with \
             --database-url, or say `tributary demo --force` if that is what you want",
            source.key
        ),
        _ => Ok(()),
    }
}

async fn mark(services: &Services, action: &'static str, detail: Value) -> anyhow::Result<()> {
    let now = services.now();
    let deed = services.store.transact(|tx, _| {
        let detail = detail.clone();
        Box::pin(async move { access::record_deed(tx, services.store.ids(), now, &actor(), action, "demo", detail).await })
    });
    deed.await.context("marking the demo company")?;
    Ok(())
}

fn actor() -> Actor {
    Actor::new("demo")
}

fn write_plan(plan: Plan) -> Value {
    json!({
        "people": plan.people, "seed": plan.seed, "until": plan.until.micros(),
        "detail": if plan.detail == Detail::Lean { "lean" } else { "full" },
    })
}

fn read_plan(detail: &Value) -> Option<Plan> {
    Some(Plan {
        people: detail.get("people")?.as_u64()?,
        seed: detail.get("seed")?.as_u64()?,
        until: Instant::from_micros(detail.get("until")?.as_i64()?),
        detail: if detail.get("detail")? == "lean" {
            Detail::Lean
        } else {
            Detail::Full
        },
    })
}

/// The same but for the day on which it was begun.
fn is_same(there: Plan, wanted: Plan) -> bool {
    let wanted = Company::new(wanted).plan();
    Plan {
        until: there.until,
        ..wanted
    } == there
}

async fn make_sources(services: &Services) -> anyhow::Result<()> {
    for system in SYSTEMS {
        let new = NewSource {
            key: system.key.to_owned(),
            name: system.name.to_owned(),
            channel: system.channel,
            trust: system.trust,
            write_key: None,
            max_event_bytes: None,
            max_batch_bytes: None,
            review_aliases: false,
        };
        match source::create(&services.store, services.now(), &actor(), new).await {
            Ok(_) | Err(SourceError::KeyTaken(_)) => {}
            Err(error) => return Err(error).context("making the sources of the demo company"),
        }
    }
    Ok(())
}

/// Rates, then spend, as `tributary import` brings files of them.
async fn keep_books(services: &Services, company: Company) -> anyhow::Result<()> {
    let rates = company.rates().into_iter().map(|rate| Ok(Input::Rate(rate.row()?)));
    // Each is the only one of its channel and month.
    let spend = company.spend().into_iter().map(|spend| Ok(Input::Spend(spend.row()?, 1)));
    let rates: anyhow::Result<Vec<Input>> = rates.collect();
    let spend: anyhow::Result<Vec<Input>> = spend.collect();
    let source = services.store.hash_key().source(system_of(BOOKS).key);
    for rows in [rates?, spend?] {
        inputs::import(&services.store, services.now(), &actor(), source, &rows, false)
            .await
            .context("storing the books of the demo company")?;
    }
    Ok(())
}

/// The messages in steps of whole households.
fn steps(company: Company) -> impl Iterator<Item = Vec<Told>> {
    let mut households = company.households();
    std::iter::from_fn(move || {
        let mut step = Vec::new();
        while step.len() < STEP {
            let Some(household) = households.next() else { break };
            step.extend(household);
        }
        (!step.is_empty()).then_some(step)
    })
}

/// Hands in what was told, in order; what follows each other from one source goes together.
async fn store_step(services: &Services, intake: &Intake, step: Vec<Told>) -> anyhow::Result<Counts> {
    let mut deliveries = Vec::new();
    for told in step.chunk_by(|a, b| a.channel == b.channel) {
        let messages: Vec<&Value> = told.iter().map(|told| &told.message).collect();
        deliveries.push(delivery(services, told[0].channel, &messages)?);
    }
    let answers = deliveries.into_iter().map(|delivery| intake.deliver(delivery));
    let delivered = try_join_all(answers).await.context("storing the demo company")?;
    let mut counts = Counts::default();
    for receipt in delivered.iter().flat_map(|Delivered { receipts, .. }| receipts) {
        counts.messages += 1;
        match receipt {
            Ok(Outcome::Accepted) => counts.stored += 1,
            Ok(Outcome::Held) => {
                counts.stored += 1;
                counts.held += 1;
            }
            Ok(Outcome::Duplicate) => counts.repeated += 1,
            // Somebody was erased while an interrupted load waited to go on.
            Ok(Outcome::Suppressed) => {}
            Err(refusal) => bail!("a message of the demo company was refused: {}", refusal.message),
        }
    }
    Ok(counts)
}

/// As a request of the tracking API would be read.
fn delivery(services: &Services, channel: Channel, messages: &[&Value]) -> anyhow::Result<Delivery> {
    let source_key = system_of(channel).key;
    let text = json!({"batch": messages}).to_string();
    let arrival = Arrival {
        source: services.store.hash_key().source(source_key),
        received_at: services.now(),
        protected_traits: &[],
        is_internal_id: |_| false,
        address: None,
    };
    let body = Body::batch(text.as_bytes()).map_err(|fault| anyhow::anyhow!(fault.message))?;
    let read = body.into_messages(LIMITS, &arrival, services.store.ids());
    let (messages, refused) = read.map_err(|fault| anyhow::anyhow!(fault.message))?;
    if let Some(item) = refused.first() {
        bail!("a message of the demo company was refused: {}", item.refusal.message);
    }
    Ok(Delivery {
        source_id: arrival.source,
        source_key: source_key.to_owned(),
        reviews_aliases: false,
        received_at: arrival.received_at,
        messages,
        refused: Vec::new(),
        is_bulk: true,
    })
}
