//! `tributary test`: plays scenario files on throw-away stores and says what differs.

use super::commands::Signals;
use super::scratch::Scratch;
use super::server::records_door;
use super::settings::Settings;
use crate::base::{Clock, Ids};
use crate::identity::RulesDirectory;
use crate::pipeline::records::RecordsDoor;
use crate::pipeline::scenario::{self, Answers, Fault, Scenario, Story, Unread};
use crate::pipeline::{Services, queue};
use crate::store::Store;
use crate::worker::feed::{self, FeedOptions};
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
  tributary test stories.json --only S10
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

A file of stories, given, when, then:
  { "format": "journey-scenarios/1",
    "scenarios": [
      { "id": "S1", "title": "replay, then tail",
        "given": {"clock": "2026-06-01T00:00:00Z", "tenant": {"timeZone": "UTC"}, "customers": [{"key": "x", "attributes": {"city": "Bonn"}}]},
        "when": [
          {"n": 1, "do": "customer.set", "customer": "x", "attributes": {"i": 1}},
          {"n": 2, "do": "feed.head", "remember": "head"},
          {"n": 3, "do": "inParallel", "steps": [
            {"do": "repeat", "times": 20, "step": {"do": "customer.set", "customer": "x", "attributes": {"i": "1+$i"}}},
            {"do": "feed.open", "as": "s", "after": "head", "batch": 5}]},
          {"n": 4, "do": "feed.take", "as": "s", "waitFor": 20},
          {"n": 5, "do": "feed.close", "as": "s", "rememberCursorOfItem": 15, "remember": "later"},
          {"n": 6, "do": "feed.open", "as": "t", "after": "later"},
          {"n": 7, "do": "feed.take", "as": "t", "untilCaughtUp": true}],
        "then": [
          {"after": 4, "taken": {"as": "s", "valuesOf": "after.i", "list": "2..21", "eachExactlyOnce": true}},
          {"taken": {"as": "t", "valuesOf": "after.i", "list": [17, 18, 19, 20, 21]}},
          {"caughtUpSeen": {"as": "t", "atLeastOnce": true}},
          {"entityRevisions": {"customer": "x", "increaseByOne": true}}] }]}

"$i" is the turn of the repetition, from 1 on. The cursor BEGINNING lies right behind what is given. A subscription receives from feed.open
on, whatever steps follow; feed.take takes what it received, and waits up to 30 seconds for what must come. valuesOf is before.NAME,
after.NAME or rev. After each step with a number everything that is due is done, unless it says "settle": false; a check is made after the
step that "after" names, else at the end. A story with a word that this version does not know is skipped, and the word is named.

Each scenario plays on an empty store of its own: in a temporary file, or with --database-url postgres://... in a database that is
made beside the one named and dropped at the end. Exit status 1 when a scenario failed or was skipped."#;

/// What became of a scenario, or of a file that could not be read.
struct Outcome {
    file: String,
    id: Option<String>,
    title: String,
    ending: Ending,
}

enum Ending {
    Played {
        differences: Vec<String>,
    },
    Wrong(Fault),
    /// This version cannot play it.
    Skipped(Fault),
}

impl Outcome {
    fn status(&self) -> &'static str {
        match &self.ending {
            Ending::Played { differences } if differences.is_empty() => "passed",
            Ending::Played { .. } | Ending::Wrong(_) => "failed",
            Ending::Skipped(_) => "skipped",
        }
    }

    fn differences(&self) -> &[String] {
        match &self.ending {
            Ending::Played { differences } => differences,
            Ending::Wrong(_) | Ending::Skipped(_) => &[],
        }
    }

    fn fault(&self) -> Option<&Fault> {
        match &self.ending {
            Ending::Played { .. } => None,
            Ending::Wrong(fault) | Ending::Skipped(fault) => Some(fault),
        }
    }

    fn print(&self) {
        let mark = match self.status() {
            "failed" => "FAILED",
            other => other,
        };
        let name = [self.id.as_deref().unwrap_or(&self.file), &self.title].join(" ");
        say!("{mark}  {}", name.trim_end());
        for difference in self.differences() {
            say!("        {difference}");
        }
        if let Some(fault) = self.fault() {
            let place = self.id.iter().fold(self.file.clone(), |file, id| format!("{file}: {id}"));
            say!("        {place}: {fault}");
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "file": self.file,
            "id": self.id,
            "title": self.title,
            "status": self.status(),
            "differences": self.differences(),
            "error": self.fault().map(|fault| json!({"path": fault.path, "message": fault.problem})),
        })
    }
}

/// Plays the files.
///
/// # Errors
/// When a scenario failed or was skipped, or none was chosen.
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
    let count = |status: &str| outcomes.iter().filter(|outcome| outcome.status() == status).count();
    let (passed, failed, skipped) = (count("passed"), count("failed"), count("skipped"));
    if test.json {
        let scenarios: Vec<Value> = outcomes.iter().map(Outcome::to_json).collect();
        let report = json!({"passed": passed, "failed": failed, "skipped": skipped, "scenarios": scenarios});
        say!("{report:#}");
    } else if skipped > 0 {
        say!("{passed} passed, {failed} failed, {skipped} skipped");
    } else {
        say!("{passed} passed, {failed} failed");
    }
    match (passed, failed, skipped) {
        (0, 0, 0) => bail!("no scenario is called {}", test.only.join(" or ")),
        (_, 0, 0) => Ok(()),
        (_, 0, _) => bail!(
            "{skipped} of {} scenarios cannot be played by this version: choose others with --only",
            outcomes.len()
        ),
        _ => bail!("{failed} of {} scenarios failed", outcomes.len()),
    }
}

/// A scenario of either format, or why it cannot be played.
struct Read {
    id: String,
    title: String,
    play: Result<Play, Ending>,
}

enum Play {
    Scenario(Scenario),
    Story(Story),
}

fn read(settings: &Settings, text: &str) -> Result<Vec<Read>, Fault> {
    if scenario::is_of_stories(text) {
        let stories = scenario::read_stories(text)?.into_iter();
        let read = stories.map(|read| Read {
            id: read.id,
            title: read.title,
            play: read.story.map(Play::Story).map_err(|unread| match unread {
                Unread::Wrong(fault) => Ending::Wrong(fault),
                Unread::NotYet(fault) => Ending::Skipped(fault),
            }),
        });
        return Ok(read.collect());
    }
    let defaults = settings.identity_rules();
    let defaults = defaults.map_err(|error| Fault::new("", error.to_string()))?;
    let scenarios = scenario::read(text, &defaults)?.into_iter();
    let read = scenarios.map(|read| Read {
        id: read.id,
        title: read.title,
        play: read.scenario.map(Play::Scenario).map_err(Ending::Wrong),
    });
    Ok(read.collect())
}

async fn play_files(settings: &Settings, scratch: &mut Scratch, test: &Test) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for file in &test.files {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| Fault::new("", error.to_string()));
        let scenarios = match text.and_then(|text| read(settings, &text)) {
            Ok(scenarios) => scenarios,
            Err(fault) => {
                let outcome = Outcome {
                    file: name,
                    id: None,
                    title: String::new(),
                    ending: Ending::Wrong(fault),
                };
                tell(&mut outcomes, outcome, test);
                continue;
            }
        };
        for Read { id, title, play: chosen } in scenarios {
            if !is_chosen(&test.only, &id, &title) {
                continue;
            }
            let ending = match chosen {
                Ok(chosen) => match play(settings, scratch, &chosen).await {
                    Ok(differences) => Ending::Played { differences },
                    Err(fault) => Ending::Wrong(fault),
                },
                Err(ending) => ending,
            };
            let outcome = Outcome {
                file: name.clone(),
                id: Some(id),
                title,
                ending,
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
async fn play(settings: &Settings, scratch: &mut Scratch, chosen: &Play) -> Result<Vec<String>, Fault> {
    let failed = |error: anyhow::Error| Fault::new("", format!("{error:#}"));
    let scratched = scratch.another().await.map_err(failed)?;
    let store = scratched.store.clone();
    let differences = match chosen {
        Play::Scenario(scenario) => play_scenario(settings, store, scenario)
            .await
            .map(|answers| answers.map(|answers| scenario::differences(&scenario.expected, &answers))),
        Play::Story(story) => play_story(settings, store, story).await,
    };
    scratch.discard(scratched).await;
    differences.map_err(failed)?
}

/// With what a server has behind its doors, under the rules of the scenario and on its clock. The inner error: a step was refused.
async fn play_scenario(settings: &Settings, store: Store, scenario: &Scenario) -> anyhow::Result<Result<Answers, Fault>> {
    let clock = Clock::manual(scenario::start(scenario));
    let rules = RulesDirectory::new(scenario.rules.clone())?;
    let services = Services::open(store, clock, rules, None)
        .await?
        .valuing(settings.value_rules()?);
    Ok(behind_doors(settings, &services, async |door| {
        scenario::run(&services, door, scenario).await
    })
    .await)
}

/// The same under the rules of the settings, with the loops of the change log.
async fn play_story(settings: &Settings, store: Store, story: &Story) -> anyhow::Result<Result<Vec<String>, Fault>> {
    let rules = RulesDirectory::new(settings.identity_rules()?)?;
    let value = story.value.over(settings.value_rules()?);
    let services = Services::open(store, Clock::manual(story.clock), rules, None).await?.valuing(value);
    let options = FeedOptions {
        // Nobody else writes to this store.
        redis_url: String::new(),
        ..settings.feed_options()
    };
    let loops = feed::start(&services, options);
    let differences = behind_doors(settings, &services, async |door| scenario::play(&services, door, story).await).await;
    loops.stop().await;
    Ok(differences)
}

async fn behind_doors<T>(settings: &Settings, services: &Services, play: impl AsyncFnOnce(&RecordsDoor) -> T) -> T {
    let (intake, committers) = queue::start(services.clone(), 1, settings.ingest.queue_events);
    let door = records_door(settings, intake.clone());
    let played = play(&door).await;
    intake.close();
    committers.finished().await;
    played
}
