use super::{StoreSide, Version, from_new, from_old};

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

#[test]
fn a_version_shows_which_store_assigned_it() {
    for number in [1, 2, 1 << 62, (1 << 63) - 1] {
        let given = version(number);
        assert!(
            matches!(StoreSide::from_version(from_new(given).unwrap()), StoreSide::New(it) if it == given)
        );
        assert!(
            matches!(StoreSide::from_version(from_old(given).unwrap()), StoreSide::Old(it) if it == given)
        );
        assert_ne!(from_new(given).unwrap(), from_old(given).unwrap());
    }
}

#[test]
fn a_version_that_no_store_may_give_is_refused_with_the_reason() {
    for number in [1 << 63, (1 << 63) + 1, u64::MAX] {
        for refused in [from_new(version(number)), from_old(version(number))] {
            assert!(refused.unwrap_err().to_string().contains("2^63"));
        }
    }
}
