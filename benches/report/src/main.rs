//! Draws charts and writes a page from the results of the benchmarks.
//!
//! `report RESULTS PAGE CHARTS`: reads lines of JSON from the file RESULTS, writes the page PAGE, and writes each
//! chart into the folder CHARTS, for light and for dark pages. `scripts/bench-report.sh` runs it.

mod charts;
mod machine;
mod page;
mod theme;

use std::{env, fs, path::Path, process::ExitCode};

use serde::Deserialize;

/// One figure of a benchmark.
#[derive(Clone, Debug, Deserialize)]
struct Figure {
    bench: String,
    row: String,
    contender: String,
    unit: String,
    value: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [results, page, charts] = arguments.as_slice() else {
        eprintln!("usage: report RESULTS PAGE CHARTS");
        return ExitCode::from(2);
    };
    match write(Path::new(results), Path::new(page), Path::new(charts)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn write(results: &Path, page: &Path, charts: &Path) -> Result<(), String> {
    let figures = read(results)?;
    fs::create_dir_all(charts).map_err(|error| format!("{}: {error}", charts.display()))?;
    let drawn = charts::draw_all(&figures, charts)?;
    let text = page::write(&figures, &drawn);
    fs::write(page, text).map_err(|error| format!("{}: {error}", page.display()))
}

/// Reads the figures. Of several figures of one row, the last one counts.
fn read(results: &Path) -> Result<Vec<Figure>, String> {
    let text = fs::read_to_string(results);
    let text = text.map_err(|error| format!("{}: {error}", results.display()))?;
    let mut figures: Vec<Figure> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let figure: Figure = serde_json::from_str(line)
            .map_err(|error| format!("{}, line {}: {error}", results.display(), number + 1))?;
        let is_same = |other: &Figure| {
            (&other.bench, &other.row, &other.contender, &other.unit)
                == (&figure.bench, &figure.row, &figure.contender, &figure.unit)
        };
        match figures.iter_mut().find(|other| is_same(other)) {
            Some(other) => *other = figure,
            None => figures.push(figure),
        }
    }
    Ok(figures)
}
