#!/bin/sh
# Holds a deleted file open and counts in it.
exec 3<>counter.tmp
rm counter.tmp
n=0
while [ $n -lt 1000 ]; do
  n=$((n + 1))
  echo $n >&3
  printf '\rcounted to %d in a file without a name' $n
  sleep 1
done
echo
