#!/usr/bin/env bash
# Trains policies of the class of `nano` on LIBERO and measures them: demonstrations, trainings, trials.
#
#   scripts/train_libero.sh [--quick] [--print] [OUT]
#
#   OUT       directory for everything, default out/train_libero
#   --quick   one task, two demonstrations, four training steps, one trial, no LIBERO-Plus: shows that the rest runs
#   --print   shows the commands and runs none
#
# Wants make setup PURPOSES=libero. In this order, each a row of the results page:
#
#   object    one policy for libero_object; its trials, its controls, LIBERO-Plus' cameras
#   three     one policy for Spatial, Object and Goal; its trials
#   corrected that one, which goes on with corrections of what it does, in rounds; its trials
#   ablation  Table 2 on Spatial, two seeds a row
#   curve     figure 7 on Spatial: success after so many steps, with and without joint training
#   depth     figure 8 on Spatial: depth before and after joint training, of scenes that were held out
#   bare      the first again without what nano knows of depth and cameras
#
#   PARTS="object three"    not all of them
#   DEMOS=50 EVERY=1        demonstrations of a task; of how many steps one is drawn
#   STEPS=20000 BATCH=32    of a training
#   ROUNDS=2 CORRECTIONS=10 of corrections; and of a task in each
#   TRIALS=50 CONTROLS=20   of a task; and with something kept from the policy
#   PLUS=                   numbers of the tasks that LIBERO-Plus moves cameras in; all, unless said
#   DEVICE=auto PRECISION=fp32 THREADS=2 WORKERS=0 JOBS=2
#
# After an interruption the same call goes on. What is done is marked in OUT/.done; another OUT for other numbers.
set -euo pipefail

. "$(dirname "$0")/steps.sh"

parts=${PARTS:-object three corrected ablation curve depth bare} jobs=${JOBS:-2}
demos=${DEMOS:-50} every=${EVERY:-1} steps=${STEPS:-20000} batch=${BATCH:-32}
rounds=${ROUNDS:-2} corrections=${CORRECTIONS:-10}
trials=${TRIALS:-50} controls=${CONTROLS:-20} tasks=()
read -ra plus <<<"${PLUS:-}"
[[ -z $quick ]] || demos=2 every=20 steps=4 batch=4 corrections=1 trials=1 controls=1 tasks=(--task 1)

# demonstrations SUITE: collected and rendered.
demonstrations() {
    once "demos/$1" vga libero collect --suite "$1" "${tasks[@]}" --episodes "$demos" --jobs "$jobs" --out "$out/demos"
    once "rendered/$1" vga libero import "$out/demos/$1" --every "$every" --jobs "$jobs" --out "$out/rendered"
}

# How all trainings are done, and where all but one begin. The 3D heads see one sample in 16.
begin=(--init "$out/geometry")
how=(--preset nano --cache "$out/cache" --validation 0.05 --batch "$batch" --geometry-share 16
    --warm-up 50 --ema 0.995 --validate-every $(((steps + 9) / 10)) --save-every $(((steps + 9) / 10))
    --validation-samples 256 --device "${DEVICE:-auto}" --precision "${PRECISION:-fp32}" --threads "${THREADS:-2}"
    --workers "${WORKERS:-0}")

fifth=$(((steps + 4) / 5))

# train RUN OPTION...: in that way, or goes on with it.
train() {
    trained "$1" "${how[@]}" "${@:2}"
}

# curve KIND SEED OPTION...: a training of figure 7, of which the policy after each fifth of the steps is kept.
curve() {
    train "curve/$1_$2" --data "$out/rendered/libero_spatial" "${begin[@]}" --steps "$steps" --seed "$2" \
        --keep-every "$fifth" "${@:3}"
}

# try RUN NAME OPTION...: trials of a run's policy.
try() {
    local run=$1 name=$2
    shift 2
    once "eval/$name" vga eval libero --checkpoint "$out/$run" --device "${DEVICE:-auto}" --jobs "$jobs" \
        --out "$out/eval/$name" "$@"
}

# What nano, shipped for the simulated cell, knows of depth and cameras.
once geometry vga export geometry nano --out "$out/geometry"

if [[ $parts == *object* ]]; then
    demonstrations libero_object
    train object --data "$out/rendered/libero_object" "${begin[@]}" --steps "$steps"
    object=(--suite libero_object "${tasks[@]}")
    try object object "${object[@]}" --trials "$trials"
    for control in no-wrist no-instruction shuffled; do
        try object "object_$control" "${object[@]}" --trials "$controls" --control $control
    done
    once eval/object_zero vga eval libero --control zero "${object[@]}" --trials "$controls" --jobs "$jobs" \
        --out "$out/eval/object_zero"
    if [[ -z $quick ]]; then
        moved=(--suite libero_object ${plus[@]:+--task "${plus[@]}"})
        try object object_matched "${moved[@]}" --plus matched
        try object object_camera "${moved[@]}" --plus camera
        try object object_camera_no-wrist "${moved[@]}" --plus camera --control no-wrist
    fi
fi

suites=(libero_spatial libero_object libero_goal)
shown=("${suites[@]/#/$out/rendered/}")

if [[ $parts == *three* || $parts == *corrected* ]]; then
    for suite in "${suites[@]}"; do demonstrations "$suite"; done
    train three --data "${shown[@]}" "${begin[@]}" --steps "$steps"
fi
if [[ $parts == *three* ]]; then
    try three three --suite "${suites[@]}" "${tasks[@]}" --trials "$trials"
fi

if [[ $parts == *corrected* ]]; then
    policy=three
    for ((round = 1; round <= rounds; round++)); do
        once "corrections/$round" vga libero collect --suite "${suites[@]}" "${tasks[@]}" --policy "$out/$policy" \
            --episodes "$corrections" --seed "$round" --jobs "$jobs" --out "$out/corrections/$round"
        once "corrected/$round" vga libero import "$out/corrections/$round" --every "$every" --jobs "$jobs" \
            --out "$out/corrected/$round"
        shown+=("${suites[@]/#/$out/corrected/$round/}")
        train "three_$round" --data "${shown[@]}" --init "$out/$policy" --steps "$steps"
        policy=three_$round
    done
    try "$policy" corrected --suite "${suites[@]}" "${tasks[@]}" --trials "$trials"
fi

spatial=(--suite libero_spatial "${tasks[@]}" --trials "$controls")

if [[ $parts == *ablation* ]]; then
    demonstrations libero_spatial
    for seed in 0 1; do
        once "ablation/$seed" vga ablate --data "$out/rendered/libero_spatial" --out "$out/ablation" --seeds $seed \
            "${how[@]}" "${begin[@]}" --steps "$steps"
    done
    for policy in "$out"/ablation/runs/*/*/; do
        [[ ! -e $policy/best ]] || try "${policy#"$out/"}" "${policy#"$out/"}" "${spatial[@]}"
    done
fi

if [[ $parts == *curve* ]]; then
    demonstrations libero_spatial
    for seed in 0 1; do
        curve joint $seed
        curve alone $seed --ablation without-joint-training
        for kind in joint alone; do
            for ((step = fifth; step <= steps; step += fifth)); do
                policy=curve/${kind}_$seed/kept/$(printf %07d $step)
                try "$policy" "$policy" "${spatial[@]}"
            done
        done
    done
fi

if [[ $parts == *depth* ]]; then
    demonstrations libero_spatial
    once demos/held vga libero collect --suite libero_spatial "${tasks[@]}" --episodes 2 --seed 1 --jobs "$jobs" \
        --out "$out/held"
    once rendered/held vga libero import "$out/held" --every "$((2 * every))" --jobs "$jobs" --out "$out/rendered_held"
    train before --data "$out/rendered/libero_spatial" "${begin[@]}" --steps 1 --lr 1e-12 --muon 0  # learns nothing
    curve joint 0
    for policy in before curve/joint_0; do
        once "depth/$policy" vga eval geometry --checkpoint "$out/$policy" --data "$out/rendered_held/libero_spatial" \
            --device "${DEVICE:-auto}" --out "$out/depth/$policy"
    done
fi

if [[ $parts == *bare* ]]; then
    demonstrations libero_object
    train bare --data "$out/rendered/libero_object" --steps "$steps"
    try bare bare --suite libero_object "${tasks[@]}" --trials "$trials"
    if [[ -z $quick ]]; then
        try bare bare_camera --suite libero_object ${plus[@]:+--task "${plus[@]}"} --plus camera
    fi
fi
echo "results: $out/eval/*/results.json"
