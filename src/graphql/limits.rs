//! What a page size may be, asked of the parsed document before anything runs, so that it is refused as a whole and by its field.

use async_graphql::Positioned;
use async_graphql::Value;
use async_graphql::Variables;
use async_graphql::parser::types::{ExecutableDocument, Field, Selection, SelectionSet};

/// The page sizes a list answers.
const PAGE_SIZES: std::ops::RangeInclusive<i64> = 1..=100;

/// A refused argument: the field's name and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSizeFault {
    pub field: String,
    pub line: usize,
    pub column: usize,
}

impl std::fmt::Display for PageSizeFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: first must lie between {} and {}",
            self.field,
            PAGE_SIZES.start(),
            PAGE_SIZES.end()
        )
    }
}

/// Looks at every `first` of the document, in operations and fragments alike; the gate has bounded its size and depth.
pub fn check_page_sizes(document: &ExecutableDocument, variables: &Variables) -> Result<(), PageSizeFault> {
    let defaults = |name: &str| {
        let definitions = document
            .operations
            .iter()
            .flat_map(|(_, operation)| &operation.node.variable_definitions);
        definitions
            .filter(|definition| definition.node.name.node == name)
            .find_map(|definition| definition.node.default_value.clone())
    };
    let value_of = |name: &str| {
        variables
            .get(name)
            .cloned()
            .or_else(|| defaults(name).map(|value| value.node))
    };
    let mut waiting: Vec<&SelectionSet> = document
        .operations
        .iter()
        .map(|(_, operation)| &operation.node.selection_set.node)
        .collect();
    waiting.extend(document.fragments.values().map(|fragment| &fragment.node.selection_set.node));
    while let Some(selections) = waiting.pop() {
        for selection in &selections.items {
            match &selection.node {
                Selection::Field(field) => {
                    check_field(field, &value_of)?;
                    waiting.push(&field.node.selection_set.node);
                }
                Selection::InlineFragment(fragment) => waiting.push(&fragment.node.selection_set.node),
                Selection::FragmentSpread(_) => {}
            }
        }
    }
    Ok(())
}

fn check_field(field: &Positioned<Field>, value_of: &impl Fn(&str) -> Option<Value>) -> Result<(), PageSizeFault> {
    let Some(first) = field.node.get_argument("first") else {
        return Ok(());
    };
    // Anything but a number is refused by validation, in words of its own.
    let Ok(Value::Number(number)) = first.node.clone().into_const_with(|name| value_of(&name).ok_or(())) else {
        return Ok(());
    };
    if number.as_i64().is_some_and(|number| PAGE_SIZES.contains(&number)) {
        return Ok(());
    }
    Err(PageSizeFault {
        field: field.node.name.node.to_string(),
        line: first.pos.line,
        column: first.pos.column,
    })
}
