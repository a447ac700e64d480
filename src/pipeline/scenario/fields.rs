//! Reading the values of a file one by one, so that what is wrong is said with its path.

use crate::base::Instant;
use serde_json::{Map, Value};
use std::fmt;

/// What is wrong with a file, and where: `steps[2].ts`. The path is empty for the whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    pub path: String,
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)
    }
}

impl Fault {
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            problem: problem.into(),
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<'v> {
    pub value: &'v Value,
    pub path: String,
}

impl<'v> At<'v> {
    pub(super) fn new(value: &'v Value) -> Self {
        let path = String::new();
        Self { value, path }
    }

    pub(super) fn fault(&self, problem: impl Into<String>) -> Fault {
        Fault::new(self.path.clone(), problem)
    }

    pub(super) fn object(&self) -> Result<&'v Map<String, Value>, Fault> {
        self.value.as_object().ok_or_else(|| self.wrong("an object"))
    }

    fn wrong(&self, wanted: &str) -> Fault {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.fault(format!("must be {wanted}, this is {found}"))
    }

    /// An object with no other keys than these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Fault> {
        match self.object()?.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(self
                .under(key)
                .fault(format!("is not known here: there are {}", known.join(", ")))),
        }
    }

    fn under(&self, key: &str) -> Self {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        Self { value: self.value, path }
    }

    /// What stands under a key of an object; `None` where nothing or null does.
    pub(super) fn get(&self, key: &str) -> Result<Option<Self>, Fault> {
        let value = self.object()?.get(key).filter(|value| !value.is_null());
        Ok(value.map(|value| Self {
            value,
            ..self.under(key)
        }))
    }

    pub(super) fn required(&self, key: &str) -> Result<Self, Fault> {
        self.get(key)?.ok_or_else(|| self.under(key).fault("is missing"))
    }

    pub(super) fn members(&self) -> Result<impl Iterator<Item = (&'v str, Self)>, Fault> {
        let members = self.object()?.iter();
        Ok(members.map(|(key, value)| {
            let at = Self {
                value,
                ..self.under(key)
            };
            (key.as_str(), at)
        }))
    }

    pub(super) fn items(&self) -> Result<impl Iterator<Item = Self>, Fault> {
        let items = self.value.as_array().ok_or_else(|| self.wrong("a list"))?;
        Ok(items.iter().enumerate().map(|(n, value)| Self {
            value,
            path: format!("{}[{n}]", self.path),
        }))
    }

    pub(super) fn text(&self) -> Result<&'v str, Fault> {
        self.value.as_str().ok_or_else(|| self.wrong("a text"))
    }

    /// A text that names something.
    pub(super) fn name(&self) -> Result<&'v str, Fault> {
        let text = self.text()?;
        if text.trim().is_empty() {
            return Err(self.fault("must not be empty"));
        }
        Ok(text)
    }

    pub(super) fn instant(&self) -> Result<Instant, Fault> {
        let text = self.text()?;
        Instant::parse(text).ok_or_else(|| self.fault(format!("{text:?} is no time: write 2026-03-01T09:30:00Z")))
    }
}
