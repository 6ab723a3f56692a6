//! The terminal: keys in, frames out. The watch itself runs on a thread of its own, so that neither keeps the other
//! waiting.

mod guard;

use std::{
    io::{self, Read as _, Write as _},
    ops::ControlFlow,
    os::fd::OwnedFd,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use capaudit_core::capability::CapSet;
use capaudit_live::scope::Scope;
use capaudit_storage::write_whole;
use capaudit_tracer::{
    launch::{Signals, Streams},
    privilege,
};
use crossterm::{clipboard::CopyToClipboard, event, execute};
use jiff::tz::TimeZone;
use nix::sys::signal::Signal;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use self::guard::Screen;
use crate::{
    Plan,
    message::{Delivery, Finished, Message, Request, WatchError},
    model::{Effect, Model},
    source::watch,
    view::{Theme, draw},
};

/// Frames are at least this far apart: 20 a second.
const FRAME: Duration = Duration::from_millis(50);
/// Messages that wait for the screen; when it falls behind, the kernel's buffer fills, and the rest is counted only.
const WAITING: usize = 64;
/// Messages taken between two looks at the keys.
const AT_A_TIME: usize = 32;
/// Keys taken between two frames.
const KEYS_AT_A_TIME: usize = 64;
/// How long we may take to end when the terminal is gone.
const HANGUP_PATIENCE: Duration = Duration::from_secs(5);

/// Watches on the screen until whoever sits there ends it.
///
/// # Errors
///
/// The terminal cannot be used; inside, those of [`watch`].
pub fn run(plan: &Plan, noise: bool) -> io::Result<Result<Finished, WatchError>> {
    // The source's thread inherits the mask, and reads them. SIGWINCH, too: crossterm loses keys that come at the same
    // moment as that (its epoll is edge-triggered, and it returns at the first of two descriptors that are ready).
    let signals = Signals::take_with(&[Signal::SIGTSTP, Signal::SIGCONT, Signal::SIGWINCH])?;
    let (messages, shown) = sync_channel(WAITING);
    let (requests, asked) = unbounded_channel();
    let has_command = matches!(plan.scope, Scope::Command(_));
    let streams = if has_command {
        let (reader, writer) = io::pipe()?;
        let messages = messages.clone();
        thread::spawn(move || {
            // The kernel does not refuse this; and should it, the command's output has to be read all the same.
            let _ = privilege::keep(CapSet::EMPTY, CapSet::EMPTY);
            read_output(reader, &messages);
        });
        Streams::Detached(OwnedFd::from(writer))
    } else {
        Streams::Shared
    };
    let delivery = Delivery {
        states: true,
        linger: true,
        streams,
    };
    let owned = plan.clone();
    let source = thread::spawn(move || -> io::Result<Result<Finished, WatchError>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(
            runtime.block_on(watch(&owned, delivery, signals, asked, &mut |message| {
                if matches!(message, Message::Signal(Signal::SIGHUP)) {
                    end_soon();
                }
                match messages.send(message) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_nobody) => ControlFlow::Break(()),
                }
            })),
        )
    });
    // What cannot be watched is said on the terminal as it was.
    let Ok(first) = shown.recv() else {
        return ended(source);
    };
    // The command has been started. The source's thread has given up its own.
    privilege::keep(CapSet::EMPTY, plan.reserve)?;
    let screen = Screen::enter()?;
    let size = screen.size()?;
    let mut model = Model::new(
        &plan.scope.to_string(),
        has_command,
        noise,
        size,
        TimeZone::system(),
    );
    model.take(first);
    // Keys first: the thread that watches has its own priority.
    privilege::raise_priority();
    let looked = Looking {
        screen,
        model,
        theme: Theme::of_environment(),
        requests,
    }
    .look(&shown);
    // Whoever sends finds nobody there, and ends.
    drop(shown);
    let finished = ended(source);
    looked?;
    finished
}

/// The terminal is gone. Should it have gone just while keys were read, crossterm reads its end for ever, and nobody
/// else would end us.
fn end_soon() {
    thread::spawn(|| {
        thread::sleep(HANGUP_PATIENCE);
        std::process::exit(128 + Signal::SIGHUP as i32);
    });
}

fn ended(
    source: thread::JoinHandle<io::Result<Result<Finished, WatchError>>>,
) -> io::Result<Result<Finished, WatchError>> {
    source
        .join()
        .unwrap_or_else(|_panic| Err(io::Error::other("the watch ended unexpectedly")))
}

/// The command's output, as it comes.
fn read_output(mut reader: io::PipeReader, messages: &SyncSender<Message>) {
    let mut some = [0; 4096];
    // It is read on when nobody looks any more, so that the command is not held up while it ends.
    while let Ok(length @ 1..) = reader.read(&mut some) {
        let _ = messages.send(Message::Output(some[..length].to_vec()));
    }
}

/// Waits for keys. False if the terminal is gone: crossterm would read its
/// end for ever.
fn wait(patience: Duration) -> io::Result<bool> {
    let input = io::stdin();
    let mut polled = [PollFd::new(&input, PollFlags::IN)];
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    match poll(&mut polled, Some(&patience)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(!polled[0]
        .revents()
        .intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL))
}

/// Somebody sits at the screen.
struct Looking {
    screen: Screen,
    model: Model,
    theme: Theme,
    requests: UnboundedSender<Request>,
}

impl Looking {
    fn look(mut self, shown: &Receiver<Message>) -> io::Result<()> {
        let mut next_frame = Instant::now();
        let mut is_new = true;
        loop {
            let now = Instant::now();
            if is_new && now >= next_frame {
                // Asked each time: the signal that tells of a change may have come before anybody listened.
                self.model.resize(self.screen.size()?);
                let (model, theme) = (&self.model, self.theme);
                self.screen.draw(|frame| draw(frame, model, theme))?;
                next_frame = now + FRAME;
                is_new = false;
            }
            let patience = if is_new {
                next_frame.saturating_duration_since(Instant::now())
            } else {
                FRAME
            };
            if !wait(patience)? {
                return self.does(Some(Effect::Quit)).map(|_quit| ());
            }
            let mut ready = event::poll(Duration::ZERO)?;
            for _ in 0..KEYS_AT_A_TIME {
                if !ready {
                    break;
                }
                is_new = true;
                let effect = self.model.input(&event::read()?);
                if self.does(effect)?.is_break() {
                    return Ok(());
                }
                ready = event::poll(Duration::ZERO)?;
            }
            for _ in 0..AT_A_TIME {
                match shown.try_recv() {
                    Ok(Message::Signal(signal)) => {
                        is_new = true;
                        if self.signal(signal)?.is_break() {
                            return Ok(());
                        }
                    }
                    Ok(Message::Tick) => {}
                    Ok(message) => {
                        is_new = true;
                        self.model.take(message);
                    }
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                    // The watch has ended, by itself or in failure; its own words say why.
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return Ok(()),
                }
            }
        }
    }

    fn signal(&mut self, signal: Signal) -> io::Result<ControlFlow<()>> {
        self.does(match signal {
            Signal::SIGTSTP => Some(Effect::Suspend),
            Signal::SIGCONT => Some(Effect::Repaint),
            Signal::SIGUSR1 | Signal::SIGUSR2 | Signal::SIGWINCH => None,
            _ => Some(Effect::Quit),
        })
    }

    fn does(&mut self, effect: Option<Effect>) -> io::Result<ControlFlow<()>> {
        match effect {
            None => {}
            Some(Effect::Quit) => {
                // If it has ended already there is nobody to ask.
                let _ = self.requests.send(Request::Quit);
                return Ok(ControlFlow::Break(()));
            }
            Some(Effect::Suspend) => {
                self.screen.suspend()?;
            }
            Some(Effect::Repaint) => self.screen.repaint()?,
            Some(Effect::Save(path)) => {
                let _ = self.requests.send(Request::Save(path));
            }
            Some(Effect::Write(path, text)) => self.model.notice = Some(written(&path, &text)),
            Some(Effect::Copy(text)) => {
                execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text))?;
                io::stdout().flush()?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn written(path: &Path, text: &str) -> String {
    match write_whole(path, text.as_bytes()) {
        Ok(()) => format!("written to {path:?}"),
        Err(error) => format!("cannot write {path:?}: {error}"),
    }
}
