//! The checks after a schedule.

use std::collections::{BTreeMap, BTreeSet};

use hyper_session::{id::StoreKey, store::ReadOutcome};
use serde_json::json;

use crate::{
    driver::{Ending, Machine, Scenario, Schedule},
    model::{FinalRecord, Knowledge, ModelEvent, ModelRecord, RecordId, Run, events_of},
    schedule::Choices,
    script::{CommitResult, Entry, Op, Values, first_data},
    support::{Browser, Jar},
};

/// Runs one schedule of a scenario and checks everything that it promises. Fails with a description.
pub(crate) async fn run(
    machine: &Machine,
    scenario: &Scenario,
    choices: &mut Choices,
) -> Result<(), String> {
    machine.control.lock().keys.clear();
    let visitors = scenario
        .actors
        .iter()
        .map(|it| it.visitor)
        .max()
        .unwrap_or(0)
        + 1;
    let mut jars = Vec::new();
    for visitor in 0..visitors {
        jars.push(first_visit(machine, scenario, visitor).await);
    }
    if scenario.is_renewal_due {
        machine.clock.advance(std::time::Duration::from_secs(61));
    }
    let mut schedule = Schedule::new(machine, scenario, &jars);
    let result = schedule.run(choices).await;
    let check = Check {
        machine,
        scenario,
        jars: &jars,
        has_fault: schedule.faults > 0,
    };
    let checked = match result {
        Ok(endings) => check.all(&endings).await,
        Err(problem) => Err(problem),
    };
    checked.map_err(|problem| {
        let mut lines = vec![problem];
        lines.extend(schedule.trace());
        for (number, entries) in machine.history.lock().iter().enumerate() {
            lines.push(format!("request {number}: {:?}", scenario.actors[number]));
            lines.extend(entries.iter().map(|entry| format!("  {entry:?}")));
        }
        lines.join("\n")
    })
}

/// Visits the service once. Returns the visitor's cookies.
async fn first_visit(machine: &Machine, scenario: &Scenario, visitor: usize) -> Jar {
    let mut browser = Browser::new(machine.sessions(scenario.policy, 0));
    browser
        .visit(async |s| {
            if scenario.is_stored {
                s.merge(&first_data(visitor)).unwrap();
                s.flash("first", visitor).unwrap();
                s.tag("first").unwrap();
            }
        })
        .await;
    // A cookie of a session that was never stored is sent under the policy `rolling`.
    browser.jar
}

/// What a cookie opens.
struct Opened {
    key: StoreKey,
    data: Values,
    flash: Values,
}

struct Check<'a> {
    machine: &'a Machine,
    scenario: &'a Scenario,
    /// The cookies of the visitors before the schedule.
    jars: &'a [Jar],
    has_fault: bool,
}

impl Check<'_> {
    async fn all(&self, endings: &[Ending]) -> Result<(), String> {
        self.statuses(endings)?;
        let mut cookies = Vec::new();
        for jar in self.jars {
            cookies.push(self.open(jar).await);
        }
        let firsts: Vec<StoreKey> = cookies.iter().map(|opened| opened.key).collect();
        let mut carried = Vec::new();
        for (number, ending) in endings.iter().enumerate() {
            let key = match ending.jar.get("session") {
                Some(_) => Some(self.open(&ending.jar).await.key),
                None => None,
            };
            carried.push(key);
            cookies.extend(self.cookie(number, ending, &carried).await?);
        }
        let stored = self.stored(&cookies).await;
        for opened in &cookies {
            check_opened(opened, &stored)?;
        }
        self.index(&stored).await?;
        let run = self.model(endings, &firsts, &carried, stored);
        if !run.is_correct() {
            let stored = &run.stored;
            return Err(format!(
                "no order of the events is correct; stored: {stored:?}"
            ));
        }
        Ok(())
    }

    /// A request fails only if the schedule contains a fault, or after an explicit commit that was
    /// refused and cannot be repeated.
    fn statuses(&self, endings: &[Ending]) -> Result<(), String> {
        for (number, ending) in endings.iter().enumerate() {
            let status = ending.status.map(|status| status.as_u16());
            let history = &self.machine.history.lock()[number];
            let is_refusal = |entry: &Entry| {
                matches!(
                    entry,
                    Entry::Ended {
                        result: CommitResult::Refused,
                        ..
                    }
                )
            };
            let may_fail = self.has_fault || history.iter().any(is_refusal);
            if !matches!(status, None | Some(200 | 409)) && !may_fail {
                return Err(format!("request {number} ended with {status:?}"));
            }
        }
        Ok(())
    }

    /// Checks that a response sets a cookie only for its own session. Returns what the cookie opens.
    async fn cookie(
        &self,
        number: usize,
        ending: &Ending,
        carried: &[Option<StoreKey>],
    ) -> Result<Option<Opened>, String> {
        let actor = &self.scenario.actors[number];
        let Some(line) = ending.headers.get("set-cookie") else {
            return self.check_kept(number);
        };
        let mut jar = Jar::default();
        jar.take_from(&ending.headers);
        let destroys = actor.ops.contains(&Op::Destroy);
        if jar.get("session").is_none() {
            return match destroys {
                true => Ok(None),
                false => Err(format!("request {number} removed the cookie: {line:?}")),
            };
        }
        let opened = self.open(&jar).await;
        let own = self.own_keys(number);
        let is_own = carried[number] == Some(opened.key) || own.contains(&opened.key);
        let others = (0..self.scenario.actors.len()).filter(|other| !self.follows(*other, number));
        let is_used = |other| {
            carried.get(other) == Some(&Some(opened.key))
                || self.own_keys(other).contains(&opened.key)
        };
        if !is_own && others.into_iter().any(is_used) {
            return Err(format!(
                "request {number} set the cookie of another request"
            ));
        }
        Ok(Some(opened))
    }

    /// Returns `true` if a request carries the cookies of another, directly or not.
    fn follows(&self, request: usize, other: usize) -> bool {
        let previous = self.scenario.actors[request].follows;
        request == other || previous.is_some_and(|previous| self.follows(previous, other))
    }

    /// Without a cookie, no session of the request has a new id.
    fn check_kept(&self, number: usize) -> Result<Option<Opened>, String> {
        let history = self.machine.history.lock();
        let entries = &history[number];
        let is_answered = matches!(entries.last(), Some(Entry::Ended { .. }));
        let regenerated = |entry: &Entry| matches!(entry, Entry::Regenerated { .. });
        let ends = |entry: &Entry| matches!(entry, Entry::Destroyed(_) | Entry::Dropped);
        let loses = entries.iter().any(regenerated) && !entries.iter().any(ends);
        match is_answered && loses && !self.has_fault {
            true => Err(format!("request {number} did not send its new id")),
            false => Ok(None),
        }
    }

    /// Returns the keys of the sessions that a request used.
    fn own_keys(&self, number: usize) -> BTreeSet<StoreKey> {
        let mut keys = BTreeSet::new();
        for entry in &self.machine.history.lock()[number] {
            match entry {
                Entry::Initiated { key, .. } | Entry::Committed(key) => drop(keys.insert(*key)),
                Entry::Regenerated { to, .. } => drop(keys.insert(*to)),
                _ => {}
            }
        }
        keys
    }

    async fn open(&self, jar: &Jar) -> Opened {
        let mut browser = Browser::new(&self.machine.checker);
        browser.jar = jar.clone();
        let visit = browser
            .request(async |s| {
                let key = s.store_key().unwrap();
                s.load_read_only().await.unwrap();
                Opened {
                    key,
                    data: s.all().unwrap(),
                    flash: s.flash_messages().unwrap().all().unwrap(),
                }
            })
            .await;
        visit.value.unwrap()
    }

    /// Returns all sessions that are stored.
    async fn stored(&self, cookies: &[Opened]) -> Vec<FinalRecord> {
        let keys = self.machine.control.lock().keys.clone();
        let collection = self.machine.checker.collection();
        let mut stored = Vec::new();
        for key in keys {
            let Some(data) = collection.get(&key).await.unwrap() else {
                continue;
            };
            let read = self.machine.inner.read(&key, None).await.unwrap();
            let ReadOutcome::Found(record) = read else {
                continue;
            };
            let cookie = cookies.iter().find(|opened| opened.key == key);
            stored.push(FinalRecord {
                key,
                data: data.all().unwrap(),
                flash: cookie.map(|opened| opened.flash.clone()),
                tags: record.tags.iter().map(str::to_owned).collect(),
            });
        }
        stored
    }

    /// Checks that the index of tags agrees with the records.
    async fn index(&self, stored: &[FinalRecord]) -> Result<(), String> {
        let keys = self.machine.control.lock().keys.clone();
        let own = ["t0", "t1", "t2", "t3", "t4", "t5"];
        for tag in ["first", "t"].into_iter().chain(own) {
            let collection = self.machine.checker.collection();
            let listed = collection.tagged(tag).await.unwrap().into_iter();
            let listed: BTreeSet<_> = listed.filter(|key| keys.contains(key)).collect();
            let tagged = stored.iter().filter(|record| record.tags.contains(tag));
            let tagged: BTreeSet<_> = tagged.map(|record| record.key).collect();
            if listed != tagged {
                return Err(format!("tag {tag}: {listed:?} are listed, not {tagged:?}"));
            }
        }
        Ok(())
    }

    fn model(
        &self,
        endings: &[Ending],
        firsts: &[StoreKey],
        carried: &[Option<StoreKey>],
        stored: Vec<FinalRecord>,
    ) -> Run {
        let mut first = BTreeMap::new();
        for (visitor, key) in firsts
            .iter()
            .enumerate()
            .filter(|_| self.scenario.is_stored)
        {
            let record = ModelRecord {
                data: serde_json::from_value(first_data(visitor)).unwrap(),
                flash: BTreeMap::from([("first".to_owned(), (json!(visitor), usize::MAX))]),
                tags: BTreeSet::from(["first".to_owned()]),
            };
            first.insert(RecordId::Stored(*key), record);
        }
        let history = self.machine.history.lock();
        let actors = self.scenario.actors.iter().enumerate();
        let events = actors.map(|(number, actor)| match endings[number].step {
            step if actor.is_expiry && step > 0 => vec![ModelEvent::expiry(step)],
            _ => events_of(number, &history[number]),
        });
        let requests = carried.iter().map(|key| Knowledge::from_cookie(*key));
        Run {
            first,
            requests: requests.collect(),
            events: events.collect(),
            stored,
        }
    }
}

/// Checks that a cookie opens the stored session of its id, or nothing.
fn check_opened(opened: &Opened, stored: &[FinalRecord]) -> Result<(), String> {
    let record = stored.iter().find(|record| record.key == opened.key);
    let is_right = match record {
        Some(record) => record.data == opened.data,
        None => opened.data.is_empty() && opened.flash.is_empty(),
    };
    match is_right {
        true => Ok(()),
        false => Err("a cookie of a dead id opens a session".to_owned()),
    }
}
