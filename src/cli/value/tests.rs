//! The command as it is typed, with the files it leaves.

use super::*;
use clap::Parser;
use serde_json::Value;

#[derive(Debug, Parser)]
struct Typed {
    #[command(subcommand)]
    command: ValueCommand,
}

/// What a run left behind.
struct Left {
    result: anyhow::Result<()>,
    scores: Vec<Vec<String>>,
    report: Value,
}

const SCORES: &str = "customer_id,p_alive,expected_purchases,expected_spend,clv";

fn cdnow(name: &str) -> String {
    format!("{}/tests/data/clv/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn score(name: &str, options: &[&str]) -> Left {
    let file = |kind: &str| std::env::temp_dir().join(format!("tributary-score-{}-{name}.{kind}", std::process::id()));
    let (out, report) = (file("csv"), file("json"));
    let files = ["--out", out.to_str().unwrap(), "--report", report.to_str().unwrap()];
    let typed = Typed::try_parse_from(["tributary", "score"].iter().chain(options).chain(&files)).unwrap();
    let result = run(&typed.command);
    let text = std::fs::read_to_string(&out).unwrap();
    Left {
        result,
        scores: text
            .lines()
            .map(|line| line.split(',').map(str::to_owned).collect())
            .collect(),
        report: serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap(),
    }
}

fn with_file(name: &str, text: &str, option: &str, more: &[&str]) -> Left {
    let path = std::env::temp_dir().join(format!("tributary-score-{}-{name}-in.csv", std::process::id()));
    std::fs::write(&path, text).unwrap();
    score(name, &[&[option, path.to_str().unwrap()], more].concat())
}

fn column(left: &Left, name: &str) -> Vec<f64> {
    let at = left.scores[0].iter().position(|column| column == name).unwrap();
    left.scores[1..].iter().map(|row| row[at].parse().unwrap()).collect()
}

fn near(mine: f64, reference: f64) -> bool {
    (mine / reference - 1.0).abs() < 1e-5
}

#[test]
fn purchases_are_fitted_scored_and_tested_on_what_came_later() {
    let options = [
        "--transactions",
        &cdnow("cdnow_transactions.csv"),
        "--calibration-end",
        "1997-09-30",
        "--horizon",
        "39",
    ];
    let left = score("purchases", &options);
    left.result.as_ref().unwrap();
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(cdnow("expected.json")).unwrap()).unwrap();
    for model in ["bg_nbd", "mbg_nbd", "gamma_gamma"] {
        let (mine, reference) = (&left.report["models"][model], &expected["fits"][model]);
        assert_eq!(mine["converged"], true);
        assert!(mine["warnings"].is_array());
        let number = |value: &Value| value.as_f64().unwrap();
        assert!((number(&mine["log_likelihood"]) - number(&reference["log_likelihood"])).abs() < 1e-5);
        for (name, value) in reference["params"].as_object().unwrap() {
            assert!(near(number(&mine["params"][name]), number(value)), "{model} {name}");
            assert!(
                near(
                    number(&mine["standard_errors"][name]),
                    number(&reference["standard_errors"][name])
                ),
                "{model} {name}"
            );
        }
    }
    assert_eq!(left.report["scored_by"], "mbg_nbd", "the likelier one");
    assert_eq!(left.scores[0].join(","), SCORES);
    assert_eq!(left.scores.len(), 2358);
    assert!(near(
        column(&left, "clv").iter().sum(),
        expected["totals"]["clv12m"]["mbg"].as_f64().unwrap()
    ));
    assert!(near(
        column(&left, "expected_purchases").iter().sum(),
        expected["totals"]["cet39"]["mbg"].as_f64().unwrap()
    ));
    let backtest = &left.report["backtest"];
    assert_eq!(backtest["horizon"], 39.0);
    let rmse = |method: &str| backtest["methods"][method]["rmse"].as_f64().unwrap();
    assert!(rmse("bg_nbd") < rmse("naive_rate") && near(rmse("naive_rate"), 2.211_918_088_604_625_2));
    assert_eq!(backtest["methods"]["mbg_nbd"]["by_frequency"][7]["class"], "7+");
    assert_eq!(left.report["unknown"], serde_json::json!([]));
}

#[test]
fn summaries_give_the_same_as_purchases() {
    let left = score(
        "summary",
        &[
            "--summary",
            &cdnow("cdnow_summary.csv"),
            "--model",
            "bg-nbd",
            "--unit",
            "day",
            "--explain",
        ],
    );
    left.result.as_ref().unwrap();
    assert!(near(column(&left, "clv").iter().sum(), 71_507.951_756_5));
    let alpha = left.report["models"]["bg_nbd"]["params"]["alpha"].as_f64().unwrap();
    assert!(near(alpha, 4.413_602_019_013_497 * 7.0), "in days");
    assert!(left.report["models"].get("mbg_nbd").is_none());
    let (low, high) = (
        column(&left, "expected_purchases_low"),
        column(&left, "expected_purchases_high"),
    );
    let middle = column(&left, "expected_purchases");
    assert!((0..middle.len()).all(|i| low[i] < middle[i] && middle[i] < high[i]));
    assert!(left.report["backtest"].is_null());
}

#[test]
fn a_line_that_cannot_be_read_leaves_the_others_scored_and_the_command_failed() {
    let mut text = std::fs::read_to_string(cdnow("cdnow_summary.csv")).unwrap();
    text.push_str("9999,two,3,4,1,1,5,0\n");
    let left = with_file("bad", &text, "--summary", &[]);
    assert!(left.result.unwrap_err().to_string().starts_with("1 lines of"));
    assert_eq!(left.scores.len(), 2358);
    assert_eq!(left.report["lines_not_read"], 1);
}

#[test]
fn what_cannot_be_known_is_empty_and_has_a_reason() {
    let header = "customer_id,date,value\n";
    let nobody = with_file("nobody", header, "--transactions", &[]);
    nobody.result.unwrap();
    assert_eq!(nobody.scores.len(), 1);
    assert_eq!(nobody.report["models"]["bg_nbd"]["params"], Value::Null);
    assert_eq!(nobody.report["models"]["bg_nbd"]["warnings"][0], "there is no customer");
    let once = with_file(
        "once",
        &format!("{header}ada,2024-02-29,5\nben,2024-03-09,7\n"),
        "--transactions",
        &["--explain"],
    );
    once.result.unwrap();
    assert_eq!(once.scores[1][..5], ["ada", "", "", "", ""]);
    assert!(once.scores[1][7].contains("no model of buying: nobody has bought on a second day"));
    assert_eq!(once.report["unknown"][0]["customers"], 2);
    assert_eq!(once.report["scored_by"], Value::Null);
}

#[test]
fn who_bought_before_the_first_day_is_scored_and_not_fitted_to() {
    let options = ["--transactions", &cdnow("cdnow_transactions.csv"), "--from", "1997-02-01"];
    let left = score("from", &options);
    left.result.unwrap();
    let fitted = left.report["models"]["bg_nbd"]["customers"].as_u64().unwrap();
    let scored = left.report["customers"].as_u64().unwrap();
    assert!(fitted < scored);
    let warnings = left.report["warnings"].to_string();
    assert!(
        warnings.contains(&format!("{} customers bought before the first day", scored - fitted)),
        "{warnings}"
    );
}

#[test]
fn one_file_is_needed_and_no_two() {
    let typed = |files: &[&str]| {
        let rest = ["--out", "scores.csv", "--report", "report.json"];
        Typed::try_parse_from(["tributary", "score"].iter().chain(files).chain(&rest))
    };
    assert!(typed(&["--summary", "a.csv"]).is_ok());
    assert!(
        typed(&[])
            .unwrap_err()
            .to_string()
            .contains("--transactions <FILE>|--summary <FILE>")
    );
    assert!(typed(&["--summary", "a.csv", "--transactions", "b.csv"]).is_err());
    assert!(
        typed(&["--summary", "a.csv", "--from", "2024-02-29"]).is_err(),
        "a summary has no days"
    );
}

#[test]
fn a_horizon_is_read_with_its_unit() {
    let weeks = |text: &str| Span::parse(text).map(|span| span.units(Unit::Week));
    assert_eq!((weeks("39"), weeks("39w"), weeks("273d")), (Ok(39.0), Ok(39.0), Ok(39.0)));
    assert!((weeks("12m").unwrap() - 52.14).abs() < 1e-12);
    assert_eq!(Span::parse("39").map(|span| span.units(Unit::Day)), Ok(39.0));
    for text in ["", "0", "-3", "w", "3y", "3dw", "inf"] {
        assert!(Span::parse(text).is_err(), "{text}");
    }
}
