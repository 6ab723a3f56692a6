//! The process that answers what others may keep from being answered: see [`desk`](super::desk).
//!
//! It holds nothing that anybody would miss: no descriptor but its end of the socket, no BPF program, no capability but those
//! that looking takes. So it can be left behind in a system call that never returns, and capaudit ends without it.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use capaudit_core::{
    capability::{CapSet, FileCapabilities},
    ledger::FileOwner,
};
use nix::{
    sys::{
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork, getpid, getppid},
};
use serde::{Deserialize, Serialize};

use super::{
    desk::Answering,
    file_capabilities::{Executed, Reader},
    file_owner,
};
use crate::privilege;

/// Words of a command line that are looked at: those that say what it is to do come early.
const MOST_WORDS: usize = 64;
/// Bytes of a command line that are looked at.
const LONGEST: u64 = 1 << 16;
/// How long one that is left behind may take to end before nobody waits for that any more.
const PATIENCE: Duration = Duration::from_millis(20);

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// To keep the way to the files of a mount namespace, through a process in it.
    HoldRoot { mount_namespace: u32, pid: u32 },
    /// To give it up.
    LetGo { mount_namespace: u32 },
    /// For the capabilities of an executed file.
    Executed(Executed),
    /// For owner and mode of a file, by its path as a process sees it.
    Owner { pid: u32, path: String },
    /// For the words that a process was executed with.
    Words { pid: u32 },
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Found {
    /// It was done, as far as that is possible.
    Done,
    /// A file, and its capabilities, if it has any.
    File(Option<FileCapabilities>),
    /// No file.
    NoFile,
    /// Owner and mode; `None` if process or file are gone.
    Owner(Option<FileOwner>),
    /// The words; none if the process is gone.
    Words(Vec<String>),
}

/// A process that answers.
#[derive(Debug)]
pub(super) struct Helper {
    process: Pid,
    stream: UnixStream,
}

/// Processes that were left behind and have not ended yet.
static LEFT: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

impl Answering for Helper {
    fn start() -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let parent = getpid();
        // SAFETY: the child runs only what follows here: it takes no lock that another thread may hold but that of the
        // allocator, which the C library takes around fork(2), and never returns.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self {
                process: child,
                stream: ours,
            }),
            ForkResult::Child => {
                // To unwind would be to go on as the parent.
                let _ = catch_unwind(AssertUnwindSafe(|| be_helper(theirs, parent)));
                // SAFETY: no preconditions; nothing of the parent's is dropped or flushed.
                unsafe { nix::libc::_exit(0) }
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Should it be gone: without this, that is a signal.
        let flags = rustix::net::SendFlags::NOSIGNAL;
        Ok(rustix::net::send(&self.stream, bytes, flags)?)
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

fn be_helper(stream: UnixStream, parent: Pid) {
    // What is for the command, or for capaudit, is not for this.
    let _ = SigSet::all().thread_block();
    let dies =
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    if dies.is_err() || getppid() != parent || close_all_but(&stream).is_err() {
        return;
    }
    if privilege::keep(privilege::TO_LOOK, CapSet::EMPTY).is_ok() {
        let _ = serve(&stream);
    }
}

/// Closes what was inherited: a pipe that was capaudit's output has to end when capaudit does, and programs are attached as long
/// as anybody holds them.
fn close_all_but(stream: &UnixStream) -> io::Result<()> {
    let names: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor != stream.as_raw_fd())
        .collect();
    for descriptor in names {
        // SAFETY: whoever owns it is never dropped in this process.
        unsafe { nix::libc::close(descriptor) };
    }
    Ok(())
}

fn serve(stream: &UnixStream) -> io::Result<()> {
    let mut reader = Reader::default();
    let mut output = stream;
    for line in BufReader::new(stream).split(b'\n') {
        let question = serde_json::from_slice(&line?)?;
        let mut answer = serde_json::to_vec(&answer(question, &mut reader))?;
        answer.push(b'\n');
        output.write_all(&answer)?;
    }
    Ok(())
}

fn answer(question: Question, reader: &mut Reader) -> Found {
    match question {
        Question::HoldRoot {
            mount_namespace,
            pid,
        } => {
            reader.hold_root(mount_namespace, pid);
            Found::Done
        }
        Question::LetGo { mount_namespace } => {
            reader.let_go(mount_namespace);
            Found::Done
        }
        Question::Executed(executed) => match reader.read(&executed) {
            Some(capabilities) => Found::File(capabilities),
            None => Found::NoFile,
        },
        Question::Owner { pid, path } => Found::Owner(file_owner::of(pid, &path)),
        Question::Words { pid } => Found::Words(words(pid).unwrap_or_default()),
    }
}

/// Reading a process's memory waits for whoever has the file that is mapped there.
fn words(pid: u32) -> io::Result<Vec<String>> {
    let mut text = Vec::new();
    let file = std::fs::File::open(format!("/proc/{pid}/cmdline"))?;
    file.take(LONGEST).read_to_end(&mut text)?;
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
    use super::{
        super::desk::{Desk, Place},
        *,
    };

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
        let mut desk = Desk::<Helper>::new();
        let pid = std::process::id();
        desk.ask(1, &Question::Words { pid }, Vec::new());
        let path = "/".to_owned();
        desk.ask(2, &Question::Owner { pid, path }, Vec::new());
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
        let pid = std::process::id();
        let owner = |path: &str| Question::Owner {
            pid,
            path: path.to_owned(),
        };
        let silent = directory.path().join("file").display().to_string();
        let mut desk = Desk::<Helper>::new();
        desk.ask(1, &owner("/"), vec![Place::Namespace(1)]);
        desk.ask(2, &owner(&silent), vec![Place::Namespace(2)]);
        desk.ask(3, &owner("/"), vec![Place::Namespace(1)]);
        desk.ask(4, &owner(&silent), vec![Place::Namespace(2)]);
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
