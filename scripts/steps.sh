# Steps of a script that goes on where it was interrupted; sourced. print: shows the commands and runs none. out: where
# what is done is marked, in .done.

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
