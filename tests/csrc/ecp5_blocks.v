// The two hard blocks of an ECP5 that Yosys's own models leave out, as accel's designs use them:
// a multiplier without registers or with enabled ones at both inputs, or with one at its output
// besides, and a block RAM whose port A writes and whose port B reads on the same edge. What is used
// otherwise ends the simulation.

module MULT18X18D (
  input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
  input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
  input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
  input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CE0, RST0, CE1, RST1,
  output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
  output P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
  wire [17:0] a = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
  wire [17:0] b = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
  parameter REG_INPUTA_CLK = "NONE", REG_INPUTA_CE = "CE0", REG_INPUTA_RST = "RST0";
  parameter REG_INPUTB_CLK = "NONE", REG_INPUTB_CE = "CE0", REG_INPUTB_RST = "RST0";
  parameter REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "CE0", REG_OUTPUT_RST = "RST0";
  parameter GSR = "ENABLED", RESETMODE = "SYNC";
  localparam REGISTERED = REG_INPUTA_CLK == "CLK0" && REG_INPUTB_CLK == "CLK0" && GSR == "DISABLED";
  localparam OUTPUT = REG_OUTPUT_CLK == "CLK0" && REG_OUTPUT_CE == "CE1" && REG_OUTPUT_RST == "RST1";

  initial
    if (!(REGISTERED || (REG_INPUTA_CLK == "NONE" && REG_INPUTB_CLK == "NONE"))
        || !(REG_OUTPUT_CLK == "NONE" || (OUTPUT && REGISTERED && RESETMODE == "SYNC"))
        || REG_INPUTA_CE != "CE0" || REG_INPUTB_CE != "CE0") begin
      $display("MULT18X18D: this use is not modelled");
      $fatal;
    end

  reg [17:0] held_a, held_b;
  always @(posedge CLK0)
    if (RST0) begin held_a <= 0; held_b <= 0; end
    else if (CE0) begin held_a <= a; held_b <= b; end
  wire [17:0] used_a = REGISTERED ? held_a : a;
  wire [17:0] used_b = REGISTERED ? held_b : b;
  wire signed [35:0] x = {{18{SIGNEDA & used_a[17]}}, used_a};
  wire signed [35:0] y = {{18{SIGNEDB & used_b[17]}}, used_b};
  reg [35:0] held_product;
  assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
          P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} =
    OUTPUT ? held_product : x * y;
  // Whichever of reset and enable goes before the other: a reset without an enable is not used.
  always @(posedge CLK0) begin
    if (CE1) held_product <= RST1 ? 0 : x * y;
    if (OUTPUT && RST1 && !CE1) begin
      $display("MULT18X18D: this use is not modelled");
      $fatal;
    end
  end
endmodule

module DP16KD (
  input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9,
  input DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0,
  input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
  output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9,
  output DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0,
  input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9,
  input DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
  input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
  output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9,
  output DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);
  parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
  parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG", RESETMODE = "SYNC";
  parameter ASYNC_RESET_RELEASE = "SYNC", GSR = "AUTO";
  parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000";
  parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
  parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB";
  // What it holds at the start is no one's business.
  parameter [319:0]
    INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0,
    INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0,
    INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0,
    INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0,
    INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0,
    INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0,
    INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0,
    INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0,
    INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0,
    INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0,
    INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0,
    INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0,
    INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0,
    INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0, INITVAL_37 = 0,
    INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0,
    INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;
  // Rows of 36 bits. The narrower widths divide a row, without the ninth bits below 9.
  localparam UNIT_A = DATA_WIDTH_A == 36 ? 5 : DATA_WIDTH_A == 18 ? 4 : DATA_WIDTH_A == 9 ? 3 : 0;
  localparam UNIT_B = DATA_WIDTH_B == 36 ? 5 : DATA_WIDTH_B == 18 ? 4 : DATA_WIDTH_B == 9 ? 3 : 0;

  initial
    if (UNIT_A == 0 || UNIT_B == 0 || REGMODE_A != "NOREG" || REGMODE_B != "NOREG"
        || CSDECODE_A != "0b000" || CSDECODE_B != "0b000"
        || CLKAMUX != "CLKA" || CLKBMUX != "CLKB") begin
      $display("DP16KD: this use is not modelled");
      $fatal;
    end

  // Nothing is known of an entry that was not written: another value in each.
  reg [8:0] mem [0:2047];
  integer i;
  initial for (i = 0; i < 2048; i = i + 1) mem[i] = i[8:0] ^ {i[1:0], 7'h55};

  wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7,
                     ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
  wire [13:0] adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7,
                     ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
  wire [35:0] in = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9,
                    DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
                    DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9,
                    DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
  wire [10:0] first_a = ada[13:3] & ~11'((1 << (UNIT_A - 3)) - 1);
  wire [10:0] first_b = adb[13:3] & ~11'((1 << (UNIT_B - 3)) - 1);
  // Below 18 bits the low address bits are no enables.
  wire [3:0] enable = UNIT_A == 3 ? 4'd1 : UNIT_A == 4 ? {2'd0, ada[1:0]} : ada[3:0];

  reg [35:0] out = 0;
  always @(posedge CLKB)
    if (CEB)
      out <= {mem[first_b | 11'd3], mem[first_b | 11'd2], mem[first_b | 11'd1], mem[first_b]};
  always @(posedge CLKA)
    if (CEA & WEA) begin
      if (enable[0]) mem[first_a] <= in[8:0];
      if (enable[1]) mem[first_a | 11'd1] <= in[17:9];
      if (enable[2]) mem[first_a | 11'd2] <= in[26:18];
      if (enable[3]) mem[first_a | 11'd3] <= in[35:27];
    end

  // A row of 36 bits comes out with its lower half at port A.
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9,
          DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = out[17:0];
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9,
          DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0} =
    DATA_WIDTH_B == 36 ? out[35:18] : out[17:0];

  always @(posedge CLKB)
    if (WEB | RSTA | RSTB | (CSA0 | CSA1 | CSA2 | CSB0 | CSB1 | CSB2)) begin
      $display("DP16KD: this use is not modelled");
      $fatal;
    end
endmodule
