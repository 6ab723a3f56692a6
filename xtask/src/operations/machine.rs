//! The comparison inside a virtual machine: what runs there, and what its files show.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail};

use super::{
    audit::Audit,
    baseline::Baseline,
    mode::Mode,
    page,
    program::{Operation, Program},
    row::Row,
    truth::Truths,
};

/// A selection of operations, to be compared elsewhere.
#[derive(Debug)]
pub(crate) struct Selection {
    program: Program,
    operations: Vec<Operation>,
    modes: Vec<Mode>,
}

/// What came of a selection in one machine.
#[derive(Debug)]
pub(crate) struct Results {
    /// Counts, and what is not exact.
    pub text: String,
    /// What is missing, each as a sentence.
    pub faults: Vec<String>,
}

impl Selection {
    /// One of so many operations, in these modes.
    ///
    /// # Errors
    ///
    /// The program cannot be built, or a mode takes an engine, which the machine does not have.
    pub(crate) fn one_in(count: usize, modes: &[Mode]) -> Result<Self> {
        if modes.contains(&Mode::Docker) {
            bail!("no Docker engine runs in the virtual machine: leave out `--as docker`");
        }
        let program = Program::build()?;
        let all = program.choose(&[], &[])?;
        Ok(Self {
            program,
            operations: all.into_iter().step_by(count.max(1)).collect(),
            modes: modes.to_vec(),
        })
    }

    /// The static program, which the machine finds by the name `operations`.
    pub(crate) fn program(&self) -> &Path {
        self.program.path()
    }

    /// The scripts by what reports call them. They leave their results in /out.
    pub(crate) fn scripts(&self) -> Vec<(String, String)> {
        let names: Vec<&str> = self
            .operations
            .iter()
            .map(|operation| operation.operation.as_str())
            .collect();
        let names = names.join(" ");
        let audits = self.modes.iter().map(|mode| {
            (
                format!("operations as {mode}"),
                format!(
                    "exec capaudit run --format json --output /out/report.{mode} -- operations series --as {mode} {names} \
                     >/out/acts.{mode}\n"
                ),
            )
        });
        let modes: Vec<&str> = self.modes.iter().map(|mode| mode.name()).collect();
        let modes = modes.join(",");
        let truth = (
            "the truth about operations".to_owned(),
            // Every trial makes and ends namespaces, and the kernel waits for readers at each.
            format!(
                "echo 1 >/sys/kernel/rcu_expedited\n\
                 exec operations truth --minimal-only --as {modes} {names} >/out/truth\n"
            ),
        );
        audits.chain([truth]).collect()
    }

    /// Compares by the files that the scripts left.
    pub(crate) fn results(&self, files: &BTreeMap<String, String>) -> Result<Results> {
        let file = |name: &str| {
            let text = files.get(name);
            text.with_context(|| format!("the machine left no /out/{name}"))
        };
        // A line that ends a file without one is empty.
        let lines = |text: &str| text.trim_end().to_owned();
        let truths = Truths::parse(&lines(file("truth")?))?;
        let mut rows = Vec::new();
        for &mode in &self.modes {
            let acts = lines(file(&format!("acts.{mode}"))?);
            let audit = Audit::parse(mode, &acts, file(&format!("report.{mode}"))?)?;
            for operation in &self.operations {
                let truth = truths.get(&operation.operation, mode)?;
                rows.push(Row::new(operation, truth, &audit)?);
            }
        }
        Ok(Results {
            text: page::text(&rows),
            faults: Baseline::default().faults(&rows, None),
        })
    }
}
