//! Messages that come by the hundred thousand, such as those of a file: in lanes beside each other, through the queue that every door
//! uses.
//!
//! Promises: messages of one record keep their order, since a record has one lane; what waits is bounded; a batch whose fate is unknown
//! is sent again, which changes nothing when it was stored. Two lanes can still want one customer: then one waits for the other's lock.

use super::Services;
use super::intake::{self, Delivery, Outcome};
use super::preview::preview;
use super::queue::{Intake, IntakeError, Receipt};
use super::records::{together, told};
use crate::base::{Kind, SourceId};
use crate::ingest::Message;
use crate::ingest::file::Seen;
use crate::store::StoreError;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often a batch is sent again while the database does not answer, and how long is waited between.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);

/// Of whom the messages are.
#[derive(Clone, Debug)]
pub struct Sender {
    pub source: SourceId,
    pub source_key: String,
    pub reviews_aliases: bool,
}

/// Rows on their way to one commit; `message.place` is the place of its row.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub messages: Vec<Message>,
    /// The line of each row.
    pub lines: Vec<u64>,
}

/// What became of the rows of a batch.
#[derive(Clone, Debug)]
pub struct RowReceipt {
    pub line: u64,
    pub receipt: Receipt,
}

/// Which lane takes the messages of a record.
pub fn lane_of(external_key: &str, lanes: usize) -> usize {
    let hash = external_key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % (lanes.max(1) as u64)).unwrap_or(0)
}

impl Batch {
    /// Adds a row.
    pub fn add(&mut self, line: u64, messages: Vec<Message>) {
        let place = self.lines.len();
        self.lines.push(line);
        self.messages
            .extend(messages.into_iter().map(|message| Message { place, ..message }));
    }

    fn delivery(&self, services: &Services, sender: &Sender) -> Delivery {
        Delivery {
            source_id: sender.source,
            source_key: sender.source_key.clone(),
            reviews_aliases: sender.reviews_aliases,
            received_at: services.now(),
            messages: self.messages.clone(),
            refused: Vec::new(),
            is_bulk: true,
        }
    }

    /// What became of each row, from what became of each message.
    fn receipts(&self, of_messages: impl IntoIterator<Item = Receipt>) -> Vec<RowReceipt> {
        let mut of_rows: Vec<Option<Receipt>> = vec![None; self.lines.len()];
        for (message, receipt) in self.messages.iter().zip(of_messages) {
            let of_row = &mut of_rows[message.place];
            *of_row = Some(match of_row.take() {
                None => told(receipt),
                Some(before) => together(before, told(receipt)),
            });
        }
        let rows = self.lines.iter().zip(of_rows);
        rows.map(|(line, receipt)| RowReceipt {
            line: *line,
            receipt: receipt.unwrap_or(Ok(Outcome::Duplicate)),
        })
        .collect()
    }
}

/// Stores a batch; answers when it is committed.
pub async fn store(services: &Services, intake: &Intake, sender: &Sender, batch: &Batch) -> Result<Vec<RowReceipt>, IntakeError> {
    let mut attempt = 1;
    loop {
        match intake.deliver(batch.delivery(services, sender)).await {
            Ok(delivered) => return Ok(batch.receipts(delivered.receipts)),
            Err(error) if attempt < ATTEMPTS && matches!(error.kind(), Kind::Unavailable | Kind::Overloaded) => {
                tracing::warn!(%error, attempt, "a batch is sent again");
                tokio::time::sleep(PAUSE).await;
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Messages that batches before would have stored: nothing was written, so the database cannot know them.
///
/// Exact, and in constant memory: 3.6 million messages as fingerprints of eight bytes (about 35 MB); of more, sorted fingerprints lie in
/// scratch files, eight bytes for each message.
#[derive(Clone, Default)]
pub struct TriedOut(Arc<Mutex<Seen>>);

/// Why a batch could not be tried out.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("remembering what would have been stored")]
    Scratch(#[from] io::Error),
}

impl TriedOut {
    /// What became of messages, given what would have been stored before: what comes a second time is known then.
    fn after(&self, services: &Services, messages: &[Message], outcomes: &mut [Outcome]) -> io::Result<()> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (message, outcome) in messages.iter().zip(outcomes) {
            if !matches!(outcome, Outcome::Accepted | Outcome::Held) {
                continue;
            }
            let key = intake::first_key(services, message);
            let mut hasher = blake3::Hasher::new();
            hasher.update(key.record.0.as_bytes()).update(key.id.0.as_bytes());
            if seen.count(hasher.finalize().as_bytes())? > 1 {
                *outcome = Outcome::Duplicate;
            }
        }
        Ok(())
    }
}

/// Asks what would become of a batch after those before it, and stores nothing.
pub async fn try_out(
    services: &Services,
    sender: &Sender,
    batch: &Batch,
    before: &TriedOut,
) -> Result<Vec<RowReceipt>, TrialError> {
    let deliveries = [batch.delivery(services, sender)];
    let previewed = preview(services, &deliveries, &[]).await?;
    let mut outcomes: Vec<Outcome> = previewed.outcomes.into_iter().flatten().collect();
    before.after(services, &batch.messages, &mut outcomes)?;
    Ok(batch.receipts(outcomes.into_iter().map(Ok)))
}

impl RowReceipt {
    /// Of a row that is no message.
    pub fn stored(line: u64, is_new: bool) -> Self {
        let outcome = if is_new { Outcome::Accepted } else { Outcome::Duplicate };
        Self {
            line,
            receipt: Ok(outcome),
        }
    }
}
