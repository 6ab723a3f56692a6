//! Values for the BPF object's offset globals.

use capaudit_common::{for_each_offset, offset::ABSENT};

use super::{
    btf::{BtfError, KernelBtf},
    error::ProbeError,
};

struct Wanted {
    symbol: &'static str,
    structure: &'static str,
    path: &'static str,
    required: bool,
}

macro_rules! list {
    ($($name:ident, $symbol:literal, $structure:literal, $path:literal, $need:ident;)*) => {
        const WANTED: &[Wanted] = &[$(Wanted {
            symbol: $symbol,
            structure: $structure,
            path: $path,
            required: list!(@$need),
        }),*];
    };
    (@required) => { true };
    (@optional) => { false };
}
for_each_offset!(list);

/// Every offset the BPF programs use, by the name of its global.
///
/// # Errors
///
/// The kernel lacks a field that cannot be done without.
pub(super) fn resolve(btf: &KernelBtf) -> Result<Vec<(&'static str, u32)>, ProbeError> {
    WANTED
        .iter()
        .map(|wanted| {
            let offset = match first(btf, wanted) {
                // What can be done without is no reason to give up.
                Err(BtfError::Ambiguous(_structure)) if !wanted.required => None,
                found => found?,
            };
            if offset.is_none() && wanted.required {
                return Err(ProbeError::UnknownKernel(format!(
                    "struct {} has no {}",
                    wanted.structure, wanted.path
                )));
            }
            Ok((wanted.symbol, offset.unwrap_or(ABSENT)))
        })
        .collect()
}

fn first(btf: &KernelBtf, wanted: &Wanted) -> Result<Option<u32>, BtfError> {
    for path in wanted.path.split('|') {
        let offset = match path.strip_suffix(":bit") {
            Some(path) => btf.bit(wanted.structure, path)?,
            None => btf.offset(wanted.structure, path)?,
        };
        if let Some(offset) = offset {
            return Ok(Some(offset));
        }
    }
    Ok(None)
}
