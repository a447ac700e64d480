//! Rows on their way out, as lines of JSON or of CSV.

use crate::identity::Identifier;
use crate::ingest::file::{guarded, joined};
use entity::IdentifierKind;
use serde_json::{Map, Value, json};
use std::io::{BufWriter, Write};

pub(super) struct Rows {
    pub sink: BufWriter<Box<dyn Write + Send>>,
    pub is_csv: bool,
    /// Kinds of identifiers that have columns, with their namespaces.
    pub identifiers: Vec<(IdentifierKind, String)>,
    /// Traits that have columns.
    pub traits: Vec<String>,
}

/// What is known of somebody, behind the fixed columns.
pub(super) struct Person {
    /// In order of kind, namespace and value.
    pub identifiers: Vec<Identifier>,
    pub traits: Map<String, Value>,
}

impl Rows {
    pub(super) fn head(&mut self, columns: &[&str]) -> std::io::Result<()> {
        if !self.is_csv {
            return Ok(());
        }
        let fixed = columns.iter().map(|column| (*column).to_owned());
        let identifiers = self.identifiers.iter().map(|(kind, namespace)| {
            let kind = kind.name();
            match namespace.is_empty() {
                true => format!("identifier.{kind}"),
                false => format!("identifier.{kind}:{namespace}"),
            }
        });
        let traits = self.traits.iter().map(|name| format!("trait.{name}"));
        let head: Vec<Value> = fixed.chain(identifiers).chain(traits).map(Value::String).collect();
        self.cells(&head)
    }

    /// `fixed`: the columns of the head, under the names they have in JSON.
    pub(super) fn row(&mut self, fixed: &[(&str, Value)], person: Option<Person>) -> std::io::Result<()> {
        if self.is_csv {
            let mut cells: Vec<Value> = fixed.iter().map(|(_, value)| value.clone()).collect();
            if let Some(person) = person {
                cells.extend(self.identifiers.iter().map(|column| in_column(&person, column)));
                cells.extend(
                    self.traits
                        .iter()
                        .map(|name| person.traits.get(name).cloned().unwrap_or_default()),
                );
            }
            return self.cells(&cells);
        }
        let mut object: Map<String, Value> = fixed
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        if let Some(person) = person {
            let identifiers = person.identifiers.iter().map(in_json).collect();
            object.insert("identifiers".to_owned(), Value::Array(identifiers));
            object.insert("traits".to_owned(), Value::Object(person.traits));
        }
        serde_json::to_writer(&mut self.sink, &object)?;
        self.sink.write_all(b"\n")
    }

    fn cells(&mut self, cells: &[Value]) -> std::io::Result<()> {
        for (n, cell) in cells.iter().enumerate() {
            if n > 0 {
                self.sink.write_all(b",")?;
            }
            let text = match cell {
                Value::Null => continue,
                Value::String(text) => guarded(text).into_owned(),
                number @ (Value::Number(_) | Value::Bool(_)) => number.to_string(),
                other => guarded(&other.to_string()).into_owned(),
            };
            if text.contains(['"', ',', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ') {
                write!(self.sink, "\"{}\"", text.replace('"', "\"\""))?;
            } else {
                self.sink.write_all(text.as_bytes())?;
            }
        }
        self.sink.write_all(b"\r\n")
    }
}

fn in_column(person: &Person, (kind, namespace): &(IdentifierKind, String)) -> Value {
    let of_column = |identifier: &&Identifier| identifier.kind == *kind && identifier.namespace == *namespace;
    let mut values = person.identifiers.iter().filter(of_column).peekable();
    match values.peek() {
        None => Value::Null,
        Some(_) => joined(values.map(|identifier| identifier.value.as_str())).into(),
    }
}

fn in_json(identifier: &Identifier) -> Value {
    json!({"kind": identifier.kind.name(), "namespace": identifier.namespace, "value": identifier.value})
}
