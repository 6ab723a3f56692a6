//! Look-ups that another party may keep from ending, asked of a process of their own, and their deadline.
//!
//! A file system in user space answers when it likes, and so does a server of NFS. Whoever waits for it cannot even be killed once
//! the request is under way (`request_wait_answer`, fs/fuse/dev.c, Linux 6.18), and a process does not end before each of its
//! threads has. So what is asked of others' file systems, and of others' memory, is asked by a process that can be left behind
//! ([`helper`](super::helper)). What does not answer in time is not seen, which is said, and where it was is not asked again.

use std::{
    collections::{HashSet, VecDeque},
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use super::helper::{Answering, Found, Helper, LONGEST_ANSWER, LONGEST_QUESTION, Question};

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(1);
/// Questions that are under way at a time: few enough that none waits long behind one that is not answered.
const UNDER_WAY: usize = 64;
/// Questions that wait; more are not answered.
const MOST_WAITING: usize = 1 << 14;
/// Descriptors that are open for questions; one that would take more is not answered.
const MOST_PINS: usize = 256;
/// Processes that are started in vain, one after the other, until what waits is not answered.
const MOST_IN_VAIN: u32 = 3;
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

/// Questions, and whoever answers them.
#[derive(Debug)]
pub(super) struct Desk<A = Helper> {
    answering: Option<A>,
    /// Processes that were started since anybody asked.
    started: Vec<u32>,
    /// How many have been started since there was an answer.
    in_vain: u32,
    waiting: VecDeque<Asked>,
    sent: VecDeque<Asked>,
    /// Descriptors that are open for these.
    pins: usize,
    /// When what is under way was asked, or the one before it was answered.
    since: Instant,
    silent: HashSet<Place>,
    answered: Vec<(u64, Option<Found>)>,
    deadline: Duration,
    /// Room for an answer.
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Asked {
    ticket: u64,
    question: Vec<u8>,
    pins: Vec<Arc<OwnedFd>>,
    places: Vec<Place>,
}

impl<A: Answering> Default for Desk<A> {
    fn default() -> Self {
        Self::with_deadline(DEADLINE)
    }
}

impl<A: Answering> Desk<A> {
    fn with_deadline(deadline: Duration) -> Self {
        Self {
            answering: None,
            started: Vec::new(),
            in_vain: 0,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            pins: 0,
            since: Instant::now(),
            silent: HashSet::new(),
            answered: Vec::new(),
            deadline,
            buffer: vec![0; LONGEST_ANSWER],
        }
    }

    /// Asks; the answer comes under the number. `pins` are what is open for the question, `places` those that may be why there
    /// is no answer.
    pub(super) fn ask(
        &mut self,
        ticket: u64,
        question: &Question,
        pins: Vec<Arc<OwnedFd>>,
        places: Vec<Place>,
    ) {
        let question = serde_json::to_vec(question).unwrap_or_default();
        let is_possible = !question.is_empty() && question.len() <= LONGEST_QUESTION;
        let is_room = self.waiting.len() < MOST_WAITING && self.pins + pins.len() <= MOST_PINS;
        if !is_possible || !is_room {
            self.answered.push((ticket, None));
            return;
        }
        self.pins += pins.len();
        self.waiting.push_back(Asked {
            ticket,
            question,
            pins,
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
            self.start();
        }
        self.send();
        std::mem::take(&mut self.answered)
    }

    fn start(&mut self) {
        let started = if self.in_vain < MOST_IN_VAIN {
            A::start().ok()
        } else {
            self.in_vain = 0;
            None
        };
        match started {
            Some(answering) => {
                self.in_vain += 1;
                self.started.extend(answering.process());
                self.answering = Some(answering);
            }
            // No room for a process: nothing is answered until there is.
            None => {
                while let Some(asked) = self.waiting.pop_front() {
                    self.answer(asked, None);
                }
            }
        }
    }

    /// Answers nothing any more of what was asked so far.
    pub(super) fn close(&mut self) {
        self.answering = None;
        while let Some(asked) = self.sent.pop_front().or_else(|| self.waiting.pop_front()) {
            self.answer(asked, None);
        }
    }

    fn answer(&mut self, asked: Asked, found: Option<Found>) {
        self.pins -= asked.pins.len();
        self.answered.push((asked.ticket, found));
    }

    /// Processes that were started since this was called last.
    pub(super) fn started(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.started)
    }

    /// Leaves whoever answers behind with the question that it does not answer, and asks the others anew.
    fn give_up(&mut self) {
        self.answering = None;
        if let Some(unanswered) = self.sent.pop_front() {
            self.silent.extend(unanswered.places.iter().copied());
            self.answer(unanswered, None);
        }
        while let Some(asked) = self.sent.pop_back() {
            self.waiting.push_front(asked);
        }
    }

    fn is_silent(&self, places: &[Place]) -> bool {
        let is_beyond = self.silent.len() >= MOST_SILENT && !places.is_empty();
        is_beyond || places.iter().any(|place| self.silent.contains(place))
    }

    fn send(&mut self) {
        while self.sent.len() < UNDER_WAY && self.answering.is_some() {
            let Some(asked) = self.waiting.pop_front() else {
                break;
            };
            if self.is_silent(&asked.places) {
                self.answer(asked, None);
                continue;
            }
            let Some(answering) = &mut self.answering else {
                break;
            };
            let pins: Vec<_> = asked.pins.iter().map(|pin| pin.as_fd()).collect();
            let sent = answering.send(&asked.question, &pins);
            if let Err(error) = sent {
                self.waiting.push_front(asked);
                // It takes no more for now; or it is gone, which else shows on receiving.
                if error.kind() != io::ErrorKind::WouldBlock && self.sent.is_empty() {
                    self.answering = None;
                }
                break;
            }
            if self.sent.is_empty() {
                self.since = Instant::now();
            }
            self.sent.push_back(asked);
        }
    }

    fn receive(&mut self) {
        while let Some(answering) = &mut self.answering
            && !self.sent.is_empty()
        {
            match answering.receive(&mut self.buffer) {
                Ok(length) if length > 0 => {
                    let found = self.buffer.get(..length).unwrap_or_default();
                    let found = serde_json::from_slice(found).ok();
                    // One answer for each question, in their order.
                    if let Some(asked) = self.sent.pop_front() {
                        self.answer(asked, found);
                        self.in_vain = 0;
                        self.since = Instant::now();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Killed: what it was asked last may be why.
                Ok(_) | Err(_) => self.give_up(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, os::fd::BorrowedFd};

    use super::*;

    thread_local! {
        static STARTED: Cell<u32> = const { Cell::new(0) };
    }

    /// Answers everything but what is about the process 13, and nothing after that.
    #[derive(Default)]
    struct Fake {
        answers: VecDeque<Found>,
        is_stuck: bool,
    }

    impl Answering for Fake {
        fn start() -> io::Result<Self> {
            STARTED.set(STARTED.get() + 1);
            Ok(Self::default())
        }

        fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(answer) = self.answers.pop_front() else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            let answer = serde_json::to_vec(&answer)?;
            buffer[..answer.len()].copy_from_slice(&answer);
            Ok(answer.len())
        }

        fn send(&mut self, question: &[u8], _pins: &[BorrowedFd<'_>]) -> io::Result<()> {
            // No more than a socket has room for.
            if self.answers.len() == 5 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.is_stuck |= String::from_utf8_lossy(question).contains("13");
            if !self.is_stuck {
                self.answers.push_back(Found::Owner(None));
            }
            Ok(())
        }

        fn process(&self) -> Option<u32> {
            Some(STARTED.get())
        }
    }

    fn ask(desk: &mut Desk<Fake>, ticket: u64, pid: u32, namespace: u32) {
        let places = vec![Place::Namespace(namespace)];
        desk.ask(ticket, &Question::Words { pid }, Vec::new(), places);
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
        let done = Some(Found::Owner(None));
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

    #[test]
    fn no_more_is_open_than_there_is_room_for() -> io::Result<()> {
        let mut desk = Desk::<Fake>::with_deadline(Duration::from_secs(60));
        let pin = Arc::new(crate::regular::pin_directory("/")?);
        let question = |pid| Question::Words { pid };
        for ticket in 0..=MOST_PINS as u64 {
            desk.ask(ticket, &question(13), vec![Arc::clone(&pin)], Vec::new());
        }
        assert_eq!(desk.answers(), [(MOST_PINS as u64, None)]);
        assert_eq!(Arc::strong_count(&pin), MOST_PINS + 1);
        desk.close();
        assert_eq!(desk.answers().len(), MOST_PINS);
        assert_eq!(Arc::strong_count(&pin), 1);
        desk.ask(7, &question(7), vec![pin], Vec::new());
        assert_eq!(all(&mut desk, 1), [(7, Some(Found::Owner(None)))]);
        Ok(())
    }
}
