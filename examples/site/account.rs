//! Sign-up, sign-in and sign-out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header::USER_AGENT};
use hyper_session::{Session, form::ValidationErrors, service::Redirect};
use serde_json::json;

use super::{
    BoxError, Page, Post, Site,
    contact::{check_email, check_name, text},
    devices::Device,
    input, pages,
    users::{self, User},
};

/// The timeout of a session whose user chose "Remember me".
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Site {
    pub(crate) async fn sign_up(&self, session: &Session, request: Post) -> Result<Page, BoxError> {
        let device = device(request.headers());
        let input = input(request).await?;
        // Passwords are not trimmed.
        let password = input.text("password").unwrap_or_default();
        let mut errors = ValidationErrors::new().redirect_to("/sign-up");
        check_name(&mut errors, &input);
        check_email(&mut errors, &input);
        if password.chars().count() < 8 {
            errors.add_message("password", "too_short", &[("min", &8)]);
        } else if input.text("password_again") != Some(password) {
            errors.add_message("password_again", "password_differs", &[]);
        }
        errors.into_result()?;
        let (name, email) = (text(&input, "name"), text(&input, "email"));
        let Some(user) = self.users.add(name, email, password).await? else {
            let mut errors = ValidationErrors::new().redirect_to("/sign-up");
            errors.add_message("email", "email_taken", &[]);
            return Err(errors.into());
        };
        start_user_session(session, &user, &device, "Your account has been created.")
    }

    pub(crate) async fn sign_in(&self, session: &Session, request: Post) -> Result<Page, BoxError> {
        let device = device(request.headers());
        let input = input(request).await?;
        let password = input.text("password").unwrap_or_default();
        let Some(user) = self.users.check(text(&input, "email"), password).await? else {
            let errors = ValidationErrors::new()
                .code("E_INVALID_CREDENTIALS")
                .redirect_to("/sign-in");
            return Err(errors.into());
        };
        let page = start_user_session(session, &user, &device, "You are signed in.")?;
        match input.text("remember") {
            Some(_) => session.set_max_age(REMEMBERED)?,
            None => {
                // An earlier sign-in may have set 30 days. The browser drops the cookie when it closes.
                session.reset_max_age()?;
                session.set_browser_session()?;
            }
        }
        Ok(page)
    }
}

/// Signs the user in. The session gets a new id, because the visitor's rights change (OWASP: session
/// fixation).
fn start_user_session(
    session: &Session,
    user: &User,
    device: &Device,
    message: &str,
) -> Result<Page, BoxError> {
    // Before `destroy`, which removes the intended URL.
    let redirect = Redirect::to_intended(session, "/")?;
    let previous_user: Option<String> = session.get("user")?;
    if previous_user.is_some_and(|id| id != user.id) {
        // Another user was signed in. This user must not see that user's data.
        session.destroy()?;
    } else {
        session.regenerate()?;
    }
    session.put("user", &user.id)?;
    session.put("device", device)?;
    session.tag(&users::tag(&user.id))?;
    session.flash(
        "notification",
        json!({ "type": "success", "message": message }),
    )?;
    Ok(pages::redirect(redirect))
}

/// Destroys the session. The message starts a new one.
pub(crate) fn sign_out(session: &Session) -> Result<Page, BoxError> {
    end_user_session(session, "You are signed out.")
}

/// Destroys the session. The new session keeps the theme and shows `message`.
pub(crate) fn end_user_session(session: &Session, message: &str) -> Result<Page, BoxError> {
    let theme: Option<String> = session.get("theme")?;
    session.destroy()?;
    if let Some(theme) = theme {
        session.put("theme", theme)?;
    }
    session.flash(
        "notification",
        json!({ "type": "info", "message": message }),
    )?;
    Ok(pages::see_other("/"))
}

/// Describes the device from the request's `User-Agent`, with the current time.
fn device(headers: &HeaderMap) -> Device {
    let agent = headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Device {
        name: Device::name_from_agent(agent.unwrap_or_default()),
        since: now.unwrap_or_default().as_secs(),
    }
}
