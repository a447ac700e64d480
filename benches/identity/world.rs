//! A server in this process with a stored history: what intake would have written for the first messages of many people, in bulk and in
//! the order of the keys. Only the change log is left out: nothing here reads it.

use crate::Scale;
use crate::people::{Saying, mail, shows};
use entity::{IdentifierKind, IdentifierState};
use sea_orm::{ActiveEnum as _, ConnectionTrait as _, DatabaseTransaction, Statement, TransactionTrait as _};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant as Watch};
use tributary::base::{Clock, CustomerId, IdentifierId, Ids, Instant, RecordId};
use tributary::cli::server::{Server, open_store};
use tributary::cli::settings::{self, Origins};
use tributary::customer::store::{NewEvent, insert_customers, insert_events};
use tributary::customer::{Customer, EventKey, Golden};
use tributary::identity::store::{insert_records, neighbours};
use tributary::identity::{NewLink, NewRecord, RecordTraits, Shown};
use tributary::ingest::Message;
use tributary::ingest::message::KeyedBy;
use tributary::pipeline::intake::Delivery;
use tributary::pipeline::queue::Delivered;
use tributary::store::Rows;

/// In one transaction.
const CHUNK: usize = 20_000;

pub struct World {
    pub server: Server,
    pub saying: Saying,
}

/// The rows of some messages, each kind in the order of its key.
#[derive(Default)]
struct Stored {
    records: BTreeMap<RecordId, (NewRecord, Message)>,
    values: BTreeMap<IdentifierId, (Shown, RecordId)>,
    links: BTreeMap<(RecordId, IdentifierId), NewLink>,
    customers: BTreeMap<CustomerId, Customer>,
}

impl World {
    pub async fn build(url: &str, scale: Scale) -> Self {
        let environment = [
            ("TRIBUTARY_SERVER__BIND", "127.0.0.1:0"),
            ("TRIBUTARY_DATABASE__URL", url),
            ("TRIBUTARY_DATABASE__MIGRATE", "always"),
            ("TRIBUTARY_WORKER__JOBS", "false"),
        ];
        let added = Command::new(env!("CARGO_BIN_EXE_tributary"))
            .args(["source", "add", "--key", "shop", "--channel", "web"])
            .envs(environment)
            .output()
            .unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = settings::load(&Origins {
            environment: environment.to_vec(),
            ..Origins::default()
        })
        .unwrap();
        let store = open_store(&settings, Ids::system()).await.unwrap();
        let saying = Saying {
            source: store.hash_key().source("shop"),
            at: Instant::parse("2026-05-01T00:00:00Z").unwrap(),
        };
        let server = Server::start(&settings, store, Clock::System).await.unwrap();
        let world = Self { server, saying };
        let watch = Watch::now();
        let people = (0..scale.customers).map(|customer| world.saying.introductions(customer));
        world.write(people).await;
        eprintln!(
            "{} customers stored in {:.0} s",
            scale.customers,
            watch.elapsed().as_secs_f64()
        );
        world.settle().await;
        world
    }

    /// Stores customers by the first messages of their records; the values of each belong to the record that shows them first.
    pub async fn write<M: IntoIterator<Item = Message>>(&self, customers: impl Iterator<Item = M>) {
        let keys = self.server.services.store.hash_key().clone();
        let rules = self.server.services.rules.standing().rules;
        let mut stored = Stored::default();
        let mut arrival = self.saying.at.micros();
        for messages in customers {
            let mut customer = None;
            let mut golden = Golden::default();
            for message in messages {
                arrival += 1;
                let id = keys.record(message.source, &message.external_key);
                let event = keys.event(&message.message_id);
                let own = *customer.get_or_insert(CustomerId(id.0));
                let mut traits = RecordTraits::default();
                for (name, value) in &message.traits {
                    traits.state(name, value, message.occurred_at, event, arrival);
                    golden.0.insert(name.clone(), value.clone());
                }
                for (place, shown) in (0..).zip(&message.identifiers) {
                    let shown = Shown::judge(&keys, &rules, shown.kind, &shown.namespace, &shown.value);
                    let link = NewLink {
                        record: id,
                        identifier: shown.id,
                        event,
                        arrival,
                        occurred_at: message.occurred_at,
                        place,
                        raw: shown.raw.clone(),
                    };
                    stored.links.insert((id, shown.id), link);
                    stored.values.entry(shown.id).or_insert((shown, id));
                }
                let new = NewRecord {
                    id,
                    source: message.source,
                    external_key: message.external_key.clone(),
                    customer: own,
                    arrival,
                    traits,
                    was_customer: own.0 == id.0,
                    siblings: 0,
                };
                stored.records.insert(id, (new, message));
            }
            let id = customer.unwrap();
            let row = Customer {
                id,
                created_at: self.saying.at,
                golden,
                rev: 1,
                placed_at: arrival,
            };
            stored.customers.insert(id, row);
        }
        self.save(stored).await;
    }

    async fn save(&self, stored: Stored) {
        let keys = self.server.services.store.hash_key();
        let records: Vec<_> = stored.records.into_values().collect();
        for chunk in records.chunks(CHUNK) {
            let tx = self.begin().await;
            let new: Vec<NewRecord> = chunk.iter().map(|(record, _)| record.clone()).collect();
            insert_records(&tx, &new).await.unwrap();
            let event = |(record, message): &(NewRecord, Message)| (record.id, keys.event(&message.message_id));
            let events: Vec<NewEvent<'_>> = chunk
                .iter()
                .map(|row| NewEvent {
                    key: EventKey {
                        record: event(row).0,
                        id: event(row).1,
                    },
                    arrival: row.0.arrival,
                    message: &row.1,
                })
                .collect();
            insert_events(&tx, &events).await.unwrap();
            tx.commit().await.unwrap();
        }
        let values: Vec<_> = stored.values.into_values().collect();
        for chunk in values.chunks(CHUNK) {
            let tx = self.begin().await;
            Rows::new()
                .id("id", chunk.iter().map(|(shown, _)| shown.id.0))
                .small("kind", chunk.iter().map(|(shown, _)| shown.kind.to_value()))
                .text("namespace", chunk.iter().map(|_| String::new()))
                .text("value", chunk.iter().map(|(shown, _)| shown.value.clone()))
                .id("owner_id", chunk.iter().map(|(_, owner)| owner.0))
                .small("state", chunk.iter().map(|_| IdentifierState::Active.to_value()))
                .int("arrival", chunk.iter().map(|_| self.saying.at.micros()))
                .int("rev", chunk.iter().map(|_| 1))
                .insert(&tx, "identifier", "")
                .await
                .unwrap();
            tx.commit().await.unwrap();
        }
        let links: Vec<NewLink> = stored.links.into_values().collect();
        for chunk in links.chunks(CHUNK) {
            let tx = self.begin().await;
            neighbours::insert_links(&tx, chunk).await.unwrap();
            tx.commit().await.unwrap();
        }
        let customers: Vec<Customer> = stored.customers.into_values().collect();
        for chunk in customers.chunks(CHUNK) {
            let tx = self.begin().await;
            insert_customers(&tx, chunk).await.unwrap();
            tx.commit().await.unwrap();
        }
    }

    /// Gives a customer's record on the site a history of events.
    pub async fn write_history(&self, customer: usize, events: usize) {
        let keys = self.server.services.store.hash_key();
        for first in (0..events).step_by(CHUNK) {
            let messages: Vec<Message> = (first..events.min(first + CHUNK))
                .map(|n| self.saying.visit(&format!("visit-{customer}-{n}"), customer, Vec::new()))
                .collect();
            let record = keys.record(self.saying.source, &messages[0].external_key);
            let mut new: Vec<NewEvent<'_>> = messages
                .iter()
                .map(|message| NewEvent {
                    key: EventKey {
                        record,
                        id: keys.event(&message.message_id),
                    },
                    arrival: self.saying.at.micros(),
                    message,
                })
                .collect();
            new.sort_unstable_by_key(|event| event.key);
            let tx = self.begin().await;
            insert_events(&tx, &new).await.unwrap();
            tx.commit().await.unwrap();
        }
    }

    /// Stores one customer of many records of the CRM, all of one e-mail address. Answers the key of one of them.
    pub async fn write_crowd(&self, customer: usize, records: usize) -> String {
        let message = |n: usize| {
            let shown = vec![shows(IdentifierKind::Email, mail(customer))];
            let traits = vec![("city".to_owned(), format!("town {}", n % 7).into())];
            let (id, key) = (format!("crowd-{n}"), format!("crowd-{n}"));
            self.saying.message(&id, &key, KeyedBy::Sender, shown, traits)
        };
        self.write(std::iter::once((0..records).map(message))).await;
        format!("crowd-{}", records / 2)
    }

    async fn begin(&self) -> DatabaseTransaction {
        self.server.services.store.writer().begin().await.unwrap()
    }

    /// What PostgreSQL's own upkeep would have done by then.
    pub async fn settle(&self) {
        let store = &self.server.services.store;
        if store.is_postgres() {
            store.writer().execute_unprepared("VACUUM ANALYZE").await.unwrap();
            store.writer().execute_unprepared("CHECKPOINT").await.unwrap();
        }
    }

    /// Hands one message in and waits until it is stored.
    pub async fn deliver(&self, message: Message) -> (Duration, Delivered) {
        let delivery = Delivery {
            source_id: self.saying.source,
            source_key: "shop".to_owned(),
            reviews_aliases: false,
            received_at: self.server.services.now(),
            messages: vec![message],
            refused: Vec::new(),
            is_bulk: false,
        };
        let watch = Watch::now();
        let delivered = self.server.intake.deliver(delivery).await.unwrap();
        (watch.elapsed(), delivered)
    }

    pub async fn count(&self, table: &str) -> i64 {
        let store = &self.server.services.store;
        let statement = Statement::from_string(store.backend(), format!("SELECT COUNT(*) FROM {table}"));
        let row = store.reader().query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    pub async fn end(self) {
        self.server.stop().await.unwrap();
    }
}
