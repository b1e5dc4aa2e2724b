//! Evidence on disk: one file a service beside the journal, replaced whole.
//!
//! The position of a rollout is in the journal; this is what would have to be learned again. A file
//! that is missing, damaged or of another rollout means that it is learned again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::machine::Rollout;
use crate::name::ServiceName;

#[derive(Serialize, Deserialize)]
struct KeptDoc {
    started_ms: u64,
    epoch: u32,
    numbers: BTreeMap<String, Vec<f64>>,
}

fn file(folder: &Path, service: &ServiceName) -> PathBuf {
    folder.join(format!("evidence-{service}.json"))
}

/// Keeps the evidence of a rollout.
///
/// # Errors
/// Those of the file system; what was kept before is still there.
pub fn write(
    folder: &Path,
    service: &ServiceName,
    rollout: &Rollout,
    numbers: BTreeMap<String, Vec<f64>>,
) -> std::io::Result<()> {
    let (started_ms, epoch) = (rollout.started_ms, rollout.epoch);
    let json = serde_json::to_vec(&KeptDoc { started_ms, epoch, numbers })?;
    let (file, draft) = (file(folder, service), folder.join(format!(".evidence-{service}.draft")));
    std::fs::write(&draft, json)?;
    std::fs::rename(draft, file)
}

/// The evidence of this rollout, if it was kept.
pub fn read(
    folder: &Path,
    service: &ServiceName,
    rollout: &Rollout,
) -> Option<BTreeMap<String, Vec<f64>>> {
    let json = std::fs::read(file(folder, service)).ok()?;
    let kept: KeptDoc = serde_json::from_slice(&json).ok()?;
    let same = (kept.started_ms, kept.epoch) == (rollout.started_ms, rollout.epoch);
    same.then_some(kept.numbers)
}
