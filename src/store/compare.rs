//! Rows as they are stored against rows as they should be, column by column. Pure.

use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;

/// Longer values are cut when they are shown.
const SHOWN_CHARS: usize = 160;

/// Columns by name.
pub type Columns = BTreeMap<&'static str, Json>;

/// A column, or a whole row, that is not as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub table: &'static str,
    /// The row's key as text.
    pub key: String,
    /// None: the row itself is there and should not be, or the other way round.
    pub column: Option<&'static str>,
    pub stored: Option<Json>,
    pub expected: Option<Json>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Json>| match (value, self.column) {
            (None, _) => "no row".to_owned(),
            (Some(_), None) => "a row".to_owned(),
            (Some(value), Some(_)) => value.to_string().chars().take(SHOWN_CHARS).collect(),
        };
        let (stored, expected) = (shown(&self.stored), shown(&self.expected));
        let column = self.column.map(|column| format!(".{column}")).unwrap_or_default();
        write!(f, "{}{column} {}: stored {stored}, expected {expected}", self.table, self.key)
    }
}

/// What differs between two versions of one table's rows.
pub fn compare(
    table: &'static str,
    mut stored: BTreeMap<String, Columns>,
    expected: BTreeMap<String, Columns>,
) -> Vec<Difference> {
    let mut found = Vec::new();
    for (key, expected) in expected {
        match stored.remove(&key) {
            None => found.push(Difference::of_row(table, key, false)),
            Some(stored) => found.extend(compare_columns(table, &key, &stored, expected)),
        }
    }
    let superfluous = stored.into_keys().map(|key| Difference::of_row(table, key, true));
    found.extend(superfluous);
    found
}

/// What differs between two versions of one row; columns that are not expected are not compared.
pub fn compare_columns<'a>(
    table: &'static str,
    key: &'a str,
    stored: &'a Columns,
    expected: Columns,
) -> impl Iterator<Item = Difference> + 'a {
    expected.into_iter().filter_map(move |(column, expected)| {
        let stored = stored.get(column).cloned().unwrap_or(Json::Null);
        (stored != expected).then(|| Difference {
            table,
            key: key.to_owned(),
            column: Some(column),
            stored: Some(stored),
            expected: Some(expected),
        })
    })
}

impl Difference {
    /// A row that is there and should not be, or that should be there and is not.
    pub fn of_row(table: &'static str, key: String, is_stored: bool) -> Self {
        Self {
            table,
            key,
            column: None,
            stored: is_stored.then_some(Json::Bool(true)),
            expected: (!is_stored).then_some(Json::Bool(true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_that_are_missing_superfluous_or_different_are_named() {
        let row = |n: i64| Columns::from([("n", json!(n))]);
        let rows = |rows: &[(&str, i64)]| rows.iter().map(|(key, n)| ((*key).to_owned(), row(*n))).collect();
        let found = compare(
            "t",
            rows(&[("a", 1), ("b", 2), ("c", 3)]),
            rows(&[("a", 1), ("b", 5), ("d", 4)]),
        );
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        let expected = [
            "t.n b: stored 2, expected 5",
            "t d: stored no row, expected a row",
            "t c: stored a row, expected no row",
        ];
        assert_eq!(said, expected);
    }
}
