// Rough treatment of a Verilated accelerator, which has to compute the right results all the same.
//
//   rough PROGRAM IMAGES RESULTS NUM_IMAGES resets
//   rough PROGRAM IMAGES RESULTS NUM_IMAGES seeds COUNT
//   rough PROGRAM IMAGES RESULTS NUM_IMAGES stream CYCLES SEED
//
// Files hold 64-bit little-endian words; RESULTS are those that must come for each image.
//
// resets: a run of all images, from the first word of the program on, is cut off by a reset of one
// cycle in each of its cycles in turn, without and with pauses at the streams, and then comes a
// whole run. seeds: registers and memories start at random, COUNT times. In both, a whole run takes
// exactly the cycles of the first one. stream: images in any order, at least CYCLES cycles long,
// with pauses at all streams, at other rates every 16,384 cycles.
//
// Prints how many resets, how many different starts, or how many cycles and images. Exit status 1, and a line on standard error: a wrong, missing or additional
// result, one that was withdrawn or changed while it waited, an error code, or another timing.

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "Vaccelerator.h"
#include "verilated.h"

// Verilator spells the two underscores of PyMTL3 ports so.
#define PORT(stream, signal) stream##___05F##signal

using Words = std::vector<uint64_t>;

constexpr uint64_t PATIENCE = 100'000;       // cycles without a word on any stream
constexpr uint64_t DRAIN = 60;               // cycles when all is done, more than any pipeline has
constexpr uint64_t PAUSES_CHANGE = 1 << 14;  // cycles

static Words read_words(const char *path) {
  std::FILE *file = std::fopen(path, "rb");
  if (!file) { std::perror(path); std::exit(1); }
  Words words;
  uint64_t word;
  while (std::fread(&word, sizeof word, 1, file) == 1) words.push_back(word);
  std::fclose(file);
  return words;
}

class Random {
 public:
  explicit Random(uint64_t seed) : state(seed * 0x9E3779B97F4A7C15 | 1) {
    for (int i = 0; i < 20; i++) (*this)();
  }
  uint32_t operator()() {  // xorshift64
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state >> 32;
  }

 private:
  uint64_t state;
};

// Which streams go on in a cycle: the program, the image, the result.
class Pauses {
 public:
  Pauses() = default;
  explicit Pauses(Random &random) : random(&random) {
    for (uint32_t &part : pause_of_256) part = std::vector<uint32_t>{0, 32, 128, 232}[random() & 3];
  }
  void step() {
    const uint32_t bits = random ? (*random)() : ~0u;
    for (int i = 0; i < 3; i++) go[i] = (bits >> 8 * i & 255) >= pause_of_256[i];
  }
  bool go[3] = {true, true, true};

 private:
  Random *random = nullptr;
  uint32_t pause_of_256[3] = {0, 0, 0};
};

struct Work {
  Words program, images, results;
  size_t num_images;
  size_t image_words() const { return images.size() / num_images; }
  size_t result_words() const { return results.size() / num_images; }
};

class Machine {
 public:
  std::unique_ptr<VerilatedContext> context = std::make_unique<VerilatedContext>();
  std::unique_ptr<Vaccelerator> top;
  std::string where;  // what is done with it: for what goes wrong

  // Everything starts at zero, or at random with that seed.
  explicit Machine(int seed = 0) {
    context->randReset(seed ? 2 : 0);
    if (seed) context->randSeed(seed);
    top = std::make_unique<Vaccelerator>(context.get());
  }
  void settle() { top->clk = 0; top->eval(); }
  void edge() { top->clk = 1; top->eval(); }
  // One cycle; what is offered at the streams stays.
  void reset() {
    top->reset = 1;
    settle();
    edge();
    top->reset = 0;
  }
  [[noreturn]] __attribute__((format(printf, 2, 3))) void fail(const char *format, ...) const {
    std::fprintf(stderr, "%s: ", where.c_str());
    va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fprintf(stderr, "\n");
    std::exit(1);
  }
};

constexpr size_t NO_IMAGE = SIZE_MAX;

// From a reset on: the program, then the images that `next` names until it names none.
class Run {
 public:
  Words result_cycles;  // of the first images, as many as there are different ones
  uint64_t cycles = 0, num_done = 0;

  Run(Machine &machine, const Work &work, std::function<size_t()> next)
      : machine(machine), work(work), next(std::move(next)) {}

  bool done() const { return image == NO_IMAGE && under_way.empty() && started; }

  void cycle(Pauses &pauses) {
    Vaccelerator &top = *machine.top;
    pauses.step();
    const bool loading = next_program < work.program.size();
    if (!loading && !started) { started = true; take_next(); }
    prog_offered = loading && (prog_offered || pauses.go[0]);
    top.PORT(prog, val) = prog_offered;
    top.PORT(prog, msg) = prog_offered ? work.program[next_program] : ~uint64_t{0};
    image_offered = !loading && image != NO_IMAGE && (image_offered || pauses.go[1]);
    top.PORT(image, val) = image_offered;
    top.PORT(image, msg) =
        image_offered ? work.images[image * work.image_words() + image_word] : ~uint64_t{0};
    top.PORT(result, rdy) = pauses.go[2];
    machine.settle();

    const uint64_t msg = top.PORT(result, msg);
    if (waited && (!top.PORT(result, val) || msg != waiting)) {
      machine.fail("a result that waited was withdrawn or changed in cycle %llu", now());
    }
    waited = top.PORT(result, val) && !top.PORT(result, rdy);
    waiting = msg;
    if (done()) last_moved = cycles;
    if (prog_offered && top.PORT(prog, rdy)) {
      last_moved = cycles;
      next_program++;
      prog_offered = false;
    }
    if (image_offered && top.PORT(image, rdy)) {
      last_moved = cycles;
      if (!image_word) under_way.push_back(image);
      image_offered = false;
      if (++image_word == work.image_words()) take_next();
    }
    if (top.PORT(result, val) && top.PORT(result, rdy)) {
      last_moved = cycles;
      take_result(msg);
    }
    if (top.error) machine.fail("error code %d in cycle %llu", int(top.error), now());
    if (cycles - last_moved > PATIENCE) {
      machine.fail("nothing has moved since cycle %llu", (unsigned long long)last_moved);
    }
    machine.edge();
    cycles++;
  }

  // Until all is done, and a while longer.
  void finish(Pauses &pauses) {
    while (!done()) cycle(pauses);
    for (uint64_t i = 0; i < DRAIN; i++) cycle(pauses);
  }

 private:
  Machine &machine;
  const Work &work;
  std::function<size_t()> next;
  size_t next_program = 0, image = NO_IMAGE, image_word = 0, result_word = 0;
  std::deque<size_t> under_way;
  bool started = false, prog_offered = false, image_offered = false, waited = false;
  uint64_t waiting = 0;
  uint64_t last_moved = 0;

  unsigned long long now() const { return cycles; }
  void take_next() { image = next(); image_word = 0; }

  void take_result(uint64_t msg) {
    if (under_way.empty()) machine.fail("a result without an image in cycle %llu", now());
    const uint64_t expected = work.results[under_way.front() * work.result_words() + result_word];
    if (msg != expected) {
      machine.fail("word %zu of result %llu is %#llx in cycle %llu, expected %#llx", result_word,
                   (unsigned long long)num_done, (unsigned long long)msg, now(),
                   (unsigned long long)expected);
    }
    if (num_done < work.num_images) result_cycles.push_back(cycles);
    if (++result_word == work.result_words()) {
      result_word = 0;
      num_done++;
      under_way.pop_front();
    }
  }
};

static std::function<size_t()> each_once(const Work &work) {
  return [&work, i = size_t{0}]() mutable { return i < work.num_images ? i++ : NO_IMAGE; };
}

// A whole run, and the cycles of its results: those of `expected`, if there are any.
static Words whole_run(Machine &machine, const Work &work, const Words &expected) {
  Pauses none;
  Run run(machine, work, each_once(work));
  run.finish(none);
  if (!expected.empty() && run.result_cycles != expected) machine.fail("results in other cycles");
  return run.result_cycles;
}

static void resets(const Work &work) {
  Machine machine;
  machine.where = "the first run";
  machine.reset();
  const Words right = whole_run(machine, work, {});
  uint64_t count = 0;
  for (const bool paused : {false, true}) {
    // With pauses a run is longer, and each one another.
    const uint64_t length = right.back() * (paused ? 2 : 1);
    for (uint64_t last = 0; last <= length; last++, count++) {
      Random random(last + 1);
      Pauses pauses = paused ? Pauses(random) : Pauses();
      machine.where = "after a run of " + std::to_string(last) + " cycles " +
                      (paused ? "with" : "without") + " pauses and a reset";
      Run cut_off(machine, work, each_once(work));
      machine.reset();
      while (cut_off.cycles < last) cut_off.cycle(pauses);
      machine.reset();
      whole_run(machine, work, right);
    }
  }
  std::printf("%llu\n", (unsigned long long)count);
}

static void seeds(const Work &work, int count) {
  Machine zeros;
  zeros.where = "from zeros";
  zeros.reset();
  const Words right = whole_run(zeros, work, {});
  std::set<std::pair<uint64_t, uint64_t>> starts;
  for (int seed = 1; seed <= count; seed++) {
    Machine machine(seed);
    machine.where = "from a random state with seed " + std::to_string(seed);
    machine.settle();
    starts.emplace(machine.top->PORT(result, msg), machine.top->weight_words);
    machine.reset();
    whole_run(machine, work, right);
  }
  std::printf("%zu\n", starts.size());
}

static void stream(const Work &work, uint64_t cycles, uint64_t seed) {
  Machine machine;
  machine.where = "in the stream with seed " + std::to_string(seed);
  Random random(seed), order(~seed);
  Pauses pauses(random);
  bool over = false;
  Run run(machine, work, [&] { return over ? NO_IMAGE : order() % work.num_images; });
  machine.reset();
  while (run.cycles < cycles) {
    if (run.cycles % PAUSES_CHANGE == 0) pauses = Pauses(random);
    run.cycle(pauses);
  }
  over = true;
  run.finish(pauses);
  std::printf("%llu %llu\n", (unsigned long long)run.cycles, (unsigned long long)run.num_done);
}

int main(int argc, char **argv) {
  if (argc < 6) return 1;
  const Work work{read_words(argv[1]), read_words(argv[2]), read_words(argv[3]),
                  std::strtoull(argv[4], nullptr, 10)};
  const std::string what = argv[5];
  if (what == "resets") {
    resets(work);
  } else if (what == "seeds" && argc == 7) {
    seeds(work, std::atoi(argv[6]));
  } else if (what == "stream" && argc == 8) {
    stream(work, std::strtoull(argv[6], nullptr, 10), std::strtoull(argv[7], nullptr, 10));
  } else {
    return 1;
  }
  return 0;
}
