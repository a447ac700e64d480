//! What lists of customers lean on and intake does not write: folded columns of rows older than those columns, and when each customer
//! was last seen.
//!
//! An event of a known person writes nothing on the customer, so `customer.last_seen_at` is a copy: the sweep compares it with the
//! events' index, customer by customer in the order of their ids, and writes what differs. It keeps no place and takes no lock, may stop
//! anywhere and run twice or on several servers; whatever it writes too early, the next one puts right.

use super::Services;
use crate::base::{CustomerId, Instant};
use crate::customer::store::listing;
use crate::store::{Store, StoreError};

/// Customers of one round.
const ROUND: usize = 1_000;

/// Folds the names, addresses and numbers of customers that were stored before there were columns for it; answers how many. Reads the
/// table once and writes nothing when there are none.
pub async fn fill_folded(services: &Services) -> Result<usize, StoreError> {
    let store = &services.store;
    let (mut filled, mut last) = (0, None);
    loop {
        let rows = listing::unfolded_after(store.reader(), last, ROUND).await?;
        let Some(row) = rows.last() else { return Ok(filled) };
        last = Some(CustomerId(row.id));
        listing::write_folded(store.writer(), &rows).await?;
        filled += rows.len();
    }
}

/// Copies when each customer was last seen; answers how many copies were out of date.
pub async fn copy_last_seen(services: &Services) -> Result<usize, StoreError> {
    let (mut copied, mut last) = (0, None);
    loop {
        let (written, next) = copy_round(&services.store, last).await?;
        copied += written;
        last = next;
        if last.is_none() {
            return Ok(copied);
        }
    }
}

async fn copy_round(store: &Store, after: Option<CustomerId>) -> Result<(usize, Option<CustomerId>), StoreError> {
    let copies = listing::seen_copies_after(store.reader(), after, ROUND).await?;
    let Some((last, _)) = copies.last() else {
        return Ok((0, None));
    };
    let seen = listing::last_seen(store.reader(), copies.iter().map(|(id, _)| *id)).await?;
    let stale = copies.iter().filter_map(|(id, copy)| {
        let truth = seen.get(id).copied();
        (truth != *copy).then_some((*id, truth))
    });
    let stale: Vec<(CustomerId, Option<Instant>)> = stale.collect();
    listing::write_last_seen(store.writer(), &stale).await?;
    Ok((stale.len(), Some(*last)))
}
