#!/bin/busybox sh
# The first process of a virtual machine: sets it up, runs /steps/* in order, and reports to the second serial port
# (results.rs reads that; what the commands print goes to the first).

export PATH=/usr/local/bin:/usr/bin:/usr/sbin HOME=/root LANG=C.UTF-8

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm /run /out
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
hostname capaudit
ip link set lo up

exec 9>/dev/ttyS1
report() { echo "$@" >&9; }

report ready "$(cut -d' ' -f1 /proc/uptime)"
for module in /modules/*; do
    [ -e "$module" ] && insmod "$module"
done
[ -e /sys/kernel/btf/vmlinux ] && report has btf
for symbol in $(grep -oE ' (cap_capable|__tracepoint_cap_capable|bpf_task_pt_regs)$' /proc/kallsyms); do
    report has "$symbol"
done

for step in /steps/*; do
    report step "${step##*/}"
    /bin/sh "$step" </dev/null 9>&-
    report exit "${step##*/}" $?
done

for file in /out/*; do
    [ -f "$file" ] || continue
    report file "${file##*/}"
    sed 's/^/|/' "$file" >&9
    # Ends a last line without a line feed.
    report ""
done
report done
# Setting a terminal waits until all that was written to it is out.
stty -F /dev/ttyS1 sane
stty -F /dev/ttyS0 sane
poweroff -f
