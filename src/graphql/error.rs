//! One place where a failure becomes an answer: `errors` for callers' mistakes and our faults, `userErrors` for expected refusals.

use crate::base::Kind;
use crate::pipeline::queue::IntakeError;
use crate::store::StoreError;
use async_graphql::resolver_utils::EnumType as _;
use async_graphql::{Enum, Error, ErrorExtensions as _, SimpleObject};
use std::fmt::Display;

/// Codes in `errors[].extensions.code`.
#[derive(Clone, Copy, Debug)]
pub enum Code {
    BadInput,
    Forbidden,
    Unavailable,
    Overloaded,
    Internal,
    NotYet,
    CursorInvalid,
    CursorExpired,
    CursorEpoch,
}

impl Code {
    const fn name(self) -> &'static str {
        match self {
            Self::BadInput => "BAD_INPUT",
            Self::Forbidden => "FORBIDDEN",
            Self::Unavailable => "UNAVAILABLE",
            Self::Overloaded => "OVERLOADED",
            Self::Internal => "INTERNAL",
            Self::NotYet => "NOT_YET",
            Self::CursorInvalid => "CURSOR_INVALID",
            Self::CursorExpired => "CURSOR_EXPIRED",
            Self::CursorEpoch => "CURSOR_EPOCH",
        }
    }
}

/// An error for the caller.
pub fn refuse(code: Code, message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("code", code.name()))
}

/// The caller's argument is wrong; the message names it.
pub fn bad_input(argument: &str, message: impl Display) -> Error {
    refuse(Code::BadInput, format!("{argument}: {message}"))
}

/// Our fault: logged here, and the caller learns nothing of it.
pub fn internal(cause: impl Display) -> Error {
    tracing::error!(%cause, "a resolver failed");
    refuse(Code::Internal, "internal error")
}

/// A failure below the features.
pub fn store(error: &StoreError) -> Error {
    match error.kind() {
        Kind::Unavailable => {
            tracing::warn!(%error, "the database did not answer a resolver");
            refuse(Code::Unavailable, "the database does not answer: try again")
        }
        _ => internal(error),
    }
}

/// A delivery that the queue did not store, as the tracking API answers it: sending the same again is safe.
pub fn intake(error: &IntakeError) -> Error {
    match error.kind() {
        Kind::Overloaded => refuse(Code::Overloaded, error.to_string()),
        Kind::Internal => internal(error),
        _ => refuse(Code::Unavailable, error.to_string()),
    }
}

/// Why a mutation was refused, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ErrorCode {
    /// A field has a value that it cannot have.
    Invalid,
    /// What was named does not exist.
    NotFound,
    /// It clashes with what exists.
    Conflict,
    /// Of an item: its key or an identifier is empty, or the key is one of the tracking API without the identifier it names.
    InvalidId,
    /// Of an item: an id has more than 255 characters.
    IdTooLong,
    /// Of an item: an id of this server is claimed as an id of the source.
    InternalId,
    /// Of an item: an identifier lacks the namespace in which it is unique.
    MissingNamespace,
    /// Of an item: one message id stands twice in it.
    DuplicateMessageId,
    /// Of an item: traits or properties are no object.
    InvalidObject,
    /// Of an item: a trait that no source may set.
    ProtectedTrait,
    /// Of an item: a trait's name is empty or has more than 255 characters.
    InvalidTraitName,
    /// Of an item: more than 1,000 traits.
    TooManyTraits,
    /// Of an item: a track event without a name.
    MissingEventName,
    /// Of an item: an event's name has more than 255 characters.
    EventNameTooLong,
    /// Of an item: what it says of the person, an event or a purchase is larger than the source may send.
    EventTooLarge,
    /// Of an item: an order without its id.
    MissingOrderId,
    /// Of an item: an amount or price is no decimal text, or beyond 64-bit minor units.
    InvalidAmount,
    /// Of an item: a currency is no code.
    InvalidCurrency,
    /// Of an item: the products of an order cannot be read.
    InvalidProducts,
    /// Of an item: an answer to being spoken to has no purpose or channel that can be one.
    InvalidConsent,
    /// Of an item: a text contains the NUL character.
    NulCharacter,
    /// Of an item: nested deeper than 64 levels.
    NestedTooDeep,
    /// Of an item: the database refused it, or a part of it; the rest of it may be stored, and sending it again is safe.
    NotStorable,
    /// Of an item: it is about somebody who was erased, and nothing of it was stored.
    Suppressed,
}

impl ErrorCode {
    /// The code of an item's refusal, under the name it has there.
    pub fn of_refusal(code: &str) -> Self {
        let named = Self::items().iter().find(|item| item.name.eq_ignore_ascii_case(code));
        named.map_or(Self::Invalid, |item| item.value)
    }
}

/// An expected refusal of a mutation: nothing was changed.
#[derive(Clone, Debug, SimpleObject)]
pub struct UserError {
    /// Why, for programs.
    pub code: ErrorCode,
    /// Path of the input field to blame, from `input` on.
    pub field: Vec<String>,
    /// What is wrong and what to do, for people.
    pub message: String,
}

/// A refusal of a field of `input` that holds a value it cannot have.
pub fn invalid(field: &str, message: impl Into<String>) -> UserError {
    UserError {
        code: ErrorCode::Invalid,
        field: vec!["input".to_owned(), field.to_owned()],
        message: message.into(),
    }
}

/// Sorts a mutation's failure: an expected refusal becomes a `UserError`, anything else an error.
pub fn user_error(kind: Kind, field: &str, error: impl Display) -> Result<UserError, Error> {
    let code = match kind {
        Kind::Invalid | Kind::TooLarge => ErrorCode::Invalid,
        Kind::NotFound => ErrorCode::NotFound,
        Kind::Conflict => ErrorCode::Conflict,
        Kind::Unavailable | Kind::Overloaded => {
            let text = "the database did not answer: look whether it was done before you try again";
            return Err(refuse(Code::Unavailable, text));
        }
        Kind::Unauthenticated | Kind::Forbidden => return Err(refuse(Code::Forbidden, error.to_string())),
        Kind::Internal => return Err(internal(error)),
    };
    Ok(UserError {
        code,
        field: vec!["input".to_owned(), field.to_owned()],
        message: error.to_string(),
    })
}
