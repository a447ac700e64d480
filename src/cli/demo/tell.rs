//! How the channels speak: what somebody does becomes messages as the tracking API takes them, each under the ids its channel knows.

use super::chance::Chance;
use super::person::Person;
use crate::base::Instant;
use entity::Channel;
use serde_json::{Map, Value, json};

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// A system of the company.
#[derive(Clone, Copy, Debug)]
pub struct System {
    pub channel: Channel,
    pub key: &'static str,
    pub name: &'static str,
    /// Books are trusted more than forms, and forms more than what was heard on the telephone.
    pub trust: i64,
}

const fn system(channel: Channel, key: &'static str, name: &'static str, trust: i64) -> System {
    System {
        channel,
        key,
        name,
        trust,
    }
}

pub const SYSTEMS: [System; 7] = [
    system(Channel::Web, "demo-web", "Web shop", 50),
    system(Channel::App, "demo-app", "Mobile app", 50),
    system(Channel::Pos, "demo-pos", "Tills of the shops", 70),
    system(Channel::Crm, "demo-crm", "Customer records", 90),
    system(Channel::Email, "demo-email", "Newsletter", 30),
    system(Channel::CallCentre, "demo-call-centre", "Telephone service", 40),
    system(Channel::Social, "demo-social", "Social media", 10),
];

/// The system of a channel; the company has one of each.
pub fn system_of(channel: Channel) -> System {
    let found = SYSTEMS.iter().find(|system| system.channel == channel);
    *found.unwrap_or(&SYSTEMS[0])
}

/// One message, and who it is really about: what no channel knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Seconds since 1970.
    pub at: i64,
    pub channel: Channel,
    pub person: u64,
    pub message: Value,
}

/// Writes down what one person does.
#[derive(Debug)]
pub struct Teller<'t> {
    pub person: &'t Person,
    /// Later than this nothing has happened yet.
    pub now: i64,
    pub told: &'t mut Vec<Told>,
    count: u32,
}

impl<'t> Teller<'t> {
    pub fn new(person: &'t Person, now: i64, told: &'t mut Vec<Told>) -> Self {
        Self {
            person,
            now,
            told,
            count: 0,
        }
    }

    /// A message of a person under ids of its own.
    pub fn say(&mut self, channel: Channel, at: i64, message: Value) {
        self.count += 1;
        if at > self.now {
            return;
        }
        let id = format!("{}-{}-{}", system_of(channel).key, self.person.number, self.count);
        self.told.push(told(channel, at, self.person.number, id, message));
    }

    pub fn track(&mut self, channel: Channel, at: i64, event: &str, properties: Value) {
        let message = json!({"type": "track", "event": event, "properties": properties});
        self.say(channel, at, over(message, self.ids(channel)));
    }

    /// As `track`, with the ids left to the caller: of a guest, or on a device that others use, too.
    pub fn track_as(&mut self, channel: Channel, at: i64, ids: Value, event: &str, properties: Value) {
        let message = json!({"type": "track", "event": event, "properties": properties});
        self.say(channel, at, over(message, ids));
    }

    pub fn identify(&mut self, channel: Channel, at: i64, traits: Value) {
        self.say(
            channel,
            at,
            over(json!({"type": "identify", "traits": traits}), self.ids(channel)),
        );
    }

    /// Under which ids a channel speaks of the person.
    fn ids(&self, channel: Channel) -> Value {
        let person = self.person;
        match channel {
            Channel::Web => json!({"userId": person.customer_number(), "anonymousId": self.browser()}),
            Channel::App => json!({
                "userId": person.customer_number(),
                "context": {"device": {"id": format!("device-{}", person.number), "type": "ios"}},
            }),
            Channel::Pos => till(&person.card()),
            Channel::Email => json!({"anonymousId": person.subscriber(), "context": {"traits": {"email": person.email}}}),
            Channel::CallCentre => json!({"anonymousId": person.caller(), "context": {"traits": {"phone": person.phone}}}),
            Channel::Social => json!({
                "anonymousId": person.handle(),
                "context": {"externalIds": [{"id": person.handle(), "type": "social_handle", "collection": "users"}]},
            }),
            Channel::Crm | Channel::Import | Channel::Other => json!({"userId": person.customer_number()}),
        }
    }

    pub fn browser(&self) -> String {
        format!("browser-{}", self.person.number)
    }

    /// One message in a hundred is sent again by a nervous client.
    pub fn repeat_some(&mut self, chance: &mut Chance, from: usize) {
        let repeated: Vec<Told> = self.told[from..].iter().filter(|_| chance.percent(1)).cloned().collect();
        self.told.extend(repeated);
    }
}

/// A message with its id and its time.
pub fn told(channel: Channel, at: i64, person: u64, message_id: String, mut message: Value) -> Told {
    message["messageId"] = message_id.into();
    message["timestamp"] = Instant::from_micros(at * 1_000_000).to_string().into();
    Told {
        at,
        channel,
        person,
        message,
    }
}

/// Tills know nobody but a card.
pub fn till(card: &str) -> Value {
    json!({
        "anonymousId": format!("card-{card}"),
        "context": {"externalIds": [{"id": card, "type": "loyalty_id", "collection": "users"}]},
    })
}

/// `message` with the fields of `more`.
pub fn over(mut message: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut message, more) {
        for (name, value) in more {
            match fields.get_mut(&name) {
                Some(known) => *known = over(std::mem::take(known), value),
                None => {
                    fields.insert(name, value);
                }
            }
        }
    }
    message
}

/// What somebody allowed, as consent banners send it.
pub fn consents(answers: &[(&str, bool)]) -> Value {
    let preferences: Map<String, Value> = answers
        .iter()
        .map(|(purpose, allowed)| ((*purpose).to_owned(), (*allowed).into()))
        .collect();
    json!({"context": {"consent": {"categoryPreferences": preferences}}})
}
