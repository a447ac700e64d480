//! How right exact identifiers are: two thousand records of a shop's channels, against who their people really are.
//!
//! A pair of records is found when both are of one customer. Precision: how many of the pairs found are one person; recall: how many
//! of the pairs that are one person are found.

use super::support::{Backend, TestApp};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::hash::Hash;
use std::path::Path;
use tributary::identity::Rules;

const CHANNELS: [(&str, &str); 6] = [
    ("app", "APP"),
    ("call", "CALL_CENTRE"),
    ("crm", "CRM"),
    ("email", "EMAIL"),
    ("pos", "POS"),
    ("web", "WEB"),
];

fn data(file: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/data/identity/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The rows of a file, by column; no value of ours holds a comma.
fn rows(file: &str) -> Vec<HashMap<String, String>> {
    let text = data(file);
    assert!(!text.contains('"'), "{file} needs a reader that knows quotes");
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        let values: Vec<&str> = line.split(',').collect();
        assert_eq!(values.len(), columns.len(), "{line}");
        let cells = columns.iter().zip(values);
        cells
            .map(|(column, value)| ((*column).to_owned(), value.to_owned()))
            .collect()
    };
    lines.map(row).collect()
}

/// The rules that the scenarios start from, for a shop in Australia.
fn rules_of_the_scenarios() -> Value {
    let scenarios: Value = serde_json::from_str(&data("scenarios.json")).unwrap();
    Rules::overlay(&scenarios["default_config"], &json!({"phone_region": "AU"}))
}

fn item(row: &HashMap<String, String>) -> Value {
    let filled = |columns: &[(&str, &'static str)]| -> Vec<(&'static str, String)> {
        let values = columns.iter().map(|(column, name)| (*name, row[*column].clone()));
        values.filter(|(_, value)| !value.is_empty()).collect()
    };
    let identifiers = filled(&[("email", "EMAIL"), ("phone", "PHONE")]);
    let identifiers: Vec<Value> = identifiers
        .iter()
        .map(|(kind, value)| json!({"kind": kind, "value": value}))
        .collect();
    let traits: HashMap<_, _> = filled(&[("given_name", "first_name"), ("surname", "last_name")])
        .into_iter()
        .collect();
    json!({"key": row["record_id"], "messageId": row["record_id"], "at": row["created_at"], "identifiers": identifiers, "traits": traits})
}

/// Rows that arrive in one go, each channel's together: sent one by one they would come to the same, ten times as slowly.
const ROWS_AT_ONCE: usize = 100;

/// Sends every row to the source of its channel, nearly in the order of the file.
async fn ingest(app: &TestApp, rows: &[HashMap<String, String>]) {
    for (key, channel) in CHANNELS {
        app.source(key, channel).await;
    }
    let known = app.ask("{ sources(first: 100) { nodes { id key } } }").await;
    let known = known["sources"]["nodes"].as_array().unwrap().iter();
    let sources: HashMap<&str, &Value> = known.map(|source| (source["key"].as_str().unwrap(), &source["id"])).collect();
    let mut rows = rows.to_vec();
    for together in rows.chunks_mut(ROWS_AT_ONCE) {
        together.sort_by(|a, b| a["channel"].cmp(&b["channel"]));
    }
    for neighbours in rows.chunk_by(|a, b| a["channel"] == b["channel"]) {
        let items: Vec<Value> = neighbours.iter().map(item).collect();
        let query = "mutation($input: RecordsIngestInput!) { recordsIngest(input: $input) {
            receipts { status error { message } } userErrors { message } } }";
        let source = sources[neighbours[0]["channel"].as_str()];
        let data = app
            .ask_with(query, json!({"input": {"source": source, "items": items}}))
            .await;
        let receipts = data["recordsIngest"]["receipts"].as_array().unwrap();
        assert!(receipts.iter().all(|receipt| receipt["status"] == "ACCEPTED"), "{data}");
    }
}

/// The customer of each record.
async fn customers(app: &TestApp) -> HashMap<String, String> {
    let store = &app.server.services.store;
    let sql = "SELECT external_key, customer_id FROM record";
    let rows = store
        .reader()
        .query_all_raw(Statement::from_string(store.backend(), sql))
        .await;
    let pair = |row: &sea_orm::QueryResult| {
        let customer: sea_orm::prelude::Uuid = row.try_get_by_index(1).unwrap();
        (row.try_get_by_index(0).unwrap(), customer.to_string())
    };
    rows.unwrap().iter().map(pair).collect()
}

fn pairs<K: Hash + Eq>(groups: impl Iterator<Item = K>) -> usize {
    let mut sizes: HashMap<K, usize> = HashMap::new();
    for group in groups {
        *sizes.entry(group).or_default() += 1;
    }
    sizes.values().map(|size| size * (size - 1) / 2).sum()
}

/// Precision and recall of pairs.
fn score(truth: &HashMap<String, String>, found: &HashMap<String, String>) -> (f64, f64) {
    assert_eq!(truth.len(), found.len());
    let right = pairs(truth.iter().map(|(record, person)| (person, &found[record])));
    let precision = right as f64 / pairs(found.values()) as f64;
    (precision, right as f64 / pairs(truth.values()) as f64)
}

async fn precision_and_recall(backend: Backend, name: &str, rules: &Value) -> (f64, f64) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("precision-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{name}-{backend:?}.json"));
    std::fs::write(&file, rules.to_string()).unwrap();
    let app = TestApp::with(backend, |settings| {
        settings.identity.rules_file = file.to_str().unwrap().to_owned();
        settings.identity.rules_base = "nothing".to_owned();
    })
    .await;
    let rows = rows("people_2k.csv");
    assert_eq!(rows.len(), 2_000);
    ingest(&app, &rows).await;
    let truth = self::rows("people_2k_truth.csv");
    let truth = truth
        .iter()
        .map(|row| (row["record_id"].clone(), row["cluster"].clone()))
        .collect();
    let found = customers(&app).await;
    app.stop().await;
    let (precision, recall) = score(&truth, &found);
    let customers = found.values().collect::<std::collections::HashSet<_>>().len();
    println!("{name}, {backend:?}: precision {precision:.4}, recall {recall:.4}, {customers} customers");
    (precision, recall)
}

/// Both: agreement buys precision for recall.
async fn exact_identifiers_are_right(backend: Backend) {
    let plain = rules_of_the_scenarios();
    let (precision, recall) = precision_and_recall(backend, "plain", &plain).await;
    assert!(precision >= 0.90 && recall >= 0.75, "{precision} {recall}");
    let agreeing = json!({"identifiers": {"phone": {"requires_agreement": ["first_name"]}}});
    let agreeing = Rules::overlay(&plain, &agreeing);
    let (precision, recall) = precision_and_recall(backend, "agreeing", &agreeing).await;
    assert!(precision >= 0.97 && recall >= 0.65, "{precision} {recall}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exact_identifiers_are_right_on_sqlite() {
    exact_identifiers_are_right(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exact_identifiers_are_right_on_postgresql() {
    exact_identifiers_are_right(Backend::Postgres).await;
}

#[test]
fn pairs_are_counted_within_groups() {
    let of = |groups: &[(&str, &str)]| -> HashMap<String, String> {
        let pair = |(record, group): &(&str, &str)| ((*record).to_owned(), (*group).to_owned());
        groups.iter().map(pair).collect()
    };
    let truth = of(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "2")]);
    // Found: ab and cd; only ab is one person, of three pairs that are.
    let found = of(&[("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")]);
    assert_eq!(score(&truth, &found), (0.5, 1.0 / 3.0));
}
