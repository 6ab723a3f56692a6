//! What the program makes of saved sessions, byte for byte as it was: reports, exports and checks, their complaints and
//! their exit statuses.
//!
//! Takes no privileges, no kernel and no network: the sessions were saved once. README.md tells how they were made and
//! how what is expected is written anew.

mod calls;
mod expected;
mod saved;
mod tree;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use tree::{COMMANDS, Tree};

fn main() -> ExitCode {
    let tree = Tree::of_this_package();
    let cases = match tree.cases() {
        Ok(cases) => cases,
        Err(complaint) => {
            eprintln!("error: {complaint}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = vec![
        Trial::test("golden::every_session_has_its_outputs", || {
            Ok(Tree::of_this_package().judge()?)
        }),
        Trial::test(format!("golden::{COMMANDS}"), || {
            let printed = calls::without_sessions()?;
            expected::compare(&Tree::of_this_package(), COMMANDS, &printed)
        }),
    ];
    trials.extend(cases.into_iter().map(|case| {
        Trial::test(format!("golden::{}", case.name), move || {
            let tree = Tree::of_this_package();
            for session in &case.sessions {
                saved::again(&tree, session)?;
            }
            expected::compare(&tree, &case.name, &calls::of(&tree, &case)?)
        })
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
