//! The demo company: loaded once through the same intake as any channel, mostly joined rightly, and questionable where it says so.

use super::support::app::START;
use super::support::process::command;
use super::support::{TestApp, on_both};
use sea_orm::prelude::Uuid;
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tributary::base::Instant;
use tributary::cli::demo::load::{Counts, Wish, load};
use tributary::cli::demo::{Company, Detail, Plan, tour};
use tributary::identity::Rules;
use tributary::pipeline::rebuild;

fn plan(people: u64, detail: Detail) -> Plan {
    Plan {
        people,
        seed: 1,
        until: Instant::parse(START).unwrap(),
        detail,
    }
}

fn wish(plan: Plan) -> Wish {
    Wish {
        plan,
        beside_other_data: false,
        any: false,
    }
}

async fn loaded(app: &TestApp, wish: Wish) -> Result<(Company, Option<Counts>), String> {
    let server = &app.server;
    let loaded = load(&server.services, &server.intake, wish, 2, |_| {}).await;
    loaded
        .map(|loaded| (loaded.company, loaded.counts))
        .map_err(|error| error.to_string())
}

/// For each (record, person it tells of): the person, and the customer of the record. A record that tells of two people counts twice.
async fn placed(app: &TestApp, company: Company) -> Vec<(u64, Uuid)> {
    let store = &app.server.services.store;
    let about: HashMap<Uuid, u64> = company
        .households()
        .flatten()
        .map(|told| {
            (
                store.hash_key().event(told.message["messageId"].as_str().unwrap()).0,
                told.person,
            )
        })
        .collect();
    let sql = "SELECT e.record_id, e.id, r.customer_id FROM event e JOIN record r ON r.id = e.record_id";
    let rows = store
        .reader()
        .query_all_raw(Statement::from_string(store.backend(), sql))
        .await
        .unwrap();
    let id = |row: &sea_orm::QueryResult, n| row.try_get_by_index::<Uuid>(n).unwrap();
    let units: HashSet<(Uuid, u64, Uuid)> = rows.iter().map(|row| (id(row, 0), about[&id(row, 1)], id(row, 2))).collect();
    units.into_iter().map(|(_, person, customer)| (person, customer)).collect()
}

fn pairs<K: Hash + Eq>(groups: impl Iterator<Item = K>) -> usize {
    let mut sizes: HashMap<K, usize> = HashMap::new();
    for group in groups {
        *sizes.entry(group).or_default() += 1;
    }
    sizes.values().map(|size| size * (size - 1) / 2).sum()
}

/// Pair precision and recall.
fn score(placed: &[(u64, Uuid)]) -> (f64, f64) {
    let right = pairs(placed.iter()) as f64;
    (
        right / pairs(placed.iter().map(|(_, customer)| customer)) as f64,
        right / pairs(placed.iter().map(|(person, _)| person)) as f64,
    )
}

/// The queries of a text that is to be pasted from.
fn queries(text: &str) -> Vec<String> {
    let paragraphs = text.split("\n\n").filter_map(|paragraph| {
        let at = paragraph.find("query {")?;
        Some(paragraph[at..].to_owned())
    });
    paragraphs.collect()
}

on_both! {
    async fn a_small_company_is_loaded_once_and_nearly_everybody_is_recognised(app: TestApp) {
        let plan = plan(300, Detail::Full);
        let (company, counts) = loaded(&app, wish(plan)).await.unwrap();
        let counts = counts.unwrap();
        let told: Vec<_> = company.households().flatten().collect();
        let distinct: HashSet<&str> = told.iter().map(|told| told.message["messageId"].as_str().unwrap()).collect();
        assert_eq!((counts.messages, counts.stored), (told.len() as u64, distinct.len() as u64));
        assert_eq!(counts.repeated, counts.messages - counts.stored);
        assert_eq!(app.count("event").await, i64::try_from(distinct.len()).unwrap());
        assert_eq!(app.count("rejected_item").await, 0);
        assert_eq!((app.count("spend").await, app.count("exchange_rate").await), (125, 1_462));

        let placed = placed(&app, company).await;
        let (precision, recall) = score(&placed);
        let (records, customers) = (app.count("record").await, app.count("customer").await);
        println!(
            "{:?}: {counts:?}; 300 people, {records} records, {customers} customers, precision {precision:.4}, recall {recall:.4}",
            app.server.services.store.backend()
        );
        assert!(precision > 0.95 && recall > 0.85, "{precision} {recall}");
        assert!((310..400).contains(&customers), "{customers}");

        assert_eq!(queries(tour::queries()).len(), 5);
        for query in queries(tour::queries()) {
            app.ask(&query).await;
        }
        let held = app.ask("{ heldItems(first: 20) { nodes { id } } }").await;
        assert!(!held["heldItems"]["nodes"].as_array().unwrap().is_empty(), "the number of the shops is held");

        let keys = app.server.services.store.hash_key();
        assert_eq!(company.questions().len(), 12);
        for question in company.questions() {
            let data = app.ask(tour::query(&question, keys).trim()).await;
            assert!(data["one"]["id"].is_string(), "{}: {data}", question.title);
            assert!(data["other"]["id"].is_string(), "{}: {data}", question.title);
            let a = tour::record_id(&question.a, keys);
            let b = tour::record_id(&question.b, keys);
            assert_eq!(data["why"].is_object(), question.together, "{}: {data}", question.title);
            let known = data.to_string();
            assert!(known.contains(&a) || known.contains(&b), "{}: {data}", question.title);
            let put_right = app.ask(tour::remedy(&question, keys).trim()).await;
            let errors = put_right.as_object().unwrap().values().next().unwrap();
            assert_eq!(errors["userErrors"], json!([]), "{}", question.title);
            let after = app.ask(tour::query(&question, keys).trim()).await;
            assert_eq!(after["why"].is_object(), !question.together, "{}: {after}", question.title);
        }

        app.clock.advance(std::time::Duration::from_secs(3 * 86_400));
        let again = Plan { until: app.clock.now(), ..plan };
        assert_eq!(loaded(&app, wish(again)).await.unwrap().1, None, "the same company on another day");
        let larger = loaded(&app, wish(Plan { people: 301, ..plan })).await.unwrap_err();
        assert!(larger.contains("holds a demo company already (300 people, seed 1)"), "{larger}");
        assert_eq!(app.count("event").await, i64::try_from(distinct.len()).unwrap());
        app.stop().await;
    }

    async fn an_interrupted_load_goes_on_with_the_company_that_was_begun(app: TestApp) {
        let plan = plan(1_200, Detail::Lean);
        let (begun, mut is_begun) = tokio::sync::mpsc::unbounded_channel();
        let server = &app.server;
        tokio::select! {
            biased;
            _ = is_begun.recv() => {}
            _ = load(&server.services, &server.intake, wish(plan), 1, |counts| begun.send(counts).unwrap()) => panic!("one step was all"),
        }
        app.clock.advance(std::time::Duration::from_secs(86_400));
        let (company, counts) = loaded(&app, wish(Plan { until: app.clock.now(), ..plan })).await.unwrap();
        assert_eq!(company.plan(), plan);
        let counts = counts.unwrap();
        assert!(counts.repeated >= 1_000 && counts.stored >= 1_000, "{counts:?}");
        assert_eq!((app.count("spend").await, app.count("exchange_rate").await), (125, 1_462));
        let told = company.households().flatten();
        let distinct: HashSet<String> = told.map(|told| told.message["messageId"].to_string()).collect();
        assert_eq!(app.count("event").await, i64::try_from(distinct.len()).unwrap());

        let mut found = Vec::new();
        let services = &app.server.services;
        let rules = Rules::parse(services.rules.configured()).unwrap();
        rebuild::check(&services.store, Arc::new(rules), (services.value.clone(), services.now()), &mut found).await.unwrap();
        assert!(found.is_empty(), "{found:?}");
        app.stop().await;
    }

    async fn invented_people_do_not_mix_with_real_ones_unless_told_so(app: TestApp) {
        app.source("shop", "WEB").await;
        let plan = plan(50, Detail::Lean);
        let refused = loaded(&app, wish(plan)).await.unwrap_err();
        assert!(refused.contains("a source \"shop\"") && refused.contains("tributary demo --force"), "{refused}");
        assert_eq!((app.count("record").await, app.count("source").await), (0, 1));
        let forced = Wish { beside_other_data: true, ..wish(plan) };
        let counts = loaded(&app, forced).await.unwrap().1.unwrap();
        assert!(counts.stored > 200, "{counts:?}");
        assert_eq!(app.count("source").await, 8);
        app.stop().await;
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("demo-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn run(arguments: &[&str]) -> (String, String, bool) {
    let output = command(arguments, &[("TRIBUTARY_LOG__LEVEL", "warn")]);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.success())
}

#[test]
fn the_command_loads_once_and_says_what_to_question() {
    let folder = folder("command");
    std::fs::create_dir_all(&folder).unwrap();
    let url = format!("sqlite://{}", folder.join("demo.db").display());
    let load = ["demo", "--people", "60", "--lean", "--database-url", &url];
    let (out, err, is_good) = run(&load);
    assert!(is_good, "{err}");
    for expected in [
        " messages of 60 people in ",
        "\n12. ",
        "recordsSeparate(input",
        "recordsLink(input",
        "identifierBlock(input",
    ] {
        assert!(out.contains(expected), "{expected} in {out}");
    }
    let (out, err, is_good) = run(&load);
    assert!(
        is_good && out.starts_with("The demo company is there already: 60 people, "),
        "{out}{err}"
    );
    let (_, err, is_good) = run(&["demo", "--people", "60", "--lean", "--seed", "2", "--database-url", &url]);
    assert!(!is_good && err.contains("choose another database"), "{err}");
    let (out, err, is_good) = run(&["rebuild", "--check", "--database-url", &url]);
    assert!(is_good, "{out}{err}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn files_are_the_same_whenever_they_are_written() {
    let folders = [folder("first"), folder("second")];
    for folder in &folders {
        let out = folder.to_str().unwrap();
        let (out, err, is_good) = run(&["demo", "--people", "80", "--until", "2026-06-01", "--out", out]);
        assert!(is_good && out.lines().count() == 12, "{out}{err}");
    }
    let mut names: Vec<_> = std::fs::read_dir(&folders[0])
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names.len(), 12);
    for name in names {
        let [first, second] = folders.each_ref().map(|folder| std::fs::read(folder.join(&name)).unwrap());
        assert!(first == second && !first.is_empty(), "{name:?}");
    }
    let spend = std::fs::read_to_string(folders[0].join("spend.csv")).unwrap();
    assert!(
        spend.starts_with("date,until,channel,amount,currency\n2024-06-01,2024-06-30,web,"),
        "{spend}"
    );
    for folder in folders {
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spend_and_rates_of_the_files_are_those_that_are_loaded() {
    let folder = folder("books");
    std::fs::create_dir_all(&folder).unwrap();
    let database = |name: &str| format!("sqlite://{}", folder.join(name).display());
    let (loaded, imported) = (database("loaded.db"), database("imported.db"));
    let out = folder.join("files");
    let company = ["demo", "--people", "60", "--lean", "--until", "2026-06-01"];
    for more in [["--out", out.to_str().unwrap()], ["--database-url", &loaded]] {
        let (told, err, is_good) = run(&[&company[..], &more].concat());
        assert!(is_good, "{told}{err}");
    }
    let on = ["--database-url", &imported];
    let (_, err, is_good) = run(&[&["migrate"], &on[..]].concat());
    assert!(is_good, "{err}");
    run(&[&["source", "add", "--key", "demo-crm", "--channel", "crm"], &on[..]].concat());
    for (kind, rows) in [("spend", 125), ("rates", 1_462)] {
        let file = out.join(format!("{kind}.csv"));
        let import = ["import", file.to_str().unwrap(), "--source", "demo-crm"];
        let (told, err, is_good) = run(&[&import, &on[..]].concat());
        assert!(
            is_good && told.contains(&format!("{rows} rows accepted, 0 held, 0 known before, 0 refused")),
            "{told}{err}"
        );
    }
    for sql in [
        "SELECT from_at || ' ' || until_at || ' ' || channel || ' ' || amount_minor || ' ' || currency FROM spend ORDER BY 1",
        "SELECT day || ' ' || from_currency || ' ' || to_currency || ' ' || rate FROM exchange_rate ORDER BY 1",
    ] {
        let mut found = Vec::new();
        for url in [&loaded, &imported] {
            let connection = sea_orm::Database::connect(url).await.unwrap();
            let statement = Statement::from_string(connection.get_database_backend(), sql);
            let rows = connection.query_all_raw(statement).await.unwrap();
            found.push(
                rows.iter()
                    .map(|row| row.try_get_by_index::<String>(0).unwrap())
                    .collect::<Vec<_>>(),
            );
        }
        assert!(found[0].len() > 100 && found[0] == found[1], "{sql}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
