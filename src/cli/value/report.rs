//! The report beside the scores: what was fitted, how sure it is, how it did on what it had not seen, and what could not be known.

use super::{Input, Models, UnitName};
use crate::value::{
    Accuracy, Class, Customer, Fit, Foretold, MOST_FREQUENT, Score, Spend, Terms, Unfit, Unit, accuracy, naive_rate,
    spend_with_frequency,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub struct Report<'a> {
    pub unit: UnitName,
    pub input: &'a Input,
    pub models: &'a Models,
    pub terms: Terms,
    pub scores: &'a [Score],
    pub backtest: Option<Backtest>,
}

/// Predictions held against the purchases after the calibration.
pub struct Backtest {
    days: f64,
    horizon: f64,
    methods: Vec<(&'static str, Accuracy)>,
}

impl Backtest {
    /// None without customers. A model that did not converge predicts nothing.
    pub fn of(models: &Models, customers: &[Customer], days: f64, unit: Unit) -> Option<Self> {
        let horizon = days / unit.days();
        let told = |predict: &dyn Fn(&Customer) -> f64| {
            let foretold = customers.iter().map(|customer| Foretold {
                repeats: customer.history.repeats(),
                predicted: predict(customer),
                actual: f64::from(customer.later),
            });
            accuracy(&foretold.collect::<Vec<_>>())
        };
        let mut methods = Vec::new();
        for (family, fit) in &models.buying {
            let Some(fitted) = fit.as_ref().ok().filter(|fitted| fitted.fit.converged) else {
                continue;
            };
            methods.push((
                family.key(),
                told(&|customer| fitted.model.expected_purchases(&customer.history, horizon))?,
            ));
        }
        methods.push(("naive_rate", told(&|customer| naive_rate(&customer.history, horizon))?));
        Some(Self { days, horizon, methods })
    }

    fn to_json(&self) -> Value {
        let methods: Map<String, Value> = self
            .methods
            .iter()
            .map(|(name, accuracy)| ((*name).to_owned(), accuracy_json(accuracy)))
            .collect();
        json!({
            "days": self.days,
            "horizon": self.horizon,
            "customers": self.methods.first().map(|(_, accuracy)| accuracy.customers),
            "methods": methods,
        })
    }
}

impl Report<'_> {
    pub fn to_json(&self) -> Value {
        let mut models = Map::new();
        for (family, fit) in &self.models.buying {
            let named = fit.as_ref().map(|fitted| (&fitted.fit, fitted.model.parameters()));
            models.insert(family.key().to_owned(), model_json(named, ["r", "alpha", "a", "b"]));
        }
        let spending = self
            .models
            .spending
            .as_ref()
            .map(|fitted| (&fitted.fit, fitted.model.parameters()));
        let mut spending = model_json(spending, ["p", "q", "v"]);
        let spends: Vec<Spend> = self.input.customers.iter().filter_map(|customer| customer.spend).collect();
        spending["spend_frequency_correlation"] = json!(spend_with_frequency(&spends));
        models.insert("gamma_gamma".to_owned(), spending);
        let chosen = self.models.chosen().ok().filter(|fitted| fitted.fit.converged);
        json!({
            "unit": match self.unit { UnitName::Week => "week", UnitName::Day => "day" },
            "calibration_end": self.input.calibration_end.map(|day| day.to_string()),
            "customers": self.input.customers.len(),
            "repeat_customers": self.input.customers.iter().filter(|customer| customer.history.repeats() > 0).count(),
            "lines_not_read": self.input.bad.len(),
            "scored_by": chosen.map(|fitted| fitted.model.family.key()),
            "horizon": self.terms.horizon,
            "clv": {
                "months": self.terms.periods, "month": self.terms.period, "discount_per_month": self.terms.discount,
                "margin": self.terms.margin, "paid": "at the end of each month"
            },
            "models": models,
            "backtest": self.backtest.as_ref().map(Backtest::to_json),
            "unknown": self.unknown(),
            "warnings": self.input.warnings,
        })
    }

    /// How many fields of each column are empty, and why.
    fn unknown(&self) -> Vec<Value> {
        let mut counts: BTreeMap<(&str, String), usize> = BTreeMap::new();
        for score in self.scores {
            for (column, number) in score.columns() {
                if let Err(unknown) = number {
                    *counts.entry((column, unknown.to_string())).or_insert(0) += 1;
                }
            }
        }
        let counts = counts.into_iter();
        counts
            .map(|((column, reason), customers)| json!({"column": column, "reason": reason, "customers": customers}))
            .collect()
    }
}

fn model_json<const N: usize>(fitted: Result<(&Fit<N>, [f64; N]), &Unfit>, names: [&str; N]) -> Value {
    let named = |numbers: [f64; N]| -> Value {
        names
            .iter()
            .zip(numbers)
            .map(|(name, number)| ((*name).to_owned(), json!(number)))
            .collect::<Map<_, _>>()
            .into()
    };
    match fitted {
        Err(unfit) => json!({
            "params": null, "log_likelihood": null, "standard_errors": null, "converged": false, "warnings": [unfit.to_string()]
        }),
        Ok((fit, parameters)) => json!({
            "params": named(parameters),
            "log_likelihood": fit.log_likelihood,
            "standard_errors": fit.standard_errors.map(named),
            "converged": fit.converged,
            "warnings": fit.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "customers": fit.customers,
            "different_histories": fit.different,
            "iterations": fit.iterations,
            "gradient_norm": fit.gradient_norm,
        }),
    }
}

fn accuracy_json(accuracy: &Accuracy) -> Value {
    let class = |label: Value, class: &Class| {
        json!({
            "class": label, "customers": class.customers, "mean_predicted": class.mean_predicted, "mean_actual": class.mean_actual,
            "lift": class.lift
        })
    };
    let frequency = |of: &Class| {
        let label = if of.label == MOST_FREQUENT {
            json!(format!("{MOST_FREQUENT}+"))
        } else {
            json!(of.label.to_string())
        };
        class(label, of)
    };
    json!({
        "total_predicted": accuracy.total_predicted,
        "total_actual": accuracy.total_actual,
        "bias_percent": accuracy.bias_percent,
        "rmse": accuracy.rmse,
        "pearson_r": accuracy.correlation,
        "by_frequency": accuracy.by_frequency.iter().map(frequency).collect::<Vec<_>>(),
        "deciles": accuracy.deciles.iter().map(|of| class(json!(of.label), of)).collect::<Vec<_>>(),
    })
}
