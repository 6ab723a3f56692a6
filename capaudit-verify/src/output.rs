//! The end of what a run printed.

/// Bytes that are kept.
const KEPT: usize = 64 * 1024;
/// Lines that are shown.
const LINES: usize = 5;
/// Characters of a line that are shown.
const COLUMNS: usize = 400;
/// Lines at the end in which a refusal is looked for.
const LOOKED_AT: usize = 20;

/// The last part of an output, however long that is.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    /// Takes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Twice as much is held, so that not every call moves all of it.
        if self.bytes.len() > 2 * KEPT {
            self.bytes.drain(..self.bytes.len() - KEPT);
        }
    }

    /// The last lines that are not empty, without colours and cut to a readable length. If only an earlier one
    /// tells of a refusal, that one is among them. They may hold anything: not for terminals.
    pub(super) fn last_lines(&self) -> Vec<String> {
        let mut lines = self.last(LOOKED_AT);
        let shown = lines.len().saturating_sub(LINES);
        if lines[shown..].iter().any(|line| tells_of_refusal(line)) {
            return lines.split_off(shown);
        }
        match lines.iter().rposition(|line| tells_of_refusal(line)) {
            Some(telling) => {
                let telling = lines[telling].clone();
                let mut lines = lines.split_off(shown + 1);
                lines.insert(0, telling);
                lines
            }
            None => lines.split_off(shown),
        }
    }

    fn last(&self, count: usize) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let mut lines: Vec<String> = text
            .lines()
            .rev()
            .map(plain)
            .filter(|line| !line.is_empty())
            .take(count)
            .map(|line| cut(&line))
            .collect();
        lines.reverse();
        lines
    }

    /// Whether the last lines tell that something was refused for want of privilege.
    pub(super) fn tells_of_refusal(&self) -> bool {
        self.last(LOOKED_AT)
            .iter()
            .any(|line| tells_of_refusal(line))
    }

    /// Whether a line begins with this.
    pub(super) fn has_line_that_begins(&self, beginning: &str) -> bool {
        self.last(LOOKED_AT)
            .iter()
            .any(|line| line.starts_with(beginning))
    }
}

fn tells_of_refusal(line: &str) -> bool {
    // Of errno, of messages about it, and of libcap's functions.
    const WORDS: [&str; 11] = [
        "not permitted",
        "permission denied",
        "access denied",
        "capabilit",
        "eperm",
        "eacces",
        "privilege",
        "must be root",
        "superuser",
        "cap_set",
        "capset",
    ];
    let line = line.to_lowercase();
    WORDS.iter().any(|word| line.contains(word))
}

/// A line without colours: control sequences (ECMA-48, 5.4) are left out, and what a carriage return overwrote.
fn plain(line: &str) -> String {
    let line = line.trim_end();
    let line = line.rsplit_once('\r').map_or(line, |(_over, line)| line);
    let mut plain = String::new();
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        if character == '\t' {
            plain.push(' ');
        } else if character != '\x1b' {
            plain.push(character);
        } else if rest.next() == Some('[') {
            let _final = rest.find(|character| ('@'..='~').contains(character));
        }
    }
    plain.trim_end().to_owned()
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(COLUMNS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tail(text: &str) -> Tail {
        let mut tail = Tail::default();
        tail.push(text.as_bytes());
        tail
    }

    #[test]
    fn only_the_last_lines_are_shown() {
        assert_eq!(
            tail("1\n2\n\n3\r\n4\n5\n  6\n\n").last_lines(),
            ["2", "3", "4", "5", "  6"]
        );
        assert!(tail("").last_lines().is_empty());
        let long = "ä".repeat(1000);
        assert_eq!(tail(&long).last_lines()[0].chars().count(), COLUMNS + 1);
    }

    #[test]
    fn the_line_that_tells_of_a_refusal_is_shown() {
        let output = "chroot: Operation not permitted\n1\n2\n3\n4\n5\n6\n";
        assert_eq!(
            tail(output).last_lines(),
            ["chroot: Operation not permitted", "3", "4", "5", "6"]
        );
        let output = "chroot: Operation not permitted\n1\n2\n3\n4\n";
        assert_eq!(tail(output).last_lines().len(), 5);
    }

    #[test]
    fn colours_and_what_was_overwritten_are_left_out() {
        assert_eq!(
            tail("\x1b[36mweb_1 |\x1b[0m\tx\n 10 %\r100 %\r\n\x1b[0m\n").last_lines(),
            ["web_1 | x", "100 %"]
        );
    }

    #[test]
    fn refusals_are_recognised_in_many_words() {
        assert!(
            tail("chown: changing ownership of 'x': Operation not permitted\n").tells_of_refusal()
        );
        assert!(tail("bind() to 0.0.0.0:80 failed (13: Permission denied)").tells_of_refusal());
        assert!(tail("process is missing required capability NET_ADMIN").tells_of_refusal());
        assert!(!tail("Segmentation fault").tells_of_refusal());
    }

    proptest! {
        #[test]
        fn little_is_kept_and_it_is_the_end(chunks in proptest::collection::vec(1usize..100_000, 1..20)) {
            let mut tail = Tail::default();
            for (index, length) in chunks.iter().enumerate() {
                tail.push(&vec![b'a' + u8::try_from(index).unwrap_or(0); *length]);
                prop_assert!(tail.bytes.len() <= 2 * KEPT);
            }
            let _lines = tail.last_lines();
            prop_assert_eq!(tail.bytes.last().copied(), Some(b'a' + u8::try_from(chunks.len() - 1).unwrap_or(0)));
        }
    }
}
