//! The folders of a new user, and the cargo commands in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The manifest of the project. `DEPENDENCIES` are what the README and the guide add.
const MANIFEST: &str = r#"
[package]
name = "new_user"
version = "0.0.0"
edition = "2024"

[dependencies]
DEPENDENCIES

[dev-dependencies]
hyper-session = { path = "../package", features = ["forms", "testing"] }
http-body = "1"
hyper-util = { version = "0.1", features = ["full"] }
redb = { version = "2.6", default-features = false }

[workspace]
"#;

/// The head of a project for the guide's tests. The guide has the dependencies, and the package takes the place of
/// the published crate.
const GUIDE_MANIFEST: &str = r#"
[package]
name = "login"
version = "0.0.0"
edition = "2024"

[workspace]

[patch.crates-io]
hyper-session = { path = "../package" }

"#;

/// The folder of a new user. Made once in this process.
pub(crate) struct Project {
    /// The unpacked package.
    pub(crate) package: PathBuf,
    /// The user's project.
    pub(crate) app: PathBuf,
    /// A project of the guide's page about tests.
    login: PathBuf,
    target: PathBuf,
}

impl Project {
    /// Packages the crate, unpacks it, and makes a project that uses it.
    pub(crate) fn get() -> &'static Self {
        static PROJECT: OnceLock<Project> = OnceLock::new();
        PROJECT.get_or_init(Self::create)
    }

    fn create() -> Self {
        let program = std::env::current_exe().expect("this program");
        let target = program
            .ancestors()
            .nth(3)
            .expect("target/debug/deps")
            .to_owned();
        let folder = target.join("new_user");
        let _ = fs::remove_dir_all(&folder);
        let (package, app) = (folder.join("package"), folder.join("app"));
        let login = folder.join("login");
        for path in ["app/examples", "app/src/bin", "app/tests", "login/src"] {
            fs::create_dir_all(folder.join(path)).expect("a folder of the project");
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        for project in [&app, &login] {
            fs::copy(source.join("Cargo.lock"), project.join("Cargo.lock")).expect("the lock file");
        }
        let project = Self {
            package,
            app,
            login,
            target,
        };
        project.unpack(source, &folder);
        let documents = ["README.md", "src/guide/quick_start.md"].map(|path| project.read(path));
        let manifest = MANIFEST.replace("DEPENDENCIES", &dependencies(&documents));
        project.write("Cargo.toml", &manifest);
        project
    }

    fn unpack(&self, source: &Path, folder: &Path) {
        let arguments = [
            "package",
            "--locked",
            "--offline",
            "--allow-dirty",
            "--no-verify",
        ];
        let packages = folder.join("packages");
        run(Command::new(env!("CARGO"))
            .args(arguments)
            .arg("--target-dir")
            .arg(&packages)
            .current_dir(source));
        let name = concat!(env!("CARGO_PKG_NAME"), "-", env!("CARGO_PKG_VERSION"));
        let archive = packages.join("package").join(format!("{name}.crate"));
        run(Command::new("tar")
            .arg("-xzf")
            .arg(archive)
            .arg("-C")
            .arg(folder));
        fs::rename(folder.join(name), &self.package).expect("the unpacked package");
    }

    /// Runs a cargo command in the project. It shares cargo's target folder, so it compiles only what this
    /// repository's tests compile with other features.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> String {
        self.cargo_in(&self.app, arguments)
    }

    /// Runs the tests of the guide, in a project with the dependencies that the guide names.
    pub(crate) fn test_login(&self, dependencies: &str, program: &str) -> String {
        let write = |path: &str, text: &str| {
            fs::write(self.login.join(path), text).expect("a file of the project");
        };
        write("Cargo.toml", &format!("{GUIDE_MANIFEST}{dependencies}"));
        write("src/lib.rs", program);
        self.cargo_in(&self.login, &["test", "--lib"])
    }

    fn cargo_in(&self, folder: &Path, arguments: &[&str]) -> String {
        run(Command::new(env!("CARGO"))
            .args(arguments)
            .args(["--offline", "--color=never"])
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_INCREMENTAL", "0")
            .env_remove("RUSTFLAGS")
            .current_dir(folder))
    }

    /// Returns a program of the project. Its path is inside cargo's folder of programs.
    pub(crate) fn program(&self, path: &str) -> PathBuf {
        self.target.join("debug").join(path)
    }

    /// Copies a folder of the package into a folder of the project.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.package.join(from), self.app.join(to));
        run(Command::new("cp").arg("-R").args([from, to]));
    }

    /// Returns the text of a file of the package.
    pub(crate) fn read(&self, path: &str) -> String {
        let text = fs::read_to_string(self.package.join(path));
        text.unwrap_or_else(|error| panic!("the package has no readable {path}: {error}"))
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.app.join(path), text).expect("a file of the project");
    }
}

/// The versions of the crates that the documentation adds: those of the lock file.
const VERSIONS: [(&str, &str); 7] = [
    ("axum", "0.8"),
    ("bytes", "1"),
    ("http", "1"),
    ("http-body-util", "0.1"),
    ("hyper", "1"),
    ("hyper-util", "0.1"),
    ("tokio", "1"),
];

/// Returns the dependencies that lines such as `cargo add tokio --features full` add.
fn dependencies(documents: &[String]) -> String {
    let lines = documents.iter().flat_map(|document| document.lines());
    let added = lines.flat_map(|line| line.split(" && "));
    let added = added.filter_map(|command| command.strip_prefix("cargo add "));
    let mut crates: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for arguments in added {
        let arguments = arguments.split(" #").next().unwrap_or_default();
        let (names, features) = arguments
            .split_once(" --features ")
            .unwrap_or((arguments, ""));
        for name in names.split_whitespace() {
            let name = name.split('@').next().unwrap_or(name);
            let all = crates.entry(name).or_default();
            all.extend(
                features
                    .split(',')
                    .map(str::trim)
                    .filter(|it| !it.is_empty()),
            );
        }
    }
    let line = |(name, features): (&str, BTreeSet<&str>)| {
        let version = VERSIONS.iter().find(|(other, _)| *other == name);
        let source = match version {
            Some((_, version)) => format!("version = {version:?}"),
            None => {
                assert_eq!(name, "hyper-session", "VERSIONS has no version of it");
                "path = \"../package\"".to_owned()
            }
        };
        let features: Vec<&str> = features.into_iter().collect();
        format!("{name} = {{ {source}, features = {features:?} }}\n")
    };
    crates.into_iter().map(line).collect()
}

/// Runs a command, and returns what it prints.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} does not start ({error}): install it"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?} fails:\n{printed}{errors}"
    );
    printed
}

/// Returns the first TOML block of a Markdown text.
#[track_caller]
pub(crate) fn toml(text: &str) -> &str {
    let (_, rest) = text.split_once("```toml\n").expect("a TOML block");
    rest.split_once("```").expect("its end").0
}

/// Returns the Rust code under a heading of a Markdown text, without the lines that rustdoc hides.
#[track_caller]
pub(crate) fn code(text: &str, heading: &str) -> Vec<String> {
    let mut lines = text.lines().skip_while(|line| *line != heading).skip(1);
    let (mut blocks, mut block): (Vec<String>, Option<String>) = (Vec::new(), None);
    for line in lines.by_ref() {
        match &mut block {
            Some(_) if line == "```" => blocks.extend(block.take()),
            Some(code) if line != "#" && !line.starts_with("# ") => {
                code.push_str(line);
                code.push('\n');
            }
            Some(_) => {}
            None if line.starts_with("```rust") => block = Some(String::new()),
            None if line.starts_with("```") => block = None,
            None if line.starts_with("# ") || line.starts_with("## ") => break,
            None => {}
        }
    }
    assert!(!blocks.is_empty(), "there is no code under {heading:?}");
    blocks
}
