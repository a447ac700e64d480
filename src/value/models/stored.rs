//! A version as rows of `value_model`, and back: what was found is written in words and numbers that stay readable by themselves.

use super::Version;
use super::sample::{BackTest, Chosen, Found};
use crate::base::money::Currency;
use crate::base::{Instant, JobId};
use crate::store::StoreError;
use crate::value::backtest::{Accuracy, Class, MOST_FREQUENT};
use crate::value::economics::{Economics, Winning};
use crate::value::fit::{Fit, Fitted};
use crate::value::published::{Published, RfmCuts};
use crate::value::{Buying, Family, Spending};
use entity::{ValueModelKind, value_model};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub const BUYING: [&str; 4] = ["r", "alpha", "a", "b"];
pub const SPENDING: [&str; 3] = ["p", "q", "v"];

/// What the rows of a version share.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    pub version: i64,
    pub fitted_at: Instant,
    pub published_at: Option<Instant>,
    pub job: JobId,
}

/// The kind under which a family is kept.
pub fn kind_of(family: Family) -> ValueModelKind {
    match family {
        Family::BgNbd => ValueModelKind::BgNbd,
        Family::MbgNbd => ValueModelKind::MbgNbd,
    }
}

/// The rows of a version.
pub fn rows(found: &Found, stamp: Stamp) -> Vec<value_model::Model> {
    let row = |kind: ValueModelKind, chosen: bool, customers: usize, model: Value| value_model::Model {
        version: stamp.version,
        kind,
        fitted_at: stamp.fitted_at.micros(),
        as_of: found.terms.as_of.micros(),
        published_at: stamp.published_at.map(Instant::micros),
        chosen,
        customers: i64::try_from(customers).unwrap_or(i64::MAX),
        model,
        job_id: Some(stamp.job.0),
    };
    let mut rows = Vec::new();
    for family in Family::ALL {
        let fitted = found
            .buying
            .as_ref()
            .map(|fits| fits.iter().find(|fitted| fitted.model.family == family));
        let (customers, mut model) = match fitted {
            Ok(Some(fitted)) => (fitted.fit.customers, fit_json(&fitted.fit, fitted.model.parameters(), BUYING)),
            Ok(None) => continue,
            Err(unfit) => (0, unfit_json(&unfit.to_string())),
        };
        model["backTest"] = backtest_json(&found.backtest, family);
        add_warnings(&mut model, &found.warnings);
        rows.push(row(kind_of(family), found.chosen == Chosen::Family(family), customers, model));
    }
    let (customers, converged, mut model) = match &found.spending {
        Ok(fitted) => (
            fitted.fit.customers,
            fitted.fit.converged,
            fit_json(&fitted.fit, fitted.model.parameters(), SPENDING),
        ),
        Err(unfit) => (0, false, unfit_json(&unfit.to_string())),
    };
    model["currency"] = json!(found.currency.as_ref().map(Currency::code));
    rows.push(row(ValueModelKind::GammaGamma, converged, customers, model));
    let model = found
        .rfm
        .as_ref()
        .map_or_else(|| unfit_json("nobody has bought anything"), cuts_json);
    rows.push(row(ValueModelKind::Rfm, found.rfm.is_some(), found.buyers, model));
    let gaps = json!({"gapDays": found.gap_days});
    rows.push(row(ValueModelKind::Gaps, !found.gap_days.is_empty(), found.buyers, gaps));
    let economics = economics_json(&found.economics, found.currency.as_ref());
    rows.push(row(ValueModelKind::Economics, true, found.buyers, economics));
    rows
}

fn named<const N: usize>(names: [&str; N], numbers: [f64; N]) -> Value {
    let pairs = names.iter().zip(numbers);
    pairs
        .map(|(name, number)| ((*name).to_owned(), json!(number)))
        .collect::<Map<_, _>>()
        .into()
}

fn unfit_json(reason: &str) -> Value {
    json!({"reason": reason, "converged": false, "warnings": []})
}

fn fit_json<const N: usize>(fit: &Fit<N>, parameters: [f64; N], names: [&str; N]) -> Value {
    let covariance = fit.log_covariance.map(|matrix| matrix.map(|row| row.to_vec()).to_vec());
    json!({
        "parameters": named(names, parameters),
        "standardErrors": fit.standard_errors.map(|errors| named(names, errors)),
        "logCovariance": covariance,
        "logLikelihood": fit.log_likelihood,
        "converged": fit.converged,
        "iterations": fit.iterations,
        "gradientNorm": fit.gradient_norm,
        "customers": fit.customers,
        "different": fit.different,
        "warnings": fit.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn add_warnings(model: &mut Value, warnings: &[String]) {
    if let Some(all) = model["warnings"].as_array_mut() {
        all.extend(warnings.iter().map(|warning| json!(warning)));
    }
}

fn backtest_json(backtest: &Result<BackTest, String>, family: Family) -> Value {
    let backtest = match backtest {
        Ok(backtest) => backtest,
        Err(reason) => return json!({"reason": reason}),
    };
    let own = backtest.models.iter().find(|(fitted, _)| fitted.model.family == family);
    let Some((fitted, found)) = own else {
        return Value::Null;
    };
    json!({
        "calibrationEnd": backtest.calibration_end.to_string(),
        "days": backtest.days,
        "parameters": named(BUYING, fitted.model.parameters()),
        "logLikelihood": fitted.fit.log_likelihood,
        "converged": fitted.fit.converged,
        "model": found.as_ref().map(accuracy_json),
        "naiveRate": backtest.naive.as_ref().map(accuracy_json),
        "reason": found.is_none().then_some("of the first part of the time: the model of buying did not converge"),
    })
}

fn accuracy_json(found: &Accuracy) -> Value {
    let class = |class: &Class, label: String| {
        json!({
            "label": label, "customers": class.customers, "meanPredicted": class.mean_predicted, "meanActual": class.mean_actual,
            "lift": class.lift,
        })
    };
    let frequency = |of: &Class| match of.label {
        MOST_FREQUENT => class(of, format!("{MOST_FREQUENT}+")),
        label => class(of, label.to_string()),
    };
    json!({
        "customers": found.customers,
        "totalPredicted": found.total_predicted,
        "totalActual": found.total_actual,
        "biasPercent": found.bias_percent,
        "rmse": found.rmse,
        "correlation": found.correlation,
        "byFrequency": found.by_frequency.iter().map(frequency).collect::<Vec<_>>(),
        "deciles": found.deciles.iter().map(|of| class(of, of.label.to_string())).collect::<Vec<_>>(),
    })
}

fn cuts_json(cuts: &RfmCuts) -> Value {
    // Sums may pass 64 bits.
    let monetary = cuts.monetary.map(|cut| cut.to_string());
    json!({"recency": cuts.recency, "frequency": cuts.frequency, "monetary": monetary, "means": cuts.means})
}

fn economics_json(economics: &Economics, currency: Option<&Currency>) -> Value {
    let winning = economics.winning.iter().map(
        |row| json!({"from": row.from.to_string(), "until": row.until.to_string(), "channel": row.channel, "each": row.each}),
    );
    json!({
        "currency": currency.map(Currency::code),
        "firstYear": economics.first_year,
        "referrals": economics.referrals,
        "keeping": economics.keeping,
        "winning": winning.collect::<Vec<_>>(),
        "asOf": economics.as_of.map(|at| at.to_string()),
        "warnings": economics.warnings,
    })
}

/// A version from its rows.
pub fn version(rows: Vec<value_model::Model>) -> Result<Version, StoreError> {
    let corrupt = || StoreError::Corrupt("a row of value_model".to_owned());
    let first = rows.first().ok_or_else(corrupt)?;
    let mut found = Version {
        published: Published {
            version: first.version,
            as_of: Instant::from_micros(first.as_of),
            buying: None,
            spending: None,
            rfm: None,
            gap_days: BTreeMap::new(),
        },
        currency: None,
        economics: Economics::default(),
        no_buying: Some("the model of buying did not converge".to_owned()),
        no_spending: Some("the model of spending did not converge".to_owned()),
    };
    for row in rows {
        let model = &row.model;
        let why_not = || model["reason"].as_str().map(str::to_owned);
        match row.kind {
            ValueModelKind::BgNbd | ValueModelKind::MbgNbd if row.chosen => {
                let family = match row.kind {
                    ValueModelKind::BgNbd => Family::BgNbd,
                    _ => Family::MbgNbd,
                };
                let (parameters, fit) = fitted(model, BUYING).ok_or_else(corrupt)?;
                found.published.buying = Some(Fitted {
                    model: Buying::new(family, parameters),
                    fit,
                });
            }
            ValueModelKind::BgNbd | ValueModelKind::MbgNbd => {
                if let Some(reason) = why_not() {
                    found.no_buying = Some(format!("no model of buying: {reason}"));
                }
            }
            ValueModelKind::GammaGamma if row.chosen => {
                let (parameters, fit) = fitted(model, SPENDING).ok_or_else(corrupt)?;
                found.published.spending = Some(Fitted {
                    model: Spending::new(parameters),
                    fit,
                });
            }
            ValueModelKind::GammaGamma => {
                if let Some(reason) = why_not() {
                    found.no_spending = Some(format!("no model of spending: {reason}"));
                }
            }
            ValueModelKind::Rfm if row.chosen => found.published.rfm = Some(cuts(model).ok_or_else(corrupt)?),
            ValueModelKind::Rfm => {}
            ValueModelKind::Gaps => {
                let gaps = model["gapDays"].as_object().ok_or_else(corrupt)?;
                let gaps = gaps.iter().map(|(category, days)| Some((category.clone(), days.as_f64()?)));
                found.published.gap_days = gaps.collect::<Option<_>>().ok_or_else(corrupt)?;
            }
            ValueModelKind::Economics => {
                found.currency = model["currency"].as_str().map(|code| Currency::stored(code.to_owned()));
                found.economics = economics(model).ok_or_else(corrupt)?;
            }
        }
    }
    if found.published.buying.is_some() {
        found.no_buying = None;
    }
    if found.published.spending.is_some() {
        found.no_spending = None;
    }
    Ok(found)
}

/// Parameters and fit; what it warned of stays in words.
fn fitted<const N: usize>(model: &Value, names: [&str; N]) -> Option<([f64; N], Fit<N>)> {
    let numbers = |of: &Value| -> Option<[f64; N]> {
        let all: Option<Vec<f64>> = names.iter().map(|name| of[*name].as_f64()).collect();
        all?.try_into().ok()
    };
    let row = |of: &Value| -> Option<[f64; N]> {
        let all: Option<Vec<f64>> = of.as_array()?.iter().map(Value::as_f64).collect();
        all?.try_into().ok()
    };
    let covariance = || -> Option<[[f64; N]; N]> {
        let rows: Option<Vec<[f64; N]>> = model["logCovariance"].as_array()?.iter().map(row).collect();
        rows?.try_into().ok()
    };
    let count = |name: &str| usize::try_from(model[name].as_u64()?).ok();
    let fit = Fit {
        log_likelihood: model["logLikelihood"].as_f64()?,
        standard_errors: numbers(&model["standardErrors"]),
        log_covariance: covariance(),
        customers: count("customers")?,
        different: count("different")?,
        iterations: u32::try_from(model["iterations"].as_u64()?).ok()?,
        gradient_norm: model["gradientNorm"].as_f64()?,
        converged: model["converged"].as_bool()?,
        warnings: Vec::new(),
    };
    Some((numbers(&model["parameters"])?, fit))
}

fn cuts(model: &Value) -> Option<RfmCuts> {
    let whole = |name: &str| -> Option<[i64; 4]> {
        let all: Option<Vec<i64>> = model[name].as_array()?.iter().map(Value::as_i64).collect();
        all?.try_into().ok()
    };
    let monetary = model["monetary"].as_array()?.iter().map(|cut| cut.as_str()?.parse().ok());
    let means = model["means"].as_array()?.iter().map(Value::as_f64);
    Some(RfmCuts {
        recency: whole("recency")?,
        frequency: whole("frequency")?,
        monetary: monetary.collect::<Option<Vec<i128>>>()?.try_into().ok()?,
        means: means.collect::<Option<Vec<f64>>>()?.try_into().ok()?,
    })
}

fn economics(model: &Value) -> Option<Economics> {
    let instant = |of: &Value| Instant::parse(of.as_str()?);
    let winning = model["winning"].as_array()?.iter().map(|row| {
        Some(Winning {
            from: instant(&row["from"])?,
            until: instant(&row["until"])?,
            channel: row["channel"].as_str().map(str::to_owned),
            each: row["each"].as_f64()?,
        })
    });
    Some(Economics {
        first_year: model["firstYear"].as_f64(),
        referrals: model["referrals"].as_u64()?,
        keeping: model["keeping"].as_f64(),
        winning: winning.collect::<Option<_>>()?,
        as_of: instant(&model["asOf"]),
        warnings: Vec::new(),
    })
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
