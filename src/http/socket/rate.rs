//! How many messages a client may send: so many a second, after a burst. Pure.

/// How many seconds' worth may come at once: a page that loads begins all it wants together.
const BURST_SECONDS: f64 = 4.0;

#[derive(Debug)]
pub struct Rate {
    per_second: f64,
    left: f64,
    seen_at: f64,
}

impl Rate {
    pub fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self {
            per_second,
            left: per_second * BURST_SECONDS,
            seen_at: 0.0,
        }
    }

    /// Whether a message may come at this time, in seconds since the beginning.
    pub fn allows(&mut self, at: f64) -> bool {
        let gained = (at - self.seen_at).max(0.0) * self.per_second;
        self.left = (self.left + gained).min(self.per_second * BURST_SECONDS) - 1.0;
        self.seen_at = at;
        self.left >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_does_not() {
        let mut rate = Rate::new(2);
        assert!((0..8).all(|_| rate.allows(0.0)));
        assert!(!rate.allows(0.0));
        let mut rate = Rate::new(2);
        assert!(
            (0..1000).all(|n| rate.allows(f64::from(n) * 0.5)),
            "steadily, for as long as one likes"
        );
        // Rest does not add up to more than a burst.
        assert!((0..8).all(|_| rate.allows(1e9)));
        assert!(!rate.allows(1e9));
    }
}
