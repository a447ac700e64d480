//! A stream of bytes as UTF-8: gzip unpacked, byte-order mark dropped, other encodings decoded, all in constant memory.
//!
//! Without a named encoding the first bytes beyond ASCII decide: UTF-8 if they are mostly that, GB18030 if they look like Chinese in it.
//! What looks like neither is refused instead of guessed, since text in a wrong encoding is not noticed before a customer reads it.

use encoding_rs::{Decoder, DecoderResult, GB18030, UTF_8};
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Read};

/// Bytes read at a time. Encoding, format and delimiter are found out within the first so many.
const CHUNK: usize = 64 * 1024;
/// Bytes from the first beyond ASCII that may be too few to tell the encoding by.
const TOO_FEW: usize = 16;

/// An encoding by the name the WHATWG gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding(&'static encoding_rs::Encoding);

impl Encoding {
    pub const UTF_8: Self = Self(UTF_8);

    /// By any label the web knows it under: `utf-8`, `gb18030`, `gbk`, `windows-1252`, `utf-16le` …
    pub fn named(label: &str) -> Option<Self> {
        encoding_rs::Encoding::for_label(label.as_bytes()).map(Self)
    }

    pub fn name(self) -> &'static str {
        self.0.name()
    }
}

/// Text out of bytes.
pub(super) struct Text<R> {
    inner: R,
    /// None: not found out yet; everything so far was ASCII.
    encoding: Option<Encoding>,
    decoder: Option<Decoder>,
    is_first: bool,
    raw: Vec<u8>,
    text: Vec<u8>,
    at: usize,
    is_at_end: bool,
}

/// Unpacks a stream that begins like gzip.
pub(super) fn unpacked<'r>(stream: impl Read + Send + 'r) -> io::Result<Box<dyn Read + Send + 'r>> {
    let mut stream = BufReader::with_capacity(CHUNK, stream);
    Ok(match stream.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(stream)),
        _ => Box::new(stream),
    })
}

impl<R: Read> Text<R> {
    pub(super) fn new(inner: R, encoding: Option<Encoding>) -> Self {
        Self {
            inner,
            encoding,
            decoder: None,
            is_first: true,
            raw: Vec::new(),
            text: Vec::new(),
            at: 0,
            is_at_end: false,
        }
    }

    /// As found out so far.
    pub(super) fn encoding(&self) -> Encoding {
        self.encoding.unwrap_or(Encoding::UTF_8)
    }

    fn fill(&mut self) -> io::Result<()> {
        while self.at == self.text.len() && !self.is_at_end {
            self.text.clear();
            self.at = 0;
            let had = self.raw.len();
            let mut more = (&mut self.inner).take((CHUNK - had.min(CHUNK)) as u64);
            more.read_to_end(&mut self.raw)?;
            self.is_at_end = self.raw.len() < CHUNK;
            if std::mem::take(&mut self.is_first) {
                self.drop_mark();
            }
            let first_other = self.raw.iter().position(|byte| !byte.is_ascii());
            if let (None, Some(first_other)) = (self.encoding, first_other) {
                if !self.is_at_end && self.raw.len() - first_other < TOO_FEW {
                    // Half a character says nothing: it is looked at with what follows it.
                    let rest = self.raw.split_off(first_other);
                    self.text = std::mem::replace(&mut self.raw, rest);
                    continue;
                }
                self.encoding = Some(found_out(&self.raw)?);
            }
            self.decode();
        }
        Ok(())
    }

    /// A byte-order mark names the encoding, whatever was said.
    fn drop_mark(&mut self) {
        if let Some((encoding, length)) = encoding_rs::Encoding::for_bom(&self.raw) {
            self.encoding = Some(Encoding(encoding));
            self.raw.drain(..length);
        }
    }

    fn decode(&mut self) {
        match self.encoding.filter(|encoding| *encoding != Encoding::UTF_8) {
            // Rows are checked one by one, so that a bad one is refused alone.
            None => {
                std::mem::swap(&mut self.text, &mut self.raw);
                self.raw.clear();
            }
            Some(Encoding(encoding)) => {
                let decoder = self
                    .decoder
                    .get_or_insert_with(|| encoding.new_decoder_without_bom_handling());
                let room = decoder.max_utf8_buffer_length(self.raw.len()).unwrap_or(4 * self.raw.len());
                self.text.resize(room, 0);
                // Malformed bytes become U+FFFD, by which the row is refused.
                let (_, read, written, _) = decoder.decode_to_utf8(&self.raw, &mut self.text, self.is_at_end);
                self.text.truncate(written);
                self.raw.drain(..read);
            }
        }
    }
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Text<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill()?;
        Ok(&self.text[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.text.len());
    }
}

/// Which encoding the first bytes beyond ASCII speak for.
fn found_out(bytes: &[u8]) -> io::Result<Encoding> {
    let (mut valid, mut invalid) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        valid += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        invalid += usize::from(!chunk.invalid().is_empty());
    }
    // The last character may be cut off.
    if invalid == 0 || valid > 0 && (invalid == 1 || valid > 4 * invalid) {
        return Ok(Encoding::UTF_8);
    }
    if looks_chinese(bytes) {
        return Ok(Encoding(GB18030));
    }
    let message = "the encoding is neither UTF-8 nor GB18030: name it with --encoding, such as windows-1252";
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// Chinese text in GB18030 is pairs of high bytes nearly throughout; a Western text with some accents has letters behind its high bytes.
fn looks_chinese(bytes: &[u8]) -> bool {
    let mut decoder = GB18030.new_decoder_without_bom_handling();
    let mut text = vec![0; 4 * bytes.len() + 16];
    let (result, ..) = decoder.decode_to_utf8_without_replacement(bytes, &mut text, false);
    if matches!(result, DecoderResult::Malformed(..)) {
        return false;
    }
    let (mut common, mut other, mut at) = (0, 0, 0);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (0..=0x80, _) => at += 1,
            (0xa1..=0xf7, Some(0xa1..=0xfe)) => {
                common += 1;
                at += 2;
            }
            _ => {
                other += 1;
                at += 2;
            }
        }
    }
    common > 2 * other
}

#[cfg(test)]
mod tests {
    use super::*;
    use encoding_rs::{UTF_16BE, UTF_16LE, WINDOWS_1252};
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    fn read(bytes: &[u8], encoding: Option<&str>) -> Result<(String, &'static str), String> {
        let encoding = encoding.map(|label| Encoding::named(label).unwrap());
        let mut text = Text::new(unpacked(bytes).unwrap(), encoding);
        let mut read = String::new();
        text.read_to_string(&mut read).map_err(|error| error.to_string())?;
        Ok((read, text.encoding().name()))
    }

    /// Longer than a chunk, so that characters are cut at its end.
    fn long(line: &str) -> String {
        format!("a{}", line.repeat(200_000 / line.len()))
    }

    #[test]
    fn text_is_the_same_in_every_encoding_marked_or_not_packed_or_not() {
        let text = long("姓名,城市\n王小明,北京市朝阳区\n");
        let (gb18030, ..) = GB18030.encode(&text);
        let utf16: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain(text.encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        let utf16_be: Vec<u8> = [0xfe, 0xff]
            .into_iter()
            .chain(text.encode_utf16().flat_map(u16::to_be_bytes))
            .collect();
        let marked: Vec<u8> = [0xef, 0xbb, 0xbf].into_iter().chain(text.bytes()).collect();
        for (bytes, name) in [
            (text.clone().into_bytes(), "UTF-8"),
            (marked, "UTF-8"),
            (gb18030.into_owned(), "gb18030"),
            (utf16, "UTF-16LE"),
            (utf16_be, "UTF-16BE"),
        ] {
            assert_eq!(read(&bytes, None), Ok((text.clone(), name)));
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(&bytes).unwrap();
            assert_eq!(
                read(&packed.finish().unwrap(), None),
                Ok((text.clone(), name)),
                "packed {name}"
            );
        }
    }

    #[test]
    fn ascii_up_to_the_second_chunk_leaves_the_encoding_open_until_then() {
        let text = format!("{}王小明,北京\n", "name,city\n".repeat(20_000));
        let (gb18030, ..) = GB18030.encode(&text);
        assert_eq!(read(&gb18030, None), Ok((text, "gb18030")));
    }

    #[test]
    fn the_first_character_beyond_ascii_may_be_cut_by_the_end_of_a_chunk() {
        for before in CHUNK - 20..=CHUNK {
            let text = format!("{}王小明,北京市朝阳区\n", "x".repeat(before));
            let (gb18030, ..) = GB18030.encode(&text);
            assert_eq!(read(&gb18030, None), Ok((text.clone(), "gb18030")), "{before}");
            assert_eq!(read(text.as_bytes(), None), Ok((text.clone(), "UTF-8")), "{before}");
        }
    }

    #[test]
    fn what_looks_like_neither_is_refused_and_read_when_its_encoding_is_named() {
        let text = "Name;Straße\nJörg Müller;Hauptstraße 5\nAndré;Königsallee\n";
        let (western, ..) = WINDOWS_1252.encode(text);
        assert!(read(&western, None).unwrap_err().contains("--encoding"));
        assert_eq!(read(&western, Some("windows-1252")), Ok((text.to_owned(), "windows-1252")));
        let utf8_with_a_bad_byte = [text.as_bytes(), b"x\xff\n"].concat();
        assert!(
            Text::new(&utf8_with_a_bad_byte[..], None).fill_buf().is_ok(),
            "its rows are refused one by one"
        );
    }

    #[test]
    fn labels_of_the_web_are_known() {
        assert_eq!(Encoding::named("GBK").map(Encoding::name), Some("GBK"));
        assert_eq!(Encoding::named("utf-8"), Some(Encoding::UTF_8));
        assert_eq!(Encoding::named("klingon"), None);
        let marks = [UTF_16LE, UTF_16BE].map(|encoding| Encoding(encoding).name());
        assert_eq!(marks, ["UTF-16LE", "UTF-16BE"]);
    }
}
