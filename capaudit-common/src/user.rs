//! Lets aya read and write the wire types.

use crate::{
    key::{CallKey, CheckCount, CheckKey, RecentChecks, SiteCount, SiteKey},
    scope::Process,
};

macro_rules! plain {
    ($($type:ty),*) => {
        // SAFETY: repr(C), no padding (asserted where they are declared), every bit pattern is valid.
        $(unsafe impl aya::Pod for $type {})*
    };
}
plain!(
    CheckKey,
    CheckCount,
    RecentChecks,
    SiteKey,
    SiteCount,
    CallKey,
    Process
);
