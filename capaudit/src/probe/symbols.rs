//! Kernel addresses to function names, from /proc/kallsyms.

use std::{collections::HashSet, io};

/// The kernel's functions.
#[derive(Debug, Default)]
pub struct Symbols {
    /// Sorted by address.
    functions: Vec<(u64, Box<str>)>,
    /// Where the kernel proper lies: `_stext` to `_etext`.
    text: Option<std::ops::Range<u64>>,
}

impl Symbols {
    /// Reads the running kernel's functions. Where the kernel hides addresses (`kernel.kptr_restrict`), or
    /// does not show the file, no function is known.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn of_running_kernel() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string("/proc/kallsyms")?))
    }

    /// Takes the functions out of text as /proc/kallsyms has it; lines it does not understand are left out.
    pub fn parse(text: &str) -> Self {
        let mut functions: Vec<(u64, Box<str>)> = text.lines().filter_map(function).collect();
        let of = |wanted: &str| {
            functions
                .iter()
                .find(|(_, name)| &**name == wanted)
                .map(|(address, _)| *address)
        };
        let text = of("_stext")
            .zip(of("_etext"))
            .map(|(start, end)| start..end);
        // Of several names of one address the first listed stays.
        functions.sort_by_key(|(address, _name)| *address);
        functions.dedup_by_key(|(address, _name)| *address);
        Self { functions, text }
    }

    /// Whether any function is known.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// Whether `address` lies in the kernel proper, not in a module or a BPF program; true if that cannot be told.
    pub fn is_core_text(&self, address: u64) -> bool {
        self.text
            .as_ref()
            .is_none_or(|text| text.contains(&address))
    }

    /// The function that `address` lies in. Compiler suffixes (`.isra.0`, `.constprop.0`, …) are left out.
    pub fn name(&self, address: u64) -> Option<&str> {
        let after = self
            .functions
            .partition_point(|(start, _name)| *start <= address);
        let (_start, name) = self.functions.get(after.checked_sub(1)?)?;
        Some(name.split_once('.').map_or(&**name, |(name, _suffix)| name))
    }
}

/// Names of the running kernel's functions, with or without addresses: kernels hide these first. Compiler suffixes
/// (`.isra.0`, …) are left out.
///
/// # Errors
///
/// The file cannot be read.
pub fn names_of_running_kernel() -> io::Result<HashSet<String>> {
    Ok(names(&std::fs::read_to_string("/proc/kallsyms")?))
}

fn names(text: &str) -> HashSet<String> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            let is_function = matches!(words.next()?, "t" | "T" | "w" | "W");
            let name = words.next().filter(|_name| is_function)?;
            Some(name.split('.').next().unwrap_or(name).to_owned())
        })
        .collect()
}

fn function(line: &str) -> Option<(u64, Box<str>)> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let kind = words.next()?;
    (address != 0 && matches!(kind, "t" | "T" | "w" | "W"))
        .then(|| Some((address, words.next()?.into())))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_function_around_an_address() {
        let symbols = Symbols::parse(
            "ffffffff81000000 T _text\n\
             ffffffff81000100 t generic_permission.part.0\n\
             ffffffff81000080 T capable\n\
             ffffffff82000000 D data\n\
             nonsense\n\
             0000000000000000 T hidden\n",
        );
        assert_eq!(symbols.name(0xffff_ffff_8100_0084), Some("capable"));
        assert_eq!(
            symbols.name(0xffff_ffff_8100_01ff),
            Some("generic_permission")
        );
        assert_eq!(symbols.name(1), None);
        assert!(Symbols::parse("0000000000000000 T a\n").is_empty());
    }

    #[test]
    fn names_are_there_without_addresses() {
        let text = "0000000000000000 T a\n0000000000000000 t b.isra.0\n0000000000000000 D c\nd\n";
        assert_eq!(names(text), HashSet::from(["a".to_owned(), "b".to_owned()]));
    }
}
