//! When work that failed is tried again.

use super::Instant;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// When what failed `attempts` times is tried again: four times later after each further attempt (5 s, 20 s, 80 s, 5 min, 21 min); `None`
/// when it has had all the attempts it may have.
pub fn next_attempt(attempts: i64, allowed: i64, now: Instant) -> Option<Instant> {
    if attempts >= allowed {
        return None;
    }
    let earlier = u32::try_from(attempts - 1).unwrap_or(0);
    Some(now.plus(FIRST_PAUSE * 4_u32.pow(earlier)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_attempts_end() {
        let now = Instant::from_micros(0);
        let pauses = |allowed: i64| -> Vec<Option<i64>> {
            let next = |attempts| next_attempt(attempts, allowed, now).map(|at| at.micros() / 1_000_000);
            (1..=allowed).map(next).collect()
        };
        assert_eq!(pauses(5), [Some(5), Some(20), Some(80), Some(320), None]);
        assert_eq!(pauses(6), [Some(5), Some(20), Some(80), Some(320), Some(1280), None]);
    }
}
