#!/usr/bin/env bash
# The figures of docs/results.md on BBBC039: three losses, 10 % of the labels, three seeds, scored on the validation
# fields. About three quarters of an hour on two cores with bfloat16; run it alone.
#
# usage: BIOSEG_DATA=FOLDER benchmarks/results_bbbc039.sh [WORK-FOLDER] [SEEDS ...]
# BIOSEG_DATA holds BBBC039/ with images/, masks/ and metadata/.
set -euo pipefail
folder="${1:-runs/results}"
seeds=("${@:2}")
[ "${#seeds[@]}" -gt 0 ] || seeds=(0 1 2)
data="$folder/fluohoechst.h5"
mkdir -p "$folder"

if [ ! -f "$data" ]; then bioseg prepare fluohoechst --source "$BIOSEG_DATA/BBBC039" --out "$data"; fi
for seed in "${seeds[@]}"; do
  for loss in none kl iid; do
    run="$folder/$loss-seed$seed"
    if [ ! -f "$run/manifest.yaml" ]; then
      bioseg train-uda "$data" --ratio 0.1 --unsup-loss "$loss" --width 32 --crop 256 --steps 720 \
        --seed "$seed" --run "$run"
    fi
  done
  bioseg evaluate "$folder/kl-seed$seed" "$folder/iid-seed$seed" --control "$folder/none-seed$seed" \
    --data "$data" --out "$folder/report-seed$seed" --overwrite
done
bioseg evaluate "$folder"/{none,kl,iid}-seed* --data "$data" --state all --csv "$folder/table.csv" --overwrite
