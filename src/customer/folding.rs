//! How names, e-mail addresses and telephone numbers compare when people search for them. Pure.
//!
//! Stored beside the values, since the databases fold case and accents differently. Changing a rule here asks for a migration that
//! clears the folded columns, so that they are filled anew.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Longer values compare by their beginning: PostgreSQL refuses an index entry of more than 2,700 bytes, and a name must never be the
/// reason why a message is refused.
const MAX_CHARS: usize = 200;

/// NFKC, lower case, without accents, runs of blanks as one; `None` when nothing is left. Chinese names stay as they are.
pub fn name(raw: &str) -> Option<String> {
    kept(&blanks_once(&plain(raw)))
}

/// NFKC, lower case, trimmed. Accents stay: they make another address.
pub fn email(raw: &str) -> Option<String> {
    kept(raw.nfkc().collect::<String>().to_lowercase().trim())
}

/// The digits, and a + before them: how a number is broken up does not matter.
pub fn phone(raw: &str) -> Option<String> {
    let compatible: String = raw.nfkc().collect();
    let compatible = compatible.trim_start();
    let sign = if compatible.starts_with('+') { "+" } else { "" };
    let digits: String = compatible.chars().filter(char::is_ascii_digit).collect();
    (!digits.is_empty()).then(|| kept(&format!("{sign}{digits}"))).flatten()
}

/// A name somebody began to type: a blank at the end counts, since a word has ended there.
pub fn name_prefix(raw: &str) -> Option<String> {
    let folded = name(raw)?;
    let is_ended = raw.ends_with(char::is_whitespace) && folded.chars().count() < MAX_CHARS;
    Some(if is_ended { format!("{folded} ") } else { folded })
}

/// The least text behind all that begin with this one, compared by bytes; `None` when there is none.
pub fn behind(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // Behind the last code point of the first range come the surrogates, which are no characters.
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

fn kept(text: &str) -> Option<String> {
    let kept: String = text.chars().take(MAX_CHARS).collect();
    (!kept.is_empty()).then_some(kept)
}

fn blanks_once(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Compatible characters in lower case; accents of Latin, Greek and Cyrillic letters are taken off.
fn plain(raw: &str) -> String {
    if raw.is_ascii() {
        return raw.to_ascii_lowercase();
    }
    let lower = raw.nfkc().collect::<String>().to_lowercase();
    let mut bare = String::with_capacity(lower.len());
    for c in lower.nfd() {
        match c {
            // The dots of kana and the parts of Hangul are no accents: they are put together again below.
            '\u{300}'..='\u{36F}' if is_combining_mark(c) => {}
            'ß' => bare.push_str("ss"),
            'æ' => bare.push_str("ae"),
            'œ' => bare.push_str("oe"),
            'ø' => bare.push('o'),
            'ł' => bare.push('l'),
            'đ' | 'ð' => bare.push('d'),
            'ı' => bare.push('i'),
            other => bare.push(other),
        }
    }
    bare.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_compare_without_case_accents_and_width() {
        for (raw, folded) in [
            ("Ada Lovelace", Some("ada lovelace")),
            ("  José\u{a0} GARCÍA ", Some("jose garcia")),
            ("Jose\u{301} Garci\u{301}a", Some("jose garcia")),
            ("Ｍüller-Lüdenscheidt", Some("muller-ludenscheidt")),
            ("Strauß", Some("strauss")),
            ("Łukasz Ørsted", Some("lukasz orsted")),
            ("İpek", Some("ipek")),
            ("王小明", Some("王小明")),
            ("ガンダム", Some("ガンダム")),
            ("한국", Some("한국")),
            ("'; DROP TABLE customer; --", Some("'; drop table customer; --")),
            ("100%_\\", Some("100%_\\")),
            ("  ", None),
            ("", None),
        ] {
            assert_eq!(name(raw).as_deref(), folded, "{raw}");
        }
    }

    #[test]
    fn addresses_keep_their_accents_and_numbers_lose_their_gaps() {
        assert_eq!(email(" José@Example.COM ").as_deref(), Some("josé@example.com"));
        assert_eq!(phone("+49 (151) 23-45").as_deref(), Some("+491512345"));
        assert_eq!(phone("０１５１").as_deref(), Some("0151"));
        assert_eq!(phone("by post"), None);
    }

    #[test]
    fn a_word_that_has_ended_counts_in_a_prefix() {
        assert_eq!(name_prefix("Ada ").as_deref(), Some("ada "));
        assert_eq!(name_prefix(" Ada").as_deref(), Some("ada"));
        assert_eq!(name_prefix("   "), None);
    }

    #[test]
    fn nothing_folded_outgrows_an_index_entry() {
        assert_eq!(name(&"王".repeat(5_000)).map(|name| name.len()), Some(600));
    }

    proptest! {
        #[test]
        fn a_text_lies_between_its_prefix_and_what_is_behind(prefix in ".{1,5}", rest in ".{0,5}", other in ".{0,8}") {
            let (text, end) = (format!("{prefix}{rest}"), behind(&prefix));
            prop_assert!(text.as_bytes() >= prefix.as_bytes());
            prop_assert!(end.as_ref().is_none_or(|end| text.as_bytes() < end.as_bytes()));
            let within = other.as_bytes() >= prefix.as_bytes() && end.is_none_or(|end| other.as_bytes() < end.as_bytes());
            prop_assert_eq!(within, other.starts_with(&prefix));
        }

        #[test]
        fn folding_what_is_folded_changes_nothing(raw in ".{0,20}") {
            if let Some(folded) = name(&raw) {
                prop_assert_eq!(name(&folded), Some(folded));
            }
        }
    }
}
