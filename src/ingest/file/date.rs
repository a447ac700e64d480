//! Dates and times as files write them: in the order that a mapping names, with separators of any kind, in a time zone. Pure.

use crate::base::Instant;
use chrono::{DateTime, Duration, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _, Utc};
use chrono_tz::Tz;

/// How dates are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DateFormat {
    /// The year first, or a name of a zone at the end; what could be read in two ways is refused.
    Auto,
    DayFirst,
    MonthFirst,
    EpochSeconds,
    EpochMillis,
    /// A pattern of `strftime`.
    Pattern(String),
}

/// Why a text is no date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DateFault {
    Unreadable,
    /// The day or the month may come first.
    Ambiguous,
}

/// What a text says: a day, or a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dated {
    Day(NaiveDate),
    Moment(Instant),
}

impl DateFormat {
    /// `auto`, `YMD`, `DMY`, `MDY`, `epoch_seconds`, `epoch_millis`, or a pattern with `%`.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "auto" | "YMD" | "iso" => Self::Auto,
            "DMY" => Self::DayFirst,
            "MDY" => Self::MonthFirst,
            "epoch_seconds" => Self::EpochSeconds,
            "epoch_millis" => Self::EpochMillis,
            pattern if pattern.contains('%') => Self::Pattern(pattern.to_owned()),
            _ => return None,
        })
    }

    /// Reads a text; times without a zone are those of `zone`.
    pub(super) fn read(&self, text: &str, zone: Tz) -> Result<Dated, DateFault> {
        let text = text.trim();
        match self {
            Self::EpochSeconds => epoch(text, 1_000_000),
            Self::EpochMillis => epoch(text, 1_000),
            Self::Pattern(pattern) => by_pattern(text, pattern, zone),
            Self::Auto | Self::DayFirst | Self::MonthFirst => self.by_order(text, zone),
        }
    }

    fn by_order(&self, text: &str, zone: Tz) -> Result<Dated, DateFault> {
        if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
            return moment_of(moment.with_timezone(&Utc));
        }
        let (numbers, rest) = leading_numbers(text).ok_or(DateFault::Unreadable)?;
        let [a, b, c] = numbers;
        let day = if a.1 == 4 {
            date(a.0, b.0, c.0)
        } else {
            let year = if c.1 == 2 { century(c.0) } else { c.0 };
            let is_dotted = text.contains('.') && !text.contains('/');
            match self {
                Self::DayFirst => date(year, b.0, a.0),
                Self::MonthFirst => date(year, a.0, b.0),
                // Dots are written by people who put the day first; beyond twelve a number is a day.
                _ if c.1 == 4 && (is_dotted || a.0 > 12) => date(year, b.0, a.0),
                _ if c.1 == 4 && b.0 > 12 => date(year, a.0, b.0),
                _ => return Err(DateFault::Ambiguous),
            }
        };
        let day = day.ok_or(DateFault::Unreadable)?;
        let rest = rest.trim_start_matches(['T', 't', ' ', ',', '日']).trim();
        if rest.is_empty() {
            return Ok(Dated::Day(day));
        }
        clock(rest, day, zone)
    }
}

impl Dated {
    /// A day begins at midnight in `zone`.
    pub(super) fn instant(self, zone: Tz) -> Option<Instant> {
        match self {
            Self::Moment(moment) => Some(moment),
            Self::Day(day) => local(day.and_time(NaiveTime::MIN), zone),
        }
    }

    /// The day, in `zone`.
    pub(super) fn day(self, zone: Tz) -> Option<NaiveDate> {
        match self {
            Self::Day(day) => Some(day),
            Self::Moment(moment) => Some(
                DateTime::from_timestamp_micros(moment.micros())?
                    .with_timezone(&zone)
                    .date_naive(),
            ),
        }
    }
}

fn epoch(text: &str, micros: i64) -> Result<Dated, DateFault> {
    use rust_decimal::prelude::ToPrimitive as _;
    let number: rust_decimal::Decimal = text.parse().map_err(|_| DateFault::Unreadable)?;
    let micros = number.checked_mul(micros.into()).and_then(|micros| micros.round().to_i64());
    let moment = micros.and_then(DateTime::from_timestamp_micros);
    moment_of(moment.ok_or(DateFault::Unreadable)?)
}

fn moment_of(moment: DateTime<Utc>) -> Result<Dated, DateFault> {
    let moment = Instant::from_micros(0).shifted(moment.timestamp_micros());
    moment.map(Dated::Moment).ok_or(DateFault::Unreadable)
}

fn by_pattern(text: &str, pattern: &str, zone: Tz) -> Result<Dated, DateFault> {
    if let Ok(moment) = DateTime::parse_from_str(text, pattern) {
        return moment_of(moment.with_timezone(&Utc));
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(text, pattern) {
        return local(time, zone).map(Dated::Moment).ok_or(DateFault::Unreadable);
    }
    NaiveDate::parse_from_str(text, pattern)
        .map(Dated::Day)
        .map_err(|_| DateFault::Unreadable)
}

/// Three numbers, each with how many digits it has, and what follows them: `2024年3月1日`, `1.3.2024 14:05`, `20240301`.
fn leading_numbers(text: &str) -> Option<([(i32, usize); 3], &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 8 {
        let part = |range: std::ops::Range<usize>| text[range].parse().ok();
        return Some(([(part(0..4)?, 4), (part(4..6)?, 2), (part(6..8)?, 2)], &text[8..]));
    }
    let mut rest = text;
    let mut numbers = [(0, 0); 3];
    for (n, number) in numbers.iter_mut().enumerate() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !matches!(digits, 1 | 2 | 4) {
            return None;
        }
        *number = (rest[..digits].parse().ok()?, digits);
        rest = &rest[digits..];
        if n < 2 {
            rest = rest.strip_prefix(['-', '/', '.', '年', '月'])?.trim_start();
        }
    }
    Some((numbers, rest))
}

fn date(year: i32, month: i32, day: i32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?).filter(|_| (1..=9999).contains(&year))
}

/// Two digits of a year: those to come in the next decades lie in this century, the rest in the last.
fn century(year: i32) -> i32 {
    if year < 70 { 2000 + year } else { 1900 + year }
}

/// `14:05`, `14:05:06.789`, `2:05 PM`, each with or without a zone: `Z`, `+02:00`, `+0200`.
fn clock(text: &str, day: NaiveDate, zone: Tz) -> Result<Dated, DateFault> {
    let (text, hours) = match (
        text.strip_suffix("PM").or(text.strip_suffix("pm")),
        text.strip_suffix("AM").or(text.strip_suffix("am")),
    ) {
        (Some(text), _) => (text.trim_end(), Some(12)),
        (_, Some(text)) => (text.trim_end(), Some(0)),
        _ => (text, None),
    };
    let (text, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(text) => (text, Some(0)),
        None => match text.rfind(['+', '-']) {
            Some(at) => (text[..at].trim_end(), Some(offset(&text[at..]).ok_or(DateFault::Unreadable)?)),
            None => (text, None),
        },
    };
    let read = |pattern| NaiveTime::parse_from_str(text, pattern).ok();
    let mut time = read("%H:%M:%S%.f").or_else(|| read("%H:%M")).ok_or(DateFault::Unreadable)?;
    if let Some(hours) = hours {
        use chrono::Timelike as _;
        let hour = time.hour();
        let of_half = (1..=12).contains(&hour).then_some(hour % 12 + hours);
        time = of_half.and_then(|hour| time.with_hour(hour)).ok_or(DateFault::Unreadable)?;
    }
    let moment = match offset {
        Some(seconds) => (day.and_time(time) - Duration::seconds(seconds)).and_utc(),
        None => {
            return local(day.and_time(time), zone)
                .map(Dated::Moment)
                .ok_or(DateFault::Unreadable);
        }
    };
    moment_of(moment)
}

fn offset(text: &str) -> Option<i64> {
    let (sign, digits) = (if text.starts_with('-') { -1 } else { 1 }, text[1..].replace(':', ""));
    let (hours, minutes) = match digits.len() {
        2 => (digits.parse::<i64>().ok()?, 0),
        4 => (digits[..2].parse().ok()?, digits[2..].parse().ok()?),
        _ => return None,
    };
    (hours <= 14 && minutes < 60).then_some(sign * (3600 * hours + 60 * minutes))
}

/// A time of the wall clock. One that came twice, when the clock was set back, is the first; one that never was is an hour later.
fn local(time: NaiveDateTime, zone: Tz) -> Option<Instant> {
    let moment = match zone.from_local_datetime(&time) {
        LocalResult::Single(moment) | LocalResult::Ambiguous(moment, _) => moment,
        LocalResult::None => zone.from_local_datetime(&(time + Duration::hours(1))).earliest()?,
    };
    Instant::from_micros(0).shifted(moment.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, text: &str) -> String {
        let zone = Tz::Europe__Berlin;
        match DateFormat::named(format).unwrap().read(text, zone) {
            Ok(Dated::Day(day)) => day.to_string(),
            Ok(Dated::Moment(moment)) => moment.to_string(),
            Err(fault) => format!("{fault:?}"),
        }
    }

    #[test]
    fn dates_are_read_in_the_order_that_is_named() {
        for (format, text, expected) in [
            ("auto", "2024-03-01", "2024-03-01"),
            ("auto", "2024/3/1", "2024-03-01"),
            ("auto", "2024年3月1日", "2024-03-01"),
            ("auto", "20240301", "2024-03-01"),
            ("auto", "1.3.2024", "2024-03-01"),
            ("auto", "31/12/2024", "2024-12-31"),
            ("auto", "12/31/2024", "2024-12-31"),
            ("auto", "01/02/2024", "Ambiguous"),
            ("auto", "01/02/24", "Ambiguous"),
            ("DMY", "01/02/2024", "2024-02-01"),
            ("DMY", "1-2-24", "2024-02-01"),
            ("MDY", "01/02/1999", "1999-01-02"),
            ("MDY", "1/2/99", "1999-01-02"),
            ("DMY", "2024-02-01", "2024-02-01"),
            ("auto", "2024-02-30", "Unreadable"),
            ("auto", "yesterday", "Unreadable"),
            ("auto", "", "Unreadable"),
            ("%d %b %Y", "01 Feb 2024", "2024-02-01"),
            ("%d %b %Y", "2024-02-01", "Unreadable"),
        ] {
            assert_eq!(read(format, text), expected, "{format} {text}");
        }
    }

    #[test]
    fn times_without_a_zone_are_those_of_the_wall_clock() {
        for (format, text, expected) in [
            ("auto", "2024-01-15 14:05", "2024-01-15T13:05:00Z"),
            ("auto", "2024-07-15 14:05:06.5", "2024-07-15T12:05:06.500Z"),
            ("auto", "2024-07-15T14:05:06Z", "2024-07-15T14:05:06Z"),
            ("auto", "2024-07-15 14:05:06+0300", "2024-07-15T11:05:06Z"),
            ("auto", "2024年7月15日 14:05", "2024-07-15T12:05:00Z"),
            ("DMY", "15.07.2024, 14:05", "2024-07-15T12:05:00Z"),
            ("MDY", "7/15/2024 2:05 PM", "2024-07-15T12:05:00Z"),
            ("MDY", "7/15/2024 12:05 AM", "2024-07-14T22:05:00Z"),
            ("MDY", "7/15/2024 14:05 PM", "Unreadable"),
            // The hour that came twice, and the one that never was.
            ("auto", "2024-10-27 02:30", "2024-10-27T00:30:00Z"),
            ("auto", "2024-03-31 02:30", "2024-03-31T01:30:00Z"),
            ("epoch_seconds", "1721045106", "2024-07-15T12:05:06Z"),
            ("epoch_seconds", "1721045106.25", "2024-07-15T12:05:06.250Z"),
            ("epoch_millis", "1721045106500", "2024-07-15T12:05:06.500Z"),
            ("epoch_millis", "99999999999999999999", "Unreadable"),
            ("%d.%m.%Y %H:%M", "15.07.2024 14:05", "2024-07-15T12:05:00Z"),
        ] {
            assert_eq!(read(format, text), expected, "{format} {text}");
        }
    }

    #[test]
    fn a_day_begins_at_midnight_of_its_zone() {
        let day = DateFormat::Auto.read("2024-07-15", Tz::UTC).unwrap();
        assert_eq!(day.instant(Tz::Asia__Shanghai).unwrap().to_string(), "2024-07-14T16:00:00Z");
        let moment = DateFormat::Auto.read("2024-07-15T23:00:00Z", Tz::UTC).unwrap();
        assert_eq!(moment.day(Tz::Asia__Shanghai).unwrap().to_string(), "2024-07-16");
        assert_eq!(DateFormat::named("tomorrow"), None);
    }
}
