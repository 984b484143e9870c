//! The programs under test, built once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Where the programs are.
#[derive(Debug)]
pub struct Programs {
    pub master: PathBuf,
    pub worker: PathBuf,
    pub client: PathBuf,
}

static BUILT: LazyLock<Programs> = LazyLock::new(Programs::build);

impl Programs {
    /// The programs of this source, in the profile of this one.
    pub fn built() -> &'static Programs {
        &BUILT
    }

    /// A test builds them: `cargo test` does not build the programs of other packages, or leaves old ones. It takes cargo a
    /// moment when they are there. The demo is a program itself, and was built together with them.
    fn build() -> Programs {
        let exe = std::env::current_exe().expect("this program has a path");
        let directory = exe.parent().expect("it is in a directory");
        let directory = match directory.ends_with("deps") {
            true => {
                let profile_directory = directory.parent().unwrap_or(directory);
                build_into(profile_directory);
                profile_directory
            }
            false => directory,
        };
        let program = |name: &str| {
            let path = directory.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
            assert!(path.exists(), "{} is missing; `cargo build --workspace --bins` makes it", path.display());
            path
        };
        Programs { master: program("master"), worker: program("worker"), client: program("client") }
    }
}

/// Builds all programs into `target/PROFILE`.
fn build_into(directory: &Path) {
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // With the examples cargo takes the same features of dependencies as for tests, and what it has built for those.
    command.args(["build", "--quiet", "--workspace", "--bins", "--examples", "--profile", profile]);
    command.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    command.arg("--target-dir").arg(directory.parent().unwrap_or(directory));
    let status = command.status().unwrap_or_else(|e| panic!("cannot run cargo: {e}"));
    assert!(status.success(), "the programs could not be built: {status}");
}
