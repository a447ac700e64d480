//! What a page size may be, asked of the parsed document before anything runs, so that it is refused as a whole and by its field.

use async_graphql::Positioned;
use async_graphql::Value;
use async_graphql::Variables;
use async_graphql::parser::types::{ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet};
use std::collections::HashSet;

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

/// Looks at every `first` of one operation, through the fragments it spreads; the gate has bounded their size and depth. A variable
/// without a value is refused as well: a list does not guess how much of it is wanted.
pub fn check_page_sizes(
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    variables: &Variables,
) -> Result<(), PageSizeFault> {
    let value_of = |name: &str| {
        let default = || {
            let mut definitions = operation.variable_definitions.iter();
            let definition = definitions.find(|definition| definition.node.name.node == name)?;
            definition.node.default_value.as_ref().map(|value| value.node.clone())
        };
        variables.get(name).cloned().or_else(default)
    };
    let mut waiting: Vec<&SelectionSet> = vec![&operation.selection_set.node];
    let mut spread: HashSet<&str> = HashSet::new();
    while let Some(selections) = waiting.pop() {
        for selection in &selections.items {
            match &selection.node {
                Selection::Field(field) => {
                    check_field(field, &value_of)?;
                    waiting.push(&field.node.selection_set.node);
                }
                Selection::InlineFragment(fragment) => waiting.push(&fragment.node.selection_set.node),
                Selection::FragmentSpread(fragment) => {
                    let name = &fragment.node.fragment_name.node;
                    // A fragment that is defined nowhere is refused by validation.
                    if let Some(fragment) = document.fragments.get(name).filter(|_| spread.insert(name)) {
                        waiting.push(&fragment.node.selection_set.node);
                    }
                }
            }
        }
    }
    Ok(())
}

fn check_field(field: &Positioned<Field>, value_of: &impl Fn(&str) -> Option<Value>) -> Result<(), PageSizeFault> {
    let Some(first) = field.node.get_argument("first") else {
        return Ok(());
    };
    let is_size = match first.node.clone().into_const_with(|name| value_of(&name).ok_or(())) {
        Ok(Value::Number(number)) => number.as_i64().is_some_and(|number| PAGE_SIZES.contains(&number)),
        Ok(Value::Null) | Err(()) => false,
        // Another type is refused by validation, in words of its own.
        Ok(_) => true,
    };
    if is_size {
        return Ok(());
    }
    Err(PageSizeFault {
        field: field.node.name.node.to_string(),
        line: first.pos.line,
        column: first.pos.column,
    })
}
