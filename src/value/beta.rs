//! What a customer who is alive will buy, averaged over the unknown probability to stop.
//!
//! Given that probability p, the purchases of a customer with k = r + x within the time t are (1 - (1 + p w)^-k) / p on average, where
//! w = t / (alpha + T). Here is the mean of this over p from Beta(a, b), which the papers write with Gauss's hypergeometric function:
//!
//! c/(a-1) [1 - (1-z)^(a-1) 2F1(a-1, c-k; c; z)],  c = a + b - 1,  z = w / (1 + w)
//!
//! That form is infinity times zero for large k in its textbook version, and cancels near a = 1 and c = 0. Two others replace it:
//!
//! - k times the integral of (1-y)^(a-2) 2F1(c+1-(k+1), a; c+1; y) over y from 0 to z, term by term. The incomplete beta integrals of the
//!   terms come from their downward recurrence, in which everything is positive, so nothing cancels and nothing is singular.
//! - Where that series is long or alternates, the mean itself by quadrature.
//!
//! The tests hold both against 40-digit values; they agree to twelve digits.

use super::special::{digamma, trigamma};

/// Terms that the series may have. Beyond, quadrature is faster.
const LONGEST_SERIES: usize = 1024;
/// Larger first shapes need more terms than the length of the series is estimated for.
const LARGEST_SHAPE: f64 = 4.0;
/// The first parameter of the series may be this negative: its first terms alternate and cancel for so long.
const LOWEST_PARAMETER: f64 = -10.0;
/// The sum of the absolute terms over that of the terms: how many digits may be lost.
const WORST_CANCELLATION: f64 = 100.0;
/// Below this shape the quadrature follows the deviation from the value at the end where nearly everything lies.
const SMALL_SHAPE: f64 = 0.1;
/// The quadrature halves its step until two results agree to this.
const AGREEMENT: f64 = 1e-13;
const FINEST_STEP: f64 = 1.0 / 2048.0;

/// The mean of (1 - (1 + p w)^-k) / p over p from Beta(a, b): purchases of somebody alive.
pub(super) fn mean_purchases(a: f64, b: f64, k: f64, w: f64) -> f64 {
    if w <= 0.0 {
        return 0.0;
    }
    series(a, b, k, w).unwrap_or_else(|| quadrature(a, b, k, w))
}

/// The series; none where it would be long or inexact.
fn series(a: f64, b: f64, k: f64, w: f64) -> Option<f64> {
    let z = w / (1.0 + w);
    let log_rest = -w.ln_1p();
    let log_z = -(1.0 / w).ln_1p();
    // So many terms that z^n n^a is below the last digit.
    let length = ((42.0 + 7.0 * a) / -log_z).ceil();
    let (first, third) = (a + b - 1.0 - k, a + b);
    if a > LARGEST_SHAPE || first < LOWEST_PARAMETER || length > LONGEST_SERIES as f64 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and LONGEST_SERIES"
    )]
    let length = length.max(1.0) as usize;
    // f(n): coefficients of 2F1(a + b - 1 - k, a; a + b; y).
    let mut coefficients = [0.0; LONGEST_SERIES];
    let mut coefficient = 1.0;
    for (n, slot) in coefficients[..length].iter_mut().enumerate() {
        *slot = coefficient;
        let n = n as f64;
        coefficient *= (first + n) * (a + n) / ((third + n) * (n + 1.0));
    }
    // I(n), the integral of y^n (1-y)^(a-2) from 0 to z, from n I(n-1) = (n+a-1) I(n) + z^n (1-z)^(a-1).
    let rest = ((a - 1.0) * log_rest).exp();
    let mut power = (length as f64 * log_z).exp();
    let mut integral = power * z * rest * (1.0 + w) / (length as f64 + 1.0);
    let (mut sum, mut size) = (0.0, 0.0);
    for n in (1..=length).rev() {
        let order = n as f64;
        integral = ((order + a - 1.0) * integral + power * rest) / order;
        power /= z;
        let term = coefficients[n - 1] * integral;
        sum += term;
        size += term.abs();
    }
    (size <= WORST_CANCELLATION * sum && size.is_finite()).then_some(k * sum)
}

/// The mean by quadrature, for any shapes.
fn quadrature(a: f64, b: f64, k: f64, w: f64) -> f64 {
    let given = |p: f64| {
        let x = p * w;
        // To first order, before p itself runs out of digits.
        if x * (k + 1.0) < 1e-18 {
            k * w
        } else {
            -(-k * x.ln_1p()).exp_m1() / p
        }
    };
    mean(a, b, &given)
}

/// The mean of a smooth function over Beta(a, b).
fn mean(a: f64, b: f64, function: &dyn Fn(f64) -> f64) -> f64 {
    // Nearly all of Beta(a, b) lies where p is zero to any precision. What is missing to the value there, divided by p, is averaged over
    // Beta(a + 1, b), which is well behaved; likewise at the other end.
    if a < SMALL_SHAPE {
        let end = function(0.0);
        let missing = |p: f64| (end - function(p)) / p.max(1e-30);
        return end - a / (a + b) * mean(a + 1.0, b, &missing);
    }
    if b < SMALL_SHAPE {
        let end = function(1.0);
        let missing = |p: f64| {
            let rest = (1.0 - p).max(1e-7);
            (end - function(1.0 - rest)) / rest
        };
        return end - b / (a + b) * mean(a, b + 1.0, &missing);
    }
    mean_of_moderate_shapes(a, b, function)
}

/// Equal steps in s, where logit p = centre + width sinh s, so that both tails fall off doubly exponentially. Weights are summed beside
/// the values, so that no normalising constant is needed.
fn mean_of_moderate_shapes(a: f64, b: f64, function: &dyn Fn(f64) -> f64) -> f64 {
    let centre = digamma(a) - digamma(b);
    let width = (trigamma(a) + trigamma(b)).sqrt();
    let log_weight = |v: f64| {
        let small = (-v.abs()).exp().ln_1p();
        -a * ((-v).max(0.0) + small) - b * (v.max(0.0) + small)
    };
    let highest = log_weight((a / b).ln());
    let (mut weights, mut values) = (0.0, 0.0);
    let mut add = |s: f64| {
        let v = centre + width * s.sinh();
        let weight = (log_weight(v) - highest).exp() * s.cosh();
        if weight > 1e-30 {
            weights += weight;
            values += weight * function(1.0 / (1.0 + (-v).exp()));
        }
        (weights, values)
    };
    const REACH: f64 = 6.0;
    let mut step = 0.25;
    let mut result = f64::NAN;
    add(0.0);
    let mut first = step;
    let mut stride = step;
    loop {
        let mut s = first;
        let mut sums = add(s);
        add(-s);
        while s + stride <= REACH {
            s += stride;
            add(s);
            sums = add(-s);
        }
        let finer = sums.1 / sums.0;
        let agrees = (finer - result).abs() <= AGREEMENT * finer.abs();
        result = finer;
        if agrees || step <= FINEST_STEP {
            return result;
        }
        // The nodes between those that are there.
        step /= 2.0;
        (first, stride) = (step, 2.0 * step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made with mpmath 1.4.1 at 50 digits: a, b, k, w and the mean. The first ones sit where the usual forms fail: a = 1 and next to it,
    /// c = 0, tiny and huge shapes, thousands of purchases.
    const REFERENCES: [[f64; 5]; 34] = [
        [1.0, 2.0, 1.5, 0.7, 0.8294899766376346],
        [1.0000001, 2.4, 3.2, 5.0, 4.9867030158520445],
        [0.999999999, 3.0, 0.24, 0.5, 0.11186131955334924],
        [0.4, 0.6, 0.5, 2.0, 0.7031910756484088],
        [0.3, 0.2, 1.2, 1.0, 0.7822642597007494],
        [0.05, 30.0, 2.0, 3.0, 5.960041324592903],
        [0.03, 26.7, 12.5, 0.4, 4.9858313021743506],
        [0.79, 3002.4, 3000.243, 1.7, 3314.2083988604163],
        [0.79, 402.4, 400.243, 16.0, 1553.6903099840833],
        [6.0, 9.0, 0.3, 0.9, 0.22105695611012138],
        [40.0, 7.0, 2.2, 30.0, 1.1785986798260033],
        [2.0, 3.0, 150000.0, 0.001, 3.9210590432678796],
        [0.5, 0.5, 60.0, 0.5, 6.115001146799402],
        [0.001, 0.5, 2.0, 5.0, 9.966547035037332],
        [1e-05, 4.0, 1.0, 50.0, 49.9988556404198],
        [0.793, 2.426, 0.243, 1e-09, 2.4299999996279516e-10],
        [0.793, 2.426, 0.243, 1000.0, 11.485190837358324],
        [3.0, 0.0001, 5.0, 1.0, 0.9687897605733997],
        [
            0.020737960958658364,
            0.21034508917325243,
            33.484107420164,
            129.75725015353441,
            3375.3161426213646,
        ],
        [
            16.483815298782048,
            5.89939772540735,
            2.8634713696129426,
            0.009810582466037275,
            0.0277048625325314,
        ],
        [
            0.4358803353936969,
            0.14154654439151748,
            6.545832277178944,
            93.0114456632405,
            15.852289906351059,
        ],
        [
            0.08550504921605757,
            4.199004583263564,
            0.11181164985538004,
            1.0989123251409882,
            0.12156165448762962,
        ],
        [
            0.006411514123867103,
            4.632688851883568,
            180.24098306220435,
            166.6733055569392,
            28559.642113142145,
        ],
        [
            0.0863881861787165,
            25.094036111531413,
            65.51747771208669,
            0.012425281467713559,
            0.8129321179386068,
        ],
        [
            29.94499631153072,
            166.21796451465858,
            20.219756385777135,
            26.686385310135176,
            6.742545714137912,
        ],
        [
            0.006296871341950734,
            0.030449854439050225,
            1.0951179589211038,
            0.0008602452357476271,
            0.0009419246563716129,
        ],
        [
            81.96157219999473,
            84.1017676092028,
            3.128536625363657,
            0.0017373837529884755,
            0.005425861538519602,
        ],
        [
            30.205661157413264,
            0.07519696300379759,
            5.314112602585886,
            0.00010182878774123714,
            0.000540956157278881,
        ],
        [
            199.10373974608208,
            28.07419681697865,
            5.584072239578903,
            0.015853017599937697,
            0.08461351861737082,
        ],
        [
            3.718305097054479,
            86.7086524493109,
            213.49281700028124,
            1.029985867326456,
            31.78927080370326,
        ],
        [
            0.03525996789070315,
            0.15316037843016037,
            833.4796289519455,
            46.84362281080095,
            22400.116543665983,
        ],
        [
            10.111851729725192,
            0.1606838818817817,
            893.0278584626589,
            0.0015628301717541804,
            0.7587004837981881,
        ],
        [
            273.3714616175099,
            11.185842388437537,
            0.742953088289839,
            0.00034471303868867804,
            0.0002560317268733764,
        ],
        [
            1.8139666519133406,
            365.7488008281569,
            0.13213643860526755,
            0.019110718324468395,
            0.0025250874560213206,
        ],
    ];

    #[test]
    fn it_agrees_with_values_of_fifty_digits_wherever_it_is_asked() {
        for [a, b, k, w, reference] in REFERENCES {
            let mine = mean_purchases(a, b, k, w);
            assert!(
                (mine / reference - 1.0).abs() < 1e-12,
                "{mine} for {reference} at a = {a}, b = {b}, k = {k}, w = {w}"
            );
        }
    }

    #[test]
    fn the_two_forms_agree() {
        for [a, b, k, w, _] in REFERENCES {
            if let Some(sum) = series(a, b, k, w) {
                assert!(
                    (sum / quadrature(a, b, k, w) - 1.0).abs() < 1e-12,
                    "at a = {a}, b = {b}, k = {k}, w = {w}"
                );
            }
        }
    }

    #[test]
    fn nothing_to_wait_for_brings_nothing() {
        assert_eq!(mean_purchases(0.8, 2.4, 1.2, 0.0), 0.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        /// Nobody who may stop buys more than somebody who never does, and more time never brings less.
        #[test]
        fn it_lies_between_nothing_and_the_rate_of_who_never_stops(
            a in -5.0..5.0_f64, b in -5.0..8.0_f64, k in -4.0..8.0_f64, w in -8.0..6.0_f64
        ) {
            let (a, b, k, w) = (a.exp(), b.exp(), k.exp(), w.exp());
            let mean = mean_purchases(a, b, k, w);
            prop_assert!(mean > 0.0 && mean <= k * w * (1.0 + 1e-9), "{mean}");
            prop_assert!(mean_purchases(a, b, k, 1.5 * w) >= mean * (1.0 - 1e-12));
        }
    }
}
