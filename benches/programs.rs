//! The programs that answer for other global allocators: where they are, and how they get there.

use anyhow::{Context, Result, ensure};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The global allocators: the name in tables, and the program.
pub const ALLOCATORS: [(&str, &str); 3] = [
    (if cfg!(target_env = "gnu") { "glibc" } else { "system" }, "allocator-system"),
    ("jemalloc", "allocator-jemalloc"),
    ("mimalloc", "allocator-mimalloc"),
];

/// A program that lies beside this one.
#[must_use]
pub fn path(program: &str) -> PathBuf {
    let this = env::current_exe().unwrap_or_default();
    this.with_file_name(format!("{program}{}", env::consts::EXE_SUFFIX))
}

/// Builds the programs as this one was built: `cargo run` builds the one that it runs. Without
/// cargo they must be there.
///
/// # Errors
/// A program that is missing, or that cargo cannot build.
pub fn provide() -> Result<()> {
    let Some(cargo) = env::var_os("CARGO") else {
        for (_, program) in ALLOCATORS {
            let path = path(program);
            ensure!(
                path.exists(),
                "{} is missing: build it with `cargo build --release -p benches --bins`",
                path.display()
            );
        }
        return Ok(());
    };
    let this = env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package=benches"]).args(place(&this));
    command.arg(concat!("--manifest-path=", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    command.args(ALLOCATORS.map(|(_, program)| format!("--bin={program}")));
    let status = command.stdin(Stdio::null()).status().context("cannot start cargo")?;
    ensure!(status.success(), "cargo could not build the programs of the allocators");
    Ok(())
}

/// What cargo must be told to put programs beside `this` one, which lies in
/// `TARGET_DIRECTORY/PROFILE`.
fn place(this: &Path) -> Vec<String> {
    let directory = this.parent();
    let profile = directory.and_then(Path::file_name).and_then(|name| name.to_str());
    let target = directory.and_then(Path::parent);
    let profile = profile.map(|name| if name == "debug" { "dev" } else { name });
    let profile = profile.map(|name| format!("--profile={name}"));
    let target = target.map(|path| format!("--target-dir={}", path.display()));
    profile.into_iter().chain(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_built_beside_this_one() {
        let told = |path| place(Path::new(path));
        assert_eq!(
            told("/x/target/release/compare"),
            ["--profile=release", "--target-dir=/x/target"]
        );
        assert_eq!(told("/x/target/debug/compare"), ["--profile=dev", "--target-dir=/x/target"]);
        assert_eq!(path("a").parent(), env::current_exe().unwrap().parent());
    }
}
