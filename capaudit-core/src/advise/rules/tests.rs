//! Each rule, with a case where it applies and one where it must not.

use super::*;
use crate::{
    advise::{AnyOf, Evidence, Judgement, Verdict, judge},
    capability::CapSet,
    ledger::{
        CheckRecord, Container, Credentials, FileOwner, Hook, Object, Outcome, Place, Sample,
        Session, SubjectRecord, UserIds,
    },
};

/// A check as most are: granted, own, of a plain program.
fn check(capability: Capability, syscall: &str, callers: &[&str]) -> CheckRecord {
    let mut record = CheckRecord::new(CheckIdentity {
        callers: callers.iter().map(|name| (*name).to_owned()).collect(),
        ..CheckIdentity::usual(capability, Some(syscall))
    });
    record.count = 1;
    record
}

fn sample(arguments: [u64; 6]) -> Sample {
    Sample {
        arguments,
        object: None,
        second: None,
        owner: None::<FileOwner>,
        ids: UserIds::default(),
        result: None,
    }
}

fn with(mut record: CheckRecord, sample: Sample) -> CheckRecord {
    record.add_sample(sample);
    record
}

fn changed(mut record: CheckRecord, change: impl FnOnce(&mut CheckRecord)) -> CheckRecord {
    change(&mut record);
    record
}

fn borrowed(mut record: CheckRecord) -> CheckRecord {
    record.identity.credentials = Credentials::Borrowed;
    record
}

fn subject(checks: Vec<CheckRecord>) -> SubjectRecord {
    SubjectRecord {
        name: "c".to_owned(),
        granted: CapSet::known(),
        checks,
        ..SubjectRecord::new(Container::default())
    }
}

fn session(exit_status: i32) -> Session {
    Session {
        kernel: "6.18.0".to_owned(),
        exit_status: Some(exit_status),
        ..Session::new(Hook::TpBtf)
    }
}

/// What is said of the first of these checks.
fn ruling(checks: Vec<CheckRecord>, exit_status: i32) -> Judgement {
    let subject = subject(checks);
    let session = session(exit_status);
    let fact = Fact {
        check: &subject.checks[0],
        subject: &subject,
        session: &session,
    };
    judge(&fact)
}

struct Case {
    rule: Rule,
    verdict: Verdict,
    check: CheckRecord,
}

fn case(rule: Rule, verdict: Verdict, check: CheckRecord) -> Case {
    Case {
        rule,
        verdict,
        check,
    }
}

/// No rule applies, so it is a need.
fn plain(check: CheckRecord) -> Case {
    Case {
        rule: Rule::AnyCheck,
        verdict: Verdict::Needed,
        check,
    }
}

fn cases() -> Vec<Case> {
    use Capability as C;
    let chown = || {
        check(
            C::CHOWN,
            "fchownat",
            &["security_capable", "setattr_prepare"],
        )
    };
    let held = CapSet::of(&[C::CHOWN, C::KILL]);
    let capset = |inheritable: CapSet| {
        let mut sample = sample([0; 6]);
        sample.object = Some(Object::Capset {
            held,
            held_inheritable: CapSet::EMPTY,
            effective: CapSet::EMPTY,
            permitted: CapSet::EMPTY,
            inheritable,
        });
        with(check(C::SETPCAP, "capset", &["cap_capset"]), sample)
    };
    let stat = |caller: &str| check(C::SYS_PTRACE, "read", &["ptrace_may_access", caller]);
    let option = |level, name| {
        with(
            check(C::NET_ADMIN, "setsockopt", &["sk_setsockopt"]),
            sample([3, level, name, 0, 0, 0]),
        )
    };
    let record = |text: &str| {
        let mut sample = sample([0; 6]);
        sample.object = Some(Object::Netlink {
            kind: 1100,
            flags: 5,
            text: text.to_owned(),
        });
        with(
            check(C::AUDIT_WRITE, "sendto", &["audit_receive_msg"]),
            sample,
        )
    };
    let read = |callers: &[&str]| check(C::DAC_READ_SEARCH, "openat", callers);
    vec![
        plain(chown()),
        case(
            Rule::Setup,
            Verdict::Noise,
            changed(chown(), |c| c.identity.requester.setup = true),
        ),
        case(
            Rule::OtherNamespace,
            Verdict::Noise,
            changed(chown(), |c| c.identity.place = Place::Inner),
        ),
        case(
            Rule::OtherNamespace,
            Verdict::Ungrantable,
            changed(chown(), |c| c.identity.place = Place::Outer),
        ),
        case(
            Rule::OtherNamespace,
            Verdict::Ungrantable,
            changed(chown(), |c| c.identity.inner_credentials = true),
        ),
        // Whoever borrows, it may be what is the program's own …
        plain(borrowed(chown())),
        // … unless overlayfs does …
        case(
            Rule::Borrowed,
            Verdict::Noise,
            borrowed(check(
                C::CHOWN,
                "openat",
                &["setattr_prepare", "notify_change", "ovl_copy_up_flags"],
            )),
        ),
        // … or the kernel itself.
        case(
            Rule::Borrowed,
            Verdict::Noise,
            borrowed(check(
                C::SYS_RESOURCE,
                "exit_group",
                &["capable", "do_acct_process"],
            )),
        ),
        // access(2) borrows to use the real ids: its checks are the program's …
        case(
            Rule::ReadByEither,
            Verdict::Needed,
            changed(
                check(
                    C::DAC_READ_SEARCH,
                    "faccessat",
                    &["generic_permission", "ovl_permission"],
                ),
                |c| c.identity.credentials = Credentials::Borrowed,
            ),
        ),
        // … unless overlayfs has borrowed once more.
        case(
            Rule::Borrowed,
            Verdict::Noise,
            changed(
                check(
                    C::SYS_ADMIN,
                    "access",
                    &["xattr_permission", "vfs_getxattr", "ovl_lookup"],
                ),
                |c| c.identity.credentials = Credentials::Borrowed,
            ),
        ),
        plain(changed(chown(), |c| {
            c.identity.credentials = Credentials::Foreign
        })),
        case(
            Rule::MemoryReserve,
            Verdict::Noise,
            check(
                C::SYS_ADMIN,
                "mmap",
                &["security_vm_enough_memory_mm", "mmap_region"],
            ),
        ),
        plain(check(
            C::SYS_ADMIN,
            "mount",
            &["security_capable", "ns_capable", "may_mount"],
        )),
        case(Rule::PtraceRead, Verdict::Needed, stat("proc_mem_open")),
        plain(check(
            C::SYS_PTRACE,
            "ptrace",
            &["ptrace_may_access", "ptrace_attach"],
        )),
        plain(check(C::IPC_LOCK, "mlockall", &["can_do_mlock"])),
        plain(check(
            C::SYS_RESOURCE,
            "prlimit64",
            &["capable", "do_prlimit"],
        )),
        plain(check(C::SYS_ADMIN, "setxattr", &["xattr_permission"])),
        case(
            Rule::ChmodKeepsSetgid,
            Verdict::Noise,
            with(
                check(C::FSETID, "fchmodat", &["setattr_prepare"]),
                sample([0, 0, 0o755, 0, 0, 0]),
            ),
        ),
        case(
            Rule::CallSite,
            Verdict::Needed,
            with(
                check(C::FSETID, "fchmodat", &["setattr_prepare"]),
                sample([0, 0, 0o2755, 0, 0, 0]),
            ),
        ),
        // Without a sample it cannot be told, so it stays a need.
        case(
            Rule::CallSite,
            Verdict::Needed,
            check(C::FSETID, "fchmodat", &["setattr_prepare"]),
        ),
        case(
            Rule::SetuidToSelf,
            Verdict::Noise,
            with(
                check(C::SETUID, "setuid", &["__sys_setuid"]),
                sample([0; 6]),
            ),
        ),
        plain(with(
            check(C::SETUID, "setuid", &["__sys_setuid"]),
            sample([33, 0, 0, 0, 0, 0]),
        )),
        plain(with(
            check(C::SETUID, "setuid", &["__sys_setuid"]),
            changed_sample(sample([0; 6]), |s| s.ids.euid = 33),
        )),
        case(
            Rule::CapsetInheritable,
            Verdict::Noise,
            capset(CapSet::EMPTY),
        ),
        case(Rule::CapsetInheritable, Verdict::Noise, capset(held)),
        plain(capset(CapSet::of(&[C::SYS_ADMIN]))),
        plain(check(
            C::NET_ADMIN,
            "sendmsg",
            &["netlink_net_capable", "rtnetlink_rcv_msg"],
        )),
        case(
            Rule::Sysctl,
            Verdict::Noise,
            with(
                check(C::NET_ADMIN, "openat", &["net_ctl_permissions"]),
                changed_sample(sample([0; 6]), |s| s.ids.fsuid = 33),
            ),
        ),
        plain(with(
            check(C::NET_ADMIN, "openat", &["net_ctl_permissions"]),
            changed_sample(sample([0, 0, 1, 0, 0, 0]), |s| s.ids.fsuid = 33),
        )),
        plain(check(C::SYS_MODULE, "finit_module", &["may_init_module"])),
        case(
            Rule::ReadByEither,
            Verdict::Needed,
            read(&["generic_permission"]),
        ),
        plain(check(
            C::DAC_READ_SEARCH,
            "open_by_handle_at",
            &["do_handle_open"],
        )),
        case(
            Rule::Probe,
            Verdict::Needed,
            check(C::FOWNER, "openat", &["inode_owner_or_capable", "may_open"]),
        ),
        plain(check(
            C::FOWNER,
            "fchmod",
            &["inode_owner_or_capable", "setattr_prepare"],
        )),
        case(Rule::MarkAndTransparent, Verdict::Needed, option(1, 36)),
        case(Rule::ForcedBuffer, Verdict::Needed, option(1, 33)),
        case(Rule::Congestion, Verdict::Needed, option(6, 13)),
        plain(option(0, 35)),
        case(
            Rule::ThreadProbe,
            Verdict::Noise,
            with(check(C::KILL, "tkill", &[]), sample([7, 0, 0, 0, 0, 0])),
        ),
        case(
            Rule::Continues,
            Verdict::Needed,
            with(
                check(C::KILL, "tgkill", &["kill_ok_by_cred"]),
                sample([7, 7, 18, 0, 0, 0]),
            ),
        ),
        case(
            Rule::LocksAgain,
            Verdict::Needed,
            check(C::IPC_LOCK, "mlock", &["capable", "do_mlock"]),
        ),
        plain(check(
            C::IPC_LOCK,
            "mlock",
            &["capable", "can_do_mlock", "do_mlock"],
        )),
        case(
            Rule::PipeBuffers,
            Verdict::Needed,
            check(
                C::SYS_ADMIN,
                "pipe2",
                &["capable", "pipe_is_unprivileged_user", "alloc_pipe_info"],
            ),
        ),
        case(
            Rule::CallSite,
            Verdict::Needed,
            check(
                C::SYS_RESOURCE,
                "fcntl",
                &["capable", "pipe_is_unprivileged_user", "pipe_set_size"],
            ),
        ),
        plain(with(
            check(C::KILL, "tkill", &[]),
            sample([7, 15, 0, 0, 0, 0]),
        )),
        plain(with(
            check(C::KILL, "kill", &[]),
            sample([7, 0, 0, 0, 0, 0]),
        )),
        case(
            Rule::SecureBitsOfEverybody,
            Verdict::Needed,
            with(
                check(C::SETPCAP, "prctl", &["cap_task_prctl"]),
                sample([28, 1 << 8, 0, 0, 0, 0]),
            ),
        ),
        plain(with(
            check(C::SETPCAP, "prctl", &["cap_task_prctl"]),
            sample([28, 1 << 8 | 1, 0, 0, 0, 0]),
        )),
        plain(with(
            check(C::SETPCAP, "prctl", &["cap_task_prctl"]),
            sample([28, 0, 0, 0, 0, 0]),
        )),
        case(
            Rule::AuditRecordOfRecentPam,
            Verdict::Noise,
            record("op=PAM:setcred grantors=pam_permit acct="),
        ),
        case(
            Rule::AuditRecordOfPam,
            Verdict::Needed,
            record("op=PAM:authentication acct="),
        ),
        case(Rule::AuditRecord, Verdict::Needed, record("op=login acct=")),
        case(
            Rule::AuditRecord,
            Verdict::Needed,
            check(C::AUDIT_WRITE, "sendto", &["audit_receive_msg"]),
        ),
        // Of its own segment anybody locks, as far as the limit goes.
        case(
            Rule::CallSite,
            Verdict::Needed,
            check(C::IPC_LOCK, "shmctl", &["ns_capable", "shmctl_do_lock"]),
        ),
        plain(check(C::IPC_LOCK, "mlock", &["capable", "can_do_mlock"])),
    ]
}

fn changed_sample(mut sample: Sample, change: impl FnOnce(&mut Sample)) -> Sample {
    change(&mut sample);
    sample
}

fn owned(mut sample: Sample, mode: u32) -> Sample {
    sample.owner = Some(FileOwner {
        uid: 1001,
        gid: 1001,
        mode,
    });
    sample
}

/// What the table of call sites decides, and what rules on arguments and limits make of its undecided rows.
fn site_cases() -> Vec<Case> {
    use Capability as C;
    let harmless = |capability, syscall, callers: &[&str]| {
        case(
            Rule::Harmless,
            Verdict::Noise,
            check(capability, syscall, callers),
        )
    };
    let hidden = |capability, syscall, callers: &[&str]| {
        case(
            Rule::Hidden,
            Verdict::Noise,
            check(capability, syscall, callers),
        )
    };
    let by_table = |capability, syscall, callers: &[&str]| {
        case(
            Rule::CallSite,
            Verdict::Needed,
            check(capability, syscall, callers),
        )
    };
    let touch = |mode| {
        with(
            check(
                C::FOWNER,
                "utimensat",
                &["inode_owner_or_capable", "may_setattr", "notify_change"],
            ),
            owned(sample([0; 6]), mode),
        )
    };
    let acl = |mode| {
        with(
            check(
                C::FSETID,
                "setxattr",
                &["in_group_or_capable", "posix_acl_update_mode"],
            ),
            owned(sample([0; 6]), mode),
        )
    };
    let queue = |attributes| {
        with(
            check(C::SYS_RESOURCE, "mq_open", &["capable", "mqueue_get_inode"]),
            sample([0, 0x40, 0o600, attributes, 0, 0]),
        )
    };
    let fanotify = |flags| {
        with(
            check(
                C::SYS_ADMIN,
                "fanotify_init",
                &["capable", "__do_sys_fanotify_init"],
            ),
            sample([flags, 0, 0, 0, 0, 0]),
        )
    };
    let perf = |pid, callers: &[&str]| {
        with(
            check(C::PERFMON, "perf_event_open", callers),
            sample([0, pid, 0, 0, 0, 0]),
        )
    };
    vec![
        hidden(
            C::SYS_PTRACE,
            "read",
            &["ptrace_may_access", "do_task_stat"],
        ),
        hidden(C::BLOCK_SUSPEND, "epoll_ctl", &["capable", "do_epoll_ctl"]),
        hidden(
            C::SYS_ADMIN,
            "listxattr",
            &["ns_capable_noaudit", "simple_xattr_list"],
        ),
        hidden(
            C::NET_ADMIN,
            "sendto",
            &["netlink_net_capable", "inet_diag_dump_icsk"],
        ),
        harmless(C::SYS_MODULE, "ioctl", &["capable", "dev_load"]),
        harmless(
            C::SYS_ADMIN,
            "setsockopt",
            &["ns_capable_noaudit", "do_jit"],
        ),
        harmless(
            C::FOWNER,
            "fchmod",
            &["has_capability_noaudit", "xfs_setattr_nonsize"],
        ),
        hidden(C::FSETID, "write", &["capable", "fuse_send_write_pages"]),
        harmless(
            C::NET_ADMIN,
            "socket",
            &["ns_capable_noaudit", "__vsock_create.isra.0"],
        ),
        harmless(
            C::SYS_RESOURCE,
            "write",
            &["has_capability_noaudit", "__set_oom_adj"],
        ),
        plain(check(
            C::SYS_RESOURCE,
            "write",
            &["capable", "__set_oom_adj"],
        )),
        // `ss -K` lies below socket diagnostics and is refused without.
        plain(check(
            C::NET_ADMIN,
            "sendto",
            &["netlink_net_capable", "sock_diag_destroy"],
        )),
        // hidepid= refuses the whole directory.
        plain(check(
            C::SYS_PTRACE,
            "openat",
            &["ptrace_may_access", "proc_pid_permission"],
        )),
        by_table(C::PERFMON, "bpf", &["bpf_check"]),
        by_table(
            C::IPC_LOCK,
            "sendmsg",
            &["capable", "mm_account_pinned_pages"],
        ),
        by_table(C::IPC_LOCK, "mmap", &["capable", "do_mmap"]),
        by_table(
            C::IPC_LOCK,
            "io_uring_setup",
            &["capable", "io_uring_create"],
        ),
        by_table(
            C::SYS_RESOURCE,
            "write",
            &["capable", "ext4_has_free_clusters"],
        ),
        by_table(C::SYS_RESOURCE, "write", &["capable", "ignore_hardlimit"]),
        by_table(
            C::SYS_NICE,
            "migrate_pages",
            &["capable", "kernel_migrate_pages"],
        ),
        by_table(
            C::FOWNER,
            "mincore",
            &["inode_owner_or_capable", "do_mincore"],
        ),
        by_table(C::SYS_ADMIN, "read", &["file_ns_capable", "pagemap_read"]),
        by_table(C::SYS_ADMIN, "read", &["file_ns_capable", "r_show"]),
        by_table(
            C::SYS_ADMIN,
            "pread64",
            &["file_ns_capable", "pci_read_config"],
        ),
        by_table(C::SYS_RAWIO, "ioctl", &["capable", "scsi_cmd_allowed"]),
        by_table(C::SYS_ADMIN, "ioprio_set", &["capable", "ioprio_check_cap"]),
        by_table(C::SYS_RESOURCE, "clone", &["capable", "copy_process"]),
        by_table(C::BPF, "bpf", &["bpf_token_capable", "bpf_prog_load"]),
        // By the number of an object, SYS_ADMIN alone will do.
        plain(check(
            C::SYS_ADMIN,
            "bpf",
            &["capable", "bpf_prog_get_fd_by_id"],
        )),
        // linkat with an empty path: DAC_READ_SEARCH alone.
        plain(check(
            C::DAC_READ_SEARCH,
            "linkat",
            &["ns_capable", "path_init", "path_lookupat"],
        )),
        // A 32-bit program's open(2).
        plain(with(
            check(C::NET_ADMIN, "fstat", &["net_ctl_permissions"]),
            sample([0; 6]),
        )),
        case(
            Rule::UnknownSite,
            Verdict::Needed,
            check(C::SYS_ADMIN, "ioctl", &["capable", "new_function"]),
        ),
        case(Rule::TouchWritable, Verdict::Noise, touch(0o100_666)),
        case(Rule::OwnerOrWriter, Verdict::Needed, touch(0o100_644)),
        // A group that it may be in is kept out.
        case(Rule::OwnerOrWriter, Verdict::Needed, touch(0o100_606)),
        case(
            Rule::OwnerOrWriter,
            Verdict::Needed,
            check(
                C::DAC_OVERRIDE,
                "link",
                &[
                    "capable_wrt_inode_uidgid",
                    "generic_permission",
                    "inode_permission",
                    "may_linkat",
                ],
            ),
        ),
        case(
            Rule::ReadByEither,
            Verdict::Needed,
            check(
                C::DAC_OVERRIDE,
                "link",
                &[
                    "capable_wrt_inode_uidgid",
                    "generic_permission",
                    "inode_permission",
                    "vfs_link",
                    "do_linkat",
                ],
            ),
        ),
        case(
            Rule::DeviceModule,
            Verdict::Noise,
            with(
                check(C::NET_ADMIN, "ioctl", &["capable", "dev_ioctl"]),
                sample([3, 0x8913, 0, 0, 0, 0]),
            ),
        ),
        plain(with(
            check(C::NET_ADMIN, "ioctl", &["ns_capable", "dev_ioctl"]),
            sample([3, 0x8914, 0, 0, 0, 0]),
        )),
        case(
            Rule::ChmodKeepsSetgid,
            Verdict::Noise,
            check(
                C::FSETID,
                "chown",
                &["capable_wrt_inode_uidgid", "setattr_copy"],
            ),
        ),
        // A sysctl for its owner only, read by another user.
        plain(with(
            check(
                C::NET_ADMIN,
                "read",
                &[
                    "net_ctl_permissions",
                    "sysctl_perm",
                    "proc_sys_call_handler",
                ],
            ),
            changed_sample(owned(sample([0; 6]), 0o100_600), |s| s.ids.fsuid = 33),
        )),
        case(
            Rule::Sysctl,
            Verdict::Noise,
            with(
                check(
                    C::NET_ADMIN,
                    "read",
                    &[
                        "net_ctl_permissions",
                        "sysctl_perm",
                        "proc_sys_call_handler",
                    ],
                ),
                changed_sample(owned(sample([0; 6]), 0o100_644), |s| s.ids.fsuid = 33),
            ),
        ),
        case(Rule::NoBitToLose, Verdict::Noise, acl(0o100_755)),
        case(Rule::CallSite, Verdict::Needed, acl(0o102_755)),
        case(Rule::DefaultQueue, Verdict::Noise, queue(0)),
        case(Rule::DefaultQueue, Verdict::Needed, queue(0x7fff_0000)),
        case(Rule::PlainFanotify, Verdict::Needed, fanotify(0x200)),
        plain(fanotify(0)),
        plain(fanotify(0x200 | 0x10)),
        case(
            Rule::PerfOfOneself,
            Verdict::Needed,
            perf(0, &["capable", "__do_sys_perf_event_open"]),
        ),
        case(
            Rule::CallSite,
            Verdict::Needed,
            perf(0, &["perf_allow_kernel", "__do_sys_perf_event_open"]),
        ),
        case(
            Rule::CallSite,
            Verdict::Needed,
            perf(7, &["capable", "perf_check_permission"]),
        ),
    ]
}

#[test]
fn the_table_says_what_refusal_does() {
    for case in site_cases() {
        let judgement = ruling(vec![case.check.clone()], 0);
        let identity = &case.check.identity;
        assert_eq!(judgement.rule, case.rule, "{identity:#?}");
        assert_eq!(judgement.verdict(), case.verdict, "{identity:#?}");
    }
}

/// What a kernel of a release makes of a check, after others.
fn on_release(release: &str, checks: Vec<CheckRecord>) -> Judgement {
    let subject = subject(checks);
    let session = Session {
        kernel: release.to_owned(),
        ..session(0)
    };
    judge(&Fact {
        check: &subject.checks[0],
        subject: &subject,
        session: &session,
    })
}

#[test]
fn the_other_one_does_only_where_it_is_asked_for() {
    use Capability as C;
    let mark = || {
        let option = sample([3, 1, 36, 0, 0, 0]);
        with(
            check(
                C::NET_ADMIN,
                "setsockopt",
                &["sockopt_ns_capable", "sk_setsockopt"],
            ),
            option,
        )
    };
    let either = Some(AnyOf::either(C::NET_RAW, C::NET_ADMIN));
    assert_eq!(on_release("6.1.0", vec![mark()]).satisfied_by(), either);
    assert_eq!(
        on_release("5.15.0", vec![mark()]).satisfied_by(),
        Some(C::NET_ADMIN.into())
    );
    let refused = changed(mark(), |c| {
        c.identity.capability = C::NET_RAW;
        c.identity.outcome = Outcome::Denied;
    });
    assert_eq!(
        on_release("5.15.0", vec![mark(), refused]).satisfied_by(),
        either
    );

    let priority = || check(C::SYS_ADMIN, "ioprio_set", &["capable", "ioprio_check_cap"]);
    let either = Some(AnyOf::either(C::SYS_NICE, C::SYS_ADMIN));
    assert_eq!(
        on_release("6.18.0", vec![priority()]).satisfied_by(),
        either
    );
    assert_eq!(
        on_release("5.10.0", vec![priority()]).satisfied_by(),
        Some(C::SYS_ADMIN.into())
    );
}

#[test]
fn a_narrower_one_refused_elsewhere_does_not_stand_for_sys_admin() {
    use Capability as C;
    let refused = changed(check(C::BPF, "bpf", &["bpf_capable", "__sys_bpf"]), |c| {
        c.identity.outcome = Outcome::Denied;
    });
    let by_id = check(C::SYS_ADMIN, "bpf", &["capable", "bpf_map_get_fd_by_id"]);
    assert_eq!(
        ruling(vec![by_id, refused], 0).satisfied_by(),
        Some(C::SYS_ADMIN.into())
    );
}

#[test]
fn what_only_degrades_says_what_is_lost() {
    let pagemap = check(
        Capability::SYS_ADMIN,
        "read",
        &["file_ns_capable", "pagemap_read"],
    );
    let judgement = ruling(vec![pagemap], 0);
    assert_eq!(judgement.evidence(), Evidence::Possible);
    assert!(
        judgement.reason().contains("page frame numbers"),
        "{}",
        judgement.reason()
    );
}

#[test]
fn every_rule_applies_where_it_should_and_only_there() {
    for case in cases() {
        let judgement = ruling(vec![case.check.clone()], 0);
        let identity = &case.check.identity;
        assert_eq!(judgement.rule, case.rule, "{identity:#?}");
        assert_eq!(judgement.verdict(), case.verdict, "{identity:#?}");
        assert!(!judgement.reason().is_empty());
    }
}

#[test]
fn every_rule_has_a_case() {
    let mut covered: Vec<Rule> = cases().iter().map(|case| case.rule).collect();
    covered.extend(site_cases().iter().map(|case| case.rule));
    covered.extend([
        Rule::Refused,
        Rule::Search,
        Rule::AfterRefusedMount,
        Rule::SplitFromSysAdmin,
    ]); // below: they depend on more than the check
    for Definition { rule, .. } in CHECK_RULES {
        assert!(covered.contains(rule), "{rule:?} has no case");
    }
}

#[test]
fn no_rule_is_defined_twice() {
    let mut rules: Vec<Rule> = CHECK_RULES.iter().map(|known| known.rule).collect();
    while let Some(rule) = rules.pop() {
        assert!(!rules.contains(&rule), "{rule:?} is defined twice");
    }
}

fn refused(succeeded: u64, failed: u64) -> CheckRecord {
    changed(
        check(Capability::SYS_RESOURCE, "prlimit64", &["do_prlimit"]),
        |c| {
            c.identity.outcome = Outcome::Denied;
            c.succeeded = succeeded;
            c.failed = failed;
        },
    )
}

#[test]
fn a_refusal_matters_only_if_call_and_run_failed() {
    assert_eq!(ruling(vec![refused(1, 0)], 1).verdict(), Verdict::Tolerated);
    assert_eq!(ruling(vec![refused(0, 1)], 0).verdict(), Verdict::Tolerated);
    let judgement = ruling(vec![refused(0, 1)], 1);
    assert_eq!(judgement.rule, Rule::Refused);
    assert_eq!(judgement.verdict(), Verdict::Needed);
    assert_eq!(judgement.evidence(), Evidence::Possible);
}

#[test]
fn dac_override_that_was_asked_second_may_be_the_lesser_one() {
    let callers = ["generic_permission", "inode_permission"];
    let first = changed(
        check(Capability::DAC_READ_SEARCH, "openat", &callers),
        |c| {
            c.identity.outcome = Outcome::Denied;
        },
    );
    let second = check(Capability::DAC_OVERRIDE, "openat", &callers);
    let either = AnyOf::either(Capability::DAC_READ_SEARCH, Capability::DAC_OVERRIDE);
    let judgement = ruling(vec![second.clone(), first.clone()], 0);
    assert_eq!(judgement.satisfied_by(), Some(either));
    // Asked more often than the other was refused: some of it was for writing.
    let more = changed(second, |c| c.count = 2);
    let judgement = ruling(vec![more, first], 0);
    assert_eq!(
        judgement.satisfied_by(),
        Some(Capability::DAC_OVERRIDE.into())
    );
}

#[test]
fn sys_admin_that_was_asked_second_may_be_the_lesser_one() {
    let first = changed(check(Capability::BPF, "bpf", &["bpf_capable"]), |c| {
        c.identity.outcome = Outcome::Denied;
    });
    let second = check(Capability::SYS_ADMIN, "bpf", &["bpf_capable"]);
    let judgement = ruling(vec![second, first], 0);
    assert_eq!(judgement.rule, Rule::SplitFromSysAdmin);
    let either = AnyOf::either(Capability::BPF, Capability::SYS_ADMIN);
    assert_eq!(judgement.satisfied_by(), Some(either));
}

/// What becomes of a check by a subject that also made these.
fn beside(checks: Vec<CheckRecord>) -> (Rule, Verdict, Evidence) {
    let judgement = ruling(checks, 0);
    (judgement.rule, judgement.verdict(), judgement.evidence())
}

#[test]
fn an_overlay_of_the_programs_own_borrows_from_the_program() {
    let copies_up = || {
        borrowed(check(
            Capability::CHOWN,
            "openat",
            &["setattr_prepare", "notify_change", "ovl_copy_up_flags"],
        ))
    };
    let mounted = |kind: &str| {
        let mut sample = sample([0; 6]);
        sample.second = Some(kind.to_owned());
        with(
            check(Capability::SYS_ADMIN, "mount", &["path_mount"]),
            sample,
        )
    };
    let opened = |kind: &str| {
        let mut sample = sample([0; 6]);
        sample.object = Some(Object::Path(kind.to_owned()));
        with(
            check(Capability::SYS_ADMIN, "fsopen", &["__x64_sys_fsopen"]),
            sample,
        )
    };
    let noise = (Rule::Borrowed, Verdict::Noise, Evidence::Decisive);
    let possible = (Rule::AnyCheck, Verdict::Needed, Evidence::Possible);
    for (other, expected) in [
        (mounted("tmpfs"), noise),
        (mounted("overlay"), possible),
        (opened("tmpfs"), noise),
        (opened("overlay"), possible),
        (
            check(Capability::SYS_ADMIN, "mount", &["path_mount"]),
            possible,
        ),
        (
            changed(mounted("overlay"), |c| c.identity.requester.setup = true),
            noise,
        ),
    ] {
        assert_eq!(
            beside(vec![copies_up(), other.clone()]),
            expected,
            "{other:#?}"
        );
    }
}

#[test]
fn what_failed_although_it_was_granted_is_only_possible() {
    let locks = |count, succeeded, failed, errno| {
        changed(check(Capability::IPC_LOCK, "shmget", &["capable"]), |c| {
            (c.count, c.succeeded, c.failed, c.errno) = (count, succeeded, failed, errno);
        })
    };
    let evidence = |check| ruling(vec![check], 0).evidence();
    assert_eq!(evidence(locks(1, 0, 1, 12)), Evidence::Possible);
    for (check, why) in [
        (locks(1, 1, 0, 0), "it succeeded"),
        (locks(2, 1, 1, 12), "one succeeded"),
        (locks(2, 0, 1, 12), "of one nothing is known"),
        (locks(1, 0, 0, 0), "nothing is known"),
        (locks(1, 0, 1, 115), "it goes on in the background"),
    ] {
        assert_eq!(evidence(check), Evidence::Decisive, "{why}");
    }
    let refused = ruling(vec![locks(1, 0, 1, 1)], 0);
    assert!(
        refused.reason().contains("EPERM): another security module"),
        "{}",
        refused.reason()
    );
}

#[test]
fn what_is_asked_of_others_is_only_possible() {
    let foreign = changed(
        check(Capability::NET_ADMIN, "sendto", &["file_ns_capable"]),
        |c| {
            c.identity.credentials = Credentials::Foreign;
        },
    );
    assert_eq!(ruling(vec![foreign], 0).evidence(), Evidence::Possible);
}

#[test]
fn a_namespace_that_another_user_made_takes_the_capability_here() {
    let kill = changed(check(Capability::KILL, "kill", &["kill_ok_by_cred"]), |c| {
        c.identity.place = Place::InnerOfOthers;
    });
    let judgement = ruling(vec![kill], 0);
    assert_eq!(judgement.satisfied_by(), Some(Capability::KILL.into()));
    assert_eq!(judgement.evidence(), Evidence::Decisive);
    assert!(judgement.reason().contains("another user made"));
}

#[test]
fn where_capaudit_looked_for_the_command_nothing_was_needed() {
    let searched = |exe: &str, failed| {
        changed(
            check(
                Capability::DAC_READ_SEARCH,
                "execve",
                &["generic_permission", "link_path_walk"],
            ),
            |c| {
                c.identity.requester.exe = exe.to_owned();
                (c.succeeded, c.failed, c.errno) = (1 - failed, failed, 2);
            },
        )
    };
    let of_command = |check: CheckRecord| {
        let subject = SubjectRecord {
            checks: vec![check],
            ..SubjectRecord::new(crate::ledger::Subject::Command)
        };
        let session = session(0);
        judge(&Fact {
            check: &subject.checks[0],
            subject: &subject,
            session: &session,
        })
        .rule
    };
    assert_eq!(of_command(searched("", 1)), Rule::Search);
    assert_eq!(
        of_command(searched("", 0)),
        Rule::ReadByEither,
        "it was there"
    );
    assert_eq!(of_command(searched("/bin/sh", 1)), Rule::ReadByEither);
    assert_eq!(ruling(vec![searched("", 1)], 0).rule, Rule::ReadByEither);
}

#[test]
fn a_buffer_that_was_asked_for_without_force_before_is_good_enough() {
    let forced = |option| {
        with(
            check(Capability::NET_ADMIN, "setsockopt", &["sk_setsockopt"]),
            sample([3, 1, option, 0, 0, 0]),
        )
    };
    let verdict = |check: CheckRecord, option: u64| {
        let mut subject = subject(vec![check]);
        subject.calls.push(crate::ledger::CallRecord {
            requester: subject.checks[0].identity.requester.clone(),
            arguments: [3, 1, option, 0, 0, 0],
            ..crate::ledger::CallRecord::sample("setsockopt")
        });
        let session = session(0);
        judge(&Fact {
            check: &subject.checks[0],
            subject: &subject,
            session: &session,
        })
        .verdict()
    };
    const SNDBUF: u64 = 7;
    const RCVBUF: u64 = 8;
    assert_eq!(verdict(forced(32), SNDBUF), Verdict::Tolerated);
    assert_eq!(verdict(forced(33), RCVBUF), Verdict::Tolerated);
    assert_eq!(
        verdict(forced(32), RCVBUF),
        Verdict::Needed,
        "the other direction"
    );
    assert_eq!(verdict(forced(33), 2), Verdict::Needed);
}

/// A check that was counted this often, of which these were seen.
fn counted(count: u64, record: CheckRecord) -> CheckRecord {
    changed(record, |c| c.count = count)
}

#[test]
fn what_is_harmless_as_far_as_it_was_seen_is_a_need_that_may_be_none() {
    use Capability as C;
    let mut seen_closely: Vec<Rule> = Vec::new();
    for case in cases().into_iter().chain(site_cases()) {
        let many = counted(1000, case.check.clone());
        let judgement = ruling(vec![many], 0);
        let one = ruling(vec![case.check.clone()], 0);
        if matches!(
            case.rule,
            Rule::DefaultQueue
                | Rule::NoBitToLose
                | Rule::TouchWritable
                | Rule::SetuidToSelf
                | Rule::CapsetInheritable
                | Rule::AuditRecordOfRecentPam
        ) && one.verdict() == Verdict::Noise
        {
            if !seen_closely.contains(&case.rule) {
                seen_closely.push(case.rule);
            }
            assert_eq!(judgement.verdict(), Verdict::Needed, "{:?}", case.rule);
            assert_eq!(judgement.evidence(), Evidence::Possible, "{:?}", case.rule);
        }
    }
    assert_eq!(seen_closely.len(), 6, "{seen_closely:?}");
    let read = with(
        check(
            C::NET_ADMIN,
            "read",
            &["net_ctl_permissions", "sysctl_perm"],
        ),
        changed_sample(sample([0; 6]), |s| {
            s.ids.fsuid = 1000;
            s.owner = Some(FileOwner {
                uid: 0,
                gid: 0,
                mode: 0o100_644,
            });
        }),
    );
    assert_eq!(ruling(vec![read.clone()], 0).verdict(), Verdict::Noise);
    let many = ruling(vec![counted(13, read)], 0);
    assert_eq!(many.evidence(), Evidence::Possible);
    assert!(many.reason().contains("of 13 checks"), "{}", many.reason());
}

#[test]
fn an_argument_that_all_checks_of_a_record_share_is_known_of_all() {
    use Capability as C;
    let chmod = with(
        check(
            C::FSETID,
            "fchmodat",
            &["capable_wrt_inode_uidgid", "setattr_prepare"],
        ),
        sample([0, 0, 0o644, 0, 0, 0]),
    );
    let many = ruling(vec![counted(1000, chmod)], 0);
    assert_eq!(many.verdict(), Verdict::Noise);
}

#[test]
fn a_need_that_a_sample_shows_is_sure_however_many_there_were() {
    use Capability as C;
    let setuid = with(
        check(C::SETUID, "setuid", &["__sys_setuid"]),
        sample([33, 0, 0, 0, 0, 0]),
    );
    let many = ruling(vec![counted(1000, setuid)], 0);
    assert_eq!(many.evidence(), Evidence::Decisive);
}
