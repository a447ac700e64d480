//! Who is to be looked at again, and when: one row for a customer, however often they change before somebody comes.
//!
//! Promises: a mark is committed with the change that made it or not at all; nobody holds a row while another does; finishing asks for
//! the mark that was read, so that no mark is lost; who dies is replaced when the lease runs out. Owns `due`.
//! Leaves to others: whom a change concerns, and what looking again means (`pipeline::refresh`). What time alone does is in
//! `step`, pure: a measure names the instants, and whoever comes late steps through each.

mod failures;
mod model;
mod step;
mod store;

pub use failures::{count_quarantined, drive_again, fail, quarantined};
pub use model::{ATTEMPTS, Backlog, Claim, Due, Mark, Quarantined, Span, mark_of_model, next_attempt};
pub use step::{CaughtUp, Judged, Measure, Stuck, catch_up};
pub use store::{
    IS_TOLD_OF_EVENTS, backlog, claim, earliest, finish, forget, held, is_any, mark, mark_with_events, marked_among, outdated_among, release,
};
