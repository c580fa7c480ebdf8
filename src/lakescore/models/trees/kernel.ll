; Trees scored 64 rows at a time, without a branch that depends on a row. See `ensemble.py`.
;
; A row's values have become codes, one byte a column: how many of the column's thresholds lie below
; the value, less 128. `codes` holds them block by block: 64 bytes of the first column, then 64 of
; the second. Every split of a tree is taken for all 64 rows; `reach` says, 0 or -1 a row, which
; rows come to a split.

target triple = "@TRIPLE@"

; column: where its 64 codes are within a block. from, left, right: places in `reach`.
; A number goes left where its code is below `bound`; with members, a code where it is one of them.
; leaves: how many lie to the left of the split.
%split = type { i32, i32, i32, i32, i32, i32, i8, i8, i16 }   ; column, from, left, right, first and
                                                              ; end of members, bound, leaves
%member = type { i32, i8, i8, i16 }                           ; column, code
%piece = type { i32, i32, i32 }                               ; first and end of splits, root's place
%addend = type { i32, i32 }                                   ; place in `found`, first of its values

declare double @exp(double)

; For each block of 64 rows: the leaf that each row comes to in pieces `first` to before `end`, then
; for each output the sum of its addends' values, added to `sums` (outputs, sums_stride) in order.
; bounds: where each output's addends begin, and the end of the last.
define void @add_leaves(
    i8* noalias %codes, i64 %blocks, i64 %block_bytes,
    %split* noalias %splits, %member* noalias %members, %piece* noalias %pieces,
    i64 %first, i64 %end, i8* noalias %reach, i8* noalias %found,
    %addend* noalias %addends, i32* noalias %bounds, i64 %outputs,
    double* noalias %values, double* noalias %sums, i64 %sums_stride) {
entry:
  %some_blocks = icmp ne i64 %blocks, 0
  br i1 %some_blocks, label %block, label %done

block:
  %b = phi i64 [0, %entry], [%b.next, %block_done]
  %block_at = mul i64 %b, %block_bytes
  %block_codes = getelementptr i8, i8* %codes, i64 %block_at
  %row_at = mul i64 %b, 64
  br label %piece

piece:
  %p = phi i64 [%first, %block], [%p.next, %piece_done]
  %s.first.at = getelementptr %piece, %piece* %pieces, i64 %p, i32 0
  %s.first.32 = load i32, i32* %s.first.at
  %s.first = zext i32 %s.first.32 to i64
  %s.end.at = getelementptr %piece, %piece* %pieces, i64 %p, i32 1
  %s.end.32 = load i32, i32* %s.end.at
  %s.end = zext i32 %s.end.32 to i64
  %root.at = getelementptr %piece, %piece* %pieces, i64 %p, i32 2
  %root.32 = load i32, i32* %root.at
  %root.i = zext i32 %root.32 to i64
  %root.b = getelementptr i8, i8* %reach, i64 %root.i
  %root.v = bitcast i8* %root.b to <64 x i8>*
  %root = load <64 x i8>, <64 x i8>* %root.v, align 64
  ; Leaf 0 is of rows that do not come to the piece; the first leaf of the others is 1.
  %leaf.first = sub <64 x i8> zeroinitializer, %root
  %some_splits = icmp ult i64 %s.first, %s.end
  br i1 %some_splits, label %split, label %piece_done

split:
  %s = phi i64 [%s.first, %piece], [%s.next, %split_done]
  %leaf = phi <64 x i8> [%leaf.first, %piece], [%leaf.next, %split_done]
  %m.first.at = getelementptr %split, %split* %splits, i64 %s, i32 4
  %m.first = load i32, i32* %m.first.at
  %m.end.at = getelementptr %split, %split* %splits, i64 %s, i32 5
  %m.end = load i32, i32* %m.end.at
  %is_set = icmp ult i32 %m.first, %m.end
  br i1 %is_set, label %member, label %number

number:
  %column.at = getelementptr %split, %split* %splits, i64 %s, i32 0
  %column.32 = load i32, i32* %column.at
  %column = zext i32 %column.32 to i64
  %code.b = getelementptr i8, i8* %block_codes, i64 %column
  %code.v = bitcast i8* %code.b to <64 x i8>*
  %code = load <64 x i8>, <64 x i8>* %code.v, align 64
  %bound.at = getelementptr %split, %split* %splits, i64 %s, i32 6
  %bound.1 = load i8, i8* %bound.at
  %bound.0 = insertelement <64 x i8> undef, i8 %bound.1, i32 0
  %bound = shufflevector <64 x i8> %bound.0, <64 x i8> undef, <64 x i32> zeroinitializer
  %is_below = icmp sgt <64 x i8> %bound, %code
  %below = sext <64 x i1> %is_below to <64 x i8>
  br label %split_done

member:
  %m = phi i32 [%m.first, %split], [%m.next, %member]
  %in = phi <64 x i8> [zeroinitializer, %split], [%in.next, %member]
  %m.i = zext i32 %m to i64
  %m.column.at = getelementptr %member, %member* %members, i64 %m.i, i32 0
  %m.column.32 = load i32, i32* %m.column.at
  %m.column = zext i32 %m.column.32 to i64
  %m.codes.b = getelementptr i8, i8* %block_codes, i64 %m.column
  %m.codes.v = bitcast i8* %m.codes.b to <64 x i8>*
  %m.codes = load <64 x i8>, <64 x i8>* %m.codes.v, align 64
  %m.code.at = getelementptr %member, %member* %members, i64 %m.i, i32 1
  %m.code.1 = load i8, i8* %m.code.at
  %m.code.0 = insertelement <64 x i8> undef, i8 %m.code.1, i32 0
  %m.code = shufflevector <64 x i8> %m.code.0, <64 x i8> undef, <64 x i32> zeroinitializer
  %is_member = icmp eq <64 x i8> %m.codes, %m.code
  %is_member.v = sext <64 x i1> %is_member to <64 x i8>
  %in.next = or <64 x i8> %in, %is_member.v
  %m.next = add i32 %m, 1
  %more_members = icmp ult i32 %m.next, %m.end
  br i1 %more_members, label %member, label %split_done

split_done:
  %goes_left = phi <64 x i8> [%below, %number], [%in.next, %member]
  %from.at = getelementptr %split, %split* %splits, i64 %s, i32 1
  %from.32 = load i32, i32* %from.at
  %from.i = zext i32 %from.32 to i64
  %from.b = getelementptr i8, i8* %reach, i64 %from.i
  %from.v = bitcast i8* %from.b to <64 x i8>*
  %from = load <64 x i8>, <64 x i8>* %from.v, align 64
  %left = and <64 x i8> %from, %goes_left
  %right = xor <64 x i8> %from, %left
  %left.at = getelementptr %split, %split* %splits, i64 %s, i32 2
  %left.32 = load i32, i32* %left.at
  %left.i = zext i32 %left.32 to i64
  %left.b = getelementptr i8, i8* %reach, i64 %left.i
  %left.v = bitcast i8* %left.b to <64 x i8>*
  store <64 x i8> %left, <64 x i8>* %left.v, align 64
  %right.at = getelementptr %split, %split* %splits, i64 %s, i32 3
  %right.32 = load i32, i32* %right.at
  %right.i = zext i32 %right.32 to i64
  %right.b = getelementptr i8, i8* %reach, i64 %right.i
  %right.v = bitcast i8* %right.b to <64 x i8>*
  store <64 x i8> %right, <64 x i8>* %right.v, align 64
  ; Who goes right leaves the leaves to the left behind.
  %leaves.at = getelementptr %split, %split* %splits, i64 %s, i32 7
  %leaves.1 = load i8, i8* %leaves.at
  %leaves.0 = insertelement <64 x i8> undef, i8 %leaves.1, i32 0
  %leaves = shufflevector <64 x i8> %leaves.0, <64 x i8> undef, <64 x i32> zeroinitializer
  %passed = and <64 x i8> %right, %leaves
  %leaf.next = add <64 x i8> %leaf, %passed
  %s.next = add i64 %s, 1
  %more_splits = icmp ult i64 %s.next, %s.end
  br i1 %more_splits, label %split, label %piece_done

piece_done:
  %leaf.last = phi <64 x i8> [%leaf.first, %piece], [%leaf.next, %split_done]
  %p.place = sub i64 %p, %first
  %p.found = mul i64 %p.place, 64
  %found.b = getelementptr i8, i8* %found, i64 %p.found
  %found.v = bitcast i8* %found.b to <64 x i8>*
  store <64 x i8> %leaf.last, <64 x i8>* %found.v, align 64
  %p.next = add i64 %p, 1
  %more_pieces = icmp ult i64 %p.next, %end
  br i1 %more_pieces, label %piece, label %output

output:
  %k = phi i64 [0, %piece_done], [%k.next, %output_done]
  %k.next = add i64 %k, 1
  %a.first.at = getelementptr i32, i32* %bounds, i64 %k
  %a.first.32 = load i32, i32* %a.first.at
  %a.first = zext i32 %a.first.32 to i64
  %a.end.at = getelementptr i32, i32* %bounds, i64 %k.next
  %a.end.32 = load i32, i32* %a.end.at
  %a.end = zext i32 %a.end.32 to i64
  %k.sums = mul i64 %k, %sums_stride
  %sums.i = add i64 %k.sums, %row_at
  %block_sums = getelementptr double, double* %sums, i64 %sums.i
  %some_addends = icmp ult i64 %a.first, %a.end
  br i1 %some_addends, label %row, label %output_done

row:
  %r = phi i64 [0, %output], [%r.next, %row_done]
  %sum.at = getelementptr double, double* %block_sums, i64 %r
  %sum.first = load double, double* %sum.at
  %row_found = getelementptr i8, i8* %found, i64 %r
  br label %addend

addend:
  %a = phi i64 [%a.first, %row], [%a.next, %addend]
  %sum = phi double [%sum.first, %row], [%sum.next, %addend]
  %place.at = getelementptr %addend, %addend* %addends, i64 %a, i32 0
  %place.32 = load i32, i32* %place.at
  %place = zext i32 %place.32 to i64
  %number.at = getelementptr i8, i8* %row_found, i64 %place
  %number.8 = load i8, i8* %number.at
  %number.64 = zext i8 %number.8 to i64
  %base.at = getelementptr %addend, %addend* %addends, i64 %a, i32 1
  %base.32 = load i32, i32* %base.at
  %base = zext i32 %base.32 to i64
  %value.i = add i64 %base, %number.64
  %value.at = getelementptr double, double* %values, i64 %value.i
  %value = load double, double* %value.at
  %sum.next = fadd double %sum, %value
  %a.next = add i64 %a, 1
  %more_addends = icmp ult i64 %a.next, %a.end
  br i1 %more_addends, label %addend, label %row_done

row_done:
  store double %sum.next, double* %sum.at
  %r.next = add i64 %r, 1
  %more_rows = icmp ult i64 %r.next, 64
  br i1 %more_rows, label %row, label %output_done

output_done:
  %more_outputs = icmp ult i64 %k.next, %outputs
  br i1 %more_outputs, label %output, label %block_done

block_done:
  %b.next = add i64 %b, 1
  %more_blocks = icmp ult i64 %b.next, %blocks
  br i1 %more_blocks, label %block, label %done

done:
  ret void
}

; One column's codes of `rows` values that lie `stride` doubles apart. `thresholds` are 256, in order,
; the last ones infinite. What is not a number gets `nan_code`, what is at most `zero` from 0 gets
; `zero_code`; `zero` is negative where zeros are as other numbers.
define void @encode(
    double* noalias %column, i64 %stride, i64 %rows, double* noalias %thresholds,
    i8 %nan_code, double %zero, i8 %zero_code, i8* noalias %codes, i64 %block_bytes) {
entry:
  %some_rows = icmp ne i64 %rows, 0
  br i1 %some_rows, label %row, label %done

row:
  %r = phi i64 [0, %entry], [%r.next, %row_done]
  %value.i = mul i64 %r, %stride
  %value.at = getelementptr double, double* %column, i64 %value.i
  %value = load double, double* %value.at
  br label %halve

halve:
  %width = phi i64 [128, %row], [%width.next, %halve]
  %below = phi i64 [0, %row], [%below.next, %halve]
  %middle = add i64 %below, %width
  %probe = sub i64 %middle, 1
  %threshold.at = getelementptr double, double* %thresholds, i64 %probe
  %threshold = load double, double* %threshold.at
  %is_below = fcmp olt double %threshold, %value
  %mask = sext i1 %is_below to i64
  %step = and i64 %mask, %width
  %below.next = or i64 %below, %step
  %width.next = lshr i64 %width, 1
  %more = icmp ne i64 %width.next, 0
  br i1 %more, label %halve, label %row_done

row_done:
  %below.8 = trunc i64 %below.next to i8
  %code.number = xor i8 %below.8, -128
  %negative = fneg double %value
  %is_negative = fcmp olt double %value, 0.0
  %size = select i1 %is_negative, double %negative, double %value
  %is_zero = fcmp ole double %size, %zero
  %code.zero = select i1 %is_zero, i8 %zero_code, i8 %code.number
  %is_nan = fcmp uno double %value, 0.0
  %code = select i1 %is_nan, i8 %nan_code, i8 %code.zero
  %block = lshr i64 %r, 6
  %lane = and i64 %r, 63
  %block_at = mul i64 %block, %block_bytes
  %code.i = add i64 %block_at, %lane
  %code.at = getelementptr i8, i8* %codes, i64 %code.i
  store i8 %code, i8* %code.at
  %r.next = add i64 %r, 1
  %more_rows = icmp ult i64 %r.next, %rows
  br i1 %more_rows, label %row, label %done

done:
  ret void
}

; e to the power of each value, in place, by the C library, as LightGBM does it.
define void @exponentials(double* noalias %values, i64 %count) {
entry:
  %some = icmp ne i64 %count, 0
  br i1 %some, label %each, label %done

each:
  %i = phi i64 [0, %entry], [%i.next, %each]
  %at = getelementptr double, double* %values, i64 %i
  %value = load double, double* %at
  %power = call double @exp(double %value)
  store double %power, double* %at
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, %count
  br i1 %more, label %each, label %done

done:
  ret void
}
