//! Several values in one cell: as an export writes them, and apart again. Pure.

/// Between two values of a cell; within a value it stands behind a backslash, and so does a backslash.
const SEPARATOR: char = '|';
const ESCAPE: char = '\\';

/// Values as one cell.
pub fn joined<'v>(values: impl IntoIterator<Item = &'v str>) -> String {
    let mut cell = String::new();
    for (n, value) in values.into_iter().enumerate() {
        if n > 0 {
            cell.push(SEPARATOR);
        }
        for c in value.chars() {
            if matches!(c, SEPARATOR | ESCAPE) {
                cell.push(ESCAPE);
            }
            cell.push(c);
        }
    }
    cell
}

/// The values of a cell that `joined` wrote, or somebody by hand: without blanks around them, and none that is blank.
pub(super) fn apart(cell: &str) -> Vec<String> {
    let mut values = vec![String::new()];
    let mut chars = cell.chars();
    while let Some(c) = chars.next() {
        let Some(value) = values.last_mut() else { break };
        match c {
            // One at the end stands for itself.
            ESCAPE => value.push(chars.next().unwrap_or(ESCAPE)),
            SEPARATOR => values.push(String::new()),
            c => value.push(c),
        }
    }
    let trimmed = values.into_iter().map(|value| value.trim().to_owned());
    trimmed.filter(|value| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_joined_and_taken_apart() {
        for (values, cell) in [
            (vec!["a@x.example", "b@x.example"], "a@x.example|b@x.example"),
            (vec!["a|b", "c\\d"], "a\\|b|c\\\\d"),
            (vec![], ""),
        ] {
            assert_eq!(joined(values.iter().copied()), cell);
            assert_eq!(apart(cell), values);
        }
        assert_eq!(apart(" a | | b\\"), ["a", "b\\"]);
    }

    proptest! {
        #[test]
        fn taking_apart_gives_back_what_was_joined(values in prop::collection::vec("[a|\\\\,\"=]{1,5}", 0..4)) {
            prop_assert_eq!(apart(&joined(values.iter().map(String::as_str))), values);
        }
    }
}
