//! Which golden values a change touches, and what is read to compute them: only attributes that were told of, or that a record brought
//! along or took away, and of every other record no more than those.

use super::unify::Happened;
use crate::base::{CustomerId, Instant, RecordId, SourceId};
use crate::customer::{Customer, Golden, Spoken, Survivorship};
use crate::identity::store::sayings::{Saying, sayings_of};
use crate::identity::{Record, RecordTraits};
use crate::ingest::source::Sources;
use crate::store::StoreError;
use entity::Channel;
use sea_orm::DatabaseTransaction;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is to be computed again of one customer.
#[derive(Debug, Default)]
struct Touch {
    names: BTreeSet<String>,
    /// Whatever its records say.
    everything: bool,
    /// Records left it, and how old it is may be another question.
    is_losing: bool,
}

impl Touch {
    /// Whether the records at hand, those that moved or speak, are not enough to answer.
    fn asks_others(&self) -> bool {
        self.everything || self.is_losing || !self.names.is_empty()
    }
}

/// The customers of today whose golden values are touched.
#[derive(Debug)]
pub struct Touched(BTreeMap<CustomerId, Touch>);

impl Touched {
    /// `known`: the stored records that speak or move, each told what was said.
    pub fn by(happened: &Happened<'_>, known: &BTreeMap<RecordId, Record>) -> Self {
        let difference = &happened.difference;
        let relinked: HashMap<RecordId, CustomerId> = difference.relinked.iter().copied().collect();
        let mut touched: BTreeMap<CustomerId, Touch> = BTreeMap::new();
        for customer in difference.changed.iter().chain(&difference.appeared) {
            touched.entry(*customer).or_default();
        }
        for customer in &happened.again {
            touched.entry(*customer).or_default().everything = true;
        }
        for record in known.values() {
            let Some(to) = relinked.get(&record.id) else { continue };
            let names = || record.traits.iter().map(|(name, _)| name.to_owned());
            touched.entry(*to).or_default().names.extend(names());
            let from = touched.entry(record.customer).or_default();
            from.names.extend(names());
            from.is_losing = true;
        }
        for record in happened.new.values() {
            let names = record.traits.iter().map(|(name, _)| name.to_owned());
            touched.entry(record.customer).or_default().names.extend(names);
        }
        for said in &happened.said {
            if let Some(record) = known.get(&said.record) {
                let customer = relinked.get(&record.id).copied().unwrap_or(record.customer);
                touched.entry(customer).or_default().names.insert(said.name.to_owned());
            }
        }
        touched.retain(|customer, _| !difference.vanished.contains_key(customer));
        Self(touched)
    }

    /// Reads what the other records of these customers say. All records of a customer that is not stored are at hand.
    pub async fn others(
        &self,
        tx: &DatabaseTransaction,
        stored: &HashMap<CustomerId, Customer>,
    ) -> Result<Vec<Saying>, StoreError> {
        let asking = || {
            self.0
                .iter()
                .filter(|(id, touch)| stored.contains_key(id) && touch.asks_others())
        };
        let customers: Vec<CustomerId> = asking().map(|(id, _)| *id).collect();
        let is_everything = asking().any(|(_, touch)| touch.everything);
        let names: BTreeSet<String> = asking().flat_map(|(_, touch)| touch.names.iter().cloned()).collect();
        sayings_of(tx, &customers, (!is_everything).then_some(&names)).await
    }
}

/// A record among those of its customer.
#[derive(Clone, Copy)]
struct Member<'r> {
    id: RecordId,
    source: SourceId,
    arrival: i64,
    traits: &'r RecordTraits,
}

impl<'r> Member<'r> {
    fn spoken(self, sources: &'r Sources) -> Spoken<'r> {
        let source = sources.get(&self.source);
        Spoken {
            record: self.id,
            source_key: source.map_or("", |source| &source.key),
            channel: source.map_or(Channel::Other, |source| source.channel),
            trust: source.map_or(0, |source| source.trust),
            traits: self.traits,
        }
    }
}

/// What a customer is like now.
pub struct Outcome {
    pub id: CustomerId,
    pub golden: Golden,
    /// When its oldest record arrived.
    pub created_at: Instant,
}

/// Everything that golden values are computed from.
pub struct Grounds<'g> {
    pub survivorship: &'g Survivorship,
    pub sources: &'g Sources,
    pub stored: &'g HashMap<CustomerId, Customer>,
    pub known: &'g BTreeMap<RecordId, Record>,
    pub others: &'g [Saying],
}

impl Touched {
    /// Computes again what is touched; everything else stays as it is stored.
    pub fn outcomes(&self, happened: &Happened<'_>, grounds: &Grounds<'_>) -> Vec<Outcome> {
        let members = members(happened, grounds);
        let outcome = |(id, touch): (&CustomerId, &Touch)| {
            let members = members.get(id).map(Vec::as_slice).unwrap_or_default();
            let stored = grounds.stored.get(id);
            let spoken: Vec<Spoken<'_>> = members.iter().map(|member| member.spoken(grounds.sources)).collect();
            let golden = match stored {
                Some(stored) if !touch.everything => {
                    let names = touch.names.iter().map(String::as_str);
                    let survived = grounds.survivorship.golden_of(names, &spoken);
                    stored.golden.with(touch.names.iter().map(String::as_str), survived)
                }
                _ => grounds.survivorship.golden(&spoken),
            };
            let oldest = members.iter().map(|member| member.arrival).min();
            let of_members = oldest.unwrap_or(happened.arrival);
            let created_at = match stored {
                // The records at hand are not all there are.
                Some(stored) if !touch.asks_others() => stored.created_at.micros().min(of_members),
                _ => of_members,
            };
            Outcome {
                id: *id,
                golden,
                created_at: Instant::from_micros(created_at),
            }
        };
        self.0.iter().map(outcome).collect()
    }
}

/// The records at hand by customer of today.
fn members<'g>(happened: &'g Happened<'_>, grounds: &Grounds<'g>) -> BTreeMap<CustomerId, Vec<Member<'g>>> {
    let relinked: HashMap<RecordId, CustomerId> = happened.difference.relinked.iter().copied().collect();
    let mut members: BTreeMap<CustomerId, Vec<Member<'g>>> = BTreeMap::new();
    for other in grounds
        .others
        .iter()
        .filter(|other| !grounds.known.contains_key(&other.record))
    {
        members.entry(other.customer).or_default().push(Member {
            id: other.record,
            source: other.source,
            arrival: other.arrival,
            traits: &other.traits,
        });
    }
    for record in grounds.known.values() {
        let customer = relinked.get(&record.id).copied().unwrap_or(record.customer);
        members.entry(customer).or_default().push(Member {
            id: record.id,
            source: record.source,
            arrival: record.arrival,
            traits: &record.traits,
        });
    }
    for record in happened.new.values() {
        members.entry(record.customer).or_default().push(Member {
            id: record.id,
            source: record.source,
            arrival: record.arrival,
            traits: &record.traits,
        });
    }
    members
}
