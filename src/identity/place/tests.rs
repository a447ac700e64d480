//! The scenarios of `tests/data/identity/scenarios.json`, and the laws behind them.

use super::super::rules::{Verdict, kind_of};
use super::*;
use crate::base::SourceId;
use crate::base::ids::HashKey;
use sea_orm::ActiveEnum as _;
use serde_json::Value as Json;

/// A world of records named by texts, as scenario files tell it.
struct World {
    rules: Arc<Rules>,
    keys: HashKey,
    neighbourhood: Neighbourhood,
    arrival: i64,
}

impl World {
    fn new(rules: &Rules) -> Self {
        let rules = Arc::new(rules.clone());
        Self {
            neighbourhood: Neighbourhood::new(rules.clone()),
            rules,
            keys: HashKey::new([1; 32]),
            arrival: 0,
        }
    }

    fn record(&self, name: &str) -> RecordId {
        self.keys.record(SourceId(uuid::Uuid::nil()), name)
    }

    fn identifier(&self, type_name: &str, raw: &str) -> Option<(IdentifierId, IdentifierKind, String)> {
        let (kind, namespace) = kind_of(type_name);
        match self.rules.judge(kind, namespace, raw) {
            Verdict::Usable(value) => Some((
                self.keys.identifier(kind.to_value(), namespace, &value),
                kind,
                namespace.to_owned(),
            )),
            Verdict::Blocked(_) | Verdict::Invalid(_) => None,
        }
    }

    fn step(&mut self, step: &Json) {
        self.arrival += 1;
        let name = |key: &str| step[key].as_str().unwrap_or_else(|| panic!("{step}: {key}"));
        match name("op") {
            "record" => self.show(name("record_id"), &step["identifiers"], &step["attributes"]),
            "cannot_link" => self.decree(Effect::Apart, name("a"), name("b")),
            "must_link" => self.decree(Effect::Together { survivor: None }, name("a"), name("b")),
            "block_value" => {
                if let Some((id, kind, namespace)) = self.identifier(name("type"), name("value")) {
                    self.neighbourhood
                        .know_value(id, (kind, &namespace), IdentifierState::Active, 0);
                    self.neighbourhood.block(id);
                }
            }
            other => panic!("unknown step {other}"),
        }
    }

    fn decree(&mut self, effect: Effect, a: &str, b: &str) {
        self.neighbourhood.decide(Decree {
            id: DecisionId(uuid::Uuid::from_u128(u128::try_from(self.arrival).expect("not negative"))),
            arrival: self.arrival,
            effect,
            is_pair: true,
            sides: [BTreeSet::from([self.record(a)]), BTreeSet::from([self.record(b)])],
        });
    }

    fn show(&mut self, name: &str, identifiers: &Json, attributes: &Json) {
        let record = self.record(name);
        if self.neighbourhood.is_placed(record) {
            return;
        }
        for (attribute, value) in attributes.as_object().into_iter().flatten() {
            let said_at = (Instant::from_micros(self.arrival), EventId(record.0));
            self.neighbourhood
                .state_attribute(record, attribute, value.as_str(), said_at, self.arrival);
        }
        let mut usable = Vec::new();
        for (type_name, values) in identifiers.as_object().into_iter().flatten() {
            let values = values.as_array().cloned().unwrap_or_else(|| vec![values.clone()]);
            for raw in values.iter().filter_map(Json::as_str) {
                if let Some((id, kind, namespace)) = self.identifier(type_name, raw) {
                    self.neighbourhood
                        .know_value(id, (kind, &namespace), IdentifierState::Active, 0);
                    usable.push(id);
                }
            }
        }
        let assertion = Assertion {
            record,
            arrival: self.arrival,
            event: None,
            identifiers: usable,
        };
        self.neighbourhood.place(&assertion);
    }

    fn customer(&self, name: &str) -> Option<CustomerId> {
        self.neighbourhood.customer_of(self.record(name))
    }
}

fn scenarios() -> (Json, Vec<Json>) {
    let path = format!("{}/tests/data/identity/scenarios.json", env!("CARGO_MANIFEST_DIR"));
    let document: Json = serde_json::from_str(&std::fs::read_to_string(path).expect("the file")).expect("JSON");
    (
        document["default_config"].clone(),
        document["scenarios"].as_array().expect("a list").clone(),
    )
}

#[test]
fn every_scenario_ends_as_it_says() {
    let (default_config, scenarios) = scenarios();
    assert_eq!(scenarios.len(), 12);
    for scenario in scenarios {
        let title = format!("{} {}", scenario["id"], scenario["title"]);
        let config = Rules::overlay(&default_config, scenario.get("config").unwrap_or(&serde_json::json!({})));
        let rules = Rules::parse(&config).unwrap_or_else(|error| panic!("{title}: {error}"));
        let mut world = World::new(&rules);
        let mut first_ids = BTreeMap::new();
        for step in scenario["steps"].as_array().expect("steps") {
            world.step(step);
            if let Some(name) = step["record_id"].as_str() {
                first_ids.entry(name.to_owned()).or_insert_with(|| world.record(name));
            }
        }
        let expected = &scenario["expected"];
        let wanted: BTreeSet<BTreeSet<RecordId>> = expected["partition"]
            .as_array()
            .expect("a partition")
            .iter()
            .map(|part| {
                part.as_array()
                    .expect("a part")
                    .iter()
                    .map(|name| world.record(name.as_str().expect("a name")))
                    .collect()
            })
            .collect();
        let found: BTreeSet<BTreeSet<RecordId>> = world.neighbourhood.partition().into_values().collect();
        assert_eq!(found, wanted, "{title}");
        for redirect in expected["redirects"].as_array().into_iter().flatten() {
            // Every id ever handed out is the own id of a record, and resolves to the customer of that record.
            let old = first_ids[redirect["old_id_of"].as_str().expect("a name")];
            let resolved = world.neighbourhood.customer_of(old);
            assert_eq!(
                resolved,
                world.customer(redirect["resolves_to_customer_of"].as_str().expect("a name")),
                "{title}"
            );
        }
        for lookup in expected["lookup"].as_array().into_iter().flatten() {
            let text = |key: &str| lookup[key].as_str().expect("a text");
            let owner = world
                .identifier(text("type"), text("value"))
                .and_then(|(id, _, _)| world.neighbourhood.owner_of(id))
                .and_then(|record| world.neighbourhood.customer_of(record));
            let wanted = lookup["customer_of"].as_str().and_then(|name| world.customer(name));
            assert_eq!(owner, wanted, "{title}: {lookup}");
        }
    }
}

/// Tells a world by short steps: `r1 email=a phone=b`.
fn told(rules: &Rules, steps: &[&str]) -> BTreeSet<BTreeSet<String>> {
    let mut world = World::new(rules);
    let mut names = Vec::new();
    for step in steps {
        let mut words = step.split(' ');
        let name = words.next().expect("a name");
        let pairs: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
        if let Some((_, other)) = pairs.iter().find(|(key, _)| *key == "apart") {
            world.step(&serde_json::json!({"op": "cannot_link", "a": name, "b": other}));
        } else if let Some((_, other)) = pairs.iter().find(|(key, _)| *key == "together") {
            world.step(&serde_json::json!({"op": "must_link", "a": name, "b": other}));
        } else {
            let identifiers: serde_json::Map<String, Json> = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), Json::from(*value)))
                .collect();
            world.step(&serde_json::json!({"op": "record", "record_id": name, "identifiers": identifiers}));
            names.push(name);
        }
    }
    let mut parts: BTreeMap<CustomerId, BTreeSet<String>> = BTreeMap::new();
    for name in names {
        parts
            .entry(world.customer(name).expect("placed"))
            .or_default()
            .insert(name.to_owned());
    }
    parts.into_values().collect()
}

fn parts(expected: &[&[&str]]) -> BTreeSet<BTreeSet<String>> {
    expected
        .iter()
        .map(|part| part.iter().map(|name| (*name).to_owned()).collect())
        .collect()
}

#[test]
fn a_must_link_ignores_limits_and_the_last_decision_on_a_pair_stands() {
    let rules = Rules::shop();
    let people = ["r1 user_id=a", "r2 user_id=b"];
    assert_eq!(told(&rules, &people), parts(&[&["r1"], &["r2"]]));
    assert_eq!(
        told(&rules, &[&people[..], &["r1 together=r2"]].concat()),
        parts(&[&["r1", "r2"]])
    );
    assert_eq!(
        told(&rules, &[&people[..], &["r1 together=r2", "r2 apart=r1"]].concat()),
        parts(&[&["r1"], &["r2"]])
    );
    assert_eq!(
        told(&rules, &[&people[..], &["r1 apart=r2", "r2 together=r1"]].concat()),
        parts(&[&["r1", "r2"]])
    );
}

#[test]
fn a_limit_stands_only_against_growth() {
    let rules = Rules::shop();
    // Joined by hand over the limit of one user id: further records of either stay usable.
    let steps = [
        "r1 user_id=a",
        "r2 user_id=b",
        "r1 together=r2",
        "r3 user_id=a email=x@x.example",
        "r4 user_id=b email=x@x.example",
    ];
    assert_eq!(told(&rules, &steps), parts(&[&["r1", "r2", "r3", "r4"]]));
    // A third id would be growth.
    let more = [&steps[..], &["r5 user_id=c email=x@x.example"]].concat();
    assert_eq!(told(&rules, &more), parts(&[&["r1", "r2", "r3", "r4"], &["r5"]]));
}

#[test]
fn a_value_that_many_have_shown_joins_nobody_any_more() {
    let over = serde_json::json!({"shared_after": 3, "identifiers": {"device_id": {"limit": 20}}});
    let rules = Rules::parse(&Rules::overlay(&Rules::shop_json(), &over)).expect("sound");
    let steps = [
        "r1 user_id=a device_id=kiosk",
        "r2 user_id=b device_id=kiosk",
        "r3 user_id=c device_id=kiosk",
        "r4 device_id=kiosk",
    ];
    assert_eq!(told(&rules, &steps), parts(&[&["r1"], &["r2"], &["r3"], &["r4"]]));
    // What it joined before stays joined.
    let steps = [
        "r0 device_id=kiosk",
        "r1 user_id=a device_id=kiosk",
        "r2 user_id=b device_id=kiosk",
        "r3 user_id=c device_id=kiosk",
        "r4 device_id=kiosk",
    ];
    assert_eq!(told(&rules, &steps), parts(&[&["r0", "r1"], &["r2"], &["r3"], &["r4"]]));
}

mod generated {
    use super::*;
    use proptest::prelude::*;

    /// Histories without a guard: only e-mail addresses and cards, far below every limit.
    fn unguarded() -> impl Strategy<Value = Vec<String>> {
        let one = (0..6_u8, 0..6_u8).prop_map(|(email, card)| (email, card));
        proptest::collection::vec(one, 1..14).prop_map(|shown| {
            let tell = |(n, (email, card)): (usize, &(u8, u8))| format!("r{n} email=e{email}@x.example external=k{card}");
            shown.iter().enumerate().map(tell).collect()
        })
    }

    fn free_rules() -> Rules {
        let over =
            serde_json::json!({"shared_after": null, "identifiers": {"email": {"limit": null}, "external": {"priority": 2}}});
        Rules::parse(&Rules::overlay(&Rules::shop_json(), &over)).expect("sound")
    }

    proptest! {
        #[test]
        fn without_a_guard_any_order_gives_the_same_customers(steps in unguarded(), seed in any::<u64>()) {
            let rules = free_rules();
            let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
            let mut shuffled = steps.clone();
            let mut state = seed | 1;
            for i in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let j = usize::try_from(state >> 33).expect("31 bits") % (i + 1);
                shuffled.swap(i, j);
            }
            prop_assert_eq!(told(&rules, &steps), told(&rules, &shuffled));
        }

        #[test]
        fn a_redelivered_record_changes_nothing(steps in unguarded()) {
            let rules = Rules::shop();
            let once: Vec<&str> = steps.iter().map(String::as_str).collect();
            let twice: Vec<&str> = once.iter().chain(&once).copied().collect();
            prop_assert_eq!(told(&rules, &once), told(&rules, &twice));
        }
    }
}
