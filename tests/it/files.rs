//! Files in and out: import of every kind, export and back again, a backup that is what the database was.

use super::support::app::{ADMIN_KEY, database};
use super::support::process::{Process, command};
use super::support::{Backend, TestApp, on_both};
use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A database, a folder for files, and the binary.
struct Shop {
    url: String,
    folder: PathBuf,
}

struct Told {
    out: String,
    err: String,
    code: Option<i32>,
}

impl Shop {
    /// With a source `crm`.
    async fn new(backend: Backend) -> Self {
        let (url, folder) = database(backend).await;
        let shop = Self { url, folder };
        shop.sound(&["migrate"]);
        shop.sound(&["source", "add", "--key", "crm", "--channel", "crm"]);
        shop
    }

    fn run(&self, arguments: &[&str]) -> Told {
        let output = command(arguments, &[("TRIBUTARY_DATABASE__URL", &self.url)]);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Told {
            out: text(output.stdout),
            err: text(output.stderr),
            code: output.status.code(),
        }
    }

    fn sound(&self, arguments: &[&str]) -> String {
        let told = self.run(arguments);
        assert_eq!(told.code, Some(0), "{arguments:?}\n{}{}", told.out, told.err);
        told.out
    }

    /// Imports a file for `crm`; answers the summary without its times, and the exit status.
    fn import(&self, file: &str, more: &[&str]) -> (String, Option<i32>) {
        let told = self.run(&[&["import", file, "--source", "crm"], more].concat());
        let summary = told.out.rsplit_once(" (").map_or(told.out.as_str(), |(summary, _)| summary);
        let summary = summary.split_once(": ").map_or(summary, |(_, counts)| counts);
        assert!(told.code != Some(1), "{}", told.err);
        (summary.to_owned(), told.code)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// The errors of a file: line, code, field.
    fn errors(&self, file: &str) -> Vec<(u64, String, Value)> {
        let text = std::fs::read_to_string(format!("{file}.errors.ndjson")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .map(|line| {
                (
                    line["line"].as_u64().unwrap(),
                    line["code"].as_str().unwrap().to_owned(),
                    line["field"].clone(),
                )
            })
            .collect()
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        texts(&self.url, sql).await
    }

    /// The rows of every table that data are in, as counts.
    async fn counts(&self) -> Vec<String> {
        let tables = [
            "record",
            "identifier",
            "link",
            "customer",
            "event",
            "purchase",
            "purchase_line",
            "refund",
            "product",
            "change",
            "change_tx",
            "rejected_item",
            "identity_decision",
            "held_item",
            "exchange_rate",
            "spend",
            "audit",
            "trait_definition",
            "event_definition",
        ];
        let mut counts = Vec::new();
        for table in tables {
            let count = self.texts(&format!("SELECT CAST(COUNT(*) AS TEXT) FROM {table}")).await;
            counts.push(format!("{table} {}", count[0]));
        }
        counts.extend(
            self.texts("SELECT CAST(COALESCE(MAX(ordinal), 0) AS TEXT) FROM change_tx")
                .await,
        );
        counts
    }

    /// Everything derived is as the history makes it.
    fn is_sound(&self) {
        self.sound(&["rebuild", "--check"]);
    }

    fn end(self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn texts(url: &str, sql: &str) -> Vec<String> {
    let connection = Database::connect(url).await.unwrap();
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all_raw(statement).await.expect(sql);
    let texts = rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap()).collect();
    connection.close().await.unwrap();
    texts
}

macro_rules! on_both_databases {
    ($(async fn $name:ident($backend:ident: Backend) $body:block)+) => {$(
        mod $name {
            use super::*;

            async fn run_on($backend: Backend) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                run_on(Backend::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                run_on(Backend::Postgres).await;
            }
        }
    )+};
}

const PEOPLE: &str = "Kundennummer;E-Mail;Vorname;Nachname;Geburtsdatum;Ort;Note
1;ada@example.test;Ada;Lovelace;10.12.1815;London;=1+1
2;;Grace;Hopper;9.12.1906;New York;
3;noone;Broken;Date;31.02.2000;;
4;ada@example.test;Augusta;King;10.12.1815;London;\"two
lines\"
;;Nobody;At all;;;
2;;Grace;Hopper;9.12.1906;New York;
";

on_both_databases! {
    async fn a_file_of_people_is_taken_in_once_however_often_it_comes(backend: Backend) {
        let shop = Shop::new(backend).await;
        let file = shop.write("people.csv", format!("\u{feff}{PEOPLE}"));
        let before = shop.counts().await;
        // The second person's row comes twice, so each is a row of its own.
        let would = "4 rows accepted, 0 held, 0 known before, 2 refused".to_owned();
        assert_eq!(shop.import(&file, &["--dry-run"]), (would.clone(), Some(3)));
        assert_eq!(shop.counts().await, before, "a dry run writes nothing");
        assert_eq!(shop.import(&file, &[]), (would, Some(3)));
        assert_eq!(shop.errors(&file), [(4, "invalid_value".to_owned(), json!("Geburtsdatum")), (7, "names_nobody".to_owned(), json!("Kundennummer"))]);
        let names = shop.texts("SELECT display_name FROM customer ORDER BY display_name").await;
        assert_eq!(names.len(), 2, "the address makes two rows one person: {names:?}");
        assert!(names.contains(&"Grace Hopper".to_owned()));
        let stored = shop.counts().await;
        assert_eq!(shop.import(&file, &[]), ("0 rows accepted, 0 held, 4 known before, 2 refused".to_owned(), Some(3)));
        // A line on top, another alike, and packed: only what is new is new.
        let (head, rest) = PEOPLE.split_once('\n').unwrap();
        let longer = format!("{head}\n5;eve@example.test;Eve;New;;;\n2;;Grace;Hopper;9.12.1906;New York;\n{rest}");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        assert_eq!(shop.counts().await, stored, "the same file changes nothing");
        packed.write_all(longer.as_bytes()).unwrap();
        let longer = shop.write("longer.csv.gz", packed.finish().unwrap());
        assert_eq!(shop.import(&longer, &[]), ("2 rows accepted, 0 held, 4 known before, 2 refused".to_owned(), Some(3)));
        shop.is_sound();
        shop.end();
    }

    async fn a_mapping_says_what_columns_mean(backend: Backend) {
        let shop = Shop::new(backend).await;
        let (gb18030, ..) = encoding_rs::GB18030.encode("会员,邮件,生日,积分,订阅\nA-1,wang@example.test,01/02/1990,\"1.250,5\",是\nA-2,无,03/04/1991,多,否\n");
        let file = shop.write("members.csv", gb18030);
        let map = shop.write("members.toml", r#"
            kind = "people"
            key = "会员"
            null = ["无"]
            dates = "DMY"
            decimal_comma = true
            [[identifier]]
            column = "会员"
            kind = "LOYALTY_ID"
            [[identifier]]
            column = "邮件"
            kind = "EMAIL"
            [[trait]]
            column = "生日"
            name = "birthday"
            type = "date"
            [[trait]]
            column = "积分"
            name = "points"
            type = "number"
            [[consent]]
            column = "订阅"
            purpose = "MARKETING"
        "#);
        assert_eq!(shop.import(&file, &["--map", &map]).0, "1 rows accepted, 0 held, 0 known before, 1 refused");
        assert_eq!(shop.errors(&file), [(3, "invalid_value".to_owned(), json!("积分"))]);
        let golden: Value = serde_json::from_str(&shop.texts("SELECT CAST(golden AS TEXT) FROM customer").await[0]).unwrap();
        assert_eq!((&golden["birthday"], &golden["points"]), (&json!("1990-02-01"), &json!(1250.5)));
        assert_eq!(shop.texts("SELECT purpose || ' ' || channel || ' ' || CAST(answer AS TEXT) FROM consent").await, ["MARKETING ANY 1"]);
        let wrong = shop.write("wrong.toml", "kind = \"people\"\nkey = \"Mitglied\"\n");
        let told = shop.run(&["import", &file, "--source", "crm", "--map", &wrong]);
        assert!(told.code == Some(1) && told.err.contains("\"Mitglied\"") && told.err.contains("会员"), "{}", told.err);
        shop.is_sound();
        shop.end();
    }

    async fn orders_and_events_become_those_of_their_people(backend: Backend) {
        let shop = Shop::new(backend).await;
        let orders = shop.write("orders.csv", "order id,email,order date,total,currency,sku,qty,unit price
o-1,ada@example.test,2025-01-02,30.00,EUR,book,2,10.00
o-1,ada@example.test,2025-01-02,30.00,EUR,pen,1,10.00
o-2,ada@example.test,2025-02-03,lots,EUR,pen,1,10.00
o-3,bob@example.test,2025-02-03,5,EUR,pen,1,5
");
        assert_eq!(shop.import(&orders, &[]).0, "2 rows accepted, 0 held, 0 known before, 1 refused");
        assert_eq!(shop.errors(&orders), [(4, "invalid_amount".to_owned(), json!("purchases.0.amount"))]);
        let purchases = shop.texts("SELECT order_id || ' ' || CAST(amount_minor AS TEXT) || ' ' || currency FROM purchase ORDER BY 1").await;
        assert_eq!(purchases, ["o-1 3000 EUR", "o-3 500 EUR"]);
        assert_eq!(shop.texts("SELECT CAST(COUNT(*) AS TEXT) FROM purchase_line").await, ["3"]);
        let messages = [
            json!({"type": "track", "event": "Visited", "userId": "u-1", "timestamp": "2025-03-04T05:06:07Z", "properties": {"page": "/"}}),
            json!({"type": "track", "event": "Visited", "userId": "u-1", "timestamp": "2025-03-04T05:06:07Z", "properties": {"page": "/"}}),
            json!({"type": "track", "event": "Visited", "userId": "u-1", "messageId": "m-1"}),
            json!({"type": "track", "event": "Visited", "userId": "u-1", "messageId": "m-1"}),
            json!({"type": "track", "event": "Survey Answered", "userId": "u-1", "properties": {"kind": "NPS", "score": 11}}),
            json!({"type": "identify", "userId": "u-1", "traits": {"email": "ada@example.test"}}),
        ];
        let lines: Vec<String> = messages.iter().map(Value::to_string).collect();
        let events = shop.write("events.ndjson", lines.join("\n"));
        assert_eq!(shop.import(&events, &[]).0, "4 rows accepted, 0 held, 1 known before, 1 refused");
        assert_eq!(shop.errors(&events), [(5, "invalid_property".to_owned(), json!("properties.score"))]);
        assert_eq!(shop.import(&events, &[]).0, "0 rows accepted, 0 held, 5 known before, 1 refused");
        assert_eq!(shop.texts("SELECT CAST(COUNT(*) AS TEXT) FROM customer").await, ["2"]);
        shop.is_sound();
        shop.end();
    }

    async fn a_dry_run_knows_what_batches_and_files_before_would_have_stored(backend: Backend) {
        let shop = Shop::new(backend).await;
        let visit = |user: &str, id: &str| json!({"type": "track", "event": "Visited", "userId": user, "messageId": id}).to_string();
        let device = |id: &str| json!({"type": "track", "event": "Visited", "anonymousId": "d-1", "messageId": id}).to_string();
        // The same message id under another record is another message.
        let lines = [visit("u-1", "m-1"), visit("u-2", "m-2"), visit("u-1", "m-1"), visit("u-2", "m-1"), device("m-3"), device("m-3")];
        let first = shop.write("first.ndjson", lines.join("\n"));
        let second = shop.write("second.ndjson", [visit("u-1", "m-1"), visit("u-3", "m-4")].join("\n"));
        let both = ["import", &first, &second, "--source", "crm", "--batch", "1"];
        let before = shop.counts().await;
        let would = shop.sound(&[&both[..], &["--dry-run"]].concat());
        assert_eq!(shop.counts().await, before, "a dry run writes nothing");
        let did = shop.sound(&both);
        for told in [would, did] {
            assert!(told.contains("4 rows accepted, 0 held, 2 known before, 0 refused"), "{told}");
            assert!(told.ends_with("all files: 5 rows accepted, 0 held, 3 known before, 0 refused\n"), "{told}");
        }
        shop.end();
    }

    async fn rates_and_spend_are_kept_to_the_last_digit_and_once(backend: Backend) {
        let shop = Shop::new(backend).await;
        let rates = shop.write("rates.csv", "date,from,to,rate\n2025-01-02,EUR,USD,1.03210000001\n2025-01-03,EUR,USD,1.04\n2025-01-03,EUR,EUR,1\n");
        let before = shop.counts().await;
        assert_eq!(shop.import(&rates, &["--dry-run"]).0, "2 rows accepted, 0 held, 0 known before, 1 refused");
        assert_eq!(shop.counts().await, before);
        assert_eq!(shop.import(&rates, &[]).0, "2 rows accepted, 0 held, 0 known before, 1 refused");
        assert_eq!(shop.texts("SELECT rate FROM exchange_rate ORDER BY day").await, ["1.03210000001", "1.04"]);
        assert_eq!(shop.import(&rates, &[]).0, "0 rows accepted, 0 held, 2 known before, 1 refused");
        let corrected = shop.write("corrected.csv", "date,from,to,rate\n2025-01-03,EUR,USD,1.05\n");
        assert_eq!(shop.import(&corrected, &["--kind", "rates"]), ("1 rows accepted, 0 held, 0 known before, 0 refused".to_owned(), Some(0)));
        let spend = "date,until,channel,campaign,cost,currency\n2025-01-01,2025-01-31,search,brand,100.10,EUR\n2025-01-05,,search,,0.30,EUR\n2025-01-05,,search,,0.40,EUR\n2025-01-05,2025-01-01,search,,1,EUR\n";
        let file = shop.write("spend.csv", spend);
        assert_eq!(shop.import(&file, &[]).0, "3 rows accepted, 0 held, 0 known before, 1 refused");
        assert_eq!(shop.import(&file, &[]).0, "0 rows accepted, 0 held, 3 known before, 1 refused");
        assert_eq!(shop.errors(&file), [(5, "invalid_period".to_owned(), json!("until"))]);
        let amounts = "SELECT CAST(amount_minor AS TEXT) || ' ' || CAST((until_at - from_at) / 86400000000 AS TEXT) FROM spend ORDER BY amount_minor";
        assert_eq!(shop.texts(amounts).await, ["30 1", "40 1", "10010 31"]);
        let corrected = shop.write("spend.csv", spend.replace("100.10", "99"));
        assert_eq!(shop.import(&corrected, &[]).0, "1 rows accepted, 0 held, 2 known before, 1 refused");
        assert_eq!(shop.texts(amounts).await, ["30 1", "40 1", "9900 31"]);
        shop.end();
    }

    async fn what_is_exported_is_safe_in_a_spreadsheet_and_the_same_when_it_comes_back(backend: Backend) {
        let shop = Shop::new(backend).await;
        let notes = ["=HYPERLINK(\"x\")", "+49 30 1", "-1+1", "@x", "＝1", "'=x", "'quoted", "a,\"b\"\nc", "-12.50", "plain"];
        let people: Vec<String> = (0..notes.len()).map(|n| json!({"key": format!("k{n}"), "trait.note": notes[n], "trait.points": n}).to_string()).collect();
        let file = shop.write("people.ndjson", people.join("\n"));
        assert_eq!(shop.import(&file, &[]).1, Some(0));
        let out = shop.path("records.csv");
        shop.sound(&["export", "records", "--format", "csv", "--out", &out]);
        let mut reader = csv::Reader::from_path(&out).unwrap();
        let place = reader.headers().unwrap().iter().position(|name| name == "trait.note").unwrap();
        let cells: Vec<String> = reader.records().map(|row| row.unwrap()[place].to_owned()).collect();
        assert_eq!(cells.len(), notes.len());
        for cell in &cells {
            assert!(cell == "-12.50" || !cell.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r']), "{cell}");
        }
        // Into another installation.
        let other = Shop::new(backend).await;
        assert_eq!(other.import(&out, &[]), ("10 rows accepted, 0 held, 0 known before, 0 refused".to_owned(), Some(0)));
        let back = other.path("back.ndjson");
        other.sound(&["export", "records", "--out", &back]);
        let text = std::fs::read_to_string(back).unwrap();
        let mut found: Vec<(String, String)> = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|row| (row["key"].as_str().unwrap().to_owned(), row["traits"]["note"].as_str().unwrap().to_owned())).collect();
        found.sort();
        let expected: Vec<(String, String)> = notes.iter().enumerate().map(|(n, note)| (format!("k{n}"), (*note).to_owned())).collect();
        assert_eq!(found, expected);
        for what in ["customers", "events"] {
            let lines = shop.sound(&["export", what]);
            assert_eq!(lines.lines().count(), 10, "{what}");
            assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
        }
        other.end();
        shop.end();
    }

    async fn identifiers_are_exported_a_column_for_each_kind_and_come_back(backend: Backend) {
        let shop = Shop::new(backend).await;
        let ids = ["=cmd()", "+1", "-2+3", "@x", "a,b", "a\"b", "a|b", "a\\b", "a\tb", "a\nb", "'=q"];
        let messages: Vec<String> = ids.iter().enumerate().map(|(n, id)| json!({
            "type": "identify", "userId": id, "messageId": format!("m-{n}"), "traits": {"phone": "+493012345678"},
            "context": {"externalIds": [
                {"type": "loyalty_id", "id": "-7", "collection": "users", "encoding": "none"},
                {"type": "loyalty_id", "id": format!("\\{id}|"), "collection": "users", "encoding": "none"}]},
        }).to_string()).collect();
        let file = shop.write("messages.ndjson", messages.join("\n"));
        assert_eq!(shop.import(&file, &[]).1, Some(0));
        let out = shop.path("records.csv");
        shop.sound(&["export", "records", "--format", "csv", "--out", &out]);
        let cells = |path: &str| {
            let mut reader = csv::Reader::from_path(path).unwrap();
            let head: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
            let rows: Vec<Vec<String>> = reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
            (head, rows)
        };
        let (head, rows) = cells(&out);
        let place = |name: &str| head.iter().position(|known| known == name).unwrap_or_else(|| panic!("{name} in {head:?}"));
        assert_eq!(rows.len(), ids.len());
        for row in &rows {
            assert!(row.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])), "{row:?}");
            assert_eq!(row[place("identifier.PHONE")], "'+493012345678");
        }
        let of = |id: &str| rows.iter().find(|row| row[place("key")].trim_start_matches('\'') == format!("u:{id}").trim_start_matches('\'')).unwrap();
        assert_eq!(of("a,b")[place("identifier.USER_ID")], "a,b");
        assert_eq!(of("a|b")[place("identifier.USER_ID")], "a\\|b");
        assert_eq!(of("=cmd()")[place("identifier.USER_ID")], "'=cmd()");
        assert_eq!(of("a|b")[place("identifier.LOYALTY_ID")], "'-7|\\\\a\\|b\\|");
        // One customer, since all share a telephone.
        let customers = shop.path("customers.csv");
        shop.sound(&["export", "customers", "--format", "csv", "--out", &customers]);
        let (head, rows) = cells(&customers);
        let users = rows.iter().map(|row| row[head.iter().position(|name| name == "identifier.USER_ID").unwrap()].clone()).collect::<Vec<_>>().join("|");
        for id in ["a,b", "a\"b", "a\\|b", "a\\\\b", "a\tb", "a\nb"] {
            assert!(users.split_inclusive('|').any(|part| part.trim_end_matches('|') == id) || users.contains(id), "{id} in {users}");
        }
        // Back again, into another installation.
        let other = Shop::new(backend).await;
        assert_eq!(other.import(&out, &[]).1, Some(0));
        let shown = |shop: &Shop| {
            let lines = shop.sound(&["export", "records"]);
            let mut shown: Vec<String> = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).flat_map(|row| {
                let key = row["key"].clone();
                let shown = row["identifiers"].as_array().unwrap().clone();
                shown.into_iter().map(move |identifier| json!([key, identifier]).to_string())
            }).collect();
            shown.sort();
            shown
        };
        let expected = shown(&shop);
        assert_eq!(expected.len(), 4 * ids.len());
        assert_eq!(shown(&other), expected);
        other.end();
        shop.end();
    }

    async fn a_file_is_taken_in_beside_a_running_server(backend: Backend) {
        let shop = Shop::new(backend).await;
        let process = Process::start(&shop.url, &[]).await;
        let rows: String = (0..3_000).map(|n| format!("{n},p{}@example.test,Person {n}\n", n % 2_000)).collect();
        let file = shop.write("people.csv", format!("customer id,email,name\n{rows}"));
        let ask = |n: usize| {
            let request = reqwest::Client::new().post(format!("{}/graphql", process.base)).bearer_auth(ADMIN_KEY);
            let query = format!(r#"mutation {{ sourceCreate(input: {{ key: "s{n}", name: "s", channel: WEB }}) {{ userErrors {{ message }} }} }}"#);
            request.json(&json!({"query": query})).send()
        };
        let (imported, ()) = tokio::join!(
            tokio::task::spawn_blocking({
                let shop = Shop { url: shop.url.clone(), folder: shop.folder.clone() };
                move || shop.import(&file, &["--batch", "200"])
            }),
            async {
                for n in 0..5 {
                    assert!(ask(n).await.unwrap().status().is_success());
                }
            }
        );
        assert_eq!(imported.unwrap(), ("3000 rows accepted, 0 held, 0 known before, 0 refused".to_owned(), Some(0)));
        assert_eq!(shop.texts("SELECT CAST(COUNT(*) AS TEXT) FROM customer").await, ["2000"]);
        process.signal("TERM");
        assert_eq!(process.finished().0, Some(0));
        shop.is_sound();
        shop.end();
    }

    async fn commands_leave_a_database_of_a_newer_version_alone(backend: Backend) {
        let shop = Shop::new(backend).await;
        let file = shop.write("people.csv", "email\nada@example.test\n");
        let connection = Database::connect(&shop.url).await.unwrap();
        connection.execute_unprepared("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_tomorrow', 0)").await.unwrap();
        connection.close().await.unwrap();
        let out = shop.path("out");
        for arguments in [
            &["import", &file, "--source", "crm"][..],
            &["import", &file, "--source", "crm", "--dry-run"],
            &["export", "customers", "--out", &out],
            &["backup", "--out", &out],
            &["rebuild", "--check"],
        ] {
            let told = shop.run(arguments);
            assert!(told.code == Some(1) && told.err.contains("belongs to a newer version of tributary"), "{arguments:?} {}", told.err);
            assert!(!Path::new(&out).exists());
        }
        shop.end();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stranger_gets_wrong_is_said_once_and_with_what_to_do() {
    let shop = Shop::new(Backend::Sqlite).await;
    let people = shop.write("people.csv", "email,name\nada@example.test,Ada\n");
    let folder = shop.folder.to_str().unwrap().to_owned();
    let kind = shop.write(
        "kind.toml",
        "kind = \"people\"\n[[identifier]]\ncolumn = \"email\"\nkind = \"MAIL\"\n",
    );
    let (none, nowhere) = (shop.path("none.csv"), shop.path("none/there.db"));
    let unmade = format!("sqlite://{}", shop.path("unmade.db"));
    let in_use = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = in_use.local_addr().unwrap().to_string();
    let import = |file, more: &[&str]| {
        [&["import", file, "--source", "crm"], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    for (arguments, expected) in [
        (
            import(&none, &["--database-url", &unmade]),
            format!("tributary: {none}: cannot be opened: No such file or directory (os error 2)\n"),
        ),
        (
            import(&folder, &[]),
            format!("tributary: {folder}: reading the file: Is a directory (os error 21)\n"),
        ),
        (
            import(&people, &["--map", &none]),
            format!("tributary: the mapping file {none} cannot be read: No such file or directory (os error 2)\n"),
        ),
        (
            import(&people, &["--map", &kind]),
            format!(
                "tributary: {people}: the mapping file: \"MAIL\" is no kind of identifier: use USER_ID, ANONYMOUS_ID, EMAIL, PHONE, DEVICE_ID, LOYALTY_ID or EXTERNAL_ID\n"
            ),
        ),
        (
            words(&["export", "customers", "--out", &nowhere]),
            format!("tributary: cannot write {nowhere}: No such file or directory (os error 2)\n"),
        ),
        (
            words(&["serve", "--bind", &port]),
            format!(
                "tributary: cannot listen on {port}: another program listens there; choose another port with --bind or server.bind: Address already in use (os error 98)\n"
            ),
        ),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let told = shop.run(&arguments);
        let err = told
            .err
            .lines()
            .filter(|line| !line.contains(" INFO ") && !line.starts_with('{'))
            .map(|line| format!("{line}\n"))
            .collect::<String>();
        assert_eq!((err, told.code), (expected, Some(1)), "{arguments:?}");
    }
    assert!(
        !Path::new(&shop.path("unmade.db")).exists(),
        "no database is made for a file that is not there"
    );
    let told = shop.run(&["migrate", "--database-url", &format!("sqlite://{nowhere}")]);
    assert!(
        told.err.contains(&format!("there is no folder {}", shop.path("none"))),
        "{}",
        told.err
    );
    shop.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_while_data_arrive_is_one_moment_of_the_database() {
    let shop = Shop::new(Backend::Sqlite).await;
    let rows: String = (0..4_000).map(|n| format!("{n},p{n}@example.test\n")).collect();
    let file = shop.write("people.csv", format!("customer id,email\n{rows}"));
    let importing = tokio::task::spawn_blocking({
        let shop = Shop {
            url: shop.url.clone(),
            folder: shop.folder.clone(),
        };
        move || shop.import(&file, &["--batch", "50"])
    });
    while shop.texts("SELECT CAST(COUNT(*) AS TEXT) FROM record").await[0] == "0" {}
    let copy = shop.path("copy.db");
    let told = shop.sound(&["backup", "--out", &copy]);
    assert!(told.contains("is a copy of sqlite://"), "{told}");
    assert_eq!(importing.await.unwrap().1, Some(0));
    assert_eq!(
        shop.run(&["backup", "--out", &copy]).code,
        Some(1),
        "a backup is never written over"
    );
    let restored = Shop {
        url: format!("sqlite://{copy}"),
        folder: shop.folder.clone(),
    };
    restored.is_sound();
    let count: usize = restored.texts("SELECT CAST(COUNT(*) AS TEXT) FROM record").await[0]
        .parse()
        .unwrap();
    assert!((1..=4_000).contains(&count));
    // The copy goes on where it was: the file again brings what was missing, and nothing twice.
    let file = shop.path("people.csv");
    assert_eq!(
        restored.import(&file, &[]).0,
        format!("{} rows accepted, 0 held, {count} known before, 0 refused", 4_000 - count)
    );
    shop.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_postgres_needs_pg_dump_and_says_so() {
    let shop = Shop::new(Backend::Postgres).await;
    let out = shop.path("copy.dump");
    let environment = [("TRIBUTARY_DATABASE__URL", shop.url.as_str()), ("PATH", "/nowhere")];
    let output = command(&["backup", "--out", &out], &environment);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && complaint.contains("pg_dump is not installed"),
        "{complaint}"
    );
    assert!(!Path::new(&out).exists() && !Path::new(&format!("{out}.partial")).exists());
    shop.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mapping_that_is_printed_reads_the_file_alike() {
    let shop = Shop::new(Backend::Sqlite).await;
    let file = shop.write("people.csv", PEOPLE);
    let mapping = shop.sound(&["import", &file, "--source", "crm", "--print-mapping"]);
    let map = shop.write("people.toml", mapping);
    assert_eq!(
        shop.import(&file, &["--map", &map]).0,
        "4 rows accepted, 0 held, 0 known before, 2 refused"
    );
    assert_eq!(
        shop.import(&file, &[]).0,
        "0 rows accepted, 0 held, 4 known before, 2 refused"
    );
    let told = shop.run(&["import", &file, "--source", "nobody"]);
    assert!(
        told.code == Some(1) && told.err.contains("there is no source \"nobody\""),
        "{}",
        told.err
    );
    shop.end();
}

const DRY_RUN: &str = "mutation($input: RecordsIngestInput!) { recordsIngest(input: $input) { transaction userErrors { message } receipts {
    index status record { id } customer { id } error { code } decision { outcome customer merged } changes { name before after } } } }";

/// Rows of every table, and the last ordinal.
async fn everything(app: &TestApp) -> Vec<i64> {
    let mut counts = Vec::new();
    for (table, _) in migration::DISTRIBUTION {
        counts.push(app.count(table).await);
    }
    counts.push(app.scalar("SELECT COALESCE(MAX(ordinal), 0) FROM change_tx").await);
    if app.server.services.store.is_postgres() {
        counts.push(app.scalar("SELECT last_value FROM change_ordinal").await);
    }
    counts
}

on_both! {
    async fn a_dry_run_tells_who_an_item_would_be_and_writes_nothing(app: TestApp) {
        app.source("crm", "CRM").await;
        let source = app.ask("{ sources(first: 1) { nodes { id } } }").await["sources"]["nodes"][0]["id"].clone();
        let ingest = async |items: Value, dry: bool| {
            let input = json!({"source": source, "items": items, "dryRun": dry});
            app.ask_with(DRY_RUN, json!({"input": input})).await["recordsIngest"].clone()
        };
        let email = |value: &str| json!([{"kind": "EMAIL", "value": value}]);
        let stored = ingest(json!([
            {"key": "a", "identifiers": email("a@example.test"), "traits": {"name": "Ann"}},
            {"key": "b", "identifiers": email("b@example.test"), "traits": {"name": "Bo"}},
        ]), false).await;
        let customer = |n: usize| stored["receipts"][n]["customer"]["id"].clone();
        assert_eq!((&stored["receipts"][0]["decision"], &stored["receipts"][0]["changes"]), (&Value::Null, &Value::Null));
        let before = everything(&app).await;
        let asked = json!([
            {"key": "a", "identifiers": email("a@example.test"), "traits": {"name": "Ann"}, "messageId": "again"},
            {"key": "n", "traits": {"name": "New", "size": 3}},
            {"key": "k", "identifiers": email("a@example.test"), "traits": {"city": "Ulm"}},
            {"key": " "},
        ]);
        let told = ingest(asked.clone(), true).await;
        assert_eq!(everything(&app).await, before);
        let receipts = &told["receipts"];
        assert_eq!((&told["transaction"], &told["userErrors"]), (&Value::Null, &json!([])));
        let city = json!([{"name": "city", "before": null, "after": "Ulm"}]);
        assert_eq!(receipts[0]["decision"], json!({"outcome": "UNCHANGED", "customer": customer(0), "merged": []}));
        assert_eq!((&receipts[0]["changes"], &receipts[0]["status"]), (&city, &json!("ACCEPTED")), "of all items together");
        assert_eq!(receipts[1]["decision"], json!({"outcome": "NEW_CUSTOMER", "customer": null, "merged": []}));
        assert_eq!(receipts[1]["changes"], json!([{"name": "name", "before": null, "after": "New"}, {"name": "size", "before": null, "after": 3}]));
        assert_eq!((&receipts[1]["record"], &receipts[1]["customer"]), (&Value::Null, &Value::Null));
        assert_eq!(receipts[2]["decision"], json!({"outcome": "KNOWN_CUSTOMER", "customer": customer(0), "merged": []}));
        assert_eq!(receipts[2]["changes"], city);
        assert_eq!((&receipts[3]["status"], &receipts[3]["decision"], &receipts[3]["error"]["code"]), (&json!("REJECTED"), &Value::Null, &json!("INVALID_ID")));
        // Two people who would become one.
        let joint = json!([{"key": "j", "identifiers": [{"kind": "EMAIL", "value": "a@example.test"}, {"kind": "EMAIL", "value": "b@example.test"}]}]);
        let told = ingest(joint.clone(), true).await;
        assert_eq!(told["receipts"][0]["decision"], json!({"outcome": "MERGED", "customer": customer(0), "merged": [customer(1)]}));
        assert_eq!(everything(&app).await, before);
        // Said and done are the same.
        let done = ingest(joint, false).await;
        assert_eq!(done["receipts"][0]["customer"]["id"], customer(0));
        assert_eq!(app.count("customer").await, 1);
        let repeated = ingest(json!([{"key": "a", "identifiers": email("a@example.test"), "traits": {"name": "Ann"}}]), true).await;
        assert_eq!((&repeated["receipts"][0]["status"], &repeated["receipts"][0]["changes"]), (&json!("DUPLICATE"), &json!([])));
        app.stop().await;
    }

    async fn reserved_events_must_carry_what_they_are_about(app: TestApp) {
        let key = app.source("web", "WEB").await;
        let event = |name: &str, properties: Value| json!({"type": "track", "event": name, "userId": "u", "properties": properties});
        app.batch(&key, json!([
            event("Survey Answered", json!({"kind": "NPS", "score": 9, "touchpoint": "checkout"})),
            event("Survey Answered", json!({"kind": "NPS", "score": 12})),
            event("Review Submitted", json!({"text": "fine"})),
            event("Referral Converted", json!({"referred": "u-2"})),
            event("Subscription Started", json!({"subscription_id": "s-1", "amount": "9.99"})),
        ])).await;
        assert_eq!(app.count("event").await, 2);
        let data = app.ask("{ rejectedItems(first: 9) { nodes { index field message } } }").await;
        let mut refused: Vec<String> = data["rejectedItems"]["nodes"].as_array().unwrap().iter()
            .map(|item| format!("{} {} {}", item["index"], item["field"].as_str().unwrap(), item["message"].as_str().unwrap())).collect();
        refused.sort();
        assert_eq!(refused, [
            "1 properties.score must be a whole number from 0 to 10",
            "2 properties.rating Review Submitted needs it",
            "4 properties.currency is needed beside an amount",
        ]);
        app.stop().await;
    }
}
