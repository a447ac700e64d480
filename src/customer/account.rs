//! Why a value survived: who stated it, by which rule, and what else was said and why that was overruled, in words with evidence. Pure.
//!
//! The first alternative is what would survive if the surviving statement had not been made, except where statements count together
//! (`most_frequent`).

use super::{Preferred, Said, Spoken, Strategy, Survivorship, place, said};
use crate::base::{EventId, Instant, RecordId};
use crate::identity::folded;
use serde_json::Value;
use std::cmp::Reverse;

/// What is known of one attribute of a customer.
#[derive(Clone, Debug, PartialEq)]
pub struct Account<'a> {
    /// What survived; null when it was cleared.
    pub value: &'a Value,
    pub record: RecordId,
    pub at: Instant,
    pub event: EventId,
    /// In words: `most recent`, `source priority: crm, shop`.
    pub rule: String,
    /// What else was said, the strongest first; what says nothing stands last.
    pub alternatives: Vec<Alternative<'a>>,
}

/// What a record said and what did not survive.
#[derive(Clone, Debug, PartialEq)]
pub struct Alternative<'a> {
    pub value: &'a Value,
    pub record: RecordId,
    pub at: Instant,
    /// In words, with what was compared.
    pub because: String,
}

/// A statement that may win and what it weighs.
struct Weighed<'a> {
    weight: i64,
    said: Said<'a>,
}

impl Survivorship {
    /// The account of one attribute; `None` when nobody said anything but fillers.
    pub fn account_of<'a>(&self, name: &str, spoken: &[Spoken<'a>]) -> Option<Account<'a>> {
        let strategy = self.strategy_of(name);
        let (counting, mut others): (Vec<Said<'a>>, Vec<Said<'a>>) = said(name, spoken).partition(|said| strategy.counts(said));
        // A null beside fillers: the last word that is one.
        others.sort_by_key(|said| Reverse((said.stated.value.is_null(), said.recency())));
        let weights = strategy.weights(&counting);
        let mut ranked: Vec<Weighed<'a>> = weights
            .into_iter()
            .zip(counting)
            .map(|(weight, said)| Weighed { weight, said })
            .collect();
        ranked.sort_by_key(|weighed| Reverse((weighed.weight, weighed.said.recency())));
        let mut ranked = ranked.into_iter();
        let mut others = others.into_iter();
        let won = match ranked.next() {
            Some(won) => won,
            None => Weighed {
                weight: 0,
                said: others.next().filter(|said| said.stated.value.is_null())?,
            },
        };
        let overruled = ranked.map(|lost| (lost.said, strategy.because(&lost, &won)));
        let worthless = others.map(|said| (said, worthless(&said).to_owned()));
        let alternatives = overruled.chain(worthless).map(|(said, because)| Alternative {
            value: &said.stated.value,
            record: said.by.record,
            at: said.stated.at,
            because,
        });
        Some(Account {
            value: &won.said.stated.value,
            record: won.said.by.record,
            at: won.said.stated.at,
            event: won.said.stated.event,
            rule: strategy.in_words(),
            alternatives: alternatives.collect(),
        })
    }
}

fn worthless(said: &Said<'_>) -> &'static str {
    match said.stated.value.is_null() {
        true => "cleared: the record took its own value back",
        false => "junk value: it says nothing about the person",
    }
}

impl Strategy {
    fn in_words(&self) -> String {
        match self {
            Self::MostRecent => "most recent".to_owned(),
            Self::SourcePriority(sources) => {
                let names: Vec<&str> = sources.iter().map(|source| source.key.as_str()).collect();
                format!("source priority: {}", names.join(", "))
            }
            Self::MostFrequent => "most frequent".to_owned(),
            Self::Longest => "longest".to_owned(),
            Self::Trust => "most trusted source".to_owned(),
        }
    }

    /// Why one statement lost against another.
    fn because(&self, lost: &Weighed<'_>, won: &Weighed<'_>) -> String {
        if lost.weight == won.weight {
            return later(&lost.said, &won.said);
        }
        match self {
            Self::MostRecent => later(&lost.said, &won.said),
            Self::SourcePriority(sources) => {
                let (lost, won) = (ranking(sources, &lost.said.by), ranking(sources, &won.said.by));
                format!("source ranks lower: {lost}, {won}")
            }
            Self::MostFrequent => format!("stated less often: by {} of the records against {}", lost.weight, won.weight),
            Self::Longest => format!("shorter: {} characters against {}", lost.weight, won.weight),
            Self::Trust => format!("source is trusted less: {} against {}", lost.weight, won.weight),
        }
    }
}

fn ranking(sources: &[Preferred], by: &Spoken<'_>) -> String {
    match place(sources, by) {
        last if last == sources.len() => format!("{} is not named", by.source_key),
        n => format!("{} is number {}", by.source_key, n + 1),
    }
}

/// Of two statements that weigh the same the most recent counts.
fn later(lost: &Said<'_>, won: &Said<'_>) -> String {
    let (lost_at, won_at) = (lost.stated.at, won.stated.at);
    let against = match won.stated.value.is_null() {
        true => "cleared",
        false => "stated",
    };
    if lost_at == won_at {
        let (lost, won) = (
            Instant::from_micros(lost.stated.arrival),
            Instant::from_micros(won.stated.arrival),
        );
        return match lost == won {
            true => format!("of the same instant, {won_at}, and the same arrival; the record with the higher id counts"),
            false => format!("of the same instant, {won_at}, but arrived earlier: {lost} against {won}"),
        };
    }
    let is_same = folded(&lost.text()) == folded(&won.text());
    match is_same {
        true => format!("older, of the same value: {lost_at}, {against} again {won_at}"),
        false => format!("older: of {lost_at}, {against} otherwise {won_at}"),
    }
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
