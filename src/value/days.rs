//! Days of a zone: which day an instant lies on, and the instant a day begins. Pure.

use crate::base::Instant;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone as _};
use chrono_tz::Tz;

pub const DAY_MICROS: i64 = 86_400_000_000;

/// The day of the zone that an instant lies on. It agrees with [`day_start`]: a day that has begun does not end because the clock is set
/// back over its midnight.
pub fn day_of(zone: Tz, at: Instant) -> NaiveDate {
    let Some(at_utc) = DateTime::from_timestamp_micros(at.micros()) else {
        return if at.micros() < 0 { NaiveDate::MIN } else { NaiveDate::MAX };
    };
    let day = at_utc.with_timezone(&zone).date_naive();
    let next = later(day, 1);
    if next > day && day_start(zone, next) <= at {
        next
    } else {
        day
    }
}

/// The first instant of a day of the zone. Where the clock skips midnight, it is the first instant after the skip; where midnight comes
/// twice, the first of the two.
pub fn day_start(zone: Tz, day: NaiveDate) -> Instant {
    let midnight = day.and_time(NaiveTime::MIN);
    // No zone has skipped more than a day.
    for minutes in 0..=24 * 60 {
        let Some(time) = midnight.checked_add_signed(TimeDelta::minutes(minutes)) else {
            break;
        };
        if let Some(found) = zone.from_local_datetime(&time).earliest() {
            return Instant::from_micros(found.timestamp_micros());
        }
    }
    Instant::from_micros(midnight.and_utc().timestamp_micros())
}

/// Whole days from one day to another; below zero when it lies before.
pub fn days_between(from: NaiveDate, to: NaiveDate) -> i64 {
    (to - from).num_days()
}

/// So many days later; the last day of the calendar where it ends before.
pub fn later(day: NaiveDate, days: i64) -> NaiveDate {
    let count = Days::new(days.unsigned_abs());
    if days < 0 {
        day.checked_sub_days(count).unwrap_or(NaiveDate::MIN)
    } else {
        day.checked_add_days(count).unwrap_or(NaiveDate::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(zone: Tz, day: &str) -> String {
        day_start(zone, day.parse().unwrap()).to_string()
    }

    #[test]
    fn a_day_begins_at_its_midnight_also_where_clocks_are_moved() {
        assert_eq!(starts(Tz::UTC, "2024-02-29"), "2024-02-29T00:00:00Z");
        assert_eq!(starts(Tz::Europe__Berlin, "2024-03-31"), "2024-03-30T23:00:00Z");
        assert_eq!(
            starts(Tz::Europe__Berlin, "2024-04-01"),
            "2024-03-31T22:00:00Z",
            "a day of 23 hours"
        );
        assert_eq!(
            starts(Tz::America__Sao_Paulo, "2018-11-04"),
            "2018-11-04T03:00:00Z",
            "midnight is skipped"
        );
        assert_eq!(
            starts(Tz::Pacific__Apia, "2011-12-30"),
            "2011-12-30T10:00:00Z",
            "the whole day is skipped"
        );
        assert_eq!(starts(Tz::Pacific__Apia, "2011-12-31"), "2011-12-30T10:00:00Z");
    }

    #[test]
    fn days_never_go_back_and_change_exactly_where_they_begin() {
        let zones = [
            Tz::UTC,
            Tz::Europe__Berlin,
            Tz::America__Sao_Paulo,
            Tz::America__St_Johns,
            Tz::Pacific__Apia,
            Tz::Asia__Kathmandu,
            Tz::Africa__Cairo,
        ];
        for zone in zones {
            for year in [2006, 2011, 2018, 2024] {
                let mut day = NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
                for _ in 0..366 {
                    let next = later(day, 1);
                    let begins = day_start(zone, next);
                    let before = Instant::from_micros(begins.micros() - 1);
                    assert!(day_of(zone, begins) >= next, "{zone} {next}");
                    assert!(day_of(zone, before) < next, "{zone} {next}");
                    for hours in 0..3 {
                        let after = Instant::from_micros(begins.micros() + hours * 1_800_000_000);
                        assert!(day_of(zone, after) >= next, "{zone} {next}");
                    }
                    day = next;
                }
            }
        }
    }
}
