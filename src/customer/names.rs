//! A person's name out of its parts, in the order in which it is written. Pure.

/// The whole name; `None` without any part. Chinese, Japanese and Korean names put the family name first and nothing between: 王 and 小明 are
/// 王小明. In every other script, and where the parts are of different ones, the given name comes first and a space follows it.
pub fn whole(given: Option<&str>, family: Option<&str>) -> Option<String> {
    match (given, family) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
        (Some(given), Some(family)) if is_family_first(given) && is_family_first(family) => Some(format!("{family}{given}")),
        (Some(given), Some(family)) => Some(format!("{given} {family}")),
    }
}

/// Whether a part is written wholly in a script whose names begin with the family. Katakana alone is not: foreign names are written in it,
/// in their own order.
fn is_family_first(part: &str) -> bool {
    let is_native = |c: char| is_han(c) || matches!(c, '\u{3041}'..='\u{309F}' | '\u{AC00}'..='\u{D7A3}' | '々');
    part.chars().all(is_native)
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{323AF}' | '〇')
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn parts_become_a_name_in_the_order_of_their_script() {
        for (given, family, expected) in [
            (Some("小明"), Some("王"), Some("王小明")),
            (Some("娜"), Some("欧阳"), Some("欧阳娜")),
            (Some("𠮷"), Some("李"), Some("李𠮷")),
            (Some("さくら"), Some("佐々木"), Some("佐々木さくら")),
            (Some("민준"), Some("김"), Some("김민준")),
            (Some("Xiaoming"), Some("Wang"), Some("Xiaoming Wang")),
            (Some("Xiaoming"), Some("王"), Some("Xiaoming 王")),
            (Some("ジョン"), Some("スミス"), Some("ジョン スミス")),
            (Some("Ada"), Some("Lovelace"), Some("Ada Lovelace")),
            (Some("小明"), None, Some("小明")),
            (None, Some("王"), Some("王")),
            (None, None, None),
        ] {
            assert_eq!(whole(given, family).as_deref(), expected, "{given:?} {family:?}");
        }
    }
}
