//! What was printed beside what is to be printed.

use std::{env, fs};

use libtest_mimic::Failed;
use similar::TextDiff;

use crate::tree::Tree;

/// As much of a difference as one takes in; the rest is git's to show.
const LINES_SHOWN: usize = 60;

/// What the environment asks for.
const MODE: &str = "CAPAUDIT_GOLDEN";

/// Whether what is expected is to be written, not compared.
pub(crate) fn is_to_be_written() -> Result<bool, String> {
    match env::var_os(MODE) {
        None => Ok(false),
        Some(mode) if mode == "write" => Ok(true),
        Some(mode) => Err(format!("{MODE} is {mode:?}; it can only be write")),
    }
}

/// Fails if `printed` is not, byte for byte, what the case's file says; writes the file if that is asked for.
pub(crate) fn compare(tree: &Tree, case: &str, printed: &str) -> Result<(), Failed> {
    let file = tree.output(case);
    if is_to_be_written()? {
        return Ok(fs::write(file, printed)?);
    }
    let expected = fs::read_to_string(&file)
        .map_err(|error| format!("cannot read {}: {error}\n{}", file.display(), remedy()))?;
    if expected == printed {
        return Ok(());
    }
    let diff = TextDiff::from_lines(expected.as_str(), printed);
    let unified = diff
        .unified_diff()
        .context_radius(3)
        .header(&format!("{case}.txt as committed"), "as printed now")
        .to_string();
    let mut shown: String = unified.split_inclusive('\n').take(LINES_SHOWN).collect();
    let left_out = unified.lines().count().saturating_sub(LINES_SHOWN);
    if left_out > 0 {
        shown.push_str(&format!("… and {left_out} lines\n"));
    }
    Err(format!("{shown}{}", remedy()).into())
}

fn remedy() -> String {
    format!(
        "if the change is meant: {MODE}=write cargo test -p capaudit --test golden, and read `git diff`"
    )
}
