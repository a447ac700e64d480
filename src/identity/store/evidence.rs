//! What explains who is who: the evidence that joins the records of a customer, and the histories of customers. Every statement is
//! about all that was asked.

use super::{decisions, neighbours};
use crate::base::paging::{Page, Slice};
use crate::base::{CustomerId, DecisionId, EventId, IdentifierId, RecordId};
use crate::identity::Rules;
use crate::identity::explain::{Bond, Evidence, Ruling, Says, Showing, Step};
use crate::identity::place::Decree;
use crate::store::{Rows, StoreError, any_of, ids_value};
use entity::{IdentifierState, IdentityDecisionKind, identifier, identity_decision};
use sea_orm::{ConnectionTrait, FromQueryResult, Statement};
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

/// Why two records are one customer.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub customer: CustomerId,
    /// None when the records are one, or when what joined them counts no longer.
    pub steps: Vec<Step>,
}

/// Why two records are one customer; `None` when they are not, or one of them does not exist. Five statements.
pub async fn explain(
    db: &impl ConnectionTrait,
    rules: &Rules,
    a: RecordId,
    b: RecordId,
) -> Result<Option<Explanation>, StoreError> {
    let customers = neighbours::customers_of(db, &[a, b].into()).await?;
    let (Some(customer), Some(other)) = (customers.get(&a), customers.get(&b)) else {
        return Ok(None);
    };
    if customer != other {
        return Ok(None);
    }
    let evidence = evidence_of(db, rules, *customer).await?;
    Ok(Some(Explanation {
        customer: *customer,
        steps: evidence.path(a, b).unwrap_or_default(),
    }))
}

async fn evidence_of(db: &impl ConnectionTrait, rules: &Rules, customer: CustomerId) -> Result<Evidence, StoreError> {
    let members = neighbours::members(db, &[customer].into(), &[]).await?;
    let members: Vec<RecordId> = members.iter().map(|member| member.id).collect();
    let mut evidence = Evidence::default();
    for shown in neighbours::shown_by(db, &members).await? {
        if !matches!(shown.state, IdentifierState::Blocked | IdentifierState::Unusable) {
            let value = IdentifierId(shown.id);
            let strength = || rules.of(shown.kind, &shown.namespace).priority;
            evidence.strengths.entry(value).or_insert_with(strength);
            evidence.showings.push(Showing {
                record: RecordId(shown.record_id),
                value,
                event: EventId(shown.event_id),
                arrival: shown.arrival,
            });
        }
    }
    let values: BTreeSet<IdentifierId> = evidence.strengths.keys().copied().collect();
    evidence.rulings = rulings_on(db, &values).await?;
    let decrees = decisions::decrees_of(db, &[customer].into()).await?;
    evidence.bonds = Decree::standing_bonds(&decrees).filter_map(bond).collect();
    Ok(evidence)
}

fn bond(decree: &Decree) -> Option<Bond> {
    let [left, right] = &decree.sides;
    Some(Bond {
        decision: decree.id,
        arrival: decree.arrival,
        ends: [*left.first()?, *right.first()?],
    })
}

/// What was decided about values, in order of arrival. Leans on the index (identifier_id, arrival).
async fn rulings_on(db: &impl ConnectionTrait, values: &BTreeSet<IdentifierId>) -> Result<Vec<Ruling>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT * FROM identity_decision WHERE {} ORDER BY arrival, id",
        any_of(backend, "identifier_id", 1)
    );
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, values.iter().map(|id| id.0))]);
    let decisions = identity_decision::Model::find_by_statement(statement).all(db).await?;
    Ok(decisions.into_iter().flat_map(rulings).collect())
}

fn rulings(decision: identity_decision::Model) -> Vec<Ruling> {
    let Some(value) = decision.identifier_id else {
        return Vec::new();
    };
    let because = decision.evidence["because"].as_str().unwrap_or_default();
    let says: &[Says] = match (decision.kind, because) {
        (IdentityDecisionKind::Link, _) => &[Says::Joined],
        (IdentityDecisionKind::SetAside, _) | (IdentityDecisionKind::Hold, "too_many_records") => &[Says::SetAside],
        (IdentityDecisionKind::Hold, "too_many_joins") => &[Says::SetAside, Says::Held],
        (IdentityDecisionKind::Hold, _) => &[Says::Held],
        (IdentityDecisionKind::Move, _) => &[Says::Moved],
        (IdentityDecisionKind::Block, _) => &[Says::Blocked],
        (IdentityDecisionKind::Release, _) => &[Says::Released],
        _ => &[],
    };
    let cause = decision.record_id.zip(decision.event_id);
    let ruling = |says: &Says| Ruling {
        decision: DecisionId(decision.id),
        value: IdentifierId(value),
        arrival: decision.arrival,
        cause: cause.map(|(record, event)| (RecordId(record), EventId(event))),
        says: *says,
    };
    says.iter().map(ruling).collect()
}

/// Values by id, as they are kept.
pub async fn values(
    db: &impl ConnectionTrait,
    ids: &[IdentifierId],
) -> Result<HashMap<IdentifierId, identifier::Model>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT * FROM identifier WHERE {}", any_of(backend, "id", 1));
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids.iter().map(|id| id.0))]);
    let values = identifier::Model::find_by_statement(statement).all(db).await?;
    Ok(values.into_iter().map(|value| (IdentifierId(value.id), value)).collect())
}

#[derive(FromQueryResult)]
struct OfCustomer {
    customer_id: Uuid,
    #[sea_orm(nested)]
    decision: identity_decision::Model,
}

/// The decisions about any record of a customer, the newest first: a page of each customer's. The key of a page is (arrival, id).
pub async fn histories_of(
    db: &impl ConnectionTrait,
    records: &[(RecordId, CustomerId)],
    page: &Page<(i64, Uuid)>,
) -> Result<HashMap<CustomerId, Slice<identity_decision::Model>>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, mut values) = Rows::new()
        .id("record_id", records.iter().map(|(record, _)| record.0))
        .id("customer_id", records.iter().map(|(_, customer)| customer.0))
        .relation(backend);
    let n = values.len();
    values.push(i64::try_from(page.first + 1).unwrap_or(i64::MAX).into());
    let mut condition = String::new();
    if let Some((arrival, id)) = page.after {
        condition = format!("WHERE (b.arrival, b.decision_id) < (${}, ${})", n + 2, n + 3);
        values.extend([arrival.into(), id.into()]);
    }
    // A decision is about several records of a customer and is listed once.
    let sql = format!(
        "SELECT ranked.customer_id, d.id, d.arrival, d.kind, d.actor, d.reason, d.rules_version, d.record_id, d.identifier_id,
                d.event_id, d.evidence, d.revokes_id, d.revoked_by
         FROM (SELECT customer_id, decision_id,
                      ROW_NUMBER() OVER (PARTITION BY customer_id ORDER BY arrival DESC, decision_id DESC) AS place
               FROM (SELECT DISTINCT v.customer_id, b.decision_id, b.arrival
                     FROM {relation} JOIN decision_record b ON b.record_id = v.record_id {condition}) AS once) AS ranked
              JOIN identity_decision d ON d.id = ranked.decision_id
         WHERE ranked.place <= ${}
         ORDER BY d.arrival DESC, d.id DESC",
        n + 1
    );
    let statement = Statement::from_sql_and_values(backend, sql, values);
    let mut rows: HashMap<CustomerId, Vec<identity_decision::Model>> = HashMap::new();
    for row in OfCustomer::find_by_statement(statement).all(db).await? {
        rows.entry(CustomerId(row.customer_id)).or_default().push(row.decision);
    }
    let slice = |(customer, rows)| (customer, Slice::from_one_more(rows, page.first));
    Ok(rows.into_iter().map(slice).collect())
}

/// How many items wait for somebody, counted up to a limit.
pub async fn count_held(db: &impl ConnectionTrait, limit: u64) -> Result<u64, StoreError> {
    let backend = db.get_database_backend();
    let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM held_item WHERE resolved_at IS NULL LIMIT $1) AS waiting";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let row = db
        .query_one_raw(Statement::from_sql_and_values(backend, sql, [limit.into()]))
        .await?;
    let count: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}
