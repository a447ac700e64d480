//! Models of what customers are worth: what was fitted, how well it foretold, fitting and publishing.

use super::error::{self, UserError};
use super::guard::Needs;
use super::job::JobNode;
use super::kinds::{BuyingFamily, ValueModelKind};
use super::loaders::{JobOf, ask, forget};
use super::scalars::{Date, DateTime};
use super::{principal, services};
use crate::access::Scope;
use crate::base::{Instant, JobId};
use crate::pipeline::models::{self, FitRequest};
use crate::value::models::store;
use crate::value::models::stored::{BUYING, SPENDING};
use async_graphql::{Context, ID, InputObject, Json, Object, Result, SimpleObject};
use entity::value_model;
use serde_json::Value;

/// One model of a version.
pub struct ValueModelNode {
    row: value_model::Model,
    in_force: Option<i64>,
}

/// A model that was fitted to what all customers bought. Times are in days, money in minor units of the reporting currency.
#[Object(name = "ValueModel")]
impl ValueModelNode {
    /// What was fitted.
    async fn kind(&self) -> ValueModelKind {
        self.row.kind.into()
    }

    /// The version that it belongs to; all models that were fitted together have one.
    async fn version(&self) -> i64 {
        self.row.version
    }

    /// Whether values are computed with this version today.
    async fn in_force(&self) -> bool {
        self.in_force == Some(self.row.version)
    }

    /// Whether values are computed with this model of its version: of the models of buying one is, if it converged.
    async fn chosen(&self) -> bool {
        self.row.chosen
    }

    /// When it was fitted.
    async fn fitted_at(&self) -> DateTime {
        DateTime(Instant::from_micros(self.row.fitted_at))
    }

    /// Up to when purchases were looked at.
    async fn as_of(&self) -> DateTime {
        DateTime(Instant::from_micros(self.row.as_of))
    }

    /// When its version was published; null while it is not.
    async fn published_at(&self) -> Option<DateTime> {
        self.row.published_at.map(|at| DateTime(Instant::from_micros(at)))
    }

    /// How many customers it was fitted to.
    async fn customers(&self) -> i64 {
        self.row.customers
    }

    /// How many different histories they have; null for what is no likelihood, and where nothing could be fitted.
    async fn distinct_histories(&self) -> Option<i64> {
        self.row.model["different"].as_i64()
    }

    /// The parameters, in the order of the papers; empty for RFM, GAPS and ECONOMICS, and where nothing could be fitted.
    async fn parameters(&self) -> Vec<ValueModelParameter> {
        let model = &self.row.model;
        let names: &[&str] = match self.row.kind {
            entity::ValueModelKind::BgNbd | entity::ValueModelKind::MbgNbd => &BUYING,
            entity::ValueModelKind::GammaGamma => &SPENDING,
            _ => &[],
        };
        let parameter = |name: &&str| {
            Some(ValueModelParameter {
                name: (*name).to_owned(),
                value: model["parameters"][*name].as_f64()?,
                standard_error: model["standardErrors"][*name].as_f64(),
            })
        };
        names.iter().filter_map(parameter).collect()
    }

    /// The logarithm of the likelihood; null for what has none.
    async fn log_likelihood(&self) -> Option<f64> {
        self.row.model["logLikelihood"].as_f64()
    }

    /// Whether the parameters are the maximum and the data determine them all: nothing is predicted with a model that did not converge.
    /// It is null for RFM, GAPS and ECONOMICS.
    async fn converged(&self) -> Option<bool> {
        self.row.model["converged"].as_bool()
    }

    /// How many steps the fit took; null where there was none.
    async fn iterations(&self) -> Option<i64> {
        self.row.model["iterations"].as_i64()
    }

    /// Length of the gradient at the end, in the logarithms of the parameters; null where there was no fit.
    async fn gradient_norm(&self) -> Option<f64> {
        self.row.model["gradientNorm"].as_f64()
    }

    /// What to be careful about, in words.
    async fn warnings(&self) -> Vec<String> {
        texts(&self.row.model["warnings"])
    }

    /// Why nothing could be fitted; null where something was.
    async fn reason(&self) -> Option<&str> {
        self.row.model["reason"].as_str()
    }

    /// How well the first part of the time foretold the rest; null for what is no model of buying.
    async fn back_test(&self) -> Option<ValueBackTest> {
        let found = &self.row.model["backTest"];
        found.is_object().then(|| ValueBackTest(found.clone()))
    }

    /// Everything that is kept of it: cuts of RFM, gaps by category, costs.
    async fn detail(&self) -> Json<Value> {
        Json(self.row.model.clone())
    }

    /// The job that fitted it; null when it is not known any more.
    async fn job(&self, ctx: &Context<'_>) -> Option<Result<JobNode>> {
        let found = ask(ctx, JobOf(JobId(self.row.job_id?))).await;
        found.map(|job| job.map(JobNode)).transpose()
    }
}

fn texts(all: &Value) -> Vec<String> {
    let all = all.as_array().into_iter().flatten();
    all.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// A parameter of a model.
#[derive(SimpleObject)]
pub struct ValueModelParameter {
    /// As the papers call it: r, alpha, a and b, or p, q and v.
    name: String,
    /// Its most likely value.
    value: f64,
    /// How far off it may be; null where the data do not determine it.
    standard_error: Option<f64>,
}

/// A back-test.
pub struct ValueBackTest(Value);

/// A model that was fitted to the first part of the time, held against the rest.
#[Object]
impl ValueBackTest {
    /// The last day of the first part; null when there was no back-test.
    async fn calibration_end(&self) -> Option<Date> {
        self.0["calibrationEnd"].as_str().and_then(Date::of)
    }

    /// How many days the rest has; null when there was no back-test.
    async fn days(&self) -> Option<f64> {
        self.0["days"].as_f64()
    }

    /// The parameters of the first part.
    async fn parameters(&self) -> Vec<ValueModelParameter> {
        let parameter = |name: &&str| {
            Some(ValueModelParameter {
                name: (*name).to_owned(),
                value: self.0["parameters"][*name].as_f64()?,
                standard_error: None,
            })
        };
        BUYING.iter().filter_map(parameter).collect()
    }

    /// The logarithm of the likelihood of the first part; null when nothing could be fitted to it.
    async fn log_likelihood(&self) -> Option<f64> {
        self.0["logLikelihood"].as_f64()
    }

    /// How well the model did; null when it could not be fitted to the first part.
    async fn model(&self) -> Option<ValueAccuracy> {
        accuracy(&self.0["model"])
    }

    /// How well it would have done to let everybody go on at their own rate until then; null when there was no back-test. A model that
    /// is not clearly better is of no use.
    async fn naive_rate(&self) -> Option<ValueAccuracy> {
        accuracy(&self.0["naiveRate"])
    }

    /// Why there is none; null when there is one.
    async fn reason(&self) -> Option<&str> {
        self.0["reason"].as_str()
    }
}

/// Predictions against what happened, over all customers of the first part. Mean absolute error is left out: to foretell nothing for
/// everybody nearly wins by it.
#[derive(SimpleObject)]
pub struct ValueAccuracy {
    /// How many customers.
    customers: i64,
    /// Repeat purchase days that were foretold for all of them.
    total_predicted: f64,
    /// Those that came.
    total_actual: f64,
    /// By how many per cent the total was too high; null when nobody came.
    bias_percent: Option<f64>,
    /// Root of the mean squared error of a customer.
    rmse: f64,
    /// Pearson's r of predicted and actual; null where one of them never varies.
    correlation: Option<f64>,
    /// By repeat purchase days in the first part.
    by_frequency: Vec<ValueAccuracyClass>,
    /// Tenths of the customers by prediction, the highest first.
    deciles: Vec<ValueAccuracyClass>,
}

/// Customers taken together.
#[derive(SimpleObject)]
pub struct ValueAccuracyClass {
    /// Repeat purchase days ("7+": so many or more), or the number of the tenth.
    label: String,
    /// How many they are.
    customers: i64,
    /// Purchase days that were foretold, of each on average.
    mean_predicted: f64,
    /// Those that came.
    mean_actual: f64,
    /// Those that came over those of everybody; null when nobody came.
    lift: Option<f64>,
}

fn accuracy(found: &Value) -> Option<ValueAccuracy> {
    let classes = |name: &str| -> Option<Vec<ValueAccuracyClass>> {
        let class = |of: &Value| {
            Some(ValueAccuracyClass {
                label: of["label"].as_str()?.to_owned(),
                customers: of["customers"].as_i64()?,
                mean_predicted: of["meanPredicted"].as_f64()?,
                mean_actual: of["meanActual"].as_f64()?,
                lift: of["lift"].as_f64(),
            })
        };
        found[name].as_array()?.iter().map(class).collect()
    };
    Some(ValueAccuracy {
        customers: found["customers"].as_i64()?,
        total_predicted: found["totalPredicted"].as_f64()?,
        total_actual: found["totalActual"].as_f64()?,
        bias_percent: found["biasPercent"].as_f64(),
        rmse: found["rmse"].as_f64()?,
        correlation: found["correlation"].as_f64(),
        by_frequency: classes("byFrequency")?,
        deciles: classes("deciles")?,
    })
}

/// A model by its kind; of the version in force where none is named.
pub async fn model(ctx: &Context<'_>, kind: ValueModelKind, version: Option<i64>) -> Result<Option<ValueModelNode>> {
    let db = services(ctx)?.store.reader();
    let in_force = store::in_force(db).await.map_err(|cause| error::store(&cause))?;
    let Some(version) = version.or(in_force) else {
        return Ok(None);
    };
    let rows = store::rows(db, version).await.map_err(|cause| error::store(&cause))?;
    let kind: entity::ValueModelKind = kind.into();
    let row = rows.into_iter().find(|row| row.kind == kind);
    Ok(row.map(|row| ValueModelNode { row, in_force }))
}

/// What to fit.
#[derive(Clone, Debug, InputObject)]
pub struct ValueModelFitInput {
    /// The model of buying that values are computed with; null: as it is configured, else the likelier one. Both are fitted in any case.
    family: Option<BuyingFamily>,
    /// Purchases after it are not looked at; null: now.
    as_of: Option<DateTime>,
    /// The last day of the first part of the time, for the back-test; null: two thirds of the time for which purchases are known.
    calibration_end: Option<Date>,
    /// Put the version in force at once.
    #[graphql(default = true)]
    publish: bool,
}

/// The answer to `valueModelFit`.
#[derive(Default, SimpleObject)]
pub struct ValueModelFitPayload {
    /// The job that fits; its result names the version; null when it was refused.
    job: Option<JobNode>,
    /// The transaction; null when nothing was committed.
    transaction: Option<ID>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// Which version to put in force.
#[derive(Clone, Debug, InputObject)]
pub struct ValueModelPublishInput {
    /// Its number.
    version: i64,
}

/// The answer to `valueModelPublish`.
#[derive(Default, SimpleObject)]
pub struct ValueModelPublishPayload {
    /// The version in force; null when none is.
    version: Option<i64>,
    /// The transaction; null when nothing was committed, since it was in force or refused.
    transaction: Option<ID>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// What can be changed about models.
#[derive(Default)]
pub struct Modelling;

#[Object]
impl Modelling {
    /// Fits models of buying and spending to what all customers bought, takes the cuts of RFM, the usual gaps and the costs, tries the
    /// models on the last part of the time, keeps everything as a new version and publishes it: a job. Everybody who bought is looked at
    /// again afterwards. Needs the scope `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn value_model_fit(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to fit.")] input: ValueModelFitInput,
    ) -> Result<ValueModelFitPayload> {
        let asked = FitRequest {
            as_of: input.as_of.map(|at| at.0),
            calibration_end: input.calibration_end.and_then(|day| day.0.parse().ok()),
            family: input.family.map(Into::into),
            publish: input.publish,
        };
        let requested = models::request(services(ctx)?, &principal(ctx)?.actor(), &asked).await;
        forget(ctx)?;
        Ok(match requested {
            Ok((job, transaction)) => ValueModelFitPayload {
                job: ask(ctx, JobOf(job)).await?.map(JobNode),
                transaction: Some(transaction.into()),
                user_errors: Vec::new(),
            },
            Err(cause) => ValueModelFitPayload {
                user_errors: vec![error::user_error(cause.kind(), cause.field(), &cause)?],
                ..ValueModelFitPayload::default()
            },
        })
    }

    /// Puts a version in force, such as an earlier one: later ones are no longer published. Everybody who bought is looked at again. Needs
    /// the scope `admin`.
    #[graphql(guard = "Needs(Scope::Admin)")]
    async fn value_model_publish(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which.")] input: ValueModelPublishInput,
    ) -> Result<ValueModelPublishPayload> {
        let services = services(ctx)?;
        let published = models::publish(services, &principal(ctx)?.actor(), input.version).await;
        forget(ctx)?;
        let version = store::in_force(services.store.writer()).await;
        let mut payload = ValueModelPublishPayload {
            version: version.map_err(|cause| error::store(&cause))?,
            ..ValueModelPublishPayload::default()
        };
        match published {
            Ok(transaction) => payload.transaction = transaction.map(Into::into),
            Err(cause) => payload.user_errors = vec![error::user_error(cause.kind(), cause.field(), &cause)?],
        }
        Ok(payload)
    }
}
