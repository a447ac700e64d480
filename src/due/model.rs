//! A customer who is due in plain types, and when one that failed is tried again.

use crate::base::{CustomerId, Instant, retry};
use entity::DueClass;
use std::time::Duration;
use uuid::Uuid;

/// How often a customer's refresh is tried. With the pauses between them an outage of some minutes is outlived.
pub const ATTEMPTS: i64 = 5;
/// Bulk marks fall due over so long, so that a customer of many rows is looked at once, and thousands do not fall due in one instant.
const BULK_SPREAD: Duration = Duration::from_secs(2);

/// What makes customers due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The transaction that changes something about them: fresh, so that no two marks are alike.
    pub by: Uuid,
    pub at: Instant,
    pub class: DueClass,
}

/// Between two instants, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Instant,
    pub until: Instant,
}

impl Span {
    /// Everything that ever happened.
    pub const EVERYTHING: Self = Self {
        // The years 1 to 9999, which instants are kept to.
        from: Instant::from_micros(-62_135_596_800_000_000),
        until: Instant::from_micros(253_402_300_799_999_999),
    };

    pub const fn at(instant: Instant) -> Self {
        Self {
            from: instant,
            until: instant,
        }
    }

    /// Both, and what lies between them.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            from: self.from.min(other.from),
            until: self.until.max(other.until),
        }
    }
}

impl Mark {
    /// When a customer falls due by it.
    pub(super) fn due_at(&self, customer: CustomerId) -> Instant {
        match self.class {
            DueClass::Live => self.at,
            DueClass::Bulk => self.at.plus(BULK_SPREAD * u32::from(customer.0.as_bytes()[15]) / 256),
        }
    }
}

/// What a worker proves itself with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub customer: CustomerId,
    pub fence: i64,
    /// Failures before.
    pub attempts: i64,
}

/// A customer who is due, as it stands under the customer's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub customer: CustomerId,
    pub fence: i64,
    pub mark: Uuid,
    /// The earliest instant at which something may have changed.
    pub due_at: Instant,
    /// The earliest change that was told of; `None`: only time has passed.
    pub marked_at: Option<Instant>,
    /// When the events happened that were told of, or passed from one customer to another; `None`: none were.
    pub events: Option<Span>,
}

impl Due {
    /// The instant of a change that comes of being told, and never of time alone.
    pub fn told_at(&self) -> Instant {
        self.marked_at.unwrap_or(self.due_at)
    }

    /// What a change comes of, for the log: the transaction that told of it, other models in force, or time.
    pub fn cause(&self) -> String {
        match (self.marked_at, model_of_mark(self.mark)) {
            (Some(_), Some(version)) => format!("model:{version}"),
            (Some(_), None) => format!("transaction:{}", self.mark),
            (None, _) => "time".to_owned(),
        }
    }
}

/// A customer whose refresh was given up.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarantined {
    pub customer: CustomerId,
    pub since: Instant,
    /// When the first change happened that is not looked at.
    pub due_at: Instant,
    pub attempts: i64,
    pub error: String,
}

/// How much there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Due and in nobody's hands.
    pub due: i64,
    /// In the hands of a worker, or pausing after a failure.
    pub claimed: i64,
    pub quarantined: i64,
    /// Since when the longest waiting LIVE customer is due; `None`: nobody waits.
    pub oldest_live: Option<Instant>,
}

/// Of a mark that is no transaction's.
const CUSTOM: u8 = 0x80;

/// A mark that a version of models made, as fresh as the id it is made of. It keeps the version, which is what a change then comes of.
pub fn mark_of_model(version: i64, fresh: Uuid) -> Uuid {
    let mut bytes = fresh.into_bytes();
    bytes[..6].copy_from_slice(&version.to_be_bytes()[2..]);
    bytes[6] = (bytes[6] & 0x0f) | CUSTOM;
    Uuid::from_bytes(bytes)
}

/// The version that made a mark; `None`: something else did.
fn model_of_mark(mark: Uuid) -> Option<i64> {
    let bytes = mark.into_bytes();
    let mut version = [0; 8];
    version[2..].copy_from_slice(&bytes[..6]);
    (bytes[6] & 0xf0 == CUSTOM).then_some(i64::from_be_bytes(version))
}

/// When a customer whose refresh failed `attempts` times is tried again; `None`: not before somebody says so.
pub fn next_attempt(attempts: i64, now: Instant) -> Option<Instant> {
    retry::next_attempt(attempts, ATTEMPTS, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_is_spread_and_live_is_not() {
        let mark = |class| Mark {
            by: Uuid::nil(),
            at: Instant::from_micros(7),
            class,
        };
        let (first, last) = (CustomerId(Uuid::from_u128(0)), CustomerId(Uuid::from_u128(255)));
        assert_eq!(mark(DueClass::Live).due_at(last).micros(), 7);
        assert_eq!(mark(DueClass::Bulk).due_at(first).micros(), 7);
        assert_eq!(mark(DueClass::Bulk).due_at(last).micros(), 7 + 2_000_000 * 255 / 256);
    }

    #[test]
    fn a_mark_of_models_says_so_and_is_as_fresh_as_any() {
        let fresh = [
            Uuid::from_u128(0x0199_0000_0000_7abc_8def_0000_0000_0001),
            Uuid::from_u128(0x0199_0000_0000_7abd_8def_0000_0000_0001),
        ];
        let marks = fresh.map(|fresh| mark_of_model(300, fresh));
        assert_ne!(marks[0], marks[1]);
        assert_eq!(marks.map(model_of_mark), [Some(300); 2]);
        assert_eq!(fresh.map(model_of_mark), [None; 2]);
    }
}
