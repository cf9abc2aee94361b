//! Import circles inside a folder.
//!
//! The entries of a folder are its files and its subfolders. An entry depends on another if a file in
//! the one names the other's module in a path. Items of the folder's own `mod.rs`, including its
//! re-exports, belong to the whole folder, so naming them creates no dependency.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    code::{Source, is_name},
    modules::{ModulePath, module_paths},
};

/// For each entry of a folder, the entries that it names, and the files that name them.
type Dependencies = BTreeMap<ModulePath, BTreeMap<ModulePath, BTreeSet<String>>>;

/// Lists the circles among these files, each with the files that close it.
pub(crate) fn circles(sources: &[Source]) -> Vec<String> {
    let dependencies = dependencies(sources);
    let entries: Vec<&ModulePath> = dependencies.keys().collect();
    let mut reported = BTreeSet::new();
    let mut circles = Vec::new();
    for entry in entries {
        let reached = reachable(&dependencies, entry);
        if !reached.contains(entry) || reported.contains(entry) {
            continue;
        }
        let is_member = |other: &ModulePath| reachable(&dependencies, other).contains(entry);
        let members: BTreeSet<ModulePath> = reached.into_iter().filter(is_member).collect();
        circles.push(describe(&dependencies, &members));
        reported.extend(members);
    }
    circles
}

fn dependencies(sources: &[Source]) -> Dependencies {
    let own_modules = module_paths(sources);
    let prefixes = |module: &ModulePath| {
        (1..=module.len())
            .map(|len| module[..len].to_vec())
            .collect::<Vec<_>>()
    };
    let modules: BTreeSet<ModulePath> = own_modules.iter().flat_map(prefixes).collect();
    let mut dependencies = Dependencies::new();
    for (source, own) in sources.iter().zip(&own_modules) {
        if source.is_test() {
            continue;
        }
        for path in paths(&source.code) {
            let named = resolve(own, &path, &modules);
            let shared = own.iter().zip(&named).take_while(|(a, b)| a == b).count();
            if shared < own.len() && shared < named.len() {
                dependencies
                    .entry(own[..=shared].to_vec())
                    .or_default()
                    .entry(named[..=shared].to_vec())
                    .or_default()
                    .insert(format!("{} names {}", source.path, path.join("::")));
            }
        }
    }
    dependencies
}

fn reachable(dependencies: &Dependencies, start: &ModulePath) -> BTreeSet<ModulePath> {
    let mut reached = BTreeSet::new();
    let mut next = vec![start];
    while let Some(entry) = next.pop() {
        for other in dependencies.get(entry).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(other.clone()) {
                next.push(other);
            }
        }
    }
    reached
}

fn describe(dependencies: &Dependencies, members: &BTreeSet<ModulePath>) -> String {
    let names: Vec<String> = members.iter().map(|entry| entry.join("/")).collect();
    let mut lines = vec![format!("an import circle of {}:", names.join(", "))];
    for entry in members {
        let inside = dependencies[entry]
            .iter()
            .filter(|(other, _)| members.contains(*other));
        lines.extend(
            inside
                .flat_map(|(_, files)| files)
                .map(|file| format!("    {file}")),
        );
    }
    lines.join("\n")
}

/// Returns the module that a path leads to: the last of its names that is a module.
fn resolve(own: &ModulePath, path: &[String], modules: &BTreeSet<ModulePath>) -> ModulePath {
    let mut module = own.clone();
    for name in path {
        match name.as_str() {
            "crate" => module.clear(),
            "self" => {}
            "super" => drop(module.pop()),
            name => {
                module.push(name.to_owned());
                if !modules.contains(&module) {
                    module.pop();
                    break;
                }
            }
        }
    }
    module
}

/// Returns every path in the code that begins with `crate`, `self` or `super`; groups are spread out.
fn paths(code: &str) -> Vec<Vec<String>> {
    let tokens = tokens(code);
    let begins = |&at: &usize| {
        matches!(tokens[at], "crate" | "self" | "super") && (at == 0 || tokens[at - 1] != "::")
    };
    let mut paths = Vec::new();
    for start in (0..tokens.len()).filter(begins) {
        spread(
            &mut tokens[start..].iter().copied().peekable(),
            &[],
            &mut paths,
        );
    }
    paths
}

/// Reads one path, or each path of a group.
fn spread<'t>(
    tokens: &mut std::iter::Peekable<impl Iterator<Item = &'t str>>,
    prefix: &[String],
    paths: &mut Vec<Vec<String>>,
) {
    let mut path = prefix.to_vec();
    let mut goes_on = true;
    while goes_on && let Some(name) = tokens.next_if(|token| token.starts_with(is_name)) {
        path.push(name.to_owned());
        goes_on = tokens.next_if_eq(&"::").is_some();
    }
    if !goes_on || tokens.next_if_eq(&"{").is_none() {
        paths.push(path);
        return;
    }
    while tokens.peek().is_some_and(|token| *token != "}") {
        spread(&mut *tokens, &path, paths);
        // A glob, or the new name after `as`.
        while tokens
            .next_if(|token| !matches!(*token, "," | "}"))
            .is_some()
        {}
        tokens.next_if_eq(&",");
    }
    tokens.next();
}

/// Splits code into names, `::`, and single characters.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            _ if rest.starts_with("::") => 2,
            c => c.len_utf8(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}
