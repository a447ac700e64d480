//! Background jobs: durable, one worker at a time, resumed where they stopped, bounded in their attempts.

use super::support::app::{ADMIN_KEY, eventually};
use super::support::{TestApp, on_both};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::JobState;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tributary::base::JobId;
use tributary::job::{self, ATTEMPTS, Job, JobError, Lease, NewJob, Nudge, Progress, Runner, Running};
use tributary::store::StoreError;
use tributary::worker;

const KIND: &str = "test";
const HOUR: Duration = Duration::from_secs(3600);

fn runner(app: &TestApp) -> Runner {
    let services = &app.server.services;
    Runner::new(services.store.clone(), services.clock.clone(), services.jobs.clone())
}

fn new_job(app: &TestApp, kind: &str, input: Value) -> NewJob {
    let services = &app.server.services;
    NewJob::new(services.store.ids(), services.now(), kind, input, "key:test")
}

/// Queues a job; the transaction is committed or rolled back.
async fn queue_and(app: &TestApp, new: NewJob, commit: bool) -> Result<JobId, StoreError> {
    let queued = app.server.services.store.transact(|tx, _| {
        let new = new.clone();
        Box::pin(async move {
            let id = job::enqueue(tx, &new).await?;
            if commit {
                Ok(id)
            } else {
                Err(StoreError::Corrupt("on purpose".to_owned()))
            }
        })
    });
    queued.await
}

async fn queue(app: &TestApp) -> JobId {
    queue_and(app, new_job(app, KIND, json!({})), true).await.unwrap()
}

async fn found(app: &TestApp, id: JobId) -> Job {
    job::jobs(app.server.services.store.reader(), &[id])
        .await
        .unwrap()
        .remove(&id)
        .unwrap()
}

fn global(id: JobId) -> String {
    format!("job_{}", URL_SAFE_NO_PAD.encode(id.0.as_bytes()))
}

const FIELDS: &str = "kind state progress createdAt startedAt finishedAt result error";

async fn seen(app: &TestApp, id: JobId) -> Value {
    let query = format!("query($id: ID!) {{ job(id: $id) {{ {FIELDS} }} }}");
    app.ask_with(&query, json!({"id": global(id)})).await["job"].clone()
}

/// A place where a handler waits for the test, and the test for the handler.
#[derive(Clone, Default)]
struct Gate {
    reached: Arc<Notify>,
    open: Arc<Notify>,
}

impl Gate {
    async fn pass(&self) {
        self.reached.notify_one();
        self.open.notified().await;
    }
}

/// Runs one job beside the test.
fn beside(app: &TestApp, runner: Runner) -> (Arc<Runner>, tokio::task::JoinHandle<bool>) {
    let (runner, now) = (Arc::new(runner), app.clock.now());
    let own = runner.clone();
    (runner, tokio::spawn(async move { own.run_once(now).await }))
}

/// What runs beside the test has run one job, within ten seconds.
async fn ended(task: tokio::task::JoinHandle<bool>) {
    let ran = tokio::time::timeout(Duration::from_secs(10), task).await.expect("it ends");
    assert!(ran.unwrap());
}

on_both! {
    async fn a_job_whose_transaction_rolled_back_is_never_run(app: TestApp) {
        queue_and(&app, new_job(&app, KIND, json!({})), false).await.unwrap_err();
        assert_eq!(app.count("job").await, 0);
        // Also complains about anything that is due.
        app.run_due_jobs().await;
        app.stop().await;
    }

    async fn a_job_shows_its_progress_and_its_result_over_graphql(app: TestApp) {
        let id = queue_and(&app, new_job(&app, KIND, json!({"until": 4})), true).await.unwrap();
        let queued = json!({"kind": "test", "state": "QUEUED", "progress": null, "createdAt": "2026-06-01T12:00:00Z",
            "startedAt": null, "finishedAt": null, "result": null, "error": null});
        assert_eq!(seen(&app, id).await, queued);

        app.clock.advance(Duration::from_secs(1));
        let gate = Gate::default();
        let (_, task) = beside(&app, runner(&app).on(KIND, job::with(&gate, |gate: Gate, job: Running, now| async move {
            assert_eq!((job.actor(), job.attempt(), job.cursor(), now), ("key:test", 1, None, job.now()));
            job.progress(1, Some(job.input()["until"].as_i64().unwrap()), None).await?;
            gate.pass().await;
            job.progress(4, Some(4), Some(json!(4))).await?;
            Ok(json!({"counted": 4}))
        })));
        gate.reached.notified().await;
        let mut running = queued.clone();
        running["state"] = json!("RUNNING");
        running["progress"] = json!(0.25);
        running["startedAt"] = json!("2026-06-01T12:00:01Z");
        assert_eq!(seen(&app, id).await, running);
        app.clock.advance(Duration::from_secs(2));
        gate.open.notify_one();
        ended(task).await;

        let mut done = running;
        done["state"] = json!("SUCCEEDED");
        done["progress"] = json!(1.0);
        done["finishedAt"] = json!("2026-06-01T12:00:03Z");
        done["result"] = json!({"counted": 4});
        assert_eq!(seen(&app, id).await, done);
        let node = format!(r#"{{ node(id: "{}") {{ id ... on Job {{ {FIELDS} }} }} }}"#, global(id));
        done["id"] = json!(global(id));
        assert_eq!(app.ask(&node).await["node"], done);
        assert_eq!(seen(&app, JobId(uuid::Uuid::from_u128(1))).await, Value::Null);
        let wrong = global(id).replace("job_", "src_");
        let (_, refused) = app.graphql(ADMIN_KEY, json!({"query": format!(r#"{{ job(id: "{wrong}") {{ id }} }}"#)})).await;
        assert_eq!(refused["errors"][0]["message"], "id: expected the id of a Job, this is the id of a Source");
        app.run_due_jobs().await;
        app.stop().await;
    }

    async fn an_attempt_that_fails_is_tried_again_after_a_pause(app: TestApp) {
        let id = queue(&app).await;
        let runner = runner(&app).on(KIND, |job: Running, _| async move {
            match job.attempt() {
                1 => Err(JobError::Retry("the bank\0 is closed".to_owned())),
                _ => Ok(json!("paid")),
            }
        });
        app.run_due_jobs_of(&runner).await;
        let failed = found(&app, id).await;
        assert_eq!((failed.state, failed.attempts, failed.claimed_until), (JobState::Queued, 1, None));
        assert_eq!(failed.error.as_deref(), Some("the bank is closed"));
        app.clock.advance(Duration::from_millis(4_999));
        assert!(!runner.run_once(app.clock.now()).await, "it pauses");
        app.clock.advance(Duration::from_millis(1));
        app.run_due_jobs_of(&runner).await;
        let done = found(&app, id).await;
        assert_eq!((done.state, done.attempts, done.result, done.error), (JobState::Succeeded, 2, Some(json!("paid")), None));
        app.stop().await;
    }

    async fn a_job_that_gives_up_is_not_tried_again(app: TestApp) {
        let id = queue(&app).await;
        let runner = runner(&app).on(KIND, |_, _| async { Err(JobError::GiveUp("there is no such rule".to_owned())) });
        app.run_due_jobs_of(&runner).await;
        app.clock.advance(24 * HOUR);
        assert!(!runner.run_once(app.clock.now()).await);
        assert_eq!(found(&app, id).await.attempts, 1);
        assert_eq!(seen(&app, id).await, json!({"kind": "test", "state": "FAILED", "progress": null, "createdAt": "2026-06-01T12:00:00Z",
            "startedAt": "2026-06-01T12:00:00Z", "finishedAt": "2026-06-01T12:00:00Z", "result": null, "error": "there is no such rule"}));
        app.stop().await;
    }

    async fn attempts_are_bounded(app: TestApp) {
        let (failing, deadly) = (queue(&app).await, queue_and(&app, new_job(&app, "deadly", json!({})), true).await.unwrap());
        let runs = Arc::new(AtomicI64::new(0));
        let runner = runner(&app).on(KIND, job::with(&runs, |runs: Arc<AtomicI64>, _, _| async move {
            runs.fetch_add(1, Ordering::SeqCst);
            // What the database says is for the log.
            Err(JobError::Store(StoreError::Corrupt("ada@example.com".to_owned())))
        })).on("deadly", |_, _| async { panic!("it is not run any more") });
        let writer = app.server.services.store.writer();
        for _ in 0..ATTEMPTS {
            // A worker that dies of it says nothing.
            let claimed = job::claim(writer, ["deadly"], app.clock.now(), HOUR / 2).await.unwrap();
            assert_eq!(claimed.map(|job| job.id), Some(deadly));
            assert!(runner.run_once(app.clock.now()).await);
            assert!(!runner.run_once(app.clock.now()).await);
            app.clock.advance(HOUR);
        }
        assert!(runner.run_once(app.clock.now()).await);
        app.clock.advance(24 * HOUR);
        app.run_due_jobs_of(&runner).await;
        assert_eq!(runs.load(Ordering::SeqCst), ATTEMPTS);
        for (id, error) in [(failing, "internal error; the server's log knows more"), (deadly, "no attempt came to an end")] {
            let job = found(&app, id).await;
            assert_eq!((job.state, job.error.as_deref()), (JobState::Failed, Some(error)));
        }
        app.stop().await;
    }

    async fn a_worker_whose_lease_ran_out_is_replaced_at_the_cursor_and_writes_nothing_more(app: TestApp) {
        let id = queue(&app).await;
        let (gate, told) = (Gate::default(), Arc::new(Mutex::new(Vec::new())));
        let store = app.server.services.store.clone();
        let stale = new_job(&app, "of the stale worker", json!({}));
        let (_, first) = beside(&app, runner(&app).on(KIND, job::with(&(gate.clone(), told.clone(), store.clone(), stale), |(gate, told, store, stale), job: Running, _| async move {
            job.progress(2, Some(5), Some(json!({"at": 2}))).await?;
            gate.pass().await;
            let alone = job.progress(3, Some(5), Some(json!({"at": 3}))).await;
            let with_work = store.transact::<_, JobError, _>(|tx, _| {
                let (job, stale) = (job.clone(), stale.clone());
                Box::pin(async move {
                    job::enqueue(tx, &stale).await?;
                    job.progress_in(tx, 3, Some(5), Some(json!({"at": 3}))).await
                })
            }).await;
            told.lock().unwrap().extend([alone, with_work]);
            Ok(json!("the first"))
        })));
        gate.reached.notified().await;
        let stale = found(&app, id).await;
        let second = runner(&app).on(KIND, |job: Running, _| async move {
            assert_eq!((job.cursor(), job.attempt()), (Some(&json!({"at": 2})), 2));
            job.progress(5, Some(5), Some(json!({"at": 5}))).await?;
            Ok(json!("the second"))
        });
        app.clock.advance(Duration::from_secs(14));
        assert!(!second.run_once(app.clock.now()).await, "the lease stands");
        app.clock.advance(Duration::from_secs(1));
        assert!(second.run_once(app.clock.now()).await);
        let expected = found(&app, id).await;
        assert_eq!((expected.result.clone(), expected.done, expected.fence, expected.attempts), (Some(json!("the second")), 5, 2, 2));

        gate.open.notify_one();
        ended(first).await;
        let told = std::mem::take(&mut *told.lock().unwrap());
        assert!(told.len() == 2 && told.iter().all(|said| matches!(said, Err(JobError::LostLease))), "{told:?}");
        assert_eq!((found(&app, id).await, app.count("job").await), (expected, 1));

        // The same while the second is still at work: no word of the first reaches the row.
        let id = queue(&app).await;
        let db = store.writer();
        let now = app.clock.now();
        let claim = |now| job::claim(db, [KIND], now, Duration::from_secs(60));
        let old = Lease::from(&claim(now).await.unwrap().unwrap());
        assert_eq!((old.id, claim(now).await.unwrap()), (id, None));
        app.clock.advance(Duration::from_secs(60));
        let now = app.clock.now();
        let current = claim(now).await.unwrap().unwrap();
        let said = [
            job::renew(db, old, now.plus(HOUR)).await,
            job::progress(db, old, Progress { done: 1, ..Progress::default() }, now.plus(HOUR)).await,
            job::finish(db, old, now, json!(1)).await,
            job::fail(db, old, now, "old").await,
            job::retry(db, old, now, "old").await,
            job::give_back(db, old).await,
        ].map(Result::unwrap);
        assert_eq!((said, found(&app, id).await), ([false; 6], current.clone()));
        assert!(job::finish(db, Lease::from(&current), now, json!(2)).await.unwrap());
        assert!(!job::finish(db, Lease::from(&current), now, json!(3)).await.unwrap(), "once");
        assert_eq!(stale.fence, 1);
        app.stop().await;
    }

    async fn a_panic_costs_an_attempt_and_not_the_worker(app: TestApp) {
        let id = queue(&app).await;
        let runner = runner(&app).on(KIND, |job: Running, _| {
            assert_ne!(job.attempt(), 1, "a panic before the first await");
            async move {
                job.progress(1, None, None).await?;
                assert_ne!(job.attempt(), 2, "a panic behind it");
                Ok(json!(job.attempt()))
            }
        });
        for attempts in 1..=2 {
            app.run_due_jobs_of(&runner).await;
            let job = found(&app, id).await;
            assert_eq!((job.state, job.attempts), (JobState::Queued, attempts));
            assert_eq!(job.error.as_deref(), Some("internal error; the server's log knows more"));
            app.clock.advance(HOUR);
        }
        app.run_due_jobs_of(&runner).await;
        assert_eq!(found(&app, id).await.result, Some(json!(3)));
        app.stop().await;
    }

    async fn a_handler_that_says_nothing_keeps_its_lease(app: TestApp) {
        const LEASE: Duration = Duration::from_millis(600);
        let id = queue(&app).await;
        let gate = Gate::default();
        let (_, task) = beside(&app, runner(&app).leasing(LEASE).on(KIND, job::with(&gate, |gate: Gate, _, _| async move {
            gate.pass().await;
            Ok(json!("long"))
        })));
        gate.reached.notified().await;
        let other = runner(&app).on(KIND, |_, _| async { Ok(json!("stolen")) });
        for _ in 0..3 {
            app.clock.advance(LEASE * 2 / 3);
            let renewed = Some(app.clock.now().plus(LEASE));
            eventually("the lease is renewed", || async { found(&app, id).await.claimed_until == renewed }).await;
            assert!(!other.run_once(app.clock.now()).await);
        }
        gate.open.notify_one();
        ended(task).await;
        let job = found(&app, id).await;
        assert_eq!((job.result, job.attempts), (Some(json!("long")), 1));
        app.stop().await;
    }

    async fn a_handler_whose_lease_is_lost_is_ended(app: TestApp) {
        /// Tells when the handler is gone.
        struct Gone(Arc<AtomicBool>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let id = queue(&app).await;
        let (gate, gone) = (Gate::default(), Arc::new(AtomicBool::new(false)));
        let (_, task) = beside(&app, runner(&app).leasing(Duration::from_millis(300)).on(KIND, job::with(&(gate.clone(), gone.clone()), |(gate, gone): (Gate, _), _, _| async move {
            let _gone = Gone(gone);
            gate.pass().await;
            Ok(json!("never"))
        })));
        gate.reached.notified().await;
        app.clock.advance(HOUR);
        // A lease may have been renewed just now, by the new clock.
        eventually("another takes it over", || async {
            app.clock.advance(HOUR);
            let claimed = job::claim(app.server.services.store.writer(), [KIND], app.clock.now(), HOUR).await.unwrap();
            claimed.is_some_and(|job| job.id == id)
        }).await;
        ended(task).await;
        assert!(gone.load(Ordering::SeqCst));
        let job = found(&app, id).await;
        assert_eq!((job.state, job.fence, job.result), (JobState::Running, 2, None));
        app.stop().await;
    }

    async fn a_stop_gives_the_job_back_without_using_an_attempt_up(app: TestApp) {
        let id = queue(&app).await;
        let gate = Gate::default();
        let store = app.server.services.store.clone();
        let half = new_job(&app, "half done", json!({}));
        let (first, task) = beside(&app, runner(&app).on(KIND, job::with(&(gate.clone(), store, half), |(gate, store, half), job: Running, _| async move {
            job.progress(1, Some(2), Some(json!(1))).await?;
            store.transact::<_, JobError, _>(|tx, _| {
                let (job, gate, half) = (job.clone(), gate.clone(), half.clone());
                Box::pin(async move {
                    job::enqueue(tx, &half).await?;
                    job.progress_in(tx, 2, Some(2), Some(json!(2))).await?;
                    gate.pass().await;
                    Ok(())
                })
            }).await?;
            Ok(json!("never"))
        })));
        gate.reached.notified().await;
        first.stop();
        ended(task).await;
        assert!(!first.run_once(app.clock.now()).await, "it claims no more");
        let job = found(&app, id).await;
        assert_eq!((job.state, job.attempts, job.claimed_until, job.error), (JobState::Queued, 0, None, None));
        assert_eq!((job.done, job.cursor), (1, Some(json!(1))), "the step under way is rolled back");
        assert_eq!(app.count("job").await, 1);
        let next = runner(&app).on(KIND, |job: Running, _| async move { Ok(json!([job.attempt(), job.cursor()])) });
        app.run_due_jobs_of(&next).await;
        assert_eq!(found(&app, id).await.result, Some(json!([1, 1])));
        app.stop().await;
    }

    async fn a_worker_runs_what_it_has_handlers_for_nudged_or_not_and_stops_in_the_middle(app: TestApp) {
        let services = app.server.services.clone();
        let gate = Gate::default();
        let foreign = queue_and(&app, new_job(&app, "foreign", json!({})), true).await.unwrap();
        let runner = runner(&app).on(KIND, |_, _| async { Ok(json!("ran")) }).on("endless", job::with(&gate, |gate: Gate, _, _| async move {
            gate.pass().await;
            Ok(json!("never"))
        }));
        let worker = worker::start(services.clone(), Some(runner));
        let unheard = queue(&app).await;
        eventually("it looks by itself", || async { found(&app, unheard).await.state == JobState::Succeeded }).await;
        let endless = queue_and(&app, new_job(&app, "endless", json!({})), true).await.unwrap();
        services.jobs.nudge();
        gate.reached.notified().await;
        tokio::time::timeout(Duration::from_secs(10), worker.stop()).await.expect("it stops");
        let states = [found(&app, foreign).await, found(&app, endless).await].map(|job| (job.state, job.attempts));
        assert_eq!(states, [(JobState::Queued, 0); 2]);
        app.stop().await;
    }

    async fn two_workers_share_the_work_and_each_job_runs_once(app: TestApp) {
        const JOBS: usize = 24;
        let mut queued = Vec::new();
        for n in 0..JOBS {
            queued.push(queue_and(&app, new_job(&app, KIND, json!(n)), true).await.unwrap());
        }
        let ran = Arc::new(Mutex::new(Vec::new()));
        let workers: Vec<_> = (0..2).map(|_| {
            let runner = runner(&app).on(KIND, job::with(&ran, |ran: Arc<Mutex<Vec<i64>>>, job: Running, _| async move {
                ran.lock().unwrap().push(job.input().as_i64().unwrap());
                Ok(Value::Null)
            }));
            worker::start(app.server.services.clone(), Some(runner))
        }).collect();
        eventually("all are done", || async { app.scalar("SELECT COUNT(*) FROM job WHERE state = 3").await == 24 }).await;
        for worker in workers {
            worker.stop().await;
        }
        let mut ran = std::mem::take(&mut *ran.lock().unwrap());
        ran.sort_unstable();
        assert_eq!(ran, (0..24).collect::<Vec<_>>());
        assert!(job::jobs(app.server.services.store.reader(), &queued).await.unwrap().values().all(|job| job.fence == 1));
        app.stop().await;
    }

    async fn what_was_due_first_runs_first(app: TestApp) {
        let late = NewJob { available_at: app.clock.now().plus(HOUR), ..new_job(&app, KIND, json!("late")) };
        queue_and(&app, late, true).await.unwrap();
        app.clock.advance(Duration::from_secs(1));
        queue_and(&app, new_job(&app, KIND, json!("soon")), true).await.unwrap();
        let ran = Arc::new(Mutex::new(Vec::new()));
        let runner = runner(&app).on(KIND, job::with(&ran, |ran: Arc<Mutex<Vec<Value>>>, job: Running, _| async move {
            ran.lock().unwrap().push(job.input().clone());
            Ok(Value::Null)
        }));
        app.run_due_jobs_of(&runner).await;
        assert_eq!(*ran.lock().unwrap(), [json!("soon")]);
        app.clock.advance(HOUR);
        queue_and(&app, new_job(&app, KIND, json!("now")), true).await.unwrap();
        app.run_due_jobs_of(&runner).await;
        assert_eq!(*ran.lock().unwrap(), [json!("soon"), json!("late"), json!("now")]);
        app.stop().await;
    }

    async fn a_result_that_the_database_cannot_hold_fails_the_job(app: TestApp) {
        let id = queue(&app).await;
        let runner = runner(&app).on(KIND, |_, _| async { Ok(json!({"text": "a\0b"})) });
        app.run_due_jobs_of(&runner).await;
        let job = found(&app, id).await;
        if app.server.services.store.is_postgres() {
            assert_eq!((job.state, job.error.as_deref()), (JobState::Failed, Some("the result cannot be stored")));
        } else {
            assert_eq!((job.state, job.result), (JobState::Succeeded, Some(json!({"text": "a\0b"}))));
        }
        app.stop().await;
    }
}

#[tokio::test]
async fn a_nudge_wakes_a_runner_also_when_it_comes_before_the_wait() {
    let app = TestApp::new(crate::support::Backend::Sqlite).await;
    let services = &app.server.services;
    let nudge = Nudge::default();
    let runner = Runner::new(services.store.clone(), services.clock.clone(), nudge.clone());
    let woken = || tokio::time::timeout(Duration::from_millis(50), runner.wait());
    assert!(woken().await.is_err(), "nothing happened");
    nudge.nudge();
    assert!(woken().await.is_ok());
    assert!(woken().await.is_err(), "one nudge, one look");
    runner.stop();
    assert!(woken().await.is_ok(), "who stops does not wait");
    app.stop().await;
}
