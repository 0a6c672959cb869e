#!/usr/bin/env bash
# Trains the shipped policy `nano` again, from random weights: demonstrations, four trainings, the policy.
#
#   scripts/train_nano.sh [--quick] [--print] [OUT]
#
#   OUT       directory for everything, default out/train_nano
#   --quick   every command with one episode or four training steps: shows that the recipe runs, and gives no policy
#   --print   shows the commands and runs none
#
#   PRECISION=fp32   for processors that only emulate bfloat16
#   THREADS=2        threads that compute
#
# The trainings took two and three quarter hours on 2 cores, collecting for the last two another hour. Episodes take about
# 16 GB, 5 to 12 MB each. After an interruption the same call goes on: what is done is marked in OUT/.done, a training goes
# on from its last saved state, and a collection that was cut off begins anew. The shipped policy was made by these
# commands when another rule said which episodes validate: docs/lab-notes has the history.
set -euo pipefail

. "$(dirname "$0")/steps.sh"

precision=${PRECISION:-bf16} threads=${THREADS:-2}

# collect DIRECTORY TASK EPISODES [OPTION...]: --quick draws images of the first second only, which is what takes time.
collect() {
    local directory=$1 task=$2 episodes=${quick:-$3} short=()
    shift 3
    [[ -z $quick ]] || short=(--images-for 1)
    [[ -n $print || -e $out/.done/$directory ]] || rm -rf "${out:?}/$directory"
    once "$directory" vga collect --in-process --task "$task" --episodes "$episodes" --out "$out/$directory" "$@" \
        "${short[@]}"
}

# train RUN OPTION...: --quick shortens it by options that come last, and so count.
train() {
    local name=$1 short=()
    shift
    [[ -z $quick ]] || short=(--steps 4 --batch 4 --warm-up 1 --validate-every 2 --save-every 2)
    trained "$name" --preset nano --device cpu --threads "$threads" --cache "$out/cache" --validation 0.05 "$@" \
        "${short[@]}"
}

# --- First and second: the cameras where they stand ---

for task in pick_cube stack_cube press_button; do
    collect demos/$task $task 50
    collect demos/$task-perturbed $task 50 --seed 100000 --perturb
done
collect demos/vegetable grasp_vegetable 150
collect demos/vegetable-perturbed grasp_vegetable 200 --seed 100000 --perturb
# The beginnings, in which it is decided which vegetable is meant.
collect demos/starts grasp_vegetable 350 --seed 10000 --no-depth --images-for 2
collect demos/starts-perturbed grasp_vegetable 350 --seed 110000 --perturb --no-depth --images-for 2

train run1 --data "$out/demos" --steps 5600 --validate-every 700 --save-every 350 --geometry-share 32 --starts 3 \
    --precision "$precision" --workers 2
train run2 --data "$out"/demos/{pick_cube,stack_cube,press_button,vegetable}{,-perturbed} --init "$out/run1" --steps 800 \
    --lr 3e-4 --muon 1e-3 --warm-up 30 --ema 0.99 --validate-every 200 --save-every 200 --geometry-share 32 \
    --precision "$precision" --workers 2

# --- Third: fixed cameras that stand elsewhere every half a second ---

# DIRECTORY TASK EPISODES EPISODES: as it is done, and with odd starts, bad aim and pushes, without depth.
moving() {
    collect "$1" "$2" "$3" --seed 20000 --random-cameras
    collect "$1-perturbed" "$2" "$4" --seed 120000 --random-cameras --perturb --no-depth
}
moving moving/vegetable grasp_vegetable 60 70
moving moving/stack_cube stack_cube 40 40
moving moving/pick_cube pick_cube 30 30
moving moving/press_button press_button 16 16
collect still/pick_cube pick_cube 50 --seed 100000 --perturb
collect still/press_button press_button 40 --seed 100000 --perturb
collect still/stack_cube stack_cube 30 --no-depth
collect still/vegetable grasp_vegetable 50 --seed 100000 --perturb --no-depth

train run3 --data "$out/moving" "$out/still" --init "$out/run2" --steps 1400 --batch 24 --lr 4e-4 --muon 2e-3 --warm-up 40 \
    --ema 0.99 --validate-every 350 --save-every 175 --geometry-share 12 --precision fp32 --workers 1
once third vga export policy "$out/run3/best" --out "$out/third"

# --- Fourth: more of them, with 500 beginnings ---

more() {
    collect "more/$1" "$2" "$3" --seed 20000 --random-cameras
    collect "more/$1-perturbed" "$2" "$4" --seed 120000 --random-cameras --perturb "${@:5}"
}
more vegetable grasp_vegetable 80 100 --no-depth
more stack_cube stack_cube 40 50 --no-depth
more pick_cube pick_cube 40 40
more press_button press_button 16 20 --no-depth
collect more/starts grasp_vegetable 250 --seed 30000 --random-cameras --no-depth --images-for 2
collect more/starts-perturbed grasp_vegetable 250 --seed 130000 --random-cameras --no-depth --images-for 2 --perturb
collect usual/pick_cube pick_cube 50 --seed 100000 --perturb
collect usual/press_button press_button 30 --seed 100000 --perturb --no-depth
collect usual/stack_cube stack_cube 40 --seed 100000 --perturb --no-depth
collect usual/vegetable grasp_vegetable 80 --seed 100000 --perturb

train run4 --data "$out/more" "$out/usual" --init "$out/third" --steps 1000 --batch 32 --lr 5e-4 --muon 2e-3 --warm-up 40 \
    --ema 0.99 --validate-every 425 --save-every 425 --geometry-share 5 --precision "$precision" --workers 1
train run5 --data "$out"/more/{vegetable,stack_cube,pick_cube,press_button}{,-perturbed} "$out/usual" --init "$out/run4" \
    --steps 400 --batch 32 --lr 3e-4 --muon 1e-3 --warm-up 20 --ema 0.99 --validate-every 300 --save-every 300 \
    --geometry-share 5 --precision "$precision" --workers 1

once nano vga export policy "$out/run5/best" --out "$out/nano"
# Its views as the cameras stand, which in half of what run5 was trained on they did not.
once views python3 "$(dirname "$0")/reference_views.py" "$out/nano" "$out/usual"
echo "the policy: $out/nano. Next: vga eval sim --checkpoint $out/nano --in-process --trials 100 --max-steps 300"
