#!/usr/bin/env bash
# The study's Table S1 for one data set: two losses, three label ratios, two states, and what the study leaves out,
# the supervised control at each ratio. At the study's size a GPU is advisable: 100 epochs at 512 pixels, width 64.
#
# usage: examples/paper/reproduce.sh DATA.h5 [FOLDER] [more options for train-uda ...]
set -euo pipefail
here="$(dirname "${BASH_SOURCE[0]}")"
data="$1"
folder="${2:-runs/paper}"
options=("${@:3}")

for ratio in 10 25 50; do
  for loss in kl iid; do
    bioseg train-uda "$data" --config "$here/uda-$loss-$ratio.yaml" --run "$folder/$loss-$ratio" "${options[@]}"
  done
  bioseg train-uda "$data" --config "$here/uda-kl-$ratio.yaml" --unsup-loss none --run "$folder/none-$ratio" "${options[@]}"
done
# The one time the test split is opened.
bioseg evaluate "$folder"/*-* --split test --state all --csv "$folder/table.csv" --overwrite
