// The stream rule: what is offered stays offered, and the same, until it is taken.
module formal_stream #(
  parameter W = 1,
  parameter ASSUMED = 0
) (
  input clk,
  input reset,  // also whatever else withdraws a message
  input val,
  input rdy,
  input [W-1:0] msg
);
  reg f_waits = 0;
  reg [W-1:0] f_kept;
  always @(posedge clk) begin
    f_waits <= val & ~rdy & ~reset;
    f_kept <= msg;
  end
  wire f_holds = ~f_waits | reset | (val & msg == f_kept);
  always @(*)
    if (ASSUMED) assume (f_holds);
    else assert (f_holds);
endmodule

// What goes in comes out once, in order and unchanged, after at most LATENCY cycles in which it
// `may`. Shown for one message, which `marks` chooses, any one: `ahead` says how many go before it.
// `held` is how many messages the unit says that it has.
module formal_queue #(
  parameter W = 1,
  parameter LATENCY = 1
) (
  input clk,
  input reset,
  input in,
  input [W-1:0] in_msg,
  input out,
  input [W-1:0] out_msg,
  input may,
  input [3:0] held,
  // For what relates the one message to the unit's registers
  output reg tracks,
  output reg [3:0] ahead,
  output reg [3:0] waited,
  output reg [W-1:0] marked
);
  (* anyseq *) wire marks;
  reg [3:0] inside = 0;
  initial tracks = 0;
  always @(posedge clk)
    if (reset) begin
      inside <= 0;
      tracks <= 0;
    end else begin
      inside <= inside + in - out;
      if (~tracks) begin
        tracks <= in & marks;
        marked <= in_msg;
        ahead <= inside - out;
        waited <= 1;
      end else begin
        waited <= waited + may;
        if (out) begin
          ahead <= ahead - 1;
          tracks <= ahead != 0;
        end
      end
    end
  always @(*)
    if (~reset) begin
      assert (inside == held);
      if (out) assert (inside != 0);
      if (tracks) begin
        assert (ahead < inside);
        if (out & ahead == 0) assert (out_msg == marked);
        // A message may leave in its last cycle, and no later.
        assert (waited <= LATENCY);
        if (may & waited == LATENCY) assert (out & ahead == 0);
      end
    end
endmodule

// Something moves in the N-th cycle on end, at the latest, in which it can.
module formal_progress #(
  parameter N = 4
) (
  input clk,
  input reset,
  input can,
  input moves
);
  reg [7:0] f_quiet = 0;
  always @(posedge clk) f_quiet <= ~reset & can & ~moves ? f_quiet + 1 : 0;
  always @(*) if (~reset & can & ~moves) assert (f_quiet < N - 1);
endmodule
