//! Prints a new application key, for `APP_KEY`.

use std::{env, io::Write, process::ExitCode};

use hyper_session::seal::SealKey;

const HELP: &str = "\
Prints a new key that seals session cookies: 32 bytes from the operating system's random source.

    session-key             base64:…, for a secret store or `app_key`
    session-key --env       APP_KEY=base64:…, a line for an environment file
    session-key --help      this text

Whoever has the key can make up sessions: keep it where no one else reads it, and out of the
repository. To change it, move the old one to APP_KEY_PREVIOUS: sessions go on.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = match *arguments {
        [] => key("").map(|line| say(&line)),
        ["--env"] => key("APP_KEY=").map(|line| say(&line)),
        ["-h" | "--help"] => Ok(say(HELP)),
        _ => Err(format!("these arguments mean nothing here\n\n{HELP}")),
    };
    match said {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn key(before: &str) -> Result<String, String> {
    let key = SealKey::generate_text().map_err(|error| error.to_string())?;
    Ok(format!("{before}{key}\n"))
}

/// Whether it was said: whoever should have listened may be gone.
fn say(text: &str) -> bool {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_ok()
}
