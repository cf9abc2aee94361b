//! The results of a benchmark as lines of JSON, for the report.

use std::{env, fs::File, io::Write, path::PathBuf};

use serde_json::json;

/// A file of results, or nothing without the environment variable `BENCH_RESULTS`.
pub(crate) struct Results {
    bench: &'static str,
    file: Option<File>,
}

impl Results {
    /// Opens the file that `BENCH_RESULTS` names, and adds to it.
    ///
    /// # Panics
    /// If the file cannot be opened.
    pub(crate) fn open(bench: &'static str) -> Self {
        let path = env::var_os("BENCH_RESULTS").map(PathBuf::from);
        let file = path.map(|path| {
            let file = File::options().append(true).create(true).open(&path);
            file.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        });
        Self { bench, file }
    }

    /// Adds one figure.
    ///
    /// # Panics
    /// If it cannot be written.
    pub(crate) fn add(&mut self, row: &str, contender: &str, unit: &str, value: f64) {
        let Some(file) = &mut self.file else { return };
        let bench = self.bench;
        let line = json!({"bench": bench, "row": row, "contender": contender, "unit": unit, "value": value});
        writeln!(file, "{line}").expect("the file of results is writable");
    }
}
