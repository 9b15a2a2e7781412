/* Driver for the accelerator: C99, no operating system, no heap, no floating point.
 *
 * Registers are read and written through ACCEL_READ32 and ACCEL_WRITE32: volatile accesses to
 * memory, unless they are defined otherwise. Streams are the system's: a DMA or a FIFO behind two
 * functions.
 *
 *   static const accel_t accel = {base, send, receive, fifo};
 *   if (accel_open(&accel) || accel_load(&accel, program, program_words)) ...
 *   status = accel_run(&accel, image, image_words, result, result_words);
 *   class_ = accel_winner(result, result_words);
 *
 * `static`, since a compiler may fill a local one by memcpy, which a program without a C library
 * lacks.
 *
 * A function returns ACCEL_OK, an error of the program (ACCEL_ERROR_..., positive), or an error of
 * the system (negative). After any error accel_load brings the accelerator back. */
#ifndef ACCEL_H
#define ACCEL_H

#include <stddef.h>
#include <stdint.h>

#include "accel_regs.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifndef ACCEL_READ32
#define ACCEL_READ32(address) (*(const volatile uint32_t *)(address))
#define ACCEL_WRITE32(address, value) (*(volatile uint32_t *)(address) = (value))
#endif

/* How often a register is looked at before what it should show counts as missing. */
#ifndef ACCEL_POLLS
#define ACCEL_POLLS 1000000u
#endif

#define ACCEL_OK 0
#define ACCEL_FAIL_ID (-1)      /* no accelerator of this version at this address */
#define ACCEL_FAIL_SEND (-2)    /* send() failed */
#define ACCEL_FAIL_RECEIVE (-3) /* receive() failed, and the accelerator reports no error */
#define ACCEL_FAIL_TIME (-4)    /* no answer within ACCEL_POLLS looks */

typedef enum { ACCEL_STREAM_PROGRAM, ACCEL_STREAM_IMAGE } accel_stream_t;

typedef struct {
  uintptr_t base; /* of the registers */
  /* Both return 0 when all words have been moved, and give up after a time of their own. */
  int (*send)(void *context, accel_stream_t stream, const uint64_t *words, size_t count);
  int (*receive)(void *context, uint64_t *words, size_t count);
  void *context;
} accel_t;

/* Look for the accelerator, and reset it. */
int accel_open(const accel_t *accel);

/* Soft reset: no program, no error, nothing pending; memories keep their content. Words that are
 * still in a FIFO before the accelerator have to be gone. */
int accel_reset(const accel_t *accel);

/* Reset, load a program, and see it run. */
int accel_load(const accel_t *accel, const uint64_t *program, size_t count);

/* One image: send its words, and receive its result, which ends with the winning class. */
int accel_run(const accel_t *accel, const uint64_t *image, size_t image_words, uint64_t *result,
              size_t result_words);

/* ACCEL_ERROR_...: what the accelerator says of the program. */
uint32_t accel_error(const accel_t *accel);

/* The number of the largest output, in the order in which outputs come. */
uint32_t accel_winner(const uint64_t *result, size_t result_words);

/* Logits: output i is byte places[i] of the result. */
void accel_outputs(const uint64_t *result, const uint16_t *places, size_t count, int is_signed,
                   int32_t *outputs);

/* A 64-bit counter, by its lower word's offset, for example ACCEL_CYCLES_LOW; and of a layer. */
uint64_t accel_counter(const accel_t *accel, uint32_t low_offset);
uint64_t accel_layer_counter(const accel_t *accel, uint32_t layer, uint32_t low_offset);
void accel_clear_counters(const accel_t *accel);

#ifdef __cplusplus
}
#endif

#endif
