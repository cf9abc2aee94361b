//! The tables in a Markdown file.

use std::{fs, path::Path};

use crate::{figures::Results, tables, targets};

/// The end of a part that this program writes.
const END: &str = "<!-- end -->";

/// A benchmark, and the function that writes its tables.
type Part = (&'static str, fn(&Results) -> String);

/// Replaces the parts of the file of which the benchmarks were measured.
pub fn refresh(path: &Path, results: &Results) -> Result<(), String> {
    let name = path.display();
    let mut text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    let parts: [Part; 5] = [
        ("sockets", tables::sockets),
        ("requests", tables::requests),
        ("stores", tables::stores),
        ("growth", tables::growth),
        ("hot_session", tables::hot_session),
    ];
    for (bench, write) in parts {
        if results.is_measured(bench) {
            let part = format!("{}\n{}", tables::run(results, bench), write(results));
            text = replaced(&text, bench, &part).map_err(|problem| format!("{name}: {problem}"))?;
        }
    }
    let table = targets::table(results, &text);
    text = replaced(&text, "targets", &table).map_err(|problem| format!("{name}: {problem}"))?;
    fs::write(path, text).map_err(|error| format!("{name}: {error}"))
}

/// Returns the text with another part between the comments `<!-- PART ... -->` and `<!-- end -->`.
fn replaced(text: &str, part: &str, new: &str) -> Result<String, String> {
    let missing = || {
        format!("no part `{part}`; add `<!-- {part}: by scripts/bench-report.sh -->` and `{END}`")
    };
    let start = format!("<!-- {part}: by scripts/bench-report.sh -->\n");
    let (before, rest) = text.split_once(&start).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!("{before}{start}\n{}\n\n{END}{after}", new.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_the_readme_has_text() {
        let text = include_str!("../../README.md");
        let parts: Vec<&str> = text
            .split("by scripts/bench-report.sh -->")
            .skip(1)
            .collect();
        assert_eq!(parts.len(), 6, "the parts of the README");
        for part in parts {
            let (part, _) = part.split_once(END).expect("each part has an end");
            assert!(
                !part.trim().is_empty(),
                "a part is empty; write \"not measured\""
            );
        }
    }
}
