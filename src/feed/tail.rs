//! A reader that stays: it waits where the log ends, and says from time to time that it is there.

use super::cursor::Place;
use super::read::FeedError;
use super::reader::{Batch, Reader};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;

/// A reader with its patience. While it waits it costs a timer and a place in a list.
pub struct Tail {
    reader: Reader,
    heads: watch::Receiver<Place>,
    size: usize,
    heartbeat: Duration,
    has_told: bool,
}

impl Tail {
    /// `heads` was asked for before the reader was given its place. At most `size` changes come at once, and an empty batch when none came
    /// for so long.
    pub fn new(reader: Reader, heads: watch::Receiver<Place>, size: usize, heartbeat: Duration) -> Self {
        Self {
            reader,
            heads,
            size,
            heartbeat,
            has_told: false,
        }
    }

    pub fn place(&self) -> Place {
        self.reader.place()
    }

    /// The next changes, or an empty batch: the first time at once, later as a heartbeat.
    pub async fn next(&mut self) -> Result<Batch, FeedError> {
        let mut heartbeat = pin!(tokio::time::sleep(self.heartbeat));
        loop {
            // Before reading, so that nothing is missed between reading and waiting.
            self.heads.borrow_and_update();
            let batch = self.reader.next(self.size).await?;
            if !batch.entries.is_empty() || heartbeat.is_elapsed() || !self.has_told && batch.caught_up {
                self.has_told = true;
                return Ok(batch);
            }
            if batch.caught_up {
                tokio::select! {
                    announced = self.heads.changed() => if announced.is_err() { return Ok(batch) },
                    () = &mut heartbeat => {}
                }
            }
        }
    }
}
