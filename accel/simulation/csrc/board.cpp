// Clocks a Verilated board, and joins its serial line to a pseudo-terminal: each byte that is
// written there becomes ten bits at the pin rx, and what comes at tx can be read there.
//
//   driver
//
// DIVISOR cycles are a bit. Prints the terminal's name and its own process number, and runs until
// it is killed. SIGUSR1 is the reset button. When nothing has come or gone for QUIET_CYCLES, the
// clock stands still until a byte comes.

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include "Vaccelerator.h"
#include "verilated.h"

constexpr int FRAME_BITS = 10;
constexpr int BYTE_CYCLES = FRAME_BITS * DIVISOR;
constexpr size_t PACKET = 64;

static volatile std::sig_atomic_t button = 0;

static int open_terminal() {
  const int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
  if (master < 0 || grantpt(master) || unlockpt(master)) { std::perror("pseudo-terminal"); std::exit(1); }
  // Kept open, so that the terminal stays when a host goes; as raw as the wire that it stands for.
  const int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
  termios mode;
  if (slave < 0 || tcgetattr(slave, &mode)) { std::perror("pseudo-terminal"); std::exit(1); }
  cfmakeraw(&mode);
  tcsetattr(slave, TCSANOW, &mode);
  return master;
}

// The host's sending half: bytes from the terminal to bits.
class Sender {
 public:
  explicit Sender(int terminal) : terminal(terminal) {}
  bool busy() const { return num_bytes != next || elapsed; }
  // The level of the line in this cycle.
  int step() {
    if (!elapsed) {
      if (next == num_bytes && pause-- > 0) return 1;
      pause = BYTE_CYCLES;
      if (next == num_bytes) {
        const ssize_t count = read(terminal, bytes, sizeof bytes);
        next = 0;
        num_bytes = count > 0 ? count : 0;
        if (!num_bytes) return 1;
      }
      frame = 1 << (FRAME_BITS - 1) | bytes[next++] << 1;
    }
    const int level = frame >> elapsed / DIVISOR & 1;
    elapsed = (elapsed + 1) % BYTE_CYCLES;
    return level;
  }

 private:
  const int terminal;
  uint8_t bytes[4096];
  size_t num_bytes = 0, next = 0;
  int frame = 0, elapsed = 0, pause = 0;
};

// The host's receiving half: bits to bytes, which reach the terminal some at once, as from USB.
class Receiver {
 public:
  explicit Receiver(int terminal) : terminal(terminal) {}
  bool busy() const { return receiving || num_bytes; }
  void step(int level) {
    if (!receiving) {
      if (num_bytes && ++idle > 2 * BYTE_CYCLES) flush();
      if (level) return;
      receiving = true;
      elapsed = idle = bits = 0;
    }
    if (elapsed % DIVISOR == DIVISOR / 2) bits |= level << elapsed / DIVISOR;
    if (elapsed++ != (FRAME_BITS - 1) * DIVISOR + DIVISOR / 2) return;
    receiving = false;
    // A byte without its stop bit was cut by a reset.
    if (bits >> (FRAME_BITS - 1)) bytes[num_bytes++] = bits >> 1;
    if (num_bytes == PACKET) flush();
  }

 private:
  const int terminal;
  uint8_t bytes[PACKET];
  size_t num_bytes = 0;
  bool receiving = false;
  int elapsed = 0, idle = 0, bits = 0;
  // A wire does not wait: what nobody reads is lost once the terminal is full.
  void flush() {
    if (write(terminal, bytes, num_bytes) < 0) { /* lost */ }
    num_bytes = 0;
  }
};

int main() {
  struct sigaction press = {};
  press.sa_handler = [](int) { button = 1; };
  sigaction(SIGUSR1, &press, nullptr);
  const int terminal = open_terminal();
  std::printf("%s %d\n", ptsname(terminal), int(getpid()));
  std::fflush(stdout);

  auto context = std::make_unique<VerilatedContext>();
  auto top = std::make_unique<Vaccelerator>(context.get());
  Sender sender(terminal);
  Receiver receiver(terminal);
  int reset = 4;
  uint64_t quiet = 0;
  for (;;) {
    if (quiet > QUIET_CYCLES) {
      pollfd wanted = {terminal, POLLIN, 0};
      poll(&wanted, 1, -1);
      quiet = 0;
    }
    if (button) { button = 0; reset = 4; }
    top->reset = reset > 0;
    if (reset) reset--;
    top->rx = sender.step();
    top->clk = 0;
    top->eval();
    receiver.step(top->tx);
    top->clk = 1;
    top->eval();
    quiet = sender.busy() || receiver.busy() ? 0 : quiet + 1;
  }
}
