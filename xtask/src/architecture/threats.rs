//! That each test which a page of the documentation names is there.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// Pages in whose tables links are to tests: the text is a test's name, the target its file.
const PAGES: [&str; 2] = ["docs/internals/threats.md", "docs/internals/faults.md"];

/// Says which tests are named and do not exist.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for page in PAGES {
        let text = fs::read_to_string(root.join(page)).with_context(|| format!("no {page}"))?;
        let directory = Path::new(page).parent().unwrap_or(Path::new(""));
        for (name, target) in tests(&text) {
            let code = fs::read_to_string(root.join(directory).join(target)).unwrap_or_default();
            if !has_test(&code, name) {
                violations.push(format!("{page}: no test {name} in {target}"));
            }
        }
    }
    Ok(violations)
}

/// The links in the last column of tables of three columns whose last one is headed `test`.
fn tests(page: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut is_of_tests = false;
    for line in page.lines() {
        let mut columns = line.trim().trim_matches('|').split('|').map(str::trim);
        match columns.next_back() {
            Some(last) if line.starts_with('|') && columns.next().is_some() => {
                is_of_tests |= last == "test";
                if is_of_tests {
                    found.extend(links(last));
                }
            }
            _ => is_of_tests = false,
        }
    }
    found
}

fn links(text: &str) -> Vec<(&str, &str)> {
    let link = |part| {
        let (name, rest): (&str, &str) = str::split_once(part, "](")?;
        Some((name, rest.split_once(')')?.0))
    };
    text.split('[').skip(1).filter_map(link).collect()
}

/// Whether code has a function of this name that is a test, or a trial that is called so.
fn has_test(code: &str, name: &str) -> bool {
    if name.contains("::") {
        return code.contains(&format!("\"{name}\""));
    }
    let function = format!("fn {name}(");
    let mut lines = code.lines();
    let mut is_test = false;
    lines.any(|line| {
        let line = line.trim();
        if line.contains(&function) {
            return is_test;
        }
        if line.starts_with("#[") {
            is_test |= line.contains("test");
        } else if !line.starts_with("//") {
            is_test = false;
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_tests_are_found_and_others_are_missed() {
        let page = "| a | b | test |\n|---|---|---|\n| x | y | [one](a.rs), [c::two](../b.rs) |\n\n| a | b | c |\n|---|---|---|\n| x | y | [three](c.md) |\n";
        assert_eq!(tests(page), [("one", "a.rs"), ("c::two", "../b.rs")]);
        let code = "#[test]\n// why\nfn one() {}\n\nfn helper() {}\nTrial::test(\"c::two\", two)";
        assert!(has_test(code, "one") && has_test(code, "c::two"));
        for other in ["helper", "on", "c::three", "two"] {
            assert!(!has_test(code, other), "{other}");
        }
    }
}
