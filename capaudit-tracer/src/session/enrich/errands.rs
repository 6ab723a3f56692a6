//! Look-ups in /proc that another party may keep from ending, on a thread that can be left behind.
//!
//! Each link below /proc/PID waits for an execve of that process to be through with its memory (`call_proc_get_link`,
//! fs/proc/base.c, Linux 6.12), and the process decides how long that takes: the old memory goes while the lock is held
//! (`exec_mmap`, fs/exec.c), and with it go requests that a file system in user space may never answer (`exit_aio`, fs/aio.c).
//! Behind the link, NFS asks its server whether the file is still there (`complete_walk`, fs/namei.c; `nfs_weak_revalidate`,
//! fs/nfs/dir.c). Both waits end for a signal that kills, so a thread in one of them keeps this process from nothing. What
//! waits for a file system itself takes a process, see [`helper`](super::helper).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use capaudit_core::capability::CapSet;

use crate::privilege;

/// How long one may take: a link is read in microseconds, and the records wait.
const PATIENCE: Duration = Duration::from_millis(100);
/// Threads there may be, with those that were left behind.
const MOST: usize = 64;

/// Errands that wait for the one under way; more are not done.
const MOST_WAITING: usize = 1024;

/// Something to do, and the mount namespace of whoever may keep it from being done.
struct Errand {
    about: u32,
    errand: Box<dyn FnOnce() + Send>,
}

/// Whoever does errands, one after the other.
#[derive(Debug)]
pub(super) struct Errands {
    runner: Option<Runner>,
    threads: Arc<AtomicUsize>,
    patience: Duration,
}

/// A thread that does errands.
#[derive(Debug)]
struct Runner {
    errands: SyncSender<Errand>,
    /// What the errand under way is about.
    about: Arc<AtomicU32>,
}

impl Default for Errands {
    fn default() -> Self {
        Self {
            runner: None,
            threads: Arc::default(),
            patience: PATIENCE,
        }
    }
}

impl Errands {
    /// Does something soon, and before whatever is done later.
    pub(super) fn send(&mut self, about: u32, errand: impl FnOnce() + Send + 'static) {
        let Some(runner) = self.runner.take().or_else(|| self.start(about)) else {
            return;
        };
        let errand = Box::new(errand);
        // With so many before it, it would come too late anyway.
        let _ = runner.errands.try_send(Errand { about, errand });
        self.runner = Some(runner);
    }

    /// Does something, and waits for it, but not for long.
    ///
    /// # Errors
    ///
    /// It takes too long, or what is done before it does: what that is about. `None`: too many others take too long.
    pub(super) fn run<T: Send + 'static>(
        &mut self,
        about: u32,
        errand: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Option<u32>> {
        let runner = self.runner.take();
        let runner = runner.or_else(|| self.start(about)).ok_or(None)?;
        let (answer, answered) = sync_channel(1);
        let errand = Box::new(move || {
            // Nobody may wait any more.
            let _ = answer.send(errand());
        });
        let sent = runner.errands.try_send(Errand { about, errand });
        let found = match sent {
            Ok(()) => answered.recv_timeout(self.patience).ok(),
            Err(_full) => None,
        };
        let found = found.ok_or_else(|| Some(runner.about.load(Ordering::Relaxed)))?;
        self.runner = Some(runner);
        Ok(found)
    }

    /// Another thread, for an errand about somebody. It ends when it comes back from what it was sent for last and finds nobody
    /// there any more.
    fn start(&self, about: u32) -> Option<Runner> {
        let before = self.threads.fetch_add(1, Ordering::Relaxed);
        let running = Running(Arc::clone(&self.threads));
        if before >= MOST {
            return None;
        }
        let (errands, waiting) = sync_channel::<Errand>(MOST_WAITING);
        // Also before it gets to it.
        let about = Arc::new(AtomicU32::new(about));
        let runner = Runner {
            errands,
            about: Arc::clone(&about),
        };
        let alive = Arc::downgrade(&about);
        let thread = std::thread::Builder::new().name("capaudit".to_owned());
        let thread = thread.spawn(move || {
            let _running = running;
            drop(about);
            // Capabilities and priority are each thread's own.
            privilege::raise_priority();
            if privilege::keep(privilege::TO_LOOK, CapSet::EMPTY).is_err() {
                return;
            }
            for errand in waiting {
                // Whoever was left behind does nothing more.
                let Some(about) = alive.upgrade() else {
                    return;
                };
                about.store(errand.about, Ordering::Relaxed);
                drop(about);
                (errand.errand)();
            }
        });
        thread.ok().map(|_detached| runner)
    }
}

/// A thread, as long as it runs.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Receiver, channel},
        time::Instant,
    };

    use super::*;

    fn errands() -> Errands {
        Errands {
            patience: Duration::from_millis(20),
            ..Errands::default()
        }
    }

    /// What waits until the other end of `until` is gone.
    fn stuck(until: Receiver<()>) -> impl FnOnce() + Send + 'static {
        move || {
            let _ = until.recv();
        }
    }

    #[test]
    fn one_that_does_not_come_back_keeps_nobody_waiting() {
        let mut errands = errands();
        assert_eq!(errands.run(7, || 1), Ok(1));
        let (_until, waits) = channel();
        let began = Instant::now();
        assert_eq!(errands.run(7, stuck(waits)), Err(Some(7)));
        assert!(began.elapsed() < Duration::from_secs(1));
        assert_eq!(errands.run(7, || 2), Ok(2), "by another");
        assert_eq!(errands.threads.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn those_that_are_left_are_bounded_and_end_when_they_come_back() {
        let mut errands = errands();
        let mut held = Vec::new();
        for _ in 0..MOST {
            let (until, waits) = channel();
            assert_eq!(errands.run(7, stuck(waits)), Err(Some(7)));
            held.push(until);
        }
        assert_eq!(errands.run(8, || 1), Err(None), "no more");
        drop(held);
        let deadline = Instant::now() + Duration::from_secs(10);
        while errands.threads.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(errands.threads.load(Ordering::Relaxed), 0);
        assert_eq!(errands.run(7, || 1), Ok(1));
    }

    #[test]
    fn they_hold_no_more_than_looking_takes() {
        let held = errands().run(7, privilege::own::effective);
        assert!(held.is_ok_and(|held| held.difference(privilege::TO_LOOK).is_empty()));
    }

    #[test]
    fn what_is_done_later_waits_for_what_was_sent_before() {
        let mut errands = errands();
        let done = Arc::<AtomicUsize>::default();
        for _ in 0..10 {
            let done = Arc::clone(&done);
            errands.send(7, move || {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        let found = Arc::clone(&done);
        assert_eq!(
            errands.run(8, move || found.load(Ordering::Relaxed)),
            Ok(10)
        );
        let (_until, waits) = channel();
        errands.send(7, stuck(waits));
        assert_eq!(errands.run(8, || 1), Err(Some(7)), "not its own fault");
        assert_eq!(errands.run(8, || 1), Ok(1));
    }
}
