//! Background jobs are listed, and taken back where their kind allows it.

use super::support::app::eventually;
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
use tributary::job::{self, Job, JobError, NewJob, Nudge, Runner, Running};
use tributary::pipeline::jobs;

const KIND: &str = "test";
const LEASE: Duration = Duration::from_millis(600);

fn global(id: JobId) -> String {
    format!("job_{}", URL_SAFE_NO_PAD.encode(id.0.as_bytes()))
}

async fn queue(app: &TestApp, kind: &str) -> JobId {
    let services = &app.server.services;
    app.clock.advance(Duration::from_millis(1));
    let new = NewJob::new(services.store.ids(), services.now(), kind, json!({}), "key:test");
    let queued = services.store.transact(|tx, _| {
        let new = new.clone();
        Box::pin(async move { job::enqueue(tx, &new).await })
    });
    queued.await.unwrap()
}

async fn found(app: &TestApp, id: JobId) -> Job {
    job::jobs(app.server.services.store.reader(), &[id])
        .await
        .unwrap()
        .remove(&id)
        .unwrap()
}

async fn cancel(app: &TestApp, id: &str) -> Value {
    let query = "mutation($id: ID!) { jobCancel(input: {id: $id}) { job { state finishedAt } transaction userErrors { code field message } } }";
    app.ask_with(query, json!({"id": id})).await["jobCancel"].clone()
}

/// A runner of another server on the same database: it hears no nudge of this one.
fn runner_elsewhere(app: &TestApp) -> Runner {
    let services = &app.server.services;
    Runner::new(services.store.clone(), services.clock.clone(), Nudge::default())
}

fn runner_here(app: &TestApp) -> Runner {
    let services = &app.server.services;
    Runner::new(services.store.clone(), services.clock.clone(), services.jobs.clone())
}

/// A handler that works until it is ended, and says when it is gone.
#[derive(Clone, Default)]
struct Endless {
    begun: Arc<Notify>,
    gone: Arc<AtomicBool>,
    steps: Arc<AtomicI64>,
}

struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Endless {
    /// Waits, and says nothing.
    async fn wait(self, _: Running, _: tributary::base::Instant) -> Result<Value, JobError> {
        let _gone = Gone(self.gone.clone());
        self.begun.notify_one();
        std::future::pending().await
    }

    /// Takes one step after the other.
    async fn step(self, job: Running, _: tributary::base::Instant) -> Result<Value, JobError> {
        let _gone = Gone(self.gone.clone());
        loop {
            let done = self.steps.fetch_add(1, Ordering::SeqCst);
            job.progress(done, None, None).await?;
            self.begun.notify_one();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn beside(app: &TestApp, runner: Runner) -> tokio::task::JoinHandle<bool> {
    let now = app.clock.now();
    tokio::spawn(async move { runner.run_once(now).await })
}

async fn ended(task: tokio::task::JoinHandle<bool>, within: Duration) {
    assert!(tokio::time::timeout(within, task).await.expect("it ends").unwrap());
}

on_both! {
    async fn a_job_that_waits_is_taken_back_and_never_run(app: TestApp) {
        let id = queue(&app, KIND).await;
        let audited = app.count("audit").await;
        let answer = cancel(&app, &global(id)).await;
        assert_eq!((&answer["job"]["state"], &answer["userErrors"]), (&json!("CANCELLED"), &json!([])));
        assert!(answer["transaction"].is_string() && answer["job"]["finishedAt"].is_string());
        assert_eq!(app.count("audit").await, audited + 1);
        assert!(!runner_here(&app).on(KIND, |_, _| async { Ok(json!("ran")) }).run_once(app.clock.now()).await);
        let again = cancel(&app, &global(id)).await;
        assert_eq!((&again["job"], &again["transaction"]), (&Value::Null, &Value::Null));
        assert_eq!(again["userErrors"], json!([{"code": "CONFLICT", "field": ["input", "id"], "message": "the job has ended"}]));
        let unknown = cancel(&app, &global(JobId(uuid::Uuid::from_u128(1)))).await;
        assert_eq!(unknown["userErrors"][0]["code"], "NOT_FOUND");
        assert_eq!(cancel(&app, "nonsense").await["userErrors"][0]["code"], "INVALID");
        app.stop().await;
    }

    async fn a_job_that_runs_here_is_ended_at_once(app: TestApp) {
        let id = queue(&app, KIND).await;
        let endless = Endless::default();
        // With its usual lease it would notice by itself after twenty seconds.
        let task = beside(&app, runner_here(&app).on(KIND, job::with(&endless, Endless::wait)));
        endless.begun.notified().await;
        let answer = cancel(&app, &global(id)).await;
        assert_eq!(answer["userErrors"], json!([]));
        ended(task, Duration::from_secs(5)).await;
        assert!(endless.gone.load(Ordering::SeqCst));
        let job = found(&app, id).await;
        assert_eq!((job.state, job.fence, job.result, job.claimed_until), (JobState::Cancelled, 2, None, None));
        app.stop().await;
    }

    async fn a_job_that_runs_elsewhere_is_ended_at_its_next_renewal_or_step(app: TestApp) {
        let id = queue(&app, KIND).await;
        let endless = Endless::default();
        let task = beside(&app, runner_elsewhere(&app).leasing(LEASE).on(KIND, job::with(&endless, Endless::wait)));
        endless.begun.notified().await;
        cancel(&app, &global(id)).await;
        ended(task, Duration::from_secs(5)).await;
        assert!(endless.gone.load(Ordering::SeqCst));
        assert_eq!(found(&app, id).await.state, JobState::Cancelled);
        let id = queue(&app, KIND).await;
        let endless = Endless::default();
        let task = beside(&app, runner_elsewhere(&app).on(KIND, job::with(&endless, Endless::step)));
        endless.begun.notified().await;
        cancel(&app, &global(id)).await;
        ended(task, Duration::from_secs(5)).await;
        let (job, steps) = (found(&app, id).await, endless.steps.load(Ordering::SeqCst));
        assert_eq!(job.state, JobState::Cancelled);
        assert!(job.done < steps, "the step after it was taken back was not written");
        app.stop().await;
    }

    async fn an_erasure_is_carried_through(app: TestApp) {
        let key = app.source("web", "WEB").await;
        app.batch(&key, json!([{"type": "identify", "userId": "ada", "messageId": "1", "traits": {"email": "ada@example.com"}}])).await;
        let customer = app.ask("{ customers(first: 1) { nodes { id } } }").await["customers"]["nodes"][0]["id"].clone();
        let erased = app.ask_with("mutation($id: ID!) { customerErase(input: {id: $id, reason: \"they asked\"}) { job { id } } }", json!({"id": customer})).await;
        let id = erased["customerErase"]["job"]["id"].as_str().unwrap().to_owned();
        let answer = cancel(&app, &id).await;
        assert_eq!(answer["userErrors"], json!([{"code": "CONFLICT", "field": ["input", "id"],
            "message": "an erasure has begun with its mutation and is carried through: nobody is left half erased"}]));
        app.run_due_jobs().await;
        assert_eq!(app.ask(&format!(r#"{{ job(id: "{id}") {{ state }} }}"#)).await["job"]["state"], "SUCCEEDED");
        app.stop().await;
    }

    async fn jobs_are_listed_the_newest_first_and_by_state(app: TestApp) {
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(global(queue(&app, KIND).await));
        }
        ids.reverse();
        cancel(&app, &ids[1]).await;
        let page = async |arguments: &str| app.ask(&format!("{{ jobs({arguments}) {{ totalCount nodes {{ id }} pageInfo {{ hasNextPage endCursor }} }} }}")).await["jobs"].clone();
        let listed = |page: &Value| page["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        let first = page("first: 3").await;
        assert_eq!((listed(&first), &first["totalCount"]), (ids[..3].to_vec(), &json!(5)));
        let rest = page(&format!(r#"first: 3, after: "{}""#, first["pageInfo"]["endCursor"].as_str().unwrap())).await;
        assert_eq!((listed(&rest), &rest["pageInfo"]["hasNextPage"]), (ids[3..].to_vec(), &json!(false)));
        let cancelled = page("first: 3, state: CANCELLED").await;
        assert_eq!((listed(&cancelled), &cancelled["totalCount"]), (vec![ids[1].clone()], &json!(1)));
        app.stop().await;
    }

    async fn of_two_servers_each_job_is_run_by_one_and_a_dead_ones_is_taken_over(app: TestApp) {
        let services = app.server.services.clone();
        let ran = Arc::new(Mutex::new(Vec::new()));
        let runner = |app: &TestApp| runner_elsewhere(app).leasing(LEASE).on(KIND, job::with(&ran, |ran: Arc<Mutex<Vec<JobId>>>, job: Running, _| async move {
            ran.lock().unwrap().push(job.id());
            Ok(Value::Null)
        }));
        // One server dies with a job in its hands; another is slow with one, and healthy.
        let (dead, slow) = (queue(&app, KIND).await, queue(&app, KIND).await);
        let endless = Endless::default();
        let claimed = job::claim(services.store.writer(), [KIND], app.clock.now(), LEASE).await.unwrap();
        assert_eq!(claimed.unwrap().id, dead);
        let task = beside(&app, runner_elsewhere(&app).leasing(LEASE).on(KIND, job::with(&endless, Endless::wait)));
        endless.begun.notified().await;
        let survivor = runner(&app);
        assert!(!survivor.run_once(app.clock.now()).await, "both leases stand");
        for _ in 0..3 {
            app.clock.advance(LEASE / 2);
            let renewed = Some(app.clock.now().plus(LEASE));
            eventually("the slow one renews its lease", || async { found(&app, slow).await.claimed_until == renewed }).await;
        }
        assert!(survivor.run_once(app.clock.now()).await);
        assert!(!survivor.run_once(app.clock.now()).await, "the slow one keeps its job");
        assert_eq!(*ran.lock().unwrap(), [dead]);
        let states = [found(&app, dead).await, found(&app, slow).await].map(|job| (job.state, job.attempts));
        assert_eq!(states, [(JobState::Succeeded, 2), (JobState::Running, 1)]);
        assert!(jobs::cancel(&services, &tributary::access::Actor::new("test"), slow).await.is_ok());
        ended(task, Duration::from_secs(5)).await;
        app.stop().await;
    }
}
