//! The tables of identity against the fold: who owns which value, what was recorded by itself, which decisions stand.

use super::fold::{Derived, Folded};
use super::history::Seen;
use super::{Checking, RebuildError};
use crate::base::{CustomerId, DecisionId, EventId, IdentifierId, RecordId};
use crate::identity::store::{history, neighbours};
use crate::store::{Columns, Difference, compare_columns};
use entity::{HoldReason, IdentityDecisionKind, identity_decision};
use sea_orm::ActiveEnum as _;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

impl Checking<'_> {
    pub(super) async fn compare_identifiers(&mut self, folded: &Folded) -> Result<(), RebuildError> {
        let mut last = None;
        loop {
            let page = history::identifiers_after(&self.db, last.as_ref()).await?;
            last = page.last().cloned();
            if last.is_none() {
                return Ok(());
            }
            // Through which of its records a customer owns a value is its own affair.
            let owners: BTreeSet<RecordId> = page.iter().filter_map(|row| row.owner_id).map(RecordId).collect();
            let customers = neighbours::customers_of(&self.db, &owners).await?;
            for row in page {
                let id = IdentifierId(row.id);
                let owner = folded.neighbourhood.owner_of(id);
                let expected = owner.and_then(|record| folded.neighbourhood.customer_of(record));
                let stored = row
                    .owner_id
                    .map(|id| customers.get(&RecordId(id)).copied().unwrap_or(CustomerId(id)));
                let state = folded.state_of(id);
                let mut stored = Columns::from([
                    ("owner_id", json!(stored.map(|customer| customer.0))),
                    ("state", json!(row.state.to_value())),
                ]);
                let mut expected = Columns::from([
                    ("owner_id", json!(expected.map(|customer| customer.0))),
                    ("state", json!(state.to_value())),
                ]);
                if row.held_at.is_some() || folded.neighbourhood.held_at(id).is_some() {
                    stored.insert("held_at", json!(row.held_at));
                    expected.insert("held_at", json!(folded.neighbourhood.held_at(id)));
                }
                let key = row.id.to_string();
                self.report(compare_columns("identifier", &key, &stored, expected));
            }
        }
    }

    /// `erased`: the arrival of the last erasure of each record that was erased.
    pub(super) async fn compare_decisions(
        &mut self,
        folded: &Folded,
        seen: &Seen,
        erased: &HashMap<RecordId, i64>,
    ) -> Result<(), RebuildError> {
        let mut missing: BTreeMap<Derived, usize> = BTreeMap::new();
        for derived in &folded.derived {
            *missing.entry(Derived { hold: None, ..*derived }).or_default() += 1;
        }
        let mut revoked: HashMap<DecisionId, DecisionId> = HashMap::new();
        let mut revoked_by: BTreeMap<DecisionId, Option<DecisionId>> = BTreeMap::new();
        let mut last = None;
        loop {
            let page = history::decisions_after(&self.db, last.as_ref()).await?;
            for row in &page {
                let id = DecisionId(row.id);
                revoked_by.insert(id, row.revoked_by.map(DecisionId));
                if let (IdentityDecisionKind::Revoke, Some(back)) = (row.kind, row.revokes_id) {
                    revoked.insert(DecisionId(back), id);
                }
                if happens_by_itself(row.kind) && !is_expected(row, &mut missing, seen) {
                    self.report([Difference::of_row("identity_decision", decision_key(row), true)]);
                }
            }
            last = page.into_iter().next_back();
            if last.is_none() {
                break;
            }
        }
        let missing = missing
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(derived, _)| Difference::of_row("identity_decision", derived_key(derived), false));
        self.report(missing.collect::<Vec<_>>());
        let all: HashSet<DecisionId> = revoked_by.keys().copied().collect();
        for (id, stored) in revoked_by {
            let stored = Columns::from([("revoked_by", json!(stored.map(|by| by.0)))]);
            let expected = Columns::from([("revoked_by", json!(revoked.get(&id).map(|by| by.0)))]);
            self.report(compare_columns("identity_decision", &id.to_string(), &stored, expected));
        }
        self.compare_bound(&all, &revoked, erased).await
    }

    async fn compare_bound(
        &mut self,
        all: &HashSet<DecisionId>,
        revoked: &HashMap<DecisionId, DecisionId>,
        erased: &HashMap<RecordId, i64>,
    ) -> Result<(), RebuildError> {
        let mut last = None;
        loop {
            let page = history::decision_records_after(&self.db, last.as_ref()).await?;
            for row in &page {
                let decision = DecisionId(row.decision_id);
                let key = format!("{}/{decision}", row.record_id);
                if !all.contains(&decision) {
                    self.report([Difference::of_row("decision_record", key, true)]);
                    continue;
                }
                let stored = Columns::from([("stands", json!(row.stands))]);
                // Who was erased is bound by nothing that was decided before.
                let is_freed = erased.get(&RecordId(row.record_id)).is_some_and(|at| row.arrival < *at);
                let expected = Columns::from([("stands", json!(!revoked.contains_key(&decision) && !is_freed))]);
                self.report(compare_columns("decision_record", &key, &stored, expected));
            }
            last = page.into_iter().next_back();
            if last.is_none() {
                return Ok(());
            }
        }
    }

    pub(super) async fn compare_held(&mut self, folded: &Folded, seen: &Seen) -> Result<(), RebuildError> {
        let held = folded.derived.iter().filter(|derived| derived.hold.is_some());
        let mut missing: BTreeSet<Derived> = held.copied().collect();
        let mut last = None;
        loop {
            let page = history::held_items_after(&self.db, last.as_ref()).await?;
            for row in &page {
                let (record, value) = (RecordId(row.record_id), row.identifier_id.map(IdentifierId));
                let is_expected = match (row.reason, value) {
                    (HoldReason::Alias, _) => row.event_id.is_some_and(|id| seen.aliases.contains(&(record, EventId(id)))),
                    (_, None) => false,
                    (reason, Some(value)) => missing.remove(&Derived {
                        arrival: row.arrival,
                        record,
                        kind: IdentityDecisionKind::Hold,
                        value,
                        hold: Some(reason),
                    }),
                };
                if !is_expected {
                    self.report([Difference::of_row("held_item", row.id.to_string(), true)]);
                }
            }
            last = page.into_iter().next_back();
            if last.is_none() {
                break;
            }
        }
        let missing = missing
            .iter()
            .map(|derived| Difference::of_row("held_item", derived_key(derived), false));
        self.report(missing.collect::<Vec<_>>());
        Ok(())
    }
}

const fn happens_by_itself(kind: IdentityDecisionKind) -> bool {
    matches!(
        kind,
        IdentityDecisionKind::Link | IdentityDecisionKind::SetAside | IdentityDecisionKind::Move | IdentityDecisionKind::Hold
    )
}

/// One about no value came of an alias, and its message must be there.
fn is_expected(row: &identity_decision::Model, missing: &mut BTreeMap<Derived, usize>, seen: &Seen) -> bool {
    let Some(record) = row.record_id.map(RecordId) else {
        return false;
    };
    let Some(value) = row.identifier_id.map(IdentifierId) else {
        return row.event_id.is_some_and(|id| seen.aliases.contains(&(record, EventId(id))));
    };
    let derived = Derived {
        arrival: row.arrival,
        record,
        kind: row.kind,
        value,
        hold: None,
    };
    match missing.get_mut(&derived) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

fn decision_key(row: &identity_decision::Model) -> String {
    format!("{} ({:?} at {})", row.id, row.kind, row.arrival)
}

fn derived_key(derived: &Derived) -> String {
    format!(
        "{:?} of {} by {} at {}",
        derived.kind, derived.value, derived.record, derived.arrival
    )
}
