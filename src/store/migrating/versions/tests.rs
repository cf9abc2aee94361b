use super::{Place, Version, new, old};

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

#[test]
fn a_version_tells_which_store_gave_it() {
    for number in [1, 2, 1 << 62, (1 << 63) - 1] {
        let given = version(number);
        assert!(matches!(Place::of(new(given).unwrap()), Place::New(it) if it == given));
        assert!(matches!(Place::of(old(given).unwrap()), Place::Old(it) if it == given));
        assert_ne!(new(given).unwrap(), old(given).unwrap());
    }
}

#[test]
fn a_version_that_no_store_may_give_is_refused_with_the_reason() {
    for number in [1 << 63, (1 << 63) + 1, u64::MAX] {
        for refused in [new(version(number)), old(version(number))] {
            assert!(refused.unwrap_err().to_string().contains("2^63"));
        }
    }
}
