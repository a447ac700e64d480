//! The ranks of the modules: a module uses lower ranks only. The table *is* the diagram.

use std::path::{Path, PathBuf};

/// Each module and its rank. Modules of one rank do not use each other.
const RANKS: [(&str, u8); 15] = [
    ("base", 0),
    ("store", 1),
    ("due", 2),
    ("feed", 2),
    ("job", 2),
    // One above the log, since every deed of an operator writes to it.
    ("access", 3),
    ("ingest", 4),
    ("identity", 5),
    ("customer", 6),
    ("value", 7),
    ("pipeline", 10),
    ("graphql", 11),
    ("http", 12),
    ("worker", 12),
    ("cli", 13),
];

/// Crates that only some modules may name.
const CONFINED: [(&str, &[&str]); 4] = [
    ("async_graphql", &["graphql"]),
    ("axum", &["http", "cli"]),
    ("clap", &["cli", "main"]),
    ("redis", &["feed"]),
];

fn rank(module: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == module).map(|(_, rank)| *rank)
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The module a file of `src` belongs to: its first folder, or its own name.
fn module_of(file: &Path, root: &Path) -> String {
    let inner = file.strip_prefix(root).unwrap();
    let first = inner.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Modules named after `crate::` in a text, braces included: `crate::{base, store::Rows}`.
fn used_modules(text: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => group[..group.find('}').unwrap()].split(',').collect(),
            None => vec![rest],
        };
        let name = |text: &str| {
            text.trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect::<String>()
        };
        used.extend(names.into_iter().map(name).filter(|name| !name.is_empty()));
    }
    used
}

#[test]
fn a_module_uses_lower_ranks_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 40, "the sources are found");
    let mut faults = Vec::new();
    for file in files {
        let module = module_of(&file, &root);
        let text = std::fs::read_to_string(&file).unwrap();
        if let Some(own) = rank(&module) {
            for used in used_modules(&text) {
                match rank(&used) {
                    None => faults.push(format!("{}: uses crate::{used}, which has no rank", file.display())),
                    Some(other) if used != module && other >= own => {
                        faults.push(format!("{}: {module} ({own}) uses {used} ({other})", file.display()));
                    }
                    Some(_) => {}
                }
            }
        } else {
            assert!(matches!(module.as_str(), "lib" | "main"), "{} has no rank", file.display());
        }
        for (name, allowed) in CONFINED {
            let uses = text.contains(&format!("{name}::"));
            if uses && !allowed.contains(&module.as_str()) {
                faults.push(format!("{}: {name} belongs to {allowed:?}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_layer_test_sees_what_it_looks_for() {
    assert_eq!(
        used_modules("use crate::base::Kind; crate::{store::Rows, feed}; supercrate::x"),
        ["base", "store", "feed"]
    );
    let root = Path::new("/src");
    assert_eq!(module_of(Path::new("/src/customer/order.rs"), root), "customer");
    assert_eq!(module_of(Path::new("/src/lib.rs"), root), "lib");
}
