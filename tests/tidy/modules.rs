//! Modules of the crate.

use std::collections::BTreeMap;

use crate::code::Source;

/// A module, by the names that lead to it from the root of the crate.
pub(crate) type ModulePath = Vec<String>;

/// Returns the module of each of these files. Two files are one module if a feature selects one of
/// them.
pub(crate) fn module_paths(sources: &[Source]) -> Vec<ModulePath> {
    let renamed: BTreeMap<String, ModulePath> = sources.iter().flat_map(path_attributes).collect();
    let module = |source: &Source| match renamed.get(&source.path) {
        Some(module) => module.clone(),
        None => module_path(source),
    };
    sources.iter().map(module).collect()
}

fn module_path(source: &Source) -> ModulePath {
    match source.modules()[..] {
        ["lib"] => ModulePath::new(),
        ref names => names.iter().map(|&name| name.to_owned()).collect(),
    }
}

/// Returns the files that a source names by `#[path = "…"] mod …;`, with the modules that they are.
fn path_attributes(source: &Source) -> Vec<(String, ModulePath)> {
    let folder = source
        .path
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    let named = |(at, attribute): (usize, &str)| {
        let (file, rest) = source.text[at + attribute.len()..].split_once('"')?;
        let (_, item) = rest.split_once("mod ")?;
        let (name, _) = item.split_once(';')?;
        let module = [&module_path(source)[..], &[name.to_owned()]].concat();
        Some((format!("{folder}/{file}"), module))
    };
    let attributes = source.text.match_indices("#[path = \"");
    attributes.filter_map(named).collect()
}

/// Returns the modules that replace another one if a feature is off: `#[cfg(not(feature = "…"))] mod …;`.
/// They declare the names of the module that they replace.
pub(crate) fn replacements(sources: &[Source]) -> Vec<ModulePath> {
    let of_source = |source: &Source| {
        let attributes = source.text.split("#[cfg(not(feature = ").skip(1);
        let module = |rest: &str| {
            let (_, item) = rest.split_once("]\n")?;
            let item = item
                .trim_start()
                .trim_start_matches("pub")
                .trim_start_matches("(crate)");
            let (name, _) = item.trim_start().strip_prefix("mod ")?.split_once(';')?;
            Some([&module_path(source)[..], &[name.to_owned()]].concat())
        };
        attributes.filter_map(module).collect::<Vec<_>>()
    };
    sources.iter().flat_map(of_source).collect()
}
