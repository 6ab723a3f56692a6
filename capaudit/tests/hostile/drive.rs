//! Runs a target: seeds first, then as many inputs as were asked for, and tells what became of them.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt::Debug,
    io::Write as _,
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};
use proptest::{
    strategy::Strategy,
    test_runner::{Config, TestCaseError, TestRunner},
};

/// Inputs of each target, if `PROPTEST_CASES` does not say.
const INPUTS: u32 = 256;
/// What no input may take, however it is made: the targets' inputs are a few kilobytes.
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of an input, in a word that is counted; or the fault that it found.
pub(crate) type Verdict = Result<&'static str, TestCaseError>;

#[derive(Default)]
struct Tally {
    inputs: u64,
    verdicts: BTreeMap<&'static str, u64>,
    slowest: Duration,
}

/// A target: what is made, what is always among it, and what must hold of it.
pub(crate) fn target<S>(
    name: &'static str,
    seeds: impl FnOnce() -> Vec<S::Value> + Send + 'static,
    strategy: impl FnOnce() -> S + Send + 'static,
    holds: impl Fn(S::Value) -> Verdict + Send + 'static,
) -> Trial
where
    S: Strategy,
    S::Value: Clone + Debug,
{
    Trial::test(name, move || {
        let config = Config {
            cases: inputs(),
            // Nothing is written into the tree: an input that finds a fault is shown, and becomes a seed or a test.
            failure_persistence: None,
            ..Config::default()
        };
        run(name, seeds(), config, &strategy(), &holds)
    })
}

fn inputs() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(INPUTS)
}

fn run<S: Strategy>(
    name: &str,
    seeds: Vec<S::Value>,
    config: Config,
    strategy: &S,
    holds: &impl Fn(S::Value) -> Verdict,
) -> Result<(), Failed>
where
    S::Value: Clone + Debug,
{
    let tally = RefCell::new(Tally::default());
    let judged = |input: S::Value| -> Result<(), TestCaseError> {
        let start = busy();
        let verdict = holds(input)?;
        let took = busy() - start;
        if took > PATIENCE {
            return Err(TestCaseError::fail(format!("took {took:?}")));
        }
        let mut tally = tally.borrow_mut();
        tally.inputs += 1;
        tally.slowest = tally.slowest.max(took);
        *tally.verdicts.entry(verdict).or_default() += 1;
        Ok(())
    };
    let start = Instant::now();
    for seed in seeds {
        judged(seed.clone()).map_err(|fault| format!("seed {seed:?}: {fault}"))?;
    }
    TestRunner::new(config)
        .run(strategy, judged)
        .map_err(|fault| fault.to_string())?;
    tell(name, &tally.borrow(), start.elapsed());
    Ok(())
}

/// Processor time of this thread: how busy others are is no fault of an input.
fn busy() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn tell(name: &str, tally: &Tally, took: Duration) {
    let shares: Vec<String> = tally
        .verdicts
        .iter()
        .map(|(verdict, count)| {
            let share = *count as f64 * 100.0 / tally.inputs as f64;
            format!("{verdict} {share:.1} %")
        })
        .collect();
    // The line is for people and `cargo xtask fuzz`; that it cannot be printed makes no input worse.
    let _ = writeln!(
        std::io::stdout(),
        "{name}: {} inputs in {:.1} s, {:.0}/s, slowest {:.1} ms; {}",
        tally.inputs,
        took.as_secs_f64(),
        tally.inputs as f64 / took.as_secs_f64(),
        tally.slowest.as_secs_f64() * 1000.0,
        shares.join(", ")
    );
}
