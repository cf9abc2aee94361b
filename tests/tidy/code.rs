//! Source files, and their text without comments and without what is inside of literals.

use std::{fs, path::Path};

/// A source file.
pub(crate) struct Source {
    /// Its path from the package's root, with `/` between the parts.
    pub(crate) path: String,
    /// Its text as it stands.
    pub(crate) text: String,
    /// The same with comments and the insides of literals blanked; lines keep their numbers.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
            code: strip(text),
        }
    }

    /// The modules that lead to this file: `src/store/memory/mod.rs` is `store`, `memory`.
    pub(crate) fn modules(&self) -> Vec<&str> {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut modules: Vec<&str> = inside.split('/').collect();
        if modules.len() > 1 && modules.last() == Some(&"mod") {
            modules.pop();
        }
        modules
    }

    /// The folder (or single file) of `src` that it belongs to.
    pub(crate) fn folder(&self) -> &str {
        self.modules().first().copied().unwrap_or_default()
    }

    /// How a broken rule is told: where, and what.
    pub(crate) fn at(&self, offset: usize, what: &str) -> String {
        let line = self.code[..offset].matches('\n').count() + 1;
        format!("{}:{line}: {what}", self.path)
    }
}

/// Every Rust file in a folder of the package, in the order of their paths. Build output is left
/// out; a folder that is not there is empty.
pub(crate) fn read(root: &Path, folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    walk(root, &root.join(folder), &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() && !path.ends_with("target") {
            walk(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("source is UTF-8");
            let name = path
                .strip_prefix(root)
                .expect("it is inside")
                .to_string_lossy();
            found.push(Source::new(&name.replace('\\', "/"), &text));
        }
    }
}

/// Blanks comments and the insides of literals.
pub(crate) fn strip(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' if !ends_in_name(&code) => raw_string(rest).unwrap_or(0),
            'b' if !ends_in_name(&code) && rest.starts_with("br") => {
                raw_string(&rest[1..]).map_or(0, |length| length + 1)
            }
            '\'' => character(rest).unwrap_or(0),
            _ => 0,
        };
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (gone, after) = rest.split_at(length);
            blank(gone, &mut code);
            rest = after;
        }
    }
    code
}

fn ends_in_name(code: &str) -> bool {
    code.ends_with(is_name)
}

/// Whether a character can be part of a name.
pub(crate) fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn blank(gone: &str, code: &mut String) {
    code.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        match (here.starts_with(b"/*"), here.starts_with(b"*/")) {
            (true, _) => (depth, at) = (depth + 1, at + 2),
            (_, true) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The length of `r"…"` or `r#"…"#`; `None` where an `r` is only a letter.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text[1..].bytes().take_while(|&byte| byte == b'#').count();
    let inside = text[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(2 + hashes + length)
}

/// The length of a character literal; `None` for a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut inside = text[1..].chars();
    let first = inside.next()?;
    if first == '\\' {
        let end = text[3..].find('\'')?;
        return Some(3 + end + 1);
    }
    (inside.next()? == '\'').then_some(1 + first.len_utf8() + 1)
}
