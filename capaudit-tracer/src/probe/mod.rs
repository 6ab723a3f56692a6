//! The side of the kernel: loads the BPF programs, chooses a hook, and hands out what they record.

mod baseline;
pub mod btf;
mod cast;
mod config;
mod count;
mod enforce;
mod error;
mod event;
mod hook;
mod load;
mod loss;
mod offset;
mod process;
mod record;
mod syscall;
mod tracer;
mod wire;

pub use self::{
    baseline::Baseline,
    btf::KernelBtf,
    config::{CheckEvents, TraceScope, TracerConfig},
    enforce::{Enforcer, EnforcerConfig},
    error::{ProbeError, errno, one_line},
    event::Event,
    load::may_trace,
    syscall::name as syscall_name,
    tracer::Tracer,
};
