//! The content type of a request.

use http::{HeaderMap, header::CONTENT_TYPE};

use super::error::InputErrorKind;

/// A content type that [`Input`](super::Input) can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BodyType {
    /// No `Content-Type` header: the body must be empty.
    Unspecified,
    Urlencoded,
    Json,
    /// A multipart form with its boundary.
    Multipart(String),
}

impl BodyType {
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<Self, InputErrorKind> {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Ok(Self::Unspecified);
        };
        let value = value
            .to_str()
            .map_err(|_| InputErrorKind::UnsupportedType)?;
        let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
        let essence = essence.trim();
        let is_type = |name: &str| essence.eq_ignore_ascii_case(name);
        if is_type("multipart/form-data") {
            let boundary = multer::parse_boundary(value);
            let missing = |_| InputErrorKind::Malformed("the multipart boundary is missing");
            return boundary.map(Self::Multipart).map_err(missing);
        }
        if !is_utf8(parameters) {
            return Err(InputErrorKind::UnsupportedType);
        }
        match () {
            () if is_type("application/x-www-form-urlencoded") => Ok(Self::Urlencoded),
            () if is_json(essence) => Ok(Self::Json),
            () => Err(InputErrorKind::UnsupportedType),
        }
    }

    /// Returns `true` for the types with named fields, one of which may be a CSRF token.
    pub(super) const fn has_fields(&self) -> bool {
        !matches!(self, Self::Unspecified)
    }
}

/// Returns `true` for `application/json` and for types such as `application/vnd.api+json` (RFC 6839, section 3.1).
fn is_json(essence: &str) -> bool {
    let Some((kind, subtype)) = essence.split_once('/') else {
        return false;
    };
    let suffix = subtype
        .rsplit_once('+')
        .map_or(subtype, |(_, suffix)| suffix);
    kind.eq_ignore_ascii_case("application") && suffix.eq_ignore_ascii_case("json")
}

/// Returns `true` if the media type's parameters name no other character set than UTF-8 or ASCII.
fn is_utf8(parameters: &str) -> bool {
    parameters.split(';').all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || value.eq_ignore_ascii_case("utf-8")
            || value.eq_ignore_ascii_case("us-ascii")
    })
}
