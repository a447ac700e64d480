//! What the file says of consent: answers that are given, and those that must have come of them.

use super::fields::{At, Fault};
use crate::ingest::consent::{self as words, ANY};
use entity::ConsentAnswer;

/// What somebody answers to being spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// As the file spells it.
    pub purpose: String,
    /// In capitals; `ANY` where the file names none.
    pub channel: String,
    pub answer: ConsentAnswer,
}

/// What the customer of a record must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub customer_of: String,
    pub purpose: String,
    pub channel: String,
    /// None: nobody answered.
    pub state: Option<ConsentAnswer>,
}

/// An answer that a record brings.
pub(super) fn given(at: &At<'_>) -> Result<Answer, Fault> {
    at.only(&["purpose", "channel", "state"])?;
    answer(at)
}

/// The answer of an object that may say more.
pub(super) fn answer(at: &At<'_>) -> Result<Answer, Fault> {
    let (purpose, channel) = question(at)?;
    let state = at.required("state")?;
    let answer = state_named(&state)?.ok_or_else(|| state.fault("nobody answers UNKNOWN: use GRANTED, DENIED or WITHDRAWN"))?;
    Ok(Answer {
        purpose,
        channel,
        answer,
    })
}

pub(super) fn expected(at: &At<'_>, customer_of: String) -> Result<Asked, Fault> {
    at.only(&["customer_of", "purpose", "channel", "state"])?;
    let (purpose, channel) = question(at)?;
    Ok(Asked {
        customer_of,
        purpose,
        channel,
        state: state_named(&at.required("state")?)?,
    })
}

fn question(at: &At<'_>) -> Result<(String, String), Fault> {
    let named = at.required("purpose")?;
    let purpose = words::purpose(named.text()?).map_err(|problem| named.fault(problem))?;
    let channel = match at.get("channel")? {
        None => ANY.to_owned(),
        Some(channel) => words::channel(Some(channel.text()?)).map_err(|problem| channel.fault(problem))?,
    };
    Ok((purpose, channel))
}

/// None: nobody answered.
fn state_named(at: &At<'_>) -> Result<Option<ConsentAnswer>, Fault> {
    Ok(Some(match at.text()? {
        "GRANTED" => ConsentAnswer::Granted,
        "DENIED" => ConsentAnswer::Denied,
        "WITHDRAWN" => ConsentAnswer::Withdrawn,
        "UNKNOWN" => return Ok(None),
        other => {
            let problem = format!("{other:?} is no state: use GRANTED, DENIED, WITHDRAWN or, of what is expected, UNKNOWN");
            return Err(at.fault(problem));
        }
    }))
}

/// As the file and GraphQL say it.
pub const fn state_name(state: Option<ConsentAnswer>) -> &'static str {
    match state {
        Some(ConsentAnswer::Granted) => "GRANTED",
        Some(ConsentAnswer::Denied) => "DENIED",
        Some(ConsentAnswer::Withdrawn) => "WITHDRAWN",
        None => "UNKNOWN",
    }
}
