//! What the bytes of a journal say.
//!
//! A header line, then one line a record: `crc32-hex SP json LF`. Whatever is not exactly that is
//! refused with its place, but for one thing: a last line without its newline is an append that
//! never ended, so nobody was told of it, and it is left out. Every single damaged byte is found.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::Arc;

use super::journal::JournalError;
use super::{Entry, persist};
use crate::limits::{JOURNAL_HEADER_BYTES_MAX, RECORD_BYTES_MAX};

const HEADER: &str = "tidegate journal 1\n";
/// Eight hexadecimal digits and a space.
const SUM_BYTES: usize = 9;

/// A journal as it was read.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// The newest, oldest first.
    pub entries: VecDeque<Arc<Entry>>,
    /// How many records the file holds.
    pub records: usize,
    /// Bytes of all that is whole.
    pub length: u64,
    /// Bytes of an append that never ended.
    pub torn: u64,
}

/// The line of an entry; the first of a file has no `previous`. It reads back as the same entry,
/// or it is refused: what could not be read at the next start is not written.
pub(super) fn line(entry: &Entry, previous: Option<&Entry>) -> Result<Vec<u8>, JournalError> {
    let unfit = |why| JournalError::Unfit { number: entry.number, why };
    let traffic = previous.map(|previous| previous.traffic.as_ref());
    let json = persist::encode(entry, traffic).map_err(unfit)?;
    let found = persist::decode(&json, previous).map_err(unfit)?;
    if (Entry { changes: entry.changes.clone(), ..found }) != *entry {
        return Err(unfit("it would be read back as something else".to_owned()));
    }
    let mut line = format!("{:08x} ", crc32fast::hash(&json)).into_bytes();
    line.extend(json);
    line.push(b'\n');
    if line.len() > RECORD_BYTES_MAX {
        let why = format!("it needs {} bytes and may have {RECORD_BYTES_MAX}", line.len());
        return Err(unfit(why));
    }
    Ok(line)
}

/// A whole journal of entries that follow each other.
pub(super) fn file<'a>(
    entries: impl Iterator<Item = &'a Arc<Entry>>,
) -> Result<Vec<u8>, JournalError> {
    let mut bytes = HEADER.as_bytes().to_vec();
    let mut previous: Option<&Entry> = None;
    for entry in entries {
        bytes.extend(line(entry, previous)?);
        previous = Some(entry);
    }
    Ok(bytes)
}

/// Reads a journal; `kept` entries at most are returned. `path` is for messages.
pub(super) fn replay(
    mut from: impl BufRead,
    path: &Path,
    kept: usize,
) -> Result<Replay, JournalError> {
    let mut replay = Replay { length: header(&mut from, path)?, ..Replay::default() };
    let mut bytes = Vec::new();
    loop {
        let damaged = |what: String, replay: &Replay| JournalError::Damaged {
            path: path.into(),
            line: replay.records as u64 + 2,
            offset: replay.length,
            what,
        };
        bytes.clear();
        let read = from.by_ref().take(RECORD_BYTES_MAX as u64).read_until(b'\n', &mut bytes);
        read.map_err(|error| failed(path, error))?;
        let Some((b'\n', record)) = bytes.split_last() else {
            torn(&bytes).map_err(|what| damaged(what, &replay))?;
            if replay.records == 0 {
                return Err(damaged("there is no whole revision".into(), &replay));
            }
            replay.torn = bytes.len() as u64;
            return Ok(replay);
        };
        let previous = replay.entries.back().map(Arc::as_ref);
        let entry = checked(record).and_then(|json| persist::decode(json, previous));
        let entry = entry.map_err(|what| damaged(what, &replay))?;
        if replay.entries.len() == kept {
            replay.entries.pop_front();
        }
        replay.entries.push_back(Arc::new(entry));
        replay.records += 1;
        replay.length += bytes.len() as u64;
    }
}

/// Reads the first line and returns its length.
fn header(from: &mut impl BufRead, path: &Path) -> Result<u64, JournalError> {
    let mut bytes = Vec::new();
    let read = from.by_ref().take(JOURNAL_HEADER_BYTES_MAX).read_until(b'\n', &mut bytes);
    read.map_err(|error| failed(path, error))?;
    let text = String::from_utf8_lossy(&bytes);
    if text == HEADER {
        return Ok(bytes.len() as u64);
    }
    let version = text.strip_prefix("tidegate journal ").map(|version| version.trim_end());
    if let Some(Ok(version)) = version.map(str::parse::<u64>)
        && version > 1
    {
        return Err(JournalError::Newer { path: path.into(), version });
    }
    let what = match bytes.is_empty() {
        true => "the file is empty".to_owned(),
        false => format!("`{}` is no header of a journal", text.escape_debug()),
    };
    Err(JournalError::Damaged { path: path.into(), line: 1, offset: 0, what })
}

/// The JSON of a line, if its sum is right and written as we write it.
fn checked(record: &[u8]) -> Result<&[u8], String> {
    let (sum, json) = record.split_at_checked(SUM_BYTES).ok_or("the line is too short")?;
    match sum == format!("{:08x} ", crc32fast::hash(json)).as_bytes() {
        true => Ok(json),
        false => Err("the checksum is wrong".to_owned()),
    }
}

/// Whether bytes without a newline can be what an interrupted append left behind.
fn torn(tail: &[u8]) -> Result<(), String> {
    if tail.len() >= RECORD_BYTES_MAX {
        return Err(format!("the line is longer than {RECORD_BYTES_MAX} bytes"));
    }
    // An append that stops early leaves the beginning of a line, never one byte beside its end.
    match tail.split_last() {
        Some((_, record)) if checked(record).is_ok() => {
            Err("the newline at the end of the line is damaged".to_owned())
        }
        _ => Ok(()),
    }
}

fn failed(path: &Path, error: io::Error) -> JournalError {
    JournalError::Io { action: "read", path: path.into(), error }
}
