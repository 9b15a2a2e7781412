/* The ports of picorv32.sv. */
#include "system.h"

#define PORTS 0x80000000u
#define READY 0x00u   /* bits: program and image word are taken, a result word is there */
#define PROGRAM 0x04u /* lower half, then upper half, which sends the word */
#define IMAGE 0x0Cu
#define RESULT 0x14u /* lower half, then upper half, which takes the word */
#define CONSOLE 0x1Cu
#define END 0x20u
#define READY_RESULT 2u

void put_char(char letter) { ACCEL_WRITE32(PORTS + CONSOLE, (uint32_t)letter); }

void finish(int status) { ACCEL_WRITE32(PORTS + END, (uint32_t)status); }

/* 0 when the bit is set in time. */
static int wait_for(uint32_t bit) {
  for (uint32_t i = 0; i < 100000; i++)
    if (ACCEL_READ32(PORTS + READY) >> bit & 1) return 0;
  return 1;
}

int send_words(void *context, accel_stream_t stream, const uint64_t *words, size_t count) {
  const uint32_t port = PORTS + (stream == ACCEL_STREAM_PROGRAM ? PROGRAM : IMAGE);
  (void)context;
  for (size_t i = 0; i < count; i++) {
    if (wait_for(stream)) return 1;
    ACCEL_WRITE32(port, (uint32_t)words[i]);
    ACCEL_WRITE32(port + 4, (uint32_t)(words[i] >> 32));
  }
  return 0;
}

int receive_words(void *context, uint64_t *words, size_t count) {
  (void)context;
  for (size_t i = 0; i < count; i++) {
    if (wait_for(READY_RESULT)) return 1;
    const uint32_t low = ACCEL_READ32(PORTS + RESULT);
    words[i] = low | (uint64_t)ACCEL_READ32(PORTS + RESULT + 4) << 32;
  }
  return 0;
}
