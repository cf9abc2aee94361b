//! Jobs that change sessions outside of requests.

use serde_json::{Value, json};

use super::{RecordId, World};
use crate::{
    events::{JobOutcome, ModelJob},
    script::{JOB_AMOUNT, JOB_TAG, JobChange, update_fields},
};

impl World {
    /// Changes the session with this key as a job does. A change comes after the commit that gives the session
    /// this key. An end of the session may come before it.
    pub(super) fn run_job(&mut self, job: ModelJob, since: usize) -> bool {
        let key = RecordId::Stored(job.key);
        let id = self.opened(key, since).map(|(id, _)| id);
        if job.change == JobChange::End {
            let id = id.or_else(|| self.old_id(key, since));
            id.into_iter().for_each(|id| self.end(id));
            self.dead.insert(key);
            return true;
        }
        let Some(record) = id.and_then(|id| self.records.get_mut(&id)) else {
            // A job waits for a commit that stores the session under this key.
            let is_pending = self.given_keys.contains(&key) && !self.dead.contains(&key);
            return job.outcome == JobOutcome::Ended && !is_pending;
        };
        let data = &mut record.data;
        match (job.change, data.get("n").map_or(Some(0), Value::as_i64)) {
            (JobChange::Add, None) => return job.outcome == JobOutcome::Unfit,
            (JobChange::Add, Some(n)) => {
                data.insert("n".to_owned(), json!(n + JOB_AMOUNT));
                if job.sum.is_some_and(|sum| sum != n + JOB_AMOUNT) {
                    return false;
                }
            }
            (JobChange::Fields, _) => update_fields(data, job.number),
            (JobChange::Tag, _) => drop(record.tags.insert(JOB_TAG.to_owned())),
            (JobChange::End, _) => {}
        }
        matches!(job.outcome, JobOutcome::Updated | JobOutcome::Unknown)
    }

    /// Returns the present id of the session that is to get the id with this key.
    fn old_id(&self, key: RecordId, since: usize) -> Option<RecordId> {
        let carried = self.requests[*self.new_keys.get(&key)?].id?;
        let opened = self.opened(carried, since).map(|(id, _)| id);
        opened.filter(|_| !self.dead.contains(&key))
    }
}
