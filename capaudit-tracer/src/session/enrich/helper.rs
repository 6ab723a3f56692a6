//! The process that answers what others may keep from being answered: see [`desk`](super::desk).
//!
//! It holds nothing that anybody would miss: no descriptor but its end of the socket, no BPF program, no capability but those
//! that looking takes. So it can be left behind in a system call that never returns, and capaudit ends without it.

use std::{
    io::{self, IoSlice, IoSliceMut, Read as _},
    mem::MaybeUninit,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use capaudit_core::{capability::CapSet, ledger::FileOwner};
use nix::{
    sys::{
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork, getpid, getppid},
};
use rustix::{
    cmsg_space,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg,
        socketpair,
    },
};
use serde::{Deserialize, Serialize};

use super::{
    file_capabilities::{Executed, Read, ToFile},
    file_owner,
};
use crate::privilege;

/// Words of a command line that are looked at: those that say what it is to do come early.
const MOST_WORDS: usize = 64;
/// Bytes of a command line that are looked at: in JSON, each may become six, and the answer is one message.
const LONGEST: u64 = 1 << 15;
/// Bytes of a question: two paths of a record, in JSON.
pub(super) const LONGEST_QUESTION: usize = 1 << 14;
/// Bytes of an answer.
pub(super) const LONGEST_ANSWER: usize = 1 << 18;
/// How long one that is left behind may take to end before nobody waits for that any more.
const PATIENCE: Duration = Duration::from_millis(20);

/// What is asked. What is open for it comes with it, in the order of [`Way`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// For the capabilities of an executed file.
    Executed {
        file: Executed,
        /// What is open.
        ways: Vec<Way>,
    },
    /// For owner and mode of a file, by its path from a directory that is open.
    Owner { path: String },
    /// For the words that a process was executed with.
    Words { pid: u32 },
}

/// What is open and leads to a file, see [`ToFile`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Way {
    Executable,
    Root,
    Directory,
}

/// Descriptors that come with a question: one for each [`Way`], at most.
const MOST_PINS: usize = 3;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Found {
    /// What the file carries; `None` if nothing leads to it.
    File(Option<Read>),
    /// Owner and mode; `None` if the file is gone.
    Owner(Option<FileOwner>),
    /// The words; none if the process is gone.
    Words(Vec<String>),
}

/// Who answers questions.
pub(super) trait Answering: Sized {
    /// Another one, which knows nothing of what was asked before.
    ///
    /// # Errors
    ///
    /// The machine has no room for one.
    fn start() -> io::Result<Self>;

    /// The next answer, and its length; 0 if there will be none any more. Never blocks.
    ///
    /// # Errors
    ///
    /// As for recvmsg(2).
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Asks a question. Never blocks.
    ///
    /// # Errors
    ///
    /// As for sendmsg(2).
    fn send(&mut self, question: &[u8], pins: &[BorrowedFd<'_>]) -> io::Result<()>;

    /// Its process, in case it is one that has to be told apart.
    fn process(&self) -> Option<u32>;
}

/// A process that answers.
#[derive(Debug)]
pub(super) struct Helper {
    process: Pid,
    socket: OwnedFd,
}

/// Processes that were left behind and have not ended yet.
static LEFT: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

impl Answering for Helper {
    fn start() -> io::Result<Self> {
        // Questions and answers, each whole, or the end.
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let parent = getpid();
        // SAFETY: the child runs only what follows here: it takes no lock that another thread may hold but that of the
        // allocator, which the C library takes around fork(2), and never returns.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self {
                process: child,
                socket: ours,
            }),
            ForkResult::Child => {
                // To unwind would be to go on as the parent.
                let _ = catch_unwind(AssertUnwindSafe(|| be_helper(theirs, parent)));
                // SAFETY: no preconditions; nothing of the parent's is dropped or flushed.
                unsafe { nix::libc::_exit(0) }
            }
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&self.socket, buffer, RecvFlags::DONTWAIT)?.0)
    }

    fn send(&mut self, question: &[u8], pins: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_PINS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !pins.is_empty() && !control.push(SendAncillaryMessage::ScmRights(pins)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Should it be gone: without NOSIGNAL, that is a signal.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.socket, &[IoSlice::new(question)], &mut control, flags)?;
        Ok(())
    }

    fn process(&self) -> Option<u32> {
        u32::try_from(self.process.as_raw()).ok()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = kill(self.process, Signal::SIGKILL);
        let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
        left.push(self.process);
        let deadline = Instant::now() + PATIENCE;
        while left.contains(&self.process) && Instant::now() < deadline {
            left.retain(|process| {
                let status = waitpid(*process, Some(WaitPidFlag::WNOHANG));
                status == Ok(WaitStatus::StillAlive)
            });
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn be_helper(socket: OwnedFd, parent: Pid) {
    // What is for the command, or for capaudit, is not for this.
    let _ = SigSet::all().thread_block();
    let dies =
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    if dies.is_err() || getppid() != parent || close_all_but(&socket).is_err() {
        return;
    }
    if privilege::keep(privilege::TO_LOOK, CapSet::EMPTY).is_ok() {
        let _ = serve(&socket);
    }
}

/// Closes what was inherited: a pipe that was capaudit's output has to end when capaudit does, and programs are attached as long
/// as anybody holds them.
fn close_all_but(socket: &OwnedFd) -> io::Result<()> {
    let names: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor != socket.as_raw_fd())
        .collect();
    for descriptor in names {
        // SAFETY: whoever owns it is never dropped in this process.
        unsafe { nix::libc::close(descriptor) };
    }
    Ok(())
}

fn serve(socket: &OwnedFd) -> io::Result<()> {
    let mut buffer = vec![0; LONGEST_QUESTION];
    loop {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_PINS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if received.bytes == 0 {
            return Ok(());
        }
        let pins: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(pins) => Some(pins),
                _ => None,
            })
            .flatten()
            .collect();
        let question = buffer.get(..received.bytes).unwrap_or_default();
        let answer = answer(serde_json::from_slice(question)?, pins);
        send(socket, &serde_json::to_vec(&answer)?, SendFlags::NOSIGNAL)?;
    }
}

fn answer(question: Question, mut pins: Vec<OwnedFd>) -> Found {
    match question {
        Question::Executed { file, ways } => {
            let mut open = ToFile::default();
            for (way, pin) in ways.into_iter().zip(pins) {
                let place = match way {
                    Way::Executable => &mut open.executable,
                    Way::Root => &mut open.root,
                    Way::Directory => &mut open.directory,
                };
                *place = Some(pin);
            }
            Found::File(file.read(&open))
        }
        Question::Owner { path } => {
            Found::Owner(pins.pop().and_then(|start| file_owner::of(&start, &path)))
        }
        Question::Words { pid } => Found::Words(words(pid).unwrap_or_default()),
    }
}

/// Reading a process's memory waits for whoever has the file that is mapped there.
fn words(pid: u32) -> io::Result<Vec<String>> {
    let mut text = Vec::new();
    let file = std::fs::File::open(format!("/proc/{pid}/cmdline"))?;
    file.take(LONGEST).read_to_end(&mut text)?;
    // What is longer is cut off within a word.
    text.truncate(
        text.iter()
            .rposition(|byte| *byte == 0)
            .map_or(0, |end| end + 1),
    );
    let words = text.strip_suffix(b"\0").map(|words| {
        words
            .split(|byte| *byte == 0)
            .take(MOST_WORDS)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    });
    Ok(words.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, sync::Arc};

    use super::{
        super::desk::{Desk, Place},
        *,
    };
    use crate::regular::pin_directory;

    fn owner(path: &str) -> Question {
        Question::Owner {
            path: path.to_owned(),
        }
    }

    fn root() -> Arc<OwnedFd> {
        match pin_directory("/") {
            Ok(root) => Arc::new(root),
            Err(error) => panic!("no root directory: {error}"),
        }
    }

    fn answers(desk: &mut Desk, count: usize) -> Vec<(u64, Option<Found>)> {
        let started = Instant::now();
        let mut found = Vec::new();
        while found.len() < count && started.elapsed() < Duration::from_secs(20) {
            let asked = Instant::now();
            found.extend(desk.answers());
            assert!(asked.elapsed() < Duration::from_millis(500), "it waited");
            std::thread::sleep(Duration::from_millis(1));
        }
        found.sort_by_key(|(ticket, _found)| *ticket);
        found
    }

    #[test]
    fn a_process_answers_and_holds_nothing_of_this_one() {
        let mut desk = Desk::<Helper>::default();
        let pid = std::process::id();
        desk.ask(1, &Question::Words { pid }, Vec::new(), Vec::new());
        desk.ask(2, &owner("/"), vec![root()], Vec::new());
        let found = answers(&mut desk, 2);
        let own: Vec<String> = std::env::args().collect();
        assert_eq!(found[0], (1, Some(Found::Words(own))));
        assert!(matches!(found[1], (2, Some(Found::Owner(Some(root)))) if root.uid == 0));
        let helper = desk.started()[0];
        let held = std::fs::read_dir(format!("/proc/{helper}/fd")).map(Iterator::count);
        assert_eq!(held.ok(), Some(1), "its end of the socket");
        drop(desk);
        assert!(
            kill(Pid::from_raw(helper as i32), None).is_err(),
            "it ended"
        );
    }

    /// A file system whose server takes requests and answers none but the first, by which it is set up.
    fn silent_mount(directory: &std::path::Path) -> io::Result<std::fs::File> {
        use std::{ffi::CString, fs::File};
        let mut server = File::options().read(true).write(true).open("/dev/fuse")?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            server.as_raw_fd()
        );
        let (target, options) = (
            CString::new(directory.as_os_str().as_encoded_bytes())?,
            CString::new(options)?,
        );
        // SAFETY: all are texts that end with NUL, and live as long as the call.
        let mounted = unsafe {
            nix::libc::mount(
                c"silent".as_ptr(),
                target.as_ptr(),
                c"fuse".as_ptr(),
                nix::libc::MS_NOSUID | nix::libc::MS_NODEV,
                options.as_ptr().cast(),
            )
        };
        if mounted != 0 {
            return Err(io::Error::last_os_error());
        }
        // include/uapi/linux/fuse.h, Linux 6.18: fuse_in_header with `unique` at 8; fuse_out_header; fuse_init_out of 64 bytes.
        let mut request = vec![0; 1 << 17];
        let length = server.read(&mut request)?;
        assert!(length > 40, "a request to set up");
        let mut answer = [0; 80];
        answer[0..4].copy_from_slice(&80_u32.to_ne_bytes());
        answer[8..16].copy_from_slice(&request[8..16]);
        for (at, value) in [(16, 7_u32), (20, 31), (36, 1 << 16)] {
            answer[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        server.write_all(&answer)?;
        Ok(server)
    }

    /// Unmounts, whatever becomes of the test.
    struct Unmount(std::path::PathBuf);

    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
        }
    }

    #[test]
    fn a_file_system_that_never_answers_holds_up_nobody() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let mut server = silent_mount(directory.path())?;
        let _unmount = Unmount(directory.path().to_owned());
        // It takes what is asked: then not even a signal that kills ends the wait.
        std::thread::spawn(move || {
            let mut request = vec![0; 1 << 17];
            while server.read(&mut request).is_ok() {}
        });
        let silent = directory.path().join("file").display().to_string();
        let mut desk = Desk::<Helper>::default();
        desk.ask(1, &owner("/"), vec![root()], vec![Place::Namespace(1)]);
        desk.ask(2, &owner(&silent), vec![root()], vec![Place::Namespace(2)]);
        desk.ask(3, &owner("/"), vec![root()], vec![Place::Namespace(1)]);
        desk.ask(4, &owner(&silent), vec![root()], vec![Place::Namespace(2)]);
        let found = answers(&mut desk, 4);
        let is_root = |found: &Option<Found>| matches!(found, Some(Found::Owner(Some(_))));
        assert!(is_root(&found[0].1) && is_root(&found[2].1), "{found:?}");
        assert_eq!((&found[1].1, &found[3].1), (&None, &None));
        assert_eq!(desk.started().len(), 2);
        let started = Instant::now();
        drop(desk);
        assert!(started.elapsed() < Duration::from_millis(500));
        Ok(())
    }
}
