//! Rules about `SECURITY.md`: the tests that it names, and the modules with unsafe code.

use std::collections::BTreeSet;

use crate::code::{Source, is_name};

/// A row of a table: its line, and its cells.
struct Row<'t> {
    line: usize,
    cells: Vec<&'t str>,
}

/// Lists the rows whose tests are not named or do not exist. A table counts if its last column is `tests`.
pub(crate) fn missing_tests(document: &str, sources: &[Source]) -> Vec<String> {
    let tests = test_names(sources);
    let rows = rows_with_tests(document);
    let mut violations = Vec::new();
    if rows.is_empty() {
        violations.push("SECURITY.md: no table of tests".to_owned());
    }
    for row in rows {
        let names = quoted(row.cells.last().copied().unwrap_or_default());
        if names.is_empty() {
            violations.push(format!("SECURITY.md:{}: no test; name one", row.line));
        }
        let missing = names.iter().filter(|name| !tests.contains(**name));
        violations.extend(missing.map(|name| {
            let line = row.line;
            format!("SECURITY.md:{line}: no test is named `{name}`; update the table")
        }));
    }
    violations
}

/// Lists the modules with unsafe code that a table of `SECURITY.md` does not name, and the named ones
/// that have none. A module with unsafe code allows it by an attribute with a reason.
pub(crate) fn unsafe_modules(document: &str, sources: &[Source]) -> Vec<String> {
    let has_unsafe = |source: &&Source| has_word(&source.code, "unsafe");
    let found: BTreeSet<&str> = sources
        .iter()
        .filter(has_unsafe)
        .map(|source| &*source.path)
        .collect();
    let rows = rows_with_tests(document).into_iter();
    let first = rows.flat_map(|row| quoted(row.cells.first().copied().unwrap_or_default()));
    let named: BTreeSet<&str> = first.filter(|name| name.ends_with(".rs")).collect();
    let unnamed = found.difference(&named);
    let unnamed = unnamed.map(|path| format!("{path}: unsafe code; list it in SECURITY.md"));
    let unused = named.difference(&found);
    let unused = unused.map(|path| format!("{path}: no unsafe code; remove it from SECURITY.md"));
    unnamed.chain(unused).collect()
}

/// Returns the rows of the tables whose last column is `tests`.
fn rows_with_tests(document: &str) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    let mut counts = false;
    for (number, line) in document.lines().enumerate() {
        let Some(inside) = line.strip_prefix('|') else {
            counts = false;
            continue;
        };
        let cells: Vec<&str> = inside
            .trim_end_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        let is_head = cells.last() == Some(&"tests");
        let is_rule = cells.iter().all(|cell| cell.chars().all(|c| c == '-'));
        counts |= is_head;
        if counts && !is_head && !is_rule {
            let line = number + 1;
            rows.push(Row { line, cells });
        }
    }
    rows
}

/// Returns the texts between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Returns the names of all tests.
fn test_names(sources: &[Source]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for Source { code, .. } in sources {
        for (at, word) in code.match_indices("fn ") {
            if !is_below_test_attribute(&code[..at]) {
                continue;
            }
            let rest = &code[at + word.len()..];
            names.insert(rest.split(|c| !is_name(c)).next().unwrap_or_default());
        }
    }
    names
}

/// Returns `true` if the attributes at the end of `code` mark a test.
fn is_below_test_attribute(code: &str) -> bool {
    let mut lines = code.rsplit('\n').skip(1).map(str::trim);
    lines
        .by_ref()
        .take_while(|line| line.starts_with("#[") || line.starts_with("//") || line.is_empty())
        .any(|line| line.starts_with("#[") && line.contains("test"))
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c| !is_name(c)).any(|found| found == word)
}
