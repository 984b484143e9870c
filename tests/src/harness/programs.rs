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
    /// The programs of this source, in the profile of this test.
    pub fn built() -> &'static Programs {
        &BUILT
    }

    /// `cargo test` does not build the programs of other packages, or leaves old ones; so cargo is always asked, which takes
    /// it a moment when they are there.
    fn build() -> Programs {
        let directory = own_directory();
        let profile = match directory.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(other) => other,
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args([
            "build",
            "--quiet",
            "--profile",
            profile,
            "--bins",
            "-p",
            "master",
            "-p",
            "worker",
            "-p",
            "client",
        ]);
        command.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
        command.arg("--target-dir").arg(directory.parent().unwrap_or(&directory));
        let status = command.status().unwrap_or_else(|e| panic!("cannot run cargo: {e}"));
        assert!(status.success(), "the programs could not be built: {status}");
        let program = |name: &str| directory.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        Programs { master: program("master"), worker: program("worker"), client: program("client") }
    }
}

/// `target/PROFILE`, from `target/PROFILE/deps/test-0123` or `target/PROFILE/demo`.
fn own_directory() -> PathBuf {
    let exe = std::env::current_exe().expect("this program has a path");
    let directory = exe.parent().expect("it is in a directory");
    match directory.ends_with("deps") {
        true => directory.parent().unwrap_or(directory).to_path_buf(),
        false => directory.to_path_buf(),
    }
}
