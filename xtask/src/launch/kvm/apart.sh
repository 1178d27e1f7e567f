#!/bin/sh
# Runs each VM of a manifest in a kvm-vmm of its own, connected through sockets in a folder:
#     apart.sh VMM MANIFEST FOLDER VM,VM,... [FLAG...]
# The consoles of all come out together. Ends when all have, with the status of one that failed.

vmm=$1 manifest=$2 folder=$3 vms=$(echo "$4" | tr , ' ')
shift 4

# Whoever kills this script ends them as well, where there is a program for that.
guard=
if setpriv --help 2>&1 | grep -q -- --pdeathsig; then guard='setpriv --pdeathsig KILL'; fi

processes=
for vm in $vms; do
    $guard "$vmm" run "$manifest" --only "$vm" --link "$folder/link" "$@" </dev/null &
    processes="$processes $!"
done
status=0
for process in $processes; do
    wait "$process" || status=$?
done
exit $status
