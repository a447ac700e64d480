//! What is told while a file is imported, and what is written about refused rows.

use crate::ingest::file::RowRefused;
use crate::pipeline::import::RowReceipt;
use crate::pipeline::intake::Outcome;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows between two lines of progress where nobody watches a bar.
const LINE_EVERY: u64 = 10_000;

/// Rows by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// New.
    pub accepted: u64,
    /// New, and waiting for a person to say whose they are.
    pub held: u64,
    /// Known before.
    pub duplicate: u64,
    pub refused: u64,
}

impl Counts {
    pub(super) fn rows(&self) -> u64 {
        self.accepted + self.held + self.duplicate + self.refused
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.held += other.held;
        self.duplicate += other.duplicate;
        self.refused += other.refused;
    }

    pub(super) fn count(&mut self, receipt: &RowReceipt) {
        match receipt.receipt {
            Ok(Outcome::Accepted) => self.accepted += 1,
            Ok(Outcome::Held) => self.held += 1,
            Ok(Outcome::Duplicate) => self.duplicate += 1,
            Ok(Outcome::Suppressed) | Err(_) => self.refused += 1,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accepted,
            held,
            duplicate,
            refused,
        } = self;
        write!(
            f,
            "{accepted} rows accepted, {held} held, {duplicate} known before, {refused} refused"
        )
    }
}

/// Refused rows, a line each; made when the first comes. One of an earlier import is replaced.
pub(super) struct ErrorFile {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl ErrorFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    pub(super) fn write(&mut self, refused: &RowRefused) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(File::create(&self.path)?)),
        };
        let refusal = &refused.refusal;
        let line = json!({"line": refused.line, "code": refusal.code, "field": refusal.field, "message": refusal.message});
        writeln!(file, "{line}")
    }

    /// Where they are, if there are some.
    pub(super) fn finish(mut self) -> std::io::Result<Option<PathBuf>> {
        let Some(file) = &mut self.file else {
            // What is left of an earlier import is about rows that are fine now.
            return Ok(None);
        };
        file.flush()?;
        Ok(Some(self.path))
    }
}

/// A bar on a terminal, lines of JSON elsewhere, both on standard error.
pub(super) struct Progress {
    file: String,
    bytes: Arc<AtomicU64>,
    size: Option<u64>,
    bar: Option<ProgressBar>,
    dry_run: bool,
}

impl Progress {
    pub(super) fn start(path: &Path, size: Option<u64>, bytes: Arc<AtomicU64>, dry_run: bool) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| match size {
            Some(size) => ProgressBar::new(size).with_style(style("{bar:30} {bytes}/{total_bytes} {eta} {msg}")),
            None => ProgressBar::no_length().with_style(style("{spinner} {bytes} {msg}")),
        });
        Self {
            file: path.display().to_string(),
            bytes,
            size,
            bar,
            dry_run,
        }
    }

    /// What people should read before rows pass by; programs do not.
    pub(super) fn told(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| complain!("{}", text.trim_end())),
            None => complain!("{}", json!({"file": self.file, "mapping": text})),
        }
    }

    pub(super) fn passed(&self, before: u64, counts: &Counts) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            bar.set_message(format!("{} rows, {} refused", counts.rows(), counts.refused));
        } else if before / LINE_EVERY != counts.rows() / LINE_EVERY {
            complain!("{}", self.line(counts, bytes));
        }
    }

    fn line(&self, counts: &Counts, bytes: u64) -> serde_json::Value {
        json!({
            "file": self.file, "bytes": bytes, "size": self.size, "rows": counts.rows(), "accepted": counts.accepted, "held": counts.held,
            "duplicate": counts.duplicate, "refused": counts.refused, "dryRun": self.dry_run,
        })
    }

    pub(super) fn errors(&self, path: &Path) {
        match &self.bar {
            Some(bar) => bar.suspend(|| complain!("refused rows are listed in {}", path.display())),
            None => complain!("{}", json!({"file": self.file, "errors": path.display().to_string()})),
        }
    }

    pub(super) fn finish(&self, counts: &Counts, seconds: f64) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let would = if self.dry_run {
            " would be, nothing was written:"
        } else {
            ":"
        };
        #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
        let rate = counts.rows() as f64 / seconds.max(0.001);
        say!("{}{would} {counts} ({seconds:.1} s, {rate:.0} rows/s)", self.file);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
