#!/bin/bash
# Builds gt-corpus:1, the base image of the scenarios: Debian bookworm with every program they run.
#
# Does nothing if the image is there and the package list is unchanged (the label gt.pkgs holds its hash).
# Needs root, debootstrap and a Docker engine. Environment:
#   IMAGE   name of the image                              [gt-corpus:1]
#   ROOT    where the file system is put together; an interrupted build goes on there
#                                                          [/var/tmp/capaudit-corpus]
#   MIRROR  Debian archive                                 [the one apt uses here, else debootstrap's default]
#   DOCKER  Docker client                                  [docker]
#   FORCE=1 builds although the image is up to date
set -euo pipefail
IMAGE=${IMAGE:-gt-corpus:1}
ROOT=${ROOT:-/var/tmp/capaudit-corpus}
DOCKER=${DOCKER:-docker}
SUITE=bookworm

# The truths were measured with exactly these packages: more than the scenarios start, so that a walk through the file
# system or the process table meets what an ordinary server holds.
PACKAGES=(
  # base tools used by the scenario scripts
  curl ca-certificates procps psmisc iproute2 libcap2-bin attr acl util-linux kmod file netcat-openbsd socat
  python3-minimal python3 perl gosu tini sudo passwd login adduser rsync tar cpio cron at logrotate
  # web
  nginx-light apache2 haproxy lighttpd squid varnish php-fpm stunnel4
  # data
  redis-server postgresql mariadb-server memcached
  # net services
  openssh-server openssh-client dropbear-bin dnsmasq bind9 bind9-dnsutils unbound
  mosquitto mosquitto-clients vsftpd rsyslog postfix samba smbclient chrony openbsd-inetd
  dovecot-imapd snmpd
  # net tools
  iputils-ping iputils-arping traceroute fping mtr-tiny tcpdump iptables nftables ethtool conntrack ipset
  # dev / debug
  git strace gdb nodejs dpkg-dev gcc libc6-dev bubblewrap
  # misc
  hostname fuse3 e2fsprogs lsof stress-ng supervisor numactl
)

export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
HASH=$(printf '%s\n' "$SUITE" "${PACKAGES[@]}" | sha256sum | cut -c1-16)
if [ "${FORCE:-0}" != 1 ]; then
  have=$("$DOCKER" image inspect -f '{{index .Config.Labels "gt.pkgs"}}' "$IMAGE" 2>/dev/null || true)
  [ "$have" = "$HASH" ] && { echo "$IMAGE is up to date"; exit 0; }
fi
[ "$(id -u)" = 0 ] || { echo "building $IMAGE takes root" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "debootstrap is missing: run \`cargo xtask setup --tests\`" >&2; exit 1; }

if [ -z "${MIRROR:-}" ] && command -v apt-get >/dev/null; then
  MIRROR=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' |
    head -n1 || true)
fi
if [ ! -e "$ROOT/.debootstrapped" ]; then
  echo "installing Debian $SUITE in $ROOT"
  rm -rf "$ROOT"
  mkdir -p "$ROOT"
  # It also writes the sources.list by which the packages below are found. An https archive needs the certificates.
  debootstrap --variant=minbase --include=ca-certificates "$SUITE" "$ROOT" ${MIRROR:+"$MIRROR"} >"$ROOT.log" 2>&1 ||
    { tail -n 5 "$ROOT.log" >&2; exit 1; }
  touch "$ROOT/.debootstrapped"
fi

echo "installing ${#PACKAGES[@]} packages"
# No service is started while its package is installed, nor when a scenario runs: the file stays.
printf '#!/bin/sh\nexit 101\n' >"$ROOT/usr/sbin/policy-rc.d"
chmod +x "$ROOT/usr/sbin/policy-rc.d"
echo 'Dpkg::Options {"--force-confdef";"--force-confold";};' >"$ROOT/etc/apt/apt.conf.d/90gt"
cp /etc/resolv.conf "$ROOT/etc/resolv.conf"
chroot "$ROOT" debconf-set-selections <<'S'
postfix postfix/main_mailer_type select Local only
postfix postfix/mailname string localhost
S
mountpoint -q "$ROOT/proc" || mount -t proc proc "$ROOT/proc"
trap 'umount -l "$ROOT/proc" 2>/dev/null || true' EXIT
{
  chroot "$ROOT" apt-get update -q
  chroot "$ROOT" apt-get install -qy --no-install-recommends "${PACKAGES[@]}"
  chroot "$ROOT" apt-get clean
} >"$ROOT.log" 2>&1 || { tail -n 5 "$ROOT.log" >&2; exit 1; }
umount "$ROOT/proc"
trap - EXIT

# The ordinary users of the scenarios.
for user in alice:1000 bob:1001; do
  chroot "$ROOT" id "${user%%:*}" >/dev/null 2>&1 ||
    chroot "$ROOT" useradd -m -u "${user##*:}" -s /bin/bash "${user%%:*}"
done
printf 'alice:alicepw\nbob:bobpw\n' | chroot "$ROOT" chpasswd
rm -f "$ROOT"/etc/ssh/ssh_host_*
chroot "$ROOT" ssh-keygen -A >/dev/null

echo "importing $IMAGE"
tar -C "$ROOT" --xattrs --xattrs-include='*' --numeric-owner \
  --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' -c . |
  "$DOCKER" import -c "LABEL gt.pkgs=$HASH" \
    -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' -c 'CMD ["/bin/bash"]' - "$IMAGE" >/dev/null
rm -rf "$ROOT" "$ROOT.log"
echo "built $IMAGE"
