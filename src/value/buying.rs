//! How often somebody buys, and whether they still do: BG/NBD and MBG/NBD.
//!
//! While alive, a customer buys at random moments at a rate of their own, and the rates are gamma distributed over customers (`r`,
//! `alpha`). A customer may stop for good right after a purchase, with a probability of their own, beta distributed (`a`, `b`). In
//! BG/NBD (Fader, Hardie and Lee 2005, Marketing Science 24(2)) only a repeat purchase can be the last; in MBG/NBD (Batislam, Denizel and
//! Filiztekin 2007; Hoppe and Wagner 2007) the first can be, too. So BG/NBD holds everybody who bought once for alive.

use super::beta::mean_purchases;
use super::history::History;

/// Which purchases can be the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// A repeat purchase.
    BgNbd,
    /// Any purchase.
    MbgNbd,
}

/// A model of buying with its parameters, all positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Buying {
    pub family: Family,
    /// Shape of the purchase rates: the smaller, the more customers differ.
    pub r: f64,
    /// Rate of the purchase rates, in the unit of time of the histories.
    pub alpha: f64,
    /// Shapes of the probabilities to stop: `a / (a + b)` is their mean.
    pub a: f64,
    pub b: f64,
}

/// Steps of the integral in [`Buying::discounted`]: so many agree with the references to nine digits.
const DISCOUNT_NODES: i32 = 120;

impl Family {
    pub const ALL: [Self; 2] = [Self::BgNbd, Self::MbgNbd];

    /// The name in files and reports.
    pub fn key(self) -> &'static str {
        match self {
            Self::BgNbd => "bg_nbd",
            Self::MbgNbd => "mbg_nbd",
        }
    }

    /// How many purchases could have been the last and were not, the last one left out: x of BG/NBD, x + 1 of MBG/NBD.
    pub(super) fn survived(self, repeats: u32) -> f64 {
        match self {
            Self::BgNbd => f64::from(repeats),
            Self::MbgNbd => f64::from(repeats) + 1.0,
        }
    }
}

impl Buying {
    pub fn new(family: Family, [r, alpha, a, b]: [f64; 4]) -> Self {
        Self { family, r, alpha, a, b }
    }

    /// r, alpha, a, b.
    pub fn parameters(&self) -> [f64; 4] {
        [self.r, self.alpha, self.a, self.b]
    }

    /// The probability that somebody with this history will buy again at some time. The quotient of the two branches of the likelihood,
    /// in logarithms.
    pub fn probability_alive(&self, history: &History) -> f64 {
        let survived = self.family.survived(history.repeats());
        if survived == 0.0 {
            return 1.0;
        }
        let k = self.r + f64::from(history.repeats());
        let silence = (history.age() - history.recency()) / (self.alpha + history.recency());
        let odds_against = self.a.ln() - (self.b + survived - 1.0).ln() + k * silence.ln_1p();
        1.0 / (1.0 + odds_against.exp())
    }

    /// Purchases expected in the time `horizon` after the end of the observation.
    pub fn expected_purchases(&self, history: &History, horizon: f64) -> f64 {
        self.probability_alive(history) * self.expected_if_alive(history.repeats(), history.age(), horizon)
    }

    /// The same for somebody known to be alive. It does not depend on when the last purchase was, so a sum over many customers needs it
    /// once for each number of repeats and each age.
    pub fn expected_if_alive(&self, repeats: u32, age: f64, horizon: f64) -> f64 {
        let k = self.r + f64::from(repeats);
        mean_purchases(
            self.a,
            self.b + self.family.survived(repeats),
            k,
            horizon / (self.alpha + age),
        )
    }

    /// The probability that somebody with this history is still a customer in the time `horizon` after the end of the observation.
    ///
    /// Alive with the probability p to stop, they stay with (1 + p w)^-k, w = horizon / (alpha + T), on average over their rate. One less
    /// that, averaged over p from Beta(a, b), is a / (a + b) times the mean of (1 - (1 + p w)^-k) / p over Beta(a + 1, b).
    pub fn probability_alive_after(&self, history: &History, horizon: f64) -> f64 {
        let b = self.b + self.family.survived(history.repeats());
        let k = self.r + f64::from(history.repeats());
        let gone = self.a / (self.a + b) * mean_purchases(self.a + 1.0, b, k, horizon / (self.alpha + history.age()));
        self.probability_alive(history) * (1.0 - gone).clamp(0.0, 1.0)
    }

    /// Purchases of a new customer, the first one left out, in the time `horizon` after it.
    pub fn expected_of_a_new_customer(&self, horizon: f64) -> f64 {
        self.expected_purchases(&History::NEW, horizon)
    }

    /// All purchases to come, a purchase after the time t counting e^(-`rate` t): the discounted expected residual transactions (DERT) of
    /// Fader, Hardie and Lee. The integral of rate e^(-rate t) E(t) over t, with rate t = e^(pi/2 sinh v) in equal steps of v.
    pub fn discounted(&self, history: &History, rate: f64) -> f64 {
        const REACH: f64 = 3.2;
        let step = 2.0 * REACH / f64::from(DISCOUNT_NODES);
        let half_pi = std::f64::consts::FRAC_PI_2;
        let mut sum = 0.0;
        for node in 0..=DISCOUNT_NODES {
            let v = f64::from(node) * step - REACH;
            let waited = (half_pi * v.sinh()).exp();
            let weight = (-waited).exp() * waited * half_pi * v.cosh();
            if weight > 1e-18 {
                sum += weight * self.expected_if_alive(history.repeats(), history.age(), waited / rate);
            }
        }
        self.probability_alive(history) * sum * step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_purchase_says_nothing_in_one_family_and_fades_in_the_other() {
        let parameters = [0.5, 6.0, 0.9, 1.6];
        let after = |age| History::new(0, 0.0, age).unwrap();
        let (bg, mbg) = (
            Buying::new(Family::BgNbd, parameters),
            Buying::new(Family::MbgNbd, parameters),
        );
        assert_eq!(bg.probability_alive(&after(500.0)), 1.0);
        assert!((mbg.probability_alive(&after(0.0)) - 1.6 / 2.5).abs() < 1e-15);
        assert!(mbg.probability_alive(&after(500.0)) < 0.2);
    }

    #[test]
    fn who_stays_is_what_purchases_to_come_grow_by() {
        // The integral of (1 + p w)^-k p^(a-1) (1-p)^(b-1) by the midpoint rule, in p = u^2 so that nothing is steep.
        for (family, history) in [
            (Family::BgNbd, History::new(3, 20.0, 30.0).unwrap()),
            (Family::MbgNbd, History::new(0, 0.0, 30.0).unwrap()),
        ] {
            let model = Buying::new(family, [0.5, 6.0, 0.9, 1.6]);
            let (b, k) = (1.6 + family.survived(history.repeats()), 0.5 + f64::from(history.repeats()));
            let w = 52.0 / 36.0;
            let (mut kept, mut all) = (0.0, 0.0);
            for i in 0..1_000_000_u32 {
                let u = (f64::from(i) + 0.5) / 1e6;
                let p = u * u;
                let weight = p.powf(0.9 - 1.0) * (1.0 - p).powf(b - 1.0) * 2.0 * u;
                all += weight;
                kept += weight * (1.0 + p * w).powf(-k);
            }
            let expected = model.probability_alive(&history) * kept / all;
            let found = model.probability_alive_after(&history, 52.0);
            assert!(
                (found / expected - 1.0).abs() < 1e-6,
                "{family:?}: {found}, expected {expected}"
            );
            assert_eq!(
                model.probability_alive_after(&history, 0.0),
                model.probability_alive(&history)
            );
        }
    }

    #[test]
    fn no_time_brings_no_purchase() {
        let model = Buying::new(Family::BgNbd, [0.24, 4.4, 0.79, 2.4]);
        assert_eq!(model.expected_purchases(&History::NEW, 0.0), 0.0);
    }
}
