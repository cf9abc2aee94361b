//! The comparison with the accepted counts.

#[allow(dead_code, reason = "each target uses a part")]
#[path = "../src/counts.rs"]
mod counts;

use counts::{Average, CALLS, Counts, Tolerance, Verdict};

fn counts(instructions: i64, allocations: i64) -> Counts {
    Counts {
        instructions,
        allocations,
    }
}

/// Compares counts with accepted ones.
fn verdict(counts: Counts, accepted: Counts) -> Verdict {
    Verdict::new(counts, Some(accepted), Tolerance::USUAL)
}

#[test]
fn an_allocation_in_some_calls_of_a_batch_counts() {
    let instructions = || vec![1_000 * CALLS; 9];
    let accepted = Counts::typical(Average::Median, instructions(), vec![0; 9]);
    for allocations in [1, CALLS - 1, CALLS] {
        let counts = Counts::typical(Average::Median, instructions(), vec![allocations; 9]);
        assert_eq!(verdict(counts, accepted), Verdict::Worse(accepted));
    }
}

#[test]
fn a_row_with_lower_counts_fails_until_they_are_accepted() {
    let accepted = counts(1_000, 32);
    for better in [counts(989, 32), counts(1_000, 31)] {
        let verdict = verdict(better, accepted);
        assert_eq!(verdict, Verdict::Better(accepted));
        assert!(verdict.is_failure());
    }
}

#[test]
fn a_row_may_differ_by_one_percent_and_a_short_one_by_five_instructions() {
    for (accepted, slack) in [(10_000_i64, 100_i64), (-10_000, 100), (300, 5)] {
        for sign in [1, -1] {
            let at =
                |difference| verdict(counts(accepted + sign * difference, 0), counts(accepted, 0));
            assert_eq!(at(slack), Verdict::Same);
            assert!(at(slack + 1).is_failure());
        }
    }
}

#[test]
fn one_batch_with_a_timer_does_not_count_for_requests() {
    let batches = || [vec![0; 8], vec![CALLS]].concat();
    let counts = Counts::typical(Average::Median, batches(), batches());
    assert_eq!(counts, Counts::default());
}

#[test]
fn allocations_may_differ_where_maps_grow_at_random_times() {
    let tolerance = Tolerance {
        allocations: Some(16),
        ..Tolerance::USUAL
    };
    let accepted = counts(1_000, 160);
    let at = |allocations| Verdict::new(counts(1_000, allocations), Some(accepted), tolerance);
    assert_eq!(at(170), Verdict::Same);
    assert_eq!(at(150), Verdict::Same);
    assert_eq!(at(171), Verdict::Worse(accepted));
    assert_eq!(at(149), Verdict::Better(accepted));
}
