//! The accepted counts, in a file of the repository.

use std::{collections::BTreeMap, fs, path::PathBuf};

use crate::{
    callgrind,
    counts::{Counts, Verdict},
    rows::Row,
};

const FILE: &str = "accepted.tsv";

const HEAD: &str = "# Written by `cargo bench --manifest-path benches/instructions/Cargo.toml --bench instructions -- --accept REASON`.
# Row, instructions of a call, allocations of 32 calls, the reason for the last change.";

/// The accepted counts of the rows, with the reason for the last change of each.
pub(crate) struct Accepted {
    environment: String,
    rows: BTreeMap<String, (Counts, String)>,
}

impl Accepted {
    pub(crate) fn read() -> Result<Self, String> {
        let text = fs::read_to_string(file()).unwrap_or_default();
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let environment = lines.next().unwrap_or_default().to_owned();
        let rows = lines.map(|line| row(line).ok_or_else(|| format!("{FILE}: bad line `{line}`")));
        Ok(Self {
            environment,
            rows: rows.collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn write(&self) -> Result<(), String> {
        let mut text = format!("{HEAD}\n{}\n", self.environment);
        for (name, (counts, reason)) in &self.rows {
            let Counts {
                instructions,
                allocations,
            } = counts;
            text += &format!("{name}\t{instructions}\t{allocations}\t{reason}\n");
        }
        fs::write(file(), text).map_err(|error| format!("{FILE}: {error}"))
    }

    /// Returns the difference between `environment` and the accepted one.
    pub(crate) fn environment_difference(&self, environment: &str) -> Option<String> {
        let differs = self.environment != environment;
        differs.then(|| format!("accepted with {}, this is {environment}", self.environment))
    }

    /// Sets the environment, and drops the rows that no longer exist. If the environment is another one, all rows
    /// must be counted again.
    pub(crate) fn set_environment(&mut self, environment: String, all: bool) -> Result<(), String> {
        if self.environment != environment && !all {
            return Err("the environment has changed; accept all rows, without TEXT".to_owned());
        }
        self.environment = environment;
        let is_row = |name: &String, _: &mut _| crate::rows::named(name).is_some();
        self.rows.retain(is_row);
        Ok(())
    }

    /// Accepts the counts of a row, if they differ from the accepted ones.
    pub(crate) fn set(&mut self, row: &Row, counts: Counts, reason: &str) {
        if !matches!(self.verdict(row, counts), Verdict::Same) {
            let reason = reason.replace(['\t', '\n'], " ");
            self.rows.insert(row.name.to_owned(), (counts, reason));
        }
    }

    pub(crate) fn verdict(&self, row: &Row, counts: Counts) -> Verdict {
        let accepted = self.rows.get(row.name).map(|(counts, _)| *counts);
        Verdict::new(counts, accepted, row.tolerance)
    }
}

fn file() -> PathBuf {
    callgrind::folder().join(FILE)
}

/// Parses the line of a row.
fn row(line: &str) -> Option<(String, (Counts, String))> {
    let mut fields = line.split('\t');
    let name = fields.next()?.to_owned();
    let instructions = fields.next()?.parse().ok()?;
    let allocations = fields.next()?.parse().ok()?;
    let counts = Counts {
        instructions,
        allocations,
    };
    Some((name, (counts, fields.next()?.to_owned())))
}
