//! Conversion of `garde` reports into validation errors.

use garde::{Error, Path, Report};
use hyper_session::form::ValidationErrors;

#[test]
fn every_message_is_at_its_field_with_dots() {
    let mut report = Report::new();
    let name = Path::new("items").join(0_usize).join("name");
    report.append(Path::new("title"), Error::new("length is lower than 1"));
    report.append(name.clone(), Error::new("not ascii"));
    report.append(name, Error::new("too long"));
    report.append(Path::new(3_usize), Error::new("odd"));
    report.append(Path::empty(), Error::new("passwords do not match"));
    let errors = ValidationErrors::from(report);
    let all: Vec<(&str, &[String])> = errors.iter().collect();
    assert_eq!(
        all,
        [
            ("", &["passwords do not match".to_owned()][..]),
            ("3", &["odd".to_owned()]),
            (
                "items.0.name",
                &["not ascii".to_owned(), "too long".to_owned()]
            ),
            ("title", &["length is lower than 1".to_owned()]),
        ]
    );
}
