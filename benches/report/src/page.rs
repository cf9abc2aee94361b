//! The page of a report.

use std::fmt::Write;

use crate::{
    charts::Chart,
    comparisons,
    figures::{BENCHES, Results, is_limit},
};

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
table { border-collapse: collapse; display: block; margin: 0.5rem 0 1.5rem; overflow-x: auto; }
th, td { border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); padding: 0.25rem 0.75rem; text-align: left; }
td:not(.number) { min-width: 8rem; }
td.number { font-variant-numeric: tabular-nums; text-align: right; }
figure { margin: 1rem 0; }
figure svg { height: auto; max-width: 100%; }
.dark { display: none; }
@media (prefers-color-scheme: dark) { .light { display: none; } .dark { display: block; } }
";

/// Returns the page. A `note` is below the title.
pub fn write(results: &Results, charts: &[Chart], note: &str) -> String {
    let mut page =
        String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    let _infallible = write!(
        page,
        "<title>Benchmarks</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>Benchmarks</h1>\n<p>{}</p>\n",
        escape(note)
    );
    for missing in results.missing() {
        let _infallible = writeln!(page, "<p>Not measured: {}.</p>", escape(&missing));
    }
    add_runs(&mut page, results);
    for chart in charts {
        let Chart { title, light, dark } = chart;
        let _infallible = writeln!(
            page,
            "<figure aria-label=\"{title}\"><div class=\"light\">{light}</div><div class=\"dark\">{dark}</div></figure>"
        );
    }
    comparisons::add_losses(&mut page, results);
    comparisons::add_limits(&mut page, results);
    add_tables(&mut page, results);
    page += "</body>\n</html>\n";
    page
}

/// Adds the commit, the date, the load and the machine of each run.
fn add_runs(page: &mut String, results: &Results) {
    let benches: Vec<&str> = BENCHES
        .into_iter()
        .filter(|it| results.is_measured(it))
        .collect();
    *page += "<h2>The runs</h2>\n<table>\n<tr><th></th>";
    for bench in &benches {
        let _infallible = write!(page, "<th>{bench}</th>");
    }
    *page += "</tr>\n";
    let names = [
        "commit",
        "date",
        "load average at the start",
        "load average at the end",
        "processor",
        "cores",
        "memory",
        "system",
        "compiler",
        "file system",
    ];
    for name in names {
        let _infallible = write!(page, "<tr><th>{name}</th>");
        for bench in &benches {
            let value = results.fact(bench, name).unwrap_or("unknown");
            let _infallible = write!(page, "<td>{}</td>", escape(value));
        }
        *page += "</tr>\n";
    }
    *page += "</table>\n<p>Command: <code>scripts/bench-report.sh</code></p>\n";
}

fn add_tables(page: &mut String, results: &Results) {
    for bench in BENCHES.into_iter().filter(|it| results.is_measured(it)) {
        let _infallible = writeln!(
            page,
            "<h2>{bench}</h2>\n<table>\n<tr><th>row</th><th>contender</th><th>figure</th><th>unit</th></tr>"
        );
        for figure in results.of(bench).filter(|it| !is_limit(&it.contender)) {
            let spread = figure
                .spread()
                .map_or_else(String::new, |(lowest, highest)| {
                    format!(" ({lowest:.2} to {highest:.2})")
                });
            let _infallible = writeln!(
                page,
                "<tr><td>{}</td><td>{}</td><td class=\"number\">{:.2}{spread}</td><td>{}</td></tr>",
                escape(&figure.row),
                escape(&figure.contender),
                figure.value,
                escape(&figure.unit),
            );
        }
        *page += "</table>\n";
    }
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
