//! What time does to a customer: a measure says what holds at an instant and when that may next change by itself, and whoever comes late
//! steps through each instant that was missed, in order. Pure.

use crate::base::Instant;

/// What holds at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged<V> {
    pub value: V,
    /// The next instant at which it may hold no more though nothing new is told; `None`: it holds until something is.
    pub next: Option<Instant>,
}

/// Something about one customer that facts and an instant decide. No clock, no chance.
pub trait Measure {
    type Facts: ?Sized;
    type Value: Clone + PartialEq;

    /// Facts may hold things later than `at`: they do not count yet, and are instants at which the value may change.
    fn evaluate(&self, facts: &Self::Facts, at: Instant) -> Judged<Self::Value>;
}

/// What became of a value until now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaughtUp<V> {
    /// Each change with its instant, and the value from then on; the last holds now.
    pub changes: Vec<(Instant, V)>,
    /// When to look again; later than now.
    pub next: Option<Instant>,
}

/// A measure that names an instant which is no later than the one it was asked about, or names too many: it would never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a measure does not come to an end")]
pub struct Stuck;

/// Two a day for a century, and beyond anything that means something.
const MAX_STEPS: usize = 100_000;

/// Judges the earliest instant at which something may have changed, then each later one that the measure names, up to `now`. `stored`: what
/// held before `from`.
pub fn catch_up<M: Measure>(
    measure: &M,
    facts: &M::Facts,
    stored: &M::Value,
    from: Instant,
    now: Instant,
) -> Result<CaughtUp<M::Value>, Stuck> {
    let mut changes: Vec<(Instant, M::Value)> = Vec::new();
    let mut at = from.min(now);
    for _ in 0..MAX_STEPS {
        let judged = measure.evaluate(facts, at);
        let before = changes.last().map_or(stored, |(_, value)| value);
        if *before != judged.value {
            changes.push((at, judged.value));
        }
        match judged.next {
            Some(next) if next <= at => return Err(Stuck),
            Some(next) if next <= now => at = next,
            next => return Ok(CaughtUp { changes, next }),
        }
    }
    Err(Stuck)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Instant {
        Instant::from_micros(micros)
    }

    /// Whether somebody came within the last ten.
    struct Awake;

    impl Measure for Awake {
        type Facts = [i64];
        type Value = bool;

        fn evaluate(&self, came: &[i64], now: Instant) -> Judged<bool> {
            let now = now.micros();
            let last = came.iter().filter(|came| **came <= now).max();
            let ends = last.map(|last| last + 10).filter(|end| *end > now);
            let later = came.iter().copied().filter(|came| *came > now);
            Judged {
                value: ends.is_some(),
                next: later.chain(ends).min().map(at),
            }
        }
    }

    #[test]
    fn an_interval_that_opened_and_closed_meanwhile_has_its_true_instants() {
        let caught_up = catch_up(&Awake, &[5, 30, 33], &false, at(5), at(100)).unwrap();
        let expected = vec![(at(5), true), (at(15), false), (at(30), true), (at(43), false)];
        assert_eq!(
            caught_up,
            CaughtUp {
                changes: expected,
                next: None
            }
        );
    }

    #[test]
    fn what_holds_is_no_change_and_its_end_is_the_next_instant() {
        let caught_up = catch_up(&Awake, &[5, 8], &true, at(8), at(9)).unwrap();
        assert_eq!(
            caught_up,
            CaughtUp {
                changes: Vec::new(),
                next: Some(at(18))
            }
        );
    }

    #[test]
    fn every_number_of_looks_tells_the_same_in_the_end() {
        let came = [3, 9, 25, 26, 60];
        let whole = catch_up(&Awake, &came, &false, at(0), at(200)).unwrap().changes;
        for seed in 1..50_i64 {
            let (mut told, mut from, mut value, mut now) = (Vec::new(), at(0), false, 0);
            while now < 200 {
                now = (now + 1 + (seed * 7 + now * 13) % 23).min(200);
                if from > at(now) {
                    continue;
                }
                let caught_up = catch_up(&Awake, &came, &value, from, at(now)).unwrap();
                value = caught_up.changes.last().map_or(value, |(_, value)| *value);
                told.extend(caught_up.changes);
                from = caught_up.next.unwrap_or(at(1000));
            }
            assert_eq!(told, whole, "{seed}");
        }
    }

    #[test]
    fn a_measure_that_does_not_move_on_is_refused() {
        struct Still;
        impl Measure for Still {
            type Facts = ();
            type Value = bool;
            fn evaluate(&self, (): &(), at: Instant) -> Judged<bool> {
                Judged {
                    value: true,
                    next: Some(at),
                }
            }
        }
        assert_eq!(catch_up(&Still, &(), &false, at(0), at(1)), Err(Stuck));
    }
}
