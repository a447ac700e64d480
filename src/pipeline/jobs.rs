//! Which background jobs there are: a line for each kind, with the verb that does it.

use super::{Services, erase, rules};
use crate::job::{Runner, with};

/// A runner of everything this server knows how to do in the background.
pub fn runner(services: &Services) -> Runner {
    Runner::new(services.store.clone(), services.clock.clone(), services.jobs.clone())
        .on(rules::JOB_KIND, with(services, rules::place_everybody_again))
        .on(erase::JOB_KIND, with(services, erase::carry_through))
}
