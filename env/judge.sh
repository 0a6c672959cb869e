#!/usr/bin/env bash
# Prepares .venv-judge, where the outside judge of the driver runs: an independent simulator of the arm (franka-sim)
# that enforces the robot's limits. Called by `make judge`; done once for each env/requirements/judge.txt.
set -euo pipefail
# shellcheck source=env/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"
exec 1>&2

judge=$root/.venv-judge
requirements=env/requirements/judge.txt
mark=$judge/.setup
log=log/setup/judge.log

# This checkout's environment, exported by `make -s env`, is not the judge's.
unset LD_LIBRARY_PATH PYTHONPATH PYTHONHOME VIRTUAL_ENV _ROS_WHEELS_BOOTSTRAP_COMPLETE
export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

install() {
    "$("$venv/bin/python" -c 'import sys; print(sys._base_executable)')" -m venv --clear "$judge"
    "$judge/bin/python" -m pip install --progress-bar off --no-deps --requirement "$requirements"
    "$judge/bin/python" -c 'import franka_sim, mujoco'
}

exec 9<"$root/env"
flock 9 # a second call waits for the first

key="$root $(sha256sum <"$requirements")" # a moved checkout needs a new one
[[ ! -f $mark || $(<"$mark") != "$key" ]] || exit 0
echo "judge: environment of the outside judge (.venv-judge) ..."
mkdir -p "$(dirname "$log")"
set +e
(set -e; install) >"$log" 2>&1 </dev/null
status=$?
set -e
if [[ $status != 0 ]]; then
    tail -n 15 "$log" | sed 's/^/    /'
    echo "judge: the environment could not be made; the lines above are the end of $log"
    echo "Is the network up? Then run it again."
    exit 1
fi
printf '%s\n' "$key" >"$mark"
