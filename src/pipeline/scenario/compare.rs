//! What became of a scenario against what it expects, in words.

use super::consents::state_name;
use super::format::Expected;
use crate::ingest::traits;
use entity::ConsentAnswer;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What became of a scenario. Customers are named by their ids, in whatever form: they are only compared with each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// The customer of every record after the last step.
    pub customers: BTreeMap<String, String>,
    /// The golden values of the customers of the records for which some are expected.
    pub golden: BTreeMap<String, Map<String, Value>>,
    /// The customer whom the id first handed out for a record finds at the end; none: nobody.
    pub redirects: BTreeMap<String, Option<String>>,
    /// Whom each looked-up value finds, in the order of the file; none: nobody.
    pub lookup: Vec<Option<String>>,
    /// What each customer asked about answers, in the order of the file; none: nobody answered.
    pub consents: Vec<Option<ConsentAnswer>>,
}

/// A line for each difference; none: it ended as expected.
pub fn differences(expected: &Expected, answers: &Answers) -> Vec<String> {
    let world = World::new(answers);
    let mut found = Vec::new();
    found.extend(world.partition(&expected.partition));
    for (record, attributes) in &expected.golden {
        let golden = answers.golden.get(record);
        for (name, wanted) in attributes {
            let got = golden.and_then(|golden| golden.get(traits::canonical_name(name)));
            let got = got.unwrap_or(&Value::Null);
            if !is_same(got, &canonical(name, wanted)) {
                found.push(format!("golden of {record}: {name} is {got}, expected {wanted}"));
            }
        }
    }
    for redirect in &expected.redirects {
        let got = answers.redirects.get(&redirect.old_id_of).cloned().flatten();
        let wanted = answers.customers.get(&redirect.resolves_to_customer_of);
        if got.as_ref() != wanted {
            found.push(format!(
                "redirect: the id first given to {} finds {}, expected {}",
                redirect.old_id_of,
                world.people(got.as_ref()),
                world.people(wanted)
            ));
        }
    }
    for (place, lookup) in expected.lookup.iter().enumerate() {
        let got = answers.lookup.get(place).cloned().flatten();
        let wanted = lookup.customer_of.as_ref().and_then(|record| answers.customers.get(record));
        if got.as_ref() != wanted {
            found.push(format!(
                "lookup of {} {:?} finds {}, expected {}",
                lookup.type_name,
                lookup.value,
                world.people(got.as_ref()),
                world.people(wanted)
            ));
        }
    }
    for (place, asked) in expected.consents.iter().enumerate() {
        let got = answers.consents.get(place).copied().flatten();
        if got != asked.state {
            found.push(format!(
                "consent of {} to {} on {}: {}, expected {}",
                asked.customer_of,
                asked.purpose,
                asked.channel,
                state_name(got),
                state_name(asked.state)
            ));
        }
    }
    found
}

/// Values are kept as intake keeps them.
fn canonical(name: &str, value: &Value) -> Value {
    let stated = Map::from_iter([(name.to_owned(), value.clone())]);
    let kept = traits::canonical(Some(&stated), None).pop();
    kept.map_or(Value::Null, |(_, value)| value)
}

/// 3 and 3.0 are one number.
fn is_same(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && a.as_f64() == b.as_f64())
}

/// Who is whom, for telling it.
struct World<'a> {
    records: BTreeMap<&'a String, BTreeSet<&'a str>>,
}

impl<'a> World<'a> {
    fn new(answers: &'a Answers) -> Self {
        let mut records: BTreeMap<&String, BTreeSet<&str>> = BTreeMap::new();
        for (record, customer) in &answers.customers {
            records.entry(customer).or_default().insert(record);
        }
        Self { records }
    }

    fn partition(&self, expected: &[BTreeSet<String>]) -> Option<String> {
        let got: BTreeSet<BTreeSet<&str>> = self.records.values().cloned().collect();
        let expected = expected.iter().map(|records| records.iter().map(String::as_str).collect());
        let expected: BTreeSet<BTreeSet<&str>> = expected.collect();
        if got == expected {
            return None;
        }
        let told = |customers: Vec<&BTreeSet<&str>>| {
            if customers.is_empty() {
                return "no others".to_owned();
            }
            customers.into_iter().map(names).collect::<Vec<_>>().join(" and ")
        };
        Some(format!(
            "partition: there are {}, expected {}",
            told(got.difference(&expected).collect()),
            told(expected.difference(&got).collect())
        ))
    }

    fn people(&self, customer: Option<&String>) -> String {
        match customer.map(|customer| self.records.get(customer)) {
            None => "nobody".to_owned(),
            Some(None) => "a customer without a record of this scenario".to_owned(),
            Some(Some(records)) => format!("the customer of {}", names(records)),
        }
    }
}

/// `{r1, r2}`.
fn names(records: &BTreeSet<&str>) -> String {
    format!("{{{}}}", records.iter().copied().collect::<Vec<_>>().join(", "))
}
