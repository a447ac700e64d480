//! Orders, and what follows from them: refunds, complaints, reviews, answers to surveys, and the friend who had told of the shop.

use super::catalogue::{PRODUCTS, decimal, line, price_in};
use super::chance::Chance;
use super::life::Life;
use super::names::Country;
use super::person::Person;
use super::tell::{system_of, told};
use entity::Channel;
use serde_json::{Value, json};

/// Something bought, while it is told.
struct Order {
    id: String,
    channel: Channel,
    at: i64,
    /// Places in the catalogue, and how many.
    lines: Vec<(usize, i64)>,
    /// Of all lines, in minor units.
    revenue: i64,
}

/// One order of this person; `spending` is their level, in percent of what is usual.
pub fn order(life: &mut Life<'_>, at: i64, spending: u64) {
    let person = life.teller.person;
    life.orders += 1;
    let channel = channel(&mut life.chance, person);
    let lines = lines(&mut life.chance, spending);
    let price = |(product, quantity): &(usize, i64)| price_in(person.country, PRODUCTS[*product].price) * quantity;
    let order = Order {
        id: format!("{}-{}-{}", initial(channel), person.number, life.orders),
        channel,
        at,
        revenue: lines.iter().map(price).sum(),
        lines,
    };
    if life.is_full() && channel != Channel::Pos {
        let (product, quantity) = order.lines[0];
        let wanted = line(person.country, &PRODUCTS[product], quantity);
        life.teller.track(channel, at - 420, "Product Viewed", wanted.clone());
        life.teller.track(channel, at - 300, "Product Added", wanted);
        life.teller.track(
            channel,
            at - 90,
            "Checkout Started",
            json!({"order_id": order.id, "currency": person.country.currency()}),
        );
    }
    let completed = order.as_properties(person.country);
    life.teller.track(channel, at, "Order Completed", completed.clone());
    // The books report some of the orders once more: they count once.
    if person.knows.crm && life.chance.percent(12) {
        life.teller.track(Channel::Crm, at + 6 * 3600, "Order Completed", completed);
    }
    if life.orders == 1 {
        thank_whoever_told(life, &order);
    }
    if life.chance.percent(1) {
        life.teller
            .track(channel, at + 1_800, "Order Cancelled", json!({"order_id": order.id}));
        return;
    }
    bring_back(life, &order);
    talk(life, &order);
}

impl Order {
    fn as_properties(&self, country: Country) -> Value {
        // Free above fifty; tax is in the price.
        let shipping = match self.channel {
            Channel::Pos => 0,
            _ if self.revenue >= price_in(country, 5_000) => 0,
            _ => price_in(country, 490),
        };
        let products: Vec<Value> = self
            .lines
            .iter()
            .map(|(product, quantity)| line(country, &PRODUCTS[*product], *quantity))
            .collect();
        json!({
            "order_id": self.id, "revenue": decimal(self.revenue), "shipping": decimal(shipping),
            "total": decimal(self.revenue + shipping), "currency": country.currency(), "products": products,
        })
    }
}

fn initial(channel: Channel) -> &'static str {
    match channel {
        Channel::Web => "W",
        Channel::App => "A",
        _ => "T",
    }
}

/// Where somebody buys who has the choice.
fn channel(chance: &mut Chance, person: &Person) -> Channel {
    let weights = [
        (Channel::Web, if person.knows.web { 5 } else { 0 }),
        (Channel::App, if person.knows.app { 4 } else { 0 }),
        (Channel::Pos, if person.knows.card { 3 } else { 0 }),
    ];
    let mut drawn = chance.below(weights.iter().map(|(_, weight)| weight).sum());
    for (channel, weight) in weights {
        if drawn < weight {
            return channel;
        }
        drawn -= weight;
    }
    Channel::Pos
}

/// Who spends more takes more, and the dearer of two.
fn lines(chance: &mut Chance, spending: u64) -> Vec<(usize, i64)> {
    let mut lines: Vec<(usize, i64)> = Vec::new();
    let count = 1 + chance.below(1 + spending / 60);
    for _ in 0..count.min(6) {
        let two = [chance.index(PRODUCTS.len()), chance.index(PRODUCTS.len())];
        let price = |product: &usize| PRODUCTS[*product].price;
        let dearer = two.iter().copied().max_by_key(price).unwrap_or_default();
        let cheaper = two.iter().copied().min_by_key(price).unwrap_or_default();
        let product = if chance.percent((spending / 2).min(95)) {
            dearer
        } else {
            cheaper
        };
        let quantity = if chance.percent(25) { chance.within(2..=3) } else { 1 };
        if lines.iter().all(|(known, _)| *known != product) {
            lines.push((product, quantity));
        }
    }
    lines
}

/// Refunds: all of an order, or one piece of it.
fn bring_back(life: &mut Life<'_>, order: &Order) {
    if !life.chance.percent(7) {
        return;
    }
    let at = life.later(order.at, 3..=25);
    let country = life.teller.person.country;
    let reason = *life
        .chance
        .pick(&["broken", "not as described", "changed my mind", "too late"]);
    let mut refund = json!({"order_id": order.id, "currency": country.currency(), "reason": reason});
    if order.lines.len() > 1 && life.chance.percent(60) {
        let (product, _) = order.lines[0];
        refund["products"] = json!([line(country, &PRODUCTS[product], 1)]);
        refund["total"] = decimal(price_in(country, PRODUCTS[product].price)).into();
    }
    life.teller.track(order.channel, at, "Order Refunded", refund);
}

/// What is said about an order afterwards.
fn talk(life: &mut Life<'_>, order: &Order) {
    let person = life.teller.person;
    let content = person.content;
    let written_by = match person.knows {
        knows if knows.web => Some(Channel::Web),
        knows if knows.app => Some(Channel::App),
        _ => None,
    };
    let stars = 1 + (content / 14).min(4);
    if let Some(channel) = written_by
        && life.chance.percent(10)
    {
        let at = life.later(order.at, 6..=30);
        let sku = PRODUCTS[order.lines[0].0].sku;
        let review = json!({"review_id": format!("R-{}", order.id), "product_id": sku, "order_id": order.id, "rating": stars});
        life.teller.track(channel, at, "Review Submitted", review);
    }
    if person.knows.newsletter && life.chance.percent(12) {
        let at = life.later(order.at, 10..=20);
        let score = (content / 9).saturating_sub(life.chance.below(2)).min(10);
        answer(life, Channel::Email, at, ("NPS", "after order", score), &order.id);
    }
    if life.chance.percent(if content < 25 { 14 } else { 3 }) {
        let at = life.later(order.at, 1..=12);
        let topic = *life
            .chance
            .pick(&["where is my order", "return", "complaint", "brewing advice", "invoice"]);
        let minutes = life.chance.within(2..=25);
        life.teller.track(
            Channel::CallCentre,
            at,
            "Call Received",
            json!({"topic": topic, "minutes": minutes, "order_id": order.id}),
        );
        if life.chance.percent(45) {
            answer(
                life,
                Channel::CallCentre,
                at + 3_600,
                ("CSAT", "call centre", stars),
                &order.id,
            );
        }
        if life.chance.percent(20) {
            answer(
                life,
                Channel::CallCentre,
                at + 3_700,
                ("CES", "call centre", (stars + 2).min(7)),
                &order.id,
            );
        }
    }
    if person.knows.social && life.chance.percent(12) {
        let at = life.later(order.at, 1..=10);
        let shared = json!({"product_id": PRODUCTS[order.lines[0].0].sku, "network": "pictures"});
        life.teller.track(Channel::Social, at, "Product Shared", shared);
    }
}

fn answer(life: &mut Life<'_>, channel: Channel, at: i64, (kind, touchpoint, score): (&str, &str, u64), order: &str) {
    let answer =
        json!({"survey_id": format!("{}-{order}", kind.to_lowercase()), "kind": kind, "touchpoint": touchpoint, "score": score});
    life.teller.track(channel, at, "Survey Answered", answer);
}

/// A friend had told them of the shop: it counts when the first order comes. The books keep it under the friend's number.
fn thank_whoever_told(life: &mut Life<'_>, order: &Order) {
    let person = life.teller.person;
    if person.number == 0 || !person.knows.account() || !life.chance.percent(14) || order.at + 60 > life.around.now {
        return;
    }
    for _ in 0..6 {
        let friend = Person::of(life.around.seed, life.chance.below(person.number));
        if !friend.knows.account() || friend.joined <= person.joined {
            continue;
        }
        let converted = json!({
            "referred": person.customer_number(), "order_id": order.id,
            "value": decimal(order.revenue), "currency": person.country.currency(),
        });
        let message =
            json!({"type": "track", "event": "Referral Converted", "userId": friend.customer_number(), "properties": converted});
        let id = format!("{}-referral-{}", system_of(Channel::Crm).key, person.number);
        life.teller
            .told
            .push(told(Channel::Crm, order.at + 60, friend.number, id, message));
        return;
    }
}
