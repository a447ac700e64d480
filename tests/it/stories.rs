//! Stories through `tributary test`: what is given, what is done, what must hold then, on both databases.

use super::scenarios::SCRATCH;
use super::support::Backend;
use super::support::app::database;
use super::support::process::command;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn s10() -> Value {
    let file = format!("{}/tests/data/journeys/scenarios.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// A change of S10, by name.
type Change<'c> = (&'c str, &'c dyn Fn(&mut Value));

/// A story for each change, under its name.
fn changed(changes: &[Change<'_>]) -> Value {
    let mut file = s10();
    let story = file["scenarios"][0].clone();
    let stories = changes.iter().map(|(id, change)| {
        let mut story = story.clone();
        story["id"] = json!(id);
        story["title"] = json!("");
        change(&mut story);
        story
    });
    file["scenarios"] = stories.collect();
    file
}

fn written(name: &str, file: &Value) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stories-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, file.to_string()).unwrap();
    path
}

/// Plays a file; answers what it told, standard error and the exit code.
async fn test(backend: Backend, name: &str, file: &Value, more: &[&str]) -> (String, String, Option<i32>) {
    let path = written(&format!("{name}-{backend:?}.json"), file);
    let mut arguments: Vec<String> = vec!["test".to_owned(), path.display().to_string()];
    arguments.extend(more.iter().map(|&more| more.to_owned()));
    let mut _alone = None;
    if backend == Backend::Postgres {
        let (url, _) = database(backend).await;
        arguments.extend(["--database-url".to_owned(), url]);
        _alone = Some(SCRATCH.lock().await);
    }
    let run = move || command(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

async fn replay_and_tail(backend: Backend) {
    let (told, errors, code) = test(backend, "s10", &s10(), &[]).await;
    assert_eq!(
        (told.as_str(), code),
        ("passed  S10 Replay, then tail, without seam\n1 passed, 0 failed\n", Some(0)),
        "{errors}"
    );
    let file = changed(&[
        ("BEGINNING", &|story| {
            story["when"][3]["steps"][1]["after"] = json!("BEGINNING");
            story["when"][4]["waitFor"] = json!(450);
            story["when"][7]["rememberCursorOfItem"] = json!(400);
            story["then"][0]["taken"]["list"] = json!("1..451");
        }),
        ("REPLAY", &|story| {
            // Nobody writes any more when the reader comes.
            let steps = story["when"][3]["steps"].as_array_mut().unwrap();
            let mut open = steps.pop().unwrap();
            open["n"] = json!(41);
            story["when"].as_array_mut().unwrap().insert(4, open);
        }),
        ("SMALL", &|story| story["when"][3]["steps"][1]["batch"] = json!(1)),
    ]);
    let (told, errors, code) = test(backend, "more", &file, &[]).await;
    assert_eq!(
        (told.as_str(), code),
        (
            "passed  BEGINNING\npassed  REPLAY\npassed  SMALL\n3 passed, 0 failed\n",
            Some(0)
        ),
        "{errors}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_and_tail_have_no_seam_on_sqlite() {
    replay_and_tail(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_and_tail_have_no_seam_on_postgresql() {
    replay_and_tail(Backend::Postgres).await;
}

fn of_the_life_cycle() -> Value {
    let file = format!("{}/tests/data/journeys/lifecycle.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

async fn life_cycle(backend: Backend) {
    let mut file = of_the_life_cycle();
    let mut wrong = file["scenarios"][0].clone();
    wrong["id"] = json!("WRONG");
    wrong["then"] = json!([
        {"after": 8, "lifecycle": {"c": {"stage": "DECLINE", "subStage": "LOST"}}},
        {"lifecycleHistory": {"c": ["POTENTIAL", "GROWTH", "DECLINE"]}}
    ]);
    let mut later = file["scenarios"][0].clone();
    later["id"] = json!("LATER");
    later["then"][0]["lifecycle"]["c"]["winBack"] = json!("NONE");
    let mut slip = file["scenarios"][0].clone();
    slip["id"] = json!("SLIP");
    slip["given"]["lifecycleConfig"]["defaultGapDays"] = json!("30");
    file["scenarios"].as_array_mut().unwrap().extend([wrong, later, slip]);
    let (told, errors, _) = test(backend, "lifecycle", &file, &[]).await;
    for expected in [
        "passed  S08-STAGES ",
        "passed  LOST ",
        "passed  CONTRACT ",
        "passed  MERGE ",
        "        the stage of c is MATURE, expected DECLINE\n        the sub-stage of c is none, expected LOST\n",
        "        stages of c: item 3 is \"MATURE\", expected \"DECLINE\" (4 items, expected 3)\n",
        ": LATER: then[0].lifecycle.c.winBack: this version does not know lifecycle.winBack\n",
        ": SLIP: given.lifecycleConfig.defaultGapDays: must be a number above 0\n",
        "4 passed, 2 failed, 1 skipped\n",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}{errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_of_the_life_cycle_change_on_the_day_on_sqlite() {
    life_cycle(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_of_the_life_cycle_change_on_the_day_on_postgresql() {
    life_cycle(Backend::Postgres).await;
}

async fn wrong_claims(backend: Backend) {
    let file = changed(&[
        ("LIST", &|story| story["then"][0]["taken"]["list"] = json!("102..452")),
        ("SHORT", &|story| story["then"][1]["taken"]["list"] = json!("401..450")),
        ("ORDER", &|story| {
            story["when"][9]["untilCaughtUp"] = Value::Null;
            story["when"][9]["waitFor"] = json!(3);
            story["then"][1]["taken"]["list"] = json!([402, 401, 403]);
        }),
        ("TWICE", &|story| {
            // Two people, of whom the last number is said.
            story["given"]["customers"] = json!([{"key": "x"}, {"key": "y", "attributes": {"i": 0}}]);
            let more = json!({"n": 31, "do": "customer.set", "customer": "y", "attributes": {"i": 451}, "note": "a second 451"});
            story["when"].as_array_mut().unwrap().insert(5, more);
            story["when"][6]["customer"] = json!("x");
            story["when"][7]["waitFor"] = json!(2);
            let numbers: Vec<u64> = (101..=451).chain([451]).collect();
            story["then"][0]["taken"]["list"] = json!(numbers);
            story["then"][1]["taken"]["list"] = json!((401..=451).chain([451]).collect::<Vec<u64>>());
        }),
        ("QUIET", &|story| {
            // Nothing was received when it was closed.
            let never = json!({"n": 90, "do": "feed.open", "as": "u", "after": "mid"});
            story["when"].as_array_mut().unwrap().push(never);
            story["then"][2]["caughtUpSeen"]["as"] = json!("u");
        }),
        ("NOBODY", &|story| {
            story["given"]["customers"] = json!([{"key": "x"}, {"key": "z"}]);
            story["then"][3]["entityRevisions"]["customer"] = json!("z");
        }),
        ("WAIT", &|story| story["when"][7]["rememberCursorOfItem"] = json!(352)),
    ]);
    // Apart, since on a busy machine all of them take longer than a command may.
    let mut told = String::new();
    for id in file["scenarios"]
        .as_array()
        .unwrap()
        .iter()
        .map(|story| story["id"].as_str().unwrap())
    {
        let (one, errors, code) = test(backend, &format!("wrong-{id}"), &file, &["--only", id]).await;
        assert_eq!(code, Some(1), "{one}{errors}");
        assert!(
            one.ends_with("\n0 passed, 1 failed\n") && errors.contains("1 of 1 scenarios failed"),
            "{one}{errors}"
        );
        told.push_str(&one);
    }
    for expected in [
        "FAILED  LIST\n        after.i taken by s: item 1 is 101, expected 102 (351 items, expected 351)\n",
        "FAILED  SHORT\n        after.i taken by t: item 51 is 451, expected nothing (51 items, expected 50)\n",
        "FAILED  ORDER\n        after.i taken by t: item 1 is 401, expected 402 (3 items, expected 3)\n",
        "FAILED  TWICE\n        after.i taken by s: 451 came twice\n",
        "FAILED  QUIET\n        u was never told that there is nothing more\n",
        "FAILED  NOBODY\n        the log has 1 changes of z: nothing to compare\n",
        ": WAIT: when[7]: 351 changes were taken: there is no item 352\n",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_claims_fail_with_what_differs_on_sqlite() {
    wrong_claims(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_claims_fail_with_what_differs_on_postgresql() {
    wrong_claims(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_version_does_not_know_is_skipped_by_name_and_mistakes_are_told_with_their_path() {
    let file = changed(&[
        ("GOOD", &|_| {}),
        ("STEP", &|story| {
            story["when"][0]["step"]["do"] = json!("segment.preview");
            story["when"][5]["do"] = json!("journey.publish");
            story["given"]["journeys"] = json!([]);
            story["then"][3] = json!({"sends": []});
        }),
        ("FIELD", &|story| story["when"][5]["timeZone"] = json!("Europe/London")),
        ("GIVEN", &|story| {
            story["given"]["customers"][0]["email"] = json!("x@example.com");
        }),
        ("CHECK", &|story| story["then"][1]["taken"]["list"] = json!({"anyOrder": [1]})),
        ("SUM", &|story| story["when"][2]["step"]["attributes"]["i"] = json!("100*$i")),
    ]);
    let (told, errors, code) = test(Backend::Sqlite, "unknown", &file, &[]).await;
    assert_eq!(code, Some(1), "{errors}");
    for expected in [
        "passed  GOOD\n",
        ": STEP: when[0].step.do: this version does not know segment.preview, nor journey.publish, given.journeys, then.sends\n",
        ": FIELD: when[5].timeZone: this version does not know customer.set.timeZone\n",
        ": GIVEN: given.customers[0].email: this version does not know given.customers.email\n",
        ": CHECK: then[1].taken.list: this version does not know a list with anyOrder or contains\n",
        ": SUM: when[2].step.attributes.i: this version does not know \"100*$i\"\n",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    assert!(
        told.contains("skipped  STEP\n") && told.ends_with("\n1 passed, 0 failed, 5 skipped\n"),
        "{told}"
    );
    assert!(
        errors.contains("5 of 6 scenarios cannot be played by this version"),
        "{errors}"
    );

    let (told, errors, code) = test(Backend::Sqlite, "unknown", &file, &["--only", "GOOD"]).await;
    assert_eq!(
        (told.as_str(), code),
        ("passed  GOOD\n1 passed, 0 failed\n", Some(0)),
        "{errors}"
    );
    let (told, _, code) = test(Backend::Sqlite, "unknown", &file, &["--only", "FIELD", "--json"]).await;
    assert_eq!(code, Some(1));
    let report: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&report["passed"], &report["failed"], &report["skipped"]),
        (&json!(0), &json!(0), &json!(1))
    );
    assert_eq!(
        (&report["scenarios"][0]["status"], &report["scenarios"][0]["error"]["path"]),
        (&json!("skipped"), &json!("when[5].timeZone"))
    );

    let file = changed(&[
        ("TIMES", &|story| story["when"][0]["times"] = json!(0)),
        ("TURN", &|story| story["when"][5]["attributes"]["i"] = json!("$i")),
        ("WHO", &|story| story["when"][5]["customer"] = json!("y")),
        ("NUMBER", &|story| story["when"][5]["n"] = json!(1)),
        ("AFTER", &|story| story["then"][0]["after"] = json!(70)),
        ("RANGE", &|story| story["then"][0]["taken"]["list"] = json!("451..101")),
        ("FALSE", &|story| {
            story["then"][2]["caughtUpSeen"]["atLeastOnce"] = json!(false);
        }),
        ("NOTHING", &|story| story["then"] = json!([])),
        ("BOTH", &|story| story["when"][4]["untilCaughtUp"] = json!(true)),
        ("CLOCK", &|story| story["given"]["clock"] = json!("soon")),
        // These are found on the way.
        ("CURSOR", &|story| story["when"][3]["steps"][1]["after"] = json!("h7")),
        ("READER", &|story| story["when"][4]["as"] = json!("z")),
    ]);
    let (told, _, code) = test(Backend::Sqlite, "mistakes", &file, &[]).await;
    assert_eq!(code, Some(1));
    for expected in [
        ": TIMES: when[0].times: must lie between 1 and 100000\n",
        ": TURN: when[5].attributes.i: $i means something only inside of repeat\n",
        ": WHO: when[5].customer: no customer is given by the key \"y\"\n",
        ": NUMBER: when[5].n: must be a number of its own\n",
        ": AFTER: then[0].taken: there is no step 70\n",
        ": RANGE: then[0].taken.list: \"451..101\" is no range of numbers: write 101..451\n",
        ": FALSE: then[2].caughtUpSeen.atLeastOnce: must be true\n",
        ": NOTHING: then: is empty: nothing would be tested\n",
        ": BOTH: when[4]: needs either waitFor or untilCaughtUp: true\n",
        ": CLOCK: given.clock: \"soon\" is no time: write 2026-03-01T09:30:00Z\n",
        ": CURSOR: when[3].steps[1]: no cursor is remembered as \"h7\"\n",
        ": READER: when[4]: no reader is called \"z\"\n",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    assert!(told.ends_with("\n0 passed, 12 failed\n"), "{told}");
    let mut file = s10();
    file["format"] = json!("journey-scenarios/2");
    let (told, _, code) = test(Backend::Sqlite, "later", &file, &[]).await;
    assert_eq!(code, Some(1));
    assert!(
        told.contains(r#"format: is "journey-scenarios/2": this version reads journey-scenarios/1"#),
        "{told}"
    );
}
