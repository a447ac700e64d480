//! Words everyone speaks: instants, ids, pages, money, kinds of error. No I/O, except behind the clock and the source of ids, which
//! are handed in from the outside so that the same input gives the same result.

pub mod clock;
pub mod error;
pub mod ids;
pub mod money;
pub mod paging;
pub mod retry;

pub use clock::{Clock, Instant, Stopwatch};
pub use error::Kind;
pub use ids::{ConsentId, CustomerId, DecisionId, EventId, IdentifierId, Ids, JobId, ProductId, PurchaseId, RecordId, SourceId};
pub use money::Money;
