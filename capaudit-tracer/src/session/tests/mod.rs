//! The collector, fed with records and maps as the kernel side writes them.

mod attribution;
mod enrichment;
mod lifetime;
mod replay;
