//! Names of types and functions.

use std::collections::BTreeMap;

use crate::{
    code::{Source, is_name},
    modules::{ModulePath, module_paths, replacements},
};

const TYPES: [&str; 5] = ["struct", "enum", "union", "trait", "type"];

/// A declaration of a type or a function.
struct Declaration<'s> {
    offset: usize,
    keyword: &'s str,
    name: &'s str,
}

/// Lists the types whose name another module declares, too.
pub(crate) fn duplicates(sources: &[Source], allowed: &[&str]) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<(&ModulePath, String)>> = BTreeMap::new();
    let modules = module_paths(sources);
    let replacements = replacements(sources);
    for (source, module) in sources.iter().zip(&modules) {
        if source.is_test() || replacements.contains(module) {
            continue;
        }
        for Declaration { offset, name, .. } in types(source) {
            let place = source.at(offset, &format!("`{name}`"));
            places.entry(name).or_default().push((module, place));
        }
    }
    places.retain(|name, places| {
        !allowed.contains(name) && places.iter().any(|(module, _)| *module != places[0].0)
    });
    let describe = |(name, places): (&str, Vec<(&ModulePath, String)>)| {
        let places: Vec<String> = places.into_iter().map(|(_, place)| place).collect();
        format!(
            "{} types are called `{name}`:\n    {}",
            places.len(),
            places.join("\n    ")
        )
    };
    places.into_iter().map(describe).collect()
}

/// Lists the types and functions with a denied name: `words` are denied as a part of a name, and
/// `names` as the whole of it.
pub(crate) fn denied(source: &Source, words: &[&str], names: &[&str]) -> Vec<String> {
    if source.is_test() {
        return Vec::new();
    }
    let is_denied = |name: &str| {
        let parts = parts(name);
        names.contains(&parts.join("_").as_str())
            || parts.iter().any(|part| words.contains(&part.as_str()))
    };
    let file = source.modules().last().map(|name| (0, *name));
    let declared = types(source).into_iter().chain(functions(source));
    file.into_iter()
        .chain(declared.map(|it| (it.offset, it.name)))
        .filter(|(_, name)| is_denied(name))
        .map(|(offset, name)| source.at(offset, &format!("`{name}` is no plain name")))
        .collect()
}

/// Returns the words of a name, in lower case: `AgeError` and `age_error` are `age`, `error`.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && was_lower) {
            parts.push(String::new());
        }
        if c != '_' {
            parts
                .last_mut()
                .into_iter()
                .for_each(|part| part.extend(c.to_lowercase()));
        }
        was_lower = c.is_lowercase() || c.is_numeric();
    }
    parts
}

/// Returns the types of a file, without the associated types of traits.
fn types(source: &Source) -> Vec<Declaration<'_>> {
    let is_item = |it: &Declaration<'_>| it.keyword != "type" || depth(source, it.offset) == 0;
    let types = TYPES
        .iter()
        .flat_map(|keyword| declarations(source, keyword));
    types.filter(is_item).collect()
}

fn functions(source: &Source) -> Vec<Declaration<'_>> {
    declarations(source, "fn")
}

fn declarations<'s>(source: &'s Source, keyword: &'s str) -> Vec<Declaration<'s>> {
    let code = &source.code;
    let declaration = |(offset, _): (usize, &str)| {
        let rest = code[offset + keyword.len()..].strip_prefix(' ')?;
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let declares = length > 0 && !code[..offset].ends_with(is_name);
        declares.then(|| Declaration {
            offset,
            keyword,
            name: &rest[..length],
        })
    };
    code.match_indices(keyword)
        .filter_map(declaration)
        .collect()
}

/// Returns the number of braces that are open at an offset.
fn depth(source: &Source, offset: usize) -> usize {
    let before = &source.code[..offset];
    before.matches('{').count() - before.matches('}').count()
}
