#!/usr/bin/env bash
# From generated microscope images to trained, measured models with pictures, offline and in a few minutes.
#
# usage: examples/demo.sh [FOLDER] [more options for train-uda ...]
# Everything is written to FOLDER, by default ./demo.
#
# Cells in phase contrast, whose inside is as bright as the background. Three networks learn from the same 2 masks, with
# as many updates: by the recipe for few labels (best), by the study's UDA, which learns from the other training images
# too (uda), and by the study's settings without these (supervised, the control). All are scored on images that none
# has seen, beside a random forest on the same masks and Otsu's threshold.
set -euo pipefail
folder="${1:-demo}"
data="$folder/cells.h5"
settings=(--labels 2 --width 16 --steps 400 --epoch-steps 50 --overwrite "${@:2}")

bioseg prepare demo --kind phase --out "$data" --overwrite
bioseg train-uda "$data" --run "$folder/best" --preset best "${settings[@]}"
bioseg train-uda "$data" --run "$folder/uda" --unsup-loss kl "${settings[@]}"
bioseg train-uda "$data" --run "$folder/supervised" --unsup-loss none "${settings[@]}"
bioseg predict "$folder/best" "$data" --split test --out "$folder/masks" --overlay --overwrite
bioseg evaluate "$folder/best" "$folder/supervised" "$folder/uda" --split test --baselines forest,otsu,all-background \
  --out "$folder/report" --overwrite

echo
echo "Masks:    $folder/masks/*.tif"
echo "Overlays: $folder/masks/overlays/*.png"
echo "Report:   $folder/report/*-worst_best.png, evaluation.json, per_image.csv"
