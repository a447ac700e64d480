//! Whom the messages are about: customers of two records, one of a web site and one of a CRM, recognised by one e-mail address.
//!
//! Every other customer has a user id. Those without may become one with somebody who has, since nobody has two.

use entity::{EventKind, IdentifierKind};
use serde_json::{Map, Value, json};
use tributary::base::{Instant, SourceId};
use tributary::ingest::Message;
use tributary::ingest::message::{Assertion, EventFlags, KeyedBy};

pub fn has_user_id(customer: usize) -> bool {
    customer.is_multiple_of(2)
}

pub fn mail(customer: usize) -> String {
    format!("customer{customer}@example.test")
}

fn user(customer: usize) -> Assertion {
    shows(IdentifierKind::UserId, format!("customer-{customer:07}"))
}

fn browser(customer: usize) -> Assertion {
    shows(IdentifierKind::AnonymousId, format!("5b1e6f0a-0000-4000-8000-{customer:012}"))
}

pub fn shows(kind: IdentifierKind, value: String) -> Assertion {
    Assertion {
        kind,
        namespace: String::new(),
        value,
    }
}

/// What says something of a person.
pub struct Saying {
    pub source: SourceId,
    pub at: Instant,
}

impl Saying {
    /// The first message of each of a customer's records.
    pub fn introductions(&self, customer: usize) -> [Message; 2] {
        let mut site = vec![browser(customer), shows(IdentifierKind::Email, mail(customer))];
        let mut key = format!("a:{}", site[0].value);
        let mut keyed_by = KeyedBy::AnonymousId;
        if has_user_id(customer) {
            site.insert(0, user(customer));
            (key, keyed_by) = (format!("u:{}", site[0].value), KeyedBy::UserId);
        }
        let traits = vec![
            ("email".to_owned(), mail(customer).into()),
            ("first_name".to_owned(), "Ada".into()),
        ];
        let device = shows(IdentifierKind::DeviceId, format!("app-{customer:012}"));
        let crm = vec![shows(IdentifierKind::Email, mail(customer)), device];
        [
            self.message(&format!("site-{customer}"), &key, keyed_by, site, traits),
            self.message(
                &format!("crm-{customer}"),
                &format!("c-{customer}"),
                KeyedBy::Sender,
                crm,
                vec![("last_name".to_owned(), "Hughes".into())],
            ),
        ]
    }

    /// Of a customer with a user id, on the site; `more` is what it shows besides.
    pub fn visit(&self, id: &str, customer: usize, more: Vec<Assertion>) -> Message {
        let user = user(customer);
        let key = format!("u:{}", user.value);
        let shown = [user, browser(customer)].into_iter().chain(more).collect();
        self.message(id, &key, KeyedBy::UserId, shown, Vec::new())
    }

    /// Identify when it says something of the person, else track.
    pub fn message(
        &self,
        id: &str,
        key: &str,
        keyed_by: KeyedBy,
        identifiers: Vec<Assertion>,
        traits: Vec<(String, Value)>,
    ) -> Message {
        let (kind, name, properties) = match traits.is_empty() {
            true => (
                EventKind::Track,
                "Product Viewed",
                json!({"sku": "T-0042", "price": 14.5, "currency": "EUR"}),
            ),
            false => (
                EventKind::Identify,
                "identify",
                Value::Object(traits.iter().cloned().collect()),
            ),
        };
        Message {
            source: self.source,
            place: 0,
            kind,
            message_id: id.to_owned(),
            name: name.to_owned(),
            external_key: key.to_owned(),
            keyed_by,
            occurred_at: self.at,
            received_at: self.at,
            original_at: None,
            sent_at: None,
            flags: EventFlags::default(),
            traits,
            identifiers,
            order: None,
            consents: Vec::new(),
            properties: properties.as_object().cloned().unwrap_or_default(),
            context: Map::new(),
        }
    }
}
