//! The rules. Each reads one source and tells what is broken in it.

use crate::code::{Source, is_name};

/// Imports go downward only.
pub(crate) fn imports(source: &Source, floors: &[&[&str]]) -> Vec<String> {
    let own = source.folder();
    let floor = |folder: &str| floors.iter().position(|names| names.contains(&folder));
    let Some(here) = floor(own) else {
        return vec![source.at(0, &format!("`{own}` stands on no floor"))];
    };
    let wrong = |(offset, folder): (usize, String)| {
        let why = match floor(&folder) {
            _ if folder == own => return None,
            None => format!("`{folder}` is on no floor; import from a folder, not from the roof"),
            Some(there) if there >= here => format!("`{own}` must not know `{folder}`"),
            Some(_) => return None,
        };
        Some(source.at(offset, &why))
    };
    let roof = here + 1 == floors.len();
    let named = from_root(source).into_iter();
    if roof {
        Vec::new()
    } else {
        named.filter_map(wrong).collect()
    }
}

/// What a source names at the root of the crate, by `crate::` or by enough `super::`.
fn from_root(source: &Source) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for offset in paths(&source.code, "crate::") {
        let path = &source.code[offset + "crate::".len()..];
        named.extend(first_names(path).into_iter().map(|name| (offset, name)));
    }
    let depth = source.modules().len();
    let to_root = "super::".repeat(depth);
    for offset in paths(&source.code, &to_root) {
        let path = &source.code[offset + to_root.len()..];
        named.extend(first_names(path).into_iter().map(|name| (offset, name)));
    }
    named
}

/// The names that a path goes on with: one, or all of a `{…}` group.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| {
        text.trim_start()
            .chars()
            .take_while(|&c| is_name(c))
            .collect()
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
        if c == '}' && depth == 0 && start == at + 1 {
            break;
        }
    }
    names.retain(|name: &String| !name.is_empty());
    names
}

/// Where `path` begins in the code, as a path of its own and not as the end of another.
fn paths(code: &str, path: &str) -> Vec<usize> {
    let starts = |&(at, _): &(usize, &str)| {
        let before = &code[..at];
        !before.ends_with(is_name) && !before.ends_with("::")
    };
    code.match_indices(path)
        .filter(starts)
        .map(|(at, _)| at)
        .collect()
}

/// The crates under `[dependencies]` of a manifest, as the code names them.
pub(crate) fn dependencies(manifest: &str) -> Vec<String> {
    let section = manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1);
    section
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect()
}

/// Outside crates are named in their own folders only.
pub(crate) fn crates(
    source: &Source,
    named: &[String],
    basics: &[&str],
    homes: &[(&str, &[&str])],
) -> Vec<String> {
    let own = source.folder();
    if is_in(source, &["tests"]) {
        return Vec::new();
    }
    let mut broken = Vec::new();
    for name in named.iter().filter(|name| !basics.contains(&name.as_str())) {
        let home = homes
            .iter()
            .find(|(known, _)| known == name)
            .map_or(&[][..], |(_, home)| home);
        if !home.contains(&own) {
            let what = format!("`{name}` belongs to {home:?}, not to `{own}`");
            let found = paths(&source.code, &format!("{name}::"));
            broken.extend(found.into_iter().map(|at| source.at(at, &what)));
        }
    }
    broken
}

/// A file is at most `most` lines long.
pub(crate) fn file_length(source: &Source, most: usize) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > most).then(|| source.at(0, &format!("{lines} lines, at most {most}")))
}

/// A function is at most `most` lines long, from its `fn` to its last brace.
pub(crate) fn function_length(source: &Source, most: usize) -> Vec<String> {
    let mut broken = Vec::new();
    for start in paths(&source.code, "fn ") {
        let function = &source.code[start..];
        let lines = function[..=body_end(function)].lines().count();
        if lines > most {
            broken.push(source.at(
                start,
                &format!("a function of {lines} lines, at most {most}"),
            ));
        }
    }
    broken
}

/// Where a function ends: at the brace that closes its body, or at the semicolon instead of one.
fn body_end(function: &str) -> usize {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (at, c) in function.char_indices() {
        match c {
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            _ => {}
        }
        if braces == 0 && others == 0 && matches!(c, '}' | ';') {
            return at;
        }
    }
    function.len() - 1
}

/// `cfg(feature)` stands only right above a `mod` or a `use`.
pub(crate) fn features(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.code.lines().map(str::trim).collect();
    let wrong = |&(number, line): &(usize, &&str)| {
        line.contains("cfg") && line.contains("feature =") && !chooses(line, &lines[number + 1..])
    };
    let tell = |(number, _)| {
        format!(
            "{}:{}: a feature inside of a module",
            source.path,
            number + 1
        )
    };
    lines.iter().enumerate().filter(wrong).map(tell).collect()
}

/// Whether an attribute line chooses a module or an import, or only tells the documentation.
fn chooses(line: &str, below: &[&str]) -> bool {
    if line.starts_with("#[cfg_attr(docsrs,") || line.starts_with("#![cfg_attr(docsrs,") {
        return true;
    }
    let item = below
        .iter()
        .find(|line| !line.is_empty() && !line.starts_with("#["));
    let item = item.map_or("", |item| visible(item));
    line.starts_with("#[cfg(") && (item.starts_with("mod ") || item.starts_with("use "))
}

/// An item without its `pub` or `pub(…)`.
fn visible(item: &str) -> &str {
    let Some(after) = item.strip_prefix("pub") else {
        return item;
    };
    let scoped = after
        .strip_prefix('(')
        .and_then(|scope| scope.split_once(')'));
    scoped.map_or(after, |(_, after)| after).trim_start()
}

/// Nothing in the library panics by its own words.
pub(crate) fn panics(source: &Source, may: &[&str]) -> Vec<String> {
    let words = [
        ".unwrap()",
        ".unwrap_err()",
        ".expect(",
        ".expect_err(",
        "panic!",
        "todo!",
        "unimplemented!",
        "unreachable!",
    ];
    if is_in(source, may) {
        return Vec::new();
    }
    let found = words
        .iter()
        .flat_map(|word| source.code.match_indices(word));
    found
        .map(|(at, word)| source.at(at, &format!("`{word}` in the library")))
        .collect()
}

/// Whether a source is one of these modules, or inside of one.
fn is_in(source: &Source, modules: &[&str]) -> bool {
    source
        .modules()
        .iter()
        .any(|module| modules.contains(module))
}

/// Unit tests are a file beside the module, not a block in it.
pub(crate) fn inline_tests(source: &Source) -> Vec<String> {
    let attributes = source.code.match_indices("#[cfg(test)]");
    let inline = |(at, attribute): (usize, &str)| {
        let item = visible(source.code[at + attribute.len()..].trim_start());
        let end = item.find(['{', ';'])?;
        let beside = item.starts_with("mod ") && item[end..].starts_with(';');
        (!beside).then(|| source.at(at, "tests belong in a file of their own"))
    };
    attributes.filter_map(inline).collect()
}

/// The folders and top-level modules that a text does not name, as `name/` or `name`.
pub(crate) fn unnamed(sources: &[Source], text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split(|c: char| !is_name(c)).collect();
    let mut missing: Vec<String> = sources
        .iter()
        .map(|source| source.folder().to_owned())
        .filter(|folder| !words.contains(&folder.as_str()))
        .collect();
    missing.dedup();
    missing
}
