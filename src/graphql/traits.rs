//! Golden values one by one: where each comes from, by which rule it survived, and what was overruled.

use super::error;
use super::loaders::{SourceOf, TraitsOf, ask, ask_many};
use super::personal;
use super::record::SourceNode;
use super::scalars::DateTime;
use crate::base::{CustomerId, RecordId, SourceId};
use crate::customer::{Account, Spoken, Survivorship};
use crate::identity::store::sayings::Saying;
use crate::ingest::traits::canonical_name;
use async_graphql::{Context, Json, Result, SimpleObject};
use entity::source;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// Names asked for at once; more are no question about a customer.
const MAX_NAMES: usize = 100;
/// A customer of thousands of records has as many alternatives; nobody reads on behind these.
const MAX_ALTERNATIVES: usize = 100;

/// A value of a customer that survived, where it comes from and what was overruled.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(name = "Trait")]
pub struct TraitNode {
    /// The name as it was asked for; the one under which it is kept where all were asked for.
    pub name: String,
    /// The value that survived, masked for keys that may not see it; null when it was cleared, or when the surviving object does not hold what was asked for inside it.
    pub value: Option<Json<Value>>,
    /// Whose statement survived.
    pub source: SourceNode,
    /// When it was so, by the message that stated it.
    pub observed_at: DateTime,
    /// The rule by which it survived, in words: "most recent", "source priority: crm, shop".
    pub rule: String,
    /// What else the records say of it, the strongest first, at most 100.
    pub alternatives: Vec<TraitAlternativeNode>,
}

/// What a record says and what did not survive.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(name = "TraitAlternative")]
pub struct TraitAlternativeNode {
    /// The value it states, masked for keys that may not see it; null when it took its value back.
    pub value: Option<Json<Value>>,
    /// Whose statement it is.
    pub source: SourceNode,
    /// When it was so, by the message that stated it.
    pub observed_at: DateTime,
    /// Why it did not survive, in words, with what was compared.
    pub overruled_because: String,
}

/// One golden value; `None` when nobody said anything of it.
pub async fn one(ctx: &Context<'_>, customer: CustomerId, name: String) -> Result<Option<TraitNode>> {
    Ok(some(ctx, customer, Some(vec![name])).await?.pop())
}

/// Golden values by name, those without an account left out; all of them when no names are given.
pub async fn some(ctx: &Context<'_>, customer: CustomerId, names: Option<Vec<String>>) -> Result<Vec<TraitNode>> {
    if names.as_ref().is_some_and(|names| names.len() > MAX_NAMES) {
        return Err(error::bad_input("names", format!("may hold {MAX_NAMES} names")));
    }
    let asked = names
        .as_ref()
        .map(|names| names.iter().flat_map(|name| kept_names(name)).collect());
    let said = ask(ctx, TraitsOf(customer, asked)).await?.unwrap_or_default();
    let sources = ask_many(
        ctx,
        said.iter().map(|saying| SourceOf(saying.source)).collect::<BTreeSet<_>>(),
    )
    .await?;
    let standing = super::services(ctx)?.rules.standing();
    let survivorship = Survivorship::parse(&standing.rules.golden).map_err(error::internal)?;
    let telling = Telling::new(&said, &sources, survivorship)?;
    let names = names.unwrap_or_else(|| telling.all_names());
    let mut told = Vec::with_capacity(names.len());
    for name in names {
        if let Some(mut node) = telling.tell(name)? {
            node.mask(ctx).await?;
            told.push(node);
        }
    }
    Ok(told)
}

impl TraitNode {
    /// Leaves of the values what the asker may see.
    async fn mask(&mut self, ctx: &Context<'_>) -> Result<()> {
        let overruled = self.alternatives.iter_mut().map(|alternative| &mut alternative.value);
        for value in std::iter::once(&mut self.value).chain(overruled) {
            if let Some(Json(seen)) = value.take() {
                *value = Some(Json(personal::of_trait(ctx, canonical_name(&self.name), seen).await?));
            }
        }
        Ok(())
    }
}

/// The attributes a name may be about: itself, and what it reaches into.
fn kept_names(name: &str) -> impl Iterator<Item = String> {
    let outer = name.split_once('.').map(|(outer, _)| canonical_name(outer).to_owned());
    std::iter::once(canonical_name(name).to_owned()).chain(outer)
}

/// What the records of one customer say, and who says it.
struct Telling<'t> {
    spoken: Vec<Spoken<'t>>,
    sources: HashMap<RecordId, &'t source::Model>,
    survivorship: Survivorship,
}

impl<'t> Telling<'t> {
    fn new(said: &'t [Saying], sources: &'t HashMap<SourceOf, source::Model>, survivorship: Survivorship) -> Result<Self> {
        let mut of_records = HashMap::with_capacity(said.len());
        let mut spoken = Vec::with_capacity(said.len());
        for saying in said {
            let source = sources.get(&SourceOf(saying.source)).ok_or_else(|| missing(saying.source))?;
            of_records.insert(saying.record, source);
            spoken.push(Spoken {
                record: saying.record,
                source_key: &source.key,
                channel: source.channel,
                trust: source.trust,
                traits: &saying.traits,
            });
        }
        Ok(Self {
            spoken,
            sources: of_records,
            survivorship,
        })
    }

    fn all_names(&self) -> Vec<String> {
        let names = self
            .spoken
            .iter()
            .flat_map(|spoken| spoken.traits.iter().map(|(name, _)| name));
        names.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
    }

    fn tell(&self, name: String) -> Result<Option<TraitNode>> {
        if let Some(account) = self.survivorship.account_of(canonical_name(&name), &self.spoken) {
            return self.node(name, account, Some).map(Some);
        }
        let Some((outer, path)) = name.split_once('.') else {
            return Ok(None);
        };
        let outer = canonical_name(outer).to_owned();
        let path: Vec<String> = path.split('.').map(|key| inner_name(&outer, key).to_owned()).collect();
        let Some(mut account) = self.survivorship.account_of(&outer, &self.spoken) else {
            return Ok(None);
        };
        let reach = |value: &'t Value| path.iter().try_fold(value, |value, key| value.get(key));
        account.alternatives.retain(|alternative| reach(alternative.value).is_some());
        if reach(account.value).is_none() && account.alternatives.is_empty() {
            return Ok(None);
        }
        self.node(name, account, reach).map(Some)
    }

    fn node(&self, name: String, account: Account<'t>, reach: impl Fn(&'t Value) -> Option<&'t Value>) -> Result<TraitNode> {
        let value = |value: &'t Value| reach(value).filter(|value| !value.is_null()).cloned().map(Json);
        let mut alternatives = Vec::new();
        for alternative in account.alternatives.into_iter().take(MAX_ALTERNATIVES) {
            alternatives.push(TraitAlternativeNode {
                value: value(alternative.value),
                source: self.source(alternative.record)?,
                observed_at: DateTime(alternative.at),
                overruled_because: alternative.because,
            });
        }
        Ok(TraitNode {
            name,
            value: value(account.value),
            source: self.source(account.record)?,
            observed_at: DateTime(account.at),
            rule: account.rule,
            alternatives,
        })
    }

    fn source(&self, record: RecordId) -> Result<SourceNode> {
        let source = self
            .sources
            .get(&record)
            .ok_or_else(|| error::internal(format!("record {record} is missing")))?;
        Ok(SourceNode((*source).clone()))
    }
}

/// A key inside an object as it is kept; one of an address has two spellings.
fn inner_name<'n>(outer: &str, key: &'n str) -> &'n str {
    match (outer, key) {
        ("address", "postalCode") => "postal_code",
        _ => key,
    }
}

fn missing(source: SourceId) -> async_graphql::Error {
    error::internal(format!("source {source} is missing"))
}
