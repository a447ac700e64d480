//! The history of Tributary's database, one change each; the newest is last.
//!
//! Promises: the same tables, columns and keys on SQLite and PostgreSQL; instants are microseconds since 1970 UTC; every unique key
//! contains its table's distribution column (`DISTRIBUTION`), so that the same schema can be spread over several servers.
//! Names tables by string and imports nothing of ours: a later change of a name in the code must not change history.

pub use sea_orm_migration::prelude::MigratorTrait;
use sea_orm_migration::prelude::*;

mod ddl;
mod m20261122_000001_installation;
mod m20261122_000002_change_log;
mod m20261122_000003_access;
mod m20261122_000004_ingest;
mod m20261122_000005_identity;
mod m20261122_000006_customer;
mod m20261122_000007_job;
mod m20261122_000008_decisions;
mod m20261122_000009_history;
mod m20261122_000010_consent;
mod m20261122_000011_erasure;
mod m20261122_000012_timeline;
mod m20261122_000013_lists;
mod m20261122_000014_rates_and_spend;
mod m20261122_000015_subject_keys;
mod m20261122_000016_feed;
mod m20261122_000017_refresh;
mod m20261122_000018_ledger;
mod m20261122_000019_value;

/// How a table would be spread over several database servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// A small table of definitions, whole on every server.
    Reference,
    /// Rows live where this column's value lives.
    By(&'static str),
}

/// The distribution column of every table. The DDL lint refuses a table that is missing here and a unique key without its column.
pub const DISTRIBUTION: [(&str, Distribution); 42] = [
    ("installation", Distribution::Reference),
    ("change", Distribution::By("tx_id")),
    ("change_tx", Distribution::By("tx_id")),
    ("lease", Distribution::Reference),
    ("consumer", Distribution::Reference),
    ("api_key", Distribution::Reference),
    ("audit", Distribution::By("id")),
    ("source", Distribution::Reference),
    ("rejected_item", Distribution::By("id")),
    ("trait_definition", Distribution::Reference),
    ("event_definition", Distribution::Reference),
    ("record", Distribution::By("id")),
    ("identifier", Distribution::By("id")),
    ("link", Distribution::By("record_id")),
    ("identity_decision", Distribution::By("id")),
    ("decision_record", Distribution::By("record_id")),
    ("held_item", Distribution::By("id")),
    ("identity_rules", Distribution::Reference),
    ("customer", Distribution::By("id")),
    ("event", Distribution::By("record_id")),
    ("purchase", Distribution::By("record_id")),
    ("purchase_line", Distribution::By("record_id")),
    ("refund", Distribution::By("record_id")),
    ("product", Distribution::Reference),
    ("consent", Distribution::By("record_id")),
    ("job", Distribution::By("id")),
    ("erasure", Distribution::By("id")),
    ("suppression", Distribution::By("id")),
    ("erased_record", Distribution::By("id")),
    ("erased_link", Distribution::By("record_id")),
    ("erased_value", Distribution::By("id")),
    ("erased_statement", Distribution::By("record_id")),
    ("erased_event", Distribution::By("record_id")),
    ("erased_product", Distribution::By("id")),
    ("exchange_rate", Distribution::Reference),
    ("spend", Distribution::By("id")),
    ("due", Distribution::By("customer_id")),
    ("customer_value", Distribution::By("customer_id")),
    ("activity", Distribution::By("customer_id")),
    ("value_model", Distribution::Reference),
    ("metric_change", Distribution::By("customer_id")),
    ("seaql_migrations", Distribution::Reference),
];

/// Applies and reverts the history.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_installation::Migration),
            Box::new(m20261122_000002_change_log::Migration),
            Box::new(m20261122_000003_access::Migration),
            Box::new(m20261122_000004_ingest::Migration),
            Box::new(m20261122_000005_identity::Migration),
            Box::new(m20261122_000006_customer::Migration),
            Box::new(m20261122_000007_job::Migration),
            Box::new(m20261122_000008_decisions::Migration),
            Box::new(m20261122_000009_history::Migration),
            Box::new(m20261122_000010_consent::Migration),
            Box::new(m20261122_000011_erasure::Migration),
            Box::new(m20261122_000012_timeline::Migration),
            Box::new(m20261122_000013_lists::Migration),
            Box::new(m20261122_000014_rates_and_spend::Migration),
            Box::new(m20261122_000015_subject_keys::Migration),
            Box::new(m20261122_000016_feed::Migration),
            Box::new(m20261122_000017_refresh::Migration),
            Box::new(m20261122_000018_ledger::Migration),
            Box::new(m20261122_000019_value::Migration),
        ]
    }
}
