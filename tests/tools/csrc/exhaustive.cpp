// Compares requantized bytes, accumulator by accumulator, with IEEE float32 arithmetic.
//
//   exhaustive rtl|stdin ACC_NBITS BIAS MULTIPLIER ZERO_POINT LO HI FIRST COUNT
//
// rtl: the bytes come from the Verilated requantizer of 16 columns and 8 lanes, to which COUNT
// accumulators from FIRST on, less BIAS, are fed at full rate. stdin: they come from there, one an
// accumulator. MULTIPLIER is the bit pattern of a float32, COUNT a multiple of 16. Prints how many
// bytes differ, and of the first one accumulator, expected and got. Exit status 1: bytes are
// missing, or more came than accumulators went in.

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "Vaccelerator.h"
#include "verilated.h"

// Verilator spells the two underscores of PyMTL3 ports so.
#define PORT(stream, signal) stream##___05F##signal

// Every operation is rounded to float32, to nearest even.
static_assert(FLT_EVAL_METHOD == 0, "float32 arithmetic has excess precision");
#ifdef __FAST_MATH__
#error "-ffast-math is not IEEE arithmetic"
#endif

constexpr int COLUMNS = 16, LANES = 8;
constexpr uint64_t PATIENCE = 100;

// Fields of the message `param`, from its lowest bit on.
constexpr int LAST = 0, HI = 1, LO = 10, ZERO_POINT = 19, BIAS = 28, MULTIPLIER = BIAS + 32 * LANES;

struct Sweep {
  int acc_nbits;
  int64_t bias;
  uint32_t multiplier;
  int zero_point, lo, hi;
  int64_t first;
  uint64_t count;
};

class Comparison {
 public:
  explicit Comparison(const Sweep &sweep) : sweep(sweep) {
    std::memcpy(&multiplier, &sweep.multiplier, sizeof multiplier);
  }
  bool done() const { return seen == sweep.count; }
  void look(uint8_t got) {
    const int64_t acc = sweep.first + static_cast<int64_t>(seen++);
    const uint8_t right = expected(static_cast<int32_t>(acc));
    if (got == right) return;
    if (!differences++) first_acc = acc, first_expected = right, first_got = got;
  }
  void print() const {
    std::printf("%llu", static_cast<unsigned long long>(differences));
    if (differences) {
      std::printf(" %lld %d %d", static_cast<long long>(first_acc), first_expected, first_got);
    }
    std::printf("\n");
  }

 private:
  const Sweep &sweep;
  float multiplier;
  uint64_t seen = 0, differences = 0;
  int64_t first_acc = 0;
  int first_expected = 0, first_got = 0;

  // PyTorch's rule: a conversion, a multiplication and a rounding in float32, the rest in integers.
  // What is far outside of 8 bits is limited first: it may not fit a long.
  uint8_t expected(int32_t acc) const {
    const float scaled = static_cast<float>(acc) * multiplier;
    const float limited = scaled < -1000.0f ? -1000.0f : scaled > 1000.0f ? 1000.0f : scaled;
    const long value = std::lrintf(limited) + sweep.zero_point;
    return static_cast<uint8_t>(value < sweep.lo ? sweep.lo : value > sweep.hi ? sweep.hi : value);
  }
};

[[noreturn]] static void fail(const char *what) {
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

// The low bits of a value, at most 32, into a wide port.
template <typename Wide> static void put(Wide &wide, int at, int nbits, int64_t value) {
  const uint64_t mask = ((uint64_t{1} << nbits) - 1) << at % 32;
  const uint64_t bits = static_cast<uint64_t>(value) << at % 32 & mask;
  EData *const words = &wide[at / 32];
  words[0] = (words[0] & ~static_cast<EData>(mask)) | static_cast<EData>(bits);
  if (const auto mask_above = static_cast<EData>(mask >> 32)) {
    words[1] = (words[1] & ~mask_above) | static_cast<EData>(bits >> 32);
  }
}

static void run_rtl(const Sweep &sweep, Comparison &comparison) {
  auto context = std::make_unique<VerilatedContext>();
  auto top = std::make_unique<Vaccelerator>(context.get());
  auto settle = [&] { top->clk = 0; top->eval(); };
  auto edge = [&] { top->clk = 1; top->eval(); };

  top->reset = 1;
  for (int i = 0; i < 2; i++) { settle(); edge(); }
  top->reset = 0;
  auto &pooled = top->PORT(pooled, msg);
  auto &param = top->PORT(param, msg);
  for (int lane = 0; lane < LANES; lane++) {
    put(param, BIAS + 32 * lane, 32, sweep.bias);
    put(param, MULTIPLIER + 32 * lane, 32, sweep.multiplier);
  }
  put(param, ZERO_POINT, 9, sweep.zero_point);
  put(param, LO, 9, sweep.lo);
  put(param, HI, 9, sweep.hi);
  put(param, LAST, 1, 0);
  top->PORT(param, val) = 1;
  top->PORT(out, rdy) = 1;

  uint64_t fed = 0, idle = 0;
  bool offered = false, last = false;
  // And then a while longer, so that what should not come is seen.
  while (!comparison.done() || idle < PATIENCE) {
    if (!offered && fed < sweep.count) {
      for (int i = 0; i < COLUMNS; i++) {
        const int64_t acc = sweep.first + static_cast<int64_t>(fed) + i;
        put(pooled, i * sweep.acc_nbits, sweep.acc_nbits, acc - sweep.bias);
      }
      offered = true;
    }
    top->PORT(pooled, val) = offered;
    settle();
    if (offered && top->PORT(pooled, rdy)) { fed += COLUMNS; offered = false; }
    idle++;
    if (top->PORT(out, val)) {
      if (comparison.done()) fail("more outputs than accumulators");
      for (int i = 0; i < LANES; i++) comparison.look(top->PORT(out, msg) >> 8 * i & 0xFF);
      idle = 0;
    }
    if (!comparison.done() && idle > PATIENCE) fail("outputs are missing");
    const bool beat = top->PORT(param, rdy);
    edge();
    // A vector is two beats.
    if (beat) put(param, LAST, 1, last = !last);
  }
}

static void read_stdin(const Sweep &, Comparison &comparison) {
  std::vector<uint8_t> bytes(1 << 16);
  while (const size_t count = std::fread(bytes.data(), 1, bytes.size(), stdin)) {
    for (size_t i = 0; i < count; i++) {
      if (comparison.done()) fail("more bytes than accumulators");
      comparison.look(bytes[i]);
    }
  }
  if (!comparison.done()) fail("bytes are missing");
}

int main(int argc, char **argv) {
  if (argc != 10) return 1;
  const Sweep sweep{
      std::atoi(argv[2]), std::atoll(argv[3]),
      static_cast<uint32_t>(std::strtoul(argv[4], nullptr, 10)),
      std::atoi(argv[5]), std::atoi(argv[6]), std::atoi(argv[7]),
      std::atoll(argv[8]), std::strtoull(argv[9], nullptr, 10)};
  if (sweep.count % COLUMNS) fail("COUNT must be a multiple of 16");
  Comparison comparison(sweep);
  (argv[1] == std::string("rtl") ? run_rtl : read_stdin)(sweep, comparison);
  comparison.print();
  return 0;
}
