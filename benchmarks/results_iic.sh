#!/usr/bin/env bash
# The figures of docs/results.md on IIC: two presets, three seeds, BBBC039, clusters named by five labelled fields.
# Trained on 128 pixel crops, scored on the validation fields' crops and on whole fields. About a quarter of an hour on
# two cores with bfloat16; run it alone.
#
# usage: BIOSEG_DATA=FOLDER benchmarks/results_iic.sh [WORK-FOLDER] [SEEDS ...]
# BIOSEG_DATA holds BBBC039/ with images/, masks/ and metadata/.
set -euo pipefail
folder="${1:-runs/iic}"
seeds=("${@:2}")
[ "${#seeds[@]}" -gt 0 ] || seeds=(0 1 2)
crops="$folder/crops.h5" fields="$folder/fields.h5"
mkdir -p "$folder"

if [ ! -f "$crops" ]; then
  bioseg prepare fluohoechst --source "$BIOSEG_DATA/BBBC039" --purpose self-supervised --out "$crops"
  bioseg prepare fluohoechst --source "$BIOSEG_DATA/BBBC039" --crop 0 --out "$fields"
fi
for seed in "${seeds[@]}"; do
  for preset in paper stable; do
    run="$folder/$preset-seed$seed"
    if [ ! -f "$run/manifest.yaml" ]; then
      bioseg train-iic "$crops" --preset "$preset" --width 16 --map-labels 5 --seed "$seed" --run "$run"
    fi
  done
done
for data in "$crops" "$fields"; do
  bioseg evaluate "$folder"/{paper,stable}-seed* --data "$data" --baselines otsu,kmeans,local,all-background \
    --csv "${data%.h5}.csv" --out "${data%.h5}-report" --overwrite
done
