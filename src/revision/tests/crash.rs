//! Every operation on the disk fails once, in three ways, and the power goes at every moment.
//!
//! The disk is a model that knows what is durable. After each operation it is asked for every
//! state in which a crash could leave it; each must hold every revision that was acknowledged.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::*;
use crate::revision::disk::Disk;
use crate::revision::journal::{Journal, JournalError};
use crate::revision::replay::replay;

/// Small, so that a short story is shortened several times.
const KEPT: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// Nothing happens.
    Before,
    /// Half of it happens.
    Half,
    /// It happens, and is said to have failed.
    After,
}

#[derive(Debug, Default, Clone)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
}

/// What a crash may leave behind, and how much had been acknowledged by then.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Remains {
    acknowledged: BTreeMap<u64, String>,
    journal: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Model {
    files: Vec<Content>,
    /// The file with the journal's name: now, and after a crash.
    named: Option<usize>,
    named_durably: Option<usize>,
    open: Option<usize>,
    draft: Option<usize>,
    /// Operations until now, and the ones that fail.
    count: usize,
    fail: std::ops::Range<usize>,
    how: Option<How>,
    acknowledged: BTreeMap<u64, String>,
    remains: BTreeSet<Remains>,
}

#[derive(Debug, Clone, Default)]
struct ModelDisk(Arc<Mutex<Model>>);

impl ModelDisk {
    /// Does `operation`, of which `half` is a part, unless it is this one's turn to fail.
    fn perform(
        &self,
        operation: impl FnOnce(&mut Model),
        half: impl FnOnce(&mut Model),
    ) -> io::Result<()> {
        let mut model = self.0.lock().unwrap();
        let place = model.count;
        model.count += 1;
        let failing = model.how.filter(|_| model.fail.contains(&place));
        match failing {
            None | Some(How::After) => operation(&mut model),
            Some(How::Half) => half(&mut model),
            Some(How::Before) => (),
        }
        model.crash();
        match failing {
            None => Ok(()),
            Some(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }
}

impl Model {
    fn crash(&mut self) {
        for name in [self.named, self.named_durably] {
            let contents = name.map_or(vec![None], |name| self.files[name].after_crash());
            for journal in contents {
                let acknowledged = self.acknowledged.clone();
                self.remains.insert(Remains { acknowledged, journal });
            }
        }
    }

    fn opened(&mut self) -> &mut Content {
        let open = self.open.expect("the journal is open");
        &mut self.files[open]
    }

    fn drafted(&mut self) -> &mut Content {
        let draft = self.draft.expect("there is a draft");
        &mut self.files[draft]
    }

    fn add_draft(&mut self, bytes: &[u8]) {
        self.files.push(Content { bytes: bytes.to_vec(), durable: Vec::new() });
        self.draft = Some(self.files.len() - 1);
    }
}

impl Content {
    /// What was synced, what was written, and the ways between them.
    fn after_crash(&self) -> Vec<Option<Vec<u8>>> {
        let same = self.bytes.iter().zip(&self.durable).take_while(|(a, b)| a == b).count();
        let middle = same + (self.bytes.len() - same) / 2;
        let states = [&self.durable[..], &self.bytes, &self.bytes[..same], &self.bytes[..middle]];
        states.into_iter().map(|bytes| Some(bytes.to_vec())).collect()
    }

    fn sync(&mut self) {
        self.durable = self.bytes.clone();
    }
}

impl Disk for ModelDisk {
    fn write_draft(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.perform(|m| m.add_draft(bytes), |m| m.add_draft(&bytes[..bytes.len() / 2]))
    }

    fn sync_draft(&mut self) -> io::Result<()> {
        self.perform(|m| m.drafted().sync(), |_| ())
    }

    fn adopt_draft(&mut self) -> io::Result<()> {
        let whole = |m: &mut Model| {
            m.named = m.draft;
            m.open = m.draft.take();
        };
        // Half: the name has moved, and the caller still holds the old file.
        self.perform(whole, |m| m.named = m.draft)
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        self.perform(|m| m.named_durably = m.named, |_| ())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let half = &bytes[..bytes.len() / 2];
        self.perform(|m| m.opened().bytes.extend(bytes), |m| m.opened().bytes.extend(half))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.perform(|m| m.opened().sync(), |_| ())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.perform(|m| m.opened().bytes.truncate(length as usize), |_| ())
    }
}

fn over(disk: &ModelDisk) -> Result<Journal, JournalError> {
    let found = {
        let model = disk.0.lock().unwrap();
        model.named.map(|name| model.files[name].bytes.clone())
    };
    let path = PathBuf::from("j");
    let replay = found.map(|bytes| replay(&bytes[..], &path, KEPT)).transpose()?;
    Journal::over(Box::new(disk.clone()), path, replay, KEPT)
}

/// What tells two attempts at a revision apart.
fn mark(entry: &Entry) -> String {
    format!("{} {}", entry.cause, entry.traffic["checkout"].salt)
}

/// Twelve changes. After a failure the caller tries another change with the same number, or, when
/// it `goes_on`, keeps what the disk refused and takes the number after it.
fn play(disk: &ModelDisk, goes_on: bool) {
    let mut journal = over(disk).expect("an empty disk opens");
    let mut last: Option<Entry> = None;
    let mut unwritten: Vec<Entry> = Vec::new();
    for turn in 0..12 {
        let traffic = Traffic { salt: turn, ..traffic("blue=0") };
        let entry = next(last.as_ref(), map(&[("checkout", traffic)]), &format!("turn {turn}"));
        let written = journal.append(&entry).is_ok();
        if written {
            let mut model = disk.0.lock().unwrap();
            for entry in unwritten.drain(..).chain([entry.clone()]) {
                model.acknowledged.insert(entry.number, mark(&entry));
            }
            model.crash();
        } else if goes_on {
            unwritten.push(entry.clone());
        }
        if written || goes_on {
            last = Some(entry);
        }
    }
}

#[track_caller]
fn check(remains: &Remains, case: &str) {
    let Remains { acknowledged, journal } = remains;
    let Some(bytes) = journal else {
        assert!(acknowledged.is_empty(), "{case}: everything is lost");
        return;
    };
    let found = replay(&bytes[..], Path::new("j"), KEPT);
    let found = found.unwrap_or_else(|error| panic!("{case}: {error}")).entries;
    let marks: BTreeMap<u64, String> =
        found.iter().map(|entry| (entry.number, mark(entry))).collect();
    if let Some((newest, expected)) = acknowledged.last_key_value() {
        // It may have given way to newer ones, but to no fewer than are kept.
        let given_way = found.len() == KEPT && found[0].number > *newest;
        let kept = marks.get(newest) == Some(expected);
        assert!(kept || given_way, "{case}: revision {newest} is lost");
    }
    for (number, found) in &marks {
        let expected = acknowledged.get(number);
        assert!(expected.is_none_or(|expected| expected == found), "{case}: {number} is {found}");
    }
}

#[test]
fn no_failure_and_no_crash_loses_what_was_acknowledged() {
    let calm = ModelDisk::default();
    play(&calm, false);
    let operations = calm.0.lock().unwrap().count;
    assert!(operations > 30, "{operations} operations");
    let mut checked = BTreeSet::new();
    for how in [How::Before, How::Half, How::After] {
        for goes_on in [false, true] {
            for (first, length) in (0..operations).flat_map(|n| [(n, 1), (n, 4)]) {
                let disk = ModelDisk::default();
                {
                    let mut model = disk.0.lock().unwrap();
                    (model.fail, model.how) = (first..first + length, Some(how));
                }
                play(&disk, goes_on);
                let case = format!("{how:?} at {first}, {length} times, goes_on {goes_on}");
                let mut model = disk.0.lock().unwrap();
                for remains in std::mem::take(&mut model.remains) {
                    if !checked.contains(&remains) {
                        check(&remains, &case);
                        checked.insert(remains);
                    }
                }
                let last = model.acknowledged.keys().last();
                assert!(last.is_some_and(|last| *last >= 12 - length as u64), "{case}: {last:?}");
            }
        }
    }
}

#[test]
fn a_refused_revision_does_not_come_back() {
    let disk = ModelDisk::default();
    let mut journal = over(&disk).unwrap();
    let first = next(None, map(&[("checkout", traffic("blue=1"))]), "first");
    journal.append(&first).unwrap();
    let second = next(Some(&first), map(&[("checkout", traffic("blue=2"))]), "second");
    {
        let mut model = disk.0.lock().unwrap();
        (model.fail, model.how) = (model.count + 1..model.count + 2, Some(How::After));
    }
    journal.append(&second).unwrap_err();
    drop(journal);
    let model = disk.0.lock().unwrap();
    let bytes = &model.files[model.named_durably.unwrap()].durable;
    let found = replay(&bytes[..], Path::new("j"), KEPT).unwrap();
    assert_eq!(found.entries.back().map(|entry| entry.number), Some(1));
}

#[test]
fn a_journal_holds_at_most_twice_what_is_kept_and_always_the_newest() {
    let disk = ModelDisk::default();
    let mut journal = over(&disk).unwrap();
    let mut story: Vec<Entry> = Vec::new();
    for turn in 0..20 {
        // `search` changes once, early: what is kept must still know of it.
        let mut of = vec![("checkout", traffic(&format!("blue={turn}")))];
        of.extend((turn > 1).then(|| ("search", traffic("green=7"))));
        story.push(next(story.last(), map(&of), "turn"));
        journal.append(&story[turn]).unwrap();
        let model = disk.0.lock().unwrap();
        let bytes = &model.files[model.named.unwrap()].bytes;
        let found = replay(&bytes[..], Path::new("j"), REVISIONS_KEPT).unwrap();
        assert!(found.records < 2 * KEPT);
        let found: Vec<_> = found.entries.iter().map(|entry| entry.as_ref().clone()).collect();
        assert!(found.len() >= story.len().min(KEPT));
        assert_eq!(found, &story[story.len() - found.len()..]);
    }
}

#[test]
fn numbers_follow_each_other() {
    let disk = ModelDisk::default();
    let mut journal = over(&disk).unwrap();
    let mut entry = next(None, map(&[("checkout", traffic("blue=1"))]), "first");
    journal.append(&entry).unwrap();
    for wrong in [1, 3, 0, u64::MAX] {
        entry.number = wrong;
        let error = journal.append(&entry).unwrap_err();
        assert!(matches!(error, JournalError::Unfit { .. }), "{error}");
    }
    entry.number = 2;
    journal.append(&entry).unwrap();
}

#[test]
fn more_revisions_than_are_kept_may_be_missed() {
    let disk = ModelDisk::default();
    let mut journal = over(&disk).unwrap();
    let mut last = next(None, map(&[("checkout", traffic("blue=1"))]), "first");
    journal.append(&last).unwrap();
    {
        let mut model = disk.0.lock().unwrap();
        (model.fail, model.how) = (model.count..usize::MAX, Some(How::Before));
    }
    for turn in 0..10 {
        let traffic = traffic(&format!("blue={turn}"));
        last = next(Some(&last), map(&[("checkout", traffic)]), "missed");
        journal.append(&last).unwrap_err();
    }
    disk.0.lock().unwrap().how = None;
    last = next(Some(&last), map(&[("checkout", traffic("green=1"))]), "back");
    journal.append(&last).unwrap();
    let model = disk.0.lock().unwrap();
    let bytes = &model.files[model.named_durably.unwrap()].durable;
    let found = replay(&bytes[..], Path::new("j"), KEPT).unwrap();
    let numbers: Vec<_> = found.entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [10, 11, 12]);
    assert_eq!(found.entries.back().map(Arc::as_ref), Some(&last));
}
