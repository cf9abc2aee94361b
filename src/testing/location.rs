//! The target of a redirect.

use http::{Method, StatusCode, Uri};

/// Resolves a `Location` against the URL of its request, as browsers do (RFC 3986, 5.2; URL Standard,
/// 4.4). Returns `None` if it is no URL of HTTP.
pub(super) fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let reference = clean(location);
    let scheme = base.scheme_str()?;
    let origin = format!("{scheme}://{}", base.authority()?);
    let url = if has_scheme(&reference) {
        reference
    } else if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else if reference.starts_with('/') {
        format!("{origin}{reference}")
    } else if reference.is_empty() {
        format!("{origin}{}", base.path_and_query()?)
    } else if reference.starts_with('?') {
        format!("{origin}{}{reference}", base.path())
    } else {
        let (folder, _) = base.path().rsplit_once('/')?;
        format!("{origin}{folder}/{reference}")
    };
    let url: Uri = url.parse().ok()?;
    let is_http = matches!(url.scheme_str(), Some("http" | "https"));
    let mut parts = url.into_parts();
    let path = parts.path_and_query.as_ref().filter(|_| is_http)?;
    let query = path.query().map(|query| format!("?{query}"));
    let path = without_dots(path.path()) + &query.unwrap_or_default();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Drops the fragment, and writes the text with the characters of a URL.
fn clean(location: &str) -> String {
    let location = location.trim().split('#').next().unwrap_or_default();
    let mut url = String::new();
    let mut is_query = false;
    for byte in location.bytes() {
        is_query |= byte == b'?';
        match byte {
            b'\\' if !is_query => url.push('/'),
            b'"' | b'<' | b'>' | b'`' | b'{' | b'}' => url += &format!("%{byte:02X}"),
            b'\t' => {}
            _ if byte.is_ascii_graphic() => url.push(byte.into()),
            _ => url += &format!("%{byte:02X}"),
        }
    }
    url
}

fn has_scheme(reference: &str) -> bool {
    let is_scheme = |scheme: &str| {
        let mut bytes = scheme.bytes();
        bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    reference
        .split_once(':')
        .is_some_and(|(scheme, _)| is_scheme(scheme))
}

/// Removes the segments `.` and `..` of an absolute path (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let is_last = at + 1 == segments.len();
        let name = segment.replace("%2e", ".").replace("%2E", ".");
        match &*name {
            "." => {}
            ".." => drop(kept.pop()),
            _ => {
                kept.push(segment);
                continue;
            }
        }
        // `/a/..` is the folder `/`.
        if is_last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

/// Returns `true` if two URLs have the same scheme, host and port.
pub(super) fn is_same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |url: &Uri| {
        let default = if url.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        url.port_u16().unwrap_or(default)
    };
    let hosts = [a, b].map(|url| url.host().unwrap_or_default().to_ascii_lowercase());
    a.scheme() == b.scheme() && hosts[0] == hosts[1] && port(a) == port(b)
}

/// Returns the method with which a browser follows a redirect (Fetch Standard, 4.4), or `None` if the
/// status is no redirect. If the method changes, the body is dropped.
pub(super) fn redirected_method(status: StatusCode, method: &Method) -> Option<Method> {
    match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if *method == Method::POST => {
            Some(Method::GET)
        }
        StatusCode::SEE_OTHER if *method != Method::HEAD => Some(Method::GET),
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => Some(method.clone()),
        _ => None,
    }
}
