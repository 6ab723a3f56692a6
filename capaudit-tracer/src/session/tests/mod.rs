//! The collector, fed with records and maps as the kernel side writes them.

mod attribution;
mod calls;
mod enrichment;
mod lifetime;
mod ownership;
mod replay;
