/* See accel.h. */
#include "accel.h"

static uint32_t get(const accel_t *accel, uint32_t offset) {
  return ACCEL_READ32(accel->base + offset);
}

static void put(const accel_t *accel, uint32_t offset, uint32_t value) {
  ACCEL_WRITE32(accel->base + offset, value);
}

/* Control bits that clear themselves beside those that stay. */
static void control(const accel_t *accel, uint32_t bits) {
  put(accel, ACCEL_CONTROL, get(accel, ACCEL_CONTROL) | bits);
}

int accel_open(const accel_t *accel) {
  if (get(accel, ACCEL_MAGIC) != ACCEL_MAGIC_VALUE) return ACCEL_FAIL_ID;
  if (get(accel, ACCEL_VERSION) >> 16 != ACCEL_VERSION_VALUE >> 16) return ACCEL_FAIL_ID;
  return accel_reset(accel);
}

int accel_reset(const accel_t *accel) {
  control(accel, ACCEL_CONTROL_SOFT_RESET_MASK);
  for (uint32_t i = 0; i < ACCEL_POLLS; i++) {
    const uint32_t mask = ACCEL_STATUS_RUNNING_MASK | ACCEL_STATUS_ERROR_MASK;
    if (!(get(accel, ACCEL_STATUS) & mask)) return ACCEL_OK;
  }
  return ACCEL_FAIL_TIME;
}

uint32_t accel_error(const accel_t *accel) {
  return (get(accel, ACCEL_STATUS) & ACCEL_STATUS_ERROR_MASK) >> ACCEL_STATUS_ERROR_SHIFT;
}

int accel_load(const accel_t *accel, const uint64_t *program, size_t count) {
  const int status = accel_reset(accel);
  if (status != ACCEL_OK) return status;
  if (accel->send(accel->context, ACCEL_STREAM_PROGRAM, program, count)) return ACCEL_FAIL_SEND;
  for (uint32_t i = 0; i < ACCEL_POLLS; i++) {
    const uint32_t error = accel_error(accel);
    if (error != ACCEL_ERROR_NONE) return (int)error;
    if (get(accel, ACCEL_STATUS) & ACCEL_STATUS_RUNNING_MASK) return ACCEL_OK;
  }
  return ACCEL_FAIL_TIME;
}

int accel_run(const accel_t *accel, const uint64_t *image, size_t image_words, uint64_t *result,
              size_t result_words) {
  uint32_t error;
  int received;
  put(accel, ACCEL_INTERRUPT, ACCEL_INTERRUPT_DONE_MASK);
  if (accel->send(accel->context, ACCEL_STREAM_IMAGE, image, image_words)) {
    error = accel_error(accel);
    return error != ACCEL_ERROR_NONE ? (int)error : ACCEL_FAIL_SEND;
  }
  received = accel->receive(accel->context, result, result_words);
  error = accel_error(accel);
  if (error != ACCEL_ERROR_NONE) return (int)error;
  return received ? ACCEL_FAIL_RECEIVE : ACCEL_OK;
}

uint32_t accel_winner(const uint64_t *result, size_t result_words) {
  return (uint32_t)result[result_words - 1];
}

void accel_outputs(const uint64_t *result, const uint16_t *places, size_t count, int is_signed,
                   int32_t *outputs) {
  for (size_t i = 0; i < count; i++) {
    const uint64_t word = result[places[i] / ACCEL_BYTES_PER_WORD];
    const int32_t byte = (int32_t)(word >> 8 * (places[i] % ACCEL_BYTES_PER_WORD) & 0xFF);
    outputs[i] = is_signed && byte > 127 ? byte - 256 : byte;
  }
}

uint64_t accel_counter(const accel_t *accel, uint32_t low_offset) {
  const uint64_t low = get(accel, low_offset);
  return low | (uint64_t)get(accel, low_offset + 4) << 32;
}

uint64_t accel_layer_counter(const accel_t *accel, uint32_t layer, uint32_t low_offset) {
  put(accel, ACCEL_LAYER, layer);
  return accel_counter(accel, low_offset);
}

void accel_clear_counters(const accel_t *accel) {
  control(accel, ACCEL_CONTROL_CLEAR_COUNTERS_MASK);
}
