//! Rebasing a patch on a newer snapshot loses no change.

use hyper_session::{
    document::{Document, EditError},
    patch::{ChangeLimits, Patch},
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::model::{
    exact::Value as Exact,
    real,
    reference::{self, Edit},
    strategies::{edits, object},
};

fn document(value: &Value) -> Document {
    Document::parse(value.to_string().as_bytes()).unwrap()
}

/// Runs the edits of one request. Returns the patch, the document, and the recorded edits.
fn request(base: &Document, edits: &[Edit]) -> (Patch, Document, Vec<Edit>) {
    let (mut patch, mut document) = (Patch::new(ChangeLimits::default()), base.clone());
    let mut recorded = Vec::new();
    for edit in edits {
        if real::record(&mut patch, &mut document, edit).is_ok() {
            recorded.push(edit.clone());
        }
    }
    (patch, document, recorded)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn reads_see_every_change_at_once(start in object(), edits in edits(8)) {
        let base = document(&start);
        let (_, edited, recorded) = request(&base, &edits);
        let mut model = Exact::from(&start);
        for edit in &recorded {
            reference::edit(&mut model, edit).unwrap();
        }
        prop_assert_eq!(real::checked_value(&edited), model);
    }

    #[test]
    fn on_the_same_snapshot_a_rebase_gives_the_same_document(start in object(), edits in edits(8)) {
        let base = document(&start);
        let (patch, edited, recorded) = request(&base, &edits);
        let mut again = real::reload(&base);
        patch.rebase(&base, &mut again).unwrap();
        // A replace counts as a clear and one more operation.
        let replaces = recorded.iter().any(|edit| matches!(edit, Edit::Replace(_)));
        prop_assert!(patch.len() <= recorded.len() + usize::from(replaces));
        prop_assert_eq!(again.text(), edited.text());
    }

    #[test]
    fn after_another_request_every_operation_is_done_in_order_or_one_is_refused(
        start in object(),
        ours in edits(8),
        theirs in edits(8),
    ) {
        let base = document(&start);
        let (patch, _, recorded) = request(&base, &ours);
        let (_, mut newer, _) = request(&base, &theirs);
        let mut model = real::checked_value(&newer);
        let failed = real::rebase(&base, &newer, &mut model, &recorded);
        match patch.rebase(&base, &mut newer) {
            Ok(()) => prop_assert_eq!(real::checked_value(&newer), model),
            Err(error) => prop_assert!(failed > 0, "{}", error),
        }
    }

    #[test]
    fn a_clear_takes_what_was_there_and_nothing_that_another_request_wrote(
        start in object(),
        before in edits(4),
        after in edits(4),
        theirs in edits(6),
    ) {
        let base = document(&start);
        let mut ours = before;
        ours.push(Edit::Clear);
        ours.extend(after.iter().cloned());
        let (patch, _, recorded) = request(&base, &ours);
        let (_, mut newer, _) = request(&base, &theirs);
        let mut model = real::checked_value(&newer);
        let failed = real::rebase(&base, &newer, &mut model, &recorded);
        match patch.rebase(&base, &mut newer) {
            Ok(()) => prop_assert_eq!(real::checked_value(&newer), model),
            Err(error) => prop_assert!(failed > 0, "{}", error),
        }
    }

    #[test]
    fn increments_of_all_requests_add_up(
        start in -5..5i64,
        requests in vec(vec((0..3usize, -9..9i64), 0..6), 1..8),
    ) {
        const COUNTERS: [&str; 3] = ["visits", "a.b", "list[2]"];
        let base = document(&json!({"visits": start}));
        let mut current = base.clone();
        let mut sums = [start, 0, 0];
        for request in &requests {
            let (mut patch, mut document) = (Patch::new(ChangeLimits::default()), base.clone());
            for &(counter, by) in request {
                patch.add(&mut document, COUNTERS[counter], by).unwrap();
                sums[counter] += by;
            }
            patch.rebase(&base, &mut current).unwrap();
        }
        for (counter, sum) in COUNTERS.into_iter().zip(sums) {
            let found = current.get(counter).unwrap().map_or(0, |raw| raw.deserialize().unwrap());
            prop_assert_eq!(found, sum, "{}", counter);
        }
    }
}

#[test]
fn an_operation_that_does_not_fit_any_more_refuses_the_patch() {
    let base = document(&json!({"n": 1}));
    let (mut patch, mut ours) = (Patch::new(ChangeLimits::default()), base.clone());
    patch.put(&mut ours, "before", &true).unwrap();
    patch.add(&mut ours, "n", 1).unwrap();

    let mut newer = document(&json!({"n": "became text"}));
    let error = patch.rebase(&base, &mut newer).unwrap_err();
    assert_eq!(&*error.path, "n");
    assert_eq!(error.source, EditError::NotANumber { path: "n".into() });
}

#[test]
fn a_put_before_a_clear_does_not_come_back() {
    let base = document(&json!({"cart": 1}));
    let (mut patch, mut ours) = (Patch::new(ChangeLimits::default()), base.clone());
    patch.put(&mut ours, "cart", &2).unwrap();
    patch.clear(&mut ours);
    patch.put(&mut ours, "fresh", &3).unwrap();
    assert_eq!(patch.len(), 2);

    let mut newer = document(&json!({"cart": 1, "theirs": 4}));
    patch.rebase(&base, &mut newer).unwrap();
    assert_eq!(newer.text(), br#"{"theirs":4,"fresh":3}"#);
}
