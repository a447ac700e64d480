//! The columns that a mapping names, found in a file. Pure.

use super::super::FileFault;
use super::super::date::DateFormat;
use super::super::mapping::{Mapping, ValueColumn, When, currency, identifier_kind, order_kind};
use super::{Column, Consent, Event, Identifier, Moment, Purchase, Rate, Spend, Typed};
use crate::ingest::message::OrderReportKind;

/// Finds the columns that a mapping names.
pub(super) struct Finder<'h> {
    /// None: the rows are objects, and a name that none of them has is an empty cell.
    pub(super) headings: Option<&'h [String]>,
}

impl Finder<'_> {
    pub(super) fn column(&self, name: &str) -> Result<Column, FileFault> {
        let place = match self.headings {
            None => None,
            Some(headings) => {
                let place = headings.iter().position(|heading| heading == name.trim());
                let unknown = || {
                    FileFault::invalid(format!(
                        "the mapping speaks of a column {name:?}; the file has: {}",
                        headings.join(", ")
                    ))
                };
                Some(place.ok_or_else(unknown)?)
            }
        };
        Ok(Column {
            name: name.to_owned(),
            place,
        })
    }

    pub(super) fn maybe(&self, name: Option<&String>) -> Result<Option<Column>, FileFault> {
        name.map(|name| self.column(name)).transpose()
    }

    pub(super) fn moment(&self, when: &When) -> Result<Moment, FileFault> {
        Ok(Moment {
            column: self.column(when.column())?,
            format: when.format().map(date_format).transpose()?,
        })
    }

    pub(super) fn maybe_moment(&self, when: Option<&When>) -> Result<Option<Moment>, FileFault> {
        when.map(|when| self.moment(when)).transpose()
    }

    pub(super) fn typed(&self, columns: &[ValueColumn]) -> Result<Vec<Typed>, FileFault> {
        let typed = columns.iter().map(|column| {
            Ok(Typed {
                column: self.column(&column.column)?,
                name: column.name.clone().unwrap_or_else(|| column.column.trim().to_owned()),
                value_type: column.value_type,
                format: column.format.as_deref().map(date_format).transpose()?,
            })
        });
        typed.collect()
    }
}

pub(super) fn date_format(name: &str) -> Result<DateFormat, FileFault> {
    let wanted = "use auto, YMD, DMY, MDY, epoch_seconds, epoch_millis or a pattern such as %d.%m.%Y";
    DateFormat::named(name)
        .ok_or_else(|| FileFault::invalid(format!("the mapping file: {name:?} is no format of dates: {wanted}")))
}

pub(super) fn folded(words: &[String]) -> Vec<String> {
    words
        .iter()
        .map(|word| word.trim().to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
}

pub(super) fn identifiers(find: &Finder<'_>, mapping: &Mapping) -> Result<Vec<Identifier>, FileFault> {
    let read = mapping.identifier.iter().map(|identifier| {
        let unknown = || FileFault::invalid(format!("the mapping file: {:?} is no kind of identifier: use USER_ID, ANONYMOUS_ID, EMAIL, PHONE, DEVICE_ID, LOYALTY_ID or EXTERNAL_ID", identifier.kind));
        Ok(Identifier {
            column: find.column(&identifier.column)?,
            kind: identifier_kind(&identifier.kind).ok_or_else(unknown)?,
            namespace: identifier.namespace.clone().unwrap_or_default(),
            several: identifier.several,
        })
    });
    read.collect()
}

pub(super) fn consents(find: &Finder<'_>, mapping: &Mapping) -> Result<Vec<Consent>, FileFault> {
    let read = mapping.consent.iter().map(|consent| {
        Ok(Consent {
            column: find.column(&consent.column)?,
            purpose: consent.purpose.clone(),
            channel: consent.channel.clone(),
            granted: folded(&consent.granted),
            denied: folded(&consent.denied),
        })
    });
    read.collect()
}

pub(super) fn event(find: &Finder<'_>, mapping: &Mapping) -> Result<Option<Event>, FileFault> {
    let Some(event) = &mapping.event else { return Ok(None) };
    if event.name.is_none() && event.name_column.is_none() {
        return Err(FileFault::invalid("the mapping file: [event] needs a name or a name_column"));
    }
    Ok(Some(Event {
        name: event.name.clone(),
        name_column: find.maybe(event.name_column.as_ref())?,
        at: find.maybe_moment(event.at.as_ref())?,
        properties: find.typed(&event.property)?,
    }))
}

pub(super) fn purchase(find: &Finder<'_>, mapping: &Mapping) -> Result<Option<Purchase>, FileFault> {
    let Some(purchase) = &mapping.purchase else { return Ok(None) };
    let kind = match purchase.kind.as_deref() {
        None => OrderReportKind::Completed,
        Some(name) => {
            let unknown = || {
                FileFault::invalid(format!(
                    "the mapping file: {name:?} is not completed, updated, refunded or cancelled"
                ))
            };
            order_kind(name).ok_or_else(unknown)?
        }
    };
    if let Some(code) = &purchase.currency {
        currency(code)?;
    }
    Ok(Some(Purchase {
        order_id: find.column(&purchase.order_id)?,
        kind,
        kind_column: find.maybe(purchase.kind_column.as_ref())?,
        at: find.maybe_moment(purchase.at.as_ref())?,
        amount: find.maybe(purchase.amount.as_ref())?,
        currency: purchase.currency.clone(),
        currency_column: find.maybe(purchase.currency_column.as_ref())?,
        sku: find.maybe(purchase.sku.as_ref())?,
        name: find.maybe(purchase.product_name.as_ref())?,
        category: find.maybe(purchase.category.as_ref())?,
        quantity: find.maybe(purchase.quantity.as_ref())?,
        price: find.maybe(purchase.price.as_ref())?,
    }))
}

pub(super) fn rate(find: &Finder<'_>, mapping: &Mapping) -> Result<Option<Rate>, FileFault> {
    let Some(rate) = &mapping.rate else { return Ok(None) };
    Ok(Some(Rate {
        day: find.moment(&rate.date)?,
        from: find.column(&rate.from)?,
        to: find.column(&rate.to)?,
        rate: find.column(&rate.rate)?,
    }))
}

pub(super) fn spend(find: &Finder<'_>, mapping: &Mapping) -> Result<Option<Spend>, FileFault> {
    let Some(spend) = &mapping.spend else { return Ok(None) };
    let date = spend.date.as_ref();
    let date = date.ok_or_else(|| FileFault::invalid("the mapping file: [spend] needs a date"))?;
    Ok(Some(Spend {
        date: find.moment(date)?,
        until: find.maybe_moment(spend.until.as_ref())?,
        amount: find.column(&spend.amount)?,
        currency: spend.currency.as_deref().map(currency).transpose()?,
        currency_column: find.maybe(spend.currency_column.as_ref())?,
        channel: find.maybe(spend.channel.as_ref())?,
        campaign: find.maybe(spend.campaign.as_ref())?,
        bought: find.maybe(spend.bought.as_ref())?,
    }))
}
