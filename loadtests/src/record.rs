//! Where are results kept that are worth keeping?
//!
//! `DATE-COMMIT.md` with machine, versions, tables and promises, and beside it a plot of the same name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::plot;
use crate::report::Report;

/// Writes the reports into a folder; what was written comes back.
pub fn write(folder: &Path, reports: &[Report]) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let commit = commit().unwrap_or_else(|| "unknown".to_owned());
    let name = format!("{date}-{commit}");
    let mut written = vec![folder.join(format!("{name}.md"))];
    let mut text = format!("# Load tests, {date}, commit {commit}\n\n");
    let panels: Vec<_> = reports.iter().flat_map(|report| report.panels.clone()).collect();
    if !panels.is_empty() {
        let title = format!("CPU per request in us, {date}, commit {commit}");
        let file = folder.join(format!("{name}.svg"));
        fs::write(&file, plot::svg(&title, &panels))?;
        text.push_str(&format!("![CPU per request]({name}.svg)\n\n"));
        written.push(file);
    }
    for report in reports {
        text.push_str(&format!("```text\n{}```\n\n", report.text()));
    }
    fs::write(&written[0], text.trim_end().to_owned() + "\n")?;
    Ok(written)
}

/// The commit of the checkout this runs in, marked when files differ from it.
fn commit() -> Option<String> {
    let mut command = Command::new("git");
    command.args(["describe", "--always", "--abbrev=7", "--exclude=*", "--dirty"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Bar, Panel};
    use crate::stats::Spread;

    #[test]
    fn a_result_has_its_plot_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut report = Report::new("baseline");
        report.note("nginx 1.22.1");
        let bar = Bar { label: "tidegate".to_owned(), own: true, value: Spread::of([1.0]) };
        report.panels.push(Panel { title: "get1k".to_owned(), bars: vec![bar] });
        let written = write(folder.path(), &[report]).expect("written");
        let text = fs::read_to_string(&written[0]).expect("the tables");
        assert!(text.contains("nginx 1.22.1"), "{text}");
        let plot = written[1].file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(text.contains(&format!("]({plot})")), "{text}");
    }
}
