//! The figures as Markdown.

use std::{fmt::Write as _, process::Command};

use anyhow::{Context as _, Result};

use crate::tracing::Programs;

/// What has been measured.
#[derive(Debug)]
pub(crate) struct Page(String);

impl Page {
    /// Machine, kernel and time.
    pub(crate) fn begin(programs: &Programs) -> Result<Self> {
        let read = |path: &str| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
        };
        let model = read("/proc/cpuinfo")?
            .lines()
            .find_map(|line| {
                Some(
                    line.strip_prefix("model name")?
                        .split_once(": ")?
                        .1
                        .to_owned(),
                )
            })
            .unwrap_or_else(|| "unknown".to_owned());
        let cores = std::thread::available_parallelism()?;
        let kernel: String = read("/proc/sys/kernel/osrelease")?
            .chars()
            .take_while(|character| character.is_ascii_digit() || *character == '.')
            .collect();
        let date = Command::new("date").args(["--utc", "+%F"]).output()?;
        let bpftrace = Command::new("bpftrace").arg("--version").output()?;
        Ok(Self(format!(
            "# What capaudit costs

Measured on {} by `cargo xtask bench --write docs/results/bench.md`, on {cores} cores of {model} (a virtual machine), Linux
{kernel}, hook {}, {}. All figures of a table were measured side by side, in {} rounds that took turns. Of short loops, whole
programs and start-up, the quickest counts, which whatever else the machine did disturbed least; else the median.

",
            String::from_utf8_lossy(&date.stdout).trim(),
            programs.hook,
            String::from_utf8_lossy(&bpftrace.stdout).trim(),
            programs.rounds,
        )))
    }

    pub(crate) fn heading(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "## {text}\n\n");
    }

    pub(crate) fn say(&mut self, text: &str) {
        let _ = write!(self.0, "{text}\n\n");
    }

    /// A table with columns of equal width.
    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                let cells = rows.iter().chain([&head]).filter_map(|row| row.get(column));
                cells
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
                    .max(3)
            })
            .collect();
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        for row in [&head, &rule].into_iter().chain(rows) {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            let _ = writeln!(self.0, "| {} |", cells.join(" | "));
        }
        self.0.push('\n');
    }

    pub(crate) fn text(mut self) -> String {
        // Each part leaves a blank line behind.
        self.0.truncate(self.0.trim_end().len());
        self.0.push('\n');
        self.0
    }
}
