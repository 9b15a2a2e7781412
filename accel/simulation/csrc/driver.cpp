// Feeds the streams of a Verilated accelerator: program, then images as fast as it takes them;
// takes every result at once. All numbers in files are 64-bit little-endian words.
//
//   driver PROGRAM IMAGES RESULTS NUM_IMAGES RESULT_WORDS MAX_CYCLES PAUSES
//
// With PAUSES other than 0, words are offered and results taken after pauses that it is the seed of.
//
// RESULTS receives the result words of all images, then for each image: the cycle in which its
// first word was taken, the cycle in which its last result came, and the cycles that it spent in
// each layer at each activity (NUM_LAYERS x NUM_ACTIVITIES); then what the hardware counted for
// each layer (NUM_LAYERS x 4). An image's time in the layers begins when layer 0 is taken up for
// it. Exit status 3: the cycle limit was hit; standard output then
// says how many results had come, and the layer, activity and streams of the last cycle.

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

constexpr int NUM_LAYERS = 64;
constexpr int NUM_ACTIVITIES = 16;
constexpr int HANDOVER = 2;

static Words read_words(const char *path) {
  std::FILE *file = std::fopen(path, "rb");
  if (!file) { std::perror(path); std::exit(1); }
  Words words;
  uint64_t word;
  while (std::fread(&word, sizeof word, 1, file) == 1) words.push_back(word);
  std::fclose(file);
  return words;
}

// Which streams go on in a cycle: bit 0 the program, 1 the image, 2 the result. The same numbers as
// Pauses in simulation.py.
class Pauses {
 public:
  explicit Pauses(uint64_t seed) : state(seed) {
    for (int i = 0; i < 20 && seed; i++) step();
    for (int i = 0; i < 3 && seed; i++) pause[i] = PAUSE_OF_256[step() >> 32 & 3];
  }
  int go() {
    const uint64_t random = state ? step() >> 32 : 0;
    int bits = 0;
    for (int i = 0; i < 3; i++) bits |= (int(random >> 8 * i & 255) >= pause[i]) << i;
    return bits;
  }

 private:
  static constexpr int PAUSE_OF_256[] = {0, 32, 128, 232};
  uint64_t state;
  int pause[3] = {0, 0, 0};
  uint64_t step() {  // xorshift64
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  }
};

int main(int argc, char **argv) {
  if (argc != 8) return 1;
  const Words program = read_words(argv[1]), images = read_words(argv[2]);
  const uint64_t num_images = std::strtoull(argv[4], nullptr, 10);
  const uint64_t result_words = std::strtoull(argv[5], nullptr, 10);
  const uint64_t max_cycles = std::strtoull(argv[6], nullptr, 10);
  const uint64_t image_words = num_images ? images.size() / num_images : 0;

  auto context = std::make_unique<VerilatedContext>();
  auto top = std::make_unique<Vaccelerator>(context.get());
  auto settle = [&] { top->clk = 0; top->eval(); };
  auto edge = [&] { top->clk = 1; top->eval(); };

  top->reset = 1;
  for (int i = 0; i < 2; i++) { settle(); edge(); }
  top->reset = 0;

  Pauses pauses(std::strtoull(argv[7], nullptr, 10));
  // A word that was offered stays so until it is taken.
  bool prog_offered = false, image_offered = false;
  Words results;
  Words first_word(num_images), last_result(num_images);
  std::vector<uint64_t> spent((num_images + 1) * NUM_LAYERS * NUM_ACTIVITIES);
  results.reserve(num_images * result_words);
  uint64_t *image_spent = nullptr, *const end_spent = spent.data() + spent.size();
  uint64_t cycle = 0;
  int last_layer = 0;
  size_t next_program = 0, next_image = 0;

  while (results.size() < num_images * result_words) {
    if (cycle == max_cycles) {
      std::printf("%zu %d %d %d\n", results.size(), int(top->layer), int(top->activity),
                  int(top->streams));
      return 3;
    }
    const int go = pauses.go();
    const bool loading = next_program < program.size();
    prog_offered = loading && (prog_offered || go & 1);
    top->PORT(prog, val) = prog_offered;
    top->PORT(prog, msg) = prog_offered ? program[next_program] : 0;
    image_offered = !loading && next_image < images.size() && (image_offered || go & 2);
    top->PORT(image, val) = image_offered;
    top->PORT(image, msg) = image_offered ? images[next_image] : 0;
    top->PORT(result, rdy) = go >> 2;
    settle();

    if (top->PORT(prog, val) && top->PORT(prog, rdy)) { next_program++; prog_offered = false; }
    if (top->PORT(image, val) && top->PORT(image, rdy)) {
      if (next_image % image_words == 0) first_word[next_image / image_words] = cycle;
      next_image++;
      image_offered = false;
    }
    if (top->PORT(result, val) && top->PORT(result, rdy)) {
      results.push_back(top->PORT(result, msg));
      if (results.size() % result_words == 0) last_result[results.size() / result_words - 1] = cycle;
    }
    if (top->activity == HANDOVER && top->layer == 0) {
      image_spent = image_spent ? image_spent + NUM_LAYERS * NUM_ACTIVITIES : spent.data();
    }
    last_layer = top->layer > last_layer ? top->layer : last_layer;
    if (image_spent && image_spent != end_spent) {
      image_spent[top->layer * NUM_ACTIVITIES + top->activity]++;
    }
    edge();
    cycle++;
  }

  Words traffic;
  for (int layer = 0; layer < NUM_LAYERS; layer++) {
    // Where the hardware has fewer layers, the port has fewer bits.
    const bool exists = layer <= last_layer;
    top->traffic_layer = exists ? layer : 0;
    settle();
    for (uint64_t count : {top->weight_words, top->activation_bytes, top->gated_taps,
                           top->result_bytes}) {
      traffic.push_back(exists ? count : 0);
    }
  }

  std::FILE *out = std::fopen(argv[3], "wb");
  if (!out) { std::perror(argv[3]); return 1; }
  auto write = [&](const uint64_t *words, size_t count) {
    if (std::fwrite(words, sizeof *words, count, out) != count) { std::perror(argv[3]); std::exit(1); }
  };
  write(results.data(), results.size());
  write(first_word.data(), num_images);
  write(last_result.data(), num_images);
  write(spent.data(), num_images * NUM_LAYERS * NUM_ACTIVITIES);
  write(traffic.data(), traffic.size());
  if (std::fclose(out)) { std::perror(argv[3]); return 1; }
  return 0;
}
