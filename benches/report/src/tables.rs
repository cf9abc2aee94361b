//! Tables in Markdown.

use crate::figures::{Figure, Results, limit_of};

/// Returns a table in Markdown.
pub fn markdown(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!(
        "| {} |\n|{}\n",
        head.join(" | "),
        " --- |".repeat(head.len())
    );
    for row in rows {
        text += &format!("| {} |\n", row.join(" | "));
    }
    // An empty cell may follow an empty cell.
    text.replace("|  |", "| |").replace("|  |", "| |")
}

/// Returns a sentence with the commit, the date, and the load of a run.
pub fn run(results: &Results, bench: &str) -> String {
    let fact = |name: &str| results.fact(bench, name).unwrap_or("unknown");
    format!(
        "Commit {}, {}, {}, {} cores, load average {} at the start and {} at the end.\n",
        fact("commit"),
        fact("date"),
        fact("processor"),
        fact("cores"),
        fact("load average at the start"),
        fact("load average at the end"),
    )
}

/// Returns a number with separators of thousands.
pub fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns ns as µs with two significant digits and more.
fn micros(nanoseconds: f64) -> String {
    match nanoseconds / 1000.0 {
        it if it.abs() >= 100.0 => format!("{it:.0}"),
        it if it.abs() >= 10.0 => format!("{it:.1}"),
        it => format!("{it:.2}"),
    }
}

/// Returns the distinct values of a field, in the order of the figures.
fn distinct<'a>(
    figures: impl Iterator<Item = &'a Figure>,
    field: impl Fn(&'a Figure) -> &'a str,
) -> Vec<&'a str> {
    let mut values = Vec::new();
    for value in figures.map(field) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

/// Returns a table of the contenders, with a column for each row of the benchmark. If a figure has a limit, the limit
/// is in parentheses.
fn by_contender(
    results: &Results,
    (bench, unit): (&str, &str),
    columns: &[(String, String)],
    text: fn(f64) -> String,
) -> String {
    let figures = || {
        results
            .of(bench)
            .filter(|it| limit_of(&it.contender).is_none())
    };
    let mut head = vec![""];
    head.extend(columns.iter().map(|(title, _)| title.as_str()));
    let rows = distinct(figures(), |it| &it.contender)
        .into_iter()
        .map(|name| {
            let cells = columns.iter().map(|(_, row)| {
                let limit = results.of(bench).find(|it| {
                    it.row == *row && limit_of(&it.contender).is_some_and(|it| it.1 == name)
                });
                let limit = limit.map_or_else(String::new, |it| format!(" ({})", text(it.value)));
                let value = results.value(bench, row, name, unit);
                value.map_or_else(String::new, |it| text(it) + &limit)
            });
            let mut row = vec![name.to_owned()];
            row.extend(cells);
            row
        });
    // A contender without any of these figures has no line.
    markdown(
        &head,
        rows.filter(|row| row[1..].iter().any(|it| !it.is_empty())),
    )
}

/// Returns a chart of the folder `charts`, for light and dark pages.
fn picture(chart: &str, text: &str) -> String {
    format!(
        "<picture>\n  <source media=\"(prefers-color-scheme: dark)\" srcset=\"charts/{chart}-dark.svg\">\n  \
         <img src=\"charts/{chart}-light.svg\" alt=\"{text}\" width=\"480\">\n</picture>\n"
    )
}

pub fn sockets(results: &Results) -> String {
    let jobs = ["untouched", "read one key", "increment one key"];
    let names = distinct(results.of("sockets"), |it| &it.contender);
    let rows = names.into_iter().map(|name| {
        let of = |unit: &str, text: fn(f64) -> String| {
            let value = |job: &str| results.value("sockets", job, name, unit);
            jobs.map(|job| value(job).map_or_else(String::new, text))
        };
        let mut row = vec![name.to_owned()];
        row.extend(of("times its base", |it| format!("{it:.2}")));
        row.extend(of("µs", |it| format!("{it:.1}")));
        row
    });
    let head = [
        "",
        "untouched",
        "read",
        "increment",
        "untouched, µs",
        "read, µs",
        "increment, µs",
    ];
    let table = markdown(&head, rows);
    format!(
        "{table}\nTime that the sessions add to the same server without them, µs:\n\n{}",
        added(results)
    )
}

/// Returns the time that the sessions of each server add to its base.
fn added(results: &Results) -> String {
    let jobs = ["untouched", "read one key", "increment one key"];
    let names = distinct(results.of("sockets"), |it| &it.contender);
    let rows = names.into_iter().map(|name| {
        let value = |job: &str, unit| results.value("sockets", job, name, unit);
        let cells = jobs.map(|job| {
            let (time, ratio) = (value(job, "µs")?, value(job, "times its base")?);
            // A base is compared with itself.
            (ratio != 1.0).then(|| format!("{:.2}", time - time / ratio))
        });
        let cells = cells.map(Option::unwrap_or_default);
        [name.to_owned()].into_iter().chain(cells).collect()
    });
    let rows = rows.filter(|row: &Vec<String>| row[1..].iter().any(|it| !it.is_empty()));
    markdown(&["", "untouched", "read", "increment"], rows)
}

fn columns(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(title, row): &(&str, &str)| ((*title).to_owned(), (*row).to_owned());
    pairs.iter().map(owned).collect()
}

pub fn requests(results: &Results) -> String {
    let columns = columns(&[
        ("untouched", "untouched, 260 B"),
        ("read", "read one key, 260 B"),
        ("increment", "increment one key, 260 B"),
        ("read, 4 KB", "read one key, 4 KB"),
        ("read, strangers", "read one key, cold visitors"),
    ]);
    let table = by_contender(results, ("requests", "ns"), &columns, micros);
    format!("Net time of a request in process, µs:\n\n{table}")
}

pub fn stores(results: &Results) -> String {
    let jobs = [
        "read",
        "increment",
        "create",
        "regenerate",
        "destroy and create",
    ];
    let of_jobs = |kind: &str| jobs.map(|job| (job.to_owned(), format!("{job}, {kind}")));
    let table =
        |columns: &[(String, String)]| by_contender(results, ("stores", "ns"), columns, micros);
    let documents = ["cart, 1 KB", "flash-heavy, 4 KB", "wide, 16 KB"];
    let larger: Vec<(String, String)> = ["read", "increment"]
        .iter()
        .flat_map(|job| documents.map(|it| format!("{job}, {it}")))
        .map(|row| (row.clone(), row))
        .collect();
    let rows = distinct(results.of("stores"), |it| &it.row);
    let cold = rows.iter().filter(|it| it.ends_with("cold visitors"));
    let cold: Vec<_> = cold
        .map(|it| ((*it).to_owned(), (*it).to_owned()))
        .collect();
    format!(
        "A limit is in parentheses. A document of 260 B, µs:\n\n{}\nTwo threads, µs:\n\n{}\nLarger documents, µs:\n\n{}\nCold visitors, µs:\n\n{}\n\
         Beside what the part below can do, for 260 B, µs:\n\n{}",
        table(&of_jobs("login, 260 B")),
        table(&of_jobs("login, 260 B, two threads")),
        table(&larger),
        table(&cold),
        limits(results, "stores", |row| {
            !row.contains("KB") && !row.contains("threads")
        }),
    )
}

/// Returns the figures with a limit.
fn limits(results: &Results, bench: &str, is_wanted: impl Fn(&str) -> bool) -> String {
    let rows = results.of(bench).filter_map(|limit| {
        let (name, of) = limit_of(&limit.contender)?;
        let value = results.value(bench, &limit.row, of, &limit.unit)?;
        is_wanted(&limit.row).then(|| {
            vec![
                of.to_owned(),
                limit.row.clone(),
                micros(value),
                name.to_owned(),
                micros(limit.value),
                format!("{:.2}", value / limit.value),
            ]
        })
    });
    markdown(&["", "row", "µs", "limit", "µs", "times the limit"], rows)
}

/// Returns the lines of tables such as `document size: 4096`, with a column for each contender.
pub fn growth(results: &Results) -> String {
    let mut text = String::new();
    let rows = distinct(results.of("growth"), |it| &it.row);
    let mut tables: Vec<&str> = Vec::new();
    for table in rows.iter().filter_map(|row| Some(row.split_once(": ")?.0)) {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    for table in tables {
        let start = format!("{table}: ");
        let of_table = || results.of("growth").filter(|it| it.row.starts_with(&start));
        let names = distinct(of_table(), |it| &it.contender);
        let lines = distinct(of_table(), |it| &it.row).into_iter().map(|row| {
            let size = row[start.len()..]
                .parse()
                .map_or_else(|_| row.to_owned(), number);
            let cells = names.iter().map(|name| {
                let value = results.value("growth", row, name, "ns");
                value.map_or_else(String::new, micros)
            });
            [size].into_iter().chain(cells).collect()
        });
        let mut head = vec![table];
        head.extend(&names);
        text += &format!("{}\n", markdown(&head, lines));
    }
    let picture = picture("growth", "Time of a request by the size of the document");
    format!("Times in µs:\n\n{text}{picture}")
}

pub fn hot_session(results: &Results) -> String {
    let units = distinct(results.of("hot_session"), |it| &it.unit);
    let mut head = vec!["", "change: writers"];
    head.extend(&units);
    let figures = || results.of("hot_session");
    let mut lines = Vec::new();
    for name in distinct(figures(), |it| &it.contender) {
        let of_name = figures().filter(|it| it.contender == name);
        for row in distinct(of_name, |it| &it.row) {
            let cells = units.iter().map(|unit| {
                let value = results.value("hot_session", row, name, unit);
                value.map_or_else(String::new, |it| format!("{it:.2}"))
            });
            let names = [name.to_owned(), row.to_owned()];
            lines.push(names.into_iter().chain(cells).collect());
        }
    }
    let picture = picture("hot-session", "p99 of increments by the number of writers");
    format!("{}\n{picture}", markdown(&head, lines))
}
