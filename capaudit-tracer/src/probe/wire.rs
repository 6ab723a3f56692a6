//! The wire types of `capaudit-common`, out of bytes: field by field, each with the rest of the bytes checked.
//!
//! Which field follows which is written down here once more, and compared with the structures when this is compiled. A field
//! that is moved, added or of another size there does not go unnoticed.
//!
//! All of it is inlined, which halves the time that a check takes.

use std::mem::offset_of;

use bytes::{Buf, TryGetError};
use capaudit_common::{
    event::{
        CGROUP_DEPTH, CGROUP_LEN, COMM_LEN, Call, Check, Exec, Exit, Fork, Header, Ids, Namespaces,
        OBJECT_LEN, Result as CallResult, SECOND_LEN, STACK_LEN, Sets, Target,
    },
    key::{CallKey, CheckKey},
};

/// What can be read from a record.
pub(super) trait Wire: Sized {
    /// Takes a value off the front, in the byte order of this machine.
    ///
    /// # Errors
    ///
    /// Too few bytes are left.
    fn get(from: &mut impl Buf) -> Result<Self, TryGetError>;
}

macro_rules! numbers {
    ($($number:ty: $get:ident,)*) => {$(
        impl Wire for $number {
            #[inline(always)]
            fn get(from: &mut impl Buf) -> Result<Self, TryGetError> {
                from.$get()
            }
        }
    )*};
}
numbers! {
    u8: try_get_u8,
    u16: try_get_u16_ne,
    u32: try_get_u32_ne,
    u64: try_get_u64_ne,
    i64: try_get_i64_ne,
}

impl<const N: usize> Wire for [u8; N] {
    #[inline(always)]
    fn get(from: &mut impl Buf) -> Result<Self, TryGetError> {
        let mut bytes = [0; N];
        from.try_copy_to_slice(&mut bytes)?;
        Ok(bytes)
    }
}

impl<const N: usize> Wire for [u64; N] {
    #[inline(always)]
    fn get(from: &mut impl Buf) -> Result<Self, TryGetError> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = u64::get(from)?;
        }
        Ok(numbers)
    }
}

impl<const N: usize, const M: usize> Wire for [[u8; M]; N] {
    #[inline(always)]
    fn get(from: &mut impl Buf) -> Result<Self, TryGetError> {
        let mut rows = [[0; M]; N];
        for row in &mut rows {
            *row = <[u8; M]>::get(from)?;
        }
        Ok(rows)
    }
}

/// Structures whose fields follow each other as they are listed, with nothing between them.
macro_rules! structures {
    ($($structure:ident { $($field:ident: $type:ty,)* })*) => {$(
        const _: () = {
            let mut place = 0;
            $(
                assert!(offset_of!($structure, $field) == place);
                place += size_of::<$type>();
            )*
            assert!(size_of::<$structure>() == place);
        };

        impl Wire for $structure {
            #[inline(always)]
            fn get(from: &mut impl Buf) -> Result<Self, TryGetError> {
                Ok(Self { $($field: <$type>::get(from)?,)* })
            }
        }
    )*};
}
structures! {
    Header {
        time: u64,
        execution: u64,
        kind: u32,
        tgid: u32,
        tid: u32,
        flags: u32,
    }
    Ids {
        uid: u32,
        gid: u32,
        suid: u32,
        sgid: u32,
        euid: u32,
        egid: u32,
        fsuid: u32,
        fsgid: u32,
    }
    Sets {
        inheritable: u64,
        permitted: u64,
        effective: u64,
        bounding: u64,
        ambient: u64,
    }
    Namespaces {
        mnt: u32,
        pid: u32,
        user: u32,
        user_level: u32,
    }
    CheckKey {
        execution: u64,
        target_ns: u32,
        cred_ns: u32,
        operation: u32,
        syscall: u16,
        capability: u8,
        flags: u8,
    }
    CallKey {
        execution: u64,
        operation: u32,
        syscall: u16,
        failed: u8,
        flags: u8,
    }
    Check {
        header: Header,
        key: CheckKey,
        site: u32,
        depth: u32,
        call: u64,
        stack: [u64; STACK_LEN],
        arguments: [u64; 6],
        ids: Ids,
        sets: Sets,
        target_level: u32,
        cred_level: u32,
        file_mode: u32,
        file_uid: u32,
        file_gid: u32,
        object_kind: u8,
        second_kind: u8,
        object_len: u16,
        comm: [u8; COMM_LEN],
        object: [u8; OBJECT_LEN],
        second: [u8; SECOND_LEN],
    }
    CallResult {
        header: Header,
        call: u64,
        value: i64,
    }
    Fork {
        header: Header,
        parent: u64,
        namespaces: Namespaces,
        ids: Ids,
        sets: Sets,
        comm: [u8; COMM_LEN],
    }
    Exec {
        header: Header,
        previous: u64,
        namespaces: Namespaces,
        ids: Ids,
        sets: Sets,
        inode: u64,
        device: u32,
        mode: u32,
        owner: u32,
        group: u32,
        ignored: u32,
        reserved: u32,
        comm: [u8; COMM_LEN],
        path: [u8; OBJECT_LEN],
        interpreter: [u8; OBJECT_LEN],
        cgroups: [[u8; CGROUP_LEN]; CGROUP_DEPTH],
    }
    Exit {
        header: Header,
        status: u32,
        reserved: u32,
    }
    Target {
        permitted: u64,
        tgid: u32,
        flags: u32,
    }
    Call {
        header: Header,
        key: CallKey,
        arguments: [u64; 6],
        value: i64,
        target: Target,
        object_kind: u8,
        reserved: u8,
        object_len: u16,
        padding: u32,
        object: [u8; OBJECT_LEN],
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::TestCaseResult};

    use super::*;

    /// The bytes of a value where the compiler has put them in memory.
    trait Encode {
        fn encode(&self, bytes: &mut [u8]);
    }

    macro_rules! numbers {
        ($($number:ty)*) => {$(
            impl Encode for $number {
                fn encode(&self, bytes: &mut [u8]) {
                    bytes[..size_of::<Self>()].copy_from_slice(&self.to_ne_bytes());
                }
            }
        )*};
    }
    numbers!(u8 u16 u32 u64 i64);

    impl<T: Encode, const N: usize> Encode for [T; N] {
        fn encode(&self, bytes: &mut [u8]) {
            for (place, value) in self.iter().enumerate() {
                value.encode(&mut bytes[place * size_of::<T>()..]);
            }
        }
    }

    macro_rules! structures {
        ($($structure:ident: $($field:ident)*;)*) => {$(
            impl Encode for $structure {
                fn encode(&self, bytes: &mut [u8]) {
                    $(self.$field.encode(&mut bytes[offset_of!(Self, $field)..]);)*
                }
            }
        )*};
    }
    structures! {
        Header: time execution kind tgid tid flags;
        Ids: uid gid suid sgid euid egid fsuid fsgid;
        Sets: inheritable permitted effective bounding ambient;
        Namespaces: mnt pid user user_level;
        CheckKey: execution target_ns cred_ns operation syscall capability flags;
        CallKey: execution operation syscall failed flags;
        Check: header key site depth call stack arguments ids sets target_level cred_level file_mode
            file_uid file_gid object_kind second_kind object_len comm object second;
        CallResult: header call value;
        Fork: header parent namespaces ids sets comm;
        Exec: header previous namespaces ids sets inode device mode owner group ignored
            reserved comm path interpreter cgroups;
        Exit: header status reserved;
        Target: permitted tgid flags;
        Call: header key arguments value target object_kind reserved object_len padding object;
    }

    /// What is decoded, laid out as in memory, gives the same bytes: each field came from its own place, and none is left out.
    fn every_field_is_read_from_its_place<T: Wire + Encode>(bytes: &[u8]) -> TestCaseResult {
        let bytes = &bytes[..size_of::<T>()];
        let mut rest = bytes;
        let value = T::get(&mut rest).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(rest.is_empty());
        let mut encoded: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
        value.encode(&mut encoded);
        prop_assert_eq!(encoded, bytes);
        prop_assert!(T::get(&mut &bytes[1..]).is_err());
        Ok(())
    }

    proptest! {
        #[test]
        fn records_are_decoded_as_they_lie_in_memory(bytes in proptest::collection::vec(any::<u8>(), 2048)) {
            every_field_is_read_from_its_place::<Check>(&bytes)?;
            every_field_is_read_from_its_place::<CallResult>(&bytes)?;
            every_field_is_read_from_its_place::<Fork>(&bytes)?;
            every_field_is_read_from_its_place::<Exec>(&bytes)?;
            every_field_is_read_from_its_place::<Exit>(&bytes)?;
            every_field_is_read_from_its_place::<Call>(&bytes)?;
        }
    }
}
