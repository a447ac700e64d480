//! Intake over HTTP, this version beside another one's binary, in turns on databases of their own.

use crate::cpu::{Cpu, parent_of};
use crate::load::{Requests, send};
use crate::measure::{Measure, hundredths, median};
use crate::server::Server;
use crate::{Place, Scale, workload};
use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::{Value, json};

const TARGET: f64 = 0.6;
const NEWCOMERS: usize = 5_000;

struct Side {
    server: Server,
    cpu: Cpu,
}

impl Side {
    async fn start(binary: &str, url: &str) -> Self {
        let server = Server::of(binary, url).await;
        let database = match url.starts_with("sqlite") {
            true => None,
            false => Some(first_process(url).await),
        };
        let cpu = Cpu::of(&server, database);
        Self { server, cpu }
    }
}

pub async fn measure(database: &str, place: &Place, before: &str, scale: Scale) -> Vec<Value> {
    let now = env!("CARGO_BIN_EXE_tributary");
    let sides = [
        Side::start(before, &place.url("before")).await,
        Side::start(now, &place.url("now")).await,
    ];
    for side in &sides {
        send(&side.server, 4, &workload::introductions(scale.records)).await;
    }
    let connections = if database == "sqlite" { 8 } else { 16 };
    let cases = [
        format!("known people, batches of 100, {connections} connections"),
        "known people, single events, 64 connections".to_owned(),
        "new people, batches of 100, 8 connections".to_owned(),
    ];
    let work = |case: usize, repetition: usize| -> (usize, usize, Requests) {
        let run = format!("{case}-{repetition}");
        let newcomers = scale.records + repetition * NEWCOMERS;
        match case {
            0 => (scale.batched_events, connections, workload::batches(&run, scale, 100)),
            1 => (scale.single_events, 64, workload::singles(&run, scale)),
            _ => (NEWCOMERS, 8, workload::newcomers(newcomers..newcomers + NEWCOMERS, 100)),
        }
    };
    let mut runs: [[Vec<Measure>; 2]; 3] = Default::default();
    for repetition in 0..scale.repetitions {
        for (case, runs) in runs.iter_mut().enumerate() {
            let (events, connections, requests) = work(case, repetition);
            // Whoever goes first changes from turn to turn.
            for i in [repetition % 2, 1 - repetition % 2] {
                let side = &sides[i];
                let measured = side.cpu.during(send(&side.server, connections, &requests), events).await;
                eprintln!("{database}, {}, {}: {measured}", cases[case], ["before", "now"][i]);
                runs[i].push(measured);
            }
        }
    }
    let result = |(case, runs): (String, [Vec<Measure>; 2])| {
        let of = |i: usize, field: fn(&Measure) -> f64| median(runs[i].iter().map(field)).round();
        let side = |i: usize| {
            json!({"eventsPerSecond": of(i, |run| run.per_second), "serverMicros": of(i, |run| run.server_us),
                "databaseMicros": of(i, |run| run.database_us)})
        };
        let shares = runs[0]
            .iter()
            .zip(&runs[1])
            .map(|(before, now)| now.per_second / before.per_second);
        let share = median(shares.clone());
        json!({"database": database, "case": format!("intake, {case}"), "before": side(0), "now": side(1), "share": hundredths(share),
            "runs": shares.map(hundredths).collect::<Vec<_>>(), "target": TARGET, "met": share >= TARGET})
    };
    cases.into_iter().zip(runs).map(result).collect()
}

/// The process of PostgreSQL that has started all others.
async fn first_process(url: &str) -> u32 {
    let db = Database::connect(url).await.unwrap();
    let statement = Statement::from_string(db.get_database_backend(), "SELECT pg_backend_pid()");
    let row = db.query_one_raw(statement).await.unwrap().unwrap();
    let pid: i32 = row.try_get_by_index(0).unwrap();
    parent_of(pid.try_into().unwrap())
}
