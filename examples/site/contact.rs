//! The contact form.

use hyper_session::{
    Session,
    form::{Input, ValidationErrors},
};
use serde_json::json;

use super::{BoxError, Page, pages};

/// Takes a message. A form that is wrong goes back to its page by itself, with what was typed.
pub(crate) fn send(session: &Session, input: Input) -> Result<Page, BoxError> {
    let mut errors = ValidationErrors::new().redirect_to("/contact");
    check_name(&mut errors, &input);
    check_email(&mut errors, &input);
    match text(&input, "message").chars().count() {
        0..10 => errors.add("message", "Please write ten characters or more."),
        10..=2000 => {}
        _ => errors.add("message", "Please write 2,000 characters at most."),
    }
    errors.into_result()?;
    // A real site would send or keep the message here.
    let name = text(&input, "name");
    session.flash(
        "notification",
        &json!({ "type": "success", "message": format!("Thank you, {name}. We will get back to you.") }),
    )?;
    Ok(pages::go_to("/contact"))
}

/// A field's text without the space around it.
pub(crate) fn text<'i>(input: &'i Input, field: &str) -> &'i str {
    input.text(field).unwrap_or_default().trim()
}

/// A name is shown again, so there is an end to it.
pub(crate) fn check_name(errors: &mut ValidationErrors, input: &Input) {
    match text(input, "name").chars().count() {
        0 => errors.add("name", "Please tell us your name."),
        1..=100 => {}
        _ => errors.add("name", "Please write 100 characters at most."),
    }
}

/// Whether it can be an e-mail address at all; whether it is one only a mail to it can tell.
pub(crate) fn check_email(errors: &mut ValidationErrors, input: &Input) {
    let possible = |address: &str| {
        let (user, host) = address.rsplit_once('@')?;
        let odd = |c: char| c.is_whitespace() || c.is_control();
        (!user.is_empty() && host.contains('.') && !address.contains(odd)).then_some(())
    };
    match text(input, "email") {
        "" => errors.add("email", "Please give an e-mail address."),
        address if possible(address).is_none() || address.len() > 254 => {
            errors.add("email", "This does not look like an e-mail address.");
        }
        _ => {}
    }
}
