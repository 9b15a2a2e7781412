/* The driver's register accesses go to the simulated bus. */
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
uint32_t bus_read(uintptr_t address);
void bus_write(uintptr_t address, uint32_t value);
#ifdef __cplusplus
}
#endif
#define ACCEL_READ32(address) bus_read(address)
#define ACCEL_WRITE32(address, value) bus_write(address, value)
#define ACCEL_POLLS 1000u
