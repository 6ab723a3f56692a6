//! Which code is compiled for tests only.

use syn::{Attribute, Ident, ItemMod, Meta, Token, punctuated::Punctuated};

/// Whether attributes keep what they stand on out of every build that is not a test's.
pub(super) fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<Meta>()
                    .is_ok_and(|condition| holds_outside_tests(&condition) == Some(false))
    })
}

/// Whether a condition of `cfg` holds where `test` does not; `None` if other things decide.
fn holds_outside_tests(condition: &Meta) -> Option<bool> {
    if condition.path().is_ident("test") {
        return Some(false);
    }
    let list = condition.require_list().ok()?;
    let parts = list
        .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
        .ok()?;
    let mut parts = parts.iter().map(holds_outside_tests);
    if list.path.is_ident("not") {
        parts.next()?.map(|holds| !holds)
    } else if list.path.is_ident("all") {
        parts.any(|holds| holds == Some(false)).then_some(false)
    } else if list.path.is_ident("any") {
        parts.all(|holds| holds == Some(false)).then_some(false)
    } else {
        None
    }
}

/// The lines that a module takes in its file, with its attributes.
pub(super) fn lines(module: &ItemMod) -> usize {
    let first = module
        .attrs
        .first()
        .map_or(module.mod_token.span, |attribute| {
            attribute.pound_token.spans[0]
        });
    let last = match &module.content {
        Some((brace, _)) => brace.span.close(),
        None => Ident::span(&module.ident),
    };
    last.end().line - first.start().line + 1
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn test_only(attribute: &str) -> bool {
        let module: ItemMod = syn::parse_str(&format!("{attribute} mod it {{}}")).unwrap();
        is_test_only(&module.attrs)
    }

    #[test]
    fn conditions_that_need_a_test_are_told_from_the_others() {
        for attribute in [
            "#[test]",
            "#[cfg(test)]",
            "#[cfg(all(test, feature = \"x\"))]",
            "#[cfg(any(test, all(unix, test)))]",
            "#[cfg(not(not(test)))]",
        ] {
            assert!(test_only(attribute), "{attribute}");
        }
        for attribute in [
            "",
            "#[allow(dead_code)]",
            "#[cfg(unix)]",
            "#[cfg(not(test))]",
            "#[cfg(any(test, feature = \"x\"))]",
            "#[cfg(all(unix, not(test)))]",
        ] {
            assert!(!test_only(attribute), "{attribute}");
        }
    }

    #[test]
    fn a_module_has_the_lines_from_its_first_attribute_to_its_brace() {
        let module = syn::parse_str("\n#[cfg(test)]\nmod tests {\n\n}\n").unwrap();
        assert_eq!(lines(&module), 4);
        let module = syn::parse_str("mod it;").unwrap();
        assert_eq!(lines(&module), 1);
    }
}
