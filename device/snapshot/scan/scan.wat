;; Hashes the 4 KiB pages of a memory that it imports, and writes nothing to it: no data, no stack.
;;
;; The hash is a keyed 64-bit one built like XXH3's long-input loop: eight 64-bit accumulators take
;; 64 bytes a step, each by a 32 x 32 bit product of data xor key, plus the neighbour's data.
;; (0, 0) stands for a page of zeros, and for no other. Most of a guest's RAM are such pages: they
;; are told first, in a third of the time, and many at once.
(module
  (import "host" "memory" (memory 1))
  (import "host" "page" (func $page (param $index i32) (param $lo i32) (param $hi i32)))
  (import "host" "zeros" (func $zeros (param $first i32) (param $end i32)))

  ;; Tells `count` pages from page `first` on of what begins at address `base`, in their order: host.zeros(first, end)
  ;; those that are zeros, `end` excluded, and host.page(index, lo, hi) each of the others.
  (func (export "scan") (param $base i32) (param $first i32) (param $count i32) (param $seed i64)
    (local $at i32) (local $end i32) (local $block i32) (local $told i32)
    (local $acc0 v128) (local $acc1 v128) (local $acc2 v128) (local $acc3 v128)
    (local $key v128) (local $step v128)
    (local $d0 v128) (local $d1 v128) (local $x v128) (local $y v128)
    (local $even v128) (local $odd v128)
    (local $hash i64)
    (local.set $step (i64x2.splat (i64.const 0x9E3779B185EBCA87)))
    (local.set $at (i32.add (local.get $base) (i32.shl (local.get $first) (i32.const 12))))
    (local.set $count (i32.add (local.get $first) (local.get $count)))
    (local.set $told (local.get $first))
    (block $done
      (loop $pages
        (br_if $done (i32.ge_u (local.get $first) (local.get $count)))
        (local.set $block (local.get $at))
        (local.set $end (i32.add (local.get $at) (i32.const 4096)))
        (block $filled
          (loop $zeros
            (br_if $filled (v128.any_true (v128.or
              (v128.or
                (v128.or (v128.load (local.get $block)) (v128.load offset=16 (local.get $block)))
                (v128.or (v128.load offset=32 (local.get $block)) (v128.load offset=48 (local.get $block))))
              (v128.or
                (v128.or (v128.load offset=64 (local.get $block)) (v128.load offset=80 (local.get $block)))
                (v128.or (v128.load offset=96 (local.get $block)) (v128.load offset=112 (local.get $block)))))))
            (br_if $zeros (i32.ne (local.tee $block (i32.add (local.get $block) (i32.const 128))) (local.get $end))))
          (local.set $at (local.get $end))
          (local.set $first (i32.add (local.get $first) (i32.const 1)))
          (br $pages))
        (call $tell (local.get $told) (local.get $first))
        (local.set $key (i64x2.replace_lane 1 (i64x2.splat (local.get $seed)) (i64.xor (local.get $seed) (i64.const 0x165667919E3779F9))))
        (local.set $acc0 (v128.xor (local.get $key) (v128.const i64x2 0x00000000C2B2AE3D 0x9E3779B185EBCA87)))
        (local.set $acc1 (v128.xor (local.get $key) (v128.const i64x2 0xC2B2AE3D27D4EB4F 0x165667B19E3779F9)))
        (local.set $acc2 (v128.xor (local.get $key) (v128.const i64x2 0x85EBCA77C2B2AE63 0x0000000085EBCA77)))
        (local.set $acc3 (v128.xor (local.get $key) (v128.const i64x2 0x27D4EB2F165667C5 0x000000009E3779B1)))
        (local.set $block (i32.add (local.get $at) (i32.const 1024)))
        (loop $blocks
          (loop $stripes
            (local.set $d0 (v128.load (local.get $at)))
            (local.set $d1 (v128.load offset=16 (local.get $at)))
            (local.set $x (v128.xor (local.get $d0) (local.get $key)))
            (local.set $y (v128.xor (local.get $d1) (local.get $key)))
            (local.set $even (i8x16.shuffle 0 1 2 3 8 9 10 11 16 17 18 19 24 25 26 27 (local.get $x) (local.get $y)))
            (local.set $odd (i8x16.shuffle 4 5 6 7 12 13 14 15 20 21 22 23 28 29 30 31 (local.get $x) (local.get $y)))
            (local.set $acc0 (i64x2.add (i64x2.add (local.get $acc0)
              (i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 (local.get $d0) (local.get $d0)))
              (i64x2.extmul_low_i32x4_u (local.get $even) (local.get $odd))))
            (local.set $acc1 (i64x2.add (i64x2.add (local.get $acc1)
              (i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 (local.get $d1) (local.get $d1)))
              (i64x2.extmul_high_i32x4_u (local.get $even) (local.get $odd))))
            (local.set $key (i64x2.add (local.get $key) (local.get $step)))
            (local.set $d0 (v128.load offset=32 (local.get $at)))
            (local.set $d1 (v128.load offset=48 (local.get $at)))
            (local.set $x (v128.xor (local.get $d0) (local.get $key)))
            (local.set $y (v128.xor (local.get $d1) (local.get $key)))
            (local.set $even (i8x16.shuffle 0 1 2 3 8 9 10 11 16 17 18 19 24 25 26 27 (local.get $x) (local.get $y)))
            (local.set $odd (i8x16.shuffle 4 5 6 7 12 13 14 15 20 21 22 23 28 29 30 31 (local.get $x) (local.get $y)))
            (local.set $acc2 (i64x2.add (i64x2.add (local.get $acc2)
              (i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 (local.get $d0) (local.get $d0)))
              (i64x2.extmul_low_i32x4_u (local.get $even) (local.get $odd))))
            (local.set $acc3 (i64x2.add (i64x2.add (local.get $acc3)
              (i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 (local.get $d1) (local.get $d1)))
              (i64x2.extmul_high_i32x4_u (local.get $even) (local.get $odd))))
            (local.set $key (i64x2.add (local.get $key) (local.get $step)))
            (br_if $stripes (i32.ne (local.tee $at (i32.add (local.get $at) (i32.const 64))) (local.get $block))))
          (local.set $acc0 (call $scramble (local.get $acc0) (local.get $key)))
          (local.set $acc1 (call $scramble (local.get $acc1) (local.get $key)))
          (local.set $acc2 (call $scramble (local.get $acc2) (local.get $key)))
          (local.set $acc3 (call $scramble (local.get $acc3) (local.get $key)))
          (local.set $block (i32.add (local.get $block) (i32.const 1024)))
          (br_if $blocks (i32.ne (local.get $at) (local.get $end))))
        (local.set $hash (call $mix (local.get $seed) (local.get $acc0)))
        (local.set $hash (call $mix (local.get $hash) (local.get $acc1)))
        (local.set $hash (call $mix (local.get $hash) (local.get $acc2)))
        (local.set $hash (call $mix (local.get $hash) (local.get $acc3)))
        (if (i64.eqz (local.get $hash)) (then (local.set $hash (i64.const 1))))
        (call $page (local.get $first) (i32.wrap_i64 (local.get $hash)) (i32.wrap_i64 (i64.shr_u (local.get $hash) (i64.const 32))))
        (local.set $told (local.tee $first (i32.add (local.get $first) (i32.const 1))))
        (br $pages)))
    (call $tell (local.get $told) (local.get $first)))

  (func $tell (param $first i32) (param $end i32)
    (if (i32.ne (local.get $first) (local.get $end)) (then (call $zeros (local.get $first) (local.get $end)))))

  (func $scramble (param $acc v128) (param $key v128) (result v128)
    (i64x2.mul
      (v128.xor (v128.xor (local.get $acc) (i64x2.shr_u (local.get $acc) (i32.const 47))) (local.get $key))
      (i64x2.splat (i64.const 0x9E3779B1))))

  ;; Both lanes into the hash so far.
  (func $mix (param $hash i64) (param $acc v128) (result i64)
    (local.set $hash (i64.mul (i64.xor (local.get $hash) (i64x2.extract_lane 0 (local.get $acc))) (i64.const 0x9FB21C651E98DF25)))
    (local.set $hash (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 29))))
    (local.set $hash (i64.mul (i64.xor (local.get $hash) (i64x2.extract_lane 1 (local.get $acc))) (i64.const 0x165667919E3779F9)))
    (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 32)))))
