//! Sets of capabilities as the pages of the documentation write them.

use capaudit_core::capability::CapSet;

/// The bare names with blanks between, in the kernel's order; `(none)` for the empty set.
pub(crate) fn names(set: CapSet) -> String {
    if set.is_empty() {
        return "(none)".to_owned();
    }
    let names: Vec<&str> = set.names().collect();
    names.join(" ")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_kernels_order_and_read_back() {
        let set: CapSet = "SETUID CAP_CHOWN".parse().unwrap();
        assert_eq!(names(set), "CHOWN SETUID");
        assert_eq!(names(set).parse(), Ok(set));
        assert_eq!(names(CapSet::EMPTY), "(none)");
    }
}
