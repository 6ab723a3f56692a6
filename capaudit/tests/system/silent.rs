//! A file system in user space that answers until it matters: as a dead NFS or sshfs, but without any library.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::fs::chown},
    path::Path,
};

use nix::unistd::{ForkResult, fork};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

/// Numbers of requests (include/uapi/linux/fuse.h, Linux 6.12).
const LOOKUP: u32 = 1;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const INIT: u32 = 26;

/// Mounts itself in a mount namespace of its own, says so once it has become silent, and takes requests until it is killed:
/// what waits for an answer that was asked for cannot be killed itself. A process of its own gives a file there to somebody
/// else: the kernel asks for CHOWN, and nothing after that is answered.
pub(crate) fn serve(directory: &Path) -> io::Result<()> {
    // SAFETY: this process has one thread, and no descriptors are unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
    let flags = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    mount_change("/", flags)?;
    let mut server = File::options().read(true).write(true).open("/dev/fuse")?;
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
        server.as_raw_fd()
    );
    let options = std::ffi::CString::new(options)?;
    mount("silent", directory, "fuse", MountFlags::NODEV, &*options)?;
    // SAFETY: this process has one thread.
    if let ForkResult::Child = unsafe { fork() }? {
        drop(server);
        let _ = chown(directory.join("file"), Some(1), None);
        std::process::exit(0);
    }
    let mut request = vec![0; 1 << 17];
    let mut is_silent = false;
    loop {
        let length = server.read(&mut request)?;
        let request = request.get(..length).unwrap_or_default();
        let operation = number(request, 4).ok_or(io::ErrorKind::InvalidData)?;
        if operation == SETATTR {
            is_silent = true;
            println!("silent");
        }
        if !is_silent {
            answer(&mut server, request, operation)?;
        }
    }
}

fn number(request: &[u8], at: usize) -> Option<u32> {
    let bytes = request.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// `fuse_out_header`, and what goes with it. Nothing may be remembered of it.
fn answer(server: &mut File, request: &[u8], operation: u32) -> io::Result<()> {
    const NO_SUCH_CALL: i32 = -38;
    // `fuse_attr`: inode at 0, mode at 60, links at 64.
    let attributes = |inode: u64, mode: u32| {
        let mut attributes = [0; 88];
        attributes[0..8].copy_from_slice(&inode.to_ne_bytes());
        attributes[60..64].copy_from_slice(&mode.to_ne_bytes());
        attributes[64..68].copy_from_slice(&1_u32.to_ne_bytes());
        attributes
    };
    const DIRECTORY: u32 = 0o040_755;
    const FILE: u32 = 0o100_644;
    let (error, body) = match operation {
        INIT => {
            // `fuse_init_out`: version 7.31, what is written at a time at 20.
            let mut body = vec![0; 64];
            for (at, value) in [(0, 7_u32), (4, 31), (20, 1 << 16)] {
                body[at..at + 4].copy_from_slice(&value.to_ne_bytes());
            }
            (0, body)
        }
        LOOKUP => {
            // `fuse_entry_out`: the node, no time for which that is so, and its attributes.
            let mut body = vec![0; 40];
            body[0..8].copy_from_slice(&2_u64.to_ne_bytes());
            body.extend_from_slice(&attributes(2, FILE));
            (0, body)
        }
        GETATTR => {
            let is_root = request.get(16..24) == Some(&1_u64.to_ne_bytes()[..]);
            let (inode, mode) = if is_root { (1, DIRECTORY) } else { (2, FILE) };
            let mut body = vec![0; 16];
            body.extend_from_slice(&attributes(inode, mode));
            (0, body)
        }
        _ => (NO_SUCH_CALL, Vec::new()),
    };
    let length = u32::try_from(16 + body.len()).map_err(io::Error::other)?;
    let mut answer = Vec::new();
    answer.extend_from_slice(&length.to_ne_bytes());
    answer.extend_from_slice(&i32::to_ne_bytes(error));
    answer.extend_from_slice(request.get(8..16).unwrap_or_default());
    answer.extend_from_slice(&body);
    match server.write_all(&answer) {
        // Nobody waits for that any more.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        written => written,
    }
}
