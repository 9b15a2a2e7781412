// The bare evaluation loop of a Verilated accelerator: the same streams as accel/simulation/csrc/driver.cpp
// feeds, and nothing else. It counts and records nothing, and does not even look at results.
//
//   bare PROGRAM IMAGES RESULTS NUM_IMAGES RESULT_WORDS CYCLES 0
//
// Runs exactly CYCLES cycles, all that the driver needs for the same files. RESULTS receives one
// word: the result that comes in the last cycle, which shows that the same was computed. The
// numbers around CYCLES are there so that both programs are called alike.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "Vaccelerator.h"
#include "verilated.h"

// Verilator spells the two underscores of PyMTL3 ports so.
#define PORT(stream, signal) stream##___05F##signal

using Words = std::vector<uint64_t>;

// The words of a file, and a zero: what the port carries when there is no more to send.
static Words read_words(const char *path) {
  std::FILE *file = std::fopen(path, "rb");
  if (!file) { std::perror(path); std::exit(1); }
  Words words;
  uint64_t word;
  while (std::fread(&word, sizeof word, 1, file) == 1) words.push_back(word);
  std::fclose(file);
  words.push_back(0);
  return words;
}

int main(int argc, char **argv) {
  if (argc != 8) return 1;
  const Words program = read_words(argv[1]), images = read_words(argv[2]);
  const uint64_t cycles = std::strtoull(argv[6], nullptr, 10);

  auto context = std::make_unique<VerilatedContext>();
  auto top = std::make_unique<Vaccelerator>(context.get());
  auto settle = [&] { top->clk = 0; top->eval(); };
  auto edge = [&] { top->clk = 1; top->eval(); };

  top->reset = 1;
  for (int i = 0; i < 2; i++) { settle(); edge(); }
  top->reset = 0;
  top->PORT(result, rdy) = 1;

  const uint64_t *word = program.data(), *const end_program = word + program.size() - 1;
  const uint64_t *pixels = images.data(), *const end_images = pixels + images.size() - 1;
  for (uint64_t cycle = 0; cycle < cycles; cycle++) {
    const bool loading = word != end_program, sending = !loading && pixels != end_images;
    top->PORT(prog, val) = loading;
    top->PORT(prog, msg) = *word;
    top->PORT(image, val) = sending;
    top->PORT(image, msg) = sending ? *pixels : 0;
    settle();
    word += loading && top->PORT(prog, rdy);
    pixels += sending && top->PORT(image, rdy);
    if (cycle + 1 < cycles) edge();
  }
  if (!top->PORT(result, val)) {
    std::fprintf(stderr, "no result comes in the last cycle\n");
    return 1;
  }
  const uint64_t last = top->PORT(result, msg);
  edge();

  std::FILE *out = std::fopen(argv[3], "wb");
  if (!out || std::fwrite(&last, sizeof last, 1, out) != 1 || std::fclose(out)) {
    std::perror(argv[3]);
    return 1;
  }
  return 0;
}
