// PicoRV32, a RAM, the accelerator, and ports through which the processor moves words of the streams:
//   0x00000000  RAM, 1 MB, with the firmware
//   0x40000000  the accelerator's registers
//   0x80000000  ports, see picorv32.c
// Prints what the firmware writes to its console, and ends when that says so, with exit status 1 if
// the firmware failed.
`timescale 1ns / 1ps

module system;
  localparam integer RAM_BYTES = 1 << 20;
  localparam integer MAX_CYCLES = 20_000_000;

  reg clk = 0, resetn = 0;
  integer cycles = 0;
  always #5 clk = ~clk;

  wire awvalid, wvalid, bready, arvalid, rready, trap;
  wire [31:0] awaddr, wdata, araddr;
  wire [3:0] wstrb;
  wire awready, wready, bvalid, arready, rvalid;
  wire [31:0] rdata;

  picorv32_axi #(.ENABLE_MUL(1), .ENABLE_DIV(1)) processor (
    .clk(clk), .resetn(resetn), .trap(trap),
    .mem_axi_awvalid(awvalid), .mem_axi_awready(awready), .mem_axi_awaddr(awaddr), .mem_axi_awprot(),
    .mem_axi_wvalid(wvalid), .mem_axi_wready(wready), .mem_axi_wdata(wdata), .mem_axi_wstrb(wstrb),
    .mem_axi_bvalid(bvalid), .mem_axi_bready(bready),
    .mem_axi_arvalid(arvalid), .mem_axi_arready(arready), .mem_axi_araddr(araddr), .mem_axi_arprot(),
    .mem_axi_rvalid(rvalid), .mem_axi_rready(rready), .mem_axi_rdata(rdata),
    .pcpi_valid(), .pcpi_insn(), .pcpi_rs1(), .pcpi_rs2(),
    .pcpi_wr(1'b0), .pcpi_rd(32'd0), .pcpi_wait(1'b0), .pcpi_ready(1'b0),
    .irq(32'd0), .eoi(), .trace_valid(), .trace_data()
  );

  // The processor has one transfer under way at a time, and holds its address until it is answered.
  wire writes_registers = awaddr[31:30] == 2'd1;
  wire reads_registers = araddr[31:30] == 2'd1;

  wire registers_awready, registers_wready, registers_bvalid, registers_arready, registers_rvalid;
  wire [1:0] bresp, rresp;
  wire [31:0] registers_rdata;
  reg [63:0] program_word, image_word;
  reg program_valid = 0, image_valid = 0, result_ready = 0;
  wire program_ready, image_ready, result_valid, result_last;
  wire [63:0] result_word;

  accelerator accelerator (
    .aclk(clk), .aresetn(resetn),
    .s_axis_prog_tdata(program_word), .s_axis_prog_tvalid(program_valid),
    .s_axis_prog_tready(program_ready),
    .s_axis_image_tdata(image_word), .s_axis_image_tvalid(image_valid),
    .s_axis_image_tready(image_ready),
    .m_axis_result_tdata(result_word), .m_axis_result_tvalid(result_valid),
    .m_axis_result_tready(result_ready), .m_axis_result_tlast(result_last),
    .s_axi_awaddr(awaddr[11:0]), .s_axi_awvalid(awvalid && writes_registers),
    .s_axi_awready(registers_awready),
    .s_axi_wdata(wdata), .s_axi_wstrb(wstrb), .s_axi_wvalid(wvalid && writes_registers),
    .s_axi_wready(registers_wready),
    .s_axi_bresp(bresp), .s_axi_bvalid(registers_bvalid), .s_axi_bready(bready && writes_registers),
    .s_axi_araddr(araddr[11:0]), .s_axi_arvalid(arvalid && reads_registers),
    .s_axi_arready(registers_arready),
    .s_axi_rdata(registers_rdata), .s_axi_rresp(rresp), .s_axi_rvalid(registers_rvalid),
    .s_axi_rready(rready && reads_registers), .irq()
  );

  // RAM and ports take address and data of a write in the same cycle, and answer in the next.
  reg [31:0] ram [0:RAM_BYTES / 4 - 1];
  reg own_bvalid = 0, own_rvalid = 0;
  reg [31:0] own_rdata;
  wire writes = awvalid && wvalid && !writes_registers && !own_bvalid;
  wire reads = arvalid && !reads_registers && !own_rvalid;

  assign awready = writes_registers ? registers_awready : writes;
  assign wready = writes_registers ? registers_wready : writes;
  assign bvalid = writes_registers ? registers_bvalid : own_bvalid;
  assign arready = reads_registers ? registers_arready : reads;
  assign rvalid = reads_registers ? registers_rvalid : own_rvalid;
  assign rdata = reads_registers ? registers_rdata : own_rdata;

  initial begin
    for (integer i = 0; i < RAM_BYTES / 4; i = i + 1) ram[i] = 0;
    $readmemh("firmware.hex", ram);
    repeat (4) @(negedge clk);
    resetn = 1;
  end

  task automatic fail(input [8 * 40 - 1:0] why);
    begin
      $display("FAIL: %0s, cycle %0d", why, cycles);
      $fatal(1);
    end
  endtask

  always @(posedge clk) begin
    cycles <= cycles + 1;
    own_bvalid <= writes || own_bvalid && !bready;
    own_rvalid <= reads || own_rvalid && !rready;
    if (program_ready) program_valid <= 0;
    if (image_ready) image_valid <= 0;
    result_ready <= 0;

    if (writes && !awaddr[31]) begin
      for (integer i = 0; i < 4; i = i + 1)
        if (wstrb[i]) ram[awaddr[19:2]][8 * i +: 8] <= wdata[8 * i +: 8];
    end
    if (writes && awaddr[31])
      case (awaddr[7:0])
        8'h04: program_word[31:0] <= wdata;
        8'h08: begin program_word[63:32] <= wdata; program_valid <= 1; end
        8'h0C: image_word[31:0] <= wdata;
        8'h10: begin image_word[63:32] <= wdata; image_valid <= 1; end
        8'h1C: $write("%c", wdata[7:0]);
        8'h20: begin
          if (wdata != 0) fail("the firmware failed");
          $display("PASS: %0d cycles", cycles);
          $finish;
        end
        default: fail("a write to no port");
      endcase

    if (reads && !araddr[31]) own_rdata <= ram[araddr[19:2]];
    if (reads && araddr[31])
      case (araddr[7:0])
        8'h00: own_rdata <= {29'd0, result_valid, !image_valid, !program_valid};
        8'h14: own_rdata <= result_word[31:0];
        8'h18: begin own_rdata <= result_word[63:32]; result_ready <= 1; end
        default: fail("a read of no port");
      endcase

    if (registers_bvalid && bresp != 0 || registers_rvalid && rresp != 0) fail("SLVERR");
    if (resetn && trap) fail("the processor trapped");
    if (cycles == MAX_CYCLES) fail("it takes too long");
  end
endmodule
