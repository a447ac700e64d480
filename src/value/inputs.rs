//! What value is computed with besides orders: exchange rates of days, and money spent. Kept as it was said, to the last digit.
//!
//! Promises: the same rows again change nothing; a corrected rate or amount replaces the one before, and both deeds are in the audit; whoever
//! bought by a rate that is new or another one is looked at again, by a job.

use crate::access::{self, Actor};
use crate::base::ids::HashKey;
use crate::base::money::Currency;
use crate::base::{Instant, Money, SourceId};
use crate::ingest::file::{RateRow, SpendRow};
use crate::ingest::source::TRUST_JOB;
use crate::job::{self, NewJob};
use crate::store::{Rows, Store, StoreError};
use chrono::{DateTime, NaiveDate};
use entity::spend;
use sea_orm::{ConnectionTrait, DatabaseTransaction, FromQueryResult as _, Statement};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;
use uuid::Uuid;

/// A row of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    Rate(RateRow),
    /// With its number among the rows of the file about the same, from 1.
    Spend(SpendRow, u64),
}

/// Stores rows in one commit, or with `dry_run` only asks. Answers for each whether it said something new.
pub async fn import(
    store: &Store,
    now: Instant,
    actor: &Actor,
    source: SourceId,
    rows: &[Input],
    dry_run: bool,
) -> Result<Vec<bool>, StoreError> {
    let keys = store.hash_key();
    if dry_run {
        return store.rehearse(|tx, _| Box::pin(write(tx, keys, now, source, rows))).await;
    }
    store
        .transact(|tx, _| {
            Box::pin(async move {
                let is_new = write(tx, keys, now, source, rows).await?;
                let count = is_new.iter().filter(|is_new| **is_new).count();
                if count > 0 {
                    let action = match rows.first() {
                        Some(Input::Spend(..)) => "spend.import",
                        _ => "rates.import",
                    };
                    let detail = json!({"rows": count});
                    access::record_deed(tx, store.ids(), now, actor, action, &source.to_string(), detail).await?;
                }
                let rates = rows.iter().zip(&is_new).filter(|(_, is_new)| **is_new);
                let rates = rates.filter_map(|(row, _)| match row {
                    Input::Rate(rate) => Some(rate),
                    Input::Spend(..) => None,
                });
                if let Some(input) = bought_by(rates) {
                    let mut job = NewJob::new(store.ids(), now, TRUST_JOB, input, actor.to_string());
                    job.available_at = now.plus(GATHERED_FOR);
                    job::enqueue_with(tx, &job, both).await?;
                }
                Ok(is_new)
            })
        })
        .await
}

/// The commits of one file ask for one job, and not each for its own.
const GATHERED_FOR: Duration = Duration::from_secs(10);
/// A day of some zone lies within those before and behind the same day of UTC.
const DAY_MICROS: i64 = 86_400_000_000;

/// Whom rates concern, as the job is told it; `None` without rates.
fn bought_by<'r>(rates: impl Iterator<Item = &'r RateRow>) -> Option<Value> {
    let mut currencies = BTreeSet::new();
    let mut days: Option<(i64, i64)> = None;
    for rate in rates {
        currencies.extend([rate.from.code(), rate.to.code()]);
        let day = rate.day.micros();
        let (first, last) = days.unwrap_or((day, day));
        days = Some((first.min(day), last.max(day)));
    }
    let (first, last) = days?;
    Some(json!({"currencies": currencies, "from": first - DAY_MICROS, "until": last + 2 * DAY_MICROS}))
}

/// Who bought by the one rates or by the others, and by whatever lies between; `None`: one of them is no job about rates.
fn both(one: &Value, other: &Value) -> Option<Value> {
    let codes = |of: &Value| -> Option<BTreeSet<String>> {
        let codes = of.get("currencies")?.as_array()?.iter();
        codes.map(|code| code.as_str().map(str::to_owned)).collect()
    };
    let currencies: BTreeSet<String> = codes(one)?.union(&codes(other)?).cloned().collect();
    let bound = |name: &str| Some((one.get(name)?.as_i64()?, other.get(name)?.as_i64()?));
    let (from, until) = (bound("from")?, bound("until")?);
    Some(json!({"currencies": currencies, "from": from.0.min(from.1), "until": until.0.max(until.1)}))
}

async fn write(
    tx: &DatabaseTransaction,
    keys: &HashKey,
    now: Instant,
    source: SourceId,
    rows: &[Input],
) -> Result<Vec<bool>, StoreError> {
    // Of two rows about the same the later stands.
    let mut rates: HashMap<(&str, &str, i64), (usize, &RateRow)> = HashMap::new();
    let mut spend: HashMap<Uuid, (usize, &SpendRow)> = HashMap::new();
    for (place, row) in rows.iter().enumerate() {
        match row {
            Input::Rate(rate) => {
                let key = (rate.from.code(), rate.to.code(), rate.day.micros());
                rates.insert(key, (place, rate));
            }
            Input::Spend(row, nth) => {
                spend.insert(spend_id(keys, source, row, *nth), (place, row));
            }
        }
    }
    let mut is_new = vec![false; rows.len()];
    for key in write_rates(tx, now, source, &rates).await? {
        if let Some((place, _)) = rates.get(&(key.0.as_str(), key.1.as_str(), key.2)) {
            is_new[*place] = true;
        }
    }
    for id in write_spend(tx, now, source, &spend).await? {
        if let Some((place, _)) = spend.get(&id) {
            is_new[*place] = true;
        }
    }
    Ok(is_new)
}

/// Money that was spent.
#[derive(Clone, Debug, PartialEq)]
pub struct SpendTold {
    pub from: Instant,
    /// Behind the last instant.
    pub until: Instant,
    /// The first day.
    pub day: NaiveDate,
    pub channel: Option<String>,
    pub bought: Option<String>,
    pub amount: Money,
}

/// All money that was spent, in the order of time. Its rows are those of some files: as many as fit into memory.
pub async fn all_spend(db: &impl ConnectionTrait) -> Result<Vec<SpendTold>, StoreError> {
    let sql = "SELECT * FROM spend ORDER BY from_at, until_at, id";
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let rows = spend::Model::find_by_statement(statement).all(db).await?;
    let told = rows.into_iter().map(|row| {
        let from = DateTime::from_timestamp_micros(row.from_at);
        let from = from.ok_or_else(|| StoreError::Corrupt(format!("spend.from_at of {}", row.id)))?;
        Ok(SpendTold {
            from: Instant::from_micros(row.from_at),
            until: Instant::from_micros(row.until_at),
            day: from.date_naive(),
            channel: row.channel,
            bought: row.bought,
            amount: Money {
                amount_minor: row.amount_minor,
                currency: Currency::stored(row.currency),
            },
        })
    });
    told.collect()
}

fn spend_id(keys: &HashKey, source: SourceId, row: &SpendRow, nth: u64) -> Uuid {
    let of_what = json!([row.from.micros(), row.until.micros(), row.channel, row.campaign, row.bought]).to_string();
    keys.id("spend", &[source.0.as_bytes(), of_what.as_bytes(), &nth.to_le_bytes()])
}

/// Answers the keys of the rates that are new or other than before.
async fn write_rates(
    tx: &DatabaseTransaction,
    now: Instant,
    source: SourceId,
    rates: &HashMap<(&str, &str, i64), (usize, &RateRow)>,
) -> Result<HashSet<(String, String, i64)>, StoreError> {
    let mut sorted: Vec<&RateRow> = rates.values().map(|(_, rate)| *rate).collect();
    // One order everywhere, so that two imports of the same rates cannot wait for each other in a circle.
    sorted.sort_by(|a, b| (a.from.code(), a.to.code(), a.day).cmp(&(b.from.code(), b.to.code(), b.day)));
    let rows = Rows::new()
        .int("day", sorted.iter().map(|rate| rate.day.micros()))
        .text("from_currency", sorted.iter().map(|rate| rate.from.code().to_owned()))
        .text("to_currency", sorted.iter().map(|rate| rate.to.code().to_owned()))
        .text("rate", sorted.iter().map(|rate| rate.rate.to_string()))
        .id("source_id", sorted.iter().map(|_| source.0))
        .int("imported_at", sorted.iter().map(|_| now.micros()));
    let replace = "ON CONFLICT (from_currency, to_currency, day) DO UPDATE
        SET rate = EXCLUDED.rate, source_id = EXCLUDED.source_id, imported_at = EXCLUDED.imported_at
        WHERE exchange_rate.rate <> EXCLUDED.rate RETURNING from_currency, to_currency, day";
    let written = rows.insert(tx, "exchange_rate", replace).await?;
    let key = |row: &sea_orm::QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?));
    written.iter().map(key).collect()
}

/// Answers the ids of the rows that are new or other than before.
async fn write_spend(
    tx: &DatabaseTransaction,
    now: Instant,
    source: SourceId,
    spend: &HashMap<Uuid, (usize, &SpendRow)>,
) -> Result<Vec<Uuid>, StoreError> {
    let mut sorted: Vec<(Uuid, &SpendRow)> = spend.iter().map(|(id, (_, row))| (*id, *row)).collect();
    sorted.sort_by_key(|(id, _)| *id);
    let rows = Rows::new()
        .id("id", sorted.iter().map(|(id, _)| *id))
        .id("source_id", sorted.iter().map(|_| source.0))
        .int("from_at", sorted.iter().map(|(_, row)| row.from.micros()))
        .int("until_at", sorted.iter().map(|(_, row)| row.until.micros()))
        .optional_text("channel", sorted.iter().map(|(_, row)| row.channel.clone()))
        .optional_text("campaign", sorted.iter().map(|(_, row)| row.campaign.clone()))
        .optional_text("bought", sorted.iter().map(|(_, row)| row.bought.clone()))
        .int("amount_minor", sorted.iter().map(|(_, row)| row.amount.amount_minor))
        .text(
            "currency",
            sorted.iter().map(|(_, row)| row.amount.currency.code().to_owned()),
        )
        .int("imported_at", sorted.iter().map(|_| now.micros()));
    let replace = "ON CONFLICT (id) DO UPDATE
        SET amount_minor = EXCLUDED.amount_minor, currency = EXCLUDED.currency, imported_at = EXCLUDED.imported_at
        WHERE spend.amount_minor <> EXCLUDED.amount_minor OR spend.currency <> EXCLUDED.currency RETURNING id";
    let written = rows.insert(tx, "spend", replace).await?;
    written.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_twice_is_done_once_for_both() {
        let rate = |from: &str, day: &str| RateRow {
            day: Instant::parse(day).unwrap(),
            from: crate::base::money::Currency::parse(from).unwrap(),
            to: crate::base::money::Currency::parse("EUR").unwrap(),
            rate: "1.5".parse().unwrap(),
        };
        assert_eq!(bought_by([].into_iter()), None);
        let one = bought_by([rate("USD", "2026-05-02"), rate("USD", "2026-05-04")].iter()).unwrap();
        let other = bought_by([rate("GBP", "2026-05-03")].iter()).unwrap();
        let day = |text: &str| Instant::parse(text).unwrap().micros();
        assert_eq!(
            one,
            json!({"currencies": ["EUR", "USD"], "from": day("2026-05-01"), "until": day("2026-05-06")})
        );
        assert_eq!(
            both(&other, &one),
            Some(json!({"currencies": ["EUR", "GBP", "USD"], "from": day("2026-05-01"), "until": day("2026-05-06")}))
        );
        assert_eq!(both(&json!({"source": "x"}), &one), None);
        assert_eq!(both(&json!({"everybody": true}), &one), None);
    }
}
