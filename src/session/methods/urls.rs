//! Where the visitor wanted to go before being asked to sign in, and where a form was.

use crate::session::{Session, SessionError};

/// Where the data keeps them; the first key is the guide's own.
const INTENDED: [&str; 2] = ["redirect", "intendedUrl"];
const PREVIOUS: [&str; 2] = ["redirect", "previousUrl"];

impl Session {
    /// Remembers where to send the visitor after signing in: a path on this origin, with its query.
    ///
    /// # Errors
    /// [`ForeignUrl`](SessionError::ForeignUrl) for anything that a browser could take for another
    /// origin; as [`put`](Self::put) otherwise.
    pub fn set_intended_url(&self, url: &str) -> Result<(), SessionError> {
        self.put_own_path(INTENDED, url)
    }

    /// The remembered path, if there is one.
    ///
    /// # Errors
    /// When the session is not loaded.
    pub fn intended_url(&self) -> Result<Option<String>, SessionError> {
        self.get_own_path(INTENDED)
    }

    /// The remembered path, which is forgotten by this.
    ///
    /// # Errors
    /// When the session cannot be changed.
    pub fn pull_intended_url(&self) -> Result<Option<String>, SessionError> {
        let url = self.intended_url()?;
        self.clear_intended_url()?;
        Ok(url)
    }

    /// Forgets the remembered path.
    ///
    /// # Errors
    /// When the session cannot be changed.
    pub fn clear_intended_url(&self) -> Result<(), SessionError> {
        self.forget(INTENDED)
    }

    /// Remembers the page that this request shows: where a form goes back to when it is wrong and the
    /// browser does not tell where it was (`Referrer-Policy: no-referrer`).
    ///
    /// It costs a write where the page is another one than before, so call it for pages with forms
    /// rather than for all.
    ///
    /// # Errors
    /// As [`set_intended_url`](Self::set_intended_url).
    pub fn set_previous_url(&self, url: &str) -> Result<(), SessionError> {
        if self.previous_url()?.as_deref() == Some(url) {
            return Ok(());
        }
        self.put_own_path(PREVIOUS, url)
    }

    /// The page that was remembered last.
    ///
    /// # Errors
    /// When the session is not loaded.
    pub fn previous_url(&self) -> Result<Option<String>, SessionError> {
        self.get_own_path(PREVIOUS)
    }

    fn put_own_path(&self, path: [&str; 2], url: &str) -> Result<(), SessionError> {
        if !is_own_path(url) {
            return Err(SessionError::ForeignUrl);
        }
        self.put(path, url)
    }

    /// Whatever wrote it, nothing but a path of this origin is ever handed out.
    fn get_own_path(&self, path: [&str; 2]) -> Result<Option<String>, SessionError> {
        let url: Option<String> = self.get(path).or_else(none_where_not_text)?;
        Ok(url.filter(|url| is_own_path(url)))
    }
}

fn none_where_not_text(error: SessionError) -> Result<Option<String>, SessionError> {
    match error {
        SessionError::Read(_) => Ok(None),
        error => Err(error),
    }
}

/// Whether a browser takes `url` for a path on the origin it is on.
///
/// Browsers read `\` as `/`, drop tabs and line ends, and take `//host` for another origin (URL
/// Standard, 4.4, relative slash state), so none of these may appear.
pub(crate) fn is_own_path(url: &str) -> bool {
    let bytes = url.as_bytes();
    let path_end = bytes
        .iter()
        .position(|byte| matches!(byte, b'?' | b'#'))
        .unwrap_or(bytes.len());
    bytes.first() == Some(&b'/')
        && bytes.get(1) != Some(&b'/')
        && !bytes.iter().any(|byte| byte.is_ascii_control())
        && !bytes.iter().take(path_end).any(|byte| *byte == b'\\')
}
