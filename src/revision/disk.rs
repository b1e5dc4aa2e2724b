//! What the journal does to the disk, one method an operation, so that a test can make each fail.
//!
//! There are two files: the journal, which only grows or is cut at its end, and the draft, which
//! is written whole and then takes the journal's name.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The journal's file in the state directory.
pub(super) const JOURNAL: &str = "revisions.journal";
const DRAFT: &str = "revisions.journal.new";
const LOCK: &str = "lock";

/// The operations. Each may fail before, in the middle of, or after having had its effect.
pub(super) trait Disk: Debug + Send {
    /// Makes a new draft, in place of an old one, and writes all of it.
    fn write_draft(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn sync_draft(&mut self) -> io::Result<()>;
    /// Gives the draft the journal's name. From then on it is the journal.
    fn adopt_draft(&mut self) -> io::Result<()>;
    /// Makes the names in the directory durable.
    fn sync_directory(&mut self) -> io::Result<()>;
    /// Writes at the end of the journal.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes the journal's content and length durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the journal.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// A state directory, held by an exclusive lock until this is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    journal: Option<File>,
    draft: Option<File>,
    _lock: File,
}

/// Why a directory was not locked.
pub(super) enum LockError {
    /// Somebody else has it.
    Held,
    Io(io::Error),
}

impl Directory {
    /// Locks an existing directory.
    pub(super) fn lock(path: &Path) -> Result<Self, LockError> {
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(path.join(LOCK));
        let lock = lock.map_err(LockError::Io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), journal: None, draft: None, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(LockError::Held),
            Err(fs::TryLockError::Error(error)) => Err(LockError::Io(error)),
        }
    }

    /// Opens the journal that is there, for reading and for appending.
    pub(super) fn open_journal(&mut self) -> io::Result<File> {
        let path = self.path.join(JOURNAL);
        let journal = OpenOptions::new().read(true).append(true).open(path)?;
        self.journal = Some(journal.try_clone()?);
        Ok(journal)
    }
}

impl Disk for Directory {
    fn write_draft(&mut self, bytes: &[u8]) -> io::Result<()> {
        let path = self.path.join(DRAFT);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut draft = OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)?;
        draft.write_all(bytes)?;
        self.draft = Some(draft);
        Ok(())
    }

    fn sync_draft(&mut self) -> io::Result<()> {
        open(&self.draft)?.sync_all()
    }

    fn adopt_draft(&mut self) -> io::Result<()> {
        fs::rename(self.path.join(DRAFT), self.path.join(JOURNAL))?;
        self.journal = self.draft.take();
        Ok(())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        open(&self.journal)?.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        open(&self.journal)?.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        open(&self.journal)?.set_len(length)
    }
}

fn open(file: &Option<File>) -> io::Result<&File> {
    file.as_ref().ok_or_else(|| io::Error::other("the file is not open"))
}

/// Makes a directory and its parents where they are missing, for the owner alone, durably.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    create_directory(parent)?;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            File::open(parent)?.sync_all()
        }
    }
}
