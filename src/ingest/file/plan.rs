//! A mapping laid over the columns of one file: how each row is read. Pure.

use super::FileFault;
use super::cell::{Cell, Conventions, not_a, truth};
use super::date::DateFormat;
use super::joined::apart;
use super::mapping::{ColumnType, FileKind, Mapping, ValueColumn, When, currency, identifier_kind, order_kind};
use super::rows::Row;
use crate::base::money::Currency;
use crate::base::{Instant, Money};
use crate::ingest::item::{ConsentItem, EventItem, Item, LineItem, PurchaseItem};
use crate::ingest::message::{Assertion, OrderReportKind, Refusal};
use chrono::NaiveDate;
use chrono_tz::Tz;
use entity::{ConsentAnswer, EventKind, IdentifierKind};
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// One of `from` was `rate` of `to` on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateRow {
    /// Its midnight, UTC.
    pub day: Instant,
    pub from: Currency,
    pub to: Currency,
    pub rate: Decimal,
}

/// Money spent in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendRow {
    /// Midnight UTC of the first day, and of the day behind the last.
    pub from: Instant,
    pub until: Instant,
    pub channel: Option<String>,
    pub campaign: Option<String>,
    /// What it bought.
    pub bought: Option<String>,
    pub amount: Money,
}

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

/// Finds the columns that a mapping names.
struct Finder<'h> {
    /// None: the rows are objects, and a name that none of them has is an empty cell.
    headings: Option<&'h [String]>,
}

impl Finder<'_> {
    fn column(&self, name: &str) -> Result<Column, FileFault> {
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

    fn maybe(&self, name: Option<&String>) -> Result<Option<Column>, FileFault> {
        name.map(|name| self.column(name)).transpose()
    }

    fn moment(&self, when: &When) -> Result<Moment, FileFault> {
        Ok(Moment {
            column: self.column(when.column())?,
            format: when.format().map(date_format).transpose()?,
        })
    }

    fn maybe_moment(&self, when: Option<&When>) -> Result<Option<Moment>, FileFault> {
        when.map(|when| self.moment(when)).transpose()
    }

    fn typed(&self, columns: &[ValueColumn]) -> Result<Vec<Typed>, FileFault> {
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

fn date_format(name: &str) -> Result<DateFormat, FileFault> {
    let wanted = "use auto, YMD, DMY, MDY, epoch_seconds, epoch_millis or a pattern such as %d.%m.%Y";
    DateFormat::named(name)
        .ok_or_else(|| FileFault::invalid(format!("the mapping file: {name:?} is no format of dates: {wanted}")))
}

fn folded(words: &[String]) -> Vec<String> {
    words
        .iter()
        .map(|word| word.trim().to_lowercase())
        .filter(|word| !word.is_empty())
        .collect()
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

    fn text<'r>(&self, row: &'r Row, column: Option<&Column>) -> Option<Cow<'r, str>> {
        self.conventions.text(cell(row, column?))
    }

    fn owned(&self, row: &Row, column: Option<&Column>) -> Option<String> {
        self.text(row, column).map(Cow::into_owned)
    }

    fn needed<'r>(&self, row: &'r Row, column: &Column) -> Result<Cow<'r, str>, Refusal> {
        let missing = || Refusal::new("missing_value", column.name.as_str(), "must not be empty");
        self.text(row, Some(column)).ok_or_else(missing)
    }

    fn moment(&self, row: &Row, moment: Option<&Moment>) -> Result<Option<Instant>, Refusal> {
        let Some(moment) = moment else { return Ok(None) };
        let Some(text) = self.text(row, Some(&moment.column)) else {
            return Ok(None);
        };
        let instant = self.conventions.instant(&text, moment.format.as_ref(), &moment.column.name)?;
        Ok(Some(instant))
    }

    fn object(&self, row: &Row, columns: &[Typed]) -> Result<Map<String, Value>, Refusal> {
        let mut object = Map::new();
        for typed in columns {
            let Typed {
                column,
                value_type,
                format,
                ..
            } = typed;
            let value = self
                .conventions
                .value(cell(row, column), *value_type, format.as_ref(), &column.name)?;
            if let Some(value) = value {
                put(&mut object, &typed.name, value);
            }
        }
        Ok(object)
    }

    fn person(&self, row: &Row) -> Result<Said, Refusal> {
        let identifiers: Vec<Assertion> = self
            .identifiers
            .iter()
            .flat_map(|identifier| self.shown(row, identifier))
            .collect();
        let key = self.owned(row, self.key.as_ref()).or_else(|| identifiers.first().map(key_of));
        let Some(key) = key else {
            let message = "the row names nobody: neither its key nor an identifier is there";
            return Err(Refusal {
                code: "names_nobody",
                message: message.to_owned(),
                field: self.key.as_ref().map(|column| column.name.clone()),
            });
        };
        let traits = self.object(row, &self.traits)?;
        let item = Item {
            key,
            message_id: self.owned(row, self.message_id.as_ref()),
            at: self.moment(row, self.at.as_ref())?,
            identifiers,
            traits: (!traits.is_empty()).then_some(Value::Object(traits)),
            events: self
                .event
                .as_ref()
                .map(|event| self.event(row, event))
                .transpose()?
                .into_iter()
                .collect(),
            purchases: self
                .purchase
                .as_ref()
                .map(|purchase| self.purchase(row, purchase))
                .transpose()?
                .into_iter()
                .collect(),
            consents: self
                .consents
                .iter()
                .filter_map(|consent| self.consent(row, consent).transpose())
                .collect::<Result<_, _>>()?,
        };
        Ok(Said::Person(item))
    }

    fn shown(&self, row: &Row, identifier: &Identifier) -> Vec<Assertion> {
        let Some(cell) = self.text(row, Some(&identifier.column)) else {
            return Vec::new();
        };
        let values = match identifier.several {
            true => apart(&cell),
            false => vec![cell.into_owned()],
        };
        let assertion = |value| Assertion {
            kind: identifier.kind,
            namespace: identifier.namespace.clone(),
            value,
        };
        values.into_iter().map(assertion).collect()
    }

    fn consent(&self, row: &Row, consent: &Consent) -> Result<Option<ConsentItem>, Refusal> {
        let Some(text) = self.text(row, Some(&consent.column)) else {
            return Ok(None);
        };
        let folded = text.to_lowercase();
        let answer = if consent.granted.is_empty() && consent.denied.is_empty() {
            truth(&text)
        } else if consent.granted.contains(&folded) {
            Some(true)
        } else {
            consent.denied.contains(&folded).then_some(false)
        };
        let answer = answer.ok_or_else(|| {
            not_a(
                &consent.column.name,
                "an answer: list it under granted or denied in the mapping file",
            )
        })?;
        Ok(Some(ConsentItem {
            purpose: consent.purpose.clone(),
            channel: consent.channel.clone(),
            answer: if answer {
                ConsentAnswer::Granted
            } else {
                ConsentAnswer::Denied
            },
            evidence: None,
            at: None,
        }))
    }

    fn event(&self, row: &Row, event: &Event) -> Result<EventItem, Refusal> {
        let name = match (&event.name, &event.name_column) {
            (_, Some(column)) => Some(self.needed(row, column)?.into_owned()),
            (name, None) => name.clone(),
        };
        let properties = self.object(row, &event.properties)?;
        Ok(EventItem {
            kind: EventKind::Track,
            name,
            at: self.moment(row, event.at.as_ref())?,
            message_id: None,
            properties: (!properties.is_empty()).then_some(Value::Object(properties)),
        })
    }

    fn purchase(&self, row: &Row, purchase: &Purchase) -> Result<PurchaseItem, Refusal> {
        let kind = match self.text(row, purchase.kind_column.as_ref()) {
            Some(word) => {
                let column = purchase.kind_column.as_ref().map_or("", |column| &column.name);
                order_kind(&word).ok_or_else(|| not_a(column, "completed, updated, refunded or cancelled"))?
            }
            None => purchase.kind,
        };
        let amount = self.text(row, purchase.amount.as_ref());
        let currency = self.owned(row, purchase.currency_column.as_ref());
        Ok(PurchaseItem {
            kind,
            order_id: self.needed(row, &purchase.order_id)?.into_owned(),
            at: self.moment(row, purchase.at.as_ref())?,
            message_id: None,
            amount: amount.map(|amount| self.conventions.amount(&amount)),
            currency: currency.or_else(|| purchase.currency.clone()),
            lines: self.line(row, purchase)?.into_iter().collect(),
        })
    }

    fn line(&self, row: &Row, purchase: &Purchase) -> Result<Option<LineItem>, Refusal> {
        let Some(sku) = self.owned(row, purchase.sku.as_ref()) else {
            return Ok(None);
        };
        let quantity = match (self.text(row, purchase.quantity.as_ref()), &purchase.quantity) {
            (Some(text), Some(column)) => {
                let quantity = self.conventions.decimal(&text, &column.name)?;
                let whole = quantity.is_integer().then(|| i64::try_from(quantity).ok()).flatten();
                whole.ok_or_else(|| not_a(&column.name, "a whole number"))?
            }
            _ => 1,
        };
        let price = self.text(row, purchase.price.as_ref());
        Ok(Some(LineItem {
            sku,
            name: self.owned(row, purchase.name.as_ref()),
            category: self.owned(row, purchase.category.as_ref()),
            quantity,
            price: price.map(|price| self.conventions.amount(&price)),
        }))
    }

    fn day(&self, row: &Row, moment: &Moment) -> Result<NaiveDate, Refusal> {
        let text = self.needed(row, &moment.column)?;
        let dated = self.conventions.dated(&text, moment.format.as_ref(), &moment.column.name)?;
        dated
            .day(self.conventions.zone)
            .ok_or_else(|| not_a(&moment.column.name, "a date"))
    }

    fn currency(&self, row: &Row, column: &Column) -> Result<Currency, Refusal> {
        let code = self.needed(row, column)?;
        Currency::parse(&code).map_err(|error| Refusal::new("invalid_currency", column.name.as_str(), error.to_string()))
    }

    fn rate(&self, row: &Row) -> Result<RateRow, Refusal> {
        let Some(columns) = &self.rate else {
            return Err(not_a("", "a rate"));
        };
        let (from, to) = (self.currency(row, &columns.from)?, self.currency(row, &columns.to)?);
        let rate = self
            .conventions
            .decimal(&self.needed(row, &columns.rate)?, &columns.rate.name)?;
        if rate <= Decimal::ZERO {
            return Err(Refusal::new(
                "invalid_amount",
                columns.rate.name.as_str(),
                "must be greater than zero",
            ));
        }
        if from == to {
            return Err(Refusal::new(
                "invalid_currency",
                columns.to.name.as_str(),
                "must be another currency than the first",
            ));
        }
        Ok(RateRow {
            day: midnight(self.day(row, &columns.day)?),
            from,
            to,
            rate: rate.normalize(),
        })
    }

    fn spend(&self, row: &Row) -> Result<SpendRow, Refusal> {
        let Some(columns) = &self.spend else {
            return Err(not_a("", "spend"));
        };
        let first = self.day(row, &columns.date)?;
        let until = columns
            .until
            .as_ref()
            .filter(|until| self.text(row, Some(&until.column)).is_some());
        let last = until.map_or(Ok(first), |until| self.day(row, until))?;
        if last < first {
            let column = until.map_or("", |until| &until.column.name);
            return Err(Refusal::new("invalid_period", column, "must not lie before the first day"));
        }
        let currency = match (&columns.currency_column, &columns.currency) {
            (Some(column), None) => self.currency(row, column)?,
            (Some(column), Some(fixed)) if self.text(row, Some(column)).is_none() => fixed.clone(),
            (Some(column), Some(_)) => self.currency(row, column)?,
            (None, Some(fixed)) => fixed.clone(),
            (None, None) => {
                return Err(Refusal::new(
                    "invalid_currency",
                    "currency",
                    "no column names it: say it in the mapping file",
                ));
            }
        };
        let amount = self
            .conventions
            .decimal(&self.needed(row, &columns.amount)?, &columns.amount.name)?;
        let amount = Money::from_decimal(amount, currency);
        let behind = last.succ_opt().ok_or_else(|| not_a(&columns.date.column.name, "a date"))?;
        Ok(SpendRow {
            from: midnight(first),
            until: midnight(behind),
            channel: self.owned(row, columns.channel.as_ref()),
            campaign: self.owned(row, columns.campaign.as_ref()),
            bought: self.owned(row, columns.bought.as_ref()),
            amount: amount.map_err(|error| Refusal::new("invalid_amount", columns.amount.name.as_str(), error.to_string()))?,
        })
    }
}

fn midnight(day: NaiveDate) -> Instant {
    Instant::from_micros(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros())
}

/// The key of a person who is known by an identifier only; that of the tracking API for its two.
fn key_of(identifier: &Assertion) -> String {
    let Assertion { kind, namespace, value } = identifier;
    match kind {
        IdentifierKind::UserId => format!("u:{value}"),
        IdentifierKind::AnonymousId => format!("a:{value}"),
        IdentifierKind::Email => format!("email:{}", value.to_lowercase()),
        IdentifierKind::Phone => format!("phone:{}", value.replace([' ', '-', '/', '(', ')'], "")),
        IdentifierKind::DeviceId => format!("device:{value}"),
        IdentifierKind::LoyaltyId => format!("loyalty:{value}"),
        IdentifierKind::ExternalId => format!("{namespace}:{value}"),
    }
}

fn cell<'r>(row: &'r Row, column: &Column) -> Option<Cell<'r>> {
    match row {
        Row::Cells(cells) => cells.get(column.place?).map(|cell| Cell::Text(cell)),
        Row::Object(object) => match object.get(&column.name) {
            Some(value) => Some(Cell::Json(value)),
            None => {
                let mut path = column.name.split('.');
                let first = object.get(path.next()?)?;
                path.try_fold(first, |value, name| value.get(name)).map(Cell::Json)
            }
        },
    }
}

/// Puts a value under a name, or into the object that the name leads to.
fn put(object: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        Some((outer, inner)) if !outer.is_empty() && !inner.is_empty() => {
            let nested = object.entry(outer).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(nested) = nested {
                put(nested, inner, value);
            }
        }
        _ => {
            object.insert(name.to_owned(), value);
        }
    }
}

fn identifiers(find: &Finder<'_>, mapping: &Mapping) -> Result<Vec<Identifier>, FileFault> {
    let read = mapping.identifier.iter().map(|identifier| {
        let unknown = || FileFault::invalid(format!("the mapping file: {:?} is no kind of identifier", identifier.kind));
        Ok(Identifier {
            column: find.column(&identifier.column)?,
            kind: identifier_kind(&identifier.kind).ok_or_else(unknown)?,
            namespace: identifier.namespace.clone().unwrap_or_default(),
            several: identifier.several,
        })
    });
    read.collect()
}

fn consents(find: &Finder<'_>, mapping: &Mapping) -> Result<Vec<Consent>, FileFault> {
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

fn event(find: &Finder<'_>, mapping: &Mapping) -> Result<Option<Event>, FileFault> {
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

fn purchase(find: &Finder<'_>, mapping: &Mapping) -> Result<Option<Purchase>, FileFault> {
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

fn rate(find: &Finder<'_>, mapping: &Mapping) -> Result<Option<Rate>, FileFault> {
    let Some(rate) = &mapping.rate else { return Ok(None) };
    Ok(Some(Rate {
        day: find.moment(&rate.date)?,
        from: find.column(&rate.from)?,
        to: find.column(&rate.to)?,
        rate: find.column(&rate.rate)?,
    }))
}

fn spend(find: &Finder<'_>, mapping: &Mapping) -> Result<Option<Spend>, FileFault> {
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
