//! The complete enumeration of many scenarios, in several threads. It can be interrupted.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write,
    num::NonZero,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{Simulation, driver::Scenario};

/// The scenarios of one group that have been run, in a file that the next run continues.
struct Progress {
    group: String,
    path: PathBuf,
    /// Number of schedules of each scenario that has been run.
    finished: Mutex<BTreeMap<usize, usize>>,
}

impl Progress {
    fn read(group: &str, path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let finished = text.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let mut number = || words.next_back()?.parse::<usize>().ok();
            let (schedules, scenario) = (number()?, number()?);
            (words.next_back() == Some(group)).then_some((scenario, schedules))
        });
        Self {
            group: group.to_owned(),
            finished: Mutex::new(finished.collect()),
            path,
        }
    }

    fn contains(&self, scenario: usize) -> bool {
        self.finished.lock().unwrap().contains_key(&scenario)
    }

    fn add(&self, scenario: usize, schedules: usize, scenarios: usize) {
        let mut finished = self.finished.lock().unwrap();
        finished.insert(scenario, schedules);
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).open(&self.path).unwrap();
        let line = format!("{} {scenario} {schedules}\n", self.group);
        file.write_all(line.as_bytes()).unwrap();
        let total: usize = finished.values().sum();
        println!(
            "{}: {} of {scenarios} scenarios, {total} schedules",
            self.group,
            finished.len()
        );
    }
}

/// Ends the work of all threads when one of them panics, so that its message is the last one.
struct StopOnPanic<'a> {
    next: &'a AtomicUsize,
    end: usize,
}

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.next.store(self.end, Ordering::Relaxed);
        }
    }
}

/// Runs all schedules of each scenario, except for the scenarios that the file at `path` lists. Returns the number
/// of jobs that waited for a new id and then changed the session, or `None` if the file lists a scenario.
pub(crate) fn run(group: &str, scenarios: &[Scenario], path: PathBuf) -> Option<usize> {
    let progress = Progress::read(group, path);
    let is_resumed = !progress.finished.lock().unwrap().is_empty();
    let (next, successes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut simulation = Simulation::new();
        let _stop = StopOnPanic {
            next: &next,
            end: scenarios.len(),
        };
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(scenario) = scenarios.get(number) else {
                successes.fetch_add(simulation.successes_after_wait, Ordering::Relaxed);
                return;
            };
            if !progress.contains(number) {
                let name = format!("{group}:{number}");
                let before = simulation.schedules();
                simulation.run_scenario(&name, scenario, usize::MAX, 0);
                let schedules = simulation.schedules() - before;
                progress.add(number, schedules, scenarios.len());
            }
        }
    };
    // More threads than processors: a schedule also waits for timers.
    let threads = 2 * thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    (!is_resumed).then(|| successes.into_inner())
}
