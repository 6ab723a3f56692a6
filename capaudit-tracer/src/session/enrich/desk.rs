//! Look-ups that another party may keep from ending, asked of a process of their own, and their deadline.
//!
//! A file system in user space answers when it likes, and so does a server of NFS. Whoever waits for it cannot even be killed once
//! the request is under way (`request_wait_answer`, fs/fuse/dev.c, Linux 6.18), and a process does not end before each of its
//! threads has. So what is asked of others' file systems, and of others' memory, is asked by a process that can be left behind
//! ([`helper`](super::helper)). What does not answer in time is not seen, which is said, and where it was is not asked again.

use std::{
    collections::{HashSet, VecDeque},
    io,
    time::{Duration, Instant},
};

use super::helper::{Found, Helper, Question};

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(1);
/// Questions that are under way at a time: few enough that none waits long behind one that is not answered.
const UNDER_WAY: usize = 64;
/// Questions that wait; more are not answered.
const MOST_WAITING: usize = 1 << 14;
/// Places that are known not to answer; with more, nothing is asked any more of places that others made.
const MOST_SILENT: usize = 256;

/// Where an answer comes from: what one party can keep from answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// A file system, by its device.
    Device(u32),
    /// Whatever is mounted in a mount namespace, and what lives there.
    Namespace(u32),
}

/// Who answers questions.
pub(super) trait Answering: Sized {
    /// Another one, which knows nothing of what was asked before.
    ///
    /// # Errors
    ///
    /// The machine has no room for one.
    fn start() -> io::Result<Self>;

    /// Reads from the answers, each a line; never blocks.
    ///
    /// # Errors
    ///
    /// As for read(2).
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes questions, each a line; never blocks.
    ///
    /// # Errors
    ///
    /// As for write(2).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Its process, in case it is one that has to be told apart.
    fn process(&self) -> Option<u32>;
}

/// Questions, and whoever answers them.
#[derive(Debug)]
pub(super) struct Desk<A = Helper> {
    answering: Option<A>,
    /// Processes that were started since anybody asked.
    started: Vec<u32>,
    waiting: VecDeque<Asked>,
    sent: VecDeque<Asked>,
    unwritten: Vec<u8>,
    unread: Vec<u8>,
    /// When what is under way was asked, or the one before it was answered.
    since: Instant,
    silent: HashSet<Place>,
    answered: Vec<(u64, Option<Found>)>,
    deadline: Duration,
}

#[derive(Debug)]
struct Asked {
    ticket: u64,
    line: Vec<u8>,
    places: Vec<Place>,
}

impl<A: Answering> Desk<A> {
    pub(super) fn new() -> Self {
        Self::with_deadline(DEADLINE)
    }

    fn with_deadline(deadline: Duration) -> Self {
        Self {
            answering: None,
            started: Vec::new(),
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            unwritten: Vec::new(),
            unread: Vec::new(),
            since: Instant::now(),
            silent: HashSet::new(),
            answered: Vec::new(),
            deadline,
        }
    }

    /// Asks; the answer comes under the number. `places` are those that may be why there is none.
    pub(super) fn ask(&mut self, ticket: u64, question: &Question, places: Vec<Place>) {
        let line = serde_json::to_vec(question).unwrap_or_default();
        if line.is_empty() || self.waiting.len() >= MOST_WAITING {
            self.answered.push((ticket, None));
            return;
        }
        self.waiting.push_back(Asked {
            ticket,
            line,
            places,
        });
        self.send();
    }

    /// The answers that have come; `None` where nobody answered in time.
    pub(super) fn answers(&mut self) -> Vec<(u64, Option<Found>)> {
        self.receive();
        if !self.sent.is_empty() && self.since.elapsed() > self.deadline {
            self.give_up();
        }
        if self.answering.is_none() && !self.waiting.is_empty() {
            match A::start() {
                Ok(answering) => {
                    self.started.extend(answering.process());
                    self.answering = Some(answering);
                }
                // No room for a process: nothing is answered until there is.
                Err(_error) => {
                    let unanswered = self.waiting.drain(..).map(|asked| (asked.ticket, None));
                    self.answered.extend(unanswered);
                }
            }
        }
        self.send();
        std::mem::take(&mut self.answered)
    }

    /// Answers nothing any more of what was asked so far.
    pub(super) fn close(&mut self) {
        self.answering = None;
        let asked = self.sent.drain(..).chain(self.waiting.drain(..));
        self.answered
            .extend(asked.map(|asked| (asked.ticket, None)));
        self.unwritten.clear();
        self.unread.clear();
    }

    /// Processes that were started since this was called last.
    pub(super) fn started(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.started)
    }

    /// Leaves whoever answers behind with the question that it does not answer, and asks the others anew.
    fn give_up(&mut self) {
        self.answering = None;
        self.unwritten.clear();
        self.unread.clear();
        if let Some(unanswered) = self.sent.pop_front() {
            self.silent.extend(unanswered.places);
            self.answered.push((unanswered.ticket, None));
        }
        while let Some(asked) = self.sent.pop_back() {
            self.waiting.push_front(asked);
        }
    }

    fn send(&mut self) {
        let Some(answering) = &mut self.answering else {
            return;
        };
        while self.sent.len() < UNDER_WAY
            && let Some(asked) = self.waiting.pop_front()
        {
            let is_silent = asked.places.iter().any(|it| self.silent.contains(it));
            let is_beyond = self.silent.len() >= MOST_SILENT && !asked.places.is_empty();
            if is_silent || is_beyond {
                self.answered.push((asked.ticket, None));
                continue;
            }
            if self.sent.is_empty() {
                self.since = Instant::now();
            }
            self.unwritten.extend_from_slice(&asked.line);
            self.unwritten.push(b'\n');
            self.sent.push_back(asked);
        }
        while !self.unwritten.is_empty() {
            match answering.write(&self.unwritten) {
                Ok(written) if written > 0 => drop(self.unwritten.drain(..written)),
                // It takes no more for now; or it is gone, which shows on reading.
                _ => break,
            }
        }
    }

    fn receive(&mut self) {
        let Some(answering) = &mut self.answering else {
            return;
        };
        let mut buffer = [0; 1 << 14];
        let is_gone = loop {
            match answering.read(&mut buffer) {
                Ok(0) => break true,
                Ok(length) => {
                    let read = buffer.get(..length).unwrap_or_default();
                    self.unread.extend_from_slice(read);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_error) => break true,
            }
        };
        let end = self.unread.iter().rposition(|byte| *byte == b'\n');
        let lines: Vec<u8> = self.unread.drain(..end.map_or(0, |end| end + 1)).collect();
        for line in lines.split(|byte| *byte == b'\n') {
            if line.is_empty() {
                continue;
            }
            // One answer for each question, in their order.
            if let Some(asked) = self.sent.pop_front() {
                let found = serde_json::from_slice(line).ok();
                self.answered.push((asked.ticket, found));
                self.since = Instant::now();
            }
        }
        if is_gone {
            // Killed: what it was asked last may be why.
            self.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static STARTED: Cell<u32> = const { Cell::new(0) };
    }

    /// Answers everything but what is about the process 13, and nothing after that.
    #[derive(Default)]
    struct Fake {
        asked: Vec<u8>,
        answers: Vec<u8>,
        is_stuck: bool,
    }

    impl Answering for Fake {
        fn start() -> io::Result<Self> {
            STARTED.set(STARTED.get() + 1);
            Ok(Self::default())
        }

        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.answers.len().min(buffer.len());
            if length == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            buffer[..length].copy_from_slice(&self.answers[..length]);
            self.answers.drain(..length);
            Ok(length)
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // In pieces, as a socket that is nearly full.
            let bytes = &bytes[..bytes.len().min(7)];
            self.asked.extend_from_slice(bytes);
            while let Some(end) = self.asked.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.asked.drain(..=end).collect();
                self.is_stuck |= String::from_utf8_lossy(&line).contains("13");
                if !self.is_stuck {
                    self.answers.extend_from_slice(b"\"Done\"\n");
                }
            }
            Ok(bytes.len())
        }

        fn process(&self) -> Option<u32> {
            Some(STARTED.get())
        }
    }

    fn ask(desk: &mut Desk<Fake>, ticket: u64, pid: u32, namespace: u32) {
        let places = vec![Place::Namespace(namespace)];
        desk.ask(ticket, &Question::Words { pid }, places);
    }

    fn all(desk: &mut Desk<Fake>, count: usize) -> Vec<(u64, Option<Found>)> {
        let started = Instant::now();
        let mut found = Vec::new();
        while found.len() < count && started.elapsed() < Duration::from_secs(10) {
            let asked = Instant::now();
            found.extend(desk.answers());
            assert!(asked.elapsed() < Duration::from_millis(100), "it waited");
        }
        found
    }

    #[test]
    fn what_does_not_answer_is_left_behind_and_its_place_is_not_asked_again() {
        let mut desk = Desk::<Fake>::with_deadline(Duration::from_millis(50));
        for (ticket, pid, namespace) in [(1, 7, 100), (2, 13, 200), (3, 8, 100), (4, 9, 200)] {
            ask(&mut desk, ticket, pid, namespace);
        }
        let done = Some(Found::Done);
        let mut found = all(&mut desk, 4);
        found.sort_by_key(|(ticket, _found)| *ticket);
        assert_eq!(
            found,
            [(1, done.clone()), (2, None), (3, done.clone()), (4, None)]
        );
        assert_eq!(desk.started(), [1, 2], "another one for the others");
        ask(&mut desk, 5, 13, 200);
        assert_eq!(all(&mut desk, 1), [(5, None)]);
        assert_eq!(STARTED.get(), 2, "nobody was asked");
        ask(&mut desk, 6, 7, 100);
        assert_eq!(all(&mut desk, 1), [(6, done)]);
    }

    #[test]
    fn beyond_what_may_wait_nothing_is_asked() {
        let mut desk = Desk::<Fake>::with_deadline(Duration::from_secs(60));
        ask(&mut desk, 0, 13, 1);
        assert_eq!(desk.answers(), []);
        let most = MOST_WAITING + UNDER_WAY;
        for ticket in 1..=most as u64 + 10 {
            ask(&mut desk, ticket, 7, 2);
        }
        let refused = desk.answers();
        assert!((10..=11).contains(&refused.len()), "{}", refused.len());
        desk.close();
        let rest = desk.answers();
        assert_eq!(refused.len() + rest.len(), most + 11);
        assert!(rest.iter().all(|(_ticket, found)| found.is_none()));
    }
}
