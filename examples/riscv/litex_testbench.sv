// The clock of soc.v, which LiteX wrote, and what it says: prints the letters that the firmware
// writes to its console, and ends when that says so, with exit status 1 if the firmware failed.
`timescale 1ns / 1ps

module testbench;
  localparam integer MAX_CYCLES = 20_000_000;

  reg clk = 0;
  integer cycles = 0;
  always #5 clk = ~clk;

  wire letter_valid, ended, failed;
  wire [7:0] letter;

  soc soc (
    .sys_clk(clk), .ended(ended), .failed(failed),
    .serial_source_valid(letter_valid), .serial_source_ready(1'b1), .serial_source_data(letter),
    .serial_sink_valid(1'b0), .serial_sink_ready(), .serial_sink_data(8'd0)
  );

  always @(posedge clk) begin
    cycles <= cycles + 1;
    if (letter_valid) $write("%c", letter);
    // What is still on its way to the console comes before the end.
    if (ended && !letter_valid) begin
      if (failed) begin
        $display("FAIL: the firmware failed, cycle %0d", cycles);
        $fatal(1);
      end
      $display("PASS: %0d cycles", cycles);
      $finish;
    end
    if (cycles == MAX_CYCLES) begin
      $display("FAIL: it takes too long, cycle %0d", cycles);
      $fatal(1);
    end
  end
endmodule
