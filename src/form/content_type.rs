//! What a request says that its body is.

use http::{HeaderMap, header::CONTENT_TYPE};

use super::error::InputErrorKind;

/// The media types of forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No type is named: there may be no body.
    Unnamed,
    Urlencoded,
    Json,
    /// With its boundary.
    Multipart(String),
}

impl Kind {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, InputErrorKind> {
        let Some(line) = headers.get(CONTENT_TYPE) else {
            return Ok(Self::Unnamed);
        };
        let line = line.to_str().map_err(|_| InputErrorKind::UnsupportedType)?;
        let (essence, parameters) = line.split_once(';').unwrap_or((line, ""));
        let essence = essence.trim();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        if is("multipart/form-data") {
            let boundary = multer::parse_boundary(line);
            let missing = |_| InputErrorKind::Malformed("the multipart form has no boundary");
            return boundary.map(Self::Multipart).map_err(missing);
        }
        if !in_utf8(parameters) {
            return Err(InputErrorKind::UnsupportedType);
        }
        match () {
            () if is("application/x-www-form-urlencoded") => Ok(Self::Urlencoded),
            () if is("application/json") => Ok(Self::Json),
            () => Err(InputErrorKind::UnsupportedType),
        }
    }

    /// Whether an HTML form can send it, and a field of it carry a token.
    pub(super) const fn is_form(&self) -> bool {
        matches!(self, Self::Urlencoded | Self::Multipart(_))
    }
}

/// Whether the parameters of a media type ask for no other characters than UTF-8's.
fn in_utf8(parameters: &str) -> bool {
    parameters.split(';').all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || value.eq_ignore_ascii_case("utf-8")
            || value.eq_ignore_ascii_case("us-ascii")
    })
}
