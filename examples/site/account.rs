//! Signing up, in and out.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header::USER_AGENT};
use hyper_session::{Session, form::ValidationErrors};
use serde_json::json;

use super::{
    BoxError, Page, Parts, Post,
    contact::{check_email, check_name, text},
    devices::Device,
    input, pages,
    users::{self, User},
};

impl Parts {
    pub(crate) async fn sign_up(&self, session: &Session, request: Post) -> Result<Page, BoxError> {
        let device = device(request.headers());
        let input = input(request).await?;
        // Passwords are taken as they are, spaces too.
        let password = input.text("password").unwrap_or_default();
        let mut errors = ValidationErrors::new().redirect_to("/sign-up");
        check_name(&mut errors, &input);
        check_email(&mut errors, &input);
        if password.chars().count() < 8 {
            errors.add("password", "Please take eight characters or more.");
        } else if input.text("password_again") != Some(password) {
            errors.add("password_again", "The two passwords are not the same.");
        }
        errors.into_result()?;
        let (name, email) = (text(&input, "name"), text(&input, "email"));
        let Some(user) = self.users.add(name, email, password).await? else {
            let taken = "There is an account with this address already.";
            return Err(ValidationErrors::new()
                .redirect_to("/sign-up")
                .with_error("email", taken)
                .into());
        };
        welcome(session, &user, &device, "Your account is ready.")
    }

    pub(crate) async fn sign_in(&self, session: &Session, request: Post) -> Result<Page, BoxError> {
        let device = device(request.headers());
        let input = input(request).await?;
        let password = input.text("password").unwrap_or_default();
        let Some(user) = self.users.check(text(&input, "email"), password).await? else {
            let errors = ValidationErrors::new()
                .code("E_INVALID_CREDENTIALS")
                .summary("Wrong e-mail address or password.")
                .redirect_to("/sign-in");
            return Err(errors.into());
        };
        welcome(session, &user, &device, "You are signed in.")
    }
}

/// The visitor's rights change here: the session gets a new id, and the old one dies.
fn welcome(
    session: &Session,
    user: &User,
    device: &Device,
    message: &str,
) -> Result<Page, BoxError> {
    let wanted = session.pull_intended_url()?;
    let before: Option<String> = session.get("user")?;
    if before.is_some_and(|before| before != user.id) {
        // Somebody else was signed in here: nothing of theirs is for this user to see.
        session.destroy()?;
    } else {
        session.regenerate()?;
    }
    session.put("user", &user.id)?;
    session.put("device", device)?;
    session.tag(&users::tag(&user.id))?;
    session.flash(
        "notification",
        &json!({ "type": "success", "message": message }),
    )?;
    Ok(pages::go_to(wanted.as_deref().unwrap_or("/")))
}

/// Ends the session. What is said afterwards begins a new one.
pub(crate) fn sign_out(session: &Session) -> Result<Page, BoxError> {
    farewell(session, "You are signed out.")
}

pub(crate) fn farewell(session: &Session, message: &str) -> Result<Page, BoxError> {
    let theme: Option<String> = session.get("theme")?;
    session.destroy()?;
    if let Some(theme) = theme {
        session.put("theme", &theme)?;
    }
    session.flash(
        "notification",
        &json!({ "type": "info", "message": message }),
    )?;
    Ok(pages::go_to("/"))
}

/// What the request says of the device that it comes from, and the time.
fn device(headers: &HeaderMap) -> Device {
    let agent = headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Device {
        name: Device::name_of(agent.unwrap_or_default()),
        since: now.unwrap_or_default().as_secs(),
    }
}
