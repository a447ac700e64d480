//! Who is asking, and what they may do.

use entity::IdentifierKind;
use std::fmt;

/// What a key allows. A source's write key is the `Ingest` of that source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Read everything but personal data in the clear.
    Read,
    /// Read personal data in the clear; without it values are masked, and nothing is looked up, filtered or ordered by them.
    ReadPii,
    /// Change customers, records, definitions.
    Write,
    /// Everything, keys and sources included.
    Admin,
}

impl Scope {
    pub const ALL: [Self; 4] = [Self::Read, Self::ReadPii, Self::Write, Self::Admin];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ReadPii => "read:pii",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// Whoever sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Without a key.
    Anonymous,
    /// With a source's write key, which can only send.
    Ingest,
    Key {
        actor: Actor,
        scopes: Vec<Scope>,
    },
    /// With a token of one visitor: has no scope, and sees what is their own.
    Subject(Subject),
}

/// Whom a token speaks for, by the value as its signer wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub actor: Actor,
    pub kind: IdentifierKind,
    pub namespace: String,
    pub value: String,
}

impl Principal {
    pub fn admin(actor: Actor) -> Self {
        Self::Key {
            actor,
            scopes: vec![Scope::Admin],
        }
    }

    /// `Admin` includes every scope; reading personal data and writing include reading.
    pub fn may(&self, wanted: Scope) -> bool {
        let Self::Key { scopes, .. } = self else { return false };
        scopes.iter().any(|scope| match scope {
            Scope::Admin => true,
            Scope::Write | Scope::ReadPii => *scope == wanted || wanted == Scope::Read,
            Scope::Read => wanted == Scope::Read,
        })
    }

    /// Who to name in the log.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Key { actor, .. } | Self::Subject(Subject { actor, .. }) => actor.clone(),
            Self::Anonymous | Self::Ingest => Actor::new("anonymous"),
        }
    }
}

/// The name of whoever did something: `key:<id>`, `key:preset`, `source:<key>`, `intake` (several sources at once), `cli`, `demo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor(String);

impl Actor {
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Whoever sits at the command line.
    pub fn cli() -> Self {
        Self::new("cli")
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_include_what_they_need() {
        let may = |scope, wanted| {
            Principal::Key {
                actor: Actor::new("key:k"),
                scopes: vec![scope],
            }
            .may(wanted)
        };
        for wanted in Scope::ALL {
            assert!(may(Scope::Admin, wanted));
            assert!(!Principal::Anonymous.may(wanted));
            assert!(!Principal::Ingest.may(wanted));
            let subject = Subject {
                actor: Actor::new("key:k"),
                kind: IdentifierKind::UserId,
                namespace: String::new(),
                value: "u".to_owned(),
            };
            assert!(!Principal::Subject(subject).may(wanted));
        }
        assert!(may(Scope::Write, Scope::Read) && may(Scope::ReadPii, Scope::Read));
        assert!(!may(Scope::Read, Scope::Write) && !may(Scope::Read, Scope::ReadPii) && !may(Scope::Write, Scope::ReadPii));
    }
}
