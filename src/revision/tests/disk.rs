//! The journal in a real directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::revision::journal::{Journal, JournalError};

fn open(dir: &Path) -> Result<(Journal, Vec<Entry>), JournalError> {
    let (journal, entries) = Journal::open(dir)?;
    Ok((journal, entries.iter().map(|entry| entry.as_ref().clone()).collect()))
}

fn journal(dir: &Path) -> std::path::PathBuf {
    dir.join("revisions.journal")
}

/// What opening says, which must have left the journal as it was.
#[track_caller]
fn refused(dir: &Path) -> String {
    let before = fs::read(journal(dir)).ok();
    let error = Journal::open(dir).expect_err("it was opened").to_string();
    assert_eq!(fs::read(journal(dir)).ok(), before);
    error
}

#[test]
fn a_history_survives_being_closed() {
    let dir = tempfile::tempdir().unwrap();
    let story = story();
    for known in 0..story.len() {
        let (mut journal, found) = open(dir.path()).unwrap();
        assert_eq!(found, &story[..known]);
        journal.append(&story[known]).unwrap();
    }
    let found = Journal::read_only(dir.path()).unwrap();
    assert!(found.iter().map(Arc::as_ref).eq(story.iter()));
}

#[test]
fn the_directory_is_made_for_the_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("a/b");
    let (mut opened, _) = open(&state).unwrap();
    opened.append(&story()[0]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&journal(&state)), 0o600);
}

#[test]
fn a_state_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (mut owner, _) = open(dir.path()).unwrap();
    owner.append(&story()[0]).unwrap();
    let error = refused(dir.path());
    assert!(error.contains("another tidegate is using"), "{error}");
    assert_eq!(Journal::read_only(dir.path()).unwrap().len(), 1);
    drop(owner);
    assert!(open(dir.path()).is_ok());
}

#[test]
fn nothing_is_written_before_the_first_revision() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    assert!(!journal(dir.path()).exists());
    let error = Journal::read_only(dir.path()).unwrap_err();
    assert!(matches!(error, JournalError::Missing { .. }), "{error}");
}

#[test]
fn a_torn_append_is_dropped_and_the_next_one_follows() {
    let dir = tempfile::tempdir().unwrap();
    let story = story();
    let (mut opened, _) = open(dir.path()).unwrap();
    opened.append(&story[0]).unwrap();
    opened.append(&story[1]).unwrap();
    drop(opened);
    let mut bytes = fs::read(journal(dir.path())).unwrap();
    bytes.truncate(bytes.len() - 7);
    fs::write(journal(dir.path()), &bytes).unwrap();
    assert_eq!(Journal::read_only(dir.path()).unwrap().len(), 1);
    assert_eq!(fs::read(journal(dir.path())).unwrap(), bytes);
    let (mut opened, found) = open(dir.path()).unwrap();
    assert_eq!(found, &story[..1]);
    opened.append(&story[1]).unwrap();
    drop(opened);
    assert_eq!(open(dir.path()).unwrap().1, &story[..2]);
}

#[test]
fn what_is_no_journal_is_refused_and_left() {
    let dir = tempfile::tempdir().unwrap();
    for wrong in ["", "\n", "tidegate journal 1\n", "{}"] {
        fs::write(journal(dir.path()), wrong).unwrap();
        let error = refused(dir.path());
        assert!(error.contains("damaged") && error.contains("backup"), "{wrong:?}: {error}");
    }
    fs::write(journal(dir.path()), "tidegate journal 2\n").unwrap();
    assert!(refused(dir.path()).contains("a later one"));
    fs::remove_file(journal(dir.path())).unwrap();
    symlink("nowhere", journal(dir.path())).unwrap();
    assert!(refused(dir.path()).contains("not a plain file"));
    fs::remove_file(journal(dir.path())).unwrap();
    fs::create_dir(journal(dir.path())).unwrap();
    assert!(refused(dir.path()).contains("not a plain file"));
}

#[test]
fn a_file_is_no_state_directory() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state");
    fs::write(&file, "").unwrap();
    assert!(refused(&file).contains("is not a directory"));
    assert!(refused(&file.join("below")).contains("cannot make the state directory"));
}

#[test]
fn a_directory_without_permission_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser may do everything; there is nothing to refuse.
    if fs::read_dir(&state).is_err() {
        let error = refused(&state);
        assert!(error.contains("let the user that runs tidegate"), "{error}");
    }
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
}
