//! How often a content came before in a file, exactly and in constant memory.
//!
//! A content and its count are one fingerprint of 64 bits in a set; the n-th occurrence is found by asking for the first, the second,
//! the fourth … and halving, so a content that comes a million times costs forty look-ups. When the set is full it is sorted into a
//! scratch file, where a fingerprint lies near its share of the file, and one read of a window finds it.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

/// Fingerprints held in memory, about 35 MB: just under where the set would grow.
const IN_MEMORY: usize = 3_600_000;
/// Fingerprints read at once around the expected place: about four standard deviations of it in a run of `IN_MEMORY`.
const WINDOW: usize = 4_096;

/// Fingerprints are evenly spread already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only whole numbers are hashed")
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// What a file has shown so far.
pub struct Seen {
    recent: HashSet<u64, BuildHasherDefault<AsIs>>,
    capacity: usize,
    runs: Vec<Run>,
}

/// Sorted fingerprints in a file that has no name any more.
struct Run {
    file: File,
    count: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self::with_capacity(IN_MEMORY)
    }
}

impl Seen {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            recent: HashSet::default(),
            capacity,
            runs: Vec::new(),
        }
    }

    /// Notes a content and answers its number among those alike, from 1.
    pub fn count(&mut self, content: &[u8; 32]) -> io::Result<u64> {
        let (mut known, mut unknown) = (0, 1);
        while self.has(fingerprint(content, unknown))? {
            known = unknown;
            unknown *= 2;
        }
        while known + 1 < unknown {
            let middle = known + (unknown - known) / 2;
            match self.has(fingerprint(content, middle))? {
                true => known = middle,
                false => unknown = middle,
            }
        }
        self.note(fingerprint(content, unknown))?;
        Ok(unknown)
    }

    fn has(&self, fingerprint: u64) -> io::Result<bool> {
        if self.recent.contains(&fingerprint) {
            return Ok(true);
        }
        for run in &self.runs {
            if run.has(fingerprint)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn note(&mut self, fingerprint: u64) -> io::Result<()> {
        self.recent.insert(fingerprint);
        if self.recent.len() >= self.capacity {
            let mut sorted: Vec<u64> = self.recent.drain().collect();
            sorted.sort_unstable();
            self.runs.push(Run::write(&sorted)?);
        }
        Ok(())
    }
}

impl Run {
    fn write(sorted: &[u64]) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        let mut buffer = Vec::with_capacity(8 * WINDOW);
        for chunk in sorted.chunks(WINDOW) {
            buffer.clear();
            buffer.extend(chunk.iter().flat_map(|fingerprint| fingerprint.to_le_bytes()));
            file.write_all(&buffer)?;
        }
        Ok(Self {
            file,
            count: sorted.len(),
        })
    }

    fn has(&self, fingerprint: u64) -> io::Result<bool> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let expected = usize::try_from((u128::from(fingerprint) * self.count as u128) >> 64).unwrap_or(0);
            // At the expected place first; where that missed, in the middle of what is left.
            let is_first = (low, high) == (0, self.count);
            let centre = if is_first { expected } else { low + (high - low) / 2 };
            let start = centre.saturating_sub(WINDOW / 2).max(low);
            let end = (start + WINDOW).min(high);
            let window = self.read(start, end)?;
            let (Some(first), Some(last)) = (window.first(), window.last()) else {
                return Ok(false);
            };
            if fingerprint < *first {
                high = start;
            } else if fingerprint > *last {
                low = end;
            } else {
                return Ok(window.binary_search(&fingerprint).is_ok());
            }
        }
        Ok(false)
    }

    fn read(&self, start: usize, end: usize) -> io::Result<Vec<u64>> {
        let mut bytes = vec![0; 8 * (end - start)];
        self.file.read_exact_at(&mut bytes, 8 * start as u64)?;
        let (whole, _) = bytes.as_chunks::<8>();
        Ok(whole.iter().map(|eight| u64::from_le_bytes(*eight)).collect())
    }
}

fn fingerprint(content: &[u8; 32], n: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(content);
    hasher.update(&n.to_le_bytes());
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn content(n: u64) -> [u8; 32] {
        *blake3::hash(&n.to_le_bytes()).as_bytes()
    }

    #[test]
    fn occurrences_are_counted_exactly_in_memory_and_beyond_it() {
        for capacity in [100_000, 700] {
            let mut seen = Seen::with_capacity(capacity);
            let mut expected: HashMap<u64, u64> = HashMap::new();
            for n in 0..20_000_u64 {
                // Some contents come once, some a hundred times.
                let which = if n % 3 == 0 { n % 7 } else { n };
                let count = expected.entry(which).or_insert(0);
                *count += 1;
                assert_eq!(seen.count(&content(which)).unwrap(), *count, "content {which}");
            }
            assert!(seen.recent.len() < capacity);
            assert_eq!(seen.runs.is_empty(), capacity == 100_000);
        }
    }

    #[test]
    fn a_long_run_is_found_by_windows() {
        let mut sorted: Vec<u64> = (0..50_000).map(|n| fingerprint(&content(n), 1)).collect();
        sorted.sort_unstable();
        let run = Run::write(&sorted).unwrap();
        assert!(sorted.iter().step_by(97).all(|known| run.has(*known).unwrap()));
        assert!((50_000..50_500).all(|n| !run.has(fingerprint(&content(n), 1)).unwrap()));
        assert!(!run.has(0).unwrap() && !run.has(u64::MAX).unwrap());
    }
}
