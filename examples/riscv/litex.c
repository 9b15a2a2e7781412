/* The DMA engines and the console of litex_soc.py. csr.h is LiteX's. */
#include "csr.h"
#include "system.h"

/* An engine's registers, as its addresses in csr.h: */
typedef struct {
  uint32_t base; /* 64 bits, the upper half first */
  uint32_t length, enable, done;
} engine_t;

#define ENGINE(name)                                                              \
  {CSR_ACCELERATOR_##name##_BASE_ADDR, CSR_ACCELERATOR_##name##_LENGTH_ADDR,      \
   CSR_ACCELERATOR_##name##_ENABLE_ADDR, CSR_ACCELERATOR_##name##_DONE_ADDR}
static const engine_t program_engine = ENGINE(PROGRAM), image_engine = ENGINE(IMAGE),
                      result_engine = ENGINE(RESULT);

void put_char(char letter) {
  while (ACCEL_READ32(CSR_UART_TXFULL_ADDR)) {
  }
  ACCEL_WRITE32(CSR_UART_RXTX_ADDR, (uint32_t)letter);
}

void finish(int status) { ACCEL_WRITE32(CSR_END_STATUS_ADDR, status ? 3u : 1u); }

/* 0 when the engine has moved the words in time, and none of what it read waits any more. */
static int move(const engine_t *engine, const uint64_t *words, size_t count) {
  ACCEL_WRITE32(engine->enable, 0);
  ACCEL_WRITE32(engine->base, 0);
  ACCEL_WRITE32(engine->base + 4, (uint32_t)(uintptr_t)words);
  ACCEL_WRITE32(engine->length, (uint32_t)(count * sizeof *words));
  ACCEL_WRITE32(engine->enable, 1);
  for (uint32_t i = 0; i < 1000000; i++)
    if (ACCEL_READ32(engine->done) && !ACCEL_READ32(CSR_ACCELERATOR_WAITING_ADDR)) return 0;
  return 1;
}

int send_words(void *context, accel_stream_t stream, const uint64_t *words, size_t count) {
  const engine_t *engine = stream == ACCEL_STREAM_PROGRAM ? &program_engine : &image_engine;
  (void)context;
  if (!move(engine, words, count)) return 0;
  /* What the accelerator does not take must not come before what is sent next. */
  ACCEL_WRITE32(CSR_ACCELERATOR_DROP_ADDR, 1);
  while (!ACCEL_READ32(engine->done) || ACCEL_READ32(CSR_ACCELERATOR_WAITING_ADDR)) {
  }
  ACCEL_WRITE32(CSR_ACCELERATOR_DROP_ADDR, 0);
  return 1;
}

int receive_words(void *context, uint64_t *words, size_t count) {
  (void)context;
  const int status = move(&result_engine, words, count);
  /* VexRiscv's: forget what the data cache holds of these words. */
  __asm__ volatile(".word 0x500F" ::: "memory");
  return status;
}
