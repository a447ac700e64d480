//! Each reason in words, and the law behind them: without the statement that survived the answer is another.

use super::super::tests::{NAME, Speaker, rule, speakers, spoken};
use super::*;
use serde_json::json;

/// A value, the rule by which it survived, and what was overruled with the reason.
type Told = (Value, String, Vec<(Value, String)>);

fn reasons(strategy: Value, lines: &[&str]) -> Option<Told> {
    let survivorship = rule(strategy);
    let speakers = speakers(lines.iter().copied());
    let account = survivorship.account_of(NAME, &spoken(&speakers))?;
    let alternatives = account.alternatives.into_iter();
    let alternatives = alternatives.map(|alternative| (alternative.value.clone(), alternative.because));
    Some((account.value.clone(), account.rule, alternatives.collect()))
}

/// One reason against the statement that survived.
#[track_caller]
fn check(strategy: Value, lines: [&str; 2], expected: &str) {
    let (_, _, alternatives) = reasons(strategy, &lines).unwrap();
    let because: Vec<&str> = alternatives.iter().map(|(_, because)| because.as_str()).collect();
    assert_eq!(because, [expected], "{lines:?}");
}

#[test]
fn each_rule_says_why_in_words_with_what_was_compared() {
    let recent = || json!({"strategy": "most_recent"});
    let t = |micros: i64| Instant::from_micros(micros).to_string();
    let older = format!("older: of {}, stated otherwise {}", t(1), t(2));
    check(recent(), [r#"crm 2/9 "new""#, r#"web 1/9 "old""#], &older);
    let again = format!("older, of the same value: {}, stated again {}", t(1), t(2));
    check(recent(), [r#"crm 2/9 "Bonn""#, r#"web 1/9 "bonn ""#], &again);
    let cleared = format!("older: of {}, cleared otherwise {}", t(1), t(2));
    check(recent(), ["crm 2/9 null", r#"web 1/9 "old""#], &cleared);
    let arrived = format!(
        "of the same instant, {}, but arrived earlier: {} against {}",
        t(1),
        t(8),
        t(9)
    );
    check(recent(), [r#"crm 1/9 "late""#, r#"web 1/8 "early""#], &arrived);
    let at_once = format!(
        "of the same instant, {}, and the same arrival; the record with the higher id counts",
        t(1)
    );
    check(recent(), [r#"crm 1/9 "a""#, r#"web 1/9 "b""#], &at_once);
    let junk = "junk value: it says nothing about the person";
    check(recent(), [r#"crm 1/1 "Bonn""#, r#"web 2/2 "N/A""#], junk);
    let priority = json!({"strategy": "source_priority", "sources": ["crm", "web"]});
    check(
        priority.clone(),
        [r#"crm 1/1 "a""#, r#"web 2/2 "b""#],
        "source ranks lower: web is number 2, crm is number 1",
    );
    check(
        priority,
        [r#"crm 1/1 "a""#, r#"pos:till 2/2 "b""#],
        "source ranks lower: till is not named, crm is number 1",
    );
    check(
        json!({"strategy": "longest"}),
        [r#"crm 1/1 "Augusta""#, r#"web 2/2 "Ada""#],
        "shorter: 3 characters against 7",
    );
    check(
        json!({"strategy": "longest"}),
        [r#"crm 1/1 "Ada""#, "web 2/2 null"],
        "cleared: the record took its own value back",
    );
    check(
        json!({"strategy": "trust"}),
        [r#"crm+5 1/1 "a""#, r#"web+1 2/2 "b""#],
        "source is trusted less: 1 against 5",
    );
    let frequent = [r#"crm 1/1 "Bonn""#, r#"web 2/2 "Köln""#, r#"pos 3/3 "bonn""#];
    let (value, rule, alternatives) = reasons(json!({"strategy": "most_frequent"}), &frequent).unwrap();
    assert_eq!((value, rule.as_str()), (json!("bonn"), "most frequent"));
    assert_eq!(
        alternatives[0],
        (
            json!("Bonn"),
            format!("older, of the same value: {}, stated again {}", t(1), t(3))
        )
    );
    assert_eq!(
        alternatives[1],
        (json!("Köln"), "stated less often: by 1 of the records against 2".to_owned())
    );
}

#[test]
fn the_rule_is_said_in_words() {
    let words = |strategy: Value| reasons(strategy, &[r#"crm 1/1 "x""#]).unwrap().1;
    assert_eq!(words(json!({"strategy": "most_recent"})), "most recent");
    assert_eq!(
        words(json!({"strategy": "source_priority", "sources": ["crm", "Shop"]})),
        "source priority: crm, shop"
    );
    assert_eq!(words(json!({"strategy": "longest"})), "longest");
    assert_eq!(words(json!({"strategy": "trust"})), "most trusted source");
}

#[test]
fn what_was_cleared_is_told_and_what_nobody_said_is_not() {
    let recent = json!({"strategy": "most_recent"});
    let (value, _, alternatives) = reasons(recent.clone(), &[r#"web 1/1 "x""#, "crm 2/2 null"]).unwrap();
    assert_eq!((value, alternatives.len()), (Value::Null, 1));
    let (value, _, alternatives) = reasons(json!({"strategy": "longest"}), &["web 1/1 null", r#"crm 2/2 "-""#]).unwrap();
    assert_eq!(value, Value::Null);
    assert_eq!(alternatives[0].0, json!("-"));
    assert_eq!(reasons(recent.clone(), &[r#"web 1/1 "n/a""#]), None);
    assert_eq!(reasons(recent, &[]), None);
}

mod generated {
    use super::*;
    use proptest::prelude::{prop_assert_eq, prop_assert_ne, proptest};
    use proptest::strategy::Strategy as _;

    fn lines() -> impl proptest::strategy::Strategy<Value = Vec<String>> {
        let source = proptest::sample::select(vec!["crm+5", "web", "pos+2", "crm:sales+1"]);
        let value = proptest::sample::select(vec![
            r#""Bonn""#,
            r#""bonn""#,
            r#""Köln""#,
            r#""n/a""#,
            "null",
            "5",
            r#"{"a": 1}"#,
        ]);
        let line = (source, 1..4_i64, 1..4_i64, value)
            .prop_map(|(source, at, arrival, value)| format!("{source} {at}/{arrival} {value}"));
        proptest::collection::vec(line, 0..8)
    }

    fn strategies() -> Vec<Survivorship> {
        [
            json!({"strategy": "most_recent"}),
            json!({"strategy": "source_priority", "sources": ["sales", "web"]}),
            json!({"strategy": "longest"}),
            json!({"strategy": "trust"}),
            json!({"strategy": "most_frequent"}),
        ]
        .map(rule)
        .into()
    }

    proptest! {
        #[test]
        fn without_the_statement_that_survived_the_answer_is_another_and_the_account_named_it(lines in lines()) {
            let speakers: Vec<Speaker> = speakers(lines.iter().map(String::as_str));
            let told = spoken(&speakers);
            for survivorship in strategies() {
                let survivor = survivorship.survivor_of(NAME, &told);
                let account = survivorship.account_of(NAME, &told);
                // The account is of the value that the customer has.
                let told_value = account.as_ref().map(|account| account.value).filter(|value| !value.is_null());
                prop_assert_eq!(told_value, survivor.map(|survivor| survivor.value));
                let Some(account) = account else { continue };
                prop_assert_eq!(account.alternatives.len() + 1, speakers.len());
                let without: Vec<Spoken<'_>> = told.iter().filter(|by| by.record != account.record).copied().collect();
                let next = survivorship.account_of(NAME, &without);
                prop_assert_ne!(next.as_ref().map(|next| next.record), Some(account.record));
                let is_counted_together = account.rule == "most frequent";
                if let Some(next) = next.filter(|_| !is_counted_together) {
                    prop_assert_eq!(next.record, account.alternatives[0].record);
                    prop_assert_eq!(next.value, account.alternatives[0].value);
                }
            }
        }
    }
}
