//! What the container engines grant unasked.

use super::{CapSet, Capability};

/// What Docker gives a container started without `--cap-add`, `--cap-drop` and `--privileged` (20.10 and later).
///
/// Source: [`DefaultCapabilities` in moby's oci/caps/defaults.go][src].
///
/// [src]: https://github.com/moby/moby/blob/10866714412aea1bb587d1ad14b2ce1ba4cf4308/oci/caps/defaults.go
pub const DOCKER_DEFAULT: CapSet = CapSet::of(&[
    Capability::CHOWN,
    Capability::DAC_OVERRIDE,
    Capability::FOWNER,
    Capability::FSETID,
    Capability::KILL,
    Capability::SETGID,
    Capability::SETUID,
    Capability::SETPCAP,
    Capability::NET_BIND_SERVICE,
    Capability::NET_RAW,
    Capability::SYS_CHROOT,
    Capability::MKNOD,
    Capability::AUDIT_WRITE,
    Capability::SETFCAP,
]);

/// What Podman 4 gives a container started without `--cap-add`, `--cap-drop` and `--privileged`.
///
/// Source: [`default_capabilities` in containers.conf][src]. Distributions may change the file. Without it, Podman up to
/// 4.3 falls back to [Docker's set][before], and [4.4.0 to 4.4.2 lack `SYS_CHROOT`][after].
///
/// [src]: https://github.com/containers/common/blob/004460c1731845d25f86e8192641684cd1db8871/pkg/config/containers.conf
/// [before]: https://github.com/containers/common/issues/1234
/// [after]: https://github.com/containers/podman/pull/17891
pub const PODMAN_DEFAULT: CapSet = CapSet::of(&[
    Capability::CHOWN,
    Capability::DAC_OVERRIDE,
    Capability::FOWNER,
    Capability::FSETID,
    Capability::KILL,
    Capability::SETGID,
    Capability::SETUID,
    Capability::SETPCAP,
    Capability::NET_BIND_SERVICE,
    Capability::SYS_CHROOT,
    Capability::SETFCAP,
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_is_the_mask_seen_in_its_containers() {
        assert_eq!(DOCKER_DEFAULT.bits(), 0xa804_25fb);
    }

    #[test]
    fn podman_grants_three_less_than_docker() {
        assert!(PODMAN_DEFAULT.is_subset(DOCKER_DEFAULT));
        assert!(
            (DOCKER_DEFAULT - PODMAN_DEFAULT)
                .names()
                .eq(["NET_RAW", "MKNOD", "AUDIT_WRITE"])
        );
    }
}
