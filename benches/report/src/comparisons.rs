//! Comparisons of figures: with peers, with targets, and with limits of the machine.

use std::fmt::Write;

use crate::{
    figures::{Figure, Results, limit_of},
    page::escape,
    targets,
};

/// Lists the rows in which another crate needs less than one of this crate, and the missed targets.
///
/// A row of this crate is compared with the rows of others with a store of the same kind. The file store is compared
/// with memory stores, too, since the others have no store in files.
pub fn add_losses(page: &mut String, results: &Results) {
    *page += "<h2>Rows that are lost</h2>\n";
    let mut lost = String::new();
    let is_ours = |it: &&Figure| it.contender.starts_with("hyper-session");
    for ours in results.of("sockets").filter(is_ours) {
        for theirs in results.of("sockets").filter(|it| is_peer(it)) {
            let is_same = (&ours.row, &ours.unit) == (&theirs.row, &theirs.unit)
                && is_comparable(&ours.contender, &theirs.contender);
            if is_same && theirs.value < ours.value {
                add_pair(&mut lost, ours, &theirs.contender, theirs.value);
            }
        }
    }
    add_cache_losses(&mut lost, results);
    add_in_process_losses(&mut lost, results);
    add_table(page, &lost, "None of the measured rows.");
    *page += "<h2>Targets</h2>\n<table>\n<tr><th></th><th>target</th><th>measured</th><th>run</th><th></th></tr>\n";
    for it in targets::outcomes(results) {
        let _infallible = writeln!(
            page,
            "<tr><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td><td>{}</td></tr>",
            escape(&it.name),
            it.target,
            it.measured,
            escape(&it.run),
            escape(&it.verdict),
        );
    }
    *page += "</table>\n";
}

/// Adds the rows in which the near cache costs more than it saves.
fn add_cache_losses(lost: &mut String, results: &Results) {
    let caches = [
        (
            "sockets",
            "hyper-session, Redis, near cache",
            "hyper-session, Redis",
        ),
        ("stores", "redis, near cache", "redis"),
    ];
    for (bench, with, without) in caches {
        for ours in results.of(bench).filter(|it| it.contender == with) {
            let value = results.value(bench, &ours.row, without, &ours.unit);
            if let Some(value) = value.filter(|it| *it < ours.value) {
                add_pair(lost, ours, without, value);
            }
        }
    }
}

/// Adds the rows in process in which a peer with the same kind of store needs less.
fn add_in_process_losses(lost: &mut String, results: &Results) {
    let is_in_cookie = |it: &Figure| it.contender.contains("cookie");
    let is_ours = |it: &&Figure| it.contender.starts_with("hyper-session");
    for ours in results.of("requests").filter(is_ours) {
        for theirs in results.of("requests").filter(|it| !is_ours(it)) {
            let is_same = ours.row == theirs.row && is_in_cookie(ours) == is_in_cookie(theirs);
            if is_same && theirs.value < ours.value {
                add_pair(lost, ours, &theirs.contender, theirs.value);
            }
        }
    }
}

/// Lists the figures beside what the part below can do.
pub fn add_limits(page: &mut String, results: &Results) {
    *page += "<h2>Limits</h2>\n";
    let mut rows = String::new();
    for limit in &results.figures {
        let Some((name, of)) = limit_of(&limit.contender) else {
            continue;
        };
        let ours = results
            .of(&limit.bench)
            .find(|it| (it.row.as_str(), it.contender.as_str()) == (limit.row.as_str(), of));
        if let Some(ours) = ours {
            add_pair(&mut rows, ours, name, limit.value);
        }
    }
    let is_bare = |it: &&Figure| (it.contender.as_str(), it.unit.as_str()) == ("hyper", "µs");
    for bare in results.of("sockets").filter(is_bare) {
        let is_same_row = |it: &&Figure| {
            it.contender.starts_with("hyper-session")
                && (&it.row, &it.unit) == (&bare.row, &bare.unit)
        };
        for ours in results.of("sockets").filter(is_same_row) {
            add_pair(&mut rows, ours, "bare hyper", bare.value);
        }
    }
    add_table(page, &rows, "None was measured.");
}

fn add_pair(rows: &mut String, ours: &Figure, other: &str, value: f64) {
    let _infallible = writeln!(
        rows,
        "<tr><td>{}: {}</td><td>{}</td><td class=\"number\">{:.2}</td><td>{}</td><td class=\"number\">{value:.2}</td><td>{}</td><td class=\"number\">{:.2}</td></tr>",
        escape(&ours.bench),
        escape(&ours.row),
        escape(&ours.contender),
        ours.value,
        escape(other),
        escape(&ours.unit),
        ours.value / value,
    );
}

fn add_table(page: &mut String, rows: &str, none: &str) {
    *page += &match rows.is_empty() {
        true => format!("<p>{none}</p>\n"),
        false => format!(
            "<table>\n<tr><th>row</th><th>contender</th><th>figure</th><th>beside</th><th>figure</th><th>unit</th><th>ratio</th></tr>\n{rows}</table>\n"
        ),
    };
}

/// Returns `true` for a figure of another crate with sessions.
fn is_peer(figure: &Figure) -> bool {
    let name = &figure.contender;
    name.contains("session") && !name.starts_with("hyper-session")
}

fn is_comparable(ours: &str, theirs: &str) -> bool {
    let theirs = store(theirs);
    store(ours) == theirs || (store(ours) == "file store" && theirs == "memory")
}

/// Returns the kind of store in a contender's name; the memory store by default.
fn store(contender: &str) -> &'static str {
    let stores = ["Redis", "cookie store", "file store"];
    stores
        .into_iter()
        .find(|it| contender.contains(it))
        .unwrap_or("memory")
}
