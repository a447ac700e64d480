//! The job: step by step, each step in chunks, each chunk one commit with the cursor behind it. A step that runs again finds nothing.

use super::mention::Mentions;
use super::rules_over_time;
use super::tables::{Fate, TABLES};
use crate::access::redact_deeds;
use crate::base::{CustomerId, IdentifierId, Instant, ProductId, RecordId};
use crate::customer::store::erased as events_store;
use crate::feed;
use crate::identity::scene::{comparable, compared_as, stated_traits};
use crate::identity::store::erased::{self, ErasedStatement, Erasure};
use crate::identity::store::{decisions, ledger, neighbours};
use crate::identity::{Shown, says_nothing};
use crate::ingest::{order_report, prune};
use crate::job::{JobError, Running};
use crate::pipeline::Services;
use crate::store::StoreError;
use entity::{EventKind, IdentifierKind, event, rejected_item};
use sea_orm::DatabaseTransaction;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The kind of the job that takes what is left of a person out of every table.
pub const JOB_KIND: &str = "customer_erase";
/// Events of one commit: deleting them is heavier than storing them.
const EVENTS_PER_COMMIT: u32 = 1_000;
/// Records whose rows are deleted in one commit.
const RECORDS_PER_COMMIT: usize = 200;

/// A step that knows its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Rejected,
    Changes,
    Decisions,
    Audit,
    Events,
    /// What skeletons hold in clear.
    Texts,
}

/// A step in its place.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Known(Step),
    DeleteByRecord(&'static str),
}

/// What is still to be found comes before what it is found by: texts are forgotten last.
fn stages() -> Vec<Stage> {
    let by_record = TABLES.iter().filter(|table| table.fate == Fate::DeleteByRecord);
    let before = [Step::Rejected, Step::Changes, Step::Decisions, Step::Audit].map(Stage::Known);
    let after = [Step::Events, Step::Texts].map(Stage::Known);
    let by_record = by_record.map(|table| Stage::DeleteByRecord(table.name));
    before.into_iter().chain(by_record).chain(after).collect()
}

/// How far it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Cursor {
    stage: usize,
    /// Inside the stage: the last row seen, or how many records are done.
    after: Option<Uuid>,
    records: usize,
    done: i64,
    total: i64,
    /// Rows by table.
    counts: BTreeMap<String, u64>,
    /// Versions of rules, which stay, that name the person; known before the texts are forgotten.
    #[serde(default)]
    named_by_rules: Vec<i64>,
}

impl Cursor {
    fn count(&mut self, table: &str, rows: u64) {
        *self.counts.entry(table.to_owned()).or_default() += rows;
    }

    fn next_stage(&mut self) {
        self.stage += 1;
        self.after = None;
        self.records = 0;
        self.done += 1;
    }
}

struct Work<'w> {
    services: &'w Services,
    job: &'w Running,
    erasure: Erasure,
    records: Vec<RecordId>,
    mentions: Mentions,
    /// Attributes that any rules compared up to here.
    attributes: BTreeSet<String>,
}

/// The job's verb. Answers the receipt.
pub async fn carry_through(services: Services, job: Running, _: Instant) -> Result<Value, JobError> {
    let db = services.store.writer();
    let id = job.input()["erasure"].as_str().and_then(|text| Uuid::parse_str(text).ok());
    let id = id.ok_or_else(|| JobError::GiveUp("the job names no erasure".to_owned()))?;
    let erasure = erased::erasure(db, id).await?;
    let erasure = erasure.ok_or_else(|| JobError::GiveUp("there is no such erasure".to_owned()))?;
    let mut cursor = begun(&job);
    // Intake that looked before the erasure may still write by what it saw.
    services.store.outlive_transactions().await?;
    let records = erasure.records();
    if cursor.total == 0 {
        let events = events_store::count_events(db, &records).await?;
        cursor.total = events + i64::try_from(stages().len()).unwrap_or(0) + 1;
    }
    let mentions = Mentions::of(erased::texts_of(db, id).await?);
    let (attributes, naming) = services
        .store
        .transact(|tx, _| {
            let (services, mentions) = (&services, &mentions);
            Box::pin(async move {
                let rules = rules_over_time(services, tx).await?;
                let attributes = rules.iter().flat_map(|(.., rules)| rules.agreement_attributes());
                let configured = (0, services.rules.configured().to_string());
                let published = decisions::published_rules(tx).await?;
                let published = published.iter().map(|rules| (rules.version, rules.config.to_string()));
                let naming = std::iter::once(configured).chain(published);
                let naming = naming
                    .filter(|(_, config)| mentions.in_item(config))
                    .map(|(version, _)| version);
                Ok::<_, StoreError>((attributes.map(str::to_owned).collect(), naming.collect::<Vec<i64>>()))
            })
        })
        .await?;
    if cursor.stage == 0 {
        cursor.named_by_rules = naming;
    }
    let work = Work {
        mentions,
        services: &services,
        job: &job,
        erasure,
        records,
        attributes,
    };
    let stages = stages();
    while let Some(stage) = stages.get(cursor.stage) {
        cursor = work.commit_chunk(*stage, cursor).await?;
    }
    let emptied: Vec<&str> = TABLES
        .iter()
        .filter(|table| table.fate != Fate::Stays)
        .map(|table| table.name)
        .collect();
    // Of many that are carried out again, the last one does it for all.
    let writes_anew = job.input()["writesAnew"] != Value::Bool(false);
    if writes_anew && !services.store.compact(&emptied).await? {
        return Err(JobError::Retry("somebody reads what is to be written anew".to_owned()));
    }
    erased::finish(db, id, job.now().micros()).await?;
    let mut receipt = receipt(&work.erasure, &cursor);
    receipt["reason"] = ledger::reason_of(db, id).await?.into();
    receipt["namedByRules"] = json!(cursor.named_by_rules);
    receipt["replayed"] = (job.input()["replayed"] == Value::Bool(true)).into();
    Ok(receipt)
}

fn begun(job: &Running) -> Cursor {
    let stored = job.cursor().and_then(|cursor| Cursor::deserialize(cursor).ok());
    stored.unwrap_or_else(|| Cursor {
        counts: BTreeMap::deserialize(&job.input()["counts"]).unwrap_or_default(),
        ..Cursor::default()
    })
}

/// Every table in order, with how many rows were deleted or redacted there.
fn receipt(erasure: &Erasure, cursor: &Cursor) -> Value {
    let tables = TABLES.iter().map(|table| {
        let did = match table.fate {
            Fate::Stays => "nothing personal in it",
            Fate::By(Step::Rejected | Step::Changes | Step::Decisions | Step::Audit | Step::Texts) => "redacted",
            Fate::AtOnce | Fate::DeleteByRecord | Fate::By(Step::Events) => "deleted",
        };
        json!({"table": table.name, "rows": cursor.counts.get(table.name).copied().unwrap_or(0), "did": did})
    });
    json!({"erasure": erasure.id.to_string(), "tables": tables.collect::<Vec<_>>()})
}

impl Work<'_> {
    async fn commit_chunk(&self, stage: Stage, cursor: Cursor) -> Result<Cursor, JobError> {
        let store = &self.services.store;
        store
            .transact::<_, JobError, _>(|tx, _| {
                let mut cursor = cursor.clone();
                Box::pin(async move {
                    match stage {
                        Stage::DeleteByRecord(table) => self.delete_by_record(tx, table, &mut cursor).await?,
                        Stage::Known(Step::Rejected) => self.redact_rejected(tx, &mut cursor).await?,
                        Stage::Known(Step::Changes) => self.redact_changes(tx, &mut cursor).await?,
                        Stage::Known(Step::Decisions) => self.redact_decisions(tx, &mut cursor).await?,
                        Stage::Known(Step::Audit) => self.redact_audit(tx, &mut cursor).await?,
                        Stage::Known(Step::Events) => self.delete_events(tx, &mut cursor).await?,
                        Stage::Known(Step::Texts) => {
                            erased::forget_texts(tx, self.erasure.id).await?;
                            cursor.next_stage();
                        }
                    }
                    let stored = serde_json::to_value(&cursor).map_err(|error| JobError::GiveUp(error.to_string()))?;
                    let total = cursor.total.max(cursor.done);
                    self.job.progress_in(tx, cursor.done, Some(total), Some(stored)).await?;
                    Ok(cursor)
                })
            })
            .await
    }

    async fn redact_rejected(&self, tx: &DatabaseTransaction, cursor: &mut Cursor) -> Result<(), StoreError> {
        let after = cursor.after.map(row_of);
        let page = prune::rejected_after(tx, after.as_ref()).await?;
        let Some(last) = page.last() else {
            cursor.next_stage();
            return Ok(());
        };
        cursor.after = Some(last.id);
        let is_theirs =
            |item: &&rejected_item::Model| self.mentions.in_item(&item.payload) || self.mentions.in_words(&item.message);
        let theirs: Vec<Uuid> = page.iter().filter(is_theirs).map(|item| item.id).collect();
        cursor.count("rejected_item", prune::redact_rejected(tx, &theirs).await?);
        Ok(())
    }

    async fn redact_changes(&self, tx: &DatabaseTransaction, cursor: &mut Cursor) -> Result<(), StoreError> {
        let own = feed::redact_all(tx, &self.records, self.erasure.tx_id).await?;
        // Who was one customer with them once told their values as the customer's own.
        let others = erased::once_together(tx, &self.records).await?;
        let others: BTreeSet<CustomerId> = others
            .into_iter()
            .filter(|record| self.records.binary_search(record).is_err())
            .map(|record| CustomerId(record.0))
            .collect();
        let of_others = feed::redact_customers(tx, &others, self.erasure.tx_id).await?;
        cursor.count("change", own + of_others);
        cursor.next_stage();
        Ok(())
    }

    async fn redact_decisions(&self, tx: &DatabaseTransaction, cursor: &mut Cursor) -> Result<(), StoreError> {
        let mut told = erased::decisions_about(tx, &self.records).await?;
        told.retain_mut(|decision| {
            let bare = without_texts("", &decision.evidence);
            let is_other = bare != decision.evidence;
            decision.evidence = bare;
            is_other
        });
        erased::update_evidence(tx, &told).await?;
        cursor.count("identity_decision", told.len() as u64);
        cursor.next_stage();
        Ok(())
    }

    async fn redact_audit(&self, tx: &DatabaseTransaction, cursor: &mut Cursor) -> Result<(), StoreError> {
        let decisions = erased::decisions_about(tx, &self.records).await?;
        let items = erased::held_items_of(tx, &self.records).await?;
        let of_decisions = decisions.iter().map(|decision| format!("decision:{}", decision.id));
        let objects: Vec<String> = of_decisions.chain(items.iter().map(|id| format!("held_item:{id}"))).collect();
        cursor.count("audit", redact_deeds(tx, &objects).await?);
        cursor.next_stage();
        Ok(())
    }

    async fn delete_by_record(&self, tx: &DatabaseTransaction, table: &str, cursor: &mut Cursor) -> Result<(), StoreError> {
        let rest = self.records.get(cursor.records..).unwrap_or_default();
        if rest.is_empty() {
            cursor.next_stage();
            return Ok(());
        }
        let chunk = &rest[..rest.len().min(RECORDS_PER_COMMIT)];
        cursor.count(table, events_store::delete_of_records(tx, table, chunk).await?);
        cursor.records += chunk.len();
        Ok(())
    }

    async fn delete_events(&self, tx: &DatabaseTransaction, cursor: &mut Cursor) -> Result<(), StoreError> {
        let events = events_store::some_events(tx, &self.records, EVENTS_PER_COMMIT).await?;
        if events.is_empty() {
            cursor.next_stage();
            return Ok(());
        }
        let keys = self.services.store.hash_key();
        let rules = self.services.rules.standing().rules;
        let (mut said, mut traits) = (Vec::new(), BTreeSet::new());
        let (mut names, mut products, mut aliased) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for event in &events {
            let stated = stated_traits(event.kind == EventKind::Identify, &event.properties, &event.context);
            said.extend(self.statements(event, &stated));
            traits.extend(stated.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name));
            if matches!(event.kind, EventKind::Track | EventKind::Page | EventKind::Screen) {
                names.insert((event.name.clone(), event.kind));
            }
            products.extend(products_of(event).iter().map(|sku| keys.product(sku)));
            if let Some(previous) = previous_id(event) {
                let kinds = [IdentifierKind::UserId, IdentifierKind::AnonymousId];
                aliased.extend(kinds.map(|kind| Shown::judge(keys, &rules, kind, "", &previous).id));
            }
        }
        erased::insert_statements(tx, &said).await?;
        let aliased: BTreeSet<IdentifierId> = aliased;
        neighbours::lock_values(tx, &aliased).await?;
        cursor.count("identifier", erased::prune_values(tx, &aliased).await?);
        let products: BTreeSet<ProductId> = products;
        events_store::bury_events(tx, &events).await?;
        cursor.count("event", events.len() as u64);
        cursor.count("product", events_store::release_products(tx, &products).await?);
        let names = prune::prune_events(tx, &names).await?;
        let traits = prune::prune_traits(tx, &traits).await?;
        cursor.count("event_definition", names.len() as u64);
        cursor.count("trait_definition", traits.len() as u64);
        self.services.catalogue.forget(&traits, &names);
        cursor.done += i64::try_from(events.len()).unwrap_or(0);
        Ok(())
    }

    /// What the event said of attributes that rules compare, as hashes: it stood between people, and they stay apart.
    fn statements(&self, event: &event::Model, stated: &[(String, Value)]) -> Vec<ErasedStatement> {
        let keys = self.services.store.hash_key();
        let is_compared =
            |name: &String, value: &Value| self.attributes.contains(name) && (value.is_null() || !says_nothing(value));
        let compared = stated.iter().filter(|(name, value)| is_compared(name, value));
        compared
            .map(|(name, value)| ErasedStatement {
                record_id: event.record_id,
                event_id: event.id,
                attribute: name.clone(),
                arrival: event.arrival,
                occurred_at: event.occurred_at,
                value_id: comparable(value).and_then(|value| compared_as(keys, name, &value)),
            })
            .collect()
    }
}

/// For the sweep, which only looks at the key.
fn row_of(id: Uuid) -> rejected_item::Model {
    rejected_item::Model {
        id,
        source_id: Uuid::nil(),
        received_at: 0,
        item_index: 0,
        code: String::new(),
        message: String::new(),
        field: None,
        payload: String::new(),
    }
}

fn products_of(event: &event::Model) -> Vec<String> {
    let Value::Object(properties) = &event.properties else {
        return Vec::new();
    };
    let report = match event.kind {
        EventKind::Track => order_report(&event.name, properties, &event.message_id).ok().flatten(),
        _ => None,
    };
    report
        .into_iter()
        .flat_map(|report| report.lines.into_iter().map(|line| line.sku))
        .collect()
}

fn previous_id(event: &event::Model) -> Option<String> {
    if event.kind != EventKind::Alias {
        return None;
    }
    match event.context.get("previousId")? {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Members of evidence whose texts are codes or names of definitions.
const CODES: [&str; 6] = ["because", "type", "kind", "attribute", "namespace", "table"];

/// Evidence with its ids, numbers and codes, and no other text.
fn without_texts(field: &str, evidence: &Value) -> Value {
    match evidence {
        Value::Object(members) => {
            let bare = members.iter().map(|(name, value)| (name.clone(), without_texts(name, value)));
            Value::Object(bare.collect::<Map<String, Value>>())
        }
        Value::Array(items) => items.iter().map(|item| without_texts(field, item)).collect(),
        Value::String(text) if !CODES.contains(&field) && Uuid::parse_str(text).is_err() => Value::Null,
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_keeps_ids_numbers_and_codes() {
        let id = Uuid::from_u128(7).to_string();
        let evidence = json!({"because": "limit", "limit": 5, "into": id, "values": ["ada@example.test", id], "note": "Ada"});
        let expected = json!({"because": "limit", "limit": 5, "into": id, "values": [null, id], "note": null});
        assert_eq!(without_texts("", &evidence), expected);
    }

    #[test]
    fn texts_are_forgotten_last() {
        assert!(matches!(stages().last(), Some(Stage::Known(Step::Texts))));
    }
}
