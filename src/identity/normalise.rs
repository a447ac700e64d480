//! One spelling for each identifier, so that the same value is recognised wherever it was typed. Pure.

use entity::IdentifierKind;
use unicode_normalization::UnicodeNormalization as _;

/// Longest value that identifies anybody.
const MAX_CHARS: usize = 320;

/// The normalised value; `None` when it is no value of its kind and so identifies nobody.
///
/// All: Unicode NFKC, trimmed. E-mail: lower case, must look like `x@y.z`; dots and +tags are not folded. Phone: E.164, a leading 00 is
/// a +. Device and anonymous ids: lower case. Other kinds keep their case.
pub fn normalise(kind: IdentifierKind, raw: &str) -> Option<String> {
    let value: String = raw.nfkc().collect();
    let value = value.trim();
    if value.is_empty() || value.chars().count() > MAX_CHARS {
        return None;
    }
    match kind {
        IdentifierKind::Email => email(&value.to_lowercase()),
        IdentifierKind::Phone => phone(value),
        IdentifierKind::DeviceId | IdentifierKind::AnonymousId => Some(value.to_lowercase()),
        IdentifierKind::UserId | IdentifierKind::LoyaltyId | IdentifierKind::ExternalId => Some(value.to_owned()),
    }
}

fn email(value: &str) -> Option<String> {
    let (local, domain) = value.split_once('@')?;
    let (host, top) = domain.rsplit_once('.')?;
    let plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c == '@' || c.is_whitespace());
    (plain(local) && plain(host) && plain(top)).then(|| value.to_owned())
}

/// With its country code; a number without one needs a region, which comes with the identity rules.
fn phone(value: &str) -> Option<String> {
    if value.chars().any(char::is_alphabetic) {
        return None;
    }
    let digits: String = value.chars().filter(char::is_ascii_digit).collect();
    let digits = if value.starts_with('+') {
        digits.as_str()
    } else {
        digits.strip_prefix("00")?
    };
    let one_digit_repeated = |digits: &str| digits.bytes().all(|digit| Some(&digit) == digits.as_bytes().first());
    let placeholder = one_digit_repeated(digits) || digits.strip_prefix('1').is_some_and(one_digit_repeated);
    ((7..=15).contains(&digits.len()) && !placeholder).then(|| format!("+{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_spelling() {
        use IdentifierKind::{AnonymousId, Email, Phone, UserId};
        for (kind, raw, expected) in [
            (Email, " Ada@Example.COM ", Some("ada@example.com")),
            (Email, "ａｄａ@example.test", Some("ada@example.test")),
            (Email, "a.d+x@example.test", Some("a.d+x@example.test")),
            (Email, "ada@example", None),
            (Email, "ada", None),
            (Email, "a b@example.test", None),
            (Phone, "+44 20 7946 0018", Some("+442079460018")),
            (Phone, "0044 20 7946 0018", Some("+442079460018")),
            (Phone, "+1 111 111 1111", None),
            (Phone, "+44 CALL ME", None),
            (Phone, "+123", None),
            (AnonymousId, "ABC", Some("abc")),
            (UserId, "ABC", Some("ABC")),
            (UserId, "  ", None),
        ] {
            assert_eq!(normalise(kind, raw).as_deref(), expected, "{kind:?} {raw}");
        }
    }
}
