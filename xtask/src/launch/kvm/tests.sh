#!/bin/sh
# Runs a program of tests where kvm-vmm would run, one test at a time, as each makes VMs:
#     tests.sh PROGRAM MANIFEST FOLDER VM,VM,... [FLAG...]
# There is nothing else to say to it.

exec "$1" --test-threads=1 2>&1
