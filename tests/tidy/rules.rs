//! Rules about one file. Each returns the violations in the file.

use crate::code::{Source, is_name};

/// Lists the imports that are not from a layer below the folder's own.
pub(crate) fn imports(source: &Source, layers: &[&[&str]]) -> Vec<String> {
    let own = source.folder();
    let layer = |folder: &str| layers.iter().position(|names| names.contains(&folder));
    let Some(own_layer) = layer(own) else {
        return vec![source.at(0, &format!("`{own}` belongs to no layer"))];
    };
    if own_layer + 1 == layers.len() {
        return Vec::new();
    }
    let violation = |(offset, folder): (usize, String)| {
        let problem = match layer(&folder) {
            _ if folder == own => return None,
            None => format!("`{folder}` belongs to no layer; import from the folder that has it"),
            Some(other) if other >= own_layer => format!("`{own}` must not import `{folder}`"),
            Some(_) => return None,
        };
        Some(source.at(offset, &problem))
    };
    root_names(source)
        .into_iter()
        .filter_map(violation)
        .collect()
}

/// Returns the names that a source takes from the root of the crate, by `crate::` or by enough `super::`.
fn root_names(source: &Source) -> Vec<(usize, String)> {
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

/// Returns the next names of a path: one, or all of a `{…}` group.
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

/// Returns the offsets where `path` begins a path, not where it continues one.
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

/// Returns the crates under `[dependencies]` of a manifest, as the code names them.
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

/// Lists the outside crates that a source names although another folder owns them.
pub(crate) fn crates(
    source: &Source,
    dependencies: &[String],
    common: &[&str],
    owners: &[(&str, &[&str])],
) -> Vec<String> {
    let own = source.folder();
    if is_in(source, &["tests"]) {
        return Vec::new();
    }
    let mut violations = Vec::new();
    for name in dependencies
        .iter()
        .filter(|name| !common.contains(&name.as_str()))
    {
        let folders = owners
            .iter()
            .find(|(owned, _)| owned == name)
            .map_or(&[][..], |(_, folders)| folders);
        if !folders.contains(&own) {
            let problem = format!("`{name}` belongs to {folders:?}, not to `{own}`");
            let offsets = paths(&source.code, &format!("{name}::")).into_iter();
            violations.extend(offsets.map(|at| source.at(at, &problem)));
        }
    }
    violations
}

/// Reports a file of more than `max` lines.
pub(crate) fn file_length(source: &Source, max: usize) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > max).then(|| source.at(0, &format!("{lines} lines; limit is {max}")))
}

/// Lists the functions of more than `max` lines, from the `fn` to the last brace.
pub(crate) fn function_length(source: &Source, max: usize) -> Vec<String> {
    let mut violations = Vec::new();
    for start in paths(&source.code, "fn ") {
        let function = &source.code[start..];
        let lines = function[..=body_end(function)].lines().count();
        if lines > max {
            let problem = format!("a function of {lines} lines; limit is {max}");
            violations.push(source.at(start, &problem));
        }
    }
    violations
}

/// Returns the end of a function: the brace that closes its body, or the semicolon if it has none.
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

/// Lists the uses of `cfg(feature)` that are not directly above a `mod` or a `use`.
pub(crate) fn features(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.code.lines().map(str::trim).collect();
    let violates = |&(number, line): &(usize, &&str)| {
        line.contains("cfg") && line.contains("feature =") && !chooses(line, &lines[number + 1..])
    };
    let describe = |(number, _)| {
        format!(
            "{}:{}: a feature inside a module; put it on a `mod` or `use`",
            source.path,
            number + 1
        )
    };
    lines
        .iter()
        .enumerate()
        .filter(violates)
        .map(describe)
        .collect()
}

/// Returns `true` if an attribute line selects a module or an import, or only labels documentation.
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

/// Returns an item without its `pub` or `pub(…)`.
fn visible(item: &str) -> &str {
    let Some(after) = item.strip_prefix("pub") else {
        return item;
    };
    let scoped = after
        .strip_prefix('(')
        .and_then(|scope| scope.split_once(')'));
    scoped.map_or(after, |(_, after)| after).trim_start()
}

/// Lists the code that panics, outside the modules of `allowed`.
pub(crate) fn panics(source: &Source, allowed: &[&str]) -> Vec<String> {
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
    if is_in(source, allowed) {
        return Vec::new();
    }
    let found = words
        .iter()
        .flat_map(|word| source.code.match_indices(word));
    found
        .map(|(at, word)| source.at(at, &format!("`{word}` in the library")))
        .collect()
}

/// Lists the code that reads variables of the environment, outside the modules of `allowed`.
pub(crate) fn environment(source: &Source, allowed: &[&str]) -> Vec<String> {
    if is_in(source, allowed) {
        return Vec::new();
    }
    let found = source.code.match_indices("env::var");
    found
        .map(|(at, word)| source.at(at, &format!("`{word}` outside the configuration")))
        .collect()
}

/// Returns `true` if a source is one of these modules, or inside one.
fn is_in(source: &Source, modules: &[&str]) -> bool {
    source
        .modules()
        .iter()
        .any(|module| modules.contains(module))
}

/// Lists the unit tests that are a block in a module, not a file of their own.
pub(crate) fn inline_tests(source: &Source) -> Vec<String> {
    let attributes = source.code.match_indices("#[cfg(test)]");
    let inline = |(at, attribute): (usize, &str)| {
        let item = visible(source.code[at + attribute.len()..].trim_start());
        let end = item.find(['{', ';'])?;
        let is_file = item.starts_with("mod ") && item[end..].starts_with(';');
        (!is_file).then(|| {
            source.at(
                at,
                "unit tests inside a module; put them in a file of their own",
            )
        })
    };
    attributes.filter_map(inline).collect()
}

/// Returns the folders and top-level modules that a text does not name.
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
