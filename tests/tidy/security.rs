//! Rules about `SECURITY.md`: the tests that it names, and the modules with unsafe code.

use std::collections::BTreeSet;

use crate::code::{Source, is_name};

/// A row of a table: its line, and its cells.
struct Row<'t> {
    line: usize,
    cells: Vec<&'t str>,
}

/// The first columns of the tables without tests: they define words.
const TABLES_WITHOUT_TESTS: [&str; 2] = ["version", "attacker | has"];

/// Lists the rows whose tests are not named or do not exist. A table counts if its last column is `tests`.
/// Also lists the other tables.
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
    violations.extend(tables_without_tests(document));
    violations
}

/// Lists the tables whose last column is not `tests`, except those that define words.
fn tables_without_tests(document: &str) -> Vec<String> {
    let mut before = "";
    let mut violations = Vec::new();
    for (number, line) in document.lines().enumerate() {
        let is_head = line.starts_with('|') && !before.starts_with('|');
        let is_exempt = |head: &&str| line.starts_with(&format!("| {head} |"));
        if is_head && !line.ends_with("| tests |") && !TABLES_WITHOUT_TESTS.iter().any(is_exempt) {
            let line = number + 1;
            violations.push(format!(
                "SECURITY.md:{line}: table without tests; add a column `tests`"
            ));
        }
        before = line;
    }
    violations
}

/// Lists the modules with unsafe code that a table of `SECURITY.md` does not name, and the named ones
/// that have none. A module with unsafe code allows it by an attribute with a reason.
pub(crate) fn unsafe_modules(document: &str, sources: &[Source]) -> Vec<String> {
    let found = with_unsafe(sources);
    let rows = rows_with_tests(document).into_iter();
    let first = rows.flat_map(|row| quoted(row.cells.first().copied().unwrap_or_default()));
    let named: BTreeSet<&str> = first.filter(|name| name.ends_with(".rs")).collect();
    let unnamed = found.difference(&named);
    let unnamed = unnamed.map(|path| format!("{path}: unsafe code; list it in SECURITY.md"));
    let unused = named.difference(&found);
    let unused = unused.map(|path| format!("{path}: no unsafe code; remove it from SECURITY.md"));
    unnamed.chain(unused).collect()
}

/// Returns the paths of the modules with unsafe code.
pub(crate) fn with_unsafe(sources: &[Source]) -> BTreeSet<&str> {
    let has_unsafe = |source: &&Source| has_word(&source.code, "unsafe");
    let found = sources.iter().filter(has_unsafe);
    found.map(|source| &*source.path).collect()
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

/// Returns the names of all tests that run, in files that a module declares.
fn test_names(sources: &[Source]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for source in sources.iter().filter(|it| is_declared(it, sources)) {
        let code = &source.code;
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

/// Returns `true` if the file is the root of a program, or a file of the same program declares its module.
fn is_declared(source: &Source, sources: &[Source]) -> bool {
    let mut parts: Vec<&str> = source.path.split('/').collect();
    let file = parts.pop().unwrap_or_default();
    let name = match file.trim_end_matches(".rs") {
        "main" | "lib" => return true,
        "mod" => parts.pop().unwrap_or_default(),
        name => name,
    };
    let is_root = matches!(parts[..], ["tests"] | ["src", "bin"]) && file != "mod.rs";
    let program = match parts[..] {
        ["tests", program, ..] => format!("tests/{program}/"),
        _ => format!("{}/", parts.first().copied().unwrap_or_default()),
    };
    let declaration = format!("mod {name};");
    let mut of_program = sources.iter().filter(|it| it.path.starts_with(&program));
    is_root || of_program.any(|it| it.code.contains(&declaration))
}

/// Returns `true` if the attributes at the end of `code` mark a test that runs.
fn is_below_test_attribute(code: &str) -> bool {
    let lines = code.rsplit('\n').skip(1).map(str::trim);
    let attributes: Vec<&str> = lines
        .take_while(|line| line.starts_with("#[") || line.starts_with("//") || line.is_empty())
        .collect();
    let is_test = |line: &&str| {
        *line == "#[test]" || *line == "#[tokio::test]" || line.starts_with("#[tokio::test(")
    };
    attributes.iter().any(is_test) && !attributes.iter().any(|line| line.starts_with("#[ignore"))
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c| !is_name(c)).any(|found| found == word)
}
