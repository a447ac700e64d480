//! Who the view is compared with: PostGraphile on the same data, and pgbench with the very statements that the server sends.

use crate::load::{self, Target};
use crate::servers::free_port;
use sea_orm::{DbBackend, Statement, Value};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tributary::base::CustomerId;
use tributary::base::paging::Page;
use tributary::customer::store::EventFilter;
use tributary::customer::store::standing::summed;
use tributary::pipeline::timeline::{self, Asked};
use tributary::pipeline::view::{self, Wanted};
use tributary::store::walk::Window;

pub struct PostGraphile {
    child: Child,
    pub target: Target,
}

impl PostGraphile {
    /// Installs it once under `target`, tells it how our tables hang together, and starts it.
    pub async fn start(database_url: &str, database: u32) -> Self {
        let folder = installed();
        let bench = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/view/postgraphile");
        let relations = bench.join("relations.sql");
        run(Command::new("psql")
            .args([database_url, "-q", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(relations));
        let port = free_port();
        let child = Command::new(folder.join("node_modules/.bin/node"))
            .args(["node_modules/.bin/postgraphile", "--config", "graphile.config.mjs"])
            .current_dir(&folder)
            .env("DATABASE_URL", database_url)
            .env("PORT", port.to_string())
            .env("NODE_ENV", "production")
            .env("GRAPHILE_ENV", "production")
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let target = Target {
            address: format!("127.0.0.1:{port}"),
            key: "none".to_owned(),
            server: child.id(),
            database: Some(database),
        };
        let started = Self { child, target };
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if std::net::TcpStream::connect(&started.target.address).is_ok() {
                return started;
            }
        }
        panic!("PostGraphile never became ready");
    }

    /// Its answer to the same question, for a look at whether it says as much.
    pub async fn ask(&self, body: &str) -> String {
        load::ask(&self.target, body).await
    }
}

impl Drop for PostGraphile {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("view-postgraphile");
    std::fs::create_dir_all(&folder).unwrap();
    let bench = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/view/postgraphile");
    for file in ["package.json", "graphile.config.mjs"] {
        std::fs::copy(bench.join(file), folder.join(file)).unwrap();
    }
    if !folder.join("node_modules/.bin/postgraphile").exists() {
        run(Command::new("npm")
            .args(["install", "--no-audit", "--no-fund"])
            .current_dir(&folder));
    }
    folder
}

/// Views a second by the statements of the view, prepared, over as many connections.
pub fn pgbench(database_url: &str, customers: usize, connections: u64, seconds: u64) -> f64 {
    let nobody = CustomerId(uuid::Uuid::nil());
    let listed = vec![entity::EventKind::Track, entity::EventKind::Page, entity::EventKind::Screen];
    let events = EventFilter {
        kinds: listed,
        names: None,
    };
    let asked = Asked {
        window: Window::newest(Page { first: 20, after: None }),
        purchases: true,
        consents: true,
        decisions: true,
        events: Some(events),
        channels: None,
    };
    let wanted = Wanted {
        records: true,
        identifiers: true,
    };
    let statements = [
        view::statement(DbBackend::Postgres, nobody, &wanted),
        timeline::statement(DbBackend::Postgres, &[nobody], &asked),
        summed(DbBackend::Postgres, &[nobody]),
    ];
    let sql: Vec<String> = statements.into_iter().map(written_out).collect();
    let sql = sql.join(";\n");
    let script = format!("\\set n random(1, {customers})\n\\set h (:n * 2654435761) % 4294967296\n{sql};\n");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("view.pgbench.sql");
    std::fs::write(&file, script).unwrap();
    let (clients, time) = (connections.to_string(), seconds.to_string());
    let arguments = [
        "--no-vacuum",
        "--protocol=prepared",
        "--jobs=1",
        "-c",
        &clients,
        "-T",
        &time,
        "-f",
    ];
    let printed = run(Command::new("pgbench").args(arguments).arg(file).arg(database_url));
    let line = printed
        .lines()
        .find(|line| line.starts_with("tps = "))
        .expect("pgbench's result");
    line.split(' ').nth(2).unwrap().parse().unwrap()
}

/// A statement with its parameters in place: whoever is drawn for the id.
fn written_out(statement: Statement) -> String {
    let id = "(lpad(to_hex(:h::bigint), 8, '0') || '000000000000000000000000')::uuid";
    let values = statement.values.map(|values| values.0).unwrap_or_default();
    let mut sql = statement.sql.replace('\n', " ");
    for (n, value) in values.iter().enumerate().rev() {
        let literal = match value {
            Value::BigInt(Some(number)) => number.to_string(),
            Value::Array(..) => format!("ARRAY[{id}]"),
            _ => id.to_owned(),
        };
        sql = sql.replace(&format!("${}", n + 1), &literal);
    }
    sql
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
