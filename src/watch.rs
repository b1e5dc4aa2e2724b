//! Tells when files may have changed: `notify` on their folders, and a look at their content.
//!
//! Folders are watched and not files, so that renames and swapped links are seen; content is looked
//! at every second all the same, because bind mounts and network file systems tell nothing.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use xxhash_rust::xxh3::Xxh3;

use crate::limits::FILE_EVENTS_WAITING_MAX;

/// How often content is looked at when nothing was told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Two looks this far apart must agree: a file that is being written is left alone.
const SETTLE: Duration = Duration::from_millis(30);

/// Looks at the files that `paths` names until the receiver is dropped.
pub fn start(paths: impl Fn() -> Vec<PathBuf> + Send + 'static) -> mpsc::Receiver<()> {
    let (tell, changed) = mpsc::channel(1);
    // Before anybody reads the files: what changes after that is told.
    let seen = fingerprint(&paths());
    tokio::spawn(follow(paths, seen, tell));
    changed
}

async fn follow(
    paths: impl Fn() -> Vec<PathBuf> + Send + 'static,
    mut seen: u64,
    tell: mpsc::Sender<()>,
) {
    let (poke, mut poked) = mpsc::channel(FILE_EVENTS_WAITING_MAX);
    let watcher = notify::recommended_watcher(move |event| {
        if let Some(paths) = changed_by(event) {
            // A full channel already says that it is time to look.
            let _ = poke.try_send(paths);
        }
    });
    let mut watcher = watcher.map_err(|error| tracing::warn!(%error, "files are polled")).ok();
    let mut watched: Vec<PathBuf> = Vec::new();
    loop {
        for folder in folders(&paths()) {
            if !watched.contains(&folder)
                && let Some(watcher) = &mut watcher
                && watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok()
            {
                watched.push(folder);
            }
        }
        let mut written = tokio::select! {
            event = poked.recv(), if watcher.is_some() => names(&paths(), event),
            () = tokio::time::sleep(LOOK_EVERY) => false,
            () = tell.closed() => return,
        };
        let mut now = fingerprint(&paths());
        loop {
            // Also when it is other files that are written: a busy log beside ours costs one look
            // in so long.
            tokio::time::sleep(SETTLE).await;
            while let Ok(event) = poked.try_recv() {
                written |= names(&paths(), Some(event));
            }
            let again = fingerprint(&paths());
            if again == now {
                break;
            }
            now = again;
        }
        // What was put back before we looked may have been read by others meanwhile: a write is
        // told also when it seems to have changed nothing.
        if now != seen || written {
            seen = now;
            if tell.send(()).await.is_err() {
                return;
            }
        }
    }
}

/// What may have changed; no paths mean anything may. Opening and reading is no change: taking our
/// own looks for one would mean to look for ever.
fn changed_by(event: notify::Result<Event>) -> Option<Vec<PathBuf>> {
    let Ok(event) = event else { return Some(Vec::new()) };
    let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
    (!event.kind.is_access() || event.kind == closed).then_some(event.paths)
}

/// Whether an event speaks of one of our files, or does not say of which it speaks.
fn names(ours: &[PathBuf], event: Option<Vec<PathBuf>>) -> bool {
    let changed = event.unwrap_or_default();
    let is_ours = |path: &PathBuf| {
        let in_folder = || path.parent().is_some_and(|folder| ours.iter().any(|p| p == folder));
        ours.iter().any(|our| our.file_name() == path.file_name()) || in_folder()
    };
    changed.is_empty() || changed.iter().any(is_ours)
}

fn folders(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for path in paths {
        let folder = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
        let folder = folder.map(|folder| match folder.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => folder.to_owned(),
        });
        folders.extend(folder);
    }
    folders.sort();
    folders.dedup();
    folders
}

fn fingerprint(paths: &[PathBuf]) -> u64 {
    let mut hash = Xxh3::new();
    for path in paths {
        let files = match std::fs::read_dir(path) {
            Ok(entries) => {
                let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
                files.retain(|file| file.extension().is_some_and(|ending| ending == "toml"));
                files.sort();
                files
            }
            Err(_) => vec![path.clone()],
        };
        for file in files {
            hash.update(file.as_os_str().as_encoded_bytes());
            // In pieces: room for all of a large file costs more than reading it.
            let _ = File::open(&file).and_then(|mut file| io::copy(&mut file, &mut hash));
        }
    }
    hash.digest()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn looking_is_not_taken_for_a_change() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("tidegate.toml");
        std::fs::write(&file, "a").unwrap();
        let looks = Arc::new(AtomicU32::new(0));
        let counted = looks.clone();
        let path = file.clone();
        let mut changed = start(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            vec![path.clone()]
        });
        // The look that every later one is compared with comes first.
        while looks.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        std::fs::write(&file, "b").unwrap();
        changed.recv().await.expect("a change is told");
        tokio::time::sleep(LOOK_EVERY / 2).await;
        let looks = looks.load(Ordering::Relaxed);
        assert!(looks < 50, "looked {looks} times at one change");
    }

    #[tokio::test]
    async fn what_is_put_back_at_once_is_told_all_the_same() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("tidegate.toml");
        std::fs::write(&file, "a").unwrap();
        let looked = Arc::new(tokio::sync::Notify::new());
        let (tell, path) = (looked.clone(), file.clone());
        let mut changed = start(move || {
            tell.notify_one();
            vec![path.clone()]
        });
        // The second look is for the folders to watch; between it and the wait there is no pause.
        looked.notified().await;
        looked.notified().await;
        std::fs::write(&file, "b").unwrap();
        std::fs::write(&file, "a").unwrap();
        let told = tokio::time::timeout(LOOK_EVERY * 5, changed.recv()).await;
        assert_eq!(told, Ok(Some(())));
    }
}
