//! Parameters by maximum likelihood, how sure they are, and in words what to be careful about.

use super::buying::{Buying, Family};
use super::history::{History, Spend};
use super::likelihood::{Histories, Tally};
use super::maximise::{Summit, maximise};
use super::spending::{Spending, Spends};
use std::fmt;

/// What a fit says of itself, beside the parameters. `N` parameters, in the order of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit<const N: usize> {
    pub log_likelihood: f64,
    /// Of the parameters; none where the likelihood is not curved downwards in every direction. Intervals are better made on the
    /// logarithms, with `log_covariance`.
    pub standard_errors: Option<[f64; N]>,
    /// Covariance of the logarithms of the parameters.
    pub log_covariance: Option<[[f64; N]; N]>,
    pub customers: usize,
    /// Different histories among them.
    pub different: usize,
    pub iterations: u32,
    /// Length of the gradient in the logarithms of the parameters.
    pub gradient_norm: f64,
    /// The parameters are the maximum, and the data determine them all. Otherwise nothing should be predicted with them.
    pub converged: bool,
    pub warnings: Vec<Warning>,
}

/// A model and how it was fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted<M, const N: usize> {
    pub model: M,
    pub fit: Fit<N>,
}

pub type FittedBuying = Fitted<Buying, 4>;
pub type FittedSpending = Fitted<Spending, 3>;

/// Why there is nothing to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("there is no customer")]
    NoCustomer,
    #[error("no time has passed since anybody's first purchase")]
    NoTime,
    #[error("nobody has bought on a second day, so rates and stopping cannot be told apart")]
    NobodyRepeats,
    #[error("nobody has spent anything on a repeat purchase")]
    NoSpend,
}

/// What to be careful about. `Display` says it in words.
#[derive(Clone, Debug, PartialEq)]
pub enum Warning {
    /// The climb ended before the summit.
    NotConverged {
        gradient_norm: f64,
    },
    /// The likelihood rises, or is flat, until the parameter leaves any sensible range.
    Undetermined {
        parameter: &'static str,
        high: bool,
    },
    NoStandardErrors,
    /// The standard error is larger than the parameter.
    Unsure {
        parameter: &'static str,
    },
    Few {
        customers: usize,
    },
    /// BG/NBD answers a probability of 1 for everybody who bought once.
    OneTimeBuyersAlive {
        customers: usize,
    },
    /// a < 1: the purchases to come grow without bound.
    NoBound,
    /// q <= 1: spend has no mean over customers.
    NoMeanSpend,
    /// Spend and frequency go together (Pearson's r over repeat buyers), though Gamma-Gamma takes them as independent.
    SpendGoesWithFrequency {
        correlation: f64,
    },
}

/// Below this many customers with a repeat, parameters are hardly determined.
const FEW: usize = 30;
/// A correlation below this is held for small in the papers (.06 to .11 in the data that they use).
const CLEAR_CORRELATION: f64 = 0.2;
/// The first steps are taken on about so many histories.
const SAMPLE: usize = 2_000;

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConverged { gradient_norm } => {
                write!(
                    f,
                    "the fit did not converge (gradient {gradient_norm:.1e}); nothing is predicted with it"
                )
            }
            Self::Undetermined { parameter, high } => {
                let way = if *high { "without bound" } else { "towards zero" };
                write!(
                    f,
                    "the data do not determine {parameter}: the likelihood rises as it goes {way}"
                )
            }
            Self::NoStandardErrors => f.write_str("the data do not determine all parameters, so there are no standard errors"),
            Self::Unsure { parameter } => write!(f, "the standard error of {parameter} is larger than {parameter} itself"),
            Self::Few { customers } => write!(
                f,
                "only {customers} customers have bought repeatedly; {FEW} or more are advised"
            ),
            Self::OneTimeBuyersAlive { customers } => write!(
                f,
                "BG/NBD holds the {customers} customers who bought once for alive with probability 1; MBG/NBD does not"
            ),
            Self::NoBound => f.write_str(
                "a is below 1, so expected purchases grow without bound: compare values over one horizon or with a discount only",
            ),
            Self::NoMeanSpend => f.write_str("q is at most 1, so there is no mean spend for customers without a repeat purchase"),
            Self::SpendGoesWithFrequency { correlation } => write!(
                f,
                "spend and frequency go together (r = {correlation:.2}), which Gamma-Gamma takes not to be the case"
            ),
        }
    }
}

/// Fits a model of buying. Times of all histories are in one unit, and so is alpha.
pub fn fit_buying(family: Family, histories: &[History]) -> Result<FittedBuying, Unfit> {
    let all = usable(Histories::collect(histories))?;
    Ok(fit_collected(family, &all))
}

/// Fits every family to the same histories; the histories are sorted and counted once.
pub fn fit_all(histories: &[History]) -> Result<Vec<FittedBuying>, Unfit> {
    fit_histories(Histories::collect(histories))
}

/// The same to histories that were counted already.
pub fn fit_tally(tally: &Tally) -> Result<Vec<FittedBuying>, Unfit> {
    fit_histories(Histories::of(tally))
}

fn fit_histories(all: Histories) -> Result<Vec<FittedBuying>, Unfit> {
    let all = usable(all)?;
    let fits = Family::ALL.into_iter().map(|family| fit_collected(family, &all));
    Ok(fits.collect())
}

/// The likeliest of those that converged. All have the same number of parameters, so likelihood alone decides.
pub fn likeliest<'a>(fits: impl IntoIterator<Item = &'a FittedBuying>) -> Option<&'a FittedBuying> {
    let converged = fits.into_iter().filter(|fitted| fitted.fit.converged);
    converged.max_by(|one, other| one.fit.log_likelihood.total_cmp(&other.fit.log_likelihood))
}

fn usable(all: Histories) -> Result<Histories, Unfit> {
    if all.different == 0 {
        return Err(Unfit::NoCustomer);
    }
    if all.longest <= 0.0 {
        return Err(Unfit::NoTime);
    }
    if all.repeats == 0.0 {
        return Err(Unfit::NobodyRepeats);
    }
    Ok(all)
}

fn fit_collected(family: Family, all: &Histories) -> FittedBuying {
    // Alpha is measured by the longest age, so that the unit of time does not matter.
    let unit = all.longest;
    let climb = |start: [f64; 4], data: &Histories| {
        maximise(start, |at| {
            let mut slope = data.log_likelihood(family, &[at[0], at[1] * unit, at[2], at[3]]);
            slope.gradient[1] *= unit;
            for i in 0..4 {
                slope.hessian[1][i] *= unit;
                slope.hessian[i][1] *= unit;
            }
            slope
        })
    };
    let starts = [[0.5, 0.2, 1.0, 2.0], [1.0, 0.5, 0.2, 5.0], [2.0, 0.05, 3.0, 3.0]];
    let summit = climb_from_the_best(&starts, &climb, &all.thinned(SAMPLE), all);
    let mut parameters = summit.parameters;
    parameters[1] *= unit;
    let mut fit = described(&summit, parameters, ["r", "alpha", "a", "b"]);
    fit.log_likelihood = summit.value;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of customers")]
    let (customers, repeaters) = (all.customers as usize, all.repeaters as usize);
    fit.customers = customers;
    fit.different = all.different;
    if repeaters < FEW {
        fit.warnings.push(Warning::Few { customers: repeaters });
    }
    if family == Family::BgNbd && repeaters < customers {
        fit.warnings.push(Warning::OneTimeBuyersAlive {
            customers: customers - repeaters,
        });
    }
    let model = Buying::new(family, parameters);
    if fit.converged && model.a < 1.0 {
        fit.warnings.push(Warning::NoBound);
    }
    Fitted { model, fit }
}

/// Fits the model of spending to the customers who spent something on a repeat purchase.
pub fn fit_spending(spends: &[Spend]) -> Result<FittedSpending, Unfit> {
    let spends: Vec<Spend> = spends.iter().copied().filter(|spend| spend.mean() > 0.0).collect();
    if spends.is_empty() {
        return Err(Unfit::NoSpend);
    }
    let all = Spends::collect(&spends);
    let climb = |start: [f64; 3], data: &Spends| maximise(start, |at| data.log_likelihood(at));
    let starts = [[3.0, 3.0, 1.0], [1.0, 5.0, 5.0], [20.0, 10.0, 0.5]];
    let summit = climb_from_the_best(&starts, &climb, &all.thinned(SAMPLE as f64), &all);
    let [p, q, v] = summit.parameters;
    let parameters = [p, q, v * all.scale];
    let mut fit = described(&summit, parameters, ["p", "q", "v"]);
    // A density of amounts: measuring them by another unit shifts it.
    fit.log_likelihood = summit.value - all.customers * all.scale.ln();
    fit.customers = spends.len();
    fit.different = spends.len();
    if spends.len() < FEW {
        fit.warnings.push(Warning::Few { customers: spends.len() });
    }
    if fit.converged && q <= 1.0 {
        fit.warnings.push(Warning::NoMeanSpend);
    }
    if let Some(correlation) = spend_with_frequency(&spends).filter(|r| r.abs() >= CLEAR_CORRELATION && spends.len() >= FEW) {
        fit.warnings.push(Warning::SpendGoesWithFrequency { correlation });
    }
    Ok(Fitted {
        model: Spending::new(parameters),
        fit,
    })
}

/// Pearson's r of mean spend and number of days, which Gamma-Gamma takes to be independent; none where one of them never varies.
pub fn spend_with_frequency(spends: &[Spend]) -> Option<f64> {
    let spending = spends.iter().filter(|spend| spend.mean() > 0.0);
    correlation(spending.map(|spend| (f64::from(spend.days()), spend.mean())))
}

/// Several starts on a sample, and from the best of their ends on everything.
fn climb_from_the_best<D, const N: usize>(
    starts: &[[f64; N]],
    climb: &impl Fn([f64; N], &D) -> Summit<N>,
    sample: &D,
    all: &D,
) -> Summit<N> {
    let ends = starts.iter().map(|start| climb(*start, sample));
    let best = ends.max_by(|one, other| one.value.total_cmp(&other.value));
    let (from, before) = best.map_or((starts[0], 0), |summit| (summit.parameters, summit.iterations));
    let mut summit = climb(from, all);
    summit.iterations += before;
    summit
}

fn described<const N: usize>(summit: &Summit<N>, parameters: [f64; N], names: [&'static str; N]) -> Fit<N> {
    let mut warnings = Vec::new();
    for (i, parameter) in names.into_iter().enumerate() {
        if summit.undetermined[i] {
            let high = summit.parameters[i] > 1.0;
            warnings.push(Warning::Undetermined { parameter, high });
        }
    }
    // The variance of a parameter is its square times that of its logarithm, to first order.
    let errors = summit.covariance.map(|matrix| std::array::from_fn(|i| matrix[i][i].sqrt()));
    match errors {
        None => warnings.push(Warning::NoStandardErrors),
        Some(errors) => {
            let errors: [f64; N] = errors;
            let unsure = (0..N).filter(|i| errors[*i] > 1.0 && !summit.undetermined[*i]);
            warnings.extend(unsure.map(|i| Warning::Unsure { parameter: names[i] }));
        }
    }
    if !summit.converged {
        warnings.push(Warning::NotConverged {
            gradient_norm: summit.gradient_norm,
        });
    }
    Fit {
        log_likelihood: summit.value,
        standard_errors: errors.map(|errors| std::array::from_fn(|i| errors[i] * parameters[i])),
        log_covariance: summit.covariance,
        customers: 0,
        different: 0,
        iterations: summit.iterations,
        gradient_norm: summit.gradient_norm,
        converged: summit.converged,
        warnings,
    }
}

/// Pearson's r; none where one of the two never varies.
pub(super) fn correlation(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let n = pairs.clone().count() as f64;
    let (sum_x, sum_y) = pairs.clone().fold((0.0, 0.0), |(x, y), pair| (x + pair.0, y + pair.1));
    let (mean_x, mean_y) = (sum_x / n, sum_y / n);
    let mut squares = (0.0, 0.0, 0.0);
    for (x, y) in pairs {
        squares.0 += (x - mean_x) * (x - mean_x);
        squares.1 += (y - mean_y) * (y - mean_y);
        squares.2 += (x - mean_x) * (y - mean_y);
    }
    let r = squares.2 / (squares.0 * squares.1).sqrt();
    r.is_finite().then_some(r)
}
