//! Reads the history: whole tables, page by page, and of events only what the rules compare.

use super::fold::{History, Ruling, ShownValue, Spelling};
use super::{Checking, RebuildError};
use crate::base::{DecisionId, EventId, IdentifierId, Instant, RecordId, SourceId};
use crate::customer::store::whole;
use crate::identity::place::Neighbourhood;
use crate::identity::scene::{comparable, compared_as, stated_traits};
use crate::identity::store::{decisions, erased, history};
use crate::identity::{Rules, says_nothing};
use entity::{EventKind, IdentityDecisionKind, decision_record, identity_decision};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Reads a table to its end, page by page in the order of its key.
macro_rules! every_page {
    ($verb:path, $db:expr, |$page:ident| $each:block) => {{
        let mut last = None;
        loop {
            let $page = $verb($db, last.as_ref()).await?;
            last = $page.last().cloned();
            if last.is_none() {
                break;
            }
            $each
        }
    }};
}

/// What is read of records beside the history of identity.
#[derive(Debug, Default)]
pub struct RecordKeys {
    pub sources: HashMap<RecordId, SourceId>,
    pub arrivals: HashMap<RecordId, i64>,
    /// How many siblings were opened beside an anonymous record.
    pub siblings: HashMap<RecordId, i64>,
    /// The arrival of the last erasure of each record that was erased.
    pub erased: HashMap<RecordId, i64>,
}

/// Names that events bring into the catalogue, and which events were aliases.
#[derive(Debug, Default)]
pub struct Seen {
    pub events: BTreeSet<(String, i16)>,
    pub traits: BTreeSet<String>,
    pub aliases: HashSet<(RecordId, EventId)>,
}

impl Checking<'_> {
    pub(super) async fn read_records(&mut self, into: &mut History) -> Result<RecordKeys, RebuildError> {
        let mut keys = RecordKeys::default();
        // A record may live again under the same id: each sibling counts once.
        let mut siblings: HashSet<(RecordId, RecordId)> = HashSet::new();
        self.read_erased_records(into, &mut keys, &mut siblings).await?;
        let mut last = None;
        loop {
            let page = history::record_keys_after(&self.db, last).await?;
            for row in &page {
                let id = RecordId(row.id);
                into.records.push((row.arrival, id));
                keys.arrivals.insert(id, row.arrival);
                keys.sources.insert(id, row.source());
                siblings.extend(self.first_of(row, id).map(|first| (first, id)));
            }
            last = page.last().map(|row| RecordId(row.id));
            if last.is_none() {
                for (first, _) in siblings {
                    *keys.siblings.entry(first).or_default() += 1;
                }
                return Ok(keys);
            }
            self.report_progress("reading records", keys.arrivals.len());
        }
    }

    /// Skeletons take part up to the erasure.
    async fn read_erased_records(
        &mut self,
        into: &mut History,
        keys: &mut RecordKeys,
        siblings: &mut HashSet<(RecordId, RecordId)>,
    ) -> Result<(), RebuildError> {
        let mut erasures: BTreeMap<i64, BTreeSet<RecordId>> = BTreeMap::new();
        every_page!(erased::erased_records_after, &self.db, |page| {
            for row in &page {
                let id = RecordId(row.id);
                into.records.push((row.arrival, id));
                erasures.entry(row.erased_at).or_default().insert(id);
                siblings.extend(row.first_id.map(|first| (RecordId(first), id)));
                let erased_at = keys.erased.entry(id).or_insert(row.erased_at);
                *erased_at = row.erased_at.max(*erased_at);
            }
        });
        let rulings = erasures.into_iter();
        into.rulings
            .extend(rulings.map(|(at, records)| (at, Ruling::Erase(at, records))));
        Ok(())
    }

    async fn read_erased_values(&mut self, into: &mut History) -> Result<(), RebuildError> {
        every_page!(erased::erased_values_after, &self.db, |page| {
            for row in page {
                let judged = row
                    .judged
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(serde_json::Value::as_i64);
                let spelling = Spelling {
                    kind: row.kind,
                    namespace: row.namespace,
                    value: String::new(),
                    judged: Some(judged.collect()),
                };
                into.values.insert(IdentifierId(row.id), spelling);
            }
        });
        every_page!(erased::erased_links_after, &self.db, |page| {
            into.shown.extend(page.into_iter().map(|row| ShownValue {
                arrival: row.arrival,
                record: RecordId(row.record_id),
                event: EventId(row.event_id),
                place: row.place,
                value: IdentifierId(row.identifier_id),
                raw: None,
                judged: Some(row.is_usable),
            }));
        });
        Ok(())
    }

    /// The first record of an anonymous id, when this one was opened beside it; a sender may call a record `x#1` too.
    fn first_of(&self, row: &history::RecordKey, id: RecordId) -> Option<RecordId> {
        let (first, n) = row.external_key.rsplit_once('#')?;
        let is_sibling = self.keys.sibling(row.source(), first, n.parse().ok()?) == id;
        is_sibling.then(|| self.keys.record(row.source(), first))
    }

    pub(super) async fn read_values(&mut self, into: &mut History) -> Result<(), RebuildError> {
        self.read_erased_values(into).await?;
        every_page!(history::identifiers_after, &self.db, |page| {
            // Who has no text is known by its skeleton.
            for row in page.into_iter().filter(|row| !row.value.is_empty()) {
                let spelling = Spelling {
                    kind: row.kind,
                    namespace: row.namespace,
                    value: row.value,
                    judged: None,
                };
                into.values.insert(IdentifierId(row.id), spelling);
            }
        });
        every_page!(history::links_after, &self.db, |page| {
            into.shown.extend(page.into_iter().map(|row| ShownValue {
                arrival: row.arrival,
                record: RecordId(row.record_id),
                event: EventId(row.event_id),
                place: row.place,
                value: IdentifierId(row.identifier_id),
                raw: row.raw,
                judged: None,
            }));
            self.report_progress("reading links", into.shown.len());
        });
        Ok(())
    }

    /// Decisions of people and sources; what happened by itself is not read, it has to come out.
    pub(super) async fn read_rulings(&mut self, into: &mut History) -> Result<Vec<Arc<Rules>>, RebuildError> {
        let mut bound: Vec<decision_record::Model> = Vec::new();
        every_page!(history::decision_records_after, &self.db, |page| {
            bound.extend(page.into_iter().filter(|row| row.effect > 0));
        });
        let decrees = decisions::decrees(bound).into_iter();
        into.rulings
            .extend(decrees.map(|decree| (decree.arrival, Ruling::Decree(decree))));
        every_page!(history::decisions_after, &self.db, |page| {
            into.rulings
                .extend(page.iter().filter_map(|row| Some((row.arrival, ruling(row)?))));
        });
        let mut all = Vec::new();
        for published in decisions::published_rules(&self.db).await? {
            let rules = Rules::parse(&published.config).map_err(|error| RebuildError::Rules(published.version, error))?;
            let rules = Arc::new(rules);
            into.rulings
                .push((published.arrival, Ruling::Rules(rules.clone(), Some(published.version))));
            all.push(rules);
        }
        Ok(all)
    }

    /// What records said of the attributes that any rules compare, and the names that events brought.
    pub(super) async fn read_events(
        &mut self,
        attributes: &BTreeSet<String>,
        into: &mut Neighbourhood,
    ) -> Result<Seen, RebuildError> {
        let mut seen = Seen::default();
        self.read_erased_events(&mut seen, into).await?;
        let mut count = 0;
        every_page!(whole::events_after, &self.db, |page| {
            count += page.len();
            for event in page {
                let (record, id) = (RecordId(event.record_id), EventId(event.id));
                if event.kind == EventKind::Alias {
                    seen.aliases.insert((record, id));
                }
                let stated = stated_traits(event.kind == EventKind::Identify, &event.properties, &event.context);
                for (name, value) in stated {
                    if attributes.contains(&name) && (value.is_null() || !says_nothing(&value)) {
                        let said_at = (Instant::from_micros(event.occurred_at), id);
                        // Hashes, as erased people's are: they are only compared.
                        let value = comparable(&value).and_then(|value| compared_as(self.keys, &name, &value));
                        let value = value.map(|id| id.to_string());
                        into.state_attribute(record, &name, value.as_deref(), said_at, event.arrival);
                    }
                    if !value.is_null() && !seen.traits.contains(&name) {
                        seen.traits.insert(name);
                    }
                }
                if matches!(event.kind, EventKind::Track | EventKind::Page | EventKind::Screen) {
                    seen.events.insert((event.name, sea_orm::ActiveEnum::to_value(&event.kind)));
                }
            }
            self.report_progress("reading events", count);
        });
        Ok(seen)
    }
}

impl Checking<'_> {
    async fn read_erased_events(&mut self, seen: &mut Seen, into: &mut Neighbourhood) -> Result<(), RebuildError> {
        every_page!(erased::erased_statements_after, &self.db, |page| {
            for said in &page {
                let value = said.value_id.map(|id| id.to_string());
                let said_at = (Instant::from_micros(said.occurred_at), EventId(said.event_id));
                let record = RecordId(said.record_id);
                into.state_attribute(record, &said.attribute, value.as_deref(), said_at, said.arrival);
            }
        });
        let mut last = None;
        loop {
            let page = erased::erased_events_after(&self.db, last).await?;
            last = page.last().map(|(record, event, _)| (*record, *event));
            if last.is_none() {
                return Ok(());
            }
            let aliases = page.into_iter().filter(|(_, _, is_alias)| *is_alias);
            seen.aliases.extend(aliases.map(|(record, event, _)| (record, event)));
        }
    }
}

fn ruling(row: &identity_decision::Model) -> Option<Ruling> {
    let value = row.identifier_id.map(IdentifierId);
    match row.kind {
        IdentityDecisionKind::Revoke => row.revokes_id.map(|id| Ruling::Revoke(DecisionId(id))),
        IdentityDecisionKind::Block => value.map(Ruling::Block),
        IdentityDecisionKind::Release => value.map(Ruling::Release),
        _ => None,
    }
}
