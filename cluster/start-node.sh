#!/usr/bin/env bash
# Start Ray on this machine with the resources of its static profile.
#
#   start-node.sh head
#   start-node.sh worker HEAD_ADDRESS     (port 6379, or HOST:PORT)
#
# The profile is DUALFACE_PROFILE: a name such as rtx4090, or a YAML file that `dualface probe --verify --output` has
# written, whose figures the node then carries as labels. Else it is /etc/dualface/profile.yaml, else the name in
# /etc/dualface/profile. Nothing is measured here. More options for `ray start` go into DUALFACE_RAY_OPTIONS. DUALFACE_MPS=1 starts NVIDIA's MPS first.
# CUDA_VISIBLE_DEVICES leaves cards to others.
set -euo pipefail

fail() { echo "start-node: $1" >&2; exit 2; }

role=${1:-}
case $role in
  head) [ $# -eq 1 ] || fail "usage: start-node.sh head | start-node.sh worker HEAD_ADDRESS" ;;
  worker) [ $# -eq 2 ] || fail "usage: start-node.sh head | start-node.sh worker HEAD_ADDRESS" ;;
  *) fail "usage: start-node.sh head | start-node.sh worker HEAD_ADDRESS" ;;
esac

# Everybody who reaches an open Ray runs code on it: no token, no node.
export RAY_AUTH_MODE=token
token=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}
[ -n "${RAY_AUTH_TOKEN:-}" ] || [ -s "$token" ] || fail "no token: run \`ray get-auth-token --generate\` on one machine and copy ~/.ray/auth_token to all"

if [ "$role" = head ]; then
  # The head keeps the cluster together and runs the job's driver; lanes run on workers.
  # shellcheck disable=SC2086  # options are words
  exec ray start --head --port=6379 --num-cpus=0 --num-gpus=0 --dashboard-host=127.0.0.1 --disable-usage-stats \
    ${DUALFACE_RAY_OPTIONS:-}
fi

profile=${DUALFACE_PROFILE:-}
here=/etc/dualface
[ -n "$profile" ] || [ ! -e $here/profile.yaml ] || profile=$here/profile.yaml
[ -n "$profile" ] || profile=$(cat $here/profile 2>/dev/null || true)
[ -n "$profile" ] || fail "no profile: run \`dualface probe --verify --output $here/profile.yaml\`, or set DUALFACE_PROFILE (see configs/profiles)"
# what the profile says: its kind, or with cards and driver the resources as JSON and the labels; an unknown one is
# refused here, before anything is said about cards
ask() {
  python3 - "$@" <<'PY'
import json
import sys

from dualface_ray.errors import DualfaceError
from dualface_ray.hardware import load_profile, node_labels

name, *machine = sys.argv[1:]
try:
    profile = load_profile(name)
    labels = node_labels(profile, *machine[1:])
except DualfaceError as error:
    print(f"start-node: profile {error}", file=sys.stderr)
    sys.exit(2)
if machine:
    print(json.dumps(profile.node_resources(int(machine[0]), machine[1])))
    print(",".join(f"{key}={value}" for key, value in labels.items()))
else:
    print(profile.kind)
PY
}
kind=$(ask "$profile")
cards=0 driver=
if [ "$kind" = gpu ]; then
  command -v nvidia-smi >/dev/null || fail "profile $profile, but no nvidia-smi: is NVIDIA_DRIVER_CAPABILITIES=compute,utility,video set?"
  # Ray deals out what CUDA_VISIBLE_DEVICES names, by numbers that shall mean what they mean to nvidia-smi.
  export CUDA_DEVICE_ORDER=${CUDA_DEVICE_ORDER:-PCI_BUS_ID}
  named=${CUDA_VISIBLE_DEVICES-all}
  named=${named// /}
  mig="MIG is on, and profile $profile is about whole cards: nvidia-smi -mig 0, or start Ray by hand for the instances (docs/cluster.md)"
  case $named in
    *MIG-*) fail "$mig" ;;
    all) only=() ;;
    *) only=("--id=$named") ;;
  esac
  rows=$(nvidia-smi "${only[@]}" --query-gpu=driver_version,mig.mode.current --format=csv,noheader) ||
    fail "profile $profile, but nvidia-smi fails: ${CUDA_VISIBLE_DEVICES+CUDA_VISIBLE_DEVICES=$named names no card by its number or whole UUID, or }is the driver loaded?"
  cards=$(grep -c '^[0-9]' <<<"$rows" || true)
  [ "$cards" -gt 0 ] || fail "profile $profile, but no card is visible${CUDA_VISIBLE_DEVICES+ with CUDA_VISIBLE_DEVICES=$named}"
  case $rows in *Enabled*) fail "$mig" ;; esac
  driver=${rows%%[!0-9.]*}  # one line a card, all the same
fi

# With MPS the processes of a lane share their card instead of taking turns (docs/performance.md).
if [ "${DUALFACE_MPS:-0}" = 1 ] && [ "$kind" = gpu ]; then
  command -v nvidia-cuda-mps-control >/dev/null || fail "DUALFACE_MPS=1, but no nvidia-cuda-mps-control: it comes with the driver (compute)"
  # It renumbers the cards that it is shown, so it is shown all of them.
  echo get_server_list | nvidia-cuda-mps-control >/dev/null 2>&1 || env -u CUDA_VISIBLE_DEVICES nvidia-cuda-mps-control -d || fail "nvidia-cuda-mps-control -d fails"
fi

told=$(ask "$profile" "$cards" "$driver")
resources=${told%%$'\n'*} labels=${told##*$'\n'}
case $2 in *:*) head=$2 ;; *) head=$2:6379 ;; esac
# shellcheck disable=SC2086
exec ray start --address="$head" --num-gpus="$cards" --resources="$resources" --labels="$labels" \
  --disable-usage-stats ${DUALFACE_RAY_OPTIONS:-}
