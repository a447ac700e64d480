//! What customers did, by name of event and day of the deployment's zone (`activity`): rolled up, so that nobody reads a hundred thousand
//! events to know how often somebody came.
//!
//! Only events that somebody asks about are rolled up (`ValueRules::rolls_up`), and only the days of a span that was told of are counted
//! again. Where single events matter, the roll-up says on which days to look for them.

use super::known::SubscriptionStep;
use super::rules::ValueRules;
use crate::base::{CustomerId, Instant};
use crate::due::Span;
use crate::identity::store::JOIN_RECORDS;
use crate::ingest::reserved::{
    REFERRAL_CONVERTED, RESERVED, REVIEW_SUBMITTED, SUBSCRIPTION_CANCELLED, SUBSCRIPTION_RENEWED, SUBSCRIPTION_STARTED,
    SURVEY_ANSWERED,
};
use crate::store::{Rows, StoreError, any_of, ids_value};
use chrono::NaiveDate;
use entity::{EventKind, activity};
use sea_orm::{ActiveEnum as _, ConnectionTrait, DatabaseTransaction, FromQueryResult as _, Statement};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How often on a day, by name.
pub type Activity = BTreeMap<String, BTreeMap<NaiveDate, i64>>;

/// A day of the roll-up that differs: its count, 0 for none any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recounted {
    pub customer: CustomerId,
    pub name: String,
    pub day: NaiveDate,
    pub count: i64,
}

const DAY_ZERO: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a day");

/// As `activity.day` holds it: days since 1970-01-01.
pub fn number(day: NaiveDate) -> i64 {
    (day - DAY_ZERO).num_days()
}

/// The day of a number; far away where the calendar ends.
pub fn day_of(number: i64) -> NaiveDate {
    DAY_ZERO
        .checked_add_signed(chrono::TimeDelta::days(number.clamp(-100_000_000, 100_000_000)))
        .unwrap_or(NaiveDate::MAX)
}

/// What is stored of these customers; who did nothing of the kind is missing.
pub async fn stored(db: &impl ConnectionTrait, customers: &[CustomerId]) -> Result<HashMap<CustomerId, Activity>, StoreError> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT * FROM activity WHERE {}", any_of(backend, "customer_id", 1));
    let values = [ids_value(backend, customers.iter().map(|customer| customer.0))];
    let rows = activity::Model::find_by_statement(Statement::from_sql_and_values(backend, sql, values));
    let mut found: HashMap<CustomerId, Activity> = HashMap::new();
    for row in rows.all(db).await? {
        let of_customer = found.entry(CustomerId(row.customer_id)).or_default();
        of_customer.entry(row.name).or_default().insert(day_of(row.day), row.count);
    }
    Ok(found)
}

/// Of these customers, those of whom something is rolled up, or was told and is not counted yet.
pub async fn active_among(
    db: &impl ConnectionTrait,
    customers: impl IntoIterator<Item = CustomerId>,
) -> Result<BTreeSet<CustomerId>, StoreError> {
    let backend = db.get_database_backend();
    let (relation, values) = Rows::new()
        .id("customer_id", customers.into_iter().map(|customer| customer.0))
        .relation(backend);
    let sql = format!(
        "SELECT v.customer_id FROM {relation}
         WHERE EXISTS (SELECT 1 FROM activity a WHERE a.customer_id = v.customer_id) OR {}",
        crate::due::IS_TOLD_OF_EVENTS
    );
    let rows = db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    rows.iter().map(|row| Ok(CustomerId(row.try_get_by_index(0)?))).collect()
}

/// Counts the events of whole days anew: of each customer the days that a span touches. Reads the events of these days, along the index
/// of the timeline.
pub async fn counted(
    db: &impl ConnectionTrait,
    rules: &ValueRules,
    spans: &[(CustomerId, Span)],
) -> Result<HashMap<CustomerId, Activity>, StoreError> {
    let mut found: HashMap<CustomerId, Activity> = HashMap::new();
    if spans.is_empty() {
        return Ok(found);
    }
    let backend = db.get_database_backend();
    let whole = |span: &Span| {
        let (from, until) = (rules.day(span.from), rules.day(span.until));
        (rules.begin(from), rules.end(until))
    };
    let (relation, mut values) = Rows::new()
        .id("customer_id", spans.iter().map(|(customer, _)| customer.0))
        .int("from_at", spans.iter().map(|(_, span)| whole(span).0.micros()))
        .int("until_at", spans.iter().map(|(_, span)| whole(span).1.micros()))
        .relation(backend);
    let names: Vec<String> = rules
        .names()
        .into_iter()
        .map(|name| {
            values.push(name.into());
            format!("${}", values.len())
        })
        .collect();
    let kinds: Vec<String> = EVENT_KINDS.iter().map(|kind| kind.to_value().to_string()).collect();
    let sql = format!(
        "SELECT v.customer_id, e.name, e.occurred_at FROM {relation} {JOIN_RECORDS}
         JOIN event e ON e.record_id = r.id AND e.occurred_at >= v.from_at AND e.occurred_at < v.until_at
         WHERE e.kind IN ({}) AND e.name IN ({})",
        kinds.join(", "),
        names.join(", ")
    );
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
        let of_customer = found.entry(CustomerId(row.try_get_by_index(0)?)).or_default();
        let day = rules.day(Instant::from_micros(row.try_get_by_index(2)?));
        *of_customer
            .entry(row.try_get_by_index(1)?)
            .or_default()
            .entry(day)
            .or_default() += 1;
    }
    Ok(found)
}

/// Events of these kinds are things that somebody did.
pub const EVENT_KINDS: [EventKind; 3] = [EventKind::Track, EventKind::Page, EventKind::Screen];

/// Puts what was counted into the place of what was known of the days of a span, and says what differs.
pub fn replace(
    (customer, span): (CustomerId, Span),
    rules: &ValueRules,
    known: &mut Activity,
    counted: &Activity,
) -> Vec<Recounted> {
    let days = rules.day(span.from)..=rules.day(span.until);
    let mut changes = Vec::new();
    let mut change = |name: &str, day, count| {
        changes.push(Recounted {
            customer,
            name: name.to_owned(),
            day,
            count,
        });
    };
    for (name, known) in known.iter() {
        for (day, _) in known.range(days.clone()) {
            if counted.get(name).is_none_or(|counted| !counted.contains_key(day)) {
                change(name, *day, 0);
            }
        }
    }
    for (name, counted) in counted {
        for (day, count) in counted {
            if known.get(name).and_then(|known| known.get(day)) != Some(count) {
                change(name, *day, *count);
            }
        }
    }
    for Recounted { name, day, count, .. } in &changes {
        match count {
            0 => drop(known.get_mut(name).and_then(|days| days.remove(day))),
            _ => drop(known.entry(name.clone()).or_default().insert(*day, *count)),
        }
    }
    known.retain(|_, days| !days.is_empty());
    changes
}

/// Writes what differs: at most two statements.
pub async fn write(tx: &DatabaseTransaction, changes: &[Recounted]) -> Result<(), StoreError> {
    let (gone, counted): (Vec<&Recounted>, Vec<&Recounted>) = changes.iter().partition(|change| change.count == 0);
    if !gone.is_empty() {
        let backend = tx.get_database_backend();
        let (relation, values) = keys(&gone).relation(backend);
        let sql = format!(
            "DELETE FROM activity WHERE (customer_id, name, day) IN (SELECT v.customer_id, v.name, v.day FROM {relation})"
        );
        tx.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    }
    keys(&counted)
        .int("count", counted.iter().map(|change| change.count))
        .insert(
            tx,
            "activity",
            "ON CONFLICT (customer_id, name, day) DO UPDATE SET count = excluded.count",
        )
        .await?;
    Ok(())
}

fn keys(changes: &[&Recounted]) -> Rows {
    Rows::new()
        .id("customer_id", changes.iter().map(|change| change.customer.0))
        .text("name", changes.iter().map(|change| change.name.clone()))
        .int("day", changes.iter().map(|change| number(change.day)))
}

/// Takes everything away of customers who are gone.
pub async fn delete(tx: &DatabaseTransaction, customers: impl Iterator<Item = CustomerId>) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
    let sql = format!("DELETE FROM activity WHERE {}", any_of(backend, "customer_id", 1));
    let values = [ids_value(backend, customers.map(|customer| customer.0))];
    tx.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(())
}

/// An event that is asked about by itself, and not only by how often it happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Single {
    pub at: Instant,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Referral,
    Review,
    Subscription(SubscriptionStep),
    /// An answer to a survey of the kind NPS.
    Recommendation(i64),
}

/// The single events of customers, in the order of their instants. One statement, which reads the days on which such events were rolled
/// up; none where there are none.
pub async fn singles(
    db: &impl ConnectionTrait,
    rules: &ValueRules,
    activity: &HashMap<CustomerId, Activity>,
) -> Result<HashMap<CustomerId, Vec<Single>>, StoreError> {
    let mut asked: Vec<(CustomerId, &str, NaiveDate)> = Vec::new();
    for (customer, activity) in activity {
        for name in RESERVED {
            asked.extend(
                activity
                    .get(name)
                    .into_iter()
                    .flat_map(BTreeMap::keys)
                    .map(|day| (*customer, name, *day)),
            );
        }
    }
    let mut found: HashMap<CustomerId, Vec<Single>> = HashMap::new();
    if asked.is_empty() {
        return Ok(found);
    }
    let backend = db.get_database_backend();
    let (relation, values) = Rows::new()
        .id("customer_id", asked.iter().map(|(customer, ..)| customer.0))
        .text("name", asked.iter().map(|(_, name, _)| (*name).to_owned()))
        .int("from_at", asked.iter().map(|(.., day)| rules.begin(*day).micros()))
        .int("until_at", asked.iter().map(|(.., day)| rules.end(*day).micros()))
        .relation(backend);
    let sql = format!(
        "SELECT v.customer_id, e.name, e.occurred_at, e.properties FROM {relation} {JOIN_RECORDS}
         JOIN event e ON e.record_id = r.id AND e.occurred_at >= v.from_at AND e.occurred_at < v.until_at
         WHERE e.kind = {} AND e.name = v.name",
        EventKind::Track.to_value()
    );
    for row in db.query_all_raw(Statement::from_sql_and_values(backend, sql, values)).await? {
        let name: String = row.try_get_by_index(1)?;
        let properties: Json = row.try_get_by_index(3)?;
        if let Some(what) = what(&name, &properties) {
            let at = Instant::from_micros(row.try_get_by_index(2)?);
            found
                .entry(CustomerId(row.try_get_by_index(0)?))
                .or_default()
                .push(Single { at, what });
        }
    }
    for singles in found.values_mut() {
        // Events of one instant in an order that does not depend on who reads.
        singles.sort_by_key(|single| (single.at, rank(single.what)));
    }
    Ok(found)
}

fn rank(what: What) -> (i64, i64) {
    match what {
        What::Referral => (0, 0),
        What::Review => (1, 0),
        What::Subscription(SubscriptionStep::Cancelled) => (2, 0),
        What::Subscription(SubscriptionStep::Started) => (2, 1),
        What::Subscription(SubscriptionStep::Renewed) => (2, 2),
        What::Recommendation(score) => (3, score),
    }
}

fn what(name: &str, properties: &Json) -> Option<What> {
    match name {
        REFERRAL_CONVERTED => Some(What::Referral),
        REVIEW_SUBMITTED => Some(What::Review),
        SUBSCRIPTION_STARTED => Some(What::Subscription(SubscriptionStep::Started)),
        SUBSCRIPTION_RENEWED => Some(What::Subscription(SubscriptionStep::Renewed)),
        SUBSCRIPTION_CANCELLED => Some(What::Subscription(SubscriptionStep::Cancelled)),
        SURVEY_ANSWERED => {
            let kind = properties.get("kind")?.as_str()?.trim();
            let score = match properties.get("score")? {
                Json::String(text) => text.trim().parse().ok()?,
                #[expect(clippy::cast_possible_truncation, reason = "a score is a small whole number")]
                number => number.as_i64().or_else(|| number.as_f64().map(|score| score as i64))?,
            };
            (kind.eq_ignore_ascii_case("NPS") && (0..=10).contains(&score)).then_some(What::Recommendation(score))
        }
        _ => None,
    }
}

/// The next rows behind this one.
pub async fn rows_after(db: &impl ConnectionTrait, after: Option<&activity::Model>) -> Result<Vec<activity::Model>, StoreError> {
    let after = after.map(|row| vec![row.customer_id.into(), row.name.as_str().into(), row.day.into()]);
    let key = ["customer_id", "name", "day"];
    crate::store::rows_after(db, "activity", &key, &after.unwrap_or_default(), None).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_days_of_a_span_are_replaced_and_only_what_differs_is_told() {
        let customer = CustomerId(uuid::Uuid::nil());
        let of = |rows: &[(&str, &str, i64)]| {
            let mut activity = Activity::new();
            for (name, on, count) in rows {
                activity.entry((*name).to_owned()).or_default().insert(day(on), *count);
            }
            activity
        };
        let mut known = of(&[
            ("login", "2026-05-01", 2),
            ("login", "2026-05-02", 3),
            ("login", "2026-05-03", 1),
            ("export", "2026-05-02", 1),
        ]);
        let counted = of(&[("login", "2026-05-02", 4), ("search", "2026-05-03", 1)]);
        let span = Span {
            from: Instant::parse("2026-05-02T09:00:00Z").unwrap(),
            until: Instant::parse("2026-05-03T01:00:00Z").unwrap(),
        };
        let changes = replace((customer, span), &ValueRules::default(), &mut known, &counted);
        let told: Vec<(&str, i64, i64)> = changes
            .iter()
            .map(|change| {
                (
                    change.name.as_str(),
                    number(change.day) - number(day("2026-05-01")),
                    change.count,
                )
            })
            .collect();
        assert_eq!(told, [("export", 1, 0), ("login", 2, 0), ("login", 1, 4), ("search", 2, 1)]);
        assert_eq!(
            known,
            of(&[
                ("login", "2026-05-01", 2),
                ("login", "2026-05-02", 4),
                ("search", "2026-05-03", 1)
            ])
        );
        assert!(replace((customer, span), &ValueRules::default(), &mut known, &counted).is_empty());
    }

    #[test]
    fn answers_of_other_surveys_recommend_nothing() {
        let answer = |kind: &str, score: Json| what(SURVEY_ANSWERED, &json!({"kind": kind, "score": score}));
        assert_eq!(answer("nps", json!(9)), Some(What::Recommendation(9)));
        assert_eq!(answer("NPS", json!("0")), Some(What::Recommendation(0)));
        assert_eq!(answer("NPS", json!(10.0)), Some(What::Recommendation(10)));
        assert_eq!(answer("CSAT", json!(5)), None);
        assert_eq!(answer("NPS", json!(11)), None);
    }

    #[test]
    fn days_are_numbers_and_back() {
        for (text, expected) in [("1970-01-01", 0), ("1969-12-31", -1), ("2028-02-29", 21_243)] {
            assert_eq!(number(day(text)), expected);
            assert_eq!(day_of(expected), day(text));
        }
    }
}
