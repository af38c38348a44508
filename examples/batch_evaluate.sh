#!/usr/bin/env bash
# Score many runs at once: one table on the screen, and a folder with the same as CSV and JSON.
#
#   examples/batch_evaluate.sh OUT RUN_OR_FOLDER... [-- OPTIONS]
#
#   OUT            folder to make: table.csv (a row a run), evaluation.json, per_image.csv, a figure a run
#   RUN_OR_FOLDER  run directories, or folders that hold them at any depth
#   OPTIONS        of `bioseg evaluate`, such as --split test, --state all, --control runs/supervised
#
# Every finished run under runs/ on the test split, against a supervised control:
#
#   examples/batch_evaluate.sh results/test runs -- --split test --control runs/nuclei-supervised-5labels-seed0
#
# Runs that are not finished are left out and named. The exit code is that of `bioseg evaluate` (0 done, 2 wrong usage,
# 3 bad data), and 3 where there is no finished run. Bare numbers for another script:
#
#   bioseg evaluate runs/* --json --quiet | jq -r '.runs[] | [.run, .state, .mean_iou] | @tsv'
set -euo pipefail

usage() {
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ $# -ge 2 ] || usage
out=$1
shift

places=()
while [ $# -gt 0 ] && [ "$1" != "--" ]; do
    [ -d "$1" ] || { echo "There is no such folder: $1" >&2; exit 3; }
    places+=("$1")
    shift
done
[ "${#places[@]}" -gt 0 ] || usage
if [ $# -gt 0 ]; then
    shift # the --; what is left are options
fi

runs=()
while IFS= read -r manifest; do
    if grep -Eq '^status: (finished|collapsed)$' "$manifest"; then
        runs+=("${manifest%/manifest.yaml}")
    else
        echo "Left out, not finished: ${manifest%/manifest.yaml}" >&2
    fi
done < <(find "${places[@]}" -name manifest.yaml | sort)
[ "${#runs[@]}" -gt 0 ] || { echo "There is no finished run in: ${places[*]}" >&2; exit 3; }

echo "Scoring ${#runs[@]} runs" >&2
bioseg evaluate "${runs[@]}" --out "$out" --csv "$out/table.csv" "$@"
