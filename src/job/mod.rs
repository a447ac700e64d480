//! Work that outlives a request: queued in the transaction that made it due, run by any instance, finished whoever dies.
//!
//! Promises: a job whose transaction rolled back never runs; one that was committed runs, at least once; at any instant one worker holds its
//! lease, and a worker that lost it can write nothing more about it (`fence`); an attempt goes on at the cursor of the one before;
//! attempts are bounded, and a stop of the server is none; a job that was taken back does nothing more, wherever it runs. Owns `job`.
//! Leaves to others: what the jobs do (`pipeline::jobs` names a handler for each kind) and the loop that runs them (`worker`).
//!
//! A handler may run twice, and may end at any await: it carries ids, reads the state of the moment, and writes a step of its work in one
//! transaction with the cursor behind it (`Running::progress_in`).

mod cancel;
mod list;
mod model;
mod runner;
mod running;
mod store;

pub use cancel::cancel;
pub use list::{count_jobs, is_any_unfinished, page_of_jobs};
pub use model::{ATTEMPTS, Job, JobError, NewJob};
pub use runner::{Nudge, Runner, with};
pub use running::Running;
pub use store::{Lease, Progress, claim, enqueue, enqueue_with, fail, finish, give_back, jobs, progress, renew, retry};
