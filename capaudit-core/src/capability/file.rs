//! Capabilities of a file: the value of its attribute `security.capability`, as bytes and as text.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{CapSet, Capability};

/// Capabilities of a file, from its `security.capability` attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileCapabilities {
    /// What a process gains when it executes the file, as far as its bounding set has it.
    pub permitted: CapSet,
    /// What a process gains when it executes the file, as far as its own inheritable set has it.
    pub inheritable: CapSet,
    /// Whether they become effective at once; then execve insists on all of them.
    pub effective: bool,
    /// The user that is root in the user namespaces where they count (version 3 of the attribute), as the reader's
    /// own namespace calls it. `None` is root itself, so everywhere; version 3 with 0 means the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_id: Option<u32>,
}

/// Bytes that are no `security.capability` attribute. The kernel refuses to execute a file that has such
/// (`get_vfs_caps_from_disk`, security/commoncap.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseFileCapabilitiesError {
    /// Fewer bytes than the magic number has.
    #[error("{0} bytes are too few for a security.capability attribute")]
    Short(usize),
    /// A version that no kernel up to 6.18 writes.
    #[error("version {0} of security.capability is not known")]
    Version(u8),
    /// A size that does not belong to the version.
    #[error("security.capability of version {version} has {found} bytes instead of {expected}")]
    Size {
        /// The version, 1 to 3.
        version: u8,
        /// Bytes that are there.
        found: usize,
        /// Bytes that belong there.
        expected: usize,
    },
}

/// `VFS_CAP_FLAGS_EFFECTIVE`, include/uapi/linux/capability.h
const EFFECTIVE: u32 = 1;

impl FileCapabilities {
    /// The attribute's name.
    pub const ATTRIBUTE: &str = "security.capability";

    /// Reads the attribute's value, versions 1 to 3: `struct vfs_cap_data` and `vfs_ns_cap_data`,
    /// include/uapi/linux/capability.h.
    ///
    /// # Errors
    ///
    /// It has an unknown version, or a size that the kernel would not take.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseFileCapabilitiesError> {
        let (words, rest) = bytes.as_chunks::<4>();
        let word = |at: usize| words.get(at).copied().map_or(0, u32::from_le_bytes);
        let [_, _, _, version] = *words
            .first()
            .ok_or(ParseFileCapabilitiesError::Short(bytes.len()))?;
        let expected = match version {
            1 => 3,
            2 => 5,
            3 => 6,
            _ => return Err(ParseFileCapabilitiesError::Version(version)),
        };
        if words.len() != expected || !rest.is_empty() {
            return Err(ParseFileCapabilitiesError::Size {
                version,
                found: bytes.len(),
                expected: expected * 4,
            });
        }
        // What a shorter version lacks is 0.
        let set = |low, high| CapSet::from_bits(u64::from(word(low)) | u64::from(word(high)) << 32);
        Ok(Self {
            permitted: set(1, 3),
            inheritable: set(2, 4),
            effective: word(0) & EFFECTIVE != 0,
            root_id: Some(word(5)).filter(|id| *id != 0),
        })
    }

    /// The attribute's value, of version 3 if there is a [`root_id`](Self::root_id), else of version 2.
    /// [`parse`](Self::parse) takes it back.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let version: u32 = if self.root_id.is_some() { 3 } else { 2 };
        let (permitted, inheritable) = (self.permitted.bits(), self.inheritable.bits());
        // Truncating halves on purpose.
        let low = |bits: u64| bits as u32;
        let mut words = vec![
            version << 24 | u32::from(self.effective),
            low(permitted),
            low(inheritable),
            low(permitted >> 32),
            low(inheritable >> 32),
        ];
        words.extend(self.root_id);
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// In which of the sets effective (1), permitted (2) and inheritable (4) a capability is, in libcap's way: the
    /// one effective bit counts for every capability of the other two (`_fcaps_load`, libcap/cap_file.c).
    fn flags(&self, capability: Capability) -> u8 {
        let permitted = self.permitted.contains(capability);
        let inheritable = self.inheritable.contains(capability);
        u8::from(self.effective && (permitted || inheritable))
            | u8::from(permitted) << 1
            | u8::from(inheritable) << 2
    }
}

const COMBINATIONS: u8 = 8;

fn letters(flags: u8) -> String {
    [(1, 'e'), (4, 'i'), (2, 'p')]
        .into_iter()
        .filter(|(flag, _letter)| flags & flag != 0)
        .map(|(_flag, letter)| letter)
        .collect()
}

/// As cap_to_text(3) of libcap 2.66 writes it, which setcap(8) takes back: `cap_net_raw=ep`. The root id is no part of it.
///
/// The combination of sets that most capabilities share goes without names; of those that are equally many, the one with
/// the lowest number.
impl fmt::Display for FileCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |flags: u8, members: CapSet| -> CapSet {
            members
                .iter()
                .filter(|member| self.flags(*member) == flags)
                .collect()
        };
        let named = CapSet::known();
        let common = (0..COMBINATIONS)
            .rev()
            .max_by_key(|flags| of(*flags, named).len())
            .unwrap_or(0);
        let mut text = format!("={}", letters(common));
        for flags in (0..COMBINATIONS).rev() {
            let members = of(flags, named);
            if flags == common || members.is_empty() {
                continue;
            }
            text.push(' ');
            text.push_str(&list(members));
            let raised = flags & !common;
            if raised != 0 {
                // "= cap_chown+p" is shortened to "cap_chown=p".
                let operator = match text.strip_prefix("= ") {
                    Some(rest) => {
                        text = rest.to_owned();
                        '='
                    }
                    None => '+',
                };
                text.push(operator);
                text.push_str(&letters(raised));
            }
            let lowered = common & !flags;
            if lowered != 0 {
                text.push('-');
                text.push_str(&letters(lowered));
            }
        }
        let unnamed = CapSet::from_bits(u64::MAX) - named;
        for flags in (1..COMBINATIONS).rev() {
            let members = of(flags, unnamed);
            if !members.is_empty() {
                text.push_str(&format!(" {}+{}", list(members), letters(flags)));
            }
        }
        f.write_str(&text)
    }
}

/// Names as libcap writes them: `cap_chown`, the bare number of an unknown one.
fn list(members: CapSet) -> String {
    let names: Vec<String> = members
        .iter()
        .map(|member| {
            if member.is_known() {
                member.cap_name().to_ascii_lowercase()
            } else {
                member.number().to_string()
            }
        })
        .collect();
    names.join(",")
}

#[cfg(test)]
mod tests;
