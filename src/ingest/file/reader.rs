//! A file from its bytes to messages: opened, its columns found, its rows read one after another.

use super::FileFault;
use super::mapping::{FileKind, Mapping};
use super::plan::{Plan, RateRow, Said, SpendRow};
use super::recognise::recognise;
use super::rows::{Form, Next, Row, Rows, recognise_delimiter, recognise_form};
use super::seen::Seen;
use super::text::{Encoding, Text, unpacked};
use crate::base::ids::HashKey;
use crate::ingest::item::{self, Item};
use crate::ingest::message::{Message, Refusal};
use crate::ingest::{Arrival, Limits};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead as _, Read};

/// Lines of one order that are joined; a longer order is refused, so that a file of one order is not held as a whole.
const MAX_LINES: usize = 1_000;

/// How a file is to be read; what is not said is found out.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    pub kind: Option<FileKind>,
    pub mapping: Option<Mapping>,
    pub format: Option<Format>,
    pub encoding: Option<Encoding>,
    pub delimiter: Option<u8>,
}

pub use super::rows::Form as Format;

/// A row, or joined rows, that are about somebody or something.
#[derive(Clone, Debug)]
pub enum Entry {
    /// One or two messages of one row, with its line.
    Person {
        line: u64,
        messages: Vec<Message>,
    },
    Rate {
        line: u64,
        row: RateRow,
    },
    /// With its number among the rows of the same period, channel, campaign and purpose, from 1.
    Spend {
        line: u64,
        row: SpendRow,
        nth: u64,
    },
}

/// Why a row was refused.
#[derive(Clone, Debug)]
pub struct RowRefused {
    pub line: u64,
    pub refusal: Refusal,
}

/// A file being read.
pub struct FileReader<'r> {
    rows: Rows<Text<Box<dyn Read + Send + 'r>>>,
    plan: Plan,
    pub mapping: Mapping,
    /// Columns of which the mapping says nothing.
    pub left_out: Vec<String>,
    pub format: Format,
    pub encoding: &'static str,
    seen: Seen,
    /// A row that was read to find out the columns.
    first: Option<(u64, Row)>,
    /// An order whose next lines may follow.
    open: Option<Open>,
    ready: VecDeque<Result<Entry, RowRefused>>,
    is_at_end: bool,
}

struct Open {
    line: u64,
    item: Item,
}

/// What surrounds the rows: the same as for items.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    pub arrival: &'a Arrival<'a>,
    pub limits: Limits,
    pub keys: &'a HashKey,
}

impl<'r> FileReader<'r> {
    /// Opens a stream. `source`: the key of the source whose data it is.
    pub fn open(stream: impl Read + Send + 'r, opening: Opening, source: &str) -> Result<Self, FileFault> {
        let mut text = Text::new(unpacked(stream)?, opening.encoding);
        let start = text.fill_buf()?;
        let format = match opening.format {
            Some(format) => format,
            None => recognise_form(start)?,
        };
        let delimiter = opening.delimiter.unwrap_or_else(|| recognise_delimiter(start));
        let encoding = text.encoding().name();
        let mut first = None;
        let mut rows = match format {
            Form::Csv => Rows::csv(text, delimiter),
            Form::Ndjson => Rows::ndjson(text),
        };
        let headings = match format {
            Form::Csv => rows.head()?,
            Form::Ndjson => match rows.next()? {
                Next::Row(line, row) => {
                    let names = match &row {
                        Row::Object(object) => object.keys().cloned().collect(),
                        Row::Cells(cells) => cells.clone(),
                    };
                    first = Some((line, row));
                    names
                }
                Next::Refused(_, refusal) => return Err(FileFault::invalid(format!("the first row: {}", refusal.message))),
                Next::End => return Err(FileFault::invalid("the file is empty")),
            },
        };
        let kind = opening
            .kind
            .or_else(|| is_message(first.as_ref()).then_some(FileKind::Messages));
        let (mapping, left_out) = match opening.mapping {
            Some(mapping) => {
                let used = mapping.columns();
                let left_out = headings.iter().filter(|heading| !used.contains(&heading.as_str()));
                let left_out = left_out.cloned().collect();
                (mapping, left_out)
            }
            None => recognise(&headings, kind, source)?,
        };
        let plan = Plan::new(&mapping, (format == Form::Csv).then_some(headings.as_slice()))?;
        Ok(Self {
            rows,
            plan,
            mapping,
            left_out,
            format,
            encoding,
            seen: Seen::default(),
            first,
            open: None,
            ready: VecDeque::new(),
            is_at_end: false,
        })
    }

    /// The next row, refused or read; `None` at the end.
    ///
    /// # Errors
    /// When the stream cannot be read any further.
    pub fn next(&mut self, around: &Around<'_>) -> Result<Option<Result<Entry, RowRefused>>, FileFault> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Ok(Some(entry));
            }
            if self.is_at_end {
                return Ok(None);
            }
            let next = match self.first.take() {
                Some((line, row)) => Next::Row(line, row),
                None => self.rows.next()?,
            };
            match next {
                Next::Row(line, row) => self.take(line, &row, around)?,
                Next::Refused(line, refusal) => {
                    self.close(around)?;
                    self.ready.push_back(Err(RowRefused { line, refusal }));
                }
                Next::End => {
                    self.is_at_end = true;
                    self.close(around)?;
                }
            }
        }
    }

    fn take(&mut self, line: u64, row: &Row, around: &Around<'_>) -> Result<(), FileFault> {
        let said = match self.plan.read(row) {
            Ok(said) => said,
            Err(refusal) => {
                self.close(around)?;
                self.ready.push_back(Err(RowRefused { line, refusal }));
                return Ok(());
            }
        };
        match said {
            Said::Person(item) if self.plan.joins_lines() => return self.join(line, item, around),
            Said::Person(item) => {
                let entry = self.person(line, item, around)?;
                self.ready.push_back(entry);
            }
            Said::Message(message) => {
                let entry = self.message(line, message, around)?;
                self.ready.push_back(entry);
            }
            Said::Rate(row) => self.ready.push_back(Ok(Entry::Rate { line, row })),
            Said::Spend(row) => {
                let nth = self.seen.count(&content_of_spend(&row))?;
                self.ready.push_back(Ok(Entry::Spend { line, row, nth }));
            }
        }
        Ok(())
    }

    /// A line of the order before it, or of another.
    fn join(&mut self, line: u64, mut item: Item, around: &Around<'_>) -> Result<(), FileFault> {
        if let (Some(open), Some(purchase)) = (&mut self.open, item.purchases.first_mut())
            && let Some(before) = open.item.purchases.first_mut()
            && (&before.order_id, before.kind) == (&purchase.order_id, purchase.kind)
            && open.item.key == item.key
        {
            if before.lines.len() >= MAX_LINES {
                let message = format!("the order has more than {MAX_LINES} lines");
                let refusal = Refusal::new("invalid_products", "lines", message);
                self.ready.push_back(Err(RowRefused { line, refusal }));
                return Ok(());
            }
            before.lines.append(&mut purchase.lines);
            // Exports name what belongs to the whole order in its first row only, or in each.
            before.amount = before.amount.take().or_else(|| purchase.amount.take());
            before.currency = before.currency.take().or_else(|| purchase.currency.take());
            return Ok(());
        }
        self.close(around)?;
        self.open = Some(Open { line, item });
        Ok(())
    }

    /// Nothing more will come of the order that was open.
    fn close(&mut self, around: &Around<'_>) -> Result<(), FileFault> {
        if let Some(Open { line, item }) = self.open.take() {
            let entry = self.person(line, item, around)?;
            self.ready.push_back(entry);
        }
        Ok(())
    }

    fn person(&mut self, line: u64, item: Item, around: &Around<'_>) -> Result<Result<Entry, RowRefused>, FileFault> {
        let mut failed = None;
        let seen = &mut self.seen;
        let nth = |content: &[u8; 32]| match seen.count(content) {
            Ok(nth) => nth,
            Err(error) => {
                failed = Some(error);
                1
            }
        };
        let read = item::messages_of_row(item, around.limits, around.arrival, around.keys, nth);
        if let Some(error) = failed {
            return Err(error.into());
        }
        Ok(match read {
            Ok(messages) => Ok(Entry::Person { line, messages }),
            Err(refusal) => Err(RowRefused { line, refusal }),
        })
    }

    fn message(&mut self, line: u64, message: Value, around: &Around<'_>) -> Result<Result<Entry, RowRefused>, FileFault> {
        let content = *blake3::hash(message.to_string().as_bytes()).as_bytes();
        // Only a message without an id of its own has to be told from its like.
        let has_id = ["messageId", "message_id"]
            .iter()
            .any(|name| message.get(*name).is_some_and(|id| !id.is_null()));
        let nth = if has_id { 1 } else { self.seen.count(&content)? };
        let new_id = || item::row_id(around.keys, around.arrival.source, &content, nth);
        Ok(match around.arrival.message(message, around.limits, new_id) {
            Ok(message) => Ok(Entry::Person {
                line,
                messages: vec![message],
            }),
            Err(refusal) => Err(RowRefused { line, refusal }),
        })
    }
}

/// A message of the tracking API says of which type it is.
fn is_message(first: Option<&(u64, Row)>) -> bool {
    let Some((_, Row::Object(object))) = first else { return false };
    let kind = object.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| crate::ingest::segment::kind_named(kind).is_some())
        && ["userId", "anonymousId", "user_id", "anonymous_id"]
            .iter()
            .any(|name| object.contains_key(*name))
}

fn content_of_spend(row: &SpendRow) -> [u8; 32] {
    let of_what = json!([row.from.micros(), row.until.micros(), row.channel, row.campaign, row.bought]);
    *blake3::hash(of_what.to_string().as_bytes()).as_bytes()
}
