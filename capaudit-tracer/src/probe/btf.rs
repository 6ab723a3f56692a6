//! A reader of the kernel's BTF, for what aya keeps to itself: the offsets of structure members.
//!
//! Format: Documentation/bpf/btf.rst of the kernel. Only what finding a member needs is understood; anything
//! malformed is an error, nothing is assumed of the file.

use std::path::Path;

use thiserror::Error;

/// Where the running kernel shows its BTF.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Why BTF could not be used.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read {KERNEL_BTF}: {0}")]
    Read(#[from] std::io::Error),
    /// The file is not BTF as this reader knows it.
    #[error("{KERNEL_BTF} is not BTF: {0}")]
    Malformed(&'static str),
    /// A structure exists more than once, so that its layout is ambiguous.
    #[error("the kernel's BTF has more than one struct {0}")]
    Ambiguous(String),
}

const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_TYPE_TAG: u32 = 18;

/// Deepest nesting of anonymous members and typedefs that is followed.
const MAX_DEPTH: u32 = 16;
/// Most members that are looked at for one: a structure of itself without names, of which no compiler knows, would else be
/// looked through for ever.
const MAX_MEMBERS: u32 = 1 << 16;

/// The types of a kernel.
pub struct KernelBtf {
    data: Vec<u8>,
    strings: std::ops::Range<usize>,
    /// Position of each type's record; the index is its id, id 0 is void.
    types: Vec<usize>,
    /// Where the name of each structure and union is, and its id.
    structures: Vec<(u32, u32)>,
}

struct Record {
    kind: u32,
    length: usize,
    flag: bool,
    size_or_type: u32,
    /// Where what follows the common part starts.
    rest: usize,
}

impl KernelBtf {
    /// Reads the running kernel's BTF.
    ///
    /// # Errors
    ///
    /// The file is missing (a kernel built without `CONFIG_DEBUG_INFO_BTF`), unreadable or malformed.
    pub fn of_running_kernel() -> Result<Self, BtfError> {
        Self::parse(std::fs::read(Path::new(KERNEL_BTF))?)
    }

    /// Indexes BTF.
    ///
    /// # Errors
    ///
    /// The data is malformed.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        const TRUNCATED: BtfError = BtfError::Malformed("it is truncated");
        let word = |at: usize| -> Result<u32, BtfError> {
            let bytes = data.get(at..at + 4).ok_or(TRUNCATED)?;
            Ok(u32::from_le_bytes(
                bytes.try_into().map_err(|_error| TRUNCATED)?,
            ))
        };
        if word(0)? & 0xffff != 0xeb9f {
            return Err(BtfError::Malformed("its magic number is wrong"));
        }
        let header = word(4)? as usize;
        let types_at = header + word(8)? as usize;
        let types_end = types_at + word(12)? as usize;
        let strings_at = header + word(16)? as usize;
        let strings = strings_at..strings_at + word(20)? as usize;
        if types_end > data.len() || strings.end > data.len() {
            return Err(TRUNCATED);
        }
        let mut types = vec![0];
        let mut structures = Vec::new();
        let mut at = types_at;
        while at < types_end {
            let name = word(at)?;
            let info = word(at + 4)?;
            let kind = (info >> 24) & 0x1f;
            let length = (info & 0xffff) as usize;
            let id = types.len() as u32;
            if (kind == KIND_STRUCT || kind == KIND_UNION) && name != 0 {
                structures.push((name, id));
            }
            types.push(at);
            at += 12
                + match kind {
                    1 | 14 | 17 => 4,
                    KIND_ARRAY => 12,
                    KIND_STRUCT | KIND_UNION | 15 | 19 => 12 * length,
                    6 | 13 => 8 * length,
                    KIND_PTR | 7..=KIND_FUNC | 16 | KIND_TYPE_TAG => 0,
                    _ => return Err(BtfError::Malformed("it has a kind of type unknown here")),
                };
        }
        Ok(Self {
            data,
            strings,
            types,
            structures,
        })
    }

    /// Offset in bytes of a member, given as a path like `ns.inum` or `regs[1]`; members of anonymous
    /// structures and unions are found by their own name. `None` if there is no such member.
    ///
    /// # Errors
    ///
    /// The structure's name is ambiguous in this kernel.
    pub fn offset(&self, structure: &str, path: &str) -> Result<Option<u32>, BtfError> {
        let bits = self.offset_in_bits(structure, path)?;
        Ok(bits.map(|bits| (bits / 8) as u32))
    }

    /// As [`Self::offset`], of a bit field, in bits.
    ///
    /// # Errors
    ///
    /// The structure's name is ambiguous in this kernel.
    pub fn bit(&self, structure: &str, path: &str) -> Result<Option<u32>, BtfError> {
        let bits = self.offset_in_bits(structure, path)?;
        Ok(bits.and_then(|bits| u32::try_from(bits).ok()))
    }

    /// Below 2^35: what is in bytes a `u32`.
    fn offset_in_bits(&self, structure: &str, path: &str) -> Result<Option<u64>, BtfError> {
        let Some(mut id) = self.structure(structure)? else {
            return Ok(None);
        };
        let mut total: u64 = 0;
        for step in path.split('.') {
            let (name, index) = match step.split_once('[') {
                Some((name, index)) => (name, index.trim_end_matches(']').parse().unwrap_or(0)),
                None => (step, 0u32),
            };
            let Some((offset, member)) = self.member(id, name, 0, &mut { MAX_MEMBERS }) else {
                return Ok(None);
            };
            id = member;
            let within = if index > 0 {
                let Some((element, _count)) = self.array(id) else {
                    return Ok(None);
                };
                id = element;
                self.size(element, 0)
                    .and_then(|size| index.checked_mul(size))
            } else {
                Some(0)
            };
            let Some(within) = within else {
                return Ok(None);
            };
            total += u64::from(offset) + u64::from(within) * 8;
            // Nothing of a kernel is so large.
            if total / 8 > u64::from(u32::MAX) {
                return Ok(None);
            }
        }
        Ok(Some(total))
    }

    /// Number of elements of an array member; `None` if there is no such member or it is not an array.
    ///
    /// # Errors
    ///
    /// The structure's name is ambiguous in this kernel.
    pub fn array_length(&self, structure: &str, member: &str) -> Result<Option<u32>, BtfError> {
        let Some(id) = self.structure(structure)? else {
            return Ok(None);
        };
        Ok(self
            .member(id, member, 0, &mut { MAX_MEMBERS })
            .and_then(|(_offset, member)| self.array(member))
            .map(|(_element, count)| count))
    }

    /// Whether a typedef or function of this name exists. Each BTF tracepoint `x` has a typedef
    /// `btf_trace_x`.
    pub fn knows(&self, name: &str) -> bool {
        (1..self.types.len() as u32).any(|id| {
            self.record(id).is_some_and(|(name_at, record)| {
                matches!(record.kind, KIND_TYPEDEF | KIND_FUNC) && self.is(name_at, name)
            })
        })
    }

    /// The id of a function that programs may call; `None` if this kernel has none of the name.
    pub fn function(&self, name: &str) -> Option<u32> {
        (1..self.types.len() as u32).find(|id| {
            self.record(*id)
                .is_some_and(|(name_at, record)| record.kind == KIND_FUNC && self.is(name_at, name))
        })
    }

    /// The id of a structure; `None` if there is none of the name.
    ///
    /// # Errors
    ///
    /// The name is ambiguous in this kernel.
    pub fn structure(&self, name: &str) -> Result<Option<u32>, BtfError> {
        let mut found = self
            .structures
            .iter()
            .filter(|(at, _id)| self.is(*at, name));
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(BtfError::Ambiguous(name.to_owned())),
            (found, _) => Ok(found.map(|(_at, id)| *id)),
        }
    }

    /// Offset in bits and type of a member; `left` is how many members may still be looked at.
    fn member(&self, id: u32, wanted: &str, depth: u32, left: &mut u32) -> Option<(u32, u32)> {
        if depth > MAX_DEPTH {
            return None;
        }
        let (_name, record) = self.record(self.resolve(id, 0)?)?;
        if record.kind != KIND_STRUCT && record.kind != KIND_UNION {
            return None;
        }
        for index in 0..record.length {
            *left = left.checked_sub(1)?;
            let at = record.rest + 12 * index;
            let (name, member, offset) = (self.word(at)?, self.word(at + 4)?, self.word(at + 8)?);
            let bits = if record.flag {
                offset & 0x00ff_ffff
            } else {
                offset
            };
            if name == 0 {
                if let Some((inner, found)) = self.member(member, wanted, depth + 1, left) {
                    return Some((bits.checked_add(inner)?, found));
                }
            } else if self.is(name, wanted) {
                return Some((bits, member));
            }
        }
        None
    }

    fn array(&self, id: u32) -> Option<(u32, u32)> {
        let (_name, record) = self.record(self.resolve(id, 0)?)?;
        (record.kind == KIND_ARRAY)
            .then(|| Some((self.word(record.rest)?, self.word(record.rest + 8)?)))
            .flatten()
    }

    fn size(&self, id: u32, depth: u32) -> Option<u32> {
        let (_name, record) = self.record(self.resolve(id, 0)?)?;
        match record.kind {
            KIND_PTR => Some(8),
            KIND_ARRAY if depth < MAX_DEPTH => {
                let (element, count) = self.array(id)?;
                count.checked_mul(self.size(element, depth + 1)?)
            }
            _ => Some(record.size_or_type),
        }
    }

    /// The type behind typedefs and qualifiers.
    fn resolve(&self, id: u32, depth: u32) -> Option<u32> {
        let (_name, record) = self.record(id)?;
        match record.kind {
            KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG
                if depth < MAX_DEPTH =>
            {
                self.resolve(record.size_or_type, depth + 1)
            }
            _ => Some(id),
        }
    }

    fn record(&self, id: u32) -> Option<(u32, Record)> {
        let at = *self.types.get(id as usize).filter(|at| **at != 0)?;
        let info = self.word(at + 4)?;
        Some((
            self.word(at)?,
            Record {
                kind: (info >> 24) & 0x1f,
                length: (info & 0xffff) as usize,
                flag: info >> 31 != 0,
                size_or_type: self.word(at + 8)?,
                rest: at + 12,
            },
        ))
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.data.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    /// Whether this is the string at a place.
    fn is(&self, at: u32, wanted: &str) -> bool {
        let strings = self.data.get(self.strings.clone());
        strings
            .and_then(|strings| strings.get(at as usize..)?.strip_prefix(wanted.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kernel() -> KernelBtf {
        KernelBtf::of_running_kernel().unwrap()
    }

    #[test]
    fn finds_plain_nested_anonymous_and_array_members() {
        let btf = kernel();
        // The ABI fixes these: struct pt_regs of x86-64 (arch/x86/include/asm/ptrace.h).
        #[cfg(target_arch = "x86_64")]
        assert_eq!(btf.offset("pt_regs", "orig_ax").unwrap(), Some(120));
        assert_eq!(btf.offset("list_head", "prev").unwrap(), Some(8));
        // In an anonymous union since 6.x, plain before: found either way.
        assert!(btf.offset("dentry", "d_name.name").unwrap().is_some());
        assert!(btf.offset("user_namespace", "ns.inum").unwrap().is_some());
        let first = btf.offset("css_set", "subsys").unwrap().unwrap();
        assert_eq!(
            btf.offset("css_set", "subsys[3]").unwrap(),
            Some(first + 24)
        );
        assert!(btf.array_length("css_set", "subsys").unwrap().unwrap() > 3);
    }

    #[test]
    fn finds_bit_fields_by_their_bit() {
        let btf = kernel();
        let bit = |path| btf.bit("linux_binprm", path).unwrap().unwrap();
        // Neighbours in one word (include/linux/binfmts.h).
        assert_eq!(bit("execfd_creds"), bit("have_execfd") + 1);
        let byte = btf.offset("linux_binprm", "execfd_creds").unwrap();
        assert_eq!(byte, Some(bit("execfd_creds") / 8));
        assert_eq!(bit("file") % 64, 0);
        assert_eq!(btf.bit("linux_binprm", "no_such_bit").unwrap(), None);
    }

    #[test]
    fn says_what_does_not_exist() {
        let btf = kernel();
        assert_eq!(btf.offset("no_such_struct", "x").unwrap(), None);
        assert_eq!(btf.offset("cred", "no_such_member").unwrap(), None);
        assert_eq!(btf.offset("cred", "uid.val.deeper").unwrap(), None);
        assert!(btf.knows("cap_capable"));
        assert!(!btf.knows("cap_incapable_of_existing"));
    }

    #[test]
    fn refuses_a_truncated_file() {
        let mut data = std::fs::read(KERNEL_BTF).unwrap();
        data.truncate(data.len() / 2);
        assert!(matches!(
            KernelBtf::parse(data),
            Err(BtfError::Malformed(_))
        ));
    }

    proptest! {
        #[test]
        fn survives_any_bytes(mut data in proptest::collection::vec(any::<u8>(), 0..400)) {
            if data.len() > 8 {
                data[0] = 0x9f;
                data[1] = 0xeb;
            }
            if let Ok(btf) = KernelBtf::parse(data) {
                let _ = btf.offset("a", "b.c[2]");
                let _ = btf.knows("x");
            }
        }
    }
}
