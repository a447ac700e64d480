use super::*;

/// A file of its own for each test.
fn file(name: &str, text: impl AsRef<[u8]>) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("tributary-read-{}-{name}.csv", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

fn told(bad: &[BadLine]) -> Vec<String> {
    bad.iter().map(ToString::to_string).collect()
}

#[test]
fn a_bad_line_is_told_with_line_and_column_and_costs_only_itself() {
    let text = "customer_id,note,date,value\n\
        ada,x,2024-02-29,19.99\n\
        \n\
        ben,x,2023-02-29,5\n\
        ,x,2024-03-01,5\n\
        cem,x,2024-03-01,five\n\
        dan,2024-03-01,5\n\
        ada,x,2024-03-01T23:30:00-05:00,-3\n";
    let read = transactions(&file("bad-lines", text)).unwrap();
    assert_eq!(
        told(&read.bad),
        [
            "line 4, column 3 (date): \"2023-02-29\" is no day such as 2024-02-29",
            "line 5, column 1 (customer_id): is empty",
            "line 6, column 4 (value): \"five\" is no amount such as 19.99",
            "line 7, it has 3 columns, the first line 4",
        ]
    );
    assert_eq!(read.customers, ["ada"]);
    let days: Vec<String> = read.purchases.iter().map(|purchase| purchase.day.to_string()).collect();
    assert_eq!(days, ["2024-02-29", "2024-03-02"], "the day of a time is that in UTC");
    assert_eq!(read.purchases[1].value, Decimal::from(-3));
}

#[test]
fn an_open_quote_swallows_no_other_line() {
    let text = "customer_id,date,value\n\"ada,2024-03-01,5\nben,2024-03-02,6\n\"cem, the first\",2024-03-03,7\n\"dan,2024-03-04,8\neve,2024-03-05,9\n";
    let read = transactions(&file("quote", text)).unwrap();
    assert_eq!(read.customers, ["ben", "cem, the first", "eve"]);
    let lines: Vec<u64> = read.bad.iter().map(|bad| bad.line).collect();
    assert_eq!(lines, [2, 5]);
    assert!(
        read.bad[0].what.starts_with("a quote is opened and not closed"),
        "{}",
        read.bad[0]
    );
}

#[test]
fn an_open_quote_in_a_column_nobody_needs_swallows_no_line_either() {
    let text =
        "customer_id,date,value,note\nada,2024-03-01,5,\"open\nben,2024-03-02,6,\ncem,2024-03-03,7,\"open\ndan,2024-03-04,8,\n";
    let read = transactions(&file("note", text)).unwrap();
    assert_eq!(read.customers, ["ben", "dan"]);
    let lines: Vec<u64> = read.bad.iter().map(|bad| bad.line).collect();
    assert_eq!(lines, [2, 4]);
}

#[test]
fn a_quoted_field_may_hold_line_ends_and_files_may_come_from_windows() {
    let text = "\u{feff}Customer_ID,note,Date,VALUE\r\nada,\"two\r\nlines\",2024-03-01,5\r\nben,x,nonsense,6\r\n";
    let read = transactions(&file("windows", text)).unwrap();
    assert_eq!(read.customers, ["ada"]);
    assert_eq!(read.bad.len(), 1);
    assert_eq!(read.bad[0].line, 4);
}

#[test]
fn bytes_that_are_no_text_cost_their_line() {
    let read = transactions(&file(
        "bytes",
        b"customer_id,date,value\n\xff\xfe,2024-03-01,5\nben,2024-03-02,6\n",
    ))
    .unwrap();
    assert_eq!(told(&read.bad), ["line 2, column 1 (customer_id): is not UTF-8"]);
    assert_eq!(read.customers, ["ben"]);
}

#[test]
fn a_file_without_the_columns_is_refused_by_name() {
    let error = transactions(&file("columns", "id;date;value\n1;2024-03-01;5\n")).unwrap_err();
    assert!(
        format!("{error:#}")
            .ends_with("line 1: there is no column customer_id; needed are customer_id,date,value, found are id;date;value")
    );
    let error = transactions(&file("twice", "customer_id,date,date,value\n")).unwrap_err();
    assert!(format!("{error:#}").ends_with("the column date appears twice"));
    let error = transactions(&file("empty", "")).unwrap_err();
    assert!(format!("{error:#}").contains("is empty"));
}

#[test]
fn summaries_that_contradict_themselves_are_left_out() {
    let text = "customer_id,x,t_x_days,T_days,monetary\n\
        ada,2,14,28,9.5\n\
        ben,0,0,28,\n\
        cem,2,30,28,9.5\n\
        dan,2,0,28,9.5\n\
        eve,-1,0,28,0\n\
        fay,1,7,NaN,5\n\
        gil,1,7,28,\n\
        ada,2,14,28,9.5\n\
        hal,1,7,28,-4\n";
    let (read, bad) = summaries(&file("summary", text), Unit::Week).unwrap();
    assert_eq!(
        told(&bad),
        [
            "line 4, column 3 (t_x_days): the last purchase lies after the end of the observation",
            "line 5, column 3 (t_x_days): repeat purchases lie on later days than the first, so there is time between the first and the last",
            "line 6, column 2 (x): \"-1\" is no number of repeat days",
            "line 7, column 4 (T_days): \"NaN\" is no number of days",
            "line 8, column 5 (monetary): \"\" is no number",
            "line 9, column 1 (customer_id): \"ada\" was on line 2 already",
        ]
    );
    let names: Vec<&str> = read.iter().map(|summary| summary.customer.as_str()).collect();
    assert_eq!(names, ["ada", "ben", "hal"]);
    assert_eq!(read[0].history, History::new(2, 2.0, 4.0).unwrap());
    assert_eq!(read[0].spend, Spend::new(2, 9.5).ok());
    assert_eq!(read[1].spend, None);
    assert_eq!(read[2].spend, Spend::new(1, 0.0).ok(), "more was given back than paid");
}
