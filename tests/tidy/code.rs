//! Source files, with their code and their prose apart.

use std::{fs, path::Path};

/// A source file.
#[derive(Clone)]
pub(crate) struct Source {
    /// The path from the package's root, with `/` between the parts.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
    /// The text with comments and literals blanked. Lines keep their numbers.
    pub(crate) code: String,
    /// The text with everything but comments and literals blanked.
    pub(crate) prose: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, prose) = if path.ends_with(".md") {
            (String::new(), text.to_owned())
        } else {
            split(text)
        };
        Self {
            path: path.into(),
            text: text.into(),
            code,
            prose,
        }
    }

    /// Returns the modules that lead to this file: `src/store/memory/mod.rs` is `store`, `memory`.
    pub(crate) fn modules(&self) -> Vec<&str> {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut modules: Vec<&str> = inside.split('/').collect();
        if modules.len() > 1 && modules.last() == Some(&"mod") {
            modules.pop();
        }
        modules
    }

    /// Returns the folder or single file of `src` that this file belongs to.
    pub(crate) fn folder(&self) -> &str {
        self.modules().first().copied().unwrap_or_default()
    }

    /// Returns `true` for unit tests.
    pub(crate) fn is_test(&self) -> bool {
        self.modules().contains(&"tests")
    }

    /// Formats a violation at an offset of the code.
    pub(crate) fn at(&self, offset: usize, problem: &str) -> String {
        let line = self.code[..offset].matches('\n').count() + 1;
        format!("{}:{line}: {problem}", self.path)
    }
}

/// Reads every Rust file in a folder of the package, in the order of their paths. Leaves build output
/// out. A folder that does not exist is empty.
pub(crate) fn read(root: &Path, folder: &str) -> Vec<Source> {
    read_files(root, folder, "rs")
}

/// Reads every file with this extension.
pub(crate) fn read_files(root: &Path, folder: &str, extension: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    walk(root, &root.join(folder), extension, &mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn walk(root: &Path, folder: &Path, extension: &str, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() && !path.ends_with("target") {
            walk(root, &path, extension, sources);
        } else if path.extension().is_some_and(|found| found == extension) {
            let text = fs::read_to_string(&path).expect("source is UTF-8");
            let name = path
                .strip_prefix(root)
                .expect("it is inside")
                .to_string_lossy();
            sources.push(Source::new(&name.replace('\\', "/"), &text));
        }
    }
}

/// Separates code from comments and literals. In each half, the other half is blank.
pub(crate) fn split(text: &str) -> (String, String) {
    let mut code = String::with_capacity(text.len());
    let mut prose = String::with_capacity(text.len());
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
            blank(&rest[..first.len_utf8()], &mut prose);
            rest = &rest[first.len_utf8()..];
        } else {
            let (words, after) = rest.split_at(length);
            prose.push_str(words);
            blank(words, &mut code);
            rest = after;
        }
    }
    (code, prose)
}

fn ends_in_name(code: &str) -> bool {
    code.ends_with(is_name)
}

/// Returns `true` if a character can be part of a name.
pub(crate) fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn blank(text: &str, half: &mut String) {
    half.extend(text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match (rest.starts_with(b"/*"), rest.starts_with(b"*/")) {
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

/// Returns the length of `r"…"` or `r#"…"#`. `None` if the `r` begins a name.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text[1..].bytes().take_while(|&byte| byte == b'#').count();
    let inside = text[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(2 + hashes + length)
}

/// Returns the length of a character literal, or `None` for a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut inside = text[1..].chars();
    let first = inside.next()?;
    if first == '\\' {
        let end = text[3..].find('\'')?;
        return Some(3 + end + 1);
    }
    (inside.next()? == '\'').then_some(1 + first.len_utf8() + 1)
}
