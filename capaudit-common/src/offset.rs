//! The kernel structure fields that the BPF programs read.
//!
//! rustc emits no CO-RE relocations, so each field's offset is a global of the BPF object, which user space
//! fills in from the running kernel's BTF before loading.

/// Offset of a field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// A number of no helper, called where `bpf_rdonly_cast` is to be: user space replaces these calls.
pub const CAST_CALL: u32 = 0x6361_7374;

/// Calls the macro `$with` with every field: `NAME, "symbol", "structure", "path", need;`.
///
/// Alternatives, for fields that were renamed, are separated by `|`; `need` is `required` or `optional`. Behind a path, `:bit`
/// asks for the position of a bit field, in bits from the structure's start.
#[macro_export]
macro_rules! for_each_offset {
    ($with:ident) => {
        $with! {
            TASK_CRED, "OFFSET_TASK_CRED", "task_struct", "cred", required;
            TASK_REAL_CRED, "OFFSET_TASK_REAL_CRED", "task_struct", "real_cred", required;
            TASK_TGID, "OFFSET_TASK_TGID", "task_struct", "tgid", required;
            TASK_PID, "OFFSET_TASK_PID", "task_struct", "pid", required;
            TASK_FLAGS, "OFFSET_TASK_FLAGS", "task_struct", "flags", required;
            TASK_COMM, "OFFSET_TASK_COMM", "task_struct", "comm", required;
            TASK_SIGNAL, "OFFSET_TASK_SIGNAL", "task_struct", "signal", required;
            TASK_NSPROXY, "OFFSET_TASK_NSPROXY", "task_struct", "nsproxy", required;
            TASK_CGROUPS, "OFFSET_TASK_CGROUPS", "task_struct", "cgroups", optional;
            TASK_FILES, "OFFSET_TASK_FILES", "task_struct", "files", required;
            TASK_EXIT_CODE, "OFFSET_TASK_EXIT_CODE", "task_struct", "exit_code", required;
            TASK_SECCOMP, "OFFSET_TASK_SECCOMP", "task_struct", "seccomp.mode", optional;
            TASK_THREAD_PID, "OFFSET_TASK_THREAD_PID", "task_struct", "thread_pid", optional;
            TASK_PID_LINKS, "OFFSET_TASK_PID_LINKS", "task_struct", "pid_links", optional;
            TASK_FS, "OFFSET_TASK_FS", "task_struct", "fs", optional;
            TASK_STATUS, "OFFSET_TASK_STATUS", "task_struct", "thread_info.status", optional;
            SIGNAL_LIVE, "OFFSET_SIGNAL_LIVE", "signal_struct", "live", required;
            CRED_USER_NS, "OFFSET_CRED_USER_NS", "cred", "user_ns", required;
            CRED_EUID, "OFFSET_CRED_EUID", "cred", "euid", required;
            CRED_UID, "OFFSET_CRED_UID", "cred", "uid", required;
            CRED_INHERITABLE, "OFFSET_CRED_INHERITABLE", "cred", "cap_inheritable", required;
            CRED_PERMITTED, "OFFSET_CRED_PERMITTED", "cred", "cap_permitted", required;
            CRED_EFFECTIVE, "OFFSET_CRED_EFFECTIVE", "cred", "cap_effective", required;
            CRED_BOUNDING, "OFFSET_CRED_BOUNDING", "cred", "cap_bset", required;
            CRED_AMBIENT, "OFFSET_CRED_AMBIENT", "cred", "cap_ambient", required;
            USER_NS_INUM, "OFFSET_USER_NS_INUM", "user_namespace", "ns.inum", required;
            USER_NS_LEVEL, "OFFSET_USER_NS_LEVEL", "user_namespace", "level", required;
            USER_NS_PARENT, "OFFSET_USER_NS_PARENT", "user_namespace", "parent", required;
            USER_NS_OWNER, "OFFSET_USER_NS_OWNER", "user_namespace", "owner", required;
            NSPROXY_MNT, "OFFSET_NSPROXY_MNT", "nsproxy", "mnt_ns", required;
            NSPROXY_PID, "OFFSET_NSPROXY_PID", "nsproxy", "pid_ns_for_children", required;
            MNT_NS_INUM, "OFFSET_MNT_NS_INUM", "mnt_namespace", "ns.inum", required;
            PID_NS_INUM, "OFFSET_PID_NS_INUM", "pid_namespace", "ns.inum", required;
            PID_NS_ENTRIES, "OFFSET_PID_NS_ENTRIES", "pid_namespace", "idr.idr_rt.xa_head", optional;
            XA_NODE_SHIFT, "OFFSET_XA_NODE_SHIFT", "xa_node", "shift", optional;
            XA_NODE_SLOTS, "OFFSET_XA_NODE_SLOTS", "xa_node", "slots", optional;
            PID_LEVEL, "OFFSET_PID_LEVEL", "pid", "level", optional;
            PID_TASKS, "OFFSET_PID_TASKS", "pid", "tasks", optional;
            PID_NUMBERS, "OFFSET_PID_NUMBERS", "pid", "numbers", optional;
            UPID_NS, "OFFSET_UPID_NS", "upid", "ns", optional;
            PROC_INODE_PID, "OFFSET_PROC_INODE_PID", "proc_inode", "pid", optional;
            PROC_INODE_VFS, "OFFSET_PROC_INODE_VFS", "proc_inode", "vfs_inode", optional;
            CSS_SET_DEFAULT, "OFFSET_CSS_SET_DEFAULT", "css_set", "dfl_cgrp", optional;
            CSS_SET_SUBSYS, "OFFSET_CSS_SET_SUBSYS", "css_set", "subsys", optional;
            CSS_CGROUP, "OFFSET_CSS_CGROUP", "cgroup_subsys_state", "cgroup", optional;
            CGROUP_NODE, "OFFSET_CGROUP_NODE", "cgroup", "kn", optional;
            NODE_NAME, "OFFSET_NODE_NAME", "kernfs_node", "name", optional;
            NODE_PARENT, "OFFSET_NODE_PARENT", "kernfs_node", "__parent|parent", optional;
            BPRM_FILENAME, "OFFSET_BPRM_FILENAME", "linux_binprm", "filename", required;
            BPRM_INTERPRETER, "OFFSET_BPRM_INTERPRETER", "linux_binprm", "interp", required;
            BPRM_BY_SCRIPT, "OFFSET_BPRM_BY_SCRIPT", "linux_binprm", "execfd_creds:bit", optional;
            BPRM_DESCRIPTOR, "OFFSET_BPRM_DESCRIPTOR", "linux_binprm", "execfd", optional;
            BPRM_FILE, "OFFSET_BPRM_FILE", "linux_binprm", "file", required;
            FILE_INODE, "OFFSET_FILE_INODE", "file", "f_inode", required;
            FILE_DENTRY, "OFFSET_FILE_DENTRY", "file", "f_path.dentry", required;
            FILE_MOUNT, "OFFSET_FILE_MOUNT", "file", "f_path.mnt", optional;
            FILE_PRIVATE, "OFFSET_FILE_PRIVATE", "file", "private_data", optional;
            SOCKET_SOCK, "OFFSET_SOCKET_SOCK", "socket", "sk", required;
            SOCK_FAMILY, "OFFSET_SOCK_FAMILY", "sock", "__sk_common.skc_family", required;
            VFSMOUNT_FLAGS, "OFFSET_VFSMOUNT_FLAGS", "vfsmount", "mnt_flags", optional;
            VFSMOUNT_SUPER, "OFFSET_VFSMOUNT_SUPER", "vfsmount", "mnt_sb", optional;
            MOUNT_VFS, "OFFSET_MOUNT_VFS", "mount", "mnt", optional;
            MOUNT_NS, "OFFSET_MOUNT_NS", "mount", "mnt_ns", optional;
            FS_DIRECTORY, "OFFSET_FS_DIRECTORY", "fs_struct", "pwd.dentry", optional;
            INODE_PRIVATE, "OFFSET_INODE_PRIVATE", "inode", "i_private", optional;
            INODE_NUMBER, "OFFSET_INODE_NUMBER", "inode", "i_ino", required;
            INODE_SUPER, "OFFSET_INODE_SUPER", "inode", "i_sb", required;
            INODE_MODE, "OFFSET_INODE_MODE", "inode", "i_mode", required;
            INODE_UID, "OFFSET_INODE_UID", "inode", "i_uid", required;
            INODE_GID, "OFFSET_INODE_GID", "inode", "i_gid", required;
            SUPER_DEVICE, "OFFSET_SUPER_DEVICE", "super_block", "s_dev", required;
            SUPER_MAGIC, "OFFSET_SUPER_MAGIC", "super_block", "s_magic", optional;
            SUPER_USER_NS, "OFFSET_SUPER_USER_NS", "super_block", "s_user_ns", optional;
            DENTRY_INODE, "OFFSET_DENTRY_INODE", "dentry", "d_inode", optional;
            DENTRY_PARENT, "OFFSET_DENTRY_PARENT", "dentry", "d_parent", required;
            DENTRY_NAME, "OFFSET_DENTRY_NAME", "dentry", "d_name.name", required;
            FILES_TABLE, "OFFSET_FILES_TABLE", "files_struct", "fdt", required;
            FDTABLE_FD, "OFFSET_FDTABLE_FD", "fdtable", "fd", required;
            FDTABLE_MAX, "OFFSET_FDTABLE_MAX", "fdtable", "max_fds", required;
            REGS_NUMBER, "OFFSET_REGS_NUMBER", "pt_regs", "orig_ax|orig_rax|syscallno", required;
            REGS_ARG0, "OFFSET_REGS_ARG0", "pt_regs", "di|rdi|regs[0]", required;
            REGS_ARG1, "OFFSET_REGS_ARG1", "pt_regs", "si|rsi|regs[1]", required;
            REGS_ARG2, "OFFSET_REGS_ARG2", "pt_regs", "dx|rdx|regs[2]", required;
            REGS_ARG3, "OFFSET_REGS_ARG3", "pt_regs", "r10|regs[3]", required;
            REGS_ARG4, "OFFSET_REGS_ARG4", "pt_regs", "r8|regs[4]", required;
            REGS_ARG5, "OFFSET_REGS_ARG5", "pt_regs", "r9|regs[5]", required;
        }
    };
}
