//! Special functions of the likelihoods. Log-gamma and digamma are the crate `statrs`, held in the tests against 50-digit values; it has
//! no trigamma, so that is here.

pub(super) use statrs::function::gamma::{digamma, ln_gamma};

/// Below this the argument is raised by the recurrence; from here on eight terms of the asymptotic series are exact to the last digit
/// or two.
const ASYMPTOTIC: f64 = 12.0;

/// The second derivative of log-gamma, for `x > 0` (Abramowitz and Stegun 6.4.6 and 6.4.12).
pub(super) fn trigamma(mut x: f64) -> f64 {
    let mut raised = 0.0;
    while x < ASYMPTOTIC {
        raised += 1.0 / (x * x);
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    /// Bernoulli numbers B2 to B16.
    const BERNOULLI: [f64; 8] = [
        1.0 / 6.0,
        -1.0 / 30.0,
        1.0 / 42.0,
        -1.0 / 30.0,
        5.0 / 66.0,
        -691.0 / 2730.0,
        7.0 / 6.0,
        -3617.0 / 510.0,
    ];
    let tail = BERNOULLI.iter().rev().fold(0.0, |sum, bernoulli| square * (bernoulli + sum));
    raised + inverse * (1.0 + 0.5 * inverse + tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with mpmath 1.4.1 at 50 digits: x, log-gamma, digamma, trigamma.
    const REFERENCES: [[f64; 4]; 16] = [
        [0.0001, 9.210282658633963, -10000.577051183514, 100000001.64469367],
        [0.03, 3.489971043442412, -33.86225442061877, 1112.6867360264796],
        [0.25, 1.2880225246980774, -4.2274535333762655, 17.19732915450711],
        [0.5, 0.5723649429247001, -1.9635100260214235, 4.934802200544679],
        [0.793, 0.15887133028636516, -0.9812143097443874, 2.330865851267949],
        [1.0, 0.0, -0.5772156649015329, 1.6449340668482264],
        [
            1.4616321449683622,
            -0.12148629053584961,
            -9.241265521729427e-17,
            0.9676722454476212,
        ],
        [2.0, 0.0, 0.42278433509846713, 0.6449340668482264],
        [2.426, 0.23400811688731624, 0.6662079149687963, 0.508471848480258],
        [3.75, 1.486815578593417, 1.1825373886117962, 0.3053398526902531],
        [11.5, 16.292000476567242, 2.3982391295357814, 0.09084666127454623],
        [12.25, 18.115669505710894, 2.464154655185369, 0.0850551429881632],
        [60.5, 186.57891783333784, 4.094356135733628, 0.016666280901697868],
        [3000.243, 21017.96400213746, 8.006281901944405, 0.00033336188824814475],
        [18750.5, 165731.21327503392, 9.838949031517075, 5.333333332069136e-05],
        [1000000.25, 12815508.023025157, 13.815510307964285, 1.0000002499999793e-06],
    ];

    #[test]
    fn they_agree_with_values_of_fifty_digits() {
        for [x, log_gamma, psi, psi1] in REFERENCES {
            let near = |mine: f64, reference: f64| (mine - reference).abs() <= 4e-14 * reference.abs().max(1.0);
            assert!(near(ln_gamma(x), log_gamma), "ln_gamma({x}) = {}", ln_gamma(x));
            assert!(near(digamma(x), psi), "digamma({x}) = {}", digamma(x));
            assert!(near(trigamma(x), psi1), "trigamma({x}) = {}", trigamma(x));
        }
    }
}
