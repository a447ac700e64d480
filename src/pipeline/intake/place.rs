//! Placing the messages of a group, in order of arrival, in the customers that the group can touch.

use super::item::{Alias, Item};
use crate::base::ids::HashKey;
use crate::base::{CustomerId, DecisionId, Ids, Instant, RecordId, SourceId};
use crate::identity::decision::{HeldItem, NewDecision};
use crate::identity::place::{Assertion, Decree, Effect, Placement, Rejection};
use crate::identity::scene::comparable;
use crate::identity::store::neighbours::Known;
use crate::identity::{NewLink, NewRecord, RecordTraits, Scene, says_nothing};
use entity::{HoldReason, IdentityDecisionKind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// What stands around a group while it is placed.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    pub keys: &'a HashKey,
    pub ids: &'a Ids,
    pub now: Instant,
    pub rules_version: i64,
    /// Keys of the sources, for the actor of what they decide.
    pub sources: &'a HashMap<SourceId, SpokenFor>,
}

/// What intake must know of a source.
#[derive(Clone, Debug)]
pub struct SpokenFor {
    pub key: String,
    pub reviews_aliases: bool,
}

/// What came of placing a group.
#[derive(Default)]
pub struct Placed {
    pub new: BTreeMap<RecordId, NewRecord>,
    pub links: Vec<NewLink>,
    pub decisions: Vec<NewDecision>,
    /// How many siblings an anonymous record has now.
    pub siblings: BTreeMap<RecordId, i64>,
    /// Records that were placed alone because something about them is on hold.
    pub held: Vec<RecordId>,
    /// Records whose own ids became ids of customers.
    pub own_ids: Vec<RecordId>,
}

/// Places every open message. Items learn under which record they belong.
pub fn place(scene: &mut Scene, known: &Known, items: &mut [Item<'_>], around: Around<'_>) -> Placed {
    let mut group = GroupPlacing {
        scene,
        known,
        around,
        placed: Placed::default(),
    };
    for item in items.iter_mut().filter(|item| item.is_new) {
        if item.is_open {
            group.place_item(item);
        } else {
            // What it says of the person counts for whatever arrives after it.
            group.state_attributes(item);
        }
    }
    group.placed
}

struct GroupPlacing<'a> {
    scene: &'a mut Scene,
    known: &'a Known,
    around: Around<'a>,
    placed: Placed,
}

impl GroupPlacing<'_> {
    fn place_item(&mut self, item: &mut Item<'_>) {
        self.find_record(item);
        self.open_record(item.record, item.message.source, &item.record_key, item.arrival);
        self.state_attributes(item);
        let shown: Vec<_> = item.shown.iter().map(|shown| shown.id).collect();
        let assertion = Assertion {
            record: item.record,
            arrival: item.arrival,
            event: Some(item.event),
            identifiers: shown,
        };
        let placement = self.scene.neighbourhood.place(&assertion);
        self.keep(item, &placement);
        self.record_decisions(item, &placement);
        self.note_own_id(item.record);
        if let Some(alias) = item.alias.clone() {
            self.obey_alias(item, &alias);
        }
    }

    /// An anonymous id that has passed to another customer than that of its newest record goes on under a new one.
    fn find_record(&mut self, item: &mut Item<'_>) {
        let Some(chain) = item.chain.clone() else { return };
        let siblings = self.siblings(chain.first);
        item.go_on(self.around.keys, siblings);
        let neighbourhood = &self.scene.neighbourhood;
        let owner = neighbourhood.owner_of(item.shown[chain.value].id);
        let holder = owner.and_then(|record| neighbourhood.customer_of(record));
        let newest = neighbourhood.customer_of(item.record);
        if let (Some(holder), Some(newest)) = (holder, newest)
            && holder != newest
        {
            item.go_on(self.around.keys, siblings + 1);
            self.placed.siblings.insert(chain.first, siblings + 1);
        }
    }

    fn siblings(&self, first: RecordId) -> i64 {
        let opened = self.placed.siblings.get(&first).copied();
        opened.unwrap_or_else(|| self.known.siblings(first))
    }

    fn open_record(&mut self, record: RecordId, source: SourceId, external_key: &str, arrival: i64) {
        if self.scene.neighbourhood.is_placed(record) || self.placed.new.contains_key(&record) {
            return;
        }
        let new = NewRecord {
            id: record,
            source,
            external_key: external_key.to_owned(),
            customer: CustomerId(record.0),
            arrival,
            traits: RecordTraits::default(),
            was_customer: false,
            siblings: self.siblings(record),
        };
        self.placed.new.insert(record, new);
    }

    fn state_attributes(&mut self, item: &Item<'_>) {
        let said_at = (item.message.occurred_at, item.event);
        let compared: Vec<String> = self
            .scene
            .neighbourhood
            .rules()
            .agreement_attributes()
            .into_iter()
            .map(str::to_owned)
            .collect();
        for (name, value) in item.message.traits.iter().filter(|(name, _)| compared.contains(name)) {
            // A filler never displaces what the record said.
            if !value.is_null() && says_nothing(value) {
                continue;
            }
            let value = comparable(value);
            self.scene
                .neighbourhood
                .state_attribute(item.record, name, value.as_deref(), said_at, item.arrival);
        }
    }

    fn keep(&mut self, item: &Item<'_>, placement: &Placement) {
        let shown = (0..).zip(&item.shown);
        for (place, shown) in shown.filter(|(_, shown)| placement.kept.contains(&shown.id)) {
            let is_kept = self
                .placed
                .links
                .iter()
                .rev()
                .any(|link| (link.record, link.identifier, link.event) == (item.record, shown.id, item.event));
            if !is_kept {
                self.placed.links.push(NewLink {
                    record: item.record,
                    identifier: shown.id,
                    event: item.event,
                    arrival: item.arrival,
                    occurred_at: item.message.occurred_at,
                    place,
                    raw: shown.raw.clone(),
                });
            }
        }
    }

    /// The record's own id is a customer's when it is the oldest there, or named as survivor.
    fn note_own_id(&mut self, record: RecordId) {
        let Some(customer) = self.scene.neighbourhood.customer_of(record) else {
            return;
        };
        let own = RecordId(customer.0);
        match self.placed.new.get_mut(&own) {
            Some(new) => new.was_customer = true,
            None if self.scene.locked.contains(&customer) => {}
            None => self.placed.own_ids.push(own),
        }
    }

    fn decision(&self, item: &Item<'_>, kind: IdentityDecisionKind) -> NewDecision {
        NewDecision {
            id: DecisionId(self.around.ids.time_ordered(self.around.now)),
            arrival: item.arrival,
            kind,
            actor: self.actor(item),
            reason: None,
            rules_version: self.around.rules_version,
            record: Some(item.record),
            identifier: None,
            event: Some(item.event),
            evidence: Value::Null,
            revokes: None,
            decree: None,
            concerned: Vec::new(),
            held: None,
        }
    }

    fn actor(&self, item: &Item<'_>) -> String {
        let source = self.around.sources.get(&item.message.source);
        source.map_or_else(|| "intake".to_owned(), |source| format!("source:{}", source.key))
    }

    /// What a guard chose, and what became one, is said in decisions; what is no news is not said again.
    fn record_decisions(&mut self, item: &Item<'_>, placement: &Placement) {
        for join in &placement.joined {
            self.placed.decisions.push(NewDecision {
                identifier: Some(join.because),
                evidence: json!({"absorbed": id_text(join.gone), "into": id_text(join.stayed)}),
                concerned: vec![join.gone, join.stayed],
                ..self.decision(item, IdentityDecisionKind::Link)
            });
        }
        let own = self.scene.neighbourhood.customer_of(item.record);
        for (value, rejection) in &placement.rejected {
            let owner = self.scene.neighbourhood.owner_of(*value);
            let owner = owner.and_then(|record| self.scene.neighbourhood.customer_of(record));
            let moved_from = placement
                .moved
                .iter()
                .find(|(moved, _)| moved == value)
                .map(|(_, from)| *from);
            let is_news = placement.kept.contains(value) || placement.quarantined.contains(value);
            if !is_news {
                continue;
            }
            let kind = match (rejection.holds(), moved_from) {
                (true, _) => IdentityDecisionKind::Hold,
                (false, Some(_)) => IdentityDecisionKind::Move,
                (false, None) => IdentityDecisionKind::SetAside,
            };
            let held = rejection.holds().then(|| HeldItem {
                id: self.around.ids.time_ordered(self.around.now),
                reason: match rejection {
                    Rejection::TooManyRecords { .. } => HoldReason::TooManyRecords,
                    _ => HoldReason::TooManyJoins,
                },
                record: item.record,
                other: None,
            });
            self.placed.decisions.push(NewDecision {
                identifier: Some(*value),
                evidence: why_rejected(rejection),
                concerned: own.into_iter().chain(owner).chain(moved_from).collect(),
                held,
                ..self.decision(item, kind)
            });
        }
        // The alarm has listed its values above; whatever else stood against a value, that too many share it is news of its own.
        let is_alarm = |rejection: &Rejection| matches!(rejection, Rejection::TooManyJoins { .. });
        let shared = |value: &&_| {
            !placement
                .rejected
                .iter()
                .any(|(rejected, why)| rejected == *value && is_alarm(why))
        };
        for value in placement.quarantined.iter().filter(shared) {
            self.placed.decisions.push(NewDecision {
                identifier: Some(*value),
                evidence: json!({"because": "shared", "customers": self.scene.neighbourhood.rules().shared_after}),
                concerned: own.into_iter().collect(),
                held: Some(HeldItem {
                    id: self.around.ids.time_ordered(self.around.now),
                    reason: HoldReason::Shared,
                    record: item.record,
                    other: None,
                }),
                ..self.decision(item, IdentityDecisionKind::Hold)
            });
        }
        if self.is_on_hold(item, placement) {
            self.placed.held.push(item.record);
        }
    }

    /// Alone, though it showed something that waits for a person.
    fn is_on_hold(&self, item: &Item<'_>, placement: &Placement) -> bool {
        let neighbourhood = &self.scene.neighbourhood;
        let is_held = |shown: &crate::identity::Shown| neighbourhood.state_of(shown.id) == Some(entity::IdentifierState::Held);
        let waits = item.shown.iter().any(is_held) || placement.rejected.iter().any(|(_, rejection)| rejection.holds());
        waits && neighbourhood.is_alone(item.record)
    }

    /// Two ids of one source are one person, says the source.
    fn obey_alias(&mut self, item: &Item<'_>, alias: &Alias) {
        let other = self.record_of_alias(item, alias);
        let neighbourhood = &self.scene.neighbourhood;
        let pair = neighbourhood.standing_on_pair(item.record, other);
        if other == item.record || pair.is_some_and(|decree| matches!(decree.effect, Effect::Together { .. })) {
            return;
        }
        let stands_against = pair
            .map(|decree| decree.id)
            .or_else(|| neighbourhood.what_parts(item.record, other));
        let concerned: Vec<CustomerId> = [item.record, other]
            .iter()
            .filter_map(|record| neighbourhood.customer_of(*record))
            .collect();
        let said = json!({"alias": {"user": id_text(item.record), "previous": id_text(other)}});
        if let Some(decision) = stands_against {
            self.placed.decisions.push(NewDecision {
                evidence: json!({"because": "cannot_link", "decision": id_text(decision), "alias": said["alias"]}),
                concerned,
                ..self.decision(item, IdentityDecisionKind::SetAside)
            });
            return;
        }
        let is_reviewed = self
            .around
            .sources
            .get(&item.message.source)
            .is_some_and(|source| source.reviews_aliases);
        if is_reviewed {
            self.placed.held.push(item.record);
            self.placed.decisions.push(NewDecision {
                evidence: said,
                concerned,
                held: Some(HeldItem {
                    id: self.around.ids.time_ordered(self.around.now),
                    reason: HoldReason::Alias,
                    record: item.record,
                    other: Some(other),
                }),
                ..self.decision(item, IdentityDecisionKind::Hold)
            });
            return;
        }
        let decision = self.decision(item, IdentityDecisionKind::Merge);
        let decree = Decree {
            id: decision.id,
            arrival: item.arrival + 2,
            effect: Effect::Together { survivor: None },
            is_pair: true,
            sides: [[item.record].into(), [other].into()],
        };
        self.scene.neighbourhood.decide(decree.clone());
        self.note_own_id(item.record);
        self.placed.decisions.push(NewDecision {
            arrival: decree.arrival,
            evidence: said,
            concerned,
            decree: Some(decree),
            ..decision
        });
    }

    /// The user of that name if there is one, else the anonymous visitor, else a user who has said nothing yet.
    fn record_of_alias(&mut self, item: &Item<'_>, alias: &Alias) -> RecordId {
        let neighbourhood = &self.scene.neighbourhood;
        if neighbourhood.is_placed(alias.user) {
            return alias.user;
        }
        let newest = match self.siblings(alias.anonymous) {
            0 => alias.anonymous,
            n => self
                .around
                .keys
                .sibling(item.message.source, &format!("a:{}", alias.previous), n),
        };
        if neighbourhood.is_placed(newest) {
            return newest;
        }
        let arrival = item.arrival + 1;
        self.open_record(alias.user, item.message.source, &format!("u:{}", alias.previous), arrival);
        let placement = self.scene.neighbourhood.place(&Assertion {
            record: alias.user,
            arrival,
            event: Some(item.event),
            identifiers: vec![alias.shown[0].id],
        });
        if placement.kept.contains(&alias.shown[0].id) {
            self.placed.links.push(NewLink {
                record: alias.user,
                identifier: alias.shown[0].id,
                event: item.event,
                arrival,
                occurred_at: item.message.occurred_at,
                place: 0,
                raw: alias.shown[0].raw.clone(),
            });
        }
        self.note_own_id(alias.user);
        alias.user
    }
}

/// Evidence names things by their ids; whoever reads it may look them up.
pub fn id_text(id: impl std::fmt::Display) -> String {
    id.to_string()
}

fn why_rejected(rejection: &Rejection) -> Value {
    match rejection {
        Rejection::Limit { kind, namespace, limit } => json!({
            "because": "limit",
            "type": crate::identity::rules::type_name(*kind),
            "namespace": namespace,
            "limit": limit,
        }),
        Rejection::CannotLink { decision, a, b } => json!({
            "because": "cannot_link",
            "decision": id_text(*decision),
            "records": [id_text(*a), id_text(*b)],
        }),
        Rejection::Disagreement { attribute } => json!({"because": "disagreement", "attribute": attribute}),
        Rejection::TooManyRecords { limit } => json!({"because": "too_many_records", "limit": limit}),
        Rejection::TooManyJoins { limit } => json!({"because": "too_many_joins", "limit": limit}),
    }
}
