# The stack grows down from the end of the RAM (RAM_BYTES in system.sv). The RAM starts as zeros, so
# .bss needs nothing.
.section .start, "ax"
.globl _start
_start:
  li sp, 0x100000
  call main
  li t0, 0x80000020
  sw a0, 0(t0)
1:
  j 1b
