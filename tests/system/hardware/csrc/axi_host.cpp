// A host in simulation: the driver on one side, the Verilated accelerator with AXI ports on the
// other. Everything is one line of JSON on standard output.
//
//   host PROGRAM WRONG IMAGES NUM_IMAGES RESULT_WORDS NUM_LAYERS
//
// Files hold 64-bit little-endian words. WRONG is a program that is to be refused.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "Vaccelerator.h"
#include "mmio.h"
#include "accel.h"
#include "verilated.h"

using Words = std::vector<uint64_t>;

static VerilatedContext context;
static Vaccelerator *top;
static uint64_t cycles;
static const uintptr_t BASE = 0x40000000;
static const uint64_t PATIENCE = 20000;

static void settle() { top->aclk = 0; top->eval(); }
static void edge() { top->aclk = 1; top->eval(); cycles++; }

static void fail(const char *what) {
  std::fprintf(stderr, "%s in cycle %llu\n", what, (unsigned long long)cycles);
  std::exit(1);
}

// Clock cycles until what is said holds in one of them.
template <typename Holds> static bool within(uint64_t patience, Holds holds) {
  for (uint64_t i = 0; i < patience; i++) {
    settle();
    const bool held = holds();
    edge();
    if (held) return true;
  }
  return false;
}

extern "C" uint32_t bus_read(uintptr_t address) {
  uint32_t data = 0;
  top->s_axi_araddr = address - BASE;
  top->s_axi_arvalid = 1;
  if (!within(100, [] { return top->s_axi_arready; })) fail("no arready");
  top->s_axi_arvalid = 0;
  top->s_axi_rready = 1;
  if (!within(100, [&] { data = top->s_axi_rdata; return top->s_axi_rvalid; })) fail("no rvalid");
  top->s_axi_rready = 0;
  if (top->s_axi_rresp) fail("read refused");
  return data;
}

extern "C" void bus_write(uintptr_t address, uint32_t value) {
  top->s_axi_awaddr = address - BASE;
  top->s_axi_wdata = value;
  top->s_axi_wstrb = 15;
  top->s_axi_awvalid = top->s_axi_wvalid = 1;
  if (!within(100, [] { return top->s_axi_awready && top->s_axi_wready; })) fail("no awready");
  top->s_axi_awvalid = top->s_axi_wvalid = 0;
  top->s_axi_bready = 1;
  uint32_t resp = 0;
  if (!within(100, [&] { resp = top->s_axi_bresp; return top->s_axi_bvalid; })) fail("no bvalid");
  top->s_axi_bready = 0;
  if (resp) fail("write refused");
}

static int fifo_send(void *, accel_stream_t stream, const uint64_t *words, size_t count) {
  const bool image = stream == ACCEL_STREAM_IMAGE;
  bool sent = true;
  for (size_t i = 0; i < count && sent; i++) {
    (image ? top->s_axis_image_tdata : top->s_axis_prog_tdata) = words[i];
    (image ? top->s_axis_image_tvalid : top->s_axis_prog_tvalid) = 1;
    sent = within(PATIENCE, [&] {
      return image ? top->s_axis_image_tready : top->s_axis_prog_tready;
    });
  }
  top->s_axis_image_tvalid = top->s_axis_prog_tvalid = 0;
  return !sent;
}

static int fifo_receive(void *, uint64_t *words, size_t count) {
  top->m_axis_result_tready = 1;
  bool came = true;
  for (size_t i = 0; i < count && came; i++) {
    bool last = false;
    came = within(PATIENCE, [&] {
      words[i] = top->m_axis_result_tdata;
      last = top->m_axis_result_tlast;
      return top->m_axis_result_tvalid;
    });
    if (came && last != (i + 1 == count)) fail("tlast at the wrong word");
  }
  top->m_axis_result_tready = 0;
  return !came;
}

// The streams go on for so many cycles, whatever they have come to then: whether all results have.
static bool cut_off(const Words &program, const uint64_t *image, size_t image_words,
                    size_t result_words, uint64_t num_cycles) {
  size_t next_program = 0, next_image = 0, results = 0;
  top->m_axis_result_tready = 1;
  for (uint64_t i = 0; i < num_cycles; i++) {
    top->s_axis_prog_tvalid = next_program < program.size();
    top->s_axis_image_tvalid = !top->s_axis_prog_tvalid && next_image < image_words;
    if (top->s_axis_prog_tvalid) top->s_axis_prog_tdata = program[next_program];
    if (top->s_axis_image_tvalid) top->s_axis_image_tdata = image[next_image];
    settle();
    next_program += top->s_axis_prog_tvalid && top->s_axis_prog_tready;
    next_image += top->s_axis_image_tvalid && top->s_axis_image_tready;
    results += top->m_axis_result_tvalid;
    edge();
  }
  top->m_axis_result_tready = top->s_axis_prog_tvalid = top->s_axis_image_tvalid = 0;
  return results == result_words;
}

static Words read_words(const char *path) {
  std::FILE *file = std::fopen(path, "rb");
  if (!file) fail(path);
  Words words;
  uint64_t word;
  while (std::fread(&word, sizeof word, 1, file) == 1) words.push_back(word);
  std::fclose(file);
  return words;
}

int main(int argc, char **argv) {
  if (argc != 7) return 1;
  const Words program = read_words(argv[1]), wrong = read_words(argv[2]);
  const Words images = read_words(argv[3]);
  const size_t num_images = std::atoi(argv[4]), result_words = std::atoi(argv[5]);
  const uint32_t num_layers = std::atoi(argv[6]);
  const size_t image_words = images.size() / num_images;

  top = new Vaccelerator(&context);
  top->aresetn = 0;
  within(4, [] { return false; });
  top->aresetn = 1;

  const accel_t nowhere = {BASE + ACCEL_VERSION, fifo_send, fifo_receive, nullptr};
  const accel_t accel = {BASE, fifo_send, fifo_receive, nullptr};
  std::printf("{\"nowhere\": %d, ", accel_open(&nowhere));
  std::printf("\"open\": %d, ", accel_open(&accel));
  std::printf("\"wrong\": %d, ", accel_load(&accel, wrong.data(), wrong.size()));
  Words result(result_words), first_result;
  std::printf("\"run_without\": %d, ",
              accel_run(&accel, images.data(), image_words, result.data(), result_words));
  std::printf("\"load\": %d, ", accel_load(&accel, program.data(), program.size()));
  bus_write(BASE + ACCEL_CONTROL, ACCEL_CONTROL_ENABLE_DONE_MASK);
  accel_clear_counters(&accel);
  const uint64_t start = cycles;
  std::printf("\"images\": [");
  for (size_t i = 0; i < num_images; i++) {
    const uint64_t *image = images.data() + i * image_words;
    const int status = accel_run(&accel, image, image_words, result.data(), result_words);
    if (!i) first_result = result;
    std::printf("%s{\"status\": %d, \"winner\": %u, \"irq\": %d", i ? ", " : "", status,
                accel_winner(result.data(), result_words), top->irq);
    // Every byte, the last one first
    std::vector<uint16_t> places;
    for (size_t j = 8 * (result_words - 1); j-- > 0;) places.push_back(j);
    for (int is_signed = 0; is_signed < 2; is_signed++) {
      std::vector<int32_t> outputs(places.size());
      accel_outputs(result.data(), places.data(), places.size(), is_signed, outputs.data());
      std::printf(", \"%s\": [", is_signed ? "signed" : "unsigned");
      for (size_t j = 0; j < outputs.size(); j++) std::printf("%s%d", j ? ", " : "", outputs[j]);
      std::printf("]");
    }
    std::printf(", \"words\": [");
    for (size_t j = 0; j < result_words; j++) {
      std::printf("%s%llu", j ? ", " : "", (unsigned long long)result[j]);
    }
    std::printf("]}");
  }
  std::printf("], \"counters\": [");
  const uint64_t first = accel_counter(&accel, ACCEL_CYCLES_LOW), elapsed = cycles - start;
  for (uint32_t at = ACCEL_CYCLES_LOW; at <= ACCEL_IMAGES_LOW; at += 8) {
    std::printf("%s%llu", at == ACCEL_CYCLES_LOW ? "" : ", ",
                (unsigned long long)accel_counter(&accel, at));
  }
  std::printf("], \"cycles\": %llu, \"elapsed\": %llu, \"traffic\": [", (unsigned long long)first,
              (unsigned long long)elapsed);
  for (uint32_t layer = 0; layer < num_layers; layer++) {
    std::printf("%s[", layer ? ", " : "");
    for (uint32_t at = ACCEL_WEIGHT_WORDS_LOW; at <= ACCEL_RESULT_BYTES_LOW; at += 8) {
      std::printf("%s%llu", at == ACCEL_WEIGHT_WORDS_LOW ? "" : ", ",
                  (unsigned long long)accel_layer_counter(&accel, layer, at));
    }
    std::printf("]");
  }
  std::printf("], ");
  // A reset in every cycle, of one cycle or the driver's own, and then an image.
  uint64_t resets = 0, failures = 0;
  Words again(result_words);
  for (bool all = false; !all; resets++) {
    for (int hard = 0; hard < 2; hard++) {
      all = cut_off(program, images.data(), image_words, result_words, resets);
      if (hard) {
        top->aresetn = 0;
        within(1, [] { return false; });
        top->aresetn = 1;
      }
      failures += (hard ? fifo_send(nullptr, ACCEL_STREAM_PROGRAM, program.data(), program.size())
                        : accel_load(&accel, program.data(), program.size())) != ACCEL_OK ||
               accel_run(&accel, images.data(), image_words, again.data(), result_words) !=
                   ACCEL_OK ||
               again != first_result;
    }
  }
  std::printf("\"resets\": %llu, \"wrong_after_reset\": %llu}\n", (unsigned long long)resets,
              (unsigned long long)failures);
  delete top;
  return 0;
}
