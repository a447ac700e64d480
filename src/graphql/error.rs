//! One place where a failure becomes an answer: `errors` for callers' mistakes and our faults, `userErrors` for expected refusals.

use crate::base::Kind;
use crate::store::StoreError;
use async_graphql::{Enum, Error, ErrorExtensions as _, SimpleObject};
use std::fmt::Display;

/// Codes in `errors[].extensions.code`.
#[derive(Clone, Copy, Debug)]
pub enum Code {
    BadInput,
    Forbidden,
    Unavailable,
    Internal,
}

impl Code {
    const fn name(self) -> &'static str {
        match self {
            Self::BadInput => "BAD_INPUT",
            Self::Forbidden => "FORBIDDEN",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
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

/// Why a mutation was refused, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ErrorCode {
    /// A field has a value that it cannot have.
    Invalid,
    /// What was named does not exist.
    NotFound,
    /// It clashes with what exists.
    Conflict,
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
