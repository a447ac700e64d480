//! The latest rows of the log in memory, so that many readers at its end share one look at the database.
//!
//! Promises: it holds every row behind `base` and nothing before; it stays within bounds of rows, bytes and age. Rows age out within
//! seconds, so that what an erasure redacts in the database does not live on here.

use super::row::Row;
use crate::base::Stopwatch;
use std::collections::VecDeque;
use std::sync::Arc;

const MAX_ROWS: usize = 16_384;
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Readers at the end of the log take rows within milliseconds.
const MAX_AGE_SECONDS: f64 = 5.0;

#[derive(Debug, Default)]
pub struct Ring {
    /// Every row of a higher position is here.
    base: i64,
    rows: VecDeque<Arc<Row>>,
    bytes: usize,
    /// Up to which position was read when.
    read: VecDeque<(i64, Stopwatch)>,
}

impl Ring {
    /// Forgets everything; what comes next begins behind this position.
    pub fn reset(&mut self, base: i64) {
        *self = Self { base, ..Self::default() };
    }

    pub fn push(&mut self, rows: &[Arc<Row>]) {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return;
        };
        // A look that failed half-way is repeated.
        while self
            .rows
            .back()
            .is_some_and(|row| (row.position, row.n) >= (first.position, first.n))
        {
            let row = self.rows.pop_back().expect("it has a back");
            self.bytes -= row.size;
        }
        self.bytes += rows.iter().map(|row| row.size).sum::<usize>();
        self.rows.extend(rows.iter().cloned());
        self.read.push_back((last.position, Stopwatch::start()));
        self.trim();
    }

    /// Lets go of what is old or too much.
    pub fn trim(&mut self) {
        let mut upto = self.base;
        while let Some((position, watch)) = self.read.front().copied()
            && (watch.seconds() > MAX_AGE_SECONDS || self.read.len() > MAX_ROWS)
        {
            upto = position;
            self.read.pop_front();
        }
        let (mut rows, mut bytes) = (self.rows.len(), self.bytes);
        for row in &self.rows {
            if rows <= MAX_ROWS && bytes <= MAX_BYTES {
                break;
            }
            upto = upto.max(row.position);
            (rows, bytes) = (rows - 1, bytes - row.size);
        }
        while self.rows.front().is_some_and(|row| row.position <= upto) {
            let row = self.rows.pop_front().expect("it has a front");
            self.bytes -= row.size;
        }
        self.base = upto;
    }

    /// The rows from row `n` of the transaction at `position` up to `head`, at most so many; `None` when it does not reach back so far.
    pub fn rows_from(&self, position: i64, n: u32, head: i64, limit: usize) -> Option<Vec<Arc<Row>>> {
        if position <= self.base {
            return None;
        }
        let first = self.rows.partition_point(|row| (row.position, row.n) < (position, n));
        let is_there = |row: &Arc<Row>| (row.position, row.n) == (position, n);
        if position <= head && !self.rows.get(first).is_some_and(is_there) {
            return None;
        }
        let rows = self.rows.range(first..).take_while(|row| row.position <= head);
        Some(rows.take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Instant;
    use uuid::Uuid;

    fn row(position: i64, n: u32, count: u32, size: usize) -> Arc<Row> {
        Arc::new(Row {
            position,
            transaction: Uuid::nil(),
            recorded_at: Instant::from_micros(0),
            actor: "cli".into(),
            n,
            count,
            body: None,
            size,
        })
    }

    fn places(rows: Option<Vec<Arc<Row>>>) -> Option<Vec<(i64, u32)>> {
        Some(rows?.iter().map(|row| (row.position, row.n)).collect())
    }

    #[test]
    fn it_answers_only_where_it_has_everything() {
        let mut ring = Ring::default();
        ring.reset(5);
        ring.push(&[row(6, 0, 2, 1), row(6, 1, 2, 1), row(7, 0, 1, 1)]);
        assert_eq!(places(ring.rows_from(5, 0, 7, 9)), None);
        assert_eq!(places(ring.rows_from(6, 0, 7, 9)), Some(vec![(6, 0), (6, 1), (7, 0)]));
        assert_eq!(places(ring.rows_from(6, 1, 7, 1)), Some(vec![(6, 1)]));
        assert_eq!(places(ring.rows_from(6, 0, 6, 9)), Some(vec![(6, 0), (6, 1)]));
        assert_eq!(places(ring.rows_from(8, 0, 7, 9)), Some(Vec::new()));
        // Behind the last row of a transaction: the database says what follows.
        assert_eq!(places(ring.rows_from(6, 2, 7, 9)), None);
        ring.push(&[row(7, 0, 1, 1), row(8, 0, 1, 1)]);
        assert_eq!(places(ring.rows_from(6, 1, 9, 9)), Some(vec![(6, 1), (7, 0), (8, 0)]));
    }

    #[test]
    fn it_forgets_whole_transactions_when_it_grows_too_large() {
        let mut ring = Ring::default();
        ring.push(&[row(1, 0, 2, MAX_BYTES / 2), row(1, 1, 2, MAX_BYTES / 2)]);
        ring.push(&[row(2, 0, 1, 10)]);
        assert_eq!(places(ring.rows_from(1, 1, 2, 9)), None);
        assert_eq!(places(ring.rows_from(2, 0, 2, 9)), Some(vec![(2, 0)]));
        assert_eq!(ring.bytes, 10);
        let many: Vec<_> = (3..).take(MAX_ROWS + 5).map(|position| row(position, 0, 1, 1)).collect();
        ring.push(&many);
        assert_eq!((ring.rows.len(), ring.base), (MAX_ROWS, 7));
    }
}
