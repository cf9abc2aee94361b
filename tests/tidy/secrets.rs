//! Rules about types that hold a secret.

use crate::code::{Source, is_name};

/// Lists the secret types that do not erase their bytes when they are dropped.
pub(crate) fn not_erased(sources: &[Source], types: &[(&str, &str)]) -> Vec<String> {
    let is_erased = |code: &str, name: &str| {
        let has_field =
            block(code, &format!("struct {name}")).is_some_and(|it| it.contains("Zeroiz"));
        let drop = block(code, &format!("impl Drop for {name}"));
        has_field || drop.is_some_and(|body| body.contains(".zeroize()"))
    };
    check(sources, types, |code, name| {
        (!is_erased(code, name)).then_some("is not erased when it is dropped")
    })
}

/// Lists the secret types whose comparison takes longer the more bytes are equal.
pub(crate) fn not_constant_time(sources: &[Source], types: &[(&str, &str)]) -> Vec<String> {
    check(sources, types, |code, name| {
        let implemented = block(code, &format!("impl PartialEq for {name}"));
        let is_derived = derives(code, name).contains("PartialEq");
        let is_slow = implemented.is_some_and(|body| !body.contains("ct_eq("));
        (is_derived || is_slow).then_some("is not compared in constant time; use `ct_eq`")
    })
}

/// Lists the files that compare a received secret without `ct_eq`, or compare more values by an operator than
/// are known to be no secret.
pub(crate) fn without_ct_eq(sources: &[Source], files: &[(&str, usize)]) -> Vec<String> {
    let violation = |(path, known): &(&str, usize)| {
        let source = sources.iter().find(|source| source.path == *path);
        let code = source.map_or("", |source| &source.code);
        let operators = code.matches(" == ").count() + code.matches(" != ").count();
        let problem = match code.contains("ct_eq(") {
            false => "no call of `ct_eq`".to_owned(),
            true if operators == *known => return None,
            true => {
                format!("{operators} comparisons by `==` or `!=`, {known} are known; check them")
            }
        };
        Some(format!("{path}: {problem}"))
    };
    files.iter().filter_map(violation).collect()
}

/// Applies a rule to each type. Reports a type that is not declared in its file.
fn check(
    sources: &[Source],
    types: &[(&str, &str)],
    rule: impl Fn(&str, &str) -> Option<&'static str>,
) -> Vec<String> {
    let violation = |(path, name): &(&str, &str)| {
        let source = sources.iter().find(|source| source.path == *path);
        let declared =
            source.filter(|source| find(&source.code, &format!("struct {name}")).is_some());
        let problem = match declared {
            Some(source) => rule(&source.code, name)?,
            None => "is not declared here",
        };
        Some(format!("{path}: `{name}` {problem}"))
    };
    types.iter().filter_map(violation).collect()
}

/// Returns the text of an item, from its head to the end of its first pair of braces or parentheses.
fn block<'c>(code: &'c str, head: &str) -> Option<&'c str> {
    let item = &code[find(code, head)?..];
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '{' | '(' => depth += 1,
            '}' | ')' if depth == 1 => return Some(&item[..at]),
            '}' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Returns the attributes in front of a type.
fn derives<'c>(code: &'c str, name: &str) -> &'c str {
    let before = find(code, &format!("struct {name}")).map_or("", |at| &code[..at]);
    let start = before.rfind(['}', ';']).map_or(0, |at| at + 1);
    &before[start..]
}

/// Returns the place of a head that no name continues.
fn find(code: &str, head: &str) -> Option<usize> {
    let mut places = code.match_indices(head).map(|(at, _)| at);
    places.find(|at| !code[at + head.len()..].starts_with(is_name))
}
