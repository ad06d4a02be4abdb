#!/usr/bin/env bash
# Start a daemon of its own, run a container from an image, show it, and leave nothing behind.
# IMAGE=registry/name:tag pulls that image; without it the image is made of this machine's own shell.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
bin="$here/.venv/bin"

work=$(mktemp -d /tmp/pycontainerd-demo.XXXXXX)
export CONTAINERD_ADDRESS="$work/c.sock" CONTAINERD_NAMESPACE=demo
daemon=""
finish() {
  "$bin/ctr" containers stop hello --timeout 1s >/dev/null 2>&1 || true
  if [ -n "$daemon" ]; then kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true; fi
  # After a failure there may be more: processes, mounts, cgroups.
  "$bin/python" -c 'import sys; from pycontainerd.testing import leftovers; leftovers.remove(sys.argv[1])' "$work" || true
  rm -rf "$work"
}
trap finish EXIT

cat >"$work/config.toml" <<TOML
version = 3
root = "$work/root"
state = "$work/state"
[grpc]
  address = "$CONTAINERD_ADDRESS"
[ttrpc]
  address = "$CONTAINERD_ADDRESS.ttrpc"
TOML

bold="" plain=""
if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; fi
say() {
  local line="" word
  for word in "$@"; do
    case "$word" in *[!A-Za-z0-9_./:@%=+,-]*) word="'$word'" ;; esac
    line+=" $word"
  done
  printf '\n%s$%s%s\n' "$bold" "$line" "$plain"
}
show() { say "$@"; "$bin/$1" "${@:2}"; }

say containerd -c config.toml
"$bin/containerd" -c "$work/config.toml" 2>"$work/log" &
daemon=$!
for _ in $(seq 100); do
  "$bin/ctr" version >/dev/null 2>&1 && break
  kill -0 "$daemon" 2>/dev/null || { echo "the daemon ended early:" >&2; cat "$work/log" >&2; exit 1; }
  sleep 0.1
done
show ctr version

if [ -n "${IMAGE:-}" ]; then
  show ctr images pull "$IMAGE"
else
  IMAGE=local/hello:demo
  "$bin/python" -m pycontainerd.testing.images --from-host --name "$IMAGE" "$work/hello.tar"
  show ctr images import "$work/hello.tar"
fi
show ctr images ls
show ctr run --rm "$IMAGE" greeting /bin/sh -c 'echo "Hello from container $(hostname), process $$, user $(id -u 2>/dev/null || echo 0)"'
show ctr run -d "$IMAGE" hello /bin/sh -c 'while :; do sleep 1; done'
show ctr containers ls
show ctr task ls
show ctr containers stop hello --timeout 1s
show ctr containers rm hello
echo
echo "A container ran from an image. Everything it used was in $work and is removed now."
