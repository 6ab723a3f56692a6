//! The architecture as data: what each crate may use, and why it may not use the rest.

/// The most lines that a source file may have, its tests not counted.
pub(super) const LONGEST_FILE: usize = 500;

/// The crates in which a documentation comment of a public item has more than two words.
///
/// capaudit-common and capaudit-ebpf are not among them: any change to their sources takes a new BPF object.
pub(super) const DOCUMENTED: &[&str] = &[
    "bpf-toolchain",
    "capaudit-core",
    "capaudit-formats",
    "capaudit-tracer",
    "capaudit-storage",
    "capaudit-live",
    "capaudit-watch",
    "capaudit-daemon",
    "capaudit-life",
    "capaudit-verify",
    "capaudit",
    "capaudit-bench",
    "xtask",
];

/// Derives that hand a type's documentation to users, as help or in a schema, where two words may be the right ones.
pub(super) const PUBLISHING_DERIVES: &[&str] =
    &["Args", "JsonSchema", "Parser", "Subcommand", "ValueEnum"];

/// What one crate of the project may use.
#[derive(Debug)]
pub(super) struct Crate {
    pub name: &'static str,
    /// The project's crates that its code may use.
    pub uses: &'static [&'static str],
    /// The project's crates that its build script may use.
    pub build_script_uses: &'static [&'static str],
    /// Packages that may not be among the dependencies of its code and its build script on any system, nor among theirs.
    pub forbidden_packages: &'static [Forbidden],
    /// Packages that its manifest may not name for its code or its build script; what it uses may.
    pub forbidden_dependencies: &'static [Forbidden],
    /// Paths outside the crate that its code may not name.
    pub forbidden_paths: &'static [Forbidden],
    /// Crates of which its code may name only a part.
    pub parts: &'static [Part],
    /// Whether results depend on arguments alone: what names cannot show, the compiler and clippy have to deny.
    pub is_pure: bool,
}

/// What a crate may name of another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The other crate, as code writes it.
    pub of: &'static str,
    /// What it may name, each with all that lies below.
    pub paths: &'static [&'static str],
    /// Why no more, as the violation's message says it.
    pub reason: &'static str,
}

/// The rule of a crate that uses none of the project's and any of others.
pub(super) const NO_MORE: Crate = Crate {
    name: "",
    uses: &[],
    build_script_uses: &[],
    forbidden_packages: &[],
    forbidden_dependencies: &[],
    forbidden_paths: &[],
    parts: &[],
    is_pure: false,
};

/// A package, or a path and everything below it, that a crate must not use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forbidden {
    /// The package's name or the path.
    pub name: &'static str,
    /// Why, as the violation's message says it.
    pub reason: &'static str,
}

const fn forbidden(name: &'static str, reason: &'static str) -> Forbidden {
    Forbidden { name, reason }
}

/// Every crate of the project. One that is missing here fails the check, and so does one that is only here.
pub(super) const CRATES: &[Crate] = &[
    Crate {
        name: "bpf-toolchain",
        ..NO_MORE
    },
    Crate {
        name: "capaudit-common",
        ..NO_MORE
    },
    Crate {
        name: "capaudit-ebpf",
        uses: &["capaudit-common"],
        ..NO_MORE
    },
    Crate {
        name: "capaudit-core",
        uses: &[],
        forbidden_packages: SYSTEM_PACKAGES,
        forbidden_paths: SYSTEM_PATHS,
        is_pure: true,
        ..NO_MORE
    },
    Crate {
        name: "capaudit-formats",
        uses: &["capaudit-core"],
        forbidden_packages: SYSTEM_PACKAGES,
        forbidden_paths: SYSTEM_PATHS,
        is_pure: true,
        ..NO_MORE
    },
    Crate {
        name: "capaudit-tracer",
        uses: &["capaudit-common", "capaudit-core"],
        build_script_uses: &["bpf-toolchain"],
        ..NO_MORE
    },
    Crate {
        name: "capaudit-storage",
        uses: &["capaudit-core", "capaudit-formats", "capaudit-tracer"],
        ..NO_MORE
    },
    Crate {
        name: "capaudit-live",
        uses: &["capaudit-core", "capaudit-tracer"],
        ..NO_MORE
    },
    Crate {
        name: "capaudit-watch",
        uses: &[
            "capaudit-core",
            "capaudit-formats",
            "capaudit-live",
            "capaudit-storage",
            "capaudit-tracer",
        ],
        ..NO_MORE
    },
    Crate {
        name: "capaudit-daemon",
        uses: &[
            "capaudit-core",
            "capaudit-live",
            "capaudit-storage",
            "capaudit-tracer",
        ],
        ..NO_MORE
    },
    Crate {
        name: "capaudit-life",
        uses: &["capaudit-core"],
        ..NO_MORE
    },
    Crate {
        name: "capaudit-verify",
        uses: &[
            "capaudit-core",
            "capaudit-formats",
            "capaudit-life",
            "capaudit-storage",
            "capaudit-tracer",
        ],
        ..NO_MORE
    },
    Crate {
        name: "capaudit",
        uses: &[
            "capaudit-common",
            "capaudit-core",
            "capaudit-daemon",
            "capaudit-formats",
            "capaudit-live",
            "capaudit-storage",
            "capaudit-tracer",
            "capaudit-verify",
            "capaudit-watch",
        ],
        forbidden_dependencies: &[forbidden(
            "tokio",
            "the body of an async function is compiled by the crate that polls it, so it lies in another one",
        )],
        ..NO_MORE
    },
    Crate {
        name: "capaudit-bench",
        uses: &["capaudit-core", "capaudit-tracer"],
        ..NO_MORE
    },
    Crate {
        name: "capaudit-operations",
        uses: &["capaudit-core"],
        parts: &[Part {
            of: "capaudit_core",
            paths: &[
                "capaudit_core::capability::CapSet",
                "capaudit_core::capability::Capability",
            ],
            reason: "the truth must not depend on what is compared with it",
        }],
        ..NO_MORE
    },
    Crate {
        name: "xtask",
        uses: &["bpf-toolchain", "capaudit-core"],
        ..NO_MORE
    },
];

/// What reaches the system. A program that only judges or renders a saved session must not have to build it.
const SYSTEM_PACKAGES: &[Forbidden] = &[
    forbidden("aya", "loads BPF programs, which only the tracer does"),
    forbidden("aya-obj", "reads BPF objects, which only the tracer does"),
    forbidden("tokio", "pure code has nothing to wait for"),
    forbidden("mio", "pure code has no descriptors to wait for"),
    forbidden(
        "rustix",
        "makes system calls, so it ties the crate to one system",
    ),
    forbidden(
        "nix",
        "makes system calls, so it ties the crate to one system",
    ),
    forbidden(
        "libc",
        "pure code needs nothing of the C library: its users are after system calls",
    ),
    forbidden("socket2", "opens sockets"),
    forbidden("tempfile", "makes files"),
    forbidden("walkdir", "reads directories"),
];

const LINTS_OF_ROOT: &str = "only the crate's root says what clippy checks";

/// The parts of the standard library that read or change anything beyond a function's arguments, and the lints by which
/// clippy finds what reaches them without their names.
const SYSTEM_PATHS: &[Forbidden] = &[
    forbidden(
        "std::fs",
        "the caller reads and writes files, and hands text in and out",
    ),
    forbidden("std::net", "pure code opens no sockets"),
    forbidden("std::os", "what one system has ties the crate to it"),
    forbidden("clippy::all", LINTS_OF_ROOT),
    forbidden("clippy::style", LINTS_OF_ROOT),
    forbidden("clippy::disallowed_macros", LINTS_OF_ROOT),
    forbidden("clippy::disallowed_methods", LINTS_OF_ROOT),
    forbidden("clippy::disallowed_types", LINTS_OF_ROOT),
    forbidden("std::io::pipe", "pure code has no descriptors"),
    forbidden("std::io::stdin", "text comes in as an argument"),
    forbidden("std::io::stdout", "text goes out as a result"),
    forbidden("std::io::stderr", "text goes out as a result"),
    forbidden(
        "std::path::absolute",
        "results depend on arguments alone, not on the working directory",
    ),
    forbidden(
        "std::process",
        "the caller runs programs and decides the exit status",
    ),
    forbidden(
        "std::env",
        "results depend on arguments alone, so the caller reads the environment",
    ),
    forbidden(
        "std::thread",
        "the caller decides what runs at the same time",
    ),
    forbidden(
        "std::time::SystemTime",
        "the caller reads the clock, so that results can be reproduced",
    ),
    forbidden(
        "std::time::UNIX_EPOCH",
        "its methods read the clock, which the caller does",
    ),
    forbidden(
        "std::time::Instant",
        "the caller reads the clock, so that results can be reproduced",
    ),
];
