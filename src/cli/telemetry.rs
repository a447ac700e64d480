//! The log: JSON lines or text, on standard error, so that standard output belongs to the command.

use super::settings::Log;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// Starts logging; the settings were checked.
pub fn start(log: &Log) {
    let filter: Targets = log.level.parse().unwrap_or_default();
    // The database layer logs statements with their values, which are personal data: never more than warnings of it.
    let filter = filter
        .with_target("sqlx", tracing::Level::WARN)
        .with_target("sea_orm", tracing::Level::WARN)
        .with_target("sea_orm_migration", tracing::Level::WARN);
    let writer = std::io::stderr;
    let layer = match log.format.as_str() {
        "json" => fmt::layer()
            .json()
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(writer)
            .boxed(),
        _ => fmt::layer().with_writer(writer).boxed(),
    };
    // A second start in one process keeps the first.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}
