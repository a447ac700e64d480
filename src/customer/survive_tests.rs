//! Each rule and each tie, told in lines; the scenario of the golden record; the laws behind them.

use super::*;
use serde_json::json;

/// A record that speaks about some attributes.
pub(super) struct Speaker {
    pub(super) record: RecordId,
    source_key: String,
    channel: Channel,
    trust: i64,
    traits: RecordTraits,
}

/// The attribute that the tables speak about.
pub(super) const NAME: &str = "it";

/// One record out of `source+trust time/arrival value`: `crm:sales+10 1/9 "Ada"`. The source is a channel, which may have a key of its
/// own after a colon; no trust is 0; the value is JSON.
fn speaker(n: u128, line: &str) -> Speaker {
    let [source, instants, value] = <[&str; 3]>::try_from(line.splitn(3, ' ').collect::<Vec<_>>()).unwrap();
    let (source, trust) = source.split_once('+').unwrap_or((source, "0"));
    let (channel, key) = source.split_once(':').unwrap_or((source, source));
    let (at, arrival) = instants.split_once('/').unwrap();
    let at = Instant::from_micros(at.parse().unwrap());
    let event = EventId(uuid::Uuid::from_u128(n));
    let mut traits = RecordTraits::default();
    traits.state(
        NAME,
        &serde_json::from_str(value).unwrap(),
        at,
        event,
        arrival.parse().unwrap(),
    );
    Speaker {
        record: RecordId(uuid::Uuid::from_u128(n)),
        source_key: key.to_owned(),
        channel: channel_named(channel).unwrap(),
        trust: trust.parse().unwrap(),
        traits,
    }
}

pub(super) fn speakers<'t>(lines: impl IntoIterator<Item = &'t str>) -> Vec<Speaker> {
    (1..).zip(lines).map(|(n, line)| speaker(n, line)).collect()
}

pub(super) fn spoken(speakers: &[Speaker]) -> Vec<Spoken<'_>> {
    let spoken = speakers.iter().map(|speaker| Spoken {
        record: speaker.record,
        source_key: &speaker.source_key,
        channel: speaker.channel,
        trust: speaker.trust,
        traits: &speaker.traits,
    });
    spoken.collect()
}

pub(super) fn rule(rule: Value) -> Survivorship {
    Survivorship::parse(&json!({ NAME: rule })).unwrap()
}

/// Cases of one rule, a line each: `name: record | record => what survives`, told forward and backward; null when nothing does.
#[track_caller]
fn check(stated: Value, cases: &str) {
    let survivorship = rule(stated.clone());
    for case in cases.lines().map(str::trim).filter(|case| !case.is_empty()) {
        let (told, expected) = case.split_once(" => ").unwrap();
        let (_, records) = told.split_once(": ").unwrap();
        let speakers = speakers(records.split(" | "));
        let mut told = spoken(&speakers);
        for _ in 0..2 {
            let golden = survivorship.golden(&told);
            let expected: Value = serde_json::from_str(expected).unwrap();
            assert_eq!(golden.0.get(NAME).unwrap_or(&Value::Null), &expected, "{stated}: {case}");
            told.reverse();
        }
    }
}

#[test]
fn most_recent_goes_by_event_time_then_arrival_then_record() {
    check(
        json!({"strategy": "most_recent"}),
        r#"
            event time: web 1/9 "old" | crm 2/1 "new" => "new"
            arrival: web 1/9 "late" | crm 1/8 "early" => "late"
            record: web 1/9 "low" | crm 1/9 "high" => "high"
            trust is not asked: web+9 1/1 "old" | crm 2/2 "new" => "new"
            a filler: web 1/1 "old" | crm 2/2 "N/A" => "old"
            nothing but fillers: web 1/1 "-" | crm 2/2 " " => null
        "#,
    );
}

#[test]
fn a_null_clears_for_all_where_the_most_recent_counts() {
    check(
        json!({"strategy": "most_recent"}),
        r#"
            newest: web 1/1 "x" | crm 2/2 null => null
            older: web 3/1 "x" | crm 2/2 null => "x"
            same time, later arrival: web 2/1 "x" | crm 2/2 null => null
            same time, earlier arrival: web 2/3 "x" | crm 2/2 null => "x"
            a filler does not undo it: web 1/1 "x" | crm 2/2 null | pos 3/3 "n/a" => null
        "#,
    );
}

#[test]
fn a_null_takes_out_its_own_record_alone_under_the_other_rules() {
    for strategy in ["most_frequent", "longest", "trust", "source_priority"] {
        let mut stated = json!({"strategy": strategy});
        if strategy == "source_priority" {
            stated["sources"] = json!(["crm"]);
        }
        check(
            stated,
            r#"
                another has a value: web 1/1 "x" | crm+9 2/2 null => "x"
                nobody has: web 1/1 null | crm+9 2/2 null => null
            "#,
        );
    }
}

#[test]
fn a_null_is_the_record_s_last_word_until_it_says_more() {
    let mut cleared = speaker(1, r#"crm 1/1 "Ada""#);
    let at = Instant::from_micros;
    let event = |n| EventId(uuid::Uuid::from_u128(n));
    cleared.traits.state(NAME, &Value::Null, at(3), event(2), 2);
    let other = speaker(2, r#"web 2/3 "Augusta""#);
    let mut speakers = [cleared, other];
    let priority = rule(json!({"strategy": "source_priority", "sources": ["crm"]}));
    let value = |survivorship: &Survivorship, speakers: &[Speaker]| survivorship.golden(&spoken(speakers)).text(NAME);
    assert_eq!(value(&Survivorship::default(), &speakers), None);
    assert_eq!(value(&priority, &speakers).as_deref(), Some("Augusta"));
    speakers[0].traits.state(NAME, &json!("Ada King"), at(4), event(3), 4);
    assert_eq!(value(&Survivorship::default(), &speakers).as_deref(), Some("Ada King"));
    assert_eq!(value(&priority, &speakers).as_deref(), Some("Ada King"));
}

#[test]
fn source_priority_asks_in_its_order_and_then_the_most_recent() {
    check(
        json!({"strategy": "source_priority", "sources": ["crm", "till-7", "call"]}),
        r#"
            a channel: web 9/9 "web" | crm:sales 1/1 "crm" => "crm"
            a source's key: pos:till-6 9/9 "six" | pos:till-7 1/1 "seven" => "seven"
            call: web 9/9 "web" | call_centre:desk 1/1 "call" => "call"
            the order: call:desk 9/9 "call" | pos:till-7 1/1 "seven" => "seven"
            most recent of one place: crm:a 1/9 "old" | crm:b 2/1 "new" => "new"
            later arrival of one place: crm:a 1/9 "late" | crm:b 1/1 "early" => "late"
            a filler is no value: crm 9/9 "unknown" | call 1/1 "call" => "call"
            nobody named: web 1/9 "old" | app 2/1 "new" => "new"
        "#,
    );
}

#[test]
fn most_frequent_counts_folded_texts_and_spells_like_the_most_recent() {
    check(
        json!({"strategy": "most_frequent"}),
        r#"
            count: web 1/1 "Bonn" | web 2/2 "Bonn" | web 3/3 "Köln" => "Bonn"
            spelling: web 2/1 "bonn" | web 1/2 "BONN" | web 3/3 "Köln" => "bonn"
            spelling at one time: web 1/2 "BONN" | web 1/1 "bonn" => "BONN"
            tie: web 1/9 "Bonn" | web 2/1 "Köln" => "Köln"
            tie at one time: web 1/9 "Bonn" | web 1/1 "Köln" => "Bonn"
            composed and decomposed: web 1/1 "Köln" | web 2/2 "Ko\u0308ln" | web 3/3 "Bonn" => "Ko\u0308ln"
            fillers do not count: web 1/1 "n/a" | web 2/2 "N/A" | web 0/0 "Bonn" => "Bonn"
            numbers: web 1/1 5 | web 2/2 5 | web 3/3 7 => 5
            objects: web 2/1 {"a": "Bonn", "b": 5} | web 1/2 {"b": 5, "a": "BONN"} | web 3/3 {"a": "Köln"} => {"a": "Bonn", "b": 5}
        "#,
    );
}

#[test]
fn longest_measures_characters_of_the_trimmed_text() {
    check(
        json!({"strategy": "longest"}),
        r#"
            length: web 1/1 "Ringstraße 5" | web 2/2 "Ring 5" => "Ringstraße 5"
            characters, not bytes: web 2/2 "北京市朝" | web 1/1 "Bonn2" => "Bonn2"
            blanks around it are no length: web 1/1 "  Ring  " | web 0/0 "Ring 5" => "Ring 5"
            tie: web 1/9 "abc" | web 2/1 "xyz" => "xyz"
            tie at one time: web 1/9 "abc" | web 1/1 "xyz" => "abc"
            a long filler: web 2/2 "unknown" | web 1/1 "Ulm" => "Ulm"
            objects by their JSON: web 1/1 {"a": "Bonn", "b": 5} | web 2/2 {"a": "Bonn"} => {"a": "Bonn", "b": 5}
        "#,
    );
}

#[test]
fn trust_takes_the_most_trusted_and_then_the_most_recent() {
    check(
        json!({"strategy": "trust"}),
        r#"
            trust: web+1 9/9 "web" | crm+10 1/1 "crm" => "crm"
            recent: web+5 2/1 "web" | crm+5 1/9 "crm" => "web"
            arrival: web+5 1/1 "web" | crm+5 1/9 "crm" => "crm"
            a filler is no value: web+1 1/1 "web" | crm+10 2/2 "none" => "web"
        "#,
    );
}

#[test]
fn a_survivor_says_where_it_comes_from() {
    let speakers = [speaker(1, r#"crm 1/1 "Robert""#), speaker(2, r#"web 2/2 "Bob""#)];
    let told = spoken(&speakers);
    let survivor = rule(json!({"strategy": "source_priority", "sources": ["CRM"]})).survivor_of(NAME, &told);
    let expected = Survivor {
        value: &json!("Robert"),
        record: speakers[0].record,
        at: Instant::from_micros(1),
        event: EventId(uuid::Uuid::from_u128(1)),
        rule: "source_priority",
    };
    assert_eq!(survivor, Some(expected));
    let unruled = Survivorship::default()
        .survivor_of(NAME, &told)
        .map(|survivor| (survivor.record, survivor.rule));
    assert_eq!(unruled, Some((speakers[1].record, "most_recent")));
    assert_eq!(Survivorship::default().survivor_of("nothing", &told), None);
}

#[test]
fn named_attributes_alone_are_as_among_all() {
    let mut speakers = [speaker(1, r#"crm 1/1 "Ada""#), speaker(2, r#"web 2/2 "Bob""#)];
    let event = EventId(uuid::Uuid::from_u128(9));
    speakers[0]
        .traits
        .state("city", &json!("Bonn"), Instant::from_micros(1), event, 1);
    speakers[1]
        .traits
        .state("gone", &Value::Null, Instant::from_micros(1), event, 1);
    let told = spoken(&speakers);
    let all = Survivorship::default().golden(&told);
    assert_eq!(Value::Object(all.0), json!({NAME: "Bob", "city": "Bonn"}));
    let some = Survivorship::default().golden_of(["city", "gone", "never"], &told);
    assert_eq!(Value::Object(some), json!({"city": "Bonn"}));
}

#[test]
fn rules_that_are_not_sound_say_where() {
    let cases = r#"
        [] => golden: must be an object of rules by attribute
        {"city": "longest"} => golden.city: must be an object such as {"strategy": "most_recent"}
        {"city": {}} => golden.city.strategy: is missing: STRATEGIES
        {"city": {"strategy": 1}} => golden.city.strategy: must be a text: STRATEGIES
        {"city": {"strategy": "newest"}} => golden.city.strategy: newest is no strategy: STRATEGIES
        {"city": {"strategy": "longest", "order": 1}} => golden.city.order: is no key of a rule: use strategy and sources
        {"city": {"strategy": "longest", "sources": ["crm"]}} => golden.city.sources: is for source_priority only, not for longest
        {"city": {"strategy": "source_priority"}} => golden.city.sources: is missing: HINT
        {"city": {"strategy": "source_priority", "sources": null}} => golden.city.sources: is missing: HINT
        {"city": {"strategy": "source_priority", "sources": []}} => golden.city.sources: is empty: HINT
        {"city": {"strategy": "source_priority", "sources": "crm"}} => golden.city.sources: must be a list: HINT
        {"city": {"strategy": "source_priority", "sources": ["crm", " "]}} => golden.city.sources.1: NAME
        {"city": {"strategy": "source_priority", "sources": [7]}} => golden.city.sources.0: NAME
        {"firstName": {"strategy": "trust"}, "first_name": {"strategy": "trust"}} => golden.first_name: first_name TWICE
    "#;
    let cases = cases
        .replace(
            "STRATEGIES",
            "use most_recent, source_priority, most_frequent, longest or trust",
        )
        .replace("HINT", "name at least one source or channel, the most preferred first")
        .replace("NAME", "must be the key of a source or the name of a channel")
        .replace("TWICE", "has a rule already, in another spelling");
    for (config, expected) in cases.lines().filter_map(|case| case.trim().split_once(" => ")) {
        let config = serde_json::from_str(config).unwrap();
        assert_eq!(Survivorship::parse(&config).expect_err("not sound").to_string(), expected);
    }
}

#[test]
fn a_null_is_no_rule_and_reserved_names_have_one_spelling() {
    for config in [Value::Null, json!({}), json!({"city": null})] {
        assert_eq!(Survivorship::parse(&config), Ok(Survivorship::default()), "{config}");
    }
    let spelled = |name: &str| Survivorship::parse(&json!({name: {"strategy": "longest", "sources": null}}));
    assert_eq!(spelled("firstName"), spelled("first_name"));
    assert_ne!(spelled("firstName"), Ok(Survivorship::default()));
}

#[test]
fn every_channel_has_its_name() {
    for (name, channel) in [
        ("web", Channel::Web),
        ("app", Channel::App),
        ("pos", Channel::Pos),
        ("crm", Channel::Crm),
        ("email", Channel::Email),
        ("call", Channel::CallCentre),
        ("call_centre", Channel::CallCentre),
        ("call-centre", Channel::CallCentre),
        ("social", Channel::Social),
        ("import", Channel::Import),
        ("other", Channel::Other),
    ] {
        assert_eq!(channel_named(name), Some(channel), "{name}");
    }
    assert_eq!(channel_named("fax"), None);
}

#[test]
fn the_scenario_of_the_golden_record_ends_as_it_says() {
    let path = format!("{}/tests/data/identity/scenarios.json", env!("CARGO_MANIFEST_DIR"));
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let scenario = document["scenarios"]
        .as_array()
        .unwrap()
        .iter()
        .find(|scenario| scenario["id"] == "D12")
        .unwrap();
    let survivorship = Survivorship::parse(&scenario["config"]["golden"]).unwrap();
    let mut speakers = Vec::new();
    for (n, step) in (1_i64..).zip(scenario["steps"].as_array().unwrap()) {
        let id = uuid::Uuid::from_u128(n.unsigned_abs().into());
        let at = Instant::parse(step["ts"].as_str().unwrap()).unwrap();
        let mut traits = RecordTraits::default();
        for (name, value) in step["attributes"].as_object().unwrap() {
            traits.state(name, value, at, EventId(id), n);
        }
        let channel = step["channel"].as_str().unwrap();
        speakers.push(Speaker {
            record: RecordId(id),
            source_key: format!("source-{n}"),
            channel: channel_named(channel).unwrap(),
            trust: 0,
            traits,
        });
    }
    assert_eq!(
        Value::Object(survivorship.golden(&spoken(&speakers)).0),
        scenario["expected"]["golden"]["r2"]
    );
}

mod generated {
    use super::*;
    use proptest::prelude::{Just, prop_assert, prop_assert_eq, proptest};
    use proptest::strategy::Strategy;

    const VALUES: [&str; 9] = [
        r#""Bonn""#,
        r#""BONN""#,
        r#""Köln""#,
        r#""n/a""#,
        r#""""#,
        "null",
        "5",
        r#"{"a":1}"#,
        r#"{"a":"-"}"#,
    ];
    const SOURCES: [&str; 5] = ["web", "crm", "pos:till-7", "pos:till-6", "call"];

    /// Few values, times and arrivals, so that ties are the rule.
    fn lines() -> impl Strategy<Value = Vec<String>> {
        let line = (0..SOURCES.len(), 0..3_i64, 0..VALUES.len(), 0..3_i64, 0..3_i64);
        let tell = |(source, trust, value, at, arrival): (usize, i64, usize, i64, i64)| {
            format!("{}+{trust} {at}/{arrival} {}", SOURCES[source], VALUES[value])
        };
        proptest::collection::vec(line.prop_map(tell), 0..9)
    }

    fn rules() -> Vec<Survivorship> {
        let mut rules: Vec<Survivorship> = ["most_recent", "most_frequent", "longest", "trust"]
            .into_iter()
            .map(|strategy| rule(json!({"strategy": strategy})))
            .collect();
        rules.push(rule(
            json!({"strategy": "source_priority", "sources": ["crm", "till-7", "pos"]}),
        ));
        rules
    }

    proptest! {
        #[test]
        fn golden_values_do_not_depend_on_the_order_of_records(
            (lines, places) in lines().prop_flat_map(|lines| {
                let places: Vec<usize> = (0..lines.len()).collect();
                (Just(lines), Just(places).prop_shuffle())
            })
        ) {
            let speakers = speakers(lines.iter().map(String::as_str));
            let told = spoken(&speakers);
            let shuffled: Vec<Spoken<'_>> = places.into_iter().map(|place| told[place]).collect();
            for survivorship in rules() {
                prop_assert_eq!(survivorship.survivor_of(NAME, &told), survivorship.survivor_of(NAME, &shuffled));
                prop_assert_eq!(survivorship.golden(&told), survivorship.golden(&shuffled));
            }
        }

        #[test]
        fn what_survives_was_said_and_something_survives_where_no_null_stands(lines in lines()) {
            let speakers = speakers(lines.iter().map(String::as_str));
            let told = spoken(&speakers);
            let values: Vec<&Value> = speakers.iter().map(|speaker| &speaker.traits.stated(NAME).unwrap().value).collect();
            let is_said = values.iter().any(|value| !says_nothing(value));
            let is_cleared = values.iter().any(|value| value.is_null());
            for survivorship in rules() {
                let survivor = survivorship.survivor_of(NAME, &told);
                if let Some(survivor) = survivor {
                    let by = speakers.iter().find(|speaker| speaker.record == survivor.record).unwrap();
                    prop_assert_eq!(by.traits.value(NAME), Some(survivor.value));
                    prop_assert!(!says_nothing(survivor.value));
                }
                if !is_cleared || survivorship != rule(json!({"strategy": "most_recent"})) {
                    prop_assert_eq!(survivor.is_some(), is_said);
                }
            }
        }
    }
}
