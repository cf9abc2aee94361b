//! The checks after a schedule.

use std::collections::{BTreeMap, BTreeSet};

use http::{StatusCode, header::SET_COOKIE};
use hyper_session::{Session, id::StoreKey, store::ReadOutcome};
use serde_json::json;

use crate::{
    driver::{Ending, Machine, Scenario, Schedule},
    events::{ModelEvent, end_with_commits, events_of},
    model::{FinalRecord, Knowledge, ModelRecord, OpenedCookie, RecordId, Run},
    schedule::Choices,
    script::{CommitResult, Entry, HOUR, Op, Role, first_data},
    support::{Browser, Jar},
};

/// Runs one schedule of a scenario and checks everything that it promises. Returns the results that do not
/// depend on keys, or `None` if the schedule repeats another one. Fails with a description.
pub(crate) async fn run(
    machine: &Machine,
    scenario: &Scenario,
    choices: &mut Choices,
) -> Result<Option<String>, String> {
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
        failed_engines: &schedule.failed_engines,
    };
    let checked = match result {
        Ok(_) if schedule.is_redundant => {
            check.clean_up().await;
            Ok(None)
        }
        Ok(endings) => check.all(&endings).await.map(Some),
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
    let mut browser = Browser::new(machine.sessions(scenario, 0));
    browser
        .visit(async |s| {
            if scenario.is_stored {
                s.merge(first_data(visitor)).unwrap();
                s.flash("first", visitor).unwrap();
                s.tag("first").unwrap();
            }
        })
        .await;
    // A cookie of a session that was never stored is sent under the policy `rolling`.
    browser.jar
}

/// Returns the status and the number of cookies of each response, and what is stored.
fn results(endings: &[Ending], stored: &[FinalRecord]) -> String {
    let responses = endings.iter().map(|ending| {
        let cookies = ending.headers.get_all(SET_COOKIE).iter().count();
        (ending.status, cookies)
    });
    let records = stored.iter().map(|it| {
        format!(
            "{:?} {:?} {:?} {:?}",
            it.data, it.flash, it.tags, it.max_age
        )
    });
    let (responses, mut records): (Vec<_>, Vec<_>) = (responses.collect(), records.collect());
    records.sort();
    format!("{responses:?} {records:?}")
}

/// Returns the timeout of a session in hours.
fn hours(session: &Session) -> u32 {
    let (seen, end) = (session.last_seen().unwrap(), session.expires_at().unwrap());
    let hours = end.duration_since(seen).as_secs() / HOUR.as_secs();
    hours.try_into().unwrap()
}

struct Check<'a> {
    machine: &'a Machine,
    scenario: &'a Scenario,
    /// The cookies of the visitors before the schedule.
    jars: &'a [Jar],
    has_fault: bool,
    /// The processes of which a call failed.
    failed_engines: &'a BTreeSet<usize>,
}

impl Check<'_> {
    async fn all(&self, endings: &[Ending]) -> Result<String, String> {
        self.statuses(endings)?;
        let mut cookies = Vec::new();
        for jar in self.jars {
            cookies.push(self.open(jar).await);
        }
        let firsts: Vec<StoreKey> = cookies.iter().map(|opened| opened.carried).collect();
        let mut carried = Vec::new();
        for (number, ending) in endings.iter().enumerate() {
            let key = match ending.jar.get("session") {
                Some(_) => Some(self.open(&ending.jar).await.carried),
                None => None,
            };
            carried.push(key);
            cookies.extend(self.cookie(number, ending, &carried).await?);
        }
        let stored = self.stored(&cookies).await;
        self.index(&stored).await?;
        let run = Run {
            stored,
            cookies,
            ..self.model(endings, &firsts, &carried)
        };
        if !run.is_correct() {
            let Run {
                stored, cookies, ..
            } = &run;
            return Err(format!(
                "no order of the events is correct; stored: {stored:?}; cookies: {cookies:?}"
            ));
        }
        self.clean_up().await;
        Ok(results(endings, &run.stored))
    }

    /// A request fails only if a call of its process failed, or after an explicit commit that was
    /// refused and cannot be repeated.
    fn statuses(&self, endings: &[Ending]) -> Result<(), String> {
        let may_wait_for_ever = self.may_wait_for_ever();
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
            let has_fault = self
                .failed_engines
                .contains(&self.scenario.actors[number].engine);
            let may_fail = has_fault || history.iter().any(is_refusal);
            let is_job = matches!(
                self.scenario.actors[number].role,
                Role::Job(_) | Role::ListedJob(_)
            );
            let is_end =
                is_job && (status == Some(404) || status == Some(425) && may_wait_for_ever);
            if !matches!(status, None | Some(200 | 409)) && !is_end && !may_fail {
                return Err(format!("request {number} ended with {status:?}"));
            }
        }
        Ok(())
    }

    /// Returns `true` if a regeneration may have been interrupted between its writes.
    fn may_wait_for_ever(&self) -> bool {
        self.has_fault || self.scenario.actors.iter().any(|it| it.may_be_dropped)
    }

    /// Checks that a response sets a cookie only for its own session. Returns what the cookie opens.
    async fn cookie(
        &self,
        number: usize,
        ending: &Ending,
        carried: &[Option<StoreKey>],
    ) -> Result<Option<OpenedCookie>, String> {
        let actor = &self.scenario.actors[number];
        let Some(line) = ending.headers.get("set-cookie") else {
            self.check_kept(number, ending, carried[number])?;
            return Ok(None);
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
        let is_own = carried[number] == Some(opened.carried) || own.contains(&opened.carried);
        let is_used = || (0..carried.len()).any(|it| self.own_keys(it).contains(&opened.carried));
        if !is_own && (self.has_session(number) || is_used()) {
            return Err(format!(
                "request {number} set the cookie of another session"
            ));
        }
        let is_anonymous = !is_own && !is_used();
        if is_anonymous && self.has_found_end(number, carried[number]) {
            return Err(format!(
                "request {number} set a new id, although its session was ended"
            ));
        }
        let deaths = self.deaths(Some(actor.engine), ending.step);
        if deaths.contains(&opened.carried) {
            return Err(format!("request {number} set a cookie that was dead"));
        }
        Ok(Some(opened))
    }

    /// Returns `true` if a request found a session and did not end it.
    fn has_session(&self, number: usize) -> bool {
        let history = self.machine.history.lock();
        let loaded = history[number].iter().rev().find_map(|entry| match entry {
            Entry::Initiated { is_fresh, .. } => Some(!is_fresh),
            _ => None,
        });
        loaded == Some(true) && !self.scenario.actors[number].ops.contains(&Op::Destroy)
    }

    /// Returns the ids whose end a process knew before this step, or any process.
    fn deaths(&self, engine: Option<usize>, before: usize) -> BTreeSet<StoreKey> {
        let history = self.machine.history.lock();
        let actors = self.scenario.actors.iter().zip(&*history);
        let entries = actors.filter(|(actor, _)| engine.is_none_or(|it| it == actor.engine));
        let deaths = entries
            .flat_map(|(_, entries)| entries)
            .filter_map(|entry| match entry {
                Entry::Destroyed { step, key } => Some((*step, *key)),
                Entry::Regenerated { step, from, .. } => Some((*step, *from)),
                _ => None,
            });
        let deaths = deaths.filter(|(step, _)| *step < before);
        deaths.map(|(_, key)| key).collect()
    }

    /// Returns `true` if the id that a request carried was destroyed or replaced before its last call, and did not
    /// expire.
    fn has_found_end(&self, number: usize, carried: Option<StoreKey>) -> bool {
        let has_expiry = self
            .scenario
            .actors
            .iter()
            .any(|it| it.role == Role::Expiry);
        let last_call = self.machine.control.lock().executed.get(&number).copied();
        let deaths = self.deaths(None, last_call.unwrap_or(0));
        !has_expiry && carried.is_some_and(|carried| deaths.contains(&carried))
    }

    /// Checks that a response without a cookie belongs to a request whose session has the id that the
    /// request carried, or has ended.
    fn check_kept(
        &self,
        number: usize,
        ending: &Ending,
        carried: Option<StoreKey>,
    ) -> Result<(), String> {
        let history = self.machine.history.lock();
        let ends = |entry: &Entry| matches!(entry, Entry::Destroyed { .. } | Entry::Dropped);
        let is_request = self.scenario.actors[number].role == Role::Request;
        let is_answered = is_request && ending.status == Some(StatusCode::OK);
        if !is_answered || self.has_fault || history[number].iter().any(ends) {
            return Ok(());
        }
        let used = history[number].iter().rev().find_map(|entry| match entry {
            Entry::Initiated {
                key,
                is_fresh: false,
            }
            | Entry::Committed(key)
            | Entry::Regenerated { to: key, .. } => Some(*key),
            _ => None,
        });
        let is_ended = |entry: &Entry| match entry {
            Entry::Destroyed { key, .. } | Entry::Regenerated { from: key, .. } => {
                Some(*key) == used
            }
            _ => false,
        };
        match used.is_none() || used == carried || history.iter().flatten().any(is_ended) {
            true => Ok(()),
            false => Err(format!("request {number} did not send its new id")),
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

    async fn open(&self, jar: &Jar) -> OpenedCookie {
        let mut browser = Browser::new(&self.machine.checker);
        browser.jar = jar.clone();
        let visit = browser
            .request(async |s| {
                let carried = s.store_key().unwrap();
                let s = s.load_read_only().await.unwrap();
                OpenedCookie {
                    carried,
                    key: s.store_key().unwrap(),
                    data: s.all().unwrap(),
                    flash: s.flash_messages().unwrap().all().unwrap(),
                    max_age: hours(s),
                }
            })
            .await;
        visit.value.unwrap()
    }

    /// Returns all sessions that are stored.
    async fn stored(&self, cookies: &[OpenedCookie]) -> Vec<FinalRecord> {
        let keys = self.machine.control.lock().keys.clone();
        let collection = self.machine.checker.collection();
        let mut stored = Vec::new();
        for key in keys {
            let Some(data) = collection.get(&key).await.unwrap() else {
                continue;
            };
            // An old id leads to the session under its new id.
            let info = collection.info(&key, &[]).await.unwrap();
            if info.is_none_or(|info| *info.key() != key) {
                continue;
            }
            let read = self.machine.inner.read(&key, None).await.unwrap();
            let ReadOutcome::Found(record) = read else {
                continue;
            };
            let cookie = cookies.iter().find(|opened| opened.key == key);
            stored.push(FinalRecord {
                key,
                data: data.all().unwrap(),
                flash: cookie.map(|opened| opened.flash.clone()),
                max_age: cookie.map(|opened| opened.max_age),
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
            let listed = collection.list(tag, &[]).await.unwrap();
            let listed = listed.iter().map(|info| *info.key());
            let listed: BTreeSet<_> = listed.filter(|key| keys.contains(key)).collect();
            let tagged = stored.iter().filter(|record| record.tags.contains(tag));
            let tagged: BTreeSet<_> = tagged.map(|record| record.key).collect();
            if listed != tagged {
                return Err(format!("tag {tag}: {listed:?} are listed, not {tagged:?}"));
            }
        }
        Ok(())
    }

    /// Ends all sessions, so that the next run finds none of them by a tag.
    async fn clean_up(&self) {
        let keys = std::mem::take(&mut self.machine.control.lock().keys);
        for key in &keys {
            self.machine.inner.destroy(key).await.unwrap();
        }
    }

    fn model(&self, endings: &[Ending], firsts: &[StoreKey], carried: &[Option<StoreKey>]) -> Run {
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
                ..ModelRecord::default()
            };
            first.insert(RecordId::Stored(*key), record);
        }
        let history = self.machine.history.lock();
        let actors = self.scenario.actors.iter().enumerate();
        let events = actors.map(|(number, actor)| {
            let Ending { status, step, .. } = endings[number];
            match actor.role {
                Role::Expiry | Role::WindowEnd if step == 0 => Vec::new(),
                Role::Expiry => vec![ModelEvent::advance(step, true)],
                Role::WindowEnd => vec![ModelEvent::advance(step, false)],
                Role::SignOut => vec![ModelEvent::sign_out(status.map(|status| (step, status)))],
                Role::Job(change) => {
                    let ended = status.map(|status| (step, status));
                    let key = firsts[actor.visitor];
                    vec![ModelEvent::job(number, change, (0, key), ended, None)]
                }
                Role::ListedJob(change) => {
                    let ended = status.map(|status| (step, status));
                    let chosen = history[number].iter().find_map(|entry| match entry {
                        Entry::Chosen { step, key } => Some((*step, *key)),
                        _ => None,
                    });
                    let sum = history[number].iter().find_map(|entry| match entry {
                        Entry::Updated(sum) => Some(*sum),
                        _ => None,
                    });
                    let job = |chosen| ModelEvent::job(number, change, chosen, ended, sum);
                    let chosen = chosen.filter(|_| status != Some(StatusCode::TOO_EARLY));
                    chosen.map(job).into_iter().collect()
                }
                Role::Request => events_of(number, &history[number]),
            }
        });
        let mut events: Vec<Vec<ModelEvent>> = events.collect();
        end_with_commits(&mut events);
        let requests = carried.iter().map(|key| Knowledge::from_cookie(*key));
        Run {
            first,
            requests: requests.collect(),
            events,
            stored: Vec::new(),
            cookies: Vec::new(),
        }
    }
}
