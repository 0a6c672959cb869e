#!/usr/bin/env bash
# Judges `vga eval robot` in simulation: a study that is killed twice, then the same scenes by `vga eval sim`, twice.
#
#   scripts/study_sim.sh [--quick] [--print] [OUT]
#
#   OUT       directory for everything, default out/study_sim
#   --quick   one trial of an arm, 15 steps: shows that every command runs
#   --print   shows the commands and runs none
#
# Two policies, `nano` and `noisy` (nano with noise on its weights, so that it fails now and then), under two views, on
# pick_cube. Ends with how many trials differ between the study and each run, and between the runs. About 70 minutes.
#
#   TRIALS=20 STEPS=300 LEVEL=0.08 KILLED="333 517"
#
# After an interruption the same call goes on; another OUT for other numbers. Wants make setup PURPOSES=trials.
set -euo pipefail

. "$(dirname "$0")/steps.sh"

trials=${TRIALS:-20} steps=${STEPS:-300}
read -ra killed <<<"${KILLED:-333 517}" # s after which the study is killed
[[ -z $quick ]] || trials=1 steps=15 killed=(20)

# study: in one simulated cell with a recorder, killed and gone on with.
study() {
    vga sim --policy false --record true --out "$out/episodes" >"$out/sim.log" 2>&1 &
    local cell=$!
    trap 'kill -INT $cell 2>/dev/null || true' EXIT
    until grep -q "ready after" "$out/sim.log"; do
        kill -0 $cell || { tail -n 1 "$out/sim.log" >&2; return 1; }
        sleep 0.5
    done
    for seconds in "${killed[@]}"; do
        timeout --signal KILL "$seconds" vga eval robot "$out/study" --operator nobody </dev/null || true
    done
    vga eval robot "$out/study" --operator nobody </dev/null
    kill -INT $cell
    wait $cell || true
    trap - EXIT
}

once noisy python3 "$here/noisy_policy.py" nano "${LEVEL:-0.08}" "$out/noisy"
once locked vga eval robot "$out/study" --create --policies nano noisy="$out/noisy" --task pick_cube \
    --trials "$trials" --max-steps "$steps" --cell sim
once study study
for number in 1 2; do
    for view in id ood; do
        for policy in nano noisy; do
            checkpoint=$policy
            [[ $policy == nano ]] || checkpoint=$out/noisy
            once "sim/$number/$policy-$view" vga eval sim --checkpoint "$checkpoint" --task pick_cube \
                --trials "$trials" --max-steps "$steps" --view "$view" --videos 0 --method "$policy" \
                --out "$out/sim/$number/$policy-$view"
        done
    done
done
run python3 "$here/same_scenes.py" "$out/study/reports" "$out/sim/1" "$out/sim/2"
