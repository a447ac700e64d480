//! Messages that come by the hundred thousand, such as those of a file: in lanes beside each other, through the queue that every door
//! uses.
//!
//! Promises: messages of one record keep their order, since a record has one lane; what waits is bounded; a batch whose fate is unknown
//! is sent again, which changes nothing when it was stored. Two lanes can still want one customer: then one waits for the other's lock.

use super::Services;
use super::intake::{Delivery, Outcome};
use super::preview::preview;
use super::queue::{Intake, IntakeError, Receipt};
use super::records::{together, told};
use crate::base::{Kind, SourceId};
use crate::ingest::Message;
use crate::store::StoreError;
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

/// Asks what would become of a batch, and stores nothing.
pub async fn try_out(services: &Services, sender: &Sender, batch: &Batch) -> Result<Vec<RowReceipt>, StoreError> {
    let deliveries = [batch.delivery(services, sender)];
    let previewed = preview(services, &deliveries, &[]).await?;
    Ok(batch.receipts(previewed.outcomes.into_iter().flatten().map(Ok)))
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
