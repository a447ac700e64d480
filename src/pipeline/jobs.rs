//! Which background jobs there are: a line for each kind, with the verb that does it.

use super::Services;
use crate::job::Runner;

/// A runner of everything this server knows how to do in the background.
///
/// A kind is one line: `.on("identity_rules_publish", with(services, publish))`, with
/// `async fn publish(services: Services, job: Running, now: Instant) -> Result<Value, JobError>`.
pub fn runner(services: &Services) -> Runner {
    Runner::new(services.store.clone(), services.clock.clone(), services.jobs.clone())
}
