//! A simulation of two cores with a cache each, from a list of accesses to memory.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    process::Stdio,
};

use crate::{ADDRESS, COUNTED, END, RUN, work_folder::WorkFolder};

/// The logarithm of the length of a cache line.
const LINE: u32 = 6;

/// The cores that have a copy of a line. A line that was written has one.
#[derive(Clone, Copy, Default)]
struct Line {
    holders: [bool; 2],
}

/// What one request does with lines of the other core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sharing {
    /// Lines that move from the other core.
    pub(crate) lines: usize,
    /// Writes to these lines. If both cores run at the same time, a line may move for each.
    pub(crate) writes: usize,
}

/// The caches of two cores that hold everything.
#[derive(Default)]
struct Caches {
    lines: HashMap<u64, Line>,
    /// The core whose request runs.
    core: Option<usize>,
    /// The lines that moved in the request that runs, with the writes to them.
    moved: HashMap<u64, usize>,
    requests: Vec<Sharing>,
}

impl Caches {
    fn access(&mut self, address: u64, is_write: bool) {
        let Some(core) = self.core else { return };
        let number = address >> LINE;
        let line = self.lines.entry(number).or_default();
        let other = 1 - core;
        // A read needs the line if only the other core has it. A write takes the line from the other core.
        if line.holders[other] && (is_write || !line.holders[core]) {
            self.moved.entry(number).or_default();
        }
        line.holders[core] = true;
        if is_write {
            line.holders[other] = false;
            if let Some(writes) = self.moved.get_mut(&number) {
                *writes += 1;
            }
        }
    }

    fn mark(&mut self, number: usize) {
        if self.core.take().is_some() {
            self.requests.push(Sharing {
                lines: self.moved.len(),
                writes: self.moved.values().sum(),
            });
            self.moved.clear();
        }
        self.core = (number != END).then_some(number);
    }
}

/// Simulates the requests of a row, and returns the median of the second half of them. The first ones fill the caches.
pub(crate) fn count(name: &str) -> Result<Sharing, String> {
    let folder = WorkFolder::new("sharing")?;
    let marks = marks(&folder, name)?;
    let mut command = folder.valgrind(&["--tool=lackey", "--trace-mem=yes"], &[RUN, name]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("valgrind: {error}; install it"))?;
    let list = child.stderr.take().ok_or("valgrind has no output")?;
    let mut caches = Caches::default();
    for line in BufReader::new(list).lines() {
        let line = line.map_err(|error| format!("valgrind: {error}"))?;
        let Some((address, is_write)) = access(&line) else {
            continue;
        };
        let mark = address.wrapping_sub(marks);
        match usize::try_from(mark) {
            Ok(number @ 0..=END) if is_write => caches.mark(number),
            _ => caches.access(address, is_write),
        }
    }
    let status = child.wait().map_err(|error| format!("valgrind: {error}"))?;
    let mut requests = caches.requests;
    if !status.success() || requests.len() != 2 * COUNTED {
        return Err(format!("row `{name}` failed under lackey"));
    }
    let mut counted = requests.split_off(COUNTED);
    counted.sort_unstable();
    Ok(counted[counted.len() / 2])
}

/// Returns the address of the first mark in a process under valgrind, where it is always the same.
fn marks(folder: &WorkFolder, name: &str) -> Result<u64, String> {
    let mut command = folder.valgrind(&["--tool=none"], &[ADDRESS, name]);
    let output = command.output();
    let output = output.map_err(|error| format!("valgrind: {error}; install it"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let address = text.lines().find_map(|line| line.parse().ok());
    address.ok_or_else(|| format!("row `{name}` failed under valgrind"))
}

/// Parses a line such as ` S 1ffefff7b0,8`: its address, and if it is a write.
fn access(line: &str) -> Option<(u64, bool)> {
    let (kind, rest) = line.strip_prefix(' ')?.split_at_checked(1)?;
    let is_write = match kind {
        "S" | "M" => true,
        "L" => false,
        _ => return None,
    };
    let (address, _) = rest.trim_start().split_once(',')?;
    Some((u64::from_str_radix(address, 16).ok()?, is_write))
}
