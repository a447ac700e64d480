//! How much somebody spends on a day they buy: the Gamma-Gamma model (Fader and Hardie 2013, note 025).
//!
//! A day's spend is gamma distributed around a mean of the customer's own, and the means vary over customers such that the rate is gamma
//! distributed too. How much somebody spends is taken to be independent of how often.

use super::history::Spend;
use super::maximise::Slope;
use super::special::{digamma, ln_gamma, trigamma};

/// The Gamma-Gamma model with its parameters, all positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spending {
    /// Shape of one customer's spend: the larger, the more alike the days.
    pub p: f64,
    /// Shape over customers; with one or less, the mean over customers does not exist.
    pub q: f64,
    /// Scale, in money (gamma in the papers).
    pub v: f64,
}

impl Spending {
    pub fn new([p, q, v]: [f64; 3]) -> Self {
        Self { p, q, v }
    }

    /// p, q, v.
    pub fn parameters(&self) -> [f64; 3] {
        [self.p, self.q, self.v]
    }

    /// Mean spend on a day to come. Without a spend, the mean over all customers. None where the model has no finite mean: for q of one
    /// or less until the customer's own days outweigh it.
    ///
    /// It is the weighted mean (q - 1) / (p x + q - 1) of everybody's p v / (q - 1) and the rest of the customer's own, written without
    /// the division by q - 1.
    pub fn expected(&self, spend: Option<&Spend>) -> Option<f64> {
        let (days, mean) = spend.map_or((0.0, 0.0), |spend| (f64::from(spend.days()), spend.mean()));
        let below = self.p * days + self.q - 1.0;
        (below > 0.0).then(|| self.p * (self.v + days * mean) / below)
    }
}

/// The spends of many customers.
#[derive(Clone, Debug)]
pub(super) struct Spends {
    /// By ascending number of days.
    groups: Vec<Group>,
    pub customers: f64,
    /// The mean of the means; amounts are measured by it.
    pub scale: f64,
}

/// Spends over the same number of days.
#[derive(Clone, Debug)]
struct Group {
    days: f64,
    /// Days times mean: what was spent in all, measured by the scale.
    totals: Vec<f64>,
    /// Sum of the logarithms of the means, measured by the scale.
    logs: f64,
}

impl Spends {
    pub fn collect(spends: &[Spend]) -> Self {
        let scale = spends.iter().map(Spend::mean).sum::<f64>() / spends.len().max(1) as f64;
        let mut ordered: Vec<(u32, f64)> = spends.iter().map(|spend| (spend.days(), spend.mean() / scale)).collect();
        // The amounts in order too, so that sums come out the same whatever the order of the customers.
        ordered.sort_unstable_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
        let groups = ordered.chunk_by(|one, other| one.0 == other.0).map(|chunk| {
            let days = f64::from(chunk[0].0);
            Group {
                days,
                totals: chunk.iter().map(|(_, mean)| days * mean).collect(),
                logs: chunk.iter().map(|(_, mean)| mean.ln()).sum(),
            }
        });
        Self {
            groups: groups.collect(),
            customers: spends.len() as f64,
            scale,
        }
    }

    /// Every n-th customer of each number of days, about `size` in all.
    pub fn thinned(&self, size: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count, or as many as there are"
        )]
        let stride = (self.customers / size).ceil().max(1.0) as usize;
        let groups = self.groups.iter().map(|group| {
            let totals: Vec<f64> = group.totals.iter().copied().step_by(stride).collect();
            Group {
                days: group.days,
                logs: totals.iter().map(|total| (total / group.days).ln()).sum(),
                totals,
            }
        });
        let groups: Vec<Group> = groups.collect();
        Self {
            customers: groups.iter().map(|group| group.totals.len() as f64).sum(),
            groups,
            scale: self.scale,
        }
    }

    /// The logarithm of the likelihood with its derivatives in p, q and v, amounts and v being measured by the scale.
    pub fn log_likelihood(&self, parameters: &[f64; 3]) -> Slope<3> {
        let [p, q, v] = *parameters;
        let (log_v, at_q) = (v.ln(), [ln_gamma(q), digamma(q), trigamma(q)]);
        let mut slope = Slope::zero();
        for group in &self.groups {
            let (x, n) = (group.days, group.totals.len() as f64);
            let (px, k) = (p * x, p * x + q);
            let (mut logs, mut inverses, mut squares) = (0.0, 0.0, 0.0);
            for total in &group.totals {
                let sum = total + v;
                let inverse = 1.0 / sum;
                logs += sum.ln();
                inverses += inverse;
                squares += inverse * inverse;
            }
            let (at_k, at_px) = (
                [ln_gamma(k), digamma(k), trigamma(k)],
                [ln_gamma(px), digamma(px), trigamma(px)],
            );
            slope.value += n * (at_k[0] - at_px[0] - at_q[0] + q * log_v + px * x.ln()) + (px - 1.0) * group.logs - k * logs;
            slope.gradient[0] += x * (n * (at_k[1] - at_px[1] + x.ln()) + group.logs - logs);
            slope.gradient[1] += n * (at_k[1] - at_q[1] + log_v) - logs;
            slope.gradient[2] += n * q / v - k * inverses;
            slope.hessian[0][0] += x * x * n * (at_k[2] - at_px[2]);
            slope.hessian[0][1] += x * n * at_k[2];
            slope.hessian[0][2] -= x * inverses;
            slope.hessian[1][1] += n * (at_k[2] - at_q[2]);
            slope.hessian[1][2] += n / v - inverses;
            slope.hessian[2][2] += k * squares - n * q / (v * v);
        }
        for i in 0..3 {
            for j in 0..i {
                slope.hessian[i][j] = slope.hessian[j][i];
            }
        }
        slope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_mean_over_customers_those_who_spent_enough_have_one_of_their_own() {
        let model = Spending::new([2.0, 0.9, 10.0]);
        assert_eq!(model.expected(None), None);
        let own = model.expected(Some(&Spend::new(3, 20.0).unwrap())).unwrap();
        assert!((own - 2.0 * 70.0 / 5.9).abs() < 1e-12);
        let at_one = Spending::new([2.0, 1.0, 10.0]);
        assert_eq!(at_one.expected(None), None);
        assert!(at_one.expected(Some(&Spend::new(1, 20.0).unwrap())).unwrap().is_finite());
    }

    #[test]
    fn derivatives_are_what_differences_say() {
        let rows = [(1, 20.0), (1, 35.5), (2, 8.0), (7, 61.0)];
        let spends = Spends::collect(&rows.map(|(days, mean)| Spend::new(days, mean).unwrap()));
        let parameters = [3.0, 2.5, 0.7];
        let slope = spends.log_likelihood(&parameters);
        for i in 0..3 {
            let step = 1e-5 * parameters[i];
            let moved = |by: f64| {
                let mut moved = parameters;
                moved[i] += by;
                spends.log_likelihood(&moved)
            };
            let (after, before) = (moved(step), moved(-step));
            let near = |mine: f64, difference: f64| (mine - difference / (2.0 * step)).abs() < 1e-6 * (1.0 + mine.abs());
            assert!(near(slope.gradient[i], after.value - before.value), "gradient {i}");
            for j in 0..3 {
                assert!(
                    near(slope.hessian[i][j], after.gradient[j] - before.gradient[j]),
                    "Hessian {i} {j}"
                );
            }
        }
    }
}
