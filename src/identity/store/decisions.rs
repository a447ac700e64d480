//! Decisions about who is who, what they bind, and what waits for somebody to look.

use crate::base::paging::{Page, Slice};
use crate::base::{CustomerId, DecisionId, IdentifierId, RecordId};
use crate::identity::decision::{About, NewDecision};
use crate::identity::place::{Decree, Effect};
use crate::store::walk::{Lane, columns_of};
use crate::store::{Rows, StoreError, any_of, ids_value};
use entity::{IdentityDecisionKind, decision_record, held_item, identity_decision, identity_rules};
use sea_orm::{ActiveEnum as _, ConnectionTrait, FromQueryResult as _, QueryResult, Statement};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Writes decisions with the records they are about and what they put on hold.
pub async fn insert(db: &impl ConnectionTrait, decisions: &[NewDecision]) -> Result<(), StoreError> {
    Rows::new()
        .id("id", decisions.iter().map(|decision| decision.id.0))
        .int("arrival", decisions.iter().map(|decision| decision.arrival))
        .small("kind", decisions.iter().map(|decision| decision.kind.to_value()))
        .text("actor", decisions.iter().map(|decision| decision.actor.clone()))
        .optional_text(
            "reason",
            decisions
                .iter()
                .map(|decision| decision.reason.clone().filter(|text| !text.is_empty())),
        )
        .int("rules_version", decisions.iter().map(|decision| decision.rules_version))
        .optional_id(
            "record_id",
            decisions.iter().map(|decision| decision.record.map(|record| record.0)),
        )
        .optional_id(
            "identifier_id",
            decisions.iter().map(|decision| decision.identifier.map(|id| id.0)),
        )
        .optional_id(
            "event_id",
            decisions.iter().map(|decision| decision.event.map(|event| event.0)),
        )
        .json("evidence", decisions.iter().map(|decision| decision.evidence.to_string()))
        .optional_id("revokes_id", decisions.iter().map(|decision| decision.revokes.map(|id| id.0)))
        .insert(db, "identity_decision", "")
        .await?;
    let about = || {
        decisions
            .iter()
            .flat_map(|decision| decision.records().into_iter().map(move |record| (decision, record)))
    };
    Rows::new()
        .id("record_id", about().map(|(_, record)| record.record.0))
        .id("decision_id", about().map(|(decision, _)| decision.id.0))
        .int("arrival", about().map(|(decision, _)| decision.arrival))
        .small("effect", about().map(|(_, record)| record.effect))
        .small("side", about().map(|(_, record)| record.side))
        .flag("is_pair", about().map(|(decision, _)| decision.is_pair()))
        .flag("names_survivor", about().map(|(_, record)| record.names_survivor))
        .flag("stands", about().map(|_| true))
        .insert(db, "decision_record", "")
        .await?;
    let held = || {
        decisions
            .iter()
            .filter_map(|decision| Some((decision, decision.held.as_ref()?)))
    };
    Rows::new()
        .id("id", held().map(|(_, item)| item.id))
        .int("arrival", held().map(|(decision, _)| decision.arrival))
        .small("reason", held().map(|(_, item)| item.reason.to_value()))
        .id("record_id", held().map(|(_, item)| item.record.0))
        .optional_id("other_record_id", held().map(|(_, item)| item.other.map(|record| record.0)))
        .optional_id(
            "identifier_id",
            held().map(|(decision, _)| decision.identifier.map(|id| id.0)),
        )
        .id("decision_id", held().map(|(decision, _)| decision.id.0))
        .optional_id("event_id", held().map(|(decision, _)| decision.event.map(|event| event.0)))
        .insert(db, "held_item", "")
        .await?;
    Ok(())
}

/// The standing decrees that bind any record of these customers, whole: whether one yields to another shows only from all their records.
/// Those that were erased are bound no longer.
pub async fn decrees_of(db: &impl ConnectionTrait, customers: &BTreeSet<CustomerId>) -> Result<Vec<Decree>, StoreError> {
    if customers.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT DISTINCT d.decision_id FROM record r JOIN decision_record d ON d.record_id = r.id
         WHERE {} AND d.stands AND d.effect > 0",
        any_of(backend, "r.customer_id", 1)
    );
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, customers.iter().map(|id| id.0))]);
    let rows = db.query_all_raw(statement).await?;
    let binding: Vec<Uuid> = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
    if binding.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT * FROM decision_record WHERE {} AND stands AND effect > 0",
        any_of(backend, "decision_id", 1)
    );
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, binding)]);
    Ok(decrees(decision_record::Model::find_by_statement(statement).all(db).await?))
}

/// Says of customers that a decision concerned them, for their history.
pub async fn concern(
    db: &impl ConnectionTrait,
    decision: DecisionId,
    arrival: i64,
    customers: &BTreeSet<CustomerId>,
) -> Result<(), StoreError> {
    Rows::new()
        .id("record_id", customers.iter().map(|customer| customer.0))
        .id("decision_id", customers.iter().map(|_| decision.0))
        .int("arrival", customers.iter().map(|_| arrival))
        .small("effect", customers.iter().map(|_| About::CONCERNED))
        .small("side", customers.iter().map(|_| 0))
        .flag("is_pair", customers.iter().map(|_| false))
        .flag("names_survivor", customers.iter().map(|_| false))
        .flag("stands", customers.iter().map(|_| true))
        .insert(db, "decision_record", "ON CONFLICT (record_id, decision_id) DO NOTHING")
        .await?;
    Ok(())
}

/// Every record that a decision is about.
pub async fn records_of(db: &impl ConnectionTrait, decision: DecisionId) -> Result<Vec<decision_record::Model>, StoreError> {
    let backend = db.get_database_backend();
    let sql = "SELECT * FROM decision_record WHERE decision_id = $1";
    let statement = Statement::from_sql_and_values(backend, sql, [decision.0.into()]);
    Ok(decision_record::Model::find_by_statement(statement).all(db).await?)
}

/// Puts rows of `decision_record` together to decrees.
pub fn decrees(rows: Vec<decision_record::Model>) -> Vec<Decree> {
    let mut decrees: BTreeMap<DecisionId, Decree> = BTreeMap::new();
    for row in rows {
        let record = RecordId(row.record_id);
        let effect = match row.effect {
            About::APART => Effect::Apart,
            About::TOGETHER => Effect::Together { survivor: None },
            _ => continue,
        };
        let id = DecisionId(row.decision_id);
        let decree = decrees.entry(id).or_insert_with(|| Decree {
            id,
            arrival: row.arrival,
            effect,
            is_pair: row.is_pair,
            sides: [BTreeSet::new(), BTreeSet::new()],
        });
        decree.sides[usize::from(row.side == 1)].insert(record);
        if row.names_survivor {
            decree.effect = Effect::Together { survivor: Some(record) };
        }
    }
    decrees.into_values().collect()
}

/// When values joined customers since an arrival.
pub async fn joins_of(
    db: &impl ConnectionTrait,
    values: &BTreeSet<IdentifierId>,
    since: i64,
) -> Result<Vec<(IdentifierId, i64)>, StoreError> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT identifier_id, arrival FROM identity_decision WHERE {} AND kind = $2 AND arrival > $3",
        any_of(backend, "identifier_id", 1)
    );
    let parameters = [
        ids_value(backend, values.iter().map(|id| id.0)),
        IdentityDecisionKind::Link.to_value().into(),
        since.into(),
    ];
    let rows = db
        .query_all_raw(Statement::from_sql_and_values(backend, sql, parameters))
        .await?;
    rows.iter()
        .map(|row| Ok((IdentifierId(row.try_get_by_index(0)?), row.try_get_by_index(1)?)))
        .collect()
}

/// Decisions by id, in order of arrival.
pub async fn decisions(db: &impl ConnectionTrait, ids: &[DecisionId]) -> Result<Vec<identity_decision::Model>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT * FROM identity_decision WHERE {} ORDER BY arrival, id",
        any_of(backend, "id", 1)
    );
    let statement = Statement::from_sql_and_values(backend, sql, [ids_value(backend, ids.iter().map(|id| id.0))]);
    Ok(identity_decision::Model::find_by_statement(statement).all(db).await?)
}

/// Decisions as entries of a timeline: at their arrival, each once however many records of a customer it is about.
pub fn decision_lane() -> Lane {
    Lane {
        keys: "decision_record",
        record: "record_id",
        at: "arrival",
        id: "decision_id",
        condition: String::new(),
        values: Vec::new(),
        is_shared: true,
        rows: "identity_decision",
        on: "{}.id = f.id",
        columns: columns_of::<identity_decision::Entity>(),
    }
}

/// The decision of a timeline's row.
pub fn read_decision(row: &QueryResult, prefix: &str) -> Result<identity_decision::Model, StoreError> {
    Ok(identity_decision::Model::from_query_result(row, prefix)?)
}

/// Takes a standing decision back. False: somebody has done so already.
pub async fn revoke(db: &impl ConnectionTrait, decision: DecisionId, by: DecisionId) -> Result<bool, StoreError> {
    let backend = db.get_database_backend();
    let sql = "UPDATE identity_decision SET revoked_by = $2 WHERE id = $1 AND revoked_by IS NULL RETURNING id";
    let values = [decision.0.into(), by.0.into()];
    let revoked = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    if revoked.is_empty() {
        return Ok(false);
    }
    let sql = "UPDATE decision_record SET stands = (1 = 0) WHERE decision_id = $1";
    db.execute_raw(Statement::from_sql_and_values(backend, sql, [decision.0.into()]))
        .await?;
    Ok(true)
}

/// What waits for somebody, the oldest first; the key of a page is (arrival, id).
pub async fn held_items(db: &impl ConnectionTrait, page: &Page<(i64, Uuid)>) -> Result<Slice<held_item::Model>, StoreError> {
    let backend = db.get_database_backend();
    let mut values = vec![i64::try_from(page.first + 1).unwrap_or(i64::MAX).into()];
    let mut condition = "";
    if let Some((arrival, id)) = page.after {
        condition = "AND (arrival, id) > ($2, $3)";
        values.extend([arrival.into(), id.into()]);
    }
    let sql = format!("SELECT * FROM held_item WHERE resolved_at IS NULL {condition} ORDER BY arrival, id LIMIT $1");
    let rows = held_item::Model::find_by_statement(Statement::from_sql_and_values(backend, sql, values))
        .all(db)
        .await?;
    Ok(Slice::from_one_more(rows, page.first))
}

/// Items on hold by id.
pub async fn held_item(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<held_item::Model>, StoreError> {
    let backend = db.get_database_backend();
    let statement = Statement::from_sql_and_values(backend, "SELECT * FROM held_item WHERE id = $1", [id.into()]);
    Ok(held_item::Model::find_by_statement(statement).one(db).await?)
}

/// Somebody has looked: at everything that waits because of a value.
pub async fn resolve_value(db: &impl ConnectionTrait, value: IdentifierId, now: i64, by: &str) -> Result<(), StoreError> {
    let backend = db.get_database_backend();
    let sql = "UPDATE held_item SET resolved_at = $2, resolved_by = $3 WHERE identifier_id = $1 AND resolved_at IS NULL";
    let values = [value.0.into(), now.into(), by.into()];
    db.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(())
}

/// Somebody has looked at one item. False: it was done already.
pub async fn resolve_item(db: &impl ConnectionTrait, id: Uuid, now: i64, by: &str) -> Result<bool, StoreError> {
    let backend = db.get_database_backend();
    let sql = "UPDATE held_item SET resolved_at = $2, resolved_by = $3 WHERE id = $1 AND resolved_at IS NULL RETURNING id";
    let values = [id.into(), now.into(), by.into()];
    Ok(!db
        .query_all_raw(Statement::from_sql_and_values(backend, sql, values))
        .await?
        .is_empty())
}

/// The rules that stand; none while none were published.
pub async fn standing_rules(db: &impl ConnectionTrait) -> Result<Option<identity_rules::Model>, StoreError> {
    let backend = db.get_database_backend();
    let sql = "SELECT * FROM identity_rules ORDER BY version DESC LIMIT 1";
    Ok(identity_rules::Model::find_by_statement(Statement::from_string(backend, sql))
        .one(db)
        .await?)
}

/// Every published rule set, the first version first.
pub async fn published_rules(db: &impl ConnectionTrait) -> Result<Vec<identity_rules::Model>, StoreError> {
    let backend = db.get_database_backend();
    let sql = "SELECT * FROM identity_rules ORDER BY version";
    Ok(identity_rules::Model::find_by_statement(Statement::from_string(backend, sql))
        .all(db)
        .await?)
}

/// Writes a rule set. A version that is there already is a unique violation.
pub async fn insert_rules(db: &impl ConnectionTrait, rules: &identity_rules::Model) -> Result<(), StoreError> {
    Rows::new()
        .int("version", [rules.version])
        .json("config", [rules.config.to_string()])
        .int("arrival", [rules.arrival])
        .text("actor", [rules.actor.clone()])
        .insert(db, "identity_rules", "")
        .await?;
    Ok(())
}
