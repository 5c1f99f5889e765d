#!/bin/sh
# What the guest of smp.test.ts runs. Each stage says "BEGIN name", and "STAGE name code" at its end; what the kernel has said comes last.
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev 2>/dev/null; mount -t tmpfs tmp /tmp; mkdir -p /mnt/share
echo "CPUS $(grep -c ^processor /proc/cpuinfo)"
share=/mnt/share
mount -t virtiofs share $share || { echo "STAGE mount $?"; poweroff -f; }
stage() { name=$1; shift; echo "BEGIN $name"; "$@" > /tmp/out 2>&1; code=$?; [ $code = 0 ] || tail -5 /tmp/out; echo "STAGE $name $code"; }

# Files are made, compared, renamed into a directory that all share, listed and removed.
worker() {
  mkdir $share/own.$1 || return 1
  n=0
  while [ $n -lt $2 ]; do
    n=$((n + 1)); f=$share/own.$1/$n
    (set -C; echo "worker $1 file $n" > $f) || return 2
    dd if=/tmp/data of=$f bs=$((n % 7 * 1000 + 500)) count=9 seek=1 conv=notrunc 2> /dev/null || return 3
    dd if=$f bs=$((n % 7 * 1000 + 500)) skip=1 count=9 2> /dev/null | cmp -n $((n % 7 * 9000 + 4500)) - /tmp/data || return 4
    mv $f $share/all/$1.$n || return 5
    [ "$(head -c 4 $share/all/$1.$n)" = work ] || return 6
    (cd $share/all && echo *) > /dev/null || return 7
    [ $((n % 3)) = 0 ] || rm $share/all/$1.$n || return 8
    (set -C; echo > $share/all/once.$n) 2> /dev/null && echo "$n" >> /tmp/once.$1
  done
  rmdir $share/own.$1
}
files() {
  mkdir $share/all; dd if=/dev/urandom of=/tmp/data bs=1k count=64 2> /dev/null
  pids=; for w in 1 2 3 4 5 6 7 8; do worker $w $1 & pids="$pids $!"; done
  for pid in $pids; do wait $pid || return $?; done
  # Exclusively: each name was made by one of them.
  [ "$(cat /tmp/once.* | sort -n | uniq -c | awk '$1 != 1' | wc -l)" = 0 ] && [ "$(cat /tmp/once.* | wc -l)" = $1 ] || return 9
  [ "$(ls $share/all | grep -vc once)" = $((8 * ($1 / 3))) ] || return 10
  rm -r $share/all
}
# Who waits for an answer is interrupted or killed; the device is stopped now and then meanwhile, by the host.
signals() {
  mkdir $share/signals; n=0
  while [ $n -lt $1 ]; do
    n=$((n + 1)); pids=
    for w in 1 2 3 4 5 6; do
      (cd $share/signals; while :; do echo $n > f.$w; cat f.$w > /dev/null; sync f.$w; stat f.$w > /dev/null; rm -f f.$w; done) 2> /dev/null &
      pids="$pids $!"
    done
    usleep $((n % 10 * 30000 + 20000))
    kill -INT $pids; usleep 20000; kill -KILL $pids
    wait
  done
  echo alive > $share/signals/alive && [ "$(cat $share/signals/alive)" = alive ]
}
# What one reads another may not change meanwhile: who makes the directory has the file.
turns() {
  pids=
  for w in 1 2 3 4 5 6 7 8; do
    (n=0; while [ $n -lt $1 ]; do
      mkdir $share/turn 2> /dev/null || { usleep 500; continue; }
      n=$((n + 1)); read v < $share/count; echo $((v + 1)) > $share/count; rmdir $share/turn
    done) & pids="$pids $!"
  done
  for pid in $pids; do wait $pid || return 1; done
  read v < $share/count; [ $v = $((8 * $1)) ]
}
# The file system goes, and comes back, while others use it.
mounts() {
  n=0
  while [ $n -lt $1 ]; do
    n=$((n + 1))
    for w in 1 2 3 4; do (cd $share && for i in 1 2 3 4 5 6 7 8 9; do echo $n.$w.$i > m.$w; cat m.$w; done) > /dev/null 2>&1 & done
    usleep $((n % 5 * 10000))
    until umount $share 2> /dev/null; do usleep 10000; done
    wait
    mount -t virtiofs share $share || return 1
  done
}
# The device goes, and comes back.
unbind() {
  n=0; cd /
  driver=/sys/bus/virtio/drivers/virtiofs; device=$(basename $(ls -d $driver/virtio*))
  while [ $n -lt $1 ]; do
    n=$((n + 1))
    for w in 1 2 3 4; do (cd $share && while echo $n > u.$w && cat u.$w; do :; done) > /dev/null 2>&1 & done
    usleep $((n % 5 * 30000 + 20000))
    echo $device > $driver/unbind || return 1
    wait
    until umount $share; do usleep 10000; done
    echo $device > $driver/bind || return 2
    mount -t virtiofs share $share || return 3
    echo $n > $share/again && [ "$(cat $share/again)" = $n ] || return 4
  done
}
mkdir $share/race; echo 0 > $share/count
for scene in words turns; do stage $scene race $share/race $scene 5 1 nomap; done
stage files files 20
stage counting turns 5
stage signals signals 10
stage mounts mounts 5
stage unbind unbind 3
stage umount umount $share
dmesg | sed 's/^/KERNEL /'
echo "STAGE all 0"
poweroff -f
