//! The users, from a file.

use std::{collections::BTreeMap, fs, path::Path};

use argon2::{
    Argon2,
    password_hash::{PasswordVerifier, phc::PasswordHash},
};
use http::HeaderValue;
use tokio::sync::Semaphore;

use crate::BoxError;

/// Maximum number of passwords that are checked at once.
const MAX_CHECKS: usize = 4;

/// The users of the proxy.
pub(crate) struct Users {
    users: BTreeMap<String, User>,
    checks: Semaphore,
}

struct User {
    header: HeaderValue,
    hash: String,
}

impl Users {
    /// Reads a file with a line `name:hash` for each user.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is invalid. The error names the line and not the hash.
    pub(crate) fn from_file(path: &Path) -> Result<Self, BoxError> {
        let show = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("USERS={show}: {error}"))?;
        let mut users = BTreeMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, it)| !it.is_empty()) {
            let error = || format!("USERS={show}: line {} is not `name:hash`", number + 1);
            let (name, hash) = line.split_once(':').ok_or_else(error)?;
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_name || PasswordHash::new(hash).is_err() {
                return Err(error().into());
            }
            let header = HeaderValue::from_str(name).map_err(|_| error())?;
            let hash = hash.to_owned();
            users.insert(name.to_owned(), User { header, hash });
        }
        Ok(Self {
            users,
            checks: Semaphore::new(MAX_CHECKS),
        })
    }

    /// Returns the header value of a user who still exists.
    pub(crate) fn header(&self, name: &str) -> Option<&HeaderValue> {
        self.users.get(name).map(|user| &user.header)
    }

    /// Returns `true` if this is the user's password. An unknown name is checked against the hash of
    /// another user, so that it takes as long. At most [`MAX_CHECKS`] checks run at once, since each takes
    /// the memory and the processor that its hash asks for.
    pub(crate) async fn check(&self, name: &str, password: String) -> Result<bool, BoxError> {
        let user = self.users.get(name);
        let Some(User { hash, .. }) = user.or_else(|| self.users.values().next()) else {
            return Ok(false);
        };
        let (hash, is_known) = (hash.clone(), user.is_some());
        let _permit = self.checks.acquire().await?;
        let verify = move || -> Result<bool, BoxError> {
            let hash = PasswordHash::new(&hash)?;
            let verified = Argon2::default().verify_password(password.as_bytes(), &hash);
            Ok(verified.is_ok() && is_known)
        };
        tokio::task::spawn_blocking(verify).await?
    }
}
