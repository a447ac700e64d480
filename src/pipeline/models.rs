//! Models of what customers are worth: fitted to everybody's purchases by a background job, kept as a version, and published.
//!
//! Promises: a version is written in one commit with its deed, or not at all, and an attempt that died leaves nothing; what is published
//! stands at once, and everybody who bought is looked at again under it; where nobody had bought, there is nothing to publish, and what
//! was in force stays.
//! Leaves to others: the statistics (`value`), and what follows for a customer (`refresh`).

use super::refresh;
use crate::access::{Actor, note_deed};
use crate::base::{CustomerId, Instant, JobId, Kind, Money};
use crate::customer::store as customer_store;
use crate::feed::{Change, Log, TransactionId};
use crate::job::{self, JobError, NewJob, Running};
use crate::pipeline::Services;
use crate::store::{StoreError, Transient};
use crate::value::economics::Spent;
use crate::value::models::stored::{self, Stamp};
use crate::value::models::{Chosen, Found, Sample, Terms, store};
use crate::value::rates::Rates;
use crate::value::reporting::Reporting;
use crate::value::{Family, inputs, load};
use chrono::{Days, NaiveDate};
use entity::{ChangeOp, Topic};
use sea_orm::DatabaseTransaction;
use serde_json::{Map, Value, json};

/// The job that fits a version.
pub const JOB_KIND: &str = "value_model_fit";
/// Customers whose purchases are in memory at once.
const CUSTOMERS_PER_PAGE: usize = 500;

/// What is asked of a fit.
#[derive(Clone, Debug, PartialEq)]
pub struct FitRequest {
    /// `None`: now.
    pub as_of: Option<Instant>,
    /// The last day of the first part of the time, for the back-test; `None`: two thirds of it.
    pub calibration_end: Option<NaiveDate>,
    /// `None`: as it is configured, else the likelier one.
    pub family: Option<Family>,
    pub publish: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("{message}")]
    Invalid { field: &'static str, message: String },
    #[error("there is no such version")]
    NotFound,
    #[error("the version holds nothing that could be published: nobody had bought anything")]
    Empty,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ModelError {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Invalid { .. } => Kind::Invalid,
            Self::NotFound => Kind::NotFound,
            Self::Empty => Kind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }

    /// The field of the input that is to blame.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Invalid { field, .. } => field,
            _ => "version",
        }
    }
}

impl Transient for ModelError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

/// Enqueues a fit.
pub async fn request(services: &Services, actor: &Actor, asked: &FitRequest) -> Result<(JobId, TransactionId), ModelError> {
    let now = services.now();
    let as_of = asked.as_of.unwrap_or(now);
    let invalid = |field, message: &str| ModelError::Invalid {
        field,
        message: message.to_owned(),
    };
    if as_of > now {
        return Err(invalid("asOf", "lies ahead: nobody knows what will have been bought then"));
    }
    if asked.calibration_end.is_some_and(|end| end >= services.value.day(as_of)) {
        return Err(invalid(
            "calibrationEnd",
            "must be a day before the last that is looked at: predictions are held against the days behind it",
        ));
    }
    let family = asked.family.or(services.value.worth.family);
    let input = json!({
        "asOf": as_of.micros(),
        "calibrationEnd": asked.calibration_end.map(|day| day.to_string()),
        "family": family.map(Family::key),
        "publish": asked.publish,
    });
    let ids = services.store.ids();
    let enqueued = services.store.transact::<_, ModelError, _>(|tx, _| {
        let input = input.clone();
        Box::pin(async move {
            let job = NewJob::new(ids, now, JOB_KIND, input.clone(), actor.to_string());
            let job = job::enqueue(tx, &job).await?;
            note_deed(tx, ids, now, actor, ("value_model.fit", &format!("job:{job}")), input).await?;
            let transaction = Log::new(ids, now, actor.as_str()).write(tx, now).await?;
            Ok((job, transaction))
        })
    });
    let enqueued = enqueued.await?;
    services.jobs.nudge();
    Ok(enqueued)
}

/// Puts an earlier version in force, or a later one that was not published. `None`: it was in force.
pub async fn publish(services: &Services, actor: &Actor, version: i64) -> Result<Option<TransactionId>, ModelError> {
    let now = services.now();
    let ids = services.store.ids();
    let published = services.store.transact::<_, ModelError, _>(|tx, _| {
        Box::pin(async move {
            let rows = store::rows(tx, version).await?;
            let first = rows.first().ok_or(ModelError::NotFound)?;
            if rows.iter().all(|row| row.customers == 0) {
                return Err(ModelError::Empty);
            }
            let before = store::in_force(tx).await?;
            if before == Some(version) {
                return Ok(None);
            }
            let detail =
                json!({"version": version, "before": before, "fittedAt": Instant::from_micros(first.fitted_at).to_string()});
            let object = format!("value_model:{version}");
            note_deed(tx, ids, now, actor, ("value_model.publish", &object), detail).await?;
            store::publish(tx, version, now).await?;
            Ok(Some(follow(tx, services, now, actor, before, version).await?))
        })
    });
    let published = published.await?;
    if published.is_some() {
        services.jobs.nudge();
    }
    Ok(published)
}

/// What follows from another version in force: everybody who bought is looked at again, and it is told. The last statement of its
/// transaction.
async fn follow(
    tx: &DatabaseTransaction,
    services: &Services,
    now: Instant,
    actor: &Actor,
    before: Option<i64>,
    version: i64,
) -> Result<TransactionId, StoreError> {
    let ids = services.store.ids();
    let marking = NewJob::new(ids, now, refresh::JOB_KIND, json!({"model": version}), actor.to_string());
    job::enqueue(tx, &marking).await?;
    let mut log = Log::new(ids, now, actor.as_str());
    log.note(Change {
        topic: Topic::Metric,
        op: match before {
            None => ChangeOp::Created,
            Some(_) => ChangeOp::Updated,
        },
        // The one thing that is in force, whatever its version.
        entity: services.store.hash_key().id("value_model", &[]),
        record: None,
        customer: None,
        rev: now.micros(),
        occurred_at: now,
        changed: Map::from_iter([("publishedVersion".to_owned(), json!([before, version]))]),
        events: Vec::new(),
    });
    log.write(tx, now).await
}

/// The job's verb.
pub async fn fit(services: Services, job: Running, _: Instant) -> Result<Value, JobError> {
    let unreadable = || JobError::GiveUp("the job's input cannot be read".to_owned());
    let input = job.input();
    let as_of = Instant::from_micros(input["asOf"].as_i64().ok_or_else(unreadable)?);
    let calibration_end: Option<NaiveDate> = match input["calibrationEnd"].as_str() {
        Some(text) => Some(text.parse().map_err(|_| unreadable())?),
        None => two_thirds(&services, as_of).await?,
    };
    let family = input["family"].as_str();
    let terms = Terms {
        as_of,
        calibration_end,
        family: family.and_then(|key| Family::ALL.into_iter().find(|family| family.key() == key)),
    };
    let reporting = services.reporting().await?;
    let mut sample = Sample::new(services.value.clone(), terms);
    let looked_at = gather(&services, &job, &reporting, &mut sample).await?;
    let spent = spent(&services, &reporting).await?;
    let currency = reporting.currency.clone();
    // Some seconds without an await: not on a thread that serves others.
    let fitted = tokio::task::spawn_blocking(move || sample.fit(currency, &spent)).await;
    let found = fitted.map_err(|_| JobError::Retry("the fit did not come to an end".to_owned()))?;
    save(&services, &job, &found, looked_at).await
}

/// The day that ends two thirds of the time for which purchases are known; `None`: nothing was bought, or all on one day.
async fn two_thirds(services: &Services, as_of: Instant) -> Result<Option<NaiveDate>, JobError> {
    let Some(first) = customer_store::first_order_at(services.store.reader()).await? else {
        return Ok(None);
    };
    let today = services.value.day(as_of);
    let first = services
        .value
        .day(first)
        .max(services.value.data_from.unwrap_or(NaiveDate::MIN));
    let days = u64::try_from((today - first).num_days()).unwrap_or(0);
    Ok((days > 0).then(|| first.checked_add_days(Days::new(days * 2 / 3))).flatten())
}

/// Takes in everybody, some hundred at a time. Whoever is merged or split meanwhile may be there twice or not at all, which is as much as
/// the fit of the next moment would differ. Answers how many customers were looked at.
async fn gather(services: &Services, job: &Running, reporting: &Reporting, sample: &mut Sample) -> Result<i64, JobError> {
    let db = services.store.reader();
    let total = customer_store::count_all(db).await?;
    let mut last: Option<CustomerId> = None;
    let mut looked_at = 0;
    loop {
        let page = customer_store::customer_ids_after(db, last, CUSTOMERS_PER_PAGE).await?;
        last = page.last().copied();
        if last.is_none() {
            return Ok(looked_at);
        }
        let known = load::known(db, reporting, &page).await?;
        for customer in &page {
            if let Some(known) = known.get(customer) {
                sample.add(known);
            }
        }
        looked_at += i64::try_from(page.len()).unwrap_or(0);
        // The cursor stays unset: another attempt begins anew.
        job.progress(looked_at, Some(total.max(looked_at) + 1), None).await?;
    }
}

/// What was spent, in the reporting currency.
async fn spent(services: &Services, reporting: &Reporting) -> Result<Vec<Spent>, JobError> {
    let db = services.store.reader();
    let rows = inputs::all_spend(db).await?;
    let needed = rows.iter().map(|row| (row.amount.currency.clone(), row.day));
    let rates = Rates::load(db, reporting.currency.as_ref(), needed).await?;
    let converted = |amount: &Money, day| rates.convert(amount, day);
    let spent = rows.into_iter().map(|row| Spent {
        amount: converted(&row.amount, row.day),
        from: row.from,
        until: row.until,
        channel: row.channel,
        bought: row.bought,
    });
    Ok(spent.collect())
}

/// Writes the version, and publishes it where that is asked for and there is something to publish. Answers the job's result.
async fn save(services: &Services, job: &Running, found: &Found, looked_at: i64) -> Result<Value, JobError> {
    let publish = job.input()["publish"].as_bool().unwrap_or(true) && found.buyers > 0;
    let now = job.now();
    let actor = Actor::new(job.actor());
    let ids = services.store.ids();
    let version = services.store.transact::<_, JobError, _>(|tx, _| {
        let actor = &actor;
        Box::pin(async move {
            // Whoever lost the job writes nothing.
            job.progress_in(tx, looked_at, Some(looked_at), None).await?;
            let version = store::newest(tx).await?.unwrap_or(0) + 1;
            let before = store::in_force(tx).await?;
            let stamp = Stamp {
                version,
                fitted_at: now,
                published_at: publish.then_some(now),
                job: job.id(),
            };
            let inserted = store::insert(tx, &stored::rows(found, stamp)).await;
            inserted.map_err(|error| match error.is_unique_violation() {
                true => StoreError::LostRace,
                false => error,
            })?;
            let detail = json!({"version": version, "before": before, "published": publish, "job": job.id().to_string()});
            note_deed(
                tx,
                ids,
                now,
                actor,
                ("value_model.fitted", &format!("value_model:{version}")),
                detail,
            )
            .await?;
            if publish {
                follow(tx, services, now, actor, before, version).await?;
            } else {
                Log::new(ids, now, actor.as_str()).write(tx, now).await?;
            }
            Ok(version)
        })
    });
    let version = version.await?;
    services.jobs.nudge();
    Ok(json!({
        "version": version,
        "published": publish,
        "customers": looked_at,
        "buyers": found.buyers,
        "chosen": match found.chosen {
            Chosen::Family(family) => Some(family.key().to_uppercase()),
            Chosen::None => None,
        },
        "reasons": reasons(found),
    }))
}

/// Why something could not be fitted, in words; empty: everything was.
fn reasons(found: &Found) -> Vec<String> {
    let mut reasons = Vec::new();
    match (&found.buying, found.chosen) {
        (Err(unfit), _) => reasons.push(format!("no model of buying: {unfit}")),
        (Ok(_), Chosen::None) => reasons.push("the model of buying did not converge".to_owned()),
        (Ok(_), Chosen::Family(_)) => {}
    }
    match &found.spending {
        Err(unfit) => reasons.push(format!("no model of spending: {unfit}")),
        Ok(fitted) if !fitted.fit.converged => reasons.push("the model of spending did not converge".to_owned()),
        Ok(_) => {}
    }
    reasons.extend(found.backtest.as_ref().err().map(|reason| format!("no back-test: {reason}")));
    reasons
}
