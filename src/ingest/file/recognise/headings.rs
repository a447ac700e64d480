//! The columns of one file, with what each may be. Pure.

use super::super::mapping::{FileKind, When};
use super::names::{Role, role_of};

/// The columns of a file with what each may be.
pub(super) struct Headings<'h> {
    pub(super) roles: Vec<(&'h str, Option<Role>)>,
}

impl<'h> Headings<'h> {
    pub(super) fn of(headings: &'h [String]) -> Self {
        let role = |heading: &'h String| (heading.as_str(), role_of(heading));
        Self {
            roles: headings.iter().map(role).collect(),
        }
    }

    /// The first column of a role.
    pub(super) fn column(&self, role: Role) -> Option<String> {
        let found = self.roles.iter().find(|(_, of_column)| *of_column == Some(role));
        found.map(|(heading, _)| (*heading).to_owned())
    }

    pub(super) fn has(&self, role: Role) -> bool {
        self.column(role).is_some()
    }

    pub(super) fn when(&self, roles: &[Role]) -> Option<When> {
        roles.iter().find_map(|role| self.column(*role)).map(When::Column)
    }

    pub(super) fn kind(&self) -> FileKind {
        let names_somebody = self.has(Role::CustomerId)
            || self.has(Role::Key)
            || self.roles.iter().any(|(_, role)| matches!(role, Some(Role::Identifier(_))));
        if self.has(Role::Rate) && self.has(Role::From) && self.has(Role::To) {
            FileKind::Rates
        } else if !names_somebody && self.has(Role::Amount) && (self.has(Role::Channel) || self.has(Role::Campaign)) {
            FileKind::Spend
        } else if self.has(Role::OrderId) {
            FileKind::Orders
        } else if self.has(Role::EventName) {
            FileKind::Events
        } else {
            FileKind::People
        }
    }
}
