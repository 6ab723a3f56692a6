//! Whoever watches live. Each check becomes a line once, for all of them, and only while there is somebody: nobody else
//! pays for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use capaudit_core::ledger::Hook;
use capaudit_live::{BATCH, Missing, Summary, judged::judged, line::Line, scope::Scope};
use capaudit_tracer::{
    probe::ProbeError,
    session::{milliseconds_since, observation::Observation},
    subject::attached::Target,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::{
        broadcast::{
            self,
            error::{RecvError, TryRecvError},
        },
        mpsc,
    },
};

use super::{Question, missing};

/// Lines that wait for the slowest, some megabytes at most. Beyond, it is told how many it missed.
const WAITING: usize = 1 << 12;
/// Watchers at a time.
const MOST: usize = 32;
/// Bytes written at a time, about.
const AT_A_TIME: usize = 1 << 16;
/// How often it is told what is missing.
const MISSING_EVERY: Duration = Duration::from_secs(1);

/// What the daemon sends to everyone who watches.
#[derive(Clone, Debug)]
enum Broadcast {
    /// A check; they are numbered.
    Check(u64, Arc<str>),
    /// What was missing by then, since the daemon began.
    Missing(Missing),
}

pub(super) struct Watchers {
    sender: broadcast::Sender<Broadcast>,
    /// Number of the next check.
    next: u64,
    /// Whether checks come one by one.
    is_on: bool,
    next_missing: Instant,
}

impl Watchers {
    pub(super) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(WAITING),
            next: 0,
            is_on: false,
            next_missing: Instant::now(),
        }
    }

    /// One more; `None` if there are too many.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be used.
    pub(super) fn admit(
        &mut self,
        observation: &mut Observation,
    ) -> Result<Option<Subscription>, ProbeError> {
        if self.sender.receiver_count() >= MOST {
            return Ok(None);
        }
        let subscription = Subscription {
            receiver: self.sender.subscribe(),
            hook: observation.hook(),
            next: self.next,
            base: Missing::of(observation)?,
            since: Instant::now(),
        };
        self.switch(observation)?;
        Ok(Some(subscription))
    }

    /// Tells them what has come. Never waits for any of them.
    ///
    /// # Errors
    ///
    /// The kernel's maps cannot be used.
    pub(super) fn tell(&mut self, observation: &mut Observation) -> Result<(), ProbeError> {
        self.switch(observation)?;
        if !self.is_on {
            return Ok(());
        }
        let events = observation.check_events(&[], BATCH, false);
        if !events.is_empty() {
            for check in judged(events, &observation.session_so_far()) {
                self.send(Broadcast::Check(
                    self.next,
                    Line::check(&check).text().into(),
                ));
                self.next += 1;
            }
        }
        let now = Instant::now();
        if now >= self.next_missing {
            self.next_missing = now + MISSING_EVERY;
            self.send(Broadcast::Missing(Missing::of(observation)?));
        }
        Ok(())
    }

    fn send(&self, broadcast: Broadcast) {
        // The last may have gone just now.
        let _ = self.sender.send(broadcast);
    }

    /// Has the kernel send check events only while somebody wants them.
    fn switch(&mut self, observation: &mut Observation) -> Result<(), ProbeError> {
        let wanted = self.sender.receiver_count() > 0;
        if wanted != self.is_on {
            observation.keep_check_events(wanted)?;
            self.is_on = wanted;
        }
        Ok(())
    }
}

/// What one watcher receives; dropping it ends that.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Broadcast>,
    hook: Hook,
    next: u64,
    base: Missing,
    since: Instant,
}

impl Subscription {
    /// Writes lines until the peer closes its end, or the daemon ends: then come the last ones.
    ///
    /// # Errors
    ///
    /// The peer is gone.
    pub(super) async fn stream(
        self,
        mut peer: impl AsyncRead + Unpin,
        mut out: impl AsyncWrite + Unpin,
        ask: &mpsc::Sender<Question>,
    ) -> std::io::Result<()> {
        let Self {
            mut receiver,
            hook,
            next,
            base,
            since,
        } = self;
        let watching = Scope::Targets(vec![Target::EveryContainer]).to_string();
        let mut page = Page::new(&Line::begin(hook, &watching), next, base);
        out.write_all(page.text.as_bytes()).await?;
        let mut ignored = [0; 64];
        loop {
            page.text.clear();
            tokio::select! {
                read = peer.read(&mut ignored) => match read? {
                    0 => break,
                    _ => continue,
                },
                first = receiver.recv() => match first {
                    Ok(first) => page.take(first),
                    // The numbers tell how many.
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => break,
                },
            }
            page.fill(&mut receiver);
            out.write_all(page.text.as_bytes()).await?;
        }
        page.text.clear();
        if let Some(last) = missing(ask).await {
            while page.fill(&mut receiver) {
                out.write_all(page.text.as_bytes()).await?;
                page.text.clear();
            }
            page.note(&last);
        }
        page.end(since);
        out.write_all(page.text.as_bytes()).await?;
        out.shutdown().await
    }
}

/// Lines for one watcher, and what it has got so far.
struct Page {
    text: String,
    next: u64,
    base: Missing,
    sent: u64,
    /// Checks that others were told meanwhile.
    missed: u64,
    /// Checks that the kernel did not send, and what was lost.
    unseen: Missing,
    noted: Missing,
}

impl Page {
    fn new(first: &Line, next: u64, base: Missing) -> Self {
        Self {
            text: format!("{}\n", first.text()),
            next,
            base,
            sent: 0,
            missed: 0,
            unseen: Missing::default(),
            noted: Missing::default(),
        }
    }

    fn take(&mut self, broadcast: Broadcast) {
        match broadcast {
            Broadcast::Check(number, line) => {
                self.missed += number.saturating_sub(self.next);
                self.next = number + 1;
                self.sent += 1;
                self.text.push_str(&line);
                self.text.push('\n');
            }
            Broadcast::Missing(missing) => self.note(&missing),
        }
    }

    /// Takes what waits, about as much as is written at a time; false if nothing was there.
    fn fill(&mut self, receiver: &mut broadcast::Receiver<Broadcast>) -> bool {
        let before = self.text.len();
        while self.text.len() < AT_A_TIME {
            match receiver.try_recv() {
                Ok(more) => self.take(more),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        self.text.len() > before
    }

    /// Tells what is missing by now, if that is more than was told.
    fn note(&mut self, now: &Missing) {
        self.unseen = now.since(&self.base);
        let missing = self.missing();
        if missing != self.noted {
            self.text.push_str(&Line::missing(&missing).text());
            self.text.push('\n');
            self.noted = missing;
        }
    }

    fn missing(&self) -> Missing {
        Missing {
            unsent: self.unseen.unsent + self.missed,
            losses: self.unseen.losses.clone(),
        }
    }

    fn end(&mut self, since: Instant) {
        let missing = self.missing();
        let summary = Summary {
            checks: self.sent + missing.unsent,
            missing,
            duration_ms: milliseconds_since(since),
        };
        self.text.push_str(&Line::end(self.sent, &summary).text());
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(number: u64) -> Broadcast {
        Broadcast::Check(number, format!("check {number}").into())
    }

    fn missing(unsent: u64) -> Missing {
        Missing {
            unsent,
            ..Missing::default()
        }
    }

    #[test]
    fn who_falls_behind_is_told_how_many_it_missed() {
        let sender = broadcast::Sender::new(4);
        let mut receiver = sender.subscribe();
        let begin = Line::begin(Hook::TpBtf, "");
        let mut page = Page::new(&begin, 100, missing(7));
        page.text.clear();
        for number in 100..120 {
            assert!(sender.send(check(number)).is_ok());
        }
        assert!(sender.send(Broadcast::Missing(missing(9))).is_ok());
        assert!(page.fill(&mut receiver));
        // Of 21 messages the last 4 are there, and 2 checks the kernel had not sent.
        let lines: Vec<&str> = page.text.lines().collect();
        assert_eq!(lines[..3], ["check 117", "check 118", "check 119"]);
        let Ok(Line::Missing { unsent, .. }) = serde_json::from_str(lines[3]) else {
            panic!("{lines:?}");
        };
        assert_eq!(unsent, 17 + 2);
        assert!(!page.fill(&mut receiver), "nothing more");
        page.text.clear();
        page.note(&missing(9));
        assert_eq!(page.text, "", "it is told once");
        page.end(Instant::now());
        let Ok(Line::End { checks, shown, .. }) = serde_json::from_str(&page.text) else {
            panic!("{}", page.text);
        };
        assert_eq!((checks, shown), (22, 3));
    }
}
