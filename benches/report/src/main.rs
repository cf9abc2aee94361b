//! Draws charts and writes a page and tables from the results of the benchmarks.
//!
//! `report FOLDER CHARTS NOTE [README]`: reads the results `FOLDER/BENCH.jsonl`, writes the page `FOLDER/index.html` with the
//! text NOTE below its title, and writes each chart into the folder CHARTS, for light and for dark pages. In the file
//! README it replaces the tables of the measured benchmarks. `scripts/bench-report.sh` runs it.

mod charts;
mod comparisons;
mod figures;
mod page;
mod readme;
mod tables;
mod targets;
mod theme;

use std::{env, fs, path::Path, process::ExitCode};

use figures::Results;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (folder, charts, note, readme) = match arguments.as_slice() {
        [folder, charts, note] => (folder, charts, note, None),
        [folder, charts, note, readme] => (folder, charts, note, Some(Path::new(readme))),
        _ => {
            eprintln!("usage: report FOLDER CHARTS NOTE [README]");
            return ExitCode::from(2);
        }
    };
    match write(Path::new(folder), Path::new(charts), note, readme) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path, charts: &Path, note: &str, readme: Option<&Path>) -> Result<(), String> {
    let results = Results::read(folder)?;
    for missing in results.missing() {
        eprintln!("not measured: {missing}");
    }
    fs::create_dir_all(charts).map_err(|error| format!("{}: {error}", charts.display()))?;
    let drawn = charts::draw_all(&results, charts)?;
    let page = folder.join("index.html");
    fs::write(&page, page::write(&results, &drawn, note))
        .map_err(|error| format!("{}: {error}", page.display()))?;
    match readme {
        Some(readme) => readme::refresh(readme, &results),
        None => Ok(()),
    }
}
