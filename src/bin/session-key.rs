//! `session-key`: prints a new application key for `APP_KEY`.

use std::{env, io::Write, process::ExitCode};

use hyper_session::seal::SealKey;

const HELP: &str = "\
Prints a new key that encrypts session cookies: 32 random bytes from the operating system.

    session-key             prints base64:…, for a secret store or `app_key`
    session-key --env       prints APP_KEY=base64:…, a line for an environment file
    session-key --help      prints this text

Anyone who has the key can forge sessions. Keep it secret, and do not commit it to the repository.
To replace a key, move the current one to APP_KEY_PREVIOUS and set the new one as APP_KEY: existing
sessions stay valid.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match *arguments {
        [] => key_line("").map(|line| print(&line)),
        ["--env"] => key_line("APP_KEY=").map(|line| print(&line)),
        ["-h" | "--help"] => Ok(print(HELP)),
        _ => Err(format!("unrecognized arguments\n\n{HELP}")),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("session-key: {error}");
            ExitCode::from(2)
        }
    }
}

fn key_line(prefix: &str) -> Result<String, String> {
    let key = SealKey::generate_text().map_err(|error| error.to_string())?;
    Ok(format!("{prefix}{key}\n"))
}

/// Prints `text`; returns `false` if standard output is closed.
fn print(text: &str) -> bool {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_ok()
}
