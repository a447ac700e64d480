//! The likelihood of many histories under a model of buying, with its first and second derivatives.
//!
//! Only the three numbers of a history matter, so equal histories are counted once with a weight: a million customers with days for
//! dates are a hundred thousand different histories. Gamma functions depend on the number of repeats only and logarithms of times on a
//! few hundred different times, so what remains for each different history is an exponential and a logarithm.

use super::buying::Family;
use super::history::History;
use super::maximise::Slope;
use super::special::{digamma, ln_gamma, trigamma};
use std::collections::HashMap;

/// The different histories of many customers.
#[derive(Clone, Debug)]
pub(super) struct Histories {
    /// Different times, whether recency or age, ascending.
    times: Vec<f64>,
    /// By ascending number of repeats.
    groups: Vec<Group>,
    pub customers: f64,
    /// Customers with a repeat purchase.
    pub repeaters: f64,
    pub different: usize,
    /// The longest age; times are measured by it, so that parameters start within reach.
    pub longest: f64,
    pub repeats: f64,
}

/// Histories with the same number of repeats.
#[derive(Clone, Debug)]
struct Group {
    repeats: u32,
    customers: f64,
    members: Vec<Member>,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    /// Places in the list of times.
    recency: u32,
    age: u32,
    weight: f64,
}

/// Two branches of the likelihood: the customer is alive, or the last purchase was the last.
struct Sums {
    gone: f64,
    spread: f64,
}

/// How many customers have which history: all that a fit needs of any number of customers.
#[derive(Clone, Debug, Default)]
pub struct Tally(HashMap<(u32, u64, u64), f64>);

impl Tally {
    pub fn add(&mut self, history: &History) {
        let key = (history.repeats(), history.recency().to_bits(), history.age().to_bits());
        *self.0.entry(key).or_insert(0.0) += 1.0;
    }

    /// Each history once, with the number of customers who have it.
    pub fn each(&self) -> impl Iterator<Item = (History, f64)> + '_ {
        self.0.iter().map(|((repeats, recency, age), count)| {
            let history = History::new(*repeats, f64::from_bits(*recency), f64::from_bits(*age));
            (history.expect("it was one"), *count)
        })
    }
}

impl Histories {
    pub fn collect(histories: &[History]) -> Self {
        let mut tally = Tally(HashMap::with_capacity(histories.len() / 4));
        for history in histories {
            tally.add(history);
        }
        Self::of(&tally)
    }

    pub fn of(tally: &Tally) -> Self {
        let mut different: Vec<((u32, u64, u64), f64)> = tally.0.iter().map(|(key, count)| (*key, *count)).collect();
        // In one order whatever the order of the customers, so that sums come out the same to the last digit.
        different.sort_unstable_by_key(|(key, _)| *key);
        Self::from_counts(&different)
    }

    /// `different` is sorted; times of zero or more sort like their bits.
    fn from_counts(different: &[((u32, u64, u64), f64)]) -> Self {
        let mut times: Vec<u64> = different.iter().flat_map(|((_, recency, age), _)| [*recency, *age]).collect();
        times.sort_unstable();
        times.dedup();
        let place = |time: u64| u32::try_from(times.partition_point(|other| *other < time)).expect("fewer times than memory");
        let groups = different
            .chunk_by(|(one, _), (other, _)| one.0 == other.0)
            .map(|chunk| Group {
                repeats: chunk[0].0.0,
                customers: chunk.iter().map(|(_, weight)| weight).sum(),
                members: chunk
                    .iter()
                    .map(|((_, recency, age), weight)| Member {
                        recency: place(*recency),
                        age: place(*age),
                        weight: *weight,
                    })
                    .collect(),
            });
        let groups: Vec<Group> = groups.collect();
        Self {
            customers: groups.iter().map(|group| group.customers).sum(),
            repeaters: groups
                .iter()
                .filter(|group| group.repeats > 0)
                .map(|group| group.customers)
                .sum(),
            repeats: groups.iter().map(|group| group.customers * f64::from(group.repeats)).sum(),
            different: different.len(),
            longest: times.last().map_or(0.0, |bits| f64::from_bits(*bits)),
            groups,
            times: times.into_iter().map(f64::from_bits).collect(),
        }
    }

    /// Every n-th of the different histories, about `size` of them: enough to find where to begin.
    pub fn thinned(&self, size: usize) -> Self {
        let stride = self.different.div_ceil(size).max(1);
        let all = self.groups.iter().flat_map(|group| {
            group.members.iter().map(|member| {
                let time = |place: u32| self.times[place as usize].to_bits();
                ((group.repeats, time(member.recency), time(member.age)), member.weight)
            })
        });
        Self::from_counts(&all.step_by(stride).collect::<Vec<_>>())
    }

    /// The logarithm of the likelihood with its derivatives in r, alpha, a and b.
    pub fn log_likelihood(&self, family: Family, parameters: &[f64; 4]) -> Slope<4> {
        let [r, alpha, a, b] = *parameters;
        let (logs, inverses): (Vec<f64>, Vec<f64>) = self
            .times
            .iter()
            .map(|time| ((alpha + time).ln(), 1.0 / (alpha + time)))
            .unzip();
        let mut slope = Slope::zero();
        let shared = Shared::at(r, a, b);
        for group in &self.groups {
            let k = r + f64::from(group.repeats);
            let survived = family.survived(group.repeats);
            shared.add(group, survived, &mut slope);
            let tables = Tables {
                logs: &logs,
                inverses: &inverses,
            };
            if survived == 0.0 {
                group.add_alive(k, &tables, &mut slope);
            } else {
                group.add_either(k, a, b + survived - 1.0, &tables, &mut slope);
            }
        }
        let n = self.customers;
        slope.value += n * r * alpha.ln();
        slope.gradient[0] += n * alpha.ln();
        slope.gradient[1] += n * r / alpha;
        slope.hessian[0][1] += n / alpha;
        slope.hessian[1][1] -= n * r / (alpha * alpha);
        for i in 0..4 {
            for j in 0..i {
                slope.hessian[i][j] = slope.hessian[j][i];
            }
        }
        slope
    }
}

/// What depends on the time of a history.
struct Tables<'a> {
    logs: &'a [f64],
    inverses: &'a [f64],
}

/// A gamma function's logarithm with two derivatives.
#[derive(Clone, Copy)]
struct Gamma([f64; 3]);

impl Gamma {
    fn at(x: f64) -> Self {
        Self([ln_gamma(x), digamma(x), trigamma(x)])
    }
}

/// What all histories share.
struct Shared {
    r: f64,
    a: f64,
    b: f64,
    of_r: Gamma,
    of_b: Gamma,
    of_both: Gamma,
}

impl Shared {
    fn at(r: f64, a: f64, b: f64) -> Self {
        Self {
            r,
            a,
            b,
            of_r: Gamma::at(r),
            of_b: Gamma::at(b),
            of_both: Gamma::at(a + b),
        }
    }

    /// G(r+x)/G(r) times G(a+b) G(b+s) / (G(b) G(a+b+s)), which depend on the number of repeats only.
    fn add(&self, group: &Group, survived: f64, slope: &mut Slope<4>) {
        let n = group.customers;
        let of_k = Gamma::at(self.r + f64::from(group.repeats)).0;
        let kept = Gamma::at(self.b + survived).0;
        let all = Gamma::at(self.a + self.b + survived).0;
        let (of_r, of_b, of_both) = (self.of_r.0, self.of_b.0, self.of_both.0);
        slope.value += n * (of_k[0] - of_r[0] + (of_both[0] - all[0]) + (kept[0] - of_b[0]));
        slope.gradient[0] += n * (of_k[1] - of_r[1]);
        slope.gradient[2] += n * (of_both[1] - all[1]);
        slope.gradient[3] += n * (of_both[1] - all[1] + kept[1] - of_b[1]);
        slope.hessian[0][0] += n * (of_k[2] - of_r[2]);
        slope.hessian[2][2] += n * (of_both[2] - all[2]);
        slope.hessian[2][3] += n * (of_both[2] - all[2]);
        slope.hessian[3][3] += n * (of_both[2] - all[2] + kept[2] - of_b[2]);
    }
}

impl Group {
    /// Certainly alive: -k ln(alpha + T).
    fn add_alive(&self, k: f64, tables: &Tables, slope: &mut Slope<4>) {
        for member in &self.members {
            let (log, inverse) = (tables.logs[member.age as usize], tables.inverses[member.age as usize]);
            slope.value -= member.weight * k * log;
            slope.gradient[0] -= member.weight * log;
            slope.gradient[1] -= member.weight * k * inverse;
            slope.hessian[0][1] -= member.weight * inverse;
            slope.hessian[1][1] += member.weight * k * inverse * inverse;
        }
    }

    /// Alive, -k ln(alpha + T), or gone since the last purchase, ln a - ln `kept` - k ln(alpha + t_x): the logarithm of the sum.
    fn add_either(&self, k: f64, a: f64, kept: f64, tables: &Tables, slope: &mut Slope<4>) {
        let stop = a.ln() - kept.ln();
        let mut sums = Sums { gone: 0.0, spread: 0.0 };
        // Spread-weighted sums of the differences between the two branches' derivatives in r and alpha.
        let (mut by_r, mut by_alpha) = (0.0, 0.0);
        for member in &self.members {
            let (age, recency) = (member.age as usize, member.recency as usize);
            let silence = tables.logs[age] - tables.logs[recency];
            let odds = stop + k * silence;
            let small = (-odds.abs()).exp();
            let likelier = 1.0 / (1.0 + small);
            let (gone, alive) = if odds > 0.0 {
                (likelier, small * likelier)
            } else {
                (small * likelier, likelier)
            };
            let (at_age, at_recency) = (tables.inverses[age], tables.inverses[recency]);
            let weight = member.weight;
            let spread = weight * gone * alive;
            let distance = at_age - at_recency;
            let inverse = alive * at_age + gone * at_recency;
            slope.value += weight * (small.ln_1p() + odds.max(0.0) - k * tables.logs[age]);
            slope.gradient[0] += weight * (gone * silence - tables.logs[age]);
            slope.gradient[1] -= weight * k * inverse;
            slope.hessian[0][0] += spread * silence * silence;
            slope.hessian[0][1] += -weight * inverse + spread * silence * k * distance;
            slope.hessian[1][1] +=
                weight * k * (alive * at_age * at_age + gone * at_recency * at_recency) + spread * k * k * distance * distance;
            sums.gone += weight * gone;
            sums.spread += spread;
            by_r += spread * silence;
            by_alpha += spread * k * distance;
        }
        let (to_a, to_b) = (1.0 / a, -1.0 / kept);
        slope.gradient[2] += sums.gone * to_a;
        slope.gradient[3] += sums.gone * to_b;
        slope.hessian[0][2] += by_r * to_a;
        slope.hessian[0][3] += by_r * to_b;
        slope.hessian[1][2] += by_alpha * to_a;
        slope.hessian[1][3] += by_alpha * to_b;
        slope.hessian[2][2] += (sums.spread - sums.gone) * to_a * to_a;
        slope.hessian[2][3] += sums.spread * to_a * to_b;
        slope.hessian[3][3] += (sums.spread + sums.gone) * to_b * to_b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_histories() -> Histories {
        let rows = [
            (0, 0.0, 0.0),
            (0, 0.0, 38.9),
            (0, 0.0, 38.9),
            (2, 30.4, 38.9),
            (1, 1.7, 38.9),
            (7, 29.4, 31.0),
            (2, 31.0, 31.0),
        ];
        Histories::collect(&rows.map(|(repeats, recency, age)| History::new(repeats, recency, age).unwrap()))
    }

    /// One history by the formula as it stands in the papers.
    fn of_one(family: Family, [r, alpha, a, b]: [f64; 4], repeats: u32, recency: f64, age: f64) -> f64 {
        let (x, survived) = (f64::from(repeats), family.survived(repeats));
        let shared = ln_gamma(r + x) - ln_gamma(r) + r * alpha.ln() + ln_gamma(a + b) + ln_gamma(b + survived)
            - ln_gamma(b)
            - ln_gamma(a + b + survived);
        let alive = (alpha + age).powf(-r - x);
        let gone = if survived > 0.0 {
            a / (b + survived - 1.0) * (alpha + recency).powf(-r - x)
        } else {
            0.0
        };
        shared + (alive + gone).ln()
    }

    #[test]
    fn equal_histories_are_counted_once_and_weigh_what_they_are() {
        let histories = some_histories();
        assert_eq!((histories.different, histories.customers, histories.repeats), (6, 7.0, 12.0));
        let parameters = [0.4, 5.0, 0.9, 2.1];
        for family in Family::ALL {
            let one = |repeats, recency, age| of_one(family, parameters, repeats, recency, age);
            let sum = one(0, 0.0, 0.0)
                + 2.0 * one(0, 0.0, 38.9)
                + one(2, 30.4, 38.9)
                + one(1, 1.7, 38.9)
                + one(7, 29.4, 31.0)
                + one(2, 31.0, 31.0);
            let value = histories.log_likelihood(family, &parameters).value;
            assert!((value - sum).abs() < 1e-11, "{family:?}: {value} for {sum}");
        }
    }

    #[test]
    fn derivatives_are_what_differences_say() {
        let histories = some_histories();
        let parameters = [0.4, 5.0, 0.9, 2.1];
        for family in Family::ALL {
            let slope = histories.log_likelihood(family, &parameters);
            for i in 0..4 {
                let step = 1e-5 * parameters[i];
                let moved = |by: f64| {
                    let mut moved = parameters;
                    moved[i] += by;
                    histories.log_likelihood(family, &moved)
                };
                let (after, before) = (moved(step), moved(-step));
                let near = |mine: f64, difference: f64| (mine - difference / (2.0 * step)).abs() < 1e-6 * (1.0 + mine.abs());
                assert!(
                    near(slope.gradient[i], after.value - before.value),
                    "{family:?}, gradient {i}"
                );
                for j in 0..4 {
                    let difference = after.gradient[j] - before.gradient[j];
                    assert!(
                        near(slope.hessian[i][j], difference),
                        "{family:?}, Hessian {i} {j}: {}",
                        slope.hessian[i][j]
                    );
                }
            }
        }
    }

    #[test]
    fn a_sample_is_a_part_of_the_whole() {
        let sample = some_histories().thinned(3);
        assert_eq!(sample.different, 3);
        assert_eq!(some_histories().thinned(100).different, 6);
    }
}
