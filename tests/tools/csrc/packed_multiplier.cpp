// Every pair of weights with every activation, 2**25 of them, through the packed multiplier, one a
// cycle; prints how many of the two products differ from a multiplication's, and the first triple.

#include <cstdio>
#include <memory>

#include "Vaccelerator.h"
#include "verilated.h"

constexpr long TRIPLES = 1L << 25;
constexpr long LATENCY = 2;

struct Triple {
  int a, b, x;
};

static Triple triple(long i) {
  return {static_cast<signed char>(i & 0xFF), static_cast<signed char>(i >> 8 & 0xFF),
          static_cast<int>(i >> 16) - 256};
}

int main() {
  auto context = std::make_unique<VerilatedContext>();
  auto top = std::make_unique<Vaccelerator>(context.get());
  top->reset = 0;
  top->en = 1;
  top->product_en = 1;
  top->clear = 0;
  long differences = 0, first = 0;
  for (long i = 0; i < TRIPLES + LATENCY; i++) {
    const Triple in = triple(i % TRIPLES);
    top->a = in.a & 0xFF;
    top->b = in.b & 0xFF;
    top->x = in.x & 0x1FF;
    top->clk = 0;
    top->eval();
    if (i >= LATENCY) {
      const Triple of = triple(i - LATENCY);
      const int upper = static_cast<int>(top->upper << 14) >> 14;
      const int carry = static_cast<signed char>(top->carry);
      const int low = top->low;
      if (upper - carry != of.a * of.x || carry * 512 + low != of.b * of.x) {
        if (!differences++) first = i - LATENCY;
      }
    }
    top->clk = 1;
    top->eval();
  }
  const Triple of = triple(first);
  std::printf("%ld %d %d %d\n", differences, of.a, of.b, of.x);
  return 0;
}
