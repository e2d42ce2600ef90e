#!/usr/bin/env bash
# Submit a job and follow its log; the job goes on when this terminal closes.
#
#   cluster/submit.sh -o /data/out /data/in/*.mp4
#   DUALFACE_DASHBOARD=http://127.0.0.1:8265 cluster/submit.sh --set framing.layout=stacked -o /data/out /data/in/a.mp4
#
# All arguments go to `dualface run`. Paths are those of the cluster's nodes, so they are absolute (or URLs).
set -euo pipefail

fail() { echo "submit: $1" >&2; exit 2; }

[ $# -gt 0 ] || fail "usage: submit.sh -o /shared/out /shared/in/*.mp4"
command -v ray >/dev/null || fail "no ray here: activate the environment that \`make setup\` made"
value_of= output=
for argument in "$@"; do
  case $value_of in
    path)
      case $argument in
        /* | *://*) ;;
        *) fail "$argument is relative: a node of the cluster does not know this folder; give an absolute path" ;;
      esac
      [ "$option" = --config ] || output=$argument
      value_of= ; continue ;;
    word) value_of= ; continue ;;
  esac
  option=$argument
  case $argument in
    -o | --output) value_of=path ;;
    --config) value_of=path ;;
    --set | --layout | --address) value_of=word ;;
    --output=/* | --output=*://*) output=${argument#--output=} ;;
    -*) ;;
    /* | *://*) ;;
    *) fail "$argument is relative: a node of the cluster does not know this folder; give an absolute path" ;;
  esac
done
[ -n "$output" ] || fail "no output folder: add -o /shared/out"

export RAY_AUTH_MODE=token
token=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}
[ -n "${RAY_AUTH_TOKEN:-}" ] || [ -s "$token" ] || fail "no token: the cluster's own belongs into ~/.ray/auth_token or RAY_AUTH_TOKEN"

# The nodes have the package in their image: nothing of this folder needs to travel (uploads end at 512 MiB anyway).
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
ray job submit --address "${DUALFACE_DASHBOARD:-http://127.0.0.1:8265}" --working-dir "$folder" \
  -- python -m dualface_ray run "$@"
