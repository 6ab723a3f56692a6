//! Which options of `docker` and `podman` take a value: needed to tell the image from what stands before it.
//!
//! From the usage texts of Docker 20.10 to 28 and Podman 4 to 5. What is in neither list is not guessed at.

/// Whether an option, without dashes, is in one of the lists.
pub fn is_in(list: &str, name: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == name)
}

/// Options before the subcommand that take none.
pub const GLOBAL_FLAGS: &str = "\
    D debug help noout r remote syslog tls tlsverify trace transient-store v version";

/// Options before the subcommand that take a value.
pub const GLOBAL_VALUES: &str = "\
    c cdi-spec-dir cgroup-manager config conmon connection context db-backend events-backend H hooks-dir \
    host identity imagestore l log-level module namespace network-backend network-cmd-path \
    network-config-dir out registries-conf registries-conf-dir root runroot runtime runtime-flag ssh \
    storage-driver storage-opt tlscacert tlscert tlskey tmpdir url volumepath";

/// Options of `run` that take none, or only with `=`.
pub const FLAGS: &str = "\
    d detach disable-content-trust env-host help http-proxy i init interactive no-healthcheck no-hostname \
    no-hosts oom-kill-disable P passwd privileged publish-all q quiet read-only read-only-tmpfs replace rm \
    rmi rootfs sig-proxy t tls-verify tty unsetenv-all use-api-socket";

/// Options of `run` that take a value.
pub const VALUES: &str = "\
    a add-host annotation arch attach authfile blkio-weight blkio-weight-device c cap-add cap-drop cert-dir \
    cgroup-conf cgroup-parent cgroupns cgroups chrootdirs cidfile conmon-pidfile cpu-count cpu-percent \
    cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus cpuset-cpus cpuset-mems creds \
    decryption-key detach-keys device device-cgroup-rule device-read-bps device-read-iops device-write-bps \
    device-write-iops dns dns-opt dns-option dns-search domainname e entrypoint env env-file env-merge \
    expose gidmap gpus group-add group-entry h health-cmd health-interval health-log-destination \
    health-max-log-count health-max-log-size health-on-failure health-retries health-start-interval \
    health-start-period health-startup-cmd health-startup-interval health-startup-retries \
    health-startup-success health-startup-timeout health-timeout hostname hosts-file hostuser image-volume \
    init-ctr init-path io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory l label label-file link \
    link-local-ip log-driver log-opt m mac-address memory memory-reservation memory-swap memory-swappiness \
    mount name net net-alias network network-alias oom-score-adj os p passwd-entry personality pid pidfile \
    pids-limit platform pod pod-id-file preserve-fd preserve-fds publish pull rdt-class requires restart \
    retry retry-delay runtime sdnotify seccomp-policy secret security-opt shm-size shm-size-systemd \
    stop-signal stop-timeout storage-opt subgidname subuidname sysctl systemd timeout tmpfs tz u uidmap \
    ulimit umask unsetenv user userns uts v variant volume volume-driver volumes-from w workdir";
