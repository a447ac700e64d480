//! The values of a row's cells. Pure.

use super::super::cell::Cell;
use super::super::rows::Row;
use super::{Column, Moment, Plan, Typed};
use crate::base::Instant;
use crate::ingest::message::Refusal;
use serde_json::{Map, Value};
use std::borrow::Cow;

impl Plan {
    pub(super) fn text<'r>(&self, row: &'r Row, column: Option<&Column>) -> Option<Cow<'r, str>> {
        self.conventions.text(cell(row, column?))
    }

    pub(super) fn owned(&self, row: &Row, column: Option<&Column>) -> Option<String> {
        self.text(row, column).map(Cow::into_owned)
    }

    pub(super) fn needed<'r>(&self, row: &'r Row, column: &Column) -> Result<Cow<'r, str>, Refusal> {
        let missing = || Refusal::new("missing_value", column.name.as_str(), "must not be empty");
        self.text(row, Some(column)).ok_or_else(missing)
    }

    pub(super) fn moment(&self, row: &Row, moment: Option<&Moment>) -> Result<Option<Instant>, Refusal> {
        let Some(moment) = moment else { return Ok(None) };
        let Some(text) = self.text(row, Some(&moment.column)) else {
            return Ok(None);
        };
        let instant = self.conventions.instant(&text, moment.format.as_ref(), &moment.column.name)?;
        Ok(Some(instant))
    }

    pub(super) fn object(&self, row: &Row, columns: &[Typed]) -> Result<Map<String, Value>, Refusal> {
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
