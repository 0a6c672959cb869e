#!/usr/bin/env bash
# Prints the `export` lines that put a shell into this environment:  eval "$(make -s env)"
set -euo pipefail
# shellcheck source=env/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [[ ! -x $venv/bin/python || ! -f $root/install/local_setup.bash ]]; then
    echo "env: nothing is set up yet: run make setup" >&2
    exit 1
fi

PATH=$(without_ours "$PATH")
for list in PYTHONPATH LD_LIBRARY_PATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH; do
    declare -x "$list=$(without_ours "${!list-}")"
done

export ROS_DISTRO=jazzy ROS_VERSION=2 ROS_PYTHON_VERSION=3
set +u # ROS's own scripts read unset variables
if [[ $ros == apt ]]; then
    # shellcheck source=/dev/null
    . "$apt_ros/setup.bash"
    export PYTHONNOUSERSITE=1 # the venv sees system packages; those of ~/.local would shadow them
else
    AMENT_PREFIX_PATH=$(join "$venv" "$AMENT_PREFIX_PATH")
    CMAKE_PREFIX_PATH=$(join "$venv" "$CMAKE_PREFIX_PATH")
    # The wheels find their libraries by restarting Python at start-up, unless a guard variable, inherited from
    # another environment, tells them that it has been done. Naming them here works either way.
    LD_LIBRARY_PATH=$(join "$venv/lib" "$venv"/lib/python3.*/site-packages/ros_*.libs "$LD_LIBRARY_PATH")
fi
# shellcheck source=/dev/null
. "$root/install/local_setup.bash"
set -u

export VIRTUAL_ENV=$venv
PATH=$(join "$venv/bin" "$root"/install/vga_*/lib/vga_{policy,bringup,teleop} "$PATH")
LD_LIBRARY_PATH=${LD_LIBRARY_PATH%:} # an empty entry would mean the current directory

: "${ROS_AUTOMATIC_DISCOVERY_RANGE:=LOCALHOST}"
: "${MUJOCO_GL:=egl}"
: "${FASTRTPS_DEFAULT_PROFILES_FILE:=$root/vga_policy/config/fastdds.xml}" # images over shared memory
export RMW_IMPLEMENTATION=rmw_fastrtps_cpp

for name in VIRTUAL_ENV PATH PYTHONPATH LD_LIBRARY_PATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH \
    ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION RMW_IMPLEMENTATION ROS_AUTOMATIC_DISCOVERY_RANGE \
    FASTRTPS_DEFAULT_PROFILES_FILE MUJOCO_GL PYTHONNOUSERSITE; do
    [[ -z ${!name-} ]] || printf "export %s='%s'\n" "$name" "${!name//\'/\'\\\'\'}"
done
