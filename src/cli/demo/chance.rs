//! Chance that falls the same way on every machine: integers only, since logarithms and their kin differ between math libraries.

use std::ops::RangeInclusive;

/// A stream of its own for each (seed, subject, number), so that anybody's life can be told without those before.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn of(seed: u64, subject: &str, number: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.update(&number.to_le_bytes());
        hasher.update(subject.as_bytes());
        let mut state = [0; 8];
        hasher.finalize_xof().fill(&mut state);
        Self(u64::from_le_bytes(state))
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `end`, `end` not included.
    pub fn below(&mut self, end: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(end)) >> 64).unwrap_or_default()
    }

    pub fn within(&mut self, range: RangeInclusive<i64>) -> i64 {
        let (from, to) = range.into_inner();
        from + i64::try_from(self.below(to.abs_diff(from) + 1)).unwrap_or_default()
    }

    pub fn percent(&mut self, chances: u64) -> bool {
        self.below(100) < chances
    }

    pub fn per_million(&mut self, chances: u64) -> bool {
        self.below(1_000_000) < chances
    }

    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.index(among.len())]
    }

    /// A place in a list of this length.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap_or(u64::MAX))).unwrap_or_default()
    }

    /// True with a chance of `chances` in a hundred, then what is made.
    pub fn maybe<T>(&mut self, chances: u64, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.percent(chances).then(|| make(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_falls_the_same_way_on_every_machine() {
        let draws = |seed, subject, number| {
            let mut chance = Chance::of(seed, subject, number);
            [chance.below(1000), chance.below(1000), chance.below(1000)]
        };
        // Written down once: another answer on another machine or after a change would be another company.
        assert_eq!(draws(1, "person", 7), [373, 20, 420]);
        assert_ne!(draws(1, "person", 7), draws(2, "person", 7));
        assert_ne!(draws(1, "person", 7), draws(1, "person", 8));
        assert_ne!(draws(1, "person", 7), draws(1, "life", 7));
    }

    #[test]
    fn every_value_of_a_range_is_drawn_and_none_beyond() {
        let mut chance = Chance::of(1, "range", 0);
        let drawn: std::collections::BTreeSet<i64> = (0..200).map(|_| chance.within(-2..=3)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [-2, -1, 0, 1, 2, 3]);
        let hits = (0..10_000).filter(|_| chance.percent(20)).count();
        assert!((1_800..2_200).contains(&hits), "{hits}");
    }
}
