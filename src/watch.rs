//! Tells when files may have changed: `notify` on their folders, and a look at their content.
//!
//! Folders are watched and not files, so that renames and swapped links are seen; content is looked
//! at every second all the same, because bind mounts and network file systems tell nothing.

use std::path::PathBuf;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;
use xxhash_rust::xxh3::Xxh3;

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
    let (poke, mut poked) = mpsc::channel(1);
    let watcher = notify::recommended_watcher(move |_| {
        // A full channel already says what there is to say.
        let _ = poke.try_send(());
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
        tokio::select! {
            _ = poked.recv(), if watcher.is_some() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = tell.closed() => return,
        }
        let mut now = fingerprint(&paths());
        while now != seen {
            tokio::time::sleep(SETTLE).await;
            let again = fingerprint(&paths());
            if again == now {
                break;
            }
            now = again;
        }
        if now != seen {
            seen = now;
            if tell.send(()).await.is_err() {
                return;
            }
        }
    }
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
            hash.update(&std::fs::read(&file).unwrap_or_default());
        }
    }
    hash.digest()
}
