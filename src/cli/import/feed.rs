//! Rows from the thread that reads them to the commits, and what became of them back.

use super::arrival;
use super::report::{Counts, ErrorFile, Progress};
use crate::access::Actor;
use crate::ingest::Limits;
use crate::ingest::file::reader::Around;
use crate::ingest::file::{Entry, FileFault, FileReader, RowRefused};
use crate::pipeline::Services;
use crate::pipeline::import::{Batch, RowReceipt, Sender, TriedOut, lane_of, store, try_out};
use crate::pipeline::queue::Intake;
use crate::value::inputs::{self, Input};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Counts what is read of a stream.
pub(super) struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    pub(super) fn new(inner: R, bytes: Arc<AtomicU64>) -> Self {
        Self { inner, bytes }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(into)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Feeds one file.
pub(super) struct Feeder<'a> {
    pub services: &'a Services,
    pub sender: Sender,
    pub limits: Limits,
    pub protected_traits: Arc<[String]>,
    /// In a dry run, what would have been stored so far.
    pub tried_out: Option<TriedOut>,
    /// Rows of one commit.
    pub batch: usize,
    pub lanes: usize,
    pub progress: &'a Progress,
}

/// What the reading thread and the lanes tell.
enum News {
    Refused(RowRefused),
    Done(Vec<RowReceipt>),
    Failed(anyhow::Error),
}

/// Rates or spend of one commit.
type Inputs = Vec<(u64, Input)>;

impl Feeder<'_> {
    /// Rows that are about people.
    pub(super) async fn people(&self, reader: FileReader<'static>, intake: &Intake, errors: ErrorFile) -> anyhow::Result<Counts> {
        let (news, told) = mpsc::channel(4);
        let mut senders = Vec::new();
        for _ in 0..self.lanes {
            // One batch waits while another is committed: enough to keep a lane busy.
            let (sender, batches) = mpsc::channel(1);
            senders.push(sender);
            tokio::spawn(self.lane(batches, intake.clone(), news.clone()));
        }
        let reading = self.reading();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = reading.people(reader, &senders, &news) {
                // Whoever listened has given up already.
                let _ = news.blocking_send(News::Failed(error.into()));
            }
        });
        self.listen(told, errors).await
    }

    fn lane(
        &self,
        mut batches: mpsc::Receiver<Batch>,
        intake: Intake,
        news: mpsc::Sender<News>,
    ) -> impl Future<Output = ()> + use<> {
        let (services, sender, tried_out) = (self.services.clone(), self.sender.clone(), self.tried_out.clone());
        async move {
            while let Some(batch) = batches.recv().await {
                let done = match &tried_out {
                    Some(before) => try_out(&services, &sender, &batch, before).await.map_err(anyhow::Error::from),
                    None => store(&services, &intake, &sender, &batch).await.map_err(anyhow::Error::from),
                };
                let (told, failed) = match done {
                    Ok(receipts) => (News::Done(receipts), false),
                    Err(error) => (News::Failed(error), true),
                };
                if news.send(told).await.is_err() || failed {
                    return;
                }
            }
        }
    }

    /// Rows that are rates or spend.
    pub(super) async fn tables(&self, reader: FileReader<'static>, errors: ErrorFile) -> anyhow::Result<Counts> {
        let (news, told) = mpsc::channel(4);
        let (batches, mut received) = mpsc::channel::<Inputs>(1);
        let reading = self.reading();
        let of_reader = news.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = reading.tables(reader, &batches, &of_reader) {
                let _ = of_reader.blocking_send(News::Failed(error.into()));
            }
        });
        let (services, source, dry_run) = (self.services.clone(), self.sender.source, self.tried_out.is_some());
        tokio::spawn(async move {
            let actor = Actor::cli();
            while let Some(batch) = received.recv().await {
                let rows: Vec<Input> = batch.iter().map(|(_, input)| input.clone()).collect();
                let stored = inputs::import(&services.store, services.now(), &actor, source, &rows, dry_run).await;
                let lines = batch.iter().map(|(line, _)| *line);
                let done = match stored {
                    Ok(outcomes) => News::Done(
                        lines
                            .zip(outcomes)
                            .map(|(line, is_new)| RowReceipt::stored(line, is_new))
                            .collect(),
                    ),
                    Err(error) => News::Failed(error.into()),
                };
                let failed = matches!(done, News::Failed(_));
                if news.send(done).await.is_err() || failed {
                    return;
                }
            }
        });
        self.listen(told, errors).await
    }

    fn reading(&self) -> Reading {
        Reading {
            services: self.services.clone(),
            sender: self.sender.clone(),
            limits: self.limits,
            protected_traits: self.protected_traits.clone(),
            batch: self.batch,
        }
    }

    async fn listen(&self, mut told: mpsc::Receiver<News>, mut errors: ErrorFile) -> anyhow::Result<Counts> {
        let mut counts = Counts::default();
        while let Some(news) = told.recv().await {
            let before = counts.rows();
            match news {
                News::Refused(refused) => {
                    counts.refused += 1;
                    errors.write(&refused)?;
                }
                News::Done(receipts) => {
                    for receipt in receipts {
                        counts.count(&receipt);
                        if let Err(refusal) = receipt.receipt {
                            errors.write(&RowRefused {
                                line: receipt.line,
                                refusal,
                            })?;
                        }
                    }
                }
                News::Failed(error) => {
                    return Err(error.context(format!(
                        "stopped after {counts}: import the file again, nothing is stored twice"
                    )));
                }
            }
            self.progress.passed(before, &counts);
        }
        if let Some(path) = errors.finish()? {
            self.progress.errors(&path);
        }
        Ok(counts)
    }
}

/// What the reading thread knows.
struct Reading {
    services: Services,
    sender: Sender,
    limits: Limits,
    protected_traits: Arc<[String]>,
    batch: usize,
}

impl Reading {
    /// Ends early, without an error, when nobody takes rows any more: whoever stopped has said why.
    fn people(
        &self,
        mut reader: FileReader<'static>,
        lanes: &[mpsc::Sender<Batch>],
        news: &mpsc::Sender<News>,
    ) -> Result<(), FileFault> {
        let mut open: Vec<Batch> = lanes.iter().map(|_| Batch::default()).collect();
        while let Some(entry) = self.next(&mut reader)? {
            match entry {
                Ok(Entry::Person { line, messages }) => {
                    let key = messages.first().map_or("", |message| message.external_key.as_str());
                    let lane = lane_of(key, lanes.len());
                    open[lane].add(line, messages);
                    if open[lane].lines.len() >= self.batch && lanes[lane].blocking_send(std::mem::take(&mut open[lane])).is_err()
                    {
                        return Ok(());
                    }
                }
                Ok(Entry::Rate { .. } | Entry::Spend { .. }) => {}
                Err(refused) => {
                    if news.blocking_send(News::Refused(refused)).is_err() {
                        return Ok(());
                    }
                }
            }
        }
        for (lane, batch) in lanes.iter().zip(open) {
            if !batch.lines.is_empty() && lane.blocking_send(batch).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn tables(
        &self,
        mut reader: FileReader<'static>,
        batches: &mpsc::Sender<Inputs>,
        news: &mpsc::Sender<News>,
    ) -> Result<(), FileFault> {
        let mut open: Inputs = Vec::new();
        while let Some(entry) = self.next(&mut reader)? {
            match entry {
                Ok(Entry::Rate { line, row }) => open.push((line, Input::Rate(row))),
                Ok(Entry::Spend { line, row, nth }) => open.push((line, Input::Spend(row, nth))),
                Ok(Entry::Person { .. }) => {}
                Err(refused) => {
                    if news.blocking_send(News::Refused(refused)).is_err() {
                        return Ok(());
                    }
                }
            }
            if open.len() >= self.batch && batches.blocking_send(std::mem::take(&mut open)).is_err() {
                return Ok(());
            }
        }
        if !open.is_empty() {
            // Whoever stopped has said why.
            let _ = batches.blocking_send(open);
        }
        Ok(())
    }

    fn next(&self, reader: &mut FileReader<'static>) -> Result<Option<Result<Entry, RowRefused>>, FileFault> {
        let arrival = arrival(&self.services, &self.sender, &self.protected_traits);
        reader.next(&Around {
            arrival: &arrival,
            limits: self.limits,
            keys: self.services.store.hash_key(),
        })
    }
}
