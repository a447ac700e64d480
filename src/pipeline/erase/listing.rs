//! The ledger of erasures as a file: a head, a line of JSON for each erasure, and a last line that says how many they were.
//!
//! It holds keyed hashes, instants, who asked and why, and nothing of the people themselves. The hashes mean something to the installation
//! alone that made them, so another one's file is refused; so is one that ends early.

use crate::base::Instant;
use crate::base::ids::HashKey;
use crate::identity::store::ledger::Listed;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const LEDGER: &str = "tributary erasures";
const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    ledger: String,
    version: u32,
    /// See `installation`.
    installation: Uuid,
    exported_at: String,
}

/// An erasure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub erasure: Uuid,
    pub requested_at: String,
    /// Null: its job was not through.
    pub finished_at: Option<String>,
    pub actor: String,
    pub reason: Option<String>,
    /// The id that the customer had.
    pub customer: Uuid,
    pub records: Vec<Uuid>,
    pub identifiers: Vec<Uuid>,
    /// Values whose later messages are dropped; what was lifted since is not among them.
    pub suppressed: Vec<Uuid>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tail {
    erasures: u64,
}

/// Why a file is no ledger of this installation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("line 1: this is no ledger of erasures: `tributary erasures export` writes one")]
    NoLedger,
    #[error("line 1: this ledger is of version {0}, and this program reads version {VERSION}: use a newer tributary")]
    Newer(u32),
    #[error(
        "line 1: this ledger belongs to another installation ({file}; this database is of {here}): its hashes mean nothing here, and \
         nothing was erased"
    )]
    Another { file: Uuid, here: Uuid },
    #[error("line {line}: {problem}")]
    Broken { line: usize, problem: String },
    #[error("the ledger ends early, after {found} erasures: its last line must say how many there are")]
    Short { found: u64 },
    #[error("the ledger says that it has {stated} erasures, and {found} are there")]
    Miscounted { stated: u64, found: u64 },
}

/// What an installation is known by in a ledger: whoever has not its secret cannot tell which secret it is.
pub fn installation(keys: &HashKey) -> Uuid {
    keys.id("installation", &[])
}

impl Head {
    pub fn new(keys: &HashKey, now: Instant) -> Self {
        Self {
            ledger: LEDGER.to_owned(),
            version: VERSION,
            installation: installation(keys),
            exported_at: now.to_string(),
        }
    }
}

impl Entry {
    pub fn of(listed: &Listed, suppressed: Vec<Uuid>) -> Self {
        let instant = |micros| Instant::from_micros(micros).to_string();
        Self {
            erasure: listed.id,
            requested_at: instant(listed.requested_at),
            finished_at: listed.finished_at.map(instant),
            actor: listed.actor.clone(),
            reason: listed.reason.clone(),
            customer: listed.customer_id,
            records: listed.records(),
            identifiers: listed.identifiers(),
            suppressed,
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        if Instant::parse(&self.requested_at).is_none() {
            return Err("requestedAt must be a time such as 2026-11-22T12:00:00Z");
        }
        if self.records.is_empty() {
            return Err("records must name at least one record");
        }
        Ok(())
    }
}

/// One line of a ledger.
#[derive(Clone, Debug)]
pub enum Line {
    Head(Head),
    Entry(Box<Entry>),
    Tail(u64),
}

/// A line as it is written, without its end.
pub fn line(line: &Line) -> String {
    let written = match line {
        Line::Head(head) => serde_json::to_string(head),
        Line::Entry(entry) => serde_json::to_string(entry),
        Line::Tail(erasures) => serde_json::to_string(&Tail { erasures: *erasures }),
    };
    written.expect("texts, numbers and ids are JSON")
}

/// Reads a whole ledger of this installation; nothing is to be done before all of it was read.
pub fn read(keys: &HashKey, text: &str) -> Result<Vec<Entry>, Fault> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let head: Head = lines
        .next()
        .and_then(|(_, line)| serde_json::from_str(line).ok())
        .filter(|head: &Head| head.ledger == LEDGER)
        .ok_or(Fault::NoLedger)?;
    if head.version > VERSION {
        return Err(Fault::Newer(head.version));
    }
    let here = installation(keys);
    if head.installation != here {
        return Err(Fault::Another {
            file: head.installation,
            here,
        });
    }
    let mut entries = Vec::new();
    while let Some((n, text)) = lines.next() {
        let broken = |problem: String| Fault::Broken { line: n + 1, problem };
        if let Ok(Tail { erasures }) = serde_json::from_str(text) {
            if let Some((after, _)) = lines.next() {
                let problem = "something stands behind the last line of the ledger".to_owned();
                return Err(Fault::Broken {
                    line: after + 1,
                    problem,
                });
            }
            let found = entries.len() as u64;
            return match erasures == found {
                true => Ok(entries),
                false => Err(Fault::Miscounted { stated: erasures, found }),
            };
        }
        let entry: Entry = serde_json::from_str(text).map_err(|error| broken(format!("this is no erasure: {error}")))?;
        entry.check().map_err(|problem| broken(problem.to_owned()))?;
        entries.push(entry);
    }
    Err(Fault::Short {
        found: entries.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u128) -> Entry {
        Entry {
            erasure: Uuid::from_u128(n),
            requested_at: "2026-06-01T12:00:00Z".to_owned(),
            finished_at: None,
            actor: "key:1".to_owned(),
            reason: Some("request 7".to_owned()),
            customer: Uuid::from_u128(8),
            records: vec![Uuid::from_u128(8)],
            identifiers: Vec::new(),
            suppressed: vec![Uuid::from_u128(9)],
        }
    }

    fn written(keys: &HashKey, entries: &[Entry]) -> Vec<String> {
        let head = Line::Head(Head::new(keys, Instant::from_micros(7)));
        let entries = entries.iter().cloned().map(|entry| Line::Entry(Box::new(entry)));
        let all: Vec<Line> = std::iter::once(head).chain(entries).collect();
        let tail = Line::Tail(all.len() as u64 - 1);
        all.iter().chain([&tail]).map(line).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let keys = HashKey::new([7; 32]);
        for entries in [vec![], vec![entry(1)], vec![entry(1), entry(2)]] {
            assert_eq!(read(&keys, &written(&keys, &entries).join("\n")), Ok(entries));
        }
    }

    #[test]
    fn what_is_no_whole_ledger_of_this_installation_is_refused_by_its_line() {
        let keys = HashKey::new([7; 32]);
        let good = written(&keys, &[entry(1), entry(2)]);
        let told = |lines: &[String]| read(&keys, &lines.join("\n")).unwrap_err().to_string();
        assert!(told(&written(&HashKey::new([8; 32]), &[])).contains("another installation"));
        assert!(told(&[]).contains("no ledger"));
        assert!(told(&good[1..]).contains("no ledger"));
        assert!(told(&good[..3]).contains("after 2 erasures"));
        let cut = [good[0].clone(), good[1][..40].to_owned()];
        assert!(told(&cut).starts_with("line 2: this is no erasure"), "{}", told(&cut));
        let short = [good[0].clone(), good[1].clone(), good[3].clone()];
        assert!(told(&short).contains("says that it has 2 erasures, and 1 are there"));
        let more = [good.clone(), vec![good[1].clone()]].concat();
        assert!(told(&more).starts_with("line 5: something stands behind"));
        let bare = Entry {
            records: Vec::new(),
            ..entry(1)
        };
        assert!(told(&written(&keys, &[bare])).starts_with("line 2: records must name"));
        let newer = good[0].replace("\"version\":1", "\"version\":2");
        assert!(told(&[newer]).contains("of version 2"));
    }
}
