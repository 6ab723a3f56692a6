//! What could not be recorded.

/// What could not be recorded, by cause. All zero for a complete record.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Losses {
    /// Records for which the ring buffer had no room.
    pub events: u64,
    /// Checks that were counted by capability only.
    pub checks: u64,
    /// Call sites that were not remembered.
    pub sites: u64,
    /// Processes that were not followed.
    pub processes: u64,
    /// System calls that were not remembered.
    pub calls: u64,
    /// Checks whose call site is unknown.
    pub stacks: u64,
    /// Checks whose result was not seen (kprobe hook).
    pub returns: u64,
    /// Executed files that were gone before it could be seen whether they have capabilities.
    pub files: u64,
    /// Runs of a program that the kernel left out, because one was under way on the same processor.
    #[serde(default)]
    pub runs: u64,
}

/// How many things were not seen, as the beginning of a sentence or a part of one.
pub fn not_seen(count: u64) -> String {
    match count {
        1 => "1 thing was not seen".to_owned(),
        count => format!("{count} things were not seen"),
    }
}

impl Losses {
    /// Whether nothing was lost.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What may keep them from being lost again, to follow "run again with".
    pub fn remedy(&self) -> &'static str {
        let records = self.events > 0;
        let full = [self.checks, self.sites, self.processes, self.calls]
            .iter()
            .any(|lost| *lost > 0);
        match (records, full) {
            (true, false) => "a larger --ring-buffer, or fewer processes at a time",
            (false, true) => "more --map-entries, or fewer processes at a time",
            (true, true) => {
                "a larger --ring-buffer and more --map-entries, or fewer processes at a time"
            }
            (false, false) => "fewer processes at a time",
        }
    }

    /// Those of them that came after `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            events: self.events.saturating_sub(before.events),
            checks: self.checks.saturating_sub(before.checks),
            sites: self.sites.saturating_sub(before.sites),
            processes: self.processes.saturating_sub(before.processes),
            calls: self.calls.saturating_sub(before.calls),
            stacks: self.stacks.saturating_sub(before.stacks),
            returns: self.returns.saturating_sub(before.returns),
            files: self.files.saturating_sub(before.files),
            runs: self.runs.saturating_sub(before.runs),
        }
    }

    /// Counts what was lost elsewhere, too.
    pub fn add(&mut self, more: &Self) {
        let Self {
            events,
            checks,
            sites,
            processes,
            calls,
            stacks,
            returns,
            files,
            runs,
        } = self;
        for (sum, more) in [
            (events, more.events),
            (checks, more.checks),
            (sites, more.sites),
            (processes, more.processes),
            (calls, more.calls),
            (stacks, more.stacks),
            (returns, more.returns),
            (files, more.files),
            (runs, more.runs),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// All losses together.
    pub fn total(&self) -> u64 {
        [
            self.events,
            self.checks,
            self.sites,
            self.processes,
            self.calls,
            self.stacks,
            self.returns,
            self.files,
            self.runs,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}

impl std::fmt::Display for Losses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let each: Vec<String> = [
            (self.events, "records"),
            (self.checks, "checks"),
            (self.sites, "call sites"),
            (self.processes, "processes"),
            (self.calls, "system calls"),
            (self.stacks, "stacks"),
            (self.returns, "results"),
            (self.files, "executed files"),
            (self.runs, "runs of a program"),
        ]
        .into_iter()
        .filter(|(count, _what)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        f.write_str(&each.join(", "))
    }
}
