//! Pages by keyset: a cursor is the sort key of a row, so a page costs the same wherever it lies and rows that come or go between
//! two pages are neither repeated nor skipped.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What the caller asked for: at most `first` rows, after the row whose key is `after`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Page<K> {
    pub first: u64,
    pub after: Option<K>,
}

/// One page of rows, and whether there are more behind it.
#[derive(Clone, Debug)]
pub struct Slice<T> {
    pub rows: Vec<T>,
    pub more: bool,
}

impl<T> Default for Slice<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            more: false,
        }
    }
}

impl<T> Slice<T> {
    /// From a query that asked for one row more than the page holds.
    pub fn from_one_more(mut rows: Vec<T>, first: u64) -> Self {
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let more = rows.len() > first;
        rows.truncate(first);
        Self { rows, more }
    }

    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Slice<U> {
        Slice {
            rows: self.rows.into_iter().map(f).collect(),
            more: self.more,
        }
    }
}

/// The cursor of a row: its key as opaque text.
pub fn encode<K: Serialize>(key: &K) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).expect("a key is numbers and ids"))
}

/// The key inside a cursor; `None` when it is not one of ours for this list.
pub fn decode<K: DeserializeOwned>(cursor: &str) -> Option<K> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_carries_its_key_and_a_foreign_one_is_refused() {
        let cursor = encode(&(12_i64, "x"));
        assert_eq!(decode::<(i64, String)>(&cursor), Some((12, "x".to_owned())));
        assert_eq!(decode::<(i64, i64)>(&cursor), None);
        assert_eq!(decode::<(i64, String)>("not a cursor"), None);
    }

    #[test]
    fn a_page_knows_whether_more_follows() {
        assert!(Slice::from_one_more(vec![1, 2, 3], 2).more);
        assert!(!Slice::from_one_more(vec![1, 2], 2).more);
    }
}
