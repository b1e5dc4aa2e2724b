//! What did the operator ask for?
//!
//! TOML text becomes a [`Config`] whose values cannot be wrong, or a [`Report`] of everything that
//! is wrong with it. Only this file reads files; the rest is pure:
//!
//! 1. `document`: text → one tree with places, references to the environment replaced (`env`)
//! 2. `read`: the tree by its declared keys (`reference`), values converted by `value`
//! 3. `server`, `listener`, `service`, `version`, `rollout`, `route`: a section each → its plan
//! 4. `compile`: what concerns several sections
//!
//! What a new configuration changes in a running proxy is not decided here.

mod compile;
mod document;
mod env;
mod error;
mod listener;
mod matches;
mod read;
mod reference;
mod rollout;
mod route;
mod server;
mod service;
#[cfg(test)]
mod tests;
mod value;
mod version;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use self::error::{Findings, Held, NamedFile, Problem, Source};
use crate::client_trust;
use crate::limits::CONFIG_BYTES_MAX;

pub use self::compile::Config;
pub use self::env::Env;
pub use self::error::{Diagnostic, Report, Severity};
pub use self::route::{RoutePlan, Target};
pub use self::server::{AdminSettings, LogFormat, LogLevel, LogSettings, ServerSettings};

/// A configuration that was read from files.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// What is allowed and probably not meant.
    pub warnings: Report,
    /// Every TOML file that was read.
    pub sources: Vec<PathBuf>,
    /// Changes with the content of any of them; the same as [`fingerprint`] of the path.
    pub fingerprint: u64,
}

/// A configuration that was read from text.
#[derive(Debug, Clone)]
pub struct Parsed {
    pub config: Config,
    /// What is allowed and probably not meant.
    pub warnings: Report,
}

/// Loads a file, or the `*.toml` of a directory. Files that the configuration names (certificates,
/// the token file) must be readable; what they hold is looked at by who uses it, but for lists of
/// revoked certificates: no listener may open while it is not known whom to refuse.
pub fn load(path: &Path, env: Env<'_>) -> Result<Loaded, Report> {
    let Files { base, paths } = Files::list(path)?;
    let (mut hash, mut left) = (Xxh3::new(), CONFIG_BYTES_MAX);
    let mut sources = Vec::new();
    for path in &paths {
        let bytes = read_file(path, left)?;
        left -= bytes.len() as u64;
        digest(&mut hash, path, &mut &*bytes).map_err(|error| cannot_read(path, error))?;
        let text = String::from_utf8(bytes).map_err(|error| not_utf8(path, &error))?;
        sources.push(Source::new(path.clone(), text));
    }
    let Parsed { config, warnings } = read(sources, &base, env, &look_at)?;
    Ok(Loaded { config, warnings, sources: paths, fingerprint: hash.digest() })
}

/// Reads a configuration from text as if it were the content of `file`. Looks at no file.
pub fn parse(text: &str, file: &Path, env: Env<'_>) -> Result<Parsed, Report> {
    let source = Source::new(file.to_owned(), text.to_owned());
    read(vec![source], base_of(file), env, &|_| Ok(()))
}

/// What changes with the content of a configuration; none while it cannot be read.
pub fn fingerprint(path: &Path) -> Option<u64> {
    let (mut hash, mut left) = (Xxh3::new(), CONFIG_BYTES_MAX);
    for path in Files::list(path).ok()?.paths {
        // In pieces: room for all of a large file costs more than reading it.
        let mut file = fs::File::open(&path).ok()?.take(left.saturating_add(1));
        left = left.checked_sub(digest(&mut hash, &path, &mut file).ok()?)?;
    }
    Some(hash.digest())
}

/// The reference of every key, as Markdown: `docs/config-reference.md`.
pub fn reference() -> String {
    reference::markdown()
}

/// Reads sources; `look_at` tells what is wrong with a file that they name.
fn read(
    sources: Vec<Source>,
    base: &Path,
    env: Env<'_>,
    look_at: &dyn Fn(&NamedFile) -> Result<(), Problem>,
) -> Result<Parsed, Report> {
    let findings = Findings::new(sources);
    let document = document::read(&findings, env);
    let config = compile::compile(&findings, &document, base);
    for file in findings.named_files() {
        if let Err(problem) = look_at(&file) {
            findings.error(file.place, &file.key_path, problem);
        }
    }
    let has_errors = findings.has_errors();
    let report = findings.into_report();
    match config {
        Some(config) if !has_errors => Ok(Parsed { config, warnings: report }),
        _ => Err(report),
    }
}

/// The files of a configuration.
struct Files {
    /// What relative paths are relative to.
    base: PathBuf,
    paths: Vec<PathBuf>,
}

impl Files {
    /// The file, or those of the directory in the order of names.
    fn list(path: &Path) -> Result<Self, Report> {
        let wrong = |error| cannot_read(path, error);
        if !fs::metadata(path).map_err(wrong)?.is_dir() {
            let paths = vec![path.to_owned()];
            return Ok(Self { base: base_of(path).to_owned(), paths });
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(path).map_err(wrong)? {
            let file = entry.map_err(wrong)?.path();
            // Hidden files are those of editors, and of mounted volumes about to be swapped.
            let is_hidden =
                file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if file.extension().is_some_and(|extension| extension == "toml") && !is_hidden {
                paths.push(file);
            }
        }
        paths.sort();
        if paths.is_empty() {
            let problem = Problem::new("the directory holds no `*.toml`");
            return Err(Report::of_file(path, problem.help("name a file, or put one there")));
        }
        Ok(Self { base: path.to_owned(), paths })
    }
}

/// Reads a file of at most `bytes_max`.
fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Report> {
    let file = fs::File::open(path).map_err(|error| cannot_read(path, error))?;
    let mut bytes = Vec::new();
    let mut file = file.take(bytes_max.saturating_add(1));
    file.read_to_end(&mut bytes).map_err(|error| cannot_read(path, error))?;
    if bytes.len() as u64 > bytes_max {
        let text = format!("a configuration has at most {CONFIG_BYTES_MAX} bytes in all");
        return Err(Report::of_file(path, Problem::new(text)));
    }
    Ok(bytes)
}

fn cannot_read(path: &Path, error: io::Error) -> Report {
    let problem = Problem::new(format!("cannot read the configuration: {error}"));
    Report::of_file(path, problem.help("check the path and who may read it"))
}

fn look_at(file: &NamedFile) -> Result<(), Problem> {
    // Opening a directory works on Unix; reading from it does not.
    let read = fs::File::open(&file.path).and_then(|mut open| open.read(&mut [0; 1]));
    read.map_err(|error| {
        Problem::new(format!("cannot read `{}`: {error}", file.path.display()))
            .help("relative paths begin at the directory of the configuration")
    })?;
    match file.holds {
        Held::Anything => Ok(()),
        Held::RevocationLists => {
            let read = client_trust::read_revoked(&file.path);
            read.map(drop).map_err(|error| {
                Problem::new(error)
                    .help("give PEM: each list between `BEGIN X509 CRL` and `END X509 CRL`")
            })
        }
    }
}

fn base_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// Adds a file to the fingerprint; returns how many bytes it has.
fn digest(hash: &mut Xxh3, path: &Path, content: &mut dyn Read) -> io::Result<u64> {
    let name = path.as_os_str().as_encoded_bytes();
    hash.update(name);
    let bytes = io::copy(content, hash)?;
    // Lengths keep the end of one apart from the beginning of the next.
    for length in [name.len() as u64, bytes] {
        hash.update(&length.to_le_bytes());
    }
    Ok(bytes)
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Report {
    let valid = error.utf8_error().valid_up_to();
    let bytes = error.as_bytes();
    let line = bytes[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
    let problem = Problem::new(format!("line {line} is not UTF-8"));
    Report::of_file(path, problem.help("save the file as UTF-8"))
}
