// The module Multiplier (rtl_models/multiplier.py) as one DSP of an ECP5, with the registers at its
// inputs, which Yosys by itself would put into logic cells.
module Multiplier (input clk, input en, output [19:0] product, input reset, input [7:0] w, input [8:0] x);
  MULT18X18D #(
    .REG_INPUTA_CLK("CLK0"), .REG_INPUTA_CE("CE0"), .REG_INPUTA_RST("RST0"),
    .REG_INPUTB_CLK("CLK0"), .REG_INPUTB_CE("CE0"), .REG_INPUTB_RST("RST0"),
    .GSR("DISABLED")
  ) dsp (
    .CLK0(clk), .CE0(en), .RST0(1'b0), .SIGNEDA(1'b1), .SIGNEDB(1'b1), .SOURCEA(1'b0), .SOURCEB(1'b0),
    .A0(x[0]), .A1(x[1]), .A2(x[2]), .A3(x[3]), .A4(x[4]), .A5(x[5]), .A6(x[6]), .A7(x[7]),
    .A8(x[8]), .A9(x[8]), .A10(x[8]), .A11(x[8]), .A12(x[8]), .A13(x[8]), .A14(x[8]), .A15(x[8]),
    .A16(x[8]), .A17(x[8]), .B0(w[0]), .B1(w[1]), .B2(w[2]), .B3(w[3]), .B4(w[4]), .B5(w[5]),
    .B6(w[6]), .B7(w[7]), .B8(w[7]), .B9(w[7]), .B10(w[7]), .B11(w[7]), .B12(w[7]), .B13(w[7]),
    .B14(w[7]), .B15(w[7]), .B16(w[7]), .B17(w[7]), .C0(1'b0), .C1(1'b0), .C2(1'b0), .C3(1'b0),
    .C4(1'b0), .C5(1'b0), .C6(1'b0), .C7(1'b0), .C8(1'b0), .C9(1'b0), .C10(1'b0), .C11(1'b0),
    .C12(1'b0), .C13(1'b0), .C14(1'b0), .C15(1'b0), .C16(1'b0), .C17(1'b0), .P0(product[0]),
    .P1(product[1]), .P2(product[2]), .P3(product[3]), .P4(product[4]), .P5(product[5]),
    .P6(product[6]), .P7(product[7]), .P8(product[8]), .P9(product[9]), .P10(product[10]),
    .P11(product[11]), .P12(product[12]), .P13(product[13]), .P14(product[14]), .P15(product[15]),
    .P16(product[16]), .P17(product[17]), .P18(product[18]), .P19(product[19])
  );
endmodule

// The module PackedProduct (rtl_models/packed_multiplier.py), with the register at its output too.
module PackedProduct (
  input clear, input clk, input en, output [26:0] product, input product_en, input reset,
  input [17:0] w, input [8:0] x
);
  MULT18X18D #(
    .REG_INPUTA_CLK("CLK0"), .REG_INPUTA_CE("CE0"), .REG_INPUTA_RST("RST0"),
    .REG_INPUTB_CLK("CLK0"), .REG_INPUTB_CE("CE0"), .REG_INPUTB_RST("RST0"),
    .REG_OUTPUT_CLK("CLK0"), .REG_OUTPUT_CE("CE1"), .REG_OUTPUT_RST("RST1"),
    .RESETMODE("SYNC"), .GSR("DISABLED")
  ) dsp (
    .CLK0(clk), .CE0(en), .RST0(1'b0), .CE1(product_en), .RST1(clear), .SIGNEDA(1'b1),
    .SIGNEDB(1'b1), .SOURCEA(1'b0), .SOURCEB(1'b0),
    .A0(x[0]), .A1(x[1]), .A2(x[2]), .A3(x[3]), .A4(x[4]), .A5(x[5]), .A6(x[6]), .A7(x[7]),
    .A8(x[8]), .A9(x[8]), .A10(x[8]), .A11(x[8]), .A12(x[8]), .A13(x[8]), .A14(x[8]), .A15(x[8]),
    .A16(x[8]), .A17(x[8]), .B0(w[0]), .B1(w[1]), .B2(w[2]), .B3(w[3]), .B4(w[4]), .B5(w[5]),
    .B6(w[6]), .B7(w[7]), .B8(w[8]), .B9(w[9]), .B10(w[10]), .B11(w[11]), .B12(w[12]), .B13(w[13]),
    .B14(w[14]), .B15(w[15]), .B16(w[16]), .B17(w[17]), .C0(1'b0), .C1(1'b0), .C2(1'b0), .C3(1'b0),
    .C4(1'b0), .C5(1'b0), .C6(1'b0), .C7(1'b0), .C8(1'b0), .C9(1'b0), .C10(1'b0), .C11(1'b0),
    .C12(1'b0), .C13(1'b0), .C14(1'b0), .C15(1'b0), .C16(1'b0), .C17(1'b0), .P0(product[0]),
    .P1(product[1]), .P2(product[2]), .P3(product[3]), .P4(product[4]), .P5(product[5]),
    .P6(product[6]), .P7(product[7]), .P8(product[8]), .P9(product[9]), .P10(product[10]),
    .P11(product[11]), .P12(product[12]), .P13(product[13]), .P14(product[14]), .P15(product[15]),
    .P16(product[16]), .P17(product[17]), .P18(product[18]), .P19(product[19]), .P20(product[20]),
    .P21(product[21]), .P22(product[22]), .P23(product[23]), .P24(product[24]), .P25(product[25]),
    .P26(product[26])
  );
endmodule
