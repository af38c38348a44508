#!/usr/bin/env bash
# From generated microscope images to a trained, measured model with pictures, offline and in a few minutes.
#
# usage: examples/demo.sh [FOLDER] [more options for train-uda ...]
# Everything is written to FOLDER, by default ./demo.
#
# Two networks learn from the same 2 masks. The first sees nothing else (the supervised control); the second also
# learns from the other training images, without their masks (UDA). Both are then scored on images neither has seen.
set -euo pipefail
folder="${1:-demo}"
settings=(--labels 2 --width 16 --steps 300 --overwrite "${@:2}")

bioseg prepare demo --out "$folder/nuclei.h5" --overwrite
bioseg train-uda "$folder/nuclei.h5" --run "$folder/supervised" --unsup-loss none "${settings[@]}"
bioseg train-uda "$folder/nuclei.h5" --run "$folder/uda" --unsup-loss kl "${settings[@]}"
bioseg predict "$folder/uda" "$folder/nuclei.h5" --split test --out "$folder/masks" --overlay --overwrite
bioseg evaluate "$folder/uda" --control "$folder/supervised" --split test --out "$folder/report" --overwrite

echo
echo "Masks:    $folder/masks/*.tif"
echo "Overlays: $folder/masks/overlays/*.png"
echo "Report:   $folder/report/worst_best.png, evaluation.json, per_image.csv"
