//! Is this GraphQL document small and plain enough to hand to the library?
//!
//! Stands before async-graphql's parser, which recurses on nested values, and its validation, which expands fragments without a
//! memo: a few hundred bytes could kill the process or keep it busy for minutes.
//! Promises: linear time, no recursion, no panic; a document the library accepts is measured as the library reads it, also where
//! its `graphql.pest` is looser than the specification; a refusal repeats nothing of the document but a fragment's name.
//! Leaves to others: syntax errors (the library says where), what fields cost, the HTTP answer.

mod lex;
mod outline;
#[cfg(test)]
mod tests;

use std::fmt;

use lex::Token;

/// What a document may measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Length of the text.
    pub bytes: usize,
    /// Names, numbers, strings and punctuators; blanks, commas and comments are none.
    pub tokens: usize,
    /// Brackets `{ [ (` open at once, outside strings and comments.
    pub nesting: usize,
    /// Levels of fields in an operation, through fragments, outside `__schema` and `__type`.
    pub depth: usize,
    /// Levels of fields from `__schema` or `__type` on, these included.
    pub introspection_depth: usize,
    /// Every `@`.
    pub directives: usize,
    /// Every `...`, of named and inline fragments alike.
    pub spreads: usize,
    /// Fragment definitions, used or not.
    pub fragments: usize,
    /// Fields that are given another name.
    pub aliases: usize,
    /// Fields at the root of one operation, fragments expanded.
    pub root_fields: usize,
    /// The same for mutations: their root fields run one after the other, and each writes.
    pub root_mutation_fields: usize,
    /// Fields, spreads and inline fragments of all operations, fragments expanded. Spreads count because a chain that doubles
    /// without selecting a field costs the library just as much.
    pub expanded_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 16 * 1024,
            tokens: 2_000,
            nesting: 48,
            depth: 12,
            // The TypeRef of introspection tools follows `ofType` nine times: 15 levels in all.
            introspection_depth: 20,
            directives: 32,
            spreads: 128,
            fragments: 32,
            aliases: 60,
            root_fields: 20,
            root_mutation_fields: 4,
            expanded_size: 5_000,
        }
    }
}

impl Limits {
    /// For admin keys: longer literals are expected of them, more structure is not.
    pub fn admin() -> Self {
        Self {
            bytes: 64 * 1024,
            ..Self::default()
        }
    }
}

/// What one look at a document found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// In the order of the text.
    pub operations: Vec<Operation>,
    /// As [`Limits::expanded_size`] counts.
    pub expanded_size: usize,
    /// `false` when the text stopped making sense: the library will refuse it with a syntax error, and `operations` are only
    /// those before that place.
    pub complete: bool,
}

/// `name` is `None` for an anonymous operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub kind: OperationKind,
    pub name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    Query,
    Mutation,
    Subscription,
}

impl Survey {
    pub fn has_mutation(&self) -> bool {
        self.operations
            .iter()
            .any(|operation| operation.kind == OperationKind::Mutation)
    }

    pub fn has_subscription(&self) -> bool {
        self.operations
            .iter()
            .any(|operation| operation.kind == OperationKind::Subscription)
    }
}

/// Why a document goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Exceeded {
        measure: Measure,
        limit: usize,
        found: usize,
    },
    /// At most 64 characters of the name of a fragment on the cycle.
    FragmentCycle {
        fragment: String,
    },
    /// The library falls back to reading `"""` without an end as an empty string and goes on behind it, where brackets could
    /// hide; and it searches the end anew each time, which is quadratic. To the specification it is an error anyway.
    UnclosedBlockString,
}

/// What was too large; one for each field of [`Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Bytes,
    Tokens,
    Nesting,
    Depth,
    IntrospectionDepth,
    Directives,
    Spreads,
    Fragments,
    Aliases,
    RootFields,
    RootMutationFields,
    ExpandedSize,
}

impl Measure {
    /// Code, what was counted, remedy.
    fn words(self) -> [&'static str; 3] {
        match self {
            Self::Bytes => ["QUERY_TOO_LARGE", "bytes", "pass long values as variables"],
            Self::Tokens => ["QUERY_TOO_MANY_TOKENS", "tokens", "split it or pass values as variables"],
            Self::Nesting => ["QUERY_TOO_NESTED", "levels of brackets", "nest less deeply"],
            Self::Depth => ["QUERY_TOO_DEEP", "levels of fields", "ask in two steps"],
            Self::IntrospectionDepth => ["QUERY_TOO_DEEP", "levels of introspection fields", "ask in two steps"],
            Self::Directives => ["TOO_MANY_DIRECTIVES", "directives", "leave fields out rather than skip them"],
            Self::Spreads => ["TOO_MANY_SPREADS", "fragment spreads", "select fields directly or split it"],
            Self::Fragments => [
                "TOO_MANY_FRAGMENTS",
                "fragment definitions",
                "leave out the unused or split it",
            ],
            Self::Aliases => ["TOO_MANY_ALIASES", "aliases", "ask for a list or split it"],
            Self::RootFields => ["TOO_MANY_ROOT_FIELDS", "root fields, fragments expanded", "split it"],
            Self::RootMutationFields => ["TOO_MANY_ROOT_MUTATION_FIELDS", "mutations, fragments expanded", "split it"],
            Self::ExpandedSize => [
                "FRAGMENTS_TOO_LARGE",
                "selections, fragments expanded",
                "spread less or split it",
            ],
        }
    }
}

impl Refusal {
    /// For `extensions.code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exceeded { measure, .. } => measure.words()[0],
            Self::FragmentCycle { .. } => "FRAGMENT_CYCLE",
            Self::UnclosedBlockString => "UNCLOSED_BLOCK_STRING",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exceeded { measure, limit, found } => {
                let [_, what, remedy] = measure.words();
                write!(f, "the document has {found} {what}, the limit is {limit}: {remedy}")
            }
            Self::FragmentCycle { fragment } => write!(f, "fragment {fragment} comes to spread itself: break the cycle"),
            Self::UnclosedBlockString => write!(f, "a block string is not closed: end it with three double quotes"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Measures `document` and refuses it at the first limit exceeded, the specific before the general: a thousand aliases are too
/// many tokens as well, but the caller must hear of the aliases.
pub fn check(document: &str, limits: &Limits) -> Result<Survey, Refusal> {
    within(Measure::Bytes, limits.bytes, document.len())?;
    let text = lex::lex(document)?;
    let outline = outline::read(&text.tokens);

    if text.nesting > limits.nesting {
        // Selections too deep are named as such, not as brackets, even if nothing but brackets had to be counted.
        let deepest = outline.operations.iter().map(|(_, body)| body.own.depth).max();
        within(Measure::Depth, limits.depth, deepest.unwrap_or(0))?;
    }
    let count = |sign| text.tokens.iter().filter(|token| **token == sign).count();
    within(Measure::Nesting, limits.nesting, text.nesting)?;
    within(Measure::Aliases, limits.aliases, outline.aliases)?;
    within(Measure::Directives, limits.directives, count(Token::Mark(b'@')))?;
    within(Measure::Spreads, limits.spreads, count(Token::Spread))?;
    within(Measure::Fragments, limits.fragments, outline.fragments.len())?;
    within(Measure::Tokens, limits.tokens, text.tokens.len())?;

    let fragments = outline::expand_fragments(&outline.fragments)?;
    // Each by itself, in use or not: the library has rules that look at fragments no operation spreads.
    let largest = fragments.values().map(|fragment| fragment.selections).max();
    within(Measure::ExpandedSize, limits.expanded_size, largest.unwrap_or(0))?;

    // All together, though only one operation will run: validation walks through each.
    let mut expanded_size: usize = 0;
    for (operation, body) in &outline.operations {
        let shape = body.expanded(&fragments);
        expanded_size = expanded_size.saturating_add(shape.selections);
        within(Measure::ExpandedSize, limits.expanded_size, expanded_size)?;
        if operation.kind == OperationKind::Mutation {
            within(Measure::RootMutationFields, limits.root_mutation_fields, shape.root_fields)?;
        }
        within(Measure::RootFields, limits.root_fields, shape.root_fields)?;
        within(Measure::Depth, limits.depth, shape.depth)?;
        let deepest = shape.introspection_depth;
        within(Measure::IntrospectionDepth, limits.introspection_depth, deepest)?;
    }
    let complete = text.sound && outline.complete;
    let operations = outline.operations.into_iter().map(|(operation, _)| operation).collect();
    Ok(Survey {
        operations,
        expanded_size,
        complete,
    })
}

fn within(measure: Measure, limit: usize, found: usize) -> Result<(), Refusal> {
    if found <= limit {
        Ok(())
    } else {
        Err(Refusal::Exceeded { measure, limit, found })
    }
}
