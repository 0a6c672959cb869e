# Sourced by the scripts beside it: where things are, and which ROS this machine has.
# shellcheck shell=bash disable=SC2034

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
apt_ros=/opt/ros/jazzy

# `apt` when Jazzy is installed as Ubuntu packages, else `wheels`: Jazzy from PyPI, inside .venv.
if [[ -f $apt_ros/setup.bash ]]; then ros=apt; else ros=wheels; fi

# without_ours LIST: a colon-separated path list less the entries of this checkout and of any sourced ROS.
without_ours() {
    local entry kept=''
    local IFS=:
    for entry in $1; do
        case $entry in
            '' | "$root"/* | /opt/ros/*) ;;
            *) kept+=${kept:+:}$entry ;;
        esac
    done
    printf '%s' "$kept"
}

# join ENTRY...: a colon-separated path list of the entries that are not empty.
join() {
    local entry joined=''
    for entry; do [[ -z $entry ]] || joined+=${joined:+:}$entry; done
    printf '%s' "$joined"
}
