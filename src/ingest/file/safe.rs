//! Cells that a spreadsheet would take for a formula: prefixed when they are written, and as they were when they are read again. Pure.

/// What a spreadsheet evaluates, the full-width signs included, which some turn into plain ones.
const STARTS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Whether a cell must be prefixed. So must what looks prefixed already, or reading would take its own apostrophe away.
fn is_dangerous(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(STARTS)
}

/// A plain number, which stays one.
fn is_number(cell: &str) -> bool {
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    all_digits(whole) && all_digits(fraction)
}

/// A cell as it is written: prefixed with an apostrophe when a spreadsheet would take it for a formula; numbers stay numbers.
pub fn guarded(cell: &str) -> std::borrow::Cow<'_, str> {
    match is_dangerous(cell) && !is_number(cell) {
        true => format!("'{cell}").into(),
        false => cell.into(),
    }
}

/// A cell as it was before `guarded`.
pub fn unguarded(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if is_dangerous(rest) => rest,
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn formulas_are_prefixed_and_numbers_stay_numbers() {
        for (cell, written) in [
            ("=HYPERLINK(\"http://evil\")", "'=HYPERLINK(\"http://evil\")"),
            ("+49301234", "'+49301234"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "'\tx"),
            ("＝1＋1", "'＝1＋1"),
            ("-cmd|' /C calc'!A0", "'-cmd|' /C calc'!A0"),
            ("-12.50", "-12.50"),
            ("-3", "-3"),
            ("-1e5", "'-1e5"),
            ("'=x", "''=x"),
            ("O'Neill", "O'Neill"),
            ("'s-Hertogenbosch", "'s-Hertogenbosch"),
            ("", ""),
        ] {
            assert_eq!(guarded(cell), written);
            assert_eq!(unguarded(written), cell);
        }
    }

    proptest! {
        #[test]
        fn reading_gives_back_what_was_written(cell in "['=+@\t\r\n＝＋－＠a1.-]{0,6}") {
            let written = guarded(&cell).into_owned();
            prop_assert_eq!(unguarded(&written), cell.as_str());
            prop_assert!(is_number(&written) || !written.starts_with(STARTS));
        }
    }
}
