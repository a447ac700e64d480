//! Time as an argument. `Clock` is the only place that asks the system; everyone else is given an `Instant`.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Microseconds since 1970-01-01 UTC: the one form of time in the database, the code and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(i64);

impl Instant {
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads ISO 8601 as clients write it: with or without a time, a fraction, a zone. No zone means UTC.
    /// `None` when it cannot be read or lies outside the years 1 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let parsed = DateTime::parse_from_rfc3339(text)
            .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
            .map(|time| time.with_timezone(&Utc))
            .or_else(|_| {
                NaiveDateTime::parse_from_str(&text.replacen(' ', "T", 1), "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc())
            })
            .or_else(|_| NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc()))
            .ok()?;
        Self::within_calendar(parsed)
    }

    /// Seconds or milliseconds since 1970, told apart by size: a number of seconds passes 10^11 only in the year 5138.
    pub fn from_epoch_number(number: f64) -> Option<Self> {
        if !number.is_finite() {
            return None;
        }
        let micros = if number.abs() < 1e11 { number * 1e6 } else { number * 1e3 };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "`as` saturates, and the calendar check refuses what is out of range"
        )]
        Self::within_calendar(DateTime::from_timestamp_micros(micros.round() as i64)?)
    }

    fn within_calendar(time: DateTime<Utc>) -> Option<Self> {
        (1..=9999).contains(&time.year()).then(|| Self(time.timestamp_micros()))
    }

    /// Moved by microseconds; `None` beyond the years 1 to 9999.
    pub fn shifted(self, micros: i64) -> Option<Self> {
        Self::within_calendar(DateTime::from_timestamp_micros(self.0.checked_add(micros)?)?)
    }

    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Instant {
    /// RFC 3339 in UTC, with as many digits of the second as it needs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_micros(self.0) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{} µs", self.0),
        }
    }
}

/// Where `now` comes from: the system in production, a hand in tests and simulations.
#[derive(Clone, Debug)]
pub enum Clock {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    pub fn manual(start: Instant) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(start.micros())))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    pub fn now(&self) -> Instant {
        match self {
            Self::System => Instant(Utc::now().timestamp_micros()),
            Self::Manual(micros) => Instant(micros.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock on. The system clock cannot be moved: then nothing happens.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(micros) = self {
            micros.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

/// Measures how long something took, for metrics only: no decision may depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the monotonic clock, for metrics"
    )]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_clients_write_them() {
        let expected = Instant::from_micros(1_767_323_045_678_901);
        for text in [
            "2026-01-02T03:04:05.678901Z",
            "2026-01-02T03:04:05.678901+00:00",
            "2026-01-02T04:04:05.678901+0100",
            "2026-01-02T03:04:05.678901",
            "2026-01-02 03:04:05.678901",
        ] {
            assert_eq!(Instant::parse(text), Some(expected), "{text}");
        }
        assert_eq!(
            Instant::parse("2026-01-02").map(|day| day.to_string()),
            Some("2026-01-02T00:00:00Z".to_owned())
        );
        for text in [
            "",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "99999-01-01T00:00:00Z",
            "-0001-01-01T00:00:00Z",
        ] {
            assert_eq!(Instant::parse(text), None, "{text}");
        }
    }

    #[test]
    fn epoch_numbers_are_seconds_or_milliseconds_by_their_size() {
        let expected = Instant::parse("2026-01-02T03:04:05Z");
        assert_eq!(Instant::from_epoch_number(1_767_323_045.0), expected);
        assert_eq!(Instant::from_epoch_number(1_767_323_045_000.0), expected);
        assert_eq!(Instant::from_epoch_number(f64::NAN), None);
        assert_eq!(Instant::from_epoch_number(1e300), None);
    }
}
