//! The history on disk: when [`Journal::append`] has returned, the revision survives anything.
//!
//! The journal is one file that only grows, and is written anew in place of itself when it holds
//! twice what is kept. It comes to be with its first revision in it, so that an empty one is
//! always damage. A state that cannot be read is refused and never replaced: starting empty would
//! undo an operator's acknowledged decisions. docs/decisions/0003-journal.md tells why it is a
//! file and not a database.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Entry;
use super::disk::{self, Directory, Disk, JOURNAL, LockError};
use super::replay::{self, Replay};
use crate::limits::REVISIONS_KEPT;

/// The journal of a state directory, which nobody else can open meanwhile.
#[derive(Debug)]
pub struct Journal {
    disk: Box<dyn Disk>,
    path: PathBuf,
    /// The newest entries on disk, oldest first.
    kept: VecDeque<Arc<Entry>>,
    /// Entries after those that could not be written. When the caller goes on without the disk,
    /// they are written with the next one, so that the history has no gap.
    missed: Vec<Arc<Entry>>,
    /// Bytes of the file that are whole.
    length: u64,
    /// Records in the file.
    records: usize,
    next: Next,
    kept_max: usize,
}

/// What the next append has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Write at the end: the file ends where its last record ends.
    Append,
    /// Cut first: there may be something after the last record.
    Cut,
    /// Write the file anew: there is none, or it is not known which one has the name.
    Anew,
}

/// Why the history cannot be read or kept. Displays as sentences with the remedy.
#[derive(Debug)]
pub enum JournalError {
    /// The disk refused.
    Io { action: &'static str, path: PathBuf, error: io::Error },
    /// The state directory is something else.
    NotADirectory { path: PathBuf },
    /// Another process has the state directory.
    InUse { path: PathBuf },
    /// There is no journal to read.
    Missing { path: PathBuf },
    /// The journal does not say what was written.
    Damaged { path: PathBuf, line: u64, offset: u64, what: String },
    /// The journal was written by a later release.
    Newer { path: PathBuf, version: u64 },
    /// This revision cannot be written.
    Unfit { number: u64, why: String },
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, error } => {
                write!(f, "cannot {action} {}: {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("; let the user that runs tidegate read and write it")
                    }
                    io::ErrorKind::StorageFull => f.write_str("; make room on its disk"),
                    _ => Ok(()),
                }
            }
            Self::NotADirectory { path } => {
                let path = path.display();
                write!(f, "the state directory {path} is not a directory; set `state.dir` to one")
            }
            Self::InUse { path } => {
                let path = path.display();
                write!(f, "another tidegate is using the state directory {path}; ")?;
                f.write_str("stop it, or give this one a `state.dir` of its own")
            }
            Self::Missing { path } => {
                write!(f, "there is no history of revisions at {}", path.display())
            }
            Self::Damaged { path, line, offset, what } => {
                let path = path.display();
                write!(f, "{path} is damaged at line {line} (byte {offset}): {what}. ")?;
                f.write_str(
                    "It was left as it is. Restore it from a backup, or move it away to start \
                     without history: traffic is then what the configuration file declares, and \
                     what was set through the API is forgotten",
                )
            }
            Self::Newer { path, version } => {
                let path = path.display();
                write!(f, "{path} is a journal of format {version}, and this release reads 1; ")?;
                f.write_str("run the release that wrote it, or a later one")
            }
            Self::Unfit { number, why } => write!(f, "revision {number} cannot be kept: {why}"),
        }
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl Journal {
    /// Opens the journal of a state directory, which is made if it is missing, and returns the
    /// newest revisions, oldest first; none when there is no journal yet.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Arc<Entry>>), JournalError> {
        let failed = |action| move |error| JournalError::Io { action, path: dir.into(), error };
        if fs::metadata(dir).is_ok_and(|found| !found.is_dir()) {
            return Err(JournalError::NotADirectory { path: dir.into() });
        }
        disk::create_directory(dir).map_err(failed("make the state directory"))?;
        let mut directory = Directory::lock(dir).map_err(|error| match error {
            LockError::Held => JournalError::InUse { path: dir.into() },
            LockError::Io(error) => failed("lock the state directory")(error),
        })?;
        let path = dir.join(JOURNAL);
        let replay = match exists(&path)? {
            false => None,
            true => {
                let failed = |error| JournalError::Io { action: "open", path: path.clone(), error };
                let file = directory.open_journal().map_err(failed)?;
                Some(replay::replay(BufReader::new(file), &path, REVISIONS_KEPT)?)
            }
        };
        let journal = Self::over(Box::new(directory), path, replay, REVISIONS_KEPT)?;
        let entries = journal.kept.iter().cloned().collect();
        Ok((journal, entries))
    }

    /// Reads the journal of a state directory without touching it, whether or not a tidegate is
    /// using it.
    pub fn read_only(dir: &Path) -> Result<Vec<Arc<Entry>>, JournalError> {
        let path = dir.join(JOURNAL);
        if !exists(&path)? {
            return Err(JournalError::Missing { path });
        }
        let file = File::open(&path);
        let failed = |error| JournalError::Io { action: "open", path: path.clone(), error };
        let file = BufReader::new(file.map_err(failed)?);
        Ok(replay::replay(file, &path, REVISIONS_KEPT)?.entries.into())
    }

    /// A journal over a disk whose journal said `replay`. What a torn append left is cut off.
    pub(super) fn over(
        disk: Box<dyn Disk>,
        path: PathBuf,
        replay: Option<Replay>,
        kept_max: usize,
    ) -> Result<Self, JournalError> {
        let next = match &replay {
            None => Next::Anew,
            Some(replay) if replay.torn > 0 => Next::Cut,
            Some(_) => Next::Append,
        };
        let Replay { entries, records, length, torn } = replay.unwrap_or_default();
        let (kept, missed) = (entries, Vec::new());
        let mut journal = Self { disk, path, kept, missed, length, records, next, kept_max };
        if torn > 0 {
            let path = journal.path.display();
            tracing::warn!(%path, bytes = torn, "an append that never ended is dropped");
            journal.cut()?;
        }
        Ok(journal)
    }

    /// Adds a revision. It is on disk when this returns. After an error it is not part of the
    /// history, unless the next one appended has the number after it: then both are written.
    pub fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        self.missed.retain(|missed| missed.number < entry.number);
        let last = self.missed.last().or(self.kept.back()).map(|last| last.number);
        if let Some(last) = last
            && last + 1 != entry.number
        {
            let why = format!("it would follow revision {last}");
            return Err(JournalError::Unfit { number: entry.number, why });
        }
        self.missed.push(Arc::new(entry.clone()));
        if self.missed.len() > self.kept_max {
            // More than is kept was missed: the file begins anew with the oldest of those.
            self.kept.clear();
            self.missed.remove(0);
            self.next = Next::Anew;
        }
        match self.next {
            Next::Append => self.write_missed()?,
            Next::Cut => {
                self.cut()?;
                self.write_missed()?;
            }
            Next::Anew => self.write_anew()?,
        }
        if self.records >= 2 * self.kept_max {
            // The revision is on disk already; this is tried again with the next one.
            if let Err(error) = self.write_anew() {
                tracing::warn!(%error, "the journal could not be shortened");
            }
        }
        Ok(())
    }

    /// Writes what was missed at the end of the file.
    fn write_missed(&mut self) -> Result<(), JournalError> {
        let mut bytes = Vec::new();
        let mut previous = self.kept.back();
        for entry in &self.missed {
            bytes.extend(replay::line(entry, previous.map(Arc::as_ref))?);
            previous = Some(entry);
        }
        let written = self.disk.append(&bytes).and_then(|()| self.disk.sync());
        if let Err(error) = written {
            self.next = Next::Cut;
            // At once, lest a refused revision comes back with a restart; else before the next.
            if let Err(error) = self.cut() {
                tracing::warn!(%error, "what a failed append left behind could not be removed");
            }
            return Err(self.failed("write", error));
        }
        self.length += bytes.len() as u64;
        self.records += self.missed.len();
        self.take_missed();
        Ok(())
    }

    /// Writes a new file with what is kept and what was missed, and puts it in place of the old.
    fn write_anew(&mut self) -> Result<(), JournalError> {
        let all = self.kept.iter().chain(&self.missed);
        let count = self.kept.len() + self.missed.len();
        let entries = all.skip(count.saturating_sub(self.kept_max));
        let bytes = replay::file(entries)?;
        let draft = self.disk.write_draft(&bytes).and_then(|()| self.disk.sync_draft());
        draft.map_err(|error| self.failed("write anew", error))?;
        self.next = Next::Anew;
        let named = self.disk.adopt_draft().and_then(|()| self.disk.sync_directory());
        named.map_err(|error| self.failed("replace", error))?;
        self.next = Next::Append;
        self.length = bytes.len() as u64;
        self.records = count.min(self.kept_max);
        self.take_missed();
        Ok(())
    }

    fn take_missed(&mut self) {
        self.kept.extend(self.missed.drain(..));
        let surplus = self.kept.len().saturating_sub(self.kept_max);
        self.kept.drain(..surplus);
    }

    fn cut(&mut self) -> Result<(), JournalError> {
        let cut = self.disk.truncate(self.length).and_then(|()| self.disk.sync());
        cut.map_err(|error| self.failed("repair", error))?;
        self.next = Next::Append;
        Ok(())
    }

    fn failed(&self, action: &'static str, error: io::Error) -> JournalError {
        JournalError::Io { action, path: self.path.clone(), error }
    }
}

/// Whether there is a journal. Anything of its name that is no plain file is an error: a dangling
/// link, for one, is a history that is elsewhere and not an empty one.
fn exists(path: &Path) -> Result<bool, JournalError> {
    let error = match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => return Ok(true),
        Ok(_) => io::Error::other("it is not a plain file"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => error,
    };
    Err(JournalError::Io { action: "open", path: path.into(), error })
}
