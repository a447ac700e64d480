//! One spelling for each identifier, so that the same value is recognised wherever it was typed. Pure.

use entity::IdentifierKind;
use std::borrow::Cow;
use unicode_normalization::UnicodeNormalization as _;

/// Longest value that identifies anybody.
const MAX_CHARS: usize = 320;

/// The normalised value; `None` when it is no value of its kind and so identifies nobody.
///
/// All: Unicode NFKC, trimmed. E-mail: lower case, must look like `x@y.z`; dots and +tags are not folded. Phone: E.164, see `phone`.
/// Device and anonymous ids: lower case. Other kinds keep their case. `region`: of telephone numbers without a country code.
pub fn normalise(kind: IdentifierKind, raw: &str, region: &str) -> Option<String> {
    let value = compatible(raw);
    let value = value.trim();
    if value.is_empty() || value.chars().count() > MAX_CHARS {
        return None;
    }
    match kind {
        IdentifierKind::Email => email(&value.to_lowercase()),
        IdentifierKind::Phone => phone(value, region),
        IdentifierKind::DeviceId | IdentifierKind::AnonymousId => Some(value.to_lowercase()),
        IdentifierKind::UserId | IdentifierKind::LoyaltyId | IdentifierKind::ExternalId => Some(value.to_owned()),
    }
}

/// As lists of blocked values compare: NFKC, trimmed, lower case.
pub fn folded(raw: &str) -> String {
    compatible(raw).trim().to_lowercase()
}

/// Whether telephone numbers of this region have a country code that we know.
pub fn is_region(region: &str) -> bool {
    calling_code(region).is_some()
}

/// NFKC. It leaves ASCII, which is nearly everything, as it is.
fn compatible(raw: &str) -> Cow<'_, str> {
    if raw.is_ascii() {
        Cow::Borrowed(raw)
    } else {
        Cow::Owned(raw.nfkc().collect())
    }
}

fn email(value: &str) -> Option<String> {
    let (local, domain) = value.split_once('@')?;
    let (host, top) = domain.rsplit_once('.')?;
    let plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c == '@' || c.is_whitespace());
    (plain(local) && plain(host) && plain(top)).then(|| value.to_owned())
}

/// E.164: a leading 00 is a +; without a country code the region's is put on and leading zeroes (the trunk prefix) drop. Letters, fewer
/// than 7 or more than 15 digits, or one digit repeated (with or without a leading +1): not a phone.
fn phone(value: &str, region: &str) -> Option<String> {
    if value.chars().any(char::is_alphabetic) {
        return None;
    }
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    let international = match (value.starts_with('+'), digits.strip_prefix("00")) {
        (true, _) => digits.clone(),
        (false, Some(rest)) => rest.to_owned(),
        (false, None) => format!("{}{}", calling_code(region)?, digits.trim_start_matches('0')),
    };
    let is_one_digit = |digits: &str| digits.bytes().all(|digit| Some(&digit) == digits.as_bytes().first());
    let is_placeholder = [digits.as_str(), international.as_str()]
        .into_iter()
        .any(|digits| is_one_digit(digits) || digits.strip_prefix('1').is_some_and(is_one_digit));
    ((7..=15).contains(&international.len()) && !is_placeholder).then(|| format!("+{international}"))
}

fn calling_code(region: &str) -> Option<u16> {
    phonenumber::metadata::DATABASE
        .by_id(region)
        .map(phonenumber::Metadata::country_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_spelling() {
        use IdentifierKind::{AnonymousId, Email, Phone, UserId};
        for (kind, raw, region, expected) in [
            (Email, " Ada@Example.COM ", "US", Some("ada@example.com")),
            (Email, "ａｄａ@example.test", "US", Some("ada@example.test")),
            (Email, "a.d+x@example.test", "US", Some("a.d+x@example.test")),
            (Email, "ada@example", "US", None),
            (Email, "ada", "US", None),
            (Email, "a b@example.test", "US", None),
            (Phone, "+44 20 7946 0018", "US", Some("+442079460018")),
            (Phone, "0044 20 7946 0018", "US", Some("+442079460018")),
            (Phone, "010 8888 7777", "CN", Some("+861088887777")),
            (Phone, "+86 10 8888 7777", "US", Some("+861088887777")),
            (Phone, "(02) 9876 5432", "AU", Some("+61298765432")),
            (Phone, "202-555-0121", "US", Some("+12025550121")),
            (Phone, "９８７６ ５４３２", "CN", Some("+8698765432")),
            (Phone, "+1 111 111 1111", "US", None),
            (Phone, "9999999999", "US", None),
            (Phone, "000-000-0000", "US", None),
            (Phone, "+44 CALL ME", "US", None),
            (Phone, "+123", "US", None),
            (Phone, "+1234567890123456", "US", None),
            (AnonymousId, "ABC", "US", Some("abc")),
            (UserId, "ABC", "US", Some("ABC")),
            (UserId, "  ", "US", None),
        ] {
            assert_eq!(normalise(kind, raw, region).as_deref(), expected, "{kind:?} {raw} {region}");
        }
        assert!(is_region("AU") && !is_region("Mars") && !is_region(""));
    }
}
