//! `tributary test`: plays scenario files on throw-away stores and says what differs.

use super::commands::Signals;
use super::scratch::Scratch;
use super::server::records_door;
use super::settings::Settings;
use crate::base::{Clock, Ids};
use crate::identity::RulesDirectory;
use crate::pipeline::scenario::{self, Answers, Fault, Read, Scenario};
use crate::pipeline::{Services, queue};
use crate::store::Store;
use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Test {
    /// Files of scenarios.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only scenarios with this id, or with this text in their title; repeat for several.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Print one JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

pub(super) const EXAMPLES: &str = r#"Examples:
  tributary test rules/*.json
  tributary test scenarios.json --only D06 --only tablet
  tributary test scenarios.json --json > result.json
  tributary test scenarios.json --database-url postgres://ci@localhost/postgres

A file:
  { "format": 1,
    "scenarios": [
      { "id": "S1", "title": "couple with one phone",
        "config": {"identifiers": {"phone": {"requires_agreement": ["first_name"]}}},
        "steps": [
          {"op": "record", "record_id": "r1", "channel": "call", "ts": "2026-03-01T01:00:00Z",
           "identifiers": {"phone": "+12025550171"}, "attributes": {"first_name": "Ian"},
           "consents": [{"purpose": "MARKETING", "channel": "EMAIL", "state": "DENIED"}]},
          {"op": "record", "record_id": "r2", "channel": "web", "ts": "2026-03-01T02:00:00Z",
           "identifiers": {"phone": "+12025550171", "email": ["joy@j.example"]}, "attributes": {"first_name": "Joy"}},
          {"op": "must_link", "a": "r1", "b": "r2"},
          {"op": "consent_record", "customer_of": "r2", "purpose": "MARKETING", "state": "GRANTED"}],
        "expected": {
          "partition": [["r1", "r2"]],
          "golden": {"r1": {"first_name": "Joy"}},
          "redirects": [{"old_id_of": "r2", "resolves_to_customer_of": "r1"}],
          "lookup": [{"type": "email", "value": "joy@j.example", "customer_of": "r1"}],
          "consents": [{"customer_of": "r1", "purpose": "MARKETING", "channel": "EMAIL", "state": "DENIED"}]} }]}

Steps: record, must_link {a, b}, cannot_link {a, b}, block_value {type, value}, consent_record {customer_of, purpose, channel, state}:
what a customer answers, under every record they have then. A state is GRANTED, DENIED or WITHDRAWN, and where one is expected also
UNKNOWN: nobody answered; a channel that is left out is ANY. "config" is laid over the file's "default_config",
and where there is none over the rules of the settings (by default those of a shop). A type of identifier may be any name.
Each scenario plays on an empty store of its own: in a temporary file, or with --database-url postgres://... in a database that is
made beside the one named and dropped at the end. Exit status 1 when a scenario failed."#;

/// What became of a scenario, or of a file that could not be read.
struct Outcome {
    file: String,
    id: Option<String>,
    title: String,
    differences: Vec<String>,
    fault: Option<Fault>,
}

impl Outcome {
    fn passed(&self) -> bool {
        self.fault.is_none() && self.differences.is_empty()
    }

    fn print(&self) {
        let mark = if self.passed() { "passed" } else { "FAILED" };
        let name = [self.id.as_deref().unwrap_or(&self.file), &self.title].join(" ");
        say!("{mark}  {}", name.trim_end());
        for difference in &self.differences {
            say!("        {difference}");
        }
        if let Some(fault) = &self.fault {
            let place = self.id.iter().fold(self.file.clone(), |file, id| format!("{file}: {id}"));
            say!("        {place}: {fault}");
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "file": self.file,
            "id": self.id,
            "title": self.title,
            "status": if self.passed() { "passed" } else { "failed" },
            "differences": self.differences,
            "error": self.fault.as_ref().map(|fault| json!({"path": fault.path, "message": fault.problem})),
        })
    }
}

/// Plays the files.
///
/// # Errors
/// When a scenario failed, or none was chosen.
pub(super) async fn run(settings: &Settings, url: Option<&str>, test: &Test) -> anyhow::Result<()> {
    let mut signals = Signals::install()?;
    let mut scratch = Scratch::prepare(settings, url, &Ids::system()).await?;
    let outcomes = tokio::select! {
        outcomes = play_files(settings, &mut scratch, test) => Some(outcomes),
        () = signals.first() => None,
    };
    scratch.remove().await;
    let Some(outcomes) = outcomes else {
        bail!("interrupted");
    };
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let passed = outcomes.len() - failed;
    if test.json {
        let scenarios: Vec<Value> = outcomes.iter().map(Outcome::to_json).collect();
        let report = json!({"passed": passed, "failed": failed, "scenarios": scenarios});
        say!("{report:#}");
    } else {
        say!("{passed} passed, {failed} failed");
    }
    match (passed, failed) {
        (0, 0) => bail!("no scenario is called {}", test.only.join(" or ")),
        (_, 0) => Ok(()),
        _ => bail!("{failed} of {} scenarios failed", outcomes.len()),
    }
}

async fn play_files(settings: &Settings, scratch: &mut Scratch, test: &Test) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for file in &test.files {
        let name = file.display().to_string();
        let read = std::fs::read_to_string(file).map_err(|error| Fault::new("", error.to_string()));
        let read = read.and_then(|text| {
            let defaults = settings.identity_rules();
            let defaults = defaults.map_err(|error| Fault::new("", error.to_string()))?;
            scenario::read(&text, &defaults)
        });
        let scenarios = match read {
            Ok(scenarios) => scenarios,
            Err(fault) => {
                let outcome = Outcome {
                    file: name,
                    id: None,
                    title: String::new(),
                    differences: Vec::new(),
                    fault: Some(fault),
                };
                tell(&mut outcomes, outcome, test);
                continue;
            }
        };
        for Read { id, title, scenario } in scenarios {
            if !is_chosen(&test.only, &id, &title) {
                continue;
            }
            let played = match scenario {
                Ok(scenario) => play(settings, scratch, &scenario).await,
                Err(fault) => Err(fault),
            };
            let (differences, fault) = match played {
                Ok(differences) => (differences, None),
                Err(fault) => (Vec::new(), Some(fault)),
            };
            let outcome = Outcome {
                file: name.clone(),
                id: Some(id),
                title,
                differences,
                fault,
            };
            tell(&mut outcomes, outcome, test);
        }
    }
    outcomes
}

fn tell(outcomes: &mut Vec<Outcome>, outcome: Outcome, test: &Test) {
    if !test.json {
        outcome.print();
    }
    outcomes.push(outcome);
}

fn is_chosen(only: &[String], id: &str, title: &str) -> bool {
    let title = title.to_lowercase();
    only.is_empty()
        || only
            .iter()
            .any(|wanted| wanted == id || title.contains(&wanted.to_lowercase()))
}

/// Plays a scenario on a store of its own; answers the differences.
async fn play(settings: &Settings, scratch: &mut Scratch, scenario: &Scenario) -> Result<Vec<String>, Fault> {
    let failed = |error: anyhow::Error| Fault::new("", format!("{error:#}"));
    let scratched = scratch.another().await.map_err(failed)?;
    let answers = play_on(settings, scratched.store.clone(), scenario).await;
    scratch.discard(scratched).await;
    let answers = answers.map_err(failed)??;
    Ok(scenario::differences(&scenario.expected, &answers))
}

/// With what a server has behind its doors, under the rules of the scenario and on its clock. The inner error: a step was refused.
async fn play_on(settings: &Settings, store: Store, scenario: &Scenario) -> anyhow::Result<Result<Answers, Fault>> {
    let clock = Clock::manual(scenario::start(scenario));
    let rules = RulesDirectory::new(scenario.rules.clone())?;
    let services = Services::open(store, clock, rules, None).await?;
    let (intake, committers) = queue::start(services.clone(), 1, settings.ingest.queue_events);
    let door = records_door(settings, intake.clone());
    let answers = scenario::run(&services, &door, scenario).await;
    intake.close();
    committers.finished().await;
    Ok(answers)
}
