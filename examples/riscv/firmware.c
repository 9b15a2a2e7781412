/* Drives the accelerator with accel.c of the hand-off folder, and prints each image's logits and its
 * winning class, a line an image. The addresses are those of system.sv. */
#include "accel.h"
#include "accel_network.h"
#include "data.h"

#define ACCELERATOR 0x40000000u
#define PORTS 0x80000000u
#define READY 0x00u   /* bits: program and image word are taken, a result word is there */
#define PROGRAM 0x04u /* lower half, then upper half, which sends the word */
#define IMAGE 0x0Cu
#define RESULT 0x14u /* lower half, then upper half, which takes the word */
#define CONSOLE 0x1Cu
#define READY_RESULT 2u

static void put(const char *text) {
  while (*text) ACCEL_WRITE32(PORTS + CONSOLE, (uint32_t)*text++);
}

static void put_number(int32_t number) {
  char digits[12];
  size_t i = sizeof digits - 1;
  uint32_t rest = number < 0 ? 0u - (uint32_t)number : (uint32_t)number;
  digits[i] = 0;
  do {
    digits[--i] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest);
  if (number < 0) digits[--i] = '-';
  put(digits + i);
}

/* 0 when the bit is set in time. */
static int wait_for(uint32_t bit) {
  for (uint32_t i = 0; i < 100000; i++)
    if (ACCEL_READ32(PORTS + READY) >> bit & 1) return 0;
  return 1;
}

static int send(void *context, accel_stream_t stream, const uint64_t *words, size_t count) {
  const uint32_t port = PORTS + (stream == ACCEL_STREAM_PROGRAM ? PROGRAM : IMAGE);
  (void)context;
  for (size_t i = 0; i < count; i++) {
    if (wait_for(stream)) return 1;
    ACCEL_WRITE32(port, (uint32_t)words[i]);
    ACCEL_WRITE32(port + 4, (uint32_t)(words[i] >> 32));
  }
  return 0;
}

static int receive(void *context, uint64_t *words, size_t count) {
  (void)context;
  for (size_t i = 0; i < count; i++) {
    if (wait_for(READY_RESULT)) return 1;
    const uint32_t low = ACCEL_READ32(PORTS + RESULT);
    words[i] = low | (uint64_t)ACCEL_READ32(PORTS + RESULT + 4) << 32;
  }
  return 0;
}

static int fail(const char *what, int status) {
  put(what);
  put(" ends with status ");
  put_number(status);
  put("\n");
  return 1;
}

int main(void) {
  static const uint64_t no_program[] = {0xF000000000000000u};
  static const accel_t accel = {ACCELERATOR, send, receive, 0};
  static uint64_t result[ACCEL_RESULT_WORDS];
  static int32_t outputs[ACCEL_NUM_OUTPUTS];
  int status = accel_open(&accel);
  if (status) return fail("accel_open", status);
  /* What is no program is refused, and the accelerator comes back from that. */
  status = accel_load(&accel, no_program, 1);
  if (status <= ACCEL_OK) return fail("accel_load of a packet that does not exist", status);
  status = accel_load(&accel, program, ACCEL_PROGRAM_WORDS);
  if (status) return fail("accel_load", status);
  accel_clear_counters(&accel);
  for (size_t i = 0; i < NUM_IMAGES; i++) {
    status = accel_run(&accel, images + i * ACCEL_IMAGE_WORDS, ACCEL_IMAGE_WORDS, result,
                       ACCEL_RESULT_WORDS);
    if (status) return fail("accel_run", status);
    accel_outputs(result, accel_output_places, ACCEL_NUM_OUTPUTS, ACCEL_OUTPUT_SIGNED, outputs);
    for (size_t j = 0; j < ACCEL_NUM_OUTPUTS; j++) {
      put_number(outputs[j]);
      put(" ");
    }
    put("-> ");
    put_number((int32_t)accel_winner(result, ACCEL_RESULT_WORDS));
    put("\n");
  }
  if (accel_counter(&accel, ACCEL_IMAGES_LOW) != NUM_IMAGES) return fail("another count", 0);
  return 0;
}
