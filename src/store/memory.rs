//! What was read lately, kept for a short time.

use std::hash::Hash;
use std::time::Duration;

/// A cache of so many entries, each forgotten after this time: as late as that is a change by another instance seen.
pub fn remembering<K, V>(entries: u64, time: Duration) -> moka::sync::Cache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    moka::sync::Cache::builder().max_capacity(entries).time_to_live(time).build()
}
