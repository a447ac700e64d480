//! What the change log costs intake: the product beside the same without a log, in turns on databases of their own.

use crate::cpu::Cpu;
use crate::load::{Requests, send};
use crate::measure::{Measure, hundredths, median};
use crate::server::Server;
use crate::{Scale, workload};
use serde_json::{Value, json};

/// The part of the rate that the log may cost.
const TARGET: f64 = 0.25;

pub async fn measure(url: &str, url_without: &str, scale: Scale) -> Vec<Value> {
    let Ok(without) = std::env::var("TRIBUTARY_BENCH_NO_LOG") else {
        eprintln!("TRIBUTARY_BENCH_NO_LOG names no binary to compare with: the price of the log is left out");
        return Vec::new();
    };
    let sides = [
        Server::of(&without, url_without).await,
        Server::of(&crate::binary(), url).await,
    ];
    for side in &sides {
        send(side, 4, &workload::introductions(scale.records)).await;
    }
    let connections = if url.starts_with("sqlite") { 8 } else { 16 };
    let cases = [
        format!("intake in batches of 100, {connections} connections"),
        "intake of single events, 64 connections".to_owned(),
    ];
    let mut runs: [[Vec<Measure>; 2]; 2] = Default::default();
    for repetition in 0..scale.repetitions {
        for (case, runs) in runs.iter_mut().enumerate() {
            let run = format!("price-{case}-{repetition}");
            let (events, connections, requests): (usize, usize, Requests) = match case {
                0 => (scale.batched_events, connections, workload::batches(&run, scale, 100)),
                _ => (scale.single_events, 64, workload::singles(&run, scale)),
            };
            // Whoever goes first changes from turn to turn.
            for i in [repetition % 2, 1 - repetition % 2] {
                let cpu = Cpu::of(&sides[i], None);
                let measured = cpu.during(send(&sides[i], connections, &requests), events).await;
                eprintln!("{}, {}: {measured}", cases[case], ["without a log", "with the log"][i]);
                runs[i].push(measured);
            }
        }
    }
    let result = |(case, runs): (String, [Vec<Measure>; 2])| {
        let side = |i: usize| {
            let of = |field: fn(&Measure) -> f64| median(runs[i].iter().map(field)).round();
            json!({"eventsPerSecond": of(|run| run.per_second), "serverMicros": of(|run| run.server_us)})
        };
        let prices = runs[0]
            .iter()
            .zip(&runs[1])
            .map(|(without, with)| 1.0 - with.per_second / without.per_second);
        let price = median(prices.clone());
        json!({"case": format!("price of the log, {case}"), "without": side(0), "with": side(1), "price": hundredths(price),
            "runs": prices.map(hundredths).collect::<Vec<_>>(), "target": TARGET, "met": price <= TARGET})
    };
    cases.into_iter().zip(runs).map(result).collect()
}
