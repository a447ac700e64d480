//! The mapping file: what each column of a file means. TOML, to be printed, saved and edited.

use super::FileFault;
use crate::base::money::Currency;
use crate::ingest::message::OrderReportKind;
use entity::IdentifierKind;
use serde::{Deserialize, Serialize};

/// What the rows of a file are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A person in each row.
    #[default]
    People,
    /// Something a person did.
    Events,
    /// An order, or a line of one: rows of one order that follow each other are one.
    Orders,
    /// Messages of the tracking API, one JSON object a line.
    Messages,
    /// Exchange rates of days.
    Rates,
    /// Money spent to win and keep customers.
    Spend,
}

impl FileKind {
    pub const ALL: [(&'static str, Self); 6] = [
        ("people", Self::People),
        ("events", Self::Events),
        ("orders", Self::Orders),
        ("messages", Self::Messages),
        ("rates", Self::Rates),
        ("spend", Self::Spend),
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
    }
}

/// A whole mapping file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    pub kind: FileKind,
    /// Cells that say nothing, in any case; an empty one never does.
    #[serde(default = "nulls")]
    pub null: Vec<String>,
    /// Cells that clear a trait, in any case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clear: Vec<String>,
    /// Of times that name none: a name such as `Europe/Berlin`. By default UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// How dates are written where a column does not say: `auto`, `DMY`, `MDY`, `YMD`, `epoch_seconds`, `epoch_millis`, or a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dates: Option<String>,
    /// `1.299,00` is one thousand two hundred ninety-nine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decimal_comma: bool,
    /// The column with the source's own key of the person; without one the first identifier that a row has is its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Recognises a row that comes again, whatever else is in it; without one its content does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// When the row became true; without one: when it was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<When>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventColumns>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purchase: Option<PurchaseColumns>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateColumns>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend: Option<SpendColumns>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifier: Vec<IdentifierColumn>,
    #[serde(default, rename = "trait", skip_serializing_if = "Vec::is_empty")]
    pub traits: Vec<ValueColumn>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consent: Vec<ConsentColumn>,
}

/// What exports write where nothing is known.
pub fn nulls() -> Vec<String> {
    ["NULL", "\\N", "N/A", "#N/A"].map(str::to_owned).to_vec()
}

/// A column with times: its name, or its name and how they are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum When {
    Column(String),
    Written { column: String, format: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentifierColumn {
    pub column: String,
    /// `EMAIL`, `PHONE`, `USER_ID`, `ANONYMOUS_ID`, `DEVICE_ID`, `LOYALTY_ID`, `EXTERNAL_ID`.
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A cell may hold several values with | between them, as exports join them: \| is one within a value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub several: bool,
}

/// A column that becomes a trait or a property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueColumn {
    pub column: String,
    /// Of the trait or property, a dot leads into an object: `address.city`. By default that of the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, rename = "type")]
    pub value_type: ColumnType,
    /// How its dates are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// What the file has: text in CSV, any value in NDJSON.
    #[default]
    Auto,
    Text,
    Number,
    Bool,
    /// A day: `2024-03-01`.
    Date,
    /// A moment: `2024-03-01T13:05:00Z`.
    DateTime,
    /// JSON inside a cell.
    Json,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventColumns {
    /// The name of all events; else `name_column` names each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_column: Option<String>,
    /// When it happened; without one, `at` of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<When>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub property: Vec<ValueColumn>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurchaseColumns {
    pub order_id: String,
    /// Of all rows: `completed`, `updated`, `refunded`, `cancelled`; else `kind_column` says it of each, else they are completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind_column: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<When>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// Of all rows; else `currency_column` names that of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency_column: Option<String>,
    /// With a product in each row, rows of one order that follow each other are its lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
    /// Of one piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
}

/// A column that says whether a person allows something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentColumn {
    pub column: String,
    /// What for, such as `MARKETING`.
    pub purpose: String,
    /// Through which channel, such as `EMAIL`; by default all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Cells that allow it, in any case. By default yes, true, 1, granted …; what is in neither list is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub granted: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateColumns {
    pub date: When,
    /// One of this …
    pub from: String,
    /// … is `rate` of this.
    pub to: String,
    pub rate: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendColumns {
    /// The day, or the first one of a period.
    pub date: Option<When>,
    /// The last day of a period, which belongs to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<When>,
    pub amount: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency_column: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// What it bought: clicks, a stage, a service …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bought: Option<String>,
}

impl Mapping {
    /// Reads a mapping file.
    pub fn parse(text: &str) -> Result<Self, FileFault> {
        toml::from_str(text).map_err(|error| FileFault::invalid(format!("the mapping file: {}", error.to_string().trim_end())))
    }

    /// The mapping file that says this.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a mapping has no value that TOML lacks")
    }

    /// Whether a row is a message of a person.
    pub fn is_about_people(&self) -> bool {
        !matches!(self.kind, FileKind::Rates | FileKind::Spend)
    }
}

impl When {
    pub(super) fn column(&self) -> &str {
        match self {
            Self::Column(column) | Self::Written { column, .. } => column,
        }
    }

    pub(super) fn format(&self) -> Option<&str> {
        match self {
            Self::Column(_) => None,
            Self::Written { format, .. } => Some(format),
        }
    }
}

/// A kind of identifier by the name GraphQL gives it, in any case.
pub(super) fn identifier_kind(name: &str) -> Option<IdentifierKind> {
    IdentifierKind::named(&name.to_ascii_uppercase())
}

/// What became of an order, as mapping files and columns say it.
pub(super) fn order_kind(name: &str) -> Option<OrderReportKind> {
    Some(match name.trim().to_lowercase().as_str() {
        "completed" | "complete" | "order" | "paid" | "bestellt" | "bezahlt" | "已完成" | "已支付" => {
            OrderReportKind::Completed
        }
        "updated" | "update" | "geändert" | "已更新" => OrderReportKind::Updated,
        "refunded" | "refund" | "returned" | "return" | "erstattet" | "retoure" | "退款" | "已退款" => {
            OrderReportKind::Refunded
        }
        "cancelled" | "canceled" | "storniert" | "取消" | "已取消" => OrderReportKind::Cancelled,
        _ => return None,
    })
}

pub(super) fn currency(code: &str) -> Result<Currency, FileFault> {
    Currency::parse(code).map_err(|error| FileFault::invalid(format!("the mapping file: currency {code:?} {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_printed_as_it_is_read() {
        let text = r#"
            kind = "orders"
            null = ["-"]
            timezone = "Europe/Berlin"
            decimal_comma = true
            key = "Kundennummer"
            at = { column = "Datum", format = "DMY" }
            [purchase]
            order_id = "Bestellnummer"
            amount = "Betrag"
            currency = "EUR"
            [[identifier]]
            column = "E-Mail"
            kind = "EMAIL"
            [[trait]]
            column = "Geburtsdatum"
            name = "birthday"
            type = "date"
            format = "DMY"
            [[consent]]
            column = "Newsletter"
            purpose = "MARKETING"
        "#;
        let mapping = Mapping::parse(text).unwrap();
        assert_eq!(Mapping::parse(&mapping.to_toml()).unwrap(), mapping);
        assert_eq!(
            (mapping.kind, mapping.null.len(), mapping.traits[0].value_type),
            (FileKind::Orders, 1, ColumnType::Date)
        );
        assert_eq!(
            mapping.at.as_ref().map(|at| (at.column(), at.format())),
            Some(("Datum", Some("DMY")))
        );
    }

    #[test]
    fn what_is_misspelt_is_named() {
        let fault = Mapping::parse("kind = \"people\"\nnul = []").unwrap_err().to_string();
        assert!(fault.contains("nul") && fault.contains("line 2"), "{fault}");
        assert!(Mapping::parse("kind = \"things\"").is_err());
    }
}
