//! Every statement of `metric_change`.

use super::metric::Metric;
use crate::base::paging::{Page, Slice};
use crate::base::{CustomerId, Instant};
use crate::identity::store::JOIN_RECORDS;
use crate::store::{Rows, StoreError, any_of, ids_value, rows_after};
use entity::metric_change::Model;
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult, Statement, Value};
use serde_json::json;
use std::collections::HashMap;
use uuid::Uuid;

/// A place in a history: when an interval began, its version, and whose it is.
pub type Place = (i64, i64, Uuid);

/// Where an interval stands in the history of a customer: what is unwritten before everything else.
pub fn place(row: &Model) -> Place {
    match row.customer_id.is_nil() {
        true => (i64::MIN, 0, row.customer_id),
        false => (row.from_at, row.rev, row.customer_id),
    }
}

/// What is said of a customer before the first interval that is written, and of whom there is none: since they are known. `None`: nothing,
/// or no time passed in between.
pub fn unwritten(metric: &dyn Metric, created_at: Instant, first: Option<&Model>) -> Option<Model> {
    if first.is_some_and(|row| row.from_at <= created_at.micros()) {
        return None;
    }
    Some(Model {
        customer_id: Uuid::nil(),
        metric: metric.key().to_owned(),
        rev: 0,
        from_at: created_at.micros(),
        until_at: first.map(|row| row.from_at),
        value: metric.otherwise()?.to_owned(),
        detail: json!({}),
        cause: "created".to_owned(),
        ended: first.map(|row| row.cause.clone()),
        model_version: None,
    })
}

/// The last row of each metric of these customers, whether it still holds or not.
pub async fn latest(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
) -> Result<HashMap<CustomerId, HashMap<String, Model>>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT m.* FROM metric_change m WHERE {} AND NOT EXISTS
             (SELECT 1 FROM metric_change n WHERE n.customer_id = m.customer_id AND n.metric = m.metric AND n.rev > m.rev)",
        any_of(backend, "m.customer_id", 1)
    );
    let values = [ids_value(backend, customers.iter().map(|customer| customer.0))];
    let rows = Model::find_by_statement(Statement::from_sql_and_values(backend, sql, values));
    let mut latest: HashMap<CustomerId, HashMap<String, Model>> = HashMap::new();
    for row in rows.all(db).await? {
        let of_customer = latest.entry(CustomerId(row.customer_id)).or_default();
        of_customer.insert(row.metric.clone(), row);
    }
    Ok(latest)
}

/// What still holds of these customers.
pub async fn open(db: &impl ConnectionTrait, customers: &[CustomerId]) -> Result<Vec<Model>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!(
        "SELECT * FROM metric_change WHERE {} AND until_at IS NULL",
        any_of(backend, "customer_id", 1)
    );
    let values = [ids_value(backend, customers.iter().map(|customer| customer.0))];
    let statement = Statement::from_sql_and_values(backend, sql, values);
    Ok(Model::find_by_statement(statement).all(db).await?)
}

#[derive(FromQueryResult)]
struct OfCustomer {
    list_id: Uuid,
    #[sea_orm(nested)]
    row: Model,
}

const COLUMNS: &str =
    "m.customer_id, m.metric, m.rev, m.from_at, m.until_at, m.value, m.detail, m.cause, m.ended, m.model_version";

/// What held of these customers at an instant, by metric, whatever ids they had then.
///
/// The id of today goes before others that were merged into it later. Of an id that was part of another customer at that instant, it is what
/// held last before. Leans on the primary key, and reads whole histories, which are short.
pub async fn as_of(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    at: Instant,
) -> Result<HashMap<CustomerId, HashMap<String, Model>>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, mut values) = Rows::new()
        .id("customer_id", customers.iter().map(|customer| customer.0))
        .relation(backend);
    values.push(at.micros().into());
    let n = values.len();
    let sql = format!(
        "SELECT list_id, customer_id, metric, rev, from_at, until_at, value, detail, cause, ended, model_version
         FROM (SELECT v.customer_id AS list_id, {COLUMNS},
                      ROW_NUMBER() OVER (PARTITION BY m.customer_id, m.metric ORDER BY m.from_at DESC, m.rev DESC) AS place
               FROM {relation} {JOIN_RECORDS} JOIN metric_change m ON m.customer_id = r.id AND m.from_at <= ${n}) AS ranked
         WHERE place = 1"
    );
    let rows = OfCustomer::find_by_statement(Statement::from_sql_and_values(backend, sql, values));
    let mut held: HashMap<CustomerId, HashMap<String, Model>> = HashMap::new();
    for OfCustomer { list_id, row } in rows.all(db).await? {
        let of_customer = held.entry(CustomerId(list_id)).or_default();
        let known = of_customer.remove(&row.metric);
        if let Some(row) = better(list_id, at, known, row) {
            of_customer.insert(row.metric.clone(), row);
        }
    }
    Ok(held)
}

/// Of two rows that were the last of their ids by then, the one that is told of a customer.
fn better(customer: Uuid, at: Instant, one: Option<Model>, other: Model) -> Option<Model> {
    let rank = |row: &Model| {
        let holds = row.until_at.is_none_or(|until| until > at.micros());
        let was_absorbed = row.ended.as_deref().is_some_and(is_merge);
        let is_own = row.customer_id == customer;
        // What ended without a merge says nothing of a later instant.
        (holds || (was_absorbed && is_own)).then_some((holds, is_own, row.from_at, row.rev))
    };
    let all = one.into_iter().chain([other]);
    all.filter(|row| rank(row).is_some()).max_by_key(|row| rank(row))
}

/// Whether an interval was ended because its customer became part of another.
pub fn is_merge(ended: &str) -> bool {
    ended == "merge" || ended.starts_with("merge:")
}

/// The history of a metric of each of these customers under all their ids, the oldest first: a page each.
pub async fn histories(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    metric: &str,
    page: &Page<Place>,
) -> Result<HashMap<CustomerId, Slice<Model>>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, mut values) = Rows::new()
        .id("customer_id", customers.iter().map(|customer| customer.0))
        .relation(backend);
    let n = values.len();
    values.push(metric.into());
    values.push(i64::try_from(page.first + 1).unwrap_or(i64::MAX).into());
    let mut condition = String::new();
    if let Some((from_at, rev, id)) = page.after {
        condition = format!("AND (m.from_at, m.rev, m.customer_id) > (${}, ${}, ${})", n + 3, n + 4, n + 5);
        values.extend([Value::from(from_at), rev.into(), id.into()]);
    }
    let sql = format!(
        "SELECT list_id, customer_id, metric, rev, from_at, until_at, value, detail, cause, ended, model_version
         FROM (SELECT v.customer_id AS list_id, {COLUMNS},
                      ROW_NUMBER() OVER (PARTITION BY v.customer_id ORDER BY m.from_at, m.rev, m.customer_id) AS place
               FROM {relation} {JOIN_RECORDS} JOIN metric_change m ON m.customer_id = r.id AND m.metric = ${} {condition}) AS ranked
         WHERE place <= ${} ORDER BY list_id, place",
        n + 1,
        n + 2
    );
    let rows = OfCustomer::find_by_statement(Statement::from_sql_and_values(backend, sql, values));
    let mut histories: HashMap<CustomerId, Vec<Model>> = HashMap::new();
    for OfCustomer { list_id, row } in rows.all(db).await? {
        histories.entry(CustomerId(list_id)).or_default().push(row);
    }
    let slice = |(customer, rows)| (customer, Slice::from_one_more(rows, page.first));
    Ok(histories.into_iter().map(slice).collect())
}

/// Ends intervals: of each row `until_at` and `ended` are written, and nothing else.
pub async fn close(tx: &DatabaseTransaction, rows: &[Model]) -> Result<(), StoreError> {
    Rows::new()
        .id("customer", rows.iter().map(|row| row.customer_id))
        .text("name", rows.iter().map(|row| row.metric.clone()))
        .int("version", rows.iter().map(|row| row.rev))
        .optional_int("ends", rows.iter().map(|row| row.until_at))
        .optional_text("by_what", rows.iter().map(|row| row.ended.clone()))
        .update(
            tx,
            "metric_change",
            "until_at = v.ends, ended = v.by_what",
            "customer_id = v.customer AND metric = v.name AND rev = v.version",
        )
        .await?;
    Ok(())
}

/// Begins intervals, also such as have ended already.
pub async fn insert(tx: &DatabaseTransaction, rows: &[Model]) -> Result<(), StoreError> {
    Rows::new()
        .id("customer_id", rows.iter().map(|row| row.customer_id))
        .text("metric", rows.iter().map(|row| row.metric.clone()))
        .int("rev", rows.iter().map(|row| row.rev))
        .int("from_at", rows.iter().map(|row| row.from_at))
        .optional_int("until_at", rows.iter().map(|row| row.until_at))
        .text("value", rows.iter().map(|row| row.value.clone()))
        .json("detail", rows.iter().map(|row| row.detail.to_string()))
        .text("cause", rows.iter().map(|row| row.cause.clone()))
        .optional_text("ended", rows.iter().map(|row| row.ended.clone()))
        .optional_int("model_version", rows.iter().map(|row| row.model_version))
        .insert(tx, "metric_change", "")
        .await?;
    Ok(())
}

/// Takes the histories of these ids away.
pub async fn delete(tx: &DatabaseTransaction, customers: impl Iterator<Item = CustomerId>) -> Result<u64, StoreError> {
    let backend = tx.get_database_backend();
    let sql = format!("DELETE FROM metric_change WHERE {}", any_of(backend, "customer_id", 1));
    let values = [ids_value(backend, customers.map(|customer| customer.0))];
    let done = tx.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(done.rows_affected())
}

/// The next rows behind this one.
pub async fn changes_after(db: &impl ConnectionTrait, after: Option<&Model>) -> Result<Vec<Model>, StoreError> {
    let key = |row: &Model| vec![row.customer_id.into(), row.metric.clone().into(), row.rev.into()];
    let after: Vec<Value> = after.map(key).unwrap_or_default();
    rows_after(db, "metric_change", &["customer_id", "metric", "rev"], &after, None).await
}
