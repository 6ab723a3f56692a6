//! From what people name to processes that are followed.

use std::collections::HashSet;

use capaudit_core::capability::Capability;

use super::Observation;
use crate::{
    privilege::own,
    probe::ProbeError,
    session::error::AttachError,
    subject::attached::{Attached, Target},
};

/// Times that a target's processes are listed again, for those forked meanwhile.
const LISTINGS: usize = 100;

impl Observation {
    /// Observes what runs already. Returns how many processes that is.
    ///
    /// # Errors
    ///
    /// There is no such target, it must not be looked at, or the map of processes is full.
    pub(in crate::session) async fn attach(
        &mut self,
        target: &Target,
    ) -> Result<usize, AttachError> {
        if !own::effective().contains(Capability::SYS_PTRACE) {
            return Err(AttachError::Blind);
        }
        let attached = Attached::resolve(target, self.engine.answering()).await?;
        let mut followed = HashSet::new();
        // What a process forks after it was listed and before it is followed is found by listing again.
        for _ in 0..LISTINGS {
            let mut news = false;
            for pid in attached.processes() {
                if followed.insert(pid) {
                    news |= self.follow(&attached, pid)?;
                }
            }
            if !news {
                break;
            }
        }
        self.collector.expect(&attached);
        Ok(followed.len())
    }

    /// Observes everything that runs on the machine, and everything that will. Returns how many processes run.
    ///
    /// # Errors
    ///
    /// The map of processes is full.
    pub(in crate::session) async fn attach_machine(&mut self) -> Result<usize, ProbeError> {
        self.collector.expect(&Attached::Machine);
        let mut followed = 0;
        for pid in Attached::Machine.processes() {
            // What is missed here is met at its first check.
            if self.follow(&Attached::Machine, pid)? {
                followed += 1;
            }
        }
        let running = self.collector.containers(&self.collector.subjects());
        self.engine.ask(&running).await;
        Ok(followed)
    }

    /// Follows one running process; false if it is gone.
    fn follow(&mut self, attached: &Attached, pid: u32) -> Result<bool, ProbeError> {
        let Some(process) = attached.look_at(pid) else {
            return Ok(false);
        };
        let execution = self.next_execution;
        self.next_execution += 1;
        // First user space, so that no record comes of an execution that is not known.
        self.collector.attach(execution, &process);
        self.tracer.follow_process(pid, execution)?;
        // If the pid was another process's by then, nothing of that must be observed.
        if process.has_ended() {
            self.tracer.forget_process(pid);
        }
        Ok(true)
    }
}
