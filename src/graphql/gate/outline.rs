//! From tokens to definitions: how many fields at which level, which fragments are spread where, and what comes of it.
//!
//! Promises: reads whatever the library's grammar accepts, in the library's sense; neither reading nor expanding recurses.
//! Leaves to others: what is too much (`check`), and saying where a syntax error is (the library).

use std::collections::{HashMap, HashSet};

use super::lex::Token;
use super::{Operation, OperationKind, Refusal};

#[derive(Default)]
pub(super) struct Outline<'a> {
    pub(super) operations: Vec<(Operation, Body<'a>)>,
    pub(super) fragments: Vec<(&'a str, Body<'a>)>,
    pub(super) aliases: usize,
    /// `false`: there was a token that fits nowhere, and what stands behind it is not in here.
    pub(super) complete: bool,
}

/// What an operation or a fragment selects by itself, and the fragments it spreads.
#[derive(Default)]
pub(super) struct Body<'a> {
    pub(super) own: Shape,
    spreads: Vec<(&'a str, Place)>,
}

/// The measures of a selection, down to its leaves.
#[derive(Clone, Copy, Default)]
pub(super) struct Shape {
    pub(super) selections: usize,
    pub(super) root_fields: usize,
    pub(super) depth: usize,
    pub(super) introspection_depth: usize,
    /// Both together: what counts when all this stands below `__schema`.
    total_depth: usize,
}

impl Shape {
    const SPREAD: Self = Self {
        selections: 1,
        root_fields: 0,
        depth: 0,
        introspection_depth: 0,
        total_depth: 0,
    };
    const FIELD: Self = Self {
        root_fields: 1,
        depth: 1,
        total_depth: 1,
        ..Self::SPREAD
    };
    const INTROSPECTION: Self = Self {
        depth: 0,
        introspection_depth: 1,
        ..Self::FIELD
    };

    /// Adds what is selected at `place`.
    fn add(&mut self, other: Self, place: Place) {
        self.selections = self.selections.saturating_add(other.selections);
        if place.level == 0 {
            self.root_fields = self.root_fields.saturating_add(other.root_fields);
        }
        self.total_depth = self.total_depth.max(place.level + other.total_depth);
        if place.introspection_level > 0 {
            self.introspection_depth = self.introspection_depth.max(place.introspection_level + other.total_depth);
        } else {
            self.depth = self.depth.max(place.level + other.depth);
            self.introspection_depth = self.introspection_depth.max(other.introspection_depth);
        }
    }
}

/// How many fields a selection set is below.
#[derive(Clone, Copy, Default)]
struct Place {
    level: usize,
    /// Counted from `__schema` or `__type`, 0 outside.
    introspection_level: usize,
}

impl Place {
    fn below(self, introspects: bool) -> Self {
        let introspects = introspects || self.introspection_level > 0;
        Self {
            level: self.level + 1,
            introspection_level: self.introspection_level + usize::from(introspects),
        }
    }
}

impl<'a> Body<'a> {
    /// A fragment defined nowhere adds nothing; the library will name it.
    pub(super) fn expanded(&self, fragments: &HashMap<&'a str, Shape>) -> Shape {
        let mut shape = self.own;
        for (name, place) in &self.spreads {
            shape.add(fragments.get(name).copied().unwrap_or_default(), *place);
        }
        shape
    }
}

/// The shape of every fragment, each found once, after those of the fragments it spreads.
pub(super) fn expand_fragments<'a>(fragments: &[(&'a str, Body<'a>)]) -> Result<HashMap<&'a str, Shape>, Refusal> {
    // Of two by one name either will do: the library refuses such a document before it walks through it.
    let bodies: HashMap<&str, &Body<'_>> = fragments.iter().map(|(name, body)| (*name, body)).collect();
    let all: Vec<(&str, Place)> = fragments.iter().map(|(name, _)| (*name, Place::default())).collect();
    let mut shapes = HashMap::new();
    // The way down, in place of recursion; it starts at a nameless fragment that spreads all others.
    let mut path = vec![("", all.iter())];
    let mut on_path = HashSet::new();
    while let Some((name, spreads)) = path.last_mut() {
        if let Some((wanted, _)) = spreads.next() {
            if on_path.contains(wanted) {
                return Err(Refusal::FragmentCycle {
                    fragment: wanted.chars().take(64).collect(),
                });
            }
            if let Some(body) = bodies.get(wanted)
                && !shapes.contains_key(wanted)
            {
                on_path.insert(*wanted);
                path.push((wanted, body.spreads.iter()));
            }
        } else {
            if let Some(body) = bodies.get(name) {
                shapes.insert(*name, body.expanded(&shapes));
            }
            on_path.remove(name);
            path.pop();
        }
    }
    Ok(shapes)
}

/// Reads up to the first token that fits nowhere. It accepts more than the grammar does, never less: what it cannot read, the
/// library cannot read either.
pub(super) fn read<'a>(tokens: &[Token<'a>]) -> Outline<'a> {
    let mut outline = Outline {
        complete: true,
        ..Outline::default()
    };
    let mut reader = Reader {
        tokens,
        at: 0,
        aliases: 0,
    };
    while outline.complete && reader.at < tokens.len() {
        outline.complete = reader.definition(&mut outline).is_some();
    }
    outline.aliases = reader.aliases;
    outline
}

/// Its methods answer `None` when the text stops making sense.
struct Reader<'t, 'a> {
    tokens: &'t [Token<'a>],
    at: usize,
    aliases: usize,
}

/// The library asks for no space behind these: `mutationAll` is a mutation called `All`.
const KEYWORDS: [(&str, Option<OperationKind>); 4] = [
    ("query", Some(OperationKind::Query)),
    ("mutation", Some(OperationKind::Mutation)),
    ("subscription", Some(OperationKind::Subscription)),
    ("fragment", None),
];

impl<'a> Reader<'_, 'a> {
    fn definition(&mut self, outline: &mut Outline<'a>) -> Option<()> {
        let word = self.name().unwrap_or("query"); // a bare selection set is one
        let (kind, glued) = KEYWORDS
            .iter()
            .find_map(|(keyword, kind)| Some((*kind, word.strip_prefix(keyword)?)))?;
        let name = if glued.is_empty() { self.name() } else { Some(glued) };
        if kind.is_none() {
            self.type_condition().then_some(())?;
        }
        self.skip_arguments()?;
        self.skip_directives()?;
        let body = self.body()?;
        if let Some(kind) = kind {
            let name = name.map(str::to_owned);
            outline.operations.push((Operation { kind, name }, body));
        } else {
            outline.fragments.push((name?, body));
        }
        Some(())
    }

    /// A selection set with all below it.
    fn body(&mut self) -> Option<Body<'a>> {
        let mut body = Body::default();
        let mut open_sets = vec![Place::default()];
        self.mark(b'{').then_some(())?;
        while let Some(&place) = open_sets.last() {
            match self.next()? {
                Token::Name { text, .. } => {
                    let aliased = self.mark(b':');
                    self.aliases += usize::from(aliased);
                    let field = if aliased { self.name()? } else { text };
                    self.skip_arguments()?;
                    self.skip_directives()?;
                    let introspects = matches!(field, "__schema" | "__type");
                    let shape = if introspects { Shape::INTROSPECTION } else { Shape::FIELD };
                    body.own.add(shape, place);
                    if self.mark(b'{') {
                        open_sets.push(place.below(introspects));
                    }
                }
                Token::Spread => {
                    body.own.add(Shape::SPREAD, place);
                    let fragment = if self.type_condition() { None } else { self.name() };
                    self.skip_directives()?;
                    if let Some(fragment) = fragment {
                        body.spreads.push((fragment, place));
                    } else {
                        self.mark(b'{').then_some(())?;
                        open_sets.push(place);
                    }
                }
                Token::Mark(b'}') => {
                    open_sets.pop();
                }
                _ => return None,
            }
        }
        Some(body)
    }

    /// Steps over `on Type`. With a comment in between, `on` is to the library the name of a fragment.
    fn type_condition(&mut self) -> bool {
        let Some(Token::Name { text: "on", .. }) = self.tokens.get(self.at) else {
            return false;
        };
        let Some(Token::Name { after_comment, .. }) = self.tokens.get(self.at + 1) else {
            return false;
        };
        self.at += if *after_comment { 0 } else { 2 };
        !after_comment
    }

    fn skip_directives(&mut self) -> Option<()> {
        while self.mark(b'@') {
            self.name()?;
            self.skip_arguments()?;
        }
        Some(())
    }

    /// Of arguments or variables, if there are any. Colons and braces in there are no aliases and no selections.
    fn skip_arguments(&mut self) -> Option<()> {
        let mut open = usize::from(self.mark(b'('));
        while open > 0 {
            match self.next()? {
                Token::Mark(b'(' | b'[' | b'{') => open += 1,
                Token::Mark(b')' | b']' | b'}') => open -= 1,
                _ => {}
            }
        }
        Some(())
    }

    /// Steps over `mark` if it is next.
    fn mark(&mut self, mark: u8) -> bool {
        let found = self.tokens.get(self.at) == Some(&Token::Mark(mark));
        self.at += usize::from(found);
        found
    }

    /// Steps over a name if one is next.
    fn name(&mut self) -> Option<&'a str> {
        let Some(Token::Name { text, .. }) = self.tokens.get(self.at) else {
            return None;
        };
        self.at += 1;
        Some(text)
    }

    fn next(&mut self) -> Option<Token<'a>> {
        self.at += 1;
        self.tokens.get(self.at - 1).copied()
    }
}
