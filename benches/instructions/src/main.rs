//! Instructions and allocations of each operation, compared with the accepted counts.
//!
//! Each row runs in a process of its own under callgrind. The counts depend on the compiler, the C library
//! and the processor's features, so only counts of one environment are compared.

mod accepted;
mod allocator;
mod callgrind;
mod connection;
mod counts;
mod operations;
mod rows;
#[allow(dead_code, unused_imports, reason = "each target uses a part")]
#[path = "../../support/mod.rs"]
mod support;
mod work_folder;

use std::{env, process::ExitCode};

use accepted::Accepted;
use counts::{CALLS, Counts};
use rows::Row;

const HELP: &str = "\
Counts instructions and allocations under callgrind, and compares them with accepted.tsv.

    -- [TEXT]                      counts the rows whose names contain TEXT
    -- --accept REASON [TEXT]      accepts their counts, with the reason for those that changed
    -- --profile FILE ROW          writes the callgrind profile of one row to FILE

A row fails if its instructions differ by over 1 % from the accepted ones, or its allocations differ. A row with
fewer fails, too: accept it, or a later change could take what this one saved. Nothing is compared if the environment
differs from the accepted one.
";

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match *arguments {
        [callgrind::CHILD, name] => callgrind::run_child(name),
        ["--accept", reason] => accept(reason, ""),
        ["--accept", reason, text] => accept(reason, text),
        ["--profile", file, name] => callgrind::profile(name, file),
        [] => compare(""),
        [text] if !text.starts_with('-') => compare(text),
        _ => Err(format!("unrecognized arguments\n\n{HELP}")),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::from(2)
        }
    }
}

/// Counts the rows whose names contain `text`. From a row with a base, subtracts the counts of its base.
fn count(text: &str) -> Result<Vec<(&'static Row, Counts)>, String> {
    let rows = rows::matching(text);
    let totals = callgrind::count_all(&rows)?;
    let total = |name| {
        rows.iter()
            .position(|row| row.name == name)
            .and_then(|at| totals.get(at))
    };
    let net = |(row, counts): (&&'static Row, &Counts)| {
        let base = row.base.and_then(total).copied().unwrap_or_default();
        (*row, counts.without(base))
    };
    Ok(rows.iter().zip(&totals).map(net).collect())
}

/// Prints the counts. Returns `false` if a row fails.
fn compare(text: &str) -> Result<bool, String> {
    let accepted = Accepted::read()?;
    let difference = accepted.environment_difference(&callgrind::environment()?);
    println!("{:<52} {:>12} {:>11}", "", "instructions", "allocations");
    println!(
        "{:<52} {:>12} {:>11}",
        "",
        "of a call",
        format!("of {CALLS} calls")
    );
    let mut failures = 0;
    for (row, counts) in count(text)? {
        let verdict = accepted.verdict(row, counts);
        let note = match difference {
            Some(_) => String::new(),
            None => verdict.to_string(),
        };
        failures += u32::from(difference.is_none() && verdict.is_failure());
        println!(
            "{:<52} {:>12} {:>11} {note}",
            row.name, counts.instructions, counts.allocations
        );
    }
    if failures > 0 {
        println!(
            "{failures} rows failed; reduce the counts of those that are worse, and accept the others with `-- --accept \
             REASON`"
        );
    }
    if let Some(difference) = difference {
        println!("NOTHING WAS COMPARED: {difference}; accept all counts with `-- --accept REASON`");
    }
    Ok(failures == 0)
}

fn accept(reason: &str, text: &str) -> Result<bool, String> {
    let mut accepted = Accepted::read()?;
    accepted.set_environment(callgrind::environment()?, text.is_empty())?;
    for (row, counts) in count(text)? {
        accepted.set(row, counts, reason);
    }
    accepted.write()?;
    compare(text)
}
