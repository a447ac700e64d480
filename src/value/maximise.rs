//! The summit of a smooth function of a few positive parameters, by Newton's method with damping, in the logarithms of the parameters.
//!
//! Promises: a parameter stays between e^-12 and e^12, and one that the function does not determine is told; every step taken is upwards.

/// Logarithms of parameters stay within plus and minus this. Beyond, likelihoods of this kind are flat.
const EDGE: f64 = 12.0;
/// A logarithm moves by at most this in a step: from a bad start the quadratic picture misleads.
const LONGEST_STEP: f64 = 2.0;
/// With a larger standard error of its logarithm a parameter is not determined: where a function rises for ever towards zero, the climb
/// ends somewhere on the way, and the error is in the hundreds.
const VAGUE: f64 = 5.0;
const MOST_STEPS: u32 = 200;
/// A summit is where the quadratic picture promises less than this part of the function's value.
const PROMISE: f64 = 1e-13;

/// A function with its derivatives at a point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slope<const N: usize> {
    pub value: f64,
    pub gradient: [f64; N],
    /// Symmetric.
    pub hessian: [[f64; N]; N],
}

/// Where the climb ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summit<const N: usize> {
    /// The parameters themselves.
    pub parameters: [f64; N],
    pub value: f64,
    /// Length of the gradient with regard to the logarithms.
    pub gradient_norm: f64,
    pub iterations: u32,
    /// Which parameters stand at an edge of what is allowed, or where it hardly matters by how many orders of magnitude they move.
    pub undetermined: [bool; N],
    /// Inverse of the negative Hessian with regard to the logarithms; none where the function is not curved downwards.
    pub covariance: Option<[[f64; N]; N]>,
    /// The gradient is gone, the function is curved downwards, and every parameter is determined.
    pub converged: bool,
}

impl<const N: usize> Slope<N> {
    pub fn zero() -> Self {
        Self {
            value: 0.0,
            gradient: [0.0; N],
            hessian: [[0.0; N]; N],
        }
    }

    /// The same with regard to the logarithms of the parameters.
    fn in_logarithms(mut self, parameters: &[f64; N]) -> Self {
        for i in 0..N {
            self.gradient[i] *= parameters[i];
            for j in 0..N {
                self.hessian[i][j] *= parameters[i] * parameters[j];
            }
            self.hessian[i][i] += self.gradient[i];
        }
        self
    }
}

/// Climbs from `start`. `function` takes parameters and answers the derivatives with regard to them.
pub(super) fn maximise<const N: usize>(start: [f64; N], mut function: impl FnMut(&[f64; N]) -> Slope<N>) -> Summit<N> {
    let mut at = start.map(|parameter| parameter.ln().clamp(-EDGE, EDGE));
    let mut evaluate = |at: &[f64; N]| {
        let parameters = at.map(f64::exp);
        function(&parameters).in_logarithms(&parameters)
    };
    let mut here = evaluate(&at);
    let mut damping = 0.0;
    let mut iterations = 0;
    while iterations < MOST_STEPS {
        let held = held_by_edge(&at, &here.gradient);
        let Some((step, promise)) = damped_step(&here, &held, damping) else {
            damping = stronger(damping);
            continue;
        };
        let is_last = promise <= PROMISE * (1.0 + here.value.abs());
        iterations += 1;
        let mut next = at;
        let longest = step.iter().fold(0.0_f64, |longest, part| longest.max(part.abs()));
        let scale = if longest > LONGEST_STEP { LONGEST_STEP / longest } else { 1.0 };
        for i in 0..N {
            next[i] = (at[i] + scale * step[i]).clamp(-EDGE, EDGE);
        }
        let there = evaluate(&next);
        if is_last {
            // What the step gains is below the precision of the value; the gradient still tells whether it came closer.
            if length(&there.gradient) < length(&here.gradient) {
                (at, here) = (next, there);
            }
            break;
        }
        if there.value > here.value {
            (at, here) = (next, there);
            damping = if damping < 1e-9 { 0.0 } else { damping / 10.0 };
        } else if damping > 1e12 {
            // No step up is left within the precision of the numbers.
            break;
        } else {
            damping = stronger(damping);
        }
    }
    let gradient_norm = length(&here.gradient);
    let covariance = inverse(&negated(&here.hessian));
    let is_vague = |i: usize| covariance.is_some_and(|matrix| matrix[i][i] > VAGUE * VAGUE);
    let undetermined = std::array::from_fn(|i| at[i].abs() >= EDGE || is_vague(i));
    let is_flat = gradient_norm <= 1e-8 * (1.0 + here.value.abs());
    Summit {
        parameters: at.map(f64::exp),
        value: here.value,
        gradient_norm,
        iterations,
        undetermined,
        covariance,
        converged: is_flat && covariance.is_some() && !undetermined.contains(&true),
    }
}

fn length<const N: usize>(vector: &[f64; N]) -> f64 {
    vector.iter().map(|part| part * part).sum::<f64>().sqrt()
}

fn stronger(damping: f64) -> f64 {
    (damping * 10.0).max(1e-6)
}

/// Parameters at an edge with the function rising beyond it.
fn held_by_edge<const N: usize>(at: &[f64; N], gradient: &[f64; N]) -> [bool; N] {
    std::array::from_fn(|i| at[i].abs() >= EDGE && gradient[i] * at[i] > 0.0)
}

/// The step towards the summit of the quadratic picture and what it promises to gain; none where the picture has no summit yet.
fn damped_step<const N: usize>(here: &Slope<N>, held: &[bool; N], damping: f64) -> Option<([f64; N], f64)> {
    let mut matrix = negated(&here.hessian);
    let mut gradient = here.gradient;
    let size = (0..N).map(|i| matrix[i][i].abs()).fold(1e-300, f64::max);
    for i in 0..N {
        matrix[i][i] += damping * size;
        if held[i] {
            matrix[i] = [0.0; N];
            matrix.iter_mut().for_each(|row| row[i] = 0.0);
            matrix[i][i] = size;
            gradient[i] = 0.0;
        }
    }
    let factor = cholesky(&matrix);
    if factor.is_none() && damping > 1e15 {
        return Some(([0.0; N], 0.0));
    }
    let step = solve(&factor?, &gradient);
    let promise = 0.5 * (0..N).map(|i| step[i] * gradient[i]).sum::<f64>();
    Some((step, promise))
}

fn negated<const N: usize>(matrix: &[[f64; N]; N]) -> [[f64; N]; N] {
    matrix.map(|row| row.map(|entry| -entry))
}

/// The lower triangle whose square the matrix is; none unless the matrix is clearly positive definite.
fn cholesky<const N: usize>(matrix: &[[f64; N]; N]) -> Option<[[f64; N]; N]> {
    let mut lower = [[0.0; N]; N];
    for i in 0..N {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
            let rest = matrix[i][j] - known;
            if i != j {
                lower[i][j] = rest / lower[j][j];
            } else if rest > 1e-13 * matrix[i][i].abs() {
                lower[i][i] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    Some(lower)
}

fn solve<const N: usize>(lower: &[[f64; N]; N], right: &[f64; N]) -> [f64; N] {
    let mut x = *right;
    for i in 0..N {
        let known: f64 = (0..i).map(|k| lower[i][k] * x[k]).sum();
        x[i] = (x[i] - known) / lower[i][i];
    }
    for i in (0..N).rev() {
        let known: f64 = (i + 1..N).map(|k| lower[k][i] * x[k]).sum();
        x[i] = (x[i] - known) / lower[i][i];
    }
    x
}

fn inverse<const N: usize>(matrix: &[[f64; N]; N]) -> Option<[[f64; N]; N]> {
    let lower = cholesky(matrix)?;
    Some(std::array::from_fn(|i| {
        let mut unit = [0.0; N];
        unit[i] = 1.0;
        solve(&lower, &unit)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// -(ln x - 1)^2 - (ln y + 2)^2 - (ln x - 1)(ln y + 2), with derivatives in x and y.
    fn hill([x, y]: &[f64; 2]) -> Slope<2> {
        let (u, v) = (x.ln() - 1.0, y.ln() + 2.0);
        let (du, dv) = (-2.0 * u - v, -2.0 * v - u);
        Slope {
            value: -u * u - v * v - u * v,
            gradient: [du / x, dv / y],
            hessian: [
                [(-2.0 - du) / (x * x), -1.0 / (x * y)],
                [-1.0 / (x * y), (-2.0 - dv) / (y * y)],
            ],
        }
    }

    #[test]
    fn a_hill_is_climbed_to_its_top() {
        let summit = maximise([900.0, 50.0], hill);
        assert!(summit.converged);
        assert!((summit.parameters[0] - 1f64.exp()).abs() < 1e-9);
        assert!((summit.parameters[1] - (-2f64).exp()).abs() < 1e-9);
        let covariance = summit.covariance.unwrap();
        assert!((covariance[0][0] - 2.0 / 3.0).abs() < 1e-9 && (covariance[0][1] + 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_slope_without_a_top_ends_at_the_edge_and_says_so() {
        let summit = maximise([1.0], |[x]| Slope {
            value: x.ln(),
            gradient: [1.0 / x],
            hessian: [[-1.0 / (x * x)]],
        });
        assert_eq!(summit.undetermined, [true]);
        assert!(!summit.converged);
    }
}
