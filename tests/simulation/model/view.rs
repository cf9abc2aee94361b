//! The data that a handler sees after an explicit commit.

use super::{World, change_data};
use crate::script::{Op, Values};

impl World {
    /// Returns `false` if the data is not that of the stored record with the changes `late`, which the handler made
    /// during the commit.
    pub(super) fn view(
        &mut self,
        request: usize,
        data: &Values,
        number: usize,
        late: &[Op],
    ) -> bool {
        let known = &mut self.requests[request];
        let record = known.id.and_then(|id| self.records.get(&id));
        let Some(record) = record else {
            return false;
        };
        known.data = record.data.clone();
        let mut expected = record.data.clone();
        // If a change does not fit the record, the next commit is refused.
        let is_unfit = |op: &Op| change_data(&mut expected, *op, number / 10).is_err();
        late.iter().any(is_unfit) || expected == *data
    }
}
