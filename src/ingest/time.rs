//! When did it happen? The sender's clock may be wrong; the difference between its `sentAt` and our receipt says by how much. Pure.

use super::message::EventFlags;
use crate::base::Instant;
use serde_json::Value;
use std::time::Duration;

/// Below this the difference is network and queueing, not a wrong clock; one client library resends an old `sentAt` with its retries.
const SKEW_TOLERANCE: Duration = Duration::from_secs(5);
/// Nothing a customer did lies further ahead than a time zone could explain.
const FUTURE_TOLERANCE: Duration = Duration::from_secs(24 * 3600);

/// The instants of a message and what had to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub occurred_at: Instant,
    pub original_at: Option<Instant>,
    pub sent_at: Option<Instant>,
    pub flags: EventFlags,
}

/// `stated`: the message's `timestamp`, else its `originalTimestamp`; `sent`: its `sentAt`, else that of its batch.
pub fn times(stated: Option<&Value>, sent: Option<&Value>, received_at: Instant) -> Times {
    let original_at = stated.and_then(instant);
    let mut times = read_times(original_at, sent.and_then(instant), received_at);
    if stated.is_some() && original_at.is_none() {
        times.flags.set(EventFlags::TIME_UNREADABLE);
    }
    times
}

/// The same for instants that were read already.
pub fn read_times(original_at: Option<Instant>, sent_at: Option<Instant>, received_at: Instant) -> Times {
    let mut flags = EventFlags::default();
    let mut occurred_at = original_at.unwrap_or(received_at);
    if let (Some(original), Some(sent)) = (original_at, sent_at) {
        let skew = received_at.micros() - sent.micros();
        if skew.unsigned_abs() >= u64::try_from(SKEW_TOLERANCE.as_micros()).unwrap_or(u64::MAX) {
            // A correction that leads out of the calendar corrects nothing.
            if let Some(corrected) = original.shifted(skew) {
                occurred_at = corrected;
                flags.set(EventFlags::CLOCK_CORRECTED);
            }
        }
    }
    if occurred_at > received_at.plus(FUTURE_TOLERANCE) {
        occurred_at = received_at;
        flags.set(EventFlags::TIME_IN_FUTURE);
    }
    Times {
        occurred_at,
        original_at,
        sent_at,
        flags,
    }
}

fn instant(value: &Value) -> Option<Instant> {
    match value {
        Value::String(text) => Instant::parse(text),
        Value::Number(number) => Instant::from_epoch_number(number.as_f64()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(text: &str) -> Instant {
        Instant::parse(text).expect(text)
    }

    fn corrected(stated: Option<&str>, sent: Option<&str>) -> (String, i16) {
        let (stated, sent) = (stated.map(|text| json!(text)), sent.map(|text| json!(text)));
        let times = times(stated.as_ref(), sent.as_ref(), at("2026-06-01T12:00:00Z"));
        (times.occurred_at.to_string(), times.flags.0)
    }

    #[test]
    fn a_sound_clock_is_believed() {
        assert_eq!(
            corrected(Some("2026-06-01T11:59:50Z"), Some("2026-06-01T11:59:57Z")),
            ("2026-06-01T11:59:50Z".to_owned(), 0)
        );
        assert_eq!(
            corrected(Some("2020-01-01T00:00:00Z"), Some("2026-06-01T12:00:00Z")),
            ("2020-01-01T00:00:00Z".to_owned(), 0)
        );
        assert_eq!(corrected(None, None), ("2026-06-01T12:00:00Z".to_owned(), 0));
    }

    #[test]
    fn a_wrong_clock_is_corrected_by_its_own_error() {
        let (time, flags) = corrected(Some("2026-06-01T13:59:50Z"), Some("2026-06-01T14:00:00Z"));
        assert_eq!((time.as_str(), flags), ("2026-06-01T11:59:50Z", EventFlags::CLOCK_CORRECTED));
    }

    #[test]
    fn an_unreadable_time_and_one_in_the_far_future_become_the_time_of_receipt() {
        assert_eq!(
            corrected(Some("soon"), None),
            ("2026-06-01T12:00:00Z".to_owned(), EventFlags::TIME_UNREADABLE)
        );
        assert_eq!(
            corrected(Some("2026-06-03T12:00:00Z"), None),
            ("2026-06-01T12:00:00Z".to_owned(), EventFlags::TIME_IN_FUTURE)
        );
        assert_eq!(
            corrected(Some("2026-06-02T11:00:00Z"), None),
            ("2026-06-02T11:00:00Z".to_owned(), 0)
        );
    }
}
