//! Kernel addresses to function names, from /proc/kallsyms.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader},
};

/// Bytes read at a time.
const CHUNK: usize = 1 << 16;

/// The kernel's functions: a hundred thousand, so their names lie one behind the other.
#[derive(Debug, Default)]
pub struct Symbols {
    functions: Vec<Function>,
    names: String,
    /// Where the kernel proper lies: `_stext` to `_etext`.
    text: Option<std::ops::Range<u64>>,
}

#[derive(Clone, Copy, Debug)]
struct Function {
    address: u64,
    /// Where in the names its own begins.
    name: u32,
    length: u32,
}

impl Symbols {
    /// Reads the running kernel's functions. Where the kernel hides addresses (`kernel.kptr_restrict`), or
    /// does not show the file, no function is known.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn of_running_kernel() -> io::Result<Self> {
        Self::parse(BufReader::with_capacity(
            CHUNK,
            File::open("/proc/kallsyms")?,
        ))
    }

    /// Takes the functions out of text as /proc/kallsyms has it; lines it does not understand are left out.
    ///
    /// # Errors
    ///
    /// The text cannot be read.
    pub fn parse(mut text: impl BufRead) -> io::Result<Self> {
        let mut symbols = Self::default();
        let (mut start, mut end) = (None, None);
        let mut line = Vec::new();
        while text.read_until(b'\n', &mut line)? > 0 {
            let parsed = std::str::from_utf8(&line).ok().and_then(function);
            if let Some((address, name)) = parsed.filter(|(address, _name)| *address != 0) {
                match name {
                    "_stext" => start = Some(address),
                    "_etext" => end = Some(address),
                    _ => {}
                }
                symbols.add(address, name);
            }
            line.clear();
        }
        symbols.text = start.zip(end).map(|(start, end)| start..end);
        // Of several names of one address the first listed stays.
        symbols.functions.sort_by_key(|function| function.address);
        symbols.functions.dedup_by_key(|function| function.address);
        symbols.functions.shrink_to_fit();
        symbols.names.shrink_to_fit();
        Ok(symbols)
    }

    fn add(&mut self, address: u64, name: &str) {
        // All names of a kernel are a few megabytes.
        let (Ok(start), Ok(length)) = (u32::try_from(self.names.len()), u32::try_from(name.len()))
        else {
            return;
        };
        self.names.push_str(name);
        self.functions.push(Function {
            address,
            name: start,
            length,
        });
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
            .partition_point(|function| function.address <= address);
        let function = self.functions.get(after.checked_sub(1)?)?;
        let start = function.name as usize;
        let name = self.names.get(start..start + function.length as usize)?;
        Some(without_suffix(name))
    }
}

/// Names of the running kernel's functions, with or without addresses: kernels hide these first. Compiler suffixes
/// (`.isra.0`, …) are left out.
///
/// # Errors
///
/// The file cannot be read.
pub fn names_of_running_kernel() -> io::Result<HashSet<String>> {
    Ok(names(&String::from_utf8_lossy(&std::fs::read(
        "/proc/kallsyms",
    )?)))
}

fn names(text: &str) -> HashSet<String> {
    text.lines()
        .filter_map(function)
        .map(|(_address, name)| without_suffix(name).to_owned())
        .collect()
}

/// Address, 0 if the kernel hides it, and name of the function that a line is about; `None` for data, and for what is no line
/// of the kernel's.
fn function(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let is_function = matches!(words.next()?, "t" | "T" | "w" | "W");
    let name = words.next().filter(|_name| is_function)?;
    Some((address, name))
}

/// A name without what the compiler made of it.
fn without_suffix(name: &str) -> &str {
    name.split_once('.').map_or(name, |(name, _suffix)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_function_around_an_address() -> io::Result<()> {
        let symbols = Symbols::parse(
            &b"ffffffff81000000 T _text\n\
             ffffffff81000100 t generic_permission.part.0\n\
             ffffffff81000080 T capable\n\
             ffffffff82000000 D data\n\
             nonsense\n\
             ffffffff81000090 T \xff\n\
             0000000000000000 T hidden\n"[..],
        )?;
        assert_eq!(symbols.name(0xffff_ffff_8100_0084), Some("capable"));
        assert_eq!(
            symbols.name(0xffff_ffff_8100_01ff),
            Some("generic_permission")
        );
        assert_eq!(symbols.name(1), None);
        assert!(Symbols::parse(&b"0000000000000000 T a\n"[..])?.is_empty());
        Ok(())
    }

    #[test]
    fn names_are_there_without_addresses() {
        let text = "0000000000000000 T a\n0000000000000000 t b.isra.0\n0000000000000000 D c\nd\n";
        assert_eq!(names(text), HashSet::from(["a".to_owned(), "b".to_owned()]));
    }
}
