//! The programs of the README and the guide compile, run and serve as they are printed.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use crate::{
    project::{Project, code, run, toml},
    scratch::Scratch,
};

/// A running program. Killed when dropped.
struct Running {
    child: Child,
    address: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a program that listens on the address in `ADDR`, and waits until it does.
fn start(program: &Path, folder: &Path) -> Running {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("its address").to_string();
    drop(free);
    let child = Command::new(program)
        .env_clear()
        .env("ADDR", &address)
        .env("APP_KEY", "the application key of a new user's program")
        .env("TMPDIR", folder)
        .current_dir(folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut running = Running { child, address };
    for _ in 0..1200 {
        if TcpStream::connect(&running.address).is_ok() {
            return running;
        }
        let ended = running.child.try_wait().expect("its status");
        assert!(ended.is_none(), "{} ends: {ended:?}", program.display());
        sleep(Duration::from_millis(50));
    }
    panic!("{} does not listen", program.display());
}

/// Runs a `curl` command line of the guide against the program, in a folder with its cookies.
fn curl(line: &str, running: &Running, folder: &Path) -> String {
    let line = line.replace("127.0.0.1:3000", &running.address);
    let arguments = line.split_whitespace().skip(1);
    let mut command = Command::new("curl");
    run(command
        .args(["-sS", "--fail"])
        .args(arguments)
        .current_dir(folder))
}

/// Makes a program of the documentation listen where the test wants it to.
fn with_address(program: &str) -> String {
    let fixed = r#"bind("127.0.0.1:3000")"#;
    assert!(
        program.contains(fixed),
        "the program binds another address:\n{program}"
    );
    program.replace(fixed, r#"bind(std::env::var("ADDR")?)"#)
}

/// Writes the programs and tests of the documentation into the project.
fn write_programs(project: &Project) {
    let readme = project.read("README.md");
    let axum = &code(&readme, "## Quick start with axum")[0];
    let hyper = &code(&readme, "## Quick start with hyper")[0];
    let theme = &code(
        &project.read("src/guide/quick_start.md"),
        "# Wrap a service",
    )[0];
    for (name, program) in [("axum", axum), ("hyper", hyper), ("theme", theme)] {
        let path = format!("src/bin/new_user_{name}.rs");
        project.write(&path, &with_address(program));
    }

    let custom_store = project.read("examples/custom_store.rs");
    project.write("examples/new_user_custom_store.rs", &custom_store);
    for folder in ["examples/custom_store", "examples/support"] {
        project.copy(folder, "examples");
    }
    let suite = &code(&project.read("src/guide/custom_stores.md"), "# Check it")[0];
    project.write("tests/custom_store.rs", &as_tests(suite));

    let tests = &code(&readme, "## Test handlers")[0];
    let program = format!("#![allow(dead_code)]\n{hyper}\n{tests}");
    project.write("tests/readme.rs", &program);
}

/// Runs the tests of the guide's page about tests, with the manifest of that page.
fn test_login(project: &Project) -> String {
    let guide = project.read("src/guide/testing.md");
    let handlers = &code(&guide, "# The handlers")[0];
    let tests = as_tests(&code(&guide, "# The tests")[0]);
    let program = format!("{handlers}\n#[cfg(test)]\nmod tests {{\nuse super::*;\n{tests}}}\n");
    project.test_login(toml(&guide), &program)
}

/// Returns the tests of a page of the guide. Their attributes are hidden in comments from rustdoc.
fn as_tests(code: &str) -> String {
    assert!(code.contains("#[tokio::test"), "no test in:\n{code}");
    code.to_owned()
}

#[test]
fn the_programs_of_the_documentation_work_in_a_new_project() {
    let project = Project::get();
    write_programs(project);
    project.cargo(&["build", "--bins"]);
    project.cargo(&["build", "--examples"]);

    for name in [
        "new_user_axum",
        "new_user_hyper",
        "examples/new_user_custom_store",
    ] {
        let scratch = Scratch::new();
        let folder = scratch.path();
        let program = project.program(name);
        let running = start(&program, folder);
        for visit in 1..=3 {
            let text = curl(
                "curl -b jar -c jar http://127.0.0.1:3000/",
                &running,
                folder,
            );
            assert_eq!(text.trim(), format!("visit number {visit}"), "{name}");
        }
        let text = curl("curl http://127.0.0.1:3000/", &running, folder);
        assert_eq!(text.trim(), "visit number 1", "{name}: another visitor");
    }

    let scratch = Scratch::new();
    let running = start(&project.program("new_user_theme"), scratch.path());
    let guide = project.read("src/guide/quick_start.md");
    let lines = guide.lines().filter(|line| line.starts_with("curl "));
    let texts = lines.map(|line| curl(line, &running, scratch.path()));
    assert_eq!(texts.collect::<Vec<_>>(), ["your theme is dark"; 2]);

    let printed = project.cargo(&["test", "--tests"]) + &test_login(project);
    for test in [
        "my_store_keeps_the_contract",
        "tests::a_user_signs_in",
        "tests::a_wrong_password_is_an_error_of_its_field",
        "tests::a_signed_in_user_has_a_page_until_the_session_ends",
        "tests::a_store_that_is_away_is_a_503",
        "visits_are_counted",
    ] {
        assert!(
            printed.contains(&format!("test {test} ... ok")),
            "{printed}"
        );
    }
}
