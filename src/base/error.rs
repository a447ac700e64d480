//! What kind of thing went wrong, in the few words every door understands.

/// Each feature's error maps to one of these once; `graphql/error.rs` and `http/tracking.rs` turn it into an answer once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The caller asked for something malformed.
    Invalid,
    /// What was named does not exist.
    NotFound,
    /// It clashes with what is there.
    Conflict,
    /// No key, or none that we know.
    Unauthenticated,
    /// A known key without the right to this.
    Forbidden,
    /// More than a limit allows.
    TooLarge,
    /// Too much at once: try again later.
    Overloaded,
    /// A dependency does not answer: try again later.
    Unavailable,
    /// Our fault; the log knows more.
    Internal,
}
