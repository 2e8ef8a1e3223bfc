//! The graph of imports between the workspace's files, computed from the sources.
//!
//! An arrow goes from the file that uses an item to the file that defines it. Re-exports are followed to their origin,
//! so that a folder's `mod.rs` that only re-exports is not part of a circle. Tests (`#[cfg(test)]`) do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::sources::{Source, tokens};

/// The segments of a path.
type Names = Vec<String>;

/// A module: its file, and the paths that its `use` items import, by their local names.
#[derive(Default)]
struct Module {
    file: String,
    names: BTreeMap<String, Names>,
    globs: Vec<Names>,
    /// Every path in the code, as written.
    mentioned: Vec<Names>,
    /// Re-exported names (`pub use`), which count as used only if the code itself mentions them.
    handed_on: BTreeMap<String, Names>,
    children: BTreeSet<String>,
}

/// The workspace's arrows, file to file.
pub(crate) fn arrows(root: &Path, crates: &[(&str, &str)]) -> BTreeMap<String, BTreeSet<String>> {
    let mut modules: BTreeMap<Names, Module> = BTreeMap::new();
    for (name, folder) in crates {
        for source in Source::below(root, folder) {
            let mut path = vec![(*name).to_owned()];
            let inside = source.path.strip_prefix(folder).expect("below the folder").trim_start_matches('/');
            let parts: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
            let named = |part: &&&str| !["lib", "main", "mod"].contains(part);
            path.extend(parts.iter().filter(named).map(|part| (*part).to_owned()));
            read(&tokens(&source.code), path, &source.path, &mut modules);
        }
    }
    let paths: Vec<Names> = modules.keys().cloned().collect();
    for path in paths.iter().filter(|path| path.len() > 1) {
        let (name, parent) = path.split_last().expect("two parts at least");
        if let Some(parent) = modules.get_mut(parent) {
            parent.children.insert(name.clone());
        }
    }
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, module) in &modules {
        let mentioned = module.mentioned.iter().chain(module.globs.iter());
        for target in mentioned.filter_map(|mention| define(&modules, path, mention, 0)) {
            if target != module.file {
                arrows.entry(module.file.clone()).or_default().insert(target);
            }
        }
    }
    arrows
}

/// The file that defines what `mention` names in the module at `here`.
fn define(modules: &BTreeMap<Names, Module>, here: &[String], mention: &[String], depth: usize) -> Option<String> {
    if depth > 16 {
        return None;
    }
    let module = modules.get(here)?;
    let (first, rest) = mention.split_first()?;
    let start: Names = match first.as_str() {
        "crate" => here[..1].to_vec(),
        "self" => here.to_vec(),
        "super" => here[..here.len().checked_sub(1).filter(|len| *len > 0)?].to_vec(),
        name if module.children.contains(name) => [here, &[name.to_owned()]].concat(),
        name if modules.contains_key(&vec![name.to_owned()]) => vec![name.to_owned()],
        name => {
            let brought = module.names.get(name)?;
            return define(modules, here, &[brought.as_slice(), rest].concat(), depth + 1);
        }
    };
    walk(modules, &start, rest, depth)
}

/// Follows `rest` from the module `at` down.
fn walk(modules: &BTreeMap<Names, Module>, at: &[String], rest: &[String], depth: usize) -> Option<String> {
    let module = modules.get(at)?;
    let Some((name, below)) = rest.split_first() else {
        // A module as a whole is not an item; the items used from it are mentioned elsewhere.
        return None;
    };
    if name == "super" {
        return walk(modules, &at[..at.len() - 1], below, depth);
    }
    if module.children.contains(name) {
        return walk(modules, &[at, std::slice::from_ref(name)].concat(), below, depth);
    }
    if let Some(brought) = module.names.get(name) {
        return define(modules, at, &[brought.as_slice(), below].concat(), depth + 1);
    }
    let through_glob = |glob: &Names| {
        let target = [glob.as_slice(), rest].concat();
        (glob.first().map(String::as_str) != Some("super")).then(|| define(modules, at, &target, depth + 1)).flatten()
    };
    module.globs.iter().find_map(through_glob).or_else(|| Some(module.file.clone()))
}

/// Reads one file's tokens: its `use` items, its inline modules and every path.
fn read(tokens: &[String], path: Names, file: &str, modules: &mut BTreeMap<Names, Module>) {
    let mut module = Module { file: file.to_owned(), ..Module::default() };
    let (mut at, mut named) = (0, BTreeSet::new());
    while at < tokens.len() {
        match tokens[at].as_str() {
            "use" => {
                let end = at + tokens[at..].iter().position(|token| token == ";").unwrap_or(tokens.len() - at - 1);
                let hands_on = at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")");
                uses(&tokens[at + 1..end], &[], hands_on, &mut module);
                at = end;
            }
            "mod" if tokens.get(at + 2).is_some_and(|token| token == "{") => {
                let end = closing(tokens, at + 2);
                let inner = [path.as_slice(), &[tokens[at + 1].clone()]].concat();
                read(&tokens[at + 3..end], inner, file, modules);
                at = end;
            }
            _ if tokens.get(at + 1).is_some_and(|token| token == "::") && is_name(&tokens[at]) => {
                let mut mention = vec![tokens[at].clone()];
                while tokens.get(at + 1).is_some_and(|t| t == "::") && tokens.get(at + 2).is_some_and(|t| is_name(t)) {
                    mention.push(tokens[at + 2].clone());
                    at += 2;
                }
                module.mentioned.push(mention);
            }
            name => named.extend(module.handed_on.get(name).cloned()),
        }
        at += 1;
    }
    module.mentioned.extend(named);
    modules.insert(path, module);
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The index of the brace that closes the one at `open`.
fn closing(tokens: &[String], open: usize) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        depth += match token.as_str() {
            "{" => 1,
            "}" => -1,
            _ => 0,
        };
        if depth == 0 {
            return i;
        }
    }
    tokens.len()
}

/// Adds the paths of one `use` tree.
fn uses(tree: &[String], before: &[String], hands_on: bool, module: &mut Module) {
    let mut path = before.to_vec();
    let mut at = 0;
    while at < tree.len() {
        match tree[at].as_str() {
            "::" => {}
            "{" => {
                let end = closing(tree, at);
                let (mut depth, mut start) = (0, at + 1);
                for i in at + 1..=end.min(tree.len() - 1) {
                    match tree[i].as_str() {
                        "{" => depth += 1,
                        "}" if i < end => depth -= 1,
                        "," if depth == 0 => {
                            uses(&tree[start..i], &path, hands_on, module);
                            start = i + 1;
                        }
                        _ => {}
                    }
                }
                uses(&tree[start..end], &path, hands_on, module);
                return;
            }
            "*" => {
                module.globs.push(path);
                return;
            }
            "as" => {
                let name = tree.get(at + 1).cloned().unwrap_or_default();
                return bring(name, path, hands_on, module);
            }
            name => path.push(name.to_owned()),
        }
        at += 1;
    }
    if path.len() > before.len() {
        let name = path.last().cloned().unwrap_or_default();
        bring(name, path, hands_on, module);
    }
}

fn bring(name: String, mut path: Names, hands_on: bool, module: &mut Module) {
    if path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let name = if name == "self" { path.last().cloned().unwrap_or_default() } else { name };
    if hands_on {
        module.handed_on.insert(name.clone(), path.clone());
    } else {
        module.mentioned.push(path.clone());
    }
    module.names.insert(name, path);
}
