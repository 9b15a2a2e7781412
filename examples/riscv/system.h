/* What the firmware needs of the system that it runs on. ACCELERATOR is where the accelerator's
 * registers are, and defined where this is compiled. */
#ifndef SYSTEM_H
#define SYSTEM_H

#include "accel.h"

/* As accel_t asks for them. */
int send_words(void *context, accel_stream_t stream, const uint64_t *words, size_t count);
int receive_words(void *context, uint64_t *words, size_t count);

void put_char(char letter);

/* What main() returned: 0 if all went well. */
void finish(int status);

#endif
