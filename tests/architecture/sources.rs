//! The text of the sources without comments, strings and tests.

use std::path::Path;

/// A Rust file of the checkout.
pub(crate) struct Source {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// The code without comments, contents of strings and `#[cfg(test)]` items. Lines keep their numbers.
    pub(crate) code: String,
}

impl Source {
    /// Every Rust file below a folder, or the file itself.
    pub(crate) fn below(root: &Path, place: &str) -> Vec<Source> {
        fn walk(path: &Path, found: &mut Vec<std::path::PathBuf>) {
            if path.is_dir() {
                let entries = std::fs::read_dir(path).expect("a folder of the checkout");
                entries.for_each(|entry| walk(&entry.expect("an entry").path(), found));
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path.to_owned());
            }
        }
        let mut paths = Vec::new();
        walk(&root.join(place), &mut paths);
        assert!(!paths.is_empty(), "{place} has no source");
        paths.sort();
        let mut tests = Vec::new();
        let mut sources = Vec::new();
        for path in &paths {
            let code = plain(&std::fs::read_to_string(path).expect("a source file"));
            let inside = path.parent().expect("a folder").join(match path.file_stem().and_then(|stem| stem.to_str()) {
                Some("mod" | "lib" | "main") | None => "",
                Some(stem) => stem,
            });
            for name in test_modules(&code) {
                tests.extend([inside.join(format!("{name}.rs")), inside.join(&name)]);
            }
            let below = path.strip_prefix(root).expect("below the root");
            let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
            sources.push((path, Source { path: parts.join("/"), code: without_tests(&code) }));
        }
        // A module of tests with all that is below it.
        sources.retain(|(path, _)| !tests.iter().any(|test| path.starts_with(test)));
        sources.into_iter().map(|(_, source)| source).collect()
    }
}

/// The modules of this file that are files of tests.
fn test_modules(code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let mut names = Vec::new();
    for at in 0..tokens.len() {
        if tokens[at..].starts_with(&["cfg", "(", "test", ")", "]"].map(str::to_owned)) {
            let rest = tokens[at + 5..].iter().take(8).collect::<Vec<_>>();
            if let Some(place) = rest.windows(3).position(|w| w[0] == "mod" && w[2] == ";") {
                names.push(rest[place + 1].clone());
            }
        }
    }
    names
}

/// Replaces comments and the contents of strings and characters by blanks.
fn plain(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(&['/', '/']) {
            let end = rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
            at += end;
        } else if rest.starts_with(&['/', '*']) {
            let end = (2..rest.len()).find(|i| rest[*i - 1..].starts_with(&['*', '/'])).unwrap_or(rest.len() - 1);
            out.extend(rest[..=end].iter().map(|c| blank(*c)));
            at += end + 1;
        } else if rest[0] == 'r' && raw_string(rest).is_some() && !out.ends_with(|c: char| c.is_alphanumeric()) {
            let end = raw_string(rest).expect("just seen");
            out.extend(rest[..end].iter().map(|c| blank(*c)));
            at += end;
        } else if rest[0] == '"' {
            let mut end = 1;
            while end < rest.len() && rest[end] != '"' {
                end += if rest[end] == '\\' { 2 } else { 1 };
            }
            let end = (end + 1).min(rest.len());
            out.extend(rest[..end].iter().map(|c| blank(*c)));
            at += end;
        } else if rest[0] == '\'' && (rest.get(2) == Some(&'\'') || rest.get(1) == Some(&'\\')) {
            let end = (2..rest.len()).find(|i| rest[*i] == '\'' && rest[*i - 1] != '\\').unwrap_or(2) + 1;
            let end = if rest.starts_with(&['\'', '\\', '\\', '\'']) { 4 } else { end };
            out.extend(rest[..end].iter().map(|c| blank(*c)));
            at += end;
        } else {
            out.push(rest[0]);
            at += 1;
        }
    }
    out
}

/// The end of the raw string that begins here.
fn raw_string(text: &[char]) -> Option<usize> {
    let hashes = text[1..].iter().take_while(|c| **c == '#').count();
    if text.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    (2 + hashes..text.len()).find(|i| text[*i..].starts_with(&close)).map(|i| i + close.len())
}

/// Replaces every item after `#[cfg(test)]` or `#[cfg(all(test, …))]` by blanks.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = ["#[cfg(test)]", "#[cfg(all(test"].iter().filter_map(|mark| out.find(mark)).min() {
        let mut depth = 0usize;
        let mut end = out.len();
        for (i, c) in out[start..].char_indices().skip_while(|(_, c)| *c != ']') {
            match c {
                '{' => depth += 1,
                '}' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        end = start + i + 1;
                        break;
                    }
                }
                ';' if depth == 0 => {
                    end = start + i + 1;
                    break;
                }
                _ => {}
            }
        }
        let blank: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blank);
    }
    out
}

/// Splits code into names, `::` and single characters.
pub(crate) fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            continue;
        }
        let mut token = c.to_string();
        if c.is_alphanumeric() || c == '_' {
            while let Some(next) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                token.push(next);
            }
        } else if c == ':' && chars.next_if_eq(&':').is_some() {
            token.push(':');
        }
        tokens.push(token);
    }
    tokens
}
