//! A text cut into rows: records of CSV with their quotes, lines of NDJSON. A row may have `MAX_ROW_BYTES`; of a longer one no more is
//! ever held, and reading goes on behind the end of its line.

use super::FileFault;
use crate::ingest::json;
use crate::ingest::message::Refusal;
use serde_json::{Map, Value};
use std::io::{self, BufRead};

/// The longest row, in bytes of UTF-8: far more than any person needs, and little to hold.
pub const MAX_ROW_BYTES: usize = 1024 * 1024;
const MAX_COLUMNS: usize = 2_000;
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// One row of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Row {
    Cells(Vec<String>),
    Object(Map<String, Value>),
}

/// What came next.
#[derive(Debug)]
pub(super) enum Next {
    /// With the number of its first line, from 1.
    Row(u64, Row),
    Refused(u64, Refusal),
    End,
}

/// The two forms of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Csv,
    Ndjson,
}

/// The form a text seems to have, and for CSV its delimiter.
pub(super) fn recognise_form(start: &[u8]) -> Result<Form, FileFault> {
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        Some(b'{') => Ok(Form::Ndjson),
        Some(b'[') => Err(FileFault::invalid(
            "a JSON list cannot be read in constant memory: write one object on each line (jq -c '.[]')",
        )),
        Some(_) => Ok(Form::Csv),
        None => Err(FileFault::invalid("the file is empty")),
    }
}

/// The delimiter that the head of a CSV file shows most often outside quotes; a comma where it shows none.
pub(super) fn recognise_delimiter(start: &[u8]) -> u8 {
    let mut counts = [0_usize; DELIMITERS.len()];
    let mut is_quoted = false;
    for byte in start {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' if !is_quoted => break,
            byte if !is_quoted => {
                if let Some(which) = DELIMITERS.iter().position(|delimiter| delimiter == byte) {
                    counts[which] += 1;
                }
            }
            _ => {}
        }
    }
    // The first of those alike, so that a comma wins.
    let best = (0..DELIMITERS.len()).rev().max_by_key(|which| counts[*which]).unwrap_or(0);
    DELIMITERS[best]
}

/// Rows of a text.
pub(super) struct Rows<T> {
    text: T,
    /// Line breaks passed.
    lines: u64,
    cutter: Cutter,
}

#[expect(clippy::large_enum_variant, reason = "there is one of it")]
enum Cutter {
    Csv {
        parser: csv_core::Reader,
        output: Vec<u8>,
        ends: Vec<usize>,
        /// How many a row must have; none before the head was read.
        columns: Option<usize>,
    },
    Ndjson {
        line: Vec<u8>,
    },
}

impl<T: BufRead> Rows<T> {
    pub(super) fn csv(text: T, delimiter: u8) -> Self {
        let cutter = Cutter::Csv {
            parser: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            output: vec![0; 4_096],
            ends: vec![0; 64],
            columns: None,
        };
        Self { text, lines: 0, cutter }
    }

    pub(super) fn ndjson(text: T) -> Self {
        let cutter = Cutter::Ndjson { line: Vec::new() };
        Self { text, lines: 0, cutter }
    }

    /// The first row of a CSV file; rows that follow must have as many cells.
    pub(super) fn head(&mut self) -> Result<Vec<String>, FileFault> {
        match self.next()? {
            Next::Row(_, Row::Cells(cells)) => {
                let names: Vec<String> = cells.iter().map(|cell| cell.trim().to_owned()).collect();
                if let Cutter::Csv { columns, .. } = &mut self.cutter {
                    *columns = Some(names.len());
                }
                Ok(names)
            }
            Next::Refused(_, refusal) => Err(FileFault::invalid(format!("the head of the file: {}", refusal.message))),
            _ => Err(FileFault::invalid("the file is empty")),
        }
    }

    pub(super) fn next(&mut self) -> io::Result<Next> {
        self.skip_blank()?;
        let line = self.lines + 1;
        Ok(match self.read()? {
            Read::Row(row) => Next::Row(line, row),
            Read::Refused(refusal) => Next::Refused(line, refusal),
            Read::TooLong => {
                self.skip_line()?;
                let message = format!("the row is longer than {MAX_ROW_BYTES} bytes, or a quote in it is never closed");
                Next::Refused(line, whole("row_too_long", message))
            }
            Read::End => Next::End,
        })
    }

    fn skip_blank(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.text.fill_buf()?;
            let blank = buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if blank == 0 {
                return Ok(());
            }
            self.pass(blank)?;
        }
    }

    /// To behind the next line break, whatever quotes say: a quote that is never closed costs one row and not the rest of the file.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.text.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            match buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) => return self.pass(end + 1),
                None => {
                    let all = buffer.len();
                    self.pass(all)?;
                }
            }
        }
    }

    fn pass(&mut self, count: usize) -> io::Result<()> {
        let passed = &self.text.fill_buf()?[..count];
        self.lines += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.text.consume(count);
        Ok(())
    }

    fn read(&mut self) -> io::Result<Read> {
        match self.cutter {
            Cutter::Csv { .. } => self.read_csv(),
            Cutter::Ndjson { .. } => self.read_line(),
        }
    }

    fn read_csv(&mut self) -> io::Result<Read> {
        let Cutter::Csv {
            parser,
            output,
            ends,
            columns,
        } = &mut self.cutter
        else {
            return Ok(Read::End);
        };
        let (mut written, mut fields) = (0, 0);
        loop {
            let input = self.text.fill_buf()?;
            let (result, read, bytes, cells) = parser.read_record(input, &mut output[written..], &mut ends[fields..]);
            self.lines += input[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
            self.text.consume(read);
            written += bytes;
            fields += cells;
            let is_full = match result {
                csv_core::ReadRecordResult::InputEmpty => false,
                csv_core::ReadRecordResult::OutputFull => {
                    let is_full = output.len() >= MAX_ROW_BYTES;
                    output.resize((2 * output.len()).min(MAX_ROW_BYTES), 0);
                    is_full
                }
                csv_core::ReadRecordResult::OutputEndsFull => {
                    let is_full = ends.len() >= MAX_COLUMNS;
                    ends.resize((2 * ends.len()).min(MAX_COLUMNS), 0);
                    is_full
                }
                csv_core::ReadRecordResult::Record => return Ok(cells_of(&output[..written], &ends[..fields], *columns)),
                csv_core::ReadRecordResult::End => return Ok(Read::End),
            };
            if is_full {
                parser.reset();
                return Ok(Read::TooLong);
            }
        }
    }

    fn read_line(&mut self) -> io::Result<Read> {
        let Cutter::Ndjson { line } = &mut self.cutter else {
            return Ok(Read::End);
        };
        line.clear();
        loop {
            let buffer = self.text.fill_buf()?;
            if buffer.is_empty() && line.is_empty() {
                return Ok(Read::End);
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let count = end.unwrap_or(buffer.len());
            if line.len() + count > MAX_ROW_BYTES {
                return Ok(Read::TooLong);
            }
            line.extend_from_slice(&buffer[..count]);
            let is_at_end = buffer.is_empty();
            self.text.consume(count + usize::from(end.is_some()));
            if end.is_some() {
                self.lines += 1;
            }
            if end.is_some() || is_at_end {
                return Ok(object_of(line));
            }
        }
    }
}

enum Read {
    Row(Row),
    Refused(Refusal),
    TooLong,
    End,
}

fn whole(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal {
        code,
        message: message.into(),
        field: None,
    }
}

fn readable(bytes: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(bytes).ok();
    text.filter(|text| !text.contains('\u{fffd}'))
        .ok_or_else(|| whole("invalid_text", "the row is damaged, or in another encoding than the file"))
}

fn cells_of(output: &[u8], ends: &[usize], columns: Option<usize>) -> Read {
    if let Some(expected) = columns.filter(|expected| *expected != ends.len()) {
        let message = format!("the row has {} cells, the head of the file has {expected}", ends.len());
        return Read::Refused(whole("wrong_number_of_cells", message));
    }
    let text = match readable(output) {
        Ok(text) => text,
        Err(refusal) => return Read::Refused(refusal),
    };
    if text.contains('\0') {
        return Read::Refused(whole("nul_character", "the row holds a NUL character"));
    }
    let mut start = 0;
    let cell = |end: &usize| text.get(std::mem::replace(&mut start, *end)..*end).map(str::to_owned);
    match ends.iter().map(cell).collect() {
        Some(cells) => Read::Row(Row::Cells(cells)),
        None => Read::Refused(whole(
            "invalid_text",
            "the row is damaged: a delimiter stands inside a character",
        )),
    }
}

fn object_of(line: &[u8]) -> Read {
    let parsed = readable(line).and_then(|text| Ok(json::parse(text)?));
    match parsed {
        Ok(Value::Object(object)) => Read::Row(Row::Object(object)),
        Ok(_) => Read::Refused(whole("invalid_row", "the line must be a JSON object")),
        Err(refusal) => Read::Refused(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Cursor, Read as _};

    fn all<T: BufRead>(mut rows: Rows<T>) -> Vec<(u64, Result<Vec<String>, &'static str>)> {
        let mut found = Vec::new();
        loop {
            match rows.next().unwrap() {
                Next::Row(line, Row::Cells(cells)) => found.push((line, Ok(cells))),
                Next::Row(line, Row::Object(object)) => found.push((line, Ok(vec![Value::Object(object).to_string()]))),
                Next::Refused(line, refusal) => found.push((line, Err(refusal.code))),
                Next::End => return found,
            }
        }
    }

    fn cells(cells: &[&str]) -> Result<Vec<String>, &'static str> {
        Ok(cells.iter().map(|cell| (*cell).to_owned()).collect())
    }

    #[test]
    fn quoted_cells_hold_anything_and_lines_are_counted() {
        let text = "a,b\r\n\r\n1,\"x, \"\"y\"\"\r\nz\"\r\n2\r\n\"3\",4\n5,6";
        // Small buffers, so that everything is cut somewhere.
        let mut rows = Rows::csv(BufReader::with_capacity(3, text.as_bytes()), b',');
        assert_eq!(rows.head().unwrap(), ["a", "b"]);
        let expected = [
            (3, cells(&["1", "x, \"y\"\r\nz"])),
            (5, Err("wrong_number_of_cells")),
            (6, cells(&["3", "4"])),
            (7, cells(&["5", "6"])),
        ];
        assert_eq!(all(rows), expected);
    }

    #[test]
    fn a_bad_row_is_refused_alone() {
        let text = b"a\ngood\nb\xffd\nn\0l\nalso good\n";
        let mut rows = Rows::csv(&text[..], b',');
        rows.head().unwrap();
        let expected = [
            (2, cells(&["good"])),
            (3, Err("invalid_text")),
            (4, Err("nul_character")),
            (5, cells(&["also good"])),
        ];
        assert_eq!(all(rows), expected);
    }

    #[test]
    fn a_row_without_end_is_refused_with_bounded_memory_and_the_next_line_is_read() {
        let long = 300 * 1024 * 1024;
        for (start, end) in [("a\n", "\ngood\n"), ("a\n\"", "\ngood\n")] {
            let text = Cursor::new(start)
                .chain(std::io::repeat(b'x').take(long))
                .chain(Cursor::new(end));
            let mut rows = Rows::csv(BufReader::new(text), b',');
            rows.head().unwrap();
            assert!(matches!(rows.next().unwrap(), Next::Refused(2, refusal) if refusal.code == "row_too_long"));
            assert!(matches!(rows.next().unwrap(), Next::Row(3, Row::Cells(cells)) if cells == ["good"]));
            let Cutter::Csv { output, .. } = &rows.cutter else {
                panic!("it is CSV")
            };
            assert!(output.capacity() <= 2 * MAX_ROW_BYTES);
        }
        let text = Cursor::new("{\"a\":\"")
            .chain(std::io::repeat(b'x').take(long))
            .chain(Cursor::new("\"}\n{}\n"));
        let mut rows = Rows::ndjson(BufReader::new(text));
        assert!(matches!(rows.next().unwrap(), Next::Refused(1, refusal) if refusal.code == "row_too_long"));
        assert!(matches!(rows.next().unwrap(), Next::Row(2, Row::Object(object)) if object.is_empty()));
        let Cutter::Ndjson { line } = &rows.cutter else {
            panic!("it is NDJSON")
        };
        assert!(line.capacity() <= 2 * MAX_ROW_BYTES);
    }

    #[test]
    fn lines_of_ndjson_are_objects() {
        let text = "{\"a\":1}\n\n[1]\n{\"a\":1,\"a\":2}\n{\"b\":2}";
        let expected = [
            (1, cells(&["{\"a\":1}"])),
            (3, Err("invalid_row")),
            (4, Err("duplicate_key")),
            (5, cells(&["{\"b\":2}"])),
        ];
        assert_eq!(all(Rows::ndjson(text.as_bytes())), expected);
    }

    #[test]
    fn form_and_delimiter_are_recognised() {
        assert_eq!(recognise_form(b" \n{\"a\":1}").unwrap(), Form::Ndjson);
        assert_eq!(recognise_form(b"a;b").unwrap(), Form::Csv);
        assert!(recognise_form(b"[{}]").is_err() && recognise_form(b" \n").is_err());
        for (head, delimiter) in [
            ("a,b;c,d\n;;;;", b','),
            ("a;\"b,,,\";c", b';'),
            ("a\tb", b'\t'),
            ("a|b|c,", b'|'),
            ("a", b','),
        ] {
            assert_eq!(recognise_delimiter(head.as_bytes()), delimiter, "{head}");
        }
    }
}
