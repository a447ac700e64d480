//! Two years of somebody's life with the company: they come, look, buy at their own rhythm, grow silent one day, and talk back.
//!
//! Buying follows the statistics of real customers: everybody has a rate of their own (gamma), stops after some purchase with a chance of
//! their own (beta), and spends at a level of their own (inverse gamma); the year has its seasons.

use super::chance::Chance;
use super::names::Country;
use super::person::{Household, Person, as_typed};
use super::tell::{DAY, Teller, Told, consents, over};
use super::{basket, wares};
use chrono::{DateTime, Datelike as _};
use entity::Channel;
use serde_json::json;

/// Twenty quantiles of a gamma distribution of shape 0.9: purchases for every thousand of the average.
const RATES: [u64; 20] = [
    18, 61, 111, 165, 224, 289, 359, 435, 519, 612, 715, 829, 959, 1111, 1284, 1497, 1764, 2123, 2674, 3862,
];
/// Of a beta distribution (1, 4): of a thousand purchases after so many nobody comes back.
const LAST_PURCHASE: [u64; 20] = [
    6, 19, 33, 47, 62, 78, 94, 111, 130, 149, 170, 193, 218, 245, 276, 311, 353, 406, 477, 603,
];
/// Of an inverse gamma of shape 4 with mean 1: percent of what is usual on an order.
const SPENDING: [u64; 20] = [
    34, 42, 47, 52, 57, 61, 65, 70, 74, 79, 85, 90, 97, 105, 113, 124, 139, 158, 191, 276,
];
/// January to December, percent.
const SEASONS: [u64; 12] = [85, 75, 80, 85, 95, 85, 75, 80, 95, 105, 150, 190];
/// An average customer who has not stopped buys five times a year; in purchases for a million days and a thousandth of the average.
const PURCHASES: u64 = 14;
/// The number of the shops: clerks put it where a customer has none, until it is held for being everybody's.
pub const SHOP_PHONE: &str = "+44 20 0999 0000";

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    Full,
    /// Who people are and what they buy, without visits and opened mail: about ten messages for each.
    Lean,
}

/// What surrounds everybody.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    pub seed: u64,
    /// Seconds since 1970.
    pub now: i64,
    pub detail: Detail,
}

/// Tells the life of one person.
pub fn live(around: Around, home: &Household, person: &Person, told: &mut Vec<Told>) {
    let from = told.len();
    let mut life = Life {
        chance: Chance::of(around.seed, "life", person.number),
        around,
        home,
        teller: Teller::new(person, around.now, told),
        orders: 0,
    };
    let joined = (around.now / DAY - person.joined) * DAY + life.chance.within(7 * 3600..=20 * 3600);
    life.introduce(joined);
    life.buy_and_browse(joined);
    life.read_mail(joined);
    life.subscribe(joined);
    life.change_their_mind(joined);
    life.teller.repeat_some(&mut life.chance, from);
}

/// One life while it is told; `basket` tells of orders, `wares` of visits.
pub struct Life<'l> {
    pub chance: Chance,
    pub around: Around,
    pub home: &'l Household,
    pub teller: Teller<'l>,
    pub orders: u32,
}

impl Life<'_> {
    pub fn is_full(&self) -> bool {
        self.around.detail == Detail::Full
    }

    /// A time of an opening hour of the day after so many.
    pub fn later(&mut self, at: i64, days: std::ops::RangeInclusive<i64>) -> i64 {
        (at / DAY + self.chance.within(days)) * DAY + self.chance.within(8 * 3600..=21 * 3600)
    }

    /// Each channel hears of the person in its own way, and not without mistakes.
    fn introduce(&mut self, joined: i64) {
        let person = self.teller.person;
        if person.knows.web {
            self.register(joined);
        }
        if person.knows.app {
            let at = if person.knows.web {
                self.later(joined, 1..=60)
            } else {
                joined
            };
            let mut traits = json!({"email": person.email, "firstName": person.nickname.unwrap_or(person.first)});
            if self.chance.percent(30) {
                traits["phone"] = self.phone_given().into();
            }
            let mut who = json!({"type": "identify", "traits": traits, "userId": person.customer_number(),
                "context": {"device": {"id": format!("device-{}", person.number), "type": "ios"}}});
            let mut known_as = Vec::new();
            if person.knows.card && self.chance.percent(60) {
                known_as.push(json!({"id": person.card(), "type": "loyalty_id", "collection": "users"}));
            }
            if person.knows.social && self.chance.percent(50) {
                known_as.push(json!({"id": person.handle(), "type": "social_handle", "collection": "users"}));
            }
            who["context"]["externalIds"] = known_as.into();
            self.teller.say(Channel::App, at, who);
        }
        if person.knows.card {
            let at = if person.knows.account() {
                self.later(joined, 1..=90)
            } else {
                joined
            };
            self.sign_up_at_the_till(at);
        }
        if person.knows.crm {
            let at = self.later(joined, 1..=20);
            self.enter_the_books(at);
        }
        if person.knows.newsletter {
            let at = self.later(joined, 0..=10);
            let answers = consents(&[("MARKETING", true)]);
            let who = json!({"type": "identify", "traits": {"email": person.email}, "anonymousId": person.subscriber()});
            self.teller.say(Channel::Email, at, over(who, answers));
        }
        if person.knows.social {
            let at = self.later(joined, 1..=100);
            self.teller
                .track(Channel::Social, at, "Page Followed", json!({"network": "pictures"}));
        }
    }

    /// A visit without a name, then an account.
    fn register(&mut self, at: i64) {
        let person = self.teller.person;
        if self.is_full() {
            let anonymous = json!({"anonymousId": self.teller.browser()});
            for (n, page) in ["Home", "Teas", "Register"].iter().enumerate() {
                let visit = json!({"type": "page", "name": page, "properties": {"path": format!("/{}", page.to_lowercase())}});
                let at = at - 600 + 60 * i64::try_from(n).unwrap_or_default();
                self.teller.say(Channel::Web, at, over(visit, anonymous.clone()));
            }
        }
        let mut traits = json!({
            "firstName": person.first, "lastName": person.last, "email": self.email_as_typed(),
            "address": {"street": self.home.street, "city": self.home.city, "country": person.country.code()},
        });
        if self.chance.percent(55) {
            traits["phone"] = self.phone_given().into();
        }
        if self.chance.percent(40) {
            traits["birthday"] = person.birthday.clone().into();
        }
        let answers = [
            ("MARKETING", self.chance.percent(62)),
            ("ANALYTICS", self.chance.percent(74)),
            ("PERSONALISATION", self.chance.percent(55)),
        ];
        let who = json!({"type": "identify", "traits": traits, "userId": person.customer_number(), "anonymousId": self.teller.browser()});
        self.teller.say(Channel::Web, at, over(who, consents(&answers)));
    }

    /// What a clerk types while others wait.
    fn sign_up_at_the_till(&mut self, at: i64) {
        let person = self.teller.person;
        let mut traits = json!({"name": person.full_name(), "firstName": person.first});
        match self.chance.below(100) {
            0..62 => traits["email"] = self.email_as_typed().into(),
            62..68 => traits["email"] = mistyped(&mut self.chance, &person.email).into(),
            68..76 => traits["email"] = (*self.chance.pick(&["test@test.com", "unknown", "n/a"])).into(),
            _ => {}
        }
        match self.chance.below(100) {
            0..45 => traits["phone"] = self.phone_given().into(),
            45..52 => traits["phone"] = "000000".into(),
            52..72 => traits["phone"] = SHOP_PHONE.into(),
            _ => {}
        }
        self.teller.identify(Channel::Pos, at, traits);
    }

    fn enter_the_books(&mut self, at: i64) {
        let person = self.teller.person;
        let mut traits = json!({
            "email": person.email, "phone": self.phone_given(), "birthday": person.birthday,
            "address": {"street": self.home.street, "city": self.home.city, "country": person.country.code()},
        });
        if person.country == Country::China && self.chance.percent(50) {
            traits["name"] = person.full_name().into();
        } else {
            traits["first_name"] = person.first.into();
            traits["last_name"] = person.last.into();
        }
        let mut who = json!({"type": "identify", "traits": traits, "userId": person.customer_number()});
        if person.knows.card && self.chance.percent(85) {
            who["context"] = json!({"externalIds": [{"id": person.card(), "type": "loyalty_id", "collection": "users"}]});
        }
        self.teller.say(Channel::Crm, at, who);
    }

    fn phone_given(&mut self) -> String {
        let person = self.teller.person;
        let own = match &self.home.landline {
            Some(landline) if person.gives_landline => landline,
            _ => &person.phone,
        };
        as_typed(&mut self.chance, own)
    }

    fn email_as_typed(&mut self) -> String {
        let email = &self.teller.person.email;
        match self.chance.below(10) {
            0 => email.to_uppercase(),
            1 => format!(" {email} "),
            _ => email.clone(),
        }
    }

    /// Day after day: buy, or only look.
    fn buy_and_browse(&mut self, joined: i64) {
        let rate = *self.chance.pick(&RATES);
        let stops = *self.chance.pick(&LAST_PURCHASE);
        let spending = *self.chance.pick(&SPENDING);
        // Who joins wants something; one in eight only looks.
        let mut buys_today = self.chance.percent(88);
        let mut is_customer = true;
        let first = joined / DAY;
        for day in first..=self.around.now / DAY {
            let season = season(day);
            let buys = is_customer && (buys_today || self.chance.per_million(PURCHASES * rate * season / 100));
            let at = match day == first {
                true => joined + 900,
                false => day * DAY + self.chance.within(7 * 3600..=22 * 3600),
            };
            buys_today = false;
            if buys {
                basket::order(self, at, spending);
                is_customer = !self.chance.percent(stops / 10);
            } else if self.is_full() && self.chance.per_million((PURCHASES * rate + 4_000) * season / 100) {
                wares::browse(self, at);
            }
        }
    }

    /// A letter every month, to those who have not had enough of it.
    fn read_mail(&mut self, joined: i64) {
        let person = self.teller.person;
        if !person.knows.newsletter {
            return;
        }
        let interest = 8 + person.content / 3;
        let mut at = joined + 10 * DAY;
        let mut letter = 0;
        while at < self.around.now {
            letter += 1;
            let campaign = json!({"campaign_id": format!("letter-{}", at / DAY / 30), "campaign_name": "Monthly letter"});
            if self.chance.percent(2) {
                self.teller.track(
                    Channel::Email,
                    at + 7_200,
                    "Unsubscribed",
                    json!({"reason": "too many letters"}),
                );
                return;
            }
            if self.is_full() && self.chance.percent(interest) {
                let opened = at + self.chance.within(600..=2 * DAY);
                self.teller.track(Channel::Email, opened, "Email Opened", campaign.clone());
                if self.chance.percent(20) {
                    let clicked = over(campaign, json!({"link_url": "https://blue-kettle.example/new"}));
                    self.teller.track(Channel::Email, opened + 30, "Email Link Clicked", clicked);
                }
            } else if letter == 1 && self.chance.percent(2) {
                self.teller.track(Channel::Email, at, "Email Bounced", campaign);
                return;
            }
            at += 30 * DAY;
        }
    }

    /// A box every month, until they have enough.
    fn subscribe(&mut self, joined: i64) {
        let person = self.teller.person;
        if !person.knows.account() || !self.chance.percent(7) {
            return;
        }
        let channel = if person.knows.web { Channel::Web } else { Channel::App };
        let subscription = wares::subscription(&mut self.chance, person);
        let mut at = self.later(joined, 5..=200);
        self.teller.track(channel, at, "Subscription Started", subscription.clone());
        loop {
            at += 30 * DAY;
            if at > self.around.now {
                return;
            }
            if self.chance.percent(8) {
                let reason = *self.chance.pick(&["price", "too much tea", "moved", "other"]);
                let cancelled = over(subscription, json!({"reason": reason}));
                self.teller.track(channel, at, "Subscription Cancelled", cancelled);
                return;
            }
            self.teller.track(channel, at, "Subscription Renewed", subscription.clone());
        }
    }

    /// What was allowed is taken back, or the other way round.
    fn change_their_mind(&mut self, joined: i64) {
        let person = self.teller.person;
        if !person.knows.web || !self.chance.percent(12) {
            return;
        }
        let at = self.later(joined, 20..=400);
        let answer = consents(&[("MARKETING", self.chance.percent(30))]);
        let who = json!({"type": "identify", "userId": person.customer_number(), "traits": {}});
        self.teller.say(Channel::Web, at, over(who, answer));
    }
}

/// How the month of a day sells, in percent.
pub fn season(day: i64) -> u64 {
    let month = DateTime::from_timestamp(day * DAY, 0).map_or(0, |time| time.month0());
    usize::try_from(month)
        .ok()
        .and_then(|month| SEASONS.get(month))
        .map_or(100, |percent| *percent)
}

/// Two neighbouring letters of the name change places.
fn mistyped(chance: &mut Chance, email: &str) -> String {
    let mut letters: Vec<char> = email.chars().collect();
    let name = email.find('@').unwrap_or_default().max(2);
    let at = chance.index(name - 1);
    letters.swap(at, at + 1);
    letters.into_iter().collect()
}
