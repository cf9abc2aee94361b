//! The sections of the session guide, and their places in this crate's guide.

use crate::code::Source;

/// Lists the sections whose page, or whose heading or word in the page, does not exist.
///
/// Each line of `sections` is `section = page: text`.
pub(crate) fn missing_pages(sections: &str, pages: &[Source]) -> Vec<String> {
    let lines = sections.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut violations = Vec::new();
    let mut count = 0;
    for (number, line) in lines {
        count += 1;
        let number = number + 1;
        let Some((section, (page, text))) = line
            .split_once(" = ")
            .and_then(|(section, place)| Some((section, place.split_once(": ")?)))
        else {
            violations.push(format!("line {number}: not `section = page: text`"));
            continue;
        };
        let path = format!("src/guide/{page}");
        match pages.iter().find(|source| source.path == path) {
            None => violations.push(format!("line {number}: \"{section}\": no page {path}")),
            Some(source) if !source.text.contains(text) => {
                violations.push(format!(
                    "line {number}: \"{section}\": no \"{text}\" in {path}"
                ));
            }
            Some(_) => {}
        }
    }
    if count == 0 {
        violations.push("no section".to_owned());
    }
    violations
}
