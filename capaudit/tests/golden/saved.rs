//! Sessions that are saved again: the format of the file is a contract too.

use capaudit_core::ledger;
use libtest_mimic::Failed;

use crate::tree::Tree;

/// Fails unless the session, read and saved again, is what it was but for the layout.
pub(crate) fn again(tree: &Tree, session: &str) -> Result<(), Failed> {
    let path = tree.session(session);
    let before = std::fs::read_to_string(&path)?;
    let after = String::from_utf8(ledger::to_bytes(&capaudit_storage::load(&path)?)?)?;
    let (before, after) = (without_layout(&before), without_layout(&after));
    if before == after {
        return Ok(());
    }
    // No line feeds are left: what surrounds the first difference is shown instead.
    let same = before
        .chars()
        .zip(after.chars())
        .take_while(|(one, other)| one == other)
        .count();
    let around = |text: &str| -> String {
        text.chars()
            .skip(same.saturating_sub(120))
            .take(240)
            .collect()
    };
    Err(format!(
        "saved again, {session} differs from character {same} on:\nbefore: {}\nafter:  {}",
        around(&before),
        around(&after)
    )
    .into())
}

/// JSON without the blanks between its tokens.
fn without_layout(json: &str) -> String {
    let mut in_string = false;
    let mut escaped = false;
    json.chars()
        .filter(|character| {
            match character {
                '"' if !escaped => in_string = !in_string,
                _ => {}
            }
            escaped = in_string && *character == '\\' && !escaped;
            in_string || !character.is_ascii_whitespace()
        })
        .collect()
}
