use super::super::known::Returned;
use super::*;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

fn order(when: &str, amount: Option<i64>) -> Order {
    Order {
        at: at(when),
        day: day(&when[..10]),
        amount,
        refunds: Vec::new(),
        categories: Vec::new(),
        channel: "WEB".to_owned(),
    }
}

fn back(when: &str, amount: i64) -> Returned {
    Returned {
        at: at(when),
        day: day(&when[..10]),
        amount,
    }
}

fn known(orders: Vec<Order>) -> Known {
    Known {
        orders,
        ..Known::default()
    }
}

fn facts(orders: Vec<Order>, when: &str) -> Facts {
    Facts::of(&known(orders), &ValueRules::default(), at(when))
}

#[test]
fn of_nobody_nothing_is_known_and_nothing_is_zero_that_is_unknown() {
    let facts = facts(Vec::new(), "2026-01-01");
    assert_eq!(facts, Facts::default());
    assert_eq!((facts.coverage(), facts.cadence_days), (None, None));
    assert_eq!((facts.days.history(day("2026-01-01")), facts.days.spend()), (None, None));
}

#[test]
fn one_purchase_has_a_history_without_repeats_and_no_spend_also_on_its_own_day() {
    let facts = facts(vec![order("2026-03-01T10:00:00Z", Some(500))], "2026-03-01T10:00:00Z");
    assert_eq!((facts.orders, facts.net(), facts.coverage()), (1, 500, Some(1.0)));
    assert_eq!(facts.days.history(day("2026-03-01")), Some(History::NEW), "T = 0");
    assert_eq!(facts.days.history(day("2026-03-11")), History::new(0, 0.0, 10.0).ok());
    assert_eq!(facts.days.history(day("2026-02-28")), None, "no history before it began");
    assert_eq!(facts.days.spend(), None);
    let before = super::Facts::of(
        &known(vec![order("2026-03-01T10:00:00Z", Some(500))]),
        &ValueRules::default(),
        at("2026-03-01T09:59:59.999999Z"),
    );
    assert_eq!(before, Facts::default(), "nothing one microsecond before");
}

#[test]
fn purchases_of_one_day_are_one_for_the_models_and_two_orders() {
    let orders = vec![
        order("2028-02-28T08:00:00Z", Some(500)),
        order("2028-02-29T08:00:00Z", Some(300)),
        order("2028-02-29T20:00:00Z", Some(400)),
        order("2028-03-01T08:00:00Z", Some(100)),
    ];
    let facts = facts(orders, "2028-03-31");
    assert_eq!((facts.orders, facts.net()), (4, 1300));
    assert_eq!(
        facts.days.history(day("2028-03-31")),
        History::new(2, 2.0, 32.0).ok(),
        "a leap day is a day"
    );
    assert_eq!(facts.days.spend(), Spend::new(2, 400.0).ok());
    assert_eq!(facts.cadence_days, Some(1.0), "and two orders of one day have no gap");
}

#[test]
fn a_refund_counts_on_its_own_day_for_revenue_and_lowers_the_day_of_its_purchase() {
    let mut second = order("2026-01-11T00:00:00Z", Some(1000));
    second.refunds = vec![back("2026-02-01T00:00:00Z", 400), back("2026-03-01T00:00:00Z", 600)];
    let orders = vec![
        order("2026-01-01T00:00:00Z", Some(700)),
        second,
        order("2026-01-21T00:00:00Z", Some(300)),
    ];
    let spent = |when: &str| {
        let facts = facts(orders.clone(), when);
        (
            facts.net(),
            facts.refunds,
            facts.returned,
            facts.days.count,
            facts.days.spend(),
        )
    };
    assert_eq!(spent("2026-01-31T23:59:59Z"), (2000, 0, 0, 3, Spend::new(2, 650.0).ok()));
    assert_eq!(spent("2026-02-01"), (1600, 400, 0, 3, Spend::new(2, 450.0).ok()));
    assert_eq!(
        spent("2026-03-01"),
        (1000, 1000, 1, 3, Spend::new(1, 300.0).ok()),
        "a day that brought nothing is a purchase, and left out of the mean"
    );
}

#[test]
fn where_no_repeat_day_brought_anything_the_mean_is_zero_and_where_none_is_known_there_is_none() {
    let given = |amount| {
        vec![
            order("2026-01-01T00:00:00Z", Some(700)),
            order("2026-01-11T00:00:00Z", amount),
        ]
    };
    assert_eq!(facts(given(Some(0)), "2026-02-01").days.spend(), Spend::new(1, 0.0).ok());
    let unknown = facts(given(None), "2026-02-01");
    assert_eq!(unknown.days.spend(), None);
    assert_eq!((unknown.days.count, unknown.coverage(), unknown.net()), (2, Some(0.5), 700));
    let credit = facts(given(Some(-100)), "2026-02-01");
    assert_eq!((credit.days.count, credit.net()), (1, 600), "a credit note buys nothing");
}

#[test]
fn a_day_is_not_known_by_a_part_of_what_it_brought() {
    let orders = vec![
        order("2026-01-01T00:00:00Z", Some(700)),
        order("2026-01-11T00:00:00Z", Some(300)),
        order("2026-01-11T09:00:00Z", None),
        order("2026-01-12T00:00:00Z", Some(500)),
    ];
    assert_eq!(facts(orders, "2026-02-01").days.spend(), Spend::new(1, 500.0).ok());
}

#[test]
fn who_bought_before_the_data_begin_is_marked_and_counted_from_there() {
    let rules = ValueRules {
        data_from: Some(day("2026-01-01")),
        ..ValueRules::default()
    };
    let orders = vec![
        order("2025-12-31T00:00:00Z", Some(100)),
        order("2026-01-10T00:00:00Z", Some(200)),
        order("2026-01-20T00:00:00Z", Some(300)),
    ];
    let facts = Facts::of(&known(orders.clone()), &rules, at("2026-01-31"));
    assert_eq!((facts.orders, facts.net()), (3, 600), "facts know of it");
    assert_eq!(facts.days.history(day("2026-01-31")), History::new(1, 10.0, 21.0).ok());
    assert!(facts.days.began_before);
    let before = Facts::of(&known(orders[..1].to_vec()), &rules, at("2026-01-31"));
    assert_eq!(
        (before.days.history(day("2026-01-31")), before.days.began_before),
        (None, true)
    );
}

#[test]
fn categories_and_channels_are_counted_the_most_frequent_first() {
    let mut orders = vec![
        order("2026-01-01T00:00:00Z", None),
        order("2026-01-02T00:00:00Z", None),
        order("2026-01-03T00:00:00Z", None),
    ];
    orders[0].categories = vec!["tea".to_owned()];
    orders[1].categories = vec!["books".to_owned(), "tea".to_owned()];
    orders[2].channel = "POS".to_owned();
    let facts = facts(orders, "2026-01-02T00:00:00Z");
    assert_eq!(facts.categories, [("tea".to_owned(), 2), ("books".to_owned(), 1)]);
    assert_eq!(
        facts.channels,
        [("WEB".to_owned(), 2)],
        "what had not happened does not count"
    );
}

#[test]
fn the_median_of_an_even_number_lies_between() {
    assert_eq!(median(vec![]), None);
    assert_eq!(median(vec![3.0]), Some(3.0));
    assert_eq!(median(vec![9.0, 1.0, 2.0, 4.0]), Some(3.0));
}
