//! Conversion from the reports of `garde`.

use super::ValidationErrors;

impl From<garde::Report> for ValidationErrors {
    /// Converts a report, as in `post.validate().map_err(ValidationErrors::from)?`. A path such as
    /// `items[0].name` becomes `items.0.name`.
    fn from(report: garde::Report) -> Self {
        let mut errors = Self::new();
        for (path, error) in report.iter() {
            let path = path.to_string().replace('[', ".").replace(']', "");
            errors.add(path.trim_start_matches('.'), error.message());
        }
        errors
    }
}
