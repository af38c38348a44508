#!/usr/bin/env bash
# The figures of docs/results.md on slices of a head volume: background, grey and white matter, held-out slabs, 10 % of
# the labels. About half an hour on two cores with bfloat16; run it alone.
#
# usage: BIOSEG_DATA=FOLDER benchmarks/results_brain.sh [WORK-FOLDER] [SEEDS ...]
# BIOSEG_DATA holds mni152/mni_icbm152_{t1,gm,wm}_*.nii.gz, the ICBM 2009a average head and its tissue maps (0..255).
set -euo pipefail
folder="${1:-runs/brain}"
seeds=("${@:2}")
[ "${#seeds[@]}" -gt 0 ] || seeds=(0 1 2)
data="$folder/head.h5"
mkdir -p "$folder"

# A voxel belongs to whichever is most of it: grey matter, white matter, or the rest.
if [ ! -f "$folder/tissues.nii.gz" ]; then
  python - "$BIOSEG_DATA/mni152" "$folder/tissues.nii.gz" <<'PYTHON'
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

grey, white = (nib.load(next(Path(sys.argv[1]).glob(f"*_{tissue}_*.nii.gz"))) for tissue in ("gm", "wm"))
parts = [np.asarray(each.dataobj).astype(int) for each in (grey, white)]
classes = np.stack([255 - sum(parts), *parts]).argmax(axis=0).astype(np.uint8)
nib.Nifti1Image(classes, grey.affine).to_filename(sys.argv[2])
PYTHON
fi
if [ ! -f "$data" ]; then
  bioseg prepare bigbrain --image "$BIOSEG_DATA"/mni152/*_t1_*.nii.gz --labels "$folder/tissues.nii.gz" \
    --classes 1,2 --names "background,grey matter,white matter" --slices 400 --crop 192 --picture --out "$data"
fi
for seed in "${seeds[@]}"; do
  for loss in none kl iid; do
    run="$folder/$loss-seed$seed"
    if [ ! -f "$run/manifest.yaml" ]; then
      bioseg train-uda "$data" --ratio 0.1 --unsup-loss "$loss" --width 32 --steps 720 --seed "$seed" --run "$run"
    fi
  done
done
for seed in "${seeds[@]}"; do
  bioseg evaluate "$folder/kl-seed$seed" "$folder/iid-seed$seed" --control "$folder/none-seed$seed" \
    --data "$data" --out "$folder/report-seed$seed" --overwrite
done
bioseg evaluate "$folder"/{none,kl,iid}-seed* --data "$data" --state all --csv "$folder/table.csv" --overwrite
