//! The kernel's keys.

use std::io;

use capaudit_core::capability::Capability as C;

use crate::{
    operation::{Details, Operation, Place, done, nothing, op},
    sys::call,
};

const OF_PROCESS: i32 = -2;
const CHOWN: i32 = 4;
const SETPERM: i32 = 5;

fn key() -> io::Result<i64> {
    call!(SYS_add_key, c"user", c"operations", c"x", 1, OF_PROCESS)
}

/// A key that user 1001 owns and everybody may do everything with, but not give away.
fn foreign(p: &Place) -> io::Result<()> {
    call!(SYS_keyctl, 1, 0)?;
    let key = call!(SYS_add_key, c"user", c"operations", c"x", 1, -3)?;
    call!(SYS_keyctl, SETPERM, key, 0x3f3f_3f3f_u32)?;
    call!(SYS_keyctl, CHOWN, key, 1001, 1001)?;
    p.note("key", key)
}

fn control(p: &Place, command: i32, argument: u32) -> io::Result<Details> {
    call!(SYS_keyctl, command, p.noted("key")?, argument, u32::MAX).and_then(|_| done())
}

pub(super) const OPERATIONS: &[Operation] = &[
    op("key-add", &[], nothing, |_| key().and_then(|_| done())),
    op("key-chown-own", &[C::SYS_ADMIN], nothing, |_| {
        call!(SYS_keyctl, CHOWN, key()?, 1001, u32::MAX).and_then(|_| done())
    }),
    op(
        "key-chgrp-own-foreign-group",
        &[C::SYS_ADMIN],
        nothing,
        |_| call!(SYS_keyctl, CHOWN, key()?, u32::MAX, 1001).and_then(|_| done()),
    ),
    op("key-set-permissions-own", &[], nothing, |_| {
        call!(SYS_keyctl, SETPERM, key()?, 0x3f3f_0000).and_then(|_| done())
    }),
    op(
        "key-set-permissions-foreign",
        &[C::SYS_ADMIN],
        foreign,
        |p| control(p, SETPERM, 0x3f3f_3f3f),
    ),
    op("key-revoke-foreign", &[], foreign, |p| control(p, 3, 0)),
    op("key-set-timeout-foreign", &[], foreign, |p| {
        control(p, 15, 100)
    }),
    op("key-persistent-of-other", &[C::SETUID], nothing, |_| {
        call!(SYS_keyctl, 22, 1001, OF_PROCESS).and_then(|_| done())
    }),
    op("key-capabilities", &[], nothing, |_| {
        call!(SYS_keyctl, 31, &mut [0_u8; 2], 2).and_then(|_| done())
    }),
];
