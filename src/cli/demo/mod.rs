//! The demo company: a tea and tableware shop of some hundred invented people, or of as many as wanted, told by seven channels.
//!
//! Promises: the same plan (people, seed, last instant, detail) makes the same messages, byte by byte, on every machine; they come as a
//! stream in constant memory; a database that holds anything else is left alone; what is loaded is loaded once, and an interrupted load
//! goes on with the same company. Everything goes through the same intake as any channel's messages.
//!
//! `person` says who somebody is, `life` what they do (with `basket` and `wares`), `tell` how channels speak of it, `cast` whom a person
//! should question, `company` is all of it as a stream, `books` what its marketing costs and a euro is worth; `load` and `files` bring it somewhere, `tour` says what to look at.

mod basket;
mod books;
mod cast;
mod catalogue;
mod chance;
mod command;
pub mod company;
mod files;
mod life;
pub mod load;
mod names;
mod person;
mod tell;
pub mod tour;
mod wares;

pub use books::{Rate, Spend};
pub use cast::{Question, RecordKey, Remedy};
pub use command::Demo;
pub(super) use command::{EXAMPLES, progress, run, summary};
pub use company::{Company, Plan};
pub use files::write as write_files;
pub use life::Detail;
pub use tell::{SYSTEMS, System, Told, system_of};

use super::settings::Settings;
use crate::access::key;
use crate::base::{Ids, Instant};

/// The database of `serve --demo`, so that it never mixes with real data.
const DATABASE: &str = "sqlite://tributary-demo.db";

/// The company of `serve --demo`: enough to have everything, and loaded in a few seconds.
pub fn small(until: Instant) -> Plan {
    Plan {
        people: 300,
        seed: 1,
        until,
        detail: Detail::Full,
    }
}

/// Settings of `serve --demo`: a database of its own unless one was chosen, a fresh admin key unless one was preset, a log for people.
pub fn prepare(settings: &mut Settings, ids: &Ids) {
    if settings.database.url == "sqlite://tributary.db" {
        DATABASE.clone_into(&mut settings.database.url);
    }
    "text".clone_into(&mut settings.log.format);
    if settings.auth.admin_key.is_empty() {
        settings.auth.admin_key = key::new_key(key::KeyKind::Api, ids).text;
    }
}
