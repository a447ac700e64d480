//! The columns that a mapping speaks of. Pure.

use super::super::mapping::{Mapping, When};

impl Mapping {
    /// Every column that it speaks of.
    pub(in crate::ingest::file) fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<Option<&str>> = vec![
            self.key.as_deref(),
            self.message_id.as_deref(),
            self.at.as_ref().map(When::column),
        ];
        columns.extend(self.identifier.iter().map(|column| Some(column.column.as_str())));
        columns.extend(self.traits.iter().map(|column| Some(column.column.as_str())));
        columns.extend(self.consent.iter().map(|column| Some(column.column.as_str())));
        if let Some(event) = &self.event {
            columns.extend([event.name_column.as_deref(), event.at.as_ref().map(When::column)]);
            columns.extend(event.property.iter().map(|column| Some(column.column.as_str())));
        }
        if let Some(purchase) = &self.purchase {
            columns.extend([Some(purchase.order_id.as_str()), purchase.at.as_ref().map(When::column)]);
            let texts = [
                &purchase.kind_column,
                &purchase.amount,
                &purchase.currency_column,
                &purchase.sku,
                &purchase.product_name,
                &purchase.category,
                &purchase.quantity,
                &purchase.price,
            ];
            columns.extend(texts.map(Option::as_deref));
        }
        if let Some(rate) = &self.rate {
            columns.extend([rate.date.column(), &rate.from, &rate.to, &rate.rate].map(Some));
        }
        if let Some(spend) = &self.spend {
            columns.extend([
                spend.date.as_ref().map(When::column),
                spend.until.as_ref().map(When::column),
                Some(&spend.amount),
            ]);
            columns.extend([&spend.currency_column, &spend.channel, &spend.campaign, &spend.bought].map(Option::as_deref));
        }
        columns.into_iter().flatten().collect()
    }
}
