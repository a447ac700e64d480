//! What columns mean by their names, in the spellings that exports of shops and address books use, in English, German and Chinese. Pure.
//!
//! Only what is certain by its name: whether somebody allows something is never guessed, and a bare number that may be anybody's is an
//! external id of the file's own source.

mod headings;
mod names;
mod used;

use self::headings::Headings;
use self::names::Role;
use super::FileFault;
use super::mapping::{
    ColumnType, EventColumns, FileKind, IdentifierColumn, Mapping, PurchaseColumns, RateColumns, SpendColumns, ValueColumn,
    identifier_kind, nulls,
};

/// The mapping that the names of the columns suggest, and the columns that it leaves out. `kind`: when it is known already.
pub(super) fn recognise(headings: &[String], kind: Option<FileKind>, source: &str) -> Result<(Mapping, Vec<String>), FileFault> {
    let found = Headings::of(headings);
    let mut mapping = Mapping {
        kind: kind.unwrap_or_else(|| found.kind()),
        null: nulls(),
        ..Mapping::default()
    };
    let missing = |what: &str| {
        FileFault::invalid(format!(
            "no column is recognised as {what}: write a mapping file (see --help)"
        ))
    };
    match mapping.kind {
        FileKind::Messages => return Ok((mapping, Vec::new())),
        FileKind::Rates => {
            mapping.rate = Some(RateColumns {
                date: found.when(&[Role::Date]).ok_or_else(|| missing("the date"))?,
                from: found
                    .column(Role::From)
                    .ok_or_else(|| missing("the currency to convert from"))?,
                to: found.column(Role::To).ok_or_else(|| missing("the currency to convert to"))?,
                rate: found.column(Role::Rate).ok_or_else(|| missing("the rate"))?,
            });
        }
        FileKind::Spend => {
            mapping.spend = Some(SpendColumns {
                date: Some(found.when(&[Role::Date, Role::From]).ok_or_else(|| missing("the date"))?),
                until: found.when(&[Role::Until, Role::To]),
                amount: found.column(Role::Amount).ok_or_else(|| missing("the amount"))?,
                currency: None,
                currency_column: found.column(Role::Currency),
                channel: found.column(Role::Channel),
                campaign: found.column(Role::Campaign),
                bought: found.column(Role::Bought),
            });
        }
        FileKind::People | FileKind::Events | FileKind::Orders => people(&found, &mut mapping, source)?,
    }
    let used = mapping.columns();
    let left_out = headings.iter().filter(|heading| !used.contains(&heading.as_str()));
    let left_out = left_out.cloned().collect();
    Ok((mapping, left_out))
}

fn people(found: &Headings<'_>, mapping: &mut Mapping, source: &str) -> Result<(), FileFault> {
    mapping.key = found.column(Role::Key).or_else(|| found.column(Role::CustomerId));
    mapping.message_id = found.column(Role::MessageId);
    if let Some(column) = found.column(Role::CustomerId) {
        mapping.identifier.push(IdentifierColumn {
            column,
            kind: "EXTERNAL_ID".to_owned(),
            namespace: Some(source.to_owned()),
            several: false,
        });
    }
    for (column, role) in &found.roles {
        if let Some(Role::Identifier(kind)) = role {
            mapping.identifier.push(IdentifierColumn {
                column: (*column).to_owned(),
                kind: (*kind).to_owned(),
                namespace: None,
                several: false,
            });
        }
        mapping.identifier.extend(exported_identifier(column));
    }
    if mapping.key.is_none() && mapping.identifier.is_empty() {
        let message = "no column is recognised by which a person is known (an id, an e-mail address, a phone number): write a mapping file (see --help)";
        return Err(FileFault::invalid(message));
    }
    match mapping.kind {
        FileKind::Orders => {
            let order_id = found.column(Role::OrderId);
            let order_id = order_id.ok_or_else(|| {
                FileFault::invalid("no column is recognised as the order's number: write a mapping file (see --help)")
            })?;
            mapping.purchase = Some(PurchaseColumns {
                order_id,
                at: found.when(&[Role::Date, Role::CreatedAt]),
                amount: found.column(Role::Amount),
                currency_column: found.column(Role::Currency),
                sku: found.column(Role::Sku),
                product_name: found.column(Role::ProductName),
                category: found.column(Role::Category),
                quantity: found.column(Role::Quantity),
                price: found.column(Role::Price),
                ..PurchaseColumns::default()
            });
        }
        FileKind::Events => {
            let name_column = found.column(Role::EventName);
            if name_column.is_none() {
                return Err(FileFault::invalid(
                    "no column is recognised as the event's name: write a mapping file (see --help)",
                ));
            }
            mapping.event = Some(EventColumns {
                name_column,
                at: found.when(&[Role::Date, Role::CreatedAt]),
                ..EventColumns::default()
            });
            let used: Vec<String> = mapping.columns().into_iter().map(str::to_owned).collect();
            let is_property = |(heading, role): &&(&str, Option<Role>)| {
                *role != Some(Role::Internal) && !used.iter().any(|used| used == heading)
            };
            let property = found
                .roles
                .iter()
                .filter(is_property)
                .map(|(heading, _)| value_column(heading, None, ColumnType::Auto));
            if let Some(event) = &mut mapping.event {
                event.property = property.collect();
            }
        }
        _ => {
            mapping.at = found.when(&[Role::UpdatedAt]);
            traits(found, mapping);
        }
    }
    Ok(())
}

/// A column of an export: `identifier.EMAIL`, or with a namespace `identifier.EXTERNAL_ID:erp`.
fn exported_identifier(heading: &str) -> Option<IdentifierColumn> {
    let name = heading.strip_prefix("identifier.")?;
    let (kind, namespace) = match name.split_once(':') {
        Some((kind, namespace)) => (kind, Some(namespace.to_owned())),
        None => (name, None),
    };
    identifier_kind(kind)?;
    Some(IdentifierColumn {
        column: heading.to_owned(),
        kind: kind.to_owned(),
        namespace,
        several: true,
    })
}

fn traits(found: &Headings<'_>, mapping: &mut Mapping) {
    for (heading, role) in &found.roles {
        if exported_identifier(heading).is_some() {
            continue;
        }
        let named = heading.strip_prefix("trait.").filter(|name| !name.is_empty());
        let column = match (named, role) {
            (Some(name), _) => value_column(heading, Some(name), ColumnType::Auto),
            (None, Some(Role::Identifier("EMAIL"))) => value_column(heading, Some("email"), ColumnType::Text),
            (None, Some(Role::Identifier("PHONE"))) => value_column(heading, Some("phone"), ColumnType::Text),
            (
                None,
                Some(Role::Identifier(_) | Role::Key | Role::CustomerId | Role::UpdatedAt | Role::MessageId | Role::Internal),
            ) => continue,
            (None, Some(Role::Trait(name, value_type))) => value_column(heading, Some(name), *value_type),
            (None, Some(Role::CreatedAt)) => value_column(heading, Some("created_at"), ColumnType::DateTime),
            (None, _) => value_column(heading, None, ColumnType::Auto),
        };
        let name = column.name.as_deref().unwrap_or(heading);
        let is_taken = mapping
            .traits
            .iter()
            .any(|known| known.name.as_deref().unwrap_or(&known.column) == name);
        if !heading.is_empty() && !is_taken {
            mapping.traits.push(column);
        }
    }
}

fn value_column(heading: &str, name: Option<&str>, value_type: ColumnType) -> ValueColumn {
    ValueColumn {
        column: heading.to_owned(),
        name: name.filter(|name| *name != heading).map(str::to_owned),
        value_type,
        format: None,
    }
}

#[cfg(test)]
mod tests;
