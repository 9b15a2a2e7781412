// Loads a program into the accelerator, sends images, and holds every result word to the expected
// one. Prints PASS, or FAIL and why, with exit status 1.
`timescale 1ns / 1ps

module testbench;
  localparam integer NUM_PROGRAM = 0;
  localparam integer NUM_IMAGES = 0;
  localparam integer IMAGE_WORDS = 0;
  localparam integer RESULT_WORDS = 0;
  localparam integer MAX_CYCLES = 0;
  localparam integer MAGIC = 0;
  localparam integer CONTROL = 0;
  localparam integer ENABLE_ERROR = 0;
  localparam integer STATUS = 0;
  localparam integer IMAGES = 0;
  localparam integer NUM_PIXELS = NUM_IMAGES * IMAGE_WORDS;
  localparam integer NUM_RESULTS = NUM_IMAGES * RESULT_WORDS;

  reg [63:0] program_words [0:NUM_PROGRAM - 1];
  reg [63:0] image_words [0:NUM_PIXELS - 1];
  reg [63:0] result_words [0:NUM_RESULTS - 1];

  reg aclk, aresetn;
  integer cycles, next_program, next_image, next_result;

  reg prog_valid, image_valid, result_ready;
  reg [63:0] prog_data, image_data;
  wire prog_ready, image_ready, result_valid, result_last;
  wire [63:0] result_data;

  reg [11:0] araddr;
  reg arvalid;
  wire arready, rvalid;
  wire [31:0] rdata;
  wire [1:0] rresp;
  reg [31:0] value;
  reg awvalid;
  wire awready, wready, bvalid, irq;
  wire [1:0] bresp;

  accelerator dut (
    .aclk(aclk), .aresetn(aresetn),
    .s_axis_prog_tdata(prog_data), .s_axis_prog_tvalid(prog_valid),
    .s_axis_prog_tready(prog_ready),
    .s_axis_image_tdata(image_data), .s_axis_image_tvalid(image_valid),
    .s_axis_image_tready(image_ready),
    .m_axis_result_tdata(result_data), .m_axis_result_tvalid(result_valid),
    .m_axis_result_tready(result_ready), .m_axis_result_tlast(result_last),
    .s_axi_awaddr(CONTROL[11:0]), .s_axi_awvalid(awvalid), .s_axi_awready(awready),
    .s_axi_wdata(ENABLE_ERROR), .s_axi_wstrb(4'd15), .s_axi_wvalid(awvalid),
    .s_axi_wready(wready),
    .s_axi_bresp(bresp), .s_axi_bvalid(bvalid), .s_axi_bready(1'b1),
    .s_axi_araddr(araddr), .s_axi_arvalid(arvalid), .s_axi_arready(arready),
    .s_axi_rdata(rdata), .s_axi_rresp(rresp), .s_axi_rvalid(rvalid), .s_axi_rready(1'b1),
    .irq(irq)
  );

  initial aclk = 0;
  always #5 aclk = ~aclk;

  // Inputs change at the falling edge; a transfer is seen there too, before the rising one.
  task automatic read(input integer address);
    begin
      araddr = address[11:0];
      arvalid = 1;
      while (!arready) @(negedge aclk);
      @(negedge aclk);
      arvalid = 0;
      while (!rvalid) @(negedge aclk);
      value = rdata;
      if (rresp != 0) fail("a register is not there");
      @(negedge aclk);
    end
  endtask

  task automatic fail(input [8 * 40 - 1:0] why);
    begin
      $display("FAIL: %0s, cycle %0d, %0d of %0d program words, %0d of %0d image words, %0d of %0d result words",
               why, cycles, next_program, NUM_PROGRAM, next_image, NUM_PIXELS, next_result, NUM_RESULTS);
      $fatal(1);
    end
  endtask

  initial begin
    $readmemh("program.hex", program_words);
    $readmemh("images.hex", image_words);
    $readmemh("results.hex", result_words);
    cycles = 0;
    next_program = 0;
    next_image = 0;
    next_result = 0;
    prog_valid = 0;
    image_valid = 0;
    result_ready = 0;
    prog_data = 0;
    image_data = 0;
    araddr = 0;
    arvalid = 0;
    awvalid = 0;
    aresetn = 0;
    repeat (4) @(negedge aclk);
    aresetn = 1;
    repeat (10) @(negedge aclk);
    read(0);
    if (value != MAGIC) fail("no accelerator answers");
    // Both channels are free here, so address and data go in the same cycle.
    awvalid = 1;
    @(negedge aclk);
    awvalid = 0;
    while (!bvalid) @(negedge aclk);
    if (bresp != 0) fail("control is not there");

    while (next_result < NUM_RESULTS) begin
      prog_valid = next_program < NUM_PROGRAM;
      if (prog_valid) prog_data = program_words[next_program];
      image_valid = !prog_valid && next_image < NUM_PIXELS;
      if (image_valid) image_data = image_words[next_image];
      // The host is busy in every eighth cycle.
      result_ready = cycles % 8 != 0;
      #1;
      if (prog_valid && prog_ready) next_program = next_program + 1;
      if (image_valid && image_ready) next_image = next_image + 1;
      if (result_valid && result_ready) begin
        if (result_data !== result_words[next_result]) begin
          $display("result %0h, expected %0h", result_data, result_words[next_result]);
          fail("a result word differs");
        end
        next_result = next_result + 1;
        if (result_last != (next_result % RESULT_WORDS == 0)) fail("tlast is wrong");
      end
      if (irq) begin
        read(STATUS);
        $display("status.error %0d", value[11:8]);
        fail("the program is refused");
      end
      if (cycles == MAX_CYCLES) fail("it takes too long");
      cycles = cycles + 1;
      @(negedge aclk);
    end
    prog_valid = 0;
    image_valid = 0;
    result_ready = 1;
    repeat (10) @(negedge aclk);
    if (result_valid) fail("a result too many");
    read(STATUS);
    if (value[11:8] != 0) fail("an error code");
    read(IMAGES);
    if (value != NUM_IMAGES) fail("another number of images is counted");
    $display("PASS: %0d images, %0d result words, %0d cycles", NUM_IMAGES, NUM_RESULTS, cycles);
    $finish;
  end
endmodule
