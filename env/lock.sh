#!/usr/bin/env bash
# Resolves env/requirements/*.in to exact versions. Called by `make lock`.
#
# One resolution covers every purpose, so that any set of them can share a virtual environment:
#   lock.txt      Python 3.11 and 3.12, ROS from PyPI
#   lock-apt.txt  Python 3.12 beside apt's ROS: its cv_bridge is built against NumPy 1.26. Same versions otherwise,
#                 where those allow it; pyarrow 26 runs on NumPy 2 only, which it does not declare
# *.no-deps.txt are kept by hand: packages whose own word on what they depend on is not to be followed.
set -euo pipefail
cd "$(dirname "$0")/requirements"

uv_version=0.13.9
tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
python3 -m venv "$tool"
"$tool/bin/pip" install --quiet --disable-pip-version-check "uv==$uv_version"

# compile OUTPUT PYTHON ARGUMENT...: versions already in OUTPUT are kept unless UPGRADE=1.
compile() {
    local output=$1 python=$2
    shift 2
    "$tool/bin/uv" pip compile --quiet --no-config --universal --python-version "$python" --fork-strategy fewest \
        --no-header --no-annotate ${UPGRADE:+--upgrade} --output-file "$output" "$@" >/dev/null
    # Linux only: drop what no machine of ours installs.
    sed -i -E "/sys_platform == '(win32|emscripten)'/d" "$output"
    sed -i "1i # Written by 'make lock' from *.in. Do not edit." "$output"
    echo "$output: $(grep -c == "$output") packages"
}

compile lock.txt 3.11 ./*.in
[[ -f lock-apt.txt && -z ${UPGRADE:-} ]] || cp lock.txt lock-apt.txt
mapfile -t without_ros < <(find . -name '*.in' ! -name ros.in | sort)
UPGRADE='' compile lock-apt.txt 3.12 --constraint <(printf '%s\n' "numpy==1.26.4" "pyarrow<26") "${without_ros[@]}"
