//! `tributary test`, and the same scenarios over HTTP: what a company tries is what its server does.

use super::support::app::database;
use super::support::process::command;
use super::support::{Backend, TestApp};
use entity::ConsentAnswer;
use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;
use tributary::access::Actor;
use tributary::base::{CustomerId, RecordId};
use tributary::customer;
use tributary::identity::Rules;
use tributary::identity::store::neighbours::customers_of;
use tributary::pipeline::mend::{Decision, Doer, decide};
use tributary::pipeline::scenario::{self, Answers, Deed, Scenario, Step};

const FILES: [&str; 3] = ["scenarios.json", "more_scenarios.json", "consent_scenarios.json"];
const COUNT: usize = 30;

/// Held while the command makes scratch databases on this process's PostgreSQL server: one test counts them.
pub static SCRATCH: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn path_of(file: &str) -> String {
    format!("{}/tests/data/identity/{file}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs `tributary test`; answers standard output, standard error and the exit code.
fn test(arguments: &[&str]) -> (String, String, Option<i32>) {
    told(command(&[&["test"], arguments].concat(), &[]))
}

fn told(output: Output) -> (String, String, Option<i32>) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

/// A file of scenarios in the test's own folder.
fn written(name: &str, text: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("scenarios-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    file
}

fn all_pass(more: &[&str]) {
    let files = FILES.map(path_of);
    let arguments = ["test"].into_iter().chain(files.iter().map(String::as_str));
    let arguments: Vec<&str> = arguments.chain(more.iter().copied()).collect();
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("scratch-{}-{}", std::process::id(), more.len()));
    std::fs::create_dir_all(&temporary).unwrap();
    let (told, errors, code) = told(command(&arguments, &[("TMPDIR", temporary.to_str().unwrap())]));
    std::fs::remove_dir(temporary).expect("nothing is left in the folder for temporary files");
    assert_eq!(code, Some(0), "{told}{errors}");
    assert!(told.starts_with("passed  D01 anonymous to known\n"), "{told}");
    assert!(
        told.ends_with(&format!("\n{COUNT} passed, 0 failed\n")) && told.lines().count() == COUNT + 1,
        "{told}"
    );
    assert_eq!(errors, "");
}

#[test]
fn every_scenario_passes_on_sqlite() {
    all_pass(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_passes_on_postgresql_and_leaves_nothing_behind() {
    let _alone = SCRATCH.lock().await;
    let (url, _folder) = database(Backend::Postgres).await;
    let connection = Database::connect(&url).await.unwrap();
    let count = async |sql: &str| {
        let row = connection.query_one_raw(Statement::from_string(connection.get_database_backend(), sql));
        row.await.unwrap().unwrap().try_get_by_index::<i64>(0).unwrap()
    };
    tokio::task::spawn_blocking({
        let url = url.clone();
        move || all_pass(&["--database-url", &url])
    })
    .await
    .unwrap();
    // Other processes may be making theirs on servers of their own; on this one nobody does.
    assert_eq!(
        count("SELECT COUNT(*) FROM pg_database WHERE datname LIKE 'tributary_test%'").await,
        0
    );
    assert_eq!(count("SELECT COUNT(*) FROM record").await, 0);
    assert_eq!(count("SELECT COUNT(*) FROM source").await, 0);
}

#[test]
fn a_wrong_expectation_fails_with_its_differences_and_exit_status_1() {
    let mut wrong: Value = serde_json::from_str(&std::fs::read_to_string(path_of("scenarios.json")).unwrap()).unwrap();
    for scenario in wrong["scenarios"].as_array_mut().unwrap() {
        let id = scenario["id"].as_str().unwrap().to_owned();
        let expected = &mut scenario["expected"];
        match id.as_str() {
            "D01" => expected["partition"] = json!([["r1", "r2", "r3", "r4"]]),
            "D08" => expected["lookup"] = json!([{"type": "email", "value": "M@m.example", "customer_of": null}]),
            "D09" => expected["redirects"] = json!([{"old_id_of": "r2", "resolves_to_customer_of": "r1"}]),
            "D12" => expected["golden"]["r2"]["city"] = json!("Köln"),
            "D03" => {
                expected["consents"] =
                    json!([{"customer_of": "r1", "purpose": "Letters", "channel": "post", "state": "GRANTED"}]);
            }
            _ => {}
        }
    }
    let file = written("wrong.json", &wrong.to_string());
    let (told, errors, code) = test(&[file.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{told}{errors}");
    assert!(told.ends_with("\n7 passed, 5 failed\n"), "{told}");
    for expected in [
        "FAILED  D01 anonymous to known\n        partition: there are {r1, r2, r3} and {r4}, expected {r1, r2, r3, r4}\n",
        "FAILED  D08 bridge merge and redirect\n        lookup of email \"M@m.example\" finds the customer of {r1, r2, r3, r4}, expected nobody\n",
        "FAILED  D09 unmerge sticks\n        redirect: the id first given to r2 finds the customer of {r2, r5}, expected the customer of {r1, r3, r4}\n",
        "        consent of r1 to Letters on POST: UNKNOWN, expected GRANTED\n",
        "FAILED  D12 golden record\n        golden of r2: city is \"Bonn\", expected \"Köln\"\n",
    ] {
        assert!(told.contains(expected), "{expected}{told}");
    }
    assert!(errors.contains("5 of 12 scenarios failed"), "{errors}");
}

#[test]
fn mistakes_name_file_scenario_and_path_and_the_others_still_run() {
    let good = json!({"id": "G", "title": "good", "steps": [
        {"op": "record", "record_id": "r1", "channel": "web", "ts": "2026-03-01T01:00:00Z", "identifiers": {"user_id": "u"}}],
        "expected": {"partition": [["r1"]]}});
    let with = |id: &str, change: &dyn Fn(&mut Value)| {
        let mut scenario = good.clone();
        scenario["id"] = json!(id);
        change(&mut scenario);
        scenario
    };
    let scenarios = json!([
        with("B1", &|scenario| scenario["steps"][0]["op"] = json!("recrod")),
        with("B2", &|scenario| scenario["config"] =
            json!({"identifiers": {"email": {"limit": "many"}}})),
        // These are found on the way, by the verbs themselves.
        with("B3", &|scenario| scenario["steps"][0]["attributes"] =
            json!({"is_admin": true})),
        with("B4", &|scenario| {
            let step = json!({"op": "block_value", "type": "user_id", "value": "undefined"});
            scenario["steps"].as_array_mut().unwrap().push(step);
        }),
        good,
    ]);
    let file = written("mistakes.json", &json!({"scenarios": scenarios}).to_string());
    let broken = written("broken.json", "{\"scenarios\": [}");
    let (file, broken) = (file.to_str().unwrap(), broken.to_str().unwrap());
    let (told, _, code) = test(&[broken, file, "/nowhere/at/all.json"]);
    assert_eq!(code, Some(1));
    for expected in [
        format!("FAILED  {broken}\n        {broken}: expected value at line 1 column 16\n"),
        format!("        {file}: B1: steps[0].op: there is no step \"recrod\""),
        format!("        {file}: B2: config.identifiers.email: invalid type: string \"many\""),
        format!("        {file}: B3: steps[0]: the record was refused: traits.is_admin "),
        format!("        {file}: B4: steps[1]: this value recognises nobody as it is\n"),
        "passed  G good\n".to_owned(),
        "        /nowhere/at/all.json: No such file".to_owned(),
    ] {
        assert!(told.contains(&expected), "{expected}\n{told}");
    }
    assert!(told.ends_with("\n1 passed, 6 failed\n"), "{told}");
}

#[test]
fn scenarios_are_chosen_by_id_or_title_and_told_as_json() {
    let file = path_of("scenarios.json");
    let (told, _, code) = test(&[&file, "--only", "D03", "--only", "Golden"]);
    assert_eq!((code, told.lines().count()), (Some(0), 3), "{told}");
    assert!(told.ends_with("passed  D12 golden record\n2 passed, 0 failed\n"), "{told}");
    let (told, errors, code) = test(&[&file, "--only", "D99"]);
    assert_eq!((code, told.as_str()), (Some(1), "0 passed, 0 failed\n"));
    assert!(errors.contains("no scenario is called D99"), "{errors}");
    let (told, _, code) = test(&[&file, "--only", "D03", "--json"]);
    assert_eq!(code, Some(0));
    let report: Value = serde_json::from_str(&told).unwrap();
    let scenario = json!({"file": file, "id": "D03", "title": "shared tablet, the first login keeps the device",
        "status": "passed", "differences": [], "error": null});
    assert_eq!(
        report,
        json!({"passed": 1, "failed": 0, "skipped": 0, "scenarios": [scenario]})
    );
}

#[test]
fn a_file_without_rules_starts_from_those_of_the_settings() {
    // Of the shop, with another region.
    let scenario = |id: &str, phone: &str| {
        json!({"id": id, "steps": [
            {"op": "record", "record_id": "r1", "channel": "web", "ts": "2026-03-01T01:00:00Z", "identifiers": {"phone": phone}},
            {"op": "record", "record_id": "r2", "channel": "web", "ts": "2026-03-01T02:00:00Z", "identifiers": {"phone": "+61255501234"}}],
            "expected": {"partition": [["r1", "r2"]]}})
    };
    let file = written(
        "region.json",
        &json!({"scenarios": [scenario("AU", "02 5550 1234")]}).to_string(),
    );
    let rules = written("rules.json", r#"{"phone_region": "AU"}"#);
    let file = file.to_str().unwrap();
    let (_, _, code) = test(&[file]);
    assert_eq!(code, Some(1), "the shop's region is another");
    let environment = [("TRIBUTARY_IDENTITY__RULES_FILE", rules.to_str().unwrap())];
    let output = command(&["test", file], &environment);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let doctor = command(
        &["doctor", "--database-url", "sqlite:///tmp/tributary-no-such.db"],
        &environment,
    );
    let told = String::from_utf8(doctor.stdout).unwrap();
    assert!(
        told.contains("identity rules: ") && told.contains("rules.json, laid over the defaults of a shop"),
        "{told}"
    );
}

/// Over HTTP, on a server that was started with the scenario's rules.
struct Replay {
    app: TestApp,
    sources: HashMap<String, String>,
    /// Ids of records as GraphQL tells them, and as the store knows them.
    records: BTreeMap<String, (String, RecordId)>,
    first_ids: BTreeMap<String, String>,
}

impl Replay {
    async fn start(backend: Backend, scenario: &Scenario, name: &str) -> Self {
        let rules = written(&format!("{name}-{backend:?}.json"), &scenario.rules.to_string());
        let app = TestApp::with(backend, |settings| {
            settings.identity.rules_file = rules.to_str().unwrap().to_owned();
            settings.identity.rules_base = "nothing".to_owned();
        })
        .await;
        for (key, channel) in &scenario.sources {
            let channel = match channel {
                entity::Channel::CallCentre => "CALL_CENTRE".to_owned(),
                other => format!("{other:?}").to_uppercase(),
            };
            app.source(key, &channel).await;
        }
        let data = app.ask("{ sources(first: 100) { nodes { id key } } }").await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let sources = data["sources"]["nodes"].as_array().unwrap().iter();
        let sources = sources.map(|source| (text(&source["key"]), text(&source["id"]))).collect();
        Self {
            app,
            sources,
            records: BTreeMap::new(),
            first_ids: BTreeMap::new(),
        }
    }

    async fn take(&mut self, step: &Step) {
        let now = self.app.clock.now();
        let ahead = scenario::moment(now, step).micros() - now.micros();
        self.app.clock.advance(Duration::from_micros(ahead.try_into().unwrap()));
        match &step.deed {
            Deed::Record {
                id,
                source,
                identifiers,
                attributes,
                consents,
            } => {
                let consents: Vec<Value> = consents
                    .iter()
                    .map(|said| json!({"purpose": said.purpose, "channel": said.channel, "state": scenario::state_name(Some(said.answer))}))
                    .collect();
                let identifiers: Vec<Value> = identifiers
                    .iter()
                    .map(|shown| json!({"kind": kind(shown.kind), "namespace": shown.namespace, "value": shown.value}))
                    .collect();
                let item = json!({"key": id, "messageId": id, "at": step.at.unwrap().to_string(), "identifiers": identifiers, "traits": attributes,
                    "consents": consents});
                let query = "mutation($input: RecordsIngestInput!) { recordsIngest(input: $input) {
                    receipts { status record { id } customer { id } error { message } } userErrors { message } } }";
                let input = json!({"input": {"source": self.sources[source], "items": [item]}});
                let data = self.app.ask_with(query, input).await;
                let receipt = &data["recordsIngest"]["receipts"][0];
                let known = self.records.contains_key(id);
                assert_eq!(receipt["status"] == "DUPLICATE", known, "{data}");
                let keys = self.app.server.services.store.hash_key();
                let stored = keys.record(keys.source(source), id);
                let told = receipt["record"]["id"].as_str().unwrap().to_owned();
                self.records.insert(id.clone(), (told, stored));
                let customer = receipt["customer"]["id"].as_str().unwrap().to_owned();
                self.first_ids.entry(id.clone()).or_insert(customer);
            }
            Deed::Consent { customer_of, said } => {
                // By the first id that was handed out for it, which finds the customer for ever.
                let input = json!({"customer": self.first_ids[customer_of], "purpose": said.purpose, "channel": said.channel,
                    "state": scenario::state_name(Some(said.answer)), "occurredAt": step.at.map(|at| at.to_string())});
                let query = "mutation($input: ConsentRecordInput!) { consentRecord(input: $input) { userErrors { message } } }";
                let data = self.app.ask_with(query, json!({"input": input})).await;
                assert_eq!(data["consentRecord"]["userErrors"], json!([]), "{data}");
            }
            deed => self.decide(deed).await,
        }
    }

    /// As long as GraphQL has no mutations for it: through the running server's services.
    async fn decide(&self, deed: &Deed) {
        let services = &self.app.server.services;
        let record = |id: &String| self.records[id].1;
        let decision = match deed {
            Deed::CannotLink { a, b } => Decision::Separate {
                a: record(a),
                b: record(b),
            },
            Deed::MustLink { a, b } => Decision::Link {
                a: record(a),
                b: record(b),
            },
            Deed::Block { kind, namespace, value } => Decision::Block {
                kind: *kind,
                namespace: namespace.clone(),
                value: value.clone(),
            },
            Deed::Record { .. } | Deed::Consent { .. } => unreachable!(),
        };
        let doer = Doer {
            actor: Actor::new("test"),
            reason: "a step of a scenario".to_owned(),
        };
        decide(services, &doer, &decision).await.unwrap();
    }

    async fn answers(&self, scenario: &Scenario) -> Answers {
        let mut answers = Answers::default();
        for (name, (id, stored)) in &self.records {
            let query = format!(r#"{{ node(id: "{id}") {{ ... on Record {{ customer {{ id firstName city }} }} }} }}"#);
            let data = self.app.ask(&query).await;
            let customer = &data["node"]["customer"];
            answers
                .customers
                .insert(name.clone(), customer["id"].as_str().unwrap().to_owned());
            if scenario.expected.golden.contains_key(name) {
                let mut golden = self.stored_golden(*stored).await;
                // What GraphQL tells of them must be the same.
                for (attribute, field) in [("first_name", "firstName"), ("city", "city")] {
                    assert_eq!(golden.get(attribute).unwrap_or(&Value::Null), &customer[field], "{attribute}");
                    golden.insert(attribute.to_owned(), customer[field].clone());
                }
                answers.golden.insert(name.clone(), golden);
            }
        }
        for (name, first) in &self.first_ids {
            let data = self.app.ask(&format!(r#"{{ customer(id: "{first}") {{ id }} }}"#)).await;
            let today = data["customer"]["id"].as_str().map(str::to_owned);
            answers.redirects.insert(name.clone(), today);
        }
        for lookup in &scenario.expected.lookup {
            let query = "query($identifier: IdentifierInput!) { customerBy(identifier: $identifier) { id } }";
            let identifier = json!({"kind": kind(lookup.kind), "namespace": lookup.namespace, "value": lookup.value});
            let data = self.app.ask_with(query, json!({"identifier": identifier})).await;
            answers.lookup.push(data["customerBy"]["id"].as_str().map(str::to_owned));
        }
        for asked in &scenario.expected.consents {
            let query = "query($id: ID!, $purpose: String!, $channel: String) { customer(id: $id) { consent(purpose: $purpose, channel: $channel) } }";
            let variables =
                json!({"id": answers.customers[&asked.customer_of], "purpose": asked.purpose, "channel": asked.channel});
            let data = self.app.ask_with(query, variables).await;
            answers.consents.push(match data["customer"]["consent"].as_str().unwrap() {
                "GRANTED" => Some(ConsentAnswer::Granted),
                "DENIED" => Some(ConsentAnswer::Denied),
                "WITHDRAWN" => Some(ConsentAnswer::Withdrawn),
                "UNKNOWN" => None,
                other => panic!("{other}"),
            });
        }
        answers
    }

    /// All golden values: GraphQL names only some of them.
    async fn stored_golden(&self, record: RecordId) -> Map<String, Value> {
        let db = self.app.server.services.store.reader();
        let customer: CustomerId = customers_of(db, &[record].into()).await.unwrap()[&record];
        customer::store::customers(db, &[customer]).await.unwrap()[&customer]
            .golden
            .0
            .clone()
    }
}

fn kind(kind: entity::IdentifierKind) -> &'static str {
    match kind {
        entity::IdentifierKind::UserId => "USER_ID",
        entity::IdentifierKind::AnonymousId => "ANONYMOUS_ID",
        entity::IdentifierKind::Email => "EMAIL",
        entity::IdentifierKind::Phone => "PHONE",
        entity::IdentifierKind::DeviceId => "DEVICE_ID",
        entity::IdentifierKind::LoyaltyId => "LOYALTY_ID",
        entity::IdentifierKind::ExternalId => "EXTERNAL_ID",
    }
}

async fn replay_all(backend: Backend) {
    let mut replayed = 0;
    for file in FILES {
        let text = std::fs::read_to_string(path_of(file)).unwrap();
        for read in scenario::read(&text, &Rules::shop_json()).unwrap() {
            let scenario = read.scenario.unwrap();
            let mut replay = Replay::start(backend, &scenario, &read.id).await;
            for step in &scenario.steps {
                replay.take(step).await;
            }
            let answers = replay.answers(&scenario).await;
            let differences = scenario::differences(&scenario.expected, &answers);
            assert!(differences.is_empty(), "{}: {differences:?}", read.id);
            replay.app.stop().await;
            replayed += 1;
        }
    }
    assert_eq!(replayed, COUNT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_ends_the_same_over_http_on_sqlite() {
    replay_all(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_ends_the_same_over_http_on_postgresql() {
    replay_all(Backend::Postgres).await;
}
