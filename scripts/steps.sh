# What scripts that go on where they were interrupted share; sourced by them, after `set -euo pipefail`. Arguments set
# quick and print (empty: no) and out, the directory of everything, where what is done is marked in .done. --help shows
# the script's head.

quick='' print='' out=out/$(basename "$0" .sh) here=$(cd "$(dirname "$0")" && pwd)
for argument; do
    case $argument in
        --quick) quick=1 ;;
        --print) print=1 ;;
        -*)
            awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
            [[ $argument == --help ]] || exit 2
            exit ;;
        *) out=$argument ;;
    esac
done
[[ -n $print ]] || command -v vga >/dev/null ||
    { echo "$(basename "$0" .sh): no vga here: eval \"\$(make -s env)\"" >&2; exit 1; }

# run COMMAND...: says and runs it.
run() {
    echo "+ $*"
    [[ -n $print ]] || "$@"
}

# once NAME COMMAND...: runs COMMAND unless it has come to its end before.
once() {
    local name=$1
    shift
    [[ -z $print ]] || { run "$@"; return; }
    if [[ ! -e $out/.done/$name ]]; then
        run "$@"
        mkdir -p "$(dirname "$out/.done/$name")"
        touch "$out/.done/$name"
    fi
}

# trained RUN OPTION...: vga train into that directory of OUT, once; or goes on with it.
trained() {
    local name=$1
    shift
    if [[ -z $print && ! -e $out/.done/$name && -e $out/$name/config.json ]]; then
        once "$name" vga train --resume "$out/$name"
    else
        once "$name" vga train --out "$out/$name" "$@"
    fi
}
