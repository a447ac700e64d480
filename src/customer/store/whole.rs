//! Whole tables, for comparing them with what the history makes of them.

use crate::store::sweep;

sweep!(
    /// The next events of all records, in the order of their keys.
    events_after, event, [record_id, id]
);
sweep!(
    /// The next events of some records, in the order of their keys.
    events_of_after, event of records, [record_id, id]
);
sweep!(
    /// The next purchases of some records.
    purchases_of_after, purchase of records, [record_id, id]
);
sweep!(
    /// The next lines of purchases of some records.
    lines_of_after, purchase_line of records, [record_id, purchase_id, n]
);
sweep!(
    /// The next refunds of some records.
    refunds_of_after, refund of records, [record_id, purchase_id, event_id]
);
sweep!(
    /// The next products, in the order of their ids.
    products_after, product, [id]
);
sweep!(
    /// The next customers, in the order of their ids.
    customers_after, customer, [id]
);
