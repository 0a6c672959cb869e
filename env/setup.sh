#!/usr/bin/env bash
# Prepares this checkout: system packages, .venv, Python packages, the ROS workspace. Called by `make setup`.
#
#   env/setup.sh [--quiet] [PURPOSE ...]
#
# PURPOSE: files of env/requirements (robot runtime train sim libero viewers panel trials dev docs). A purpose once installed is kept up
# to date by every later call; without any, they are robot runtime sim train dev. Steps that are done are skipped.
#
#   PYTHON=python3.12     interpreter of .venv (3.11 or 3.12)
#   TORCH=cpu|cuda        build of PyTorch; default: cuda where there is an NVIDIA GPU
#   SYSTEM_PACKAGES="..." Debian/Ubuntu packages that are wanted besides
#   TORCH_INDEX_URL=URL   where CPU builds come from when pip's own index has none
set -euo pipefail
# shellcheck source=env/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"
exec 1>&2 # standard output belongs to whoever asked, e.g. `make -s env`

quiet=''
[[ ${1-} != --quiet ]] || { quiet=1; shift; }

requirements=env/requirements
logs=log/setup
marks=$venv/.setup     # what has been done: one file a step, holding the key it was done for
torch_cpu_index=${TORCH_INDEX_URL:-https://download.pytorch.org/whl/cpu}
lock=$requirements/lock.txt
[[ $ros == wheels ]] || lock=$requirements/lock-apt.txt

# A clean slate: other environments' variables would leak into builds and installs.
LD_LIBRARY_PATH=$(without_ours "${LD_LIBRARY_PATH-}")
PATH=$(without_ours "$PATH")
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE # guard of the ROS wheels: inherited, it would break another .venv's libraries
export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

fail() {
    printf 'setup: %s\n' "$@"
    exit 1
}

# step NAME KEY TITLE HINT COMMAND...: runs COMMAND unless it has been done for KEY. A failure shows the log and HINT.
step() {
    local name=$1 key=$2 title=$3 hint=$4 log=$logs/$1.log started=$SECONDS status
    shift 4
    [[ ! -f $marks/$name || $(<"$marks/$name") != "$key" ]] || return 0
    rm -f "$marks/$name"
    mkdir -p "$logs"
    printf 'setup: %s ...\n' "$title"
    set +e # in a condition, bash would ignore the inner set -e
    (set -e; "$@") >"$log" 2>&1 </dev/null
    status=$?
    set -e
    if [[ $status != 0 ]]; then
        tail -n 15 "$log" | sed 's/^/    /'
        fail "step '$title' failed; the lines above are the end of $log" "$hint"
    fi
    mkdir -p "$marks"
    printf '%s\n' "$key" >"$marks/$name"
    printf 'setup: %s: done in %s s\n' "$title" $((SECONDS - started))
}

hash_of() { cat -- "$@" | sha256sum | cut -c1-16; }

# --- Purposes ---

purposes=("$@")
# shellcheck disable=SC2207
[[ ! -f $marks/purposes ]] || purposes+=($(<"$marks/purposes"))
[[ ${#purposes[@]} -gt 0 ]] || purposes=(robot runtime sim train dev)
for purpose in "${purposes[@]}"; do
    [[ $purpose =~ ^(robot|runtime|train|sim|libero|viewers|panel|trials|dev|docs)$ ]] ||
        fail "unknown purpose '$purpose'; known: robot runtime train sim libero viewers panel trials dev docs"
done
mapfile -t purposes < <(printf '%s\n' "${purposes[@]}" | sort -u)
has() { [[ " ${purposes[*]} " == *" $1 "* ]]; }

# --- Python ---

# version_of PYTHON: 3.11, say; nothing if it does not run.
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

choose_python() {
    local candidate version found=''
    if [[ -n ${PYTHON-} ]]; then
        set -- "$PYTHON"
    elif [[ $ros == apt ]]; then
        set -- /usr/bin/python3 # the one apt's rclpy is built for
    else
        set -- "$venv/bin/python" python3 python3.12 python3.11
    fi
    for candidate; do
        version=$(version_of "$candidate")
        case $version in
            3.11 | 3.12)
                python=$("$candidate" -c 'import sys; print(sys._base_executable)') # of a .venv, what made it
                python_version=$version
                return
                ;;
            ?*) found+="${found:+, }$candidate is $version" ;;
        esac
    done
    if [[ -z $found && -z ${PYTHON-} ]]; then
        return 1
    fi
    fail "Python 3.11 or 3.12 is needed; ${found:-$PYTHON does not run}." \
        "Install one and name it: PYTHON=python3.12 make setup"
}

# --- System packages ---

# Lists what is missing, as Debian/Ubuntu package names.
missing_packages() {
    local wanted=() package
    if [[ -z $python ]]; then
        wanted+=(python3 python3-venv python3-dev)
    else
        "$python" -c 'import ensurepip' 2>/dev/null || wanted+=("python$python_version-venv")
        "$python" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null ||
            wanted+=("python$python_version-dev")
    fi
    command -v c++ >/dev/null && command -v make >/dev/null || wanted+=(build-essential)
    if command -v dpkg-query >/dev/null; then
        # shellcheck disable=SC2206
        local libraries=(libusb-1.0-0 ${SYSTEM_PACKAGES-})
        [[ $ros == wheels ]] || libraries+=(ros-jazzy-ros-base ros-jazzy-cv-bridge)
        if has sim || has libero; then libraries+=(libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri); fi # rendering
        local present
        present=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${libraries[@]}" 2>/dev/null || true)
        for package in "${libraries[@]}"; do
            [[ $present == *"$package installed"* ]] || wanted+=("$package")
        done
    fi
    echo "${wanted[@]}"
}

install_packages() {
    local as_root=()
    [[ $EUID == 0 ]] || as_root=(sudo)
    "${as_root[@]}" apt-get update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

system_packages() {
    local missing
    missing=$(missing_packages)
    [[ -n $missing ]] || return 0
    local remedy="Have an administrator run: apt-get install $missing"
    command -v apt-get >/dev/null || fail "missing on this machine: $missing" \
        "There is no apt-get here: install their equivalents, then run make setup again."
    if [[ $EUID != 0 ]]; then
        command -v sudo >/dev/null || fail "missing on this machine: $missing" "$remedy"
        sudo -n true 2>/dev/null ||
            { [[ -t 0 ]] && sudo -p "setup: password for %u, to install $missing: " -v; } ||
            fail "missing on this machine: $missing" "$remedy"
    fi
    # Never remembered: asking dpkg is fast, and packages can be removed behind our back.
    rm -f "$marks/packages"
    # shellcheck disable=SC2086
    step packages "" "system packages ($missing)" "Is the network up? $remedy" install_packages $missing
}

# --- Python packages ---

make_venv() {
    local system=false options=(--clear)
    [[ $ros == wheels ]] || { system=true; options+=(--system-site-packages); }
    if [[ $(version_of "$venv/bin/python") != "$python_version" ]] ||
        ! grep -q "^include-system-site-packages = $system" "$venv/pyvenv.cfg" ||
        ! grep -q "^#!$venv/" "$venv/bin/pip"; then # the checkout was moved
        "$python" -m venv "${options[@]}" "$venv"
    fi
    pip_install --upgrade pip setuptools wheel
}

pip_install() { "$venv/bin/python" -m pip install --progress-bar off --constraint "$lock" "$@"; }

has_gpu() { [[ -e /dev/nvidia0 ]] || nvidia-smi -L >/dev/null 2>&1; }

# Version of torch that pip would fetch from its own index, e.g. 2.13.0 or 2.13.0+cpu.
resolved_torch() {
    "$venv/bin/python" -m pip install --dry-run --quiet --no-deps --ignore-installed --report - "$1" |
        "$venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])'
}

# PyPI's Linux builds carry CUDA (6 GB with its libraries). Where there is no GPU, the CPU build takes their place.
install_torch() {
    local torch installed
    torch=$(grep '^torch==' "$lock")
    installed=$("$venv/bin/python" -m pip list --format freeze | grep '^torch==' || true)
    if [[ $torch_build == cuda ]]; then
        [[ $installed != *+cpu ]] || "$venv/bin/python" -m pip uninstall -y torch
        pip_install "$torch"
    elif [[ $installed == "$torch+cpu" ]]; then
        pip_install "$installed"
    elif [[ $(uname -m) != x86_64 || $(resolved_torch "$torch") == *+cpu ]]; then
        pip_install "$torch"
    else
        [[ -z $installed ]] || "$venv/bin/python" -m pip uninstall -y torch
        pip_install --extra-index-url "$torch_cpu_index" "$torch+cpu"
    fi
}

install_requirements() {
    local files=() purpose
    for purpose in build "${purposes[@]}"; do files+=(--requirement "$requirements/$purpose.in"); done
    [[ $ros == apt ]] || files+=(--requirement "$requirements/ros.in")
    pip_install "${files[@]}"
    for purpose in "${purposes[@]}"; do
        [[ ! -f $requirements/$purpose.no-deps.txt ]] ||
            pip_install --no-deps --requirement "$requirements/$purpose.no-deps.txt"
    done
    if [[ $ros == apt ]]; then link_ros2; else fix_cmake_paths; fi
}

# apt's ros2 runs in the system's Python, where launch files of this workspace would not find .venv's packages.
link_ros2() {
    printf '#!/bin/sh\nexec "%s/bin/python" %s/bin/ros2 "$@"\n' "$venv" "$apt_ros" >"$venv/bin/ros2"
    chmod +x "$venv/bin/ros2"
}

# The CMake files of the ROS wheels name the Python of the image that they were built in.
fix_cmake_paths() {
    local include packages
    include=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    { grep -rlE '/opt/python/cp[0-9]+-cp[0-9]+/' "$venv/share" --include='*.cmake' || true; } | xargs -r sed -i -E \
        -e "s#/opt/python/cp[0-9]+-cp[0-9]+/include/python3\.[0-9]+#$include#g" \
        -e "s#/opt/python/cp[0-9]+-cp[0-9]+/lib/python3\.[0-9]+/site-packages#$packages#g"
}

# --- The ROS workspace ---

workspace=(vga_msgs vga_policy vga_bringup vga_teleop)
[[ $ros == apt ]] || workspace+=(env/tf2_msgs) # PyPI has none

# Everything that a build looks at. Python sources are not: they are linked, so edits are live.
workspace_key() {
    local files
    mapfile -t files < <(find "${workspace[@]}" -type f \
        \( -path '*_msgs/*' -o -name package.xml -o -name 'setup.*' \) | sort)
    { hash_of "${files[@]}"; find vga_*/{config,launch,resource} 2>/dev/null | sort; } | sha256sum | cut -c1-16
}

build_workspace() {
    export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
    if [[ $ros == apt ]]; then
        set +u
        # shellcheck source=/dev/null
        . "$apt_ros/setup.bash"
        set -u
    else
        export AMENT_PREFIX_PATH=$venv CMAKE_PREFIX_PATH=$venv
    fi
    local clean=()
    [[ -d install/vga_policy/lib/python$python_version ]] || rm -rf build install # none yet, or another Python's
    [[ ! -f build/vga_msgs/CMakeCache.txt ]] || clean=(--cmake-clean-cache)
    "$venv/bin/colcon" build --base-paths "${workspace[@]}" --symlink-install "${clean[@]}" \
        --cmake-args -DBUILD_TESTING=OFF "-DPython3_EXECUTABLE=$venv/bin/python"
}

prepare_simulation() {
    eval "$(env/exports.sh)"
    python -m vga_bringup.sim.scene.meshes
}

# --- Run ---

exec 9<"$root/env"
flock 9 # a second call waits for the first

python='' python_version=''
choose_python || true
system_packages
[[ -n $python ]] || choose_python || fail "no Python 3 was found, although apt installed one"

torch_build=${TORCH:-$(grep -qs ^cuda "$marks/torch" || has_gpu && echo cuda || echo cpu)}
[[ $torch_build =~ ^(cpu|cuda)$ ]] || fail "TORCH=$torch_build: must be cpu or cuda"

retry="Is the network up, and 8 GB of disk free? Then run it again: it goes on where it stopped."
[[ $(version_of "$venv/bin/python") == "$python_version" ]] || rm -f "$marks/venv"
step venv "$root $ros $python_version" "virtual environment, Python $python_version" \
    "Is the network up? To try another interpreter: PYTHON=python3.12 make setup" make_venv

if has runtime || has train; then
    step torch "$torch_build $(grep '^torch==' "$lock")" "PyTorch, $torch_build build" \
        "CPU builds come from $torch_cpu_index: if that cannot be reached, set TORCH_INDEX_URL to a mirror, or TORCH=cuda to take the CUDA build (6 GB) from pip's index." \
        install_torch
fi
requirements_key="$(hash_of "$lock" "$requirements"/*.{in,no-deps.txt} env/setup.sh) ${purposes[*]}"
step requirements "$requirements_key" "Python packages (${purposes[*]})" "$retry" install_requirements
echo "${purposes[*]}" >"$marks/purposes"

[[ -f install/local_setup.bash ]] || rm -f "$marks/workspace"
step workspace "$root $(hash_of "$lock") $(workspace_key)" "ROS workspace (${workspace[*]})" \
    "If nothing there helps: make clean, then make setup." build_workspace

if has sim && [[ -f vga_bringup/vga_bringup/sim/scene/meshes.py ]]; then
    step simulation "$requirements_key $(hash_of vga_bringup/vga_bringup/sim/scene/meshes.py)" "meshes of the simulated cell" \
        "$retry" prepare_simulation
fi
[[ -n $quiet ]] || echo "setup: ready. Next: make demo, make sim, or eval \"\$(make -s env)\" for this shell."
