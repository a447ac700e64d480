//! The views against the fold, customer by customer: what records say, what survives of it, what was bought; and the catalogue.

use super::fold::Folded;
use super::history::{RecordKeys, Seen};
use super::{Checking, RebuildError};
use crate::base::{CustomerId, EventId, Instant, RecordId, SourceId};
use crate::customer::purchases::Reported;
use crate::customer::recount::{self, Described};
use crate::customer::store::{stored_customers, whole};
use crate::customer::{Spoken, Survivorship, folding};
use crate::identity::RecordTraits;
use crate::identity::scene::stated_traits;
use crate::identity::store::history;
use crate::ingest::message::OrderReport;
use crate::ingest::{order_report, store as ingest_store};
use crate::store::{Columns, Difference, compare, compare_columns};
use entity::{Channel, EventKind, source};
use sea_orm::ActiveEnum as _;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// So many records are looked at together; one customer is never cut in two.
const CHUNK_RECORDS: usize = 500;

/// Customers with their records.
type Chunk = Vec<(CustomerId, BTreeSet<RecordId>)>;

/// What is the same for every customer.
pub(super) struct Views<'f> {
    pub folded: &'f Folded,
    pub records: &'f RecordKeys,
    pub survivorship: &'f Survivorship,
}

/// What the events of some records tell.
#[derive(Default)]
struct Told {
    traits: HashMap<RecordId, RecordTraits>,
    reports: Vec<(RecordId, EventId, Instant, OrderReport)>,
}

impl Checking<'_> {
    pub(super) async fn compare_views(&mut self, views: &Views<'_>) -> Result<(), RebuildError> {
        let ids: BTreeSet<SourceId> = views.records.sources.values().copied().collect();
        let ids: Vec<SourceId> = ids.into_iter().collect();
        let sources = ingest_store::sources_by_ids(&self.db, &ids).await?;
        let sources: HashMap<SourceId, source::Model> = sources.into_iter().map(|row| (SourceId(row.id), row)).collect();
        let partition = views.folded.neighbourhood.partition();
        let are_facts_settled = self.are_facts_settled().await?;
        let mut described = Described::default();
        let (mut chunk, mut size, mut done) = (Chunk::new(), 0, 0);
        let mut customers = partition.iter().peekable();
        while let Some((customer, records)) = customers.next() {
            size += records.len();
            done += 1;
            chunk.push((*customer, records.clone()));
            if size >= CHUNK_RECORDS || customers.peek().is_none() {
                self.compare_chunk(views, &sources, &chunk, &mut described).await?;
                if are_facts_settled {
                    let ids: Vec<CustomerId> = chunk.iter().map(|(id, _)| *id).collect();
                    self.compare_facts(&ids).await?;
                }
                self.report_progress("comparing customers", done);
                chunk.clear();
                size = 0;
            }
        }
        self.counts.customers = partition.len();
        let mut last = None;
        loop {
            let page = whole::customers_after(&self.db, last.as_ref()).await?;
            let superfluous = page.iter().filter(|row| !partition.contains_key(&CustomerId(row.id)));
            let superfluous: Vec<_> = superfluous
                .map(|row| Difference::of_row("customer", row.id.to_string(), true))
                .collect();
            self.report(superfluous);
            last = page.into_iter().next_back();
            if last.is_none() {
                break;
            }
        }
        if are_facts_settled {
            self.compare_facts_of_nobody(|id| partition.contains_key(&id)).await?;
        }
        let found = recount::compare_products(&self.db, described).await?;
        self.report(found);
        Ok(())
    }

    async fn compare_chunk(
        &mut self,
        views: &Views<'_>,
        sources: &HashMap<SourceId, source::Model>,
        chunk: &Chunk,
        described: &mut Described,
    ) -> Result<(), RebuildError> {
        let records: Vec<RecordId> = chunk.iter().flat_map(|(_, records)| records.iter().copied()).collect();
        let told = self.told(&records).await?;
        self.compare_records(views, &records, &told).await?;
        let ids: Vec<CustomerId> = chunk.iter().map(|(id, _)| *id).collect();
        let stored = stored_customers(&self.db, &ids).await?;
        let stored = stored.into_iter().map(|row| {
            let columns = Columns::from([
                ("created_at", json!(row.created_at)),
                ("golden", row.golden),
                ("display_name", json!(row.display_name)),
                ("email", json!(row.email)),
                ("phone", json!(row.phone)),
                ("name_folded", json!(row.name_folded)),
                ("email_folded", json!(row.email_folded)),
                ("phone_folded", json!(row.phone_folded)),
            ]);
            (row.id.to_string(), columns)
        });
        let expected = chunk
            .iter()
            .map(|(id, records)| (id.to_string(), customer_columns(views, sources, records, &told)));
        let found = compare("customer", stored.collect(), expected.collect());
        self.report(found);
        let reports: Vec<Reported<'_>> = told
            .reports
            .iter()
            .map(|(record, event, at, report)| Reported {
                record: *record,
                event: *event,
                at: *at,
                report,
            })
            .collect();
        let found = recount::compare_purchases(&self.db, self.keys, &records, &reports, described).await?;
        self.report(found);
        Ok(())
    }

    /// Folds the events of records, one page in memory at a time.
    async fn told(&mut self, records: &[RecordId]) -> Result<Told, RebuildError> {
        let mut told = Told::default();
        let mut last = None;
        loop {
            let page = whole::events_of_after(&self.db, records, last.as_ref()).await?;
            last = page.last().cloned();
            if last.is_none() {
                return Ok(told);
            }
            self.counts.events += page.len();
            for event in page {
                let (record, id) = (RecordId(event.record_id), EventId(event.id));
                let at = Instant::from_micros(event.occurred_at);
                let traits = told.traits.entry(record).or_default();
                for (name, value) in stated_traits(event.kind == EventKind::Identify, &event.properties, &event.context) {
                    traits.state(&name, &value, at, id, event.arrival);
                }
                if let (EventKind::Track, Json::Object(properties)) = (event.kind, &event.properties)
                    && let Ok(Some(report)) = order_report(&event.name, properties, &event.message_id)
                {
                    told.reports.push((record, id, at, report));
                }
            }
        }
    }

    async fn compare_records(&mut self, views: &Views<'_>, records: &[RecordId], told: &Told) -> Result<(), RebuildError> {
        self.counts.records += records.len();
        for row in history::stored_records(&self.db, records).await? {
            let id = RecordId(row.id);
            let customer = views.folded.neighbourhood.customer_of(id);
            let siblings = views.records.siblings.get(&id).copied().unwrap_or(0);
            let traits = told.traits.get(&id).map_or_else(|| json!({}), RecordTraits::to_json);
            let expected = Columns::from([
                ("customer_id", json!(customer.map(|customer| customer.0))),
                ("traits", traits),
                ("siblings", json!(siblings)),
                ("was_customer", json!(views.folded.own_ids.contains(&id))),
            ]);
            let stored = Columns::from([
                ("customer_id", json!(row.customer_id)),
                ("traits", row.traits),
                ("siblings", json!(row.siblings)),
                ("was_customer", json!(row.was_customer)),
            ]);
            self.report(compare_columns("record", &id.to_string(), &stored, expected));
        }
        Ok(())
    }

    pub(super) async fn compare_catalogue(&mut self, seen: &Seen) -> Result<(), RebuildError> {
        let row = |name: String| (name, Columns::new());
        let event_key = |name: &str, kind: i16| format!("{name} ({kind})");
        let stored = ingest_store::all_events(&self.db).await?;
        let stored = stored.iter().map(|event| row(event_key(&event.name, event.kind.to_value())));
        let expected = seen.events.iter().map(|(name, kind)| row(event_key(name, *kind)));
        let found = compare("event_definition", stored.collect(), expected.collect());
        self.report(found);
        let stored = ingest_store::all_traits(&self.db).await?;
        let stored: BTreeMap<String, Columns> = stored.into_iter().map(|definition| row(definition.name)).collect();
        let expected = seen.traits.iter().cloned().map(row);
        let found = compare("trait_definition", stored, expected.collect());
        self.report(found);
        Ok(())
    }
}

fn customer_columns(
    views: &Views<'_>,
    sources: &HashMap<SourceId, source::Model>,
    records: &BTreeSet<RecordId>,
    told: &Told,
) -> Columns {
    let nothing = RecordTraits::default();
    let spoken: Vec<Spoken<'_>> = records
        .iter()
        .map(|record| {
            let source = views.records.sources.get(record).and_then(|id| sources.get(id));
            Spoken {
                record: *record,
                source_key: source.map_or("", |source| &source.key),
                channel: source.map_or(Channel::Other, |source| source.channel),
                trust: source.map_or(0, |source| source.trust),
                traits: told.traits.get(record).unwrap_or(&nothing),
            }
        })
        .collect();
    let golden = views.survivorship.golden(&spoken);
    let arrivals = records.iter().filter_map(|record| views.records.arrivals.get(record));
    let (name, email, phone) = (golden.display_name(), golden.text("email"), golden.text("phone"));
    Columns::from([
        ("created_at", json!(arrivals.min())),
        ("name_folded", json!(name.as_deref().and_then(folding::name))),
        ("email_folded", json!(email.as_deref().and_then(folding::email))),
        ("phone_folded", json!(phone.as_deref().and_then(folding::phone))),
        ("display_name", json!(name)),
        ("email", json!(email)),
        ("phone", json!(phone)),
        ("golden", Json::Object(golden.0)),
    ])
}
