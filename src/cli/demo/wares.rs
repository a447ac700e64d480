//! Looking without buying: visits of the web shop and the app, carts left behind, subscriptions, and the devices that several people use.

use super::catalogue::{PLANS, PRODUCTS, decimal, line, price_in};
use super::chance::Chance;
use super::life::Life;
use super::person::Person;
use super::tell::over;
use entity::Channel;
use serde_json::{Value, json};

/// Households that live near the same shop, and so share its tablet.
const HOUSEHOLDS_OF_A_SHOP: u64 = 150;

/// A visit: a few products, perhaps a cart that is left behind.
pub fn browse(life: &mut Life<'_>, at: i64) {
    let person = life.teller.person;
    let in_app = person.knows.app && (!person.knows.web || life.chance.percent(50));
    if !person.knows.account() {
        return;
    }
    let (channel, ids) = if in_app {
        let device = json!({"device": {"id": format!("device-{}", person.number), "type": "ios"}});
        (Channel::App, json!({"userId": person.customer_number(), "context": device}))
    } else {
        (Channel::Web, visitor(life, at))
    };
    let kind = if in_app { "screen" } else { "page" };
    life.teller.say(
        channel,
        at,
        over(json!({"type": kind, "name": "Home", "properties": {}}), ids.clone()),
    );
    let looks = life.chance.within(1..=3);
    for n in 1..=looks {
        let product = life.chance.pick(&PRODUCTS);
        let properties = line(person.country, product, 1);
        life.teller
            .track_as(channel, at + 45 * n, ids.clone(), "Product Viewed", properties.clone());
        if n == looks && life.chance.percent(22) {
            life.teller
                .track_as(channel, at + 45 * n + 20, ids.clone(), "Product Added", properties);
        }
    }
}

/// In which browser, and whether they are logged in. On a shared one they log in first, and it is theirs until the next one does.
fn visitor(life: &mut Life<'_>, at: i64) -> Value {
    let person = life.teller.person;
    let shared = match life.chance.below(100) {
        0..3 => Some(format!("tablet-shop-{}", life.home.number / HOUSEHOLDS_OF_A_SHOP + 1)),
        3..30 => life.home.tablet.clone(),
        _ => None,
    };
    match shared {
        Some(browser) => {
            let ids = json!({"userId": person.customer_number(), "anonymousId": browser});
            let login = json!({"type": "track", "event": "Signed In", "properties": {}});
            life.teller.say(Channel::Web, at - 20, over(login, ids.clone()));
            ids
        }
        None if life.chance.percent(55) => json!({"userId": person.customer_number(), "anonymousId": life.teller.browser()}),
        None => json!({"anonymousId": life.teller.browser()}),
    }
}

/// A box a month.
pub fn subscription(chance: &mut Chance, person: &Person) -> Value {
    let (plan, cents) = *chance.pick(&PLANS);
    json!({
        "subscription_id": format!("S-{}", person.number), "plan": plan, "period": "month",
        "amount": decimal(price_in(person.country, cents)), "currency": person.country.currency(),
    })
}
