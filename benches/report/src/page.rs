//! The page of a report.

use std::fmt::Write;

use crate::{Figure, charts::Chart, machine};

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
table { border-collapse: collapse; display: block; margin: 0.5rem 0 1.5rem; overflow-x: auto; }
th, td { border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); padding: 0.25rem 0.75rem; text-align: left; }
td.number { font-variant-numeric: tabular-nums; text-align: right; }
figure { margin: 1rem 0; }
figure svg { height: auto; max-width: 100%; }
.dark { display: none; }
@media (prefers-color-scheme: dark) { .light { display: none; } .dark { display: block; } }
";

/// Returns the page.
pub fn write(figures: &[Figure], charts: &[Chart]) -> String {
    let mut page =
        String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    let _infallible = write!(
        page,
        "<title>Benchmarks</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>Benchmarks</h1>\n"
    );
    add_machine(&mut page);
    for chart in charts {
        let Chart { title, light, dark } = chart;
        let _infallible = writeln!(
            page,
            "<figure aria-label=\"{title}\"><div class=\"light\">{light}</div><div class=\"dark\">{dark}</div></figure>"
        );
    }
    add_losses(&mut page, figures);
    add_tables(&mut page, figures);
    page += "</body>\n</html>\n";
    page
}

fn add_machine(page: &mut String) {
    *page += "<h2>The machine</h2>\n<table>\n";
    for (name, value) in machine::facts() {
        let _infallible = writeln!(page, "<tr><th>{name}</th><td>{}</td></tr>", escape(&value));
    }
    *page += "</table>\n";
}

/// Lists the rows in which another crate needs less than this one.
fn add_losses(page: &mut String, figures: &[Figure]) {
    *page += "<h2>Rows that are lost</h2>\n";
    let is_ours = |it: &&Figure| it.contender.starts_with("hyper-session");
    let mut lost = String::new();
    for theirs in figures.iter().filter(|it| is_peer(it)) {
        let same = |it: &&Figure| {
            (&it.bench, &it.row, &it.unit) == (&theirs.bench, &theirs.row, &theirs.unit)
                && store(&it.contender) == store(&theirs.contender)
        };
        let ours = figures.iter().filter(is_ours).filter(same);
        let Some(ours) = ours.min_by(|one, other| one.value.total_cmp(&other.value)) else {
            continue;
        };
        if theirs.value < ours.value {
            let _infallible = writeln!(
                lost,
                "<tr><td>{}: {}</td><td>{}</td><td class=\"number\">{:.2}</td><td>{}</td><td class=\"number\">{:.2}</td><td>{}</td></tr>",
                escape(&theirs.bench),
                escape(&theirs.row),
                escape(&theirs.contender),
                theirs.value,
                escape(&ours.contender),
                ours.value,
                escape(&theirs.unit),
            );
        }
    }
    *page += &match lost.is_empty() {
        true => "<p>None.</p>\n".to_owned(),
        false => format!("<table>\n{lost}</table>\n"),
    };
}

/// Returns `true` for a figure of another crate with sessions.
fn is_peer(figure: &Figure) -> bool {
    let name = &figure.contender;
    figure.bench == "sockets" && name.contains("session") && !name.starts_with("hyper-session")
}

/// Returns the kind of store in a contender's name; the memory store by default.
fn store(contender: &str) -> &'static str {
    let stores = ["Redis", "cookie store", "file store"];
    stores
        .into_iter()
        .find(|it| contender.contains(it))
        .unwrap_or("memory")
}

fn add_tables(page: &mut String, figures: &[Figure]) {
    let mut benches: Vec<&str> = figures.iter().map(|it| it.bench.as_str()).collect();
    benches.dedup();
    for bench in benches {
        let _infallible = writeln!(
            page,
            "<h2>{bench}</h2>\n<table>\n<tr><th>row</th><th>contender</th><th>figure</th><th>unit</th></tr>"
        );
        for figure in figures.iter().filter(|it| it.bench == bench) {
            let _infallible = writeln!(
                page,
                "<tr><td>{}</td><td>{}</td><td class=\"number\">{:.2}</td><td>{}</td></tr>",
                escape(&figure.row),
                escape(&figure.contender),
                figure.value,
                escape(&figure.unit),
            );
        }
        *page += "</table>\n";
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
