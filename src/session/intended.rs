//! Where the visitor wanted to go before being asked to sign in.

use super::{Session, SessionError};

/// Where the data keeps it; the first key is the guide's own.
const PATH: [&str; 2] = ["redirect", "intendedUrl"];

impl Session {
    /// Remembers where to send the visitor after signing in: a path on this origin, with its query.
    ///
    /// # Errors
    /// [`ForeignUrl`](SessionError::ForeignUrl) for anything that a browser could take for another
    /// origin; as [`put`](Self::put) otherwise.
    pub fn set_intended_url(&self, url: &str) -> Result<(), SessionError> {
        if !is_own_path(url) {
            return Err(SessionError::ForeignUrl);
        }
        self.put(PATH, url)
    }

    /// The remembered path, if there is one.
    ///
    /// # Errors
    /// When the session is not loaded.
    pub fn get_intended_url(&self) -> Result<Option<String>, SessionError> {
        // Whatever wrote it, nothing but a path of this origin is ever handed out.
        let url: Option<String> = self.get(PATH).or_else(none_where_not_text)?;
        Ok(url.filter(|url| is_own_path(url)))
    }

    /// The remembered path, which is forgotten by this.
    ///
    /// # Errors
    /// When the session cannot be changed.
    pub fn pull_intended_url(&self) -> Result<Option<String>, SessionError> {
        let url = self.get_intended_url()?;
        self.clear_intended_url()?;
        Ok(url)
    }

    /// Forgets the remembered path.
    ///
    /// # Errors
    /// When the session cannot be changed.
    pub fn clear_intended_url(&self) -> Result<(), SessionError> {
        self.forget(PATH)
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
fn is_own_path(url: &str) -> bool {
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
