//! The table of results at the end of a run.

use std::{fmt, fs, path::PathBuf};

use serde_json::Value;

use crate::{case::Case, results::Results};

struct Row {
    peer: String,
    case: Case,
    allocations: u64,
}

/// The results: each case, and the same net of the contender's raw service.
pub struct Table {
    estimates: PathBuf,
    rows: Vec<Row>,
}

impl Table {
    /// Makes a table of the medians that criterion writes to the directory `estimates`.
    pub fn new(estimates: PathBuf) -> Self {
        Self {
            estimates,
            rows: Vec::new(),
        }
    }

    pub fn add(&mut self, peer: &str, case: Case, allocations: u64) {
        self.rows.push(Row {
            peer: peer.into(),
            case,
            allocations,
        });
    }

    /// Returns the median in nanoseconds; `None` for a case that the filter of this run excluded.
    fn median(&self, row: &Row) -> Option<f64> {
        let case = format!("{}/{}/new/estimates.json", row.peer, row.case.label());
        let text = fs::read_to_string(self.estimates.join(case)).ok()?;
        let estimates: Value = serde_json::from_str(&text).ok()?;
        estimates["median"]["point_estimate"].as_f64()
    }

    /// Records the net times.
    pub fn record(&self, results: &mut Results) {
        for row in &self.rows {
            let base = self.base(row).and_then(|base| self.median(base));
            if let (Some(median), Some(base)) = (self.median(row), base) {
                results.add(&row.case.label(), &row.peer, "ns", median - base);
            }
        }
    }

    fn base(&self, row: &Row) -> Option<&Row> {
        let base = row.case.base()?;
        self.rows
            .iter()
            .find(|other| other.peer == row.peer && other.case == base)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (peer, case) = ("contender", "case");
        writeln!(
            f,
            "{peer:<28} {case:<28} {:>10} {:>10} {:>7} {:>7}",
            "median ns", "net ns", "allocs", "net"
        )?;
        for row in &self.rows {
            let Some(median) = self.median(row) else {
                continue;
            };
            write!(
                f,
                "{:<28} {:<28} {median:>10.0}",
                row.peer,
                row.case.label()
            )?;
            let base = self.base(row);
            match base.and_then(|base| self.median(base)) {
                Some(raw) => write!(f, " {:>10.0}", median - raw)?,
                None => write!(f, " {:>10}", "-")?,
            }
            match base {
                Some(base) => {
                    let net = i128::from(row.allocations) - i128::from(base.allocations);
                    writeln!(f, " {:>7} {net:>7}", row.allocations)?;
                }
                None => writeln!(f, " {:>7} {:>7}", row.allocations, "-")?,
            }
        }
        Ok(())
    }
}
