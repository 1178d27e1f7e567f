#!/bin/sh
# Two VMs, vm0 and vm1, each in a kvm-vmm of its own. Each of the two is killed, which the other one must survive, and comes back:
#     kills.sh VMM MANIFEST FOLDER VM,VM,... [FLAG...]
# What this script does it says in lines [link]; whether it was right, who reads the console decides.

vmm=$1 manifest=$2 folder=$3
shift 4
flags=$*

guard=
if setpriv --help 2>&1 | grep -q -- --pdeathsig; then guard='setpriv --pdeathsig KILL'; fi

say() {
    echo "[link] $*"
}

# The numbers are those of the VMs.
start() {
    rm -f "$folder/pipe$1"
    mkfifo "$folder/pipe$1"
    # Line by line, so that no line of the other one gets into the middle.
    while IFS= read -r line; do
        printf '%s\n' "$line"
        printf '%s\n' "$line" >>"$folder/vm$1.said"
    done <"$folder/pipe$1" &
    # shellcheck disable=SC2086
    $guard "$vmm" run "$manifest" --only "vm$1" --link "$folder/link" $flags </dev/null >"$folder/pipe$1" &
    eval "process$1=$!"
    say "record=started vm=vm$1"
}

kill9() {
    say "record=killed vm=vm$1"
    eval "kill -9 \$process$1"
    eval "wait \$process$1" 2>/dev/null
}

# Waits until vm$1's process has said so many lines with these words.
await() {
    tries=600
    while [ "$(grep -c -e "$3" "$folder/vm$1.said")" -lt "$2" ]; do
        tries=$((tries - 1))
        if [ $tries -eq 0 ] || grep -q 'DEMO fail' "$folder"/vm?.said; then
            say "record=failed waiting=vm$1 count=$2 words=$(echo "$3" | tr ' ' '_')"
            kill -9 "$process0" "$process1"
            exit 1
        fi
        sleep 0.3
    done
}

# So often, each on both connections.
talks() {
    await "$1" "$2" "connection=wire state=talks"
    await "$1" "$2" "connection=wire-msix state=talks"
}

rm -f "$folder"/vm?.said "$folder/link".*
: >"$folder/vm0.said"
: >"$folder/vm1.said"
start 0
start 1
talks 0 1
talks 1 1

kill9 1
await 0 1 "record=peer-gone vm=vm0 peer=vm1"
await 0 1 "connection=wire state=gone"
await 0 1 "connection=wire-msix state=gone"
await 0 3 "connection=wire state=waits"
start 1
talks 0 2
talks 1 2

"$vmm" run "$manifest" --only vm0 --link "$folder/link" >"$folder/again" 2>&1
say "record=again vm=vm0 status=$? says=$(tail -n 1 "$folder/again" | tr ' ' '_')"

kill9 0
await 1 1 "record=peer-gone vm=vm1 peer=vm0"
await 1 1 "connection=wire state=gone"
await 1 1 "connection=wire-msix state=gone"
await 1 3 "connection=wire state=waits"
start 0
talks 1 3
talks 0 3

# Both end in order. vm1, which has seen a death since it booted, loses its peer no more before its VMM tells what it has counted.
kill "$process1"
wait "$process1"
status1=$?
kill "$process0"
wait "$process0"
say "record=over vm0=$? vm1=$status1"
# What the VMMs have said last.
wait
