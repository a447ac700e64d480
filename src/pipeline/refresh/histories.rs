//! The metrics of customers and their histories (`metric_change`): what changed is written as intervals with their true instants, also where
//! nobody looked for a while, and every change is told.
//!
//! Of an id that is no customer's any more the intervals end (`merge:…`, with the transaction that told of it), and the customer whom it
//! is part of now is judged anew. An id that is a customer's again begins new intervals (`unmerge:…`).

use super::{Batch, Nexts};
use crate::base::{CustomerId, Instant};
use crate::due::Due;
use crate::feed::{Change, Log};
use crate::store::StoreError;
use crate::value::Known;
use crate::value::metric::{Basis, Metric};
use crate::value::metric_store as store;
use crate::value::metrics::{self, Look, Told};
use crate::value::published::Published;
use crate::value::rules::ValueRules;
use entity::metric_change::Model;
use entity::{ChangeOp, Topic};
use sea_orm::DatabaseTransaction;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Writes what differs of the metrics of a batch, and notes every difference. One statement; two more where something differs.
pub(super) async fn follow(
    tx: &DatabaseTransaction,
    batch: &Batch,
    known: &HashMap<CustomerId, Known>,
    (rules, published): (&ValueRules, Option<&Published>),
    log: &mut Log,
) -> Result<Nexts, StoreError> {
    let standing = batch.standing.iter().map(|due| due.customer);
    let gone = batch.gone.iter().map(|(due, _)| due.customer);
    let all: Vec<CustomerId> = standing.chain(gone).collect();
    let mut latest = store::latest(tx, &all).await?;
    let (mut written, mut nexts) = (Written::default(), Nexts::new());
    let nobody = Known::default();
    for due in &batch.standing {
        let basis = Basis {
            known: known.get(&due.customer).unwrap_or(&nobody),
            rules,
            published,
        };
        let mut rows = latest.remove(&due.customer).unwrap_or_default();
        for metric in metrics::ALL {
            let last = rows.remove(metric.key());
            if let Some(next) = follow_one(metric, basis, (due, batch.now), last, log, &mut written)? {
                let earliest = nexts.entry(due.customer).or_insert(next);
                *earliest = next.min(*earliest);
            }
        }
    }
    for (due, now_of) in &batch.gone {
        // Of who was erased nothing is kept.
        let Some(told_of) = now_of else { continue };
        let mut rows: Vec<Model> = latest.remove(&due.customer).unwrap_or_default().into_values().collect();
        rows.sort_unstable_by(|one, other| one.metric.cmp(&other.metric));
        for row in rows.into_iter().filter(|row| row.until_at.is_none()) {
            end_by_merge(row, due, *told_of, batch.now, log, &mut written);
        }
    }
    store::close(tx, &written.closed).await?;
    store::insert(tx, &written.opened).await?;
    Ok(nexts)
}

/// What is written of a batch.
#[derive(Default)]
struct Written {
    closed: Vec<Model>,
    opened: Vec<Model>,
}

/// `merge:0199…` of `transaction:0199…`.
fn because(kind: &str, due: &Due) -> String {
    match due.cause().strip_prefix("transaction:") {
        Some(transaction) => format!("{kind}:{transaction}"),
        None => kind.to_owned(),
    }
}

fn told_in(row: &Model) -> Told {
    Told {
        value: row.value.clone(),
        detail: row.detail.clone(),
        model_version: row.model_version,
    }
}

/// What is written of a metric: nothing where the last row has ended, or says what is said of everybody.
fn stored(metric: &dyn Metric, last: Option<&Model>) -> Option<Told> {
    let open = last.filter(|row| row.until_at.is_none())?;
    (metric.otherwise() != Some(open.value.as_str())).then(|| told_in(open))
}

fn follow_one(
    metric: &dyn Metric,
    basis: Basis<'_>,
    (due, now): (&Due, Instant),
    last: Option<Model>,
    log: &mut Log,
    written: &mut Written,
) -> Result<Option<Instant>, StoreError> {
    let look = Look {
        due_at: due.due_at,
        told_at: due.marked_at,
        now,
    };
    let mut before = stored(metric, last.as_ref());
    let caught_up = metrics::follow(metric, basis, &before, look).map_err(|stuck| {
        let customer = due.customer;
        StoreError::Corrupt(format!("the metric {} of {customer}: {stuck}", metric.key()))
    })?;
    let was_absorbed = last
        .as_ref()
        .is_some_and(|row| row.ended.as_deref().is_some_and(store::is_merge));
    let (mut rev, mut begun) = last
        .as_ref()
        .map_or((0, i64::MIN), |row| (row.rev, row.until_at.unwrap_or(row.from_at)));
    let mut open = last.filter(|row| row.until_at.is_none());
    for (at, after) in caught_up.changes {
        let is_news = look
            .told_at
            .is_some_and(|told_at| at == told_at || metrics::happened(basis.known, at));
        let cause = match is_news {
            true if was_absorbed && before.is_none() => because("unmerge", due),
            true => due.cause(),
            false => "time".to_owned(),
        };
        // Clocks of several servers differ; a history does not go back.
        let at = at.max(Instant::from_micros(begun));
        begun = at.micros();
        // Above every version it had, also before the customer went.
        rev = now.micros().max(rev + 1);
        if let Some(mut row) = open.take() {
            row.until_at = Some(at.micros());
            row.ended = Some(cause.clone());
            written.end(row);
        }
        let change = change(
            metric,
            (due.customer, due.customer),
            (before.as_ref(), after.as_ref()),
            (rev, at),
        );
        log.note_because(change, cause.clone());
        open = after.clone().or_else(|| otherwise(metric)).map(|told| Model {
            customer_id: due.customer.0,
            metric: metric.key().to_owned(),
            rev,
            from_at: begun,
            until_at: None,
            value: told.value,
            detail: told.detail,
            cause,
            ended: None,
            model_version: told.model_version,
        });
        written.opened.extend(open.clone());
        before = after;
    }
    Ok(caught_up.next)
}

/// What is said when nothing holds, of metrics that have a word for it.
fn otherwise(metric: &dyn Metric) -> Option<Told> {
    Some(Told {
        value: metric.otherwise()?.to_owned(),
        detail: json!({}),
        model_version: None,
    })
}

impl Written {
    /// Ends an interval, which may have begun in this very batch.
    fn end(&mut self, row: Model) {
        let key = (row.customer_id, row.rev);
        let begun = self.opened.iter_mut().rev();
        let mut begun = begun.take_while(|opened| opened.customer_id == row.customer_id);
        match begun.find(|opened| (opened.customer_id, opened.rev) == key && opened.metric == row.metric) {
            Some(opened) => *opened = row,
            None => self.closed.push(row),
        }
    }
}

fn end_by_merge(mut row: Model, due: &Due, told_of: CustomerId, now: Instant, log: &mut Log, written: &mut Written) {
    let at = due.told_at().max(Instant::from_micros(row.from_at));
    let cause = because("merge", due);
    if let Some(metric) = metrics::named(&row.metric) {
        let before = stored(metric, Some(&row));
        if before.is_some() {
            let rev = now.micros().max(row.rev + 1);
            log.note_because(
                change(metric, (due.customer, told_of), (before.as_ref(), None), (rev, at)),
                cause.clone(),
            );
        }
    }
    row.until_at = Some(at.micros());
    row.ended = Some(cause);
    written.closed.push(row);
}

/// `entity`: the id under which it is written, and whose it is now.
fn change(
    metric: &dyn Metric,
    (entity, told_of): (CustomerId, CustomerId),
    (before, after): (Option<&Told>, Option<&Told>),
    (rev, at): (i64, Instant),
) -> Change {
    let is_gone = entity != told_of;
    let label = |told: Option<&Told>| told.map_or_else(|| json!(metric.otherwise()), |told| json!(told.value));
    let after_label = if is_gone { Value::Null } else { label(after) };
    let pair = [label(before), after_label];
    let op = match (&pair[0], &pair[1]) {
        (Value::Null, _) => ChangeOp::Created,
        (_, Value::Null) => ChangeOp::Deleted,
        _ => ChangeOp::Updated,
    };
    let key = metric.key();
    let mut changed = Map::new();
    changed.insert(key.to_owned(), json!(pair));
    let detail = [before, after].map(|told| told.map_or(Value::Null, |told| told.detail.clone()));
    if detail[0] != detail[1] {
        changed.insert(format!("{key}.detail"), json!(detail));
    }
    let version = [before, after].map(|told| told.and_then(|told| told.model_version));
    if version != [None, None] {
        changed.insert(format!("{key}.modelVersion"), json!(version));
    }
    Change {
        topic: Topic::Metric,
        op,
        entity: entity.0,
        record: None,
        customer: Some(told_of),
        rev,
        occurred_at: at,
        changed,
        events: Vec::new(),
    }
}
