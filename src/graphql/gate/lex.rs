//! From bytes to tokens, cut where async-graphql's parser cuts, which is not always where the specification does.
//!
//! Promises: each byte is looked at a bounded number of times; what opens or closes a bracket here does so there.
//! Leaves to others: everything that follows from the order of tokens (`outline`).

use super::Refusal;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `after_comment` because a comment inside `on Type` makes the library read something else.
    Name { text: &'a str, after_comment: bool },
    /// A number or a string.
    Literal,
    /// `...`
    Spread,
    /// A punctuator of one character.
    Mark(u8),
}

pub(super) struct Text<'a> {
    pub(super) tokens: Vec<Token<'a>>,
    pub(super) nesting: usize,
    /// `false`: the grammar has no reading for this. Counting went on all the same.
    pub(super) sound: bool,
}

pub(super) fn lex(document: &str) -> Result<Text<'_>, Refusal> {
    let mut text = Text {
        tokens: Vec::new(),
        nesting: 0,
        sound: true,
    };
    let mut closers = Vec::new();
    let mut open_parentheses: usize = 0;
    let mut after_comment = false;
    let mut at = 0;
    while let Some(&first) = document.as_bytes().get(at) {
        let rest = &document.as_bytes()[at..];
        let (length, token) = match first {
            b' ' | b',' | b'\t' | b'\r' | b'\n' => (1, None),
            _ if rest.starts_with("\u{feff}".as_bytes()) => (3, None),
            b'#' => {
                after_comment = true;
                (count_while(rest, |byte| byte != b'\r' && byte != b'\n'), None)
            }
            _ if rest.starts_with(TRIPLE_QUOTE) => {
                let length = block_string_length(rest).ok_or(Refusal::UnclosedBlockString)?;
                (length, Some(Token::Literal))
            }
            b'"' => {
                let (length, closed) = string_length(rest);
                text.sound &= closed;
                (length, Some(Token::Literal))
            }
            b'-' | b'0'..=b'9' => (number_length(rest), Some(Token::Literal)),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let value_stands_here = match text.tokens.last() {
                    Some(Token::Mark(b':' | b'=')) => open_parentheses > 0,
                    Some(Token::Mark(b'$')) => false,
                    _ => closers.last() == Some(&b']'),
                };
                let length = name_length(rest, value_stands_here);
                let text = &document[at..at + length];
                (length, Some(Token::Name { text, after_comment }))
            }
            _ if rest.starts_with(b"...") => (3, Some(Token::Spread)),
            b'!' | b'$' | b':' | b'=' | b'@' | b'(' | b')' | b'[' | b']' | b'{' | b'}' => (1, Some(Token::Mark(first))),
            _ => {
                text.sound = false;
                (1, None)
            }
        };
        match first {
            b'(' => closers.push(b')'),
            b'[' => closers.push(b']'),
            b'{' => closers.push(b'}'),
            b')' | b']' | b'}' => text.sound &= closers.pop() == Some(first),
            _ => {}
        }
        text.nesting = text.nesting.max(closers.len());
        open_parentheses = match first {
            b'(' => open_parentheses + 1,
            b')' => open_parentheses.saturating_sub(1),
            _ => open_parentheses,
        };
        if let Some(token) = token {
            text.tokens.push(token);
            after_comment = false;
        }
        at += length;
    }
    Ok(text)
}

const TRIPLE_QUOTE: &[u8] = b"\"\"\"";

fn count_while(text: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|byte| wanted(**byte)).count()
}

/// `None` when it is not closed.
fn block_string_length(text: &[u8]) -> Option<usize> {
    let mut at = TRIPLE_QUOTE.len();
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(TRIPLE_QUOTE) {
            return Some(at + TRIPLE_QUOTE.len());
        }
        at += if rest.starts_with(b"\\\"\"\"") { 4 } else { 1 };
    }
    None
}

/// With the answer whether it is closed before its line ends. Which escapes exist is left to the library.
fn string_length(text: &[u8]) -> (usize, bool) {
    let mut at = 1;
    while at < text.len() {
        at += match text[at] {
            b'"' => return (at + 1, true),
            b'\r' | b'\n' => return (at, false),
            b'\\' => 2,
            _ => 1,
        };
    }
    (text.len(), false)
}

/// No digit follows a leading zero in a number, so to the library `[000]` is a list of three.
fn number_length(text: &[u8]) -> usize {
    let digits = |from: usize| count_while(&text[from..], |byte| byte.is_ascii_digit());
    let sign = usize::from(text[0] == b'-');
    let leading_zero = text.get(sign) == Some(&b'0');
    let mut end = sign + if leading_zero { 1 } else { digits(sign) };
    if text.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let exponent = end + 1 + usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        end = if digits(exponent) > 0 {
            exponent + digits(exponent)
        } else {
            end
        };
    }
    end
}

/// Where a value stands the library takes `true`, `false` or `null` off the front of a longer name and reads on behind it, so
/// `[truetruetrue]` is a list of three as well.
fn name_length(text: &[u8], value_stands_here: bool) -> usize {
    let words: [&[u8]; 3] = [b"true", b"false", b"null"];
    match words.iter().find(|word| value_stands_here && text.starts_with(word)) {
        Some(word) => word.len(),
        None => count_while(text, |byte| byte.is_ascii_alphanumeric() || byte == b'_'),
    }
}
