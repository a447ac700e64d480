//! The whole company as a stream: household after household, each in order of time, in constant memory however many there are.

use super::cast::{self, Question};
use super::life::{Around, Detail, live};
use super::person::{Household, Person, members};
use super::tell::Told;
use crate::base::Instant;

/// The fewest people that make a company: the cast, and some to hide among.
pub const FEWEST: u64 = 50;

/// Which company. The same plan makes the same messages, byte by byte, on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub people: u64,
    pub seed: u64,
    /// The last instant of which anything is told; two years before it is the first.
    pub until: Instant,
    pub detail: Detail,
}

/// A company that nobody has heard of.
#[derive(Clone, Copy, Debug)]
pub struct Company {
    plan: Plan,
}

impl Company {
    /// `plan.people` counts at least `FEWEST`.
    pub fn new(plan: Plan) -> Self {
        Self {
            plan: Plan {
                people: plan.people.max(FEWEST),
                ..plan
            },
        }
    }

    pub const fn plan(&self) -> Plan {
        self.plan
    }

    pub(super) fn now(&self) -> i64 {
        self.plan.until.micros() / 1_000_000
    }

    /// People who are not of the cast.
    const fn ordinary(&self) -> u64 {
        self.plan.people - cast::PEOPLE
    }

    /// What the channels tell: of one household after the other, at last of the cast. Within each in order of time.
    pub fn households(self) -> impl Iterator<Item = Vec<Told>> {
        let ordinary = (0..).take_while(move |household| members(*household).start < self.ordinary());
        ordinary
            .map(move |household| self.household(household))
            .chain(std::iter::once_with(move || cast::play(self.now(), self.ordinary()).0))
    }

    fn household(&self, number: u64) -> Vec<Told> {
        let around = Around {
            seed: self.plan.seed,
            now: self.now(),
            detail: self.plan.detail,
        };
        let home = Household::of(self.plan.seed, number);
        let mut told = Vec::new();
        for person in members(number).filter(|person| *person < self.ordinary()) {
            live(around, &home, &Person::of(self.plan.seed, person), &mut told);
        }
        // Stable: what happened in one second stays in the order in which it was told.
        told.sort_by_key(|told| told.at);
        told
    }

    /// The merges and splits to question.
    pub fn questions(&self) -> Vec<Question> {
        cast::play(self.now(), self.ordinary()).1
    }

    /// The people, one after the other, without the cast: for a list of customers.
    pub fn people(self) -> impl Iterator<Item = Person> {
        (0..self.ordinary()).map(move |number| Person::of(self.plan.seed, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::tell::DAY;
    use entity::Channel;
    use std::collections::{BTreeMap, HashSet};

    fn company(people: u64, seed: u64) -> Company {
        Company::new(Plan {
            people,
            seed,
            until: Instant::parse("2026-06-01T12:00:00Z").expect("an instant"),
            detail: Detail::Full,
        })
    }

    fn digest(company: Company) -> String {
        let mut hasher = blake3::Hasher::new();
        for told in company.households().flatten() {
            hasher.update(told.message.to_string().as_bytes());
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    #[test]
    fn the_same_seed_makes_the_same_company_on_every_machine() {
        // Written down once. It changes with the company, and must change with nothing else.
        assert_eq!(digest(company(120, 1)), "360c0cf9bb2ca016");
        assert_ne!(digest(company(120, 2)), digest(company(120, 1)));
    }

    #[test]
    fn more_people_change_nothing_for_those_before() {
        let few: Vec<Told> = company(60, 3).households().take(20).flatten().collect();
        let many: Vec<Told> = company(6_000, 3).households().take(20).flatten().collect();
        assert_eq!(few, many);
    }

    #[test]
    fn nothing_happens_after_today_or_before_two_years_ago_and_every_message_has_its_id() {
        let company = company(400, 1);
        let now = company.now();
        let mut messages = BTreeMap::new();
        for told in company.households().flatten() {
            assert!(told.at <= now && told.at > now - 732 * DAY, "{}", told.message);
            let id = told.message["messageId"].as_str().expect("an id").to_owned();
            // Repeated by a nervous client: the same message.
            let text = told.message.to_string();
            assert_eq!(
                messages
                    .entry((super::super::tell::system_of(told.channel).key, id))
                    .or_insert(text.clone()),
                &text
            );
        }
    }

    #[test]
    fn there_is_something_of_everything() {
        let told: Vec<Told> = company(400, 1).households().flatten().collect();
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for told in &told {
            let name = told.message["event"]
                .as_str()
                .or_else(|| told.message["type"].as_str())
                .expect("a name");
            *names.entry(name).or_default() += 1;
        }
        println!("{} messages of 400 people: {names:?}", told.len());
        for (name, at_least) in [
            ("Order Completed", 800),
            ("Order Refunded", 30),
            ("Order Cancelled", 3),
            ("Product Viewed", 800),
            ("Email Opened", 300),
            ("Unsubscribed", 10),
            ("Call Received", 30),
            ("Referral Converted", 10),
            ("Review Submitted", 30),
            ("Survey Answered", 30),
            ("Subscription Started", 8),
            ("Subscription Renewed", 30),
            ("Subscription Cancelled", 3),
            ("Product Shared", 5),
        ] {
            assert!(names.get(name).copied().unwrap_or_default() >= at_least, "{name}: {names:?}");
        }
        let text = told
            .iter()
            .map(|told| told.message.to_string())
            .collect::<Vec<_>>()
            .join("\n");
        for expected in [
            "categoryPreferences",
            "\"currency\":\"CNY\"",
            "\"currency\":\"USD\"",
            "test@test.com",
            "\"000000\"",
            "tablet-shop-",
            "browser-home-",
        ] {
            assert!(text.contains(expected), "{expected}");
        }
        let channels: HashSet<&str> = told
            .iter()
            .map(|told| super::super::tell::system_of(told.channel).key)
            .collect();
        assert_eq!(channels.len(), 7);
    }

    #[test]
    fn customers_differ_as_customers_do() {
        let mut orders: BTreeMap<u64, u64> = BTreeMap::new();
        for told in company(2_000, 1).households().flatten() {
            if told.message["event"] == "Order Completed" && told.channel != Channel::Crm {
                *orders.entry(told.person).or_default() += 1;
            }
        }
        let total: u64 = orders.values().sum();
        let mut counts: Vec<u64> = orders.values().copied().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let best_fifth: u64 = counts.iter().take(400).sum();
        let once = counts.iter().filter(|count| **count == 1).count();
        println!(
            "{} buyers of 2000, {total} orders, {once} bought once, the best fifth {best_fifth}",
            counts.len()
        );
        // The best fifth brings around half of the orders, and a good part never comes back.
        assert!((40..75).contains(&(best_fifth * 100 / total)), "{best_fifth} of {total}");
        assert!((200..1_000).contains(&once), "{once}");
        assert!((3..8).contains(&(total / 2_000)), "{total}");
    }
}
