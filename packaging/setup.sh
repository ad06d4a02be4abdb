#!/usr/bin/env bash
# Make sure that the system parts are here: setup.sh run|test
# As root on Debian or Ubuntu it installs what is missing; elsewhere it says exactly what is missing and stops.
set -euo pipefail

# command -> Debian package
declare -A run_parts=([runc]=runc)
declare -A test_parts=(
  [runc]=runc [crun]=crun [containerd]=containerd [containerd-shim-runc-v2]=containerd [docker-registry]=docker-registry
  [busybox]=busybox-static [tar]=tar [ip]=iproute2 [htpasswd]=apache2-utils [openssl]=openssl
  [mkfs.btrfs]=btrfs-progs [mkfs.ext4]=e2fsprogs [zfs-fuse]=zfs-fuse
)

case "${1:-}" in
  run) declare -n parts=run_parts ;;
  test) declare -n parts=test_parts ;;
  *) echo "usage: $0 run|test" >&2; exit 2 ;;
esac

PATH="$PATH:/usr/sbin:/sbin"
missing=() packages=()
for command in "${!parts[@]}"; do
  command -v "$command" >/dev/null 2>&1 || { missing+=("$command"); packages+=("${parts[$command]}"); }
done
python3 -c 'import ensurepip, venv' 2>/dev/null || { missing+=("python3's venv module"); packages+=(python3-venv); }
[ "${#missing[@]}" -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing: ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >/dev/null
  apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
  # Its package starts a daemon; the tests want the programs, and start one when they need it.
  if [[ " ${missing[*]} " == *" zfs-fuse "* ]] && [ -d /run/systemd/system ]; then
    systemctl disable --quiet --now zfs-fuse.service || true
  fi
  exit 0
fi
printf 'missing: %s\n' "${missing[@]}" >&2
echo "On Debian or Ubuntu, as root: apt-get install ${packages[*]}" >&2
exit 1
