#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use capaudit_core::kernel::layers;

use super::*;

const SAMPLE: &str = r#"
/* capable(CAP_SYS_TIME) in a comment is none */
#define MAY() \
	capable(CAP_SYS_BOOT)

static bool may_mount(void)
{
	return ns_capable(current->ns, CAP_SYS_ADMIN);
}

SYSCALL_DEFINE2(mount, char *, dev, int, flags)
{
	printk("don't } capable(CAP_KILL)");
	if (!may_mount())
		return -EPERM;
	return 0;
}

static int __init prepare(struct x *x) __must_hold(&x->lock)
{
#ifdef A
	if (a) {
#else
	if (b) {
#endif
		if (!has_capability_noaudit(current, CAP_CHOWN) && capable(CAP_FOWNER))
			return -1;
	}
}

int open_it(struct inode *inode)
{
	if (!inode_owner_or_capable(idmap, inode))
		return prepare(0);
	return security_capable(cred, ns, CAP_KILL, CAP_OPT_NOAUDIT);
}

int ask(int cap) { return capable(cap); }

int asks(void) { if (ask(CAP_KILL)) return capable(CAP_KILL) ? 1 : 2; return 0; }

int knows(void) { return asks(); }
"#;

fn sample() -> Sites {
    let other = "int outside(void)\n{\n\treturn open_it(0);\n}\n";
    let files = [("fs/a.c", SAMPLE), ("fs/b.c", other)];
    find_all(
        &files.map(|(file, text)| (file.to_owned(), text.to_owned())),
        layers(),
    )
}

fn asks(function: &str, capability: &str) -> Asks {
    Asks {
        file: "fs/a.c".to_owned(),
        function: function.to_owned(),
        capability: capability.to_owned(),
    }
}

#[test]
fn functions_that_ask_are_found() {
    let found: Vec<Asks> = sample().into_keys().collect();
    let mut expected = [
        asks("may_mount", "SYS_ADMIN"),
        asks("prepare", "CHOWN"),
        asks("prepare", "FOWNER"),
        asks("open_it", "FOWNER"),
        asks("open_it", "KILL"),
        asks("ask", "?"),
        asks("asks", "KILL"),
    ];
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn it_is_told_whether_a_refusal_is_reported() {
    let sites = sample();
    let reported = |function, capability| {
        let seen = sites.get(&asks(function, capability)).unwrap();
        (seen.audit, seen.noaudit)
    };
    assert_eq!(reported("prepare", "CHOWN"), (false, true));
    assert_eq!(reported("prepare", "FOWNER"), (true, false));
    assert_eq!(reported("open_it", "KILL"), (false, true));
}

#[test]
fn a_stack_may_show_the_callers() {
    let sites = sample();
    let seen_as = |function, capability| -> Vec<&str> {
        let seen = sites.get(&asks(function, capability)).unwrap();
        seen.seen_as.iter().map(String::as_str).collect()
    };
    assert_eq!(seen_as("may_mount", "SYS_ADMIN"), ["sys_mount"], "static");
    assert_eq!(
        seen_as("prepare", "CHOWN"),
        ["open_it"],
        "static; its caller is not"
    );
    assert_eq!(
        seen_as("open_it", "KILL"),
        ["outside"],
        "it ends with the question"
    );
}

#[test]
fn what_is_out_of_scope_is_told_by_whole_names() {
    assert!(is_below("fs/ntfs/a.c", "fs/ntfs") && is_below("fs/ntfs", "fs/ntfs"));
    assert!(!is_below("fs/ntfs3/a.c", "fs/ntfs"));
}

#[test]
fn a_tree_is_read() {
    let tree = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("fs/a.c", SAMPLE),
        (
            "fs/out/b.c",
            "int f(void)\n{\n\treturn capable(CAP_KILL);\n}\n",
        ),
        ("fs/Makefile", "capable(CAP_KILL)"),
    ] {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let scope = Scope {
        within: &["fs", "net"],
        without: &["fs/out"],
    };
    let found = scan(tree.path(), &scope, layers()).unwrap();
    let files: BTreeSet<&str> = found.keys().map(|asks| asks.file.as_str()).collect();
    assert_eq!(files.into_iter().collect::<Vec<_>>(), ["fs/a.c"]);
}
