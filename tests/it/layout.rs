//! Releases are laid out by what was learned under load, and nothing else is touched by it.

use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The version of the compiler that the profile is of, by its file's name.
fn learned() -> String {
    let found = std::fs::read_dir(root().join("loadtests/layout")).unwrap();
    let names = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let profiles: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".profdata").map(str::to_owned)).collect();
    let [version] = profiles.as_slice() else {
        panic!("one profile, of one compiler: {profiles:?}")
    };
    version.clone()
}

/// A compiler that tells its version, or else how it was called. It is not written here: a file that another
/// test's child still holds open for writing cannot be executed.
const COMPILER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/layout/compiler");

/// What is added to the arguments of that compiler.
fn added(version: &str, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut call = Command::new(root().join("loadtests/layout/rustc"));
    call.arg(COMPILER).args(arguments).env("VERSION", version).env_remove("TIDEGATE_LEARN");
    // Cargo compiles libraries from where their source lies.
    let output = call.current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let called = String::from_utf8(output.stdout).unwrap();
    called.trim_end().strip_prefix(&arguments.join(" ")).unwrap().trim_start().to_owned()
}

#[test]
fn a_release_is_laid_out_by_the_profile_of_its_compiler() {
    let release = ["--crate-name", "a", "-C", "opt-level=3", "-C", "lto=fat"];
    let version = learned();
    let with = added(&version, &release);
    let (profile, rest) = with.strip_prefix("-Cprofile-use=").unwrap().split_once(' ').unwrap();
    assert!(Path::new(profile).is_absolute() && Path::new(profile).is_file(), "{profile}");
    assert_eq!(rest, "-Cllvm-args=-no-pgo-warn-mismatch");
    assert_eq!(added(&format!("{version}-nightly"), &release), "");
    assert_eq!(added(&version, &["--crate-name", "a", "-C", "debuginfo=1"]), "");
}

#[test]
fn images_and_checks_are_built_by_the_compiler_of_the_profile() {
    let version = learned();
    let text = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    assert!(text("Dockerfile").contains(&format!("FROM rust:{version}-")));
    assert!(text(".github/workflows/ci.yml").contains(&format!("rustup default {version}\n")));
    assert!(text("benches/budget.toml").contains(&format!("compiler = \"{version}\"\n")));
}
