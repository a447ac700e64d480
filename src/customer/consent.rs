//! May this person be spoken to? What records answered, and what that makes of a customer. Pure.
//!
//! **A record** answers for a purpose and a channel with its latest word by event time, of equal instants with the later arrival. Each
//! (purpose, channel) is a question of its own: nothing said of one channel takes back what was said of another.
//!
//! **A customer** is asked about one channel, and whatever any record answered for that channel or for `ANY` counts:
//! - one refusal (DENIED, WITHDRAWN) is enough, whatever other records say and however old it is: uniting people never turns a refusal
//!   into a permission. So a refusal on `ANY` refuses every channel, also one that was granted later, until `ANY` itself is granted
//!   again; and `GRANTED` on `ANY` does not lift a refusal on EMAIL, since a cookie banner says yes on every page that an unsubscribed
//!   reader opens;
//! - else one GRANTED is enough, on the channel or on `ANY`;
//! - else it is UNKNOWN, which is neither: no answer does not count.
//!
//! A channel that nobody named is thereby what was said of `ANY`, and so is a question that names no channel. An answer recorded for a
//! customer is written to every record they have, so it is the latest word of each: people can opt in again, and a split keeps it.

use crate::base::ids::HashKey;
use crate::base::{ConsentId, EventId, Instant, RecordId};
use crate::ingest::consent::{ANY, folded};
use crate::ingest::message::ConsentSaid;
use crate::store::walk::Place;
use entity::{ConsentAnswer, ConsentOrigin};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// An answer's id is unique within its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsentKey {
    pub record: RecordId,
    pub id: ConsentId,
}

/// One answer, as one record keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Consent {
    pub key: ConsentKey,
    /// As it was said.
    pub purpose: String,
    /// In capitals.
    pub channel: String,
    pub answer: ConsentAnswer,
    pub origin: ConsentOrigin,
    /// What shows that it was given; null: nothing was handed in.
    pub evidence: Value,
    pub at: Instant,
    pub arrival: i64,
    /// The message that said it; none: somebody recorded it.
    pub event: Option<EventId>,
    /// Who recorded it; none: a message of the record's source.
    pub actor: Option<String>,
}

impl Consent {
    /// Its place among the instants of a customer. One that was recorded for a customer is one entry, whichever record it is read from.
    pub const fn place(&self) -> Place {
        (self.at.micros(), self.key.id.0, self.key.id.0)
    }

    /// The n-th answer of a message.
    pub fn of_message(keys: &HashKey, (record, event): (RecordId, EventId), n: u64, arrival: i64, said: &ConsentSaid) -> Self {
        let id = keys.consent(record, event, n);
        Self {
            key: ConsentKey { record, id },
            purpose: said.purpose.clone(),
            channel: said.channel.clone(),
            answer: said.answer,
            origin: said.origin,
            evidence: said.evidence.clone(),
            at: said.at,
            arrival,
            event: Some(event),
            actor: None,
        }
    }
}

/// A purpose, whatever its spelling, and a channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    purpose: String,
    channel: String,
}

impl Question {
    pub fn new(purpose: &str, channel: &str) -> Self {
        Self {
            purpose: folded(purpose.trim()),
            channel: channel.trim().to_uppercase(),
        }
    }

    /// The same of all channels.
    fn of_any(&self) -> Self {
        Self {
            purpose: self.purpose.clone(),
            channel: ANY.to_owned(),
        }
    }
}

/// What a record, or a customer, answers to one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub answer: ConsentAnswer,
    /// The spelling of the answer that decides.
    pub purpose: String,
    /// Of the answer that decides, which may be `ANY` where a channel was asked about.
    pub channel: String,
    /// Since when the record has answered this without saying anything else.
    pub since: Instant,
    pub record: RecordId,
    /// Of the latest answer that was given rather than repeated.
    pub evidence: Value,
    arrival: i64,
}

impl Standing {
    pub const fn is_refusal(&self) -> bool {
        is_refusal(self.answer)
    }
}

pub const fn is_refusal(answer: ConsentAnswer) -> bool {
    matches!(answer, ConsentAnswer::Denied | ConsentAnswer::Withdrawn)
}

/// What each record answers today, by question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers(BTreeMap<Question, BTreeMap<RecordId, Standing>>);

impl Answers {
    /// Of everything some records ever answered, in whatever order.
    pub fn of<'c>(consents: impl IntoIterator<Item = &'c Consent>) -> Self {
        let mut answers = Self::default();
        for ((question, record), said) in told(consents) {
            if let Some(standing) = standing(&said) {
                answers.0.entry(question).or_default().insert(record, standing);
            }
        }
        answers
    }

    /// What all of them together answer; none: nobody answered.
    pub fn to(&self, question: &Question) -> Option<&Standing> {
        let any = question.of_any();
        let of_any = self.0.get(&any).filter(|_| any != *question);
        let counted = || self.0.get(question).into_iter().chain(of_any).flat_map(BTreeMap::values);
        let latest = |standing: &&Standing| (standing.since, standing.arrival, standing.record);
        let refusal = counted().filter(|standing| standing.is_refusal()).max_by_key(latest);
        refusal.or_else(|| counted().max_by_key(latest))
    }

    /// Every question that any record answered, and what all together answer to it.
    pub fn all(&self) -> impl Iterator<Item = (&Question, &str, &Standing)> {
        self.0
            .keys()
            .filter_map(|question| Some((question, question.channel.as_str(), self.to(question)?)))
    }

    /// Where two answer differently: the question, and what each answers.
    pub fn differences<'a>(before: &'a Self, after: &'a Self) -> Vec<(&'a Question, Option<&'a Standing>, Option<&'a Standing>)> {
        let questions: BTreeSet<&Question> = before.0.keys().chain(after.0.keys()).collect();
        let answers = questions
            .into_iter()
            .map(|question| (question, before.to(question), after.to(question)));
        answers
            .filter(|(_, before, after)| before.map(|standing| standing.answer) != after.map(|standing| standing.answer))
            .collect()
    }
}

impl Question {
    pub fn channel(&self) -> &str {
        &self.channel
    }
}

/// From when on, by record, the new answers may contradict repetitions that were not kept: those have to be looked at again.
pub fn contradicts_since(stored: &[Consent], new: &[Consent]) -> BTreeMap<RecordId, Instant> {
    let is_new: BTreeSet<ConsentKey> = new.iter().map(|consent| consent.key).collect();
    let mut since: BTreeMap<RecordId, Instant> = BTreeMap::new();
    for said in told(stored.iter().chain(new)).into_values() {
        for (before, consent) in said.iter().zip(said.iter().skip(1)) {
            if is_new.contains(&consent.key) && before.answer != consent.answer {
                let first = since.entry(consent.key.record).or_insert(consent.at);
                *first = consent.at.min(*first);
            }
        }
    }
    since
}

/// Those of the new answers that say something: preferences come with every message of some senders, and one that repeats what its
/// record answered just before, by event time, is not kept. Whatever is left out, the answers at every instant stay the same, so the
/// order of arrival does not matter, if `new` has every repetition behind `contradicts_since` that was left out before.
pub fn worth_keeping(stored: &[Consent], new: &[Consent]) -> Vec<Consent> {
    let is_stored: BTreeSet<ConsentKey> = stored.iter().map(|consent| consent.key).collect();
    let fresh = new.iter().filter(|consent| !is_stored.contains(&consent.key));
    let mut kept = Vec::new();
    for said in told(stored.iter().chain(fresh)).into_values() {
        let mut before = None;
        for consent in said {
            let repeats = consent.origin == ConsentOrigin::Preferences && before == Some(consent.answer);
            before = Some(consent.answer);
            if !repeats && !is_stored.contains(&consent.key) {
                kept.push(consent.clone());
            }
        }
    }
    kept
}

/// What each record answered to each question, in order.
fn told<'c>(consents: impl IntoIterator<Item = &'c Consent>) -> BTreeMap<(Question, RecordId), Vec<&'c Consent>> {
    let mut told: BTreeMap<(Question, RecordId), Vec<&Consent>> = BTreeMap::new();
    for consent in consents {
        let question = Question::new(&consent.purpose, &consent.channel);
        told.entry((question, consent.key.record)).or_default().push(consent);
    }
    for said in told.values_mut() {
        said.sort_unstable_by_key(|consent| order(consent));
    }
    told
}

/// What comes later counts more.
fn order(consent: &Consent) -> (Instant, i64, ConsentId) {
    (consent.at, consent.arrival, consent.key.id)
}

/// What sorted answers to one question come to. Repetitions need not all be kept, so nothing here depends on them: the first of the last
/// run says since when, and the last that was given in so many words is the evidence.
fn standing(said: &[&Consent]) -> Option<Standing> {
    let last = said.last()?;
    let run = said.iter().rev().take_while(|consent| consent.answer == last.answer);
    let first = run.clone().last()?;
    let mut given = run.filter(|consent| consent.origin != ConsentOrigin::Preferences && !consent.evidence.is_null());
    let shown = given.next().unwrap_or(first);
    Some(Standing {
        answer: last.answer,
        purpose: first.purpose.clone(),
        channel: first.channel.clone(),
        since: first.at,
        record: first.key.record,
        evidence: shown.evidence.clone(),
        arrival: first.arrival,
    })
}

#[cfg(test)]
#[path = "consent_tests.rs"]
mod tests;
