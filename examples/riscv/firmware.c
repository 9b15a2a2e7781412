/* Drives the accelerator with accel.c of the hand-off folder, and prints each image's logits and its
 * winning class, a line an image. What the system around it is like, only system.h knows. */
#include "accel.h"
#include "accel_network.h"
#include "data.h"
#include "system.h"

static void put(const char *text) {
  while (*text) put_char(*text++);
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

static int fail(const char *what, int status) {
  put(what);
  put(" ends with status ");
  put_number(status);
  put("\n");
  return 1;
}

int main(void) {
  static const uint64_t no_program[] = {0xF000000000000000u};
  static const accel_t accel = {ACCELERATOR, send_words, receive_words, 0};
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
