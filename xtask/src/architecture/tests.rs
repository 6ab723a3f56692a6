#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{
    policy::{Forbidden, NO_MORE, Part},
    *,
};

/// A crate in a directory of its own: its files, by path below `src`.
fn fixture(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        crate::command::write(&folder.path().join("src").join(path), text).unwrap();
    }
    folder
}

fn violations(files: &[(&str, &str)]) -> Vec<String> {
    let folder = fixture(files);
    let root = folder.path();
    const RULE: Crate = Crate {
        name: "fixture",
        forbidden_paths: &[
            Forbidden {
                name: "std::fs",
                reason: "reads files",
            },
            Forbidden {
                name: "std::time::Instant",
                reason: "reads the clock",
            },
        ],
        parts: &[Part {
            of: "judge",
            paths: &["judge::names::Name"],
            reason: "it is compared with the rest",
        }],
        ..NO_MORE
    };
    match Tree::read(&root.join("src/lib.rs")) {
        Ok(tree) => check_code("fixture", &tree, Some(&RULE), root),
        Err(error) => vec![format!("{error:#}").replace(&format!("{}/", root.display()), "")],
    }
}

#[test]
fn modules_that_use_each_other_in_one_direction_are_no_circle() {
    let violations = violations(&[
        ("lib.rs", "mod a; mod b; mod c; pub use a::A;"),
        ("a.rs", "use crate::{b::B, c}; pub struct A(B, c::C);"),
        ("b.rs", "pub struct B(super::c::C);"),
        ("c.rs", "pub struct C;"),
    ]);
    assert!(violations.is_empty(), "{violations:?}");
}

#[test]
fn a_circle_is_reported_with_the_names_that_hold_it() {
    let violations = violations(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b;\nfn f() { b::g(); b::h(); }"),
        (
            "b.rs",
            "pub fn g() {}\npub fn h(_: super::c::C) { super::d::f() }",
        ),
        ("c.rs", "pub struct C;\nimpl C { fn f() { crate::a::f() } }"),
        ("d.rs", "pub fn f() {}"),
    ]);
    assert_eq!(
        violations,
        ["fixture: modules in a circle: a, b, c\
          \n  b -> c\
          \n    src/b.rs:2 super::c::C\
          \n  c -> a\
          \n    src/c.rs:2 crate::a::f\
          \n  a -> b\
          \n    src/a.rs:1 crate::b\
          \n    src/a.rs:2 b::g\
          \n    src/a.rs:2 b::h"]
    );
}

#[test]
fn an_edge_with_many_names_is_shown_in_part() {
    let mut user = String::new();
    for number in 0..9 {
        user.push_str(&format!("use crate::b::F{number};\n"));
    }
    let violations = violations(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", &user),
        ("b.rs", "use crate::a::X;"),
    ]);
    assert_eq!(violations.len(), 1);
    assert!(violations[0].contains("a.rs:6 crate::b::F5\n    and 3 more"));
    assert!(!violations[0].contains("F6"));
}

#[test]
fn a_module_stands_for_all_that_lies_in_it() {
    let violations = violations(&[
        ("lib.rs", "mod a; mod b;"),
        ("a/mod.rs", "mod one; mod two;"),
        ("a/one.rs", "use crate::b::three::X;"),
        ("a/two.rs", "pub struct Y;"),
        ("b/mod.rs", "pub mod three; mod four;"),
        ("b/three.rs", "pub struct X;"),
        ("b/four.rs", "use crate::a::two::Y;"),
    ]);
    assert_eq!(violations.len(), 1);
    assert!(violations[0].starts_with("fixture: modules in a circle: a, b\n"));
}

#[test]
fn circles_are_found_at_every_level() {
    let violations = violations(&[
        ("lib.rs", "mod a;"),
        ("a.rs", "mod b;"),
        ("a/b.rs", "mod one; mod two { use super::one::X; }"),
        ("a/b/one.rs", "use super::two::Y; pub struct X;"),
    ]);
    assert_eq!(violations.len(), 1);
    assert!(violations[0].starts_with("fixture: modules in a circle: a::b::one, a::b::two\n"));
}

#[test]
fn a_parent_and_its_child_may_use_each_other() {
    let violations = violations(&[
        ("lib.rs", "mod a; pub struct Error; use a::A; fn f(_: A) {}"),
        (
            "a/mod.rs",
            "mod b; mod c; pub struct A(b::B, c::C); pub const N: u8 = 1;",
        ),
        ("a/b.rs", "use super::N; pub struct B([u8; N as usize]);"),
        (
            "a/c.rs",
            "pub struct C(super::b::B); const M: u8 = super::N;",
        ),
    ]);
    assert!(violations.is_empty(), "{violations:?}");
}

#[test]
fn a_file_and_its_grandchild_may_not() {
    let violations = violations(&[
        ("lib.rs", "mod a; pub struct Error; use a::b::B;"),
        ("a/mod.rs", "pub mod b;"),
        ("a/b.rs", "use crate::Error; pub struct B;"),
    ]);
    assert_eq!(
        violations,
        ["fixture: files in a circle: crate, a::b\
          \n  crate -> a::b\
          \n    src/lib.rs:1 a::b::B\
          \n  a::b -> crate\
          \n    src/a/b.rs:1 crate::Error"]
    );
}

#[test]
fn a_re_export_leads_to_the_file_that_defines_the_name() {
    // Both name only their parent.
    let violations = violations(&[
        ("lib.rs", "mod a; pub use a::*;"),
        ("a/mod.rs", "mod b; mod c; pub use b::B; pub use c::*;"),
        ("a/b.rs", "use super::C; pub struct B;"),
        ("a/c.rs", "use crate::B; pub struct C;"),
    ]);
    assert_eq!(
        violations,
        ["fixture: modules in a circle: a::b, a::c\
          \n  a::b -> a::c\
          \n    src/a/b.rs:1 super::C\
          \n  a::c -> a::b\
          \n    src/a/c.rs:1 crate::B"]
    );
}

#[test]
fn a_module_that_re_exports_anothers_name_is_used_by_it_too() {
    let violations = violations(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::C;"),
        ("b.rs", "pub use crate::c::C; use crate::a;"),
        ("c.rs", "pub struct C;"),
    ]);
    assert_eq!(violations.len(), 1);
    assert!(violations[0].starts_with("fixture: modules in a circle: a, b\n"));
}

#[test]
fn names_are_found_wherever_code_has_them() {
    for user in [
        "fn f() { use crate::b::g; }",
        "fn f() { println!(\"{}\", crate::b::g()) }",
        "use crate::b as other; fn f() { vec![other::g()]; }",
        "struct S { #[serde(with = \"crate::b::g\")] field: u8 }",
        "macro_rules! m { () => { $crate::b::g() } }",
        "impl Trait<crate::b::G> for S {}",
        "mod inner { fn f() { super::super::b::g() } }",
    ] {
        let violations = violations(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", user),
            ("b.rs", "use crate::a; pub fn g() {}"),
        ]);
        assert_eq!(violations.len(), 1, "{user}");
    }
}

#[test]
fn a_glob_leads_to_the_names_that_are_used() {
    let files = |user| {
        [
            ("lib.rs", "mod front; mod a; mod b;"),
            ("front.rs", "pub use crate::a::f; pub use crate::b::g;"),
            ("a.rs", user),
            ("b.rs", "use crate::a; pub fn g() {}"),
        ]
    };
    let used = violations(&files("use crate::front::*; pub fn f() { g() }"));
    // And the front itself, which re-exports what uses it.
    assert!(used[0].starts_with("fixture: modules in a circle: front, a, b\n"));
    assert!(
        used[0].contains("a -> b\n    src/a.rs:1 g\n"),
        "{}",
        used[0]
    );
    assert!(violations(&files("pub fn f() { g() }")).is_empty());
}

#[test]
fn code_of_tests_makes_no_circle() {
    let violations = violations(&[
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod samples;"),
        (
            "a.rs",
            "use crate::b::B; #[cfg(test)] mod tests; #[cfg(test)] use crate::samples;",
        ),
        ("a/tests.rs", "use super::*; use std::fs; not Rust"),
        (
            "b.rs",
            "pub struct B; #[cfg(test)] mod tests { use crate::a; }",
        ),
        ("samples.rs", "use crate::a;"),
    ]);
    assert!(violations.is_empty(), "{violations:?}");
}

#[test]
fn forbidden_paths_are_found_by_any_name() {
    for user in [
        "use std::fs;",
        "use std::{io, fs::File};",
        "use ::std::fs::read;",
        "use std as s; fn f() { s::fs::read(\"x\"); }",
        "use std::time::*;",
        "fn f() { std::fs::read(\"x\"); }",
        "fn f() { assert!(std::time::Instant::now() > x); }",
        "use std::time; fn f() { time::Instant::now(); }",
        "struct S { #[serde(default = \"std::time::Instant::now\")] field: u8 }",
    ] {
        let violations = violations(&[("lib.rs", user)]);
        assert_eq!(violations.len(), 1, "{user}: {violations:?}");
    }
    let all = violations(&[("lib.rs", "use std::*;")]);
    assert_eq!(all.len(), 2, "{all:?}");
    for user in [
        "use std::time::Duration; use std::io;",
        "use std::path::*;",
        "mod fs { pub fn read() {} } fn f() { fs::read() }",
        "use other::std::fs;",
        "#[cfg(test)] use std::fs;",
        "/// Like [`std::fs::read`].\nfn f() { std::fs!() }",
    ] {
        let violations = violations(&[("lib.rs", user)]);
        assert!(violations.is_empty(), "{user}: {violations:?}");
    }
}

#[test]
fn pure_crates_name_neither_one_system_nor_streams() {
    let core = CRATES.iter().find(|rule| rule.name == "capaudit-core");
    for user in [
        "use std::os::unix::ffi::OsStrExt as _;",
        "fn f() { std::io::stdin(); }",
        "use std::io; fn f() { io::stdout(); }",
        "use std::io::stderr;",
        "fn f() { std::io::pipe(); }",
        "#[allow(clippy::disallowed_methods)] fn f() {}",
        "#[expect(clippy::style)] mod inner {}",
        "mod file;",
        "fn f() { std::path::absolute(\"x\"); }",
        "fn f() { std::time::UNIX_EPOCH.elapsed(); }",
    ] {
        let file = "#![allow(clippy::all)]";
        let folder = fixture(&[("lib.rs", user), ("file.rs", file)]);
        let tree = Tree::read(&folder.path().join("src/lib.rs")).unwrap();
        let violations = check_code("capaudit-core", &tree, core, folder.path());
        assert_eq!(violations.len(), 1, "{user}: {violations:?}");
    }
}

#[test]
fn a_forbidden_path_is_reported_once_in_a_file_with_the_reason() {
    let violations = violations(&[(
        "lib.rs",
        "use std::fs;\nfn f() { fs::read(\"x\"); fs::write(\"x\", \"\"); }",
    )]);
    assert_eq!(
        violations,
        ["src/lib.rs:1: std::fs: std::fs is forbidden: reads files"]
    );
}

#[test]
fn lines_beside_tests_are_limited() {
    let lines = "\n".repeat(LONGEST_FILE - 1);
    let tests = "#[cfg(test)]\nmod tests {\n\n\n}\n";
    let fits = format!("fn f() {{}}\n{lines}{tests}");
    assert!(violations(&[("lib.rs", &fits)]).is_empty());
    let long = format!("#[cfg(test)]\nmod samples;\nfn f() {{}}\n\n{lines}{tests}");
    assert_eq!(
        violations(&[("lib.rs", &long)]),
        ["src/lib.rs: 501 lines beside its tests, more than 500"]
    );
}

#[test]
fn of_a_crate_that_may_be_named_in_part_the_rest_is_forbidden() {
    for user in [
        "use judge::rules::Rule;",
        "use judge::{names::Name, rules};",
        "use judge as j; use j::names::Name;",
        "use judge::names::*;",
        "fn f() { judge::names::describe() }",
        "macro_rules! m { () => { judge::rules::all() } }",
    ] {
        let violations = violations(&[("lib.rs", user)]);
        assert!(!violations.is_empty(), "{user}");
    }
    assert_eq!(
        violations(&[("lib.rs", "\nuse judge::rules::Rule;")]),
        [
            "src/lib.rs:2: judge::rules::Rule: of judge only judge::names::Name may be named: it is compared with the rest"
        ]
    );
    for user in [
        "use judge::names::Name; fn f() { Name::all() }",
        "fn f() { judge::names::Name::all() }",
        "#[cfg(test)] mod tests { use judge::rules::Rule; }",
        "mod judge { pub mod rules {} } use judge::rules;",
    ] {
        let violations = violations(&[("lib.rs", user)]);
        assert!(violations.is_empty(), "{user}: {violations:?}");
    }
}

/// What a crate hides: as a pure one, and as any other.
fn hidden(files: &[(&str, &str)]) -> [Vec<String>; 2] {
    let folder = fixture(files);
    let root = folder.path();
    crate::command::write(&root.join("data.txt"), "").unwrap();
    let tree = Tree::read(&root.join("src/lib.rs")).unwrap();
    [Some(root), None].map(|pure| hiding::check(&tree, pure, root))
}

#[test]
fn code_that_lies_elsewhere_is_reported_of_every_crate() {
    for user in [
        "include!(\"x.inc\");",
        "fn f() { include!(\"x.inc\") }",
        "macro_rules! m { () => { include!(\"x.inc\"); } }",
        "extern crate std as other;",
        "mod inner { extern crate std as other; }",
        "fn f() { mod inner; }",
        "macro_rules! m { ($name:ident) => { mod $name; } }",
    ] {
        for violations in hidden(&[
            ("lib.rs", user),
            ("x.inc", ""),
            ("inner.rs", ""),
            ("f/inner.rs", ""),
        ]) {
            assert!(!violations.is_empty(), "{user}");
        }
    }
    let elsewhere = violations(&[("lib.rs", "#[path = \"x.inc\"] mod a;"), ("a.rs", "")]);
    assert_eq!(
        elsewhere,
        ["module a of src/lib.rs lies where an attribute says: put it where the language looks"]
    );
}

#[test]
fn what_reaches_beyond_a_pure_crate_by_a_macro_is_reported() {
    for user in [
        "fn f() { println!(\"x\"); }",
        "fn f() { std::eprintln!(\"x\"); }",
        "fn f() { print!(\"x\"); }",
        "fn f() { eprint!(\"x\"); }",
        "fn f() { g(dbg!(1)); }",
        "fn f() { assert!({ println!(\"x\"); true }); }",
        "macro_rules! m { () => { println!(\"x\") } }",
        "macro_rules! m { ($m:ident) => { std::$m::read(\"x\") } }",
        "const A: Option<&str> = option_env!(\"HOME\");",
        "const A: &str = env!(\"HOME\");",
        "const A: &str = env!(\"CARGO_MANIFEST_DIR\");",
        "const A: &str = include_str!(\"/etc/hostname\");",
        "const A: &[u8] = include_bytes!(\"../../../../etc/hostname\");",
        "const A: &str = include_str!(concat!(\"../\", \"data.txt\"));",
        "const A: &str = format!(\"{}\", include_str!(\"/etc/hostname\"));",
        "unsafe extern \"C\" { safe fn getpid() -> i32; }",
    ] {
        let [pure, other] = hidden(&[("lib.rs", user)]);
        assert_eq!(pure.len(), 1, "{user}: {pure:?}");
        assert!(other.is_empty(), "{user}: {other:?}");
    }
    for user in [
        "const A: &str = env!(\"CARGO_PKG_VERSION\");",
        "const A: &str = include_str!(\"../data.txt\");",
        "fn f(print: u8) { assert!(print != (1)); write!(out, \"x\"); }",
        "macro_rules! m { ($name:ident) => { mod $name { fn f() {} } } }",
        "macro_rules! m { ($m:ident) => { $crate::$m::read(Type::$m) } }",
        "#[cfg(test)] mod tests { fn f() { println!(\"{}\", env!(\"HOME\")); } }",
    ] {
        let [pure, _] = hidden(&[("lib.rs", user)]);
        assert!(pure.is_empty(), "{user}: {pure:?}");
    }
}

#[test]
fn the_root_of_a_pure_crate_denies_what_names_do_not_show() {
    let whole = "#![forbid(unsafe_code)]\n#![cfg_attr(not(test), deny(clippy::disallowed_macros, \
                 clippy::disallowed_methods, clippy::disallowed_types))]\n";
    assert!(hiding::lints_left_out(whole).is_empty());
    for weaker in [
        whole.replace("forbid(unsafe_code)", "deny(unsafe_code)"),
        whole.replace("not(test)", "feature = \"x\""),
        whole.replace("clippy::disallowed_types", "clippy::all"),
        whole.replace("cfg_attr(not(test), deny", "cfg_attr(not(test), warn"),
    ] {
        assert!(!hiding::lints_left_out(&weaker).is_empty(), "{weaker}");
    }
}

/// What only types show, each line a thing that a pure crate must not do.
const IMPURE: &str = "\
pub fn a(path: &std::path::Path) -> bool { path.exists() }
pub fn b(path: &std::path::Path) -> bool { path.read_dir().is_ok() }
pub fn c(path: &std::path::PathBuf) -> bool { path.metadata().is_ok() }
pub fn d() -> bool { std::time::UNIX_EPOCH.elapsed().is_ok() }
pub fn e() { println!(); }
pub fn f() -> bool { std::io::pipe().is_ok() }
pub fn g() -> bool { other::fs::read(\"/etc/hostname\").is_ok() }
macro_rules! made { ($m:ident) => { pub fn h() -> bool { std::$m::read(\"/x\").is_ok() } } }
pub fn i() -> Option<&'static str> { option_env!(\"HOME\") }
pub fn j(path: &str) -> bool { let is: fn(&std::path::Path) -> bool = <std::path::Path>::is_dir; is(path.as_ref()) }
pub fn k(name: &str) -> bool { std::net::ToSocketAddrs::to_socket_addrs(&(name, 1)).is_ok() }
pub fn l(at: std::time::SystemTime) -> bool { at.elapsed().is_ok() }
";

#[test]
fn clippy_knows_what_pure_code_must_not_touch() {
    let folder = fixture(&[(
        "lib.rs",
        &format!("{IMPURE}extern crate std as other;\nmade!(fs);\n"),
    )]);
    let manifest = "[package]\nname = \"fixture\"\nedition = \"2024\"\n[workspace]\n";
    crate::command::write(&folder.path().join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(
        project::root().join("capaudit-core/clippy.toml"),
        folder.path().join("clippy.toml"),
    )
    .unwrap();
    let clippy = project::cargo()
        .args(["clippy", "--offline", "--message-format=short"])
        .current_dir(folder.path())
        .env("CARGO_TARGET_DIR", folder.path().join("target"))
        .env_remove("CLIPPY_CONF_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&clippy.stderr);
    for (index, line) in IMPURE.lines().enumerate() {
        let place = format!("src/lib.rs:{}:", index + 1);
        let is_found = said
            .lines()
            .any(|said| said.starts_with(&place) && said.contains("disallowed"));
        assert!(is_found, "{line}\n{said}");
    }
}

#[test]
fn sources_that_cannot_be_read_are_named() {
    assert_eq!(
        violations(&[("lib.rs", "mod a;")]),
        ["module a of src/lib.rs has no file"]
    );
    let violations = violations(&[("lib.rs", "mod a;"), ("a.rs", "\nfn 1() {}")]);
    assert!(violations[0].starts_with("src/a.rs:2: "), "{violations:?}");
}

fn short_docs(files: &[(&str, &str)]) -> Vec<String> {
    let folder = fixture(files);
    check_docs(
        &Tree::read(&folder.path().join("src/lib.rs")).unwrap(),
        folder.path(),
    )
}

#[test]
fn short_documentation_is_found_on_every_kind_of_public_item() {
    for code in [
        "/// Why.\npub const IT: u8 = 0;",
        "/// Why.\npub static IT: u8 = 0;",
        "/// Why.\npub type IT = u8;",
        "/// Why.\npub fn IT() {}",
        "/// Why.\npub struct IT;",
        "/// Why.\npub enum IT {}",
        "/// Why.\npub union IT { field: u8 }",
        "/// Why.\npub trait IT {}",
        "/// Why.\npub mod IT {}",
        "pub mod inner {\n/// Why.\npub struct IT; }",
        "pub struct Struct {\n/// Why.\npub IT: u8 }",
        "pub struct IT(\n/// Why.\npub u8);",
        "pub union Union {\n/// Why.\npub IT: u8 }",
        "pub enum Enum {\n/// Why.\nIT }",
        "pub enum Enum { Variant {\n/// Why.\nIT: u8 } }",
        "impl Type {\n/// Why.\npub fn IT() {} }",
        "impl Type {\n/// Why.\npub const IT: u8 = 0; }",
        "pub trait Trait {\n/// Why.\nfn IT(); }",
        "pub trait Trait {\n/// Why.\nconst IT: u8; }",
        "pub trait Trait {\n/// Why.\ntype IT; }",
    ] {
        let line = if code.starts_with("///") { 1 } else { 2 };
        assert_eq!(
            short_docs(&[("lib.rs", code)]),
            [format!(
                "src/lib.rs:{line}: IT: \"Why.\" is too short to say what it means"
            )],
            "{code}"
        );
    }
    for code in [
        "mod it;",
        "/// The file.\npub struct It;",
        "///\npub struct It;",
        "/// The\n///\n/// file.\n#[derive(Debug)]\npub struct It;",
    ] {
        let found = short_docs(&[("lib.rs", code), ("it.rs", "/// Why.\npub fn it() {}")]);
        assert_eq!(found.len(), 1, "{code}: {found:?}");
    }
}

#[test]
fn documentation_that_is_long_enough_private_or_published_passes() {
    for code in [
        "/// Why it failed.\npub struct It;",
        "/// Why.\n///\n/// # Errors\n///\n/// None.\npub fn it() {}",
        "pub struct It { pub field: u8 }",
        "/// Why.\nstruct It {\n/// Why.\nfield: u8 }",
        "/// Why.\npub(crate) fn it() {}",
        "enum It {\n/// Why.\nVariant }",
        "impl Trait for It {\n/// Why.\nfn it() {} }",
        "/// Why.\n#[derive(Debug, JsonSchema)]\npub struct It {\n/// Why.\npub field: u8 }",
        "#[cfg_attr(feature = \"clap\", derive(clap::ValueEnum))]\npub enum It {\n/// Why.\nVariant }",
        "#[cfg(test)]\n/// Why.\npub fn it() {}",
        "#[cfg(test)]\npub mod tests {\n/// Why.\npub fn it() {} }",
        "#[doc = concat!(\"Why\")]\npub fn it() {}",
        "#[doc(hidden)]\npub fn it() {}",
    ] {
        let found = short_docs(&[("lib.rs", code)]);
        assert!(found.is_empty(), "{code}: {found:?}");
    }
}

#[test]
fn crates_whose_documentation_is_checked_are_crates_of_the_project() {
    for name in DOCUMENTED {
        assert!(CRATES.iter().any(|known| known.name == *name), "{name}");
    }
}

#[test]
fn a_crate_s_root_says_what_the_crate_must_never_know_and_where_to_begin() {
    let whole = "//! Reads things.\n//!\n//! It never writes.\n//!\n//! Begin to read with [`a`].\nmod a;\n";
    assert_eq!(docs::left_out_of_role(whole), None);
    assert_eq!(
        docs::left_out_of_role("//! Reads things.\n//! Begin to read with [`a`].\n"),
        Some("never")
    );
    assert_eq!(
        docs::left_out_of_role("//! It never writes.\n// Begin to read with [`a`].\n"),
        Some("egin to read")
    );
}
