//! What people decide about who is who: merge, split, link, separate, take back, block, release.
//!
//! Promises: a decision and all that follows from it are one commit; it is recorded with its doer and reason before anybody sees its
//! effect; it re-places the records that the rules name and no others; what it cannot do it refuses, naming what stands in the way.

mod held;

pub use held::{HeldAction, Resolved, resolve_held};

use crate::access::{Actor, note_deed};
use crate::base::{CustomerId, DecisionId, Instant, Kind, RecordId};
use crate::feed::{Log, TransactionId};
use crate::identity::decision::NewDecision;
use crate::identity::place::{Decree, Effect};
use crate::identity::store::{decisions, evidence, neighbours};
use crate::identity::{Scene, Seeds, Shown};
use crate::pipeline::intake::id_text;
use crate::pipeline::unify::{Happened, tell_decisions, unify};
use crate::pipeline::{Services, refresh};
use crate::store::{StoreError, Transient};
use entity::{DueClass, IdentifierKind, IdentifierState, IdentityDecisionKind, identity_decision};
use sea_orm::DatabaseTransaction;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const MAX_REASON_CHARS: usize = 1000;

/// A decision that was carried out.
#[derive(Clone, Debug)]
pub struct Decided {
    pub decision: DecisionId,
    pub transaction: TransactionId,
    /// The customers of today behind what was decided about, in order of their ids.
    pub customers: Vec<CustomerId>,
}

/// Why a decision was refused. `field`: the input to blame.
#[derive(Debug, thiserror::Error)]
pub enum MendError {
    #[error("{message}")]
    Invalid { field: &'static str, message: String },
    #[error("there is no such {what}")]
    NotFound { field: &'static str, what: &'static str },
    #[error("{message}")]
    Conflict { field: &'static str, message: String },
    #[error("the decision {decision} keeps records of the two apart: revoke it first (identityDecisionRevoke), if it is wrong")]
    KeptApart { field: &'static str, decision: DecisionId },
    #[error("the decision {by} has taken it back already")]
    TakenBack { by: DecisionId },
    #[error("the record {record} does not belong to this customer")]
    OfAnother { record: RecordId },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Transient for MendError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl MendError {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Invalid { .. } => Kind::Invalid,
            Self::NotFound { .. } => Kind::NotFound,
            Self::Conflict { .. } | Self::KeptApart { .. } | Self::TakenBack { .. } | Self::OfAnother { .. } => Kind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }

    pub fn field(&self) -> &'static str {
        match self {
            Self::Invalid { field, .. }
            | Self::NotFound { field, .. }
            | Self::Conflict { field, .. }
            | Self::KeptApart { field, .. } => field,
            Self::TakenBack { .. } => "id",
            Self::OfAnother { .. } => "records",
            Self::Store(_) => "input",
        }
    }
}

/// Who decides, and why.
#[derive(Clone, Debug)]
pub struct Doer {
    pub actor: Actor,
    pub reason: String,
}

impl Doer {
    /// A reason must be given.
    pub fn check(&self) -> Result<(), MendError> {
        let count = self.reason.trim().chars().count();
        if count == 0 || count > MAX_REASON_CHARS || self.reason.contains('\0') {
            let message = format!("say why, in 1 to {MAX_REASON_CHARS} characters: whoever asks later reads it");
            return Err(MendError::Invalid {
                field: "reason",
                message,
            });
        }
        Ok(())
    }
}

/// What is decided.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Two customers are one person; the id of `into` stays.
    Merge { into: CustomerId, from: CustomerId },
    /// These records of a customer are another person than its other records.
    Split { customer: CustomerId, records: Vec<RecordId> },
    /// Two records are the same person.
    Link { a: RecordId, b: RecordId },
    /// Two records are different people.
    Separate { a: RecordId, b: RecordId },
    /// A merge or a split is taken back.
    Revoke { decision: DecisionId },
    /// A value recognises nobody.
    Block {
        kind: IdentifierKind,
        namespace: String,
        value: String,
    },
    /// A blocked or held value recognises people after all.
    Release {
        kind: IdentifierKind,
        namespace: String,
        value: String,
    },
}

/// Carries a decision out, in a transaction of its own.
pub async fn decide(services: &Services, doer: &Doer, decision: &Decision) -> Result<Decided, MendError> {
    doer.check()?;
    let now = services.now();
    let decided = services
        .store
        .transact(|tx, _| Box::pin(carry_out(tx, services, now, doer, decision)))
        .await;
    services.refresh.nudge();
    decided
}

async fn carry_out(
    tx: &DatabaseTransaction,
    services: &Services,
    now: Instant,
    doer: &Doer,
    decision: &Decision,
) -> Result<Decided, MendError> {
    let mut mending = Mending::load(tx, services, now, doer, decision).await?;
    match decision {
        Decision::Merge { into, from } => mending.merge(*into, *from)?,
        Decision::Split { customer, records } => mending.split(*customer, records)?,
        Decision::Link { a, b } => mending.link(*a, *b)?,
        Decision::Separate { a, b } => mending.separate(*a, *b)?,
        Decision::Revoke { decision } => mending.revoke(*decision)?,
        Decision::Block { .. } => mending.block()?,
        Decision::Release { .. } => mending.release()?,
    }
    mending.save(tx, services, now, doer).await
}

/// A decision under way.
struct Mending {
    scene: Scene,
    /// What will be recorded.
    record: NewDecision,
    /// The customers of today behind the ids that were named.
    named: BTreeMap<RecordId, CustomerId>,
    /// The decision that is taken back, and every record it is about.
    revoked: Option<(identity_decision::Model, Vec<RecordId>)>,
    /// Whether records of the decision that is taken back were erased since.
    erased: bool,
    /// The value that is blocked or released.
    value: Option<Shown>,
    /// Whose customers the answer names.
    answer: BTreeSet<RecordId>,
}

impl Mending {
    async fn load(
        tx: &DatabaseTransaction,
        services: &Services,
        now: Instant,
        doer: &Doer,
        decision: &Decision,
    ) -> Result<Self, MendError> {
        let standing = services.rules.standing();
        let mut seeds = Seeds::default();
        let (mut revoked, mut value) = (None, None);
        let mut erased = false;
        match decision {
            Decision::Merge { into, from } => seeds.records = [RecordId(into.0), RecordId(from.0)].into(),
            Decision::Split { customer, records } => {
                seeds.records = records.iter().copied().chain([RecordId(customer.0)]).collect();
                seeds.again = true;
            }
            Decision::Link { a, b } => seeds.records = [*a, *b].into(),
            Decision::Separate { a, b } => {
                seeds.records = [*a, *b].into();
                seeds.again = true;
            }
            Decision::Revoke { decision } => {
                let found = decisions::decisions(tx, &[*decision]).await?.pop();
                let found = found.ok_or(MendError::NotFound {
                    field: "id",
                    what: "decision",
                })?;
                let about = decisions::records_of(tx, *decision).await?;
                // Records that were erased since are bound no longer.
                let bound = about.iter().filter(|row| row.effect > 0 && row.stands);
                let bound = bound.map(|row| RecordId(row.record_id));
                erased = about.iter().any(|row| row.effect > 0 && !row.stands);
                seeds.records = bound.collect();
                seeds.again = true;
                revoked = Some((found, seeds.records.iter().copied().collect()));
            }
            Decision::Block {
                kind,
                namespace,
                value: raw,
            }
            | Decision::Release {
                kind,
                namespace,
                value: raw,
            } => {
                let shown = Shown::judge(services.store.hash_key(), &standing.rules, *kind, namespace, raw);
                // Whoever holds it is placed again; nobody else knows of it.
                let held = evidence::values(tx, &[shown.id]).await?;
                seeds.records = held.values().filter_map(|value| value.owner_id).map(RecordId).collect();
                seeds.again = matches!(decision, Decision::Block { .. });
                seeds.values = vec![shown.clone()];
                value = Some(shown);
            }
        }
        let scene = Scene::load(tx, standing.rules.clone(), now, &seeds).await?;
        // As they are under lock: whoever was merged meanwhile is decided about as what they are now.
        let today = |record: &RecordId| Some((*record, scene.customer_before(*record)?));
        let named = seeds.records.iter().filter_map(today).collect();
        // Somebody may have shown the value for the first time meanwhile, and what they showed before was not loaded.
        let owner = value.as_ref().and_then(|value| scene.neighbourhood.owner_of(value.id));
        if owner.is_some_and(|owner| !seeds.records.contains(&owner)) {
            return Err(StoreError::LostRace.into());
        }
        let record = NewDecision {
            id: DecisionId(services.store.ids().time_ordered(now)),
            arrival: services.arrivals.reserve(now, scene.latest_arrival, 1),
            kind: IdentityDecisionKind::Merge,
            actor: doer.actor.to_string(),
            reason: Some(doer.reason.trim().to_owned()),
            rules_version: standing.version,
            record: None,
            identifier: None,
            event: None,
            evidence: json!({}),
            revokes: None,
            decree: None,
            concerned: Vec::new(),
            held: None,
        };
        Ok(Self {
            scene,
            record,
            named,
            revoked,
            erased,
            value,
            answer: seeds.records,
        })
    }

    fn customer(&self, id: RecordId, field: &'static str, what: &'static str) -> Result<CustomerId, MendError> {
        self.named.get(&id).copied().ok_or(MendError::NotFound { field, what })
    }

    fn merge(&mut self, into: CustomerId, from: CustomerId) -> Result<(), MendError> {
        let into = self.customer(RecordId(into.0), "into", "customer")?;
        let from = self.customer(RecordId(from.0), "from", "customer")?;
        if into == from {
            let message = "both ids are one customer already".to_owned();
            return Err(MendError::Conflict { field: "from", message });
        }
        let (a, b) = (RecordId(into.0), RecordId(from.0));
        self.check_parting(self.scene.neighbourhood.what_parts(a, b), "from")?;
        self.record.evidence = json!({"into": id_text(into), "absorbed": id_text(from)});
        self.decree([a].into(), [b].into(), Effect::Together { survivor: Some(a) }, true);
        Ok(())
    }

    fn check_parting(&self, parting: Option<DecisionId>, field: &'static str) -> Result<(), MendError> {
        match parting {
            Some(decision) => Err(MendError::KeptApart { field, decision }),
            None => Ok(()),
        }
    }

    fn split(&mut self, customer: CustomerId, records: &[RecordId]) -> Result<(), MendError> {
        let customer = self.customer(RecordId(customer.0), "customer", "customer")?;
        let side: BTreeSet<RecordId> = records.iter().copied().collect();
        if side.is_empty() {
            let message = "name the records that are another person".to_owned();
            return Err(MendError::Invalid {
                field: "records",
                message,
            });
        }
        let all = self.scene.neighbourhood.companions(RecordId(customer.0));
        if let Some(stranger) = side.difference(&all).next() {
            return Err(match self.named.get(stranger) {
                None => MendError::NotFound {
                    field: "records",
                    what: "record",
                },
                Some(_) => MendError::OfAnother { record: *stranger },
            });
        }
        let rest: BTreeSet<RecordId> = all.difference(&side).copied().collect();
        if rest.is_empty() {
            let message = "these are all records of the customer: leave one that stays".to_owned();
            return Err(MendError::Invalid {
                field: "records",
                message,
            });
        }
        self.answer = all;
        self.record.kind = IdentityDecisionKind::Split;
        self.record.evidence = json!({"customer": id_text(customer), "records": side.iter().map(id_text).collect::<Vec<_>>()});
        self.record.concerned = vec![customer];
        self.decree(side, rest, Effect::Apart, false);
        Ok(())
    }

    fn link(&mut self, a: RecordId, b: RecordId) -> Result<(), MendError> {
        self.check_pair(a, b)?;
        self.check_parting(self.scene.neighbourhood.what_else_parts(a, b), "b")?;
        self.record.evidence = json!({"records": [id_text(a), id_text(b)]});
        self.decree([a].into(), [b].into(), Effect::Together { survivor: None }, true);
        Ok(())
    }

    fn separate(&mut self, a: RecordId, b: RecordId) -> Result<(), MendError> {
        self.check_pair(a, b)?;
        self.record.kind = IdentityDecisionKind::Split;
        self.record.evidence = json!({"records": [id_text(a), id_text(b)]});
        self.answer = self.scene.neighbourhood.companions(a);
        self.answer.extend(self.scene.neighbourhood.companions(b));
        self.decree([a].into(), [b].into(), Effect::Apart, true);
        Ok(())
    }

    fn check_pair(&mut self, a: RecordId, b: RecordId) -> Result<(), MendError> {
        let of_a = self.customer(a, "a", "record")?;
        let of_b = self.customer(b, "b", "record")?;
        if a == b {
            let message = "this is the same record twice".to_owned();
            return Err(MendError::Invalid { field: "b", message });
        }
        self.record.concerned = vec![of_a, of_b];
        Ok(())
    }

    fn decree(&mut self, left: BTreeSet<RecordId>, right: BTreeSet<RecordId>, effect: Effect, is_pair: bool) {
        let decree = Decree {
            id: self.record.id,
            arrival: self.record.arrival,
            effect,
            is_pair,
            sides: [left, right],
        };
        self.scene.neighbourhood.decide(decree.clone());
        self.record.decree = Some(decree);
    }

    fn revoke(&mut self, decision: DecisionId) -> Result<(), MendError> {
        let Some((revoked, records)) = self.revoked.take() else {
            return Err(MendError::NotFound {
                field: "id",
                what: "decision",
            });
        };
        if let Some(by) = revoked.revoked_by {
            return Err(MendError::TakenBack { by: DecisionId(by) });
        }
        if records.is_empty() {
            let message = match revoked.kind {
                IdentityDecisionKind::Block | IdentityDecisionKind::Hold => "use identifierRelease for a value",
                _ if self.erased => "everybody it was about was erased",
                IdentityDecisionKind::Link => "an automatic link is undone by customerSplit or recordsSeparate",
                _ => "only a merge or a split can be taken back",
            };
            return Err(MendError::Invalid {
                field: "id",
                message: message.to_owned(),
            });
        }
        self.record.kind = IdentityDecisionKind::Revoke;
        self.record.revokes = Some(decision);
        self.record.evidence = json!({"kind": format!("{:?}", revoked.kind)});
        self.record.concerned = self.named.values().copied().collect();
        self.answer = records
            .iter()
            .flat_map(|record| self.scene.neighbourhood.companions(*record))
            .collect();
        self.scene.neighbourhood.revoke(decision);
        Ok(())
    }

    fn value_at_hand(&self) -> Result<Shown, MendError> {
        self.value.clone().ok_or(MendError::NotFound {
            field: "value",
            what: "value",
        })
    }

    fn block(&mut self) -> Result<(), MendError> {
        let value = self.value_at_hand()?;
        if !value.is_usable || self.scene.neighbourhood.state_of(value.id) == Some(IdentifierState::Blocked) {
            let message = "this value recognises nobody as it is".to_owned();
            return Err(MendError::Conflict { field: "value", message });
        }
        self.about_value(&value, IdentityDecisionKind::Block);
        self.answer = self
            .answer
            .iter()
            .flat_map(|record| self.scene.neighbourhood.companions(*record))
            .collect();
        self.scene.neighbourhood.block(value.id);
        Ok(())
    }

    fn release(&mut self) -> Result<(), MendError> {
        let value = self.value_at_hand()?;
        match self.scene.neighbourhood.state_of(value.id) {
            Some(IdentifierState::Blocked | IdentifierState::Held) => {}
            _ if !value.is_usable => {
                let message =
                    "the rules say that this value recognises nobody: publish other rules (identityRulesPublish)".to_owned();
                return Err(MendError::Conflict { field: "value", message });
            }
            _ => {
                let message = "this value is neither blocked nor held".to_owned();
                return Err(MendError::Conflict { field: "value", message });
            }
        }
        self.about_value(&value, IdentityDecisionKind::Release);
        self.scene.neighbourhood.clear(value.id);
        Ok(())
    }

    fn about_value(&mut self, value: &Shown, kind: IdentityDecisionKind) {
        self.record.kind = kind;
        self.record.identifier = Some(value.id);
        self.record.concerned = self.named.values().copied().collect();
    }

    async fn save(
        mut self,
        tx: &DatabaseTransaction,
        services: &Services,
        now: Instant,
        doer: &Doer,
    ) -> Result<Decided, MendError> {
        let mut log = Log::new(services.store.ids(), now, doer.actor.as_str());
        let arrival = self.record.arrival;
        let difference = self.scene.difference();
        let own_ids: Vec<RecordId> = difference.appeared.iter().map(|customer| RecordId(customer.0)).collect();
        self.record
            .concerned
            .extend(difference.appeared.iter().chain(difference.changed.iter()).copied());
        let happened = Happened {
            difference,
            arrival,
            ..Happened::default()
        };
        let unified = unify(tx, services, happened).await?;
        unified.tell(&mut log, BTreeMap::new(), |record| CustomerId(record.0), now);
        neighbours::mark_customers(tx, &own_ids).await?;
        let concerned = refresh::Concerned {
            moved: &unified.moved,
            ..refresh::Concerned::default()
        };
        refresh::mark(tx, &log, (now, DueClass::Live), concerned).await?;
        decisions::insert(tx, std::slice::from_ref(&self.record)).await?;
        if let Some(revoked) = self.record.revokes
            && !decisions::revoke(tx, revoked, self.record.id).await?
        {
            return Err(StoreError::LostRace.into());
        }
        if let (Some(value), IdentityDecisionKind::Block | IdentityDecisionKind::Release) =
            (self.record.identifier, self.record.kind)
        {
            decisions::resolve_value(tx, value, now.micros(), doer.actor.as_str()).await?;
        }
        tell_decisions(&mut log, std::slice::from_ref(&self.record), |record| {
            self.scene.neighbourhood.customer_of(record)
        });
        let action = format!("identity.{}", format!("{:?}", self.record.kind).to_lowercase());
        let object = format!("decision:{}", self.record.id);
        let detail = json!({"reason": self.record.reason, "evidence": self.record.evidence});
        note_deed(tx, services.store.ids(), now, &doer.actor, (&action, &object), detail).await?;
        let transaction = log.write(tx, now).await?;
        let customers: BTreeSet<CustomerId> = self
            .answer
            .iter()
            .filter_map(|record| self.scene.neighbourhood.customer_of(*record))
            .collect();
        Ok(Decided {
            decision: self.record.id,
            transaction,
            customers: customers.into_iter().collect(),
        })
    }
}
