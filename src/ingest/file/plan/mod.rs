//! A mapping laid over the columns of one file: how each row is read. Pure.

mod columns;
mod person;
mod tables;
mod values;

pub use self::tables::{RateRow, SpendRow};

use self::columns::{Finder, consents, date_format, event, folded, identifiers, purchase, rate, spend};
use super::FileFault;
use super::cell::{Conventions, not_a};
use super::date::DateFormat;
use super::mapping::{ColumnType, FileKind, Mapping};
use super::rows::Row;
use crate::base::money::Currency;
use crate::ingest::item::Item;
use crate::ingest::message::{OrderReportKind, Refusal};
use chrono_tz::Tz;
use entity::IdentifierKind;
use serde_json::Value;

/// What a row says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    /// Of a person, with purposes that it allows or refuses.
    Person(Item),
    /// A message of the tracking API.
    Message(Value),
    Rate(RateRow),
    Spend(SpendRow),
}

/// Where a cell stands.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    /// In CSV.
    place: Option<usize>,
}

#[derive(Clone, Debug)]
struct Moment {
    column: Column,
    format: Option<DateFormat>,
}

#[derive(Clone, Debug)]
struct Typed {
    column: Column,
    /// Of the trait or property: a name, or a path into an object.
    name: String,
    value_type: ColumnType,
    format: Option<DateFormat>,
}

#[derive(Clone, Debug)]
struct Identifier {
    column: Column,
    kind: IdentifierKind,
    namespace: String,
    /// Joined in one cell.
    several: bool,
}

#[derive(Clone, Debug)]
struct Consent {
    column: Column,
    purpose: String,
    channel: Option<String>,
    granted: Vec<String>,
    denied: Vec<String>,
}

#[derive(Clone, Debug)]
struct Event {
    name: Option<String>,
    name_column: Option<Column>,
    at: Option<Moment>,
    properties: Vec<Typed>,
}

#[derive(Clone, Debug)]
struct Purchase {
    order_id: Column,
    kind: OrderReportKind,
    kind_column: Option<Column>,
    at: Option<Moment>,
    amount: Option<Column>,
    currency: Option<String>,
    currency_column: Option<Column>,
    sku: Option<Column>,
    name: Option<Column>,
    category: Option<Column>,
    quantity: Option<Column>,
    price: Option<Column>,
}

#[derive(Clone, Debug)]
struct Rate {
    day: Moment,
    from: Column,
    to: Column,
    rate: Column,
}

#[derive(Clone, Debug)]
struct Spend {
    date: Moment,
    until: Option<Moment>,
    amount: Column,
    currency: Option<Currency>,
    currency_column: Option<Column>,
    channel: Option<Column>,
    campaign: Option<Column>,
    bought: Option<Column>,
}

/// How the rows of a file are read.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    kind: FileKind,
    conventions: Conventions,
    key: Option<Column>,
    message_id: Option<Column>,
    at: Option<Moment>,
    identifiers: Vec<Identifier>,
    traits: Vec<Typed>,
    consents: Vec<Consent>,
    event: Option<Event>,
    purchase: Option<Purchase>,
    rate: Option<Rate>,
    spend: Option<Spend>,
}

impl Plan {
    /// # Errors
    /// When the mapping speaks of a column that the file has not, or lacks what its kind needs.
    pub(super) fn new(mapping: &Mapping, headings: Option<&[String]>) -> Result<Self, FileFault> {
        let find = Finder { headings };
        let zone = match mapping.timezone.as_deref() {
            None => Tz::UTC,
            Some(name) => name.parse().map_err(|_| {
                FileFault::invalid(format!(
                    "the mapping file: {name:?} is no time zone: use a name such as Europe/Berlin"
                ))
            })?,
        };
        let plan = Self {
            kind: mapping.kind,
            conventions: Conventions {
                null: folded(&mapping.null),
                clear: folded(&mapping.clear),
                zone,
                dates: mapping
                    .dates
                    .as_deref()
                    .map(date_format)
                    .transpose()?
                    .unwrap_or(DateFormat::Auto),
                decimal_comma: mapping.decimal_comma,
            },
            key: find.maybe(mapping.key.as_ref())?,
            message_id: find.maybe(mapping.message_id.as_ref())?,
            at: find.maybe_moment(mapping.at.as_ref())?,
            identifiers: identifiers(&find, mapping)?,
            traits: find.typed(&mapping.traits)?,
            consents: consents(&find, mapping)?,
            event: event(&find, mapping)?,
            purchase: purchase(&find, mapping)?,
            rate: rate(&find, mapping)?,
            spend: spend(&find, mapping)?,
        };
        plan.check()?;
        Ok(plan)
    }

    fn check(&self) -> Result<(), FileFault> {
        let needed = match self.kind {
            FileKind::Events => self.event.as_ref().map(|_| ()).ok_or("an [event]"),
            FileKind::Orders => self.purchase.as_ref().map(|_| ()).ok_or("a [purchase]"),
            FileKind::Rates => self.rate.as_ref().map(|_| ()).ok_or("a [rate]"),
            FileKind::Spend => self.spend.as_ref().map(|_| ()).ok_or("a [spend]"),
            FileKind::People | FileKind::Messages => Ok(()),
        };
        let is_about_people = matches!(self.kind, FileKind::People | FileKind::Events | FileKind::Orders);
        let names_somebody = self.key.is_some() || !self.identifiers.is_empty();
        match needed {
            Err(what) => Err(FileFault::invalid(format!(
                "the mapping file: a file of this kind needs {what}"
            ))),
            Ok(()) if is_about_people && !names_somebody => Err(FileFault::invalid(
                "the mapping file: name the column of the person's key, or at least one [[identifier]]",
            )),
            Ok(()) => Ok(()),
        }
    }

    /// Whether rows of one order that follow each other are one.
    pub(super) fn joins_lines(&self) -> bool {
        self.purchase.as_ref().is_some_and(|purchase| purchase.sku.is_some())
    }

    /// What a row says.
    pub(super) fn read(&self, row: &Row) -> Result<Said, Refusal> {
        match self.kind {
            FileKind::People | FileKind::Events | FileKind::Orders => self.person(row),
            FileKind::Messages => match row {
                Row::Object(object) => Ok(Said::Message(Value::Object(object.clone()))),
                Row::Cells(_) => Err(not_a("", "a JSON object")),
            },
            FileKind::Rates => self.rate(row).map(Said::Rate),
            FileKind::Spend => self.spend(row).map(Said::Spend),
        }
    }
}
